//! A process that is killed at any moment, again and again, on one store.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use commonhold_store::{ReadError, Role, Store};
use tempfile::TempDir;

use crate::people::{Chunk, additions, chunk, deal, entries, open, root};

/// Names the store's folder to the child; a test run by a person does not have it.
const DIR: &str = "COMMONHOLD_STORE_KILL_TEST_DIR";
const KILLS: u64 = 60;
const THREADS: u8 = 4;

/// What commit `sequence` of a contract adds: a few chunks, of all sizes, some of them the same
/// for all contracts.
fn added(contract: u8, sequence: u64) -> Vec<Chunk> {
    let own = u64::from(contract) * 1_000_000;
    let len = |number: u64| 1 + (sequence * 7919 + number * 104_729) as usize % 40_000;
    let mut chunks: Vec<Chunk> = (0..1 + sequence % 3)
        .map(|number| chunk(own + sequence * 10 + number, len(number) + usize::from(contract)))
        .collect();
    if sequence.is_multiple_of(2) {
        chunks.push(chunk(sequence / 8, 5000));
    }
    chunks
}

/// What commit `sequence` removes of an inventory that holds these entries: every third one all but
/// the last four.
fn removed(sequence: u64, held: impl ExactSizeIterator<Item = bool>) -> Vec<u64> {
    let old = if sequence.is_multiple_of(3) { held.len().saturating_sub(4) } else { 0 };
    (0..).zip(held.take(old)).filter(|(_, held)| *held).map(|(index, _)| index).collect()
}

/// A contract's inventory, replayed commit by commit; so what a store must have follows from its
/// sequence alone.
#[derive(Default)]
struct History {
    sequence: u64,
    /// Chunks, and none where one was removed.
    entries: Vec<Option<Chunk>>,
}

impl History {
    /// Goes on until behind commit `sequence`.
    fn advance(&mut self, contract: u8, sequence: u64) {
        for step in self.sequence + 1..=sequence {
            for index in removed(step, self.entries.iter().map(Option::is_some)) {
                self.entries[index as usize] = None;
            }
            for chunk in added(contract, step) {
                if !self.live().any(|held| held.id == chunk.id) {
                    self.entries.push(Some(chunk));
                }
            }
        }
        self.sequence = sequence;
    }

    fn live(&self) -> impl Iterator<Item = &Chunk> {
        self.entries.iter().flatten()
    }
}

fn sequence(store: &Store, contract: u8) -> u64 {
    let state = store.contract(&deal(contract).id);
    state.and_then(|state| state.revision).map_or(0, |(last, _)| last.sequence)
}

/// The child: commits on and on, and says so once each commit has returned.
#[test]
fn the_child_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = open(Path::new(&dir));
    thread::scope(|scope| {
        for contract in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                let deal = deal(contract).enter(store, Role::Provider);
                let mut next = sequence(store, contract) + 1;
                loop {
                    let chunks = added(contract, next);
                    let held = entries(store, &deal.id);
                    let removes = removed(next, held.iter().map(|entry| entry.chunk.is_some()));
                    // One that all contracts have may be let go by another before the commit.
                    loop {
                        chunks.iter().for_each(|chunk| chunk.put(store, &deal).unwrap());
                        match deal.try_commit(store, &additions(&chunks), &removes) {
                            Ok(()) => break,
                            Err(commonhold_store::CommitError::Missing(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    if writeln!(std::io::stdout(), "@{contract} {next}").is_err() {
                        std::process::exit(1);
                    }
                    next += 1;
                }
            });
        }
    });
}

/// Runs a child, kills it after a while, and answers the last commit that it acknowledged of each
/// contract.
fn run_and_kill(dir: &Path, after: Duration) -> HashMap<u8, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let mut acknowledged = HashMap::new();
        for line in stdout.lines().map_while(Result::ok) {
            // The test harness writes lines of its own. What it has left unended, ours follow on.
            let Some((_, said)) = line.split_once('@') else { continue };
            let Some((contract, sequence)) = said.split_once(' ') else { continue };
            if let (Ok(contract), Ok(sequence)) = (contract.parse(), sequence.parse()) {
                acknowledged.insert(contract, sequence);
            }
        }
        acknowledged
    });
    thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    reader.join().unwrap()
}

#[test]
fn attack_41_nothing_acknowledged_is_lost_and_nothing_wrong_served_when_the_process_is_killed() {
    let dir = TempDir::new().unwrap();
    let mut histories: Vec<History> = (0..THREADS).map(|_| History::default()).collect();
    let mut progressed = 0;
    for kill in 0..KILLS {
        let after = Duration::from_millis(15 + (kill * 6151) % 97);
        let acknowledged = run_and_kill(dir.path(), after);
        progressed += u64::from(!acknowledged.is_empty());

        let store = open(dir.path());
        let mut live = HashMap::new();
        for (contract, history) in (0..).zip(&mut histories) {
            let last = sequence(&store, contract);
            let acknowledged = acknowledged.get(&contract).copied().unwrap_or(history.sequence);
            // At most the one that was under way is there without its acknowledgement.
            assert!(
                (acknowledged..=acknowledged + 1).contains(&last),
                "kill {kill}, contract {contract}: {last} is there, {acknowledged} was acknowledged"
            );
            history.advance(contract, last);
            let root =
                store.contract(&deal(contract).id).and_then(|it| it.revision).map(|it| it.0.inventory_root);
            let there = self::root(&store, &deal(contract).id).map(|(root, _)| root);
            assert_eq!(root, there.filter(|_| last > 0));
            let held: Vec<_> = entries(&store, &deal(contract).id).iter().map(|entry| entry.chunk).collect();
            let expected: Vec<_> =
                history.entries.iter().map(|chunk| chunk.as_ref().map(|chunk| chunk.id)).collect();
            assert_eq!(held, expected);
            live.extend(history.live().map(|chunk| (chunk.id, chunk.clone())));
        }
        for chunk in live.values() {
            chunk.assert_held(&store);
        }
        // What nobody holds any more is not there, and neither is what was put and not committed.
        for (contract, history) in (0..).zip(&histories) {
            let last = history.sequence;
            for chunk in (last.saturating_sub(5)..=last + 1).flat_map(|step| added(contract, step)) {
                if !live.contains_key(&chunk.id) {
                    assert!(matches!(store.read(&chunk.id), Err(ReadError::NotHeld)));
                }
            }
        }
        let usage = store.usage();
        assert_eq!((usage.chunks, usage.pending_bytes), (live.len() as u64, 0));
    }
    let commits: u64 = histories.iter().map(|history| history.sequence).sum();
    println!("{KILLS} kills, {commits} commits");
    assert!(progressed > KILLS / 2, "only {progressed} of {KILLS} children lived to acknowledge a commit");
}
