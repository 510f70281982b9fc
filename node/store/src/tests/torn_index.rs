//! LMDB's own commit, torn: of the pages that a transaction writes before it counts, a power cut may
//! leave any, whole or in part, and the store is as it was before.
//!
//! Invariant: an index whose new meta page did not get to the disk is the index of the transaction
//! before, whatever else did; one whose did, with everything that LMDB synced before it, is the new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::images::Rng;
use super::people::{Chunk, additions, assert_accounts, chunk, deal, entries, root};
use super::simulated::{Simulated, scratch};
use crate::opening::Setup;
use crate::{Role, Stop, Store, StoreConfig};

/// Bytes of LMDB's page here; the first two hold the alternating meta pages.
const PAGE: usize = 4096;
const META_PAGES: usize = 2;
const SECTOR: usize = 512;
/// Images of each commit.
const IMAGES: usize = 10;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(dir, 1 << 30) }
}

/// The store's folder as it is, with another index.
fn lay_out(from: &Path, to: &Path, index: &[u8]) {
    for folder in ["index", "packs"] {
        fs::create_dir(to.join(folder)).unwrap();
    }
    fs::copy(from.join("format"), to.join("format")).unwrap();
    for pack in fs::read_dir(from.join("packs")).unwrap() {
        let pack = pack.unwrap();
        fs::copy(pack.path(), to.join("packs").join(pack.file_name())).unwrap();
    }
    fs::write(to.join("index/data.mdb"), index).unwrap();
}

/// All that a store says of itself and of these chunks; it must be in order.
fn told(store: &Store, chunks: &[Chunk]) -> String {
    let contracts: Vec<_> = store
        .contracts()
        .iter()
        .map(|id| {
            let revision = store.contract(id).unwrap().revision.map(|(revision, _)| revision);
            (revision, root(store, id), entries(store, id))
        })
        .collect();
    let held: Vec<bool> = chunks.iter().map(|chunk| store.holds(&chunk.id)).collect();
    for (chunk, _) in chunks.iter().zip(&held).filter(|(_, held)| **held) {
        chunk.assert_held(store);
    }
    assert_accounts(store);
    let report = store.check(&Stop::default()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    format!("{contracts:?} {held:?} {:?}", store.usage())
}

/// Looks at each of LMDB's commits.
struct Watch {
    dir: PathBuf,
    chunks: Vec<Chunk>,
    index: Vec<u8>,
    rng: Rng,
    commits: usize,
    images: usize,
}

impl Watch {
    fn look(&mut self) {
        let now = fs::read(self.dir.join("index/data.mdb")).unwrap();
        if now == self.index {
            return;
        }
        let before = std::mem::replace(&mut self.index, now.clone());
        self.commits += 1;
        self.tear(&before, &now);
    }

    fn tear(&mut self, before: &[u8], now: &[u8]) {
        let page = |file: &[u8], number: usize| {
            file.get(number * PAGE..(number + 1) * PAGE).map(<[u8]>::to_vec).unwrap_or_default()
        };
        let changed = |number: &usize| page(before, *number) != page(now, *number);
        let metas: Vec<usize> = (0..META_PAGES).filter(changed).collect();
        assert_eq!(metas.len(), 1, "one commit at a time");
        let pages: Vec<usize> = (META_PAGES..now.len() / PAGE).filter(changed).collect();
        assert!(!pages.is_empty());
        let (old, new) = (self.told(before), self.told(now));
        assert_ne!(old, new);
        for number in 0..IMAGES {
            let mut image = before.to_vec();
            if self.rng.is_one_in(2) {
                image.resize(now.len().max(image.len()), 0);
            }
            // Nearly nothing, nearly everything, or half of it.
            let there = [1, 4, 7][self.rng.below(3) as usize];
            for page in &pages {
                for sector in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR) {
                    let whole_pages = number % 2 == 0;
                    if whole_pages && sector % PAGE == 0 && self.rng.below(8) < there {
                        put(&mut image, now, sector..sector + PAGE);
                    } else if !whole_pages && self.rng.below(8) < there {
                        put(&mut image, now, sector..sector + SECTOR);
                    }
                }
            }
            assert_eq!(self.told(&image), old);
        }
        // Everything but what makes it count; and with that.
        let mut image = now.to_vec();
        put(&mut image, before, metas[0] * PAGE..(metas[0] + 1) * PAGE);
        assert_eq!(self.told(&image), old);
        put(&mut image, now, metas[0] * PAGE..(metas[0] + 1) * PAGE);
        assert_eq!(self.told(&image), new);
    }

    fn told(&mut self, index: &[u8]) -> String {
        self.images += 1;
        let to = scratch();
        lay_out(&self.dir, to.path(), index);
        let store = Store::open_with(config(to.path()), Setup::default()).unwrap();
        told(&store, &self.chunks)
    }
}

fn put(image: &mut Vec<u8>, from: &[u8], range: std::ops::Range<usize>) {
    if image.len() < range.end {
        image.resize(range.end, 0);
    }
    image[range.clone()].copy_from_slice(&from[range]);
}

#[test]
fn attack_41_a_torn_commit_of_the_index_is_none() {
    let dir = scratch();
    let disk = Simulated::default();
    let setup = Setup { disk: Arc::new(disk.clone()), pack_len_max: Some(6000), ..Setup::default() };
    let store = Store::open_with(config(dir.path()), setup).unwrap();
    let deals = [deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Provider)];
    let chunks: Vec<Chunk> = (0..60).map(|seed| chunk(seed, 1 + (seed as usize * 577) % 900)).collect();
    let watch = Arc::new(Mutex::new(Watch {
        dir: dir.path().to_owned(),
        chunks: chunks.clone(),
        index: fs::read(dir.path().join("index/data.mdb")).unwrap(),
        rng: Rng(7),
        commits: 0,
        images: 0,
    }));
    // Each of LMDB's commits lies between two operations on packs.
    disk.watch({
        let watch = watch.clone();
        move |_, _| watch.lock().unwrap().look()
    });
    for (round, some) in chunks.chunks(10).enumerate() {
        let deal = &deals[round % 2];
        deal.keep(&store, some);
        if round >= 2 {
            // Most of what was committed two rounds before.
            let held = entries(&store, &deal.id);
            let live = (0..).zip(&held).filter(|(_, entry)| entry.chunk.is_some());
            let removes: Vec<u64> = live.map(|(index, _)| index).take(8).collect();
            deal.commit(&store, &additions(&[]), &removes);
            watch.lock().unwrap().look();
            store.empty_trash().unwrap();
            watch.lock().unwrap().look();
        }
        while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
        watch.lock().unwrap().look();
    }
    disk.watch_no_more();
    let watch = watch.lock().unwrap();
    println!("{} commits of the index, {} images", watch.commits, watch.images);
    assert!(watch.commits >= 25, "{} commits", watch.commits);
}
