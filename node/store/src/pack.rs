//! Packs: append-only files of records.
//!
//! Invariant: a place that was handed out stays readable until it is freed or given up; a pack is
//! deleted only when no record in it is live, pending or being committed; what is answered as
//! synced was written before the sync began. Not here: which chunks are live (the index knows).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::{ChunkId, ContractId};

use crate::disk::{Disk, PackFile};
use crate::error::{OpenError, PutError, ReadError, StoreError};
use crate::halt::Halt;
use crate::record::{self, HEADER_LEN, Place};

/// A new pack is begun once the current one has this many bytes: large enough that packs are few,
/// small enough that one is copied in seconds.
pub(crate) const PACK_LEN_MAX: u64 = 1 << 30;

/// A record that was written, and the mark that a sync must reach for it to be durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) place: Place,
    pub(crate) mark: u64,
}

/// Bytes of records: used = live + pending + dead.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) used_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_records: u64,
    pub(crate) pending_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    records: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, place: Place) {
        self.records += 1;
        self.bytes += place.record_len();
    }

    fn take(&mut self, place: Place) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(place.record_len());
    }
}

struct Pack {
    file: Arc<dyn PackFile>,
    len: u64,
    live: Tally,
    pending: Tally,
    /// Appends and commits under way that have to find the pack where it is.
    pins: u32,
    /// Has bytes that no sync has begun to cover.
    unsynced: bool,
}

impl Pack {
    fn new(file: Arc<dyn PackFile>, len: u64) -> Self {
        Self { file, len, live: Tally::default(), pending: Tally::default(), pins: 0, unsynced: false }
    }

    fn is_dead(&self) -> bool {
        self.live.records == 0 && self.pending.records == 0 && self.pins == 0
    }
}

struct State {
    packs: HashMap<u32, Pack>,
    /// The pack that is appended to.
    current: Option<u32>,
    next: u32,
    /// Rises with every append; what is at most `synced` is durable.
    written: u64,
    synced: u64,
    syncing: bool,
}

/// The packs of a store.
pub(crate) struct Packs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pack_len_max: u64,
    halt: Arc<Halt>,
    /// Held during an append, so that records follow each other; `state` is not, because a write
    /// can take long and reads need `state`.
    appending: Mutex<()>,
    state: Mutex<State>,
    sync_ended: Condvar,
}

fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.pack"))
}

/// The number of a pack by the name of its file; other files are none of ours.
pub(crate) fn pack_number(path: &Path) -> Option<u32> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".pack")?;
    let number = digits.parse().ok()?;
    (digits == format!("{number:08}")).then_some(number)
}

impl Packs {
    /// Opens the packs of `dir`. `live` are the places that the index knows. What lies behind the
    /// last of them in its pack was never acknowledged and is cut off.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        live: &[Place],
        pack_len_max: u64,
        halt: Arc<Halt>,
    ) -> Result<Self, OpenError> {
        let mut packs: HashMap<u32, Pack> = HashMap::new();
        for entry in fs::read_dir(dir).map_err(OpenError::io(dir))? {
            let path = entry.map_err(OpenError::io(dir))?.path();
            let Some(number) = pack_number(&path) else { continue };
            let file = disk.open(&path).map_err(OpenError::io(&path))?;
            let len = file.len().map_err(OpenError::io(&path))?;
            packs.insert(number, Pack::new(file, len));
        }
        let mut ends: HashMap<u32, u64> = HashMap::new();
        for place in live {
            let missing = || OpenError::Pack { file: pack_path(dir, place.pack) };
            let pack = packs.get_mut(&place.pack).ok_or_else(missing)?;
            if place.end() > pack.len {
                return Err(missing());
            }
            pack.live.add(*place);
            let end = ends.entry(place.pack).or_default();
            *end = place.end().max(*end);
        }
        let next = packs.keys().max().map_or(0, |last| last + 1);
        // Only now, with every pack there that must be: nothing is cut in a folder that is not the
        // index's own.
        for (number, pack) in &mut packs {
            let end = ends.get(number).copied().unwrap_or(0);
            if end < pack.len {
                let path = pack_path(dir, *number);
                tracing::info!(pack = number, bytes = pack.len - end, "cutting what was never committed");
                pack.file.cut(end).map_err(OpenError::io(&path))?;
                pack.len = end;
            }
        }
        let current = packs.iter().filter(|(_, pack)| pack.live.records > 0).map(|(number, _)| *number).max();
        let state = State { packs, current, next, written: 0, synced: 0, syncing: false };
        let packs = Self {
            disk,
            dir: dir.to_owned(),
            pack_len_max,
            halt,
            appending: Mutex::default(),
            state: Mutex::new(state),
            sync_ended: Condvar::new(),
        };
        let numbers: Vec<u32> = packs.state().packs.keys().copied().collect();
        for number in numbers {
            packs.sweep(&mut packs.state(), number);
        }
        Ok(packs)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Its changes are small steps that cannot panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record and counts it as pending. It is durable once [`Packs::sync`] has reached
    /// its mark.
    pub(crate) fn append(
        &self,
        contract: &ContractId,
        chunk: &ChunkId,
        bytes: &[u8],
        allotted_bytes: u64,
    ) -> Result<Written, PutError> {
        let record = record::encode(contract, chunk, bytes);
        let needed = record.len() as u64;
        let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
        let _turn = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.halt.check()?;
        let used = self.figures().used_bytes;
        if used.saturating_add(needed) > allotted_bytes {
            return Err(PutError::QuotaReached { needed, free: allotted_bytes.saturating_sub(used) });
        }
        let (place, file) = self.reserve(len).map_err(|error| self.halt.stop(error))?;
        let outcome = file.write(&record, place.offset);
        let mut state = self.state();
        state.written += 1;
        let mark = state.written;
        if let Some(pack) = state.packs.get_mut(&place.pack) {
            pack.pins -= 1;
            if outcome.is_ok() {
                pack.len += needed;
                pack.unsynced = true;
                pack.pending.add(place);
            }
        }
        drop(state);
        outcome.map_err(|error| self.halt.stop(error))?;
        Ok(Written { place, mark })
    }

    /// The next place to write to, with its pack pinned; begins a new pack when the current one is
    /// full. Only for the holder of `appending`.
    fn reserve(&self, len: u32) -> io::Result<(Place, Arc<dyn PackFile>)> {
        let mut state = self.state();
        let full = |pack: &Pack| pack.len >= self.pack_len_max;
        let number = match state.current.filter(|number| state.packs.get(number).is_some_and(|it| !full(it)))
        {
            Some(number) => number,
            None => {
                let number = state.next;
                let file = self.disk.create(&pack_path(&self.dir, number))?;
                state.packs.insert(number, Pack::new(file, 0));
                state.next += 1;
                if let Some(before) = state.current.replace(number) {
                    self.sweep(&mut state, before);
                }
                number
            }
        };
        let pack = state.packs.get_mut(&number).expect("the current pack is among the packs");
        pack.pins += 1;
        Ok((Place { pack: number, offset: pack.len, len }, pack.file.clone()))
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
            let reached = state.written;
            let files: Vec<Arc<dyn PackFile>> = state
                .packs
                .values_mut()
                .filter_map(|pack| std::mem::take(&mut pack.unsynced).then(|| pack.file.clone()))
                .collect();
            drop(state);
            let outcome = files.iter().try_for_each(|file| file.sync());
            state = self.state();
            state.syncing = false;
            match outcome {
                Ok(()) => state.synced = reached,
                Err(error) => {
                    self.halt.stop(error);
                }
            }
            self.sync_ended.notify_all();
        }
    }

    /// Reads a record's bytes; its header must name the chunk.
    pub(crate) fn read(&self, chunk: &ChunkId, place: Place) -> Result<Vec<u8>, ReadError> {
        let file = self.state().packs.get(&place.pack).map(|pack| pack.file.clone());
        let file = file.ok_or(ReadError::Damaged { why: "its pack is gone" })?;
        let mut record = vec![0; HEADER_LEN + place.len as usize];
        match file.read(&mut record, place.offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ReadError::Damaged { why: "its pack is too short" });
            }
            Err(error) => return Err(ReadError::Io { why: error.to_string() }),
        }
        if !record::header_fits(&record[..HEADER_LEN], chunk, place.len) {
            return Err(ReadError::Damaged { why: "its record's header is wrong" });
        }
        Ok(record.split_off(HEADER_LEN))
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
            self.sweep(&mut state, place.pack);
        }
    }

    /// A record is in the index now. Before it was pending, or given up and is wanted after all.
    pub(crate) fn adopt(&self, place: Place, was_pending: bool) {
        if let Some(pack) = self.state().packs.get_mut(&place.pack) {
            if was_pending {
                pack.pending.take(place);
            }
            pack.live.add(place);
        }
    }

    /// A pending record is dead now.
    pub(crate) fn give_up(&self, place: Place) {
        self.drop_record(place, |pack| &mut pack.pending);
    }

    /// A live record is dead now: the index does not name it any more.
    pub(crate) fn free(&self, place: Place) {
        self.drop_record(place, |pack| &mut pack.live);
    }

    fn drop_record(&self, place: Place, tally: impl FnOnce(&mut Pack) -> &mut Tally) {
        let mut state = self.state();
        if let Some(pack) = state.packs.get_mut(&place.pack) {
            tally(pack).take(place);
        }
        self.sweep(&mut state, place.pack);
    }

    /// Deletes a pack of which nothing is needed. One that cannot be removed is left to the next
    /// opening.
    fn sweep(&self, state: &mut State, number: u32) {
        if !state.packs.get(&number).is_some_and(Pack::is_dead) {
            return;
        }
        match self.disk.remove(&pack_path(&self.dir, number)) {
            Ok(()) => {
                state.packs.remove(&number);
                state.current = state.current.filter(|current| *current != number);
            }
            Err(error) => tracing::warn!(pack = number, %error, "a pack without use cannot be removed"),
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        for pack in self.state().packs.values() {
            sum.used_bytes += pack.len;
            sum.live_bytes += pack.live.bytes;
            sum.live_records += pack.live.records;
            sum.pending_bytes += pack.pending.bytes;
        }
        sum
    }
}
