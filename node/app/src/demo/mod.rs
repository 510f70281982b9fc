//! `demo`: the whole life of some files on a local network of real processes, every step verified.
//!
//! Invariant: the line `demo: ok` is printed only after each step's own check passed; every check
//! looks at what nodes answered or at what is on disk, never at what this module remembers having
//! done. Whatever happens, the processes it started and the folder it made are gone at the end.

mod audit_plan;
mod ledger;
mod source;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use commonhold_client::types::{AuditOutcome, AuditReport, AuditRequest, RepairRequest};

use crate::cli::Demo;
use crate::commands::transfer::{Plan, download, upload};
use crate::config::ByteSize;
use crate::datadir::random_secret;
use crate::devnet::Network;
use crate::progress::{bytes_bar, human};
use source::Digests;

/// Providers, as many as the code of a small network has chunks.
const PROVIDERS: usize = 6;
/// How many of them are killed: all that the code can spare.
const KILLED: usize = 4;
/// What each lends; sparse, so it takes no more disk than is stored.
const DISK: ByteSize = ByteSize(1 << 40);
/// How long things that settle by themselves may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo.
///
/// # Errors
/// The step that did not verify, and why.
pub async fn run(flags: Demo) -> Result<()> {
    let folder = Folder::create(flags.keep)?;
    let dir = folder.path.clone();
    // The story owns its nodes: when Ctrl-C drops it, they are killed with it.
    let outcome = tokio::select! {
        outcome = story(dir, flags.files) => outcome,
        () = crate::commands::stop_signal() => Err(anyhow::anyhow!("interrupted; its nodes are stopped and its folder is removed")),
    };
    drop(folder);
    match outcome {
        Ok(()) => {
            println!("demo: ok");
            Ok(())
        }
        Err(error) => Err(error.context("demo: failed")),
    }
}

/// The folder of the demo's network; removed at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn create(keep: bool) -> Result<Self> {
        let unique = data_encoding::HEXLOWER.encode(&random_secret()[..6]);
        let path = std::env::temp_dir().join(format!("commonhold-demo-{unique}"));
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            println!("kept {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Numbers the steps and says how long each took.
struct Steps {
    number: u32,
    begun: Instant,
}

impl Steps {
    fn next(&mut self, title: &str) {
        self.number += 1;
        println!("{}. {title}", self.number);
    }

    fn done(&self, what: &str) {
        println!("   {what} [{:.1} s]", self.begun.elapsed().as_secs_f64());
    }
}

async fn story(dir: PathBuf, files: Vec<PathBuf>) -> Result<()> {
    let mut steps = Steps { number: 0, begun: Instant::now() };
    let plan = source::plan(&files)?;
    let digests = Digests::of(&plan)?;

    steps.next("start six providers and one owner, each its own process");
    let mut network = Network::start(&dir, PROVIDERS, DISK, false).await?;
    network.wait_for_providers(PROVIDERS).await?;
    check_listeners(&network).await?;
    steps.done("all listen on QUIC and TCP and found each other through one address and the DHT");

    steps.next("seal, code 2 of 6, place and store");
    let (count, bytes) = (plan.files, plan.bytes);
    let stored = put(&network, plan).await?;
    ensure!(stored.0 == count, "{} of {count} files were stored", stored.0);
    steps.done(&format!("{count} files, {}, in {} segments, each chunk signed for", human(bytes), stored.1));

    steps.next("challenge every provider: 64 leaves over everything it holds");
    let audits = audit(&network, None).await?;
    expect(&audits, PROVIDERS, 0)?;
    steps.done(&format!("{PROVIDERS} of {PROVIDERS} proofs verified"));

    steps.next("kill four providers (SIGKILL) and read every file back from the two that are left");
    for member in network.providers.iter_mut().take(KILLED) {
        member.child.kill()?;
    }
    let read = read_back(&network, &dir.join("after-kill"), &digests, None).await?;
    steps.done(&format!("{read} files read, every SHA-256 is the same"));

    steps.next("start four fresh providers and repair from ciphertext alone");
    for number in 1..=KILLED {
        network.add_provider(PROVIDERS + number, DISK).await?;
    }
    network.wait_for_providers(PROVIDERS).await?;
    let report = repair(&network).await?;
    steps.done(&format!(
        "{} chunks ({}) made again; {} of {} segments have six chunks",
        report.rebuilt_chunks,
        human(report.rebuilt_bytes),
        report.full,
        report.segments
    ));
    let audits = audit(&network, None).await?;
    expect(&audits, PROVIDERS, KILLED)?;
    steps.done(&format!("{PROVIDERS} proofs verified, the {KILLED} killed providers are offline"));

    steps.next("flip one byte on one provider's disk");
    let victim = &network.providers[KILLED];
    let target = audit_plan::largest_chunk(&network.owner.client, &victim.entry.peer_id).await?;
    audit_plan::flip_byte(&victim.child.dir, &target)?;
    steps.done(&format!("byte flipped in chunk {}… of {}", &target.chunk[..12], human(target.len)));
    let read = read_back(&network, &dir.join("after-flip"), &digests, Some(&victim.entry.peer_id)).await?;
    wait_for_degraded(&network).await?;
    steps.done(&format!("a read through that provider caught it; {read} files are right from the others"));
    let caught = audit(&network, Some(audit_plan::request(&victim.entry.peer_id, &target)?)).await?;
    let [one] = caught.audits.as_slice() else { bail!("{} audits instead of one", caught.audits.len()) };
    ensure!(
        one.outcome == AuditOutcome::WrongBytes && one.lost_chunks == [target.chunk.clone()],
        "the audit did not name the damaged chunk: {}",
        one.reason
    );
    steps.done(&format!("the next audit caught it: {} ({})", one.outcome.as_str(), target.odds()));
    let report = repair(&network).await?;
    ensure!(report.rebuilt_chunks == 1, "{} chunks were made again instead of one", report.rebuilt_chunks);
    let audits =
        audit(&network, Some(AuditRequest { provider: Some(victim.entry.peer_id.clone()), nonce: None }))
            .await?;
    expect(&audits, 1, 0)?;
    steps.done("the chunk was made again and the provider proves it");

    steps.next("the signed ledger and each provider's credits");
    ledger::show(&network, KILLED).await?;
    steps.done("every checkpoint verified, the two sides of every contract agree");

    tokio::task::spawn_blocking(move || network.stop()).await?;
    Ok(())
}

/// Every node must really listen on both transports.
async fn check_listeners(network: &Network) -> Result<()> {
    for member in network.providers.iter().chain(std::iter::once(&network.owner)) {
        let addresses = member.client.status().await?.addresses;
        for transport in ["/quic-v1", "/tcp/"] {
            ensure!(
                addresses.iter().any(|address| address.contains(transport)),
                "{} does not listen on {transport}",
                member.entry.peer_id
            );
        }
    }
    Ok(())
}

/// Stores what is planned; answers files and segments.
async fn put(network: &Network, plan: Plan) -> Result<(u64, u64)> {
    let bar = bytes_bar(plan.bytes, false);
    let report = upload(&network.owner.client, plan, "/", None, &bar).await?;
    bar.finish_and_clear();
    for warning in &report.warnings {
        println!("   note: {warning}");
    }
    Ok((report.files, report.segments))
}

async fn audit(network: &Network, request: Option<AuditRequest>) -> Result<AuditReport> {
    Ok(network.owner.client.audit(&request.unwrap_or_default()).await?)
}

fn expect(report: &AuditReport, passed: usize, offline: usize) -> Result<()> {
    let count = |outcome| report.audits.iter().filter(|audit| audit.outcome == outcome).count();
    for audit in report.audits.iter().filter(|audit| audit.outcome == AuditOutcome::Passed) {
        println!("   {}  {} leaves over {}: passed", audit.provider, audit.leaves, human(audit.held_bytes));
    }
    let (found, away) = (count(AuditOutcome::Passed), count(AuditOutcome::Offline));
    if found != passed || away != offline || report.audits.len() != passed + offline {
        for audit in &report.audits {
            println!("   {}  {}: {}", audit.provider, audit.outcome.as_str(), audit.reason);
        }
        bail!("{found} audits passed and {away} were offline; {passed} and {offline} were expected");
    }
    Ok(())
}

/// Fetches everything and compares each file with its source; answers how many there were.
async fn read_back(network: &Network, into: &Path, digests: &Digests, prefer: Option<&str>) -> Result<usize> {
    std::fs::create_dir(into)?;
    let bar = bytes_bar(digests.bytes, false);
    for root in &digests.roots {
        download(&network.owner.client, &format!("/{root}"), into, prefer, &bar).await?;
    }
    bar.finish_and_clear();
    let compared = digests.compare(into)?;
    std::fs::remove_dir_all(into)?;
    Ok(compared)
}

async fn repair(network: &Network) -> Result<commonhold_client::types::RepairReport> {
    let request = RepairRequest { absent_after_seconds: Some(0) };
    let report = network.owner.client.repair(&request).await?;
    ensure!(
        report.full == report.segments && report.at_risk == 0 && report.lost == 0,
        "only {} of {} segments have all their chunks after repair",
        report.full,
        report.segments
    );
    Ok(report)
}

/// The owner must have noticed the damage by itself.
async fn wait_for_degraded(network: &Network) -> Result<()> {
    let begun = Instant::now();
    loop {
        let drive = network.owner.client.status().await?.drive.context("the owner has no drive")?;
        match drive.degraded_segments {
            1 => return Ok(()),
            0 if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            found => bail!("{found} segments lack a chunk after the read; one was damaged"),
        }
    }
}
