//! How long the stages of storing and fetching take, summed over everything a node does.
//!
//! Invariant: times only grow, and stages that run beside each other each count in full, so their
//! sum is more than the time that passed. What it is not: a trace of a single file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A stage of a put or a get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the bytes of an upload.
    Read,
    /// Encrypting.
    Seal,
    /// Computing parity.
    Code,
    /// Computing chunk ids.
    Hash,
    /// Sending a chunk, until its provider has written it.
    Send,
    /// Waiting for a provider's signature for synced chunks.
    Commit,
    /// Noting where a segment's chunks are.
    Index,
    /// Writing folders and the drive's head.
    Head,
    /// Waiting for a chunk that was asked for.
    Fetch,
    /// Comparing chunks with their ids.
    Check,
    /// Putting a segment together from its chunks.
    Decode,
    /// Decrypting.
    Open,
}

/// All stages with their names, in the order of [`Stage`].
const STAGES: [(Stage, &str); 12] = [
    (Stage::Read, "read"),
    (Stage::Seal, "seal"),
    (Stage::Code, "code"),
    (Stage::Hash, "hash"),
    (Stage::Send, "send"),
    (Stage::Commit, "commit"),
    (Stage::Index, "index"),
    (Stage::Head, "head"),
    (Stage::Fetch, "fetch"),
    (Stage::Check, "check"),
    (Stage::Decode, "decode"),
    (Stage::Open, "open"),
];

/// Time by stage since it was made.
#[derive(Debug, Default)]
pub struct Meter([AtomicU64; STAGES.len()]);

impl Meter {
    /// Adds the time since `begun`.
    pub fn since(&self, stage: Stage, begun: Instant) {
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[stage as usize].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Each stage's name and time, in the order of the work.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        STAGES.iter().map(|(stage, name)| {
            (*name, Duration::from_nanos(self.0[*stage as usize].load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_own_time_and_name() {
        for (place, (stage, name)) in STAGES.iter().enumerate() {
            assert_eq!(*stage as usize, place);
            let meter = Meter::default();
            meter.since(*stage, Instant::now() - Duration::from_secs(1));
            let moved: Vec<&str> = meter
                .totals()
                .filter(|(_, time)| *time >= Duration::from_secs(1))
                .map(|(name, _)| name)
                .collect();
            assert_eq!(moved, [*name]);
        }
    }
}
