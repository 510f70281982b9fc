//! What changes in the index, each in one transaction.
//!
//! Invariant: a chunk has a place exactly as long as a contract holds it under which this node is
//! the provider.

use std::sync::Arc;

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::segment::Segment;
use heed::{RoTxn, RwTxn, WithoutTls};

use super::value::{self, Held, entry_key, holding_key};
use super::writer::Broken;
use super::{CHUNKS, HOLDINGS, Index, Tables, damaged, holding};
use crate::book::{ContractState, Role};
use crate::error::StoreError;
use crate::record::Place;
use crate::shelf::{Moved, Shelf};

/// A revision and everything that it changes.
pub(crate) struct NewRevision {
    /// The contract's record afterwards.
    pub(crate) state: ContractState,
    pub(crate) id: ContractId,
    /// Entries that became holes, as they were, with their index.
    pub(crate) removed: Vec<(u64, InventoryEntry)>,
    pub(crate) appended: Vec<(u64, InventoryEntry)>,
    /// Chunks that the commit adds, those that the inventory held before among them, with their
    /// index: adding one ends its being lost.
    pub(crate) held: Vec<(ChunkId, u64)>,
    /// Synced records of chunks that the commit adds.
    pub(crate) added: Vec<(ChunkId, Place)>,
    /// Synced records that replace damaged ones.
    pub(crate) healed: Vec<(ChunkId, Place)>,
    /// Chunks that must have a place already.
    pub(crate) elsewhere: Vec<ChunkId>,
}

/// How writing a revision came out.
pub(crate) enum Written {
    /// It is durable.
    Done(Moved),
    /// Nothing was written, because these chunks have no place.
    Missing(Vec<ChunkId>),
}

impl Index {
    /// Writes a contract's record.
    pub(crate) fn write_contract(&self, id: &ContractId, state: &ContractState) -> Result<(), StoreError> {
        let (id, bytes) = (*id, value::contract(state));
        self.writer.write(move |tables, txn| Ok(tables.contracts.put(txn, &id.0, &bytes)?), |()| {})
    }

    /// Writes a revision, and tells the shelf which records it needs since.
    pub(crate) fn write_revision(&self, new: NewRevision, shelf: Arc<Shelf>) -> Result<Written, StoreError> {
        let settle = move |written: &Written| {
            if let Written::Done(moved) = written {
                shelf.settle(moved);
            }
        };
        self.writer.write(move |tables, txn| revise(tables, txn, &new), settle)
    }

    /// Writes a segment.
    pub(crate) fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        let (id, bytes) = (segment.id(), value::segment(segment));
        self.writer.write(move |tables, txn| Ok(tables.segments.put(txn, &id.0, &bytes)?), |()| {})
    }

    /// Removes segments.
    pub(crate) fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        let remove = move |tables: &Tables, txn: &mut RwTxn<'_>| {
            for id in &ids {
                tables.segments.delete(txn, &id.0)?;
            }
            Ok(())
        };
        self.writer.write(remove, |()| {})
    }

    /// Marks chunks of an owner's contract as lost; others are passed over.
    pub(crate) fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        let (contract, chunks) = (*contract, chunks.to_vec());
        let mark = move |tables: &Tables, txn: &mut RwTxn<'_>| {
            for chunk in &chunks {
                let key = holding_key(chunk, &contract);
                let Some(bytes) = tables.holdings.get(txn, &key)? else { continue };
                let held = value::to_held(bytes).map_err(damaged(HOLDINGS, &key)).map_err(Broken::Value)?;
                if !held.provided {
                    tables.holdings.put(txn, &key, &value::held(Held { lost: true, ..held }))?;
                }
            }
            Ok(())
        };
        self.writer.write(mark, |()| {})
    }
}

fn missing(
    tables: &Tables,
    txn: &RoTxn<'_, WithoutTls>,
    chunks: &[ChunkId],
) -> Result<Vec<ChunkId>, heed::Error> {
    let mut missing = Vec::new();
    for chunk in chunks {
        if tables.chunks.get(txn, &chunk.0)?.is_none() {
            missing.push(*chunk);
        }
    }
    Ok(missing)
}

fn place_of(tables: &Tables, txn: &RwTxn<'_>, chunk: &ChunkId) -> Result<Option<Place>, Broken> {
    let bytes = tables.chunks.get(txn, &chunk.0)?;
    let place = bytes.map(|bytes| value::to_place(bytes).map_err(damaged(CHUNKS, &chunk.0)));
    place.transpose().map_err(Broken::Value)
}

fn revise(tables: &Tables, txn: &mut RwTxn<'_>, new: &NewRevision) -> Result<Written, Broken> {
    // Looked at here once more: since the caller did, another contract may have let a chunk go.
    let missing = missing(tables, txn, &new.elsewhere)?;
    if !missing.is_empty() {
        return Ok(Written::Missing(missing));
    }
    let id = &new.id;
    let provided = new.state.role == Role::Provider;
    tables.contracts.put(txn, &id.0, &value::contract(&new.state))?;
    for (index, entry) in &new.removed {
        let hole = InventoryEntry { chunk: None, ..*entry };
        tables.entries.put(txn, &entry_key(id, *index), &value::entry(&hole))?;
        if let Some(chunk) = &entry.chunk {
            tables.holdings.delete(txn, &holding_key(chunk, id))?;
        }
    }
    for (index, entry) in &new.appended {
        tables.entries.put(txn, &entry_key(id, *index), &value::entry(entry))?;
    }
    for (chunk, index) in &new.held {
        let held = Held { index: *index, lost: false, provided };
        tables.holdings.put(txn, &holding_key(chunk, id), &value::held(held))?;
    }
    let mut moved = Moved::default();
    if provided {
        move_places(tables, txn, new, &mut moved)?;
    }
    Ok(Written::Done(moved))
}

/// Enters the new places, and takes out those of chunks that nobody holds any more.
fn move_places(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    new: &NewRevision,
    moved: &mut Moved,
) -> Result<(), Broken> {
    let added = new.added.iter().map(|it| (it, true));
    let healed = new.healed.iter().map(|it| (it, false));
    for ((chunk, place), wanted) in added.chain(healed) {
        let before = place_of(tables, txn, chunk)?;
        // Of a chunk that nobody holds any more there is nothing to heal; and another commit may
        // have entered this record already, or one that was put after it because it was damaged.
        if before.map_or(!wanted, |before| before >= *place) {
            continue;
        }
        moved.freed.extend(before);
        moved.adopted.push((*chunk, *place));
        tables.chunks.put(txn, &chunk.0, &value::place(*place))?;
    }
    for chunk in new.removed.iter().filter_map(|(_, entry)| entry.chunk) {
        if !is_provided(tables, txn, &chunk)?
            && let Some(place) = place_of(tables, txn, &chunk)?
        {
            moved.freed.push(place);
            tables.chunks.delete(txn, &chunk.0)?;
        }
    }
    Ok(())
}

/// Does a contract hold the chunk under which this node is the provider?
fn is_provided(tables: &Tables, txn: &RwTxn<'_>, chunk: &ChunkId) -> Result<bool, Broken> {
    for item in tables.holdings.prefix_iter(txn, &chunk.0)? {
        if holding(item?).map_err(Broken::Value)?.1.provided {
            return Ok(true);
        }
    }
    Ok(false)
}
