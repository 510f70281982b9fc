//! The questions of the world `pricing` (spec/policy-pricing.md).

use serde::{Deserialize, Serialize};

use super::{BadAnswer, Key, Moment, bad};
use crate::statement::{AMOUNT_MAX, Prices};

/// This node's disk and contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Bytes that it lends.
    pub allotted_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Contracts that have not ended.
    pub contracts: u32,
}

/// Somebody with whom this node trades, by what both signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peer {
    /// All zeros for anybody.
    pub party: Key,
    /// What it owes, microcredits; negative when it is owed.
    pub account: i64,
    /// What it ever did for this node, microcredits.
    pub given: u64,
    /// What this node ever did for it, microcredits.
    pub taken: u64,
}

/// What keeping data costs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quote {
    /// When.
    pub now: Moment,
    /// What the operator configured.
    pub base: Prices,
    /// Bytes of the contract; 0 for the announced quote.
    pub bytes: u64,
    /// Its term, seconds; 0 for the announced quote.
    pub term_seconds: u64,
    /// For whom.
    pub peer: Peer,
    /// This node's disk.
    pub usage: Usage,
}

/// How far a party may go into debt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreditLimit {
    /// When.
    pub now: Moment,
    /// Who.
    pub peer: Peer,
    /// What it owes and has not signed for, microcredits.
    pub unsigned: u64,
    /// Gifts to all strangers in an epoch, microcredits.
    pub gift_budget: u64,
    /// What the operator answers for, microcredits.
    pub trusted: u64,
}

/// See [`CreditLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// What this node answers for beyond what its operator does, microcredits.
    pub trust: u64,
    /// Most of the gift budget that the party may use, microcredits.
    pub gift: u64,
}

impl Credit {
    /// What the default gives: nothing of its own, and no bound on gifts but the budget.
    pub const DEFAULT: Self = Self { trust: 0, gift: AMOUNT_MAX };

    pub(super) fn check(&self) -> Result<(), BadAnswer> {
        let most = self.trust.max(self.gift);
        if most > AMOUNT_MAX { bad(format!("{most} micro-credits are more than any amount")) } else { Ok(()) }
    }
}

/// What an owner sees before it opens contracts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Market {
    /// Providers with an offer.
    pub providers: u32,
    /// The lowest of each price.
    pub lowest: Prices,
    /// The median of each.
    pub median: Prices,
    /// The highest of each.
    pub highest: Prices,
}

/// The highest prices that an owner accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ceiling {
    /// When.
    pub now: Moment,
    /// What is on offer.
    pub market: Market,
}
