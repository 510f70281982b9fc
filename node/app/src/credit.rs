//! The provider's view of who owes it what: whom it serves, whom it stops, and what it claims
//! (spec/credit.md).
//!
//! Invariant: whatever adds to a debt is weighed together with everything that is being added at the
//! same time, so a thousand askers at once get no more than one after the other. Nothing is kept here
//! that does not follow from notes, but for how long a contract has been stopped. Not here: the rules
//! (engine), and whether a request is its sender's to make (provider).

mod arrears;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonhold_engine::claim::draw_claim;
use commonhold_engine::credit::{
    Credit, CreditRules, Debt, Debts, Line, Signing, Stop, hold_at, stopped, storage_price,
};
use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AMOUNT_MAX, Claim, Prices, Statement};
use commonhold_ledger::Ledger;
use commonhold_store::{ContractState, Role, Store};

use self::arrears::Arrears;
use crate::clock::unix_seconds;
use crate::provider::byte_seconds_until;
use crate::vault::Vault;

/// How long debts are taken as they were counted; what is added meanwhile is added to them.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// How long accounts are taken as they were, when no note came here that changes them: the owner's half
/// of this node signs receipts as well.
const MONEY_FOR: Duration = Duration::from_secs(60);
/// How often contracts are looked at for claims and for those to give up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    /// The epoch's beginning, and what nobody stood for then.
    epoch: u64,
    before: BTreeMap<PartyId, i128>,
}

/// See the module. Calls block on the disk.
pub struct Creditor {
    rules: CreditRules,
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
    /// has what was sent and is in no receipt.
    pub fn new(
        rules: CreditRules,
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
        Self { rules, arrears_seconds, vault, ledger, party, egress, arrears, state, claimed }
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
        let counted = self.counted(&mut state, &store)?;
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
        let counted = self.counted(state, &store)?;
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
        let counted = self.counted(&mut state, &store)?;
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

    fn contracts(&self, held: &mut State, store: &Store, now: u64) -> Result<Vec<Lent>, String> {
        let sent = locked(&self.egress).clone();
        let states = store.contracts().into_iter().filter_map(|id| store.contract(&id));
        let states = states.filter(|state| state.role == Role::Provider);
        let lent = states.map(|state| {
            let receipt = state.receipt.as_ref().map(|(receipt, _)| receipt);
            let signed_until = self.signed_until(held, &state, now)?;
            let epoch_ends = signed_until.unwrap_or(now).saturating_add(self.rules.epoch_seconds);
            // What is kept for somebody that has not signed for an epoch is no credit any more.
            let until = now.min(state.contract.ends).min(epoch_ends);
            let egress = receipt.map_or(0, |it| it.egress_bytes)
                + sent.get(&state.contract.id()).copied().unwrap_or(0);
            let audits = receipt.map_or(0, |it| it.audits_passed);
            let owed = receipt.map_or(0, |it| it.owed_microcredits);
            let is_over = state.given_up && now < state.contract.ends;
            let due = match receipt {
                Some(receipt) if is_over || receipt.until >= until => {
                    state.contract.prices.amount_due(receipt.byte_seconds, egress, audits)
                }
                _ => state.contract.prices.amount_due(byte_seconds_until(&state, until), egress, audits),
            };
            // What has no amount cannot be signed for: it is owed as far as there are amounts, so that
            // it is stopped and nobody else is.
            let unsigned = due.unwrap_or(AMOUNT_MAX + 1).saturating_sub(owed);
            Ok(Lent { signing: Signing { signed_until, unsigned }, unsigned, state })
        });
        lent.collect()
    }

    /// Until when nothing is owed that the last receipt does not cover; `None` before anything was
    /// kept.
    fn signed_until(&self, held: &mut State, state: &ContractState, now: u64) -> Result<Option<u64>, String> {
        let Some((revision, _)) = &state.revision else { return Ok(None) };
        let receipt = state.receipt.as_ref().map(|(receipt, _)| receipt);
        let earliest = receipt.map_or(state.contract.starts, |receipt| receipt.until);
        if now.saturating_sub(earliest) <= self.rules.epoch_seconds {
            return Ok(Some(earliest));
        }
        // Nothing may have been kept for long after the last receipt, or since the contract began. What
        // was found stays so until the next receipt; a revision that holds nothing adds nothing to it.
        let sequence = receipt.map_or(0, |receipt| receipt.sequence);
        let id = state.contract.id();
        if let Some(known) = held.unsigned.get(&id).filter(|it| it.receipt == sequence)
            && (known.since.is_some() || known.revision == revision.sequence || revision.held_bytes == 0)
        {
            return Ok(Some(known.since.unwrap_or(earliest)));
        }
        let revisions = self.ledger.revisions(&state.contract).map_err(|error| error.to_string())?;
        let ends = revisions.iter().skip(1).map(|next| next.time).chain([u64::MAX]);
        let kept = revisions.iter().zip(ends).filter(|(it, to)| it.held_bytes > 0 && *to > earliest);
        let since = kept.map(|(it, _)| it.time.max(earliest)).next();
        held.unsigned.insert(id, Kept { receipt: sequence, revision: revision.sequence, since });
        Ok(Some(since.unwrap_or(earliest)))
    }

    fn money(&self, state: &mut State, store: &Store, now: u64) -> Result<Arc<Money>, String> {
        let epoch = self.rules.epoch_start(now);
        if let Some(money) =
            state.money.as_ref().filter(|it| it.epoch == epoch && it.at.elapsed() < MONEY_FOR)
        {
            return Ok(money.clone());
        }
        let failed = |error: commonhold_ledger::LedgerError| error.to_string();
        let account = |it: &commonhold_ledger::Account| Debt { account: it.lent(), ..Debt::default() };
        let earlier = self.ledger.accounts_at(&self.party, epoch.saturating_sub(1)).map_err(failed)?;
        let audited: BTreeMap<PartyId, i128> = earlier.iter().map(|it| (it.party, it.their_audits)).collect();
        let accounts = self.ledger.accounts(&self.party).map_err(failed)?.into_iter().map(|it| {
            let audits = (it.their_audits - audited.get(&it.party).copied().unwrap_or(0)).max(0);
            (it.party, Debt { audits, ..account(&it) })
        });
        let accounts: BTreeMap<PartyId, Debt> = accounts.collect();
        let lines: Vec<(Line, u64)> = self
            .ledger
            .trust_lines(&self.party)
            .map_err(failed)?
            .into_iter()
            .map(|it| {
                let line = Line { guarantor: it.guarantor, debtor: it.debtor, limit: it.limit_microcredits };
                (line, it.ends)
            })
            .collect();
        let contracts: Vec<ContractState> = store
            .contracts()
            .into_iter()
            .filter_map(|id| store.contract(&id))
            .filter(|contract| contract.role == Role::Provider)
            .collect();
        // How all stood at another time, by what both had signed until then. Whatever line or hold is
        // cover now was cover then, as far as its end allows.
        let stood = |accounts: &[commonhold_ledger::Account], lines: &[(Line, u64)], at: u64| {
            let mut debts: BTreeMap<PartyId, Debt> =
                accounts.iter().map(|it| (it.party, account(it))).collect();
            for contract in &contracts {
                let debt = debts.entry(contract.contract.owner).or_default();
                debt.hold = debt.hold.max(hold_at(&contract.contract, at));
                debt.unsigned = debt.unsigned.saturating_add(kept_unsigned(contract, at));
            }
            let lines = lines.iter().map(|(line, _)| *line).collect();
            Debts { rules: self.rules.clone(), debts, lines, before: BTreeMap::new() }.weigh()
        };
        // A line that has ended stands for what it carried by then, and no more.
        let mut standing = lines.clone();
        for (line, ends) in &mut standing {
            let settled = ends.saturating_add(self.rules.epoch_seconds);
            if settled > now {
                continue;
            }
            let key = (line.guarantor, line.debtor, line.limit, *ends);
            if let Entry::Vacant(entry) = state.ended.entry(key) {
                let accounts = self.ledger.accounts_at(&self.party, settled).map_err(failed)?;
                let stood = stood(&accounts, &lines, settled);
                let carried = stood.get(&line.debtor).map_or(0, |credit| credit.guaranteed);
                entry.insert(u64::try_from(carried).unwrap_or(0));
            }
            line.limit = line.limit.min(state.ended.get(&key).copied().unwrap_or(0));
        }
        let before = stood(&earlier, &standing, epoch.saturating_sub(1));
        let before = before.into_iter().map(|(party, credit)| (party, credit.uncovered)).collect();
        let money = Arc::new(Money { at: Instant::now(), accounts, lines: standing, epoch, before });
        state.money = Some(money.clone());
        Ok(money)
    }

    fn counted<'a>(&self, state: &'a mut State, store: &Store) -> Result<&'a mut Counted, String> {
        if state.counted.as_ref().is_none_or(|counted| counted.at.elapsed() > COUNTED_FOR) {
            state.counted = Some(self.count(state, store)?);
        }
        state.counted.as_mut().ok_or_else(|| "nothing was counted".to_owned())
    }

    fn count(&self, state: &mut State, store: &Store) -> Result<Counted, String> {
        let now = unix_seconds();
        let money = self.money(state, store, now)?;
        let contracts = self.contracts(state, store, now)?;
        let mut debts = [Ahead::Nothing, Ahead::Rest, Ahead::Epoch].map(|ahead| {
            let seconds = match ahead {
                Ahead::Nothing => 0,
                Ahead::Rest => self.rules.epoch_rest(now),
                Ahead::Epoch => self.rules.epoch_seconds,
            };
            let mut debts = money.accounts.clone();
            for Lent { state: contract, unsigned, .. } in &contracts {
                let (terms, id) = (&contract.contract, contract.contract.id());
                let debt = debts.entry(terms.owner).or_default();
                debt.unsigned = debt.unsigned.saturating_add(*unsigned);
                debt.hold = debt.hold.max(hold_at(terms, now));
                let held = contract.revision.as_ref().map_or(0, |(revision, _)| revision.held_bytes);
                if !contract.given_up {
                    let seconds = seconds.min(terms.ends.saturating_sub(now));
                    debt.ahead = debt.ahead.saturating_add(storage_price(&terms.prices, held, seconds));
                }
                if ahead != Ahead::Nothing {
                    debt.ahead = debt.ahead.saturating_add(state.reserved.get(&id).copied().unwrap_or(0));
                }
            }
            let (rules, before) = (self.rules.clone(), money.before.clone());
            Debts { rules, debts, lines: money.lines.iter().map(|(line, _)| *line).collect(), before }
        });
        let credits = debts[Ahead::Nothing as usize].weigh();
        // A line that has ended covers nothing that is added.
        for ahead in [Ahead::Rest, Ahead::Epoch] {
            for (line, (_, ends)) in debts[ahead as usize].lines.iter_mut().zip(&money.lines) {
                if *ends <= now {
                    let carried = credits.get(&line.debtor).map_or(0, |it| it.guaranteed);
                    line.limit = line.limit.min(u64::try_from(carried).unwrap_or(0));
                }
            }
        }
        let stop = |lent: &Lent| {
            let credit = credits.get(&lent.state.contract.owner)?;
            Some((lent.state.contract.id(), stopped(&self.rules, &lent.signing, credit, now)?))
        };
        let over = |lent: &&Lent| !lent.state.given_up && now < lent.state.contract.ends;
        let stops = contracts.iter().filter(over).filter_map(stop).collect();
        Ok(Counted { at: Instant::now(), debts, stops })
    }

    /// Claims what owners have not signed for, and gives up contracts that were stopped for too long.
    ///
    /// # Errors
    /// A sentence.
    fn look(&self, key: &PartyKey) -> Result<(), String> {
        let store = self.vault.store()?;
        let now = unix_seconds();
        let stops = {
            let mut state = self.state();
            state.counted = None;
            self.counted(&mut state, &store)?.stops.clone()
        };
        for (id, stop) in &stops {
            if let (Stop::Unsigned { since }, Some(contract)) = (stop, store.contract(id)) {
                self.claim(key, &contract, since.saturating_add(self.rules.epoch_seconds).min(now), now)?;
            }
        }
        let (stopped, epoch) =
            (stops.keys().copied().collect(), Duration::from_secs(self.rules.epoch_seconds));
        let term = Duration::from_secs(self.arrears_seconds);
        let due = locked(&self.arrears).look(&stopped, epoch, term, Instant::now())?;
        for id in due {
            if store.give_up(&id).map_err(|error| error.to_string())? {
                tracing::warn!(contract = %id, "given up: it was stopped for longer than arrears_term; its chunks are in the trash");
            }
        }
        Ok(())
    }

    fn claim(&self, key: &PartyKey, state: &ContractState, until: u64, now: u64) -> Result<(), String> {
        let contract = &state.contract;
        let receipt = state.receipt.as_ref().map(|(receipt, _)| receipt);
        let sequence = receipt.map_or(0, |receipt| receipt.sequence) + 1;
        let mut claimed = locked(&self.claimed);
        let known = match &mut *claimed {
            Some(known) => known,
            none => none.insert(self.claims()?),
        };
        if known.contains(&(contract.id(), sequence)) {
            return Ok(());
        }
        let revisions = self.ledger.revisions(contract).map_err(|error| error.to_string())?;
        let until = until.min(contract.ends);
        match draw_claim(contract, &revisions, receipt, until, now) {
            Ok(claim) => {
                let owed = claim.owed_microcredits;
                let note = SignedNote::sign(Statement::Claim(claim).to_text(), key);
                let note = note.map_err(|error| error.to_string())?;
                self.ledger.append(&note).map_err(|error| error.to_string())?;
                tracing::warn!(contract = %contract.id(), owed, "its owner does not sign: claimed, and not served until it does");
            }
            // A ledger that begins in the middle of a contract has not all revisions.
            Err(fault) => tracing::warn!(contract = %contract.id(), %fault, "nothing can be claimed"),
        }
        known.insert((contract.id(), sequence));
        Ok(())
    }

    /// Claims in the ledger.
    fn claims(&self) -> Result<HashSet<(ContractId, u64)>, String> {
        let mut claims = HashSet::new();
        let mut from = 0;
        loop {
            let page = self.ledger.read(from, commonhold_ledger::ENTRIES_PAGE_MAX);
            let page = page.map_err(|error| error.to_string())?;
            let Some((last, _)) = page.last() else { return Ok(claims) };
            from = last + 1;
            for (_, note) in &page {
                if let Ok(Statement::Claim(Claim { contract, sequence, .. })) = Statement::of(note) {
                    claims.insert((contract, sequence));
                }
            }
        }
    }
}

/// What was kept and not signed for by `at`, as far as the last revision and receipt tell: nothing when
/// either is later.
fn kept_unsigned(contract: &ContractState, at: u64) -> u64 {
    let receipt = contract.receipt.as_ref().map(|(receipt, _)| receipt);
    let revised = contract.revision.as_ref().is_some_and(|(revision, _)| revision.time <= at);
    if !revised || receipt.is_some_and(|receipt| receipt.until > at) {
        return 0;
    }
    let until = at.min(contract.contract.ends);
    let (egress, audits, owed) =
        receipt.map_or((0, 0, 0), |it| (it.egress_bytes, it.audits_passed, it.owed_microcredits));
    let due = contract.contract.prices.amount_due(byte_seconds_until(contract, until), egress, audits);
    due.unwrap_or(0).saturating_sub(owed)
}

/// The price of sending bytes, rounded up.
fn egress_price(prices: &Prices, bytes: u64) -> u64 {
    prices.amount_due(0, bytes, 0).map_or(u64::MAX, |due| due + 1)
}

/// Looks for claims and contracts to give up, now and then.
pub async fn look_forever(creditor: Arc<Creditor>, key: Arc<PartyKey>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (creditor, key) = (creditor.clone(), key.clone());
        let looked = tokio::task::spawn_blocking(move || creditor.look(&key)).await;
        if let Ok(Err(why)) = looked {
            tracing::debug!(why, "debts could not be looked at");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
