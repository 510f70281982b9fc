//! What a node keeps on disk: chunks and the book of contracts in append-only packs, and an index
//! over them (spec/store.md).
//!
//! Invariant: the index never names bytes that were not synced before; whatever was acknowledged is
//! there after a crash at any moment; a chunk is served only when its bytes give its id. After the
//! first failed sync nothing is acknowledged any more. Not here: who may ask for what, and what a
//! chunk means.

mod book;
mod check;
mod commit;
mod compaction;
mod disk;
mod error;
mod figures;
mod halt;
mod index;
mod inventory;
mod layout;
mod look;
mod opening;
mod pack;
mod rebuild;
mod record;
mod scrub;
mod shelf;
mod trash;
mod walk;

#[cfg(test)]
extern crate self as commonhold_store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::note::SignedNote;
use commonhold_format::probe::probed_leaf;
use commonhold_format::segment::Segment;
use commonhold_format::statement::{AuditOutcome, Contract, Receipt, Statement};
use commonhold_format::tree::{CHUNK_LEN_MAX, Hash, LeafProof, chunk_id, chunk_id_and_subtrees};

pub use book::{ContractState, Preview, Role};
pub use check::{CheckReport, Finding};
pub use compaction::{Compacted, Stop};
pub use error::{BookError, CommitError, OpenError, PutError, ReadError, StoreError};
pub use look::InventoryAt;
pub use rebuild::{RebuildReport, rebuild_index};
pub use record::StoreId;
pub use scrub::{Rot, ScrubProgress, ScrubSlice};

use book::{Book, Page};
use halt::Halt;
use index::{Found, Index, Writer};
use layout::Layout;
use opening::Setup;
use record::Place;
use shelf::Shelf;

/// Bytes of records that one contract may have put and not yet committed: 256 of the largest
/// chunks, so that an owner can send at full speed while a commit is under way, and so that what
/// it never commits takes a bounded part of the disk.
pub const PENDING_BYTES_MAX: u64 = 256 << 20;

/// How long a chunk stays in the trash unless the operator says otherwise: 7 days.
pub const TRASH_TERM_SECONDS: u64 = 7 * 86_400;

/// Chunks up to this long may use what is kept for small ones ([`StoreConfig::small_chunk_bytes`]): 64
/// KiB, the chunks of a folder of some hundred entries.
pub const SMALL_CHUNK_LEN_MAX: usize = 64 << 10;

/// Where a store is and how much it may hold.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The store's folder; made if it is not there.
    pub dir: PathBuf,
    /// What the operator lends: most bytes of all packs together, the reserve of compaction
    /// included. The index, about 400 bytes for each chunk, is not counted.
    pub allotted_bytes: u64,
    /// How much of it only chunks up to [`SMALL_CHUNK_LEN_MAX`] may use: an owner that removes files has
    /// to store the changed folder first, also when the disk is full of files.
    pub small_chunk_bytes: u64,
    /// How long a chunk that nobody holds any more stays in the trash, seconds.
    pub trash_term_seconds: u64,
    /// The id of the store that this node had before, if it had one: then no new one is made, and
    /// no other one is opened.
    pub known: Option<StoreId>,
}

impl StoreConfig {
    /// A store that may be new, with the default term of the trash, that keeps nothing for small chunks.
    pub fn new(dir: impl Into<PathBuf>, allotted_bytes: u64) -> Self {
        Self {
            dir: dir.into(),
            allotted_bytes,
            small_chunk_bytes: 0,
            trash_term_seconds: TRASH_TERM_SECONDS,
            known: None,
        }
    }
}

/// How the lent disk is used, in bytes: used + trash + dead + reserve + free = allotted, and when
/// that cannot be, `excess_bytes` is what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What the operator lends.
    pub allotted_bytes: u64,
    /// Records of chunks that are held or wait for their commit, of the book, and headers of packs.
    pub used_bytes: u64,
    /// What of it is records of chunks that are held.
    pub live_bytes: u64,
    /// What of it was put and not yet committed.
    pub pending_bytes: u64,
    /// What of it is the book.
    pub book_bytes: u64,
    /// Records of chunks in the trash.
    pub trash_bytes: u64,
    /// What nothing needs any more and compaction makes free.
    pub dead_bytes: u64,
    /// What compaction may need and puts may not have.
    pub reserve_bytes: u64,
    /// What can still be taken in.
    pub free_bytes: u64,
    /// What is kept beyond what is lent, after an operator has lowered it.
    pub excess_bytes: u64,
    /// Chunks held; pending ones are not counted.
    pub chunks: u64,
    /// Chunks in the trash.
    pub trash_chunks: u64,
}

/// A contract of this owner under which a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The contract.
    pub contract: ContractId,
    /// The chunk's place in its inventory.
    pub index: u64,
    /// Was the provider found to have lost it?
    pub lost: bool,
}

/// A store; cheap to clone. All methods block and may be called from many threads. The store is
/// closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    // Dropped first: its thread ends, and with it the last user of index and shelf.
    writer: Writer,
    _early_syncs: EarlySyncs,
    shelf: Arc<Shelf>,
    index: Arc<Index>,
    book: Book,
    halt: Arc<Halt>,
    /// One compaction, scrub or check at a time, and what compaction remembers.
    upkeep: std::sync::Mutex<compaction::BookRounds>,
    allotted_bytes: u64,
    reserve_bytes: u64,
    trash_term_seconds: u64,
    /// Unix seconds.
    clock: opening::Clock,
    // Dropped last: then nobody writes to the folder any more.
    layout: Layout,
}

/// The thread that syncs early; it ends with this.
struct EarlySyncs(Arc<Shelf>, Option<JoinHandle<()>>);

impl EarlySyncs {
    fn start(shelf: &Arc<Shelf>) -> std::io::Result<Self> {
        let packs = shelf.clone();
        let thread = std::thread::Builder::new().name("store-sync".to_owned());
        let thread = thread.spawn(move || packs.packs.sync_early())?;
        Ok(Self(shelf.clone(), Some(thread)))
    }
}

impl Drop for EarlySyncs {
    fn drop(&mut self) {
        self.0.packs.end_early_syncs();
        if let Some(thread) = self.1.take() {
            // Should it have panicked, commits have synced by themselves.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Opens the store, making it if it is not there, and cuts what a crash has left
    /// unacknowledged. Takes as long with a million chunks as with one.
    ///
    /// # Errors
    /// [`OpenError`] names the file that is wrong and what to do.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Setup::default())
    }

    /// The store's id, for [`StoreConfig::known`].
    pub fn id(&self) -> StoreId {
        self.0.layout.id()
    }

    /// Why the store has stopped, if it has: after a failed write or sync it takes in and
    /// acknowledges nothing until it is opened again. Reads go on.
    pub fn failure(&self) -> Option<StoreError> {
        self.0.halt.reason()
    }

    /// Looks whether packs are still the files that their names say: one that is unlinked, or whose folder
    /// was replaced, can be read and written until the node ends, and is gone then. A bounded number
    /// of them from number `from` on; answers the number to go on with, 0 after the last.
    ///
    /// # Errors
    /// [`OpenError`] names the pack.
    pub fn look_at_packs(&self, from: u32) -> Result<u32, OpenError> {
        self.0.shelf.packs.look_at_names(from)
    }

    /// Takes a chunk of 1 to [`CHUNK_LEN_MAX`] bytes in under a contract that this node provides.
    /// It is not durable, and counts for nothing, before a commit adds it; after a restart it is
    /// gone. A chunk that is here already, under whatever contract or in the trash, is read and
    /// checked, and nothing is written; when it turns out to be damaged the new bytes take its
    /// place, here at once and in the index with the next commit under this contract.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put(&self, contract: ContractId, chunk: ChunkId, bytes: &[u8]) -> Result<(), PutError> {
        let store = &*self.0;
        if bytes.is_empty() || bytes.len() > CHUNK_LEN_MAX {
            return Err(PutError::WrongId);
        }
        let (id, roots) = chunk_id_and_subtrees(bytes);
        if id != chunk {
            return Err(PutError::WrongId);
        }
        store.halt.check()?;
        let page = store.book.page(&contract).map(|page| page.state());
        if !page.is_some_and(|state| state.role == Role::Provider && !state.given_up) {
            return Err(PutError::Unknown);
        }
        let _turn = store.shelf.turn(&chunk);
        let heals = match self.0.read_from(&chunk, |chunk| self.0.any_place(chunk)) {
            Ok(_) => return Ok(()),
            Err(ReadError::NotHeld) => false,
            Err(_) => store.index.place(&chunk)?.is_some(),
        };
        store.shelf.take_in(contract, chunk, bytes, &roots, heals)
    }

    /// The chunk's bytes, checked against its id.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`], [`ReadError::Damaged`], or the disk's own error.
    pub fn read(&self, chunk: &ChunkId) -> Result<Vec<u8>, ReadError> {
        self.0.read_from(chunk, |chunk| self.0.place(chunk))
    }

    /// A leaf of 1 KiB of a chunk with its path to the chunk's id, checked against it. Reads 18 KiB
    /// at most, or the whole chunk when the subtree roots beside it are damaged.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`]; [`ReadError::Damaged`], also for a leaf that the chunk does not
    /// have; or the disk's own error.
    pub fn prove(&self, chunk: &ChunkId, leaf: u64) -> Result<LeafProof, ReadError> {
        self.0.prove_at(chunk, |_| leaf, |chunk| self.0.place(chunk))
    }

    /// The leaf of a chunk that a probe asks for, as [`prove`](Self::prove) shows it.
    ///
    /// # Errors
    /// As there.
    pub fn probe(&self, chunk: &ChunkId, nonce: &[u8; 32]) -> Result<LeafProof, ReadError> {
        // No record of a chunk without bytes is kept, so one is always drawn.
        let drawn = |len| probed_leaf(nonce, chunk, len).unwrap_or(0);
        self.0.prove_at(chunk, drawn, |chunk| self.0.place(chunk))
    }

    /// Is the chunk here, committed or not? Its bytes are not looked at.
    pub fn holds(&self, chunk: &ChunkId) -> bool {
        self.0.place(chunk).is_ok_and(|place| place.is_some())
    }

    /// Gives up what was put under a contract and not committed, so that the contract may put
    /// other chunks; answers the bytes of those records. They are dead. Commits under way keep what
    /// they add.
    pub fn abandon(&self, contract: &ContractId) -> u64 {
        self.0.shelf.abandon(contract)
    }

    /// Bytes that puts can still bring: what is free by the accounts, or less when the file system
    /// has less, what compaction and the index may need left out of it. 0 when it cannot be asked.
    pub fn room(&self) -> u64 {
        // Asked again at the next look, and by each put.
        self.0.shelf.packs.room().unwrap_or(0).min(self.usage().free_bytes)
    }

    /// How the disk is used.
    pub fn usage(&self) -> Usage {
        let figures = self.0.shelf.packs.figures();
        let (allotted_bytes, reserve_bytes) = (self.0.allotted_bytes, self.0.reserve_bytes);
        let taken = figures.all_bytes + reserve_bytes;
        Usage {
            allotted_bytes,
            used_bytes: figures.used_bytes(),
            live_bytes: figures.live.bytes,
            pending_bytes: figures.pending_bytes,
            book_bytes: figures.book_bytes,
            trash_bytes: figures.trash.bytes,
            dead_bytes: figures.dead_bytes(),
            reserve_bytes,
            free_bytes: allotted_bytes.saturating_sub(taken),
            excess_bytes: taken.saturating_sub(allotted_bytes),
            chunks: figures.live.records,
            trash_chunks: figures.trash.records,
        }
    }

    /// Enters a contract that both parties signed; durable on return. Entering it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn open_contract(&self, role: Role, contract: &Contract, note: &SignedNote) -> Result<(), BookError> {
        let state = ContractState::new(role, contract.clone(), note.clone());
        if !state.both_signed(note) {
            return Err(BookError::Unsigned);
        }
        check_says(note, &Statement::Contract(contract.clone()))?;
        let id = contract.id();
        Ok(self.0.book.enter(id, state, |state| self.0.writer.write_contract(&id, state))?)
    }

    /// Ids of all contracts, ascending.
    pub fn contracts(&self) -> Vec<ContractId> {
        self.0.book.ids()
    }

    /// What is durably on record of a contract.
    pub fn contract(&self, id: &ContractId) -> Option<ContractState> {
        self.0.book.page(id).map(|page| (*page.state()).clone())
    }

    /// Enters the newest receipt, signed by both; durable on return. The one that is on record
    /// again changes nothing. Whether its totals are right is not looked at.
    ///
    /// # Errors
    /// [`BookError`]; [`BookError::Superseded`] when its sequence is not above the last one's.
    pub fn receipt(&self, id: &ContractId, receipt: &Receipt, note: &SignedNote) -> Result<(), BookError> {
        self.change(id, |state| {
            if !state.both_signed(note) {
                return Err(BookError::Unsigned);
            }
            check_says(note, &Statement::Receipt(receipt.clone()))?;
            if receipt.contract != *id {
                return Err(BookError::Note);
            }
            match &state.receipt {
                Some((_, kept)) if kept.text() == note.text() => return Ok(false),
                Some((last, _)) if last.sequence >= receipt.sequence => {
                    return Err(BookError::Superseded { last: last.sequence, offered: receipt.sequence });
                }
                _ => {}
            }
            state.receipt = Some((receipt.clone(), note.clone()));
            Ok(true)
        })
    }

    /// Enters the outcome of an audit: its epoch is used up, and it counts as passed or failed if
    /// it was. Evidence of zeros is none, and the last one is kept. Durable on return.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn audited(
        &self,
        id: &ContractId,
        epoch_used: u64,
        outcome: AuditOutcome,
        evidence: Hash,
    ) -> Result<(), BookError> {
        self.change(id, |state| {
            state.next_epoch = state.next_epoch.max(epoch_used.saturating_add(1));
            match outcome {
                AuditOutcome::Passed => state.audits_passed = state.audits_passed.saturating_add(1),
                AuditOutcome::WrongBytes => state.audits_failed = state.audits_failed.saturating_add(1),
                AuditOutcome::NoAnswer | AuditOutcome::Offline | AuditOutcome::Quarantined => {}
            }
            if evidence != [0; 32] {
                state.evidence = evidence;
            }
            Ok(true)
        })
    }

    /// Changes a contract's record; `change` says whether it did.
    fn change(
        &self,
        id: &ContractId,
        change: impl FnOnce(&mut ContractState) -> Result<bool, BookError>,
    ) -> Result<(), BookError> {
        let page: Arc<Page> = self.0.book.page(id).ok_or(BookError::Unknown)?;
        let turn = page.turn();
        let mut state = (*page.state()).clone();
        if change(&mut state)? {
            self.0.writer.write_contract(id, &state)?;
            page.enter(&turn, state);
        }
        Ok(())
    }

    /// Enters a segment of this owner, or its new holders; durable on return.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        self.0.writer.put_segment(segment)
    }

    /// Forgets segments; durable on return. Those that are not there are passed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        self.0.writer.remove_segments(ids)
    }

    /// All segments of this owner. An index that cannot be read is logged, and there are none.
    pub fn segments(&self) -> Vec<Segment> {
        self.0.index.segments().unwrap_or_else(|error| {
            tracing::error!(%error, "the segments cannot be read");
            Vec::new()
        })
    }

    /// One segment. An index that cannot be read is logged.
    pub fn segment(&self, id: &SegmentId) -> Option<Segment> {
        self.0.index.segment(id).unwrap_or_else(|error| {
            tracing::error!(%error, "a segment cannot be read");
            None
        })
    }

    /// The contracts of this owner under which a chunk is. An index that cannot be read is logged.
    pub fn holders(&self, chunk: &ChunkId) -> Vec<Holding> {
        self.0.index.holders(chunk).unwrap_or_else(|error| {
            tracing::error!(%error, "the holders of a chunk cannot be read");
            Vec::new()
        })
    }

    /// The contracts that hold a chunk and under which this node is the provider.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lent_to(&self, chunk: &ChunkId) -> Result<Vec<ContractId>, StoreError> {
        self.0.index.lent_to(chunk)
    }

    /// Notes that a provider has lost chunks, until a commit adds them again; durable on return.
    /// Chunks that the contract does not hold are passed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        self.0.writer.mark_lost(contract, chunks)
    }
}

impl Shared {
    /// Where the chunk is read from: a record that waits for its commit is newer than one in the
    /// index. What is in the trash is not read.
    fn place(&self, chunk: &ChunkId) -> Result<Option<Place>, ReadError> {
        match self.shelf.waiting(chunk) {
            Some(place) => Ok(Some(place)),
            None => self.index.place(chunk).map_err(ReadError::index),
        }
    }

    /// Where the chunk's bytes are, be it in the trash.
    fn any_place(&self, chunk: &ChunkId) -> Result<Option<Place>, ReadError> {
        match self.shelf.waiting(chunk) {
            Some(place) => Ok(Some(place)),
            None => {
                let found = self.index.find(chunk).map_err(ReadError::index)?;
                Ok(found.map(|found: Found| found.place()))
            }
        }
    }

    fn read_from(
        &self,
        chunk: &ChunkId,
        find: impl Fn(&ChunkId) -> Result<Option<Place>, ReadError>,
    ) -> Result<Vec<u8>, ReadError> {
        self.at_place(chunk, find, |place| match self.shelf.packs.read(chunk, place) {
            Ok(bytes) if chunk_id(&bytes) == *chunk => Ok(bytes),
            Ok(_) => Err(ReadError::Damaged { why: "its bytes have another id" }),
            Err(fault) => Err(fault),
        })
    }

    fn prove_at(
        &self,
        chunk: &ChunkId,
        leaf_of: impl Fn(u32) -> u64,
        find: impl Fn(&ChunkId) -> Result<Option<Place>, ReadError>,
    ) -> Result<LeafProof, ReadError> {
        let prove = |place: &Place| {
            let leaf = leaf_of(place.len);
            match self.shelf.packs.prove(chunk, place, leaf) {
                Err(damaged @ ReadError::Damaged { .. }) => {
                    let bytes = self.shelf.packs.read(chunk, place)?;
                    LeafProof::from_chunk(chunk, &bytes, leaf).ok_or(damaged)
                }
                shown => shown,
            }
        };
        self.at_place(chunk, find, prove)
    }

    /// Looks at a chunk's record, again when it was moved in the meantime.
    fn at_place<T>(
        &self,
        chunk: &ChunkId,
        find: impl Fn(&ChunkId) -> Result<Option<Place>, ReadError>,
        look: impl Fn(&Place) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut place = find(chunk)?.ok_or(ReadError::NotHeld)?;
        loop {
            let fault = match look(&place) {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            // The record is only at fault if nobody has moved or freed it in the meantime.
            let now = find(chunk)?.ok_or(ReadError::NotHeld)?;
            if now == place {
                return Err(fault);
            }
            place = now;
        }
    }

    /// When the term in the trash ends of what goes there now.
    fn trash_ends(&self) -> u64 {
        (self.clock)().saturating_add(self.trash_term_seconds)
    }
}

fn check_says(note: &SignedNote, statement: &Statement) -> Result<(), BookError> {
    // A statement that is out of bounds has a text that is none, so it is refused here too.
    if Statement::of(note).is_ok_and(|it| it == *statement) { Ok(()) } else { Err(BookError::Note) }
}
