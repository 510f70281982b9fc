//! The index: everything about chunks, contracts and segments that must be found again, in LMDB
//! through heed.
//!
//! Invariant: what is written together is there together after a crash, or not at all. Values are
//! decoded strictly; what does not decode is an error that names database and key. Not here: chunk
//! bytes (packs).

mod change;
mod value;
mod writer;

use std::path::Path;
use std::sync::Arc;

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::segment::Segment;
use data_encoding::HEXLOWER;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, RoTxn, WithoutTls};

use self::writer::Writer;
use crate::Holding;
use crate::book::ContractState;
use crate::error::{OpenError, StoreError};
use crate::halt::Halt;
use crate::record::Place;

pub(crate) use self::change::{NewRevision, Written};
pub(crate) use self::value::{Held, Refused};

/// Size of LMDB's map. It is an address range: neither memory nor disk is taken before pages are
/// used. A chunk takes about 400 bytes, so this is enough for some 40 million.
#[cfg(target_pointer_width = "64")]
pub(crate) const MAP_LEN: usize = 16 << 30;
/// Size of LMDB's map where addresses are scarce.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const MAP_LEN: usize = 512 << 20;

/// Reads at one time; LMDB keeps 64 bytes for each. More than a runtime has blocking threads (512
/// in tokio).
const READERS_MAX: u32 = 1024;

const CHUNKS: &str = "chunks";
const HOLDINGS: &str = "holdings";
const CONTRACTS: &str = "contracts";
const ENTRIES: &str = "entries";
const SEGMENTS: &str = "segments";
const DATABASES: u32 = 5;

type Table = Database<'static, Bytes, Bytes>;

#[derive(Clone, Copy)]
struct Tables {
    /// chunk → place.
    chunks: Table,
    /// chunk ‖ contract → index, flags.
    holdings: Table,
    /// contract → its record.
    contracts: Table,
    /// contract ‖ index → inventory entry.
    entries: Table,
    /// segment → [`Segment`].
    segments: Table,
}

/// Handle of the index. Dropped, it has closed its files.
pub(crate) struct Index {
    // Before `env`, so that the writer's thread has ended when that is dropped.
    writer: Writer,
    tables: Tables,
    env: Env<WithoutTls>,
}

fn unreadable(error: heed::Error) -> StoreError {
    StoreError::Read { why: error.to_string() }
}

fn damaged<'a>(database: &'static str, key: &'a [u8]) -> impl FnOnce(Refused) -> StoreError + 'a {
    move |why| StoreError::Damaged { database, key: HEXLOWER.encode(key), why }
}

impl Index {
    /// Opens or makes the index in a folder that the caller has locked, and starts its writer.
    pub(crate) fn open(dir: &Path, map_len: usize, halt: Arc<Halt>) -> Result<Self, OpenError> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_len).max_dbs(DATABASES).max_readers(READERS_MAX);
        // SAFETY: LMDB maps its file, so nobody may change it behind its back. The caller holds an
        // exclusive lock on the store's folder, only this function opens the environment, and the
        // file is written through it alone.
        #[allow(unsafe_code)]
        let env = unsafe { options.open(dir) }.map_err(unreadable)?;
        let txn = env.write_txn().map_err(unreadable)?;
        let (chunks, holdings, contracts, entries, segments) = env
            .create_databases_and_commit(txn, |opener, txn| {
                let mut table = |name| opener.create_database::<Bytes, Bytes>(txn, Some(name));
                let tables =
                    (table(CHUNKS)?, table(HOLDINGS)?, table(CONTRACTS)?, table(ENTRIES)?, table(SEGMENTS)?);
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
            })
            .map_err(unreadable)?
            .unwrap_commit();
        let tables = Tables { chunks, holdings, contracts, entries, segments };
        let writer = Writer::start(env.clone(), tables, halt).map_err(OpenError::io(dir))?;
        Ok(Self { writer, tables, env })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&Tables, &RoTxn<'_, WithoutTls>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let txn = self.env.read_txn().map_err(unreadable)?;
        look(&self.tables, &txn)
    }

    /// Where a chunk is.
    pub(crate) fn place(&self, chunk: &ChunkId) -> Result<Option<Place>, StoreError> {
        self.read(|tables, txn| {
            let bytes = tables.chunks.get(txn, &chunk.0).map_err(unreadable)?;
            bytes.map(|bytes| value::to_place(bytes).map_err(damaged(CHUNKS, &chunk.0))).transpose()
        })
    }

    /// The places of all chunks.
    pub(crate) fn places(&self) -> Result<Vec<Place>, StoreError> {
        self.read(|tables, txn| {
            let mut places = Vec::new();
            for item in tables.chunks.iter(txn).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                places.push(value::to_place(bytes).map_err(damaged(CHUNKS, key))?);
            }
            Ok(places)
        })
    }

    /// All contracts.
    pub(crate) fn contracts(&self) -> Result<Vec<(ContractId, ContractState)>, StoreError> {
        self.read(|tables, txn| {
            let mut contracts = Vec::new();
            for item in tables.contracts.iter(txn).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                let id =
                    key.try_into().map_err(|_| damaged(CONTRACTS, key)("not a contract id".to_owned()))?;
                let id = ContractId(id);
                contracts.push((id, value::to_contract(&id, bytes).map_err(damaged(CONTRACTS, key))?));
            }
            Ok(contracts)
        })
    }

    /// A contract's inventory, in order.
    pub(crate) fn entries(&self, contract: &ContractId) -> Result<Vec<InventoryEntry>, StoreError> {
        self.read(|tables, txn| {
            let mut entries = Vec::new();
            for item in tables.entries.prefix_iter(txn, &contract.0).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                if key != value::entry_key(contract, entries.len() as u64) {
                    return Err(damaged(ENTRIES, key)("an entry before it is missing".to_owned()));
                }
                entries.push(value::to_entry(bytes).map_err(damaged(ENTRIES, key))?);
            }
            Ok(entries)
        })
    }

    /// The contracts of this owner under which a chunk is.
    pub(crate) fn holders(&self, chunk: &ChunkId) -> Result<Vec<Holding>, StoreError> {
        self.read(|tables, txn| {
            let mut holders = Vec::new();
            for item in tables.holdings.prefix_iter(txn, &chunk.0).map_err(unreadable)? {
                let (contract, held) = holding(item.map_err(unreadable)?)?;
                if !held.provided {
                    holders.push(Holding { contract, index: held.index, lost: held.lost });
                }
            }
            Ok(holders)
        })
    }

    /// Goes through all holdings; `check` says what is wrong with one.
    pub(crate) fn each_holding(
        &self,
        mut check: impl FnMut(&ChunkId, &ContractId, Held) -> Result<(), Refused>,
    ) -> Result<(), StoreError> {
        self.read(|tables, txn| {
            for item in tables.holdings.iter(txn).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                let (contract, held) = holding((key, bytes))?;
                let chunk = key.first_chunk().map(|id| ChunkId(*id)).expect("the key has 64 bytes");
                check(&chunk, &contract, held).map_err(damaged(HOLDINGS, key))?;
            }
            Ok(())
        })
    }

    /// All segments.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        self.read(|tables, txn| {
            let mut segments = Vec::new();
            for item in tables.segments.iter(txn).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                segments.push(segment(key, bytes)?);
            }
            Ok(segments)
        })
    }

    /// One segment.
    pub(crate) fn segment(&self, id: &SegmentId) -> Result<Option<Segment>, StoreError> {
        self.read(|tables, txn| {
            let bytes = tables.segments.get(txn, &id.0).map_err(unreadable)?;
            bytes.map(|bytes| segment(&id.0, bytes)).transpose()
        })
    }
}

fn segment(key: &[u8], bytes: &[u8]) -> Result<Segment, StoreError> {
    let segment = value::to_segment(bytes).map_err(damaged(SEGMENTS, key))?;
    if segment.id().0 != key {
        return Err(damaged(SEGMENTS, key)("it is another segment".to_owned()));
    }
    Ok(segment)
}

/// The contract and the value of a holding.
fn holding((key, bytes): (&[u8], &[u8])) -> Result<(ContractId, Held), StoreError> {
    let ids: Option<&[u8; 64]> = key.try_into().ok();
    let ids = ids.ok_or_else(|| damaged(HOLDINGS, key)("the key is not that of a holding".to_owned()))?;
    let contract = ids.last_chunk().map(|id| ContractId(*id)).expect("64 bytes end with 32");
    Ok((contract, value::to_held(bytes).map_err(damaged(HOLDINGS, key))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;
    use crate::tests::people::{chunk, deal, open};
    use crate::{Role, Store, StoreConfig};

    /// A table, its name, and the key and value that are put there.
    type Case<'a> = (fn(&Tables) -> Table, &'static str, &'a [u8], &'a [u8]);

    /// Opens a store after a value of its index was replaced; answers the database and key that
    /// the error names.
    fn refusal(table: fn(&Tables) -> Table, key: &[u8], bytes: &[u8]) -> (&'static str, String) {
        let dir = TempDir::new().unwrap();
        {
            let store = open(dir.path());
            deal(1).enter(&store, Role::Provider).keep(&store, &[chunk(1, 100)]);
            let (key, bytes) = (key.to_vec(), bytes.to_vec());
            let index = &store.0.index;
            let put =
                move |tables: &Tables, txn: &mut heed::RwTxn<'_>| Ok(table(tables).put(txn, &key, &bytes)?);
            index.writer.write(put, |()| {}).unwrap();
        }
        match Store::open(StoreConfig { dir: dir.path().to_owned(), allotted_bytes: 1 << 20 }) {
            Err(OpenError::Index(StoreError::Damaged { database, key, .. })) => (database, key),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the store opened"),
        }
    }

    #[test]
    fn attack_41_a_value_that_does_not_decode_is_an_error_that_names_database_and_key() {
        let (deal, chunk) = (deal(1), chunk(1, 100).id);
        let holding = value::holding_key(&chunk, &deal.id);
        let entry = value::entry_key(&deal.id, 0);
        let far = value::entry_key(&deal.id, 2);
        let cases: [Case<'_>; 11] = [
            (|it| it.chunks, CHUNKS, &chunk.0, b"?"),
            (|it| it.holdings, HOLDINGS, &holding, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 4]),
            // These decode, but are not what the contract's inventory and role say.
            (|it| it.holdings, HOLDINGS, &holding, &[1, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
            (|it| it.holdings, HOLDINGS, &holding, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (|it| it.holdings, HOLDINGS, b"short", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (|it| it.contracts, CONTRACTS, &deal.id.0, &[1, 0xff]),
            (|it| it.contracts, CONTRACTS, b"short", b""),
            (|it| it.entries, ENTRIES, &entry, b""),
            (|it| it.entries, ENTRIES, &far, &[1; 45]),
            (|it| it.segments, SEGMENTS, &[5; 32], &[2, 0x80]),
            (|it| it.segments, SEGMENTS, b"x", &[1, 0x80]),
        ];
        for (table, name, key, bytes) in cases {
            assert_eq!(refusal(table, key, bytes), (name, HEXLOWER.encode(key)));
        }
    }

    #[test]
    fn attack_41_a_record_that_was_put_because_an_older_one_is_damaged_is_not_replaced_by_it() {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        let chunk = chunk(1, 100).id;
        let place = |offset| Place { pack: 5, offset, len: 100 };
        // Two commits that were under way at once: the second to be written has the older record.
        let write = |added: Vec<(ChunkId, Place)>, healed: Vec<(ChunkId, Place)>| {
            let new = NewRevision {
                id: deal.id,
                state: store.contract(&deal.id).unwrap(),
                removed: Vec::new(),
                appended: Vec::new(),
                held: vec![(chunk, 0)],
                added,
                healed,
                elsewhere: Vec::new(),
            };
            match store.0.index.write_revision(new, store.0.shelf.clone()).unwrap() {
                Written::Done(moved) => (moved.adopted, moved.freed),
                Written::Missing(chunks) => panic!("{chunks:?}"),
            }
        };
        let at = |offset| vec![(chunk, place(offset))];
        // Nothing to heal: nobody holds the chunk.
        assert_eq!(write(vec![], at(100)), (vec![], vec![]));
        assert_eq!(write(at(200), vec![]), (at(200), vec![]));
        assert_eq!(write(at(200), vec![]), (vec![], vec![]));
        assert_eq!(write(at(100), vec![]), (vec![], vec![]));
        assert_eq!(write(vec![], at(300)), (at(300), vec![place(200)]));
        assert_eq!(store.0.index.place(&chunk).unwrap(), Some(place(300)));
    }
}
