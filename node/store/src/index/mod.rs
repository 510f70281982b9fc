//! The index: everything about chunks, contracts and segments that must be found again, in LMDB
//! through heed (spec/store.md, "Index").
//!
//! Invariant: what is written together is there together after a crash, or not at all. Values are
//! decoded strictly; what does not decode is an error that names database and key. Not here: chunk
//! bytes (packs).

mod change;
mod env;
pub(crate) mod journal;
mod pages;
mod read;
pub(crate) mod value;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use commonhold_format::ids::{ChunkId, ContractId};
use data_encoding::HEXLOWER;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, RoTxn, WithoutTls};

use self::env::Gated;
use crate::error::StoreError;
use crate::figures::PackFigures;
use crate::pack::Tail;
use crate::record::Seal;

pub(crate) use self::change::{NewRevision, Written};
pub(crate) use self::env::{MAP_LEN, Reading};
pub(crate) use self::read::{Found, TxnBlocks, segment};
pub(crate) use self::value::{Held, Refused, ScrubPosition, Trashed};
pub(crate) use self::writer::{Broken, Change, Writer};

pub(crate) const CHUNKS: &str = "chunks";
pub(crate) const TRASH: &str = "trash";
pub(crate) const EXPIRY: &str = "expiry";
pub(crate) const HOLDINGS: &str = "holdings";
pub(crate) const CONTRACTS: &str = "contracts";
pub(crate) const ENTRIES: &str = "entries";
pub(crate) const HASHES: &str = "hashes";
pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const PACKS: &str = "packs";
pub(crate) const META: &str = "meta";
/// In the order of the fields of [`Tables`].
const NAMES: [&str; 10] =
    [CHUNKS, TRASH, EXPIRY, HOLDINGS, CONTRACTS, ENTRIES, HASHES, SEGMENTS, PACKS, META];

/// Keys of `meta`.
const SEAL: &[u8] = b"seal";
pub(crate) const TAIL: &[u8] = b"tail";
pub(crate) const SCRUB: &[u8] = b"scrub";

pub(crate) type Table = Database<'static, Bytes, Bytes>;

#[derive(Clone, Copy)]
pub(crate) struct Tables {
    /// chunk → place.
    pub(crate) chunks: Table,
    /// chunk → place, end of its term.
    pub(crate) trash: Table,
    /// end of a term ‖ chunk → nothing.
    pub(crate) expiry: Table,
    /// chunk ‖ contract → index, flags.
    pub(crate) holdings: Table,
    /// contract → its record.
    pub(crate) contracts: Table,
    /// contract ‖ block → inventory entries.
    pub(crate) entries: Table,
    /// contract ‖ level ‖ block → hashes of the inventory's tree.
    pub(crate) hashes: Table,
    /// segment → [`commonhold_format::segment::Segment`].
    pub(crate) segments: Table,
    /// pack → its figures.
    pub(crate) packs: Table,
    /// Single values.
    pub(crate) meta: Table,
}

/// Handle of the index. Dropped, it has closed its files.
pub(crate) struct Index {
    pub(crate) tables: Tables,
    pub(crate) env: Gated,
}

pub(crate) fn unreadable(error: heed::Error) -> StoreError {
    StoreError::Read { why: error.to_string() }
}

pub(crate) fn damaged<'a>(database: &'static str, key: &'a [u8]) -> impl FnOnce(Refused) -> StoreError + 'a {
    move |why| StoreError::Damaged { database, key: HEXLOWER.encode(key), why }
}

impl Index {
    /// Opens or makes the index in a folder that the caller has locked.
    ///
    /// # Errors
    /// [`StoreError::IndexFile`] when LMDB would fall over what is in its file.
    pub(crate) fn open(dir: &Path, map_len: usize) -> Result<Self, StoreError> {
        pages::check(&dir.join("data.mdb"))?;
        let env = Gated::open(dir, map_len, NAMES.len() as u32).map_err(unreadable)?;
        let txn = env.write().map_err(unreadable)?;
        let [chunks, trash, expiry, holdings, contracts, entries, hashes, segments, packs, meta] = env
            .env()
            .create_databases_and_commit(txn, |opener, txn| {
                let mut tables = Vec::with_capacity(NAMES.len());
                for name in NAMES {
                    tables.push(opener.create_database::<Bytes, Bytes>(txn, Some(name))?);
                }
                let tables = <[_; NAMES.len()]>::try_from(tables).expect("one was opened for each name");
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
            })
            .map_err(unreadable)?
            .unwrap_commit();
        let tables =
            Tables { chunks, trash, expiry, holdings, contracts, entries, hashes, segments, packs, meta };
        Ok(Self { tables, env })
    }

    /// Looks at one state of the index. `look` must not read again through `self`.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Tables, &RoTxn<'_, WithoutTls>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reading = self.env.read().map_err(unreadable)?;
        look(&self.tables, &reading.txn)
    }

    /// A transaction that reads one state of the index as long as it is kept.
    pub(crate) fn reading(&self) -> Result<Reading<'_>, StoreError> {
        self.env.read().map_err(unreadable)
    }

    fn meta<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Refused>,
    ) -> Result<Option<T>, StoreError> {
        self.read(|tables, txn| {
            let bytes = tables.meta.get(txn, key).map_err(unreadable)?;
            bytes.map(|bytes| decode(bytes).map_err(damaged(META, key))).transpose()
        })
    }

    /// What this store's records are checked with; none before it was entered.
    pub(crate) fn seal(&self) -> Result<Option<Seal>, StoreError> {
        self.meta(SEAL, value::to_seal)
    }

    /// Enters what this store's records are checked with. Only before the writer has started.
    pub(crate) fn enter_seal(&self, seal: &Seal) -> Result<(), StoreError> {
        let mut txn = self.env.write().map_err(unreadable)?;
        self.tables.meta.put(&mut txn, SEAL, &value::seal(seal)).map_err(unreadable)?;
        txn.commit().map_err(unreadable)
    }

    /// The end of what the index knows of.
    pub(crate) fn tail(&self) -> Result<Tail, StoreError> {
        Ok(self.meta(TAIL, value::to_tail)?.unwrap_or_default())
    }

    /// Where the scrub goes on.
    pub(crate) fn scrub(&self) -> Result<ScrubPosition, StoreError> {
        Ok(self.meta(SCRUB, value::to_scrub)?.unwrap_or_default())
    }

    /// Bytes that the tables of the book take in the index, but for the holdings, of which the book has
    /// few.
    pub(crate) fn book_bytes(&self) -> Result<u64, StoreError> {
        self.read(|tables, txn| {
            let mut bytes = 0;
            let booked = [tables.trash, tables.contracts, tables.entries, tables.segments];
            for table in booked {
                let stat = table.stat(txn).map_err(unreadable)?;
                let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
                bytes += (pages * stat.page_size as usize) as u64;
            }
            Ok(bytes)
        })
    }

    /// What is in each pack.
    pub(crate) fn packs(&self) -> Result<BTreeMap<u32, PackFigures>, StoreError> {
        self.read(|tables, txn| {
            let mut packs = BTreeMap::new();
            for item in tables.packs.iter(txn).map_err(unreadable)? {
                let (key, bytes) = item.map_err(unreadable)?;
                let number = key.try_into().map(u32::from_be_bytes);
                let number =
                    number.map_err(|_| damaged(PACKS, key)("not the number of a pack".to_owned()))?;
                packs.insert(number, value::to_figures(bytes).map_err(damaged(PACKS, key))?);
            }
            Ok(packs)
        })
    }
}

/// The chunk, the contract and the value of a holding.
pub(crate) fn holding((key, bytes): (&[u8], &[u8])) -> Result<(ChunkId, ContractId, Held), StoreError> {
    let ids: Option<&[u8; 64]> = key.try_into().ok();
    let ids = ids.ok_or_else(|| damaged(HOLDINGS, key)("the key is not that of a holding".to_owned()))?;
    let contract = ids.last_chunk().map(|id| ContractId(*id)).expect("64 bytes end with 32");
    let chunk = ids.first_chunk().map(|id| ChunkId(*id)).expect("64 bytes begin with 32");
    Ok((chunk, contract, value::to_held(bytes).map_err(damaged(HOLDINGS, key))?))
}
