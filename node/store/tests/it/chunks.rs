//! Chunks: taken in, read, counted, damaged and let go.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::CHUNK_LEN_MAX;
use commonhold_store::{CommitError, PutError, ReadError, Role, SMALL_CHUNK_LEN_MAX, Store, StoreConfig};
use tempfile::TempDir;

use crate::people::{
    Chunk, HEADER_LEN, PACK_HEADER_LEN, PACK_LEN, additions, assert_accounts, chunk, deal, entries, open,
    open_with, open_without_trash,
};

fn only_pack(dir: &Path) -> PathBuf {
    dir.join("packs").join("00000000.pack")
}

/// Flips a bit of the chunk's record; `at` counts from the record's first byte.
fn flip(dir: &Path, chunk: &Chunk, at: usize) {
    let file = only_pack(dir);
    let mut pack = fs::read(&file).unwrap();
    let header = |bytes: &[u8]| bytes.starts_with(b"CHc\x02") && bytes[8..] == chunk.id.0;
    let record = pack.windows(40).rposition(header).unwrap();
    pack[record + at] ^= 0x10;
    fs::write(&file, pack).unwrap();
}

#[test]
fn chunks_of_every_kind_of_length_come_back_before_and_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let lens = [1, 2, 1023, 1024, 1025, 65_536, CHUNK_LEN_MAX - 1, CHUNK_LEN_MAX];
    let chunks: Vec<Chunk> = (0..).zip(lens).map(|(seed, len)| chunk(seed, len)).collect();
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        for chunk in &chunks {
            assert!(!store.holds(&chunk.id));
            chunk.put(&store, &deal).unwrap();
            assert!(store.holds(&chunk.id));
            chunk.assert_held(&store);
        }
        deal.commit(&store, &additions(&chunks), &[]);
        chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    }
    let store = open(dir.path());
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    assert_eq!(store.usage().chunks, chunks.len() as u64);
    assert!(matches!(store.read(&ChunkId([9; 32])), Err(ReadError::NotHeld)));
}

#[test]
fn bytes_that_are_not_the_chunk_are_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let good = chunk(1, 100);
    let mut bad = good.bytes.clone();
    bad[50] ^= 1;
    assert!(matches!(store.put(deal.id, good.id, &bad), Err(PutError::WrongId)));
    assert!(matches!(store.put(deal.id, good.id, &[]), Err(PutError::WrongId)));
    let long = vec![0; CHUNK_LEN_MAX + 1];
    let id = commonhold_format::tree::chunk_id(&long);
    assert!(matches!(store.put(deal.id, id, &long), Err(PutError::WrongId)));
    assert_eq!(store.usage().pending_bytes, 0);
}

#[test]
fn chunks_are_taken_in_only_under_contracts_that_this_node_provides() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let owned = deal(1).enter(&store, Role::Owner);
    let chunk = chunk(1, 100);
    assert!(matches!(chunk.put(&store, &owned), Err(PutError::Unknown)));
    let nobody = store.put(ContractId([0; 32]), chunk.id, &chunk.bytes);
    assert!(matches!(nobody, Err(PutError::Unknown)));
}

#[test]
fn what_was_not_committed_is_gone_after_a_restart_and_its_bytes_are_free() {
    let dir = TempDir::new().unwrap();
    let (kept, lost) = (chunk(1, 5000), chunk(2, 7000));
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, from_ref(&kept));
        lost.put(&store, &deal).unwrap();
        assert_eq!(store.usage().pending_bytes, lost.record_len());
    }
    let store = open(dir.path());
    kept.assert_held(&store);
    assert!(matches!(store.read(&lost.id), Err(ReadError::NotHeld)));
    let usage = store.usage();
    assert_eq!((usage.live_bytes, usage.pending_bytes, usage.chunks), (kept.record_len(), 0, 1));
    assert_eq!((usage.trash_bytes, usage.dead_bytes, usage.reserve_bytes), (0, 0, 16 << 20));
    let pack = fs::metadata(only_pack(dir.path())).unwrap().len();
    assert_eq!(pack, PACK_HEADER_LEN + kept.record_len() + usage.book_bytes);
    assert_eq!(usage.used_bytes, pack);
    assert_accounts(&store);
}

#[test]
fn the_quota_is_exact_to_the_byte() {
    let dir = TempDir::new().unwrap();
    let chunks = [chunk(1, 1000), chunk(2, 3000)];
    // What the book of one contract and the pack's header take.
    let book = {
        let store = open_with(dir.path(), 1 << 30);
        deal(1).enter(&store, Role::Provider);
        store.usage().used_bytes
    };
    let whole = PACK_LEN + book + 4000 + 2 * HEADER_LEN;
    {
        let store = open_with(dir.path(), whole - 1);
        let deal = deal(1);
        chunks[0].put(&store, &deal).unwrap();
        let refused = chunks[1].put(&store, &deal);
        let (needed, free) = (3000 + HEADER_LEN, 3000 + HEADER_LEN - 1);
        assert!(
            matches!(refused, Err(PutError::QuotaReached { needed: n, free: f }) if (n, f) == (needed, free)),
            "{refused:?}"
        );
        assert!(!store.holds(&chunks[1].id));
        assert_eq!(store.usage().free_bytes, free);
    }
    let store = open_with(dir.path(), whole);
    let deal = deal(1);
    chunks.iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
    assert_eq!(store.usage().free_bytes, 0);
    // A chunk that is here already needs no room.
    chunks[0].put(&store, &deal).unwrap();
    assert!(matches!(chunk(3, 1).put(&store, &deal), Err(PutError::QuotaReached { needed: 89, free: 0 })));
    // What was taken in can be committed all the same: the book may use the reserve.
    deal.commit(&store, &additions(&chunks), &[]);
    assert_accounts(&store);
    assert!(store.usage().excess_bytes > 0);
}

#[test]
fn what_is_kept_for_small_chunks_is_not_used_by_large_ones_exactly_to_the_byte() {
    const KEPT: u64 = 300_000;
    const SMALL: usize = SMALL_CHUNK_LEN_MAX;
    let dir = TempDir::new().unwrap();
    let book = {
        let store = open_with(dir.path(), 1 << 30);
        deal(1).enter(&store, Role::Provider);
        store.usage().used_bytes
    };
    let (small, large) = (chunk(1, SMALL), chunk(2, SMALL + 1));
    let open = |spare: u64| {
        let allotted = PACK_LEN + book + large.record_len() + KEPT - 1 + spare;
        let config = StoreConfig::new(dir.path(), allotted);
        Store::open(StoreConfig { small_chunk_bytes: KEPT, ..config }).unwrap()
    };
    {
        let store = open(0);
        let refused = large.put(&store, &deal(1));
        let (needed, free) = (large.record_len(), large.record_len() - 1);
        assert!(
            matches!(refused, Err(PutError::QuotaReached { needed: n, free: f }) if (n, f) == (needed, free)),
            "{refused:?}"
        );
        // It is not a part of the accounts: it is free, for those that may use it.
        assert_eq!(store.usage().free_bytes, large.record_len() + KEPT - 1);
        assert_accounts(&store);
    }
    let store = open(1);
    large.put(&store, &deal(1)).unwrap();
    assert_eq!(store.usage().free_bytes, KEPT);
    let mut put = 0;
    loop {
        match chunk(100 + put, SMALL).put(&store, &deal(1)) {
            Ok(()) => put += 1,
            Err(PutError::QuotaReached { free, .. }) => {
                assert_eq!(free, KEPT - put * small.record_len());
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(put, KEPT / small.record_len());
    assert!(matches!(large.put(&store, &deal(1)), Ok(())), "it is here already");
    let other = chunk(3, SMALL + 1).put(&store, &deal(1));
    assert!(matches!(other, Err(PutError::QuotaReached { free: 0, .. })), "{other:?}");
    assert_accounts(&store);
}

#[test]
fn what_is_removed_goes_to_the_trash_and_back_without_its_bytes() {
    let dir = TempDir::new().unwrap();
    let chunks = [chunk(1, 1000), chunk(2, 2000)];
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, &chunks);
        deal.commit(&store, &[], &[0]);
        let usage = store.usage();
        assert_eq!((usage.live_bytes, usage.trash_bytes, usage.dead_bytes), (2088, 1088, 0));
        assert_eq!((usage.chunks, usage.trash_chunks), (1, 1));
        assert!(matches!(store.read(&chunks[0].id), Err(ReadError::NotHeld)));
        assert!(matches!(store.prove(&chunks[0].id, 0), Err(ReadError::NotHeld)));
        chunks[1].assert_held(&store);
        assert_eq!(store.empty_trash().unwrap(), 0);
        assert_accounts(&store);
    }
    let store = open(dir.path());
    assert_eq!(store.usage().trash_chunks, 1);
    // Nothing is written for a put of what is in the trash, and a commit does without one.
    chunks[0].put(&store, &deal(1)).unwrap();
    assert_eq!(store.usage().pending_bytes, 0);
    deal(1).commit(&store, &[chunks[0].addition()], &[]);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    let usage = store.usage();
    assert_eq!((usage.live_bytes, usage.trash_bytes, usage.trash_chunks), (3176, 0, 0));
    assert_accounts(&store);
}

#[test]
fn a_chunk_under_two_contracts_stays_until_both_let_it_go() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let (a, b) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let shared = chunk(1, 4000);
    a.keep(&store, from_ref(&shared));
    b.keep(&store, from_ref(&shared));
    assert_eq!(store.usage().live_bytes, shared.record_len(), "one record serves both");
    a.commit(&store, &[], &[0]);
    shared.assert_held(&store);
    assert_eq!(store.usage().dead_bytes, 0);
    b.commit(&store, &[], &[0]);
    assert!(matches!(store.read(&shared.id), Err(ReadError::NotHeld)));
}

#[test]
fn a_chunk_whose_term_in_the_trash_ended_before_the_commit_is_missing() {
    let dir = TempDir::new().unwrap();
    let store = open_without_trash(dir.path());
    let (a, b) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let shared = chunk(1, 4000);
    a.keep(&store, from_ref(&shared));
    shared.put(&store, &b).unwrap();
    a.commit(&store, &[], &[0]);
    assert_eq!(store.empty_trash().unwrap(), shared.record_len());
    let refused = b.try_commit(&store, &[shared.addition()], &[]);
    assert!(matches!(refused, Err(CommitError::Missing(chunks)) if chunks == [shared.id]));
    b.keep(&store, from_ref(&shared));
    shared.assert_held(&store);
}

#[test]
fn a_chunk_that_is_removed_and_added_in_one_revision_stays() {
    let dir = TempDir::new().unwrap();
    let moved = chunk(1, 4000);
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, from_ref(&moved));
        deal.commit(&store, &[moved.addition()], &[0]);
        assert_eq!(store.usage().dead_bytes, 0);
    }
    let store = open(dir.path());
    moved.assert_held(&store);
    let held: Vec<bool> = entries(&store, &deal(1).id).iter().map(|it| it.chunk.is_some()).collect();
    assert_eq!(held, [false, true]);
}

#[test]
fn putting_a_chunk_again_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let (a, b) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
    let chunk = chunk(1, 4000);
    for _ in 0..3 {
        chunk.put(&store, &a).unwrap();
        chunk.put(&store, &b).unwrap();
        assert_eq!(store.usage().pending_bytes, chunk.record_len());
    }
    // It waits under the contract that brought it; another may commit it.
    b.commit(&store, &[chunk.addition()], &[]);
    assert_eq!(store.usage().pending_bytes, 0);
    assert_eq!(store.abandon(&a.id), 0);
    chunk.put(&store, &a).unwrap();
    a.commit(&store, &[chunk.addition()], &[]);
    assert_eq!((store.usage().live_bytes, store.usage().chunks), (chunk.record_len(), 1));
}

#[test]
fn attack_41_any_flipped_byte_of_a_record_is_found_and_a_put_heals_it() {
    let dir = TempDir::new().unwrap();
    let damaged = chunk(1, 300);
    let other = chunk(2, 50);
    let record_len = damaged.record_len() as usize;
    // Every seventh byte, and the first and last of every field of the header.
    for at in (0..record_len).step_by(7).chain([3, 4, 8, 39, 40, 71, 72, 79, 80, 87, 88, record_len - 1]) {
        let _ = fs::remove_dir_all(dir.path());
        {
            let store = open(dir.path());
            let deal = deal(1).enter(&store, Role::Provider);
            deal.keep(&store, &[damaged.clone(), other.clone()]);
        }
        flip(dir.path(), &damaged, at);
        {
            let store = open(dir.path());
            let deal = deal(1);
            let read = store.read(&damaged.id);
            assert!(matches!(read, Err(ReadError::Damaged { .. })), "byte {at}: {read:?}");
            assert!(store.holds(&damaged.id));
            other.assert_held(&store);

            damaged.put(&store, &deal).unwrap();
            damaged.assert_held(&store);
            // Another put finds it whole.
            damaged.put(&store, &deal).unwrap();
            deal.commit(&store, &[damaged.addition()], &[]);
            damaged.assert_held(&store);
            let usage = store.usage();
            assert_eq!(usage.dead_bytes, damaged.record_len());
            assert_eq!((usage.pending_bytes, usage.chunks), (0, 2));
        }
        open(dir.path()).read(&damaged.id).unwrap();
    }
}

#[test]
fn attack_41_a_healed_record_is_kept_by_any_next_commit_of_the_contract_that_brought_it() {
    let dir = TempDir::new().unwrap();
    let (damaged, other) = (chunk(1, 300), chunk(2, 300));
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, from_ref(&damaged));
        flip(dir.path(), &damaged, 100);
        assert!(matches!(store.read(&damaged.id), Err(ReadError::Damaged { .. })));
        damaged.put(&store, &deal).unwrap();
        deal.keep(&store, from_ref(&other));
        assert_eq!(store.usage().dead_bytes, damaged.record_len());
    }
    let store = open(dir.path());
    damaged.assert_held(&store);
    other.assert_held(&store);
}

#[test]
fn attack_41_a_record_that_is_damaged_before_its_commit_is_put_again() {
    let dir = TempDir::new().unwrap();
    let damaged = chunk(1, 300);
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        damaged.put(&store, &deal).unwrap();
        flip(dir.path(), &damaged, 100);
        assert!(matches!(store.read(&damaged.id), Err(ReadError::Damaged { .. })));
        damaged.put(&store, &deal).unwrap();
        let usage = store.usage();
        assert_eq!((usage.pending_bytes, usage.dead_bytes), (damaged.record_len(), damaged.record_len()));
        deal.commit(&store, &[damaged.addition()], &[]);
    }
    open(dir.path()).read(&damaged.id).unwrap();
}

#[test]
fn a_commit_of_a_chunk_in_another_length_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let chunk = chunk(1, 300);
    let mut wrong = chunk.addition();
    wrong.len = 301;
    chunk.put(&store, &deal).unwrap();
    let refused = deal.try_commit(&store, &[wrong], &[]);
    assert!(matches!(refused, Err(CommitError::Length { said: 301, held: 300, .. })), "{refused:?}");
    deal.commit(&store, &[chunk.addition()], &[]);
    deal.commit(&store, &[], &[0]);
    // The same when the index knows the chunk, here from another contract.
    let other = crate::people::deal(2).enter(&store, Role::Provider);
    deal.keep(&store, from_ref(&chunk));
    let refused = other.try_commit(&store, &[wrong], &[]);
    assert!(matches!(refused, Err(CommitError::Length { said: 301, held: 300, .. })), "{refused:?}");
}
