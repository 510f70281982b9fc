//! Whether a receipt adds up (spec/engine.md, "Settlement").
//!
//! Invariant: a receipt that is accepted is the next one, takes nothing back, and owes exactly what
//! the contract's prices say for its totals. Totals are cumulative, so a receipt that is lost or
//! shown twice changes nothing. What it is not: the check of signatures, or a balance.

use commonhold_format::ids::{ContractId, NodeId};
use commonhold_format::statement::{Contract, Receipt};
use commonhold_format::tree::Hash;

/// Byte-seconds after `held_bytes` bytes were held from `from` to `to` (Unix seconds), on top of
/// `before`. A clock that went back adds nothing, and time after the contract's `ends` is not owed
/// for.
pub fn byte_seconds(before: u128, held_bytes: u64, from: u64, to: u64, ends: u64) -> u128 {
    let seconds = to.min(ends).saturating_sub(from);
    before.saturating_add(u128::from(held_bytes) * u128::from(seconds))
}

/// What the party that is asked to sign has counted itself, up to the `until` of the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnCount {
    /// Byte-seconds since the contract's start.
    pub byte_seconds: u128,
    /// Bytes received from the provider.
    pub egress_bytes: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits failed.
    pub audits_failed: u64,
}

/// A cumulative total of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    /// Byte-seconds held.
    ByteSeconds,
    /// Bytes sent.
    EgressBytes,
    /// Audits passed.
    AuditsPassed,
    /// Audits failed.
    AuditsFailed,
    /// Microcredits owed.
    Owed,
    /// Entries of the owner's ledger.
    OwnerLedger,
    /// Entries of the provider's ledger.
    ProviderLedger,
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ByteSeconds => "byte-seconds",
            Self::EgressBytes => "bytes sent",
            Self::AuditsPassed => "audits passed",
            Self::AuditsFailed => "audits failed",
            Self::Owed => "microcredits owed",
            Self::OwnerLedger => "entries of the owner's ledger",
            Self::ProviderLedger => "entries of the provider's ledger",
        })
    }
}

/// Why a receipt is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettlementFault {
    /// It belongs to another contract.
    #[error("the receipt is of contract {found}, not of {expected}: draw one for this contract")]
    OtherContract {
        /// The contract that is settled.
        expected: ContractId,
        /// The contract in the receipt.
        found: ContractId,
    },
    /// It is not the next one: an old one again, or one is missing between.
    #[error("receipt {found} cannot follow: {expected} is next; ask for the contract's state")]
    Sequence {
        /// The number that has to come next.
        expected: u64,
        /// The number in the receipt.
        found: u64,
    },
    /// A cumulative total is lower than in the receipt before.
    #[error(
        "{total} went down from {previous} to {found}: totals only rise, so this receipt takes something back"
    )]
    WentDown {
        /// Which total.
        total: Total,
        /// Its value in the receipt before.
        previous: u128,
        /// Its value in this receipt.
        found: u128,
    },
    /// One of the ledgers shows another root at the same size as before.
    #[error(
        "{total} are as many as before under another root: that ledger was forked; keep both receipts as evidence"
    )]
    Forked {
        /// Which ledger.
        total: Total,
    },
    /// It covers less time than the receipt before.
    #[error("the receipt is until {found}, before the last one, until {previous} (Unix seconds)")]
    Backwards {
        /// End of the receipt before.
        previous: u64,
        /// End of this one.
        found: u64,
    },
    /// It covers time that has not passed.
    #[error(
        "the receipt is until {found} and it is {now} here (Unix seconds): set the clock that is wrong, then draw again"
    )]
    Future {
        /// End of the receipt.
        found: u64,
        /// This node's time.
        now: u64,
    },
    /// It covers time after the contract's end.
    #[error(
        "the receipt is until {found} and the contract ended at {ends} (Unix seconds): draw one until then"
    )]
    AfterEnd {
        /// End of the receipt.
        found: u64,
        /// End of the contract.
        ends: u64,
    },
    /// The amount is not what the prices give.
    #[error("{found} microcredits are claimed and the contract's prices give {expected}")]
    Amount {
        /// What the prices give for the totals.
        expected: u64,
        /// What the receipt says.
        found: u64,
    },
    /// The totals are so large that no amount can be stated.
    #[error("the totals are too large to be priced, so they cannot be true")]
    Overflow,
    /// It claims more than was counted here, or fewer failed audits.
    #[error("the receipt says {found} {total} and {counted} were counted here")]
    NotCounted {
        /// Which total.
        total: Total,
        /// What was counted here.
        counted: u128,
        /// What the receipt says.
        found: u128,
    },
}

/// What a provider puts into a receipt beside what follows from the contract and the notes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Byte-seconds since the contract's start, up to the receipt's end.
    pub byte_seconds: u128,
    /// Bytes that were sent since the last receipt, and that both count.
    pub egress_bytes: u64,
    /// Audits passed in all, as the owner counts.
    pub audits_passed: u64,
    /// Audits failed in all, as the owner counts.
    pub audits_failed: u64,
    /// The last audit's evidence, or zeros.
    pub evidence: Hash,
    /// The owner's node.
    pub owner_node: NodeId,
    /// Size and root of the owner's ledger.
    pub owner_head: (u64, Hash),
    /// Size and root of the provider's ledger.
    pub provider_head: (u64, Hash),
}

/// When a receipt that is drawn at `now` ends: not after the contract, and not before the last one.
pub fn receipt_end(contract: &Contract, previous: Option<&Receipt>, now: u64) -> u64 {
    now.min(contract.ends).max(previous.map_or(0, |previous| previous.until))
}

/// The receipt that follows `previous` and ends at `until`; `None` when its totals have no amount.
pub fn draw_receipt(
    contract: &Contract,
    previous: Option<&Receipt>,
    tally: &Tally,
    until: u64,
) -> Option<Receipt> {
    let egress_bytes = previous.map_or(0, |it| it.egress_bytes).checked_add(tally.egress_bytes)?;
    let audits_passed = tally.audits_passed.max(previous.map_or(0, |it| it.audits_passed));
    let byte_seconds = tally.byte_seconds.max(previous.map_or(0, |it| it.byte_seconds));
    Some(Receipt {
        contract: contract.id(),
        sequence: previous.map_or(0, |it| it.sequence).checked_add(1)?,
        until,
        byte_seconds,
        egress_bytes,
        audits_passed,
        audits_failed: tally.audits_failed.max(previous.map_or(0, |it| it.audits_failed)),
        owed_microcredits: contract.prices.amount_due(byte_seconds, egress_bytes, audits_passed)?,
        evidence: tally.evidence,
        owner_node: tally.owner_node,
        owner_head: tally.owner_head,
        provider_head: tally.provider_head,
    })
}

/// Whether `next` may follow `previous` under `contract`, from the notes alone. Both parties, and any
/// third one that reads the ledgers, come to the same answer.
///
/// # Errors
/// [`SettlementFault`], the first thing that is wrong.
pub fn check_succession(
    contract: &Contract,
    previous: Option<&Receipt>,
    next: &Receipt,
) -> Result<(), SettlementFault> {
    let expected = contract.id();
    for receipt in [Some(next), previous].into_iter().flatten() {
        if receipt.contract != expected {
            return Err(SettlementFault::OtherContract { expected, found: receipt.contract });
        }
    }
    let last = previous.map_or(0, |previous| previous.sequence);
    if last.checked_add(1) != Some(next.sequence) {
        return Err(SettlementFault::Sequence { expected: last.saturating_add(1), found: next.sequence });
    }
    if let Some(previous) = previous {
        check_rising(previous, next)?;
    }
    if next.until > contract.ends {
        return Err(SettlementFault::AfterEnd { found: next.until, ends: contract.ends });
    }
    let due = contract
        .prices
        .amount_due(next.byte_seconds, next.egress_bytes, next.audits_passed)
        .ok_or(SettlementFault::Overflow)?;
    if next.owed_microcredits != due {
        return Err(SettlementFault::Amount { expected: due, found: next.owed_microcredits });
    }
    Ok(())
}

fn check_rising(previous: &Receipt, next: &Receipt) -> Result<(), SettlementFault> {
    if next.until < previous.until {
        return Err(SettlementFault::Backwards { previous: previous.until, found: next.until });
    }
    // An owner that came back on another node has another ledger there.
    let same_node = previous.owner_node == next.owner_node;
    let owner = same_node.then_some((Total::OwnerLedger, previous.owner_head, next.owner_head));
    let provider = (Total::ProviderLedger, previous.provider_head, next.provider_head);
    let heads = || owner.into_iter().chain([provider]);
    let rows = [
        (Total::ByteSeconds, previous.byte_seconds, next.byte_seconds),
        (Total::EgressBytes, previous.egress_bytes.into(), next.egress_bytes.into()),
        (Total::AuditsPassed, previous.audits_passed.into(), next.audits_passed.into()),
        (Total::AuditsFailed, previous.audits_failed.into(), next.audits_failed.into()),
        (Total::Owed, previous.owed_microcredits.into(), next.owed_microcredits.into()),
    ];
    let sizes = heads().map(|(total, before, after)| (total, before.0.into(), after.0.into()));
    for (total, previous, found) in rows.into_iter().chain(sizes) {
        if found < previous {
            return Err(SettlementFault::WentDown { total, previous, found });
        }
    }
    for (total, before, after) in heads() {
        if before.0 == after.0 && before.1 != after.1 {
            return Err(SettlementFault::Forked { total });
        }
    }
    Ok(())
}

/// Whether the owner signs `next`: it follows `previous`, covers no time that has not passed (but for
/// `skew` seconds between the two clocks), and claims nothing that the owner has not counted itself.
/// Less than was counted is accepted, except for failed audits: totals are cumulative, so what is
/// missing can come with the next receipt.
///
/// # Errors
/// [`SettlementFault`], the first thing that is wrong.
pub fn check_receipt(
    contract: &Contract,
    previous: Option<&Receipt>,
    next: &Receipt,
    own: &OwnCount,
    now: u64,
    skew: u64,
) -> Result<(), SettlementFault> {
    check_succession(contract, previous, next)?;
    if next.until > now.saturating_add(skew) {
        return Err(SettlementFault::Future { found: next.until, now });
    }
    let claims = [
        (Total::ByteSeconds, own.byte_seconds, next.byte_seconds),
        (Total::EgressBytes, own.egress_bytes.into(), next.egress_bytes.into()),
        (Total::AuditsPassed, own.audits_passed.into(), next.audits_passed.into()),
    ];
    for (total, counted, found) in claims {
        if found > counted {
            return Err(SettlementFault::NotCounted { total, counted, found });
        }
    }
    if next.audits_failed < own.audits_failed {
        return Err(SettlementFault::NotCounted {
            total: Total::AuditsFailed,
            counted: own.audits_failed.into(),
            found: next.audits_failed.into(),
        });
    }
    Ok(())
}
