//! The endpoints: parse and bound what came, call the node, answer.
//!
//! Invariant: each request is checked whole before the node is called; unknown fields and
//! parameters are refused, so that a misspelt one is not silently without effect. Not here: who
//! may call (guard).

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use commonhold_client::types::{
    AuditReport, AuditRequest, ContractInfo, CreditView, InventoryPage, JSON_LEN_MAX, LEDGER_COUNT_DEFAULT,
    LEDGER_COUNT_MAX, LedgerView, PATH_LEN_MAX, PaymentRequest, Peer, PutReport, RepairReport, RepairRequest,
    SignedView, Status, StoreCheck, StoreCompaction, StoreScrub, TrustRequest,
};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{ApiFault, ArchiveReader, NodeApi};
use crate::files::tickets::Tickets;
use crate::upload::{self, STALL_MAX};
use crate::{files, health, plugins, web};

/// Calls that change something and run at the same time; they outlive their connections, so the
/// bound on connections does not bound them.
pub(crate) const CHANGES_MAX: usize = 32;
/// Bytes of a download that are read at a time.
const PART_LEN: usize = 64 * 1024;

/// What the endpoints share.
pub(crate) struct Calls {
    pub(crate) api: Arc<dyn NodeApi>,
    /// One permit for each change that may run.
    pub(crate) places: Arc<Semaphore>,
    /// The changes that run.
    pub(crate) running: TaskTracker,
    /// Cancelled when the node can wait no longer.
    pub(crate) stop: CancellationToken,
    /// What browsers may fetch without the token.
    pub(crate) tickets: Tickets,
}

pub(crate) type Answer<T> = Result<Json<T>, ApiFault>;
pub(crate) type Shared = State<Arc<Calls>>;

impl Calls {
    /// [`Calls::complete`] for a change of the node's.
    pub(crate) async fn change<T: Send + 'static, F>(
        &self,
        call: impl FnOnce(Arc<dyn NodeApi>) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T, ApiFault>> + Send + 'static,
    {
        self.complete(call(self.api.clone())).await
    }

    /// Runs a change to its end even when its client goes away: half of an audit or a removal is
    /// worse than one that nobody waits for.
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ApiFault>> + Send + 'static,
    ) -> Answer<T> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            ApiFault::new("busy", "the node is busy with other changes: try again in a moment")
        })?;
        let stop = self.stop.clone();
        let task = self.running.spawn(async move {
            let _place = place;
            tokio::select! {
                done = change => done,
                () = stop.cancelled() => Err(ApiFault::new("stopping", "the node was stopped before this was done")),
            }
        });
        match task.await {
            Ok(done) => done.map(Json),
            Err(error) => {
                tracing::error!(%error, "a call of the local API panicked");
                Err(ApiFault::internal("the node failed on this request: its log has the details"))
            }
        }
    }
}

/// All endpoints.
pub(crate) fn router(calls: Arc<Calls>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/peers", get(peers))
        .route("/v1/archive", put(put_archive).get(get_archive))
        .route("/v1/audits", post(audits))
        .route("/v1/repair", post(repair))
        .route("/v1/credit", get(credit))
        .route("/v1/payments", post(payments))
        .route("/v1/trust", post(trust))
        .route("/v1/store/check", post(check_store))
        .route("/v1/store/compact", post(compact_store))
        .route("/v1/store/scrub", post(scrub_store))
        .route("/v1/contracts", get(contracts))
        .route("/v1/contracts/{contract}/inventory", get(inventory))
        .route("/v1/ledger", get(ledger))
        .merge(health::router())
        .merge(files::router())
        .merge(plugins::router())
        .merge(web::router())
        .fallback(async || ApiFault::not_found("this API has no such endpoint: see spec/api.md"))
        .method_not_allowed_fallback(async || {
            ApiFault::new("method_not_allowed", "this endpoint has no such method: see spec/api.md")
        })
        .with_state(calls)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutQuery {
    to: String,
    r#as: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetQuery {
    path: String,
    prefer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InventoryQuery {
    #[serde(default)]
    from: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    #[serde(default)]
    from: u64,
    count: Option<usize>,
}

/// The parameters of a query, complete and unambiguous.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        let query = parts.uri.query().unwrap_or_default();
        if !is_utf8_once_decoded(query) {
            // The form decoder would put U+FFFD there: another name, and perhaps another file.
            return Err(ApiFault::invalid("the query is not percent-encoded UTF-8"));
        }
        let params =
            Query::try_from_uri(&parts.uri).map_err(|refused| ApiFault::invalid(refused.body_text()))?;
        Ok(Self(params.0))
    }
}

/// A JSON body, of a request without a query.
pub(crate) struct Said<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Said<T> {
    type Rejection = ApiFault;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFault> {
        let (mut parts, rest) = request.into_parts();
        let Params(NoQuery {}) = Params::from_request_parts(&mut parts, state).await?;
        body(Request::from_parts(parts, rest)).await.map(Self)
    }
}

/// Is every `%` followed by two digits, and do the bytes make up UTF-8?
fn is_utf8_once_decoded(query: &str) -> bool {
    let mut decoded = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let Some((digits, after)) = rest.split_at_checked(2) else { return false };
            let Ok(value) = HEXLOWER_PERMISSIVE.decode(digits) else { return false };
            decoded.extend(value);
            rest = after;
        } else {
            decoded.push(byte);
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

async fn status(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<Status> {
    calls.api.status().await.map(Json)
}

async fn peers(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<Vec<Peer>> {
    calls.api.peers().await.map(Json)
}

async fn put_archive(
    State(calls): Shared,
    Params(query): Params<PutQuery>,
    request: Request,
) -> Answer<PutReport> {
    let PutQuery { to, r#as } = query;
    let to = bounded("to", to)?;
    let name = r#as.map(|name| bounded("as", name)).transpose()?;
    let archive = upload::reader(request.into_body(), STALL_MAX);
    calls.change(|api| async move { api.put(to, name, archive).await }).await
}

async fn get_archive(State(calls): Shared, Params(query): Params<GetQuery>) -> Result<Response, ApiFault> {
    let GetQuery { path, prefer } = query;
    let path = bounded("path", path)?;
    let prefer: Option<NodeId> = prefer.map(|prefer| parsed("prefer", &prefer)).transpose()?;
    archive_answer(calls.api.get(path, prefer).await?).await
}

/// A tar archive as an answer.
pub(crate) async fn archive_answer(archive: ArchiveReader) -> Result<Response, ApiFault> {
    let mut parts = ReaderStream::with_capacity(archive, PART_LEN);
    // Until the headers are sent an error can still be told in full; later the stream can only be
    // cut. Most errors (no providers, a damaged folder) show at the first read.
    let first = parts.next().await.transpose().map_err(|error| {
        error.downcast::<ApiFault>().unwrap_or_else(|error| ApiFault::new("unavailable", error.to_string()))
    })?;
    // hyper closes the connection without the last chunk when the stream yields an error.
    let parts = stream::iter(first.map(Ok)).chain(parts).inspect_err(|error| {
        tracing::warn!(%error, "a download was cut because its data could not be read");
    });
    let headers = [(CONTENT_TYPE, "application/x-tar"), (CONTENT_DISPOSITION, "attachment")];
    Ok((headers, Body::from_stream(parts)).into_response())
}

async fn audits(
    State(calls): Shared,
    Said(AuditRequest { provider, nonce }): Said<AuditRequest>,
) -> Answer<AuditReport> {
    let provider = provider.map(|provider| parsed("provider", &provider)).transpose()?;
    let nonce = nonce.map(|nonce| bytes_32("the nonce", &nonce)).transpose()?;
    calls.change(|api| async move { api.audit(provider, nonce).await }).await
}

async fn repair(
    State(calls): Shared,
    Said(RepairRequest { absent_after_seconds }): Said<RepairRequest>,
) -> Answer<RepairReport> {
    calls.change(|api| async move { api.repair(absent_after_seconds).await }).await
}

async fn credit(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<CreditView> {
    calls.api.credit().await.map(Json)
}

async fn payments(
    State(calls): Shared,
    Said(PaymentRequest { payer, microcredits, reference, node }): Said<PaymentRequest>,
) -> Answer<SignedView> {
    let payer: PartyId = parsed("payer", &payer)?;
    let reference = reference.map(|it| bytes_32("the reference", &it)).transpose()?;
    let node = node.map(|node| parsed("node", &node)).transpose()?;
    calls.change(|api| async move { api.acknowledge(payer, microcredits, reference, node).await }).await
}

async fn trust(
    State(calls): Shared,
    Said(TrustRequest { creditor, debtor, limit_microcredits, seconds, node }): Said<TrustRequest>,
) -> Answer<SignedView> {
    let (creditor, debtor): (PartyId, PartyId) = (parsed("creditor", &creditor)?, parsed("debtor", &debtor)?);
    let node = node.map(|node| parsed("node", &node)).transpose()?;
    calls
        .change(|api| async move { api.trust(creditor, debtor, limit_microcredits, seconds, node).await })
        .await
}

async fn check_store(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<StoreCheck> {
    calls.api.check_store().await.map(Json)
}

async fn compact_store(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<StoreCompaction> {
    calls.api.compact_store().await.map(Json)
}

async fn scrub_store(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<StoreScrub> {
    calls.api.scrub_store().await.map(Json)
}

async fn contracts(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<Vec<ContractInfo>> {
    calls.api.contracts().await.map(Json)
}

async fn inventory(
    State(calls): Shared,
    contract: Result<Path<String>, PathRejection>,
    Params(query): Params<InventoryQuery>,
) -> Answer<InventoryPage> {
    let InventoryQuery { from } = query;
    let Path(contract) = contract.map_err(|refused| ApiFault::invalid(refused.body_text()))?;
    let contract: ContractId = parsed("the contract", &contract)?;
    calls.api.inventory(contract, from).await.map(Json)
}

async fn ledger(State(calls): Shared, Params(query): Params<LedgerQuery>) -> Answer<LedgerView> {
    let LedgerQuery { from, count } = query;
    let count = count.unwrap_or(LEDGER_COUNT_DEFAULT);
    if count > LEDGER_COUNT_MAX {
        return Err(ApiFault::invalid(format!("count is {count}, and {LEDGER_COUNT_MAX} is the most")));
    }
    calls.api.ledger(from, count).await.map(Json)
}

/// A text from the query that is not too long.
pub(crate) fn bounded(what: &str, text: String) -> Result<String, ApiFault> {
    if text.len() > PATH_LEN_MAX {
        let len = text.len();
        return Err(ApiFault::invalid(format!("{what} has {len} bytes, and {PATH_LEN_MAX} is the most")));
    }
    Ok(text)
}

/// An id.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, ApiFault> {
    text.parse().map_err(|error| ApiFault::invalid(format!("{what} is not valid: {error}")))
}

fn bytes_32(what: &str, text: &str) -> Result<[u8; 32], ApiFault> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| ApiFault::invalid(format!("{what} is not 64 lower-case hexadecimal digits")))
}

/// A JSON body.
pub(crate) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, ApiFault> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiFault::invalid("the body must be JSON, with Content-Type: application/json"));
    }
    let bytes = upload::read_whole(request.into_body(), JSON_LEN_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiFault::invalid(format!("the body is not valid: {error}")))
}
