//! The LMDB environment and its map.
//!
//! Invariant: the map changes its size only when no transaction of this process is open: readers
//! hold the gate, and the one thread that writes grows the map between its transactions. Whoever
//! reads must not read again before it is done, or it may wait for a growth that waits for it. The
//! file system has space for what a transaction may write, before anything is promised on it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use heed::{Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::disk::is_full;

/// Size of the map of a new index. It is an address range: neither memory nor disk is taken before
/// pages are used.
pub(crate) const MAP_LEN: usize = 64 << 20;
/// Most that the map grows to: some two billion chunks where addresses have 64 bits.
#[cfg(target_pointer_width = "64")]
const MAP_LEN_MAX: usize = 1 << 40;
#[cfg(not(target_pointer_width = "64"))]
const MAP_LEN_MAX: usize = 1 << 30;
/// The map grows when less than this or a quarter of it is left, so that transactions seldom find
/// it full.
const HEADROOM: usize = 32 << 20;
const PAGE_LEN: usize = 64 << 10;
/// Reads at one time; LMDB keeps 64 bytes for each. More than a runtime has blocking threads (512
/// in tokio).
const READERS_MAX: u32 = 1024;

/// Pages that a change of one key may write anew: its leaf, what that is split into, and a branch. Those
/// above are few and shared.
const PAGES_OF_KEY: u64 = 3;
/// Held beside that, for the pages above, the list of free pages, and what the writer adds.
const SLACK: u64 = 1 << 20;
/// Space is taken so far ahead, where there is any.
const AHEAD: u64 = 4 << 20;
/// With less than this a file system is full, whatever LMDB makes of the error.
const NOTHING: u64 = 64 << 10;

type Environment = Env<WithoutTls>;

/// What only works if nobody else does something meanwhile.
enum Exclusive<'a> {
    Open { dir: &'a Path, map_len: usize, databases: u32 },
    Resize { env: &'a Environment, map_len: usize },
}

fn exclusively(action: Exclusive<'_>) -> heed::Result<Environment> {
    // SAFETY: LMDB maps its file, so nobody may change it behind its back: the caller holds an
    // exclusive lock on the store's folder, only `Gated::open` opens the environment, and the file
    // is written through it alone; what `Room` does to it leaves its length and bytes as they are. Resizing needs that no transaction is open: the caller holds the
    // gate for itself alone, which every reader shares, and is the one thread that writes.
    #[allow(unsafe_code)]
    unsafe {
        match action {
            Exclusive::Open { dir, map_len, databases } => {
                let mut options = EnvOpenOptions::new().read_txn_without_tls();
                options.map_size(map_len).max_dbs(databases).max_readers(READERS_MAX);
                options.open(dir)
            }
            Exclusive::Resize { env, map_len } => env.resize(map_len).map(|()| env.clone()),
        }
    }
}

/// An environment whose map grows.
pub(crate) struct Gated {
    env: Environment,
    gate: RwLock<()>,
    map_len_max: usize,
    dir: PathBuf,
    pub(crate) room: Mutex<Room>,
}

/// What the file system has given for the index's file.
pub(crate) struct Room {
    /// The file, which is only allocated through this.
    file: File,
    /// Bytes from its beginning, whatever its length is.
    pub(crate) allocated: u64,
    /// Takes space up to there.
    pub(crate) allocate: fn(&File, u64) -> io::Result<()>,
}

fn allocate(file: &File, to: u64) -> io::Result<()> {
    // From the beginning, since pages that LMDB took and did not write are holes. Nothing is done where
    // there is none.
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, 0, to)?)
}

/// A read transaction; the map stays as it is while there is one.
pub(crate) struct Reading<'a> {
    pub(crate) txn: RoTxn<'a, WithoutTls>,
    // Dropped after the transaction.
    _gate: RwLockReadGuard<'a, ()>,
}

fn pages(len: usize) -> usize {
    len.div_ceil(PAGE_LEN) * PAGE_LEN
}

impl Gated {
    /// Opens the environment of a folder that the caller has locked.
    pub(crate) fn open(dir: &Path, map_len: usize, databases: u32) -> heed::Result<Self> {
        let used = std::fs::metadata(dir.join("data.mdb")).map_or(0, |file| file.len() as usize);
        let map_len = pages(map_len.max(used.saturating_mul(2)).min(MAP_LEN_MAX));
        let env = exclusively(Exclusive::Open { dir, map_len, databases })?;
        let file = File::options().write(true).open(dir.join("data.mdb"))?;
        let room = Mutex::new(Room { file, allocated: 0, allocate });
        Ok(Self { env, gate: RwLock::default(), map_len_max: MAP_LEN_MAX, dir: dir.to_owned(), room })
    }

    pub(crate) fn read(&self) -> heed::Result<Reading<'_>> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Reading { txn: self.env.read_txn()?, _gate: gate })
    }

    /// A transaction on the present state for one who reads already: the gate is held.
    pub(crate) fn read_within(&self, _held: &Reading<'_>) -> heed::Result<RoTxn<'_, WithoutTls>> {
        self.env.read_txn()
    }

    /// A write transaction. Only for the thread that writes.
    pub(crate) fn write(&self) -> heed::Result<RwTxn<'_>> {
        self.env.write_txn()
    }

    pub(crate) fn env(&self) -> &Environment {
        &self.env
    }

    /// Grows the map if little of it is left. Only for the thread that writes, between
    /// transactions.
    pub(crate) fn make_room(&self) -> heed::Result<()> {
        let map_size = self.env.info().map_size;
        let left = map_size.saturating_sub(self.used());
        if left < HEADROOM.min(map_size / 4) { self.grow().map(|_| ()) } else { Ok(()) }
    }

    fn page_len(&self) -> usize {
        self.env.unnamed_database_stat().page_size as usize
    }

    /// Bytes of the file that have pages, as of the last transaction.
    fn used(&self) -> usize {
        (self.env.info().last_page_number + 1).saturating_mul(self.page_len())
    }

    /// Sees to it that the file system has space for the pages of a transaction that changes so many
    /// keys. Only for the thread that writes.
    ///
    /// # Errors
    /// That there is no space, or the file system's own.
    pub(crate) fn hold_room(&self, keys: u64, value_bytes: u64) -> io::Result<()> {
        let needed = keys * PAGES_OF_KEY * self.page_len() as u64 + 2 * value_bytes + SLACK;
        let wanted = self.used() as u64 + needed;
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted <= room.allocated {
            return Ok(());
        }
        let outcome = match (room.allocate)(&room.file, wanted + AHEAD) {
            Err(error) if is_full(&error) => (room.allocate)(&room.file, wanted).map(|()| wanted),
            outcome => outcome.map(|()| wanted + AHEAD),
        };
        match outcome {
            Ok(allocated) => room.allocated = allocated,
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP | Errno::NOSYS)) => {
                // Then at least nobody else may have taken it just now.
                if self.available()? < needed {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let found = statvfs(&self.dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Is it for want of space that LMDB could not write? It calls a write that was cut short a fault of
    /// the disk.
    pub(crate) fn is_full(&self, error: &heed::Error) -> bool {
        let heed::Error::Io(error) = error else { return false };
        let is_short = Errno::from_io_error(error) == Some(Errno::IO);
        is_full(error) || (is_short && self.available().is_ok_and(|bytes| bytes < NOTHING))
    }

    /// Doubles the map; false when it is as large as it may be.
    pub(crate) fn grow(&self) -> heed::Result<bool> {
        let now = self.env.info().map_size;
        let map_len = pages(now.saturating_mul(2)).min(self.map_len_max);
        if map_len <= now {
            return Ok(false);
        }
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        exclusively(Exclusive::Resize { env: &self.env, map_len })?;
        tracing::info!(map_bytes = map_len, "the index has more room");
        Ok(true)
    }
}
