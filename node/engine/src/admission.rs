//! What a provider takes on: contracts and revisions (spec/engine.md, "Admission").
//!
//! Invariant: what is admitted can be kept and is paid for at the provider's price, and a revision
//! follows the one before. What it is not: the check of signatures, or of the inventory root against
//! the inventory; the caller does the first before and the store the second after.

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::statement::{Contract, Prices, Revision};
use commonhold_format::tree::CHUNK_LEN_MAX;
use commonhold_format::wire::Refusal;

/// Default for [`AdmissionRules::clock_skew_seconds_max`]: ten minutes. Machines that keep time at
/// all are within seconds; one that is off by more should be told rather than believed.
pub const CLOCK_SKEW_SECONDS_DEFAULT: u64 = 600;

/// A provider's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Bytes that the operator lends.
    pub allotted_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that are promised and not yet used. 0 when contracts are limits and not reservations.
    pub promised_bytes: u64,
}

impl Capacity {
    /// Bytes that can still be promised.
    pub fn free_bytes(&self) -> u64 {
        self.allotted_bytes.saturating_sub(self.used_bytes).saturating_sub(self.promised_bytes)
    }
}

/// What an operator asks of contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionRules {
    /// The least price for each service.
    pub prices: Prices,
    /// Longest term of a contract, in seconds.
    pub term_seconds_max: u64,
    /// How far an owner's clock may be off, in seconds; see [`CLOCK_SKEW_SECONDS_DEFAULT`].
    pub clock_skew_seconds_max: u64,
    /// Most bytes of one contract.
    pub contract_bytes_max: u64,
    /// Most microcredits that an owner may hold back until its contract ends (spec/credit.md, "Hold").
    pub hold_microcredits_max: u64,
}

/// Why a contract or a revision is not admitted. The text tells the other side what to change;
/// [`Denied::refusal`] is the code that goes with it over the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// More would be held back than the provider allows.
    #[error("{asked} microcredits are to be held back and at most {max} may be: offer that")]
    Hold {
        /// In the contract.
        asked: u64,
        /// Most that is accepted.
        max: u64,
    },
    /// The contract names another provider or node.
    #[error("the contract is with another party or node: send it to the node that it names")]
    NotThisNode,
    /// A part contradicts another.
    #[error("the note contradicts itself: {0}")]
    Contradiction(&'static str),
    /// A price is too low.
    #[error("{what} is offered at {offered} microcredits and costs {least} here: offer at least that")]
    Price {
        /// Which price.
        what: &'static str,
        /// What the contract says.
        offered: u64,
        /// What this provider asks.
        least: u64,
    },
    /// The term is too long.
    #[error("the contract runs for {seconds} seconds and {max} is the most here: ask for a shorter term")]
    Term {
        /// Seconds from start to end.
        seconds: u64,
        /// Most seconds.
        max: u64,
    },
    /// The contract is over.
    #[error("the contract ended at {ends} (Unix seconds): open a new one")]
    Ended {
        /// Its end.
        ends: u64,
    },
    /// A time is too far from this node's clock.
    #[error("the note says {said} and it is {now} here (Unix seconds): set the clock that is wrong")]
    Clock {
        /// The time in the note.
        said: u64,
        /// This node's time.
        now: u64,
    },
    /// The contract is larger than contracts may be here.
    #[error("the contract asks for {asked} bytes and {max} is the most for one contract: ask for less")]
    ContractTooLarge {
        /// Bytes in the contract.
        asked: u64,
        /// Most bytes.
        max: u64,
    },
    /// There is not that much room.
    #[error("the contract asks for {asked} bytes and {free} are free: ask for at most that")]
    NoRoom {
        /// Bytes in the contract.
        asked: u64,
        /// Bytes that can be promised.
        free: u64,
    },
    /// The revision holds more than the contract covers.
    #[error(
        "{held} bytes would be held and the contract covers {max}: remove some, or open a larger contract"
    )]
    OverContract {
        /// Bytes in the revision.
        held: u64,
        /// Bytes in the contract.
        max: u64,
    },
    /// The revision is not the next one.
    #[error("revision {found} cannot follow: {expected} is next; ask for the contract's state")]
    Sequence {
        /// The number that has to come next.
        expected: u64,
        /// The number in the note.
        found: u64,
    },
    /// The revision is older than the one before.
    #[error("the revision is of {found}, before the one that it follows, of {previous} (Unix seconds)")]
    Backwards {
        /// Time of the revision before.
        previous: u64,
        /// Time in the note.
        found: u64,
    },
}

impl Denied {
    /// The code of this refusal on the wire.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NotThisNode | Self::Contradiction(_) => Refusal::Invalid,
            Self::Price { .. }
            | Self::Term { .. }
            | Self::Hold { .. }
            | Self::Ended { .. }
            | Self::ContractTooLarge { .. } => Refusal::Terms,
            Self::Clock { .. } | Self::Backwards { .. } => Refusal::Clock,
            Self::NoRoom { .. } => Refusal::Full,
            Self::OverContract { .. } => Refusal::OverContract,
            Self::Sequence { .. } => Refusal::Conflict,
        }
    }
}

/// Whether the provider `me` takes a contract on at `now` (Unix seconds).
///
/// # Errors
/// [`Denied`], the first thing that is in the way.
pub fn admit_contract(
    contract: &Contract,
    me: (PartyId, NodeId),
    rules: &AdmissionRules,
    capacity: &Capacity,
    now: u64,
) -> Result<(), Denied> {
    if (contract.provider, contract.node) != me {
        return Err(Denied::NotThisNode);
    }
    let Some(seconds) = contract.ends.checked_sub(contract.starts).filter(|seconds| *seconds > 0) else {
        return Err(Denied::Contradiction("the contract ends before it starts"));
    };
    if contract.bytes_max == 0 {
        return Err(Denied::Contradiction("the contract covers no bytes"));
    }
    if contract.audit_interval_seconds == 0 {
        return Err(Denied::Contradiction("audits have no time between them"));
    }
    admit_prices(&contract.prices, &rules.prices)?;
    if seconds > rules.term_seconds_max {
        return Err(Denied::Term { seconds, max: rules.term_seconds_max });
    }
    if contract.hold_microcredits > rules.hold_microcredits_max {
        let (asked, max) = (contract.hold_microcredits, rules.hold_microcredits_max);
        return Err(Denied::Hold { asked, max });
    }
    near(contract.starts, now, rules)?;
    if contract.ends <= now {
        return Err(Denied::Ended { ends: contract.ends });
    }
    let asked = contract.bytes_max;
    if asked > rules.contract_bytes_max {
        return Err(Denied::ContractTooLarge { asked, max: rules.contract_bytes_max });
    }
    let free = capacity.free_bytes();
    if asked > free {
        return Err(Denied::NoRoom { asked, free });
    }
    Ok(())
}

fn admit_prices(offered: &Prices, least: &Prices) -> Result<(), Denied> {
    let rows = [
        (
            "a GiB-month of storage",
            offered.storage_microcredits_per_gib_month,
            least.storage_microcredits_per_gib_month,
        ),
        ("a GiB sent", offered.egress_microcredits_per_gib, least.egress_microcredits_per_gib),
        ("an audit", offered.audit_microcredits, least.audit_microcredits),
    ];
    match rows.into_iter().find(|(_, offered, least)| offered < least) {
        Some((what, offered, least)) => Err(Denied::Price { what, offered, least }),
        None => Ok(()),
    }
}

/// Whether the provider takes the revision `next` after `previous` at `now` (Unix seconds).
///
/// # Errors
/// [`Denied`], the first thing that is in the way.
pub fn admit_revision(
    contract: &Contract,
    previous: Option<&Revision>,
    next: &Revision,
    rules: &AdmissionRules,
    now: u64,
) -> Result<(), Denied> {
    let id = contract.id();
    if next.contract != id || previous.is_some_and(|previous| previous.contract != id) {
        return Err(Denied::Contradiction("the revision is of another contract"));
    }
    let last = previous.map_or(0, |previous| previous.sequence);
    if last.checked_add(1) != Some(next.sequence) {
        return Err(Denied::Sequence { expected: last.saturating_add(1), found: next.sequence });
    }
    let bytes_of_chunks = u128::from(next.held_chunks) * CHUNK_LEN_MAX as u128;
    if next.held_bytes < next.held_chunks
        || u128::from(next.held_bytes) > bytes_of_chunks
        || next.held_bytes > next.span
        || next.held_chunks > next.entries
    {
        return Err(Denied::Contradiction("its counts of bytes, chunks and entries do not fit together"));
    }
    near(next.time, now, rules)?;
    if let Some(previous) = previous.filter(|previous| next.time < previous.time) {
        return Err(Denied::Backwards { previous: previous.time, found: next.time });
    }
    if contract.ends <= now.max(next.time) {
        return Err(Denied::Ended { ends: contract.ends });
    }
    if next.held_bytes > contract.bytes_max {
        return Err(Denied::OverContract { held: next.held_bytes, max: contract.bytes_max });
    }
    Ok(())
}

fn near(said: u64, now: u64, rules: &AdmissionRules) -> Result<(), Denied> {
    if said.abs_diff(now) <= rules.clock_skew_seconds_max { Ok(()) } else { Err(Denied::Clock { said, now }) }
}
