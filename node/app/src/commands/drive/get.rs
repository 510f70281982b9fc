//! `get` and `cat`: files and folders out of the drive.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use commonhold_client::types::{FileInfo, FileKind};
use commonhold_client::{Client, FileRead};
use tokio::io::AsyncReadExt;

use super::fetch::{self, Wanted, parent_of};
use super::fetch_tree::{Fetched, folder};
use super::plan::Facts;
use super::tree::{checked, facts_of, last_name};
use super::{count, shown};
use crate::cli::drive::{ByteRange, Cat, Get};
use crate::commands::{print_json, transfer};
use crate::progress::{bytes_bar, human};

/// Bytes that `cat` writes at a time.
const WRITE_LEN: usize = 64 * 1024;

/// Fetches a file or folder.
pub async fn get(client: &Client, flags: Get, json: bool) -> Result<()> {
    let info = client.info(&flags.path).await?;
    let is_folder = info.entry.kind == FileKind::Folder;
    if is_folder && flags.version.is_some() {
        bail!("{} is a folder, which has no versions", shown(&flags.path));
    }
    if is_folder && !flags.recursive {
        bail!("{} is a folder: add -r to fetch it with all that is in it", shown(&flags.path));
    }
    let name = last_name(&flags.path).unwrap_or("drive");
    checked(name)?;
    let into = flags.dest.is_dir() && !(is_folder && flags.resume && is_itself(&flags.dest, name));
    let target = if into { flags.dest.join(name) } else { flags.dest.clone() };
    if !parent_of(&target).is_dir() {
        bail!("{} is not a folder", parent_of(&target).display());
    }
    let bar = bytes_bar(info.entry.bytes, json);
    let fetched = if let Some(prefer) = &flags.prefer {
        let done = transfer::download(client, &flags.path, &flags.dest, Some(prefer), &bar).await?;
        Fetched { path: done.path, files: done.files, bytes: done.bytes, kept_files: 0 }
    } else if is_folder {
        folder(client, &flags.path, info.entry.modified_ms, &target, flags.resume, &bar).await?
    } else {
        if target.is_dir() {
            bail!("{} exists already, and is a folder", target.display());
        }
        let wanted = wanted(client, &flags, &info).await?;
        bar.set_length(wanted.facts.bytes);
        fetch::file(client, &wanted, &target, &bar).await?;
        Fetched { path: target, files: 1, bytes: wanted.facts.bytes, kept_files: 0 }
    };
    bar.finish_and_clear();
    if json {
        return print_json(&fetched);
    }
    println!("{}", fetched.path.display());
    if fetched.kept_files > 0 {
        let (kept, all) = (fetched.kept_files, count(fetched.files, "file"));
        eprintln!("{kept} of {all} ({}) were here already", human(fetched.bytes));
    }
    Ok(())
}

/// Whether a folder that is there already is what `--resume` completes, and not one to put it into: it is
/// named without a slash at its end, and has nothing of that name in it.
fn is_itself(dest: &Path, name: &str) -> bool {
    let slash = dest.as_os_str().as_encoded_bytes().ends_with(b"/");
    dest.file_name().is_some() && !slash && !dest.join(name).exists()
}

/// The version of a file that is meant.
async fn wanted(client: &Client, flags: &Get, info: &FileInfo) -> Result<Wanted> {
    let Some(number) = flags.version else {
        let facts = facts_of(&info.entry);
        let content_id = info.content_id.clone();
        return Ok(Wanted { path: flags.path.clone(), version: info.version, content_id, facts });
    };
    let versions = client.versions(&flags.path).await?.versions;
    let version = versions.into_iter().find(|it| it.version == number);
    let version =
        version.with_context(|| format!("{} has no version {number}: see `versions`", shown(&flags.path)))?;
    let facts =
        Facts { bytes: version.bytes, modified_ms: version.modified_ms, executable: info.entry.executable };
    Ok(Wanted { path: flags.path.clone(), version: number, content_id: version.content_id, facts })
}

/// Writes a file, or some of it, to standard output.
pub async fn cat(client: &Client, flags: Cat) -> Result<()> {
    let range = match flags.range {
        None => None,
        Some(ByteRange::Part(first, last)) => {
            Some(first..last.map_or(u64::MAX, |last| last.saturating_add(1)))
        }
        Some(ByteRange::Last(len)) => {
            let bytes = match flags.version {
                None => client.info(&flags.path).await?.entry.bytes,
                Some(number) => {
                    let versions = client.versions(&flags.path).await?.versions;
                    let version = versions.iter().find(|it| it.version == number);
                    version.with_context(|| format!("there is no version {number}: see `versions`"))?.bytes
                }
            };
            if len == 0 || bytes == 0 {
                return Ok(());
            }
            Some(bytes.saturating_sub(len)..bytes)
        }
    };
    let read = FileRead { version: flags.version, range, if_content: None };
    let mut file = client.read_file(&flags.path, &read).await?;
    let mut buffer = vec![0; WRITE_LEN];
    loop {
        let read = file.content.read(&mut buffer).await?;
        let mut out = io::stdout().lock();
        let written = if read == 0 { out.flush() } else { out.write_all(&buffer[..read]) };
        match written {
            // Whoever reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if read == 0 {
            return Ok(());
        }
    }
}
