//! `store …`: looking after the lent disk, through the running node or, when none runs, by hand.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::types::{Finding, Storage, StoreCheck};
use commonhold_format::statement::ledger_origin;
use commonhold_ledger::Ledger;
use commonhold_store::{Role, Stop, Store, StoreConfig, rebuild_index};
use serde_json::json;

use super::{connect, print_json};
use crate::api::store_check;
use crate::cli;
use crate::datadir::{DataDir, DataDirError, write_durably};
use crate::loss;
use crate::node::store_config;
use crate::progress::human;
use crate::vault::with_known_id;

/// Runs one of them.
pub async fn run(dir: &Path, command: cli::Store, json: bool) -> Result<()> {
    match command {
        cli::Store::Check => check(dir, json).await,
        cli::Store::RebuildIndex => rebuild(dir, json).await,
        cli::Store::AcceptLoss => accept_loss(dir, json).await,
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

/// The ledger of a data directory on which no node runs.
fn ledger_at_rest(home: &DataDir) -> Result<Ledger> {
    let party = home.root.party_key();
    let origin = ledger_origin(&party.id(), &home.device.node());
    Ok(Ledger::open(&home.places.ledger(), party, origin)?)
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
        Some((home, config)) => {
            let checking = tokio::task::spawn_blocking(move || check_at_rest(&home, config));
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

fn check_at_rest(home: &DataDir, config: StoreConfig) -> Result<StoreCheck> {
    let dir = config.dir.clone();
    if config.known.is_none() && !dir.join("format").exists() {
        bail!("there is no store in {}: no node has run here yet", dir.display());
    }
    let store = Store::open(config)?;
    let mut report = store_check(store.check(&Stop::default())?);
    if home.places.ledger().exists() {
        let ledger = ledger_at_rest(home)?;
        loss::check_owner(&store, &ledger, &dir).map_err(|why| anyhow!(why))?;
        let lost = loss::read_lost(&home.places.lost_contracts()).map_err(|why| anyhow!(why))?;
        for gap in loss::gaps(&store, &ledger).map_err(|why| anyhow!(why))? {
            if !lost.contains(&gap.contract) {
                let why = format!("the store is an older copy: {gap}");
                report.findings.push(Finding { what: format!("contract {}", gap.contract), why });
                report.findings_total += 1;
            }
        }
    }
    Ok(report)
}

async fn accept_loss(dir: &Path, json: bool) -> Result<()> {
    let Some((home, config)) = at_rest(dir)? else {
        bail!("a node runs on {}: stop it first", dir.display());
    };
    let accepting = tokio::task::spawn_blocking(move || give_up_lost(&home, config));
    let (store, lost) = accepting.await.context("giving up broke off")??;
    if json {
        let contracts = lost.iter().map(|gap| {
            json!({ "contract": gap.contract.to_string(), "revision": gap.signed, "held_bytes": gap.held_bytes })
        });
        return print_json(&json!({ "store": store, "lost": contracts.collect::<Vec<_>>() }));
    }
    for gap in &lost {
        println!("contract {}: {} are lost", gap.contract, human(gap.held_bytes));
    }
    println!("this node goes on with store {store}; {} contracts are lost", lost.len());
    Ok(())
}

/// Takes the store that is there for this node's, and what it lacks for lost; answers its id and the
/// contracts.
fn give_up_lost(home: &DataDir, config: StoreConfig) -> Result<(String, Vec<loss::Gap>)> {
    let dir = config.dir.clone();
    if !dir.is_dir() {
        bail!("{} is not there: mount the new disk, or make an empty folder, first", dir.display());
    }
    let ledger = ledger_at_rest(home)?;
    let store = Store::open(StoreConfig { known: None, ..config })?;
    loss::check_owner(&store, &ledger, &dir).map_err(|why| anyhow!(why))?;
    let gaps = loss::gaps(&store, &ledger).map_err(|why| anyhow!(why))?;
    if let Some(own) = gaps.iter().find(|gap| gap.role == Role::Owner) {
        bail!(
            "{} is an older copy: {own}; that is a contract of your own files, whose newer book is lost: restore your files from the recovery phrase in a new data directory",
            dir.display()
        );
    }
    // The id last: until then this is another store than the node's, which is in quarantine.
    let lost = gaps.iter().map(|gap| gap.contract).collect();
    loss::write_lost(&home.places.lost_contracts(), &lost).map_err(|why| anyhow!(why))?;
    let id = store.id().to_string();
    write_durably(&home.places.store_id(), format!("{id}\n").as_bytes(), 0o644)?;
    Ok((id, gaps))
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
