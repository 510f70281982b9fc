//! Who may call: the first thing that sees a request, before any route.
//!
//! Invariant: a request passes only with the right token or a ticket in its place (the web app's own
//! files and what watches the node need neither), a Host that is this machine, and no Origin or this API's own. Host defeats DNS rebinding, Origin and Sec-Fetch-Site other sites'
//! pages, the token everybody else on the machine. Refusals do not say which routes exist. Not
//! here: bounds on connections and time (server, connection).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use zeroize::Zeroizing;

use crate::api::ApiFault;
use crate::files::tickets;
use crate::upload::{Drain, Draining};
use crate::{health, web};

/// Shortest token that is ever accepted, bytes: 128 bits as hexadecimal digits. A node's own
/// tokens have 64 digits; the floor makes an empty or truncated token file let nobody in.
const TOKEN_LEN_MIN: usize = 32;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The bearer token that callers must show. Wiped on drop, never printed.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The text after `Bearer `. [`serve`](crate::serve) refuses one that is shorter than 32
    /// bytes or has other characters than visible ASCII.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Is it long enough and fit to stand in a header?
    pub(crate) fn is_usable(&self) -> bool {
        self.0.len() >= TOKEN_LEN_MIN && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Compares in a time that depends on the lengths alone; a token's length is no secret.
    fn admits(&self, shown: &[u8]) -> bool {
        self.is_usable() && verify_slices_are_equal(self.0.as_bytes(), shown).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What the guard compares requests with.
pub(crate) struct Gate {
    pub(crate) token: Token,
    /// The port that the API listens on.
    pub(crate) port: u16,
}

impl Gate {
    /// Lets a request through or says why not.
    fn admit(&self, request: &Request) -> Result<(), ApiFault> {
        let headers = request.headers();
        if request.version() != Version::HTTP_11 {
            // The end of an HTTP/1.0 answer is the end of the connection: a download that broke
            // off would look complete.
            return Err(ApiFault::new("http_version", "this API speaks HTTP/1.1 only"));
        }
        let host = self.host(headers, request.uri())?;
        // Whoever follows a link to the app comes from somewhere else, and brings nothing along.
        if !web::is_visit(request) {
            foreign(headers, host)?;
        }
        // A ticket is worth as much as the token, for one file; the web app's own files are no secret, and
        // neither is whether the node is well.
        let is_open =
            tickets::shows_one(request) || web::is_for_app(request) || health::needs_no_token(request);
        if is_open { Ok(()) } else { self.token(headers) }
    }

    /// The Host header, if it names this machine and port.
    fn host<'a>(&self, headers: &'a HeaderMap, uri: &Uri) -> Result<&'a str, ApiFault> {
        let refused =
            || ApiFault::new("wrong_host", "the Host header must name the loopback address of this API");
        let host = only(headers, &HOST).map_err(|_| refused())?.ok_or_else(refused)?;
        // A request line with a whole URL overrules Host: both must say the same.
        let agrees = uri.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
        (agrees && is_loopback(host, self.port)).then_some(host).ok_or_else(refused)
    }

    fn token(&self, headers: &HeaderMap) -> Result<(), ApiFault> {
        let refused = || {
            ApiFault::new(
                "unauthorized",
                "this API needs the token of the node's data directory, as `Authorization: Bearer TOKEN`",
            )
        };
        let shown = only(headers, &AUTHORIZATION).map_err(|_| refused())?.ok_or_else(refused)?;
        let (scheme, token) = shown.split_once(' ').ok_or_else(refused)?;
        let admitted = scheme.eq_ignore_ascii_case("bearer") && self.token.admits(token.as_bytes());
        admitted.then_some(()).ok_or_else(refused)
    }
}

/// Refuses what a browser sends for another site's page. A program sends neither header.
pub(crate) fn foreign(headers: &HeaderMap, host: &str) -> Result<(), ApiFault> {
    let refused = || ApiFault::new("foreign_origin", "this API does not answer the pages of other sites");
    if let Some(origin) = only(headers, &ORIGIN).map_err(|_| refused())? {
        let own = origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
        own.then_some(()).ok_or_else(refused)?;
    }
    match only(headers, &SEC_FETCH_SITE).map_err(|_| refused())? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(refused()),
    }
}

/// The text of a header that may stand once at most.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str).transpose().map_err(|_| ())?;
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

/// Does `host` name the loopback interface and `port`? Names other than `localhost` are refused
/// whatever they resolve to: what they resolve to is up to whoever holds the name.
fn is_loopback(host: &str, port: u16) -> bool {
    let (name, named_port) = match host.rsplit_once(':') {
        // "[::1]" without a port also has colons.
        Some((name, digits)) if !digits.ends_with(']') => {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            (name, if plain { digits.parse().ok() } else { None })
        }
        _ => (host, Some(80)),
    };
    let bracketed = || name.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let ip = name.parse::<Ipv4Addr>().ok().map(IpAddr::V4).or_else(|| bracketed().map(IpAddr::V6));
    named_port == Some(port)
        && (name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback()))
}

/// The outermost layer: admits or refuses, makes dropped bodies drain, and sets the headers that
/// every answer carries.
pub(crate) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let admitted = match gate.admit(&request) {
        // axum would run GET for HEAD: a whole download for nothing.
        Ok(()) if request.method() == Method::HEAD => {
            Err(ApiFault::new("method_not_allowed", "this API has no HEAD: use GET"))
        }
        other => other,
    };
    let mut response = match admitted {
        Ok(()) => {
            let (request, expected) = Draining::wrap_request(request, Drain::ADMITTED);
            let mut response = next.run(request).await;
            expected.close_if_unasked(&mut response);
            response
        }
        Err(fault) => {
            tracing::debug!(code = fault.code, "refused a request to the local API");
            let (request, expected) = Draining::wrap_request(request, Drain::REFUSED);
            drop(request);
            let mut response = fault.into_response();
            expected.close_if_unasked(&mut response);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A file that a browser shows has a policy of its own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        let status = self.status();
        let error = commonhold_client::types::ApiError { code: self.code.to_owned(), message: self.message };
        let mut response =
            (status, axum::Json(commonhold_client::types::ErrorBody { error })).into_response();
        if status == axum::http::StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_40_only_loopback_hosts_with_the_right_port_pass() {
        for good in ["127.0.0.1:4700", "localhost:4700", "LocalHost:4700", "[::1]:4700", "127.9.9.9:4700"] {
            assert!(is_loopback(good, 4700), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:4701",
            "127.0.0.1:04700x",
            "127.0.0.1:",
            "127.0.0.1:+4700",
            "localhost.:4700",
            "localhost.evil.example:4700",
            "127.0.0.1.nip.io:4700",
            "0.0.0.0:4700",
            "[::]:4700",
            "[::ffff:127.0.0.1]:4700",
            "::1:4700",
            "2130706433:4700",
            "0x7f.1:4700",
            "user@localhost:4700",
            "evil.example:4700",
            ":4700",
            "",
        ] {
            assert!(!is_loopback(bad, 4700), "{bad}");
        }
        assert!(is_loopback("localhost", 80) && is_loopback("[::1]", 80));
        assert!(!is_loopback("localhost", 4700));
    }

    #[test]
    fn attack_40_an_unusable_token_admits_nobody() {
        for text in ["", "short", &" ".repeat(64), &"é".repeat(64)] {
            let token = Token::new(text.to_owned());
            assert!(!token.is_usable() && !token.admits(text.as_bytes()), "{text:?}");
        }
        let token = Token::new("a".repeat(64));
        assert!(token.admits("a".repeat(64).as_bytes()));
        assert!(!token.admits("a".repeat(63).as_bytes()));
        assert!(!token.admits("a".repeat(65).as_bytes()));
        assert!(!token.admits(format!("{}b", "a".repeat(63)).as_bytes()));
        assert!(!token.admits(b""));
    }

    #[test]
    fn a_token_is_never_printed() {
        assert_eq!(format!("{:?}", Token::new("secret-secret-secret-secret-secret".into())), "Token(..)");
    }
}
