//! The drive's tree as people look at it and change it: `ls`, `find`, `du`, `mv`, `cp`, `mkdir`, `rm`.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{FileEntry, FileKind, LIST_MAX, MoveRequest, Removed, UsageView};
use serde_json::json;

use super::pattern::Pattern;
use super::tree::last_name;
use super::{confirm, count, destination, print_warnings, shown, time};
use crate::cli::drive::{Copy, Find, Kind, Ls, Move, Rm};
use crate::commands::print_json;
use crate::progress::human;

/// One line for one entry.
fn line(entry: &FileEntry, long: bool) -> String {
    let folder = entry.kind == FileKind::Folder;
    let size = if folder { "-".to_owned() } else { human(entry.bytes) };
    let end = if folder { "/" } else { "" };
    let path = shown(&entry.path);
    if !long {
        return format!("{size:>12}  {path}{end}");
    }
    let mode = match (folder, entry.executable) {
        (true, _) => 'd',
        (false, true) => 'x',
        (false, false) => '-',
    };
    format!("{mode} {size:>12}  {}  {path}{end}", time(entry.modified_ms))
}

/// Writes lines; whoever reads may stop.
fn print(lines: impl Iterator<Item = String>) -> Result<bool> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let write = || -> io::Result<()> {
        for line in lines {
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    match write() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lists a folder, page by page.
pub async fn ls(client: &Client, flags: Ls, json: bool) -> Result<()> {
    if json {
        return print_json(&client.list(&flags.path).await?);
    }
    let mut after: Option<String> = None;
    loop {
        let page = client.list_page(&flags.path, after.as_deref(), Some(LIST_MAX)).await?;
        if !print(page.entries.iter().map(|entry| line(entry, flags.long)))? {
            return Ok(());
        }
        match page.next {
            None => return Ok(()),
            next if next == after => bail!("the node's listing does not go on"),
            next => after = next,
        }
    }
}

/// Searches below a folder.
pub async fn find(client: &Client, flags: Find, json: bool) -> Result<()> {
    let pattern = flags.name.as_deref().map(Pattern::of);
    // The node looks for texts; names of a pattern are chosen here.
    let text = match &pattern {
        Some(Pattern::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let wanted = |entry: &FileEntry| {
        let of_kind = match flags.r#type {
            None => true,
            Some(Kind::F) => entry.kind == FileKind::File,
            Some(Kind::D) => entry.kind == FileKind::Folder,
        };
        of_kind && pattern.as_ref().is_none_or(|pattern| pattern.takes(&entry.name))
    };
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client.find(&flags.path, text, after.as_deref(), Some(LIST_MAX)).await?;
        let found = page.entries.into_iter().filter(wanted);
        if json {
            all.extend(found);
        } else if !print(found.map(|entry| line(&entry, false)))? {
            return Ok(());
        }
        match page.next {
            None => break,
            next if next == after => bail!("the node's search does not go on"),
            next => after = next,
        }
    }
    if json { print_json(&json!({ "entries": all })) } else { Ok(()) }
}

/// Sums over what is below a path.
pub async fn du(client: &Client, path: &str, json: bool) -> Result<()> {
    let usage = client.usage(path, true).await?;
    if json {
        return print_json(&usage);
    }
    let line = |it: &UsageView| {
        let kept = match it.versions {
            0 => String::new(),
            versions => {
                format!(", and {} ({})", count(versions, "earlier version"), human(it.versions_bytes))
            }
        };
        format!("{:>12}  {}  {}{kept}", human(it.bytes), shown(&it.path), count(it.files, "file"))
    };
    print(usage.children.iter().chain([&usage]).map(line))?;
    Ok(())
}

/// The two paths of a move or copy, as its words are meant.
async fn request(client: &Client, flags: Move) -> Result<MoveRequest> {
    let name = last_name(&flags.from).context("the drive itself can be neither moved nor copied")?;
    let to = destination(client, &flags.to, name).await?;
    Ok(MoveRequest { to, from: flags.from, replace: flags.replace })
}

/// Moves a file or folder.
pub async fn move_to(client: &Client, flags: Move, json: bool) -> Result<()> {
    let info = client.move_to(&request(client, flags).await?).await?;
    if json {
        return print_json(&info);
    }
    println!("{}", shown(&info.entry.path));
    Ok(())
}

/// Copies a file or folder.
pub async fn copy(client: &Client, flags: Copy, json: bool) -> Result<()> {
    let Copy { paths, recursive } = flags;
    if !recursive && client.info(&paths.from).await?.entry.kind == FileKind::Folder {
        bail!("{} is a folder: add -r to copy it with all that is in it", shown(&paths.from));
    }
    let info = client.copy_to(&request(client, paths).await?).await?;
    if json {
        return print_json(&info);
    }
    println!("{}", shown(&info.entry.path));
    Ok(())
}

/// Makes folders.
pub async fn make_folder(client: &Client, paths: &[String], json: bool) -> Result<()> {
    let mut made = Vec::new();
    for path in paths {
        made.push(client.make_folder(path).await?);
    }
    match made.as_slice() {
        [one] if json => return print_json(one),
        all if json => return print_json(&all),
        all => all.iter().for_each(|info| println!("{}", shown(&info.entry.path))),
    }
    Ok(())
}

/// Removes files and folders.
pub async fn rm(client: &Client, flags: Rm, json: bool) -> Result<()> {
    if flags.forever {
        let what = match flags.paths.as_slice() {
            [path] => shown(path),
            paths => count(paths.len() as u64, "path"),
        };
        confirm(&format!("{what} will be removed for good, earlier versions too."), flags.yes)?;
    }
    let mut removed: Vec<Removed> = Vec::new();
    for path in &flags.paths {
        match client.remove(path, flags.forever).await {
            Ok(one) => {
                print_warnings(&one.warnings);
                if !json {
                    let files = count(one.files, "file");
                    let what = if flags.forever { "removed for good" } else { "moved to the bin:" };
                    println!("{what} {}: {files}, {}", shown(&one.path), human(one.bytes));
                }
                removed.push(one);
            }
            Err(error) if removed.is_empty() => return Err(error.into()),
            Err(error) => {
                let done = count(removed.len() as u64, "path");
                return Err(anyhow::Error::from(error).context(format!("only {done} removed")));
            }
        }
    }
    match removed.as_slice() {
        [one] if json => print_json(one),
        all if json => print_json(&all),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is() {
        let entry = |kind, executable| FileEntry {
            name: "a".into(),
            path: "/a\n".into(),
            kind,
            bytes: 2048,
            modified_ms: 0,
            executable,
        };
        assert_eq!(line(&entry(FileKind::File, false), false), "    2.00 KiB  /a\u{fffd}");
        assert_eq!(line(&entry(FileKind::Folder, false), false), "           -  /a\u{fffd}/");
        assert!(line(&entry(FileKind::File, true), true).starts_with('x'));
        assert!(line(&entry(FileKind::Folder, false), true).starts_with('d'));
    }
}
