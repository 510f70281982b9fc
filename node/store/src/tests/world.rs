//! A store whose disk may fail or lose its power at any operation, and what must be there then.
//!
//! Invariant: after a cut or a fault each contract is as it was acknowledged, or as the change under
//! way makes it; all it holds is served and proven, what nobody holds is not, the check finds nothing
//! wrong, and the store goes on. The same when the index is made again from the packs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::{leaf_hash, verify_path};

use super::images::{Cut, Image, Rng};
use super::people::{Chunk, Deal, ENDS, additions, assert_accounts, chunk, deal, entries, root};
use super::simulated::{Kind, Simulated, scratch};
use crate::error::{CommitError, ReadError, StoreError};
use crate::opening::Setup;
use crate::{Role, Stop, Store, StoreConfig, rebuild_index};

/// What each cut may leave, of which so many are looked at; `COMMONHOLD_STORE_CUTS` times as many on
/// demand.
pub(super) const IMAGES: usize = 5;
/// One in so many images loses its index as well.
pub(super) const REBUILT: u64 = 6;

/// A contract's revision and inventory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    pub(super) sequence: u64,
    pub(super) entries: Vec<Option<ChunkId>>,
}

/// What a store may have after a cut.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) chunks: HashMap<ChunkId, Chunk>,
    /// As acknowledged, and as the change under way makes it.
    pub(super) contracts: HashMap<ContractId, Vec<State>>,
    /// Chunks that may be served although no inventory has them: of a contract that is being given up.
    pub(super) limbo: HashSet<ChunkId>,
    /// Damage that the scrub is to mend.
    pub(super) damaged: bool,
}

impl Expected {
    /// `rebuilt`: a revision that was never synced may have come back without all of its chunks.
    pub(super) fn check(&self, store: &Store, rebuilt: bool) {
        let mut live = HashSet::new();
        let mut acknowledged: HashSet<ChunkId> = HashSet::new();
        let mut whole = !self.damaged;
        for (id, states) in &self.contracts {
            let revision = store.contract(id).unwrap().revision.map(|(revision, _)| revision);
            let there: Vec<_> = entries(store, id).iter().map(|entry| entry.chunk).collect();
            let found = State { sequence: revision.as_ref().map_or(0, |it| it.sequence), entries: there };
            assert!(states.contains(&found), "{found:?} is none of {states:?}");
            if let Some(revision) = revision.filter(|_| !found.entries.is_empty()) {
                let there = root(store, id).unwrap();
                assert_eq!(there, (revision.inventory_root, revision.entries));
            }
            live.extend(found.entries.into_iter().flatten());
            acknowledged.extend(states[0].entries.iter().flatten());
        }
        for (id, chunk) in &self.chunks {
            if live.contains(id) {
                if rebuilt && !acknowledged.contains(id) && store.read(id).is_err() {
                    assert!(matches!(store.read(id), Err(ReadError::Damaged { .. })));
                    whole = false;
                    continue;
                }
                chunk.assert_held(store);
                if !self.damaged {
                    let proof = store.prove(id, 0).unwrap();
                    let leaves = (chunk.bytes.len() as u64).div_ceil(1024);
                    verify_path(&id.0, leaves, 0, &leaf_hash(&proof.bytes), &proof.path).unwrap();
                }
            } else if !self.limbo.contains(id) {
                assert!(matches!(store.read(id), Err(ReadError::NotHeld)), "{id} is served");
            }
        }
        assert_accounts(store);
        if whole {
            let report = store.check(&Stop::default()).unwrap();
            assert!(report.findings.is_empty(), "{report:?}");
        }
    }
}

pub(super) fn config(dir: &Path) -> StoreConfig {
    StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(dir, 1 << 30) }
}

/// Compacts as long as that deletes something; answers how many bytes that was.
pub(super) fn compact(store: &Store) -> u64 {
    let mut deleted = 0;
    while let Some(done) = store.compact(&Stop::default()).unwrap() {
        deleted += done.deleted_bytes;
        if done.deleted_bytes == 0 {
            break;
        }
    }
    deleted
}

/// A store on a disk whose power is cut again and again.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) disk: Simulated,
    pub(super) expected: Arc<Mutex<Expected>>,
    pub(super) store: Store,
    pub(super) deals: Vec<Deal>,
    cuts: Arc<AtomicU64>,
    seeds: u64,
    pub(super) time: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new(pack_len: u64) -> Self {
        let dir = scratch();
        let disk = Simulated::default();
        let time = Arc::new(AtomicU64::new(ENDS - 1000));
        let clock = {
            let time = time.clone();
            Arc::new(move || time.load(Ordering::Relaxed))
        };
        let setup =
            Setup { disk: Arc::new(disk.clone()), pack_len_max: Some(pack_len), clock, ..Setup::default() };
        let store = Store::open_with(config(dir.path()), setup).unwrap();
        let deals: Vec<Deal> = (1..3).map(|salt| deal(salt).enter(&store, Role::Provider)).collect();
        let contracts = deals.iter().map(|deal| (deal.id, vec![State::default()])).collect();
        let expected = Arc::new(Mutex::new(Expected { contracts, ..Expected::default() }));
        Self { dir, disk, expected, store, deals, cuts: Arc::default(), seeds: 0, time }
    }

    pub(super) fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap()
    }

    fn bench(&self, max: usize) -> Bench {
        Bench {
            dir: self.dir.path().to_owned(),
            disk: self.disk.clone(),
            expected: self.expected.clone(),
            images: self.cuts.clone(),
            rng: Mutex::new(Rng(1)),
            max,
        }
    }

    /// Cuts the power between any two operations.
    pub(super) fn cut_from_now_on(&self) {
        let factor = std::env::var("COMMONHOLD_STORE_CUTS").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
        let bench = self.bench(IMAGES * factor);
        self.disk.watch(move |op, after| {
            // Behind the others nothing happens before the next.
            if !after || matches!(op.kind, Kind::Sync | Kind::SyncFolder) {
                bench.cut();
            }
        });
    }

    /// Cuts the power now.
    pub(super) fn cut(&self, images: usize) {
        self.bench(images).cut();
    }

    pub(super) fn fresh(&mut self, count: usize) -> Vec<Chunk> {
        let seeds = self.seeds..self.seeds + count as u64;
        self.seeds = seeds.end;
        let chunks: Vec<Chunk> = seeds.map(|seed| chunk(seed, 1 + (seed as usize * 389) % 900)).collect();
        self.expected().chunks.extend(chunks.iter().map(|chunk| (chunk.id, chunk.clone())));
        chunks
    }

    pub(super) fn state(&self, at: usize) -> State {
        self.expected().contracts[&self.deals[at].id][0].clone()
    }

    /// Does something that brings a contract into another state.
    pub(super) fn change(&self, at: usize, next: State, change: impl FnOnce(&Deal)) {
        let deal = &self.deals[at];
        self.expected().contracts.get_mut(&deal.id).unwrap().push(next.clone());
        change(deal);
        self.expected().contracts.insert(deal.id, vec![next]);
    }

    pub(super) fn commit(&self, at: usize, adds: &[Chunk], removes: &[u64]) {
        let mut next = self.state(at);
        next.sequence += 1;
        next.entries.extend(adds.iter().map(|chunk| Some(chunk.id)));
        removes.iter().for_each(|index| next.entries[*index as usize] = None);
        self.change(at, next, |deal| deal.commit(&self.store, &additions(adds), removes));
    }

    /// A commit that may fail: then nothing has changed, or the store has stopped and nobody knows.
    pub(super) fn try_commit(&self, at: usize, adds: &[Chunk], removes: &[u64]) -> Result<(), StoreError> {
        let (deal, before) = (&self.deals[at], self.state(at));
        let mut next = before.clone();
        next.sequence += 1;
        next.entries.extend(adds.iter().map(|chunk| Some(chunk.id)));
        removes.iter().for_each(|index| next.entries[*index as usize] = None);
        self.expected().contracts.insert(deal.id, vec![before.clone(), next.clone()]);
        let outcome = match deal.try_commit(&self.store, &additions(adds), removes) {
            Ok(()) => Ok(next),
            Err(CommitError::Failed(error)) => Err(error),
            Err(error) => panic!("{error}"),
        };
        let settled = match &outcome {
            Ok(next) => next.clone(),
            Err(_) if self.store.failure().is_some() => return outcome.map(|_| ()),
            Err(_) => before,
        };
        self.expected().contracts.insert(deal.id, vec![settled]);
        outcome.map(|_| ())
    }

    pub(super) fn keep(&self, at: usize, chunks: &[Chunk]) {
        chunks.iter().for_each(|chunk| chunk.put(&self.store, &self.deals[at]).unwrap());
        self.commit(at, chunks, &[]);
    }

    /// Indices of what a contract holds.
    pub(super) fn live(&self, at: usize) -> Vec<u64> {
        let entries = self.state(at).entries;
        (0..).zip(entries).filter(|(_, chunk)| chunk.is_some()).map(|(index, _)| index).collect()
    }

    /// Ends without a cut; answers how many images there were.
    pub(super) fn end(self) -> u64 {
        self.disk.watch_no_more();
        drop(self.store);
        let store = Store::open_with(config(self.dir.path()), Setup::default()).unwrap();
        self.expected.lock().unwrap().check(&store, false);
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Where what is left is looked at.
struct Bench {
    dir: PathBuf,
    disk: Simulated,
    expected: Arc<Mutex<Expected>>,
    images: Arc<AtomicU64>,
    rng: Mutex<Rng>,
    max: usize,
}

impl Bench {
    fn cut(&self) {
        let cut: Cut = self.disk.cut_power();
        let mut rng = self.rng.lock().unwrap();
        let index = fs::read(self.dir.join("index/data.mdb")).unwrap();
        for image in cut.images(self.max, &mut rng) {
            self.images.fetch_add(1, Ordering::Relaxed);
            self.look(&image, &index, rng.is_one_in(REBUILT));
        }
    }

    fn look(&self, image: &Image, index: &[u8], rebuilt: bool) {
        let to = scratch();
        for folder in ["index", "packs"] {
            fs::create_dir(to.path().join(folder)).unwrap();
        }
        fs::copy(self.dir.join("format"), to.path().join("format")).unwrap();
        fs::write(to.path().join("index/data.mdb"), index).unwrap();
        for (name, bytes) in image {
            fs::write(to.path().join("packs").join(name), bytes).unwrap();
        }
        let expected = self.expected.lock().unwrap();
        let rebuilt = rebuilt && !expected.damaged;
        if rebuilt {
            fs::remove_dir_all(to.path().join("index")).unwrap();
            // It may report what was never synced.
            rebuild_index(&config(to.path())).unwrap();
        }
        let store = Store::open_with(config(to.path()), Setup::default()).unwrap();
        if rebuilt {
            // Of what was never synced, any part may be there. The scrub clears it away.
            while !store.scrub(1 << 30, &Stop::default()).unwrap().lap_ended {}
            compact(&store);
        }
        expected.check(&store, rebuilt);
        // It goes on from there.
        let next = chunk(1_000_000, 50);
        let deal = deal(9).enter(&store, Role::Provider);
        deal.keep(&store, std::slice::from_ref(&next));
        next.assert_held(&store);
    }
}
