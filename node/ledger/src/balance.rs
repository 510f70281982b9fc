//! Balances and contradictions, derived from the notes of a log.
//!
//! Invariant: only a receipt that verifies under both parties of a contract in the same log counts,
//! and of those only the one with the highest sequence, because totals are cumulative.

use std::collections::{BTreeMap, HashMap};

use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Statement};

/// On which side of a contract a party stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It keeps files with the other side.
    Owner,
    /// It lends disk to the other side.
    Provider,
}

/// What one contract comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The contract.
    pub contract: ContractId,
    /// The other side.
    pub counterparty: PartyId,
    /// This side.
    pub role: Role,
    /// Microcredits that the other side owes; negative when this side owes.
    pub owed_to_me: i128,
    /// Sequence of the receipt that says so; 0 without one.
    pub receipt_sequence: u64,
    /// Its total of bytes held times seconds.
    pub byte_seconds: u128,
    /// Its total of bytes sent to the owner.
    pub egress_bytes: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits failed.
    pub audits_failed: u64,
}

/// Two notes of one kind about one contract and sequence that say different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The party that signed both.
    pub party: PartyId,
    /// One note.
    pub first: SignedNote,
    /// The other.
    pub second: SignedNote,
}

fn signed_by_both(note: &SignedNote, contract: &Contract) -> bool {
    note.is_signed_by(&contract.owner) && note.is_signed_by(&contract.provider)
}

/// Contracts of the log that both parties signed.
fn contracts(notes: &[SignedNote]) -> BTreeMap<ContractId, Contract> {
    notes
        .iter()
        .filter_map(|note| match Statement::of(note) {
            Ok(Statement::Contract(contract)) if signed_by_both(note, &contract) => {
                Some((contract.id(), contract))
            }
            _ => None,
        })
        .collect()
}

pub(crate) fn balances(notes: &[SignedNote], me: &PartyId) -> Vec<Balance> {
    let contracts = contracts(notes);
    let mut newest: HashMap<ContractId, Receipt> = HashMap::new();
    for note in notes {
        let Ok(Statement::Receipt(receipt)) = Statement::of(note) else { continue };
        let Some(contract) = contracts.get(&receipt.contract) else { continue };
        let newer = newest.get(&receipt.contract).is_none_or(|newest| newest.sequence < receipt.sequence);
        // Verifying costs most, so it comes last.
        if newer && signed_by_both(note, contract) {
            newest.insert(receipt.contract, receipt);
        }
    }
    contracts
        .into_iter()
        .filter_map(|(id, contract)| {
            let (role, counterparty, sign) = if contract.owner == *me {
                (Role::Owner, contract.provider, -1)
            } else if contract.provider == *me {
                (Role::Provider, contract.owner, 1)
            } else {
                return None;
            };
            let receipt = newest.get(&id);
            Some(Balance {
                contract: id,
                counterparty,
                role,
                owed_to_me: sign * receipt.map_or(0, |receipt| i128::from(receipt.owed_microcredits)),
                receipt_sequence: receipt.map_or(0, |receipt| receipt.sequence),
                byte_seconds: receipt.map_or(0, |receipt| receipt.byte_seconds),
                egress_bytes: receipt.map_or(0, |receipt| receipt.egress_bytes),
                audits_passed: receipt.map_or(0, |receipt| receipt.audits_passed),
                audits_failed: receipt.map_or(0, |receipt| receipt.audits_failed),
            })
        })
        .collect()
}

pub(crate) fn conflicts(notes: &[SignedNote]) -> Vec<Conflict> {
    let contracts = contracts(notes);
    let mut seen: HashMap<(bool, ContractId, u64, PartyId), &SignedNote> = HashMap::new();
    let mut found = Vec::new();
    for note in notes {
        let (is_receipt, id, sequence) = match Statement::of(note) {
            Ok(Statement::Revision(revision)) => (false, revision.contract, revision.sequence),
            Ok(Statement::Receipt(receipt)) => (true, receipt.contract, receipt.sequence),
            _ => continue,
        };
        let Some(contract) = contracts.get(&id) else { continue };
        for party in [contract.owner, contract.provider] {
            if !note.is_signed_by(&party) {
                continue;
            }
            let first = *seen.entry((is_receipt, id, sequence, party)).or_insert(note);
            if first.text() != note.text() {
                found.push(Conflict { party, first: first.clone(), second: note.clone() });
            }
        }
    }
    found
}
