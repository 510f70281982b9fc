//! `plugin backtest`: what a plugin would have done with what this node was asked before.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_format::policy::Question;
use commonhold_format::statement::PolicyManifest;
use commonhold_host::{Fault, Plugin};
use commonhold_ledger::source::LogFolder;
use commonhold_ledger::verify::Log;
use data_encoding::HEXLOWER;
use serde_json::json;

use super::trial::{self, Trial};
use crate::backtest::{self, Failed, Kept, Report, Tried, Window};
use crate::cli::plugin::Backtest;
use crate::commands::ledger::{blocking, own};
use crate::commands::print_json;
use crate::datadir::Places;
use crate::journal;
use crate::plugins::settings;

struct Asking(Plugin);

impl backtest::Candidate for Asking {
    fn ask(&mut self, question: &Question) -> Tried {
        match trial::call(&self.0, question) {
            Ok(called) => Tried { answer: Ok(called.answer), fuel: called.fuel, time: called.time },
            Err(fault) => {
                let refused = matches!(fault, Fault::Answer(_));
                let failed = Failed { why: fault.to_string(), refused };
                Tried { answer: Err(failed), fuel: 0, time: Default::default() }
            }
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A sentence.
pub async fn run(dir: &Path, flags: Backtest, json: bool) -> Result<()> {
    let places = Places::new(dir);
    if !places.dir().is_dir() {
        bail!("{} is no data directory: name one with --data-dir", dir.display());
    }
    // A node that has signed nothing yet has no ledger to read.
    let log = if LogFolder::is_one(&places.ledger()) { Some(own(dir).await?.0) } else { None };
    blocking(move || {
        let trial = Trial::open(&flags.file)?;
        let report = replay(&trial, &places, log.as_ref(), &flags)?;
        print(&trial.manifest, &report, json)
    })
    .await
}

fn replay(trial: &Trial, places: &Places, log: Option<&Log>, flags: &Backtest) -> Result<Report> {
    let folder = places.journal();
    let history = journal::read(&folder).with_context(|| folder.display().to_string())?;
    if history.lines.is_empty() {
        return Err(anyhow!(
            "{} has nothing that was recorded: a node records while it runs, unless [journal] in its \
             configuration turns that off",
            folder.display()
        ));
    }
    let contracts: Vec<Kept> = log.map(backtest::of_ledger).unwrap_or_default();
    let newest = contracts.iter().filter_map(|it| Some(it.receipts.last()?.0)).max();
    let window = Window::of(&history, newest, flags.since.map(|span| span.0));
    let mut asking = Asking(trial.plugin(settings(&flags.set).map_err(|why| anyhow!(why))?)?);
    Ok(backtest::run(trial.manifest.kind, &history, &contracts, window, &mut asking, flags.timings))
}

fn print(manifest: &PolicyManifest, report: &Report, json: bool) -> Result<()> {
    let component = HEXLOWER.encode(&manifest.component);
    if json {
        return print_json(&json!({
            "plugin": {
                "name": manifest.name,
                "version": manifest.version,
                "kind": manifest.kind.as_str(),
                "component": component,
            },
            "report": report,
        }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {} ({}, {})", manifest.name, manifest.version, manifest.kind, &component[..16])?;
    out.write_all(report.to_text().as_bytes())?;
    Ok(())
}
