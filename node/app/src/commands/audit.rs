//! `audit …`: challenging providers through the running node, and what audits have come to, from the
//! ledger or from a file alone.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_client::Client;
use commonhold_client::types::{AuditOutcome, AuditRequest};
use commonhold_format::audit::{Challenge, Proof, SampleVerdict, verify_sample};
use commonhold_format::evidence::{AuditBundle, BUNDLE_LEN_MAX, EVIDENCE_LEN_MAX, Findings};
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::statement::{AuditRecord, Statement};
use commonhold_format::tree::LEAF_LEN;
use commonhold_ledger::source::Source;
use commonhold_ledger::verify::Log;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::ledger::{blocking, own};
use super::{connect, print_json};
use crate::audits::{self, Audited, contract_named};
use crate::cli;
use crate::clock::utc;
use crate::progress::human;

/// Runs one of the commands.
///
/// # Errors
/// A sentence; also when an audit was not passed, or a file does not hold.
pub async fn run(dir: &Path, command: cli::Audit, json: bool) -> Result<()> {
    match command {
        cli::Audit::Now { provider, nonce } => {
            now(&connect(dir)?, AuditRequest { provider, nonce }, json).await
        }
        cli::Audit::History { provider, contract, limit } => {
            let (log, mut source) = own(dir).await?;
            blocking(move || history(&log, &mut *source, provider, contract.as_deref(), limit, json)).await
        }
        cli::Audit::Bundle { contract, epoch, file } => {
            let (log, mut source) = own(dir).await?;
            blocking(move || bundle(&log, &mut *source, &contract, epoch, &file, json)).await
        }
        cli::Audit::Verify { file, owner, provider } => {
            blocking(move || verify(&file, owner.zip(provider), json)).await
        }
    }
}

async fn now(client: &Client, request: AuditRequest, json: bool) -> Result<()> {
    let report = client.audit(&request).await?;
    if json {
        print_json(&report)?;
    } else {
        for audit in &report.audits {
            println!(
                "{}  {:<11}  {} leaves over {} in {} ms: {}",
                audit.provider,
                audit.outcome.as_str(),
                audit.leaves,
                human(audit.held_bytes),
                audit.took_ms,
                audit.reason
            );
            if audit.repeated {
                println!("    the same challenge as before, which was still open (audit {})", audit.epoch);
            }
            if !audit.what_to_do.is_empty() {
                println!("    {}", audit.what_to_do);
            }
        }
        if report.audits.is_empty() {
            println!("nothing to audit: no provider holds anything of this owner");
        }
    }
    let failed = report.audits.iter().filter(|audit| audit.outcome != AuditOutcome::Passed).count();
    if failed > 0 {
        bail!("{failed} of {} audits did not pass", report.audits.len());
    }
    Ok(())
}

/// The evidence that a record cites, if it is kept beside the ledger.
fn evidence_of(source: &mut dyn Source, record: &AuditRecord) -> Result<Option<Vec<u8>>, String> {
    source.get(&format!("evidence/{}.cbor", HEXLOWER.encode(&record.evidence)), EVIDENCE_LEN_MAX)
}

fn history(
    log: &Log,
    source: &mut dyn Source,
    provider: Option<NodeId>,
    contract: Option<&str>,
    limit: usize,
    json: bool,
) -> Result<()> {
    let mut audits = audits::history(log.notes(), &log.party);
    if let Some(digits) = contract {
        let ids: std::collections::HashSet<_> = audits.iter().map(|it| it.record.contract).collect();
        let id = contract_named(digits, ids.iter()).map_err(|why| anyhow!("{why} with an audit"))?;
        audits.retain(|it| it.record.contract == id);
    }
    audits.retain(|it| provider.is_none_or(|node| node == it.contract.node));
    let older = audits.len().saturating_sub(limit);
    let shown = &audits[older..];
    let mut lines = Vec::with_capacity(shown.len());
    for audit in shown {
        // Which of the two says why there is none: without a proof there is no evidence to keep.
        let cited = audit.record.evidence != [0; 32];
        let kept = cited && evidence_of(source, &audit.record).map_err(|why| anyhow!(why))?.is_some();
        if json {
            lines.push(line_json(audit, cited, kept));
        } else {
            print_line(audit, cited, kept);
        }
    }
    if json {
        return print_json(&json!({ "older": older, "audits": lines }));
    }
    if audits.is_empty() {
        println!("no audit stands in this ledger");
    } else if older > 0 {
        println!("{older} older ones are not shown: --limit {}", audits.len());
    }
    Ok(())
}

fn line_json(audit: &Audited, cited: bool, kept: bool) -> Value {
    let record = &audit.record;
    json!({
        "entry": audit.index,
        "time": record.time,
        "role": match audit.side {
            crate::advice::Side::Owner => "owner",
            crate::advice::Side::Provider => "provider",
        },
        "provider": audit.contract.node.to_string(),
        "owner": audit.contract.owner.to_string(),
        "contract": record.contract.to_string(),
        "epoch": record.epoch,
        "revision": record.revision,
        "nonce": HEXLOWER.encode(&record.nonce),
        "tries_before": audit.tries_before,
        "outcome": record.outcome.as_str(),
        "leaves": record.leaves,
        "lost_chunks": record.lost_chunks,
        "evidence": cited.then(|| HEXLOWER.encode(&record.evidence)),
        "evidence_kept": kept,
        "standing": audit.state.as_str(),
        "standing_changed": audit.changed,
        "reason": audit.why(),
        "what_to_do": audit.to_do(),
    })
}

fn print_line(audit: &Audited, cited: bool, kept: bool) {
    let record = &audit.record;
    let contract = record.contract.to_string();
    let with = match audit.side {
        crate::advice::Side::Owner => audit.contract.node.to_string(),
        crate::advice::Side::Provider => audit.contract.owner.to_string(),
    };
    let again = match audit.tries_before {
        0 => String::new(),
        before => format!(", the same challenge for the {}. time", before + 1),
    };
    println!(
        "{}  {} {with}  audit {} of {}: {}{again}",
        utc(record.time),
        audit.side.deed(),
        record.epoch,
        &contract[..12],
        record.outcome
    );
    let evidence = match (cited, kept) {
        (false, _) => "no proof, so no evidence".to_owned(),
        (true, true) => format!("evidence {} is here", HEXLOWER.encode(&record.evidence)),
        (true, false) => format!("evidence {} is not here", HEXLOWER.encode(&record.evidence)),
    };
    println!(
        "    {} leaves right, {} chunks lost; {evidence}; standing: {}",
        record.leaves,
        record.lost_chunks,
        audit.state.as_str()
    );
    if audit.changed || !audit.to_do().is_empty() {
        println!("    {}", audit.why());
    }
    if !audit.to_do().is_empty() {
        println!("    {}", audit.to_do());
    }
}

fn bundle(
    log: &Log,
    source: &mut dyn Source,
    contract: &str,
    epoch: u64,
    file: &Path,
    json: bool,
) -> Result<()> {
    let bundle = audits::bundle(log.notes(), contract, epoch, |record| evidence_of(source, record))
        .map_err(|why| anyhow!(why))?;
    let Ok(Statement::Contract(agreed)) = Statement::of(&bundle.contract) else {
        bail!("the contract's note cannot be read");
    };
    // Nothing leaves that a stranger would refuse.
    bundle.verify(&agreed.owner, &agreed.provider).context("this audit does not hold")?;
    let bytes = bundle.encode();
    let mut out =
        std::fs::File::create_new(file).with_context(|| format!("cannot create {}", file.display()))?;
    out.write_all(&bytes)?;
    out.sync_all()?;
    if json {
        return print_json(&json!({
            "file": file,
            "bytes": bytes.len(),
            "owner": agreed.owner.to_string(),
            "provider": agreed.provider.to_string(),
        }));
    }
    println!(
        "{}: {}; anybody can check it: commonhold audit verify {} --owner {} --provider {}",
        file.display(),
        human(bytes.len() as u64),
        file.display(),
        agreed.owner,
        agreed.provider
    );
    Ok(())
}

/// Reads a file that somebody else may have made.
fn read(file: &Path) -> Result<AuditBundle> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let open = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    open.take(BUNDLE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
    AuditBundle::decode(&bytes).with_context(|| file.display().to_string())
}

fn verify(file: &Path, parties: Option<(PartyId, PartyId)>, json: bool) -> Result<()> {
    let bundle = read(file)?;
    let Some((owner, provider)) = parties else {
        if let Ok(Statement::Contract(named)) = Statement::of(&bundle.contract) {
            println!("the file names as parties, which proves nothing:");
            println!("owner      {}", named.owner);
            println!("provider   {}", named.provider);
        }
        bail!("say whose keys you trust, as you know them from elsewhere: --owner PARTY --provider PARTY");
    };
    let found = bundle.verify(&owner, &provider).context("this audit does not hold")?;
    if json { print_json(&found_json(&found)) } else { print_found(&found) }
}

/// What one position asked for and what was shown.
struct Position {
    position: u64,
    index: u64,
    chunk: Option<String>,
    leaf: Option<u64>,
    shown: &'static str,
}

fn positions(challenge: &Challenge, proof: &Proof) -> Vec<Position> {
    let drawn = challenge.positions().into_iter();
    let with_samples = drawn.zip(&proof.samples).enumerate();
    let of = |(number, (position, sample)): (usize, (u64, _))| {
        let sample: &commonhold_format::audit::Sample = sample;
        let entry = &sample.entry;
        let shown = match verify_sample(challenge, number, position, sample) {
            Ok(SampleVerdict::Right) => "right",
            Ok(SampleVerdict::Hole) => "hole",
            Ok(SampleVerdict::Lost) => "lost",
            Err(_) => "refused",
        };
        let leaf = position.checked_sub(entry.offset).map(|within| within / LEAF_LEN as u64);
        Position {
            position,
            index: sample.index,
            chunk: entry.chunk.map(|chunk| chunk.to_string()),
            leaf: leaf.filter(|_| entry.chunk.is_some()),
            shown,
        }
    };
    with_samples.map(of).collect()
}

fn found_json(found: &Findings) -> Value {
    let Findings { contract, record, answer } = found;
    let answer = answer.as_ref().map(|answer| {
        let samples: Vec<Value> = positions(&answer.challenge, &answer.proof)
            .iter()
            .map(|it| {
                json!({
                    "position": it.position,
                    "entry": it.index,
                    "chunk": it.chunk,
                    "leaf": it.leaf,
                    "shown": it.shown,
                })
            })
            .collect();
        let lost: Vec<String> = match &answer.shown {
            Ok(report) => report.lost.iter().map(ToString::to_string).collect(),
            Err(_) => Vec::new(),
        };
        json!({
            "seed": HEXLOWER.encode(&answer.challenge.seed()),
            "inventory_root": HEXLOWER.encode(&answer.challenge.inventory_root),
            "entries": answer.challenge.entries,
            "span": answer.challenge.span,
            "drawn": answer.challenge.positions(),
            "samples": samples,
            "lost_chunks": lost,
            "refused": answer.shown.as_ref().err().map(ToString::to_string),
        })
    });
    json!({
        "holds": true,
        "owner": contract.owner.to_string(),
        "provider": contract.provider.to_string(),
        "node": contract.node.to_string(),
        "contract": record.contract.to_string(),
        "epoch": record.epoch,
        "revision": record.revision,
        "nonce": HEXLOWER.encode(&record.nonce),
        "time": record.time,
        "outcome": record.outcome.as_str(),
        "evidence": HEXLOWER.encode(&record.evidence),
        "answer": answer,
    })
}

fn print_found(found: &Findings) -> Result<()> {
    let Findings { contract, record, answer } = found;
    println!("audit      {} of contract {}, {}", record.epoch, record.contract, utc(record.time));
    println!("owner      {}", contract.owner);
    println!("provider   {} on node {}", contract.provider, contract.node);
    println!(
        "checked    contract and revision {}, signed by both; intent and record, by the owner",
        record.revision
    );
    println!("checked    the nonce is the one that was committed to before");
    let Some(answer) = answer else {
        println!(
            "outcome    {}: without a proof this is the owner's word, and nothing else is proven",
            record.outcome
        );
        return Ok(());
    };
    println!(
        "inventory  root {}, {} entries over {} bytes, as both signed",
        HEXLOWER.encode(&answer.challenge.inventory_root),
        answer.challenge.entries,
        answer.challenge.span
    );
    println!("seed       {}", HEXLOWER.encode(&answer.challenge.seed()));
    let samples = positions(&answer.challenge, &answer.proof);
    let count = |shown: &str| samples.iter().filter(|it| it.shown == shown).count();
    println!("drawn      {} positions, computed again", answer.challenge.positions().len());
    println!(
        "checked    {} leaves against chunk ids and inventory root: {} right, {} lost, {} in holes",
        samples.len(),
        count("right"),
        count("lost"),
        count("hole")
    );
    match &answer.shown {
        Ok(report) => {
            for chunk in &report.lost {
                println!("lost       chunk {chunk}");
            }
        }
        Err(why) => println!("refused    the proof as a whole: {why}"),
    }
    println!("outcome    {}, as the record says", record.outcome);
    println!("ok: everything in this file holds; --json lists each leaf");
    Ok(())
}
