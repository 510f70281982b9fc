//! What watches a node: `/healthz`, `/readyz` and `/metrics`, on the local API's address without its token,
//! and on another address if the operator wants that (spec/api.md, "Watching").
//!
//! Invariant: what is answered names no file, no chunk and no party, so that it may be read without the
//! token by whoever reaches the address. Pages of other sites reach it nowhere, and neither do names that
//! resolve to it and that the operator did not name. Not here: what is measured (the app), and TLS.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

use crate::api::{ApiFault, NodeApi};
use crate::counts::RequestCounts;
use crate::guard::{foreign, only};
use crate::routes::{Calls, NoQuery, Params};
use crate::server::{Bounds, Doors};

/// The endpoints.
const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// OpenMetrics 1.0, which Prometheus reads.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections to an address of their own: those who watch are few.
const CONNECTIONS_MAX: usize = 32;
/// Of one client.
const PER_CLIENT_MAX: usize = 8;

/// What a node says of itself to those who watch it. Implemented by the app.
pub trait HealthApi: Send + Sync + 'static {
    /// Why the node cannot do its work now, as sentences; none when it can.
    fn obstacles(&self) -> BoxFuture<'_, Vec<String>>;

    /// All metrics as OpenMetrics text (spec/metrics.md). It may be some seconds old: whoever asks often
    /// does not make the node count often.
    fn metrics(&self) -> BoxFuture<'_, Result<String, ApiFault>>;
}

/// Whether a request needs no token.
pub(crate) fn needs_no_token(request: &Request) -> bool {
    *request.method() == Method::GET && PATHS.contains(&request.uri().path())
}

/// The endpoints on the local API's address.
pub(crate) fn router() -> Router<Arc<Calls>> {
    Router::new()
        .route(PATHS[0], get(healthy))
        .route(
            PATHS[1],
            get(async |State(calls): State<Arc<Calls>>, _: Params<NoQuery>| ready(&*calls.api).await),
        )
        .route(
            PATHS[2],
            get(async |State(calls): State<Arc<Calls>>, _: Params<NoQuery>| metrics(&*calls.api).await),
        )
}

/// Serves the three endpoints and nothing else on `listener`, on whatever address that is, until `shutdown`
/// completes. A request is answered when its Host is an IP address, `localhost` or one of `names`, with any
/// port, and no other site's page sent it.
pub async fn serve_health(
    listener: TcpListener,
    api: Arc<dyn NodeApi>,
    names: Vec<String>,
    counts: Arc<RequestCounts>,
    shutdown: impl Future<Output = ()>,
) {
    let app = Router::new()
        .route(PATHS[0], get(healthy))
        .route(
            PATHS[1],
            get(async |State(api): State<Arc<dyn NodeApi>>, _: Params<NoQuery>| ready(&*api).await),
        )
        .route(
            PATHS[2],
            get(async |State(api): State<Arc<dyn NodeApi>>, _: Params<NoQuery>| metrics(&*api).await),
        )
        .fallback(async || ApiFault::not_found("there is nothing here but /healthz, /readyz and /metrics"))
        .method_not_allowed_fallback(async || {
            ApiFault::new("method_not_allowed", "this is only read, with GET")
        })
        .with_state(api)
        .layer(axum::middleware::from_fn_with_state(Arc::new(names), door));
    let bounds = Bounds { connections: CONNECTIONS_MAX, per_client: PER_CLIENT_MAX, ..Bounds::default() };
    Doors::bounded(bounds).counting(counts).open(listener, app, shutdown).await;
}

/// Lets requests to an address of its own in.
async fn door(State(names): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    let admitted = admit(&request, &names);
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn admit(request: &Request, names: &[String]) -> Result<(), ApiFault> {
    if request.version() != Version::HTTP_11 {
        return Err(ApiFault::new("http_version", "this is HTTP/1.1 only"));
    }
    if request.method() == Method::HEAD {
        return Err(ApiFault::new("method_not_allowed", "there is no HEAD here: use GET"));
    }
    let host = named_host(request.headers(), request.uri(), names).ok_or_else(|| {
        ApiFault::new(
            "wrong_host",
            "the Host header must be an IP address, localhost, or one of the names under [metrics]",
        )
    })?;
    foreign(request.headers(), host)
}

/// The Host of a request, if it is one that no stranger's name server can point here.
fn named_host<'a>(headers: &'a HeaderMap, uri: &Uri, names: &[String]) -> Option<&'a str> {
    let host = only(headers, &HOST).ok()??;
    if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return None;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => port.parse::<u16>().ok().map(|_| name)?,
        _ => host,
    };
    let is_ip = name.parse::<Ipv4Addr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'))
            .is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    let is_named =
        name.eq_ignore_ascii_case("localhost") || names.iter().any(|it| it.eq_ignore_ascii_case(name));
    (is_ip || is_named).then_some(host)
}

async fn healthy(_: Params<NoQuery>) -> Response {
    plain(StatusCode::OK, "ok\n".to_owned())
}

async fn ready(api: &dyn NodeApi) -> Response {
    let obstacles = api.obstacles().await;
    if obstacles.is_empty() {
        return plain(StatusCode::OK, "ready\n".to_owned());
    }
    // Each is one line, whatever is in it.
    let line = |sentence: &String| format!("{}\n", sentence.replace(char::is_control, " "));
    plain(StatusCode::SERVICE_UNAVAILABLE, obstacles.iter().map(line).collect())
}

async fn metrics(api: &dyn NodeApi) -> Response {
    match api.metrics().await {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(fault) => fault.into_response(),
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn attack_40_only_addresses_and_named_hosts_are_taken() {
        let names = vec!["node.lan".to_owned()];
        let taken = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            named_host(&headers, &Uri::from_static("/metrics"), &names).is_some()
        };
        for host in
            ["192.0.2.7", "192.0.2.7:4783", "[2001:db8::1]", "[::1]:80", "localhost:1", "NODE.lan:4783"]
        {
            assert!(taken(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "node.lan.evil.example",
            "node.lan:port",
            "[::1",
            "192.0.2",
            "a@node.lan",
            ":80",
        ] {
            assert!(!taken(host), "{host}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HOST, HeaderValue::from_static("192.0.2.7"));
        twice.append(HOST, HeaderValue::from_static("192.0.2.7"));
        assert_eq!(named_host(&twice, &Uri::from_static("/metrics"), &names), None);
        let mut other = HeaderMap::new();
        other.append(HOST, HeaderValue::from_static("192.0.2.7"));
        assert_eq!(named_host(&other, &Uri::from_static("http://evil.example/metrics"), &names), None);
    }
}
