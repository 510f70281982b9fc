//! Sectors that the disk does not give: the upkeep goes on around them, names what they took, and
//! leaves a pack in place as long as something is kept in it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commonhold_format::ids::ChunkId;
use tempfile::TempDir;

use super::people::{Chunk, Deal, additions, assert_accounts, chunk, deal};
use super::simulated::{Simulated, scratch};
use super::world::{compact, config};
use crate::disk::FileSystem;
use crate::error::{ReadError, StoreError};
use crate::opening::Setup;
use crate::rebuild::rebuild_from;
use crate::walk::{Step, Walk};
use crate::{Compacted, Role, ScrubSlice, Stop, Store, StoreConfig};

const SECTOR: u64 = 4096;
const PACK_LEN: u64 = 64 << 10;
const TERM: u64 = 1000;

struct Sample {
    // Dropped before its folder is.
    store: Store,
    disk: Simulated,
    deal: Deal,
    /// Held.
    chunks: Vec<Chunk>,
    /// In the trash.
    trashed: Vec<Chunk>,
    dir: TempDir,
}

fn open(dir: &Path, disk: &Simulated, trash_term_seconds: u64) -> Store {
    let config = StoreConfig { trash_term_seconds, ..config(dir) };
    let setup = Setup { disk: Arc::new(disk.clone()), pack_len_max: Some(PACK_LEN), ..Setup::default() };
    Store::open_with(config, setup).unwrap()
}

/// Small and large chunks, between them records of the book.
fn sample(term: u64) -> Sample {
    let (dir, disk) = (scratch(), Simulated::default());
    let store = open(dir.path(), &disk, term);
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks: Vec<Chunk> = (0..16).map(|seed| chunk(seed, 300 + (seed as usize * 5077) % 20_000)).collect();
    chunks.chunks(4).for_each(|some| deal.keep(&store, some));
    deal.commit(&store, &[], &[1, 6]);
    let (trashed, held) = (0..).zip(chunks).partition::<Vec<(u64, Chunk)>, _>(|(at, _)| [1, 6].contains(at));
    let bare = |some: Vec<(u64, Chunk)>| some.into_iter().map(|(_, chunk)| chunk).collect();
    Sample { store, disk, deal, chunks: bare(held), trashed: bare(trashed), dir }
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("packs")).unwrap();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    packs
}

/// Where the record of each chunk is.
fn records(store: &Store, number: u32) -> Vec<(ChunkId, Range<u64>)> {
    let packs = &store.0.shelf.packs;
    let (file, len) = packs.file(number).unwrap();
    let mut walk = Walk::new(file, packs.seal, number, 0, len);
    let mut records = Vec::new();
    while let Some(step) = walk.next().unwrap() {
        if let Step::Chunk { place, header } = step {
            records.push((header.chunk, place.offset..walk.position()));
        }
    }
    records
}

/// Scrubs to the end of a lap in small parts; answers what is rotten.
fn scrub_a_lap(store: &Store) -> BTreeSet<ChunkId> {
    let mut rot = BTreeSet::new();
    loop {
        let slice: ScrubSlice = store.scrub(5000, &Stop::default()).unwrap();
        rot.extend(slice.rot.iter().map(|it| it.chunk));
        if slice.lap_ended {
            return rot;
        }
    }
}

fn heal(sample: &Sample, rot: &BTreeSet<ChunkId>) {
    for chunk in sample.chunks.iter().filter(|chunk| rot.contains(&chunk.id)) {
        chunk.put(&sample.store, &sample.deal).unwrap();
    }
    sample.deal.commit(&sample.store, &[], &[]);
}

#[test]
fn attack_41_a_sector_that_cannot_be_read_costs_the_chunks_in_it_and_no_upkeep() {
    let lens: Vec<u64> = {
        let sample = sample(TERM);
        packs(sample.dir.path()).iter().map(|pack| fs::metadata(pack).unwrap().len()).collect()
    };
    assert!(lens.len() >= 3, "{lens:?}");
    let mut sectors = 0;
    for (number, len) in (0..).zip(lens) {
        for from in (0..len).step_by(SECTOR as usize) {
            sectors += 1;
            let sample = sample(TERM);
            let (store, path) = (&sample.store, &packs(sample.dir.path())[number as usize]);
            let hit = |(id, range): (ChunkId, Range<u64>)| {
                (range.start < from + SECTOR && from < range.end).then_some(id)
            };
            let hit: BTreeSet<ChunkId> = records(store, number).into_iter().filter_map(hit).collect();
            let held = sample.chunks.iter().map(|chunk| chunk.id).filter(|id| hit.contains(id)).collect();
            sample.disk.lose(path, from..from + SECTOR);

            let report = store.check(&Stop::default()).unwrap();
            assert!(!report.findings.is_empty(), "pack {number}, byte {from}");
            for id in &hit {
                let named = report.findings.iter().any(|it| it.what.contains(&id.to_string()));
                assert!(named, "{id} in {report:#?}");
            }
            assert_eq!(scrub_a_lap(store), held, "pack {number}, byte {from}");
            for chunk in &sample.chunks {
                match store.read(&chunk.id) {
                    Ok(bytes) => assert!(bytes == chunk.bytes && !held.contains(&chunk.id)),
                    Err(ReadError::Io { .. }) => assert!(held.contains(&chunk.id)),
                    Err(error) => panic!("{error}"),
                }
            }
            // What can be read is taken elsewhere, and what cannot is told once more.
            let told: BTreeSet<ChunkId> = std::iter::from_fn(|| store.compact(&Stop::default()).unwrap())
                .take_while(|done| done.deleted_bytes > 0 || !done.rot.is_empty())
                .flat_map(|done| done.rot)
                .map(|rot| rot.chunk)
                .collect();
            assert!(told.is_subset(&held));
            heal(&sample, &held);
            sample.chunks.iter().for_each(|chunk| chunk.assert_held(store));
            assert_eq!(scrub_a_lap(store), BTreeSet::new());
            compact(store);
            assert_accounts(store);
            // Of the chunks nothing is wrong any more, but for those in the trash.
            let report = store.check(&Stop::default()).unwrap();
            let held = |what: &str| sample.chunks.iter().any(|chunk| what.contains(&chunk.id.to_string()));
            assert!(!report.findings.iter().any(|it| held(&it.what)), "{report:#?}");

            // An index that is made anew with the sector still unreadable lacks nothing.
            let Sample { store, disk, deal, chunks, trashed, dir } = sample;
            drop(store);
            rebuild_from(&config(dir.path()), &disk).unwrap();
            if from == 0 {
                // Opening wants to see the header of each pack.
                disk.find();
            }
            let store = open(dir.path(), &disk, TERM);
            chunks.iter().for_each(|chunk| chunk.assert_held(&store));
            let back = trashed.iter().filter(|chunk| !hit.contains(&chunk.id));
            let back: Vec<Chunk> = back.cloned().collect();
            deal.commit(&store, &additions(&back), &[]);
            back.iter().for_each(|chunk| chunk.assert_held(&store));
        }
    }
    assert!(sectors > 30, "{sectors}");
}

#[test]
fn attack_41_an_index_is_rebuilt_around_a_sector_that_cannot_be_read() {
    let Sample { store, disk, deal, chunks, dir, .. } = sample(TERM);
    let (id, range) = records(&store, 1)[2].clone();
    drop(store);
    // The header of one record.
    disk.lose(&packs(dir.path())[1], range.start..range.start + 1);
    let report = rebuild_from(&config(dir.path()), &disk).unwrap();
    assert!(report.findings.iter().any(|it| it.why.contains("cannot be read")), "{report:#?}");
    assert!(report.findings.iter().any(|it| it.what.contains(&id.to_string())), "{report:#?}");
    let store = open(dir.path(), &disk, TERM);
    for chunk in chunks {
        if chunk.id == id {
            chunk.put(&store, &deal).unwrap();
            deal.commit(&store, &[], &[]);
        }
        chunk.assert_held(&store);
    }
}

#[test]
fn attack_41_chunks_without_a_record_are_told_of_in_bounded_parts() {
    let (dir, disk) = (scratch(), Simulated::default());
    let chunks: Vec<Chunk> = (0..2500).map(|seed| chunk(seed, 8)).collect();
    let setup = || Setup { disk: Arc::new(disk.clone()), pack_len_max: Some(1 << 20), ..Setup::default() };
    let open = || Store::open_with(config(dir.path()), setup()).unwrap();
    let store = open();
    let deal = deal(1).enter(&store, Role::Provider);
    deal.keep(&store, &chunks);
    let places = records(&store, 0);
    assert_eq!(places.len(), chunks.len());
    drop(store);
    // But for the first and the last their headers are gone.
    let path = packs(dir.path())[0].clone();
    let mut pack = fs::read(&path).unwrap();
    places[1..2499].iter().for_each(|(_, range)| pack[range.start as usize] ^= 1);
    fs::write(&path, pack).unwrap();
    rebuild_from(&config(dir.path()), &FileSystem).unwrap();
    let mut told = Vec::new();
    for part in 1.. {
        // Its position survives a restart, as ever.
        let slice = open().scrub(1 << 30, &Stop::default()).unwrap();
        assert!(slice.rot.len() <= 1024, "{}", slice.rot.len());
        told.extend(slice.rot.into_iter().map(|rot| rot.chunk));
        if slice.lap_ended {
            assert!(part >= 3, "{part}");
            break;
        }
    }
    let all: BTreeSet<ChunkId> = told.iter().copied().collect();
    assert_eq!((told.len(), all.len()), (2498, 2498));
}

#[test]
fn attack_41_a_pack_stays_while_a_chunk_is_kept_in_it_that_cannot_be_read() {
    let sample = sample(TERM);
    let (store, path) = (&sample.store, &packs(sample.dir.path())[0]);
    let (id, range) = records(store, 0)[3].clone();
    // One record, and the header of the record of the book behind it.
    let part = range.start..range.end + 40;
    sample.disk.lose(path, part);
    assert_eq!(scrub_a_lap(store), BTreeSet::from([id]));
    let done: Compacted = store.compact(&Stop::default()).unwrap().unwrap();
    assert_eq!((done.deleted_bytes, done.rot.len(), done.rot[0].chunk), (0, 1, id));
    assert!(done.copied_chunks > 0);
    assert!(path.exists());
    let left = store.usage();
    // It is not tried again and again.
    assert_eq!(store.compact(&Stop::default()).unwrap(), None);
    // The disk may give it again.
    sample.disk.find();
    sample.chunks.iter().for_each(|chunk| chunk.assert_held(store));
    sample.disk.lose(path, range.clone());
    heal(&sample, &BTreeSet::from([id]));
    assert!(compact(store) > 0);
    assert!(!path.exists());
    assert!(store.usage().dead_bytes < left.dead_bytes, "{left:?} {:?}", store.usage());
    sample.chunks.iter().for_each(|chunk| chunk.assert_held(store));
    let Sample { store, disk, chunks, dir, .. } = sample;
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let report = rebuild_from(&config(dir.path()), &disk).unwrap();
    assert_eq!(report.findings, []);
    let store = open(dir.path(), &disk, TERM);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn attack_41_a_pack_that_cannot_be_read_at_all_holds_nothing_else_up() {
    let sample = sample(0);
    let (store, disk) = (&sample.store, &sample.disk);
    let paths = packs(sample.dir.path());
    let inside = records(store, 1);
    disk.lose(&paths[1], 0..PACK_LEN);
    let (mut faults, mut chunks) = (0, 0);
    loop {
        match store.scrub(5000, &Stop::default()) {
            Ok(slice) => {
                assert_eq!(slice.rot, []);
                chunks += slice.chunks;
                if slice.lap_ended {
                    break;
                }
            }
            Err(StoreError::Pack { file, .. }) => {
                assert_eq!(file, paths[1]);
                faults += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let held = |id: &ChunkId| sample.chunks.iter().any(|chunk| chunk.id == *id);
    let behind = sample.chunks.len() - inside.iter().filter(|(id, _)| held(id)).count();
    assert_eq!((faults, chunks), (1, behind as u64));
    // Nearly everything is removed, and the trash given up: what can be compacted is.
    let live: Vec<u64> = (0..16).filter(|at| ![1, 6, 15].contains(at)).collect();
    sample.deal.commit(store, &[], &live);
    store.empty_trash().unwrap();
    let mut failed = 0;
    for _ in 0..20 {
        match store.compact(&Stop::default()) {
            Ok(None) => break,
            Ok(Some(_)) => {}
            Err(StoreError::Pack { file, .. }) => {
                assert_eq!(file, paths[1]);
                failed += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failed <= 1 && !paths[0].exists());
    sample.chunks[sample.chunks.len() - 1].assert_held(store);
}
