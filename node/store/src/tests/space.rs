//! Space: who gives it back, when, and what others notice of it.
//!
//! Invariant: bytes go from live to trash to dead to free, each step at its time and none earlier,
//! and nobody who puts or reads has to wait for it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::segment::Segment;
use commonhold_format::statement::AuditOutcome;
use commonhold_format::tree::{leaf_hash, verify_path};

use super::people::{Chunk, ENDS, additions, assert_accounts, chunk, deal, entries};
use super::simulated::{Fault, Kind, Simulated, scratch};
use crate::error::{PutError, ReadError};
use crate::opening::Setup;
use crate::{Role, Stop, Store, StoreConfig};

const TERM: u64 = 1000;

fn open(dir: &Path, set: impl FnOnce(&mut Setup, &mut StoreConfig)) -> Store {
    let mut config = StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(dir, 1 << 30) };
    let mut setup = Setup { pack_len_max: Some(64 << 10), ..Setup::default() };
    set(&mut setup, &mut config);
    Store::open_with(config, setup).unwrap()
}

fn compact(store: &Store) {
    while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
    assert_accounts(store);
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
}

fn sum(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(Chunk::record_len).sum()
}

#[test]
fn a_removed_chunk_is_trash_for_its_term_then_dead_and_free_after_compaction() {
    let dir = scratch();
    let now = Arc::new(AtomicU64::new(ENDS - 100_000));
    let clock = now.clone();
    let store = open(dir.path(), |setup, config| {
        setup.clock = Arc::new(move || clock.load(Ordering::Relaxed));
        config.trash_term_seconds = TERM;
    });
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks: Vec<Chunk> = (0..100).map(|seed| chunk(seed, 2000)).collect();
    deal.keep(&store, &chunks);
    let before = store.usage();
    deal.commit(&store, &[], &(0..90).collect::<Vec<_>>());
    let (gone, back) = (sum(&chunks[..90]), &chunks[7]);
    let usage = store.usage();
    assert_eq!((usage.trash_bytes, usage.trash_chunks), (gone, 90));
    assert_eq!(usage.live_bytes, before.live_bytes - gone);
    assert!(matches!(store.read(&chunks[0].id), Err(ReadError::NotHeld)));
    // Until the last second of the term nothing is given back, and what is added again is there.
    now.fetch_add(TERM - 1, Ordering::Relaxed);
    assert_eq!(store.empty_trash().unwrap(), 0);
    compact(&store);
    assert_eq!(store.usage().trash_bytes, gone);
    deal.commit(&store, &[back.addition()], &[]);
    back.assert_held(&store);
    now.fetch_add(1, Ordering::Relaxed);
    assert_eq!(store.empty_trash().unwrap(), gone - back.record_len());
    assert_eq!(store.usage().trash_bytes, 0);
    assert!(store.usage().dead_bytes >= gone - back.record_len());
    compact(&store);
    let usage = store.usage();
    assert!(usage.free_bytes + 64 * 1024 > before.free_bytes + gone, "{before:?} {usage:?}");
    back.assert_held(&store);
    chunks[90..].iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn a_contract_that_has_ended_gives_its_space_back_after_its_grace() {
    let dir = scratch();
    let now = Arc::new(AtomicU64::new(ENDS));
    let clock = now.clone();
    let store = open(dir.path(), |setup, config| {
        setup.clock = Arc::new(move || clock.load(Ordering::Relaxed));
        config.trash_term_seconds = TERM;
    });
    let (ended, owned) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Owner));
    let chunks: Vec<Chunk> = (0..60).map(|seed| chunk(seed, 3000)).collect();
    ended.keep(&store, &chunks);
    owned.commit(&store, &additions(&chunks[..5]), &[]);
    chunk(99, 10).put(&store, &ended).unwrap();
    now.fetch_add(86_400, Ordering::Relaxed);
    assert_eq!(store.give_up_ended().unwrap(), []);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    now.fetch_add(1, Ordering::Relaxed);
    assert_eq!(store.give_up_ended().unwrap(), [ended.id]);
    assert_eq!(store.give_up_ended().unwrap(), []);
    let usage = store.usage();
    assert_eq!((usage.trash_bytes, usage.live_bytes, usage.pending_bytes), (sum(&chunks), 0, 0));
    assert!(matches!(chunks[0].put(&store, &ended), Err(PutError::Unknown)));
    // What this node owns elsewhere is its own affair.
    assert_eq!(store.holders(&chunks[0].id).len(), 1);
    now.fetch_add(TERM, Ordering::Relaxed);
    assert_eq!(store.empty_trash().unwrap(), sum(&chunks));
    compact(&store);
    let usage = store.usage();
    assert_eq!((usage.trash_bytes, usage.live_bytes), (0, 0));
    assert!(usage.dead_bytes < 64 << 10, "{usage:?}");
    // Its book is kept: it may have receipts to come.
    assert_eq!(store.contract(&ended.id).unwrap().revision.unwrap().0.sequence, 1);
}

#[test]
fn a_contract_that_was_being_given_up_when_the_index_was_lost_still_gives_its_space_back() {
    let dir = scratch();
    let disk = Simulated::default();
    let chunks: Vec<Chunk> = (0..60).map(|seed| chunk(seed, 3000)).collect();
    let set = |setup: &mut Setup, _: &mut StoreConfig| {
        setup.disk = Arc::new(disk.clone());
        setup.clock = Arc::new(|| ENDS + 1_000_000);
    };
    {
        let store = open(dir.path(), set);
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, &chunks);
        // The contract is marked, and then the disk fails.
        let syncs = AtomicU64::new(0);
        disk.fail(move |op| {
            let fails = op.kind == Kind::Sync && syncs.fetch_add(1, Ordering::Relaxed) == 1;
            fails.then_some(Fault::Io(0))
        });
        assert!(store.give_up_ended().is_err());
        disk.work_again();
    }
    // That it is not done yet is no damage.
    let found = open(dir.path(), set).check(&Stop::default()).unwrap().findings;
    assert!(found.is_empty(), "{found:?}");
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    crate::rebuild_index(&StoreConfig::new(dir.path(), 1 << 30)).unwrap();
    let store = open(dir.path(), set);
    store.give_up_ended().unwrap();
    assert_eq!(store.usage().trash_bytes, sum(&chunks));
    store.empty_trash().unwrap();
    compact(&store);
    assert_eq!(store.usage().live_bytes, 0);
}

/// Puts and commits on and on until `ended`, at least once; answers the chunks.
fn keep_on(store: &Store, salt: u8, ended: &AtomicBool) -> Vec<Chunk> {
    let deal = deal(salt).enter(store, Role::Provider);
    let mut kept = Vec::new();
    while kept.is_empty() || !ended.load(Ordering::Relaxed) {
        let seed = u64::from(salt) << 32 | kept.len() as u64;
        let chunks: Vec<Chunk> = (seed..seed + 8).map(|seed| chunk(seed, 1 + seed as usize % 700)).collect();
        deal.keep(store, &chunks);
        kept.extend(chunks);
    }
    kept
}

/// Reads and proves these again and again until `ended`, at least once; answers how often.
fn read_on(store: &Store, chunks: &[Chunk], ended: &AtomicBool) -> u64 {
    let mut reads = 0;
    while reads == 0 || !ended.load(Ordering::Relaxed) {
        for chunk in chunks {
            chunk.assert_held(store);
            let proof = store.prove(&chunk.id, 0).unwrap();
            let leaf = leaf_hash(&proof.bytes);
            let leaves = (chunk.bytes.len() as u64).div_ceil(1024);
            verify_path(&chunk.id.0, leaves, 0, &leaf, &proof.path).unwrap();
            reads += 1;
        }
    }
    reads
}

#[test]
fn the_index_outgrows_its_map_while_others_read_prove_and_commit() {
    let dir = scratch();
    let store = open(dir.path(), |setup, _| setup.map_len = 64 << 10);
    let early: Vec<Chunk> = (0..10).map(|seed| chunk(seed, 1500)).collect();
    deal(1).enter(&store, Role::Provider).keep(&store, &early);
    let map_len = || store.0.index.env.env().info().map_size;
    let (first, ended) = (map_len(), AtomicBool::new(false));
    let kept: Vec<Chunk> = thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_on(&store, &early, &ended))).collect();
        let writers: Vec<_> = (2..5)
            .map(|salt| {
                scope.spawn({
                    let (store, ended) = (&store, &ended);
                    move || keep_on(store, salt, ended)
                })
            })
            .collect();
        while map_len() < 16 * first {
            assert!(store.failure().is_none());
            thread::sleep(Duration::from_millis(1));
        }
        ended.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    println!("{} chunks in a map that grew from {first} to {} bytes", kept.len(), map_len());
    kept.iter().for_each(|chunk| chunk.assert_held(&store));
    drop(store);
    let store = open(dir.path(), |setup, _| setup.map_len = 64 << 10);
    kept.iter().for_each(|chunk| chunk.assert_held(&store));
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
}

#[test]
fn puts_reads_and_proofs_go_on_while_packs_are_compacted() {
    let dir = scratch();
    let store = open(dir.path(), |_, _| {});
    let (churned, early) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let some: Vec<Chunk> = (0..20).map(|seed| chunk(seed, 20_000)).collect();
    early.keep(&store, &some[..10]);
    let ended = AtomicBool::new(false);
    let (deleted, kept) = thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_on(&store, &some[..10], &ended))).collect();
        let writer = scope.spawn(|| keep_on(&store, 3, &ended));
        let mut deleted = 0;
        // The early chunks' packs are half dead again and again, so that they move.
        for round in 0..30 {
            churned.keep(&store, &some[10..]);
            early.commit(&store, &additions(&some[10..]), &[]);
            let live = |id| {
                let entries = entries(&store, id);
                let live = (0..)
                    .zip(entries)
                    .filter(|(_, it)| it.chunk.is_some_and(|id| some[10..].iter().any(|it| it.id == id)));
                live.map(|(index, _)| index).collect::<Vec<u64>>()
            };
            churned.commit(&store, &[], &live(&churned.id));
            early.commit(&store, &[], &live(&early.id));
            store.empty_trash().unwrap();
            while let Some(done) = store.compact(&Stop::default()).unwrap() {
                deleted += done.deleted_bytes;
                if done.deleted_bytes == 0 {
                    break;
                }
            }
            assert!(store.failure().is_none(), "round {round}");
            assert_accounts(&store);
        }
        ended.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
        (deleted, writer.join().unwrap())
    });
    assert!(deleted > 2 << 20, "{deleted} bytes of packs deleted");
    kept.iter().chain(&some[..10]).for_each(|chunk| chunk.assert_held(&store));
    compact(&store);
}

/// Ends a watch when it is dropped.
struct Unwatch<'a>(&'a Simulated);

impl Drop for Unwatch<'_> {
    fn drop(&mut self) {
        self.0.watch_no_more();
    }
}

/// What compaction does with the disk between two syncs of its own.
#[derive(Default)]
struct Batches {
    bytes: u64,
    records: u64,
    longest_bytes: u64,
    most_records: u64,
    batches: u64,
}

#[test]
fn compaction_goes_in_small_batches_within_its_reserve_and_no_put_waits_for_them() {
    const RECORD: usize = 100_000;
    const PACK_LEN: u64 = 8 << 20;
    let dir = scratch();
    let disk = Simulated::default();
    let allotted = 3 * PACK_LEN;
    let store = open(dir.path(), |setup, config| {
        setup.disk = Arc::new(disk.clone());
        setup.pack_len_max = Some(PACK_LEN);
        config.allotted_bytes = allotted;
    });
    let deal = deal(1).enter(&store, Role::Provider);
    // Until the disk is full: what compaction needs is in the reserve.
    let mut chunks = Vec::new();
    loop {
        let next = chunk(chunks.len() as u64, RECORD + chunks.len());
        match next.put(&store, &deal) {
            Ok(()) => chunks.push(next),
            Err(PutError::QuotaReached { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    deal.commit(&store, &additions(&chunks), &[]);
    let removed: Vec<u64> = (0..chunks.len() as u64).filter(|at| at % 3 == 0).collect();
    deal.commit(&store, &[], &removed);
    store.empty_trash().unwrap();

    let batches = Arc::new(Mutex::new(Batches::default()));
    let other = super::people::deal(2).enter(&store, Role::Provider);
    let (to_put, puts) = mpsc::channel::<u64>();
    let (put_done, done) = mpsc::channel();
    let put_done_too = put_done.clone();
    let done = Mutex::new(done);
    let folder = dir.path().join("packs");
    thread::scope(|scope| {
        scope.spawn({
            let store = &store;
            let other = &other;
            move || {
                for seed in puts {
                    let outcome = chunk(1_000_000 + seed, 500).put(store, other);
                    put_done_too.send(outcome).unwrap();
                }
            }
        });
        disk.watch({
            let (batches, to_put) = (batches.clone(), to_put.clone());
            let done = Arc::new(done);
            move |op, after| {
                let mut batches = batches.lock().unwrap();
                match op.kind {
                    Kind::Write if !after && op.bytes.len() > RECORD => {
                        batches.bytes += op.bytes.len() as u64;
                        batches.records += 1;
                    }
                    // While a batch is synced, or a pack deleted, another's put comes and goes.
                    Kind::Sync | Kind::Remove | Kind::SyncFolder if !after => {
                        let (bytes, records) = (batches.bytes, batches.records);
                        batches.longest_bytes = batches.longest_bytes.max(bytes);
                        batches.most_records = batches.most_records.max(records);
                        batches.batches += u64::from(records > 0);
                        (batches.bytes, batches.records) = (0, 0);
                        let number = batches.batches;
                        drop(batches);
                        to_put.send(number).unwrap();
                        let outcome = done.lock().unwrap().recv_timeout(Duration::from_secs(60));
                        // It may be refused for its quota, but not held up.
                        assert!(
                            matches!(outcome, Ok(Ok(()) | Err(PutError::QuotaReached { .. }))),
                            "{outcome:?}"
                        );
                        let taken: u64 = std::fs::read_dir(&folder)
                            .unwrap()
                            .map(|pack| pack.unwrap().metadata().map_or(0, |pack| pack.len()))
                            .sum();
                        assert!(taken <= allotted, "{taken} bytes of packs");
                    }
                    _ => {}
                }
            }
        });
        // Also when something below fails: the thread above waits for what the watch sends.
        let _unwatched = Unwatch(&disk);
        drop((to_put, put_done));
        let mut deleted = 0;
        while let Some(compacted) = store.compact(&Stop::default()).unwrap() {
            deleted += compacted.deleted_bytes;
            if compacted.deleted_bytes == 0 {
                break;
            }
        }
        assert!(deleted >= PACK_LEN, "{deleted}");
    });
    let batches = batches.lock().unwrap();
    assert!(batches.batches > 2, "{} batches", batches.batches);
    assert!(batches.longest_bytes <= (4 << 20) + 2 * RECORD as u64, "{}", batches.longest_bytes);
    assert!(batches.most_records <= 64, "{}", batches.most_records);
    drop(batches);
    assert_accounts(&store);
    let kept = (0..).zip(&chunks).filter(|(at, _)| !removed.contains(at));
    kept.for_each(|(_, chunk)| chunk.assert_held(&store));
}

/// Bytes of all packs.
fn taken(dir: &Path) -> u64 {
    let packs = std::fs::read_dir(dir.join("packs")).unwrap();
    packs.map(|pack| pack.unwrap().metadata().map_or(0, |pack| pack.len())).sum()
}

#[test]
fn attack_41_the_book_of_a_full_disk_does_not_eat_the_reserve() {
    const PACK_LEN: u64 = 1 << 20;
    const ALLOTTED: u64 = 8 * PACK_LEN;
    let dir = scratch();
    let disk = Simulated::default();
    let store = open(dir.path(), |setup, config| {
        setup.disk = Arc::new(disk.clone());
        setup.pack_len_max = Some(PACK_LEN);
        config.allotted_bytes = ALLOTTED;
    });
    let deal = deal(1).enter(&store, Role::Provider);
    let mut chunks = Vec::new();
    loop {
        let next = chunk(chunks.len() as u64, 20_000 + chunks.len());
        match next.put(&store, &deal) {
            Ok(()) => chunks.push(next),
            Err(PutError::QuotaReached { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    deal.commit(&store, &additions(&chunks), &[]);
    let most = Arc::new(AtomicU64::new(0));
    disk.watch({
        let (most, folder) = (most.clone(), dir.path().to_owned());
        move |_, after| {
            if after {
                most.fetch_max(taken(&folder), Ordering::Relaxed);
            }
        }
    });
    let (mut written, mut deleted) = (0, 0);
    for number in 1..=2000u64 {
        let book = store.usage().book_bytes;
        store.audited(&deal.id, number, AuditOutcome::Passed, [3; 32]).unwrap();
        let (receipt, note) = deal.receipt(number);
        store.receipt(&deal.id, &receipt, &note).unwrap();
        written += store.usage().book_bytes - book;
        if number % 20 == 0 {
            let mut rounds = 0;
            while let Some(done) = store.compact(&Stop::default()).unwrap() {
                (rounds, deleted) = (rounds + 1, deleted + done.deleted_bytes);
                assert!(rounds < 20 && done.deleted_bytes > 0);
            }
            assert_accounts(&store);
            assert!(store.usage().excess_bytes < PACK_LEN / 4, "{number}: {:?}", store.usage());
        }
    }
    disk.watch_no_more();
    // Several times what the reserve could have taken.
    assert!(written > 3 * PACK_LEN && deleted > 3 * PACK_LEN, "{written}, {deleted}");
    let most = most.load(Ordering::Relaxed);
    assert!(most <= ALLOTTED, "{most} of {ALLOTTED}");
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
    let before = store.contract(&deal.id).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let config = StoreConfig::new(dir.path(), ALLOTTED);
    assert_eq!(crate::rebuild_index(&config).unwrap().findings, []);
    assert_eq!(open(dir.path(), |_, _| {}).contract(&deal.id).unwrap(), before);
}

#[test]
fn the_book_is_not_compacted_again_and_again_for_deletions_that_must_be_kept() {
    let dir = scratch();
    let set = |_: &mut Setup, config: &mut StoreConfig| config.allotted_bytes = 17 << 16;
    let store = open(dir.path(), set);
    let deal = deal(1).enter(&store, Role::Provider);
    // The first packs are nearly all chunks, so that they stay.
    let chunks: Vec<Chunk> = (0..14).map(|seed| chunk(seed, 60_000)).collect();
    deal.keep(&store, &chunks);
    let mut compacted = 0;
    for round in 0..40u8 {
        let segments: Vec<Segment> = (0..50u8).map(|number| segment([round, number])).collect();
        segments.iter().for_each(|segment| store.put_segment(segment).unwrap());
        store.remove_segments(&segments.iter().map(Segment::id).collect::<Vec<_>>()).unwrap();
        let mut packs = 0;
        while let Some(done) = store.compact(&Stop::default()).unwrap() {
            packs += 1;
            assert!(packs < 40 && done.deleted_bytes > 0, "{packs}: {:?}", store.usage());
        }
        compacted += packs;
        // There is nothing to do until something changes.
        assert_eq!(store.compact(&Stop::default()).unwrap(), None);
    }
    let usage = store.usage();
    assert!(compacted > 3 && usage.book_bytes > 2000 * 39, "{compacted}, {usage:?}");
    assert_accounts(&store);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

fn segment(seed: [u8; 2]) -> Segment {
    let id = |at: u8| [[seed[0], seed[1], at, 1]; 8].as_flattened().try_into().unwrap();
    Segment {
        code: Code::new(2, 6).unwrap(),
        len: 1000,
        chunks: (0..6).map(|at| ChunkId(id(at))).collect(),
        holders: (0..6).map(|at| NodeId(id(at))).collect(),
    }
}
