//! The book of contracts: what is on record of each, and its inventory in memory.
//!
//! Invariant: whoever has no account locked sees the state that is durable. An account that is not
//! locked has the inventory that its last revision describes. Not here: writing (the index).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{Inventory, InventoryEntry};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Revision};
use commonhold_format::tree::Hash;
use commonhold_format::wire::Addition;

use crate::error::{BookError, OpenError, StoreError};
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
        }
    }

    /// Is the note signed by both parties?
    pub(crate) fn both_signed(&self, note: &SignedNote) -> bool {
        note.is_signed_by(&self.contract.owner) && note.is_signed_by(&self.contract.provider)
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
#[derive(Default)]
pub(crate) struct Change {
    /// Removed entries as they were, with their indices.
    pub(crate) removed: Vec<(u64, InventoryEntry)>,
    /// New entries, with their indices.
    pub(crate) appended: Vec<(u64, InventoryEntry)>,
}

/// A contract's inventory. Whoever has it locked is the only one who changes the contract.
pub(crate) struct Account {
    /// Shared with those who look at it; a change copies it while somebody does.
    inventory: Arc<Inventory>,
    /// Chunks of the inventory and their indices.
    held: HashMap<ChunkId, u64>,
}

impl Account {
    fn new(inventory: Inventory) -> Self {
        let held = (0u64..)
            .zip(inventory.entries())
            .filter_map(|(index, entry)| entry.chunk.map(|chunk| (chunk, index)))
            .collect();
        Self { inventory: Arc::new(inventory), held }
    }

    pub(crate) fn inventory(&self) -> Arc<Inventory> {
        self.inventory.clone()
    }

    /// The index of a chunk in the inventory.
    pub(crate) fn index_of(&self, chunk: &ChunkId) -> Option<u64> {
        self.held.get(chunk).copied()
    }

    /// Removes, then appends; answers what that comes to after `last`, and how to undo it. On an
    /// error nothing has changed.
    pub(crate) fn apply(
        &mut self,
        last: Option<&Revision>,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<(Preview, Change), BookError> {
        let mut change = Change::default();
        if let Err(error) = self.try_apply(adds, removes, &mut change) {
            self.undo(change);
            return Err(error);
        }
        let preview = Preview {
            sequence: last.map_or(0, |last| last.sequence).saturating_add(1),
            inventory_root: self.inventory.root(),
            entries: self.inventory.len(),
            span: self.inventory.span(),
            held_bytes: self.inventory.held_bytes(),
            held_chunks: self.inventory.held_chunks(),
        };
        Ok((preview, change))
    }

    fn try_apply(
        &mut self,
        adds: &[Addition],
        removes: &[u64],
        change: &mut Change,
    ) -> Result<(), BookError> {
        let inventory = Arc::make_mut(&mut self.inventory);
        for index in removes {
            let entry = inventory.remove(*index)?;
            if let Some(chunk) = entry.chunk {
                self.held.remove(&chunk);
            }
            change.removed.push((*index, entry));
        }
        for add in adds {
            if self.held.contains_key(&add.chunk) {
                continue;
            }
            let index = inventory.push(add.chunk, add.len)?;
            self.held.insert(add.chunk, index);
            let entry = inventory.entry(index).expect("the entry was just appended");
            change.appended.push((index, entry));
        }
        Ok(())
    }

    /// Takes a change back.
    pub(crate) fn undo(&mut self, change: Change) {
        let inventory = Arc::make_mut(&mut self.inventory);
        for (_, entry) in change.appended.iter().rev() {
            inventory.pop();
            if let Some(chunk) = entry.chunk {
                self.held.remove(&chunk);
            }
        }
        for (index, entry) in change.removed.into_iter().rev() {
            if let Some(chunk) = entry.chunk {
                inventory.refill(index, chunk).expect("the hole was made by the change that is undone");
                self.held.insert(chunk, index);
            }
        }
    }
}

/// A contract of the book.
pub(crate) struct Page {
    account: Mutex<Account>,
    /// What is durable. It is written by whoever has the account locked, and read by anybody
    /// without waiting for a commit that is under way.
    state: RwLock<ContractState>,
}

impl Page {
    fn new(state: ContractState, inventory: Inventory) -> Self {
        Self { account: Mutex::new(Account::new(inventory)), state: RwLock::new(state) }
    }

    pub(crate) fn state(&self) -> ContractState {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn role(&self) -> Role {
        self.state.read().unwrap_or_else(PoisonError::into_inner).role
    }

    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        // A panic in between could leave an inventory that no revision describes. Every commit
        // compares it with a signed root before anything is written, so nothing wrong is kept.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a state that is durable. The caller has the account locked.
    pub(crate) fn enter(&self, _account: &mut Account, state: ContractState) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// The holdings must be those of the inventories, each once.
fn check_holdings(index: &Index, pages: &HashMap<ContractId, Arc<Page>>) -> Result<(), OpenError> {
    let mut seen: HashMap<ContractId, u64> = HashMap::new();
    index.each_holding(|chunk, contract, held| {
        let page = pages.get(contract).ok_or("there is no such contract")?;
        if page.account().index_of(chunk) != Some(held.index) {
            return Err("the contract's inventory has the chunk elsewhere or not at all".to_owned());
        }
        if held.provided != (page.role() == Role::Provider) {
            return Err("the contract is one of the other role".to_owned());
        }
        *seen.entry(*contract).or_default() += 1;
        Ok(())
    })?;
    for (id, page) in pages {
        if seen.get(id).copied().unwrap_or(0) != page.account().held.len() as u64 {
            let why = "a chunk of its inventory is not among the holdings".to_owned();
            return Err(OpenError::Book { contract: id.to_string(), why });
        }
    }
    Ok(())
}

/// All contracts.
pub(crate) struct Book {
    pages: RwLock<HashMap<ContractId, Arc<Page>>>,
    /// Held while a contract is entered, so that each is entered once.
    entering: Mutex<()>,
}

impl Book {
    /// Reads the whole book from the index, and checks each inventory against its last revision
    /// and the holdings against the inventories.
    pub(crate) fn load(index: &Index) -> Result<Self, OpenError> {
        let mut pages = HashMap::new();
        for (id, state) in index.contracts()? {
            let damaged = |why: String| OpenError::Book { contract: id.to_string(), why };
            let inventory =
                Inventory::from_entries(index.entries(&id)?).map_err(|error| damaged(error.to_string()))?;
            let root = state.revision.as_ref().map(|(revision, _)| revision.inventory_root);
            if root.unwrap_or(Inventory::new().root()) != inventory.root() {
                return Err(damaged("its inventory does not have the root of its last revision".to_owned()));
            }
            pages.insert(id, Arc::new(Page::new(state, inventory)));
        }
        check_holdings(index, &pages)?;
        Ok(Self { pages: RwLock::new(pages), entering: Mutex::default() })
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
        let page = Arc::new(Page::new(state, Inventory::new()));
        self.pages.write().unwrap_or_else(PoisonError::into_inner).insert(id, page);
        Ok(())
    }
}
