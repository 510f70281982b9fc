//! Measures audits: `cargo bench -p commonhold-format`, or with `-- --quick` a smoke run of a second.
//!
//! Prints what a challenge on a contract of a million chunks costs either side, and how many leaves of
//! chunks of 1 MiB one core verifies in a second, each with the strict function and the hash of its
//! bytes. Times are those of the processor where the system tells them (Linux), so that other programs
//! count little. Not here: a pass or a failure, and the reading of a disk (the store's bench has that).
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use commonhold_format::audit::{Challenge, Places, Proof, prove, verify_proof};
use commonhold_format::ids::ContractId;
use commonhold_format::inventory::Inventory;
use commonhold_format::tree::{
    CHUNK_LEN_MAX, ChunkTree, Hash, LEAF_LEN, LeafProof, SUBTREE_LEN, chunk_id_and_subtrees, leaf_count,
    leaf_hash, verify_path,
};
use commonhold_format::wire::{Request, Response};

struct Plan {
    chunks: u64,
    rounds: usize,
    audits: u32,
    leaves: u32,
}

// The kernel accounts for processor time at its ticks, some milliseconds apart: a round is longer.
const REAL: Plan = Plan { chunks: 1_000_000, rounds: 9, audits: 100, leaves: 300_000 };
const QUICK: Plan = Plan { chunks: 20_000, rounds: 3, audits: 5, leaves: 5_000 };

/// Time that this thread had on a processor; the clock's where the system does not tell.
fn processor_time(begun: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|line| line.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// What one of `times` turns takes, by the median of some rounds, after a turn that is not counted.
fn measure(rounds: usize, times: u32, mut turn: impl FnMut(u32)) -> Duration {
    turn(0);
    let begun = Instant::now();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let before = processor_time(begun);
            (0..times).for_each(&mut turn);
            processor_time(begun).saturating_sub(before) / times
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn audit(plan: &Plan, bytes: &[u8]) {
    let (chunk, subtrees) = chunk_id_and_subtrees(bytes);
    let mut inventory = Inventory::new();
    for _ in 0..plan.chunks {
        inventory.push(chunk, CHUNK_LEN_MAX as u32).unwrap();
    }
    let challenge = Challenge {
        contract: ContractId([7; 32]),
        revision: 3,
        inventory_root: inventory.root(),
        entries: inventory.len(),
        span: inventory.span(),
        epoch: 8,
        nonce: [9; 32],
        beacon: None,
    };
    let answer = || {
        let proof = prove(&challenge, &inventory, |id, len, leaf| {
            let block = bytes.chunks(SUBTREE_LEN).nth(leaf as usize * LEAF_LEN / SUBTREE_LEN)?;
            LeafProof::from_subtree(id, len, leaf, block, &subtrees)
        });
        Response::Proof { proof: proof.unwrap().without_inventory_paths() }.encode()
    };
    let asked = Request::Audit { challenge: challenge.clone() }.encode();
    let answered = answer();
    let judge = || {
        let places = Places::of(&challenge, &inventory).unwrap().unwrap();
        let Response::Proof { proof } = Response::decode(&answered).unwrap() else { unreachable!() };
        let proof: Proof = proof.with_inventory_paths(&places);
        assert!(verify_proof(&challenge, &proof).unwrap().passed());
        proof.evidence(&challenge)
    };
    let evidence = {
        let places = Places::of(&challenge, &inventory).unwrap().unwrap();
        let Response::Proof { proof } = Response::decode(&answered).unwrap() else { unreachable!() };
        proof.with_inventory_paths(&places).bundle(&challenge).len()
    };
    println!("contract of {} chunks of 1 MiB, 64 leaves", plan.chunks);
    println!("  on the wire         {:>9} bytes (challenge {})", asked.len() + answered.len(), asked.len());
    println!("  evidence            {evidence:>9} bytes");
    let time = measure(plan.rounds, plan.audits, |_| drop(black_box(answer())));
    println!("  provider            {:>9.2} ms of processor: its proof, from subtrees", milliseconds(time));
    let judged = |_| {
        black_box(judge());
    };
    let time = measure(plan.rounds, plan.audits, judged);
    println!("  owner               {:>9.2} ms of processor: judging, hash of evidence", milliseconds(time));
}

fn leaves(plan: &Plan, bytes: &[u8]) {
    let tree = ChunkTree::new(bytes);
    let (id, count) = (tree.id(), leaf_count(bytes.len() as u32));
    let paths: Vec<Vec<Hash>> = (0..count).map(|leaf| tree.path(leaf).unwrap()).collect();
    let time = measure(plan.rounds, plan.leaves, |at| {
        // Strides over the chunk, so that neighbours do not follow each other.
        let leaf = (u64::from(at) * 389 % count) as usize;
        let shown = leaf_hash(&bytes[leaf * LEAF_LEN..][..LEAF_LEN]);
        verify_path(black_box(&id.0), count, leaf as u64, &shown, &paths[leaf]).unwrap();
    });
    let rate = 1.0 / time.as_secs_f64();
    println!("leaves of 1 KiB in chunks of 1 MiB, hashed and verified strictly");
    println!("  {rate:.0} a second a core");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs this program too.
        println!("nothing is measured without --bench, which `cargo bench` passes");
        return ExitCode::SUCCESS;
    }
    if let Some(strange) = arguments.iter().find(|it| !["--bench", "--quick"].contains(&it.as_str())) {
        eprintln!("{strange}: usage: cargo bench -p commonhold-format -- [--quick]");
        return ExitCode::FAILURE;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let plan = if quick { &QUICK } else { &REAL };
    if quick {
        println!("a smoke run: too short to mean anything");
    }
    let bytes: Vec<u8> = (0..CHUNK_LEN_MAX).map(|at| (at * 7 + at / 1024) as u8).collect();
    audit(plan, &bytes);
    leaves(plan, &bytes);
    ExitCode::SUCCESS
}
