//! The scrub: every chunk is read again from time to time, so that rot is found before its owner
//! needs the chunk.
//!
//! Invariant: what is reported as rotten could not be read right twice, or has no record at all, and is
//! still held. Not here: how fast (the caller asks for so many bytes at a time), and the repair.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::chunk_id_and_subtrees;

use crate::compaction::Stop;
use crate::error::{ReadError, StoreError};
use crate::index::value::scrub;
use crate::index::{SCRUB, ScrubPosition};
use crate::record::{ChunkHeader, NOWHERE, Place};
use crate::walk::{Step, Walk};
use crate::{Shared, Store};

/// Places that one part of the scrub looks at for chunks without a record, about; and most of these
/// that it reports.
const PLACES_MAX: usize = 1 << 16;
const LOST_MAX: usize = 1024;

/// A chunk whose bytes are not right any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rot {
    /// The chunk.
    pub chunk: ChunkId,
    /// The contracts that hold it and under which this node is the provider.
    pub contracts: Vec<ContractId>,
    /// What is wrong.
    pub why: String,
}

/// What one part of the scrub came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubSlice {
    /// Bytes of packs that were gone through.
    pub bytes: u64,
    /// Chunks that were checked.
    pub chunks: u64,
    /// Chunks of which only the subtree roots were damaged, and were written anew.
    pub mended: u64,
    /// Was a record of the book damaged, or may it have been? Then the whole book was written anew.
    pub book_mended: bool,
    /// Chunks that are damaged.
    pub rot: Vec<Rot>,
    /// Times that the scrub has been through all packs, this one included if it just ended.
    pub laps: u64,
    /// Did this part end a lap?
    pub lap_ended: bool,
}

/// How far the scrub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubProgress {
    /// When the present lap began, Unix seconds; none between two laps.
    pub began: Option<u64>,
    /// Bytes of packs that this lap has been through.
    pub done_bytes: u64,
    /// Laps that ended.
    pub laps: u64,
}

impl Store {
    /// Goes on with the scrub for about so many bytes, at most to the end of the last pack. Its
    /// position is durable on return.
    ///
    /// # Errors
    /// [`StoreError::Pack`] when no part of a pack can be read; the scrub goes on behind it the next
    /// time. [`StoreError`] when the index cannot be read.
    pub fn scrub(&self, bytes_max: u64, stop: &Stop) -> Result<ScrubSlice, StoreError> {
        let store = &*self.0;
        let _turn = store.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = store.index.scrub()?;
        let mut slice = ScrubSlice { laps: at.lap, ..ScrubSlice::default() };
        if at.began == 0 {
            // First come the chunks that were found nowhere when the index was rebuilt: that is known.
            at = ScrubPosition { pack: NOWHERE, offset: 0, began: (store.clock)(), ..at };
        }
        let mut damaged = BTreeSet::new();
        if at.pack == NOWHERE {
            match store.report_lost(at.offset, &mut slice)? {
                Some(next) => at.offset = next,
                None => (at.pack, at.offset) = (0, 0),
            }
        }
        while at.pack != NOWHERE && slice.bytes < bytes_max && !stop.is_set() {
            let numbers = store.shelf.packs.numbers();
            let Some(number) = numbers.iter().find(|number| **number >= at.pack) else {
                slice.lap_ended = true;
                slice.laps = at.lap + 1;
                at = ScrubPosition { lap: slice.laps, began: 0, ..ScrubPosition::default() };
                break;
            };
            if *number != at.pack {
                (at.pack, at.offset) = (*number, 0);
            }
            match store.scrub_pack(&mut at, bytes_max, stop, &mut slice, &mut damaged) {
                Ok(()) => {}
                Err(error @ StoreError::Pack { .. }) if slice.bytes == 0 => {
                    (at.pack, at.offset) = (number + 1, 0);
                    store.writer.write_meta(SCRUB, scrub(&at))?;
                    return Err(error);
                }
                // Told by the next part, so that nothing is lost that this one has found.
                Err(StoreError::Pack { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        if !damaged.is_empty() {
            // Not into one of them.
            damaged.iter().for_each(|pack| store.shelf.packs.close(*pack));
            store.note_all_again()?;
            slice.book_mended = true;
            // Compaction takes what is left of them elsewhere.
            damaged.into_iter().for_each(|pack| store.shelf.packs.set_damaged(pack));
        }
        store.writer.write_meta(SCRUB, scrub(&at))?;
        Ok(slice)
    }

    /// How far the scrub is.
    ///
    /// # Errors
    /// [`StoreError`] when the index cannot be read.
    pub fn scrub_progress(&self) -> Result<ScrubProgress, StoreError> {
        let at = self.0.index.scrub()?;
        let mut progress = ScrubProgress { laps: at.lap, ..ScrubProgress::default() };
        if at.began > 0 {
            progress.began = Some(at.began);
            if at.pack != NOWHERE {
                let packs = &self.0.shelf.packs;
                let before = packs.numbers().into_iter().filter(|number| *number < at.pack);
                let bytes: u64 = before.filter_map(|number| Some(packs.file(number)?.1)).sum();
                progress.done_bytes = bytes + at.offset;
            }
        }
        Ok(progress)
    }
}

impl Shared {
    /// Reports chunks that are held and have no record, from those on whose id begins with `from`;
    /// answers where it goes on, if it does.
    fn report_lost(&self, from: u64, slice: &mut ScrubSlice) -> Result<Option<u64>, StoreError> {
        let (lost, next) = self.index.lost(from, PLACES_MAX, LOST_MAX)?;
        for (chunk, contracts) in lost {
            let why = "no record of it was left when the index was rebuilt".to_owned();
            slice.rot.push(Rot { chunk, contracts, why });
        }
        Ok(next)
    }

    /// Goes on in one pack, which is `damaged` when its header is, or a record of the book is or may
    /// have been.
    fn scrub_pack(
        &self,
        at: &mut ScrubPosition,
        bytes_max: u64,
        stop: &Stop,
        slice: &mut ScrubSlice,
        damaged: &mut BTreeSet<u32>,
    ) -> Result<(), StoreError> {
        let packs = &self.shelf.packs;
        let disk = packs.unreadable(at.pack);
        if let Some((file, len)) = packs.file(at.pack) {
            let mut walk = Walk::new(file, packs.seal, at.pack, at.offset, len);
            if at.offset == 0 && !walk.header_is_right().map_err(&disk)? {
                damaged.insert(at.pack);
            }
            loop {
                at.offset = walk.position();
                if slice.bytes >= bytes_max || stop.is_set() {
                    return Ok(());
                }
                let Some(step) = walk.next().map_err(&disk)? else { break };
                slice.bytes += walk.position() - at.offset;
                match step {
                    Step::Chunk { place, header } => {
                        self.scrub_chunk(&walk, place, &header, slice)?;
                    }
                    Step::Junk { offset, len, .. } => {
                        // Where the header of a record is damaged, or cannot be read, only the index
                        // knows what is there.
                        let kept = self.index.kept_in(at.pack, offset..offset + len)?;
                        // What nothing is kept in may have been a record of the book.
                        if kept.iter().map(|(_, place)| place.record_len()).sum::<u64>() < len {
                            damaged.insert(at.pack);
                        }
                        for (chunk, place) in kept {
                            slice.chunks += 1;
                            slice.rot.extend(self.judge(chunk, place)?);
                        }
                    }
                    Step::Book { offset, header } => {
                        if walk.book(offset, &header).map_err(&disk)?.is_none() {
                            damaged.insert(at.pack);
                        }
                    }
                }
            }
        }
        (at.pack, at.offset) = (at.pack + 1, 0);
        Ok(())
    }

    fn scrub_chunk(
        &self,
        walk: &Walk,
        place: Place,
        header: &ChunkHeader,
        slice: &mut ScrubSlice,
    ) -> Result<(), StoreError> {
        if self.index.place(&header.chunk)? != Some(place) {
            return Ok(());
        }
        slice.chunks += 1;
        // A part of the disk that cannot be read is damage to this chunk alone, as long as others can.
        let read = walk.chunk(&place).map_err(self.shelf.packs.unreadable(place.pack))?;
        let read = read.map(|(bytes, roots)| (chunk_id_and_subtrees(&bytes), bytes, roots));
        let Some(((_, right), bytes, roots)) = read.filter(|((id, _), ..)| *id == header.chunk) else {
            slice.rot.extend(self.judge(header.chunk, place)?);
            return Ok(());
        };
        if roots != right {
            self.rewrite(header.chunk, place, &header.contract, &bytes, &right)?;
            slice.mended += 1;
        }
        Ok(())
    }

    /// Reads once more what looked damaged, and reports it if it is and is still held there.
    pub(crate) fn judge(&self, chunk: ChunkId, place: Place) -> Result<Option<Rot>, StoreError> {
        let why = match self.shelf.packs.read(&chunk, &place) {
            Ok(bytes) if commonhold_format::tree::chunk_id(&bytes) == chunk => return Ok(None),
            Ok(_) => ReadError::Damaged { why: "its bytes have another id" },
            Err(fault) => fault,
        };
        let contracts = self.index.read(|tables, txn| match tables.place(txn, &chunk)? {
            Some(now) if now == place => tables.provided(txn, &chunk),
            _ => Ok(Vec::new()),
        })?;
        Ok((!contracts.is_empty()).then(|| Rot { chunk, contracts, why: why.to_string() }))
    }
}
