//! The check: everything that is in the store against everything else.
//!
//! Invariant: it changes nothing. What others change meanwhile is looked at again before it is
//! called wrong.

use std::sync::PoisonError;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{InventoryEntry, InventoryView};
use commonhold_format::tree::chunk_id_and_subtrees;

use crate::book::ContractState;
use crate::compaction::Stop;
use crate::error::StoreError;
use crate::figures::PackFigures;
use crate::index::value::{self, to_expiry_key};
use crate::index::{CHUNKS, EXPIRY, Found, HOLDINGS, TRASH, TxnBlocks, holding};
use crate::inventory::{Blocks, rebuild_hashes};
use crate::pack::pack_path;
use crate::record::NOWHERE;
use crate::walk::{Step, Walk, is_whole};
use crate::{Store, Usage};

/// Findings that are kept in a report; beyond it they are only counted.
const FINDINGS_MAX: usize = 1000;
/// Times that a pack is looked at before a difference to its figures counts: commits change both.
const LOOKS: u32 = 3;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a pack, a chunk, a contract.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Packs that were read.
    pub packs: u64,
    /// Chunks whose bytes were read and checked.
    pub chunks: u64,
    /// Bytes of packs that were read.
    pub bytes: u64,
    /// Contracts whose inventory was checked against its signed root.
    pub contracts: u64,
    /// Records that are neither named by the index nor part of the book.
    pub dead_records: u64,
    /// Bytes of packs that are no record: what damage has made of dead ones. Of others there is a
    /// finding, and of all that cannot be read.
    pub junk_bytes: u64,
    /// What is wrong, the first thousand.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub findings_total: u64,
    /// The accounts.
    pub usage: Usage,
}

impl CheckReport {
    fn find(&mut self, what: impl ToString, why: impl ToString) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { what: what.to_string(), why: why.to_string() });
        }
    }
}

impl Store {
    /// Reads everything and checks it: records, chunks against their ids, inventories against the
    /// roots that were signed, places, holdings, and accounts. spec/store.md, "Check".
    ///
    /// # Errors
    /// [`StoreError`] when the index, or all of a pack, cannot be read; what is found wrong is in the
    /// report, and so is what cannot be read.
    pub fn check(&self, stop: &Stop) -> Result<CheckReport, StoreError> {
        let _turn = self.0.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = CheckReport::default();
        for number in self.0.shelf.packs.numbers() {
            if stop.is_set() {
                break;
            }
            self.check_pack(number, &mut report)?;
        }
        for id in self.0.book.ids() {
            self.check_contract(&id, &mut report)?;
        }
        self.check_places(&mut report)?;
        report.usage = self.usage();
        let usage = report.usage;
        let sum =
            usage.used_bytes + usage.trash_bytes + usage.dead_bytes + usage.reserve_bytes + usage.free_bytes;
        if sum != usage.allotted_bytes + usage.excess_bytes {
            report
                .find("accounts", format!("they add up to {sum} bytes and not to {}", usage.allotted_bytes));
        }
        Ok(report)
    }

    fn check_pack(&self, number: u32, report: &mut CheckReport) -> Result<(), StoreError> {
        let packs = &self.0.shelf.packs;
        let name = pack_path(std::path::Path::new("packs"), number).display().to_string();
        for look in 1..=LOOKS {
            let before = packs.figures_of(number);
            let Some((file, len)) = packs.file(number) else { return Ok(()) };
            let mut found = CheckReport::default();
            let disk = packs.unreadable(number);
            let mut walk = Walk::new(file, packs.seal, number, 0, len);
            if !walk.header_is_right().map_err(&disk)? {
                found.find(&name, "its header is damaged");
            }
            let mut figures = PackFigures::default();
            while let Some(step) = walk.next().map_err(&disk)? {
                match step {
                    Step::Chunk { place, header } => {
                        let read = walk.chunk(&place).map_err(&disk)?;
                        let waits = self.0.shelf.waiting(&header.chunk) == Some(place);
                        match self.0.index.find(&header.chunk)?.filter(|found| found.place() == place) {
                            Some(Found::Live(_)) => figures.live.add(&place),
                            Some(Found::Trash(_)) => figures.trash.add(&place),
                            None if waits => {}
                            None => {
                                found.dead_records += 1;
                                if read.is_none() {
                                    let why = format!(
                                        "the record at byte {} cannot be read; nothing needs it",
                                        place.offset
                                    );
                                    found.find(&name, why);
                                }
                                continue;
                            }
                        }
                        found.chunks += 1;
                        let Some((bytes, roots)) = read else {
                            found.find(
                                format!("chunk {}", header.chunk),
                                format!("its record in {name} cannot be read"),
                            );
                            continue;
                        };
                        let (id, right) = chunk_id_and_subtrees(&bytes);
                        if id != header.chunk {
                            found.find(
                                format!("chunk {}", header.chunk),
                                format!("its bytes in {name} are damaged"),
                            );
                        } else if roots != right || !is_whole(&header, &bytes, &roots) {
                            found.find(
                                format!("chunk {}", header.chunk),
                                format!("the checksums or subtree roots behind it in {name} are damaged"),
                            );
                        }
                    }
                    Step::Book { offset, header } => {
                        figures.book_bytes += header.record_len();
                        if walk.book(offset, &header).map_err(&disk)?.is_none() {
                            found.find(&name, format!("the book record at byte {offset} is damaged"));
                        }
                    }
                    Step::Junk { offset, len, unreadable } => {
                        found.junk_bytes += len;
                        if unreadable > 0 {
                            let why = format!("{unreadable} bytes behind byte {offset} cannot be read");
                            found.find(&name, why);
                        }
                        for (chunk, place) in self.0.index.kept_in(number, offset..offset + len)? {
                            found.find(format!("chunk {chunk}"), format!("its record in {name} is damaged"));
                            figures.live.add(&place);
                        }
                    }
                }
            }
            found.bytes = len;
            let after = packs.figures_of(number);
            let same = before == after;
            if same && after.is_some_and(|known| known.live != figures.live || known.trash != figures.trash) {
                found.find(&name, format!("its figures are {after:?} and should be {figures:?}"));
            }
            if same && after.is_some_and(|known| known.book_bytes > figures.book_bytes) {
                found.find(&name, "a book record is damaged: a rebuilt index would lack what it says");
            }
            // What changed meanwhile may have looked wrong.
            if same || found.findings_total == 0 || look == LOOKS {
                report.packs += 1;
                report.chunks += found.chunks;
                report.bytes += found.bytes;
                report.dead_records += found.dead_records;
                report.junk_bytes += found.junk_bytes;
                found.findings.into_iter().for_each(|it| report.find(it.what, it.why));
                return Ok(());
            }
        }
        Ok(())
    }

    fn check_contract(&self, id: &ContractId, report: &mut CheckReport) -> Result<(), StoreError> {
        let what = format!("contract {id}");
        let index = &self.0.index;
        index.read(|tables, txn| {
            let Some(state) = tables.contract(txn, id)? else {
                report.find(&what, "it is not in the index");
                return Ok(());
            };
            if !is_signed(&state) {
                report.find(&what, "a signature of its notes is wrong");
            }
            if state.given_up {
                return Ok(());
            }
            report.contracts += 1;
            let blocks = TxnBlocks { tables, txn, contract: *id };
            let shape = state.shape();
            let mut fault = None;
            let mut holdings = 0;
            let entries = (0..shape.entries.div_ceil(crate::inventory::BLOCK as u64)).map_while(|block| {
                blocks.entries(block).map_err(|error| fault = Some(error)).ok().map(|it| (block, it))
            });
            let mut wrong = Vec::new();
            let all: Vec<InventoryEntry> = {
                let mut all = Vec::new();
                for (block, entries) in entries {
                    for (at, entry) in (block * crate::inventory::BLOCK as u64..).zip(entries) {
                        if let Some(chunk) = entry.chunk {
                            holdings += 1;
                            match tables.held(txn, &chunk, id)? {
                                Some(held) if held.index == at => {}
                                _ => wrong.push(chunk),
                            }
                        }
                        all.push(entry);
                    }
                }
                all
            };
            if let Some(fault) = fault {
                report.find(&what, fault);
                return Ok(());
            }
            for chunk in wrong {
                report.find(&what, format!("its chunk {chunk} is not among the holdings"));
            }
            match rebuild_hashes(all) {
                Err(error) => report.find(&what, error),
                Ok(rebuilt) => {
                    if rebuilt.shape != shape {
                        report.find(&what, "its entries do not give what its last revision says");
                    }
                    for (level, block, hashes) in rebuilt.hashes {
                        if !blocks.hashes(level, block).is_ok_and(|found| found == hashes) {
                            report
                                .find(&what, format!("block {block} of level {level} of its tree is wrong"));
                        }
                    }
                }
            }
            if holdings != shape.held_chunks {
                report.find(&what, "it holds another number of chunks than its last revision says");
            }
            Ok(())
        })
    }

    /// Places, trash, terms and holdings against each other.
    fn check_places(&self, report: &mut CheckReport) -> Result<(), StoreError> {
        let index = &self.0.index;
        let text = |error: StoreError| error.to_string();
        index.each(CHUNKS, index.tables.chunks, |key, bytes| {
            let chunk = ChunkId(key.try_into().map_err(|_| "not a chunk id".to_owned())?);
            let place = value::to_place(bytes)?;
            let (now, provided) = index
                .read(|tables, txn| Ok((tables.place(txn, &chunk)?, tables.provided(txn, &chunk)?)))
                .map_err(text)?;
            if now != Some(place) {
                return Ok(());
            }
            if provided.is_empty() {
                report.find(format!("chunk {chunk}"), "no contract holds it and it has a place");
            }
            if place.pack == NOWHERE {
                report.find(format!("chunk {chunk}"), "it was lost before the index was rebuilt");
            } else if self.0.shelf.packs.file(place.pack).is_none() {
                report.find(format!("chunk {chunk}"), format!("its pack {} is not there", place.pack));
            }
            Ok(())
        })?;
        index.each(HOLDINGS, index.tables.holdings, |key, bytes| {
            let (chunk, contract, held) = holding((key, bytes)).map_err(text)?;
            if self.contract(&contract).is_some_and(|state| state.given_up) {
                // On its way to the trash.
                return Ok(());
            }
            let entry = self.with_inventory(&contract, |it| it.entry(held.index)).map_err(text)?;
            let entry = entry.transpose().map_err(text)?.flatten().and_then(|entry| entry.chunk);
            let (now, place) = index
                .read(|tables, txn| Ok((tables.held(txn, &chunk, &contract)?, tables.place(txn, &chunk)?)))
                .map_err(text)?;
            if now == Some(held) && entry != Some(chunk) {
                report.find(format!("chunk {chunk}"), format!("contract {contract} does not hold it there"));
            }
            if now == Some(held) && held.provided && place.is_none() {
                report.find(format!("chunk {chunk}"), "it is held and has no place");
            }
            Ok(())
        })?;
        index.each(EXPIRY, index.tables.expiry, |key, _| {
            let (ends, chunk) = to_expiry_key(key).ok_or("not a time and a chunk id")?;
            let found = index.read(|tables, txn| tables.trashed(txn, &chunk)).map_err(text)?;
            if found.is_some_and(|found| found.ends != ends) {
                report.find(format!("chunk {chunk}"), "its term in the trash is another");
            }
            Ok(())
        })?;
        index.each(TRASH, index.tables.trash, |key, bytes| {
            let trashed = value::to_trashed(bytes)?;
            let chunk = ChunkId(key.try_into().map_err(|_| "not a chunk id".to_owned())?);
            if !index.has_term(trashed.ends, &chunk).map_err(text)?
                && index.find(&chunk).map_err(text)? == Some(Found::Trash(trashed))
            {
                report.find(format!("chunk {chunk}"), "it is in the trash without a term");
            }
            Ok(())
        })
    }
}

/// Are the notes signed by both parties?
pub(crate) fn is_signed(state: &ContractState) -> bool {
    let notes = [
        Some(&state.note),
        state.revision.as_ref().map(|(_, note)| note),
        state.receipt.as_ref().map(|(_, note)| note),
    ];
    notes.into_iter().flatten().all(|note| state.both_signed(note))
}
