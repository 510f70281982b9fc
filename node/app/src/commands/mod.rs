//! What each command does. Most are a call to the running node of the data directory and lines, or
//! one JSON document, about its answer.

mod audit;
mod drive;
mod gateway;
mod ledger;
mod plugin;
mod proofs;
mod questions;
mod store;
pub mod transfer;
mod web;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::Client;
use commonhold_client::types::{RepairRequest, TrafficStatus};
use commonhold_format::keys::RootSecret;
use serde_json::json;
use zeroize::Zeroizing;

use crate::alerts::{Alert, Failure, Hook, Message, Turn};
use crate::cli::{self, Cli, Command};
use crate::config::{ByteSize, Config, DISK_MIN};
use crate::datadir::{DataDir, Places, random_secret, read_api, read_node};
use crate::progress::human;

/// Runs one command.
///
/// # Errors
/// A sentence for the person who typed it.
pub async fn run(cli: Cli) -> Result<()> {
    let dir = cli.data_dir.as_path();
    let json = cli.json;
    match cli.command {
        Command::Init(flags) => init(dir, flags, json),
        Command::Up(flags) => up(dir, flags).await,
        Command::Status => status(&connect(dir)?, json).await,
        Command::Web { open } => web::run(dir, open, json),
        Command::Put(flags) => {
            interruptible(drive::put(&connect(dir)?, flags, json), "the same command goes on where it was")
                .await
        }
        Command::Get(flags) => {
            interruptible(drive::get(&connect(dir)?, flags, json), "the same command goes on where it was")
                .await
        }
        Command::Sync(flags) => {
            interruptible(drive::sync(&connect(dir)?, flags, json), "the same command goes on where it was")
                .await
        }
        Command::Ls(flags) => drive::ls(&connect(dir)?, flags, json).await,
        Command::Find(flags) => drive::find(&connect(dir)?, flags, json).await,
        Command::Du { path } => drive::du(&connect(dir)?, &path, json).await,
        Command::Cat(flags) => drive::cat(&connect(dir)?, flags).await,
        Command::Mkdir { paths, parents: _ } => drive::make_folder(&connect(dir)?, &paths, json).await,
        Command::Mv(flags) => drive::move_to(&connect(dir)?, flags, json).await,
        Command::Cp(flags) => drive::copy(&connect(dir)?, flags, json).await,
        Command::Rm(flags) => drive::rm(&connect(dir)?, flags, json).await,
        Command::Bin(command) => drive::bin(&connect(dir)?, command, json).await,
        Command::Versions { path } => drive::versions(&connect(dir)?, &path, json).await,
        Command::Restore(flags) => drive::restore(&connect(dir)?, flags, json).await,
        Command::Share(flags) => drive::share(&connect(dir)?, flags, json).await,
        Command::Shares => drive::shares(&connect(dir)?, json).await,
        Command::Unshare { id } => drive::unshare(&connect(dir)?, &id, json).await,
        Command::Open(flags) => drive::open(&connect(dir)?, flags, json).await,
        Command::Drive(command) => drive::drive(&connect(dir)?, command, json).await,
        Command::S3 { command } => drive::s3(&connect(dir)?, command, json).await,
        Command::Gateway(command) => gateway::run(dir, command, json),
        Command::Peers => peers(&connect(dir)?, json).await,
        Command::Audit(command) => audit::run(dir, command, json).await,
        Command::Repair(cli::Repair::Now { absent_after }) => {
            let absent_after_seconds = Some(absent_after.map_or(0, |span| span.0));
            repair(&connect(dir)?, RepairRequest { absent_after_seconds }, json).await
        }
        Command::Store(command) => store::run(dir, command, json).await,
        Command::Ledger(command) => ledger::run(dir, command, json).await,
        Command::Plugin(command) => plugin::run(dir, command, json).await,
        Command::Alerts(cli::Alerts::Test) => try_alerts(dir, json).await,
        Command::Devnet(flags) => crate::devnet::run(flags).await,
        Command::Demo(flags) => crate::demo::run(flags).await,
    }
}

/// Resolves at Ctrl-C or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

/// Runs a transfer; on Ctrl-C gives it up and says what that means.
async fn interruptible(work: impl Future<Output = Result<()>>, consequence: &str) -> Result<()> {
    tokio::select! {
        outcome = work => outcome,
        () = stop_signal() => Err(anyhow!("interrupted: {consequence}; what was there before is untouched")),
    }
}

/// A client for the node that runs on `dir`.
fn connect(dir: &Path) -> Result<Client> {
    let Some((url, token)) = read_api(&Places::new(dir))? else {
        bail!("no node is running for {0}: start it with `commonhold --data-dir {0} up`", dir.display());
    };
    Ok(Client::new(&url, &token)?)
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

fn init(dir: &Path, mut flags: cli::Init, json: bool) -> Result<()> {
    let is_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_person && !json && !flags.defaults {
        questions::ask(&mut flags, &mut std::io::stdin().lock(), &mut std::io::stdout())?;
    }
    let root = if flags.restore {
        RootSecret::from_phrase(&read_phrase()?)?
    } else {
        RootSecret::from_bytes(*random_secret())
    };
    let mut config = Config::default();
    if let Some(disk) = flags.provide {
        if disk.0 < DISK_MIN {
            bail!("--provide {disk}: at least {} are needed to lend", ByteSize(DISK_MIN));
        }
        config.provider.enabled = true;
        config.provider.disk = disk;
    }
    if let Some(folder) = flags.store_dir {
        config.store.dir = std::path::absolute(folder)?;
    }
    config.network.bootstrap = flags.bootstrap;
    if !flags.listen.is_empty() {
        config.network.listen = flags.listen;
    }
    if let Some(api) = flags.api {
        config.api.listen = api;
    }
    DataDir::init(dir, &root, &config)?;
    if flags.restore {
        commonhold_drive::await_head(&Places::new(dir).drive())?;
    }
    let file = Places::new(dir).config();
    let phrase = (!flags.restore).then(|| root.phrase());
    if json {
        return print_json(&json!({
            "data_dir": dir,
            "config": file,
            "party": root.party_key().id().to_string(),
            "phrase": phrase.as_deref(),
        }));
    }
    println!("made {}", dir.display());
    println!("configuration: {}", file.display());
    if let Some(phrase) = phrase {
        println!();
        println!("Recovery phrase: whoever has these 24 words has your files and credits. Without them,");
        println!("nobody can bring them back. Write them down now; they are not shown again.");
        println!();
        let words: Vec<&str> = phrase.split(' ').collect();
        for (line, row) in words.chunks(6).enumerate() {
            let numbered: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(at, word)| format!("{:>2} {word:<9}", line * 6 + at + 1))
                .collect();
            println!("  {}", numbered.join(" ").trim_end());
        }
        println!();
    }
    println!("next: commonhold --data-dir {} up", dir.display());
    Ok(())
}

/// The phrase from the terminal without echo, or from standard input. Never from an argument.
fn read_phrase() -> Result<Zeroizing<String>> {
    const PHRASE_LEN_MAX: u64 = 1024;
    if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("recovery phrase (24 words): ")?;
        return Ok(Zeroizing::new(typed));
    }
    let mut phrase = Zeroizing::new(String::new());
    std::io::stdin().take(PHRASE_LEN_MAX).read_to_string(&mut phrase).context("the phrase cannot be read")?;
    Ok(phrase)
}

async fn up(dir: &Path, flags: cli::Up) -> Result<()> {
    let stop = async move {
        if flags.stop_with_stdin {
            tokio::select! {
                () = stop_signal() => {}
                () = end_of_stdin() => {}
            }
        } else {
            stop_signal().await;
        }
    };
    crate::node::run(dir, stop).await
}

/// Sends a message to the operator's address, as the configuration says now.
async fn try_alerts(dir: &Path, json: bool) -> Result<()> {
    let places = Places::new(dir);
    let config = Config::load(&places.config())?;
    let Some(hook) = Hook::of(&config.alerts, dir).map_err(|why| anyhow!(why))? else {
        bail!("alerts are sent nowhere: set url under [alerts] in {}", places.config().display());
    };
    let now = crate::clock::unix_seconds();
    let node = read_node(&places)?.to_string();
    let sentence = "This is a test of alerts.";
    let message = Message::new(&node, Alert::Test, Turn::Began, now, now, sentence);
    match hook.send(&message).await {
        Ok(()) if json => print_json(&json!({ "sent": message })),
        Ok(()) => {
            println!("the message was taken");
            Ok(())
        }
        Err(Failure::Later(why)) => bail!("the message was not taken, and a node would try again: {why}"),
        Err(Failure::Never(why)) => bail!("the message was not taken: {why}"),
    }
}

async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel();
    // A thread of its own: a read of standard input cannot be cancelled.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

async fn status(client: &Client, json: bool) -> Result<()> {
    let status = client.status().await?;
    if json {
        return print_json(&status);
    }
    println!("{} node {}", status.role.as_str(), status.peer_id);
    println!("party      {}", status.party);
    println!("up for     {} s, version {}", status.uptime_seconds, status.version);
    println!("local API  {}", status.api);
    for address in &status.addresses {
        println!("address    {address}");
    }
    let refused = match status.connections_refused {
        0 => String::new(),
        count => format!(", {count} connections refused by the transport policy"),
    };
    println!("peers      {} connected{refused}", status.peers_connected);
    println!("contracts  {}", status.contracts);
    if let Some(storage) = status.storage {
        println!("disk       {}, {} chunks", storage.accounts(human), storage.chunks);
    }
    if let Some(scrub) = status.scrub {
        let last =
            scrub.lap_ended.map_or_else(String::new, |ended| format!(", the last one ended {}", ago(ended)));
        let now = match scrub.began {
            Some(began) => format!("{} read since {}", human(scrub.done_bytes), ago(began)),
            None => "resting".to_owned(),
        };
        println!(
            "scrub      {now}; {} times through everything{last}; {} chunks rotten",
            scrub.laps, scrub.rot
        );
    }
    if let Some(drive) = status.drive {
        println!(
            "drive      version {}, {} segments, {} lack a chunk, {} forks",
            drive.sequence, drive.segments, drive.degraded_segments, drive.forks
        );
    }
    print_traffic(&status.traffic);
    println!("ledger     {} notes, root {}", status.ledger.size, status.ledger.root);
    for it in &status.standings {
        println!("provider   {} {}{}: {}", it.provider, it.state, since(it.since), it.reason);
        println!("           last audit {}: {}. {}", it.epoch, it.outcome.as_str(), it.what_to_do);
    }
    if let Some(audits) = &status.audits_here {
        println!(
            "audits     in {} days {} passed, {} wrong bytes, {} no answer, {} in quarantine",
            audits.days, audits.passed, audits.wrong_bytes, audits.no_answer, audits.quarantined
        );
        if let Some(it) = &audits.last_failed {
            println!(
                "           {}, {}: {}, {} chunks. {}",
                it.outcome.as_str(),
                ago(it.time),
                it.owner,
                it.lost_chunks,
                it.what_to_do
            );
        }
    }
    if status.problems.is_empty() {
        println!("no problems");
    }
    for problem in &status.problems {
        println!("problem    {problem}");
    }
    Ok(())
}

/// What chunks took of the line, when they took anything, and its limits.
fn print_traffic(traffic: &TrafficStatus) {
    if traffic.sent_this_month_bytes > 0 || traffic.received_this_month_bytes > 0 {
        println!(
            "traffic    today {} sent, {} received; this month {} and {}",
            human(traffic.sent_today_bytes),
            human(traffic.received_today_bytes),
            human(traffic.sent_this_month_bytes),
            human(traffic.received_this_month_bytes)
        );
    }
    if traffic.hedged_chunks > 0 {
        println!("           {} chunks asked for because others were slow", traffic.hedged_chunks);
    }
    let limits = [
        ("sending", traffic.upload_limit_bytes_per_second),
        ("receiving", traffic.download_limit_bytes_per_second),
    ];
    for (what, limit) in limits {
        if let Some(limit) = limit {
            println!("limit      {what} at most {} per second", human(limit));
        }
    }
}

/// How long ago a time was.
fn ago(seconds: u64) -> String {
    let passed = crate::clock::unix_seconds().saturating_sub(seconds);
    match passed {
        0..120 => format!("{passed} s ago"),
        120..7200 => format!("{} min ago", passed / 60),
        7200..172_800 => format!("{} h ago", passed / 3600),
        _ => format!("{} days ago", passed / 86_400),
    }
}

/// Since when a provider stands as it does; nothing for one that never stood otherwise.
fn since(seconds: u64) -> String {
    if seconds == 0 { String::new() } else { format!(" since {}", ago(seconds)) }
}

async fn peers(client: &Client, json: bool) -> Result<()> {
    let peers = client.peers().await?;
    if json {
        return print_json(&peers);
    }
    for peer in &peers {
        let link = match (&peer.transport, peer.round_trip_ms) {
            (Some(transport), Some(ms)) => format!("{transport}, {ms} ms"),
            (Some(transport), None) => transport.clone(),
            (None, _) => "not connected".to_owned(),
        };
        let offer = peer
            .free_bytes
            .map_or_else(|| "lends nothing".to_owned(), |free| format!("{} free", human(free)));
        let price = peer.prices.map_or_else(String::new, |it| {
            format!(", {} a GiB and month", ledger::credits(it.storage_microcredits_per_gib_month.into()))
        });
        let region = peer.region.as_ref().map_or_else(String::new, |region| format!(", {region}"));
        println!("{}  {link:<14}  {offer}{price}{region}", peer.peer_id);
    }
    Ok(())
}

async fn repair(client: &Client, request: RepairRequest, json: bool) -> Result<()> {
    let report = client.repair(&request).await?;
    if json {
        print_json(&report)?;
    } else {
        println!(
            "{} of {} segments have all their chunks; {} chunks ({}) were made again in {} segments",
            report.full,
            report.segments,
            report.rebuilt_chunks,
            human(report.rebuilt_bytes),
            report.repaired_segments
        );
    }
    if report.lost > 0 {
        bail!("{} segments have too few chunks left to be read now", report.lost);
    }
    if report.at_risk > 0 {
        bail!("{} segments still lack chunks: connect to more providers and repair again", report.at_risk);
    }
    Ok(())
}

async fn ledger(client: &Client, from: u64, count: u64, json: bool) -> Result<()> {
    let view = client.ledger(from, usize::try_from(count)?).await?;
    if json {
        return print_json(&view);
    }
    for entry in &view.entries {
        println!("{:>6}  {}", entry.index, entry.summary);
    }
    println!("{} notes, root {}", view.size, view.root);
    for balance in &view.balances {
        println!(
            "{} microcredits from {} (receipt {}, {} audits passed, {} failed)",
            balance.owed_to_me_microcredits,
            balance.counterparty,
            balance.receipt_sequence,
            balance.audits_passed,
            balance.audits_failed
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_provider_that_never_stood_otherwise_has_no_time_since_when() {
        assert_eq!(super::since(0), "");
        assert_eq!(super::since(u64::MAX), " since 0 s ago");
    }
}
