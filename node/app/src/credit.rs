//! The provider's view of who owes it what: whom it serves, whom it stops, and what it claims
//! (spec/credit.md).
//!
//! Invariant: whatever adds to a debt is weighed together with everything that is being added at the
//! same time, so a thousand askers at once get no more than one after the other. Nothing is kept here
//! that does not follow from notes, but for how long a contract has been stopped. Not here: the rules
//! (engine), and whether a request is its sender's to make (provider).

mod advice;
mod arrears;
mod claims;
mod counting;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use commonhold_engine::credit::{Credit, CreditRules, Debt, Debts, Line, Signing, Stop, storage_price};
use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::policy::{self, Policy};
use commonhold_format::statement::Prices;
use commonhold_ledger::Ledger;
use commonhold_store::ContractState;

use self::advice::Advised;
use self::arrears::Arrears;
use crate::clock::unix_seconds;
use crate::vault::Vault;

pub use self::claims::look_forever;

/// For how long from now data is counted that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// Not at all: what is owed by now.
    Nothing,
    /// To the end of this epoch.
    Rest,
    /// One whole epoch.
    Epoch,
}

/// One contract as credit sees it.
struct Lent {
    state: ContractState,
    unsigned: u64,
    signing: Signing,
}

/// What was counted, and when.
struct Counted {
    at: Instant,
    /// With [`Ahead::Nothing`], [`Ahead::Rest`] and [`Ahead::Epoch`].
    debts: [Debts; 3],
    stops: HashMap<ContractId, Stop>,
}

#[derive(Default)]
struct State {
    /// Accounts and lines, as of the notes so far; empty when a note about money came since.
    money: Option<Arc<Money>>,
    counted: Option<Counted>,
    /// Microcredits by contract that are being added.
    reserved: BTreeMap<ContractId, u64>,
    /// Since when something is unsigned, by contract.
    unsigned: HashMap<ContractId, Kept>,
    /// What lines carried when they had ended, by line and end; it changes no more.
    ended: BTreeMap<(PartyId, PartyId, u64, u64), u64>,
    /// What the pricing policy said of parties.
    advice: BTreeMap<PartyId, Advised>,
}

/// Since when something is kept that the receipt of this sequence does not cover.
struct Kept {
    receipt: u64,
    /// The last revision that was looked at.
    revision: u64,
    /// `None` when nothing was kept up to that revision.
    since: Option<u64>,
}

/// What follows from the ledger about money.
struct Money {
    at: Instant,
    /// Accounts, and audits of this epoch; the rest is empty.
    accounts: BTreeMap<PartyId, Debt>,
    lines: Vec<(Line, u64)>,
    /// The epoch's beginning, and what was owed then.
    epoch: u64,
    began: Debts,
    /// Accounts as policies see them.
    peers: BTreeMap<PartyId, policy::Peer>,
}

/// See the module. Calls block on the disk.
pub struct Creditor {
    rules: CreditRules,
    policy: Arc<dyn Policy>,
    arrears_seconds: u64,
    vault: Arc<Vault>,
    ledger: Ledger,
    party: PartyId,
    egress: Arc<Mutex<HashMap<ContractId, u64>>>,
    arrears: Mutex<Arrears>,
    state: Mutex<State>,
    /// Claims that stand in the ledger, by contract and sequence of the missing receipt.
    claimed: Mutex<Option<HashSet<(ContractId, u64)>>>,
}

/// Something that is being added to a debt; counted until it is dropped.
pub struct Reservation<'a> {
    creditor: &'a Creditor,
    contract: ContractId,
    amount: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.creditor.state();
        if let Some(reserved) = state.reserved.get_mut(&self.contract) {
            *reserved = reserved.saturating_sub(self.amount);
            if *reserved == 0 {
                state.reserved.remove(&self.contract);
            }
        }
        // What was counted last has it still; what is counted next takes it from the store, if it came
        // to that.
    }
}

/// How one party stands, for its operator to read.
#[derive(Debug, Clone)]
pub struct PartyCredit {
    /// Whose.
    pub party: PartyId,
    /// What it owes by receipts and payments; negative when it is owed.
    pub account: i128,
    /// What it owes and has not signed for.
    pub unsigned: u64,
    /// How it stands, with one epoch ahead.
    pub credit: Credit,
    /// How much more it may come to owe.
    pub headroom: u64,
    /// Contracts of it that are stopped, and why.
    pub stopped: Vec<(ContractId, Stop)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Creditor {
    /// Over the rooms of a provider. `arrears_file` keeps how long contracts have been stopped; `egress`
    /// has what was sent and is in no receipt. The policy is that of pricing.
    #[allow(clippy::too_many_arguments, reason = "one for each room")]
    pub fn new(
        rules: CreditRules,
        policy: Arc<dyn Policy>,
        arrears_seconds: u64,
        vault: Arc<Vault>,
        ledger: Ledger,
        party: PartyId,
        egress: Arc<Mutex<HashMap<ContractId, u64>>>,
        arrears_file: PathBuf,
    ) -> Self {
        let arrears = Mutex::new(Arrears::open(arrears_file));
        let state = Mutex::default();
        let claimed = Mutex::default();
        Self { rules, policy, arrears_seconds, vault, ledger, party, egress, arrears, state, claimed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Tells that a note was logged on which accounts or cover depend.
    pub fn changed(&self) {
        let mut state = self.state();
        state.money = None;
        state.counted = None;
    }

    /// Whether a party may open a contract under which it may hold back so much.
    ///
    /// # Errors
    /// Why not, for the party to read.
    pub fn may_open(&self, owner: &PartyId, hold_microcredits: u64) -> Result<(), String> {
        let mut state = self.state();
        let store = self.vault.store()?;
        let counted = self.counted_for(&mut state, &store, owner)?;
        let of_owner = |id: &ContractId| store.contract(id).is_some_and(|it| it.contract.owner == *owner);
        if let Some((_, stop)) = counted.stops.iter().find(|(id, _)| of_owner(id)) {
            return Err(stop.to_string());
        }
        let mut debts = counted.debts[Ahead::Rest as usize].clone();
        let debt = debts.debts.entry(*owner).or_default();
        debt.hold = debt.hold.max(hold_microcredits);
        if debts.allows(owner, 1) {
            return Ok(());
        }
        Err("this node gives no more credit in this epoch: pay ahead, or have somebody answer for you"
            .to_owned())
    }

    /// Whether a contract may come to hold `held_bytes`, as things stand.
    ///
    /// # Errors
    /// Why not, for the owner to read.
    pub fn could_hold(&self, contract: &ContractState, held_bytes: u64) -> Result<(), String> {
        self.weigh_hold(&mut self.state(), contract, held_bytes).map(drop)
    }

    /// As [`could_hold`](Self::could_hold), and keeps the place among all that is being added.
    ///
    /// # Errors
    /// Why not, for the owner to read.
    pub fn may_hold(&self, contract: &ContractState, held_bytes: u64) -> Result<Reservation<'_>, String> {
        let mut state = self.state();
        let (debts, amount) = self.weigh_hold(&mut state, contract, held_bytes)?;
        for debts in debts {
            let debt = debts.debts.entry(contract.contract.owner).or_default();
            debt.ahead = debt.ahead.saturating_add(amount);
        }
        let contract = contract.contract.id();
        let reserved = state.reserved.entry(contract).or_default();
        *reserved = reserved.saturating_add(amount);
        Ok(Reservation { creditor: self, contract, amount })
    }

    /// The debts with something ahead, and what holding so much adds to them, if that is covered.
    fn weigh_hold<'a>(
        &self,
        state: &'a mut State,
        contract: &ContractState,
        held_bytes: u64,
    ) -> Result<(&'a mut [Debts], u64), String> {
        let terms = &contract.contract;
        let held = contract.revision.as_ref().map_or(0, |(revision, _)| revision.held_bytes);
        let seconds = self.rules.epoch_seconds.min(terms.ends.saturating_sub(unix_seconds()));
        let price = |bytes| storage_price(&terms.prices, bytes, seconds);
        let more = price(held_bytes).saturating_sub(price(held));
        let store = self.vault.store()?;
        let counted = self.counted_for(state, &store, &terms.owner)?;
        if let Some(stop) = counted.stops.get(&terms.id()) {
            return Err(stop.to_string());
        }
        let debts = &counted.debts[Ahead::Epoch as usize];
        if !debts.allows(&terms.owner, more) {
            let headroom = debts.headroom(&terms.owner);
            return Err(format!(
                "keeping this for an epoch costs {more} microcredits and {headroom} are covered here: pay ahead, or have somebody answer for you"
            ));
        }
        Ok((&mut counted.debts[Ahead::Rest as usize..], more))
    }

    /// Whether `bytes` may be sent to the owner of a contract; they count from now on.
    ///
    /// # Errors
    /// Why not, for the owner to read.
    pub fn may_read(&self, contract: &ContractState, bytes: u64) -> Result<(), String> {
        let terms = &contract.contract;
        let price = egress_price(&terms.prices, bytes);
        let mut state = self.state();
        let store = self.vault.store()?;
        let counted = self.counted_for(&mut state, &store, &terms.owner)?;
        if let Some(stop) = counted.stops.get(&terms.id()) {
            return Err(stop.to_string());
        }
        if !counted.debts[Ahead::Rest as usize].allows(&terms.owner, price) {
            return Err(
                "this read is not covered here: pay ahead, or have somebody answer for you".to_owned()
            );
        }
        for debts in &mut counted.debts {
            let debt = debts.debts.entry(terms.owner).or_default();
            debt.unsigned = debt.unsigned.saturating_add(price);
        }
        Ok(())
    }

    /// Why a contract is not served, if so.
    pub fn stop_of(&self, contract: &ContractId) -> Option<Stop> {
        let mut state = self.state();
        let store = self.vault.store().ok()?;
        self.counted(&mut state, &store).ok()?.stops.get(contract).copied()
    }

    /// What a trust line carries at the moment, with one epoch ahead, microcredits: it cannot be lowered
    /// below that.
    ///
    /// # Errors
    /// A sentence, when the ledger or the store cannot be read.
    pub fn carried(&self, debtor: &PartyId) -> Result<u64, String> {
        let store = self.vault.store()?;
        let mut state = self.state();
        let counted = self.counted(&mut state, &store)?;
        let weighed = counted.debts[Ahead::Epoch as usize].weigh();
        let carried = weighed.get(debtor).map_or(0, |credit| credit.guaranteed);
        Ok(u64::try_from(carried).unwrap_or(u64::MAX))
    }

    /// How all parties stand, those first that owe most.
    ///
    /// # Errors
    /// A sentence, when the ledger or the store cannot be read.
    pub fn parties(&self) -> Result<Vec<PartyCredit>, String> {
        let store = self.vault.store()?;
        let (debts, stops) = {
            let mut state = self.state();
            let counted = self.counted(&mut state, &store)?;
            (counted.debts[Ahead::Epoch as usize].clone(), counted.stops.clone())
        };
        let mut stopped: HashMap<PartyId, Vec<(ContractId, Stop)>> = HashMap::new();
        for (id, stop) in stops {
            if let Some(state) = store.contract(&id) {
                stopped.entry(state.contract.owner).or_default().push((id, stop));
            }
        }
        let headrooms = debts.headrooms();
        let mut parties: Vec<PartyCredit> = debts
            .weigh()
            .into_iter()
            .map(|(party, credit)| {
                let debt = debts.debts.get(&party).copied().unwrap_or_default();
                let (account, unsigned) = (debt.account, debt.unsigned);
                let headroom = headrooms.get(&party).copied().unwrap_or(0);
                let stopped = stopped.remove(&party).unwrap_or_default();
                PartyCredit { party, account, unsigned, credit, headroom, stopped }
            })
            .collect();
        parties.sort_by_key(|it| std::cmp::Reverse(it.credit.exposure));
        Ok(parties)
    }

    /// What stands between this node and a party by what both signed, for policies.
    ///
    /// # Errors
    /// As [`parties`](Self::parties).
    pub fn peer(&self, party: &PartyId) -> Result<policy::Peer, String> {
        let store = self.vault.store()?;
        let money = self.money(&mut self.state(), &store, unix_seconds())?;
        Ok(money.peer(party))
    }

    /// Length of an epoch, seconds.
    pub fn epoch_seconds(&self) -> u64 {
        self.rules.epoch_seconds
    }

    /// What the operator has to know.
    pub fn problems(&self) -> Vec<String> {
        let Ok(store) = self.vault.store() else { return Vec::new() };
        let mut state = self.state();
        let stopped = self.counted(&mut state, &store).map_or(0, |counted| counted.stops.len());
        if stopped == 0 {
            return Vec::new();
        }
        vec![format!(
            "{stopped} contracts are not served, because nobody signs or pays: see `commonhold ledger credit`"
        )]
    }

    /// What of this epoch's gift budget is used, and the budget, microcredits.
    ///
    /// # Errors
    /// As [`parties`](Self::parties).
    pub fn gifts(&self) -> Result<(i128, u64), String> {
        let store = self.vault.store()?;
        let mut state = self.state();
        let counted = self.counted(&mut state, &store)?;
        Ok((counted.debts[Ahead::Epoch as usize].spent(), self.rules.gift_microcredits))
    }
}

/// The price of sending bytes, rounded up.
fn egress_price(prices: &Prices, bytes: u64) -> u64 {
    prices.amount_due(0, bytes, 0).map_or(u64::MAX, |due| due + 1)
}

#[cfg(test)]
pub(crate) mod tests;
