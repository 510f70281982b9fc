//! Rebuilding, checking and scrubbing, as an operator would.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::probe::{ProbedLeaf, probed_leaf};
use commonhold_format::segment::Segment;
use commonhold_format::statement::AuditOutcome;
use commonhold_format::tree::{leaf_count, leaf_hash, verify_path};
use commonhold_store::{
    ContractState, OpenError, ReadError, Role, ScrubSlice, Stop, Store, StoreConfig, StoreId, Usage,
    rebuild_index,
};
use tempfile::TempDir;

use crate::people::{
    Chunk, additions, assert_accounts, chunk, deal, entries, open, open_without_trash, root,
};

fn config(dir: &Path) -> StoreConfig {
    StoreConfig::new(dir, 1 << 30)
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("packs")).unwrap();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    packs
}

/// Everything that a store knows and that must survive the loss of its index.
#[derive(Debug, PartialEq)]
struct Contents {
    id: StoreId,
    contracts: Vec<ContractState>,
    roots: Vec<Option<([u8; 32], u64)>>,
    held: BTreeSet<ChunkId>,
    lost: Vec<(ChunkId, bool)>,
    segments: Vec<Segment>,
    usage: Usage,
}

fn contents(store: &Store, lost: &[ChunkId]) -> Contents {
    let ids = store.contracts();
    let all = ids.iter().flat_map(|id| entries(store, id)).filter_map(|entry| entry.chunk);
    let mut segments = store.segments();
    segments.sort_by_key(Segment::id);
    Contents {
        id: store.id(),
        contracts: ids.iter().map(|id| store.contract(id).unwrap()).collect(),
        roots: ids.iter().map(|id| root(store, id)).collect(),
        held: all.filter(|chunk| store.holds(chunk)).collect(),
        lost: lost
            .iter()
            .flat_map(|chunk| store.holders(chunk).into_iter().map(|holding| (*chunk, holding.lost)))
            .collect(),
        segments,
        usage: store.usage(),
    }
}

fn assert_clean(store: &Store) {
    let report = store.check(&Stop::default()).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_accounts(store);
}

fn segment(seed: u8) -> Segment {
    Segment {
        code: Code::new(2, 6).unwrap(),
        len: 1000 + u32::from(seed),
        chunks: (0..6).map(|at| ChunkId([seed + at; 32])).collect(),
        holders: (0..6).map(|at| NodeId([at + 9; 32])).collect(),
    }
}

#[test]
fn attack_41_the_index_is_made_again_from_the_packs_alone() {
    let dir = TempDir::new().unwrap();
    let (before, trashed) = {
        let store = open_without_trash(dir.path());
        let (a, b) = (deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider));
        let owned = deal(3).enter(&store, Role::Owner);
        let chunks: Vec<Chunk> = (0..60).map(|seed| chunk(seed, 1 + seed as usize * 1111)).collect();
        a.keep(&store, &chunks[..40]);
        b.keep(&store, &chunks[30..50]);
        owned.commit(&store, &additions(&chunks[50..]), &[]);
        store.mark_lost(&owned.id, &[chunks[51].id, chunks[52].id, chunks[53].id]).unwrap();
        // Added again, it is lost no more.
        owned.commit(&store, &[chunks[52].addition()], &[]);
        for seed in 0..5 {
            store.put_segment(&segment(seed)).unwrap();
        }
        store.remove_segments(&[segment(1).id()]).unwrap();
        let (receipt, note) = a.receipt(7);
        store.receipt(&a.id, &receipt, &note).unwrap();
        store.audited(&a.id, 4, AuditOutcome::Passed, [3; 32]).unwrap();
        a.commit(&store, &[], &(0..20).collect::<Vec<_>>());
        store.empty_trash().unwrap();
        while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
        // These stay in the trash, and one of a contract comes back from it.
        a.commit(&store, &[], &[20, 21, 22]);
        b.commit(&store, &[chunks[21].addition()], &[]);
        chunk(1000, 10).put(&store, &a).unwrap();
        assert_clean(&store);
        let lost: Vec<ChunkId> = chunks[50..].iter().map(|chunk| chunk.id).collect();
        drop(store);
        // What was not committed is not part of it.
        let store = open_without_trash(dir.path());
        (contents(&store, &lost), lost)
    };
    assert_eq!(before.usage.trash_chunks, 2);
    for way in ["deleted", "empty", "junk"] {
        let index = dir.path().join("index");
        fs::remove_dir_all(&index).unwrap();
        match way {
            "empty" => fs::create_dir(&index).unwrap(),
            "junk" => {
                fs::create_dir(&index).unwrap();
                fs::write(index.join("data.mdb"), [7; 100_000]).unwrap();
            }
            _ => {}
        }
        assert!(Store::open(config(dir.path())).is_err());
        let report = rebuild_index(&config(dir.path())).unwrap();
        assert_eq!(report.findings, [], "{way}");
        assert_eq!((report.contracts, report.segments, report.trash_chunks), (3, 4, 2));
        let store = open_without_trash(dir.path());
        assert_eq!(contents(&store, &trashed), before, "{way}");
        assert_clean(&store);
    }
    // And it goes on.
    let store = open_without_trash(dir.path());
    let more = chunk(5000, 3000);
    deal(2).keep(&store, std::slice::from_ref(&more));
    more.assert_held(&store);
}

#[test]
fn a_store_that_is_open_or_another_is_not_rebuilt() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    assert!(matches!(rebuild_index(&config(dir.path())), Err(OpenError::InUse { .. })));
    let other = StoreConfig { known: Some(StoreId([1; 16])), ..config(dir.path()) };
    drop(store);
    assert!(matches!(rebuild_index(&other), Err(OpenError::OtherStore { .. })));
    let empty = TempDir::new().unwrap();
    assert!(matches!(rebuild_index(&config(empty.path())), Err(OpenError::Missing { .. })));
    rebuild_index(&config(dir.path())).unwrap();
    assert_clean(&open(dir.path()));
}

#[test]
fn chunks_that_are_gone_with_their_pack_are_named_by_the_rebuild_and_healed_by_puts() {
    let dir = TempDir::new().unwrap();
    let chunks: Vec<Chunk> = (0..8).map(|seed| chunk(seed, 1 << 20)).collect();
    let first = {
        // Packs of 4 MiB.
        let store = crate::people::open_with(dir.path(), 100 << 20);
        let deal = deal(1).enter(&store, Role::Provider);
        chunks[..3].chunks(1).for_each(|chunk| deal.keep(&store, chunk));
        chunks[3..].iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
        deal.commit(&store, &additions(&chunks[3..]), &[]);
        packs(dir.path())
    };
    assert!(first.len() >= 3, "{first:?}");
    // The second holds chunks and no part of the book.
    fs::remove_file(&first[1]).unwrap();
    let small = StoreConfig::new(dir.path(), 100 << 20);
    assert!(matches!(Store::open(small.clone()), Err(OpenError::Pack { file, .. }) if file == first[1]));
    let report = rebuild_index(&small).unwrap();
    let gone: Vec<&Chunk> = chunks
        .iter()
        .filter(|chunk| report.findings.iter().any(|it| it.what.contains(&chunk.id.to_string())))
        .collect();
    assert!(!gone.is_empty() && gone.len() == report.findings.len(), "{report:#?}");
    let store = Store::open(small.clone()).unwrap();
    for chunk in &chunks {
        match store.read(&chunk.id) {
            Ok(bytes) => assert!(bytes == chunk.bytes && !gone.iter().any(|it| it.id == chunk.id)),
            Err(error) => assert!(matches!(error, ReadError::Damaged { .. }), "{error}"),
        }
    }
    // Their owner is told by each lap of the scrub, first of all, until they are healed.
    let first = store.scrub(1, &Stop::default()).unwrap();
    assert!(first.rot.iter().all(|it| it.contracts == [deal(1).id]), "{first:?}");
    let rot = |slice: &ScrubSlice| slice.rot.iter().map(|it| it.chunk).collect::<BTreeSet<_>>();
    let lost: BTreeSet<ChunkId> = gone.iter().map(|chunk| chunk.id).collect();
    assert_eq!(rot(&first), lost);
    for again in [false, true] {
        let (_, _, rot) = scrub_a_lap(&store);
        assert_eq!(
            rot.into_iter().collect::<BTreeSet<_>>(),
            if again { lost.clone() } else { BTreeSet::new() }
        );
    }
    gone.iter().for_each(|chunk| chunk.put(&store, &deal(1)).unwrap());
    deal(1).commit(&store, &[], &[]);
    assert_eq!(scrub_a_lap(&store).2, []);
    drop(store);
    let store = Store::open(small).unwrap();
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    assert_clean(&store);
}

/// Flips a bit of a chunk's record; `at` counts from the first byte of its header.
fn flip(dir: &Path, chunk: &Chunk, at: u64) {
    let file = &packs(dir)[0];
    let mut bytes = fs::read(file).unwrap();
    let header = |bytes: &[u8]| bytes.starts_with(b"CHc\x02") && bytes[8..] == chunk.id.0;
    let record = bytes.windows(40).rposition(header).unwrap();
    bytes[record + at as usize] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn scrub_a_lap(store: &Store) -> (u64, u64, Vec<ChunkId>) {
    let (mut chunks, mut mended, mut rot) = (0, 0, Vec::new());
    loop {
        let slice = store.scrub(50_000, &Stop::default()).unwrap();
        chunks += slice.chunks;
        mended += slice.mended;
        rot.extend(slice.rot.into_iter().map(|it| it.chunk));
        if slice.lap_ended {
            return (chunks, mended, rot);
        }
    }
}

#[test]
fn attack_41_a_scrub_finds_rot_and_mends_what_it_can() {
    let dir = TempDir::new().unwrap();
    let chunks: Vec<Chunk> = (0..12).map(|seed| chunk(seed, 40_000)).collect();
    {
        let store = open(dir.path());
        deal(1).enter(&store, Role::Provider).keep(&store, &chunks);
        assert_eq!(scrub_a_lap(&store), (12, 0, vec![]));
    }
    flip(dir.path(), &chunks[2], 88 + 17_000);
    flip(dir.path(), &chunks[5], 20);
    flip(dir.path(), &chunks[7], 88 + 40_000 + 40);
    let store = open(dir.path());
    // A proof of another subtree of the first does not notice; of its own it does.
    assert!(store.prove(&chunks[2].id, 0).is_ok());
    assert!(matches!(store.prove(&chunks[2].id, 17), Err(ReadError::Damaged { .. })));
    // So does a probe, of whichever leaf it draws.
    let mut noticed = 0;
    for seed in 0..64 {
        let nonce = [seed; 32];
        let leaf = probed_leaf(&nonce, &chunks[2].id, 40_000).unwrap();
        let shown = store.probe(&chunks[2].id, &nonce);
        match shown {
            Err(ReadError::Damaged { .. }) => {
                assert!((16..32).contains(&leaf), "leaf {leaf}");
                noticed += 1;
            }
            shown => assert_eq!(shown.unwrap(), store.prove(&chunks[2].id, leaf).unwrap()),
        }
        let whole: ProbedLeaf = store.probe(&chunks[7].id, &nonce).unwrap().into();
        assert!(whole.proves(&nonce, &chunks[7].id, 40_000));
    }
    assert!(noticed > 0);
    let nowhere = store.probe(&ChunkId([9; 32]), &[0; 32]);
    assert!(matches!(nowhere, Err(ReadError::NotHeld)));
    // The roots of the third are not needed to read it, nor to prove it.
    let shown = store.prove(&chunks[7].id, 3).unwrap();
    let leaves = leaf_count(40_000);
    assert_eq!(verify_path(&chunks[7].id.0, leaves, 3, &leaf_hash(&shown.bytes), &shown.path), Ok(()));
    let report = store.check(&Stop::default()).unwrap();
    for at in [2, 5, 7] {
        let name = chunks[at].id.to_string();
        assert!(report.findings.iter().any(|it| it.what.contains(&name)), "{at}: {report:#?}");
    }
    let (_, mended, mut rot) = scrub_a_lap(&store);
    rot.sort();
    let mut expected = vec![chunks[2].id, chunks[5].id];
    expected.sort();
    assert_eq!((mended, rot), (1, expected));
    for at in [2, 5] {
        chunks[at].put(&store, &deal(1)).unwrap();
    }
    deal(1).commit(&store, &[], &[]);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
    let (_, mended, rot) = scrub_a_lap(&store);
    assert_eq!((mended, rot), (0, vec![]));
    // The damaged header is still in the pack, dead.
    assert!(store.check(&Stop::default()).unwrap().junk_bytes > 40_000);
    assert_clean(&store);
}

#[test]
fn attack_41_a_commit_that_is_sent_again_is_a_success_when_what_was_healed_is_durable() {
    let dir = TempDir::new().unwrap();
    let chunks: Vec<Chunk> = (0..3).map(|seed| chunk(seed, 1000)).collect();
    {
        let store = open(dir.path());
        deal(1).enter(&store, Role::Provider).keep(&store, &chunks);
        deal(2).enter(&store, Role::Provider).commit(&store, &additions(&chunks[..2]), &[]);
    }
    chunks.iter().for_each(|chunk| flip(dir.path(), chunk, 88));
    {
        let store = open(dir.path());
        let again = |salt, adds: &[Chunk]| {
            let (revision, note) = store.contract(&deal(salt).id).unwrap().revision.unwrap();
            store.commit(&deal(salt).id, &revision, &note, &additions(adds), &[]).unwrap();
        };
        // The owner's own, and one that was put under another contract.
        chunks[0].put(&store, &deal(1)).unwrap();
        chunks[1].put(&store, &deal(1)).unwrap();
        again(2, &chunks[1..2]);
        assert_eq!(store.usage().pending_bytes, chunks[0].record_len());
        again(1, &[]);
        assert_eq!(store.usage().pending_bytes, 0);
        // What no contract holds does not get in this way.
        let other = chunk(9, 1000);
        other.put(&store, &deal(1)).unwrap();
        again(1, std::slice::from_ref(&other));
        assert_eq!(store.usage().chunks, 3);
    }
    let store = open(dir.path());
    chunks[..2].iter().for_each(|chunk| chunk.assert_held(&store));
    assert!(matches!(store.read(&chunks[2].id), Err(ReadError::Damaged { .. })));
    assert!(matches!(store.read(&chunk(9, 1000).id), Err(ReadError::NotHeld)));
    chunks[2].put(&store, &deal(1)).unwrap();
    deal(1).commit(&store, &[], &[]);
    assert_clean(&store);
}

#[test]
fn a_scrub_goes_on_where_it_was_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let chunks: Vec<Chunk> = (0..20).map(|seed| chunk(seed, 10_000)).collect();
    {
        let store = open(dir.path());
        deal(1).enter(&store, Role::Provider).keep(&store, &chunks);
    }
    let mut seen = 0;
    for slice in 1.. {
        let store = open(dir.path());
        let part = store.scrub(25_000, &Stop::default()).unwrap();
        seen += part.chunks;
        if part.lap_ended {
            assert_eq!((seen, part.laps), (20, 1));
            assert!(slice > 5);
            assert_eq!(store.scrub_progress().unwrap().began, None);
            break;
        }
        assert!(store.scrub_progress().unwrap().began.is_some());
    }
}

#[test]
fn attack_41_a_damaged_record_of_the_book_is_written_anew_by_the_scrub() {
    let dir = TempDir::new().unwrap();
    let chunks: Vec<Chunk> = (0..3).map(|seed| chunk(seed, 1000)).collect();
    {
        let store = open(dir.path());
        deal(1).enter(&store, Role::Provider).keep(&store, &chunks);
        store.put_segment(&segment(1)).unwrap();
    }
    let whole = fs::read(&packs(dir.path())[0]).unwrap();
    let records: Vec<usize> =
        (0..whole.len() - 28).filter(|at| whole[*at..].starts_with(b"CHb\x02")).collect();
    assert!(records.len() >= 3);
    for record in records {
        // In the changes, and in the header.
        for at in [record + 40, record + 6] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let damaged = TempDir::new().unwrap();
            for folder in ["index", "packs"] {
                fs::create_dir(damaged.path().join(folder)).unwrap();
            }
            for file in ["format", "index/data.mdb"] {
                fs::copy(dir.path().join(file), damaged.path().join(file)).unwrap();
            }
            fs::write(damaged.path().join("packs/00000000.pack"), &bytes).unwrap();
            {
                let store = open(damaged.path());
                assert!(!store.check(&Stop::default()).unwrap().findings.is_empty(), "byte {at}");
                let mut mended = false;
                loop {
                    let slice = store.scrub(1000, &Stop::default()).unwrap();
                    mended |= slice.book_mended;
                    if slice.lap_ended {
                        break;
                    }
                }
                assert!(mended, "byte {at}");
                // Compaction leaves nothing of the damage, and the next lap has nothing to do.
                while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
                assert_clean(&store);
                assert!(!store.scrub(1 << 30, &Stop::default()).unwrap().book_mended);
            }
            fs::remove_dir_all(damaged.path().join("index")).unwrap();
            rebuild_index(&config(damaged.path())).unwrap();
            let store = open(damaged.path());
            chunks.iter().for_each(|chunk| chunk.assert_held(&store));
            assert_eq!(store.segments(), [segment(1)]);
            assert_eq!(store.contracts(), [deal(1).id]);
        }
    }
}
