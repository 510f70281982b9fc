//! `ledger …`: what the node's ledger says, and what anybody's ledger is worth. `verify`,
//! `compare`, `bundle` and `balance` work from files or addresses alone, whether a node runs or not.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::Client;
use commonhold_client::types::{PaymentRequest, SignedView, TrustRequest};
use commonhold_format::ids::PartyId;
use commonhold_format::note::named_verifier_key;
use commonhold_ledger::bundle;
use commonhold_ledger::compare::{Evidence, compare};
use commonhold_ledger::export::{self, Format};
use commonhold_ledger::source::{self, Source, Tar};
use commonhold_ledger::verify::{Log, Report, verify};
use serde_json::json;

use super::{connect, print_json};
use crate::cli::LedgerCommand;
use crate::datadir::{Places, read_api};
use crate::rules::EngineRules;

/// How long a server may take for one resource.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs one of the commands.
///
/// # Errors
/// A sentence; also when something was found that does not hold.
pub async fn run(dir: &Path, command: LedgerCommand, json: bool) -> Result<()> {
    match command {
        LedgerCommand::Show { from, count } => super::ledger(&connect(dir)?, from, count, json).await,
        LedgerCommand::Balance => {
            let (log, _) = own(dir).await?;
            blocking(move || balance(&log, json)).await
        }
        LedgerCommand::Credit => credit(&connect(dir)?, json).await,
        LedgerCommand::Paid { payer, credits, reference, node } => {
            let request = PaymentRequest {
                payer: payer.to_string(),
                microcredits: credits.0,
                reference,
                node: node.map(|node| node.to_string()),
            };
            print_signed(&connect(dir)?.payment(&request).await?, json)
        }
        LedgerCommand::Trust { creditor, debtor, credits, term, node } => {
            let request = TrustRequest {
                creditor: creditor.to_string(),
                debtor: debtor.to_string(),
                limit_microcredits: credits.0,
                seconds: term.0,
                node: node.map(|node| node.to_string()),
            };
            print_signed(&connect(dir)?.trust(&request).await?, json)
        }
        LedgerCommand::Verify { what, party } => {
            let what = match what {
                Some(what) => what,
                None => {
                    publish(dir).await?;
                    dir.display().to_string()
                }
            };
            blocking(move || verify_named(&what, party, json)).await
        }
        LedgerCommand::Bundle { file } => {
            let (log, mut source) = own(dir).await?;
            blocking(move || write_bundle(&log, &mut *source, &file, json)).await
        }
        LedgerCommand::Export { format, out } => {
            let (mut log, _) = own(dir).await?;
            blocking(move || write_export(&mut log, format, out.as_deref())).await
        }
        LedgerCommand::Prove { index, size, of } => {
            let log = named_or_own(dir, of).await?;
            super::proofs::inclusion(&log, index, size, json)
        }
        LedgerCommand::ProveConsistency { old, new, of } => {
            let log = named_or_own(dir, of).await?;
            super::proofs::consistency(&log, old, new, json)
        }
        LedgerCommand::Compare { a, b, evidence } => {
            blocking(move || compare_named(&a, &b, evidence.as_deref(), json)).await
        }
    }
}

/// Work on files and addresses, off the runtime's own threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("an internal task failed")?
}

/// Lets a running node bring its published head up to date.
async fn publish(dir: &Path) -> Result<()> {
    if read_api(&Places::new(dir))?.is_some()
        && let Ok(client) = connect(dir)
    {
        // What is on disk is read either way; a node that has just stopped published it by itself.
        let _ = client.ledger(0, 0).await;
    }
    Ok(())
}

/// The ledger of the data directory, whether its node runs or not.
pub async fn own(dir: &Path) -> Result<(Log, Box<dyn Source + Send>)> {
    publish(dir).await?;
    let ledger = Places::new(dir).ledger();
    blocking(move || {
        let mut source = source::open(&ledger).map_err(|why| anyhow!(why))?;
        let log = Log::load(&mut *source)?;
        Ok((log, source))
    })
    .await
}

/// A ledger that somebody names, or that of the data directory.
async fn named_or_own(dir: &Path, what: Option<String>) -> Result<Log> {
    match what {
        Some(what) => blocking(move || Ok(Log::load(&mut *open(&what)?)?)).await,
        None => Ok(own(dir).await?.0),
    }
}

/// Opens a folder, a file, or an address.
fn open(what: &str) -> Result<Box<dyn Source + Send>> {
    if what.starts_with("https://") {
        bail!("this program has no TLS: fetch the folder with another tool and verify that");
    }
    if what.starts_with("http://") {
        return Ok(Box::new(Remote::new(what)?));
    }
    source::open(Path::new(what)).map_err(|why| anyhow!(why))
}

/// A log that is served as tiles.
struct Remote {
    prefix: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

impl Remote {
    fn new(prefix: &str) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(FETCH_TIMEOUT).build()?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { prefix, client, runtime: tokio::runtime::Handle::current() })
    }

    async fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let mut response = self.client.get(format!("{}/{path}", self.prefix)).send().await?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            bail!("{}/{path} answers {}", self.prefix, response.status());
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() > max {
                bail!("{}/{path} has more than {max} bytes", self.prefix);
            }
        }
        Ok(Some(bytes))
    }
}

impl Source for Remote {
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        self.runtime.block_on(self.fetch(path, max)).map_err(|error| format!("{error:#}"))
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn verify_named(what: &str, party: Option<PartyId>, json: bool) -> Result<()> {
    let path = Path::new(what);
    if path.is_file() {
        let mut tar = Tar::open(path).map_err(|why| anyhow!(why))?;
        if Evidence::is_one(&tar) {
            return verify_evidence(&mut tar, json);
        }
    }
    let mut source = open(what)?;
    let mut log = Log::load(&mut *source)?;
    if let Some(party) = party.filter(|party| *party != log.party) {
        bail!("this is the ledger of {}, not of {party}", log.party);
    }
    let report = verify(&mut log, &mut *source, &EngineRules, threads())?;
    print_report(&log, &report, json)?;
    if report.findings.is_empty() {
        return Ok(());
    }
    let count = report.findings.len() as u64 + report.findings_more;
    bail!("{count} thing{} in this ledger do{} not hold", plural(count), if count == 1 { "es" } else { "" })
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn verify_evidence(tar: &mut Tar, json: bool) -> Result<()> {
    let evidence = Evidence::read(tar).map_err(|why| anyhow!(why))?;
    let proven = evidence.check().map_err(|why| anyhow!("this proves nothing: {why}"))?;
    if json {
        return print_json(&json!({
            "kind": evidence.kind(),
            "accused": proven.accused.to_string(),
            "proves": proven.what,
        }));
    }
    println!("proven: {proven}");
    Ok(())
}

fn print_report(log: &Log, report: &Report, json: bool) -> Result<()> {
    let root = data_encoding::HEXLOWER.encode(&log.head.root);
    let key = named_verifier_key(&log.head.origin, &log.party);
    let accounts = log.accounts(&log.party);
    if json {
        let findings: Vec<_> =
            report.findings.iter().map(|it| json!({ "entry": it.entry, "what": it.what })).collect();
        let cosigned: Vec<_> = report
            .cosignatures
            .iter()
            .map(|(party, time)| json!({ "party": party.to_string(), "time": time }))
            .collect();
        let accounts: Vec<_> = accounts
            .iter()
            .map(|it| {
                json!({
                    "party": it.party.to_string(),
                    "receipts_microcredits": it.receipts.to_string(),
                    "payments_microcredits": it.payments.to_string(),
                    "owed_to_me_microcredits": it.owed_to_me().to_string(),
                })
            })
            .collect();
        return print_json(&json!({
            "origin": log.head.origin,
            "verifier_key": key,
            "party": log.party.to_string(),
            "node": log.node.to_string(),
            "size": log.head.size,
            "root": root,
            "notes": report.kinds,
            "signatures": report.signatures,
            "tiles": report.tiles,
            "receipts": report.receipts,
            "claims": report.claims,
            "heads_in_receipts": report.heads,
            "audits_checked_again": report.audits,
            "audits_without_answer": report.audits_silent,
            "audits_without_evidence": report.audits_without_evidence,
            "cosignatures": cosigned,
            "accounts": accounts,
            "unchecked": report.unchecked,
            "findings": findings,
            "findings_more": report.findings_more,
        }));
    }
    println!("ledger of {} on node {}", log.party, log.node);
    println!("key     {key}");
    println!("head    {} entries, root {root}", log.head.size);
    let kinds: Vec<String> = report.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("notes   {}", kinds.join(", "));
    println!("checked the root over all notes, and the head's signature");
    if report.tiles > 0 {
        println!("checked {} tiles of hashes against the notes", report.tiles);
    }
    println!("checked {} signatures of parties", report.signatures);
    println!("checked {} receipts: follow each other, amounts as the prices give", report.receipts);
    println!("checked {} heads of this ledger that receipts name", report.heads);
    println!("checked {} audits again, leaf by leaf", report.audits);
    if report.claims > 0 {
        println!("checked {} claims against revisions and receipts", report.claims);
    }
    for (party, time) in &report.cosignatures {
        println!("cosigned by {party} at {time} (Unix seconds)");
    }
    for account in accounts {
        println!("account {}  {} microcredits", account.party, account.owed_to_me());
    }
    for what in &report.unchecked {
        println!("not checked: {what}");
    }
    for finding in &report.findings {
        match finding.entry {
            Some(entry) => println!("WRONG   entry {entry}: {}", finding.what),
            None => println!("WRONG   {}", finding.what),
        }
    }
    if report.findings_more > 0 {
        println!("WRONG   and {} things more", report.findings_more);
    }
    if report.findings.is_empty() {
        println!("ok: everything that was checked holds");
    }
    Ok(())
}

fn balance(log: &Log, json: bool) -> Result<()> {
    let (accounts, balances) = (log.accounts(&log.party), log.balances(&log.party));
    if json {
        let accounts: Vec<_> = accounts
            .iter()
            .map(|account| {
                let contracts: Vec<_> = balances
                    .iter()
                    .filter(|balance| balance.counterparty == account.party)
                    .map(|balance| {
                        json!({
                            "contract": balance.contract.to_string(),
                            "receipt_sequence": balance.receipt_sequence,
                            "owed_to_me_microcredits": balance.owed_to_me.to_string(),
                        })
                    })
                    .collect();
                json!({
                    "party": account.party.to_string(),
                    "receipts_microcredits": account.receipts.to_string(),
                    "payments_microcredits": account.payments.to_string(),
                    "owed_to_me_microcredits": account.owed_to_me().to_string(),
                    "contracts": contracts,
                })
            })
            .collect();
        return print_json(&json!({ "party": log.party.to_string(), "accounts": accounts }));
    }
    let mut total = 0;
    for account in &accounts {
        let owed = account.owed_to_me();
        total += owed;
        println!("{}", account.party);
        let of = |it: &&commonhold_ledger::Balance| it.counterparty == account.party;
        for balance in balances.iter().filter(of) {
            println!(
                "  contract {}…  {:>14}  by receipt {}, {} audits passed",
                &balance.contract.to_string()[..12],
                credits(balance.owed_to_me),
                balance.receipt_sequence,
                balance.audits_passed
            );
        }
        if account.payments != 0 {
            println!("  payments              {:>14}", credits(account.payments));
        }
        println!(
            "  {}  {:>14}",
            if owed < 0 { "you owe            " } else { "owes you           " },
            credits(owed.abs())
        );
    }
    println!("in all {} credits", credits(total));
    Ok(())
}

fn print_signed(signed: &SignedView, json: bool) -> Result<()> {
    if json {
        return print_json(signed);
    }
    println!("both have signed; node {} has it too:", signed.node);
    print!("{}", signed.note);
    Ok(())
}

async fn credit(client: &Client, json: bool) -> Result<()> {
    let view = client.credit().await?;
    if json {
        return print_json(&view);
    }
    let amount = |text: &str| credits(text.parse().unwrap_or_default());
    println!(
        "gifts    {} of {} used, in an epoch of {}",
        amount(&view.gift_used_microcredits),
        credits(view.gift_microcredits.into()),
        crate::config::Span(view.epoch_seconds)
    );
    for it in &view.parties {
        println!("{}", it.party);
        println!(
            "  owes {} signed, {} unsigned, {} within an epoch",
            amount(&it.account_microcredits),
            amount(&it.unsigned_microcredits),
            amount(&it.exposure_microcredits)
        );
        println!(
            "  covered {} itself, {} by others, {} by your policy; stands for {}; uncovered {}; may owe {} more",
            amount(&it.own_microcredits),
            amount(&it.guaranteed_microcredits),
            amount(&it.policy_microcredits),
            amount(&it.lent_microcredits),
            amount(&it.uncovered_microcredits),
            amount(&it.headroom_microcredits)
        );
        for stopped in &it.stopped {
            println!("  NOT SERVED contract {}…: {}", &stopped.contract[..12], stopped.why);
        }
    }
    Ok(())
}

/// Microcredits as credits, exactly.
pub(super) fn credits(microcredits: i128) -> String {
    let (sign, whole) = (if microcredits < 0 { "-" } else { "" }, microcredits.unsigned_abs());
    format!("{sign}{}.{:06}", whole / 1_000_000, whole % 1_000_000)
}

fn write_bundle(log: &Log, source: &mut dyn Source, file: &Path, json: bool) -> Result<()> {
    let out = File::create_new(file).with_context(|| format!("cannot create {}", file.display()))?;
    let write = || -> Result<bundle::Bundled> {
        let mut out = BufWriter::new(out);
        let bundled = bundle::write(log, source, &mut out).map_err(|why| anyhow!(why))?;
        out.into_inner().map_err(|error| anyhow!("{error}"))?.sync_all()?;
        Ok(bundled)
    };
    let bundled = write().inspect_err(|_| {
        // Half a bundle is of no use, and in the way of the next one.
        let _ = std::fs::remove_file(file);
    })?;
    if json {
        return print_json(&json!({
            "file": file,
            "entries": bundled.entries,
            "evidence": bundled.evidence,
            "evidence_missing": bundled.evidence_missing,
        }));
    }
    println!(
        "{}: {} notes and the evidence of {} audits; anybody can check it: commonhold ledger verify {}",
        file.display(),
        bundled.entries,
        bundled.evidence,
        file.display()
    );
    if bundled.evidence_missing > 0 {
        println!("the evidence of {} audits is not kept any more", bundled.evidence_missing);
    }
    Ok(())
}

fn write_export(log: &mut Log, format: Format, file: Option<&Path>) -> Result<()> {
    let Some(file) = file else {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let written = export::write(log, format, threads(), &mut out).and_then(|()| out.flush());
        return match written {
            // Whoever reads it has read enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        };
    };
    let out = File::create_new(file).with_context(|| format!("cannot create {}", file.display()))?;
    let mut out = BufWriter::new(out);
    export::write(log, format, threads(), &mut out)?;
    out.into_inner().map_err(|error| anyhow!("{error}"))?.sync_all()?;
    Ok(())
}

fn compare_named(a: &str, b: &str, evidence: Option<&Path>, json: bool) -> Result<()> {
    let load = |what: &str| -> Result<Log> {
        let mut source = open(what)?;
        let mut log = Log::load(&mut *source).with_context(|| what.to_owned())?;
        log.verify_signatures(threads());
        Ok(log)
    };
    let (a, b) = (load(a)?, load(b)?);
    let found = compare(&a, &b);
    let mut files: Vec<PathBuf> = Vec::new();
    for (number, evidence_of) in found.evidence.iter().enumerate() {
        let dir = evidence.unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let file = dir.join(format!("{}-{}.tar", evidence_of.kind(), number + 1));
        let out = File::create_new(&file).with_context(|| format!("cannot create {}", file.display()))?;
        let mut out = BufWriter::new(out);
        evidence_of.write(&mut out).map_err(|why| anyhow!(why))?;
        out.flush()?;
        files.push(file);
    }
    if json {
        let evidence: Vec<_> = found
            .evidence
            .iter()
            .zip(&files)
            .map(|(it, file)| {
                let accused = it.check().map(|proven| proven.accused.to_string()).ok();
                json!({ "kind": it.kind(), "accused": accused, "proves": it.to_string(), "file": file })
            })
            .collect();
        print_json(&json!({
            "shared": found.shared,
            "heads_compared": found.heads,
            "evidence": evidence,
            "differences": found.differences,
        }))?;
    } else {
        println!(
            "{} notes that both parties signed are in both, {} heads compared",
            found.shared, found.heads
        );
        for what in &found.differences {
            println!("differs: {what}");
        }
        for (it, file) in found.evidence.iter().zip(&files) {
            println!("PROVEN  {it}\n        {}", file.display());
        }
    }
    if found.evidence.is_empty() {
        return Ok(());
    }
    let count = found.evidence.len() as u64;
    let verb = if count == 1 { "is" } else { "are" };
    bail!(
        "{count} fault{} {verb} proven; anybody can check with `commonhold ledger verify FILE`",
        plural(count)
    )
}
