//! Packs: append-only files of records.
//!
//! Invariant: a place that was handed out stays readable until it is freed or given up; a pack is
//! deleted only when no record in it is live, in the trash, pending, being committed, or part of
//! the book; what is answered as synced was written before the sync began. Not here: which chunks
//! are live (the index knows).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::{Hash, LEAF_LEN, LeafProof, SUBTREE_LEN};

use crate::disk::{Disk, PackFile, is_full};
use crate::error::{OpenError, PutError, ReadError, StoreError};
use crate::figures::{Figures, Move, PackFigures, Tally};
use crate::halt::Halt;
use crate::record::{
    BOOK_HEADER_LEN, HEADER_LEN, Header, NOWHERE, PACK_HEADER_LEN, Place, Seal, record_len, roots_len,
};

/// Packs are at most this long: large enough that they are few, small enough that one is copied in
/// seconds.
pub(crate) const PACK_LEN_MAX: u64 = 1 << 30;
/// And at least this long, so that some of the largest records fit.
pub(crate) const PACK_LEN_MIN: u64 = 4 << 20;
/// A sync begins when this much was written without one: what a disk writes in about 10 ms, so that
/// the sync of a commit finds little left.
const EARLY_SYNC_BYTES: u64 = 8 << 20;
/// Less than one in so many of a pack's bytes are not worth a copy of the rest.
const DEAD_MIN_SHARE: u64 = 64;
/// Nor are less superseded bytes than this: compaction writes records of the book itself.
const SUPERSEDED_MIN: u64 = 4 << 10;
/// Space is taken on the disk in steps of this: writes are faster where it is there, and that it is
/// not is noticed when nothing was promised yet.
const ALLOCATION_STEP: u64 = 128 << 20;
/// Puts leave so much of the file system free for the index, beside what compaction may need.
const INDEX_HEADROOM: u64 = 16 << 20;

/// Names of packs that are looked at in one go: some milliseconds on a disk that has them at hand.
const LOOKED_AT_MAX: usize = 1024;

/// How long packs are in a store that may hold so much.
pub(crate) fn pack_len(allotted_bytes: u64) -> u64 {
    (allotted_bytes / 64).clamp(PACK_LEN_MIN, PACK_LEN_MAX)
}

/// The end of what the index knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Tail {
    pub(crate) pack: u32,
    pub(crate) offset: u64,
    /// Number of the last book record; 0 before the first.
    pub(crate) record: u64,
}

/// What a record is written for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// A put, which may use so many bytes of all packs together.
    Put { bytes_max: u64 },
    /// Compaction, which may use the reserve too.
    Compaction,
}

struct Pack {
    file: Arc<dyn PackFile>,
    len: u64,
    allocated: u64,
    figures: PackFigures,
    pending: Tally,
    /// Appends and commits under way that have to find the pack where it is.
    pins: u32,
    /// Has bytes that no sync has begun to cover.
    unsynced: bool,
    /// Something that is kept in it could not be read, so it stays as long as anything is.
    unreadable: bool,
    /// It has bytes that are no record although nothing needs them, or a damaged record of the book,
    /// which was written anew.
    damaged: bool,
}

impl Pack {
    fn new(file: Arc<dyn PackFile>, len: u64, figures: PackFigures) -> Self {
        Self {
            file,
            len,
            allocated: len,
            figures,
            pending: Tally::default(),
            pins: 0,
            unsynced: false,
            unreadable: false,
            damaged: false,
        }
    }

    /// May compaction take it?
    fn is_idle(&self) -> bool {
        let kept = self.figures.live.records + self.figures.trash.records > 0;
        self.pins == 0 && self.pending.records == 0 && !(self.unreadable && kept)
    }

    fn is_needed(&self) -> bool {
        self.figures.live.records + self.figures.trash.records + self.pending.records > 0 || self.pins > 0
    }

    fn is_damaged(&self) -> bool {
        self.damaged || self.unreadable
    }

    fn dead_bytes(&self) -> u64 {
        self.len.saturating_sub(PACK_HEADER_LEN as u64 + self.figures.bytes() + self.pending.bytes)
    }
}

struct State {
    packs: BTreeMap<u32, Pack>,
    /// The pack that is appended to.
    current: Option<u32>,
    next: u32,
    /// Rises with every append; what is at most `synced` is durable.
    written: u64,
    synced: u64,
    unsynced_bytes: u64,
    /// A pack was made or removed and the folder not synced since.
    names_unsynced: bool,
    syncing: bool,
    closing: bool,
}

/// What opening a store has found, see [`crate::opening`].
pub(crate) struct Opened {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) seal: Seal,
    pub(crate) pack_len_max: u64,
    pub(crate) halt: Arc<Halt>,
    /// Files of packs, their lengths, and what the index knows of them.
    pub(crate) packs: BTreeMap<u32, (Arc<dyn PackFile>, u64, PackFigures)>,
    pub(crate) tail: Tail,
    /// No pack has had this number, or a greater one.
    pub(crate) next: u32,
}

/// The packs of a store.
pub(crate) struct Packs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub(crate) seal: Seal,
    pub(crate) pack_len_max: u64,
    halt: Arc<Halt>,
    /// Held during an append, so that records follow each other; `state` is not, because a write
    /// can take long and reads need `state`.
    appending: Mutex<()>,
    state: Mutex<State>,
    sync_ended: Condvar,
    much_unsynced: Condvar,
}

pub(crate) fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.pack"))
}

/// The number of a pack by the name of its file; other files are none of ours.
pub(crate) fn pack_number(path: &Path) -> Option<u32> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".pack")?;
    let number = digits.parse().ok()?;
    (digits == format!("{number:08}") && number != NOWHERE).then_some(number)
}

impl Packs {
    pub(crate) fn new(opened: Opened) -> Self {
        let packs: BTreeMap<u32, Pack> = opened
            .packs
            .into_iter()
            .map(|(number, (file, len, figures))| (number, Pack::new(file, len, figures)))
            .collect();
        let current = Some(opened.tail.pack).filter(|number| packs.contains_key(number));
        let state = State {
            packs,
            current,
            next: opened.next,
            written: 0,
            synced: 0,
            unsynced_bytes: 0,
            names_unsynced: false,
            syncing: false,
            closing: false,
        };
        Self {
            disk: opened.disk,
            dir: opened.dir,
            seal: opened.seal,
            pack_len_max: opened.pack_len_max,
            halt: opened.halt,
            appending: Mutex::default(),
            state: Mutex::new(state),
            sync_ended: Condvar::new(),
            much_unsynced: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Its changes are small steps that cannot panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk's record and counts it as pending. It is durable once a record of the book that
    /// was appended behind it is.
    pub(crate) fn append(
        &self,
        contract: &ContractId,
        chunk: &ChunkId,
        bytes: &[u8],
        roots: &[Hash],
        purpose: Purpose,
    ) -> Result<Place, PutError> {
        let roots = roots.as_flattened();
        let header = self.seal.chunk_header(contract, chunk, bytes, roots);
        let needed = record_len(bytes.len());
        let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
        let _turn = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.halt.check()?;
        if let Purpose::Put { bytes_max } = purpose {
            let begins = self.begins_pack(needed).then_some(PACK_HEADER_LEN as u64);
            let all = self.figures().all_bytes + begins.unwrap_or(0);
            if all.saturating_add(needed) > bytes_max {
                return Err(PutError::QuotaReached { needed, free: bytes_max.saturating_sub(all) });
            }
        }
        let pending = Tally { bytes: needed, records: 1 };
        let is_put = matches!(purpose, Purpose::Put { .. });
        let parts: [&[u8]; 3] = [&header, bytes, roots];
        let (pack, offset, _) =
            self.write(&parts, is_put, |pack| pack.pending = pack.pending.plus(pending))?;
        Ok(Place { pack, offset, len })
    }

    /// Appends a record of the book. What it changes is durable once the mark is reached.
    ///
    /// # Errors
    /// [`StoreError::Full`], after which nothing has changed, or that the store has stopped.
    pub(crate) fn append_book(&self, record: u64, changes: &[u8]) -> Result<(Tail, u64), StoreError> {
        let header = self.seal.book_header(record, changes);
        let _turn = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.halt.check()?;
        let book_bytes = (BOOK_HEADER_LEN + changes.len()) as u64;
        let written = self.write(&[&header, changes], false, |pack| pack.figures.book_bytes += book_bytes);
        match written {
            Ok((pack, offset, mark)) => Ok((Tail { pack, offset: offset + book_bytes, record }, mark)),
            Err(PutError::Failed(error)) => Err(error),
            Err(error) => Err(StoreError::Full { why: error.to_string() }),
        }
    }

    /// Writes a record at the end of the current pack; answers its pack, its first byte, and the mark
    /// that a sync must reach. Only for the holder of `appending`.
    fn write(
        &self,
        parts: &[&[u8]],
        is_put: bool,
        enter: impl FnOnce(&mut Pack),
    ) -> Result<(u32, u64, u64), PutError> {
        let needed = parts.iter().map(|part| part.len() as u64).sum();
        let refused = |error: io::Error| {
            if is_full(&error) { PutError::DiskFull } else { PutError::Failed(self.stop(&error)) }
        };
        let (number, offset, file) = self.reserve(needed, is_put).map_err(refused)?;
        let outcome = file.write(parts, offset);
        let mut state = self.state();
        let state = &mut *state;
        state.written += 1;
        if let Some(pack) = state.packs.get_mut(&number) {
            pack.pins -= 1;
            if outcome.is_ok() {
                pack.len = offset + needed;
                pack.unsynced = true;
                enter(pack);
                state.unsynced_bytes += needed;
            }
        }
        if state.unsynced_bytes >= EARLY_SYNC_BYTES && !state.syncing {
            self.much_unsynced.notify_one();
        }
        let mark = state.written;
        // What a write without space has left behind the end is written over by the next.
        outcome.map_err(refused)?;
        Ok((number, offset, mark))
    }

    /// Stops the store, and says where.
    fn stop(&self, error: &io::Error) -> StoreError {
        self.halt.stop(format_args!("{}: {error}", self.dir.display()))
    }

    fn fits(&self, pack: &Pack, needed: u64) -> bool {
        pack.len + needed <= self.pack_len_max || pack.len <= PACK_HEADER_LEN as u64
    }

    fn begins_pack(&self, needed: u64) -> bool {
        let state = self.state();
        let current = state.current.and_then(|number| state.packs.get(&number));
        !current.is_some_and(|pack| self.fits(pack, needed))
    }

    /// The next place to write to, with its pack pinned; begins a new pack when the record does not
    /// fit the current one. Only for the holder of `appending`, who alone changes `current`.
    fn reserve(&self, needed: u64, is_put: bool) -> io::Result<(u32, u64, Arc<dyn PackFile>)> {
        if self.begins_pack(needed) {
            self.begin()?;
        }
        let mut state = self.state();
        let number = state.current.expect("a pack was begun");
        let pack = state.packs.get_mut(&number).expect("the current pack is among the packs");
        let (offset, file, allocated) = (pack.len, pack.file.clone(), pack.allocated);
        pack.pins += 1;
        drop(state);
        let end = offset + needed;
        if end > allocated {
            let taken = self.allocate(&*file, allocated, end, is_put);
            let mut state = self.state();
            let pack = state.packs.get_mut(&number).expect("the pack is pinned");
            match taken {
                Ok(allocated) => pack.allocated = allocated,
                Err(error) => {
                    pack.pins -= 1;
                    return Err(error);
                }
            }
        }
        Ok((number, offset, file))
    }

    /// Takes space on the disk for a pack up to `end`, and ahead of it where there is plenty. Puts leave
    /// the headroom to others.
    fn allocate(&self, file: &dyn PackFile, allocated: u64, end: u64, is_put: bool) -> io::Result<u64> {
        let spare = self.disk.available(&self.dir)?.saturating_sub(self.headroom());
        if is_put && end - allocated > spare {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let ahead = self.pack_len_max.min(allocated + spare.min(ALLOCATION_STEP)).max(end);
        match file.allocate(allocated, ahead - allocated) {
            Err(error) if is_full(&error) => file.allocate(allocated, end - allocated).map(|()| end),
            taken => taken.map(|()| ahead),
        }
    }

    /// What of the file system puts leave to compaction and to the index.
    fn headroom(&self) -> u64 {
        self.pack_len_max + INDEX_HEADROOM
    }

    /// Bytes that puts can still bring to the file system, whatever the allotment says.
    pub(crate) fn room(&self) -> io::Result<u64> {
        let available = self.disk.available(&self.dir)?;
        let state = self.state();
        let current = state.current.and_then(|number| state.packs.get(&number));
        let ahead = current.map_or(0, |pack| pack.allocated.saturating_sub(pack.len));
        Ok(available.saturating_sub(self.headroom()) + ahead)
    }

    /// Begins a new pack. Only for the holder of `appending`.
    fn begin(&self) -> io::Result<()> {
        let number = self.state().next;
        let file = self.disk.create(&pack_path(&self.dir, number))?;
        file.write(&[&self.seal.pack_header(number)], 0)?;
        let mut state = self.state();
        let mut pack = Pack::new(file, PACK_HEADER_LEN as u64, PackFigures::default());
        pack.unsynced = true;
        state.packs.insert(number, pack);
        state.next += 1;
        state.current = Some(number);
        state.names_unsynced = true;
        Ok(())
    }

    /// Lets nothing more be appended to a pack.
    pub(crate) fn close(&self, number: u32) {
        let _turn = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        state.current = state.current.filter(|current| *current != number);
    }

    /// Makes everything durable up to `mark`. Callers that come while a sync runs share the next.
    pub(crate) fn sync(&self, mark: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        loop {
            self.halt.check()?;
            if state.synced >= mark {
                return Ok(());
            }
            if state.syncing {
                state = self.sync_ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            state.unsynced_bytes = 0;
            let reached = state.written;
            let names = std::mem::take(&mut state.names_unsynced);
            let files: Vec<Arc<dyn PackFile>> = state
                .packs
                .values_mut()
                .filter_map(|pack| std::mem::take(&mut pack.unsynced).then(|| pack.file.clone()))
                .collect();
            drop(state);
            let mut outcome = files.iter().try_for_each(|file| file.sync());
            if names {
                outcome = outcome.and_then(|()| self.disk.sync_folder(&self.dir));
            }
            state = self.state();
            state.syncing = false;
            match outcome {
                Ok(()) => state.synced = reached,
                Err(error) => {
                    self.stop(&error);
                }
            }
            self.sync_ended.notify_all();
        }
    }

    /// Syncs whenever much was written without. Returns after [`Packs::end_early_syncs`].
    pub(crate) fn sync_early(&self) {
        let mut state = self.state();
        while !state.closing && self.halt.check().is_ok() {
            if state.unsynced_bytes < EARLY_SYNC_BYTES || state.syncing {
                state = self.much_unsynced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let reached = state.written;
            drop(state);
            // A failure has stopped the store, and the next caller is told.
            let _ = self.sync(reached);
            state = self.state();
        }
    }

    pub(crate) fn end_early_syncs(&self) {
        self.state().closing = true;
        self.much_unsynced.notify_all();
    }

    /// The error of a pack that cannot be read at all.
    pub(crate) fn unreadable(&self, number: u32) -> impl Fn(io::Error) -> StoreError {
        let file = pack_path(&self.dir, number);
        move |error| StoreError::Pack { file: file.clone(), why: error.to_string() }
    }

    /// The file of a pack, and its length.
    pub(crate) fn file(&self, number: u32) -> Option<(Arc<dyn PackFile>, u64)> {
        self.state().packs.get(&number).map(|pack| (pack.file.clone(), pack.len))
    }

    fn file_for(&self, place: &Place) -> Result<Arc<dyn PackFile>, ReadError> {
        let file = self.file(place.pack).map(|(file, _)| file);
        file.ok_or(ReadError::Damaged { why: "its pack is gone" })
    }

    /// Reads a chunk's bytes; the header before them must name the chunk.
    pub(crate) fn read(&self, chunk: &ChunkId, place: &Place) -> Result<Vec<u8>, ReadError> {
        let mut record = vec![0; HEADER_LEN + place.len as usize];
        self.file_for(place)?.read(&mut record, place.offset).map_err(unreadable)?;
        match self.seal.header(&record) {
            Some(Header::Chunk(header)) if header.chunk == *chunk && header.len == place.len => {
                record.drain(..HEADER_LEN);
                Ok(record)
            }
            _ => Err(ReadError::Damaged { why: "its record's header is wrong" }),
        }
    }

    /// A leaf of a chunk and its path to the chunk's id, read from one 16 KiB subtree and the roots
    /// of the others.
    pub(crate) fn prove(&self, chunk: &ChunkId, place: &Place, leaf: u64) -> Result<LeafProof, ReadError> {
        let file = self.file_for(place)?;
        let start =
            (leaf.saturating_mul(LEAF_LEN as u64) / SUBTREE_LEN as u64).saturating_mul(SUBTREE_LEN as u64);
        let len = u64::from(place.len).saturating_sub(start).min(SUBTREE_LEN as u64) as usize;
        let bytes_at = place.offset + HEADER_LEN as u64;
        let mut block = vec![0; len];
        file.read(&mut block, bytes_at + start).map_err(unreadable)?;
        let mut roots = vec![[0; 32]; roots_len(place.len) / size_of::<Hash>()];
        file.read(roots.as_flattened_mut(), bytes_at + u64::from(place.len)).map_err(unreadable)?;
        LeafProof::from_subtree(chunk, place.len, leaf, &block, &roots)
            .ok_or(ReadError::Damaged { why: "its bytes have another id" })
    }

    /// Keeps packs from being deleted until [`Packs::unpin`].
    pub(crate) fn pin<'a>(&self, places: impl Iterator<Item = &'a Place>) {
        let mut state = self.state();
        for place in places {
            if let Some(pack) = state.packs.get_mut(&place.pack) {
                pack.pins += 1;
            }
        }
    }

    /// Takes pins back.
    pub(crate) fn unpin<'a>(&self, places: impl Iterator<Item = &'a Place>) {
        let mut state = self.state();
        for place in places {
            if let Some(pack) = state.packs.get_mut(&place.pack) {
                pack.pins = pack.pins.saturating_sub(1);
            }
        }
    }

    /// The index keeps a record in another way since.
    pub(crate) fn moved(&self, moved: &Move, was_pending: bool) {
        if let Some(pack) = self.state().packs.get_mut(&moved.place.pack) {
            if was_pending {
                pack.pending.take(&moved.place);
            }
            moved.apply(&mut pack.figures);
        }
    }

    /// A pending record is dead now.
    pub(crate) fn give_up(&self, place: &Place) {
        if let Some(pack) = self.state().packs.get_mut(&place.pack) {
            pack.pending.take(place);
        }
    }

    /// Counts bytes of book records that no transaction has covered as dead.
    pub(crate) fn unbook(&self, pack: u32, bytes: u64) {
        if let Some(pack) = self.state().packs.get_mut(&pack) {
            pack.figures.book_bytes = pack.figures.book_bytes.saturating_sub(bytes);
        }
    }

    /// Is anything in a pack live, in the trash, pending or in use?
    pub(crate) fn is_needed(&self, number: u32) -> bool {
        self.state().packs.get(&number).is_some_and(Pack::is_needed)
    }

    /// Deletes a pack of which nothing is needed but book records, and those only if the caller
    /// says that they were written anew. The name is gone durably on return.
    pub(crate) fn delete(&self, number: u32) -> io::Result<bool> {
        {
            let mut state = self.state();
            let needed = state.packs.get(&number).is_none_or(Pack::is_needed);
            if needed || state.current == Some(number) {
                return Ok(false);
            }
            state.packs.remove(&number);
        }
        self.disk.remove(&pack_path(&self.dir, number))?;
        self.disk.sync_folder(&self.dir)?;
        Ok(true)
    }

    /// The pack that compaction frees the most with, if its dead bytes are at least one in `share`
    /// of it.
    pub(crate) fn most_dead(&self, share: u64) -> Option<u32> {
        let state = self.state();
        let worth = |pack: &Pack| {
            let dead = pack.dead_bytes();
            pack.is_idle()
                && dead >= self.pack_len_max / DEAD_MIN_SHARE
                && dead.saturating_mul(share) >= pack.len
        };
        let packs = state.packs.iter().filter(|(_, pack)| worth(pack));
        // In parts per million of the pack.
        let dead = |pack: &Pack| u128::from(pack.dead_bytes()) * 1_000_000 / u128::from(pack.len.max(1));
        packs.max_by_key(|(_, pack)| dead(pack)).map(|(number, _)| *number)
    }

    /// A pack that compaction rids of damage.
    pub(crate) fn damaged(&self) -> Option<u32> {
        let state = self.state();
        let mut packs = state.packs.iter().filter(|(_, pack)| pack.is_idle() && pack.is_damaged());
        packs.next().map(|(number, _)| *number)
    }

    /// Notes damage of which nothing is needed any more.
    pub(crate) fn set_damaged(&self, number: u32) {
        if let Some(pack) = self.state().packs.get_mut(&number) {
            pack.damaged = true;
        }
    }

    /// The pack before number `end` that compaction frees the most with, when of all book records
    /// `superseded` bytes in `all` are needed no more, if that is at least one in `share` of it and what
    /// is copied of it is at most `room`.
    pub(crate) fn most_superseded(
        &self,
        share: u64,
        (superseded, all): (u64, u64),
        end: u32,
        room: u64,
    ) -> Option<u32> {
        let state = self.state();
        let gain = |pack: &Pack| {
            let book = u128::from(pack.figures.book_bytes) * u128::from(superseded) / u128::from(all.max(1));
            pack.dead_bytes() + u64::try_from(book).unwrap_or(u64::MAX)
        };
        let worth = |pack: &Pack| {
            let gain = gain(pack);
            pack.is_idle()
                && gain >= (self.pack_len_max / DEAD_MIN_SHARE).max(SUPERSEDED_MIN)
                && gain.saturating_mul(share) >= pack.len
                && pack.len.saturating_sub(gain) <= room
        };
        let packs = state.packs.range(..end).filter(|(_, pack)| pack.figures.book_bytes > 0 && worth(pack));
        // In parts per million of the pack.
        let part = |pack: &Pack| u128::from(gain(pack)) * 1_000_000 / u128::from(pack.len.max(1));
        packs.max_by_key(|(_, pack)| part(pack)).map(|(number, _)| *number)
    }

    /// The number of the next pack: it and those behind it are not begun yet.
    pub(crate) fn next(&self) -> u32 {
        self.state().next
    }

    /// Leaves a pack out of compaction as long as anything is kept in it.
    pub(crate) fn set_unreadable(&self, number: u32) {
        if let Some(pack) = self.state().packs.get_mut(&number) {
            pack.unreadable = true;
        }
    }

    /// Looks whether packs are still the files of their names and as long as they should be, from
    /// number `from` on and [`LOOKED_AT_MAX`] of them; answers the number to go on with, 0 after the
    /// last. What was deleted here meanwhile is passed over.
    ///
    /// # Errors
    /// [`OpenError::Pack`], or the operating system's reason.
    pub(crate) fn look_at_names(&self, from: u32) -> Result<u32, OpenError> {
        let packs: Vec<(u32, Arc<dyn PackFile>, u64)> = {
            let state = self.state();
            let packs = state.packs.range(from..).take(LOOKED_AT_MAX);
            packs.map(|(number, pack)| (*number, pack.file.clone(), pack.len)).collect()
        };
        for (number, file, len) in &packs {
            let path = pack_path(&self.dir, *number);
            let why = match (file.is_at(&path), file.len()) {
                (Ok(true), Ok(now)) if now >= *len => continue,
                (Ok(false), _) => "is gone, or is another file than the one that was opened",
                (Ok(true), Ok(_)) => "is shorter than it was",
                (Err(error), _) | (_, Err(error)) => return Err(OpenError::io(&path)(error)),
            };
            // Compaction forgets a pack before it deletes it.
            if self.state().packs.contains_key(number) {
                return Err(OpenError::Pack { file: path, why });
            }
        }
        let last = packs.last().filter(|_| packs.len() == LOOKED_AT_MAX);
        Ok(last.map_or(0, |(number, ..)| number + 1))
    }

    /// Numbers of all packs, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.state().packs.keys().copied().collect()
    }

    /// What is in a pack.
    pub(crate) fn figures_of(&self, number: u32) -> Option<PackFigures> {
        self.state().packs.get(&number).map(|pack| pack.figures)
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        for pack in self.state().packs.values() {
            sum.packs += 1;
            sum.all_bytes += pack.len;
            sum.live = sum.live.plus(pack.figures.live);
            sum.trash = sum.trash.plus(pack.figures.trash);
            sum.pending_bytes += pack.pending.bytes;
            sum.book_bytes += pack.figures.book_bytes;
        }
        sum
    }
}

pub(crate) fn unreadable(error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        ReadError::Damaged { why: "its pack is too short" }
    } else {
        ReadError::Io { why: error.to_string() }
    }
}
