//! What a node keeps on disk: chunks in append-only packs, the book of contracts, and the owner's
//! index of segments (spec/store.md).
//!
//! Invariant: the index never names bytes that were not synced before; whatever was acknowledged is
//! there after a crash at any moment; a chunk is served only when its bytes give its id. After the
//! first failed write or sync nothing is acknowledged any more. Not here: who may ask for what, and
//! what a chunk means.

mod book;
mod commit;
mod disk;
mod error;
mod halt;
mod index;
mod layout;
mod pack;
mod record;
mod shelf;

#[cfg(test)]
extern crate self as commonhold_store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::Inventory;
use commonhold_format::note::SignedNote;
use commonhold_format::segment::Segment;
use commonhold_format::statement::{AuditOutcome, Contract, Receipt, Statement};
use commonhold_format::tree::{CHUNK_LEN_MAX, Hash, chunk_id};
use commonhold_format::wire::Addition;

pub use book::{ContractState, Preview, Role};
pub use error::{BookError, CommitError, OpenError, PutError, ReadError, StoreError};

use book::{Book, Page};
use disk::{Disk, FileSystem};
use halt::Halt;
use index::Index;
use layout::Layout;
use pack::Packs;
use record::Place;
use shelf::Shelf;

/// Bytes of records that one contract may have put and not yet committed: 256 of the largest
/// chunks, so that an owner can send at full speed while a commit is under way, and so that what
/// it never commits takes a bounded part of the disk.
pub const PENDING_BYTES_MAX: u64 = 256 << 20;

/// Where a store is and how much it may hold.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The store's folder; made if it is not there.
    pub dir: PathBuf,
    /// Most bytes of all records together, dead ones included. A record is a chunk and a header of
    /// 80 bytes. The index, about 400 bytes for each chunk, is not counted.
    pub allotted_bytes: u64,
}

/// How the lent disk is used, in bytes of records: used = live + pending + dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What the operator lends.
    pub allotted_bytes: u64,
    /// What records take, pending and dead ones included.
    pub used_bytes: u64,
    /// What of it was put and not yet committed.
    pub pending_bytes: u64,
    /// What of it nothing needs any more. It is free again when all of its pack is dead, or, for
    /// what was never committed, at the next opening.
    pub dead_bytes: u64,
    /// What can still be taken in.
    pub free_bytes: u64,
    /// Chunks held; pending ones are not counted.
    pub chunks: u64,
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
    // Dropped first: its writer ends, and with it the last user of the shelf.
    index: Index,
    shelf: Arc<Shelf>,
    book: Book,
    halt: Arc<Halt>,
    allotted_bytes: u64,
    // Dropped last: then nobody writes to the folder any more.
    _layout: Layout,
}

/// What tests set otherwise.
struct Setup {
    disk: Arc<dyn Disk>,
    map_len: usize,
    pack_len_max: u64,
    pending_bytes_max: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            disk: Arc::new(FileSystem),
            map_len: index::MAP_LEN,
            pack_len_max: pack::PACK_LEN_MAX,
            pending_bytes_max: PENDING_BYTES_MAX,
        }
    }
}

impl Store {
    /// Opens the store, making it if it is not there. Cuts what a crash has left unacknowledged,
    /// and reads the whole index once: one to two seconds for a million chunks.
    ///
    /// # Errors
    /// [`OpenError`] names the file that is wrong and what to do.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Setup::default())
    }

    fn open_with(config: StoreConfig, setup: Setup) -> Result<Self, OpenError> {
        let halt = Arc::new(Halt::default());
        let mut layout = Layout::open(&config.dir)?;
        let index = Index::open(&layout.index(), setup.map_len, halt.clone())?;
        let book = Book::load(&index)?;
        // Read here so that one that does not decode is found before anybody relies on the list.
        index.segments()?;
        let live = index.places()?;
        let packs = Packs::open(setup.disk, &layout.packs(), &live, setup.pack_len_max, halt.clone())?;
        let shelf = Arc::new(Shelf::new(packs, config.allotted_bytes, setup.pending_bytes_max));
        layout.finish()?;
        let allotted_bytes = config.allotted_bytes;
        Ok(Self(Arc::new(Shared { index, shelf, book, halt, allotted_bytes, _layout: layout })))
    }

    /// Why the store has stopped, if it has: after a failed write or sync it takes in and
    /// acknowledges nothing until it is opened again. Reads go on.
    pub fn failure(&self) -> Option<StoreError> {
        self.0.halt.reason()
    }

    /// Takes a chunk of 1 to [`CHUNK_LEN_MAX`] bytes in under a contract that this node provides.
    /// It is not durable, and counts for nothing, before a commit adds it; after a restart it is
    /// gone. A chunk that is here already, under whatever contract, is read and checked, and
    /// nothing is written; when it turns out to be damaged the new bytes take its place, here at
    /// once and in the index with the next commit under this contract.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put(&self, contract: ContractId, chunk: ChunkId, bytes: &[u8]) -> Result<(), PutError> {
        let store = &*self.0;
        if bytes.is_empty() || bytes.len() > CHUNK_LEN_MAX || chunk_id(bytes) != chunk {
            return Err(PutError::WrongId);
        }
        store.halt.check()?;
        if !store.book.page(&contract).is_some_and(|page| page.role() == Role::Provider) {
            return Err(PutError::Unknown);
        }
        let _turn = store.shelf.turn(&chunk);
        let heals = match self.read(&chunk) {
            Ok(_) => return Ok(()),
            Err(ReadError::NotHeld) => false,
            Err(_) => store.index.place(&chunk)?.is_some(),
        };
        store.shelf.take_in(contract, chunk, bytes, heals)
    }

    /// The chunk's bytes, checked against its id.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`], [`ReadError::Damaged`], or the disk's own error.
    pub fn read(&self, chunk: &ChunkId) -> Result<Vec<u8>, ReadError> {
        let mut place = self.0.place(chunk)?.ok_or(ReadError::NotHeld)?;
        loop {
            let fault = match self.0.shelf.packs.read(chunk, place) {
                Ok(bytes) if chunk_id(&bytes) == *chunk => return Ok(bytes),
                Ok(_) => ReadError::Damaged { why: "its bytes have another id" },
                Err(fault) => fault,
            };
            // The record is only at fault if no commit has moved or freed it in the meantime.
            let now = self.0.place(chunk)?.ok_or(ReadError::NotHeld)?;
            if now == place {
                return Err(fault);
            }
            place = now;
        }
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

    /// How the disk is used.
    pub fn usage(&self) -> Usage {
        let figures = self.0.shelf.packs.figures();
        let allotted_bytes = self.0.allotted_bytes;
        Usage {
            allotted_bytes,
            used_bytes: figures.used_bytes,
            pending_bytes: figures.pending_bytes,
            dead_bytes: figures.used_bytes.saturating_sub(figures.live_bytes + figures.pending_bytes),
            free_bytes: allotted_bytes.saturating_sub(figures.used_bytes),
            chunks: figures.live_records,
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
        Ok(self.0.book.enter(id, state, |state| self.0.index.write_contract(&id, state))?)
    }

    /// Ids of all contracts, ascending.
    pub fn contracts(&self) -> Vec<ContractId> {
        self.0.book.ids()
    }

    /// What is durably on record of a contract.
    pub fn contract(&self, id: &ContractId) -> Option<ContractState> {
        self.0.book.page(id).map(|page| page.state())
    }

    /// What the inventory would come to after these changes: removals first, then additions in
    /// order. An addition that the inventory holds already appends nothing. Nothing changes. Waits
    /// for a commit of the same contract that is under way.
    ///
    /// # Errors
    /// [`BookError::Unknown`] and [`BookError::Change`].
    pub fn preview(&self, id: &ContractId, adds: &[Addition], removes: &[u64]) -> Result<Preview, BookError> {
        let page = self.0.book.page(id).ok_or(BookError::Unknown)?;
        let mut account = page.account();
        let state = page.state();
        let last = state.revision.as_ref().map(|(last, _)| last);
        let (preview, change) = account.apply(last, adds, removes)?;
        account.undo(change);
        Ok(preview)
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
        let mut account = page.account();
        let mut state = page.state();
        if change(&mut state)? {
            self.0.index.write_contract(id, &state)?;
            page.enter(&mut account, state);
        }
        Ok(())
    }

    /// Looks at a contract's inventory as it is after its last revision. Waits for a commit of the
    /// same contract that is under way; nothing waits for `look`.
    pub fn with_inventory<T>(&self, id: &ContractId, look: impl FnOnce(&Inventory) -> T) -> Option<T> {
        let inventory = self.0.book.page(id)?.account().inventory();
        Some(look(&inventory))
    }

    /// Enters a segment of this owner, or its new holders; durable on return.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        self.0.index.put_segment(segment)
    }

    /// Forgets segments; durable on return. Those that are not there are passed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        self.0.index.remove_segments(ids)
    }

    /// All segments of this owner. They were all read when the store was opened; should the index
    /// be unreadable since, that is logged and there are none.
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

    /// Notes that a provider has lost chunks, until a commit adds them again; durable on return.
    /// Chunks that the contract does not hold are passed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        self.0.index.mark_lost(contract, chunks)
    }
}

impl Shared {
    /// Where the chunk is read from: a record that waits for its commit is newer than one in the
    /// index.
    fn place(&self, chunk: &ChunkId) -> Result<Option<Place>, ReadError> {
        match self.shelf.waiting(chunk) {
            Some(place) => Ok(Some(place)),
            None => self.index.place(chunk).map_err(ReadError::index),
        }
    }
}

fn check_says(note: &SignedNote, statement: &Statement) -> Result<(), BookError> {
    // A statement that is out of bounds has a text that is none, so it is refused here too.
    if Statement::of(note).is_ok_and(|it| it == *statement) { Ok(()) } else { Err(BookError::Note) }
}
