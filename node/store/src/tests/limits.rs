//! Limits and packs, with numbers that a test can reach.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::people::{Chunk, HEADER_LEN, additions, assert_accounts, chunk, deal};
use super::simulated::Simulated;
use crate::error::{OpenError, PutError, ReadError};
use crate::opening::Setup;
use crate::{Role, Stop, Store};

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

/// Room for one revision and a few records.
const PACK_LEN: u64 = 6 * RECORD_LEN;

/// A store whose trash has no term.
fn open(dir: &TempDir, pack_len_max: u64) -> Store {
    let config = crate::StoreConfig { trash_term_seconds: 0, ..crate::StoreConfig::new(dir.path(), 1 << 30) };
    Store::open_with(config, Setup { pack_len_max: Some(pack_len_max), ..Setup::default() }).unwrap()
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
    let (pack_len, book) = (8 * RECORD_LEN, 2 * RECORD_LEN);
    let config = crate::StoreConfig::new(dir.path(), pack_len + book + 2 * RECORD_LEN);
    let setup = Setup {
        disk: std::sync::Arc::new(disk),
        pack_len_max: Some(pack_len),
        pending_bytes_max: 3 * RECORD_LEN,
        ..Setup::default()
    };
    let store = Store::open_with(config, setup).unwrap();
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks = chunks(0..5);
    chunks[..2].iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
    for chunk in chunks.iter().cycle().skip(2).take(3) {
        assert!(matches!(chunk.put(&store, &deal), Err(PutError::QuotaReached { .. })));
    }
}

fn compact(store: &Store) {
    while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
    assert_accounts(store);
}

#[test]
fn packs_are_rolled_and_compaction_deletes_the_dead_ones() {
    let dir = TempDir::new().unwrap();
    let chunks = chunks(0..7);
    {
        let store = open(&dir, PACK_LEN);
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, &chunks);
        let before = packs(&dir);
        assert!(before.len() >= 2, "{before:?}");
        deal.commit(&store, &[], &[0, 1, 2, 3, 5]);
        compact(&store);
        assert!(packs(&dir).starts_with(&before), "the trash keeps its term");
        assert!(store.empty_trash().unwrap() == 5 * RECORD_LEN);
        assert!(store.usage().dead_bytes >= 5 * RECORD_LEN);
        compact(&store);
        let usage = store.usage();
        assert!(usage.dead_bytes < 3 * RECORD_LEN, "{usage:?}");
        assert!(!packs(&dir).contains(&before[0]));
        chunks[4].assert_held(&store);
        chunks[6].assert_held(&store);
    }
    {
        // Opening goes on in the last pack.
        let store = open(&dir, PACK_LEN);
        chunks[4].assert_held(&store);
        deal(1).keep(&store, &self::chunks(10..12));
        assert_eq!(store.usage().chunks, 4);
        deal(1).commit(&store, &[], &[4, 6, 7, 8]);
        store.empty_trash().unwrap();
        compact(&store);
        let usage = store.usage();
        assert_eq!((usage.chunks, usage.live_bytes, usage.trash_bytes), (0, 0, 0));
        assert!(usage.dead_bytes < PACK_LEN / 2, "{usage:?}");
    }
    // The contract's book has moved along.
    let store = open(&dir, PACK_LEN);
    assert_eq!(store.contract(&deal(1).id).unwrap().revision.unwrap().0.sequence, 4);
    deal(1).keep(&store, &chunks);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
}

#[test]
fn packs_whose_names_are_gone_are_noticed_in_turns() {
    let dir = TempDir::new().unwrap();
    // Every record has a pack of its own.
    let store = open(&dir, 1);
    let deal = deal(1).enter(&store, Role::Provider);
    (0..1100).for_each(|seed| chunk(seed, 40).put(&store, &deal).unwrap());
    let next = store.look_at_packs(0).unwrap();
    assert_eq!((next, store.look_at_packs(next).unwrap()), (1024, 0));
    let refusal = |from| match store.look_at_packs(from) {
        Err(OpenError::Pack { file, why }) => (file, why),
        other => panic!("{other:?}"),
    };
    // Shorter than it was, of another file's name, and gone.
    let packs = dir.path().join("packs");
    fs::File::options().write(true).open(packs.join("00001090.pack")).unwrap().set_len(100).unwrap();
    assert_eq!(refusal(next), (packs.join("00001090.pack"), "is shorter than it was"));
    fs::copy(packs.join("00000007.pack"), packs.join("copy")).unwrap();
    fs::rename(packs.join("copy"), packs.join("00000007.pack")).unwrap();
    assert_eq!(refusal(0).0, packs.join("00000007.pack"));
    fs::remove_file(packs.join("00000003.pack")).unwrap();
    assert_eq!(refusal(0).0, packs.join("00000003.pack"));
}

#[test]
fn a_folder_that_goes_away_under_a_put_is_named() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir, 1);
    let deal = deal(1).enter(&store, Role::Provider);
    let packs = dir.path().join("packs");
    fs::rename(&packs, dir.path().join("away")).unwrap();
    let refused = chunks(0..1)[0].put(&store, &deal);
    assert!(
        matches!(&refused, Err(PutError::Failed(error)) if error.to_string().contains(&packs.display().to_string())),
        "{refused:?}"
    );
    fs::rename(dir.path().join("away"), &packs).unwrap();
}

#[test]
fn a_pack_stays_while_something_in_it_waits_for_its_commit() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir, PACK_LEN);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks = chunks(0..7);
    deal.keep(&store, &chunks[..3]);
    chunks[3..].iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
    deal.commit(&store, &[], &[0, 1, 2]);
    store.empty_trash().unwrap();
    compact(&store);
    deal.commit(&store, &additions(&chunks[3..]), &[]);
    compact(&store);
    chunks[3..].iter().for_each(|chunk| chunk.assert_held(&store));
    assert_eq!(store.usage().live_bytes, 4 * RECORD_LEN);
}

#[test]
fn attack_41_a_commit_under_way_keeps_what_is_given_up_meanwhile() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let chunks = chunks(0..2);
    {
        let store = disk.open_with(dir.path(), |setup| setup.pack_len_max = Some(1));
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
        chunks[0].assert_held(&store);
        let usage = store.usage();
        assert_eq!((usage.live_bytes, usage.pending_bytes), (RECORD_LEN, 0));
        // The one that no commit adds.
        assert_eq!(usage.dead_bytes, RECORD_LEN);
    }
    chunks[0].assert_held(&open(&dir, 1));
}

#[test]
fn attack_41_a_read_finds_a_chunk_or_not_but_never_damage_while_packs_come_and_go() {
    let dir = TempDir::new().unwrap();
    // Every record has a pack of its own.
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
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(
                    store.look_at_packs(0).unwrap(),
                    0,
                    "packs that compaction deletes are not missed"
                );
                looks += 1;
            }
            looks
        });
        for round in 0..60 {
            deal.keep(&store, std::slice::from_ref(chunk));
            deal.commit(&store, &[], &[round]);
            store.empty_trash().unwrap();
            compact(&store);
        }
        ended.store(true, Ordering::Relaxed);
        let found: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(found > 0);
        assert!(looker.join().unwrap() > 0);
    });
}
