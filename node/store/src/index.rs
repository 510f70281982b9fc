//! The index: everything about chunks, contracts and segments that must be found again, in LMDB
//! through heed.
//!
//! Invariant: one thread makes all write transactions; what waits for it goes into one commit.
//! After the first failed commit nothing is written any more. Values are decoded strictly, and what
//! does not decode is an error that names database and key. Not here: chunk bytes (packs).

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::{ENTRY_LEN, InventoryEntry};
use commonhold_format::note::SignedNote;
use commonhold_format::segment::Segment;
use commonhold_format::statement::Statement;
use commonhold_format::wire::Addition;
use data_encoding::HEXLOWER;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use minicbor::{Decode, Encode};

use crate::Holding;
use crate::book::{Account, Change, ContractState, Role};
use crate::error::{OpenError, StoreError};

/// Size of LMDB's map: an address range, not memory or disk; at about 250 bytes a chunk it is
/// enough for 60 million chunks.
const MAP_LEN: usize = 16 << 30;
/// Changes that may wait for the writer; callers beyond it wait.
const QUEUE_MAX: usize = 256;
const DATABASES: u32 = 5;

const LOST: u8 = 1;
const PROVIDED: u8 = 2;

/// Where a chunk's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the pack.
    pub(crate) pack: u32,
    /// First byte of the record.
    pub(crate) offset: u64,
    /// Bytes of the chunk.
    pub(crate) len: u32,
}

impl Place {
    const LEN: usize = 16;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.pack.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.offset.to_be_bytes());
        bytes[12..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pack, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        Some(Self {
            pack: u32::from_be_bytes(*pack),
            offset: u64::from_be_bytes(*offset),
            len: u32::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// A contract's state as it lies in the index, version 1.
#[derive(Encode, Decode)]
struct StoredContract {
    #[n(0)]
    version: u8,
    #[n(1)]
    provider: bool,
    #[cbor(n(2), with = "minicbor::bytes")]
    note: Vec<u8>,
    #[cbor(n(3), with = "minicbor::bytes")]
    revision: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    receipt: Vec<u8>,
    #[cbor(n(5), with = "minicbor::bytes")]
    byte_seconds: [u8; 16],
    #[n(6)]
    next_epoch: u64,
    #[n(7)]
    audits_passed: u64,
    #[n(8)]
    audits_failed: u64,
    #[cbor(n(9), with = "minicbor::bytes")]
    evidence: [u8; 32],
}

impl StoredContract {
    fn of(state: &ContractState) -> Self {
        let note = |note: Option<&SignedNote>| note.map(SignedNote::to_bytes).unwrap_or_default();
        Self {
            version: 1,
            provider: state.role == Role::Provider,
            note: state.note.to_bytes(),
            revision: note(state.revision.as_ref().map(|(_, note)| note)),
            receipt: note(state.receipt.as_ref().map(|(_, note)| note)),
            byte_seconds: state.byte_seconds.to_be_bytes(),
            next_epoch: state.next_epoch,
            audits_passed: state.audits_passed,
            audits_failed: state.audits_failed,
            evidence: state.evidence,
        }
    }

    fn restore(self) -> Result<ContractState, String> {
        if self.version != 1 {
            return Err("of a version that is not known".to_owned());
        }
        let statement = |bytes: &[u8]| -> Result<Option<(Statement, SignedNote)>, String> {
            if bytes.is_empty() {
                return Ok(None);
            }
            let note = SignedNote::parse(bytes).map_err(|error| error.to_string())?;
            let statement = Statement::of(&note).map_err(|error| error.to_string())?;
            Ok(Some((statement, note)))
        };
        let Some((Statement::Contract(contract), note)) = statement(&self.note)? else {
            return Err("not a contract".to_owned());
        };
        let revision = match statement(&self.revision)? {
            None => None,
            Some((Statement::Revision(revision), note)) => Some((revision, note)),
            Some(_) => return Err("not a revision".to_owned()),
        };
        let receipt = match statement(&self.receipt)? {
            None => None,
            Some((Statement::Receipt(receipt), note)) => Some((receipt, note)),
            Some(_) => return Err("not a receipt".to_owned()),
        };
        Ok(ContractState {
            role: if self.provider { Role::Provider } else { Role::Owner },
            contract,
            note,
            revision,
            receipt,
            byte_seconds: u128::from_be_bytes(self.byte_seconds),
            next_epoch: self.next_epoch,
            audits_passed: self.audits_passed,
            audits_failed: self.audits_failed,
            evidence: self.evidence,
        })
    }
}

type Table = Database<'static, Bytes, Bytes>;

#[derive(Clone, Copy)]
struct Tables {
    /// chunk → place.
    chunks: Table,
    /// chunk ‖ contract → index u64, flags.
    holdings: Table,
    /// contract → [`StoredContract`].
    contracts: Table,
    /// contract ‖ index → inventory entry.
    entries: Table,
    /// segment → [`Segment`].
    segments: Table,
}

/// Told how the commit went that a change was in.
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Tables, &mut RwTxn<'_>) -> Result<Done, heed::Error> + Send>;

/// Handle of the index.
pub(crate) struct Index {
    env: Env<WithoutTls>,
    tables: Tables,
    jobs: SyncSender<Job>,
}

fn read_error(error: heed::Error) -> StoreError {
    StoreError::Read { why: error.to_string() }
}

fn damaged(database: &'static str, key: &[u8], why: impl Into<String>) -> StoreError {
    StoreError::Damaged { database, key: HEXLOWER.encode(key), why: why.into() }
}

fn holding_key(chunk: &ChunkId, contract: &ContractId) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&chunk.0);
    key[32..].copy_from_slice(&contract.0);
    key
}

fn holding_value(index: u64, flags: u8) -> [u8; 9] {
    let mut value = [0; 9];
    value[..8].copy_from_slice(&index.to_be_bytes());
    value[8] = flags;
    value
}

fn entry_key(contract: &ContractId, index: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&contract.0);
    key[32..].copy_from_slice(&index.to_be_bytes());
    key
}

impl Index {
    /// Opens or makes the index and starts its writer.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_LEN).max_dbs(DATABASES);
        // SAFETY: LMDB maps the file, so nobody may change it behind its back. The data directory
        // is locked by one process (the node), which opens this environment once, and the file is
        // written through it alone.
        #[allow(unsafe_code)]
        let env = unsafe { options.open(dir) }.map_err(read_error)?;
        let txn = env.write_txn().map_err(read_error)?;
        let tables = env
            .create_databases_and_commit(txn, |opener, txn| {
                let mut table = |name| opener.create_database::<Bytes, Bytes>(txn, Some(name));
                let tables = (
                    table("chunks")?,
                    table("holdings")?,
                    table("contracts")?,
                    table("entries")?,
                    table("segments")?,
                );
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
            })
            .map_err(read_error)?
            .unwrap_commit();
        let (chunks, holdings, contracts, entries, segments) = tables;
        let tables = Tables { chunks, holdings, contracts, entries, segments };
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let writer_env = env.clone();
        std::thread::Builder::new()
            .name("store-index".to_owned())
            .spawn(move || write_forever(&writer_env, &tables, &queue))
            .map_err(OpenError::io(dir))?;
        Ok(Self { env, tables, jobs })
    }

    /// Runs a change in the writer's next transaction; it is durable on return.
    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Tables, &mut RwTxn<'_>) -> Result<T, heed::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move |tables, txn| {
            let value = change(tables, txn)?;
            Ok(Box::new(move |outcome: Result<(), StoreError>| {
                // The caller waits for exactly this.
                let _ = answer.send(outcome.map(|()| value));
            }))
        });
        let stopped = || StoreError::Failed { why: "the index's writer has stopped".to_owned() };
        self.jobs.send(job).map_err(|_| stopped())?;
        answered.recv().map_err(|_| stopped())?
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&Tables, &RoTxn<'_, WithoutTls>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let txn = self.env.read_txn().map_err(read_error)?;
        look(&self.tables, &txn)
    }

    /// Where a chunk is.
    pub(crate) fn place(&self, chunk: &ChunkId) -> Result<Option<Place>, StoreError> {
        self.read(|tables, txn| {
            let bytes = tables.chunks.get(txn, &chunk.0).map_err(read_error)?;
            bytes
                .map(|bytes| {
                    Place::from_bytes(bytes).ok_or_else(|| damaged("chunks", &chunk.0, "not a place"))
                })
                .transpose()
        })
    }

    /// The places of all chunks.
    pub(crate) fn places(&self) -> Result<Vec<Place>, StoreError> {
        self.read(|tables, txn| {
            let mut places = Vec::new();
            for item in tables.chunks.iter(txn).map_err(read_error)? {
                let (key, bytes) = item.map_err(read_error)?;
                places.push(Place::from_bytes(bytes).ok_or_else(|| damaged("chunks", key, "not a place"))?);
            }
            Ok(places)
        })
    }

    /// All contracts.
    pub(crate) fn contracts(&self) -> Result<Vec<(ContractId, ContractState)>, StoreError> {
        self.read(|tables, txn| {
            let mut contracts = Vec::new();
            for item in tables.contracts.iter(txn).map_err(read_error)? {
                let (key, bytes) = item.map_err(read_error)?;
                let refuse = |why: String| damaged("contracts", key, why);
                let id = ContractId(key.try_into().map_err(|_| refuse("not a contract id".to_owned()))?);
                let stored: StoredContract =
                    minicbor::decode(bytes).map_err(|error| refuse(error.to_string()))?;
                let state = stored.restore().map_err(refuse)?;
                if state.contract.id() != id {
                    return Err(refuse("another contract's".to_owned()));
                }
                contracts.push((id, state));
            }
            Ok(contracts)
        })
    }

    /// A contract's inventory, in order.
    pub(crate) fn entries(&self, contract: &ContractId) -> Result<Vec<InventoryEntry>, StoreError> {
        self.read(|tables, txn| {
            let mut entries = Vec::new();
            for item in tables.entries.prefix_iter(txn, &contract.0).map_err(read_error)? {
                let (key, bytes) = item.map_err(read_error)?;
                let refuse = |why: &str| damaged("entries", key, why);
                if key != entry_key(contract, entries.len() as u64) {
                    return Err(refuse("an entry before it is missing"));
                }
                let bytes: &[u8; ENTRY_LEN] = bytes.try_into().map_err(|_| refuse("not an entry"))?;
                entries.push(InventoryEntry::from_bytes(bytes).ok_or_else(|| refuse("not an entry"))?);
            }
            Ok(entries)
        })
    }

    /// The contracts that a chunk is under, in either role.
    pub(crate) fn holdings(&self, chunk: &ChunkId) -> Result<Vec<Holding>, StoreError> {
        self.read(|tables, txn| {
            let mut holdings = Vec::new();
            for item in tables.holdings.prefix_iter(txn, &chunk.0).map_err(read_error)? {
                let (key, value) = item.map_err(read_error)?;
                let refuse = || damaged("holdings", key, "not a holding");
                let (index, flags) = value.split_first_chunk().ok_or_else(refuse)?;
                let contract = ContractId(key[32..].try_into().map_err(|_| refuse())?);
                let [flags] = flags else { return Err(refuse()) };
                let index = u64::from_be_bytes(*index);
                holdings.push(Holding { contract, index, lost: flags & LOST != 0 });
            }
            Ok(holdings)
        })
    }

    /// All segments.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        self.read(|tables, txn| {
            let mut segments = Vec::new();
            for item in tables.segments.iter(txn).map_err(read_error)? {
                let (key, bytes) = item.map_err(read_error)?;
                segments.push(
                    minicbor::decode(bytes).map_err(|error| damaged("segments", key, error.to_string()))?,
                );
            }
            Ok(segments)
        })
    }

    /// One segment.
    pub(crate) fn segment(&self, id: &SegmentId) -> Result<Option<Segment>, StoreError> {
        self.read(|tables, txn| {
            let bytes = tables.segments.get(txn, &id.0).map_err(read_error)?;
            bytes
                .map(|bytes| {
                    minicbor::decode(bytes).map_err(|error| damaged("segments", &id.0, error.to_string()))
                })
                .transpose()
        })
    }

    /// Writes a contract's state.
    pub(crate) fn write_contract(&self, id: &ContractId, state: &ContractState) -> Result<(), StoreError> {
        let id = *id;
        let bytes = encoded(&StoredContract::of(state));
        self.write(move |tables, txn| tables.contracts.put(txn, &id.0, &bytes))
    }

    /// Writes a revision: the contract's new state, its changed entries, the places of its new
    /// chunks. Answers the places that nothing needs any more.
    pub(crate) fn write_revision(
        &self,
        id: &ContractId,
        account: &Account,
        change: &Change,
        adds: &[Addition],
        places: &[(ChunkId, Place)],
    ) -> Result<Vec<Place>, StoreError> {
        let id = *id;
        let state = encoded(&StoredContract::of(&account.state));
        let provided = if account.state.role == Role::Provider { PROVIDED } else { 0 };
        let mut entries: Vec<(u64, [u8; ENTRY_LEN])> = Vec::new();
        let mut gone: Vec<ChunkId> = Vec::new();
        for (index, entry) in &change.removed {
            gone.extend(entry.chunk);
            let hole = InventoryEntry { chunk: None, ..*entry };
            entries.push((*index, hole.to_bytes()));
        }
        entries.extend(change.appended.iter().map(|(index, entry)| (*index, entry.to_bytes())));
        // Also chunks that the inventory held already: adding one again ends its being lost.
        let held: Vec<(ChunkId, u64)> =
            adds.iter().filter_map(|add| Some((add.chunk, account.place_of(&add.chunk)?))).collect();
        let places = places.to_vec();
        self.write(move |tables, txn| {
            tables.contracts.put(txn, &id.0, &state)?;
            for (index, entry) in &entries {
                tables.entries.put(txn, &entry_key(&id, *index), entry)?;
            }
            for chunk in &gone {
                tables.holdings.delete(txn, &holding_key(chunk, &id))?;
            }
            for (chunk, index) in &held {
                tables.holdings.put(txn, &holding_key(chunk, &id), &holding_value(*index, provided))?;
            }
            let mut freed = Vec::new();
            for (chunk, place) in &places {
                // A damaged record that was put again: the old one is dead.
                let old = tables.chunks.get(txn, &chunk.0)?.and_then(Place::from_bytes);
                freed.extend(old.filter(|old| old != place));
                tables.chunks.put(txn, &chunk.0, &place.to_bytes())?;
            }
            for chunk in &gone {
                let mut needed = false;
                for item in tables.holdings.prefix_iter(txn, &chunk.0)? {
                    needed |= item?.1.last().is_some_and(|flags| flags & PROVIDED != 0);
                }
                if !needed && let Some(place) = tables.chunks.get(txn, &chunk.0)?.and_then(Place::from_bytes)
                {
                    freed.push(place);
                    tables.chunks.delete(txn, &chunk.0)?;
                }
            }
            Ok(freed)
        })
    }

    /// Writes a segment.
    pub(crate) fn put_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        let (id, bytes) = (segment.id(), encoded(segment));
        self.write(move |tables, txn| tables.segments.put(txn, &id.0, &bytes))
    }

    /// Removes segments.
    pub(crate) fn remove_segments(&self, ids: &[SegmentId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write(move |tables, txn| {
            for id in &ids {
                tables.segments.delete(txn, &id.0)?;
            }
            Ok(())
        })
    }

    /// Marks chunks of a contract as lost.
    pub(crate) fn mark_lost(&self, contract: &ContractId, chunks: &[ChunkId]) -> Result<(), StoreError> {
        let (contract, chunks) = (*contract, chunks.to_vec());
        self.write(move |tables, txn| {
            for chunk in &chunks {
                let key = holding_key(chunk, &contract);
                let Some(value) = tables.holdings.get(txn, &key)? else { continue };
                let mut value = value.to_vec();
                if let Some(flags) = value.last_mut() {
                    *flags |= LOST;
                }
                tables.holdings.put(txn, &key, &value)?;
            }
            Ok(())
        })
    }
}

fn encoded<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing into a vector cannot fail")
}

/// The writer: takes what waits, runs it in one transaction, commits, and tells everybody.
fn write_forever(env: &Env<WithoutTls>, tables: &Tables, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter().take(QUEUE_MAX));
        if let Err(error) = commit(env, tables, jobs) {
            // With the queue gone, every caller from now on is told that the writer has stopped.
            tracing::error!(%error, "the index has failed; nothing is acknowledged any more");
            return;
        }
    }
}

fn commit(env: &Env<WithoutTls>, tables: &Tables, jobs: Vec<Job>) -> Result<(), heed::Error> {
    let mut txn = env.write_txn()?;
    let mut waiting = Vec::with_capacity(jobs.len());
    for job in jobs {
        waiting.push(job(tables, &mut txn)?);
    }
    let outcome = txn.commit();
    let told = match &outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(StoreError::Failed { why: error.to_string() }),
    };
    for done in waiting {
        done(told.clone());
    }
    outcome
}
