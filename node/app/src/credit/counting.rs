//! What everybody owes and what stands for it, counted from contracts and notes.
//!
//! Invariant: everything here follows from notes that both signed and from what this node keeps and has
//! sent; it is counted anew after a second at most, and what is being added meanwhile is in it. Not
//! here: what is allowed (engine).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commonhold_engine::credit::{Debt, Debts, Line, Signing, hold_at, stopped, storage_price};
use commonhold_format::ids::PartyId;
use commonhold_format::policy::Peer;
use commonhold_format::statement::AMOUNT_MAX;
use commonhold_store::{ContractState, Role, Store};

use super::{Ahead, Counted, Creditor, Kept, Lent, Money, State, locked};
use crate::clock::unix_seconds;
use crate::provider::byte_seconds_until;

/// How long debts are taken as they were counted; what is added meanwhile is added to them.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// How long accounts are taken as they were, when no note came here that changes them: the owner's half
/// of this node signs receipts as well.
const MONEY_FOR: Duration = Duration::from_secs(60);

impl Creditor {
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
    pub(super) fn signed_until(
        &self,
        held: &mut State,
        state: &ContractState,
        now: u64,
    ) -> Result<Option<u64>, String> {
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

    pub(super) fn money(&self, state: &mut State, store: &Store, now: u64) -> Result<Arc<Money>, String> {
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
        let current = self.ledger.accounts(&self.party).map_err(failed)?;
        let peers = current.iter().map(|it| (it.party, peer_of(it))).collect();
        let accounts = current.into_iter().map(|it| {
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
            Debts { rules: self.rules.clone(), debts, lines, ..Debts::default() }
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
                // Without the policy's word, which stands behind no line.
                let stood = stood(&accounts, &lines, settled).weigh();
                let carried = stood.get(&line.debtor).map_or(0, |credit| credit.guaranteed);
                entry.insert(u64::try_from(carried).unwrap_or(0));
            }
            line.limit = line.limit.min(state.ended.get(&key).copied().unwrap_or(0));
        }
        let began = stood(&earlier, &standing, epoch.saturating_sub(1));
        let money = Arc::new(Money { at: Instant::now(), accounts, lines: standing, epoch, began, peers });
        state.money = Some(money.clone());
        Ok(money)
    }

    pub(super) fn counted<'a>(&self, state: &'a mut State, store: &Store) -> Result<&'a mut Counted, String> {
        if state.counted.as_ref().is_none_or(|counted| counted.at.elapsed() > COUNTED_FOR) {
            state.counted = Some(self.count(state, store)?);
        }
        state.counted.as_mut().ok_or_else(|| "nothing was counted".to_owned())
    }

    fn count(&self, state: &mut State, store: &Store) -> Result<Counted, String> {
        let now = unix_seconds();
        let money = self.money(state, store, now)?;
        let contracts = self.contracts(state, store, now)?;
        self.ask_about(state, &money, &contracts);
        let advice = state.advice();
        let before = money.before(&advice);
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
            let (rules, before, advice) = (self.rules.clone(), before.clone(), advice.clone());
            let lines = money.lines.iter().map(|(line, _)| *line).collect();
            Debts { rules, debts, lines, before, advice }
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
}

/// An account as policies see it.
fn peer_of(account: &commonhold_ledger::Account) -> Peer {
    let owed = account.owed_to_me();
    let account_microcredits = i64::try_from(owed).unwrap_or(if owed < 0 { i64::MIN } else { i64::MAX });
    let amount = |sum: i128| u64::try_from(sum.max(0)).unwrap_or(u64::MAX);
    Peer {
        party: account.party.into(),
        account: account_microcredits,
        given: amount(account.given),
        taken: amount(account.taken),
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
