//! When to audit, and what audits say about a provider (spec/engine.md, "Audits" and "Standing").
//!
//! Invariant: a [`Standing`] follows from [`Standing::default`] and the outcomes that were recorded,
//! in order and with their times, and from nothing else; so it is never stored, only replayed from
//! the ledger. The classes of fault stay apart: only bytes that were signed for and cannot be shown,
//! or a challenge that three times went unanswered, count against a provider. What it is not: the
//! verification of a proof, which is `commonhold_format::audit`.

mod standing;

use commonhold_format::audit::{ProofError, ProofReport};
use commonhold_format::statement::AuditOutcome;

use crate::chance::{FRACTION_BITS, exponential};

pub use standing::{
    AWAY_GAP_SECONDS_MAX, AWAY_SECONDS_MAX, PROBATION_PASSES, Reason, STRIKES_MAX, Standing, State,
    UNANSWERED_MAX, WEIGHT_GOOD, WEIGHT_PROBATION,
};

/// Longest gap between two audits, in means. One draw in 400 reaches it; without it, one provider in
/// 3,000 would go unaudited for more than eight days a draw. The cap shortens the mean by 0.25 %.
pub const GAP_MEANS_MAX: u64 = 6;

/// The time of the audit after the one at `after` (Unix seconds), for a uniform 64-bit `draw`.
///
/// The gaps are exponentially distributed around `mean_seconds`, so that audits form a Poisson
/// process and having just been audited says nothing about when the next one comes. A gap is at
/// least 1 second and at most [`GAP_MEANS_MAX`] means (1 second when the mean is 0).
pub fn next_audit(after: u64, mean_seconds: u64, draw: u64) -> u64 {
    let means = exponential(draw).min(GAP_MEANS_MAX << FRACTION_BITS);
    let gap = (u128::from(mean_seconds) * u128::from(means)) >> FRACTION_BITS;
    after.saturating_add(u64::try_from(gap).unwrap_or(u64::MAX).max(1))
}

/// Seconds before a challenge that went unanswered once, twice is sent again, on average: soon, because
/// most silences are a restart or a short overload; and not at once, because so is the second.
pub const REPEAT_SECONDS: [u64; 2] = [60, 600];

/// When a challenge that went unanswered for the `unanswered`-th time at `after` (Unix seconds) is sent
/// again, for a uniform 64-bit `draw`: between three and five quarters of [`REPEAT_SECONDS`] later, so
/// that the owners of a node that was away do not all come back at once. `None` for a challenge that is
/// not sent again.
pub fn next_try(after: u64, unanswered: u8, draw: u64) -> Option<u64> {
    let mean = *REPEAT_SECONDS.get(usize::from(unanswered.checked_sub(1)?))?;
    let spread = (u128::from(mean / 2 + 1) * u128::from(draw)) >> 64;
    Some(after.saturating_add(mean - mean / 4).saturating_add(u64::try_from(spread).unwrap_or(0)))
}

/// What the verification of a proof means for the provider. A proof that is refused as a whole
/// counts as wrong bytes: the provider answered, and what it answered is not what it signed for. A
/// provider that has lost its inventory can say so by a quarantine.
pub fn check_audit(proof: &Result<ProofReport, ProofError>) -> AuditOutcome {
    match proof {
        Ok(report) if report.passed() => AuditOutcome::Passed,
        _ => AuditOutcome::WrongBytes,
    }
}
