//! What the local API of a node says and is asked, as types (spec/api.md).
//!
//! Invariant: these types and spec/api.md describe the same JSON. Field names are snake_case,
//! sizes are bytes, amounts are integer microcredits, times carry their unit in their name, ids
//! are texts in the one form that `commonhold-format` gives them. Requests are strict: an unknown
//! field is refused. Answers may gain fields within one version, and a reader skips those it does
//! not know. Not here: how the JSON travels (`http`, and the gateway).

mod audits;
mod contracts;
mod credit;
mod drive;
mod files;
mod ledger;
mod plugins;
mod shares;
mod status;
mod store;

use serde::{Deserialize, Serialize};

pub use self::audits::{
    Audit, AuditOutcome, AuditReport, AuditRequest, AuditsHere, FailedAudit, ProviderStanding, RepairReport,
    RepairRequest,
};
pub use self::contracts::{ContractInfo, INVENTORY_PAGE_MAX, InventoryEntry, InventoryPage, Prices};
pub use self::credit::{CreditView, PartyCredit, PaymentRequest, SignedView, Stopped, TrustRequest};
pub use self::drive::*;
pub use self::files::{DriveStatus, FileEntry, FileKind, Listing, PutReport, Removed, Skipped};
pub use self::ledger::{
    Balance, LEDGER_COUNT_DEFAULT, LEDGER_COUNT_MAX, LedgerEntry, LedgerHead, LedgerView,
};
pub use self::plugins::{
    InstallOptions, PLUGIN_CONFIG_LEN_MAX, PLUGIN_LEN_MAX, PluginChanged, PluginInstalled, PluginLine,
    PluginMetrics, PluginReloadRequest, PluginSetRequest, PluginView, PluginsView, PolicyView,
};
pub use self::shares::{LinkRequest, PASSWORD_LEN_MAX, ShareRequest, ShareView, SharesView};
pub use self::status::{Peer, Role, Status, TrafficStatus};
pub use self::store::{Finding, ScrubStatus, Storage, StoreCheck, StoreCompaction, StoreScrub};

/// Longest JSON body that a request may carry, bytes. The longest real one has about 150.
pub const JSON_LEN_MAX: usize = 64 * 1024;
/// Longest path or name in a query, bytes, after percent-decoding. As long as a path of a drive
/// may be.
pub const PATH_LEN_MAX: usize = 4096;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}

/// Why the node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// A stable word for programs, like `not_found`; spec/api.md lists them.
    pub code: String,
    /// A sentence for people that says what to do next.
    pub message: String,
}
