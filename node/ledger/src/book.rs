//! Which entries are contracts, revisions and receipts, and what follows from them: balances and
//! conflicts (spec/ledger.md, "Balances").
//!
//! Invariant: a receipt counts when both parties of a contract in this log signed it and its amount
//! is what the contract's prices give; of those, the one with the highest sequence. Where both
//! signed two texts for one sequence, neither counts and the pair is reported. Both parties derive
//! the same balance from the same notes, with opposite signs. Not here: who was right.

use std::collections::{BTreeMap, HashMap};

use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Statement};

/// The part that the asking party has in a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It keeps data with the other.
    Owner,
    /// It keeps the other's data.
    Provider,
}

/// What one contract comes to, by the highest receipt that both parties signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The contract.
    pub contract: ContractId,
    /// The other party.
    pub counterparty: PartyId,
    /// The asking party's part.
    pub role: Role,
    /// Microcredits that the other party owes; negative when the asking party owes them.
    pub owed_to_me: i128,
    /// Sequence of the receipt.
    pub receipt_sequence: u64,
    /// Byte-seconds in the receipt.
    pub byte_seconds: u128,
    /// Bytes sent to the owner, in the receipt.
    pub egress_bytes: u64,
    /// Audits passed, in the receipt.
    pub audits_passed: u64,
    /// Audits failed, in the receipt.
    pub audits_failed: u64,
}

/// What two conflicting notes are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Revisions of the inventory.
    Revision,
    /// Receipts.
    Receipt,
}

/// Two texts for one contract and sequence, each signed by both parties. With the contract's note, a
/// stranger can verify it: see [`Conflict::is_proven_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The contract.
    pub contract: ContractId,
    /// What the notes are about.
    pub subject: Subject,
    /// The sequence that both have.
    pub sequence: u64,
    /// Index and note of the one that was logged first.
    pub first: (u64, SignedNote),
    /// Index and note of the other.
    pub second: (u64, SignedNote),
}

impl Conflict {
    /// Whether the two notes prove the conflict to somebody who has nothing but them and the
    /// contract's note: texts that differ, about this contract, subject and sequence, and every note
    /// signed by both parties that the contract names.
    pub fn is_proven_by(&self, contract: &SignedNote) -> bool {
        let Some(terms) = signed_contract(contract, &self.contract) else { return false };
        let [first, second] = [&self.first.1, &self.second.1];
        first.text() != second.text()
            && [first, second].into_iter().all(|note| {
                key_of(note) == Some(Key::Numbered(self.contract, self.subject, self.sequence))
                    && is_signed_by_both(note, &terms)
            })
    }
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Contract(ContractId),
    Numbered(ContractId, Subject, u64),
}

fn key_of(note: &SignedNote) -> Option<Key> {
    match Statement::of(note).ok()? {
        Statement::Contract(contract) => Some(Key::Contract(contract.id())),
        Statement::Revision(it) => Some(Key::Numbered(it.contract, Subject::Revision, it.sequence)),
        Statement::Receipt(it) => Some(Key::Numbered(it.contract, Subject::Receipt, it.sequence)),
        _ => None,
    }
}

fn is_signed_by_both(note: &SignedNote, contract: &Contract) -> bool {
    note.is_signed_by(&contract.owner) && note.is_signed_by(&contract.provider)
}

fn signed_contract(note: &SignedNote, id: &ContractId) -> Option<Contract> {
    match Statement::of(note) {
        Ok(Statement::Contract(contract)) if contract.id() == *id && is_signed_by_both(note, &contract) => {
            Some(contract)
        }
        _ => None,
    }
}

/// Sequences of one contract and subject, each with the entries that claim it.
type Sequences = BTreeMap<u64, Vec<u64>>;

/// Where contracts, revisions and receipts stand in the log. Signatures are checked when something is
/// derived, not here. About 60 bytes for each of these entries.
#[derive(Default)]
pub(crate) struct Book {
    contracts: HashMap<ContractId, Vec<u64>>,
    numbered: HashMap<(ContractId, Subject), Sequences>,
}

impl Book {
    pub(crate) fn add(&mut self, index: u64, note: &SignedNote) {
        match key_of(note) {
            Some(Key::Contract(id)) => self.contracts.entry(id).or_default().push(index),
            Some(Key::Numbered(id, subject, sequence)) => {
                self.numbered.entry((id, subject)).or_default().entry(sequence).or_default().push(index)
            }
            None => {}
        }
    }

    /// The contracts, and the entries that claim to be their notes, in order of id.
    pub(crate) fn contracts(&self) -> Vec<(ContractId, Vec<u64>)> {
        let mut contracts: Vec<_> = self.contracts.iter().map(|(id, at)| (*id, at.clone())).collect();
        contracts.sort_unstable();
        contracts
    }

    /// The highest sequence of receipts below `bound` (or of all), and the entries that claim it.
    pub(crate) fn receipts_below(&self, id: &ContractId, bound: Option<u64>) -> Option<(u64, Vec<u64>)> {
        let sequences = self.numbered.get(&(*id, Subject::Receipt))?;
        let (sequence, entries) = match bound {
            Some(bound) => sequences.range(..bound).next_back()?,
            None => sequences.last_key_value()?,
        };
        Some((*sequence, entries.clone()))
    }

    /// Sequences of a contract that more than one entry claims.
    pub(crate) fn contested(&self, id: &ContractId) -> Vec<(Subject, u64, Vec<u64>)> {
        [Subject::Revision, Subject::Receipt]
            .into_iter()
            .filter_map(|subject| Some((subject, self.numbered.get(&(*id, subject))?)))
            .flat_map(|(subject, sequences)| {
                sequences
                    .iter()
                    .filter(|(_, entries)| entries.len() > 1)
                    .map(move |(sequence, entries)| (subject, *sequence, entries.clone()))
            })
            .collect()
    }
}

/// The contract among the notes that claim to be it, if one of them is signed by both.
pub(crate) fn contract_of(id: &ContractId, notes: &[(u64, SignedNote)]) -> Option<Contract> {
    notes.iter().find_map(|(_, note)| signed_contract(note, id))
}

/// The notes that both parties signed, one for each text.
pub(crate) fn binding<'a>(contract: &Contract, notes: &'a [(u64, SignedNote)]) -> Vec<&'a (u64, SignedNote)> {
    let mut binding: Vec<&(u64, SignedNote)> = Vec::new();
    for entry in notes.iter().filter(|(_, note)| is_signed_by_both(note, contract)) {
        if binding.iter().all(|(_, known)| known.text() != entry.1.text()) {
            binding.push(entry);
        }
    }
    binding
}

/// The receipt that the notes for one sequence come to: exactly one text signed by both, with the
/// amount that the prices give.
pub(crate) fn receipt_of(contract: &Contract, notes: &[(u64, SignedNote)]) -> Option<Receipt> {
    let [(_, note)] = binding(contract, notes)[..] else { return None };
    let Ok(Statement::Receipt(receipt)) = Statement::of(note) else { return None };
    let due =
        contract.prices.amount_due(receipt.byte_seconds, receipt.egress_bytes, receipt.audits_passed)?;
    (receipt.owed_microcredits == due).then_some(receipt)
}

/// What a receipt comes to for `me`; `None` when it is neither party of the contract, or both.
pub(crate) fn balance_of(me: &PartyId, contract: &Contract, receipt: &Receipt) -> Option<Balance> {
    let owed = i128::from(receipt.owed_microcredits);
    let (role, counterparty, owed_to_me) = match (contract.owner == *me, contract.provider == *me) {
        (true, false) => (Role::Owner, contract.provider, -owed),
        (false, true) => (Role::Provider, contract.owner, owed),
        _ => return None,
    };
    Some(Balance {
        contract: receipt.contract,
        counterparty,
        role,
        owed_to_me,
        receipt_sequence: receipt.sequence,
        byte_seconds: receipt.byte_seconds,
        egress_bytes: receipt.egress_bytes,
        audits_passed: receipt.audits_passed,
        audits_failed: receipt.audits_failed,
    })
}
