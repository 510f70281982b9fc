//! `store …`: looking after the lent disk, through the running node or, when none runs, by hand.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::types::{Finding, Storage, StoreCheck};
use commonhold_store::{Stop, Store, StoreConfig, rebuild_index};
use serde_json::json;

use super::{connect, print_json};
use crate::api::store_check;
use crate::cli;
use crate::datadir::{DataDir, DataDirError};
use crate::node::store_config;
use crate::progress::human;
use crate::vault::with_known_id;

/// Runs one of them.
pub async fn run(dir: &Path, command: cli::Store, json: bool) -> Result<()> {
    match command {
        cli::Store::Check => check(dir, json).await,
        cli::Store::RebuildIndex => rebuild(dir, json).await,
        cli::Store::Compact => compact(dir, json).await,
        cli::Store::Scrub => scrub(dir, json).await,
    }
}

/// The data directory and its store's configuration, or none while a node runs on it.
fn at_rest(dir: &Path) -> Result<Option<(DataDir, StoreConfig)>> {
    let home = match DataDir::open(dir) {
        Ok(home) => home,
        Err(DataDirError::Locked(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let config = store_config(&home.config, &home.places);
    let config = with_known_id(config, &home.places.store_id()).map_err(|why| anyhow!(why))?;
    Ok(Some((home, config)))
}

/// Bytes to the last one: these are accounts.
fn accounts(storage: &Storage) -> String {
    storage.accounts(|bytes| bytes.to_string())
}

fn print_findings(findings: &[Finding]) {
    for finding in findings {
        println!("{}: {}", finding.what, finding.why);
    }
}

async fn check(dir: &Path, json: bool) -> Result<()> {
    let report = match at_rest(dir)? {
        None => connect(dir)?.check_store().await?,
        Some((_home, config)) => {
            let checking = tokio::task::spawn_blocking(move || -> Result<StoreCheck> {
                if !config.dir.exists() && config.known.is_none() {
                    bail!("{} does not exist: no node has run here yet", config.dir.display());
                }
                let store = Store::open(config)?;
                Ok(store_check(store.check(&Stop::default())?))
            });
            checking.await.context("the check broke off")??
        }
    };
    if json {
        print_json(&report)?;
    } else {
        print_findings(&report.findings);
        println!(
            "{} in {} packs read; {} chunks and the inventories of {} contracts checked; {} records are dead",
            human(report.bytes),
            report.packs,
            report.chunks,
            report.contracts,
            report.dead_records
        );
        println!("{}", accounts(&report.storage));
    }
    if report.findings_total > 0 {
        bail!("{} things are wrong in this store", report.findings_total);
    }
    Ok(())
}

async fn rebuild(dir: &Path, json: bool) -> Result<()> {
    let Some((_home, config)) = at_rest(dir)? else {
        bail!("a node runs on {}: stop it first", dir.display());
    };
    let rebuilding = tokio::task::spawn_blocking(move || rebuild_index(&config));
    let report = rebuilding.await.context("the rebuild broke off")??;
    let findings: Vec<Finding> =
        report.findings.into_iter().map(|finding| Finding { what: finding.what, why: finding.why }).collect();
    if json {
        print_json(&json!({
            "packs": report.packs,
            "book_records": report.book_records,
            "contracts": report.contracts,
            "chunks": report.chunks,
            "trash_chunks": report.trash_chunks,
            "segments": report.segments,
            "findings": findings,
        }))?;
    } else {
        print_findings(&findings);
        println!(
            "the index is made anew from {} packs: {} contracts, {} chunks, {} in the trash, {} segments of this owner",
            report.packs, report.contracts, report.chunks, report.trash_chunks, report.segments
        );
    }
    if !findings.is_empty() {
        bail!("{} things are damaged or lost", findings.len());
    }
    Ok(())
}

async fn compact(dir: &Path, json: bool) -> Result<()> {
    let done = connect(dir)?.compact_store().await?;
    if json {
        return print_json(&done);
    }
    println!(
        "{} freed, {} copied for it",
        human(done.deleted_bytes.saturating_sub(done.copied_bytes)),
        human(done.copied_bytes)
    );
    println!("{}", accounts(&done.storage));
    Ok(())
}

async fn scrub(dir: &Path, json: bool) -> Result<()> {
    let found = connect(dir)?.scrub_store().await?;
    if json {
        print_json(&found)?;
    } else {
        for rot in &found.rot {
            println!("chunk {}: {}", rot.what, rot.why);
        }
        println!("{} read, {} chunks checked, {} mended", human(found.bytes), found.chunks, found.mended);
    }
    if !found.rot.is_empty() {
        bail!("{} chunks have rotted; their owners are told", found.rot.len());
    }
    Ok(())
}
