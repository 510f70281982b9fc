//! Bits that flip anywhere in a pack, and bytes behind its end: damage is found and named, and never
//! served. An attacker who chooses a chunk's bytes cannot make them pass for a record.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use commonhold_format::tree::{chunk_id, chunk_id_and_subtrees, leaf_hash, verify_path};
use tempfile::TempDir;

use super::images::Rng;
use super::people::{Chunk, Deal, HEADER_LEN, additions, assert_accounts, chunk, deal, entries};
use super::simulated::scratch;
use super::world::{compact, config};
use crate::error::ReadError;
use crate::opening::Setup;
use crate::record::{Seal, StoreId};
use crate::walk::{Step, Walk};
use crate::{Role, Stop, Store, rebuild_index};

fn open(dir: &Path) -> Store {
    Store::open_with(config(dir), Setup { pack_len_max: Some(2500), ..Setup::default() }).unwrap()
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("packs")).unwrap();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    packs
}

fn copy(from: &Path) -> TempDir {
    let to = scratch();
    for folder in ["index", "packs"] {
        fs::create_dir(to.path().join(folder)).unwrap();
    }
    for pack in packs(from) {
        fs::copy(&pack, to.path().join("packs").join(pack.file_name().unwrap())).unwrap();
    }
    for file in ["format", "index/data.mdb"] {
        fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    to
}

/// A closed store of a few packs: live chunks, dead ones, and the book.
fn sample(dir: &Path) -> Vec<Chunk> {
    let store = open(dir);
    let deals = [deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider)];
    let chunks: Vec<Chunk> = (0..10).map(|seed| chunk(seed, 20 + seed as usize * 21)).collect();
    deals[0].keep(&store, &chunks[..6]);
    deals[1].keep(&store, &chunks[4..]);
    deals[0].commit(&store, &[], &[0, 1]);
    store.empty_trash().unwrap();
    chunks[2..].to_vec()
}

/// Where each record of a pack is, and whether damage to it matters.
fn records(store: &Store, number: u32) -> Vec<(Range<u64>, bool)> {
    let packs = &store.0.shelf.packs;
    let (file, len) = packs.file(number).unwrap();
    let mut walk = Walk::new(file, packs.seal, number, 0, len);
    let mut records = vec![(0..48, true)];
    loop {
        let from = walk.position();
        let Some(step) = walk.next().unwrap() else { return records };
        let matters = match step {
            Step::Chunk { place, header } => store.0.index.place(&header.chunk).unwrap() == Some(place),
            Step::Book { .. } => true,
            Step::Junk { .. } => panic!("junk in a store that is well"),
        };
        records.push((from..walk.position(), matters));
    }
}

/// No read and no proof gives anything but what is right; answers how many chunks are served.
fn served(store: &Store, chunks: &[Chunk]) -> usize {
    let right = |chunk: &&Chunk| {
        let read = match store.read(&chunk.id) {
            Ok(bytes) => {
                assert!(bytes == chunk.bytes, "wrong bytes were served");
                true
            }
            Err(ReadError::Damaged { .. } | ReadError::NotHeld) => false,
            Err(error) => panic!("{error}"),
        };
        if let Ok(proof) = store.prove(&chunk.id, 0) {
            let leaves = (chunk.bytes.len() as u64).div_ceil(1024);
            verify_path(&chunk.id.0, leaves, 0, &leaf_hash(&proof.bytes), &proof.path).unwrap();
        }
        read
    };
    chunks.iter().filter(right).count()
}

#[test]
fn attack_41_a_bit_flipped_anywhere_in_a_pack_is_found_and_never_served() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let store = open(dir.path());
    let whole = chunks.len();
    let (mut flips, mut found) = (0, 0);
    for (number, path) in (0..).zip(packs(dir.path())) {
        let records = records(&store, number);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        for (range, matters) in records {
            for offset in range.clone() {
                let mut byte = [0];
                file.read_exact_at(&mut byte, offset).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << (offset % 8)], offset).unwrap();
                let served = served(&store, &chunks);
                let report = store.check(&Stop::default()).unwrap();
                assert!(served + 1 >= whole, "one record's damage is that of one chunk");
                assert_eq!(
                    !report.findings.is_empty() || report.junk_bytes > 0,
                    matters || report.junk_bytes > 0
                );
                assert!(!matters || !report.findings.is_empty(), "{path:?}, byte {offset} of {range:?}");
                if offset % 13 == 0 {
                    mend(dir.path(), &chunks);
                }
                file.write_all_at(&byte, offset).unwrap();
                flips += 1;
                found += usize::from(matters);
            }
        }
    }
    println!("{flips} flips, {found} of them in what is needed");
    assert!(found > 2000, "{found}");
    assert_eq!(served(&store, &chunks), whole);
    assert!(store.check(&Stop::default()).unwrap().findings.is_empty());
}

/// What an operator does about damage: a scrub, which the owner's puts follow, or, on another copy,
/// a new index.
fn mend(dir: &Path, chunks: &[Chunk]) {
    let rebuilt = copy(dir);
    fs::remove_dir_all(rebuilt.path().join("index")).unwrap();
    let report = rebuild_index(&config(rebuilt.path())).unwrap();
    let store = open(rebuilt.path());
    let there = served(&store, chunks);
    // One chunk's record at most, or the contracts of one record of the book.
    assert!(there + 1 >= chunks.len() || !report.findings.is_empty(), "{report:?}");

    let scrubbed = copy(dir);
    let store = open(scrubbed.path());
    let deals = [deal(1), deal(2)];
    let mut rot = Vec::new();
    loop {
        let slice = store.scrub(1 << 20, &Stop::default()).unwrap();
        rot.extend(slice.rot);
        if slice.lap_ended {
            break;
        }
    }
    assert!(rot.len() <= 1);
    for rot in &rot {
        let chunk = chunks.iter().find(|chunk| chunk.id == rot.chunk).unwrap();
        let deal = deals.iter().find(|deal| rot.contracts.contains(&deal.id)).unwrap();
        chunk.put(&store, deal).unwrap();
        deal.commit(&store, &[chunk.addition()], &[]);
    }
    compact(&store);
    assert_eq!(served(&store, chunks), chunks.len());
    let report = store.check(&Stop::default()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    drop(store);
    fs::remove_dir_all(scrubbed.path().join("index")).unwrap();
    rebuild_index(&config(scrubbed.path())).unwrap();
    assert_eq!(served(&open(scrubbed.path()), chunks), chunks.len());
}

/// The bytes of a record of a chunk, as a store with this seal would write it.
fn record(seal: &Seal, deal: &Deal, bytes: &[u8]) -> Vec<u8> {
    let (id, roots) = chunk_id_and_subtrees(bytes);
    let roots = if roots.len() > 1 { roots.concat() } else { Vec::new() };
    [&seal.chunk_header(&deal.id, &id, bytes, &roots)[..], bytes, &roots].concat()
}

#[test]
fn attack_41_a_record_inside_a_chunk_is_never_taken_for_one() {
    // The attacker knows the format and the store's id, but not the salt. That a record with it would
    // be taken, once the header around it is damaged, shows that nothing else stands in the way.
    for knows_salt in [false, true] {
        let dir = scratch();
        let deal = deal(1);
        let inner = chunk(77, 300);
        let (outer, other) = {
            let store = open(dir.path());
            store.open_contract(Role::Provider, &deal.contract, &deal.note).unwrap();
            let known = store.0.shelf.packs.seal;
            let seal = if knows_salt { known } else { Seal { store: StoreId(known.store.0), salt: [0; 16] } };
            let mut bytes = record(&seal, &deal, &inner.bytes);
            // And one that says a change of the book.
            bytes.extend(seal.book_header(1 << 40, b"\x03\x20"));
            bytes.extend([0; 200]);
            let outer = Chunk { id: chunk_id(&bytes), bytes };
            let other = chunk(1, 100);
            deal.keep(&store, &[outer.clone(), other.clone()]);
            (outer, other)
        };
        let path = &packs(dir.path())[0];
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(4).position(|it| it == b"CHc\x02").unwrap() as u64;
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(b"x", at).unwrap();
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        let report = rebuild_index(&config(dir.path())).unwrap();
        assert!(!report.findings.is_empty());
        let store = open(dir.path());
        other.assert_held(&store);
        assert!(matches!(store.read(&outer.id), Err(ReadError::Damaged { .. })));
        assert!(matches!(store.read(&inner.id), Err(ReadError::NotHeld)));
        let walked = records_of_chunks(&bytes, at, &store);
        assert_eq!(walked.contains(&inner.id), knows_salt);
        // The owner sends it again.
        deal.keep(&store, std::slice::from_ref(&outer));
        outer.assert_held(&store);
    }
}

/// Ids of the chunk records in a pack whose header at `damaged` is not there.
fn records_of_chunks(bytes: &[u8], damaged: u64, store: &Store) -> Vec<commonhold_format::ids::ChunkId> {
    let dir = scratch();
    let path = dir.path().join("pack");
    let mut bytes = bytes.to_vec();
    bytes[damaged as usize] = b'x';
    fs::write(&path, &bytes).unwrap();
    let file = std::sync::Arc::new(File::options().read(true).write(true).open(&path).unwrap());
    let mut walk = Walk::new(file, store.0.shelf.packs.seal, 0, 0, bytes.len() as u64);
    let mut found = Vec::new();
    while let Some(step) = walk.next().unwrap() {
        if let Step::Chunk { header, .. } = step {
            found.push(header.chunk);
        }
    }
    found
}

#[test]
fn attack_41_what_lies_behind_the_end_is_cut_and_means_nothing_to_a_new_index() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let before: Vec<_> = {
        let store = open(dir.path());
        [1, 2].map(|salt| entries(&store, &deal(salt).id)).into()
    };
    let last = packs(dir.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let first = fs::read(&packs(dir.path())[0]).unwrap();
    let book = first.windows(4).position(|it| it == b"CHb\x02").unwrap();
    let book_len = 28 + u32::from_be_bytes(first[book + 4..book + 8].try_into().unwrap()) as usize;
    let at = first.windows(4).position(|it| it == b"CHc\x02").unwrap();
    let strange = record(&Seal { store: StoreId([9; 16]), salt: [9; 16] }, &deal(1), &[5; 100]);
    let mut rng = Rng(3);
    let random: Vec<u8> = (0..700).map(|_| rng.next() as u8).collect();
    let tails: [(&str, &[u8]); 6] = [
        ("random bytes", &random),
        ("zeros", &[0; 5000]),
        ("half a record", &first[at..at + HEADER_LEN as usize + 10]),
        ("a record of another store", &strange),
        ("an old record of the book", &first[book..book + book_len]),
        ("a header alone", &first[book..book + 28]),
    ];
    for (what, tail) in tails {
        let to = copy(dir.path());
        let pack = to.path().join("packs").join(last.file_name().unwrap());
        fs::write(&pack, [&bytes[..], tail].concat()).unwrap();
        for rebuilt in [false, true] {
            if rebuilt {
                fs::write(&pack, [&bytes[..], tail].concat()).unwrap();
                fs::remove_dir_all(to.path().join("index")).unwrap();
                rebuild_index(&config(to.path())).unwrap();
            }
            let store = open(to.path());
            assert_eq!(served(&store, &chunks), chunks.len(), "{what}");
            let now: Vec<_> = [1, 2].map(|salt| entries(&store, &deal(salt).id)).into();
            assert_eq!(now, before, "{what}");
            while !store.scrub(1 << 20, &Stop::default()).unwrap().lap_ended {}
            compact(&store);
            assert_accounts(&store);
            let report = store.check(&Stop::default()).unwrap();
            assert!(report.findings.is_empty(), "{what}: {report:?}");
            if rebuilt {
                let more = [chunk(900, 50)];
                more[0].put(&store, &deal(1)).unwrap();
                deal(1).commit(&store, &additions(&more), &[]);
                more[0].assert_held(&store);
            } else {
                drop(store);
                // As it was before the compaction.
                fs::remove_dir_all(to.path()).unwrap();
                fs::create_dir(to.path()).unwrap();
                let fresh = copy(dir.path());
                for folder in ["index", "packs"] {
                    fs::rename(fresh.path().join(folder), to.path().join(folder)).unwrap();
                }
                fs::rename(fresh.path().join("format"), to.path().join("format")).unwrap();
            }
        }
    }
}
