//! Contracts of a node, what is under them and what is paid for it (spec/api.md, spec/inventory.md).
//!
//! Invariant: prices are whole micro-credits of one unit, which their names say.

use serde::{Deserialize, Serialize};

use super::Role;

/// Most entries of one [`InventoryPage`]: about 150 KiB of JSON.
pub const INVENTORY_PAGE_MAX: usize = 1000;

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
