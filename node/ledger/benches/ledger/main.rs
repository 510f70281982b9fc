//! Measures the ledger: `cargo bench -p commonhold-ledger`. README.md beside this file says how to run
//! it and what the rows mean.
//!
//! Invariant: contestants of one row take turns within one run, so that whatever else the machine does
//! meets all of them; what is reported are medians, their spread, and ratios. Not here: a pass or a
//! failure. Timings of a shared machine are to be read, not asserted.
#![allow(clippy::unwrap_used)]

mod append;
#[path = "../../../store/benches/store/ground.rs"]
mod ground;
mod growth;
#[path = "../../../store/benches/store/measure.rs"]
mod measure;
mod memory;
mod stock;
#[path = "../../tests/trade/mod.rs"]
mod trade;
mod verify;

use std::env;
use std::process::ExitCode;

use ground::Ground;

const USAGE: &str = "usage: cargo bench -p commonhold-ledger -- [--quick] [--rounds=N] [--notes=N] [--entries=N] \
     [--days=N] [row ...]";

/// How much is measured.
pub(crate) struct Plan {
    /// Turns of each contestant.
    pub(crate) rounds: usize,
    /// Notes that are appended in a turn, at most.
    pub(crate) appended: usize,
    /// Notes of the ledger that is verified.
    pub(crate) notes: usize,
    /// Entries of the ledger whose memory is looked at.
    pub(crate) entries: usize,
    /// Days for which a ledger grows.
    pub(crate) days: u64,
}

impl Plan {
    fn real() -> Self {
        Self { rounds: 5, appended: 20_000, notes: 100_000, entries: 1_000_000, days: 365 }
    }

    /// A smoke run, whose figures mean little.
    fn quick() -> Self {
        Self { rounds: 2, appended: 1_000, notes: 2_000, entries: 5_000, days: 7 }
    }

    /// Most bytes on the disk at any time; each row removes what it made.
    fn disk_bytes_max(&self) -> u64 {
        let notes = self.appended.max(self.notes).max(self.entries) as u64;
        2 * notes * 1024 + self.days * 400_000 + (64 << 20)
    }
}

type Row = (&'static str, fn(&Ground, &Plan));

/// Rows by name, in the order in which they run.
const ROWS: &[Row] =
    &[("append", append::run), ("verify", verify::run), ("growth", growth::run), ("memory", memory::run)];

/// The plan and the rows that the arguments ask for.
fn read_arguments(arguments: impl Iterator<Item = String>) -> Result<(Plan, Vec<Row>), String> {
    let arguments: Vec<String> = arguments.collect();
    let mut plan = if arguments.iter().any(|it| it == "--quick") { Plan::quick() } else { Plan::real() };
    let mut rows = Vec::new();
    for argument in &arguments {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let number =
            || value.parse::<usize>().map(|it| it.max(1)).map_err(|_| format!("{argument}: no number"));
        match name {
            // Cargo passes --bench.
            "--quick" | "--bench" => {}
            "--rounds" => plan.rounds = number()?,
            "--notes" => plan.notes = number()?,
            "--entries" => plan.entries = number()?,
            "--days" => plan.days = number()? as u64,
            _ => match ROWS.iter().find(|(row, _)| *row == argument) {
                Some(row) => rows.push(*row),
                None => {
                    let known: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
                    return Err(format!("{argument}: no row; rows are {}\n{USAGE}", known.join(", ")));
                }
            },
        }
    }
    if rows.is_empty() {
        rows.extend_from_slice(ROWS);
    }
    Ok((plan, rows))
}

fn main() -> ExitCode {
    if memory::run_as_child() {
        return ExitCode::SUCCESS;
    }
    if !env::args().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs this program too.
        println!("nothing is measured without --bench, which `cargo bench` passes");
        return ExitCode::SUCCESS;
    }
    let prepared = read_arguments(env::args().skip(1))
        .and_then(|(plan, rows)| Ok((Ground::find(plan.disk_bytes_max())?, plan, rows)));
    let (ground, plan, rows) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{ground}");
    println!("{} rounds; at most {} MiB of disk at a time", plan.rounds, plan.disk_bytes_max() >> 20);
    for (name, run) in rows {
        println!("\n## {name}");
        run(&ground, &plan);
    }
    println!("\nload at the end: {}", ground::load());
    ExitCode::SUCCESS
}
