//! What things cost (spec/policy-pricing.md).
//!
//! `use commonhold_plugin::pricing::*` brings in all that a pricing policy needs.

pub use crate::bindings::pricing::exports::commonhold::policy::pricing::{
    Credit, CreditRequest, Market, Peer, Request, Usage,
};
pub use crate::prelude::*;

/// A pricing policy. What is not written is the built-in default's.
pub trait Pricing {
    /// What this node asks for keeping data, microcredits, each at most [`AMOUNT_MAX`]. Asked for the
    /// quote that is announced to all and for each contract.
    fn quote(request: Request) -> Prices {
        request.base
    }

    /// How much credit a party gets, microcredits, each at most [`AMOUNT_MAX`].
    fn credit_limit(request: CreditRequest) -> Credit {
        let _ = request;
        Credit::DEFAULT
    }

    /// The highest prices that this node, as an owner, accepts: [`Prices::ANY`] for any.
    fn ceiling(market: Market) -> Prices {
        let _ = market;
        Prices::ANY
    }
}

impl Credit {
    /// What the default gives: no trust of its own, and no bound on gifts but the budget.
    pub const DEFAULT: Self = Self { trust: 0, gift: AMOUNT_MAX };
    /// None at all.
    pub const NONE: Self = Self { trust: 0, gift: 0 };
}

impl Usage {
    /// The part of the lent disk that is in use, in thousandths, 0 to 1000; 1000 when nothing is lent.
    pub fn per_mille(&self) -> u64 {
        // Shifted so that thousand times a number fits.
        let used = self.used_bytes.min(self.allotted_bytes) >> 10;
        (used * 1000).checked_div(self.allotted_bytes >> 10).unwrap_or(1000).min(1000)
    }
}

impl Request {
    /// Whether this is the quote that is announced to all, and not one for a contract.
    pub fn is_announced(&self) -> bool {
        self.peer.party == Key::NOBODY && self.bytes == 0
    }
}

/// Nothing lent, for tests.
impl Default for Usage {
    fn default() -> Self {
        Self { allotted_bytes: 0, used_bytes: 0, contracts: 0 }
    }
}

/// Anybody.
impl Default for Peer {
    fn default() -> Self {
        Self { party: Key::NOBODY, account: 0, given: 0, taken: 0 }
    }
}

/// The announced quote at base prices of nothing, for tests.
impl Default for Request {
    fn default() -> Self {
        Self {
            now: Moment::default(),
            base: Prices::FREE,
            bytes: 0,
            term_seconds: 0,
            peer: Peer::default(),
            usage: Usage::default(),
        }
    }
}

/// A stranger, for tests.
impl Default for CreditRequest {
    fn default() -> Self {
        Self { now: Moment::default(), peer: Peer::default(), unsigned: 0, gift_budget: 0, trusted: 0 }
    }
}

/// Nobody offers anything, for tests.
impl Default for Market {
    fn default() -> Self {
        Self {
            now: Moment::default(),
            providers: 0,
            lowest: Prices::FREE,
            median: Prices::FREE,
            highest: Prices::FREE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_between_nothing_and_all() {
        let of = |allotted_bytes, used_bytes| Usage { allotted_bytes, used_bytes, contracts: 0 }.per_mille();
        assert_eq!(of(1 << 40, 1 << 39), 500);
        assert_eq!(of(1 << 40, u64::MAX), 1000);
        assert_eq!([of(0, 0), of(0, 9), of(5, 0)], [1000; 3]);
        assert_eq!(of(u64::MAX, u64::MAX - 1), 1000);
    }
}
