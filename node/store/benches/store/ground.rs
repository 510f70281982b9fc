//! Where measuring takes place: a folder on a real disk, and facts of the machine.
//!
//! Invariant: everything that a run writes is below one folder, which is removed at its end, also
//! when it panics.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

/// Names the folder to measure in; without it, cargo's folder for temporary files of benches.
const DIR_VARIABLE: &str = "COMMONHOLD_BENCH_DIR";
/// File systems without a disk: a sync costs nothing there.
const DISKLESS: &[&str] = &["tmpfs", "ramfs", "devtmpfs"];

/// The folder, and what is known about its disk.
pub(crate) struct Ground {
    folder: TempDir,
    kind: String,
    device: String,
    free_bytes: u64,
}

impl Ground {
    /// Finds the folder; refuses one without a disk, or without room for what is to be written.
    pub(crate) fn find(needed_bytes: u64) -> Result<Self, String> {
        let base = env::var_os(DIR_VARIABLE)
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        let wrong = |error: &dyn fmt::Display| format!("{}: {error}", base.display());
        fs::create_dir_all(&base).map_err(|error| wrong(&error))?;
        let base = base.canonicalize().map_err(|error| wrong(&error))?;
        let (kind, device) = mount(&base);
        if DISKLESS.contains(&kind.as_str()) {
            return Err(wrong(&format!("{kind} is no disk; name a folder on one in {DIR_VARIABLE}")));
        }
        let space = rustix::fs::statvfs(&base).map_err(|error| wrong(&error))?;
        let free_bytes = space.f_bavail * space.f_frsize;
        if free_bytes < needed_bytes {
            let needed = needed_bytes >> 20;
            return Err(wrong(&format!("{} MiB are free, {needed} are needed", free_bytes >> 20)));
        }
        let folder = tempfile::Builder::new().prefix("store-bench-").tempdir_in(&base);
        Ok(Self { folder: folder.map_err(|error| wrong(&error))?, kind, device, free_bytes })
    }

    /// An empty folder that is removed when it is dropped. What came before has reached the disk,
    /// so that nobody pays for another's leftovers.
    pub(crate) fn plot(&self) -> TempDir {
        let plot = TempDir::new_in(self.folder.path()).unwrap();
        rustix::fs::syncfs(File::open(plot.path()).unwrap()).unwrap();
        plot
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        writeln!(f, "machine: {cores} cores, {}, memory {memory}, load {}", processor(), load())?;
        let folder = self.folder.path().display();
        let (kind, device, free) = (&self.kind, &self.device, self.free_bytes >> 30);
        write!(f, "disk: {kind} on {device} (what is behind it is unknown), {free} GiB free, in {folder}")
    }
}

/// Type and device of the file system that a folder is on, from the kernel's table of mounts.
fn mount(folder: &Path) -> (String, String) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        Some((place.split(' ').nth(4)?, system.next()?, system.next()?))
    });
    // The last of the longest: a mount hides those under it.
    let holds = mounts.filter(|(point, _, _)| folder.starts_with(point));
    let (_, kind, device) =
        holds.max_by_key(|(point, _, _)| point.len()).unwrap_or(("", "unknown", "unknown"));
    (kind.to_owned(), device.to_owned())
}

/// The value of `name` in one of the kernel's files of lines `name: value`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|it| it.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(|| env::consts::ARCH.to_owned())
}

/// How busy the machine is.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
