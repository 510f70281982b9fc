//! The store while its disk can be trusted, and the reason why not otherwise (spec/store.md,
//! "Quarantine").
//!
//! Invariant: whoever gets the store here gets the one that this node knows, on the disk that it was
//! opened on. A node in quarantine says so to everybody who asks, so that nobody takes a disk that is
//! not mounted for a provider that has lost its chunks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use commonhold_format::ids::ContractId;
use commonhold_ledger::Ledger;
use commonhold_store::{Store, StoreConfig, StoreId};

use crate::datadir::{Places, write_durably};
use crate::{loss, provider};

/// How often a disk is looked at, and a store that did not open is tried again.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    store: Option<Store>,
    /// Why the store is not to be used.
    why: Option<String>,
    /// Device and number of the store's folder, and of its index, when it was opened.
    places: Option<[(u64, u64); 2]>,
    /// Contracts whose chunks were given up as lost.
    lost: BTreeSet<ContractId>,
}

/// What a node keeps about its store outside of it.
pub struct Outside {
    /// The store's id.
    pub id: PathBuf,
    /// Contracts whose chunks were given up as lost.
    pub lost: PathBuf,
}

impl Outside {
    /// In a data directory.
    pub fn of(places: &Places) -> Self {
        Self { id: places.store_id(), lost: places.lost_contracts() }
    }
}

/// The way to the store.
pub struct Vault {
    config: StoreConfig,
    outside: Outside,
    ledger: Ledger,
    state: RwLock<State>,
    /// The pack that is looked at next.
    next_pack: AtomicU32,
}

fn places_of(dir: &Path) -> std::io::Result<[(u64, u64); 2]> {
    let place = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    Ok([place(dir)?, place(&dir.join("index/data.mdb"))?])
}

/// The id of the store that this node has had, if any.
fn known_id(file: &Path) -> Result<Option<StoreId>, String> {
    match fs::read_to_string(file) {
        Ok(text) => text.trim_end().parse().map(Some).map_err(|why| format!("{}: {why}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// The configuration with the id of the store that this node has had.
///
/// # Errors
/// A sentence, when the file that keeps it cannot be read.
pub fn with_known_id(config: StoreConfig, id_file: &Path) -> Result<StoreConfig, String> {
    Ok(StoreConfig { known: known_id(id_file)?, ..config })
}

impl Vault {
    /// A vault that was not opened yet.
    pub fn new(config: StoreConfig, outside: Outside, ledger: Ledger) -> Self {
        Self { config, outside, ledger, state: RwLock::default(), next_pack: AtomicU32::new(0) }
    }

    /// Opens the store, unless it is open. Blocks.
    ///
    /// # Errors
    /// The reason why this node is in quarantine.
    pub fn open(&self) -> Result<Store, String> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &state.store {
            return Ok(store.clone());
        }
        match self.try_open() {
            Ok((store, opened)) => {
                *state = opened;
                Ok(store)
            }
            Err(why) => {
                if state.why.as_ref() != Some(&why) {
                    tracing::error!(why, "the store cannot be used");
                }
                state.why = Some(why.clone());
                Err(why)
            }
        }
    }

    fn try_open(&self) -> Result<(Store, State), String> {
        let dir = &self.config.dir;
        let config = with_known_id(self.config.clone(), &self.outside.id)?;
        let is_known = config.known.is_some();
        let lost = loss::read_lost(&self.outside.lost)?;
        let store = Store::open(config).map_err(|error| error.to_string())?;
        // Before it is taken for this node's.
        loss::check_owner(&store, &self.ledger, dir)?;
        if !is_known {
            write_durably(&self.outside.id, format!("{}\n", store.id()).as_bytes(), 0o644)
                .map_err(|error| error.to_string())?;
        }
        let gaps = loss::gaps(&store, &self.ledger)?;
        if let Some(gap) = gaps.iter().find(|gap| !lost.contains(&gap.contract)) {
            return Err(format!(
                "{} is an older copy: {gap}; mount the newer disk, or, if there is none any more, stop the node and give up what it held with `store accept-loss`",
                dir.display()
            ));
        }
        provider::reconcile(&store, &self.ledger).map_err(|error| error.to_string())?;
        let places = Some(places_of(dir).map_err(|error| error.to_string())?);
        Ok((store.clone(), State { store: Some(store), why: None, places, lost }))
    }

    /// Were the chunks of a contract given up as lost? Nothing is signed under it any more.
    pub fn has_lost(&self, contract: &ContractId) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).lost.contains(contract)
    }

    /// The store.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn store(&self) -> Result<Store, String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match (&state.store, &state.why) {
            (Some(store), None) => Ok(store.clone()),
            (_, Some(why)) => Err(why.clone()),
            (None, None) => Err("the store is not open yet".to_owned()),
        }
    }

    /// The store when it takes in and acknowledges.
    pub fn sound(&self) -> Option<Store> {
        self.store().ok().filter(|store| store.failure().is_none())
    }

    /// Why this node takes in and acknowledges nothing, if so.
    pub fn quarantine(&self) -> Option<String> {
        match self.store() {
            Ok(store) => store.failure().map(|error| error.to_string()),
            Err(why) => Some(why),
        }
    }

    /// Tries a store that did not open again, and looks whether the disk of an open one is still
    /// there and can be written. Blocks. What is found wrong with an open one stays until the node
    /// is started again: its files are those of a disk that is gone.
    pub fn look(&self) {
        let open = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            match (&state.store, &state.why) {
                (Some(store), None) if store.failure().is_none() => Some(store.clone()).zip(state.places),
                (Some(_), _) => return,
                (None, _) => None,
            }
        };
        let Some((store, places)) = open else {
            // The reason is kept and shown.
            let _ = self.open();
            return;
        };
        if let Err(why) = self.probe(&store, places) {
            let why = format!("{why}; mount the disk again and start the node again");
            tracing::error!(why, "the store's disk cannot be used any more");
            self.state.write().unwrap_or_else(PoisonError::into_inner).why = Some(why);
        }
    }

    fn probe(&self, store: &Store, places: [(u64, u64); 2]) -> Result<(), String> {
        let dir = &self.config.dir;
        let named = |error: std::io::Error| format!("{}: {error}", dir.display());
        let [folder, index] = places_of(dir).map_err(named)?;
        if folder != places[0] {
            return Err(format!("{} is another folder than before", dir.display()));
        }
        if index != places[1] {
            return Err(format!("{} has another index than before", dir.display()));
        }
        let from = self.next_pack.load(Ordering::Relaxed);
        let next = store.look_at_packs(from).map_err(|error| error.to_string())?;
        self.next_pack.store(next, Ordering::Relaxed);
        let format = fs::read_to_string(dir.join("format")).map_err(named)?;
        let known = known_id(&self.outside.id)?.map(|id| id.to_string()).unwrap_or_default();
        if format.lines().nth(1) != Some(&known) {
            return Err(format!("{} is another store than before", dir.display()));
        }
        let file = dir.join("probe");
        let write = || -> std::io::Result<()> {
            let mut probe = File::create(&file)?;
            probe.write_all(b"can this disk be written?\n")?;
            probe.sync_all()?;
            fs::remove_file(&file)
        };
        match write() {
            // Puts are refused one by one, and nothing is lost.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            outcome => outcome.map_err(named),
        }
    }
}
