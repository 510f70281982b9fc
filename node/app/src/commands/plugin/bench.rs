//! `plugin bench`: what a plugin's calls cost, beside the built-in default's.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::{Policy, Question};
use commonhold_host::Plugin;
use serde_json::{Value, json};

use super::questions;
use super::trial::{self, Trial};
use crate::cli::plugin::Bench;
use crate::commands::print_json;
use crate::plugins::settings;

/// Candidates, addresses or sources of the questions.
const SIZES: [u32; 4] = [8, 64, 256, 10_000];
/// Calls of one function and size, at most …
const CALLS_MAX: usize = 1000;
/// … at least, however long they take …
const CALLS_MIN: usize = 5;
/// … and for how long.
const TIME_MAX: Duration = Duration::from_millis(400);

struct Measured {
    function: &'static str,
    /// Entries of its list; 0 for a function without one.
    size: u32,
    calls: usize,
    /// Why there is no figure.
    outcome: Result<(Duration, u64), String>,
    default: Duration,
}

/// Runs the command.
///
/// # Errors
/// A sentence; also when a call fails.
pub fn run(flags: &Bench, json: bool) -> Result<()> {
    let trial = Trial::open(&flags.file)?;
    let config = settings(&flags.set).map_err(|why| anyhow!(why))?;
    let mut measured = Vec::new();
    for function in questions::functions(trial.manifest.kind) {
        let sizes: &[u32] = if questions::has_list(function) { &SIZES } else { &[0] };
        for size in sizes {
            // A state that grew with the calls before would change what is measured.
            let plugin = trial.plugin(config.clone())?;
            measured.push(measure(&plugin, function, *size));
        }
    }
    print(&trial, &measured, json)?;
    match measured.iter().filter(|it| it.outcome.is_err()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} calls failed", measured.len()),
    }
}

fn measure(plugin: &Plugin, function: &'static str, size: u32) -> Measured {
    let question = questions::question(function, size);
    let (default, _) = median(|| {
        let begun = Instant::now();
        std::hint::black_box(BuiltIn.answer(std::hint::black_box(&question)));
        Ok((begun.elapsed(), 0))
    })
    .unwrap_or_default();
    let mut calls = 0;
    let outcome = median(|| {
        calls += 1;
        one(plugin, &question)
    });
    Measured { function, size, calls, outcome, default }
}

/// A call with all that belongs to it: a fresh store, limits, and the check of the answer.
fn one(plugin: &Plugin, question: &Question) -> Result<(Duration, u64), String> {
    let called = trial::call(plugin, question).map_err(|fault| fault.to_string())?;
    Ok((called.time, called.fuel))
}

fn median(mut call: impl FnMut() -> Result<(Duration, u64), String>) -> Result<(Duration, u64), String> {
    let begun = Instant::now();
    // The first one pays for caches and pages.
    call()?;
    let (mut times, mut fuels) = (Vec::new(), Vec::new());
    while times.len() < CALLS_MIN || (times.len() < CALLS_MAX && begun.elapsed() < TIME_MAX) {
        let (time, fuel) = call()?;
        times.push(time);
        fuels.push(fuel);
    }
    Ok((crate::backtest::median(&mut times), crate::backtest::median(&mut fuels)))
}

fn micros(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 10.0).round() / 100.0
}

fn print(trial: &Trial, measured: &[Measured], json: bool) -> Result<()> {
    if json {
        let line = |it: &Measured| -> Value {
            json!({
                "function": it.function,
                "size": it.size,
                "calls": it.calls,
                "plugin_us": it.outcome.as_ref().ok().map(|(time, _)| micros(*time)),
                "fuel": it.outcome.as_ref().ok().map(|(_, fuel)| *fuel),
                "fault": it.outcome.as_ref().err(),
                "default_us": micros(it.default),
            })
        };
        return print_json(&json!({
            "plugin": trial.manifest.name,
            "version": trial.manifest.version,
            "functions": measured.iter().map(line).collect::<Vec<_>>(),
        }));
    }
    println!(
        "{:<18} {:>6}  {:>10}  {:>12}  {:>10}  {:>6}",
        "function", "size", "plugin us", "fuel", "default us", "ratio"
    );
    for it in measured {
        let size = if it.size == 0 { "-".to_owned() } else { it.size.to_string() };
        let default = micros(it.default);
        match &it.outcome {
            Ok((time, fuel)) => {
                let ratio = time.as_nanos() as f64 / it.default.as_nanos().max(1) as f64;
                println!(
                    "{:<18} {size:>6}  {:>10.2}  {fuel:>12}  {default:>10.2}  {ratio:>6.1}",
                    it.function,
                    micros(*time)
                );
            }
            Err(fault) => println!("{:<18} {size:>6}  {fault}", it.function),
        }
    }
    println!("medians; a plugin's call has a fresh store, all limits and the check of its answer");
    Ok(())
}
