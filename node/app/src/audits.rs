//! The audits that stand in a ledger: what was found, what it meant for the provider, and the parts of a
//! bundle that a stranger can check.
//!
//! Invariant: everything follows from notes of the ledger that the owner of their contract signed; the
//! standings are those of the engine, replayed. Not here: whether a proof was judged rightly
//! (`commonhold_format::evidence`).

use std::collections::HashMap;

use commonhold_engine::audit::{Reason, Standing, State};
use commonhold_format::evidence::AuditBundle;
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, AuditRecord, Contract, Statement};

use crate::advice::{self, Side};

/// One try of one audit, as it stands in a ledger.
#[derive(Debug, Clone)]
pub struct Audited {
    /// The entry.
    pub index: u64,
    /// On which side the ledger's party was.
    pub side: Side,
    /// The agreement.
    pub contract: Contract,
    /// What was found.
    pub record: AuditRecord,
    /// How often this challenge had been sent before.
    pub tries_before: u64,
    /// The provider's standing with this owner afterwards, as far as this ledger tells.
    pub state: State,
    /// Did the state change?
    pub changed: bool,
    /// Why the state is what it is.
    pub reason: Reason,
}

impl Audited {
    /// Why the state is what it is, for whoever has the ledger.
    pub fn why(&self) -> String {
        match self.side {
            Side::Owner => self.reason.to_string(),
            Side::Provider => advice::for_provider(self.reason),
        }
    }

    /// What to do about it; empty when nothing is.
    pub fn to_do(&self) -> &'static str {
        advice::to_do(self.record.outcome, self.side)
    }
}

/// The audits in the ledger of `me`, oldest first.
pub fn history<'a>(notes: impl Iterator<Item = (u64, &'a SignedNote)>, me: &PartyId) -> Vec<Audited> {
    let mut contracts: HashMap<ContractId, Contract> = HashMap::new();
    let mut standings: HashMap<(PartyId, NodeId), Standing> = HashMap::new();
    let mut tries: HashMap<(ContractId, u64), u64> = HashMap::new();
    let mut audits = Vec::new();
    for (index, note) in notes {
        match Statement::of(note) {
            Ok(Statement::Contract(contract)) => {
                contracts.insert(contract.id(), contract);
            }
            Ok(Statement::AuditRecord(record)) => {
                let Some(contract) = contracts.get(&record.contract) else { continue };
                let side = match *me {
                    me if me == contract.owner => Side::Owner,
                    me if me == contract.provider => Side::Provider,
                    _ => continue,
                };
                if !note.is_signed_by(&contract.owner) {
                    continue;
                }
                let standing = standings.entry((contract.owner, contract.node)).or_default();
                let before = standing.state();
                let (after, reason) = standing.record(record.outcome, record.time);
                *standing = after;
                let tried = tries.entry((record.contract, record.epoch)).or_default();
                audits.push(Audited {
                    index,
                    side,
                    contract: contract.clone(),
                    tries_before: *tried,
                    state: after.state(),
                    changed: after.state() != before,
                    reason,
                    record,
                });
                *tried += 1;
            }
            _ => {}
        }
    }
    audits
}

/// The contract whose id begins with these digits.
///
/// # Errors
/// A sentence, when it is none or not the only one.
pub fn contract_named<'a>(
    digits: &str,
    contracts: impl Iterator<Item = &'a ContractId>,
) -> Result<ContractId, String> {
    /// With fewer digits, a slip of the finger names another contract.
    const DIGITS_MIN: usize = 8;
    if digits.len() < DIGITS_MIN {
        return Err(format!("name the contract by at least {DIGITS_MIN} of its 64 digits"));
    }
    let mut found = contracts.filter(|id| id.to_string().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(format!("this ledger has no contract {digits}")),
        (Some(_), Some(_)) => Err(format!("more than one contract begins with {digits}")),
    }
}

/// The notes of one audit and, from `evidence`, what was shown.
///
/// # Errors
/// A sentence that says what is not there.
pub fn bundle<'a>(
    notes: impl Iterator<Item = (u64, &'a SignedNote)>,
    contract: &str,
    epoch: u64,
    evidence: impl FnOnce(&AuditRecord) -> Result<Option<Vec<u8>>, String>,
) -> Result<AuditBundle, String> {
    let mut contracts = HashMap::new();
    let mut revisions = HashMap::new();
    let mut intents = HashMap::new();
    let mut records = HashMap::new();
    for (_, note) in notes {
        match Statement::of(note) {
            Ok(Statement::Contract(it)) => {
                contracts.insert(it.id(), note);
            }
            Ok(Statement::Revision(it)) => {
                revisions.insert((it.contract, it.sequence), note);
            }
            Ok(Statement::AuditIntent(it)) if it.epoch == epoch => {
                intents.insert(it.contract, note);
            }
            // The last record of a challenge is the one that judges it, if one does.
            Ok(Statement::AuditRecord(it)) if it.epoch == epoch => {
                records.insert(it.contract, (it, note));
            }
            _ => {}
        }
    }
    let id = contract_named(contract, contracts.keys())?;
    let (Some(intent), Some((record, note))) = (intents.get(&id), records.get(&id)) else {
        return Err(format!("this ledger has no audit {epoch} of that contract"));
    };
    let revision = revisions.get(&(id, record.revision)).ok_or_else(|| {
        format!("revision {}, which was challenged, is not in this ledger", record.revision)
    })?;
    let shown = match record.outcome {
        AuditOutcome::Passed | AuditOutcome::WrongBytes => evidence(record)?.ok_or(
            "the evidence of this audit is not here: the owner's node has it, for as long as its \
             `keep_evidence` says",
        )?,
        _ => Vec::new(),
    };
    Ok(AuditBundle {
        contract: contracts[&id].clone(),
        revision: (*revision).clone(),
        intent: (*intent).clone(),
        record: (*note).clone(),
        evidence: shown,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_contract_is_named_by_enough_digits_of_it_alone() {
        let ids = [[0x11; 32], [0x12; 32]].map(ContractId);
        let named = |digits: &str| contract_named(digits, ids.iter());
        assert_eq!(named("11111111"), Ok(ids[0]));
        assert_eq!(named(&ids[1].to_string()), Ok(ids[1]));
        assert!(named("1111111").unwrap_err().contains("at least 8"));
        assert!(named("22222222").unwrap_err().contains("no contract"));
        let twins = [ids[0], ContractId(std::array::from_fn(|at| if at == 31 { 0 } else { 0x11 }))];
        assert!(contract_named("11111111", twins.iter()).unwrap_err().contains("more than one"));
    }
}
