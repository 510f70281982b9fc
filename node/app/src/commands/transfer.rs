//! Files to and from a running node, as tar streams over its API.
//!
//! Invariant: a file that could not be read whole and unchanged is left out and named, or, if it is too
//! large to wait in memory, ends the upload, and the node then shows nothing of it; a download appears under
//! its final name only when it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::Client;
use commonhold_client::types::{PutReport, Skipped};
use indicatif::ProgressBar;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::drive::fetch;

/// Pieces of an archive on their way to the node that may wait in memory.
const PIECES_MAX: usize = 8;
/// Size of a piece.
const PIECE_LEN: usize = 256 * 1024;
/// Files up to this length are read whole before anything of them is sent, bytes.
const READ_WHOLE_MAX: u64 = 16 << 20;
/// How often a file is read that changes meanwhile.
const READS_MAX: u32 = 4;
/// How long to wait before the second time, and so much longer each time after.
const READ_PAUSE: Duration = Duration::from_millis(60);

/// What an upload will contain: counted before the first byte is sent.
#[derive(Debug, Default)]
pub struct Plan {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is passed over, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    source: PathBuf,
    name: PathBuf,
    folder: bool,
    bytes: u64,
}

impl Plan {
    /// Walks `paths`. Symbolic links and special files inside folders are passed over; so are
    /// direct children of a path that have one of the names in `without`.
    ///
    /// # Errors
    /// When a path is missing or cannot be read, or two have the same name.
    pub fn of(paths: &[PathBuf], without: &[&str]) -> Result<Self> {
        let mut plan = Self::default();
        let mut names = BTreeMap::new();
        for path in paths {
            let full = fs::canonicalize(path).with_context(|| path.display().to_string())?;
            let name = full
                .file_name()
                .with_context(|| format!("{} has no name to store it under", path.display()))?;
            if let Some(other) = names.insert(name.to_owned(), path) {
                bail!("{} and {} have the same name; store one with --to", other.display(), path.display());
            }
            plan.walk(&full, Path::new(name), without)?;
        }
        Ok(plan)
    }

    /// Adds a file of `bytes` bytes or a folder, under its path in the archive.
    pub fn add(&mut self, source: PathBuf, name: PathBuf, folder: bool, bytes: u64) {
        if !folder {
            self.files += 1;
            self.bytes += bytes;
        }
        self.items.push(Item { source, name, folder, bytes });
    }

    /// The regular files: where each is read, and its path in the drive.
    pub fn regular_files(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let files = self.items.iter().filter(|item| !item.folder);
        files.map(|item| (item.source.as_path(), item.name.as_path()))
    }

    /// The names at the drive's root.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.items.iter().map(|item| item.name.as_path()).filter(|name| name.components().count() == 1)
    }

    fn walk(&mut self, root: &Path, name: &Path, without: &[&str]) -> Result<()> {
        let wanted = |entry: &walkdir::DirEntry| {
            entry.depth() != 1 || !without.iter().any(|name| entry.file_name() == *name)
        };
        for entry in walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(wanted) {
            let entry = entry.map_err(|error| anyhow!("{error}"))?;
            let below = entry.path().strip_prefix(root).context("a path left its folder")?;
            let name = if below.as_os_str().is_empty() { name.to_owned() } else { name.join(below) };
            let kind = entry.file_type();
            if kind.is_dir() {
                self.items.push(Item { source: entry.into_path(), name, folder: true, bytes: 0 });
            } else if kind.is_file() {
                let metadata = entry.metadata().map_err(|error| anyhow!("{error}"))?;
                self.files += 1;
                self.bytes += metadata.len();
                let bytes = metadata.len();
                self.items.push(Item { source: entry.into_path(), name, folder: false, bytes });
            } else {
                let what = if kind.is_symlink() { "a symbolic link" } else { "not a regular file" };
                self.skipped.push((entry.into_path(), what.to_owned()));
            }
        }
        Ok(())
    }
}

/// Stores what `plan` names: into folder `to`, and under `new_name` if it is one file or folder. Files that
/// cannot be read, or change each time that they are read, are left out and stand in `skipped` of the answer.
///
/// # Errors
/// The large file that changed while it was sent, or what the node answered.
pub async fn upload(
    client: &Client,
    plan: Plan,
    to: &str,
    new_name: Option<&str>,
    bar: &ProgressBar,
) -> Result<PutReport> {
    let (pieces, archive) = mpsc::channel(PIECES_MAX);
    let bar = bar.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let mut out = Pieces { buffer: Vec::with_capacity(PIECE_LEN), pieces };
        match write_archive(&plan, &mut out, &bar).and_then(|left_out| Ok((out.flush()?, left_out))) {
            Ok(((), left_out)) => Ok(left_out),
            Err(error) => {
                // The node must see an error, never a clean end.
                let _ = out.pieces.blocking_send(Err(io::Error::other("the upload was given up")));
                Err(error)
            }
        }
    });
    let stream = futures::stream::unfold(archive, |mut archive| async move {
        archive.recv().await.map(|piece| (piece, archive))
    });
    let body = StreamReader::new(Box::pin(stream));
    let answer = client.put_archive(to, new_name, body).await;
    match (writer.await.context("the archive writer failed")?, answer) {
        // A refusal by the node ends the stream, which the writer sees as a broken pipe.
        (Err(error), Err(refusal)) if is_broken_pipe(&error) => Err(refusal.into()),
        (Err(error), _) => Err(error),
        (Ok(left_out), answer) => {
            let mut report = answer?;
            report.skipped.extend(left_out);
            Ok(report)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Collects what tar writes into pieces for the channel.
struct Pieces {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<io::Result<io::Cursor<Vec<u8>>>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_LEN - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE_LEN {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_LEN));
        self.pieces.blocking_send(Ok(io::Cursor::new(piece))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes what a plan names; answers what was left out of it.
fn write_archive(plan: &Plan, out: &mut Pieces, bar: &ProgressBar) -> Result<Vec<Skipped>> {
    let mut builder = tar::Builder::new(&mut *out);
    let mut left_out = Vec::new();
    for item in &plan.items {
        let mut header = tar::Header::new_gnu();
        let metadata = match fs::metadata(&item.source) {
            Ok(metadata) => metadata,
            Err(error) => {
                left_out.push(without(item, unreadable(&error)));
                bar.inc(item.bytes);
                continue;
            }
        };
        if item.folder {
            header.set_metadata(&metadata);
            header.set_size(0);
            set_time(&mut builder, &metadata)?;
            builder.append_data(&mut header, &item.name, io::empty())?;
        } else if item.bytes > READ_WHOLE_MAX {
            write_streamed(&mut builder, &mut header, item, bar)?;
        } else {
            match read_whole(&item.source) {
                Ok((metadata, bytes)) => {
                    header.set_metadata(&metadata);
                    header.set_size(bytes.len() as u64);
                    set_time(&mut builder, &metadata)?;
                    builder.append_data(&mut header, &item.name, bytes.as_slice())?;
                }
                Err(why) => left_out.push(without(item, why)),
            }
            bar.inc(item.bytes);
        }
    }
    builder.finish()?;
    Ok(left_out)
}

fn without(item: &Item, why: String) -> Skipped {
    Skipped { path: item.source.display().to_string(), why }
}

/// Why a file or folder is passed over that could not be read.
pub fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// Whether a file is the same before and after it was read, as far as can be told without reading it again.
pub fn is_same(before: &fs::Metadata, after: &fs::Metadata) -> bool {
    let facts = |it: &fs::Metadata| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec());
    facts(before) == facts(after)
}

/// Why a file is passed over that is being written.
pub const CHANGES: &str = "it changed while it was being read; the same command stores it when it is at rest";

/// Reads a file that is the same before and after, or says why there is none.
fn read_whole(source: &Path) -> Result<(fs::Metadata, Vec<u8>), String> {
    for read in 0..READS_MAX {
        std::thread::sleep(READ_PAUSE * read);
        let mut file = File::open(source).map_err(|error| unreadable(&error))?;
        let before = file.metadata().map_err(|error| unreadable(&error))?;
        if !before.is_file() || before.len() > READ_WHOLE_MAX {
            return Err(CHANGES.to_owned());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
        let most = before.len() + 1;
        (&mut file).take(most).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        let after = file.metadata().map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 == before.len() && is_same(&before, &after) {
            return Ok((after, bytes));
        }
    }
    Err(CHANGES.to_owned())
}

/// Writes a file that is too large to be read whole first.
fn write_streamed(
    builder: &mut tar::Builder<&mut Pieces>,
    header: &mut tar::Header,
    item: &Item,
    bar: &ProgressBar,
) -> Result<()> {
    let mut file = File::open(&item.source).with_context(|| item.source.display().to_string())?;
    let before = file.metadata().with_context(|| item.source.display().to_string())?;
    header.set_metadata(&before);
    header.set_size(before.len());
    set_time(builder, &before)?;
    let mut whole = Exactly { left: before.len(), file: &mut file, bar };
    builder.append_data(header, &item.name, &mut whole).map_err(|error| named(error, &item.source))?;
    let left = whole.left;
    let after = file.metadata().with_context(|| item.source.display().to_string())?;
    if left > 0 || !is_same(&before, &after) {
        bail!(
            "{} changed while it was being read; nothing of this put was stored, try again",
            item.source.display()
        );
    }
    Ok(())
}

/// Says when the next entry was modified, where a header's whole seconds are not enough.
fn set_time(builder: &mut tar::Builder<&mut Pieces>, metadata: &fs::Metadata) -> io::Result<()> {
    let (seconds, part) = (metadata.mtime(), metadata.mtime_nsec() / 1_000_000);
    if seconds >= 0 && part == 0 {
        return Ok(());
    }
    let ms = i128::from(seconds) * 1000 + i128::from(part);
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    let text = format!("{sign}{}.{:03}", ms / 1000, ms % 1000);
    builder.append_pax_extensions([("mtime", text.as_bytes())])
}

/// Names the file in an error of reading it; a broken pipe is the node's doing and stays as it is.
fn named(error: io::Error, file: &Path) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        error.into()
    } else {
        anyhow::Error::new(error).context(file.display().to_string())
    }
}

/// Reads as many bytes as the file had when it was opened, and counts them.
struct Exactly<'a> {
    left: u64,
    file: &'a mut File,
    bar: &'a ProgressBar,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

/// What a download wrote.
#[derive(Debug, serde::Serialize)]
pub struct Downloaded {
    /// Where it is now.
    pub path: PathBuf,
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Fetches `path` of the drive to `dest`: a new path, a file to replace, or a folder to put it into.
///
/// # Errors
/// What the node answered, or what could not be written. Nothing half-fetched stays behind.
pub async fn download(
    client: &Client,
    path: &str,
    dest: &Path,
    prefer: Option<&str>,
    bar: &ProgressBar,
) -> Result<Downloaded> {
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("drive");
    let archive = client.get_archive(path, prefer).await?;
    unpack_archive(archive, name, dest, bar).await
}

/// Writes an archive with one root entry to `dest`: a new path, a file to replace, or a folder to put it
/// into under `name`.
///
/// # Errors
/// What ended the archive, or what could not be written. Nothing half-fetched stays behind.
pub async fn unpack_archive(
    archive: impl AsyncRead + Send + 'static,
    name: &str,
    dest: &Path,
    bar: &ProgressBar,
) -> Result<Downloaded> {
    let target = if dest.is_dir() { dest.join(name) } else { dest.to_owned() };
    if target.is_dir() {
        bail!("{} exists already; choose another place", target.display());
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if !parent.is_dir() {
        bail!("{} is not a folder", parent.display());
    }
    let archive: Pin<Box<dyn AsyncRead + Send>> = Box::pin(archive);
    let bridge = SyncIoBridge::new(archive);
    let bar = bar.clone();
    tokio::task::spawn_blocking(move || {
        let partial = Partial::create(&parent)?;
        let mut downloaded = unpack(bridge, &partial.0, &bar)?;
        let mut roots = fs::read_dir(&partial.0)?;
        let root = roots.next().context("the node sent nothing")??;
        if roots.next().is_some() {
            bail!("the node sent more than was asked for");
        }
        fs::rename(root.path(), &target).with_context(|| target.display().to_string())?;
        downloaded.path = target;
        Ok(downloaded)
    })
    .await
    .context("the download's writer failed")?
}

/// A hidden folder beside the target; gone, with what is in it, when dropped.
struct Partial(PathBuf);

impl Partial {
    fn create(parent: &Path) -> Result<Self> {
        let unique = crate::datadir::random_secret();
        let name = format!(".commonhold-partial-{}", data_encoding::HEXLOWER.encode(&unique[..8]));
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| parent.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unpack(archive: impl Read, into: &Path, bar: &ProgressBar) -> Result<Downloaded> {
    let mut archive = tar::Archive::new(archive);
    let mut downloaded = Downloaded { path: into.to_owned(), files: 0, bytes: 0 };
    // A folder's time is set last: writing into it would change it.
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("the node sent the unsafe path {}", name.display());
        }
        let path = into.join(&name);
        let modified = UNIX_EPOCH + Duration::from_secs(entry.header().mtime()?);
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                fs::create_dir(&path)?;
                folders.push((path, modified));
            }
            tar::EntryType::Regular => {
                let mut file = File::create_new(&path)?;
                let copied = fetch::copy(&mut entry, &mut file, bar)?;
                if copied != entry.size() {
                    bail!("the download ended early");
                }
                if entry.header().mode()? & 0o100 != 0 {
                    file.set_permissions(fs::Permissions::from_mode(0o755))?;
                }
                set_modified(&file, modified)?;
                downloaded.files += 1;
                downloaded.bytes += copied;
            }
            other => bail!("the node sent an entry of the unexpected kind {other:?}"),
        }
    }
    // Read on to the end of the stream: an error there means that the archive is not whole.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    for (path, modified) in folders.into_iter().rev() {
        set_modified(&File::open(path)?, modified)?;
    }
    Ok(downloaded)
}

fn set_modified(file: &File, modified: SystemTime) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(modified))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_that_is_never_at_rest_is_left_out_of_an_archive_and_the_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), b"first").unwrap();
        fs::write(dir.path().join("b"), b"second").unwrap();
        let mut plan = Plan::default();
        plan.add(dir.path().join("a"), "a".into(), false, 5);
        // It has other bytes than its length says, each time that it is read.
        plan.add("/proc/self/status".into(), "log".into(), false, 1);
        plan.add(dir.path().join("gone"), "gone".into(), false, 1);
        plan.add(dir.path().join("b"), "b".into(), false, 6);
        let (pieces, mut archive) = mpsc::channel(PIECES_MAX);
        let mut out = Pieces { buffer: Vec::new(), pieces };
        let left_out = write_archive(&plan, &mut out, &ProgressBar::hidden()).unwrap();
        out.flush().unwrap();
        drop(out);
        let (log, gone) = (&left_out[0], &left_out[1]);
        assert_eq!((log.path.as_str(), log.why.as_str(), left_out.len()), ("/proc/self/status", CHANGES, 2));
        assert!(gone.path.ends_with("gone") && gone.why.contains("cannot be read"), "{gone:?}");
        let mut bytes = Vec::new();
        while let Some(piece) = archive.blocking_recv() {
            bytes.extend(piece.unwrap().into_inner());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive.entries().unwrap().map(|it| it.unwrap().path().unwrap().into_owned());
        assert_eq!(names.collect::<Vec<_>>(), [Path::new("a"), Path::new("b")]);
    }
}
