//! What the gateway asks of a node: one method per endpoint, and the one error type of all.
//!
//! Invariant: what arrives here has been authorised, bounded and parsed; paths alone are still
//! texts of at most `PATH_LEN_MAX` bytes, because only the drive knows what a path is.

use std::fmt;
use std::pin::Pin;

use axum::http::StatusCode;
use commonhold_client::types::{
    AuditReport, ContractInfo, CreditView, InventoryPage, LedgerView, Peer, PutReport, RepairReport,
    SignedView, Status, StoreCheck, StoreCompaction, StoreScrub,
};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use crate::drive::DriveApi;
use crate::files::links::ReadLinkApi;
use crate::files::s3_keys::S3KeyApi;
use crate::health::HealthApi;
use crate::plugins::PluginApi;

/// A tar stream on its way in or out.
///
/// Inwards: an upload that broke off ends in an error, never in a clean end. Outwards: an error
/// ends the answer in a way that no client takes for its end.
pub type ArchiveReader = Pin<Box<dyn AsyncRead + Send>>;

/// What a node does for its operator. Implemented by the app.
///
/// `put`, `audit`, `repair`, `acknowledge` and `trust`, once begun, are polled to their end even when
/// their client has gone away, except when the node stops; the futures of the others may be
/// dropped at any await.
pub trait NodeApi: PluginApi + DriveApi + ReadLinkApi + S3KeyApi + HealthApi {
    /// `GET /v1/status`.
    fn status(&self) -> BoxFuture<'_, Result<Status, ApiFault>>;

    /// `GET /v1/peers`.
    fn peers(&self) -> BoxFuture<'_, Result<Vec<Peer>, ApiFault>>;

    /// `PUT /v1/archive?to=&as=`. The reader may be dropped before its end, with or without an
    /// error: the gateway then drains what is still coming.
    fn put(
        &self,
        to: String,
        name: Option<String>,
        archive: ArchiveReader,
    ) -> BoxFuture<'_, Result<PutReport, ApiFault>>;

    /// `GET /v1/archive?path=&prefer=`. When the first read fails, the client gets a proper error,
    /// with the code of an [`ApiFault`] inside the `io::Error` if there is one; later the stream
    /// can only be cut. The reader is dropped when the client goes away.
    fn get(&self, path: String, prefer: Option<NodeId>) -> BoxFuture<'_, Result<ArchiveReader, ApiFault>>;

    /// `POST /v1/audits`.
    fn audit(
        &self,
        provider: Option<NodeId>,
        nonce: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<AuditReport, ApiFault>>;

    /// `POST /v1/repair`. Without a time, what the node's configuration says.
    fn repair(&self, absent_after_seconds: Option<u64>) -> BoxFuture<'_, Result<RepairReport, ApiFault>>;

    /// `GET /v1/credit`.
    fn credit(&self) -> BoxFuture<'_, Result<CreditView, ApiFault>>;

    /// `POST /v1/payments`: `microcredits` more from `payer`.
    fn acknowledge(
        &self,
        payer: PartyId,
        microcredits: u64,
        reference: Option<[u8; 32]>,
        node: Option<NodeId>,
    ) -> BoxFuture<'_, Result<SignedView, ApiFault>>;

    /// `POST /v1/trust`: for `debtor`, to `creditor`, for so many seconds from now.
    fn trust(
        &self,
        creditor: PartyId,
        debtor: PartyId,
        limit_microcredits: u64,
        seconds: u64,
        node: Option<NodeId>,
    ) -> BoxFuture<'_, Result<SignedView, ApiFault>>;

    /// `POST /v1/store/check`. Like the two after it, it ends when its future is dropped.
    fn check_store(&self) -> BoxFuture<'_, Result<StoreCheck, ApiFault>>;

    /// `POST /v1/store/compact`.
    fn compact_store(&self) -> BoxFuture<'_, Result<StoreCompaction, ApiFault>>;

    /// `POST /v1/store/scrub`.
    fn scrub_store(&self) -> BoxFuture<'_, Result<StoreScrub, ApiFault>>;

    /// `GET /v1/contracts`.
    fn contracts(&self) -> BoxFuture<'_, Result<Vec<ContractInfo>, ApiFault>>;

    /// `GET /v1/contracts/{id}/inventory?from=`. At most
    /// [`INVENTORY_PAGE_MAX`](commonhold_client::types::INVENTORY_PAGE_MAX) entries.
    fn inventory(&self, contract: ContractId, from: u64) -> BoxFuture<'_, Result<InventoryPage, ApiFault>>;

    /// `GET /v1/ledger?from=&count=`. `count` is at most
    /// [`LEDGER_COUNT_MAX`](commonhold_client::types::LEDGER_COUNT_MAX).
    fn ledger(&self, from: u64, count: usize) -> BoxFuture<'_, Result<LedgerView, ApiFault>>;
}

/// Why a call failed: a stable word for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFault {
    /// The word, one of those in spec/api.md; it decides the HTTP status.
    pub code: &'static str,
    /// The sentence; says what to do next.
    pub message: String,
}

impl ApiFault {
    /// A fault with this code. A code that spec/api.md does not list is answered with status 500.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// 404: what was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("not_found", message)
    }

    /// 400: a parameter or body is not what the endpoint takes.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid", message)
    }

    /// 500: the node itself is at fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("internal", message)
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> StatusCode {
        match self.code {
            "invalid" | "bad_path" | "bad_archive" | "changed" | "interrupted" => StatusCode::BAD_REQUEST,
            "unauthorized" => StatusCode::UNAUTHORIZED,
            "foreign_origin" | "forbidden" | "password" => StatusCode::FORBIDDEN,
            "not_found" => StatusCode::NOT_FOUND,
            "gone" => StatusCode::GONE,
            "blocked" => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            "precondition" => StatusCode::PRECONDITION_FAILED,
            "range" => StatusCode::RANGE_NOT_SATISFIABLE,
            "over_budget" => StatusCode::TOO_MANY_REQUESTS,
            "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "timeout" => StatusCode::REQUEST_TIMEOUT,
            "exists" | "conflict" | "wrong_role" | "plugin_refused" => StatusCode::CONFLICT,
            "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "wrong_host" => StatusCode::MISDIRECTED_REQUEST,
            "not_countersigned" | "quarantined" | "no_providers" | "too_few_providers" | "too_expensive"
            | "placement_policy" | "not_stored" | "unavailable" | "custody" | "busy" | "stopping"
            | "head_unknown" => StatusCode::SERVICE_UNAVAILABLE,
            "http_version" => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "quota" => StatusCode::INSUFFICIENT_STORAGE,
            // "damaged", "io", "internal" and whatever is not in the list.
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for ApiFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiFault {}
