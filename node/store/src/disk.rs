//! The operations on files that packs are made of.
//!
//! Invariant: nothing else in this crate touches a pack's file, so that tests can stand between a
//! write and its sync: they fail either, and take away at a power cut what no sync has covered. Not
//! here: the index's own files, which LMDB writes.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::{Errno, pwritev};

/// Where packs are.
pub(crate) trait Disk: Send + Sync {
    /// Makes an empty file. Its name is durable after the next [`Disk::sync_folder`].
    fn create(&self, path: &Path) -> io::Result<Arc<dyn PackFile>>;
    /// Opens a file that is there, to read and write.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn PackFile>>;
    /// Removes a file. After a crash before the next [`Disk::sync_folder`] it may be there again.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that the folder's file system has for this user.
    fn available(&self, folder: &Path) -> io::Result<u64>;
}

/// A pack's file. Writes are durable after the next [`PackFile::sync`] that began after them.
pub(crate) trait PackFile: Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Is this the file that has the name `path`?
    fn is_at(&self, path: &Path) -> io::Result<bool>;
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes the parts one behind the other.
    fn write(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Takes space on the disk for what will be written there, and leaves the length as it is. A
    /// file system that cannot do that succeeds without.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, and what was allocated behind it; durable on return.
    fn cut(&self, len: u64) -> io::Result<()>;
}

/// The file system.
pub(crate) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        // One that is there already was left by a removal that failed; nothing in it is needed.
        Ok(Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn PackFile>> {
        Ok(Arc::new(File::options().read(true).write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }

    fn available(&self, folder: &Path) -> io::Result<u64> {
        let found = statvfs(folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

impl PackFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let open = self.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut written = match pwritev(self, &slices, offset) {
            Ok(written) => written,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        // The rest, should a signal have cut it short.
        let mut at = offset + written as u64;
        for part in parts {
            let rest = &part[written.min(part.len())..];
            self.write_all_at(rest, at)?;
            written -= part.len() - rest.len();
            at += rest.len() as u64;
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::KEEP_SIZE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync writes the new length too, since the data could not be read without it.
        self.sync_data()
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.sync_all()
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Is there no space left, for this user or at all?
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
