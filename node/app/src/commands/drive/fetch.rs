//! One file on its way out of the drive, gone on with where it was interrupted.
//!
//! Invariant: a file stands under its name only when it is whole; what came so far lies beside it in a
//! hidden file of this user, whose name follows from the target and the content, so that bytes of two
//! contents never mix. Not here: folders (`fetch_tree`).

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use commonhold_client::{Client, FileRead, RemoteFile};
use data_encoding::HEXLOWER;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tokio_util::io::SyncIoBridge;

use super::plan::Facts;

/// What the names of partial files and folders begin with.
pub const HIDDEN: &str = ".commonhold-";
/// Less than this is not worth keeping.
const KEPT_LEN_MIN: u64 = 1 << 20;
/// Bytes that are written at a time.
const WRITE_LEN: usize = 256 * 1024;
/// Zeros that become a hole: so many bytes in a row. Writing in pieces of this size costs a call each, so it is
/// a multiple of what file systems allocate.
const HOLE_LEN: usize = 64 * 1024;

/// A file of the drive that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its path in the drive.
    pub path: String,
    /// Which version.
    pub version: u64,
    /// Its content.
    pub content_id: String,
    /// Length, time, executable bit.
    pub facts: Facts,
}

/// Where a target's partial file or folder lies.
pub fn hidden(target: &Path, what: &str) -> Result<PathBuf> {
    let absolute = std::path::absolute(target)?;
    let mut hash = Sha256::new();
    hash.update(absolute.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(what.as_bytes());
    let name = format!("{HIDDEN}{}.part", HEXLOWER.encode(&hash.finalize()[..10]));
    Ok(parent_of(target).join(name))
}

/// The folder that a target stands in.
pub fn parent_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether a file or folder is this user's own.
pub fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Fetches a file to `target`; answers how many of its bytes were here already.
///
/// # Errors
/// What the node answered, or what could not be written. What came so far is kept if it is worth it, and
/// the next call goes on there.
pub async fn file(client: &Client, wanted: &Wanted, target: &Path, bar: &ProgressBar) -> Result<u64> {
    let partial = hidden(target, &wanted.content_id)?;
    let total = wanted.facts.bytes;
    let (out, have) = open_partial(&partial, total)?;
    // Also when the whole call is dropped at Ctrl-C.
    let _kept = KeptIfWorthIt(&partial);
    bar.inc(have);
    bar.reset_eta();
    let done = if have < total || total == 0 { fill(client, wanted, out, have, bar).await } else { Ok(out) };
    let out = match done {
        Ok(out) => out,
        Err(error) if fs::metadata(&partial).is_ok_and(|it| it.len() >= KEPT_LEN_MIN) => {
            return Err(error.context("the download broke off; the same command goes on where it was"));
        }
        Err(error) => return Err(error),
    };
    finish(&out, &wanted.facts)?;
    fs::rename(&partial, target).with_context(|| target.display().to_string())?;
    Ok(have)
}

/// Takes a partial file away that is too short to be gone on with.
struct KeptIfWorthIt<'a>(&'a Path);

impl Drop for KeptIfWorthIt<'_> {
    fn drop(&mut self) {
        if fs::symlink_metadata(self.0).is_ok_and(|it| it.is_file() && it.len() < KEPT_LEN_MIN) {
            let _ = fs::remove_file(self.0);
        }
    }
}

/// The partial file, at its end, and its length.
fn open_partial(partial: &Path, total: u64) -> Result<(File, u64)> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(no_follow);
    let mut file = options.open(partial).with_context(|| partial.display().to_string())?;
    let metadata = file.metadata()?;
    ensure!(
        metadata.is_file() && is_own(&metadata) && metadata.nlink() == 1,
        "{} is in the way: remove it",
        partial.display()
    );
    let mut have = metadata.len();
    if have > total {
        file.set_len(0)?;
        have = 0;
    }
    file.seek(SeekFrom::Start(have))?;
    Ok((file, have))
}

/// Fetches the rest of a file.
async fn fill(client: &Client, wanted: &Wanted, mut out: File, have: u64, bar: &ProgressBar) -> Result<File> {
    let read = FileRead {
        version: Some(wanted.version),
        range: (have > 0).then_some(have..u64::MAX),
        if_content: (have > 0).then(|| wanted.content_id.clone()),
    };
    let RemoteFile { total, start, content_id, content, .. } = client.read_file(&wanted.path, &read).await?;
    if content_id != wanted.content_id || total != wanted.facts.bytes {
        bail!("{} was changed meanwhile: try again", super::shown(&wanted.path));
    }
    if start != have {
        out.set_len(start)?;
        out.seek(SeekFrom::Start(start))?;
        bar.set_position(bar.position().saturating_sub(have - start));
    }
    let content = SyncIoBridge::new(content);
    let bar = bar.clone();
    tokio::task::spawn_blocking(move || {
        let copied = copy(content, &mut out, &bar)?;
        ensure!(start + copied == total, "the node sent {copied} bytes, and {} were missing", total - start);
        Ok(out)
    })
    .await
    .context("the download's writer failed")?
}

/// Copies to the end, in large pieces. `to` stands at its end; runs of zeros become holes in it.
pub fn copy(mut from: impl Read, to: &mut File, bar: &ProgressBar) -> io::Result<u64> {
    let mut buffer = vec![0; WRITE_LEN];
    let (mut copied, mut filled) = (0, 0);
    loop {
        let read = match from.read(&mut buffer[filled..]) {
            Ok(read) => read,
            Err(error) => {
                // What came is worth keeping.
                write_sparse(to, &buffer[..filled])?;
                end_here(to)?;
                return Err(error);
            }
        };
        filled += read;
        bar.inc(read as u64);
        if read == 0 || filled == buffer.len() {
            write_sparse(to, &buffer[..filled])?;
            copied += filled as u64;
            filled = 0;
        }
        if read == 0 {
            end_here(to)?;
            return Ok(copied);
        }
    }
}

/// Writes bytes at the end of a file, and passes over blocks of zeros, so that they take no room on disk.
fn write_sparse(to: &mut File, bytes: &[u8]) -> io::Result<()> {
    for block in bytes.chunks(HOLE_LEN) {
        if block.len() == HOLE_LEN && block.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(HOLE_LEN as i64))?;
        } else {
            to.write_all(block)?;
        }
    }
    Ok(())
}

/// Lets a file end where it is written to, also behind a hole.
fn end_here(to: &mut File) -> io::Result<()> {
    let end = to.stream_position()?;
    to.set_len(end)
}

/// Gives a file that is whole its time and its executable bit.
pub fn finish(file: &File, facts: &Facts) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    if facts.executable {
        // Whoever may read it may execute it.
        file.set_permissions(fs::Permissions::from_mode(mode | 0o100 | ((mode & 0o044) >> 2)))?;
    } else if mode & 0o111 != 0 {
        file.set_permissions(fs::Permissions::from_mode(mode & !0o111))?;
    }
    set_modified(file, facts.modified_ms)
}

/// Says when a file or folder was modified.
pub fn set_modified(file: &File, modified_ms: i64) -> io::Result<()> {
    let time = Duration::from_millis(modified_ms.unsigned_abs());
    let modified: Option<SystemTime> =
        if modified_ms < 0 { UNIX_EPOCH.checked_sub(time) } else { UNIX_EPOCH.checked_add(time) };
    let Some(modified) = modified else { return Ok(()) };
    match file.set_times(FileTimes::new().set_modified(modified)) {
        // A time that this file system cannot keep is no reason to lose the file.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn attack_24_a_partial_file_that_is_not_ours_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, b"precious").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(open_partial(&link, 100).is_err());
        let hard = dir.path().join("hard");
        fs::hard_link(&other, &hard).unwrap();
        assert!(open_partial(&hard, 100).is_err());
        assert!(open_partial(dir.path(), 100).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }

    #[test]
    fn a_partial_file_is_gone_on_with_unless_it_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("partial");
        let (mut file, have) = open_partial(&partial, 10).unwrap();
        assert_eq!(have, 0);
        file.write_all(b"12345").unwrap();
        let (mut file, have) = open_partial(&partial, 10).unwrap();
        assert_eq!(have, 5);
        file.write_all(b"67890").unwrap();
        assert_eq!(fs::read(&partial).unwrap(), b"1234567890");
        assert_eq!(open_partial(&partial, 9).unwrap().1, 0);
    }

    #[test]
    fn contents_and_targets_do_not_share_partial_files() {
        let target = Path::new("/tmp/a");
        let one = hidden(target, "1").unwrap();
        assert_eq!(one.parent(), Some(Path::new("/tmp")));
        assert_ne!(one, hidden(target, "2").unwrap());
        assert_ne!(one, hidden(Path::new("/tmp/b"), "1").unwrap());
        assert_eq!(one, hidden(target, "1").unwrap());
    }

    #[test]
    fn times_and_bits_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("a")).unwrap();
        for (executable, modified_ms) in [(true, 1_500_000_000_123), (false, -1_500), (true, i64::MAX)] {
            finish(&file, &Facts { bytes: 0, modified_ms, executable }).unwrap();
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o100 != 0, executable);
            if modified_ms < i64::MAX {
                assert_eq!(super::super::tree::facts(&metadata).modified_ms, modified_ms);
            }
        }
    }

    #[test]
    fn zeros_become_holes_and_come_back_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (head, zeros, tail) in
            [(0, 8 << 20, 0), (100, 8 << 20, 7), (HOLE_LEN, 3 * HOLE_LEN, 0), (0, 0, 0), (0, 1, 1)]
        {
            let content = [vec![1; head], vec![0; zeros], vec![2; tail]].concat();
            let copied =
                copy(&content[..], &mut File::create(&path).unwrap(), &ProgressBar::hidden()).unwrap();
            assert_eq!(copied, content.len() as u64);
            assert!(fs::read(&path).unwrap() == content, "{head} {zeros} {tail}");
            if zeros > 1 << 20 {
                assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20, "it takes the disk's room");
            }
        }
    }

    #[test]
    fn what_came_before_an_error_is_written() {
        struct Breaks(usize);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("gone"));
                }
                let len = self.0.min(buffer.len()).min(1000);
                buffer[..len].fill(7);
                self.0 -= len;
                Ok(len)
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let len = WRITE_LEN + 12_345;
        assert!(copy(Breaks(len), &mut File::create(&path).unwrap(), &ProgressBar::hidden()).is_err());
        assert_eq!(fs::read(&path).unwrap(), vec![7; len]);
    }
}
