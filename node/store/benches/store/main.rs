//! Measures the store against what else one could keep chunks in: `cargo bench -p
//! commonhold-store`. README.md beside this file says how to run it and what the rows mean.
//!
//! Invariant: contestants of one row take turns within one run, so that whatever else the machine
//! does meets all of them; what is reported are medians, their spread, and ratios of medians. Not
//! here: a pass or a failure. Timings of a shared machine are to be read, not asserted.
#![allow(clippy::unwrap_used)]

mod compaction;
mod ground;
mod measure;
mod memory;
#[path = "../../tests/it/people.rs"]
mod people;
mod proofs;
mod put;
mod rivals;
mod stock;

use std::env;
use std::process::ExitCode;

use ground::Ground;

/// Rounds of a real run: enough for a median that one disturbed round does not move.
const ROUNDS: usize = 7;
/// Rounds of a smoke run.
const ROUNDS_QUICK: usize = 2;

const USAGE: &str = "usage: cargo bench -p commonhold-store -- [--quick] [--rounds=N] [--mib=N] [--proofs-mib=N] \
     [--chunks=N] [row ...]";

/// How much is measured.
pub(crate) struct Plan {
    /// Turns of each contestant.
    pub(crate) rounds: usize,
    /// Bytes that each contestant puts in a round with chunks of 1 MiB.
    pub(crate) put_bytes: usize,
    /// Bytes of the store that proofs are taken from.
    pub(crate) proof_bytes: usize,
    /// Chunks of the store whose memory is looked at.
    pub(crate) memory_chunks: u64,
    /// Is this a smoke run, whose figures mean little?
    pub(crate) quick: bool,
}

impl Plan {
    fn real() -> Self {
        Self {
            rounds: ROUNDS,
            put_bytes: 512 << 20,
            proof_bytes: 4 << 30,
            memory_chunks: 1_000_000,
            quick: false,
        }
    }

    fn quick() -> Self {
        Self {
            rounds: ROUNDS_QUICK,
            put_bytes: 32 << 20,
            proof_bytes: 64 << 20,
            memory_chunks: 20_000,
            quick: true,
        }
    }

    /// Most bytes on the disk at any time: rows follow each other, and each removes what it made.
    fn disk_bytes_max(&self) -> u64 {
        // LMDB and redb take about twice what is put into them, rows of the memory's store about
        // 1 KiB for each chunk (record, index, and pages that are free within it).
        let put = 2 * self.put_bytes as u64;
        let proofs = self.proof_bytes as u64 + (self.proof_bytes as u64 >> 4);
        put.max(proofs).max(self.memory_chunks * 1024) + (64 << 20)
    }
}

type Row = (&'static str, fn(&Ground, &Plan));

/// Rows by name, in the order in which they run.
const ROWS: &[Row] = &[
    ("put-1m", put::large),
    ("put-16k", put::small),
    ("proofs", proofs::run),
    ("memory", memory::run),
    ("compaction", compaction::run),
];

/// The plan and the rows that the arguments ask for.
fn read_arguments(arguments: impl Iterator<Item = String>) -> Result<(Plan, Vec<Row>), String> {
    let arguments: Vec<String> = arguments.collect();
    let mut plan = if arguments.iter().any(|it| it == "--quick") { Plan::quick() } else { Plan::real() };
    let mut rows = Vec::new();
    for argument in &arguments {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let number = || value.parse::<usize>().map_err(|_| format!("{argument}: no number"));
        match name {
            // Cargo passes --bench.
            "--quick" | "--bench" => {}
            "--rounds" => plan.rounds = number()?.max(1),
            "--mib" => plan.put_bytes = number()?.max(32) << 20,
            "--proofs-mib" => plan.proof_bytes = number()?.max(1) << 20,
            "--chunks" => plan.memory_chunks = number()?.max(1) as u64,
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
    let (plan, rows) = match read_arguments(env::args().skip(1)) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let ground = match Ground::find(plan.disk_bytes_max()) {
        Ok(ground) => ground,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{ground}");
    println!("{} rounds; at most {} MiB of disk at a time", plan.rounds, plan.disk_bytes_max() >> 20);
    if plan.quick {
        println!("a smoke run: too short to mean anything");
    }
    for (name, run) in rows {
        println!("\n## {name}");
        run(&ground, &plan);
    }
    println!("\nload at the end: {}", ground::load());
    ExitCode::SUCCESS
}
