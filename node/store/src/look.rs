//! Looking at a contract's inventory without having it in memory.
//!
//! Invariant: everything that one look shows is of one state of the index, so of one revision.

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{InventoryEntry, InventoryView};
use commonhold_format::tree::{Hash, LeafProof};

use crate::book::ContractState;
use crate::error::{ReadError, StoreError};
use crate::index::{Reading, TxnBlocks};
use crate::inventory::StoredInventory;
use crate::{Shared, Store};

/// A contract's inventory after its last revision; the blocks that are looked at are read from the
/// index.
pub struct InventoryAt<'a> {
    store: &'a Shared,
    reading: &'a Reading<'a>,
    state: ContractState,
    blocks: TxnBlocks<'a, 'a>,
    inventory: StoredInventory<TxnBlocks<'a, 'a>>,
}

impl Store {
    /// Looks at a contract's inventory as it is after its last revision; none when the contract is
    /// not known, or given up. Waits for nothing.
    ///
    /// `look` must ask the store nothing but through what it is given: the index cannot grow as long
    /// as it looks.
    ///
    /// # Errors
    /// [`StoreError`] when the index cannot be read.
    pub fn with_inventory<T>(
        &self,
        id: &ContractId,
        look: impl FnOnce(&InventoryAt<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let store = &*self.0;
        let reading = store.index.reading()?;
        let (tables, txn) = (&store.index.tables, &reading.txn);
        let Some(state) = tables.contract(txn, id)?.filter(|state| !state.given_up) else {
            return Ok(None);
        };
        let blocks = TxnBlocks { tables, txn, contract: *id };
        let inventory = StoredInventory::new(state.shape(), blocks);
        Ok(Some(look(&InventoryAt { store, reading: &reading, state, blocks, inventory })))
    }
}

impl InventoryAt<'_> {
    /// What is on record of the contract, with the revision that describes this inventory.
    pub fn state(&self) -> &ContractState {
        &self.state
    }

    /// At most `max` entries from `index` on.
    ///
    /// # Errors
    /// [`StoreError`] when the index cannot be read.
    pub fn entries_from(&self, index: u64, max: usize) -> Result<Vec<InventoryEntry>, StoreError> {
        self.inventory.entries_from(index, max)
    }

    /// The index of a chunk in the inventory.
    ///
    /// # Errors
    /// [`StoreError`] when the index cannot be read.
    pub fn index_of(&self, chunk: &ChunkId) -> Result<Option<u64>, StoreError> {
        let TxnBlocks { tables, txn, contract } = self.blocks;
        Ok(tables.held(txn, chunk, &contract)?.map(|held| held.index))
    }

    /// [`Store::prove`] for a chunk of this inventory.
    ///
    /// # Errors
    /// As there.
    pub fn prove(&self, chunk: &ChunkId, leaf: u64) -> Result<LeafProof, ReadError> {
        // Places are looked up in the present state: compaction may have moved the chunk since.
        let find = |chunk: &ChunkId| match self.store.shelf.waiting(chunk) {
            Some(place) => Ok(Some(place)),
            None => self.store.index.place_within(self.reading, chunk).map_err(ReadError::index),
        };
        self.store.prove_at(chunk, |_| leaf, find)
    }
}

impl InventoryView for InventoryAt<'_> {
    type Error = StoreError;

    fn len(&self) -> u64 {
        self.inventory.len()
    }

    fn span(&self) -> u64 {
        self.inventory.span()
    }

    fn root(&self) -> Hash {
        self.inventory.root()
    }

    fn entry(&self, index: u64) -> Result<Option<InventoryEntry>, StoreError> {
        self.inventory.entry(index)
    }

    fn path(&self, index: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        self.inventory.path(index)
    }

    fn locate(&self, position: u64) -> Result<Option<u64>, StoreError> {
        self.inventory.locate(position)
    }
}
