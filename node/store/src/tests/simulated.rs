//! A disk that knows what a power cut would leave, and that fails when it is told to.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::disk::{Disk, FileSystem, PackFile};
use crate::opening::Setup;
use crate::{Store, StoreConfig};

/// Called when a sync is about to begin, and when it has ended.
type Watch = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    /// Bytes of each file that a sync has covered.
    durable: HashMap<PathBuf, u64>,
    syncs: u64,
    fail_creates: bool,
    fail_syncs: bool,
    /// The next write fails after so many bytes.
    fail_write_after: Option<usize>,
    sync_takes: Duration,
    watch: Option<Watch>,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Simulated(Arc<Mutex<State>>);

struct SimulatedFile {
    disk: Simulated,
    path: PathBuf,
    file: Arc<dyn PackFile>,
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

    pub(super) fn fail_creates(&self) {
        self.state().fail_creates = true;
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    pub(super) fn fail_write_after(&self, bytes: usize) {
        self.state().fail_write_after = Some(bytes);
    }

    pub(super) fn sync_takes(&self, time: Duration) {
        self.state().sync_takes = time;
    }

    pub(super) fn watch_syncs(&self, watch: impl Fn() + Send + Sync + 'static) {
        self.state().watch = Some(Arc::new(watch));
    }

    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes of a file that a power cut cannot take away.
    pub(super) fn durable(&self, path: &Path) -> u64 {
        self.state().durable.get(path).copied().unwrap_or(0)
    }

    fn watched(&self) {
        let watch = self.state().watch.clone();
        if let Some(watch) = watch {
            watch();
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn PackFile>) -> Arc<dyn PackFile> {
        Arc::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

fn fault() -> io::Error {
    io::Error::other("a simulated fault")
}

impl Disk for Simulated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        if self.state().fail_creates {
            return Err(fault());
        }
        Ok(self.file(path, FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        let file = FileSystem.open(path)?;
        self.state().durable.insert(path.to_owned(), file.len()?);
        Ok(self.file(path, file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        FileSystem.sync_folder(folder)
    }
}

impl PackFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read(bytes, offset)
    }

    fn write(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let fails = self.disk.state().fail_write_after.take();
        if let Some(written) = fails {
            let bytes = parts.concat();
            self.file.write(&[&bytes[..written.min(bytes.len())]], offset)?;
            return Err(fault());
        }
        self.file.write(parts, offset)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.watched();
        let takes = {
            let mut state = self.disk.state();
            state.syncs += 1;
            if state.fail_syncs {
                return Err(fault());
            }
            state.sync_takes
        };
        let covered = self.file.len()?;
        std::thread::sleep(takes);
        self.disk.state().durable.insert(self.path.clone(), covered);
        self.disk.watched();
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.file.cut(len)?;
        self.disk.state().durable.insert(self.path.clone(), len);
        Ok(())
    }
}
