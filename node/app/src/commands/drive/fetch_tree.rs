//! A folder on its way out of the drive: whole folders as archives, what is missing of others file by file.
//!
//! Invariant: nothing is written outside the folder that is being made, through whatever names or links;
//! a new folder stands under its name only when it is whole, and until then in a hidden folder of this
//! user, which the next call goes on with.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use commonhold_client::{Client, FileRead};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio_util::io::SyncIoBridge;

use super::fetch::{self, HIDDEN, Wanted, hidden, is_own, parent_of};
use super::plan::{Entry, Facts, Fetch, Tree, download};
use super::tree::{self, Remote, checked, facts_of, join, last_name};
use super::{send::LARGE, shown};

/// Single files that are fetched at the same time.
const FILES_AT_ONCE: usize = 16;

/// What a fetch wrote.
#[derive(Debug, serde::Serialize)]
pub struct Fetched {
    /// Where it is now.
    pub path: PathBuf,
    /// Regular files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were here already.
    pub kept_files: u64,
}

/// Fetches the folder `path` of the drive, which was modified at `modified_ms`, to `target`. With `resume`, a folder that is there already is
/// completed; what it has besides stays.
///
/// # Errors
/// What the node answered, or what could not be written.
pub async fn folder(
    client: &Client,
    path: &str,
    modified_ms: i64,
    target: &Path,
    resume: bool,
    bar: &ProgressBar,
) -> Result<Fetched> {
    let remote = tree::remote(client, path).await?;
    let there = fs::symlink_metadata(target).ok();
    let in_place = match &there {
        None => false,
        Some(metadata) if metadata.is_dir() && resume => true,
        Some(metadata) if metadata.is_dir() => {
            bail!("{} exists already; choose another place, or complete it with --resume", target.display())
        }
        Some(_) => bail!("{} exists already, and is no folder", target.display()),
    };
    let work = if in_place { target.to_owned() } else { open_partial(target, path)? };
    let here = tree::local(&work)?.tree;
    if !in_place {
        clear(&work, &here, &remote.tree)?;
    }
    make_folders(&work, &remote.tree)?;
    let wanted = download(&remote.tree, &here, LARGE, last_name(path).is_some());
    let fetched = fetch_all(client, path, &work, &remote.tree, wanted, bar).await;
    let missing = fetched.context(if in_place {
        "the download broke off; the same command goes on where it was"
    } else {
        "the download broke off; what came is kept, and the same command goes on where it was"
    })?;
    set_times(&work, &remote)?;
    if !in_place {
        let done = tree::local(&work)?.tree;
        clear(&work, &done, &remote.tree)?;
        remove_hidden(&work, &remote.tree)?;
        fetch::set_modified(&File::open(&work)?, modified_ms)?;
        fs::rename(&work, target).with_context(|| target.display().to_string())?;
    }
    let files = remote.tree.values().filter(|entry| matches!(entry, Entry::File(_))).count() as u64;
    Ok(Fetched { path: target.to_owned(), files, bytes: remote.bytes, kept_files: files - missing })
}

/// The hidden folder in which a new one is made, which may be there from before.
fn open_partial(target: &Path, path: &str) -> Result<PathBuf> {
    let parent = parent_of(target);
    ensure!(parent.is_dir(), "{} is not a folder", parent.display());
    let partial = hidden(target, path)?;
    match fs::create_dir(&partial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(&partial)?;
            ensure!(metadata.is_dir() && is_own(&metadata), "{} is in the way: remove it", partial.display());
        }
        made => made.with_context(|| partial.display().to_string())?,
    }
    Ok(partial)
}

/// Takes away what an earlier call left behind and the drive does not have (any more).
fn clear(work: &Path, here: &Tree, drive: &Tree) -> Result<()> {
    for (path, entry) in here.iter().rev() {
        let name = path.rsplit('/').next().unwrap_or(path);
        let full = work.join(path);
        match (entry, drive.get(path)) {
            (Entry::Folder, Some(Entry::Folder)) | (Entry::File(_), Some(Entry::File(_))) => {}
            (Entry::File(_), None) if name.starts_with(HIDDEN) => {}
            // From below upwards; one that still has partial files goes later.
            (Entry::Folder, _) => {
                let _ = fs::remove_dir(&full);
            }
            (Entry::File(_), _) => {
                fs::remove_file(&full).with_context(|| full.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// Takes away partial files that nothing goes on with.
fn remove_hidden(work: &Path, drive: &Tree) -> Result<()> {
    for path in tree::local(work)?.tree.keys().rev().filter(|path| !drive.contains_key(*path)) {
        let full = work.join(path);
        let gone = if full.is_dir() { fs::remove_dir(&full) } else { fs::remove_file(&full) };
        gone.with_context(|| full.display().to_string())?;
    }
    Ok(())
}

/// Makes the folders of the tree. A link in the place of one is an error: it could lead anywhere.
fn make_folders(work: &Path, drive: &Tree) -> Result<()> {
    for path in drive.iter().filter(|(_, entry)| matches!(entry, Entry::Folder)).map(|(path, _)| path) {
        let full = work.join(path);
        match fs::create_dir(&full) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                ensure!(
                    fs::symlink_metadata(&full)?.is_dir(),
                    "{} is in the way of a folder",
                    full.display()
                );
            }
            made => made.with_context(|| full.display().to_string())?,
        }
    }
    Ok(())
}

/// Folders' times are set last, the deepest ones first: writing into a folder changes them.
fn set_times(work: &Path, remote: &Remote) -> Result<()> {
    for (path, modified_ms) in remote.folders.iter().rev() {
        let full = work.join(path);
        fetch::set_modified(&File::open(&full)?, *modified_ms).with_context(|| full.display().to_string())?;
    }
    Ok(())
}

/// Fetches what is missing; answers how many files that were.
async fn fetch_all(
    client: &Client,
    root: &str,
    work: &Path,
    drive: &Tree,
    wanted: Vec<Fetch>,
    bar: &ProgressBar,
) -> Result<u64> {
    let mut singles = Vec::new();
    let mut archives = Vec::new();
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for fetch in wanted {
        match fetch {
            Fetch::File(path) => {
                let Some(Entry::File(facts)) = drive.get(&path) else { continue };
                files += 1;
                bytes += facts.bytes;
                singles.push((path, *facts));
            }
            Fetch::Archive(folder) => {
                let below = below(drive, &folder);
                files += below.len() as u64;
                bytes += below.iter().map(|(_, facts)| facts.bytes).sum::<u64>();
                archives.push((folder, below));
            }
        }
    }
    bar.set_length(bytes);
    for (folder, below) in archives {
        archive(client, root, work, &folder, below, bar).await?;
    }
    let (large, small): (Vec<_>, Vec<_>) = singles.into_iter().partition(|(_, facts)| facts.bytes >= LARGE);
    stream::iter(small)
        .map(|(path, facts)| small_file(client, root, work, path, facts, bar))
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    for (path, facts) in large {
        let full = join(root, &path);
        let info = client.info(&full).await?;
        ensure!(facts_of(&info.entry) == facts, "{} was changed meanwhile: try again", shown(&full));
        let wanted = Wanted { path: full, version: info.version, content_id: info.content_id, facts };
        fetch::file(client, &wanted, &work.join(&path), bar).await?;
    }
    Ok(files)
}

/// The files below a folder of the tree.
fn below(drive: &Tree, folder: &str) -> Vec<(String, Facts)> {
    let first = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below = drive.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
    let files = below.filter_map(|(path, entry)| match entry {
        Entry::File(facts) => Some((path.clone(), *facts)),
        Entry::Folder => None,
    });
    files.collect()
}

/// Fetches one file that is not worth going on with.
async fn small_file(
    client: &Client,
    root: &str,
    work: &Path,
    path: String,
    facts: Facts,
    bar: &ProgressBar,
) -> Result<()> {
    let full = join(root, &path);
    let remote = client.read_file(&full, &FileRead::default()).await?;
    ensure!(remote.total == facts.bytes, "{} was changed meanwhile: try again", shown(&full));
    let (content, bar) = (SyncIoBridge::new(remote.content), bar.clone());
    let target = work.join(&path);
    tokio::task::spawn_blocking(move || write_file(content, &target, &facts, &bar))
        .await
        .context("the download's writer failed")?
}

/// Writes a file under its name. What stands there is taken away first, so that a link is not written
/// through; a file that is cut short has another length or time and is fetched again.
fn write_file(content: impl Read, target: &Path, facts: &Facts, bar: &ProgressBar) -> Result<()> {
    let named = || target.display().to_string();
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => bail!("{} is in the way of a file", target.display()),
        Ok(_) => fs::remove_file(target).with_context(named)?,
        Err(_) => {}
    }
    let mut file = File::create_new(target).with_context(named)?;
    let copied = fetch::copy(content, &mut file, bar).with_context(named)?;
    ensure!(copied == facts.bytes, "{} came with another length", target.display());
    fetch::finish(&file, facts).with_context(named)
}

/// Fetches a folder as one archive, and takes from it the files that are wanted.
async fn archive(
    client: &Client,
    root: &str,
    work: &Path,
    folder: &str,
    wanted: Vec<(String, Facts)>,
    bar: &ProgressBar,
) -> Result<()> {
    let path = if folder.is_empty() { root.to_owned() } else { join(root, folder) };
    let stream = SyncIoBridge::new(client.get_archive(&path, None).await?);
    let (work, folder, bar) = (work.to_owned(), folder.to_owned(), bar.clone());
    tokio::task::spawn_blocking(move || unpack(stream, &work, &folder, wanted, &bar))
        .await
        .context("the download's writer failed")?
}

/// Unpacks the archive of `folder`, whose root entry has the folder's own name, into `work`.
fn unpack(
    stream: impl Read,
    work: &Path,
    folder: &str,
    wanted: Vec<(String, Facts)>,
    bar: &ProgressBar,
) -> Result<()> {
    let facts: std::collections::BTreeMap<_, _> = wanted.into_iter().collect();
    let mut missing: BTreeSet<&str> = facts.keys().map(String::as_str).collect();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).context("the node sent a strange name")?;
        let name = name.trim_end_matches('/').to_owned();
        checked(&name)?;
        // The first name is that of the folder, whatever it is called by now.
        let Some((_, relative)) = name.split_once('/') else { continue };
        let relative = if folder.is_empty() { relative.to_owned() } else { format!("{folder}/{relative}") };
        match entry.header().entry_type() {
            tar::EntryType::Directory => {}
            tar::EntryType::Regular => {
                // What came into the folder since it was listed is not asked for.
                let Some(expected) = facts.get(&relative).filter(|_| missing.remove(relative.as_str()))
                else {
                    continue;
                };
                let sent = Facts {
                    bytes: entry.size(),
                    modified_ms: modified_ms(&mut entry)?,
                    executable: entry.header().mode()? & 0o100 != 0,
                };
                ensure!(sent.same(expected), "{} was changed meanwhile: try again", shown(&relative));
                write_file(&mut entry, &work.join(&relative), &sent, bar)?;
            }
            other => bail!("the node sent an entry of the unexpected kind {other:?}"),
        }
    }
    // Read on to the end of the stream: an error there means that the archive is not whole.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    match missing.first() {
        None => Ok(()),
        Some(path) => bail!("{} was changed meanwhile: try again", shown(path)),
    }
}

/// When an entry was modified: as its extension header says, or to the second.
fn modified_ms(entry: &mut tar::Entry<'_, impl Read>) -> Result<i64> {
    let seconds = i64::try_from(entry.header().mtime()?)?;
    let Some(extensions) = entry.pax_extensions()? else { return Ok(seconds.saturating_mul(1000)) };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == b"mtime" {
            let text = extension.value()?;
            return milliseconds(text).with_context(|| format!("the node sent the time {text:?}"));
        }
    }
    Ok(seconds.saturating_mul(1000))
}

/// Seconds with a fraction, as milliseconds; what is finer is cut off.
fn milliseconds(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || fraction.contains('.') {
        return None;
    }
    let part: i64 = fraction.chars().chain("000".chars()).take(3).collect::<String>().parse().ok()?;
    let ms = whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(part)?;
    Some(if negative { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// An archive of these files, each with what is put into its header.
    fn tar_of(files: &[(&str, &[u8], tar::EntryType)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content, kind) in files {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mtime(7);
            header.set_mode(0o644);
            // Past the checks of the builder: a hostile node writes what it likes.
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn wanted(names: &[&str]) -> Vec<(String, Facts)> {
        let facts = Facts { bytes: 3, modified_ms: 7_000, executable: false };
        names.iter().map(|name| ((*name).to_owned(), facts)).collect()
    }

    #[test]
    fn attack_24_an_archive_writes_what_was_asked_for_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        fs::create_dir_all(work.join("sub")).unwrap();
        let file = tar::EntryType::Regular;
        let take = |entries: &[(&str, &[u8], tar::EntryType)], names: &[&str]| {
            unpack(&tar_of(entries)[..], &work, "sub", wanted(names), &ProgressBar::hidden())
        };
        take(
            &[("x/", b"", tar::EntryType::Directory), ("x/a", b"abc", file), ("x/more", b"no!", file)],
            &["sub/a"],
        )
        .unwrap();
        assert_eq!(fs::read(work.join("sub/a")).unwrap(), b"abc");
        assert!(!work.join("sub/more").exists(), "nobody asked for it");
        for name in ["../evil", "/evil", "x/../../evil", "x//a", "x/./a", "x/\u{202e}a", "x/a\u{7f}"] {
            assert!(take(&[(name, b"abc", file)], &["sub/a"]).is_err(), "{name:?}");
        }
        for kind in
            [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Char]
        {
            assert!(take(&[("x/a", b"", kind)], &["sub/a"]).is_err());
        }
        // Another length, a file that is missing, the same one twice, a stream that ends early.
        assert!(take(&[("x/a", b"abcd", file)], &["sub/a"]).is_err());
        assert!(take(&[], &["sub/a"]).is_err());
        take(&[("x/a", b"abc", file), ("x/a", b"xyz", file)], &["sub/a"]).unwrap();
        assert_eq!(fs::read(work.join("sub/a")).unwrap(), b"abc");
        let whole = tar_of(&[("x/a", b"abc", file)]);
        assert!(unpack(&whole[..514], &work, "sub", wanted(&["sub/a"]), &ProgressBar::hidden()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn attack_24_links_are_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (work, other) = (dir.path().join("work"), dir.path().join("other"));
        fs::create_dir(&work).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("precious"), b"1").unwrap();
        std::os::unix::fs::symlink(&other, work.join("sub")).unwrap();
        std::os::unix::fs::symlink(other.join("precious"), work.join("file")).unwrap();
        let drive = Tree::from([("sub".to_owned(), Entry::Folder)]);
        assert!(make_folders(&work, &drive).is_err());
        let facts = Facts { bytes: 3, modified_ms: 0, executable: false };
        write_file(&b"new"[..], &work.join("file"), &facts, &ProgressBar::hidden()).unwrap();
        assert_eq!(fs::read(other.join("precious")).unwrap(), b"1");
        assert_eq!(fs::read(work.join("file")).unwrap(), b"new");
        assert!(write_file(&b"new"[..], &work, &facts, &ProgressBar::hidden()).is_err());
    }

    #[test]
    fn what_the_drive_no_longer_has_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path();
        fs::create_dir_all(work.join("a/old")).unwrap();
        for file in ["a/keep", "a/old/file", "kind", &format!("a/{HIDDEN}1.part")] {
            fs::write(work.join(file), b"123").unwrap();
        }
        let drive = Tree::from([
            ("a".to_owned(), Entry::Folder),
            ("a/keep".to_owned(), Entry::File(Facts { bytes: 3, modified_ms: 0, executable: false })),
            ("kind".to_owned(), Entry::Folder),
        ]);
        clear(work, &tree::local(work).unwrap().tree, &drive).unwrap();
        let hidden = format!("a/{HIDDEN}1.part");
        assert_eq!(tree::local(work).unwrap().tree.into_keys().collect::<Vec<_>>(), ["a", &hidden, "a/keep"]);
        remove_hidden(work, &drive).unwrap();
        assert_eq!(tree::local(work).unwrap().tree.into_keys().collect::<Vec<_>>(), ["a", "a/keep"]);
    }

    #[test]
    fn times_are_read_to_the_millisecond() {
        for (text, ms) in
            [("12", 12_000), ("12.5", 12_500), ("12.3456", 12_345), ("-0.5", -500), ("-1.250", -1_250)]
        {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
        for bad in ["", "-", ".5", "1.2.3", "+1", "1e3", " 1", "9223372036854775807", "--1", "1.-5"] {
            assert_eq!(milliseconds(bad), None, "{bad:?}");
        }
    }
}
