//! `drive …`: other histories, redundancy, uploads that were begun.

use anyhow::{Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{CheckReport, CheckRequest, HeadView, Merged};

use super::{confirm, count, print_warnings, shown, time};
use crate::cli::drive::Drive;
use crate::commands::print_json;
use crate::progress::human;

/// `drive …`
pub async fn drive(client: &Client, command: Drive, json: bool) -> Result<()> {
    match command {
        Drive::Heads => heads(client, json).await,
        Drive::Merge { hash } => {
            let merged = client.merge(&hash).await?;
            print_warnings(&merged.warnings);
            if json { print_json(&merged) } else { print_merged(&merged) }
        }
        Drive::Begin => {
            let done = client.begin().await?;
            if json {
                return print_json(&done);
            }
            println!("nothing is waited for any more: what is stored now is this drive");
            Ok(())
        }
        Drive::Forget { hash, yes } => {
            confirm(&format!("What only the history {} has is given up.", shown(&hash)), yes)?;
            let done = client.forget(&hash).await?;
            if json {
                return print_json(&done);
            }
            println!("forgotten");
            Ok(())
        }
        Drive::Check { path, repair } => {
            let report = client.check_drive(&CheckRequest { path, repair }).await?;
            if json {
                print_json(&report)?;
            } else {
                print_check(&report, repair);
            }
            match report.at_risk_total {
                0 => Ok(()),
                risky => bail!(
                    "{} at risk",
                    if risky == 1 { "1 file is".into() } else { format!("{risky} files are") }
                ),
            }
        }
        Drive::Uploads { abandon } => uploads(client, &abandon, json).await,
    }
}

fn head(it: &HeadView) -> String {
    format!(
        "{}  number {}, written {}: {}, {}",
        shown(it.hash.get(..16).unwrap_or(&it.hash)),
        it.sequence,
        time(it.written_ms),
        count(it.files, "file"),
        human(it.bytes)
    )
}

async fn heads(client: &Client, json: bool) -> Result<()> {
    let view = client.heads().await?;
    if json {
        return print_json(&view);
    }
    match &view.current {
        None => println!("nothing was ever put"),
        Some(current) => {
            let announced = if view.announced { "" } else { "; not announced to the network yet" };
            println!("current  {}{announced}", head(current));
        }
    }
    for fork in &view.forks {
        println!("other    {}", head(fork));
    }
    if !view.forks.is_empty() {
        println!("take another history in with `drive merge HASH`, or give it up with `drive forget HASH`");
    }
    Ok(())
}

fn print_merged(merged: &Merged) -> Result<()> {
    for (what, paths) in
        [("added", &merged.added), ("kept twice", &merged.conflicts), ("in the bin", &merged.removed)]
    {
        for path in paths {
            println!("{what:<10}  {}", shown(path));
        }
    }
    let [added, conflicts, removed] = [&merged.added, &merged.conflicts, &merged.removed].map(Vec::len);
    println!("merged: {added} added, {conflicts} kept twice, {removed} moved to the bin");
    if !merged.with_ancestor {
        println!("both histories' beginning was not known: what only one of them has counts as added");
    }
    Ok(())
}

fn print_check(report: &CheckReport, repair: bool) {
    for it in &report.at_risk {
        let state = match it.margin {
            ..0 => "cannot be read now".to_owned(),
            0 => "one more loss makes it unreadable".to_owned(),
            margin => format!("{} more may be lost", count(margin.unsigned_abs(), "chunk")),
        };
        println!("{}: {state}. {}", shown(&it.path), shown(&it.advice));
    }
    let more = report.at_risk_total.saturating_sub(report.at_risk.len() as u64);
    if more > 0 {
        println!("and {} more", count(more, "file"));
    }
    for it in &report.incomplete {
        println!("{}: {}", shown(&it.path), lacking(it.chunks_lost, it.chunks_unreachable));
    }
    let more = report.incomplete_total.saturating_sub(report.incomplete.len() as u64);
    if more > 0 {
        println!("and {} more that lack chunks", more);
    }
    for it in report.providers.iter().filter(|it| !it.why.is_empty()) {
        let mut words = vec![format!("{} proven", it.chunks_proven)];
        words.extend((it.chunks_counted > 0).then(|| format!("{} only counted", it.chunks_counted)));
        if it.chunks_lost + it.chunks_unreachable > 0 {
            words.push(lacking(it.chunks_lost, it.chunks_unreachable));
        }
        println!("provider {}: {} ({})", shown(&it.peer_id), words.join(", "), shown(&it.why));
    }
    println!(
        "{} in {} ({}) looked at in {:.1} s: {} proven, {}{}{}; {} fetched for it",
        count(report.files, "file"),
        count(report.segments, "segment"),
        count(report.chunks, "chunk"),
        report.seconds,
        report.chunks_proven,
        if report.chunks_counted > 0 {
            format!("{} only counted, ", report.chunks_counted)
        } else {
            String::new()
        },
        lacking(report.chunks_lost, report.chunks_unreachable),
        if repair { format!(", {} made again", report.repaired_chunks) } else { String::new() },
        human(report.fetched_bytes)
    );
    if report.missing_chunks > 0 {
        println!(
            "{}",
            if repair {
                "what is still missing could not be made again: other providers have to take it"
            } else {
                "`commonhold drive check --repair` makes missing chunks again"
            }
        );
    }
}

/// What is missing, in words.
fn lacking(lost: u64, unreachable: u64) -> String {
    match (lost, unreachable) {
        (0, 0) => "none missing".to_owned(),
        (lost, 0) => format!("{} lost", count(lost, "chunk")),
        (0, away) => format!("{} not reachable now", count(away, "chunk")),
        (lost, away) => format!("{} lost, {away} not reachable now", count(lost, "chunk")),
    }
}

async fn uploads(client: &Client, abandon: &[String], json: bool) -> Result<()> {
    for id in abandon {
        client.abort_upload(id).await?;
    }
    let view = client.uploads().await?;
    if json {
        return print_json(&view);
    }
    for it in &view.uploads {
        let bytes = it.parts.iter().map(|part| part.bytes).sum();
        let of = it.attributes.get("upload-length").and_then(|len| len.parse().ok());
        let of = of.map_or_else(String::new, |len| format!(" of {}", human(len)));
        println!("{}  {}  begun {}, {}{of} stored", it.id, shown(&it.path), time(it.begun_ms), human(bytes));
    }
    if view.uploads.is_empty() {
        println!("no upload is under way");
    }
    Ok(())
}
