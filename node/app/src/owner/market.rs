//! Who offers disk at which prices, and what of it this node accepts (spec/policy-pricing.md, `ceiling`).
//!
//! Invariant: no contract is opened at prices above what the pricing policy accepts, nor far above those
//! that the provider announces: it was chosen by these. Prices of contracts that stand are not looked at again.
//! Not here: who of those that are left gets chunks (engine and placement policy).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use commonhold_engine::placement::Candidate;
use commonhold_format::ids::NodeId;
use commonhold_format::policy::{Ceiling, Market};
use commonhold_format::record::Region;
use commonhold_format::statement::Prices;
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_net::CallError;

use super::{Owner, ProviderError};
use crate::clock::{moment, unix_seconds};
use crate::directory::Known;

/// How long one look at the market is good for, as far as the policy is concerned.
const CEILING_FOR: Duration = Duration::from_secs(5);
/// A quote may be so many times what is announced, which is for no size and no term.
const QUOTE_OVER_MAX: u64 = 2;
/// How long a provider may take to quote.
const QUOTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Providers that answered last time.
pub(super) struct View {
    /// Those whose prices are accepted.
    pub candidates: Vec<Candidate>,
    /// Those that are too expensive.
    pub dear: Vec<Candidate>,
}

/// Whether one of the prices is above its bound.
fn exceed(prices: &Prices, most: &Prices) -> bool {
    prices.storage_microcredits_per_gib_month > most.storage_microcredits_per_gib_month
        || prices.egress_microcredits_per_gib > most.egress_microcredits_per_gib
        || prices.audit_microcredits > most.audit_microcredits
}

/// What offers look like together; of an even number the lower one of the two in the middle.
fn market_of(offers: &[Prices]) -> Market {
    let sorted = |of: fn(&Prices) -> u64| {
        let mut prices: Vec<u64> = offers.iter().map(of).collect();
        prices.sort_unstable();
        prices
    };
    let storage = sorted(|it| it.storage_microcredits_per_gib_month);
    let egress = sorted(|it| it.egress_microcredits_per_gib);
    let audit = sorted(|it| it.audit_microcredits);
    let at = |position: usize| {
        let of = |prices: &[u64]| prices.get(position).copied().unwrap_or(0);
        Prices {
            storage_microcredits_per_gib_month: of(&storage),
            egress_microcredits_per_gib: of(&egress),
            audit_microcredits: of(&audit),
        }
    };
    let last = offers.len().saturating_sub(1);
    Market {
        providers: u32::try_from(offers.len()).unwrap_or(u32::MAX),
        lowest: at(0),
        median: at(last / 2),
        highest: at(last),
    }
}

impl Owner {
    pub(super) fn candidate(&self, known: &Known) -> Option<Candidate> {
        let offer = known.record.offer.as_ref()?;
        Some(Candidate {
            node: known.record.node,
            party: known.record.party,
            free_bytes: offer.free_bytes,
            prices: offer.prices,
            latency_ms: known.latency_ms,
            standing: self.standing(&known.record.node),
            subnet: known.subnet(),
            region: offer.region.map_or(0, Region::code),
        })
    }

    /// Everybody who answered last time and offers disk.
    pub(super) fn offering(&self) -> Vec<Candidate> {
        let known = self.directory.all();
        known.iter().filter(|known| known.reachable).filter_map(|known| self.candidate(known)).collect()
    }

    /// Providers that answered last time, by whether this node accepts what they ask.
    pub(super) fn market(&self) -> View {
        let offering = self.offering();
        let prices: Vec<Prices> = offering.iter().map(|it| it.prices).collect();
        let most = self.ceiling(&prices);
        // Under a contract that stands, its prices hold.
        let mut standing: Option<HashMap<NodeId, Prices>> = None;
        let is_dear = |it: &Candidate| {
            exceed(&it.prices, &most) && {
                let agreed = standing.get_or_insert_with(|| self.agreed_prices()).get(&it.node);
                agreed.is_none_or(|agreed| exceed(agreed, &most))
            }
        };
        let (dear, candidates) = offering.into_iter().partition(is_dear);
        View { candidates, dear }
    }

    /// Providers that answered last time and ask for no more than this node accepts.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.market().candidates
    }

    /// Prices of open contracts, by node; of several that of the newest, which is used.
    fn agreed_prices(&self) -> HashMap<NodeId, Prices> {
        let now = unix_seconds();
        let mut contracts = self.contracts();
        contracts.retain(|state| state.contract.ends > now);
        contracts.sort_by_key(|state| state.contract.ends);
        contracts.into_iter().map(|state| (state.contract.node, state.contract.prices)).collect()
    }

    /// The highest prices that the policy accepts, asked once for each look at the market.
    fn ceiling(&self, offers: &[Prices]) -> Prices {
        let mut known = self.ceiling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *known {
            Some((at, most)) if at.elapsed() < CEILING_FOR => most,
            _ => {
                let ask = Ceiling { now: moment(), market: market_of(offers) };
                let most = self.policies.pricing.ask(ask);
                *known = Some((Instant::now(), most));
                most
            }
        }
    }

    /// Another policy decides from now on.
    pub fn ask_ceiling_anew(&self) {
        *self.ceiling.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// The prices of a new contract with a provider that announces `announced`: its quote, or what it
    /// announces when it gives none.
    pub(super) async fn agree_on(
        &self,
        node: NodeId,
        announced: &Prices,
        bytes: u64,
        seconds: u64,
    ) -> Result<Prices, ProviderError> {
        let refused = |why: &str| ProviderError::Refused { node, why: why.to_owned() };
        let prices = self.quote_of(node, announced, bytes, seconds).await?;
        let Prices {
            storage_microcredits_per_gib_month: storage,
            egress_microcredits_per_gib: egress,
            audit_microcredits: audit,
        } = *announced;
        let most = Prices {
            storage_microcredits_per_gib_month: storage.saturating_mul(QUOTE_OVER_MAX),
            egress_microcredits_per_gib: egress.saturating_mul(QUOTE_OVER_MAX),
            audit_microcredits: audit.saturating_mul(QUOTE_OVER_MAX),
        };
        if exceed(&prices, &most) {
            return Err(refused("it asks for more than twice what it announces"));
        }
        let offers: Vec<Prices> = self.offering().iter().map(|it| it.prices).collect();
        if exceed(&prices, &self.ceiling(&offers)) {
            return Err(refused("it asks for more than this node's pricing policy accepts"));
        }
        Ok(prices)
    }

    async fn quote_of(
        &self,
        node: NodeId,
        announced: &Prices,
        bytes: u64,
        seconds: u64,
    ) -> Result<Prices, ProviderError> {
        let free = Prices {
            storage_microcredits_per_gib_month: 0,
            egress_microcredits_per_gib: 0,
            audit_microcredits: 0,
        };
        if *announced == free {
            // Nobody can ask for less, and for more is too much.
            return Ok(free);
        }
        let request = Request::Quote { owner: self.party.id(), bytes, seconds };
        match self.net.call(node, request, QUOTE_TIMEOUT).await {
            Ok(Response::Quote { prices, .. }) => Ok(prices),
            Ok(Response::Refused { reason: Refusal::Busy, message }) => {
                tracing::debug!(%node, message, "no quote: what is announced holds");
                Ok(*announced)
            }
            Ok(other) => Err(super::unexpected(node, other)),
            // A node of an older version does not know the question and ends the stream.
            Err(CallError::Closed { .. } | CallError::BadAnswer { .. }) => Ok(*announced),
            Err(error) => {
                self.directory.observed(&node, false);
                Err(ProviderError::Unreachable { node, why: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prices([storage, egress, audit]: [u64; 3]) -> Prices {
        Prices {
            storage_microcredits_per_gib_month: storage,
            egress_microcredits_per_gib: egress,
            audit_microcredits: audit,
        }
    }

    #[test]
    fn a_market_is_the_lowest_median_and_highest_of_each_price() {
        let offers = [[5, 1, 30], [1, 2, 10], [9, 3, 20], [7, 4, 40]].map(prices);
        let market = market_of(&offers);
        assert_eq!(market.providers, 4);
        assert_eq!(market.lowest, prices([1, 1, 10]));
        assert_eq!(market.median, prices([5, 2, 20]));
        assert_eq!(market.highest, prices([9, 4, 40]));
        assert_eq!(market_of(&offers[..1]).median, offers[0]);
        assert_eq!(market_of(&[]), Market { lowest: prices([0; 3]), ..market_of(&[]) });
    }

    proptest! {
        #[test]
        fn prices_exceed_a_ceiling_when_one_of_them_does(a: [u64; 3], b: [u64; 3]) {
            let above = a.iter().zip(&b).any(|(a, b)| a > b);
            prop_assert_eq!(exceed(&prices(a), &prices(b)), above);
            let market = market_of(&[prices(a), prices(b)]);
            prop_assert!(!exceed(&market.lowest, &prices(a)) && !exceed(&prices(a), &market.highest));
            prop_assert!(!exceed(&market.lowest, &market.median) && !exceed(&market.median, &market.highest));
        }
    }
}
