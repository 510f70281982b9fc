//! What changes in the index, each in one transaction.
//!
//! Invariant: a chunk has a place exactly as long as a contract holds it under which this node is
//! the provider; when the last one lets it go it is in the trash.

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::segment::Segment;
use commonhold_format::tree::Hash;

use super::journal::Booked;
use super::read::Found;
use super::value::{self, Held, Trashed, entries_key, expiry_key, hashes_key, holding_key};
use super::writer::{Broken, Change, Writer};
use super::{TRASH, damaged};
use crate::book::{ContractState, Role};
use crate::error::StoreError;
use crate::figures::{Kept, Move};
use crate::record::{NOWHERE, Place};

/// A revision and everything that it changes.
pub(crate) struct NewRevision {
    /// The contract's record afterwards.
    pub(crate) state: ContractState,
    pub(crate) id: ContractId,
    /// Changed blocks of the inventory's entries.
    pub(crate) entries: Vec<(u64, Vec<InventoryEntry>)>,
    /// Changed blocks of its tree: level, block, hashes.
    pub(crate) hashes: Vec<(u8, u64, Vec<Hash>)>,
    /// Chunks that it holds no more.
    pub(crate) removed: Vec<ChunkId>,
    /// Chunks that the commit adds, those that the inventory held before among them, with their
    /// index: adding one ends its being lost.
    pub(crate) held: Vec<(ChunkId, u64)>,
    /// Records of chunks that the commit adds.
    pub(crate) added: Vec<(ChunkId, Place)>,
    /// Records that replace damaged ones.
    pub(crate) healed: Vec<(ChunkId, Place)>,
    /// Chunks that must have a place already.
    pub(crate) elsewhere: Vec<ChunkId>,
    /// When the term in the trash ends of what nobody holds any more, Unix seconds.
    pub(crate) trash_ends: u64,
}

impl NewRevision {
    /// The last revision again, with records that replace damaged ones.
    pub(crate) fn again(id: ContractId, state: ContractState, healed: Vec<(ChunkId, Place)>) -> Self {
        Self {
            state,
            id,
            entries: Vec::new(),
            hashes: Vec::new(),
            removed: Vec::new(),
            held: Vec::new(),
            added: Vec::new(),
            healed,
            elsewhere: Vec::new(),
            trash_ends: 0,
        }
    }
}

/// How writing a revision came out.
pub(crate) enum Written {
    /// It is durable.
    Done,
    /// Nothing was written, because these chunks have no place.
    Missing(Vec<ChunkId>),
}

impl Writer {
    /// Writes a contract's record.
    pub(crate) fn write_contract(&self, id: &ContractId, state: &ContractState) -> Result<(), StoreError> {
        let (id, bytes) = (*id, value::contract(state));
        self.write(move |change| change.put(Booked::Contracts, &id.0, &bytes))
    }

    /// Writes a revision.
    pub(crate) fn write_revision(&self, new: NewRevision) -> Result<Written, StoreError> {
        self.write(move |change| change.revise(&new))
    }

    /// Writes a segment.
    pub(crate) fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        let (id, bytes) = (segment.id(), value::segment(segment));
        self.write(move |change| change.put(Booked::Segments, &id.0, &bytes))
    }

    /// Removes segments.
    pub(crate) fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write(move |change| ids.iter().try_for_each(|id| change.delete(Booked::Segments, &id.0)))
    }

    /// Marks chunks of an owner's contract as lost; others are passed over.
    pub(crate) fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        let (contract, chunks) = (*contract, chunks.to_vec());
        self.write(move |change| {
            for chunk in &chunks {
                match change.tables.held(change.txn, chunk, &contract)? {
                    Some(held) if !held.provided && !held.lost => {
                        let key = holding_key(chunk, &contract);
                        change.put(Booked::Holdings, &key, &value::held(Held { lost: true, ..held }))?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }
}

impl Change<'_, '_> {
    fn revise(&mut self, new: &NewRevision) -> Result<Written, Broken> {
        // Looked at here once more: since the caller did, another contract may have let a chunk go.
        let mut missing = Vec::new();
        let mut in_trash = Vec::new();
        for chunk in &new.elsewhere {
            match self.tables.find(self.txn, chunk)? {
                Some(Found::Live(_)) => {}
                Some(Found::Trash(_)) => in_trash.push(*chunk),
                None => missing.push(*chunk),
            }
        }
        if !missing.is_empty() {
            return Ok(Written::Missing(missing));
        }
        let id = &new.id;
        let provided = new.state.role == Role::Provider;
        self.put(Booked::Contracts, &id.0, &value::contract(&new.state))?;
        for (block, entries) in &new.entries {
            self.put(Booked::Entries, &entries_key(id, *block), &value::entries(entries))?;
        }
        for (level, block, hashes) in &new.hashes {
            let key = hashes_key(id, *level, *block);
            self.set(self.tables.hashes, &key, &value::hashes(hashes))?;
        }
        for chunk in &new.removed {
            self.unhold(chunk, id)?;
        }
        for (chunk, index) in &new.held {
            let key = holding_key(chunk, id);
            let bytes = value::held(Held { index: *index, lost: false, provided });
            let was_lost = self.tables.held(self.txn, chunk, id)?.is_some_and(|held| held.lost);
            self.set(self.tables.holdings, &key, &bytes)?;
            if was_lost {
                self.note(Booked::Holdings, &key, Some(&bytes));
            }
        }
        if provided {
            self.move_places(new, &in_trash)?;
        }
        Ok(Written::Done)
    }

    /// Takes a holding out.
    pub(crate) fn unhold(&mut self, chunk: &ChunkId, contract: &ContractId) -> Result<(), Broken> {
        let key = holding_key(chunk, contract);
        if self.tables.held(self.txn, chunk, contract)?.is_some_and(|held| held.lost) {
            self.delete(Booked::Holdings, &key)?;
        } else {
            self.unset(self.tables.holdings, &key)?;
        }
        Ok(())
    }

    /// Enters the new places, and puts into the trash what nobody holds any more.
    fn move_places(&mut self, new: &NewRevision, in_trash: &[ChunkId]) -> Result<(), Broken> {
        for chunk in in_trash {
            if let Some(trashed) = self.untrash(chunk)? {
                self.set(self.tables.chunks, &chunk.0, &value::place(trashed.place))?;
                self.moved(Move {
                    chunk: *chunk,
                    place: trashed.place,
                    from: Some(Kept::Trash),
                    to: Some(Kept::Live),
                });
            }
        }
        let added = new.added.iter().map(|it| (it, true));
        let healed = new.healed.iter().map(|it| (it, false));
        for ((chunk, place), wanted) in added.chain(healed) {
            let before = self.tables.place(self.txn, chunk)?;
            // Of a chunk that nobody holds any more there is nothing to heal; and another commit
            // may have entered this record already, or one that was put after it because it was
            // damaged.
            if before.map_or(!wanted, |before| before.pack != NOWHERE && before >= *place) {
                continue;
            }
            if let Some(before) = before {
                self.moved(Move { chunk: *chunk, place: before, from: Some(Kept::Live), to: None });
            } else if let Some(trashed) = self.untrash(chunk)? {
                self.moved(Move { chunk: *chunk, place: trashed.place, from: Some(Kept::Trash), to: None });
            }
            self.set(self.tables.chunks, &chunk.0, &value::place(*place))?;
            self.moved(Move { chunk: *chunk, place: *place, from: None, to: Some(Kept::Live) });
        }
        for chunk in &new.removed {
            self.let_go(chunk, new.trash_ends)?;
        }
        Ok(())
    }

    /// Puts a chunk into the trash if no contract holds it any more under which this node is the
    /// provider.
    pub(crate) fn let_go(&mut self, chunk: &ChunkId, trash_ends: u64) -> Result<(), Broken> {
        let Some(place) = self.tables.place(self.txn, chunk)? else { return Ok(()) };
        if !self.tables.provided(self.txn, chunk)?.is_empty() {
            return Ok(());
        }
        self.unset(self.tables.chunks, &chunk.0)?;
        if place.pack == NOWHERE {
            return Ok(());
        }
        let trashed = Trashed { place, ends: trash_ends };
        self.enter_trash(chunk, &trashed)?;
        self.note(Booked::Trash, &chunk.0, Some(&value::term(trash_ends)));
        self.moved(Move { chunk: *chunk, place, from: Some(Kept::Live), to: Some(Kept::Trash) });
        Ok(())
    }

    /// Writes where a chunk is in the trash; not into the book, which has the term alone.
    pub(crate) fn enter_trash(&mut self, chunk: &ChunkId, trashed: &Trashed) -> Result<(), Broken> {
        self.set(self.tables.trash, &chunk.0, &value::trashed(trashed))?;
        self.set(self.tables.expiry, &expiry_key(trashed.ends, chunk), &[])?;
        Ok(())
    }

    /// Writes what a key of the book has now into the book again; when it is no more, and
    /// `deletions`, that.
    pub(crate) fn note_again(&mut self, table: Booked, key: &[u8], deletions: bool) -> Result<(), Broken> {
        let value = self.table(table).get(self.txn, key)?.map(<[u8]>::to_vec);
        let value = match (table, value) {
            (Booked::Trash, Some(bytes)) => {
                let trashed = value::to_trashed(&bytes).map_err(damaged(TRASH, key))?;
                Some(value::term(trashed.ends))
            }
            (_, value) => value,
        };
        if value.is_some() || deletions {
            self.note(table, key, value.as_deref());
        }
        Ok(())
    }

    /// Takes a chunk out of the trash; where it goes is up to the caller.
    pub(crate) fn untrash(&mut self, chunk: &ChunkId) -> Result<Option<Trashed>, Broken> {
        let Some(trashed) = self.tables.trashed(self.txn, chunk)? else { return Ok(None) };
        self.delete(Booked::Trash, &chunk.0)?;
        self.unset(self.tables.expiry, &expiry_key(trashed.ends, chunk))?;
        Ok(Some(trashed))
    }
}
