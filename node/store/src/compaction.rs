//! Compaction: what is still needed of a pack is copied, and the pack is deleted.
//!
//! Invariant: a record that the index names is copied and synced before the index names the copy,
//! and a pack is deleted after the transaction that took its last record out. Stopped or killed at
//! any point, it leaves at most dead bytes. Puts wait for one record at most. A pack in which
//! something is kept that cannot be read is not deleted. Not here: which bytes are dead (the index).

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::Hash;

use crate::error::{PutError, StoreError};
use crate::figures::{Kept, Move};
use crate::index::journal::{self, Booked};
use crate::index::value;
use crate::index::{Broken, CONTRACTS, Change, ENTRIES, Found, HOLDINGS, SEGMENTS, TRASH, Trashed};
use crate::pack::Purpose;
use crate::record::Place;
use crate::scrub::Rot;
use crate::walk::{Step, Walk};
use crate::{Shared, Store};

/// A pack is compacted when one in so many of its bytes is dead,
const DEAD_SHARE: u64 = 4;
/// or one in so many when little is free,
const DEAD_SHARE_PRESSED: u64 = 32;
/// which is less than one in so many of what the operator lends.
const FREE_SHARE: u64 = 8;
/// Most records, and bytes of chunks, that are copied for one transaction.
const BATCH_RECORDS: usize = 64;
const BATCH_BYTES: u64 = 4 << 20;
/// After a batch compaction rests for as long as that took, and at most this long.
const REST_MAX: Duration = Duration::from_millis(250);
/// Keys of the book that are written anew in one transaction, and that are remembered as done.
const BATCH_KEYS: usize = 1024;
const SEEN_KEYS_MAX: usize = 1 << 16;
/// The book is compacted when its records take more than this, or than one in so many bytes of a pack,
const BOOK_BYTES_MIN: u64 = 64 << 20;
const BOOK_SHARE: u64 = 4;
/// and so many times what is in them counts;
const BOOK_GROWTH: u64 = 4;
/// or, when little is free, when one in so many bytes of a pack counts no more.
const BOOK_SHARE_PRESSED: u64 = 16;
/// Less than this is never worth it, and more than compaction itself adds.
const BOOK_BYTES_LEAST: u64 = 4 << 10;
/// Chunks that cannot be read and are named by one compaction; the scrub finds the others.
const ROT_MAX: usize = 4096;

/// Tells an upkeep that is under way to stop; it does so after the next record.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Stops what looks at this, now and later.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What compacting a pack came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Bytes of the pack that was deleted; 0 when it was stopped or something in it is in use.
    pub deleted_bytes: u64,
    /// Bytes of records that were copied.
    pub copied_bytes: u64,
    /// Chunks that were copied.
    pub copied_chunks: u64,
    /// Chunks that are held and could not be read to be copied, the first few thousand. They, and the
    /// pack, stay where they are.
    pub rot: Vec<Rot>,
}

/// A record that was copied, and where it was.
type Copied = (ChunkId, Place, Place);

/// What is being done with a pack.
struct Work<'a> {
    store: &'a Shared,
    pack: u32,
    copied: Vec<Copied>,
    copied_bytes: u64,
    keys: Vec<(Booked, Vec<u8>)>,
    seen: HashSet<(Booked, Vec<u8>)>,
    /// When the batch began that is being copied.
    begun: Instant,
    /// Something in it may have been a record of the book and could not be read as one.
    book_gap: bool,
    done: Compacted,
}

impl Store {
    /// Compacts the pack that this frees the most with; none when nothing is worth it. Call it
    /// until then. spec/store.md, "Compaction".
    ///
    /// # Errors
    /// [`StoreError`]; what was copied is kept. [`StoreError::Pack`] when no part of the pack can be
    /// read and something in it is needed; the next call takes another pack.
    pub fn compact(&self, stop: &Stop) -> Result<Option<Compacted>, StoreError> {
        let store = &*self.0;
        let mut turn = store.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        store.halt.check()?;
        let Some(pack) = store.worth_compacting(&mut turn)? else { return Ok(None) };
        // From here on nothing is added to it.
        store.shelf.packs.close(pack);
        let work = Work {
            store,
            pack,
            copied: Vec::new(),
            copied_bytes: 0,
            keys: Vec::new(),
            seen: HashSet::new(),
            begun: Instant::now(),
            book_gap: false,
            done: Compacted::default(),
        };
        work.run(stop).map(Some)
    }
}

/// How the book is compacted: in rounds, each through the packs that are there when it begins.
///
/// What of a pack's book records counts no more is only estimated from the whole book, deletions among
/// it that must be kept as long as a pack before them is. So what a round has copied is left alone until
/// as much was written again as makes a round worth it.
#[derive(Debug, Default)]
pub(crate) struct BookRounds {
    /// The first pack that is not of the round under way.
    end: Option<u32>,
    /// What the last round left, bytes of book records.
    left: u64,
}

impl BookRounds {
    fn end(&mut self, book_bytes: u64) {
        *self = Self { end: None, left: book_bytes };
    }
}

impl Shared {
    fn worth_compacting(&self, rounds: &mut BookRounds) -> Result<Option<u32>, StoreError> {
        let packs = &self.shelf.packs;
        if let Some(pack) = packs.damaged() {
            return Ok(Some(pack));
        }
        let figures = packs.figures();
        let free = self.allotted_bytes.saturating_sub(self.reserve_bytes + figures.all_bytes);
        let is_pressed = free < self.allotted_bytes / FREE_SHARE;
        let share = if is_pressed { DEAD_SHARE_PRESSED } else { DEAD_SHARE };
        if let Some(pack) = packs.most_dead(share) {
            return Ok(Some(pack));
        }
        let book_bytes = figures.book_bytes;
        let book_share = if is_pressed { BOOK_SHARE_PRESSED } else { BOOK_SHARE };
        let min = (packs.pack_len_max / book_share).clamp(BOOK_BYTES_LEAST, BOOK_BYTES_MIN);
        rounds.left = rounds.left.min(book_bytes);
        if book_bytes <= min || (rounds.end.is_none() && book_bytes - rounds.left < min) {
            return Ok(None);
        }
        let needed = self.index.book_bytes()?;
        let superseded = book_bytes.saturating_sub(needed);
        let is_worth_it = if is_pressed { superseded > min } else { book_bytes / BOOK_GROWTH > needed };
        if !is_worth_it {
            rounds.end(rounds.left);
            return Ok(None);
        }
        let end = *rounds.end.get_or_insert_with(|| packs.next());
        // What the operator lends is not exceeded, unless it is already because that was lowered.
        let room = self.allotted_bytes.saturating_sub(figures.all_bytes);
        let room = if room == 0 { u64::MAX } else { room };
        let pack = packs.most_superseded(share, (superseded, book_bytes), end, room);
        if pack.is_none() {
            rounds.end(book_bytes);
        }
        Ok(pack)
    }

    /// Moves the index's mind to copies that were made; answers nothing of those that were moved or
    /// freed in the meantime.
    fn relocate(&self, copied: &[Copied]) -> Result<(), StoreError> {
        let moves = copied.to_vec();
        let outcome =
            self.writer.write(move |change| moves.iter().try_for_each(|copied| relocate(change, copied)));
        // They counted as pending, so that their packs stayed.
        for (_, _, to) in copied {
            self.shelf.packs.give_up(to);
        }
        outcome
    }

    /// Writes everything of the book anew, because a record of it is damaged.
    pub(crate) fn note_all_again(&self) -> Result<(), StoreError> {
        let tables = &self.index.tables;
        let booked = [
            (Booked::Trash, TRASH, tables.trash),
            (Booked::Holdings, HOLDINGS, tables.holdings),
            (Booked::Contracts, CONTRACTS, tables.contracts),
            (Booked::Entries, ENTRIES, tables.entries),
            (Booked::Segments, SEGMENTS, tables.segments),
        ];
        for (booked, name, table) in booked {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let note = |keys: Vec<Vec<u8>>| {
                let note = move |change: &mut Change<'_, '_>| {
                    keys.iter().try_for_each(|key| change.note_again(booked, key, true))
                };
                self.writer.write(note)
            };
            self.index.each(name, table, |key, bytes| {
                // Of holdings the book has only those that were lost.
                if booked != Booked::Holdings || value::to_held(bytes)?.lost {
                    keys.push(key.to_vec());
                }
                if keys.len() >= BATCH_KEYS {
                    note(std::mem::take(&mut keys)).map_err(|error| error.to_string())?;
                }
                Ok(())
            })?;
            if !keys.is_empty() {
                note(keys)?;
            }
        }
        Ok(())
    }

    /// Writes a chunk's record anew and lets the index name it instead of the one at `from`.
    pub(crate) fn rewrite(
        &self,
        chunk: ChunkId,
        from: Place,
        contract: &ContractId,
        bytes: &[u8],
        roots: &[Hash],
    ) -> Result<(), StoreError> {
        let to = self.copy(&chunk, contract, bytes, roots)?;
        self.relocate(&[(chunk, from, to)])
    }

    fn copy(
        &self,
        chunk: &ChunkId,
        contract: &ContractId,
        bytes: &[u8],
        roots: &[Hash],
    ) -> Result<Place, StoreError> {
        let place = self.shelf.packs.append(contract, chunk, bytes, roots, Purpose::Compaction);
        place.map_err(|error| match error {
            PutError::Failed(error) => error,
            error => StoreError::Full { why: error.to_string() },
        })
    }
}

fn relocate(change: &mut Change<'_, '_>, (chunk, from, to): &Copied) -> Result<(), Broken> {
    let kept = match change.tables.find(change.txn, chunk)? {
        Some(Found::Live(place)) if place == *from => {
            change.set(change.tables.chunks, &chunk.0, &value::place(*to))?;
            Kept::Live
        }
        Some(Found::Trash(Trashed { place, ends })) if place == *from => {
            change.enter_trash(chunk, &Trashed { place: *to, ends })?;
            Kept::Trash
        }
        _ => return Ok(()),
    };
    change.moved(Move { chunk: *chunk, place: *from, from: Some(kept), to: None });
    change.moved(Move { chunk: *chunk, place: *to, from: None, to: Some(kept) });
    Ok(())
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // Copies that no transaction names, because of an error.
        for (_, _, to) in &self.copied {
            self.store.shelf.packs.give_up(to);
        }
    }
}

impl Work<'_> {
    fn run(mut self, stop: &Stop) -> Result<Compacted, StoreError> {
        let packs = &self.store.shelf.packs;
        let Some((file, len)) = packs.file(self.pack) else { return Ok(std::mem::take(&mut self.done)) };
        let walk = Walk::new(file, packs.seal, self.pack, 0, len);
        match self.copy_all(walk, stop) {
            Ok(true) => {}
            Ok(false) => {
                self.flush()?;
                return Ok(std::mem::take(&mut self.done));
            }
            Err(error @ StoreError::Pack { .. }) => {
                packs.set_unreadable(self.pack);
                if packs.is_needed(self.pack) {
                    return Err(error);
                }
                self.book_gap = true;
            }
            Err(error) => return Err(error),
        }
        self.flush()?;
        self.delete(len)
    }

    /// Copies what is needed; false when it was stopped.
    fn copy_all(&mut self, mut walk: Walk, stop: &Stop) -> Result<bool, StoreError> {
        let disk = self.store.shelf.packs.unreadable(self.pack);
        while let Some(step) = walk.next().map_err(&disk)? {
            if stop.is_set() {
                return Ok(false);
            }
            match step {
                Step::Chunk { place, header } => {
                    if self.store.index.find(&header.chunk)?.is_some_and(|found| found.place() == place) {
                        self.copy(&walk, header.chunk, place, &header.contract)?;
                    }
                }
                Step::Book { offset, header } => match walk.book(offset, &header).map_err(&disk)? {
                    Some(changes) => self.remember(&changes)?,
                    None => self.book_gap = true,
                },
                Step::Junk { offset, len, .. } => {
                    let kept = self.store.index.kept_in(self.pack, offset..offset + len)?;
                    self.book_gap |= kept.iter().map(|(_, place)| place.record_len()).sum::<u64>() < len;
                    for (chunk, place) in kept {
                        // Its header is damaged, and this contract is only a label.
                        self.copy(&walk, chunk, place, &ContractId([0; 32]))?;
                    }
                }
            }
        }
        Ok(true)
    }

    fn copy(
        &mut self,
        walk: &Walk,
        chunk: ChunkId,
        place: Place,
        contract: &ContractId,
    ) -> Result<(), StoreError> {
        // Damaged bytes are copied as well: the chunk stays known, as damaged.
        let packs = &self.store.shelf.packs;
        let Some((bytes, roots)) = walk.chunk(&place).map_err(packs.unreadable(self.pack))? else {
            // It stays where it is, and so does the pack, until a put has healed the chunk or nobody
            // keeps it any more.
            packs.set_unreadable(self.pack);
            if self.done.rot.len() < ROT_MAX {
                self.done.rot.extend(self.store.judge(chunk, place)?);
            }
            return Ok(());
        };
        let to = self.store.copy(&chunk, contract, &bytes, &roots)?;
        self.copied.push((chunk, place, to));
        self.copied_bytes += place.record_len();
        if self.copied.len() >= BATCH_RECORDS || self.copied_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn remember(&mut self, changes: &[u8]) -> Result<(), StoreError> {
        for change in journal::read(changes) {
            // Whoever wrote it was this code, and its checksum is right.
            let Ok(change) = change else { break };
            let key = (change.table, change.key.to_vec());
            if self.seen.len() >= SEEN_KEYS_MAX {
                self.seen.clear();
            }
            if self.seen.insert(key.clone()) {
                self.keys.push(key);
            }
            if self.keys.len() >= BATCH_KEYS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let copied = std::mem::take(&mut self.copied);
        if !copied.is_empty() {
            self.store.relocate(&copied)?;
            self.done.copied_chunks += copied.len() as u64;
            self.done.copied_bytes += std::mem::take(&mut self.copied_bytes);
            // Half of the disk's time is for others.
            thread::sleep(self.begun.elapsed().min(REST_MAX));
            self.begun = Instant::now();
        }
        let keys = std::mem::take(&mut self.keys);
        if !keys.is_empty() {
            let is_lowest = self.store.shelf.packs.numbers().first() == Some(&self.pack);
            self.store.writer.write(move |change| {
                keys.iter().try_for_each(|(table, key)| change.note_again(*table, key, !is_lowest))
            })?;
        }
        Ok(())
    }

    /// Deletes the pack if nothing needs it any more.
    fn delete(mut self, len: u64) -> Result<Compacted, StoreError> {
        let (packs, pack) = (&self.store.shelf.packs, self.pack);
        if packs.is_needed(pack) {
            return Ok(std::mem::take(&mut self.done));
        }
        if self.book_gap {
            // The scrub may have done so already, but not for what was damaged since.
            self.store.note_all_again()?;
        }
        self.store.writer.write(move |change| change.forget_pack(pack))?;
        match packs.delete(pack) {
            Ok(true) => self.done.deleted_bytes = len,
            Ok(false) => {}
            Err(error) => return Err(self.store.halt.stop(error)),
        }
        Ok(std::mem::take(&mut self.done))
    }
}
