//! Where chunks go (spec/policy-placement.md).
//!
//! `use commonhold_plugin::placement::*` brings in all that a placement policy needs.

pub use crate::apart::Apart;
pub use crate::bindings::placement::exports::commonhold::policy::placement::{Candidate, Code, Need, Offer};
pub use crate::durability;
pub use crate::prelude::*;

/// Nothing is held against a candidate: its `standing`.
pub const STANDING_GOOD: u32 = 1;
/// A candidate could not show bytes that it had signed for: its `standing`.
pub const STANDING_PROBATION: u32 = 2;
/// A new segment: the `purpose` of a need.
pub const PURPOSE_NEW: u32 = 1;
/// Repair: the `purpose` of a need.
pub const PURPOSE_REPAIR: u32 = 2;

/// Free space beyond this counts no more in the default's order, bytes: 1 TiB. What somebody says is free
/// costs nothing to say.
pub const FREE_BYTES_MAX: u64 = 1 << 40;
/// How much more a candidate in good standing weighs in the default's order than one on probation.
pub const GOOD_WEIGHT: u64 = 8;

/// A placement policy. What is not written is the built-in default's.
pub trait Placement {
    /// The code for the segments of a file that is about to be stored, when `candidates` could hold a
    /// chunk each. 1 ≤ k ≤ n ≤ 64, n − k ≥ 2, n ≤ 8k. With an n above the number of candidates nothing is
    /// stored, and the owner is told so.
    fn choose_code(now: Moment, candidates: Vec<Candidate>) -> Code {
        let _ = now;
        default_code(candidates.len())
    }

    /// Who is to hold the chunks, best first, as positions in `candidates`. `taken` hold other chunks of
    /// the segment already. More than are wanted serve as spares; who is left out gets nothing. The node
    /// goes down the list and skips whoever shares a node, party or subnet with one before or with one of
    /// `taken`.
    fn rank(need: Need, taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        let _ = (need, taken);
        order::weighted(&candidates, default_weight)
    }

    /// Whether this node takes a contract on that passed its other rules.
    fn admit(offer: Offer) -> Verdict {
        let _ = offer;
        Verdict::yes()
    }
}

/// The default's code: 2 of 6 for up to 29 candidates, 10 of 30 for up to 59, 20 of 60 beyond.
pub fn default_code(candidates: usize) -> Code {
    match candidates {
        ..30 => Code { k: 2, n: 6 },
        30..60 => Code { k: 10, n: 30 },
        60.. => Code { k: 20, n: 60 },
    }
}

/// What a candidate weighs in the default's order: the free space that it claims, up to
/// [`FREE_BYTES_MAX`], and [`GOOD_WEIGHT`] times as much in good standing. At least 1, at most 2⁴³.
pub fn default_weight(candidate: &Candidate) -> u64 {
    let standing = if candidate.standing == STANDING_GOOD { GOOD_WEIGHT } else { 1 };
    candidate.free_bytes.clamp(1, FREE_BYTES_MAX) * standing
}

impl Candidate {
    /// The two letters of its region, or `None` when it does not say.
    pub fn region_letters(&self) -> Option<String> {
        let letters = [(self.region >> 8) as u8, self.region as u8];
        let clear = self.region < 1 << 16 && letters.iter().all(u8::is_ascii_uppercase);
        clear.then(|| letters.map(char::from).iter().collect())
    }

    /// Of its audits by this owner, the part that it failed, in thousandths; 0 when there were none.
    pub fn failed_per_mille(&self) -> u32 {
        let all = u64::from(self.audits_passed) + u64::from(self.audits_failed);
        (u64::from(self.audits_failed) * 1000).checked_div(all).unwrap_or(0) as u32
    }
}

/// Somebody in good standing of whom nothing else is known, for tests.
impl Default for Candidate {
    fn default() -> Self {
        Self {
            node: Key::NOBODY,
            party: Key::NOBODY,
            operator: 0,
            subnet: 0,
            region: 0,
            standing: STANDING_GOOD,
            audits_passed: 0,
            audits_failed: 0,
            latency_ms: 0,
            returning: 0,
            free_bytes: 0,
            prices: Prices::FREE,
            lot: 0,
        }
    }
}

/// A new segment of 2 of 6 chunks of 1 MiB, for tests.
impl Default for Need {
    fn default() -> Self {
        Self {
            now: Moment::default(),
            purpose: PURPOSE_NEW,
            code: Code { k: 2, n: 6 },
            holders: 6,
            chunk_len: 1 << 20,
        }
    }
}

/// An empty offer, for tests.
impl Default for Offer {
    fn default() -> Self {
        Self {
            now: Moment::default(),
            owner: Key::NOBODY,
            bytes: 0,
            term_seconds: 0,
            prices: Prices::FREE,
            hold: 0,
            allotted_bytes: 0,
            free_bytes: 0,
            contracts_of_owner: 0,
            contracts: 0,
            account: 0,
        }
    }
}

/// The number of a region: `region("DE")`. 0 for anything but two letters.
pub const fn region(letters: &str) -> u32 {
    match letters.as_bytes() {
        [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
            256 * first.to_ascii_uppercase() as u32 + second.to_ascii_uppercase() as u32
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_two_letters() {
        let it = |region| Candidate { region, ..Candidate::default() }.region_letters();
        assert_eq!(it(region("de")).as_deref(), Some("DE"));
        for region in [0, 1, 0x6162, 0x4445_4445, region("D"), region("DEU"), region("ß")] {
            assert_eq!(it(region), None);
        }
    }

    #[test]
    fn failures_are_a_part_of_all_audits() {
        let it = |audits_passed, audits_failed| {
            Candidate { audits_passed, audits_failed, ..Candidate::default() }.failed_per_mille()
        };
        assert_eq!([it(0, 0), it(3, 1), it(0, 9), it(u32::MAX, u32::MAX)], [0, 250, 1000, 500]);
    }
}
