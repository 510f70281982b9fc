//! A provider's disk: its accounts, and what looking after it found (spec/api.md, spec/store.md).
//!
//! Invariant: the accounts add up, used + trash + dead + reserve + free = allotted + excess.

use serde::{Deserialize, Serialize};

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
