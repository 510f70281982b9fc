//! The book of contracts: what is on record of each. Inventories stay on the disk.
//!
//! Invariant: what is read here is durable, and only whoever has a contract's turn changes it. Not
//! here: writing (the index).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use commonhold_format::ids::ContractId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Revision};
use commonhold_format::tree::Hash;

use crate::error::StoreError;
use crate::index::Index;
use crate::inventory::Shape;

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
    /// Bytes held times seconds, from the first revision up to the time of the last one. Time
    /// behind the contract's end does not count.
    pub byte_seconds: u128,
    /// Number of the next audit; 1 before the first.
    pub next_epoch: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits that found wrong bytes.
    pub audits_failed: u64,
    /// Evidence of the last audit that had any; zeros before.
    pub evidence: Hash,
    /// The contract has ended, and its inventory is given up: its chunks are in the trash.
    pub given_up: bool,
}

impl ContractState {
    pub(crate) fn new(role: Role, contract: Contract, note: SignedNote) -> Self {
        Self {
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
            given_up: false,
        }
    }

    /// Is the note signed by both parties?
    pub(crate) fn both_signed(&self, note: &SignedNote) -> bool {
        note.is_signed_by(&self.contract.owner) && note.is_signed_by(&self.contract.provider)
    }

    /// What the last revision says of the inventory.
    pub(crate) fn shape(&self) -> Shape {
        self.revision.as_ref().map_or_else(Shape::empty, |(revision, _)| Shape {
            entries: revision.entries,
            span: revision.span,
            held_bytes: revision.held_bytes,
            held_chunks: revision.held_chunks,
            root: revision.inventory_root,
        })
    }

    /// The state with `revision` as the last one; the time since the one before is counted.
    pub(crate) fn after(mut self, revision: &Revision, note: &SignedNote) -> Self {
        if let Some((last, _)) = &self.revision {
            // Time behind the contract's end is not owed for, and a clock that went back adds
            // nothing.
            let seconds = revision.time.min(self.contract.ends).saturating_sub(last.time);
            let held = u128::from(last.held_bytes) * u128::from(seconds);
            self.byte_seconds = self.byte_seconds.saturating_add(held);
        }
        self.revision = Some((revision.clone(), note.clone()));
        self
    }
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
    /// What the revision behind `last` would say of an inventory.
    pub(crate) fn new(last: &ContractState, shape: &Shape) -> Self {
        let last = last.revision.as_ref().map_or(0, |(last, _)| last.sequence);
        Self {
            sequence: last.saturating_add(1),
            inventory_root: shape.root,
            entries: shape.entries,
            span: shape.span,
            held_bytes: shape.held_bytes,
            held_chunks: shape.held_chunks,
        }
    }

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

/// A contract of the book.
pub(crate) struct Page {
    /// Held by whoever changes the contract.
    turn: Mutex<()>,
    /// What is durable. It is written by whoever has the turn, and read by anybody without waiting
    /// for a commit that is under way.
    state: RwLock<Arc<ContractState>>,
}

impl Page {
    fn new(state: ContractState) -> Self {
        Self { turn: Mutex::default(), state: RwLock::new(Arc::new(state)) }
    }

    pub(crate) fn state(&self) -> Arc<ContractState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        // It guards the order of changes alone, so a panic elsewhere leaves nothing half done.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a state that is durable. The caller has the turn.
    pub(crate) fn enter(&self, _turn: &MutexGuard<'_, ()>, state: ContractState) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

/// All contracts.
pub(crate) struct Book {
    pages: RwLock<HashMap<ContractId, Arc<Page>>>,
    /// Held while a contract is entered, so that each is entered once.
    entering: Mutex<()>,
}

impl Book {
    /// Reads what is on record of all contracts.
    pub(crate) fn load(index: &Index) -> Result<Self, StoreError> {
        let contracts = index.contracts()?;
        let pages = contracts.into_iter().map(|(id, state)| (id, Arc::new(Page::new(state))));
        Ok(Self { pages: RwLock::new(pages.collect()), entering: Mutex::default() })
    }

    /// The page of a contract.
    pub(crate) fn page(&self, id: &ContractId) -> Option<Arc<Page>> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Ids of all contracts, ascending.
    pub(crate) fn ids(&self) -> Vec<ContractId> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<ContractId> = pages.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Enters a new contract once `write` has made it durable; one that is there already is left
    /// as it is.
    pub(crate) fn enter(
        &self,
        id: ContractId,
        state: ContractState,
        write: impl FnOnce(&ContractState) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _turn = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        if self.page(&id).is_some() {
            return Ok(());
        }
        write(&state)?;
        let page = Arc::new(Page::new(state));
        self.pages.write().unwrap_or_else(PoisonError::into_inner).insert(id, page);
        Ok(())
    }
}
