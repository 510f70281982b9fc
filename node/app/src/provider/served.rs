//! How many requests of other nodes were served and refused, by what they are about, and when the last ones
//! were.

use std::sync::atomic::{AtomicU64, Ordering};

use commonhold_format::wire::Request;

use crate::clock::unix_seconds;

/// What requests are about, in the order in which they are counted.
pub const KINDS: [&str; 11] =
    ["hello", "contract", "put", "commit", "get", "audit", "receipt", "ledger", "money", "told", "other"];

/// Counts since the node was started.
#[derive(Debug, Default)]
pub struct Served {
    /// Served and refused, by kind.
    counts: [[AtomicU64; 2]; KINDS.len()],
    /// When an owner was last served, Unix seconds; 0 for never.
    last: AtomicU64,
}

impl Served {
    /// What a request is about, as a place in [`KINDS`].
    pub fn kind(request: &Request) -> usize {
        match request {
            Request::Hello => 0,
            Request::OpenContract { .. }
            | Request::ContractState { .. }
            | Request::InventoryPage { .. }
            | Request::ListContracts { .. }
            | Request::Quote { .. } => 1,
            Request::PutChunk { .. } => 2,
            Request::Commit { .. } => 3,
            Request::GetChunk { .. } => 4,
            Request::Audit { .. } => 5,
            Request::DrawReceipt { .. } | Request::SettleReceipt { .. } => 6,
            Request::Cosign { .. } | Request::Consistency { .. } => 7,
            Request::Countersign { .. } => 8,
            Request::Damaged { .. } | Request::AuditResult { .. } => 9,
            #[allow(unreachable_patterns, reason = "kinds that are added count, too")]
            _ => 10,
        }
    }

    /// Counts a request of a kind.
    pub fn note(&self, kind: usize, is_served: bool) {
        if let Some(counts) = self.counts.get(kind) {
            counts[usize::from(!is_served)].fetch_add(1, Ordering::Relaxed);
        }
        // To be greeted and asked for a head is no work for an owner.
        if is_served && matches!(kind, 1..=6) {
            self.last.fetch_max(unix_seconds(), Ordering::Relaxed);
        }
    }

    /// Served and refused, by kind.
    pub fn counts(&self) -> [[u64; 2]; KINDS.len()] {
        self.counts.each_ref().map(|both| both.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// When an owner was last served, Unix seconds; `None` for never.
    pub fn last(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}
