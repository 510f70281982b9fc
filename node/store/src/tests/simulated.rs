//! A disk that knows, byte by byte, what a power cut may leave, and that fails when it is told to.
//!
//! Invariant: of a file its durable bytes are there after a power cut, and of what was written since
//! the last sync any sectors, in any order; of the names that were made or removed since the last
//! sync of the folder any. Nothing becomes durable but by a sync that ended well and began behind
//! the write. Not here: the index's file, see `torn_index`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;

use super::images::{Cut, CutFile, NameChange, Written};
use crate::disk::{Disk, FileSystem, PackFile};
use crate::opening::Setup;
use crate::{Store, StoreConfig};

/// What is done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Create,
    Remove,
    SyncFolder,
    Read,
    Write,
    Allocate,
    Sync,
    Cut,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) kind: Kind,
    /// The bytes that are written.
    pub(super) bytes: Vec<u8>,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// There is no space; of a write so many bytes get there.
    Full(usize),
    /// EIO; of a write so many bytes get there.
    Io(usize),
}

impl Fault {
    fn error(self) -> io::Error {
        // ENOSPC and EIO.
        io::Error::from_raw_os_error(if matches!(self, Self::Full(_)) { 28 } else { 5 })
    }

    fn written(self) -> usize {
        let (Self::Full(bytes) | Self::Io(bytes)) = self;
        bytes
    }
}

/// Called before (`false`) and after (`true`) every operation that is not a read.
type Watch = Arc<dyn Fn(&Op, bool) + Send + Sync>;
type Plan = Arc<dyn Fn(&Op) -> Option<Fault> + Send + Sync>;

#[derive(Default)]
struct Inode {
    durable: Vec<u8>,
    writes: Vec<Written>,
}

#[derive(Default)]
struct State {
    inodes: HashMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    /// Rises with every write and change of a name.
    clock: u64,
    syncs: u64,
    sync_takes: Duration,
    /// Parts of files that cannot be read.
    lost: Vec<(u64, Range<u64>)>,
    /// What the file system has; by default more than anybody needs.
    available: Option<u64>,
    plan: Option<Plan>,
    watch: Option<Watch>,
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn rename(&mut self, path: &Path, after: Option<u64>) {
        match after {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        let at = self.tick();
        self.name_changes.push(NameChange { at, path: path.to_owned(), after });
    }
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Simulated(Arc<Mutex<State>>);

struct SimulatedFile {
    disk: Simulated,
    inode: u64,
    file: Arc<dyn PackFile>,
}

/// A folder in memory where there is one: what a power cut leaves is laid out by the thousand.
pub(super) fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

impl Simulated {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn open(&self, dir: &Path) -> Store {
        self.open_with(dir, |_| {})
    }

    pub(super) fn open_with(&self, dir: &Path, set: impl FnOnce(&mut Setup)) -> Store {
        let mut setup = Setup { disk: Arc::new(self.clone()), ..Setup::default() };
        set(&mut setup);
        let config = StoreConfig::new(dir, 1 << 30);
        Store::open_with(config, setup).unwrap()
    }

    /// Lets operations fail for which `plan` says how.
    pub(super) fn fail(&self, plan: impl Fn(&Op) -> Option<Fault> + Send + Sync + 'static) {
        self.state().plan = Some(Arc::new(plan));
    }

    /// Lets a part of a file be unreadable until [`Simulated::find`].
    pub(super) fn lose(&self, path: &Path, part: Range<u64>) {
        let mut state = self.state();
        let inode = state.names[path];
        state.lost.push((inode, part));
    }

    /// Lets everything be readable again.
    pub(super) fn find(&self) {
        self.state().lost.clear();
    }

    pub(super) fn work_again(&self) {
        self.state().plan = None;
    }

    /// Lets `watch` see every operation that is not a read, before and after; it may take its time.
    pub(super) fn watch(&self, watch: impl Fn(&Op, bool) + Send + Sync + 'static) {
        self.state().watch = Some(Arc::new(watch));
    }

    pub(super) fn watch_no_more(&self) {
        self.state().watch = None;
    }

    pub(super) fn fail_creates(&self) {
        self.fail(|op| (op.kind == Kind::Create).then_some(Fault::Io(0)));
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.fail(move |op| (fail && op.kind == Kind::Sync).then_some(Fault::Io(0)));
    }

    /// The next write fails after so many bytes.
    pub(super) fn fail_write_after(&self, bytes: usize) {
        let armed = Mutex::new(true);
        self.fail(move |op| {
            let hit = op.kind == Kind::Write && std::mem::take(&mut *armed.lock().unwrap());
            hit.then_some(Fault::Io(bytes))
        });
    }

    /// Lets the file system have so much, whatever is written.
    pub(super) fn has(&self, available: u64) {
        self.state().available = Some(available);
    }

    pub(super) fn sync_takes(&self, time: Duration) {
        self.state().sync_takes = time;
    }

    /// Calls `watch` when a sync of a file is about to begin, and when it has ended.
    pub(super) fn watch_syncs(&self, watch: impl Fn() + Send + Sync + 'static) {
        self.watch(move |op, _| {
            if op.kind == Kind::Sync {
                watch();
            }
        });
    }

    /// Syncs of files that were begun.
    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Flips bits of a byte that is durable, behind everybody's back.
    pub(super) fn rot(&self, path: &Path, offset: usize, bits: u8) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).unwrap();
        inode.durable[offset] ^= bits;
        let byte = [inode.durable[offset]];
        FileSystem.open(path).unwrap().write(&[&byte], offset as u64).unwrap();
    }

    /// What the disk has if the power is cut now.
    pub(super) fn cut_power(&self) -> Cut {
        let state = self.state();
        let file = |(id, inode): (&u64, &Inode)| {
            (*id, CutFile { durable: inode.durable.clone(), writes: inode.writes.clone() })
        };
        Cut {
            names: state.durable_names.clone(),
            changes: state.name_changes.clone(),
            files: state.inodes.iter().map(file).collect(),
        }
    }

    /// Runs an operation with its watches around it, unless it is planned to fail: then `partly`
    /// says what becomes of it.
    fn run<T>(
        &self,
        kind: Kind,
        parts: &[&[u8]],
        partly: impl FnOnce(usize),
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let (watch, plan) = {
            let state = self.state();
            (state.watch.clone().filter(|_| kind != Kind::Read), state.plan.clone())
        };
        if watch.is_none() && plan.is_none() {
            return run();
        }
        let op = Op { kind, bytes: parts.concat() };
        if let Some(watch) = &watch {
            watch(&op, false);
        }
        // What is planned may have changed meanwhile.
        let plan = self.state().plan.clone();
        let outcome = match plan.and_then(|plan| plan(&op)) {
            Some(fault) => {
                partly(fault.written());
                Err(fault.error())
            }
            None => run(),
        };
        if let Some(watch) = &watch {
            watch(&op, true);
        }
        outcome
    }

    fn file(&self, inode: u64, file: Arc<dyn PackFile>) -> Arc<dyn PackFile> {
        Arc::new(SimulatedFile { disk: self.clone(), inode, file })
    }
}

impl Disk for Simulated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        self.run(
            Kind::Create,
            &[],
            |_| {},
            || {
                let file = FileSystem.create(path)?;
                let mut state = self.state();
                let inode = state.tick();
                state.inodes.insert(inode, Inode::default());
                state.rename(path, Some(inode));
                drop(state);
                Ok(self.file(inode, file))
            },
        )
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        let file = FileSystem.open(path)?;
        let mut state = self.state();
        let known = state.names.get(path).copied();
        let inode = match known {
            // A process that ends takes nothing with it: what was written is still to be synced.
            Some(inode) => inode,
            None => {
                let mut durable = vec![0; file.len()? as usize];
                file.read(&mut durable, 0)?;
                let inode = state.tick();
                state.inodes.insert(inode, Inode { durable, writes: Vec::new() });
                state.names.insert(path.to_owned(), inode);
                state.durable_names.insert(path.to_owned(), inode);
                inode
            }
        };
        drop(state);
        Ok(self.file(inode, file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(
            Kind::Remove,
            &[],
            |_| {},
            || {
                FileSystem.remove(path)?;
                self.state().rename(path, None);
                Ok(())
            },
        )
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(self.state().available.unwrap_or(u64::MAX >> 1))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.run(
            Kind::SyncFolder,
            &[],
            |_| {},
            || {
                let mut state = self.state();
                for change in std::mem::take(&mut state.name_changes) {
                    match change.after {
                        Some(inode) => state.durable_names.insert(change.path, inode),
                        None => state.durable_names.remove(&change.path),
                    };
                }
                Ok(())
            },
        )
    }
}

impl SimulatedFile {
    fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write(&[bytes], offset)?;
        let mut state = self.disk.state();
        let at = state.tick();
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        inode.writes.push(Written { at, offset: offset as usize, bytes: bytes.to_vec() });
        Ok(())
    }
}

impl PackFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let is_lost = self
            .disk
            .state()
            .lost
            .iter()
            .any(|(inode, part)| *inode == self.inode && part.start < end && offset < part.end);
        self.disk.run(
            Kind::Read,
            &[],
            |_| {},
            || match is_lost {
                true => Err(Fault::Io(0).error()),
                false => self.file.read(bytes, offset),
            },
        )
    }

    fn write(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.concat();
        let partly = |written: usize| self.write_all(&bytes[..written.min(bytes.len())], offset).unwrap();
        self.disk.run(Kind::Write, parts, partly, || self.write_all(&bytes, offset))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.run(Kind::Allocate, &[], |_| {}, || self.file.allocate(offset, len))
    }

    fn sync(&self) -> io::Result<()> {
        let (reached, takes) = {
            let mut state = self.disk.state();
            state.syncs += 1;
            (state.clock, state.sync_takes)
        };
        self.disk.run(
            Kind::Sync,
            &[],
            |_| {},
            || {
                std::thread::sleep(takes);
                let mut state = self.disk.state();
                let inode = state.inodes.get_mut(&self.inode).unwrap();
                let (covered, left) =
                    std::mem::take(&mut inode.writes).into_iter().partition(|write| write.at <= reached);
                inode.writes = left;
                let covered: Vec<Written> = covered;
                covered.iter().for_each(|write| write.apply(&mut inode.durable));
                Ok(())
            },
        )
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.disk.run(
            Kind::Cut,
            &[],
            |_| {},
            || {
                self.file.cut(len)?;
                let mut state = self.disk.state();
                let inode = state.inodes.get_mut(&self.inode).unwrap();
                for write in std::mem::take(&mut inode.writes) {
                    write.apply(&mut inode.durable);
                }
                inode.durable.truncate(len as usize);
                Ok(())
            },
        )
    }
}
