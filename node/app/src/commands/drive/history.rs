//! What was: earlier versions of files, and the bin.

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{BinEmptyRequest, BinItem, BinRestoreRequest, FileKind};

use super::{confirm, count, print_warnings, shown, time};
use crate::cli::drive::{Bin, Restore};
use crate::commands::print_json;
use crate::config::Span;
use crate::progress::human;

/// The versions of a file.
pub async fn versions(client: &Client, path: &str, json: bool) -> Result<()> {
    let view = client.versions(path).await?;
    if json {
        return print_json(&view);
    }
    for it in &view.versions {
        let stored = time(i64::try_from(it.version).unwrap_or(i64::MAX));
        let current = if it.current { "  current" } else { "" };
        println!(
            "{}  {:>12}  stored {stored}, modified {}{current}",
            it.version,
            human(it.bytes),
            time(it.modified_ms)
        );
    }
    Ok(())
}

/// Makes an earlier version the current one.
pub async fn restore(client: &Client, flags: Restore, json: bool) -> Result<()> {
    let info = client.restore_version(&flags.path, flags.version).await?;
    if json {
        return print_json(&info);
    }
    println!("{} is as it was in version {}", shown(&info.entry.path), flags.version);
    Ok(())
}

/// `bin …`
pub async fn bin(client: &Client, command: Bin, json: bool) -> Result<()> {
    match command {
        Bin::List => list(client, json).await,
        Bin::Restore { item, to } => {
            let items = client.bin().await?.items;
            let id = chosen(&items, &item)?.id.clone();
            let restored = client.restore_from_bin(&BinRestoreRequest { id, to }).await;
            let info = match restored {
                Err(error) if error.code() == Some("exists") => {
                    bail!("{error}; or put it elsewhere with `bin restore {} --to PATH`", shown(&item))
                }
                restored => restored?,
            };
            if json {
                return print_json(&info);
            }
            println!("{}", shown(&info.entry.path));
            Ok(())
        }
        Bin::Empty { ids, older_than, yes } => {
            let what = if ids.is_empty() {
                "What is in the bin".to_owned()
            } else {
                count(ids.len() as u64, "item")
            };
            confirm(&format!("{what} will be removed for good."), yes)?;
            let request = BinEmptyRequest {
                ids: (!ids.is_empty()).then_some(ids),
                older_than_seconds: older_than.map(|Span(seconds)| seconds),
            };
            let emptied = client.empty_bin(&request).await?;
            print_warnings(&emptied.warnings);
            if json {
                return print_json(&emptied);
            }
            let (items, files) = (count(emptied.items, "item"), count(emptied.files, "file"));
            println!("{items} removed for good: {files}, {}", human(emptied.bytes));
            Ok(())
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let bin = client.bin().await?;
    if json {
        return print_json(&bin);
    }
    for it in &bin.items {
        let what = match it.kind {
            FileKind::File => human(it.bytes),
            FileKind::Folder => format!("{}, {}", count(it.files, "file"), human(it.bytes)),
        };
        println!("{}  {}  {}  {what}", it.id, time(it.removed_ms), shown(&it.path));
    }
    match (bin.items.as_slice(), bin.keep_seconds) {
        ([], _) => println!("the bin is empty"),
        (_, Some(seconds)) => println!("what is removed is kept for {}", Span(seconds)),
        (_, None) => println!("what is removed is kept until the bin is emptied"),
    }
    Ok(())
}

/// The item that an id, or a path, means.
fn chosen<'a>(items: &'a [BinItem], item: &str) -> Result<&'a BinItem> {
    // The list has the newest first.
    let found = items.iter().find(|it| it.id == item).or_else(|| items.iter().find(|it| it.path == item));
    found.with_context(|| format!("{} is not in the bin: see `bin list`", shown(item)))
}
