//! What this node asks for keeping data: what it announces to all, and what it quotes to one owner
//! (spec/policy-pricing.md, `quote`; spec/wire.md, "Quote").
//!
//! Invariant: prices come from the pricing policy. A quote is taken for a minute, for the owner, the size
//! and the term that it was given for. Quotes are asked for with the view of the disk that the announced
//! prices were asked for with, so that whoever gets no prices of its own gets those that are announced.
//! Not here: what else a contract has to fulfil (engine).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::policy::{Peer, Policy, Quote, Usage};
use commonhold_format::statement::Prices;
use commonhold_format::wire::{Refusal, Response};
use commonhold_store::{Role, Store};

use super::{Answer, Provider, Refused, blocking, locked};
use crate::clock::{moment, unix_seconds};
use crate::credit::Creditor;
use crate::hourly::Hourly;
use crate::vault::Vault;

/// How long a quote is taken.
const QUOTED_FOR: Duration = Duration::from_secs(60);
/// Quotes that one owner gets in an hour.
const QUOTES_PER_HOUR_MAX: usize = 120;
/// Quotes that are remembered; beyond it the one that ends first is forgotten.
const QUOTES_MAX: usize = 4096;
/// How long announced prices stand when nothing has changed …
const ANNOUNCED_FOR: Duration = Duration::from_secs(60);
/// … and how long at least, when something has.
const ANNOUNCED_AT_LEAST: Duration = Duration::from_secs(5);

/// Asks the pricing policy what this node asks for. Calls block on the disk.
pub struct Quoter {
    base: Prices,
    policy: Arc<dyn Policy>,
    vault: Arc<Vault>,
    creditor: Arc<Creditor>,
    state: Mutex<State>,
}

struct State {
    announced: Option<Announced>,
    /// Something but the bytes in use has changed since.
    changed: bool,
    quotes: HashMap<For, Quoted>,
    asked: Hourly<PartyId>,
}

#[derive(Clone, Copy)]
struct Announced {
    at: Instant,
    usage: Usage,
    prices: Prices,
}

/// For whom a quote is: the owner, bytes and seconds.
type For = (PartyId, u64, u64);

#[derive(Clone, Copy)]
struct Quoted {
    prices: Prices,
    until: Instant,
}

/// What the store's accounts say of the disk.
pub(super) fn usage_of(store: &Store) -> Usage {
    let (usage, now) = (store.usage(), unix_seconds());
    let states = store.contracts().into_iter().filter_map(|id| store.contract(&id));
    let open = states.filter(|it| it.role == Role::Provider && it.contract.ends > now).count();
    Usage {
        allotted_bytes: usage.allotted_bytes,
        used_bytes: usage.allotted_bytes.saturating_sub(usage.free_bytes),
        contracts: u32::try_from(open).unwrap_or(u32::MAX),
    }
}

impl Quoter {
    /// Over the rooms of a provider; `base` is what its operator asks, the policy that of pricing.
    pub fn new(base: Prices, policy: Arc<dyn Policy>, vault: Arc<Vault>, creditor: Arc<Creditor>) -> Self {
        let (quotes, asked) = (HashMap::new(), Hourly::new(QUOTES_PER_HOUR_MAX));
        let state = Mutex::new(State { announced: None, changed: false, quotes, asked });
        Self { base, policy, vault, creditor, state }
    }

    /// The prices that are announced to all. The policy is asked when a minute has gone by since the last
    /// time, or five seconds and something has changed: bytes in use, contracts, the policy.
    pub fn announced(&self) -> Prices {
        self.look().prices
    }

    /// Tells that there is a contract more, or another policy.
    pub fn changed(&self) {
        locked(&self.state).changed = true;
    }

    fn look(&self) -> Announced {
        let store = self.vault.store().ok();
        let used = store.as_ref().map(|store| {
            let usage = store.usage();
            usage.allotted_bytes.saturating_sub(usage.free_bytes)
        });
        let known = {
            let state = locked(&self.state);
            let stands = state.announced.filter(|it| {
                let same = !state.changed && used.is_none_or(|used| used == it.usage.used_bytes);
                it.at.elapsed() < if same { ANNOUNCED_FOR } else { ANNOUNCED_AT_LEAST }
            });
            // Of a disk that is not there nothing is known anew.
            let last = if store.is_none() { state.announced.map(|it| it.usage) } else { None };
            stands.ok_or(last)
        };
        let last = match known {
            Ok(announced) => return announced,
            Err(last) => last,
        };
        let usage = store.as_ref().map(usage_of).or(last).unwrap_or_default();
        let ask = Quote { now: moment(), base: self.base, usage, ..Quote::default() };
        let announced = Announced { at: Instant::now(), usage, prices: self.policy.ask(ask) };
        let mut state = locked(&self.state);
        state.announced = Some(announced);
        state.changed = false;
        announced
    }

    /// What a contract of so many bytes and seconds costs an owner, and until when: as it was quoted within
    /// the last minute, or by asking the policy.
    ///
    /// # Errors
    /// When the owner has asked too often, or the accounts cannot be read.
    fn quote(&self, owner: PartyId, bytes: u64, seconds: u64) -> Result<Quoted, Refused> {
        let (key, now) = ((owner, bytes, seconds), Instant::now());
        {
            let mut state = locked(&self.state);
            if let Some(quoted) = state.quotes.get(&key).filter(|it| it.until > now) {
                return Ok(*quoted);
            }
            if !state.asked.take(owner, 1) {
                let why = format!("an owner gets {QUOTES_PER_HOUR_MAX} quotes in an hour here");
                return Err(Refused::new(Refusal::Busy, why));
            }
        }
        let usage = self.look().usage;
        let peer: Peer = self.creditor.peer(&owner).map_err(|why| Refused::new(Refusal::Quarantined, why))?;
        let ask = Quote { now: moment(), base: self.base, bytes, term_seconds: seconds, peer, usage };
        let quoted = Quoted { prices: self.policy.ask(ask), until: now + QUOTED_FOR };
        let quotes = &mut locked(&self.state).quotes;
        if quotes.len() >= QUOTES_MAX {
            quotes.retain(|_, it| it.until > now);
        }
        if quotes.len() >= QUOTES_MAX
            && let Some(first) = quotes.iter().min_by_key(|(_, it)| it.until).map(|(key, _)| *key)
        {
            quotes.remove(&first);
        }
        quotes.insert(key, quoted);
        Ok(quoted)
    }
}

impl Provider {
    pub(super) async fn quote(&self, from: NodeId, owner: PartyId, bytes: u64, seconds: u64) -> Answer {
        if self.rules.is_none() {
            return Err(Refused::new(Refusal::Terms, "this node lends no disk"));
        }
        self.authorize(from, owner).await?;
        let quoted = self.quoted(owner, bytes, seconds).await?;
        let left = quoted.until.saturating_duration_since(Instant::now());
        let valid_until = unix_seconds().saturating_add(left.as_secs());
        Ok(Response::Quote { prices: quoted.prices, valid_until })
    }

    /// The least prices of a contract.
    pub(super) async fn least_prices(
        &self,
        owner: PartyId,
        bytes: u64,
        seconds: u64,
    ) -> Result<Prices, Refused> {
        Ok(self.quoted(owner, bytes, seconds).await?.prices)
    }

    async fn quoted(&self, owner: PartyId, bytes: u64, seconds: u64) -> Result<Quoted, Refused> {
        let quoter = self.quoter.clone();
        blocking(move || quoter.quote(owner, bytes, seconds)).await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::credit::tests::{Place, owner};
    use commonhold_engine::policy::BuiltIn;
    use commonhold_format::policy::{Answer, Question};

    /// Asks for a microcredit for each question so far, and keeps the questions.
    #[derive(Default)]
    struct Rising(Mutex<Vec<Quote>>);

    impl Policy for Rising {
        fn answer(&self, question: &Question) -> Answer {
            let Question::Quote(quote) = question else { return BuiltIn.answer(question) };
            let mut asked = self.0.lock().unwrap();
            asked.push(quote.clone());
            Answer::Prices(prices(asked.len() as u64))
        }
    }

    fn prices(storage: u64) -> Prices {
        Prices { storage_microcredits_per_gib_month: storage, ..Prices::default() }
    }

    fn quoter(place: &Place, policy: Arc<dyn Policy>) -> Quoter {
        let creditor = Arc::new(place.creditor(1));
        Quoter::new(prices(7), policy, place.vault.clone(), creditor)
    }

    #[test]
    fn by_default_everybody_is_asked_for_what_the_operator_set() {
        let place = Place::new();
        let quoter = quoter(&place, Arc::new(BuiltIn));
        assert_eq!(quoter.announced(), prices(7));
        assert_eq!(quoter.quote(owner(1).id(), 5, 6).ok().unwrap().prices, prices(7));
    }

    #[test]
    fn the_policy_is_told_the_disk_the_contract_and_the_account() {
        let place = Place::new();
        let policy = Arc::new(Rising::default());
        let quoter = quoter(&place, policy.clone());
        let contract = place.open(1, |_| {});
        place.audited(1, &contract, 1, contract.starts + 5, 30);
        assert_eq!(quoter.announced(), prices(1));
        quoter.quote(owner(1).id(), 5, 6).ok().unwrap();
        quoter.quote(owner(2).id(), 5, 6).ok().unwrap();
        let asked = policy.0.lock().unwrap();
        let usage = asked[0].usage;
        assert_eq!((usage.allotted_bytes, usage.contracts), (64 << 20, 1));
        assert!(asked.iter().all(|it| it.usage == usage && it.base == prices(7)));
        assert_eq!((asked[0].peer, asked[0].bytes), (Peer::default(), 0));
        let peer = Peer { party: owner(1).id().into(), account: 30, given: 0, taken: 30 };
        assert_eq!((asked[1].peer, asked[1].bytes, asked[1].term_seconds), (peer, 5, 6));
        assert_eq!(asked[2].peer, Peer { party: owner(2).id().into(), ..Peer::default() });
    }

    #[test]
    fn a_quote_stands_for_its_owner_size_and_term() {
        let place = Place::new();
        let quoter = quoter(&place, Arc::new(Rising::default()));
        let quote =
            |seed, bytes, seconds| quoter.quote(owner(seed).id(), bytes, seconds).ok().unwrap().prices;
        let announced = quoter.announced();
        let first = quote(1, 5, 6);
        assert_ne!(first, announced);
        assert_eq!(quote(1, 5, 6), first);
        let others = [quote(2, 5, 6), quote(1, 4, 6), quote(1, 5, 7)];
        assert!(others.iter().all(|it| *it != first));
        // What is announced stands as well: nothing has changed.
        assert_eq!(quoter.announced(), announced);
        // A minute later it is asked for again.
        for quoted in quoter.state.lock().unwrap().quotes.values_mut() {
            quoted.until = Instant::now();
        }
        assert_ne!(quote(1, 5, 6), first);
    }

    #[test]
    fn what_is_announced_is_asked_for_again_when_something_changed_and_not_at_once() {
        let place = Place::new();
        let quoter = quoter(&place, Arc::new(Rising::default()));
        let pass = |seconds| {
            let mut state = quoter.state.lock().unwrap();
            let announced = state.announced.as_mut().unwrap();
            announced.at = announced.at.checked_sub(Duration::from_secs(seconds)).unwrap();
        };
        assert_eq!(quoter.announced(), prices(1));
        quoter.changed();
        assert_eq!(quoter.announced(), prices(1));
        pass(6);
        assert_eq!((quoter.announced(), quoter.announced()), (prices(2), prices(2)));
        pass(6);
        assert_eq!(quoter.announced(), prices(2));
        // A contract uses bytes of the book.
        place.open(1, |_| {});
        assert_eq!(quoter.announced(), prices(3));
        pass(61);
        assert_eq!(quoter.announced(), prices(4));
    }

    #[test]
    fn attack_37_quotes_are_bounded_for_each_owner_and_in_all() {
        let place = Place::new();
        let policy = Arc::new(Rising::default());
        let quoter = quoter(&place, policy.clone());
        for bytes in 0..QUOTES_PER_HOUR_MAX as u64 {
            assert!(quoter.quote(owner(1).id(), bytes, 6).is_ok());
        }
        let refused = quoter.quote(owner(1).id(), 500, 6).err().unwrap();
        assert_eq!(refused.0, Refusal::Busy);
        // What was quoted stands, and others are quoted.
        assert!(quoter.quote(owner(1).id(), 5, 6).is_ok() && quoter.quote(owner(2).id(), 5, 6).is_ok());
        let first = PartyId([0; 32]);
        let kept = quoter.quote(owner(1).id(), 119, 6).ok().unwrap();
        {
            let mut state = quoter.state.lock().unwrap();
            for n in 0..QUOTES_MAX as u64 {
                state.quotes.insert((first, n, 0), kept);
            }
        }
        quoter.quote(owner(3).id(), 5, 6).ok().unwrap();
        let state = quoter.state.lock().unwrap();
        assert!(state.quotes.contains_key(&(owner(3).id(), 5, 6)));
        assert!(state.quotes.len() <= QUOTES_MAX + QUOTES_PER_HOUR_MAX + 2);
    }
}
