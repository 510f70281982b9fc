//! Power cuts between any two operations on packs: whatever of the unsynced bytes and names got to
//! the disk, in whatever order, nothing that was acknowledged is lost and nothing else is served. Not
//! here: LMDB's own commits, see `torn_index`.

use std::fs;
use std::sync::atomic::Ordering;

use super::people::{ENDS, chunk};
use super::world::{State, World, compact};
use crate::Stop;

#[test]
fn attack_41_a_power_cut_during_puts_and_commits_loses_nothing_acknowledged() {
    let mut world = World::new(3000);
    world.cut_from_now_on();
    for round in 0..8 {
        let chunks = world.fresh(1 + round % 4);
        world.keep(round % 2, &chunks);
        // One that no commit covers, and whose bytes go with the same sync.
        let waiting = world.fresh(1);
        waiting[0].put(&world.store, &world.deals[round % 2]).unwrap();
        if round % 3 == 2 {
            // Held by both.
            world.keep((round + 1) % 2, &chunks);
        }
    }
    let images = world.end();
    println!("{images} images of the disk");
    assert!(images > 200);
}

#[test]
fn attack_41_a_power_cut_during_removals_and_compaction_loses_nothing_acknowledged() {
    let mut world = World::new(4000);
    world.cut_from_now_on();
    let mut deleted = 0;
    for round in 0..5 {
        let chunks = world.fresh(8);
        world.keep(round % 2, &chunks);
        let live = world.live(round % 2);
        world.commit(round % 2, &[], &live[..live.len() * 2 / 3]);
        world.store.empty_trash().unwrap();
        deleted += compact(&world.store);
    }
    assert!(deleted > 8000, "{deleted}");
    let images = world.end();
    println!("{images} images of the disk");
    assert!(images > 200);
}

#[test]
fn attack_41_a_power_cut_while_a_contract_is_given_up_loses_nothing_of_others() {
    let mut world = World::new(4000);
    world.cut_from_now_on();
    let (own, shared) = (world.fresh(6), world.fresh(3));
    world.keep(0, &own);
    world.keep(0, &shared);
    world.keep(1, &shared);
    world.time.store(ENDS + 1_000_000, Ordering::Relaxed);
    // Both have ended; the other's chunks go as well.
    world.expected().limbo.extend(own.iter().chain(&shared).map(|chunk| chunk.id));
    let states: Vec<State> = (0..2).map(|at| State { entries: Vec::new(), ..world.state(at) }).collect();
    world.change(0, states[0].clone(), |_| {
        world.change(1, states[1].clone(), |_| {
            assert_eq!(world.store.give_up_ended().unwrap().len(), 2);
        });
    });
    world.expected().limbo.clear();
    world.store.empty_trash().unwrap();
    assert!(compact(&world.store) > 0);
    let images = world.end();
    println!("{images} images of the disk");
    assert!(images > 40);
}

#[test]
fn attack_41_a_power_cut_during_a_scrub_that_mends_loses_nothing_acknowledged() {
    let mut world = World::new(1 << 20);
    world.cut_from_now_on();
    let large = chunk(500, 40_000);
    world.expected().chunks.insert(large.id, large.clone());
    let small = world.fresh(4);
    world.keep(0, &small);
    world.keep(1, std::slice::from_ref(&large));
    let pack = world.dir.path().join("packs");
    let pack = fs::read_dir(pack).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&pack).unwrap();
    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|it| it == needle).unwrap();
    // The roots behind the large chunk's bytes, and the last record of the book.
    let roots = at(&large.bytes[..64]) + large.bytes.len() + 5;
    let book = bytes.windows(4).rposition(|it| it == b"CHb\x02").unwrap() + 40;
    world.expected().damaged = true;
    world.disk.rot(&pack, roots, 1);
    world.disk.rot(&pack, book, 1);
    let slice = world.store.scrub(1 << 30, &Stop::default()).unwrap();
    assert_eq!((slice.mended, slice.book_mended, slice.rot.len(), slice.lap_ended), (1, true, 0, true));
    assert!(compact(&world.store) > 0);
    world.expected().damaged = false;
    let more = world.fresh(2);
    world.keep(0, &more);
    let images = world.end();
    println!("{images} images of the disk");
    assert!(images > 50);
}
