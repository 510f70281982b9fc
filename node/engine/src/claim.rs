//! What a provider may claim from an owner that does not sign (spec/credit.md, "Claims").
//!
//! Invariant: a claim follows from notes that both parties signed, and anybody who has them comes to
//! the same one. It is evidence and not a balance. Not here: whether those notes are signed.

use commonhold_format::statement::{Claim, Contract, Receipt, Revision};

use crate::settlement::byte_seconds;

/// Why a claim does not follow from what both signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// One of the notes is of another contract.
    #[error("the claim and what it rests on are not of one contract")]
    OtherContract,
    /// Revisions 1 to the one that is named are not all there.
    #[error(
        "revision {expected} is missing: a claim rests on all of them, and this one names revision {named}"
    )]
    Gap {
        /// The first that is missing.
        expected: u64,
        /// The one that is named.
        named: u64,
    },
    /// Another receipt is missing than the next one.
    #[error("receipt {found} is claimed to be missing, and {expected} is the next one")]
    Sequence {
        /// The next receipt.
        expected: u64,
        /// In the claim.
        found: u64,
    },
    /// It covers time that it may not.
    #[error("it covers the time until {found}, and may until between {from} and {to} (Unix seconds)")]
    Until {
        /// Earliest end.
        from: u64,
        /// Latest end.
        to: u64,
        /// In the claim.
        found: u64,
    },
    /// A total is not what the notes give.
    #[error("it says {found} {total}, and what both signed gives {expected}")]
    Total {
        /// Which.
        total: &'static str,
        /// What the notes give.
        expected: u128,
        /// In the claim.
        found: u128,
    },
    /// The totals are so large that no amount can be stated.
    #[error("the totals are too large to be priced")]
    Overflow,
}

/// Byte-seconds of a contract from its first revision to `until`; `revisions` are 1 to the last one, in
/// order.
fn byte_seconds_of(contract: &Contract, revisions: &[Revision], until: u64) -> u128 {
    let ends = revisions.iter().skip(1).map(|next| next.time).chain([until]);
    revisions
        .iter()
        .zip(ends)
        .fold(0, |sum, (it, to)| byte_seconds(sum, it.held_bytes, it.time, to.min(until), contract.ends))
}

/// The claim for the time until `until`, signed at `now`. `revisions` are 1 to the last that both
/// signed, in order; `receipt` is the last that both signed.
///
/// # Errors
/// [`ClaimFault`] when nothing can be claimed.
pub fn draw_claim(
    contract: &Contract,
    revisions: &[Revision],
    receipt: Option<&Receipt>,
    until: u64,
    now: u64,
) -> Result<Claim, ClaimFault> {
    let last = revisions.last().ok_or(ClaimFault::Gap { expected: 1, named: 1 })?;
    let byte_seconds = byte_seconds_of(contract, revisions, until);
    let egress_bytes = receipt.map_or(0, |receipt| receipt.egress_bytes);
    let audits_passed = receipt.map_or(0, |receipt| receipt.audits_passed);
    let due = contract.prices.amount_due(byte_seconds, egress_bytes, audits_passed);
    let claim = Claim {
        contract: contract.id(),
        sequence: next_receipt(receipt),
        revision: last.sequence,
        until,
        byte_seconds,
        egress_bytes,
        audits_passed,
        owed_microcredits: due.ok_or(ClaimFault::Overflow)?,
        time: now,
    };
    check_claim(contract, revisions, receipt, &claim)?;
    Ok(claim)
}

fn next_receipt(receipt: Option<&Receipt>) -> u64 {
    receipt.map_or(0, |receipt| receipt.sequence).saturating_add(1)
}

/// Whether a claim follows from revisions 1 to the one that it names and the last receipt before it.
/// Anybody who has these notes comes to the same answer.
///
/// # Errors
/// [`ClaimFault`], the first thing that is wrong.
pub fn check_claim(
    contract: &Contract,
    revisions: &[Revision],
    receipt: Option<&Receipt>,
    claim: &Claim,
) -> Result<(), ClaimFault> {
    let id = contract.id();
    if claim.contract != id
        || revisions.iter().any(|it| it.contract != id)
        || receipt.is_some_and(|it| it.contract != id)
    {
        return Err(ClaimFault::OtherContract);
    }
    let mut sequences = (1..=claim.revision).zip(revisions.iter().map(|it| it.sequence).chain([0; 1]));
    if let Some((expected, _)) = sequences.find(|(expected, there)| expected != there) {
        return Err(ClaimFault::Gap { expected, named: claim.revision });
    }
    let count = usize::try_from(claim.revision).unwrap_or(usize::MAX);
    let Some(revisions) = revisions.get(..count) else {
        return Err(ClaimFault::Gap { expected: revisions.len() as u64 + 1, named: claim.revision });
    };
    let expected = next_receipt(receipt);
    if claim.sequence != expected {
        return Err(ClaimFault::Sequence { expected, found: claim.sequence });
    }
    let first = revisions.first().map_or(contract.starts, |it| it.time);
    let (from, to) = (receipt.map_or(first, |it| it.until), contract.ends.min(claim.time));
    if claim.until < from || claim.until > to {
        return Err(ClaimFault::Until { from, to, found: claim.until });
    }
    let byte_seconds = byte_seconds_of(contract, revisions, claim.until);
    let egress = receipt.map_or(0, |it| it.egress_bytes);
    let audits = receipt.map_or(0, |it| it.audits_passed);
    let owed = contract.prices.amount_due(byte_seconds, egress, audits).ok_or(ClaimFault::Overflow)?;
    let rows: [(&str, u128, u128); 4] = [
        ("byte-seconds", byte_seconds, claim.byte_seconds),
        ("bytes sent", egress.into(), claim.egress_bytes.into()),
        ("audits passed", audits.into(), claim.audits_passed.into()),
        ("microcredits owed", owed.into(), claim.owed_microcredits.into()),
    ];
    match rows.into_iter().find(|(_, expected, found)| expected != found) {
        Some((total, expected, found)) => Err(ClaimFault::Total { total, expected, found }),
        None => Ok(()),
    }
}
