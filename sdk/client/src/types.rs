//! What the local API of a node says and is asked, as types (spec/api.md).
//!
//! Invariant: these types and spec/api.md describe the same JSON. Field names are snake_case,
//! sizes are bytes, amounts are integer microcredits, times carry their unit in their name, ids
//! are texts in the one form that `commonhold-format` gives them. Requests are strict: an unknown
//! field is refused. Answers may gain fields within one version, and a reader skips those it does
//! not know. Not here: how the JSON travels (`http`, and the gateway).

mod drive;
mod plugins;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::drive::*;
pub use self::plugins::{
    InstallOptions, PLUGIN_CONFIG_LEN_MAX, PLUGIN_LEN_MAX, PluginChanged, PluginInstalled, PluginLine,
    PluginMetrics, PluginReloadRequest, PluginSetRequest, PluginView, PluginsView, PolicyView,
};

/// Most ledger entries of one [`LedgerView`]; a larger `count` is refused.
pub const LEDGER_COUNT_MAX: usize = 1000;
/// Entries of a [`LedgerView`] when the request names no `count`.
pub const LEDGER_COUNT_DEFAULT: usize = 100;
/// Most entries of one [`InventoryPage`]: about 150 KiB of JSON.
pub const INVENTORY_PAGE_MAX: usize = 1000;
/// Longest JSON body that a request may carry, bytes. The longest real one has about 150.
pub const JSON_LEN_MAX: usize = 64 * 1024;
/// Longest path or name in a query, bytes, after percent-decoding. As long as a path of a drive
/// may be.
pub const PATH_LEN_MAX: usize = 4096;

/// On which side of something this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Lends disk.
    Provider,
    /// Keeps files with others.
    Owner,
}

impl Role {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Provider => "provider",
            Role::Owner => "owner",
        }
    }
}

/// `GET /v1/status`: how the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running program, like "0.1.0".
    pub version: String,
    /// What the node is for.
    pub role: Role,
    /// The node's peer id, `12D3KooW…`.
    pub peer_id: String,
    /// The party that signs its notes, 64 hexadecimal digits.
    pub party: String,
    /// Multiaddrs under which it listens, each ending in `/p2p/PEER_ID`.
    pub addresses: Vec<String>,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// URL of this API, like `http://127.0.0.1:4700`.
    pub api: String,
    /// Why the node takes in and acknowledges nothing, when its disk is not well; absent otherwise.
    pub quarantine: Option<String>,
    /// The lent disk; absent when the node lends none, or cannot look at it.
    pub storage: Option<Storage>,
    /// The scrub of the lent disk; absent like it.
    pub scrub: Option<ScrubStatus>,
    /// The owner's drive; absent when the node keeps no files.
    pub drive: Option<DriveStatus>,
    /// Contracts in the book, as either side.
    pub contracts: u64,
    /// Peers with an open connection.
    pub peers_connected: u64,
    /// Connections of others that the transport policy did not want, since the start.
    #[serde(default)]
    pub connections_refused: u64,
    /// What chunks take of the line.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// The node's own ledger.
    pub ledger: LedgerHead,
    /// Providers of this owner that are not in good standing, or did not pass their last audit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standings: Vec<ProviderStanding>,
    /// What owners found when they audited this node; absent when none ever told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audits_here: Option<AuditsHere>,
    /// What its operator should look at, as sentences; empty when all is well.
    pub problems: Vec<String>,
    /// Of a node that keeps files: milliseconds that the stages of its puts and gets took since it
    /// started. Stages that run beside each other each count in full.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stage_milliseconds: BTreeMap<String, u64>,
    /// Where the pages of links are served to everybody, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where programs that speak S3 find this node's files, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
}

/// What chunks took of the line, all peers together, and how fast they may go. Days and months are
/// those of the operator's time zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Bytes of chunks sent since midnight.
    pub sent_today_bytes: u64,
    /// Received since midnight.
    pub received_today_bytes: u64,
    /// Sent since the first of the month.
    pub sent_this_month_bytes: u64,
    /// Received since the first of the month.
    pub received_this_month_bytes: u64,
    /// Chunks that were asked for because others were slow, since the node started.
    #[serde(default)]
    pub hedged_chunks: u64,
    /// The limit that the transport policy set for sending, bytes per second; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_limit_bytes_per_second: Option<u64>,
    /// The limit for receiving; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_limit_bytes_per_second: Option<u64>,
}

/// How a provider stands with this owner, when that is not simply well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStanding {
    /// Its peer id.
    pub provider: String,
    /// `"good"`, `"probation"`, `"suspended"`, `"quarantined"`, `"absent"` or `"lost"`.
    pub state: String,
    /// Since when, Unix seconds; 0 for one that was never in another state.
    pub since: u64,
    /// Why, in sentences.
    pub reason: String,
    /// What to do about the last audit; empty when nothing is.
    pub what_to_do: String,
    /// Contract of the last audit.
    pub contract: String,
    /// Number of the last audit.
    pub epoch: u64,
    /// Its outcome.
    pub outcome: AuditOutcome,
    /// Evidence of the last audit that found wrong bytes, 64 hexadecimal digits; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// Audits of this node's disk in the last days, as its owners told what they found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditsHere {
    /// How many days are counted, by the days of UTC.
    pub days: u64,
    /// Passed.
    pub passed: u64,
    /// Found wrong bytes, or chunks that are lost.
    pub wrong_bytes: u64,
    /// Went unanswered although the node was reached.
    pub no_answer: u64,
    /// Did not reach the node.
    pub offline: u64,
    /// Were told of a quarantine.
    pub quarantined: u64,
    /// The last one that was not passed, however long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<FailedAudit>,
}

/// An audit of this node that was not passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAudit {
    /// When, Unix seconds, by the owner's clock.
    pub time: u64,
    /// Who audited, a party.
    pub owner: String,
    /// Under which contract.
    pub contract: String,
    /// Its number under the contract.
    pub epoch: u64,
    /// The fault class.
    pub outcome: AuditOutcome,
    /// Chunks that were found wrong or lost.
    pub lost_chunks: u64,
    /// What to do about it.
    pub what_to_do: String,
    /// Hash of the evidence, which the owner has; zeros without a proof.
    pub evidence: String,
}

/// A provider's disk: used + trash + dead + reserve + free = allotted + excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Storage {
    /// What the operator lends.
    pub allotted_bytes: u64,
    /// Records of chunks that are held or wait for their commit, the book of contracts, headers.
    pub used_bytes: u64,
    /// Records of chunks that no contract holds any more, until their term ends.
    pub trash_bytes: u64,
    /// What nothing needs and compaction wins back.
    pub dead_bytes: u64,
    /// What compaction may need.
    pub reserve_bytes: u64,
    /// What can still be taken in.
    pub free_bytes: u64,
    /// What is kept beyond what is lent, after an operator has lowered it.
    pub excess_bytes: u64,
    /// What of the used bytes waits for its commit.
    pub pending_bytes: u64,
    /// What of the used bytes is the book of contracts.
    pub book_bytes: u64,
    /// Chunks held.
    pub chunks: u64,
    /// Chunks in the trash.
    pub trash_chunks: u64,
}

impl Storage {
    /// The accounts on one line, each sum as `human` writes it.
    pub fn accounts(&self, human: impl Fn(u64) -> String) -> String {
        let terms = [
            ("used", self.used_bytes),
            ("trash", self.trash_bytes),
            ("dead", self.dead_bytes),
            ("reserve", self.reserve_bytes),
            ("free", self.free_bytes),
        ];
        let terms: Vec<String> =
            terms.iter().map(|(name, bytes)| format!("{name} {}", human(*bytes))).collect();
        let excess = match self.excess_bytes {
            0 => String::new(),
            excess => format!(" + excess {}", human(excess)),
        };
        format!("{} = disk allotted {}{excess}", terms.join(" + "), human(self.allotted_bytes))
    }
}

/// How the scrub of a provider's disk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// When the present lap began, Unix seconds; absent between laps.
    pub began: Option<u64>,
    /// Bytes of packs that this lap has been through.
    pub done_bytes: u64,
    /// Laps that ended.
    pub laps: u64,
    /// When the last lap ended since the node was started, Unix seconds.
    pub lap_ended: Option<u64>,
    /// Chunks found rotten since the node was started.
    pub rot: u64,
}

/// Something that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// `POST /v1/store/check`: everything in the store against everything else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreCheck {
    /// Packs that were read.
    pub packs: u64,
    /// Chunks whose bytes were checked.
    pub chunks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Contracts whose inventory was checked.
    pub contracts: u64,
    /// Records that nothing needs.
    pub dead_records: u64,
    /// Bytes that are no record, and nothing kept.
    pub junk_bytes: u64,
    /// What is wrong, the first thousand.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub findings_total: u64,
    /// The accounts.
    pub storage: Storage,
}

/// `POST /v1/store/compact`: ended contracts given up, the trash emptied, dead bytes freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreCompaction {
    /// Bytes of packs that were deleted.
    pub deleted_bytes: u64,
    /// Bytes of records that were copied for it.
    pub copied_bytes: u64,
    /// The accounts afterwards.
    pub storage: Storage,
}

/// `POST /v1/store/scrub`: a scrub from where it was to the end of the last pack.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreScrub {
    /// Bytes that were read.
    pub bytes: u64,
    /// Chunks that were checked.
    pub chunks: u64,
    /// Chunks whose subtree roots were written anew.
    pub mended: u64,
    /// Chunks that are damaged, and why; their owners are told.
    pub rot: Vec<Finding>,
}

/// The state of an owner's drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveStatus {
    /// Sequence of the current head; 0 when nothing was ever put.
    pub sequence: u64,
    /// Other histories of this drive that were seen; more than 0 is a problem.
    pub forks: u64,
    /// Segments that the drive's files and folders need.
    pub segments: u64,
    /// Those of them that lack at least one chunk at present.
    pub degraded_segments: u64,
}

/// The head of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHead {
    /// Entries.
    pub size: u64,
    /// Merkle root over them, 64 hexadecimal digits.
    pub root: String,
    /// Parties that cosigned the head that this node shows to others.
    pub cosigners: u64,
    /// Where the ledger is served to everybody as tiles, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An element of `GET /v1/peers`: a node that this node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its peer id.
    pub peer_id: String,
    /// The party that signs its notes; absent until its record was seen.
    pub party: Option<String>,
    /// Multiaddrs under which it was seen or says it is.
    pub addresses: Vec<String>,
    /// Is there an open connection?
    pub connected: bool,
    /// Last measured round trip, milliseconds; absent when never measured.
    pub round_trip_ms: Option<u32>,
    /// `"quic"` or `"tcp"`; absent without a connection.
    pub transport: Option<String>,
    /// Bytes that it says it still lends; absent when it offers none or was not asked.
    pub free_bytes: Option<u64>,
    /// What it asks of everybody; absent when it offers nothing.
    pub prices: Option<Prices>,
    /// The country where it says that it is, two letters; absent when it does not.
    pub region: Option<String>,
}

/// What a provider is paid, micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// For each GiB kept for 30 days.
    pub storage_microcredits_per_gib_month: u64,
    /// For each GiB sent to the owner.
    pub egress_microcredits_per_gib: u64,
    /// For each passed audit.
    pub audit_microcredits: u64,
}

/// What stands under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// `GET /v1/files`: a folder's children, or a file alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What was listed.
    pub path: String,
    /// The children of a folder, ordered by name; a file lists itself.
    pub entries: Vec<FileEntry>,
    /// Where to go on: the `after` of the next request. Absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One line of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The last component of the path.
    pub name: String,
    /// The whole path in the drive.
    pub path: String,
    /// File or folder.
    pub kind: FileKind,
    /// Bytes of a file; of all files below a folder.
    pub bytes: u64,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// May its owner execute it?
    pub executable: bool,
}

/// `PUT /v1/archive`: what was stored. It is in the drive, and enough providers have signed for
/// bytes on disk, when this is answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PutReport {
    /// Paths in the drive of the archive's root entries, ascending.
    pub stored: Vec<String>,
    /// Files stored.
    pub files: u64,
    /// Folders of the archive, new or merged into one that was there.
    #[serde(default)]
    pub folders: u64,
    /// Bytes of these files, before padding and coding.
    pub bytes: u64,
    /// Segments written, those of folders included.
    pub segments: u64,
    /// From the first byte of the request to this answer, seconds.
    pub seconds: f64,
    /// Entries of the archive that were not stored, like devices and links.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// What went less than well although the put is complete, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// An entry of an archive that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path in the archive.
    pub path: String,
    /// The reason, as a phrase.
    pub why: String,
}

/// `DELETE /v1/files`: what is no longer in the drive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// What was removed.
    pub path: String,
    /// Files in it; 1 for a file.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// As in [`PutReport::warnings`].
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `POST /v1/audits`: whom to challenge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// Only this provider (peer id); without it, every provider that holds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The challenge's nonce, 64 hexadecimal digits; without it, a random one. A given nonce makes
    /// the drawn leaves known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The answer to an [`AuditRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// One for each contract that was audited.
    pub audits: Vec<Audit>,
}

/// The fault class of an audit; kept apart because they call for different answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// All leaves were right.
    Passed,
    /// A chunk is wrong or lost.
    WrongBytes,
    /// Connected, but no answer in time.
    NoAnswer,
    /// Not reachable.
    Offline,
    /// The provider says that its disk is in quarantine.
    Quarantined,
}

impl AuditOutcome {
    /// The word in JSON, like `"wrong-bytes"`.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Passed => "passed",
            AuditOutcome::WrongBytes => "wrong-bytes",
            AuditOutcome::NoAnswer => "no-answer",
            AuditOutcome::Offline => "offline",
            AuditOutcome::Quarantined => "quarantined",
        }
    }
}

/// One audit of one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Whose disk, a peer id.
    pub provider: String,
    /// Under which contract, 64 hexadecimal digits.
    pub contract: String,
    /// Its number under the contract.
    pub epoch: u64,
    /// The fault class.
    pub outcome: AuditOutcome,
    /// Leaves that were shown and are right.
    pub leaves: u64,
    /// Ids of chunks that were found wrong or lost.
    pub lost_chunks: Vec<String>,
    /// Bytes under the contract at the time.
    pub held_bytes: u64,
    /// Why the outcome is what it is, and what it means for the provider, in sentences.
    pub reason: String,
    /// What to do about it; empty when nothing is.
    #[serde(default)]
    pub what_to_do: String,
    /// SHA-256 of the evidence, 64 hexadecimal digits; zeros without a proof.
    pub evidence: String,
    /// Milliseconds from sending the challenge to its whole answer, or to giving it up.
    #[serde(default)]
    pub took_ms: u64,
    /// Was it a challenge that had been sent before and not been judged?
    #[serde(default)]
    pub repeated: bool,
}

/// `GET /v1/credit`: who may come to owe this provider how much (spec/credit.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditView {
    /// Length of an epoch, seconds.
    pub epoch_seconds: u64,
    /// Microcredits by which uncovered debts may grow in an epoch.
    pub gift_microcredits: u64,
    /// What of them is used, with one epoch of keeping what is held ahead; a decimal number.
    pub gift_used_microcredits: String,
    /// All parties that something is known of, those first that may come to owe most.
    pub parties: Vec<PartyCredit>,
}

/// How one party stands with this provider. Amounts are microcredits as decimal numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyCredit {
    /// Whose, 64 hexadecimal digits.
    pub party: String,
    /// What it owes by receipts and payments; negative when it is owed.
    pub account_microcredits: String,
    /// What it owes and has not signed for.
    pub unsigned_microcredits: String,
    /// What it may come to owe within an epoch.
    pub exposure_microcredits: String,
    /// What it may owe on its own: the operator's line and what it may hold back.
    pub own_microcredits: String,
    /// What others' trust lines carry.
    pub guaranteed_microcredits: String,
    /// What the pricing policy answers for.
    pub policy_microcredits: String,
    /// What its trust lines carry of others' debts.
    pub lent_microcredits: String,
    /// What nobody stands for.
    pub uncovered_microcredits: String,
    /// How much more it may come to owe.
    pub headroom_microcredits: String,
    /// Its contracts that are not served, and why.
    pub stopped: Vec<Stopped>,
}

/// A contract that is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which, 64 hexadecimal digits.
    pub contract: String,
    /// Why, and what its owner can do.
    pub why: String,
}

/// `POST /v1/payments`: says that somebody has paid this party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// Who paid, 64 hexadecimal digits.
    pub payer: String,
    /// How much more than before, microcredits.
    pub microcredits: u64,
    /// Hash of an outside document, 64 hexadecimal digits. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The payer's node, a peer id. Absent: whichever of its nodes is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// `POST /v1/trust`: answers for somebody's debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRequest {
    /// To whom, 64 hexadecimal digits.
    pub creditor: String,
    /// Whose debt, 64 hexadecimal digits.
    pub debtor: String,
    /// Up to how much, microcredits; 0 takes an earlier line back.
    pub limit_microcredits: u64,
    /// For how long from now, seconds.
    pub seconds: u64,
    /// The creditor's node, a peer id. Absent: whichever of its nodes is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A note that both parties have signed, of `POST /v1/payments` and `POST /v1/trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedView {
    /// The note, as text.
    pub note: String,
    /// Whose node countersigned, a peer id.
    pub node: String,
}

/// `POST /v1/repair`: what counts as gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// A holder that has been out of reach for longer than this many seconds counts as gone; 0: out
    /// of reach right now. Absent: what the node's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_after_seconds: Option<u64>,
}

/// What one run of repair found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Segments looked at.
    pub segments: u64,
    /// Segments with all their chunks at the end.
    pub full: u64,
    /// Segments that got chunks back.
    pub repaired_segments: u64,
    /// Chunks made again and signed for.
    pub rebuilt_chunks: u64,
    /// Their bytes.
    pub rebuilt_bytes: u64,
    /// Segments that still lack chunks and can be read.
    pub at_risk: u64,
    /// Segments with fewer chunks than reading needs.
    pub lost: u64,
}

/// An element of `GET /v1/contracts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractInfo {
    /// The contract's id, 64 hexadecimal digits.
    pub contract: String,
    /// This node's side.
    pub role: Role,
    /// The party on the other side, 64 hexadecimal digits.
    pub counterparty: String,
    /// The provider's peer id, whichever side this node is on.
    pub provider: String,
    /// Sequence of the last revision; 0 before the first.
    pub sequence: u64,
    /// Bytes under the contract.
    pub held_bytes: u64,
    /// Chunks under the contract.
    pub held_chunks: u64,
    /// Bytes of the inventory's address space, holes of removed chunks included.
    pub span: u64,
    /// Root of the inventory as last signed, 64 hexadecimal digits.
    pub inventory_root: String,
    /// Number of the next audit.
    pub next_epoch: u64,
    /// What the owner pays under it.
    pub prices: Prices,
}

/// `GET /v1/contracts/{id}/inventory`: a part of what is under a contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryPage {
    /// Entries from the one asked for, ascending, at most [`INVENTORY_PAGE_MAX`]. Empty at the end.
    pub entries: Vec<InventoryEntry>,
}

/// One entry of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// Its place.
    pub index: u64,
    /// Where it starts in the inventory's address space, bytes.
    pub offset: u64,
    /// Its length, bytes.
    pub len: u64,
    /// The chunk's id, 64 hexadecimal digits; absent for the hole of a removed chunk.
    pub chunk: Option<String>,
}

/// `GET /v1/ledger`: head, entries and balances of the node's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// The ledger's name: the first line of its checkpoints.
    pub origin: String,
    /// Entries in all.
    pub size: u64,
    /// Merkle root over them, 64 hexadecimal digits.
    pub root: String,
    /// The signed head, the text of a C2SP tlog-checkpoint.
    pub checkpoint: String,
    /// The entries asked for, ascending, at most [`LEDGER_COUNT_MAX`].
    pub entries: Vec<LedgerEntry>,
    /// What follows from the receipts that both sides signed, one for each contract.
    pub balances: Vec<Balance>,
}

/// One note of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place.
    pub index: u64,
    /// The kind of statement, like `"receipt"`.
    pub kind: String,
    /// One line for people.
    pub summary: String,
    /// The signed note, word for word.
    pub note: String,
}

/// What one contract comes to, from the newest receipt that both sides signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The contract's id, 64 hexadecimal digits.
    pub contract: String,
    /// The party on the other side.
    pub counterparty: String,
    /// This node's side.
    pub role: Role,
    /// What the other side owes this node, microcredits; negative when this node owes. Values
    /// beyond 64 bits are cut to the nearest that fits.
    pub owed_to_me_microcredits: i64,
    /// Sequence of that receipt; 0 without one.
    pub receipt_sequence: u64,
    /// Bytes held times seconds, a decimal number as text, because it outgrows what JSON readers
    /// keep exactly.
    pub byte_seconds: String,
    /// Bytes that the provider served.
    pub egress_bytes: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits failed.
    pub audits_failed: u64,
}

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
