//! The addresses under `/s/`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{self, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use commonhold_format::segment::Segment;
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::budget::Ledgers;
use super::outgoing::{self, Room};
use super::{Budgets, LinkApi, LinkId, client, files};
use crate::api::ApiFault;
use crate::places::Places;
use crate::server::Caller;
use crate::upload::{self, Drain, Draining};

/// Longest description of a segment: 64 chunks and holders take 4.2 kB.
const SEGMENT_LEN_MAX: usize = 8 * 1024;
/// What every request is charged for, bytes.
const REQUEST_COST: u64 = 4 * 1024;
/// What looking for a link's record is charged for: about what it makes the network send.
const RECORD_COST: u64 = 128 * 1024;
/// How long the node may take to find a record or a segment.
const NODE_TIME_MAX: Duration = Duration::from_secs(90);
/// Deposits at the same time, of everybody and of one client.
const DEPOSITS_MAX: usize = 16;
const DEPOSITS_PER_CLIENT_MAX: usize = 4;
/// A deposit may pause this long,
const DEPOSIT_STALL_MAX: Duration = Duration::from_secs(30);
/// and has this long,
const DEPOSIT_TIME_BASE: Duration = Duration::from_secs(120);
/// and so many bytes a second at least.
const DEPOSIT_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// No script, style, image or connection but this server's own, no frame, no form.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     media-src 'self' blob:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'none'",
);
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), bluetooth=(), hid=()",
);

/// What the routes share.
struct Visits {
    links: Arc<dyn LinkApi>,
    budgets: Budgets,
    ledgers: Ledgers,
    room: Room,
    deposits: Arc<Semaphore>,
    deposits_of_one: Places,
}

type Shared = State<Arc<Visits>>;

/// Whose budget a request is charged to.
#[derive(Debug, Clone, Copy)]
struct Client(IpAddr);

/// Why a request is refused.
enum Refusal {
    Fault(ApiFault),
    /// Wait that long.
    Budget(Duration),
}

impl From<ApiFault> for Refusal {
    fn from(fault: ApiFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Duration> for Refusal {
    fn from(wait: Duration) -> Self {
        Self::Budget(wait)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (fault, wait) = match self {
            Self::Budget(wait) => {
                let what = "this link or this address has drawn much of late: wait a little";
                (ApiFault::new("over_budget", what), wait)
            }
            Self::Fault(fault) => (fault, Duration::from_secs(2)),
        };
        let mut response = fault.into_response();
        if matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            // Rounded up: who comes back too early is refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

type Answer = Result<Response, Refusal>;

/// All addresses.
pub(super) fn router(links: Arc<dyn LinkApi>, budgets: Budgets) -> Router {
    let visits = Arc::new(Visits {
        links,
        budgets,
        ledgers: Ledgers::new(&budgets),
        room: Room::new(),
        deposits: Arc::new(Semaphore::new(DEPOSITS_MAX)),
        deposits_of_one: Places::new(DEPOSITS_PER_CLIENT_MAX),
    });
    Router::new()
        .route("/s/{id}", get(page))
        .route("/s/{id}/record", get(record))
        .route("/s/{id}/segment", post(segment))
        .route("/s/{id}/drop", post(deposit))
        .route("/s/_/{hash}/{file}", get(bundled))
        .route("/s/sw.js", get(async || files::service_worker()))
        // The service worker answers here. When it is gone the browser stays on its page.
        .route("/s/~/{*path}", get(async || StatusCode::NO_CONTENT))
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
        .fallback(async || Refusal::from(ApiFault::not_found("there is nothing at this address")))
        .method_not_allowed_fallback(async || {
            Refusal::from(ApiFault::new("method_not_allowed", "this address has no such method"))
        })
        .layer(axum::middleware::from_fn_with_state(visits.clone(), guard))
        .with_state(visits)
}

/// The outermost layer: charges every request, refuses other sites' pages, and sets the headers that every
/// answer carries.
async fn guard(
    State(visits): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let trust_proxy = visits.budgets.trust_proxy;
    let client = client::client(&caller, request.headers(), trust_proxy);
    let mut response = match admit(&visits, client, &request) {
        Ok(()) => {
            let (mut request, expected) = Draining::wrap_request(request, Drain::REFUSED);
            request.extensions_mut().insert(Client(client));
            let mut response = next.run(request).await;
            expected.close_if_unasked(&mut response);
            response
        }
        Err(refusal) => {
            let (request, expected) = Draining::wrap_request(request, Drain::REFUSED);
            drop(request);
            let mut response = refusal.into_response();
            expected.close_if_unasked(&mut response);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CSP);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-robots-tag", "noindex, nofollow"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    response
}

/// Charges a request, and refuses one that another site's page sends.
fn admit(visits: &Visits, client: IpAddr, request: &Request) -> Result<(), Refusal> {
    visits.ledgers.client(client, REQUEST_COST)?;
    if *request.method() == Method::POST {
        client::own_origin(request.headers(), visits.budgets.trust_proxy)?;
    }
    Ok(())
}

/// A link's id, in its one spelling.
fn link_id(text: &str) -> Result<LinkId, ApiFault> {
    let bytes = (text.len() == 43).then(|| BASE64URL_NOPAD.decode(text.as_bytes()).ok()).flatten();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| ApiFault::not_found("this is no link: it has 43 letters, and was perhaps cut"))
}

/// The page tells people what is wrong with a link, so it is there for wrong ones too.
async fn page(Path(id): Path<String>) -> Response {
    let status = if link_id(&id).is_ok() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, files::page()).into_response()
}

async fn bundled(Path((hash, file)): Path<(String, String)>) -> Answer {
    let found = files::bundled(&hash, &file);
    found.ok_or_else(|| ApiFault::not_found("this page has no such file: load it again").into())
}

/// The outcome of a call of the node, which may take a bounded time.
async fn in_time<T>(link: &LinkId, answer: impl Future<Output = Result<T, ApiFault>>) -> Result<T, ApiFault> {
    let outcome = timeout(NODE_TIME_MAX, answer).await.unwrap_or_else(|_| {
        Err(ApiFault::new("unavailable", "the network did not answer in time: try again later"))
    });
    outcome.inspect_err(|fault| {
        let link = BASE64URL_NOPAD.encode(link);
        tracing::debug!(link, code = fault.code, "a visitor of a link was refused");
    })
}

async fn record(
    State(visits): Shared,
    Extension(Client(client)): Extension<Client>,
    Path(id): Path<String>,
) -> Answer {
    let link = link_id(&id)?;
    visits.ledgers.client(client, RECORD_COST)?;
    let record = in_time(&link, visits.links.record(link)).await?;
    let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, record).into_response())
}

/// The bytes that a description asks for, if it is one.
fn asked_for(description: &[u8]) -> Result<usize, ApiFault> {
    let not_one = || ApiFault::invalid("the body is not the description of a segment");
    let mut input = minicbor::Decoder::new(description);
    let segment: Segment = input.decode().map_err(|_| not_one())?;
    if input.position() != description.len() {
        return Err(not_one());
    }
    Ok(segment.chunk_len() * usize::from(segment.code.k()))
}

async fn segment(
    State(visits): Shared,
    Extension(Client(client)): Extension<Client>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let link = link_id(&id)?;
    let description = upload::read_whole(request.into_body(), SEGMENT_LEN_MAX).await?;
    let len = asked_for(&description)?;
    visits.ledgers.client(client, len as u64)?;
    visits.ledgers.link(link, len as u64)?;
    let room = visits.room.take(len).await?;
    let bytes = in_time(&link, visits.links.segment(link, description)).await?;
    if bytes.len() != len {
        return Err(ApiFault::internal("the node has other bytes than this segment's").into());
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        // Named by its content, and only for who knows the link.
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable")),
        (CONTENT_LENGTH, HeaderValue::from(len as u64)),
    ];
    Ok((headers, outgoing::body(bytes, room, &caller)).into_response())
}

async fn deposit(
    State(visits): Shared,
    Extension(Client(client)): Extension<Client>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let link = link_id(&id)?;
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    let len: u64 = declared.ok_or_else(|| ApiFault::invalid("a deposit says its length first"))?;
    let max = visits.budgets.deposit_len_max;
    if len > max {
        let message = format!("this node takes files of at most {max} bytes");
        return Err(ApiFault::new("too_large", message).into());
    }
    let busy = || ApiFault::new("busy", "this node takes many files now: try again in a moment");
    let _place = visits.deposits.clone().try_acquire_owned().map_err(|_| busy())?;
    let _own = visits.deposits_of_one.take(client).ok_or_else(busy)?;
    let body = charged(visits.clone(), client, link, request.into_body());
    let time = DEPOSIT_TIME_BASE + Duration::from_secs(len / DEPOSIT_BYTES_PER_SECOND_MIN);
    let sealed = upload::reader(body, DEPOSIT_STALL_MAX);
    timeout(time, visits.links.deposit(link, len, sealed))
        .await
        .unwrap_or_else(|_| Err(ApiFault::new("timeout", "the file came too slowly")))?;
    Ok(StatusCode::CREATED.into_response())
}

/// A body whose bytes are charged as they come: when the budget is used up it is read more slowly.
fn charged(visits: Arc<Visits>, client: IpAddr, link: LinkId, body: Body) -> Body {
    Body::from_stream(body.into_data_stream().then(move |part| {
        let visits = visits.clone();
        async move {
            let cost = part.as_ref().map_or(0, |part| part.len() as u64);
            while let Err(wait) = visits.ledgers.client(client, cost) {
                sleep(wait).await;
            }
            while let Err(wait) = visits.ledgers.link(link, cost) {
                sleep(wait).await;
            }
            part
        }
    }))
}
