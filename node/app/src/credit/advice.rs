//! What the pricing policy says of parties' credit (spec/credit.md, "What a policy may change").
//!
//! Invariant: it is asked about a party when something is to be decided for that one, or now and then
//! when it has contracts, and not twice within a minute; never for a chunk. Not here: how far it counts
//! (engine).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use commonhold_engine::credit::{Advice, Debts};
use commonhold_format::ids::PartyId;
use commonhold_format::policy::{Credit, CreditLimit, Moment, Peer};
use commonhold_store::Store;

use super::{Ahead, Counted, Creditor, Lent, Money, State};
use crate::clock::{moment, unix_seconds};

/// How long advice is followed.
const ADVICE_FOR: Duration = Duration::from_secs(60);
/// Parties that are asked about in one count, of those for whom nothing is to be decided just now: a slow
/// policy must not hold up the rest. Those whose advice is oldest come first, and debts are counted once
/// a second at most.
const ASKED_IN_A_COUNT: usize = 32;

/// Advice, and when it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advised {
    at: Instant,
    is_old: bool,
    credit: Credit,
}

impl Advised {
    /// As if it had been given before.
    pub(super) fn age(&mut self) {
        self.is_old = true;
    }
}

impl State {
    /// What differs from the default, for the engine.
    pub(super) fn advice(&self) -> BTreeMap<PartyId, Advice> {
        let differs = self.advice.iter().filter(|(_, it)| it.credit != Credit::DEFAULT);
        let advice = |it: &Advised| Advice { trust: it.credit.trust, gift_max: it.credit.gift };
        differs.map(|(party, it)| (*party, advice(it))).collect()
    }

    fn is_advised(&self, party: &PartyId) -> bool {
        self.advice.get(party).is_some_and(|it| !it.is_old && it.at.elapsed() < ADVICE_FOR)
    }
}

impl Money {
    /// The account with a party as policies see it.
    pub(super) fn peer(&self, party: &PartyId) -> Peer {
        self.peers.get(party).copied().unwrap_or(Peer { party: (*party).into(), ..Peer::default() })
    }

    /// What nobody stood for when the epoch began, if the policy had said then what it says now.
    pub(super) fn before(&self, advice: &BTreeMap<PartyId, Advice>) -> BTreeMap<PartyId, i128> {
        let began = Debts { advice: advice.clone(), ..self.began.clone() };
        began.weigh().into_iter().map(|(party, credit)| (party, credit.uncovered)).collect()
    }
}

impl Creditor {
    /// Tells that another policy answers: what the one before said stands until it is asked about a party.
    pub fn ask_anew(&self) {
        self.state().advice.values_mut().for_each(Advised::age);
    }

    /// The debts, with advice about `party` that is at most a minute old.
    pub(super) fn counted_for<'a>(
        &self,
        state: &'a mut State,
        store: &Store,
        party: &PartyId,
    ) -> Result<&'a mut Counted, String> {
        if !state.is_advised(party) {
            let money = self.money(state, store, unix_seconds())?;
            let owed = self.counted(state, store)?.debts[Ahead::Nothing as usize].debts.get(party);
            let unsigned = owed.map_or(0, |it| it.unsigned);
            // Counting may have asked about it.
            if !state.is_advised(party) && self.ask(state, party, money.peer(party), unsigned, moment()) {
                let advice = state.advice();
                let before = money.before(&advice);
                for debts in self.counted(state, store)?.debts.iter_mut() {
                    debts.advice = advice.clone();
                    debts.before = before.clone();
                }
            }
        }
        self.counted(state, store)
    }

    /// Asks about owners of contracts of whom nothing was said for a minute.
    pub(super) fn ask_about(&self, state: &mut State, money: &Money, contracts: &[Lent]) {
        let mut unsigned: BTreeMap<PartyId, u64> = BTreeMap::new();
        for lent in contracts {
            let sum = unsigned.entry(lent.state.contract.owner).or_default();
            *sum = sum.saturating_add(lent.unsigned);
        }
        // Whoever has no contract is asked about again when it asks for something.
        let owners: BTreeSet<PartyId> = unsigned.keys().copied().collect();
        state.advice.retain(|party, it| owners.contains(party) || it.at.elapsed() < ADVICE_FOR);
        let mut due: Vec<(Option<Instant>, PartyId)> = owners
            .into_iter()
            .filter(|party| !state.is_advised(party))
            .map(|party| (state.advice.get(&party).map(|it| it.at), party))
            .collect();
        due.sort_unstable();
        let now = moment();
        for (_, party) in due.into_iter().take(ASKED_IN_A_COUNT) {
            self.ask(state, &party, money.peer(&party), unsigned[&party], now);
        }
    }

    /// Asks about a party; answers whether something else is said than before.
    fn ask(&self, state: &mut State, party: &PartyId, peer: Peer, unsigned: u64, now: Moment) -> bool {
        let credit = self.policy.ask(CreditLimit {
            now,
            peer,
            unsigned,
            gift_budget: self.rules.gift_microcredits,
            trusted: self.rules.trusted.get(party).copied().unwrap_or(0),
        });
        let before = state.advice.insert(*party, Advised { at: Instant::now(), is_old: false, credit });
        before.map_or(Credit::DEFAULT, |it| it.credit) != credit
    }
}
