//! Row `memory`: what a store of many chunks takes of memory, and how long opening it takes.
//!
//! The store is filled by one process and looked at by another, which starts with nothing in
//! memory. What counts is `RssAnon`: pages that the process owns, without the mapped index.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use commonhold_format::ids::ChunkId;
use commonhold_format::wire::Addition;
use commonhold_store::Role;

use crate::Plan;
use crate::ground::{self, Ground};
use crate::measure;
use crate::people::{self, Chunk, additions, chunk};
use crate::proofs::Draw;

/// Tells a process that it is a child, and which part it has: `fill` or `look`, the number of
/// chunks and the folder, with a blank between them.
const PART_VARIABLE: &str = "COMMONHOLD_BENCH_MEMORY";
/// Contracts that the chunks belong to.
const CONTRACTS: u64 = 8;
/// Chunks in a commit while the store is filled.
const FILL_GROUP: u64 = 4096;
/// Reads, and proofs, of random chunks before memory is looked at again.
const LOOKS: u64 = 10_000;
/// Commits of a few more chunks before memory is looked at again.
const COMMITS: u64 = 100;
const COMMIT_CHUNKS: u64 = 16;

/// Different for each number, and small: only their number counts.
fn tiny(number: u64) -> Chunk {
    chunk(number, 64 + (number % 37) as usize)
}

fn fill(folder: &Path, count: u64) {
    let store = people::open_with(folder, 1 << 40);
    let deals: Vec<people::Deal> =
        (0..CONTRACTS).map(|salt| people::deal(salt as u8).enter(&store, Role::Provider)).collect();
    for (group, first) in (0..count).step_by(FILL_GROUP as usize).enumerate() {
        let chunks: Vec<Chunk> = (first..(first + FILL_GROUP).min(count)).map(tiny).collect();
        deals[group % deals.len()].keep(&store, &chunks);
    }
}

/// Kibibytes that this process owns.
fn anonymous_kib() -> u64 {
    let value = ground::field("/proc/self/status", "RssAnon").unwrap_or_default();
    value.trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Opens a store that was filled and uses it; prints one line of figures: the process's memory
/// before opening, after it and after use, and seconds for opening, reads, proofs and commits.
fn look(folder: &Path, count: u64) {
    let before = anonymous_kib();
    let begun = Instant::now();
    let store = people::open_with(folder, 1 << 40);
    let opening = begun.elapsed();
    let opened = anonymous_kib();
    let mut draw = Draw::new(2);
    let mut random_id = || -> ChunkId { tiny(draw.below(count)).id };
    let begun = Instant::now();
    for _ in 0..LOOKS {
        store.read(&random_id()).unwrap();
    }
    let reads = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(store.prove(&random_id(), 0).unwrap());
    }
    let proofs = begun.elapsed();
    let deal = people::deal(0);
    let begun = Instant::now();
    for commit in 0..COMMITS {
        let first = count + commit * COMMIT_CHUNKS;
        let chunks: Vec<Chunk> = (first..first + COMMIT_CHUNKS).map(tiny).collect();
        chunks.iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
        let adds: Vec<Addition> = additions(&chunks);
        deal.commit(&store, &adds, &[]);
    }
    let commits = begun.elapsed();
    let used = anonymous_kib();
    let [opening, reads, proofs, commits] = [opening, reads, proofs, commits].map(|it| it.as_secs_f64());
    println!("{before} {opened} {used} {opening} {reads} {proofs} {commits}");
}

/// Plays the child's part if this process is one.
pub(crate) fn run_as_child() -> bool {
    let Ok(part) = env::var(PART_VARIABLE) else { return false };
    let mut words = part.splitn(3, ' ');
    let (name, count, folder) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let (count, folder) = (count.parse().unwrap(), PathBuf::from(folder));
    match name {
        "fill" => fill(&folder, count),
        _ => look(&folder, count),
    }
    true
}

fn child(name: &str, folder: &Path, count: u64) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(
        PART_VARIABLE,
        format!("{name} {count} {}", folder.to_str().expect("the folder's name is text")),
    );
    let output = command.stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the child that was to {name} has failed");
    String::from_utf8(output.stdout).unwrap()
}

/// The row.
pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let plot = ground.plot();
    let count = plan.memory_chunks;
    let begun = Instant::now();
    child("fill", plot.path(), count);
    println!("{count} chunks of 64 to 100 bytes, filled in {:.1} s", begun.elapsed().as_secs_f64());
    let line = child("look", plot.path(), count);
    let figures: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [before, opened, used, opening, reads, proofs, commits] = figures[..] else {
        panic!("the child has said: {line}");
    };
    let mib = |kib: f64| kib / 1024.0;
    println!("memory owned: {:.1} MiB before opening, {:.1} MiB after it", mib(before), mib(opened));
    println!(
        "after {LOOKS} reads ({:.1} us each), {LOOKS} proofs ({:.1} us each) and {COMMITS} commits of \
         {COMMIT_CHUNKS} ({:.2} ms each): {:.1} MiB",
        reads * 1e6 / LOOKS as f64,
        proofs * 1e6 / LOOKS as f64,
        commits * 1e3 / COMMITS as f64,
        mib(used)
    );
    measure::print_target("MiB beyond the map", mib(used), "below 64");
    measure::print_target("seconds to open", opening, "below 1");
}
