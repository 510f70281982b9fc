//! Who asks, and from whose page.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use super::Budgets;
use crate::api::ApiFault;
use crate::places::network;
use crate::server::{Bounds, Caller};

/// Connections of everybody.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one client: browsers open six to a server, and several people share an address.
const CONNECTIONS_PER_CLIENT_MAX: usize = 128;
/// A visitor who stops reading for so long is gone.
const STALL_MAX: Duration = Duration::from_secs(30);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The bounds of connections. All connections of a proxy come from one address.
pub(super) fn bounds(budgets: &Budgets) -> Bounds {
    let per_client = if budgets.trust_proxy { CONNECTIONS_MAX } else { CONNECTIONS_PER_CLIENT_MAX };
    Bounds { connections: CONNECTIONS_MAX, per_client, stall: STALL_MAX }
}

/// Whose budget a request is charged to.
pub(super) fn client(caller: &Caller, headers: &HeaderMap, trust_proxy: bool) -> IpAddr {
    let named = || {
        // The proxy next to this node wrote the last one; those before are what it was told.
        let last = headers.get_all(X_FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    };
    network(trust_proxy.then(named).flatten().unwrap_or(caller.ip))
}

/// Refuses a POST that a browser sends for another site's page. A program sends neither header.
pub(super) fn own_origin(headers: &HeaderMap, trust_proxy: bool) -> Result<(), ApiFault> {
    let refused = || ApiFault::new("foreign_origin", "links are not opened from the pages of other sites");
    let text = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase).map_err(|_| refused());
    if let Some(site) = headers.get(SEC_FETCH_SITE)
        && !matches!(text(site)?.as_str(), "same-origin" | "none")
    {
        return Err(refused());
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = text(origin)?;
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let forwarded = trust_proxy.then(|| headers.get(X_FORWARDED_HOST)).flatten();
    let host = text(forwarded.or_else(|| headers.get(HOST)).ok_or_else(refused)?)?;
    if authority == Some(host.as_str()) { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn attack_42_a_client_cannot_choose_its_address() {
        let caller = Caller { ip: "192.0.2.7".parse().unwrap(), end: CancellationToken::new() };
        let claimed = headers(&[(X_FORWARDED_FOR, "198.51.100.1, 203.0.113.9")]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(client(&caller, &claimed, false), caller.ip);
        assert_eq!(client(&caller, &claimed, true), address("203.0.113.9"), "the proxy's own word");
        for useless in ["", "unknown", "1.2.3.4, ", "203.0.113.9:80"] {
            assert_eq!(
                client(&caller, &headers(&[(X_FORWARDED_FOR, useless)]), true),
                caller.ip,
                "{useless}"
            );
        }
        let v6 = headers(&[(X_FORWARDED_FOR, "2001:db8:1:2:3:4:5:6")]);
        assert_eq!(client(&caller, &v6, true), address("2001:db8:1:2::"));
    }

    #[test]
    fn attack_40_other_sites_pages_are_refused() {
        let ok = |of: &[(HeaderName, &str)]| own_origin(&headers(of), false).is_ok();
        let host = (HOST, "Files.example:8443");
        assert!(ok(std::slice::from_ref(&host)), "a program");
        assert!(ok(&[host.clone(), (ORIGIN, "https://files.example:8443")]));
        assert!(ok(&[host.clone(), (ORIGIN, "http://files.example:8443"), (SEC_FETCH_SITE, "same-origin")]));
        for origin in
            ["null", "https://files.example", "https://evil.example", "ftp://files.example:8443", ""]
        {
            assert!(!ok(&[host.clone(), (ORIGIN, origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "x"] {
            assert!(!ok(&[host.clone(), (SEC_FETCH_SITE, site)]), "{site}");
        }
        assert!(!ok(&[(ORIGIN, "https://files.example")]), "without a Host");
        let proxied =
            headers(&[(HOST, "127.0.0.1"), (X_FORWARDED_HOST, "a.example"), (ORIGIN, "https://a.example")]);
        assert!(own_origin(&proxied, true).is_ok() && own_origin(&proxied, false).is_err());
    }
}
