//! Packs: append-only files of records, each a header and a chunk's bytes (spec/store.md draws
//! them byte by byte).
//!
//! Invariant: a place that was handed out stays valid until it is freed; a pack is deleted only
//! when no live or pending record is left in it. Not here: which chunks are live (the index knows).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::{ChunkId, ContractId};

use crate::error::{OpenError, PutError, ReadError, StoreError};
use crate::index::Place;

/// A new pack is begun once the current one has this many bytes: large enough that packs are few,
/// small enough that one is copied in seconds.
const PACK_LEN_MAX: u64 = 1 << 30;
/// First bytes of every record.
const MAGIC: [u8; 4] = *b"CHr\x01";
/// Magic, length, chunk id, contract id, checksum of the bytes, checksum of the header so far.
const HEADER_LEN: usize = 4 + 4 + 32 + 32 + 4 + 4;
const FORMAT: &str = "commonhold-store 1";

/// Bytes of the record of a chunk.
pub(crate) fn record_len(chunk_len: usize) -> u64 {
    (HEADER_LEN + chunk_len) as u64
}

/// Writes or checks the file that names the format of the store.
pub(crate) fn check_format(dir: &Path) -> Result<(), OpenError> {
    let file = dir.join("format");
    match fs::read_to_string(&file) {
        Ok(text) if text.trim_end() == FORMAT => Ok(()),
        Ok(text) => {
            let found = text.trim_end().chars().take(60).collect();
            Err(OpenError::Version { file, found, expected: FORMAT })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let partial = dir.join("format.partial");
            let write = || -> io::Result<()> {
                fs::write(&partial, format!("{FORMAT}\n"))?;
                File::open(&partial)?.sync_all()?;
                fs::rename(&partial, &file)?;
                File::open(dir)?.sync_all()
            };
            write().map_err(OpenError::io(&file))
        }
        Err(error) => Err(OpenError::io(&file)(error)),
    }
}

struct Pack {
    file: Arc<File>,
    len: u64,
    live_bytes: u64,
    live_records: u64,
    /// Records that are put and not committed.
    pending_records: u64,
    dirty: bool,
}

struct State {
    packs: HashMap<u32, Pack>,
    current: Option<u32>,
    next: u32,
    /// Rises with every append; what is at most `synced` is durable.
    written: u64,
    synced: u64,
    syncing: bool,
    failed: Option<String>,
}

/// The packs of a store.
pub(crate) struct Packs {
    dir: PathBuf,
    state: Mutex<State>,
    sync_ended: Condvar,
}

fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.pack"))
}

impl Packs {
    /// Opens the packs of `dir`. `live` are the places that the index knows; whatever lies behind
    /// the last of them in its pack was never acknowledged and is cut off.
    pub(crate) fn open(dir: &Path, live: &[Place]) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
        let mut packs: HashMap<u32, Pack> = HashMap::new();
        let mut ends: HashMap<u32, u64> = HashMap::new();
        for entry in fs::read_dir(dir).map_err(OpenError::io(dir))? {
            let path = entry.map_err(OpenError::io(dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(number) = name.strip_suffix(".pack").and_then(|number| number.parse().ok()) else {
                continue;
            };
            let file = File::options().read(true).write(true).open(&path).map_err(OpenError::io(&path))?;
            let len = file.metadata().map_err(OpenError::io(&path))?.len();
            let file = Arc::new(file);
            packs.insert(
                number,
                Pack { file, len, live_bytes: 0, live_records: 0, pending_records: 0, dirty: false },
            );
        }
        for place in live {
            let missing = || OpenError::Pack { file: pack_path(dir, place.pack) };
            let pack = packs.get_mut(&place.pack).ok_or_else(missing)?;
            let end = place.offset + record_len(place.len as usize);
            if end > pack.len {
                return Err(missing());
            }
            pack.live_bytes += record_len(place.len as usize);
            pack.live_records += 1;
            let known = ends.entry(place.pack).or_default();
            *known = end.max(*known);
        }
        for (number, pack) in &mut packs {
            let end = ends.get(number).copied().unwrap_or(0);
            if end < pack.len {
                let path = pack_path(dir, *number);
                pack.file.set_len(end).map_err(OpenError::io(&path))?;
                pack.file.sync_all().map_err(OpenError::io(&path))?;
                pack.len = end;
            }
        }
        packs.retain(|number, pack| {
            // Left empty if it cannot be removed; the next open tries again.
            pack.live_records > 0 || fs::remove_file(pack_path(dir, *number)).is_err()
        });
        let current = packs.keys().max().copied();
        let next = current.map_or(0, |current| current + 1);
        let state = State { packs, current, next, written: 0, synced: 0, syncing: false, failed: None };
        Ok(Self { dir: dir.to_owned(), state: Mutex::new(state), sync_ended: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record; it is not durable before the next [`Packs::sync`].
    pub(crate) fn append(
        &self,
        contract: ContractId,
        chunk: ChunkId,
        bytes: &[u8],
        allotted_bytes: u64,
    ) -> Result<Place, PutError> {
        let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
        let mut record = Vec::with_capacity(HEADER_LEN + bytes.len());
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&len.to_be_bytes());
        record.extend_from_slice(chunk.as_bytes());
        record.extend_from_slice(contract.as_bytes());
        record.extend_from_slice(&crc32c::crc32c(bytes).to_be_bytes());
        record.extend_from_slice(&crc32c::crc32c(&record).to_be_bytes());
        record.extend_from_slice(bytes);
        let needed = record.len() as u64;

        let mut state = self.state();
        state.check()?;
        let used: u64 = state.packs.values().map(|pack| pack.len).sum();
        if used.saturating_add(needed) > allotted_bytes {
            return Err(PutError::QuotaReached { needed, free: allotted_bytes.saturating_sub(used) });
        }
        let number = self.current(&mut state).map_err(|error| state.fail(&error))?;
        let pack = state.packs.get_mut(&number).expect("the current pack is open");
        let offset = pack.len;
        let file = pack.file.clone();
        if let Err(error) = file.write_all_at(&record, offset) {
            return Err(state.fail(&error).into());
        }
        pack.len += needed;
        pack.dirty = true;
        pack.pending_records += 1;
        state.written += 1;
        Ok(Place { pack: number, offset, len })
    }

    /// The pack to append to; begins a new one when the current one is full.
    fn current(&self, state: &mut State) -> io::Result<u32> {
        if let Some(number) = state.current
            && state.packs.get(&number).is_some_and(|pack| pack.len < PACK_LEN_MAX)
        {
            return Ok(number);
        }
        let number = state.next;
        let path = pack_path(&self.dir, number);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        File::open(&self.dir)?.sync_all()?;
        let file = Arc::new(file);
        state.packs.insert(
            number,
            Pack { file, len: 0, live_bytes: 0, live_records: 0, pending_records: 0, dirty: false },
        );
        state.current = Some(number);
        state.next += 1;
        Ok(number)
    }

    /// Makes everything durable that was appended before the call; callers share one sync.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let wanted = state.written;
        loop {
            state.check()?;
            if state.synced >= wanted {
                return Ok(());
            }
            if state.syncing {
                state = self.sync_ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            let written = state.written;
            let dirty: Vec<Arc<File>> = state
                .packs
                .values_mut()
                .filter_map(|pack| std::mem::take(&mut pack.dirty).then(|| pack.file.clone()))
                .collect();
            drop(state);
            let outcome = dirty.iter().try_for_each(|file| file.sync_data());
            state = self.state();
            state.syncing = false;
            match outcome {
                Ok(()) => state.synced = state.synced.max(written),
                // After a failed sync nobody knows what is on the disk: no retry.
                Err(error) => {
                    state.fail(&error);
                }
            }
            self.sync_ended.notify_all();
        }
    }

    /// Reads a record and checks that its header names the chunk.
    pub(crate) fn read(&self, chunk: &ChunkId, place: Place) -> Result<Vec<u8>, ReadError> {
        let file = self.state().packs.get(&place.pack).map(|pack| pack.file.clone());
        let file = file.ok_or(ReadError::Damaged { why: "its pack is gone" })?;
        let mut record = vec![0; HEADER_LEN + place.len as usize];
        match file.read_exact_at(&mut record, place.offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ReadError::Damaged { why: "its pack is too short" });
            }
            Err(error) => return Err(ReadError::Io { why: error.to_string() }),
        }
        let (header, bytes) = record.split_at(HEADER_LEN);
        let checksum = crc32c::crc32c(&header[..HEADER_LEN - 4]).to_be_bytes();
        let right = header[..4] == MAGIC
            && header[4..8] == place.len.to_be_bytes()
            && header[8..40] == chunk.0
            && header[HEADER_LEN - 4..] == checksum;
        if !right {
            return Err(ReadError::Damaged { why: "its record's header is wrong" });
        }
        Ok(bytes.to_vec())
    }

    /// A pending record became a live one.
    pub(crate) fn adopt(&self, place: Place) {
        let mut state = self.state();
        if let Some(pack) = state.packs.get_mut(&place.pack) {
            pack.pending_records = pack.pending_records.saturating_sub(1);
            pack.live_records += 1;
            pack.live_bytes += record_len(place.len as usize);
        }
    }

    /// A pending record was replaced and is dead.
    pub(crate) fn give_up(&self, place: Place) {
        if let Some(pack) = self.state().packs.get_mut(&place.pack) {
            pack.pending_records = pack.pending_records.saturating_sub(1);
        }
    }

    /// A live record is dead now. A pack without any other is deleted.
    pub(crate) fn free(&self, place: Place) {
        let mut state = self.state();
        let Some(pack) = state.packs.get_mut(&place.pack) else { return };
        pack.live_records = pack.live_records.saturating_sub(1);
        pack.live_bytes = pack.live_bytes.saturating_sub(record_len(place.len as usize));
        if pack.live_records == 0 && pack.pending_records == 0 {
            // The index names nothing in it any more; left behind, the next open removes it.
            if fs::remove_file(pack_path(&self.dir, place.pack)).is_ok() {
                state.packs.remove(&place.pack);
                if state.current == Some(place.pack) {
                    state.current = None;
                }
            }
        }
    }

    /// Used bytes, dead bytes, live chunks.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        let state = self.state();
        let used = state.packs.values().map(|pack| pack.len).sum();
        let live: u64 = state.packs.values().map(|pack| pack.live_bytes).sum();
        let chunks = state.packs.values().map(|pack| pack.live_records).sum();
        (used, used - live, chunks)
    }
}

impl State {
    fn check(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(why) => Err(StoreError::Failed { why: why.clone() }),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: &io::Error) -> StoreError {
        let why = self.failed.get_or_insert_with(|| error.to_string()).clone();
        StoreError::Failed { why }
    }
}
