//! What a node keeps on disk: chunks in append-only packs, the book of contracts, and the owner's
//! index of segments (spec/store.md).
//!
//! Invariant: the index never names bytes that were not synced before; whatever was acknowledged is
//! there after a crash at any moment; a chunk is served only when its bytes give its id. After the
//! first failed write or sync nothing is acknowledged any more. Not here: who may ask for what, and
//! what a chunk means.

mod book;
mod error;
mod index;
mod pack;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::Inventory;
use commonhold_format::note::SignedNote;
use commonhold_format::segment::Segment;
use commonhold_format::statement::{AuditOutcome, Contract, Receipt, Revision};
use commonhold_format::tree::{CHUNK_LEN_MAX, Hash, chunk_id};
use commonhold_format::wire::Addition;

pub use book::{ContractState, Preview, Role};
pub use error::{BookError, CommitError, OpenError, PutError, ReadError, StoreError};
use index::{Index, Place};
use pack::Packs;

/// Bytes that one contract may have put and not yet committed.
pub const PENDING_BYTES_MAX: u64 = 256 << 20;

/// Where a store is and how much it may hold.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The store's folder; made if it is not there.
    pub dir: PathBuf,
    /// Most bytes of all records together, dead ones included.
    pub allotted_bytes: u64,
}

/// How the lent disk is used, in bytes of records: used + free = allotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What the operator lends.
    pub allotted_bytes: u64,
    /// What records take, dead ones included.
    pub used_bytes: u64,
    /// What of it no contract holds any more.
    pub dead_bytes: u64,
    /// What can still be taken in.
    pub free_bytes: u64,
    /// Chunks held.
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

/// A store; cheap to clone. All methods block and may be called from many threads.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    index: Index,
    packs: Packs,
    /// One change of the book at a time; short, because nothing is synced under it but the index.
    book: Mutex<HashMap<ContractId, book::Account>>,
    /// Chunks that were put and are not committed.
    pending: Mutex<HashMap<ChunkId, Pending>>,
    allotted_bytes: u64,
}

struct Pending {
    place: Place,
    contract: ContractId,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic could leave half done is only in memory and is checked again at commit.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store, making it if it is not there.
    ///
    /// # Errors
    /// [`OpenError`] names the file that is wrong and what to do.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&config.dir).map_err(OpenError::io(&config.dir))?;
        pack::check_format(&config.dir)?;
        let index = Index::open(&config.dir.join("index"))?;
        let book = book::load(&index)?;
        let packs = Packs::open(&config.dir.join("packs"), &index.places()?)?;
        let shared = Shared {
            index,
            packs,
            book: Mutex::new(book),
            pending: Mutex::default(),
            allotted_bytes: config.allotted_bytes,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Takes a chunk in under a contract. It is not durable, and counts for nothing, before a
    /// commit adds it; after a restart it is gone.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put(&self, contract: ContractId, chunk: ChunkId, bytes: &[u8]) -> Result<(), PutError> {
        if bytes.is_empty() || bytes.len() > CHUNK_LEN_MAX || chunk_id(bytes) != chunk {
            return Err(PutError::WrongId);
        }
        if self.read(&chunk).is_ok() {
            return Ok(());
        }
        let record_len = pack::record_len(bytes.len());
        {
            let pending = locked(&self.0.pending);
            let waiting: u64 = pending
                .values()
                .filter(|pending| pending.contract == contract)
                .map(|pending| pack::record_len(pending.place.len as usize))
                .sum();
            if waiting + record_len > PENDING_BYTES_MAX {
                return Err(PutError::Busy { waiting });
            }
        }
        let place = self.0.packs.append(contract, chunk, bytes, self.0.allotted_bytes)?;
        if let Some(before) = locked(&self.0.pending).insert(chunk, Pending { place, contract }) {
            self.0.packs.give_up(before.place);
        }
        Ok(())
    }

    /// The chunk's bytes, checked against its id.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`], [`ReadError::Damaged`], or the disk's own error.
    pub fn read(&self, chunk: &ChunkId) -> Result<Vec<u8>, ReadError> {
        let place = match locked(&self.0.pending).get(chunk) {
            Some(pending) => Some(pending.place),
            None => self.0.index.place(chunk).map_err(ReadError::index)?,
        };
        let bytes = self.0.packs.read(chunk, place.ok_or(ReadError::NotHeld)?)?;
        if chunk_id(&bytes) != *chunk {
            return Err(ReadError::Damaged { why: "its bytes have another id" });
        }
        Ok(bytes)
    }

    /// Is the chunk here, committed or not? Its bytes are not looked at.
    pub fn holds(&self, chunk: &ChunkId) -> bool {
        locked(&self.0.pending).contains_key(chunk)
            || self.0.index.place(chunk).is_ok_and(|place| place.is_some())
    }

    /// How the disk is used.
    pub fn usage(&self) -> Usage {
        let (used_bytes, dead_bytes, chunks) = self.0.packs.usage();
        let allotted_bytes = self.0.allotted_bytes;
        let free_bytes = allotted_bytes.saturating_sub(used_bytes);
        Usage { allotted_bytes, used_bytes, dead_bytes, free_bytes, chunks }
    }

    /// Enters a contract that both parties signed. Entering it again changes nothing.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn open_contract(&self, role: Role, contract: &Contract, note: &SignedNote) -> Result<(), BookError> {
        if !note.is_signed_by(&contract.owner) || !note.is_signed_by(&contract.provider) {
            return Err(BookError::Unsigned);
        }
        let id = contract.id();
        let mut book = locked(&self.0.book);
        if book.contains_key(&id) {
            return Ok(());
        }
        let account = book::Account::new(role, contract.clone(), note.clone());
        self.0.index.write_contract(&id, &account.state)?;
        book.insert(id, account);
        Ok(())
    }

    /// Ids of all contracts, ascending.
    pub fn contracts(&self) -> Vec<ContractId> {
        let mut ids: Vec<ContractId> = locked(&self.0.book).keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// What is on record of a contract.
    pub fn contract(&self, id: &ContractId) -> Option<ContractState> {
        locked(&self.0.book).get(id).map(|account| account.state.clone())
    }

    /// What the inventory would come to after these changes: removals first, then additions in
    /// order. An addition that the inventory holds already appends nothing. Nothing changes.
    ///
    /// # Errors
    /// [`BookError::Unknown`] and [`BookError::Change`].
    pub fn preview(&self, id: &ContractId, adds: &[Addition], removes: &[u64]) -> Result<Preview, BookError> {
        let mut book = locked(&self.0.book);
        let account = book.get_mut(id).ok_or(BookError::Unknown)?;
        let (preview, change) = account.apply(adds, removes)?;
        account.undo(change);
        Ok(preview)
    }

    /// Makes a revision and what it changes durable: pack data first, then the index at once. On
    /// the provider's side every chunk that is added must have been put before, and `note` must
    /// carry both signatures. The same revision again changes nothing.
    ///
    /// # Errors
    /// [`CommitError`]; nothing has changed then.
    pub fn commit(
        &self,
        id: &ContractId,
        revision: &Revision,
        note: &SignedNote,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<(), CommitError> {
        let role = {
            let book = locked(&self.0.book);
            let account = book.get(id).ok_or(BookError::Unknown)?;
            let contract = &account.state.contract;
            if !note.is_signed_by(&contract.owner) || !note.is_signed_by(&contract.provider) {
                return Err(BookError::Unsigned.into());
            }
            if account.state.revision.as_ref().is_some_and(|(_, last)| last.text() == note.text()) {
                return Ok(());
            }
            account.state.role
        };
        let mut places = Vec::new();
        if role == Role::Provider {
            places = self.added_places(adds)?;
            // The bytes come before the index that names them; concurrent commits share the sync.
            self.0.packs.sync()?;
        }
        let mut book = locked(&self.0.book);
        let account = book.get_mut(id).ok_or(BookError::Unknown)?;
        let (preview, change) = account.apply(adds, removes)?;
        if !preview.is(revision) {
            account.undo(change);
            return Err(CommitError::Mismatch);
        }
        let before = account.state.clone();
        account.advance(revision, note);
        let written = self.0.index.write_revision(id, account, &change, adds, &places);
        match written {
            Ok(freed) => {
                drop(book);
                self.settle(&places, freed);
                Ok(())
            }
            Err(error) => {
                account.state = before;
                account.undo(change);
                Err(error.into())
            }
        }
    }

    /// The places of chunks that a commit adds; those that are held already need none.
    fn added_places(&self, adds: &[Addition]) -> Result<Vec<(ChunkId, Place)>, CommitError> {
        let pending = locked(&self.0.pending);
        let mut places = Vec::new();
        let mut missing = Vec::new();
        for add in adds {
            match pending.get(&add.chunk) {
                Some(waiting) if waiting.place.len == add.len => places.push((add.chunk, waiting.place)),
                Some(_) => missing.push(add.chunk),
                None => match self.0.index.place(&add.chunk)? {
                    Some(place) if place.len == add.len => {}
                    _ => missing.push(add.chunk),
                },
            }
        }
        if missing.is_empty() { Ok(places) } else { Err(CommitError::Missing(missing)) }
    }

    /// Brings the figures of the packs up to date after a commit.
    fn settle(&self, places: &[(ChunkId, Place)], freed: Vec<Place>) {
        let mut pending = locked(&self.0.pending);
        for (chunk, place) in places {
            if pending.get(chunk).is_some_and(|waiting| waiting.place == *place) {
                pending.remove(chunk);
            }
            self.0.packs.adopt(*place);
        }
        drop(pending);
        for place in freed {
            self.0.packs.free(place);
        }
    }

    /// Enters the newest receipt, signed by both.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn receipt(&self, id: &ContractId, receipt: &Receipt, note: &SignedNote) -> Result<(), BookError> {
        self.change(id, |state| {
            if !note.is_signed_by(&state.contract.owner) || !note.is_signed_by(&state.contract.provider) {
                return Err(BookError::Unsigned);
            }
            state.receipt = Some((receipt.clone(), note.clone()));
            Ok(())
        })
    }

    /// Enters the outcome of an audit: its epoch is used up, and it counts.
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
                AuditOutcome::Passed => state.audits_passed += 1,
                AuditOutcome::WrongBytes => state.audits_failed += 1,
                AuditOutcome::NoAnswer | AuditOutcome::Offline | AuditOutcome::Quarantined => {}
            }
            if evidence != [0; 32] {
                state.evidence = evidence;
            }
            Ok(())
        })
    }

    fn change(
        &self,
        id: &ContractId,
        change: impl FnOnce(&mut ContractState) -> Result<(), BookError>,
    ) -> Result<(), BookError> {
        let mut book = locked(&self.0.book);
        let account = book.get_mut(id).ok_or(BookError::Unknown)?;
        let mut state = account.state.clone();
        change(&mut state)?;
        self.0.index.write_contract(id, &state)?;
        account.state = state;
        Ok(())
    }

    /// Looks at a contract's inventory. The book is locked meanwhile.
    pub fn with_inventory<T>(&self, id: &ContractId, look: impl FnOnce(&Inventory) -> T) -> Option<T> {
        // A copy of the handle, so that a long look (a proof) does not hold up the book.
        let inventory = locked(&self.0.book).get(id).map(|account| account.inventory.clone())?;
        Some(look(&inventory))
    }

    /// Enters a segment of this owner, or its new holders.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        self.0.index.put_segment(segment)
    }

    /// Forgets segments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        self.0.index.remove_segments(ids)
    }

    /// All segments of this owner. One that cannot be read from the index is logged and left out.
    pub fn segments(&self) -> Vec<Segment> {
        self.0.index.segments().unwrap_or_else(|error| {
            tracing::error!(%error, "the segments cannot be read");
            Vec::new()
        })
    }

    /// One segment.
    pub fn segment(&self, id: &SegmentId) -> Option<Segment> {
        self.0.index.segment(id).ok().flatten()
    }

    /// The contracts of this owner under which a chunk is.
    pub fn holders(&self, chunk: &ChunkId) -> Vec<Holding> {
        let holdings = self.0.index.holdings(chunk).unwrap_or_else(|error| {
            tracing::error!(%error, "the holders of a chunk cannot be read");
            Vec::new()
        });
        let book = locked(&self.0.book);
        let owned = |holding: &Holding| {
            book.get(&holding.contract).is_some_and(|account| account.state.role == Role::Owner)
        };
        holdings.into_iter().filter(owned).collect()
    }

    /// Notes that a provider has lost chunks, until a commit adds them again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        self.0.index.mark_lost(contract, chunks)
    }
}
