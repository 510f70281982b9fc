//! The book of contracts: what is on record of each, and its inventory in memory.
//!
//! Invariant: an account's inventory is the one that its last revision describes.

use std::collections::{HashMap, HashSet};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{Inventory, InventoryEntry};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Revision};
use commonhold_format::tree::Hash;
use commonhold_format::wire::Addition;

use crate::error::{BookError, OpenError};
use crate::index::Index;

/// On which side of a contract this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It keeps its chunks there.
    Owner,
    /// It lends its disk.
    Provider,
}

/// What is on record of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractState {
    /// This node's side.
    pub role: Role,
    /// The contract.
    pub contract: Contract,
    /// Its note, signed by both.
    pub note: SignedNote,
    /// The last revision and its note.
    pub revision: Option<(Revision, SignedNote)>,
    /// The last receipt and its note.
    pub receipt: Option<(Receipt, SignedNote)>,
    /// Bytes held times seconds, up to the time of the last revision.
    pub byte_seconds: u128,
    /// Number of the next audit.
    pub next_epoch: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits that found wrong bytes.
    pub audits_failed: u64,
    /// Evidence of the last audit that had any; zeros before.
    pub evidence: Hash,
}

/// What an inventory would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview {
    /// Sequence of the revision that would say so.
    pub sequence: u64,
    /// Root of the inventory.
    pub inventory_root: Hash,
    /// Entries, holes included.
    pub entries: u64,
    /// Bytes spanned, holes included.
    pub span: u64,
    /// Bytes held.
    pub held_bytes: u64,
    /// Chunks held.
    pub held_chunks: u64,
}

impl Preview {
    /// Does the revision say exactly this?
    pub(crate) fn is(&self, revision: &Revision) -> bool {
        self.sequence == revision.sequence
            && self.inventory_root == revision.inventory_root
            && self.entries == revision.entries
            && self.span == revision.span
            && self.held_bytes == revision.held_bytes
            && self.held_chunks == revision.held_chunks
    }
}

/// What was done to an inventory, so that it can be written or undone.
pub(crate) struct Change {
    /// Removed entries as they were, with their places.
    pub(crate) removed: Vec<(u64, InventoryEntry)>,
    /// New entries, with their places.
    pub(crate) appended: Vec<(u64, InventoryEntry)>,
}

/// A contract with its inventory.
pub(crate) struct Account {
    pub(crate) state: ContractState,
    pub(crate) inventory: Inventory,
    /// Chunks of the inventory and their places.
    held: HashMap<ChunkId, u64>,
}

impl Account {
    pub(crate) fn new(role: Role, contract: Contract, note: SignedNote) -> Self {
        let state = ContractState {
            role,
            contract,
            note,
            revision: None,
            receipt: None,
            byte_seconds: 0,
            next_epoch: 1,
            audits_passed: 0,
            audits_failed: 0,
            evidence: [0; 32],
        };
        Self { state, inventory: Inventory::new(), held: HashMap::new() }
    }

    /// Removes, then appends; answers what that comes to and how to undo it. On an error nothing
    /// has changed.
    pub(crate) fn apply(
        &mut self,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<(Preview, Change), BookError> {
        let mut change = Change { removed: Vec::new(), appended: Vec::new() };
        match self.try_apply(adds, removes, &mut change) {
            Ok(()) => {
                let sequence = self.state.revision.as_ref().map_or(0, |(last, _)| last.sequence) + 1;
                let preview = Preview {
                    sequence,
                    inventory_root: self.inventory.root(),
                    entries: self.inventory.len(),
                    span: self.inventory.span(),
                    held_bytes: self.inventory.held_bytes(),
                    held_chunks: self.inventory.held_chunks(),
                };
                Ok((preview, change))
            }
            Err(error) => {
                self.undo(change);
                Err(error)
            }
        }
    }

    fn try_apply(
        &mut self,
        adds: &[Addition],
        removes: &[u64],
        change: &mut Change,
    ) -> Result<(), BookError> {
        for index in removes {
            let entry = self.inventory.remove(*index)?;
            if let Some(chunk) = entry.chunk {
                self.held.remove(&chunk);
            }
            change.removed.push((*index, entry));
        }
        let mut seen = HashSet::new();
        for add in adds {
            if self.held.contains_key(&add.chunk) || !seen.insert(add.chunk) {
                continue;
            }
            let index = self.inventory.push(add.chunk, add.len)?;
            self.held.insert(add.chunk, index);
            let entry = self.inventory.entry(index).expect("the entry was just appended");
            change.appended.push((index, entry));
        }
        Ok(())
    }

    /// Takes a change back.
    pub(crate) fn undo(&mut self, change: Change) {
        for (_, entry) in change.appended.iter().rev() {
            self.inventory.pop();
            if let Some(chunk) = entry.chunk {
                self.held.remove(&chunk);
            }
        }
        for (index, entry) in change.removed.into_iter().rev() {
            if let Some(chunk) = entry.chunk {
                self.inventory.refill(index, chunk).expect("the hole was made by the change that is undone");
                self.held.insert(chunk, index);
            }
        }
    }

    /// Enters the revision as the last one; the time since the one before is counted.
    pub(crate) fn advance(&mut self, revision: &Revision, note: &SignedNote) {
        if let Some((last, _)) = &self.state.revision {
            // Time after the contract's end is not owed for.
            let to = revision.time.min(self.state.contract.ends);
            let seconds = to.saturating_sub(last.time);
            self.state.byte_seconds += u128::from(last.held_bytes) * u128::from(seconds);
        }
        self.state.revision = Some((revision.clone(), note.clone()));
    }

    /// The place of a chunk in the inventory.
    pub(crate) fn place_of(&self, chunk: &ChunkId) -> Option<u64> {
        self.held.get(chunk).copied()
    }
}

/// Reads the whole book from the index and checks each inventory against its last revision.
pub(crate) fn load(index: &Index) -> Result<HashMap<ContractId, Account>, OpenError> {
    let mut book = HashMap::new();
    for (id, state) in index.contracts()? {
        let damaged = |why: &str| OpenError::Book { contract: id.to_string(), why: why.to_owned() };
        let inventory =
            Inventory::from_entries(index.entries(&id)?).map_err(|error| damaged(&error.to_string()))?;
        let root = state.revision.as_ref().map(|(revision, _)| revision.inventory_root);
        if root.unwrap_or(Inventory::new().root()) != inventory.root() {
            return Err(damaged("its inventory does not have the root of its last revision"));
        }
        let held = (0u64..)
            .zip(inventory.entries())
            .filter_map(|(index, entry)| entry.chunk.map(|chunk| (chunk, index)))
            .collect();
        book.insert(id, Account { state, inventory, held });
    }
    Ok(book)
}
