//! What is done about owners that do not sign or pay: claims, and contracts that are given up.
//!
//! Invariant: of each receipt that is missing there is one claim. Not here: whom the claim convinces.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commonhold_engine::claim::draw_claim;
use commonhold_engine::credit::Stop;
use commonhold_format::ids::ContractId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Claim, Statement};
use commonhold_store::ContractState;

use super::{Creditor, locked};
use crate::clock::unix_seconds;

/// How often contracts are looked at for claims and for those to give up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Creditor {
    /// Claims what owners have not signed for, and gives up contracts that were stopped for too long.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn look(&self, key: &PartyKey) -> Result<(), String> {
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
