//! A node's own ledger: its head, its notes, and what follows from them (spec/api.md, spec/ledger.md).
//!
//! Invariant: a note is shown word for word as it was signed.

use serde::{Deserialize, Serialize};

use super::Role;

/// Most ledger entries of one [`LedgerView`]; a larger `count` is refused.
pub const LEDGER_COUNT_MAX: usize = 1000;
/// Entries of a [`LedgerView`] when the request names no `count`.
pub const LEDGER_COUNT_DEFAULT: usize = 100;

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
