//! Disks that fail at one operation: what was acknowledged is kept and served, before and after a
//! restart and a power cut; a full disk refuses and goes on, any other fault of a change stops the
//! store, and no upkeep minds that one read failed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use commonhold_format::statement::AuditOutcome;

use super::people::{Chunk, additions, assert_accounts, chunk, deal};
use super::simulated::{Fault, Kind, Simulated, scratch};
use super::world::{World, compact, config};
use crate::error::{BookError, CommitError, PutError, ReadError, StoreError};
use crate::opening::Setup;
use crate::{Role, Stop, Store};

const PACK_LEN: u64 = 4000;
/// Operations of a compaction that was told to stop: a record, perhaps in a new pack, what commits it,
/// and what deletes a pack that was done with.
const STOPS_WITHIN: u64 = 12;

/// What became of something that may have met a fault.
fn go_on(world: &World, error: &StoreError, fault: Fault) {
    match (error, fault) {
        (StoreError::Failed { .. }, _) => assert!(world.store.failure().is_some()),
        (StoreError::Full { .. }, Fault::Full(_)) => assert!(world.store.failure().is_none()),
        (error, fault) => panic!("{error} after {fault:?}"),
    }
}

/// Puts, commits, removes, empties the trash and compacts, whatever fails, until the store stops.
fn work(world: &mut World, fault: Fault) {
    for round in 0..4 {
        let at = round % 2;
        let mut put = Vec::new();
        for chunk in world.fresh(4) {
            match chunk.put(&world.store, &world.deals[at]) {
                Ok(()) => put.push(chunk),
                Err(PutError::DiskFull) => assert!(matches!(fault, Fault::Full(_))),
                Err(PutError::Failed(error)) => go_on(world, &error, fault),
                Err(error) => panic!("{error}"),
            }
        }
        for removes in [false, true] {
            let live = if removes { world.live(at) } else { Vec::new() };
            let adds = if removes { &[] } else { &put[..] };
            let outcome = world.try_commit(at, adds, &live[..live.len() * 2 / 3]);
            outcome.unwrap_or_else(|error| go_on(world, &error, fault));
            if world.store.failure().is_some() {
                return;
            }
        }
        let upkeep =
            world.store.empty_trash().and_then(|_| world.store.compact(&Stop::default())).and_then(|_| {
                world.store.scrub(10_000, &Stop::default()).map(|slice| assert!(slice.rot.is_empty()))
            });
        upkeep.unwrap_or_else(|error| go_on(world, &error, fault));
        assert_accounts(&world.store);
        if world.store.failure().is_some() {
            return;
        }
    }
}

/// Lets the work meet a fault at each operation of a kind in turn; answers how many there were.
fn fail_each(kind: Kind, fault: Fault) -> u64 {
    for number in 0.. {
        let mut world = World::new(PACK_LEN);
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        world.disk.fail(move |op| {
            (op.kind == kind && counted.fetch_add(1, Ordering::Relaxed) == number).then_some(fault)
        });
        work(&mut world, fault);
        let met = count.load(Ordering::Relaxed) > number;
        world.disk.work_again();
        if met {
            let stopped = world.store.failure().is_some();
            // Nobody may stop for want of space before something is promised on it.
            if matches!((kind, fault), (Kind::Create | Kind::Write | Kind::Allocate, Fault::Full(_))) {
                assert!(!stopped, "{kind:?} {number}: {:?}", world.store.failure());
            }
            if matches!(kind, Kind::Sync | Kind::SyncFolder) {
                assert!(stopped, "{kind:?} {number}");
            }
            world.cut(2);
        }
        if !met || world.store.failure().is_none() {
            // It goes on as if nothing had been, in the same process, and nothing waits for ever.
            world.deals.iter().for_each(|deal| {
                world.store.abandon(&deal.id);
            });
            assert_eq!(world.store.usage().pending_bytes, 0, "{kind:?} {number}");
            let chunks = world.fresh(3);
            world.keep(0, &chunks);
            while !world.store.scrub(1 << 30, &Stop::default()).unwrap().lap_ended {}
            compact(&world.store);
        }
        world.end();
        if !met {
            return number;
        }
    }
    unreachable!()
}

#[test]
fn attack_41_a_disk_without_space_refuses_and_the_store_goes_on() {
    for kind in [Kind::Create, Kind::Write, Kind::Allocate, Kind::Sync] {
        for written in [0, 30] {
            if written > 0 && kind != Kind::Write {
                continue;
            }
            let met = fail_each(kind, Fault::Full(written));
            println!("{kind:?} without space: {met} places");
            assert!(met > 3, "{kind:?}: {met}");
        }
    }
}

#[test]
fn attack_41_a_fault_at_any_operation_loses_nothing_acknowledged() {
    for kind in
        [Kind::Create, Kind::Remove, Kind::SyncFolder, Kind::Read, Kind::Write, Kind::Allocate, Kind::Sync]
    {
        for written in [0, 700] {
            if written > 0 && kind != Kind::Write {
                continue;
            }
            let met = fail_each(kind, Fault::Io(written));
            println!("{kind:?} fails: {met} places");
            assert!(met > 1, "{kind:?}: {met}");
        }
    }
}

fn open(dir: &Path, disk: &Simulated) -> Store {
    let setup = Setup { disk: Arc::new(disk.clone()), pack_len_max: Some(64 << 10), ..Setup::default() };
    Store::open_with(config(dir), setup).unwrap()
}

#[test]
fn puts_leave_what_compaction_and_the_index_may_need() {
    const HEADROOM: u64 = (64 << 10) + (16 << 20);
    let dir = scratch();
    let disk = Simulated::default();
    let store = open(dir.path(), &disk);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks: Vec<Chunk> = (0..40).map(|seed| chunk(seed, 20_000)).collect();
    assert_eq!(store.room(), store.usage().free_bytes);
    deal.keep(&store, &chunks[..20]);
    disk.has(HEADROOM);
    // What was allocated before is used up, and no more.
    let taken = chunks[20..].iter().take_while(|chunk| chunk.put(&store, &deal).is_ok()).count();
    assert!(taken < 4, "{taken}");
    assert!(store.room() < chunks[0].record_len());
    assert!(matches!(chunks[39].put(&store, &deal), Err(PutError::DiskFull)));
    assert!(store.failure().is_none());
    // Removing, committing and compacting go on.
    deal.commit(&store, &additions(&chunks[20..20 + taken]), &(0..15).collect::<Vec<_>>());
    store.empty_trash().unwrap();
    assert!(compact(&store) > 0);
    disk.has(HEADROOM + 25_000);
    chunks[39].put(&store, &deal).unwrap();
    assert_accounts(&store);
}

/// Bytes that the file system has for the index in the test below.
static INDEX_MAY_HAVE: AtomicU64 = AtomicU64::new(0);

fn allocate_for_the_index(_: &File, to: u64) -> io::Result<()> {
    if to <= INDEX_MAY_HAVE.load(Ordering::Relaxed) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

#[test]
fn attack_41_an_index_without_space_refuses_before_it_writes_and_the_store_goes_on() {
    const STEP: u64 = 256 << 10;
    let dir = scratch();
    let store = open(dir.path(), &Simulated::default());
    let data = dir.path().join("index/data.mdb");
    let deals = [deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Owner)];
    {
        let mut room = store.0.index.env.room.lock().unwrap();
        (room.allocate, room.allocated) = (allocate_for_the_index, 0);
    }
    // Gives what a change needs and no more; it is refused until then, and never writes beyond it.
    let mut refused = 0;
    let mut go = |change: &dyn Fn() -> Result<(), StoreError>| {
        loop {
            let outcome = change();
            assert!(store.failure().is_none(), "{:?}", store.failure());
            let allocated = store.0.index.env.room.lock().unwrap().allocated;
            let len = fs::metadata(&data).unwrap().len();
            assert!(outcome.is_err() || len <= allocated, "{len} bytes, and space for {allocated}");
            match outcome {
                Ok(()) => return,
                Err(StoreError::Full { why }) => assert!(why.contains("index"), "{why}"),
                Err(error) => panic!("{error}"),
            }
            assert_accounts(&store);
            refused += 1;
            INDEX_MAY_HAVE.fetch_add(STEP, Ordering::Relaxed);
        }
    };
    let failed = |error| match error {
        CommitError::Failed(error) => error,
        error => panic!("{error}"),
    };
    let chunks: Vec<Chunk> = (0..4000).map(|seed| chunk(seed, 8)).collect();
    for (number, some) in chunks.chunks(500).enumerate() {
        some.iter().for_each(|chunk| chunk.put(&store, &deals[0]).unwrap());
        for deal in &deals {
            go(&|| deal.try_commit(&store, &additions(some), &[]).map_err(failed));
        }
        let gone: Vec<u64> = (0..400).map(|at| number as u64 * 500 + at).collect();
        go(&|| deals[0].try_commit(&store, &[], &gone).map_err(failed));
        go(&|| {
            let audited = store.audited(&deals[0].id, number as u64, AuditOutcome::Passed, [1; 32]);
            audited.map_err(|error| match error {
                BookError::Store(error) => error,
                error => panic!("{error}"),
            })
        });
        if number % 2 == 1 {
            go(&|| store.empty_trash().map(|_| ()));
        }
        go(&|| store.compact(&Stop::default()).map(|_| ()));
        go(&|| store.scrub(100_000, &Stop::default()).map(|_| ()));
    }
    assert!(refused > 8, "{refused}");
    // What was refused is not there after all.
    let told =
        |store: &Store| deals.iter().map(|deal| super::people::root(store, &deal.id)).collect::<Vec<_>>();
    let before = told(&store);
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(crate::rebuild_index(&config(dir.path())).unwrap().findings, []);
    assert_eq!(told(&open(dir.path(), &Simulated::default())), before);
}

#[test]
fn a_chunk_that_the_disk_does_not_give_is_neither_lost_nor_damaged() {
    let dir = scratch();
    let disk = Simulated::default();
    let store = open(dir.path(), &disk);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks: Vec<Chunk> = (0..3).map(|seed| chunk(seed, 20_000)).collect();
    deal.keep(&store, &chunks);
    disk.fail(|op| (op.kind == Kind::Read).then_some(Fault::Io(0)));
    for chunk in &chunks {
        assert!(matches!(store.read(&chunk.id), Err(ReadError::Io { .. })));
        assert!(matches!(store.prove(&chunk.id, 3), Err(ReadError::Io { .. })));
    }
    // No part of the pack can be read: that is not damage to what is in it, and the pack is named. The
    // scrub goes on behind it.
    let pack = dir.path().join("packs/00000000.pack");
    assert!(matches!(
        store.scrub(1 << 30, &Stop::default()),
        Err(StoreError::Pack { file, .. }) if file == pack
    ));
    assert!(matches!(store.check(&Stop::default()), Err(StoreError::Pack { file, .. }) if file == pack));
    let behind = store.scrub(1 << 30, &Stop::default()).unwrap();
    assert_eq!((behind.lap_ended, behind.bytes), (true, 0));
    disk.work_again();
    assert!(store.failure().is_none());
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
    assert_eq!(store.scrub(1 << 30, &Stop::default()).unwrap().chunks, 3);
}

#[test]
fn while_a_sync_takes_its_time_others_put_and_read() {
    let dir = scratch();
    let disk = Simulated::default();
    let store = open(dir.path(), &disk);
    let (slow, other) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let (early, late) = (chunk(1, 3000), chunk(2, 3000));
    other.keep(&store, std::slice::from_ref(&early));
    late.put(&store, &slow).unwrap();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    disk.watch(move |op, after| {
        if op.kind == Kind::Sync && !after {
            begun.send(()).unwrap();
            // Until everything below was done; a sync that nobody lets go on fails the test.
            released.lock().unwrap().recv_timeout(Duration::from_secs(120)).unwrap();
        }
    });
    thread::scope(|scope| {
        let (store, slow, other) = (&store, &slow, &other);
        let addition = late.addition();
        let first = scope.spawn(move || slow.try_commit(store, &[addition], &[]));
        begins.recv_timeout(Duration::from_secs(120)).unwrap();
        let more: Vec<Chunk> = (10..20).map(|seed| chunk(seed, 3000)).collect();
        for chunk in &more {
            chunk.put(store, other).unwrap();
            early.assert_held(store);
            store.prove(&early.id, 1).unwrap();
        }
        assert!(!first.is_finished(), "a commit is answered after its sync");
        let adds = additions(&more);
        let second = scope.spawn(move || other.try_commit(store, &adds, &[]));
        release.send(()).unwrap();
        first.join().unwrap().unwrap();
        release.send(()).unwrap();
        second.join().unwrap().unwrap();
        more.iter().for_each(|chunk| chunk.assert_held(store));
    });
    late.assert_held(&store);
}

#[test]
fn compaction_can_be_stopped_at_any_operation_and_is_finished_by_the_next() {
    for number in 0.. {
        let mut world = World::new(PACK_LEN);
        for at in [0, 1, 0] {
            let chunks = world.fresh(8);
            world.keep(at, &chunks);
            let live = world.live(at);
            world.commit(at, &[], &live[..live.len() * 2 / 3]);
        }
        world.store.empty_trash().unwrap();
        let (stop, count) = (Arc::new(Stop::default()), Arc::new(AtomicU64::new(0)));
        world.disk.watch({
            let (stop, count) = (stop.clone(), count.clone());
            move |_, after| {
                if after && count.fetch_add(1, Ordering::Relaxed) == number {
                    stop.stop();
                }
            }
        });
        while world.store.compact(&stop).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
        world.disk.watch_no_more();
        let stopped = stop.is_set();
        // What was copied is committed, and no more is.
        let surplus = count.load(Ordering::Relaxed).saturating_sub(number + 1);
        assert!(!stopped || surplus <= STOPS_WITHIN, "{surplus} operations after the stop");
        assert_accounts(&world.store);
        world.cut(2);
        compact(&world.store);
        assert!(world.store.usage().dead_bytes < 2 * PACK_LEN, "{:?}", world.store.usage());
        world.end();
        if !stopped {
            println!("stopped at {number} operations");
            assert!(number > 20, "{number}");
            return;
        }
    }
}
