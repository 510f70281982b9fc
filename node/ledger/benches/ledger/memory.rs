//! Row `memory`: what a long ledger takes of memory, and how long opening it takes.
//!
//! The ledger is filled by one process and opened by another, which starts with nothing in memory.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Plan;
use crate::ground::{self, Ground};
use crate::{stock, trade};

/// Tells a process that it is a child: the folder whose ledger it has to open.
const CHILD_VARIABLE: &str = "COMMONHOLD_BENCH_LEDGER";

/// Kibibytes that this process owns.
fn anonymous_kib() -> u64 {
    let value = ground::field("/proc/self/status", "RssAnon").unwrap_or_default();
    value.trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Plays the child's part if this process is one.
pub(crate) fn run_as_child() -> bool {
    let Some(folder) = env::var_os(CHILD_VARIABLE).map(PathBuf::from) else { return false };
    let before = anonymous_kib();
    let begun = Instant::now();
    let ledger = stock::open(&folder, &trade::key(1), stock::node(1));
    println!("{before} {} {} {}", anonymous_kib(), begun.elapsed().as_secs_f64(), ledger.len());
    true
}

fn look(folder: &Path) -> Vec<f64> {
    let output = Command::new(env::current_exe().unwrap()).env(CHILD_VARIABLE, folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    line.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let (owner, node) = (trade::key(1), stock::node(1));
    let plot = ground.plot();
    {
        let ledger = stock::open(plot.path(), &owner, node);
        stock::fill(&ledger, &owner, node, plan.entries);
    }
    let [before, after, seconds, entries] = look(plot.path())[..] else { return };
    let mib = std::fs::metadata(plot.path().join("log")).unwrap().len() >> 20;
    println!("{entries} entries, {mib} MiB");
    println!("-> bytes of memory for each entry: {:.0}", (after - before) * 1024.0 / entries);
    println!("-> seconds to open, after it was just written: {seconds:.1}");
}
