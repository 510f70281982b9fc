//! Making the index anew from the packs alone.
//!
//! Invariant: the new index has only what both parties of a contract have signed and what its
//! records show; the old one is in place until the new one is whole. Packs are only read.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::InventoryEntry;
use heed::RwTxn;

use crate::StoreConfig;
use crate::book::{ContractState, Role};
use crate::check::{Finding, is_signed};
use crate::disk::{Disk, FileSystem, sync_folder};
use crate::error::{OpenError, StoreError};
use crate::figures::PackFigures;
use crate::index::journal::{self, Booked};
use crate::index::value::{self, expiry_key, hashes_key, holding_key};
use crate::index::{CHUNKS, CONTRACTS, Held, Index, TRASH, Table, Trashed, unreadable};
use crate::inventory::{BLOCK, rebuild_hashes};
use crate::layout::{self, Layout};
use crate::opening::{files, read_header};
use crate::pack::{Tail, pack_path};
use crate::record::{NOWHERE, Place, Seal};
use crate::walk::{Step, Walk, is_whole};

/// Records that one transaction enters.
const BATCH: usize = 4096;

/// Size of the map at first: so much that the headroom of each transaction is more than the largest
/// record of the book.
const REBUILD_MAP_LEN: usize = 1 << 30;

/// What was found in the packs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildReport {
    /// Packs that were read.
    pub packs: u64,
    /// Records of the book.
    pub book_records: u64,
    /// Contracts.
    pub contracts: u64,
    /// Chunks that are held.
    pub chunks: u64,
    /// Chunks in the trash.
    pub trash_chunks: u64,
    /// Segments of this owner.
    pub segments: u64,
    /// What is damaged or lost.
    pub findings: Vec<Finding>,
}

impl RebuildReport {
    fn find(&mut self, what: impl ToString, why: impl ToString) {
        self.findings.push(Finding { what: what.to_string(), why: why.to_string() });
    }
}

/// Makes the index of a store anew; nobody may have the store open. What there was of an index is
/// replaced. spec/store.md, "Rebuilding the index".
///
/// # Errors
/// [`OpenError`] when the folder is not this node's store, is in use, or it or all of a pack cannot be
/// read.
pub fn rebuild_index(config: &StoreConfig) -> Result<RebuildReport, OpenError> {
    rebuild_from(config, &FileSystem)
}

/// [`rebuild_index`] from the packs of a disk.
pub(crate) fn rebuild_from(config: &StoreConfig, disk: &dyn Disk) -> Result<RebuildReport, OpenError> {
    let layout = Layout::of_packs(&config.dir, config.known)?;
    let (packs, new) = (layout.packs(), layout.dir().join("index.new"));
    // Left by an attempt that was interrupted.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(OpenError::io(&new))?;
    }
    layout::private_folder(&new).map_err(OpenError::io(&new))?;
    let mut report = RebuildReport::default();
    {
        let index = Index::open(&new, REBUILD_MAP_LEN)?;
        let rebuild =
            Rebuild { index: &index, figures: BTreeMap::new(), tail: Tail::default(), report: &mut report };
        rebuild.run(disk, &packs, &layout)?;
    }
    sync_folder(&new).map_err(OpenError::io(&new))?;
    let old = layout.index();
    if old.exists() {
        fs::remove_dir_all(&old).map_err(OpenError::io(&old))?;
    }
    fs::rename(&new, &old).map_err(OpenError::io(&old))?;
    sync_folder(layout.dir()).map_err(OpenError::io(layout.dir()))?;
    Ok(report)
}

struct Rebuild<'a> {
    index: &'a Index,
    figures: BTreeMap<u32, PackFigures>,
    tail: Tail,
    report: &'a mut RebuildReport,
}

impl Rebuild<'_> {
    fn run(mut self, disk: &dyn Disk, dir: &Path, layout: &Layout) -> Result<(), OpenError> {
        let found = files(disk, dir)?;
        let mut seal = None;
        for (number, (file, len)) in &found {
            let path = pack_path(dir, *number);
            match read_header(&**file, *len, &path) {
                Ok(Some((at, it))) if at == *number && it.store == layout.id() => seal = seal.or(Some(it)),
                // The records behind it have checks of their own.
                Err(error) => self.report.find(path.display(), format!("its header cannot be read: {error}")),
                Ok(_) => self.report.find(path.display(), "its header is damaged, or it is another store's"),
            }
        }
        let Some(seal) = seal else {
            if found.is_empty() {
                let seal = Seal { store: layout.id(), salt: layout::random(layout.dir())? };
                self.index.enter_seal(&seal)?;
                return Ok(());
            }
            let file = dir.to_owned();
            return Err(OpenError::Pack {
                file,
                why: "has no pack of this store with a header that is whole",
            });
        };
        self.index.enter_seal(&seal)?;
        for (number, (file, len)) in found {
            let walk = Walk::new(file, seal, number, 0, len);
            self.read_pack(walk, number).map_err(|error| match error {
                Fault::Disk(error) => OpenError::io(&pack_path(dir, number))(error),
                Fault::Index(error) => error.into(),
            })?;
            self.report.packs += 1;
        }
        self.settle()?;
        Ok(())
    }

    /// Runs a change in a transaction of its own, again in a larger map when it was full.
    fn write<T>(
        &self,
        mut change: impl FnMut(&mut RwTxn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Room for the largest batch, so that no transaction finds the map full.
        self.index.env.make_room().map_err(unreadable)?;
        let mut txn = self.index.env.write().map_err(unreadable)?;
        let value = change(&mut txn)?;
        txn.commit().map_err(unreadable)?;
        Ok(value)
    }

    fn read_pack(&mut self, mut walk: Walk, number: u32) -> Result<(), Fault> {
        let mut places: Vec<(ChunkId, Place)> = Vec::new();
        while let Some(step) = walk.next().map_err(Fault::Disk)? {
            match step {
                Step::Chunk { place, header } => {
                    // Of several records the last whole one counts; most chunks have one.
                    let known = self.index.place(&header.chunk).map_err(Fault::Index)?;
                    let again = known.is_some() || places.iter().any(|(chunk, _)| *chunk == header.chunk);
                    let whole = !again || {
                        let read = walk.chunk(&place).map_err(Fault::Disk)?;
                        read.is_some_and(|(bytes, roots)| is_whole(&header, &bytes, &roots))
                    };
                    if whole {
                        places.push((header.chunk, place));
                    }
                }
                Step::Book { offset, header } if header.record <= self.tail.record => self.report.find(
                    format!("pack {number}"),
                    format!("the book record at byte {offset} is older than one before it and was left out"),
                ),
                Step::Book { offset, header } => match walk.book(offset, &header).map_err(Fault::Disk)? {
                    Some(changes) => {
                        self.report.book_records += 1;
                        self.figures.entry(number).or_default().book_bytes += header.record_len();
                        self.tail.record = header.record;
                        self.apply(&changes, number).map_err(Fault::Index)?;
                    }
                    None => self.report.find(
                        format!("pack {number}"),
                        format!(
                            "the book record at byte {offset} is damaged, or cannot be read, and was left out"
                        ),
                    ),
                },
                Step::Junk { offset, len, unreadable } => {
                    let mut why = format!("{len} bytes from {offset} on are no record");
                    if unreadable > 0 {
                        why += &format!("; {unreadable} of them cannot be read");
                    }
                    self.report.find(format!("pack {number}"), why);
                    continue;
                }
            }
            (self.tail.pack, self.tail.offset) = (number, walk.position());
            if places.len() >= BATCH {
                self.enter_places(&mut places).map_err(Fault::Index)?;
            }
        }
        self.enter_places(&mut places).map_err(Fault::Index)
    }

    fn enter_places(&self, places: &mut Vec<(ChunkId, Place)>) -> Result<(), StoreError> {
        let table = self.index.tables.chunks;
        self.write(|txn| {
            places
                .iter()
                .try_for_each(|(chunk, place)| table.put(txn, &chunk.0, &value::place(*place)))
                .map_err(unreadable)
        })?;
        places.clear();
        Ok(())
    }

    /// Applies the changes of a book record.
    fn apply(&mut self, changes: &[u8], pack: u32) -> Result<(), StoreError> {
        let tables = self.index.tables;
        let fault = self.write(|txn| {
            for change in journal::read(changes) {
                let change = match change {
                    Ok(change) => change,
                    Err(why) => return Ok(Some(why)),
                };
                let table = match change.table {
                    Booked::Trash => tables.trash,
                    Booked::Holdings => tables.holdings,
                    Booked::Contracts => tables.contracts,
                    Booked::Entries => tables.entries,
                    Booked::Segments => tables.segments,
                };
                match change.value {
                    Some(value) => table.put(txn, change.key, value).map_err(unreadable)?,
                    None => {
                        table.delete(txn, change.key).map_err(unreadable)?;
                    }
                }
            }
            Ok(None)
        })?;
        if let Some(why) = fault {
            self.report.find(format!("pack {pack}"), format!("a book record: {why}"));
        }
        Ok(())
    }

    /// From what the packs say to an index that holds together.
    fn settle(mut self) -> Result<(), StoreError> {
        let lost = self.lost_marks()?;
        let contracts = self.contracts()?;
        for (id, state) in &contracts {
            self.settle_contract(id, state, &lost)?;
        }
        self.settle_chunks()?;
        self.settle_trash()?;
        let mut segments = 0;
        let mut bad = Vec::new();
        self.index.each("segments", self.index.tables.segments, |key, bytes| {
            match crate::index::segment(key, bytes) {
                Ok(_) => segments += 1,
                Err(error) => bad.push((key.to_vec(), error)),
            }
            Ok(())
        })?;
        self.report.segments = segments;
        for (key, error) in bad {
            self.report.find("segment", error);
            let table = self.index.tables.segments;
            self.write(|txn| table.delete(txn, &key).map(|_| ()).map_err(unreadable))?;
        }
        let tables = self.index.tables;
        let (figures, tail) = (std::mem::take(&mut self.figures), self.tail);
        self.write(|txn| {
            for (number, figures) in &figures {
                tables.packs.put(txn, &number.to_be_bytes(), &value::figures(figures)).map_err(unreadable)?;
            }
            tables.meta.put(txn, crate::index::TAIL, &value::tail(&tail)).map_err(unreadable)
        })
    }

    /// Chunks that providers have lost; the table of holdings is empty afterwards.
    fn lost_marks(&mut self) -> Result<HashMap<Vec<u8>, bool>, StoreError> {
        let mut marks = HashMap::new();
        let table = self.index.tables.holdings;
        self.index.each("holdings", table, |key, bytes| {
            if let Ok(held) = value::to_held(bytes) {
                marks.insert(key.to_vec(), held.lost);
            }
            Ok(())
        })?;
        self.write(|txn| table.clear(txn).map_err(unreadable))?;
        Ok(marks)
    }

    fn contracts(&mut self) -> Result<Vec<(ContractId, ContractState)>, StoreError> {
        let mut contracts = Vec::new();
        let mut refused: Vec<(Vec<u8>, String)> = Vec::new();
        self.index.each(CONTRACTS, self.index.tables.contracts, |key, bytes| {
            let Ok(id) = key.try_into().map(ContractId) else {
                refused.push((key.to_vec(), "its key is not a contract id".to_owned()));
                return Ok(());
            };
            match value::to_contract(&id, bytes) {
                Ok(state) if is_signed(&state) => contracts.push((id, state)),
                Ok(_) => refused.push((key.to_vec(), "a signature of its notes is wrong".to_owned())),
                Err(why) => refused.push((key.to_vec(), why)),
            }
            Ok(())
        })?;
        for (key, why) in refused {
            self.leave_out(&key, &why)?;
        }
        Ok(contracts)
    }

    /// Takes a contract out of the new index.
    fn leave_out(&mut self, key: &[u8], why: &str) -> Result<(), StoreError> {
        let name = data_encoding::HEXLOWER.encode(key);
        self.report.find(format!("contract {name}"), format!("{why}; it is left out"));
        let contracts = self.index.tables.contracts;
        self.write(|txn| contracts.delete(txn, key).map(|_| ()).map_err(unreadable))?;
        self.clear_prefix(self.index.tables.entries, key)
    }

    fn clear_prefix(&self, table: Table, prefix: &[u8]) -> Result<(), StoreError> {
        loop {
            let keys: Vec<Vec<u8>> = self.index.read(|_, txn| {
                let items = table.prefix_iter(txn, prefix).map_err(unreadable)?.take(BATCH);
                items
                    .map(|item| item.map(|(key, _)| key.to_vec()))
                    .collect::<Result<_, _>>()
                    .map_err(unreadable)
            })?;
            if keys.is_empty() {
                return Ok(());
            }
            self.write(|txn| {
                keys.iter().try_for_each(|key| table.delete(txn, key).map(|_| ())).map_err(unreadable)
            })?;
        }
    }

    /// The tree and the holdings of a contract from its entries.
    fn settle_contract(
        &mut self,
        id: &ContractId,
        state: &ContractState,
        lost: &HashMap<Vec<u8>, bool>,
    ) -> Result<(), StoreError> {
        let entries = match self.entries(id, state.given_up)? {
            Ok(entries) => entries,
            Err(why) => return self.leave_out(&id.0, &why),
        };
        // Of one that is being given up a part may be gone already.
        if !state.given_up {
            let rebuilt = match rebuild_hashes(entries.iter().map(|(_, entry)| *entry)) {
                Ok(rebuilt) if rebuilt.shape == state.shape() => rebuilt,
                Ok(_) => {
                    return self.leave_out(&id.0, "its entries do not give the root of its last revision");
                }
                Err(error) => return self.leave_out(&id.0, &error.to_string()),
            };
            for batch in rebuilt.hashes.chunks(BATCH) {
                self.write(|txn| {
                    for (level, block, hashes) in batch {
                        let key = hashes_key(id, *level, *block);
                        let hashes_table = self.index.tables.hashes;
                        hashes_table.put(txn, &key, &value::hashes(hashes)).map_err(unreadable)?;
                    }
                    Ok(())
                })?;
            }
        }
        let tables = self.index.tables;
        let provided = state.role == Role::Provider;
        let mut missing = Vec::new();
        for batch in entries.chunks(BATCH) {
            self.write(|txn| {
                for (index, entry) in batch {
                    let Some(chunk) = entry.chunk else { continue };
                    let key = holding_key(&chunk, id);
                    let lost = lost.get(key.as_slice()).copied().unwrap_or(false);
                    let held = value::held(Held { index: *index, lost, provided });
                    tables.holdings.put(txn, &key, &held).map_err(unreadable)?;
                    if provided && tables.place(txn, &chunk)?.is_none() {
                        let nowhere = Place { pack: NOWHERE, offset: 0, len: entry.len };
                        tables.chunks.put(txn, &chunk.0, &value::place(nowhere)).map_err(unreadable)?;
                        missing.push(chunk);
                    }
                }
                Ok(())
            })?;
        }
        for chunk in missing {
            self.report.find(
                format!("chunk {chunk}"),
                format!("contract {id} holds it, and no record of it is left"),
            );
        }
        self.report.contracts += 1;
        Ok(())
    }

    /// The entries of a contract with their index, or why they are none. The first blocks of one that
    /// is being given up may be gone.
    fn entries(
        &self,
        id: &ContractId,
        given_up: bool,
    ) -> Result<Result<Vec<(u64, InventoryEntry)>, String>, StoreError> {
        self.index.read(|tables, txn| {
            let mut all = Vec::new();
            for (number, item) in (0..).zip(tables.entries.prefix_iter(txn, &id.0).map_err(unreadable)?) {
                let (key, bytes) = item.map_err(unreadable)?;
                let block = key.last_chunk().map_or(number, |block| u64::from_be_bytes(*block));
                if key != value::entries_key(id, block) || (block != number && !given_up) {
                    return Ok(Err(format!("block {number} of its entries is missing")));
                }
                match value::to_entries(bytes) {
                    Ok(entries) => all.extend((block * BLOCK as u64..).zip(entries)),
                    Err(why) => return Ok(Err(format!("block {block} of its entries: {why}"))),
                }
            }
            Ok(Ok(all))
        })
    }

    /// Keeps the places of chunks that are held, moves those of the trash there, and forgets the
    /// rest.
    fn settle_chunks(&mut self) -> Result<(), StoreError> {
        let tables = self.index.tables;
        let mut figures = std::mem::take(&mut self.figures);
        let (mut live, mut trashed) = (0, 0);
        let mut batch: Vec<(ChunkId, Option<Trashed>)> = Vec::new();
        let flush = |batch: &mut Vec<(ChunkId, Option<Trashed>)>| {
            self.write(|txn| {
                for (chunk, to) in batch.iter() {
                    tables.chunks.delete(txn, &chunk.0).map_err(unreadable)?;
                    if let Some(to) = to {
                        tables.trash.put(txn, &chunk.0, &value::trashed(to)).map_err(unreadable)?;
                        tables.expiry.put(txn, &expiry_key(to.ends, chunk), &[]).map_err(unreadable)?;
                    }
                }
                Ok(())
            })?;
            batch.clear();
            Ok::<_, StoreError>(())
        };
        self.index.each(CHUNKS, tables.chunks, |key, bytes| {
            let chunk = ChunkId(key.try_into().map_err(|_| "not a chunk id".to_owned())?);
            let place = value::to_place(bytes)?;
            let text = |error: StoreError| error.to_string();
            let (provided, term) = self
                .index
                .read(|tables, txn| {
                    let term = tables.trash.get(txn, &chunk.0).map_err(unreadable)?.map(<[u8]>::to_vec);
                    Ok((tables.provided(txn, &chunk)?, term))
                })
                .map_err(text)?;
            let figures = figures.entry(place.pack).or_default();
            if !provided.is_empty() {
                live += u64::from(place.pack != NOWHERE);
                figures.live.add(&place);
                return Ok(());
            }
            let term = term.and_then(|term| value::to_term(&term).ok());
            let to = term.map(|ends| Trashed { place, ends });
            if to.is_some() {
                trashed += 1;
                figures.trash.add(&place);
            }
            batch.push((chunk, to));
            if batch.len() >= BATCH {
                flush(&mut batch).map_err(text)?;
            }
            Ok(())
        })?;
        flush(&mut batch)?;
        figures.remove(&NOWHERE);
        self.figures = figures;
        (self.report.chunks, self.report.trash_chunks) = (live, trashed);
        Ok(())
    }

    /// Forgets what is in the trash by the book and has no record, or is held.
    fn settle_trash(&mut self) -> Result<(), StoreError> {
        let table = self.index.tables.trash;
        let mut gone: Vec<Vec<u8>> = Vec::new();
        self.index.each(TRASH, table, |key, bytes| {
            if value::to_trashed(bytes).is_err() {
                gone.push(key.to_vec());
            }
            Ok(())
        })?;
        for batch in gone.chunks(BATCH) {
            self.write(|txn| {
                batch.iter().try_for_each(|key| table.delete(txn, key).map(|_| ())).map_err(unreadable)
            })?;
        }
        Ok(())
    }
}

enum Fault {
    Disk(std::io::Error),
    Index(StoreError),
}
