//! What both sides sign: contracts, revisions, and what is on record of them.
//!
//! Invariant: a note is countersigned only when what it says is durable, in the store first and in the
//! ledger second, and a text that was signed is answered as it was. Not here: whether it is admitted
//! and covered (engine).

use std::time::Instant;

use commonhold_engine::admission::{self, AdmissionRules, Capacity};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::policy::{AdmitOffer, REASON_LEN_MAX, Usage};
use commonhold_format::statement::{Contract, Statement};
use commonhold_format::wire::{self, Addition, INVENTORY_PAGE_MAX, Refusal, Response};
use commonhold_store::{CommitError, ContractState, Role, StoreError};

use super::quoting::usage_of;
use super::{Answer, Provider, Refused, blocking, has_lines, locked, parse_note, statement};
use crate::clock::{moment, unix_seconds};

/// Contracts of one owner at a time.
const CONTRACTS_OPEN_MAX: usize = 64;

/// A policy's words for others to read: what would steer a terminal or change how the rest is read has
/// become spaces, and they are no longer than a reason may be.
fn plain(reason: &str) -> String {
    let is_odd = |it: char| {
        it.is_control()
            || matches!(it, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(it, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
            || matches!(it, '\u{e0000}'..='\u{e007f}')
    };
    let reason = &reason[..reason.floor_char_boundary(REASON_LEN_MAX)];
    reason.replace(is_odd, " ").trim().to_owned()
}

impl Provider {
    pub(super) async fn open_contract(&self, from: NodeId, note: &[u8]) -> Answer {
        let Some(rules) = self.rules else {
            return Err(Refused::new(Refusal::Terms, "this node lends no disk"));
        };
        let mut note = parse_note(note)?;
        let Statement::Contract(contract) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a contract"));
        };
        if !note.is_signed_by(&contract.owner) {
            return Err(Refused::new(Refusal::Forbidden, "the owner has not signed the contract"));
        }
        has_lines(&note, 1)?;
        self.authorize(from, contract.owner).await?;
        let id = contract.id();
        self.refuse_lost(&id)?;
        let _turn = self.turns.take(id).await;
        if let Ok(state) = self.state(id).await {
            self.keep_note(&state.note, || Ok(())).await?;
            return Ok(Response::Note { note: state.note.to_bytes() });
        }
        let store = self.store()?;
        let (owner, now) = (contract.owner, unix_seconds());
        let (open, usage) = blocking(move || {
            let states = store.contracts().into_iter().filter_map(|id| store.contract(&id));
            let of_owner = |it: &ContractState| it.contract.owner == owner && it.contract.ends > now;
            let open = states.filter(|it| it.role == Role::Provider && of_owner(it)).count();
            (open, usage_of(&store))
        })
        .await?;
        if open >= CONTRACTS_OPEN_MAX {
            let why = format!("an owner has at most {CONTRACTS_OPEN_MAX} contracts at a time here");
            return Err(Refused::new(Refusal::Terms, why));
        }
        // By the accounts: what the file system has moves with everything else on it, and a contract
        // is a limit and no reservation.
        let Usage { allotted_bytes, used_bytes, .. } = usage;
        let capacity = Capacity { allotted_bytes, used_bytes, promised_bytes: 0 };
        self.credit({
            let (owner, hold) = (contract.owner, contract.hold_microcredits);
            move |creditor| creditor.may_open(&owner, hold)
        })
        .await?;
        let me = (self.party.id(), self.net.node());
        let admit = |prices| {
            let rules = AdmissionRules { prices, ..rules };
            admission::admit_contract(&contract, me, &rules, &capacity, unix_seconds())
                .map_err(|denied| Refused::new(denied.refusal(), denied.to_string()))
        };
        // Only whatever else can be admitted is worth a question to the policy.
        admit(contract.prices)?;
        let seconds = contract.ends - contract.starts;
        admit(self.least_prices(owner, contract.bytes_max, seconds).await?)?;
        self.admit_by_policy(&contract, usage, open).await?;
        note.countersign(&self.party);
        self.keep_note(&note, {
            let (store, note) = (self.store()?, note.clone());
            move || store.open_contract(Role::Provider, &contract, &note).map_err(|e| e.to_string())
        })
        .await?;
        // What its owner may hold back counts from now on.
        self.creditor.changed();
        self.quoter.changed();
        Ok(Response::Note { note: note.to_bytes() })
    }

    /// Asks the placement policy of this node's operator.
    async fn admit_by_policy(&self, contract: &Contract, usage: Usage, open: usize) -> Result<(), Refused> {
        let (creditor, policy) = (self.creditor.clone(), self.policies.placement.clone());
        let contract = contract.clone();
        let verdict = blocking(move || {
            let account = creditor.peer(&contract.owner)?.account;
            Ok(policy.ask(AdmitOffer {
                now: moment(),
                owner: contract.owner.into(),
                bytes: contract.bytes_max,
                term_seconds: contract.ends - contract.starts,
                prices: contract.prices,
                hold: contract.hold_microcredits,
                allotted_bytes: usage.allotted_bytes,
                free_bytes: usage.allotted_bytes.saturating_sub(usage.used_bytes),
                contracts_of_owner: u32::try_from(open).unwrap_or(u32::MAX),
                contracts: usage.contracts,
                account,
            }))
        });
        let verdict = verdict.await?.map_err(|why: String| Refused::new(Refusal::Quarantined, why))?;
        if verdict.admit {
            return Ok(());
        }
        let reason = plain(&verdict.reason);
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        tracing::info!(reason, "the placement policy refused a contract");
        Err(Refused::new(Refusal::Terms, format!("this node's policy does not take the contract{why}")))
    }

    pub(super) async fn contract_state(&self, from: NodeId, contract: ContractId) -> Answer {
        let state = self.state_for_owner(from, contract).await?;
        Ok(Response::ContractState {
            contract: state.note.to_bytes(),
            revision: state.revision.map(|(_, note)| note.to_bytes()).unwrap_or_default(),
            receipt: state.receipt.map(|(_, note)| note.to_bytes()).unwrap_or_default(),
        })
    }

    pub(super) async fn inventory_page(&self, from: NodeId, contract: ContractId, first: u64) -> Answer {
        self.state_for_owner(from, contract).await?;
        let store = self.store()?;
        let page = blocking(move || {
            store.with_inventory(&contract, |inventory| inventory.entries_from(first, INVENTORY_PAGE_MAX))
        });
        let unreadable = |error: StoreError| Refused::new(Refusal::Quarantined, error.to_string());
        let entries = page.await?.map_err(unreadable)?.transpose().map_err(unreadable)?;
        Ok(Response::InventoryPage { entries: entries.unwrap_or_default() })
    }

    pub(super) async fn commit(&self, note: &[u8], adds: Vec<Addition>, removes: Vec<u64>) -> Answer {
        let Some(rules) = self.rules else {
            return Err(Refused::new(Refusal::Terms, "this node lends no disk"));
        };
        let mut note = parse_note(note)?;
        let Statement::Revision(revision) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a revision"));
        };
        let _turn = self.turns.take(revision.contract).await;
        let state = self.state(revision.contract).await?;
        if !note.is_signed_by(&state.contract.owner) {
            return Err(Refused::new(Refusal::Forbidden, "the owner has not signed the revision"));
        }
        has_lines(&note, 1)?;
        let previous = state.revision.as_ref();
        if let Some((_, last)) = previous.filter(|(_, last)| last.text() == note.text()).cloned() {
            // In the ledger too before it is answered again: the disk may have been full between the two.
            self.keep_note(&last, || Ok(())).await?;
            return Ok(Response::Note { note: last.to_bytes() });
        }
        let previous = previous.map(|(previous, _)| previous);
        if revision.sequence != previous.map_or(0, |previous| previous.sequence) + 1 {
            return Err(Refused::new(
                Refusal::Conflict,
                "the revision does not follow the last one; ask for the contract's state",
            ));
        }
        if adds.is_empty() && removes.is_empty() {
            return Err(Refused::new(Refusal::Invalid, "the revision changes nothing"));
        }
        admission::admit_revision(&state.contract, previous, &revision, &rules, unix_seconds())
            .map_err(|denied| Refused::new(denied.refusal(), denied.to_string()))?;
        note.countersign(&self.party);
        let contract = revision.contract;
        let grows =
            !adds.is_empty() || revision.held_bytes > previous.map_or(0, |previous| previous.held_bytes);
        let (store, ledger, signed) = (self.store()?, self.ledger.clone(), note.clone());
        let creditor = self.creditor.clone();
        let added: Vec<_> = adds.iter().map(|add| add.chunk).collect();
        blocking(move || {
            let reserved = grows.then(|| creditor.may_hold(&state, revision.held_bytes)).transpose();
            let _reserved = reserved.map_err(|why| Refused::new(Refusal::Credit, why))?;
            store.commit(&revision.contract, &revision, &signed, &adds, &removes).map_err(|error| {
                let reason = match &error {
                    CommitError::Missing(_) => Refusal::Unknown,
                    CommitError::Failed(StoreError::Full { .. }) => Refusal::Full,
                    CommitError::Failed { .. } => Refusal::Quarantined,
                    _ => Refusal::Invalid,
                };
                Refused::new(reason, error.to_string())
            })?;
            // The one before is there, unless the disk was full when it came; a claim needs all of them.
            let notes: Vec<SignedNote> =
                state.revision.iter().map(|(_, note)| note.clone()).chain([signed]).collect();
            ledger.append_all(&notes).map_err(|error| Refused::new(Refusal::Quarantined, error.to_string()))
        })
        .await??;
        self.damage.mended(&contract, &added);
        locked(&self.progress).insert(contract, Instant::now());
        Ok(Response::Note { note: note.to_bytes() })
    }

    pub(super) async fn list_contracts(&self, from: NodeId, owner: PartyId, signature: &[u8; 64]) -> Answer {
        let message = wire::list_contracts_message(&from, &self.net.node());
        if !commonhold_format::keys::verify(owner.as_bytes(), &message, signature) {
            return Err(Refused::new(Refusal::Forbidden, "the owner's signature is wrong"));
        }
        let store = self.store()?;
        let contracts = blocking(move || {
            let mut contracts = store.contracts();
            contracts.retain(|id| {
                store
                    .contract(id)
                    .is_some_and(|state| state.role == Role::Provider && state.contract.owner == owner)
            });
            contracts.truncate(wire::CONTRACTS_MAX);
            contracts
        })
        .await?;
        Ok(Response::Contracts { contracts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_39_a_policys_reason_steers_nobodys_terminal() {
        assert_eq!(plain("too many of yours"), "too many of yours");
        assert_eq!(plain("\u{1b}[2Jgone\r\n\u{9b}31m"), "[2Jgone   31m");
        assert_eq!(plain("paid \u{202e}001\u{202c}\u{200b}"), "paid  001");
        assert_eq!(plain("\u{7}\n"), "");
        assert_eq!(plain("Zürich — 雪"), "Zürich — 雪");
        assert!(plain(&"ü".repeat(500)).len() <= REASON_LEN_MAX);
    }
}
