//! What the store lacks of what the ledger says, whose store it is, and what the operator has given
//! up as lost (spec/store.md, "Quarantine").
//!
//! Invariant: under a contract that was given up this node signs nothing any more, whatever a store
//! still knows of it: revisions that it has signed would be signed a second time. Not here: when that
//! is looked at (vault), and what others are told (provider).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;

use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Revision, Statement, parse_ledger_origin};
use commonhold_ledger::Ledger;
use commonhold_store::{Role, Store};

use crate::datadir::write_durably;

/// Notes of the ledger that are looked at in one piece.
const LEDGER_PAGE: usize = 1024;

/// A revision that both parties signed and that the store does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The contract.
    pub contract: ContractId,
    /// This node's part in it.
    pub role: Role,
    /// The last revision that the store knows; `None` when it does not know the contract.
    pub known: Option<u64>,
    /// The last one in the ledger.
    pub signed: u64,
    /// Bytes under it.
    pub held_bytes: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contract, signed, .. } = self;
        match self.known {
            Some(known) => {
                write!(f, "it knows revision {known} of contract {contract}, the ledger has {signed}")
            }
            None => {
                write!(f, "it does not know contract {contract}, of which the ledger has revision {signed}")
            }
        }
    }
}

/// Who this node is, by the name of its ledger.
fn me(ledger: &Ledger) -> Result<(PartyId, NodeId), String> {
    parse_ledger_origin(ledger.origin()).ok_or_else(|| "the ledger does not name a node".to_owned())
}

/// Looks whether all contracts of a store are those of this node.
///
/// # Errors
/// A sentence that names one that is not.
pub fn check_owner(store: &Store, ledger: &Ledger, dir: &Path) -> Result<(), String> {
    let (party, node) = me(ledger)?;
    let states = store.contracts().into_iter().filter_map(|id| store.contract(&id));
    let strange = states.map(|state| (state.role, state.contract)).find(|(role, contract)| match role {
        Role::Provider => (contract.provider, contract.node) != (party, node),
        Role::Owner => contract.owner != party,
    });
    let Some((role, contract)) = strange else { return Ok(()) };
    let whose = match role {
        Role::Provider => format!("node {} lends under contract {}", contract.node, contract.id()),
        Role::Owner => format!("party {} is the owner of contract {}", contract.owner, contract.id()),
    };
    Err(format!(
        "{} is another node's store: {whose}; mount this node's disk or choose an empty folder under [store]",
        dir.display()
    ))
}

/// Revisions that both signed, of which the store does not know, in order of contracts: the ledger
/// gets a revision after the store. Of contracts that the store does not know at all, those of which
/// this node is the provider.
///
/// # Errors
/// A sentence, when the ledger cannot be read.
pub fn gaps(store: &Store, ledger: &Ledger) -> Result<Vec<Gap>, String> {
    let (party, node) = me(ledger)?;
    let mut contracts: HashMap<ContractId, Contract> = HashMap::new();
    let mut last: HashMap<ContractId, (Revision, SignedNote)> = HashMap::new();
    let mut from = 0;
    loop {
        let page = ledger.read(from, LEDGER_PAGE).map_err(|error| error.to_string())?;
        let read = page.len();
        for (index, note) in page {
            from = index + 1;
            match Statement::of(&note) {
                Ok(Statement::Contract(contract)) if (contract.provider, contract.node) == (party, node) => {
                    contracts.insert(contract.id(), contract);
                }
                Ok(Statement::Revision(revision)) => {
                    let newer = last
                        .get(&revision.contract)
                        .is_none_or(|(before, _)| before.sequence < revision.sequence);
                    if newer {
                        last.insert(revision.contract, (revision, note));
                    }
                }
                _ => {}
            }
        }
        if read < LEDGER_PAGE {
            break;
        }
    }
    let mut gaps = Vec::new();
    for (id, (revision, note)) in last {
        let state = store.contract(&id);
        let known = state.as_ref().map(|state| state.revision.as_ref().map_or(0, |(it, _)| it.sequence));
        let Some((role, contract)) = state
            .map(|state| (state.role, state.contract))
            .or_else(|| Some((Role::Provider, contracts.remove(&id)?)))
        else {
            continue;
        };
        let both = [contract.owner, contract.provider].iter().all(|party| note.is_signed_by(party));
        if both && known.unwrap_or(0) < revision.sequence {
            let (signed, held_bytes) = (revision.sequence, revision.held_bytes);
            gaps.push(Gap { contract: id, role, known, signed, held_bytes });
        }
    }
    gaps.sort_by_key(|gap| gap.contract);
    Ok(gaps)
}

/// Contracts whose chunks the operator has given up as lost: one id in each line of a file.
///
/// # Errors
/// A sentence, when the file cannot be read or has something else in it.
pub fn read_lost(file: &Path) -> Result<BTreeSet<ContractId>, String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let ids = text.lines().map(|line| line.parse::<ContractId>());
    ids.collect::<Result<_, _>>().map_err(|why| format!("{}: {why}", file.display()))
}

/// Writes them; durable on return.
///
/// # Errors
/// A sentence, when that failed.
pub fn write_lost(file: &Path, lost: &BTreeSet<ContractId>) -> Result<(), String> {
    let text: String = lost.iter().map(|id| format!("{id}\n")).collect();
    write_durably(file, text.as_bytes(), 0o644).map_err(|error| error.to_string())
}
