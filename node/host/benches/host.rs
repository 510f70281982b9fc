//! Measures calls of policy plugins: `cargo bench -p commonhold-host`. README.md beside this file says
//! how to run it and what the rows mean.
//!
//! Invariant: in each round the native default and the plugin take turns with the same questions, so
//! that whatever else the machine does meets both; what is reported are medians and ratios. Each call of
//! a plugin has a store of its own and all limits, and goes through a seat as in a node. Not here: a
//! pass or a failure. Timings of a shared machine are to be read, not asserted.
#![allow(clippy::unwrap_used)]

mod code;
#[path = "../tests/common/mod.rs"]
mod common;

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::package::seal;
use commonhold_format::policy::{
    Candidate, CodeAnswer, CreditLimit, Fetch, Key, Kind, Moment, Peer, Policy, Purpose, Question, Quote,
    Rank, Source, Standing, Usage,
};
use commonhold_format::statement::Prices;
use commonhold_host::{Host, Refused, Seat};

const USAGE: &str = "usage: cargo bench -p commonhold-host -- [--quick] [--rounds=N] [row ...]";

/// The row about loading.
const COMPILE: &str = "compile";

/// A row: its name, its question, which plugin answers, calls in a turn, the target in µs.
struct Row {
    name: &'static str,
    question: Question,
    plugin: Vec<u8>,
    calls: u32,
    target: Option<f64>,
}

fn shipped(kind: Kind) -> Vec<u8> {
    let name = format!("default-{kind}");
    let file = common::root().join(format!("plugins/{name}/{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Answers with a constant, from a core module that has a page of memory and nothing else: what is left
/// is what a call costs the host.
fn smallest() -> Vec<u8> {
    common::plugin(Kind::Pricing, "smallest", &[], include_str!("smallest.wat"))
}

fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn key(next: &mut impl FnMut() -> u64) -> Key {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&next().to_be_bytes()));
    Key(bytes)
}

const NOW: Moment = Moment { unix_seconds: 1_767_607_200, minute_of_week: 600 };
const PRICES: Prices = Prices {
    storage_microcredits_per_gib_month: 1_000_000,
    egress_microcredits_per_gib: 100_000,
    audit_microcredits: 10,
};

fn rank(len: u64) -> Question {
    let mut next = numbers(len);
    let candidates = (0..len).map(|at| Candidate {
        node: key(&mut next),
        party: key(&mut next),
        operator: at as u32,
        subnet: at as u32,
        region: 0x4445,
        standing: if next().is_multiple_of(8) { Standing::Probation } else { Standing::Good },
        audits_passed: (next() % 1000) as u32,
        audits_failed: (next() % 3) as u32,
        latency_ms: (next() % 200) as u32,
        returning: 0,
        free_bytes: next() % (1 << 40),
        prices: PRICES,
        lot: next() % (1 << 36),
    });
    let code = CodeAnswer { k: 10, n: 30 };
    let purpose = Purpose::Use;
    let candidates = candidates.collect();
    Rank { now: NOW, purpose, code, holders: 30, chunk_len: 1 << 20, taken: Vec::new(), candidates }.into()
}

fn quote() -> Question {
    let peer = Peer { party: key(&mut numbers(7)), account: 12_345, given: 1_000_000, taken: 2_000_000 };
    let usage = Usage { allotted_bytes: 100 << 30, used_bytes: 40 << 30, contracts: 9 };
    Quote { now: NOW, base: PRICES, bytes: 1 << 30, term_seconds: 86_400, peer, usage }.into()
}

fn fetch() -> Question {
    let mut next = numbers(3);
    let sources = (0..30).map(|index| Source {
        node: key(&mut next),
        index,
        reachable: !next().is_multiple_of(8),
        preferred: false,
        median_ms: (next() % 300) as u32,
        slow_ms: 900,
        successes: 20,
        failures: 1,
    });
    let sources = sources.collect();
    Fetch { now: NOW, purpose: Purpose::Use, k: 10, n: 30, chunk_len: 1 << 20, sources }.into()
}

fn rows() -> Vec<Row> {
    let row = |name, question: Question, calls, target| {
        let plugin = shipped(question.kind());
        Row { name, question, plugin, calls, target }
    };
    vec![
        Row { name: "smallest", question: quote(), plugin: smallest(), calls: 25, target: None },
        row("quote", quote(), 25, Some(5.0)),
        row("credit", CreditLimit::default().into(), 25, None),
        row("fetch-30", fetch(), 10, None),
        row("rank-64", rank(64), 10, Some(25.0)),
        row("rank-10000", rank(10_000), 1, Some(5000.0)),
    ]
}

/// Microseconds of a call, the mean of a turn.
fn turn(policy: &dyn Policy, question: &Question, calls: u32) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(policy.answer(black_box(question)));
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// The one in the middle, a tenth from below, a tenth from above.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[(values.len() - 1) * share / 10];
    (at(5), at(1), at(9))
}

fn measure(host: &Host, row: &Row, rounds: usize) {
    let plugin = common::load(host, &row.plugin).unwrap();
    let (fuel, bytes) = (plugin.call(&row.question).unwrap().fuel, plugin.manifest().size);
    let seat = Seat::new(row.question.kind(), Arc::new(BuiltIn));
    seat.put(row.name, plugin).unwrap();
    let (mut native, mut plugin, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let begun = Instant::now();
    for round in 0..rounds {
        let a = turn(&BuiltIn, &row.question, row.calls);
        let b = turn(&seat, &row.question, row.calls);
        native.push(a);
        plugin.push(b);
        ratios.push(b / a);
        // On a slow machine a row does not take for ever.
        if round >= 10 && begun.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    let metrics = seat.status().metrics;
    if metrics.fallbacks > 0 {
        // A machine that has much else to do takes the processor away for longer than a call may take.
        println!(
            "{}: {} of {} calls failed: {:?}",
            row.name, metrics.fallbacks, metrics.calls, metrics.faults
        );
    }
    let ((native, ..), (middle, low, high), (ratio, ..)) = (spread(native), spread(plugin), spread(ratios));
    let target = row.target.map_or_else(String::new, |it| format!("{it:.0}"));
    println!(
        "{:<12} {native:>10.2} {middle:>10.2} {:>19} {ratio:>8.1} {fuel:>10} {bytes:>8} {target:>7}",
        row.name,
        format!("{low:.2}..{high:.2}"),
    );
}

/// How long loading takes: the shipped defaults, and code of the kinds that take the compiler longest, in
/// small functions and in the largest that are compiled. None of the latter is a plugin, which shows
/// after they were compiled.
fn compile(host: &Host, len: usize) {
    println!("{:<24} {:>9} {:>10} {:>10}", "", "bytes", "ms", "ms/MiB");
    let print = |name: &str, bytes: usize, begun: Instant| {
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        println!("{name:<24} {bytes:>9} {ms:>10.1} {:>10.0}", ms / bytes as f64 * 1_048_576.0);
    };
    for kind in Kind::ALL {
        let file = shipped(kind);
        let begun = Instant::now();
        common::load(host, &file).unwrap();
        print(&format!("default-{kind}"), file.len(), begun);
    }
    for function in [200, 250 << 10] {
        for (name, component) in code::samples(len, function) {
            let file = seal(&component, &common::manifest(Kind::Pricing, name, &[]), None).unwrap();
            let begun = Instant::now();
            let refused = common::load(host, &file).unwrap_err();
            assert!(matches!(refused, Refused::Export(_)), "{name}: {refused}");
            print(&format!("{name}, {function} each"), file.len(), begun);
        }
    }
}

fn main() -> ExitCode {
    let mut rounds = 501;
    let mut wanted = Vec::new();
    for argument in env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            // Cargo passes --bench.
            ("--bench", "") => {}
            ("--quick", "") => rounds = 9,
            ("--rounds", number) if number.parse::<usize>().is_ok_and(|it| it > 0) => {
                rounds = number.parse().unwrap();
            }
            (COMPILE, "") => wanted.push(argument),
            (name, "") if rows().iter().any(|row| row.name == name) => wanted.push(argument),
            _ => {
                eprintln!("{argument}?\n{USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    let host = Host::new().unwrap();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if wants(COMPILE) {
        // Functions are compiled one by one, so more code takes as much more time.
        compile(&host, if rounds < 10 { 256 << 10 } else { 1 << 20 });
        println!();
    }
    println!(
        "{:<12} {:>10} {:>10} {:>19} {:>8} {:>10} {:>8} {:>7}",
        "", "native µs", "plugin µs", "10%..90%", "ratio", "fuel", "bytes", "target"
    );
    for row in rows().iter().filter(|row| wants(row.name)) {
        measure(&host, row, rounds);
    }
    ExitCode::SUCCESS
}
