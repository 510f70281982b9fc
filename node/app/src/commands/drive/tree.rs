//! Trees as they are: of folders on this machine, and of folders in the drive.
//!
//! Invariant: every path of a tree consists of names that a drive takes, wherever it came from. What cannot
//! be one is told, not dropped in silence.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{FileEntry, FileKind, LIST_MAX};
use commonhold_format::drive::Name;

use super::plan::{Entry, Facts, Tree};
use crate::commands::transfer::unreadable;

/// What is known of a file on this machine without reading it.
pub fn facts(metadata: &std::fs::Metadata) -> Facts {
    Facts {
        bytes: metadata.len(),
        modified_ms: metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000),
        executable: metadata.permissions().mode() & 0o100 != 0,
    }
}

/// What is below a folder of this machine.
#[derive(Debug, Default)]
pub struct Local {
    /// See there.
    pub tree: Tree,
    /// What is passed over, with the reason.
    pub skipped: Vec<Passed>,
    /// Paths below the folder that could not be read: what is at them or below is not known.
    pub unread: Vec<String>,
}

/// A file or folder of this machine that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub path: PathBuf,
    /// The reason, as a phrase.
    pub why: String,
    /// Whether it should have been stored: it could not be read, or its name is refused. Links and special
    /// files are nothing that a drive keeps.
    pub failed: bool,
}

/// Walks a folder. Symbolic links, special files, names that no drive takes and what cannot be read are
/// passed over.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn local(root: &Path) -> Result<Local> {
    let mut local = Local::default();
    let mut walk = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                unread(&mut local, root, &error)?;
                continue;
            }
        };
        let kind = entry.file_type();
        let name = entry.file_name().to_str().map(Name::new);
        let special = !kind.is_dir() && !kind.is_file();
        let passed = match name {
            _ if kind.is_symlink() => Some(("a symbolic link".to_owned(), false)),
            _ if special => Some(("not a regular file".to_owned(), false)),
            None => Some(("its name is not UTF-8".to_owned(), true)),
            Some(Err(error)) => Some((format!("its name cannot be one in a drive: {}", error.why), true)),
            Some(Ok(_)) => None,
        };
        if let Some((why, failed)) = passed {
            if kind.is_dir() {
                walk.skip_current_dir();
            }
            local.skipped.push(Passed { path: entry.into_path(), why, failed });
            continue;
        }
        let path = entry.path().strip_prefix(root).context("a path left its folder")?;
        let path = path.to_str().context("a name is not UTF-8")?.to_owned();
        let found = if kind.is_dir() {
            Entry::Folder
        } else {
            match entry.metadata() {
                Ok(metadata) => Entry::File(facts(&metadata)),
                Err(error) => {
                    unread(&mut local, root, &error)?;
                    continue;
                }
            }
        };
        local.tree.insert(path, found);
    }
    Ok(local)
}

/// Notes what could not be read. What was removed meanwhile is simply not there.
fn unread(local: &mut Local, root: &Path, error: &walkdir::Error) -> Result<()> {
    let path = match error.path() {
        Some(path) if path != root => path,
        _ => bail!("{error}"),
    };
    let Some(cause) = error.io_error() else { bail!("{error}") };
    if cause.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    let below = path.strip_prefix(root).context("a path left its folder")?;
    local.unread.push(below.to_str().context("a name is not UTF-8")?.to_owned());
    local.skipped.push(Passed { path: path.to_owned(), why: unreadable(cause), failed: true });
    Ok(())
}

/// What is below a folder of the drive, with the times of its folders.
#[derive(Debug, Default)]
pub struct Remote {
    /// See there.
    pub tree: Tree,
    /// When folders were modified, milliseconds since 1970.
    pub folders: Vec<(String, i64)>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Asks for everything below a folder of the drive.
///
/// # Errors
/// What the node answered; also when it names what cannot be below the folder.
pub async fn remote(client: &Client, folder: &str) -> Result<Remote> {
    let mut remote = Remote::default();
    let mut after: Option<String> = None;
    loop {
        let page = client.find(folder, None, after.as_deref(), Some(LIST_MAX)).await?;
        for entry in page.entries {
            let path = below(folder, &entry.path)?;
            let modified_ms = entry.modified_ms;
            let found = match entry.kind {
                FileKind::Folder => {
                    remote.folders.push((path.clone(), modified_ms));
                    Entry::Folder
                }
                FileKind::File => {
                    remote.bytes = remote.bytes.saturating_add(entry.bytes);
                    Entry::File(facts_of(&entry))
                }
            };
            if remote.tree.insert(path, found).is_some() {
                bail!("the node named {} twice", super::shown(&entry.path));
            }
        }
        match page.next {
            None => return Ok(remote),
            next if next == after => bail!("the node's search does not go on"),
            next => after = next,
        }
    }
}

/// What the drive knows of a file.
pub fn facts_of(entry: &FileEntry) -> Facts {
    let FileEntry { bytes, modified_ms, executable, .. } = *entry;
    Facts { bytes, modified_ms, executable }
}

/// A path of the drive, relative to a folder in it; checked name by name, because it becomes one here.
fn below(folder: &str, path: &str) -> Result<String> {
    let relative = path.strip_prefix(folder.trim_end_matches('/')).and_then(|path| path.strip_prefix('/'));
    let relative = relative
        .with_context(|| format!("the node named {}, which was not asked for", super::shown(path)))?;
    checked(relative)?;
    Ok(relative.to_owned())
}

/// Whether every name of a relative path is one that stays where it is put.
///
/// # Errors
/// Which one is not.
pub fn checked(relative: &str) -> Result<()> {
    for name in relative.split('/') {
        Name::new(name)
            .with_context(|| format!("the node sent the unsafe path {}", super::shown(relative)))?;
    }
    Ok(())
}

/// The last name of a path of the drive; none for its root.
pub fn last_name(path: &str) -> Option<&str> {
    path.rsplit('/').find(|name| !name.is_empty())
}

/// A path below a folder of the drive.
pub fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn attack_24_what_a_node_names_stays_below_what_was_asked_for() {
        assert_eq!(below("/a", "/a/b/c").unwrap(), "b/c");
        assert_eq!(below("/", "/a").unwrap(), "a");
        assert_eq!(below("/a/", "/a/b").unwrap(), "b");
        for (folder, path) in [
            ("/a", "/a"),
            ("/a", "/ab/c"),
            ("/a", "/a/../b"),
            ("/a", "/a//b"),
            ("/a", "/a/b/"),
            ("/a", "/a/."),
            ("/a", "/etc/passwd"),
            ("/a", "/a/b\0c"),
            ("/a", "/a/\u{202e}b"),
            ("/a", "a/b"),
        ] {
            assert!(below(folder, path).is_err(), "{folder} {path:?}");
        }
    }

    #[test]
    fn a_folder_is_walked_with_its_empty_folders_and_without_links() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/empty")).unwrap();
        fs::write(root.path().join("a/file"), b"123").unwrap();
        fs::write(root.path().join("bad\nname"), b"").unwrap();
        fs::create_dir(root.path().join("bad\u{202e}folder")).unwrap();
        fs::write(root.path().join("bad\u{202e}folder/file"), b"").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        let local = local(root.path()).unwrap();
        assert_eq!(local.tree.keys().collect::<Vec<_>>(), ["a", "a/empty", "a/file"]);
        assert!(matches!(local.tree["a/file"], Entry::File(Facts { bytes: 3, executable: false, .. })));
        let mut failed: Vec<bool> = local.skipped.iter().map(|it| it.failed).collect();
        failed.sort_unstable();
        assert_eq!(failed, [false, true, true], "a link is no failure: {:?}", local.skipped);
    }
}
