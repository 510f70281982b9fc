//! `put` and `sync`: what is here, compared with what is in the drive, and the difference sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{FileKind, PutReport, Skipped};
use indicatif::ProgressBar;
use serde::Serialize;

use super::plan::{Entry, Tree, Upload, upload};
use super::send::{Outgoing, send};
use super::tree::{self, Passed, join, last_name};
use super::{count, destination, own_name, print_warnings, shown};
use crate::cli::drive::{Put, Sync};
use crate::commands::print_json;
use crate::progress::{bytes_bar, human};

/// What a put or sync did, as JSON.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    report: PutReport,
    /// Files that were in the drive already.
    unchanged_files: u64,
    /// Paths that were moved to the bin.
    removed: Vec<String>,
    /// Those of `skipped` that should have been stored.
    failed: Vec<String>,
}

/// What is in a folder here, and in its place in the drive, if that is there.
struct Compared {
    here: tree::Local,
    there: Option<Tree>,
}

/// One path that is stored.
struct Source {
    /// Where it is here.
    full: PathBuf,
    /// Its path in the drive.
    target: String,
    folder: bool,
}

/// Stores files and folders.
pub async fn put(client: &Client, flags: Put, json: bool) -> Result<()> {
    let mut sources = sources(&flags)?;
    place(client, &mut sources, flags.to.as_deref()).await?;
    let mut items = Vec::new();
    let mut unchanged = 0;
    let mut passed = Vec::new();
    for source in &sources {
        let metadata = fs::metadata(&source.full).with_context(|| source.full.display().to_string())?;
        if !source.folder {
            let (source, path) = (source.full.clone(), source.target.clone());
            items.push(Outgoing { source, path, folder: false, bytes: metadata.len() });
            continue;
        }
        let Compared { here, there } = compare(client, &source.full, &source.target).await?;
        let new = there.is_none();
        let plan = upload(&here.tree, &there.unwrap_or_default(), false);
        refuse_clashes(&plan, &source.target)?;
        unchanged += plan.unchanged;
        items.extend(outgoing(&source.full, &source.target, &here.tree, &plan, new));
        passed.extend(here.skipped);
    }
    let bytes = items.iter().map(|item| item.bytes).sum();
    let bar = bytes_bar(bytes, json);
    let mut report = send_all(client, items, &bar).await?;
    let failed = all_passed_over(&mut report, passed);
    let is_stored = |source: &Source| source.folder || !failed.contains(&source.full.display().to_string());
    report.stored = sources.into_iter().filter(is_stored).map(|source| source.target).collect();
    report.stored.sort_unstable();
    print_warnings(&report.warnings);
    let done = Done { report, unchanged_files: unchanged, removed: vec![], failed };
    if json {
        print_json(&done)?;
        return done.outcome();
    }
    for path in &done.report.stored {
        println!("{}", shown(path));
    }
    if unchanged > 0 {
        let sent = count(done.report.files, "file");
        eprintln!("{sent} sent ({}), {unchanged} were there already", human(done.report.bytes));
    }
    done.outcome()
}

impl Done {
    /// # Errors
    /// When something is not stored that should be.
    fn outcome(&self) -> Result<()> {
        match self.failed.len() as u64 {
            0 => Ok(()),
            failed => bail!(
                "{} not stored, named above with the reason; all others are in the drive",
                count(failed, "path")
            ),
        }
    }
}

/// Adds what was passed over before anything was sent; answers what should have been stored and is not.
fn all_passed_over(report: &mut PutReport, passed: Vec<Passed>) -> Vec<String> {
    // What was sent to be stored is no link, so all of it that was left out failed.
    let mut failed: Vec<String> = report.skipped.iter().map(|it| it.path.clone()).collect();
    for Passed { path, why, failed: is_failure } in passed {
        let path = path.display().to_string();
        if is_failure {
            failed.push(path.clone());
        }
        report.skipped.push(Skipped { path, why });
    }
    failed.sort_unstable();
    failed
}

/// Makes a folder of the drive like one of this machine.
pub async fn sync(client: &Client, flags: Sync, json: bool) -> Result<()> {
    let full = fs::canonicalize(&flags.dir).with_context(|| flags.dir.display().to_string())?;
    if !full.is_dir() {
        bail!("{} is not a folder: store a file with `put`", flags.dir.display());
    }
    let target = match &flags.path {
        Some(path) => path.clone(),
        None => join("/", own_name(&full)?),
    };
    let Compared { here, there } = compare(client, &full, &target).await?;
    let new = there.is_none();
    let mut plan = upload(&here.tree, &there.unwrap_or_default(), flags.delete);
    // What could not be read may well be there.
    let is_unread = |path: &String| here.unread.iter().any(|unread| is_at_or_below(path, unread));
    plan.remove.retain(|path| !is_unread(path));
    plan.replace.retain(|path| !is_unread(path));
    if flags.dry_run {
        return dry_run(&plan, &target, &here.tree, json);
    }
    refuse_clashes(&plan, &target)?;
    let mut removed = Vec::new();
    let mut warnings = Vec::new();
    for path in &plan.replace {
        let path = join(&target, path);
        warnings.extend(client.remove(&path, false).await?.warnings);
        removed.push(path);
    }
    let items = outgoing(&full, &target, &here.tree, &plan, new);
    let bar = bytes_bar(items.iter().map(|item| item.bytes).sum(), json);
    let mut report = send_all(client, items, &bar).await?;
    // Last: what takes its place is there by now.
    for path in &plan.remove {
        let path = join(&target, path);
        warnings.extend(client.remove(&path, false).await?.warnings);
        removed.push(path);
    }
    report.warnings.extend(warnings);
    report.stored = vec![target.clone()];
    print_warnings(&report.warnings);
    let failed = all_passed_over(&mut report, here.skipped);
    let done = Done { report, unchanged_files: plan.unchanged, removed, failed };
    if json {
        print_json(&done)?;
        return done.outcome();
    }
    println!(
        "{}: {} sent ({}), {} unchanged, {} moved to the bin",
        shown(&target),
        count(done.report.files, "file"),
        human(done.report.bytes),
        done.unchanged_files,
        done.removed.len()
    );
    done.outcome()
}

/// Whether a path is another one or below it.
fn is_at_or_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The paths of the command line, complete and unambiguous.
fn sources(flags: &Put) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in &flags.paths {
        let full = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        let folder = full.is_dir();
        if folder && !flags.recursive {
            bail!("{} is a folder: add -r to store it with all that is in it", path.display());
        }
        if !folder && !full.is_file() {
            bail!("{} is neither a file nor a folder", path.display());
        }
        sources.push(Source { full, target: String::new(), folder });
    }
    Ok(sources)
}

/// Says where each source goes.
async fn place(client: &Client, sources: &mut [Source], to: Option<&str>) -> Result<()> {
    let several = sources.len() > 1;
    let mut targets: BTreeMap<String, PathBuf> = BTreeMap::new();
    for source in sources {
        source.target = match to {
            None => join("/", own_name(&source.full)?),
            Some(to) if several => join(to, own_name(&source.full)?),
            // A new name needs none of its own.
            Some(to) => match own_name(&source.full) {
                Ok(name) => destination(client, to, name).await?,
                Err(_) => to.to_owned(),
            },
        };
        if last_name(&source.target).is_none() {
            bail!("the drive itself has no name: give a path below \"/\"");
        }
        if let Some(other) = targets.insert(source.target.clone(), source.full.clone()) {
            let (one, other) = (other.display(), source.full.display());
            bail!("{one} and {other} have the same name; store one with --to");
        }
    }
    Ok(())
}

async fn compare(client: &Client, full: &Path, target: &str) -> Result<Compared> {
    let root = full.to_owned();
    let here = tokio::task::spawn_blocking(move || tree::local(&root)).await??;
    for Passed { path, why, .. } in &here.skipped {
        eprintln!("passed over {}: {why}", shown(&path.display().to_string()));
    }
    let there = match client.info_if_there(target).await? {
        None => None,
        Some(info) if info.entry.kind == FileKind::Folder => Some(tree::remote(client, target).await?.tree),
        Some(_) => bail!("{} is a file in the drive, and {} a folder", shown(target), full.display()),
    };
    Ok(Compared { here, there })
}

fn refuse_clashes(plan: &Upload, target: &str) -> Result<()> {
    match plan.in_the_way.as_slice() {
        [] => Ok(()),
        [path, others @ ..] => bail!(
            "{} is a file on one side and a folder on the other{}; remove it, or use `sync --delete`",
            shown(&join(target, path)),
            if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) }
        ),
    }
}

/// What is sent of a folder, with the folder itself if it is new.
fn outgoing(full: &Path, target: &str, here: &Tree, plan: &Upload, new: bool) -> Vec<Outgoing> {
    let mut items = Vec::new();
    if new && last_name(target).is_some() {
        items.push(Outgoing { source: full.to_owned(), path: target.to_owned(), folder: true, bytes: 0 });
    }
    let paths = plan.folders.iter().chain(&plan.send);
    let mut paths: Vec<&String> = paths.collect();
    // As they stand in the tree: a folder's files lie together, in the archive and at the providers.
    paths.sort_unstable();
    for path in paths {
        let bytes = match here.get(path) {
            Some(Entry::File(facts)) => Some(facts.bytes),
            _ => None,
        };
        items.push(Outgoing {
            source: full.join(path),
            path: join(target, path),
            folder: bytes.is_none(),
            bytes: bytes.unwrap_or(0),
        });
    }
    items
}

async fn send_all(client: &Client, items: Vec<Outgoing>, bar: &ProgressBar) -> Result<PutReport> {
    let report = send(client, items, bar).await;
    bar.finish_and_clear();
    let report = report?;
    for skipped in &report.skipped {
        eprintln!("passed over {}: {}", shown(&skipped.path), shown(&skipped.why));
    }
    Ok(report)
}

/// Says what a sync would do.
fn dry_run(plan: &Upload, target: &str, here: &Tree, json: bool) -> Result<()> {
    let whole = |paths: &[String]| paths.iter().map(|path| join(target, path)).collect::<Vec<_>>();
    let remove: Vec<String> = whole(&plan.replace).into_iter().chain(whole(&plan.remove)).collect();
    let bytes: u64 = plan
        .send
        .iter()
        .filter_map(|path| match here.get(path) {
            Some(Entry::File(facts)) => Some(facts.bytes),
            _ => None,
        })
        .sum();
    if json {
        return print_json(&serde_json::json!({
            "folders": whole(&plan.folders),
            "send": whole(&plan.send),
            "bytes": bytes,
            "remove": remove,
            "in_the_way": whole(&plan.in_the_way),
            "unchanged_files": plan.unchanged,
        }));
    }
    for (what, paths) in [
        ("folder", whole(&plan.folders)),
        ("send", whole(&plan.send)),
        ("remove", remove),
        ("in the way", whole(&plan.in_the_way)),
    ] {
        for path in paths {
            println!("{what:<10} {}", shown(&path));
        }
    }
    println!(
        "{} would be sent ({}), {} are unchanged; nothing was done",
        count(plan.send.len() as u64, "file"),
        human(bytes),
        plan.unchanged
    );
    Ok(())
}
