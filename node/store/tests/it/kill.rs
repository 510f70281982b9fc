//! A process that is killed at any moment, again and again, on one store: while it puts, commits,
//! removes, empties its trash, compacts and scrubs, and while it opens. `COMMONHOLD_STORE_KILLS` says
//! how often.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use commonhold_store::{CommitError, ReadError, Role, Stop, Store, StoreConfig, rebuild_index};
use tempfile::TempDir;

use crate::people::{Chunk, additions, assert_accounts, chunk, deal, entries, root};

/// Names the store's folder to the child; a test run by a person does not have it.
const DIR: &str = "COMMONHOLD_STORE_KILL_TEST_DIR";
const KILLS: &str = "COMMONHOLD_STORE_KILLS";
const KILLS_DEFAULT: u64 = 60;
/// After so many a new store is begun, since all that a store has ever had is looked at each time.
const KILLS_PER_STORE: u64 = 50;
const CONTRACTS: u8 = 4;
/// Only a test that fails waits so long for a child's first commit, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A store of packs of 4 MiB whose trash has no term.
fn config(dir: &Path) -> StoreConfig {
    StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(dir, 256 << 20) }
}

fn open(dir: &Path) -> Store {
    Store::open(config(dir)).unwrap()
}

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

fn say(line: std::fmt::Arguments<'_>) {
    if writeln!(std::io::stdout(), "@{line}").is_err() {
        std::process::exit(1);
    }
}

/// Commits on and on, and says so once each commit has returned.
fn commit_on(store: &Store, contract: u8) {
    let deal = deal(contract).enter(store, Role::Provider);
    for next in sequence(store, contract) + 1.. {
        let chunks = added(contract, next);
        let held = entries(store, &deal.id);
        let removes = removed(next, held.iter().map(|entry| entry.chunk.is_some()));
        // One that all contracts have may be let go by another before the commit.
        loop {
            chunks.iter().for_each(|chunk| chunk.put(store, &deal).unwrap());
            match deal.try_commit(store, &additions(&chunks), &removes) {
                Ok(()) => break,
                Err(CommitError::Missing(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        say(format_args!("{contract} {next}"));
    }
}

/// Does what a provider does for its disk.
fn tidy_on(store: &Store) {
    loop {
        store.empty_trash().unwrap();
        while let Some(done) = store.compact(&Stop::default()).unwrap() {
            if done.deleted_bytes == 0 {
                break;
            }
            say(format_args!("compacted {}", done.deleted_bytes));
        }
        assert!(store.scrub(1 << 20, &Stop::default()).unwrap().rot.is_empty());
        thread::sleep(Duration::from_millis(2));
    }
}

/// The child.
#[test]
fn the_child_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = &open(Path::new(&dir));
    thread::scope(|scope| {
        for contract in 0..CONTRACTS {
            scope.spawn(move || commit_on(store, contract));
        }
        scope.spawn(move || tidy_on(store));
    });
}

/// What a child has said.
#[derive(Default)]
struct Said {
    /// The last commit that it acknowledged of each contract.
    acknowledged: HashMap<u8, u64>,
    /// Packs that it has compacted.
    compacted: u64,
}

/// When a child is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// So long after it was started, whatever it does by then.
    AfterStart(Duration),
    /// So long after it acknowledged its first commit, however slow the machine is.
    AfterCommit(Duration),
}

/// Runs a child, kills it, and answers what it has said.
fn run_and_kill(dir: &Path, moment: Moment) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (committed, commits) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut it = Said::default();
        for line in stdout.lines().map_while(Result::ok) {
            // The test harness writes lines of its own. What it has left unended, ours follow on.
            let Some((_, said)) = line.split_once('@') else { continue };
            let Some((what, number)) = said.split_once(' ') else { continue };
            if let (Ok(contract), Ok(sequence)) = (what.parse(), number.parse()) {
                it.acknowledged.insert(contract, sequence);
                // Nobody listens after the first.
                let _ = committed.send(());
            }
            it.compacted += u64::from(what == "compacted");
        }
        it
    });
    match moment {
        Moment::AfterStart(after) => thread::sleep(after),
        Moment::AfterCommit(after) => {
            commits.recv_timeout(PATIENCE).expect("the child commits something");
            thread::sleep(after);
        }
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    reader.join().unwrap()
}

/// Compares a store with what was acknowledged; goes on from what it has.
fn verify(store: &Store, histories: &mut [History], acknowledged: &HashMap<u8, u64>) {
    let mut live = HashMap::new();
    for (contract, history) in (0..).zip(&mut *histories) {
        let last = sequence(store, contract);
        let acknowledged = acknowledged.get(&contract).copied().unwrap_or(history.sequence);
        // At most the one that was under way is there without its acknowledgement.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&last),
            "contract {contract}: {last} is there, {acknowledged} was acknowledged"
        );
        history.advance(contract, last);
        let id = deal(contract).id;
        let signed = store.contract(&id).and_then(|it| it.revision).map(|it| it.0.inventory_root);
        assert_eq!(signed, root(store, &id).map(|(root, _)| root).filter(|_| last > 0));
        let held: Vec<_> = entries(store, &id).iter().map(|entry| entry.chunk).collect();
        let expected: Vec<_> =
            history.entries.iter().map(|chunk| chunk.as_ref().map(|chunk| chunk.id)).collect();
        assert_eq!(held, expected);
        live.extend(history.live().map(|chunk| (chunk.id, chunk.clone())));
    }
    for chunk in live.values() {
        chunk.assert_held(store);
    }
    // What nobody holds any more is not there, and neither is what was put and not committed.
    for (contract, history) in (0..).zip(&*histories) {
        let last = history.sequence;
        for chunk in (last.saturating_sub(5)..=last + 1).flat_map(|step| added(contract, step)) {
            if !live.contains_key(&chunk.id) {
                assert!(matches!(store.read(&chunk.id), Err(ReadError::NotHeld)));
            }
        }
    }
    let usage = store.usage();
    assert_eq!((usage.chunks, usage.pending_bytes), (live.len() as u64, 0));
    assert_accounts(store);
}

fn assert_well(store: &Store) {
    let report = store.check(&Stop::default()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

#[test]
fn attack_41_nothing_acknowledged_is_lost_and_nothing_wrong_served_when_the_process_is_killed() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let (mut progressed, mut compacted, mut commits) = (0, 0, 0);
    for begin in (0..kills).step_by(KILLS_PER_STORE as usize) {
        let dir = TempDir::new().unwrap();
        let mut histories: Vec<History> = (0..CONTRACTS).map(|_| History::default()).collect();
        for kill in begin..kills.min(begin + KILLS_PER_STORE) {
            // Some while it opens, some at any time, most while it works.
            let after = Duration::from_millis;
            let moment = match kill % 5 {
                4 => Moment::AfterStart(after((kill * 7919) % 12)),
                3 => Moment::AfterStart(after(15 + (kill * 6151) % 97)),
                _ => Moment::AfterCommit(after((kill * 6151) % 97)),
            };
            let said = run_and_kill(dir.path(), moment);
            progressed += u64::from(!said.acknowledged.is_empty());
            compacted += said.compacted;
            verify(&open(dir.path()), &mut histories, &said.acknowledged);
        }
        commits += histories.iter().map(|history| history.sequence).sum::<u64>();
        assert_well(&open(dir.path()));
        // The packs alone say the same.
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        let report = rebuild_index(&config(dir.path())).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        let store = open(dir.path());
        verify(&store, &mut histories, &HashMap::new());
        assert_well(&store);
    }
    println!("{kills} kills, {commits} commits, {compacted} packs compacted");
    assert!(progressed > kills / 3, "only {progressed} of {kills} children lived to acknowledge a commit");
}
