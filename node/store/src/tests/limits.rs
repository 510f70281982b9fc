//! Limits and packs, with numbers that a test can reach.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::people::{Chunk, HEADER_LEN, additions, chunk, deal};
use super::simulated::Simulated;
use crate::error::{CommitError, PutError, ReadError};
use crate::{Role, Store};

const RECORD_LEN: u64 = 1000;

fn chunks(seeds: std::ops::Range<u64>) -> Vec<Chunk> {
    seeds.map(|seed| chunk(seed, (RECORD_LEN - HEADER_LEN) as usize)).collect()
}

fn packs(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("packs")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn open(dir: &TempDir, pack_len_max: u64) -> Store {
    Simulated::default().open_with(dir.path(), |setup| setup.pack_len_max = pack_len_max)
}

#[test]
fn a_contract_may_not_put_without_end_and_never_commit() {
    let dir = TempDir::new().unwrap();
    let store =
        Simulated::default().open_with(dir.path(), |setup| setup.pending_bytes_max = 3 * RECORD_LEN + 500);
    let (busy, free) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let chunks = chunks(0..10);
    chunks[..3].iter().for_each(|chunk| chunk.put(&store, &busy).unwrap());
    let refused = chunks[3].put(&store, &busy);
    assert!(matches!(refused, Err(PutError::Busy { waiting }) if waiting == 3 * RECORD_LEN), "{refused:?}");
    // Others are not held up by it, and what is here already needs no room.
    chunks[9].put(&store, &free).unwrap();
    chunks[2].put(&store, &busy).unwrap();
    // A commit makes room for what it takes over, whoever commits it.
    busy.commit(&store, &[chunks[0].addition()], &[]);
    chunks[3].put(&store, &busy).unwrap();
    assert!(matches!(chunks[4].put(&store, &busy), Err(PutError::Busy { .. })));
    free.commit(&store, &[chunks[1].addition()], &[]);
    chunks[4].put(&store, &busy).unwrap();
    // So does giving up: those bytes are dead, and nothing else is touched.
    assert_eq!(store.abandon(&busy.id), 3 * RECORD_LEN);
    let usage = store.usage();
    assert_eq!((usage.pending_bytes, usage.dead_bytes, usage.chunks), (RECORD_LEN, 3 * RECORD_LEN, 2));
    assert!(store.holds(&chunks[0].id) && !store.holds(&chunks[4].id));
    chunks[5..8].iter().for_each(|chunk| chunk.put(&store, &busy).unwrap());
    busy.commit(&store, &additions(&chunks[5..8]), &[]);
}

#[test]
fn a_refused_put_takes_nothing_of_what_the_contract_may_put() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let config = crate::StoreConfig { dir: dir.path().to_owned(), allotted_bytes: 2 * RECORD_LEN };
    let setup = crate::Setup {
        disk: std::sync::Arc::new(disk),
        pending_bytes_max: 3 * RECORD_LEN,
        ..crate::Setup::default()
    };
    let store = Store::open_with(config, setup).unwrap();
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks = chunks(0..5);
    chunks[..2].iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
    for chunk in chunks.iter().cycle().skip(2).take(3) {
        assert!(matches!(chunk.put(&store, &deal), Err(PutError::QuotaReached { .. })));
    }
}

#[test]
fn packs_are_rolled_and_deleted_when_all_of_one_is_dead() {
    let dir = TempDir::new().unwrap();
    let chunks = chunks(0..7);
    {
        let store = open(&dir, 2 * RECORD_LEN);
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, &chunks);
        assert_eq!(packs(&dir), ["00000000.pack", "00000001.pack", "00000002.pack", "00000003.pack"]);
        deal.commit(&store, &[], &[0, 2, 3]);
        assert_eq!(packs(&dir), ["00000000.pack", "00000002.pack", "00000003.pack"]);
        let usage = store.usage();
        assert_eq!((usage.used_bytes, usage.dead_bytes), (5 * RECORD_LEN, RECORD_LEN));
    }
    {
        // Opening goes on in the last pack, which is not full.
        let store = open(&dir, 2 * RECORD_LEN);
        deal(1).keep(&store, &self::chunks(10..12));
        assert_eq!(packs(&dir), ["00000000.pack", "00000002.pack", "00000003.pack", "00000004.pack"]);
        deal(1).commit(&store, &[], &[1, 4, 5, 6, 7, 8]);
        assert_eq!(packs(&dir), [""; 0]);
        assert_eq!(store.usage().used_bytes, 0);
    }
    // The numbers of packs that were there in this run are not used again.
    let store = open(&dir, 2 * RECORD_LEN);
    deal(1).keep(&store, &chunks);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn a_full_pack_stays_while_something_in_it_waits_for_its_commit() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir, 2 * RECORD_LEN);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks = chunks(0..3);
    deal.keep(&store, &chunks[..1]);
    chunks[1..].iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
    deal.commit(&store, &[], &[0]);
    assert_eq!(packs(&dir), ["00000000.pack", "00000001.pack"]);
    deal.commit(&store, &additions(&chunks[1..]), &[]);
    chunks[1..].iter().for_each(|chunk| chunk.assert_held(&store));
    deal.commit(&store, &[], &[1, 2]);
    assert_eq!(packs(&dir), [""; 0]);
    chunks[0].put(&store, &deal).unwrap();
    assert_eq!(store.abandon(&deal.id), RECORD_LEN);
    assert_eq!(packs(&dir), [""; 0]);
}

#[test]
fn attack_41_a_commit_under_way_keeps_what_is_given_up_meanwhile() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let chunks = chunks(0..2);
    {
        let store = disk.open_with(dir.path(), |setup| setup.pack_len_max = 1);
        let deal = deal(1).enter(&store, Role::Provider);
        chunks.iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
        disk.watch_syncs({
            let (store, id) = (store.clone(), deal.id);
            move || {
                store.abandon(&id);
            }
        });
        deal.commit(&store, &[chunks[0].addition()], &[]);
        disk.watch_syncs(|| {});
        // The one that no commit adds is gone with its pack.
        assert_eq!(packs(&dir), ["00000000.pack"]);
        chunks[0].assert_held(&store);
        let usage = store.usage();
        assert_eq!((usage.used_bytes, usage.pending_bytes, usage.dead_bytes), (RECORD_LEN, 0, 0));
    }
    chunks[0].assert_held(&open(&dir, 1));
}

#[test]
fn attack_41_a_chunk_that_is_let_go_while_a_commit_that_adds_it_syncs_is_missing() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let store = disk.open(dir.path());
    let (a, b) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let chunks = chunks(0..2);
    a.keep(&store, &chunks[..1]);
    chunks.iter().for_each(|chunk| chunk.put(&store, &b).unwrap());
    let (revision, note) = a.revise(&store, &[], &[0]);
    disk.watch_syncs({
        let (store, id) = (store.clone(), a.id);
        move || store.commit(&id, &revision, &note, &[], &[0]).unwrap()
    });
    let refused = b.try_commit(&store, &additions(&chunks), &[]);
    disk.watch_syncs(|| {});
    assert!(matches!(refused, Err(CommitError::Missing(missing)) if missing == [chunks[0].id]));
    assert_eq!(store.with_inventory(&b.id, |it| it.len()), Some(0));
    assert!(!store.holds(&chunks[0].id));
    // The other one still waits.
    assert_eq!(store.usage().pending_bytes, RECORD_LEN);
    b.keep(&store, &chunks);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn attack_41_a_read_finds_a_chunk_or_not_but_never_damage_while_packs_come_and_go() {
    let dir = TempDir::new().unwrap();
    // Every record has a pack of its own, which is deleted with it.
    let store = open(&dir, 1);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunk = &chunks(0..1)[0];
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (store, ended) = (&store, &ended);
                scope.spawn(move || {
                    let mut found = 0;
                    while !ended.load(Ordering::Relaxed) {
                        match store.read(&chunk.id) {
                            Ok(bytes) => {
                                assert!(bytes == chunk.bytes);
                                found += 1;
                            }
                            Err(ReadError::NotHeld) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    found
                })
            })
            .collect();
        for round in 0..60 {
            deal.keep(&store, std::slice::from_ref(chunk));
            deal.commit(&store, &[], &[round]);
        }
        ended.store(true, Ordering::Relaxed);
        let found: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(found > 0);
    });
}
