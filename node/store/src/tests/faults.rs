//! Disks that fail at one operation: what was acknowledged is kept and served, before and after a
//! restart and a power cut; a full disk refuses and goes on, any other fault of a change stops the
//! store, and no upkeep minds that one read failed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::people::{Chunk, additions, assert_accounts, chunk, deal};
use super::simulated::{Fault, Kind, Simulated, scratch};
use super::world::{World, compact, config};
use crate::error::{PutError, ReadError, StoreError};
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
