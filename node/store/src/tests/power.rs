//! Power cuts: of what no sync has covered, anything may be on the disk, and nothing that was
//! acknowledged depends on it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use commonhold_format::ids::ChunkId;
use tempfile::TempDir;

use super::people::{Chunk, additions, chunk, deal, entries};
use super::simulated::Simulated;
use crate::error::ReadError;
use crate::opening::Setup;
use crate::{Role, Store, StoreConfig};

/// What is left behind the bytes that a sync has covered.
const REMAINS: [&str; 5] = ["nothing", "a part", "zeros", "other bytes", "everything"];

/// The store's folder after a power cut now. The index is as it was written: LMDB's own syncs are
/// not simulated.
fn power_cut(from: &Path, disk: &Simulated, remains: &str) -> TempDir {
    let to = TempDir::new().unwrap();
    for folder in ["index", "packs"] {
        fs::create_dir(to.path().join(folder)).unwrap();
    }
    for file in ["format", "index/data.mdb"] {
        fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    for entry in fs::read_dir(from.join("packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let (durable, len) = (disk.durable(&path) as usize, bytes.len());
        assert!(durable <= len);
        match remains {
            "nothing" => bytes.truncate(durable),
            "a part" => bytes.truncate(durable + (len - durable) / 2),
            "zeros" => bytes[durable..].fill(0),
            "other bytes" => bytes[durable..].iter_mut().for_each(|byte| *byte = !*byte),
            _ => {}
        }
        let name: PathBuf = ["packs", path.file_name().unwrap().to_str().unwrap()].iter().collect();
        fs::write(to.path().join(name), bytes).unwrap();
    }
    to
}

fn reopened(image: &TempDir) -> Store {
    let config = StoreConfig::new(image.path(), 1 << 30);
    Store::open_with(config, Setup::default()).unwrap()
}

/// What the store has acknowledged.
#[derive(Clone, Default)]
struct Acknowledged {
    sequence: u64,
    live: Vec<Chunk>,
    gone: Vec<ChunkId>,
}

impl Acknowledged {
    fn check(&self, dir: &Path, disk: &Simulated) {
        for remains in REMAINS {
            let image = power_cut(dir, disk, remains);
            let store = reopened(&image);
            let revision = store.contract(&deal(1).id).unwrap().revision;
            assert_eq!(revision.map_or(0, |(last, _)| last.sequence), self.sequence, "{remains} is left");
            for chunk in &self.live {
                chunk.assert_held(&store);
            }
            for chunk in &self.gone {
                assert!(matches!(store.read(chunk), Err(ReadError::NotHeld)), "{remains} is left");
            }
            assert_eq!(store.usage().chunks, self.live.len() as u64);
            // And it goes on from there.
            let next = chunk(1_000_000, 50);
            deal(1).keep(&store, std::slice::from_ref(&next));
            next.assert_held(&store);
        }
    }
}

#[test]
fn attack_41_nothing_acknowledged_is_lost_when_the_power_is_cut_at_any_moment() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    // Packs of a few records, so that commits span several of them.
    let store = disk.open_with(dir.path(), |setup| setup.pack_len_max = Some(2000));
    let deal = deal(1).enter(&store, Role::Provider);
    let expected = Arc::new(Mutex::new(Acknowledged::default()));
    let cuts = Arc::new(Mutex::new(0));
    disk.watch_syncs({
        // Before and after each sync, when the index is not yet written.
        let (dir, disk) = (dir.path().to_owned(), disk.clone());
        let (expected, cuts) = (expected.clone(), cuts.clone());
        move || {
            expected.lock().unwrap().clone().check(&dir, &disk);
            *cuts.lock().unwrap() += 1;
        }
    });
    let seed = Cell::new(0);
    let fresh = || {
        seed.set(seed.get() + 1);
        chunk(seed.get(), 1 + (seed.get() as usize * 131) % 400)
    };
    let check = || expected.lock().unwrap().clone().check(dir.path(), &disk);
    for round in 0..8u64 {
        let chunks: Vec<Chunk> = (0..1 + round % 4).map(|_| fresh()).collect();
        for chunk in &chunks {
            chunk.put(&store, &deal).unwrap();
        }
        // One more that this commit does not cover, and whose bytes go with the same sync.
        fresh().put(&store, &deal).unwrap();
        check();
        let held: Vec<u64> = (0..)
            .zip(entries(&store, &deal.id))
            .filter(|(_, entry)| entry.chunk.is_some())
            .map(|(index, _)| index)
            .collect();
        let removes: Vec<u64> = if round % 3 == 2 { held[..held.len() / 2 + 1].to_vec() } else { Vec::new() };
        deal.commit(&store, &additions(&chunks), &removes);
        {
            let mut expected = expected.lock().unwrap();
            expected.sequence += 1;
            let gone: Vec<Chunk> = expected.live.drain(..removes.len()).collect();
            expected.gone.extend(gone.iter().map(|chunk| chunk.id));
            expected.live.extend(chunks);
        }
        check();
    }
    assert!(*cuts.lock().unwrap() >= 16);
}
