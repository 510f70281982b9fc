//! What is looked up in the index.
//!
//! Invariant: every answer comes from one transaction, so from one state of the index.

use std::ops::{Bound, Range};

use commonhold_format::ids::{ChunkId, ContractId, SegmentId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::segment::Segment;
use commonhold_format::tree::Hash;
use heed::{RoTxn, WithoutTls};

use super::value::{self, Held, Trashed, entries_key, hashes_key, holding_key};
use super::{
    CHUNKS, CONTRACTS, ENTRIES, HASHES, HOLDINGS, Index, Reading, Refused, SEGMENTS, TRASH, Table, Tables,
    damaged, holding, unreadable,
};
use crate::Holding;
use crate::book::ContractState;
use crate::error::StoreError;
use crate::inventory::Blocks;
use crate::record::{NOWHERE, Place};

type Txn<'env> = RoTxn<'env, WithoutTls>;

/// Keys that one transaction of a walk through a table sees.
const EACH_MAX: usize = 4096;

/// Where the index has a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Live(Place),
    Trash(Trashed),
}

impl Found {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Live(place) | Self::Trash(Trashed { place, .. }) => *place,
        }
    }
}

impl Tables {
    /// Where a chunk is live.
    pub(crate) fn place(&self, txn: &Txn<'_>, chunk: &ChunkId) -> Result<Option<Place>, StoreError> {
        let bytes = self.chunks.get(txn, &chunk.0).map_err(unreadable)?;
        bytes.map(|bytes| value::to_place(bytes).map_err(damaged(CHUNKS, &chunk.0))).transpose()
    }

    /// Where a chunk is in the trash.
    pub(crate) fn trashed(&self, txn: &Txn<'_>, chunk: &ChunkId) -> Result<Option<Trashed>, StoreError> {
        let bytes = self.trash.get(txn, &chunk.0).map_err(unreadable)?;
        bytes.map(|bytes| value::to_trashed(bytes).map_err(damaged(TRASH, &chunk.0))).transpose()
    }

    /// Where a chunk is.
    pub(crate) fn find(&self, txn: &Txn<'_>, chunk: &ChunkId) -> Result<Option<Found>, StoreError> {
        match self.place(txn, chunk)? {
            Some(place) => Ok(Some(Found::Live(place))),
            None => Ok(self.trashed(txn, chunk)?.map(Found::Trash)),
        }
    }

    /// What is on record of a contract.
    pub(crate) fn contract(
        &self,
        txn: &Txn<'_>,
        id: &ContractId,
    ) -> Result<Option<ContractState>, StoreError> {
        let bytes = self.contracts.get(txn, &id.0).map_err(unreadable)?;
        bytes.map(|bytes| value::to_contract(id, bytes).map_err(damaged(CONTRACTS, &id.0))).transpose()
    }

    /// How a contract holds a chunk.
    pub(crate) fn held(
        &self,
        txn: &Txn<'_>,
        chunk: &ChunkId,
        contract: &ContractId,
    ) -> Result<Option<Held>, StoreError> {
        let key = holding_key(chunk, contract);
        let bytes = self.holdings.get(txn, &key).map_err(unreadable)?;
        bytes.map(|bytes| value::to_held(bytes).map_err(damaged(HOLDINGS, &key))).transpose()
    }

    /// The contracts under which this node is the provider of a chunk.
    pub(crate) fn provided(&self, txn: &Txn<'_>, chunk: &ChunkId) -> Result<Vec<ContractId>, StoreError> {
        let mut contracts = Vec::new();
        for item in self.holdings.prefix_iter(txn, &chunk.0).map_err(unreadable)? {
            let (_, contract, held) = holding(item.map_err(unreadable)?)?;
            if held.provided {
                contracts.push(contract);
            }
        }
        Ok(contracts)
    }
}

/// Blocks of a contract's inventory, in one state of the index.
#[derive(Clone, Copy)]
pub(crate) struct TxnBlocks<'a, 'env> {
    pub(crate) tables: &'a Tables,
    pub(crate) txn: &'a Txn<'env>,
    pub(crate) contract: ContractId,
}

impl Blocks for TxnBlocks<'_, '_> {
    type Error = StoreError;

    fn entries(&self, block: u64) -> Result<Vec<InventoryEntry>, StoreError> {
        let key = entries_key(&self.contract, block);
        let bytes = self.tables.entries.get(self.txn, &key).map_err(unreadable)?;
        let bytes = bytes.ok_or_else(|| damaged(ENTRIES, &key)("it is missing".to_owned()))?;
        value::to_entries(bytes).map_err(damaged(ENTRIES, &key))
    }

    fn hashes(&self, level: u8, block: u64) -> Result<Vec<Hash>, StoreError> {
        let key = hashes_key(&self.contract, level, block);
        let bytes = self.tables.hashes.get(self.txn, &key).map_err(unreadable)?;
        let bytes = bytes.ok_or_else(|| damaged(HASHES, &key)("it is missing".to_owned()))?;
        value::to_hashes(bytes).map_err(damaged(HASHES, &key))
    }

    fn damaged(&self, level: u8, block: u64, why: &str) -> StoreError {
        if level == 0 {
            damaged(ENTRIES, &entries_key(&self.contract, block))(why.to_owned())
        } else {
            damaged(HASHES, &hashes_key(&self.contract, level, block))(why.to_owned())
        }
    }
}

impl Index {
    /// Where a chunk is.
    pub(crate) fn find(&self, chunk: &ChunkId) -> Result<Option<Found>, StoreError> {
        self.read(|tables, txn| tables.find(txn, chunk))
    }

    /// Where a chunk is live.
    pub(crate) fn place(&self, chunk: &ChunkId) -> Result<Option<Place>, StoreError> {
        self.read(|tables, txn| tables.place(txn, chunk))
    }

    /// Where a chunk is live now, for one who reads an earlier state.
    pub(crate) fn place_within(
        &self,
        reading: &Reading<'_>,
        chunk: &ChunkId,
    ) -> Result<Option<Place>, StoreError> {
        let txn = self.env.read_within(reading).map_err(unreadable)?;
        self.tables.place(&txn, chunk)
    }

    /// Is there a term in the trash that ends then?
    pub(crate) fn has_term(&self, ends: u64, chunk: &ChunkId) -> Result<bool, StoreError> {
        self.read(|tables, txn| {
            let key = value::expiry_key(ends, chunk);
            Ok(tables.expiry.get(txn, &key).map_err(unreadable)?.is_some())
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

    /// The contracts of this owner under which a chunk is.
    pub(crate) fn holders(&self, chunk: &ChunkId) -> Result<Vec<Holding>, StoreError> {
        self.read(|tables, txn| {
            let mut holders = Vec::new();
            for item in tables.holdings.prefix_iter(txn, &chunk.0).map_err(unreadable)? {
                let (_, contract, held) = holding(item.map_err(unreadable)?)?;
                if !held.provided {
                    holders.push(Holding { contract, index: held.index, lost: held.lost });
                }
            }
            Ok(holders)
        })
    }

    /// The contracts that hold a chunk and under which this node is the provider.
    pub(crate) fn lent_to(&self, chunk: &ChunkId) -> Result<Vec<ContractId>, StoreError> {
        self.read(|tables, txn| tables.provided(txn, chunk))
    }

    /// The chunks that are kept in a part of a pack, in no order. Goes through the whole index, a
    /// part in each transaction, so it is for those who have found damage.
    pub(crate) fn kept_in(&self, pack: u32, bytes: Range<u64>) -> Result<Vec<(ChunkId, Place)>, StoreError> {
        let mut kept = Vec::new();
        let tables = [(CHUNKS, self.tables.chunks), (TRASH, self.tables.trash)];
        for (name, table) in tables {
            self.each(name, table, |key, value| {
                let chunk = ChunkId(key.try_into().map_err(|_| "not a chunk id".to_owned())?);
                let place = match name {
                    CHUNKS => value::to_place(value)?,
                    _ => value::to_trashed(value)?.place,
                };
                if place.pack == pack && bytes.contains(&place.offset) {
                    kept.push((chunk, place));
                }
                Ok(())
            })?;
        }
        Ok(kept)
    }

    /// Chunks that are held and were found nowhere when the index was rebuilt, and the contracts that
    /// hold them: from those on whose id begins with the number `from`, until `looks_max` places were
    /// looked at or `lost_max` found, and then up to the next number. Answers also where the rest begins,
    /// if there may be one.
    #[allow(clippy::type_complexity, reason = "two answers of one walk")]
    pub(crate) fn lost(
        &self,
        from: u64,
        looks_max: usize,
        lost_max: usize,
    ) -> Result<(Vec<(ChunkId, Vec<ContractId>)>, Option<u64>), StoreError> {
        let mut lost = Vec::new();
        let mut looks = 0;
        let mut next = Some(from);
        while let Some(start) = next.filter(|_| looks < looks_max && lost.len() < lost_max) {
            next = self.read(|tables, txn| {
                let start = start.to_be_bytes();
                let range: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(&start), Bound::Unbounded);
                let mut seen = 0;
                let mut last = None;
                for item in tables.chunks.range(txn, &range).map_err(unreadable)? {
                    let (key, bytes) = item.map_err(unreadable)?;
                    let chunk = key.try_into().map(ChunkId);
                    let chunk = chunk.map_err(|_| damaged(CHUNKS, key)("not a chunk id".to_owned()))?;
                    let number = chunk.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
                    if last.is_some_and(|last| last != number) && (seen >= EACH_MAX || lost.len() >= lost_max)
                    {
                        return Ok(Some(number));
                    }
                    (last, seen, looks) = (Some(number), seen + 1, looks + 1);
                    if value::to_place(bytes).map_err(damaged(CHUNKS, key))?.pack == NOWHERE {
                        let contracts = tables.provided(txn, &chunk)?;
                        if !contracts.is_empty() {
                            lost.push((chunk, contracts));
                        }
                    }
                }
                Ok(None)
            })?;
        }
        Ok((lost, next))
    }

    /// Goes through a table in the order of keys. No transaction is open while `look` looks.
    pub(crate) fn each(
        &self,
        name: &'static str,
        table: Table,
        mut look: impl FnMut(&[u8], &[u8]) -> Result<(), Refused>,
    ) -> Result<(), StoreError> {
        let mut from: Option<Vec<u8>> = None;
        loop {
            let items: Vec<(Vec<u8>, Vec<u8>)> = self.read(|_, txn| {
                let start = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let range: (Bound<&[u8]>, Bound<&[u8]>) = (start, Bound::Unbounded);
                let items = table.range(txn, &range).map_err(unreadable)?.take(EACH_MAX);
                let items = items.map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())));
                items.collect::<Result<_, _>>().map_err(unreadable)
            })?;
            for (key, value) in &items {
                look(key, value).map_err(damaged(name, key))?;
            }
            match items.into_iter().last() {
                Some((key, _)) => from = Some(key),
                None => return Ok(()),
            }
        }
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

/// A segment that has the id under which it stands.
pub(crate) fn segment(key: &[u8], bytes: &[u8]) -> Result<Segment, StoreError> {
    let segment = value::to_segment(bytes).map_err(damaged(SEGMENTS, key))?;
    if segment.id().0 != key {
        return Err(damaged(SEGMENTS, key)("it is another segment".to_owned()));
    }
    Ok(segment)
}
