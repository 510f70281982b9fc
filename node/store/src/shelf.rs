//! The chunks that a provider has taken in: their records, and which of them wait for a commit.
//!
//! Invariant: a chunk has at most one waiting record, and it is counted against the contract that
//! brought it until a commit takes it over or it is given up. Not here: the places of committed
//! chunks (the index), and what a chunk's bytes must be (the store checks them).

use std::array;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::Hash;
use commonhold_format::wire::Addition;

use crate::SMALL_CHUNK_LEN_MAX;
use crate::error::{CommitError, PutError};
use crate::figures::Move;
use crate::pack::{Packs, Purpose};
use crate::record::{Place, record_len};

/// Locks over chunk ids. Ids are hashes, so that two puts at a time seldom meet.
const TURNS: usize = 64;

/// A record that no commit has covered.
#[derive(Clone, Copy)]
struct Waiting {
    place: Place,
    contract: ContractId,
    /// The index has the chunk, in a record that could not be read: the next commit of this
    /// contract replaces that place, whether or not it adds the chunk again.
    heals: bool,
}

#[derive(Default)]
struct Desk {
    waiting: HashMap<ChunkId, Waiting>,
    /// Bytes of waiting records, and of those being written, by contract.
    bytes: HashMap<ContractId, u64>,
}

impl Desk {
    fn release(&mut self, contract: &ContractId, bytes: u64) {
        if let Some(sum) = self.bytes.get_mut(contract) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                self.bytes.remove(contract);
            }
        }
    }

    fn remove(&mut self, chunk: &ChunkId) -> Option<Waiting> {
        let waiting = self.waiting.remove(chunk)?;
        self.release(&waiting.contract, waiting.place.record_len());
        Some(waiting)
    }
}

/// A provider's chunks.
pub(crate) struct Shelf {
    pub(crate) packs: Packs,
    desk: Mutex<Desk>,
    turns: [Mutex<()>; TURNS],
    /// What puts may bring all bytes of packs to.
    bytes_max: u64,
    /// What of it only small chunks may use.
    small_chunk_bytes: u64,
    pending_bytes_max: u64,
}

/// The waiting records that a commit takes over. Their packs stay until it is dropped.
pub(crate) struct Staged<'a> {
    shelf: &'a Shelf,
    /// Records of chunks that the commit adds.
    pub(crate) added: Vec<(ChunkId, Place)>,
    /// Records that replace damaged ones of chunks that the index has.
    pub(crate) healed: Vec<(ChunkId, Place)>,
    /// Additions without a waiting record: the index must have them.
    pub(crate) elsewhere: Vec<Addition>,
}

impl Staged<'_> {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.added.iter().chain(&self.healed).map(|(_, place)| place)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        self.shelf.packs.unpin(self.places());
    }
}

impl Shelf {
    pub(crate) fn new(packs: Packs, bytes_max: u64, small_chunk_bytes: u64, pending_bytes_max: u64) -> Self {
        let turns = array::from_fn(|_| Mutex::new(()));
        Self { packs, desk: Mutex::default(), turns, bytes_max, small_chunk_bytes, pending_bytes_max }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One put of a chunk at a time: the second of two finds what the first has written, and no
    /// bytes of the allotment are wasted.
    pub(crate) fn turn(&self, chunk: &ChunkId) -> MutexGuard<'_, ()> {
        self.turns[usize::from(chunk.0[0]) % TURNS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the waiting record of a chunk is.
    pub(crate) fn waiting(&self, chunk: &ChunkId) -> Option<Place> {
        self.desk().waiting.get(chunk).map(|waiting| waiting.place)
    }

    /// Writes a chunk and lets it wait for its commit. Only for the holder of its turn.
    pub(crate) fn take_in(
        &self,
        contract: ContractId,
        chunk: ChunkId,
        bytes: &[u8],
        roots: &[Hash],
        heals: bool,
    ) -> Result<(), PutError> {
        let needed = record_len(bytes.len());
        {
            let mut desk = self.desk();
            let sum = desk.bytes.entry(contract).or_default();
            if sum.saturating_add(needed) > self.pending_bytes_max {
                return Err(PutError::Busy { waiting: *sum });
            }
            *sum += needed;
        }
        let kept = if bytes.len() > SMALL_CHUNK_LEN_MAX { self.small_chunk_bytes } else { 0 };
        let purpose = Purpose::Put { bytes_max: self.bytes_max.saturating_sub(kept) };
        let place = self.packs.append(&contract, &chunk, bytes, roots, purpose);
        let mut desk = self.desk();
        let place = place.inspect_err(|_| desk.release(&contract, needed))?;
        // A record before it was damaged, or the store would not have asked for another.
        let before = desk.remove(&chunk);
        desk.waiting.insert(chunk, Waiting { place, contract, heals });
        drop(desk);
        if let Some(before) = before {
            self.packs.give_up(&before.place);
        }
        Ok(())
    }

    /// Picks out the waiting records that a commit of `contract` takes over.
    ///
    /// # Errors
    /// [`CommitError::Length`] when an addition says another length than its chunk has.
    pub(crate) fn stage(&self, contract: &ContractId, adds: &[Addition]) -> Result<Staged<'_>, CommitError> {
        let mut staged = Staged { shelf: self, added: Vec::new(), healed: Vec::new(), elsewhere: Vec::new() };
        let desk = self.desk();
        for add in adds {
            match desk.waiting.get(&add.chunk) {
                Some(Waiting { place, .. }) => {
                    if place.len != add.len {
                        // Nothing is pinned before all of them are known to fit.
                        staged.added.clear();
                        return Err(CommitError::Length { chunk: add.chunk, said: add.len, held: place.len });
                    }
                    staged.added.push((add.chunk, *place));
                }
                None => staged.elsewhere.push(*add),
            }
        }
        for (chunk, waiting) in &desk.waiting {
            if waiting.heals && waiting.contract == *contract {
                staged.healed.push((*chunk, waiting.place));
            }
        }
        // Before the desk is free: until then nobody can give these records up.
        self.packs.pin(staged.places());
        Ok(staged)
    }

    /// Brings the figures up to date after a transaction.
    pub(crate) fn settle(&self, moves: &[Move]) {
        let mut desk = self.desk();
        for moved in moves {
            let waiting = desk.waiting.get(&moved.chunk);
            let was_pending =
                moved.from.is_none() && waiting.is_some_and(|waiting| waiting.place == moved.place);
            if was_pending {
                desk.remove(&moved.chunk);
            }
            self.packs.moved(moved, was_pending);
        }
    }

    /// Gives up what a contract has put and not committed; answers the bytes of those records.
    pub(crate) fn abandon(&self, contract: &ContractId) -> u64 {
        let mut desk = self.desk();
        let chunks: Vec<ChunkId> = desk
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.contract == *contract)
            .map(|(chunk, _)| *chunk)
            .collect();
        let gone: Vec<Waiting> = chunks.iter().filter_map(|chunk| desk.remove(chunk)).collect();
        drop(desk);
        for waiting in &gone {
            self.packs.give_up(&waiting.place);
        }
        gone.iter().map(|waiting| waiting.place.record_len()).sum()
    }
}
