//! `commonhold`: one program for owners, operators and auditors.
//!
//! Invariant: exit status 0 means that what was asked for was done and verified; otherwise one
//! clear sentence goes to standard error and the status is 1 (2 for a wrong command line).

mod advice;
mod alerts;
mod api;
mod audits;
mod backtest;
mod children;
mod cli;
mod clock;
mod commands;
mod config;
mod credit;
mod datadir;
mod demo;
mod devnet;
mod directory;
mod hourly;
mod journal;
mod link;
mod links;
mod logs;
mod loss;
mod metrics;
mod money;
mod node;
mod owner;
mod plugins;
mod policies;
mod progress;
mod provider;
mod redundancy;
mod rules;
mod s3_keys;
mod serving;
mod turns;
mod upkeep;
mod vault;
mod verdicts;
mod witness;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = logs::start(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("commonhold: no threads to work with: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli));
    // Background work that is stuck in the operating system must not hold the program back.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::last_words(json, &sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes on one line, each said once.
fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
