//! Walking through the records of a pack.
//!
//! Invariant: whatever is in the file, a walk comes to its end, and every record that it shows has a
//! header of this store that is whole. Behind a damaged one it looks for the next at every byte. What
//! the disk does not give is passed over like damage; only a pack of which nothing can be read ends
//! the walk with the disk's error.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use commonhold_format::tree::Hash;

use crate::disk::PackFile;
use crate::record::{
    BOOK_HEADER_LEN, BookHeader, ChunkHeader, HEADER_LEN, Header, PACK_HEADER_LEN, Place, Seal, roots_len,
};

/// Bytes that are searched at a time for the next record.
const WINDOW: usize = 256 << 10;
/// Where a read fails, so many bytes are asked for at a time: what disks and page caches give or do
/// not give as a whole.
const SECTOR: u64 = 4096;
/// Sectors, spread over a pack, of which one must be readable for the others to be damage.
const PROBES: u64 = 16;

/// What a walk has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Chunk {
        place: Place,
        header: ChunkHeader,
    },
    Book {
        /// First byte of the record.
        offset: u64,
        header: BookHeader,
    },
    /// Bytes that are no record, or cannot be read.
    Junk {
        offset: u64,
        len: u64,
        /// How many of them cannot be read.
        unreadable: u64,
    },
}

/// Do the bytes and roots of a record have the checksums in its header?
pub(crate) fn is_whole(header: &ChunkHeader, bytes: &[u8], roots: &[Hash]) -> bool {
    crc32c::crc32c(bytes) == header.bytes_crc && crc32c::crc32c(roots.as_flattened()) == header.roots_crc
}

/// A walk through a pack, up to a length at which it was known to end.
pub(crate) struct Walk {
    file: Arc<dyn PackFile>,
    seal: Seal,
    pack: u32,
    at: u64,
    end: u64,
}

impl Walk {
    /// From byte `from`, which must be the first of a record, or the first records if it is 0.
    pub(crate) fn new(file: Arc<dyn PackFile>, seal: Seal, pack: u32, from: u64, end: u64) -> Self {
        Self { file, seal, pack, at: from.max(PACK_HEADER_LEN as u64), end }
    }

    /// Is the pack's own header what it should be?
    ///
    /// # Errors
    /// The disk's own, when no part of the pack can be read. The same for all of these.
    pub(crate) fn header_is_right(&self) -> io::Result<bool> {
        if self.end < PACK_HEADER_LEN as u64 {
            return Ok(false);
        }
        let mut header = [0; PACK_HEADER_LEN];
        self.read(&mut header, 0)?;
        Ok(Seal::of_pack(&header) == Some((self.pack, self.seal)))
    }

    /// Where the next record begins.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The next thing in the pack; none at its end.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        let mut head = [0; HEADER_LEN];
        let len = (self.end - offset).min(HEADER_LEN as u64) as usize;
        // Zeros, where it cannot be read, are no header.
        self.read(&mut head[..len], offset)?;
        let header = self.seal.header(&head[..len]).filter(|header| header.record_len() <= self.end - offset);
        let Some(header) = header else {
            let (next, unreadable) = self.search(offset)?;
            self.at = next;
            return Ok(Some(Step::Junk { offset, len: next - offset, unreadable }));
        };
        self.at += header.record_len();
        Ok(Some(match header {
            Header::Chunk(header) => {
                Step::Chunk { place: Place { pack: self.pack, offset, len: header.len }, header }
            }
            Header::Book(header) => Step::Book { offset, header },
        }))
    }

    /// The first byte behind `junk` at which a record begins, or the end; and how many bytes up to it
    /// cannot be read.
    fn search(&self, junk: u64) -> io::Result<(u64, u64)> {
        let mut at = junk;
        let mut unreadable = 0;
        let mut window = vec![0; WINDOW + HEADER_LEN];
        while at < self.end {
            let len = (self.end - at).min(window.len() as u64) as usize;
            let lost = self.read(&mut window[..len], at)?;
            let lost_to =
                |to: u64| lost.iter().map(|it| it.end.min(to).saturating_sub(it.start)).sum::<u64>();
            // Records begin with the same two letters.
            let starts = window[..len.min(WINDOW)].iter().enumerate().filter(|(_, byte)| **byte == b'C');
            for (start, _) in starts {
                let begins = at + start as u64;
                let header = self.seal.header(&window[start..len]);
                if begins > junk && header.is_some_and(|header| header.record_len() <= self.end - begins) {
                    return Ok((begins, unreadable + lost_to(begins)));
                }
            }
            at += WINDOW as u64;
            unreadable += lost_to(at);
        }
        Ok((self.end, unreadable))
    }

    /// The bytes and the subtree roots of a chunk's record, whatever they are; none when a part of them
    /// cannot be read.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn chunk(&self, place: &Place) -> io::Result<Option<(Vec<u8>, Vec<Hash>)>> {
        let mut bytes = vec![0; place.len as usize];
        let mut roots = vec![[0; 32]; roots_len(place.len) / size_of::<Hash>()];
        let at = place.offset + HEADER_LEN as u64;
        let is_there = self.read(&mut bytes, at)?.is_empty()
            && self.read(roots.as_flattened_mut(), at + u64::from(place.len))?.is_empty();
        Ok(is_there.then_some((bytes, roots)))
    }

    /// The changes of a book record, if they can be read and have their checksum.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn book(&self, offset: u64, header: &BookHeader) -> io::Result<Option<Vec<u8>>> {
        let mut changes = vec![0; header.len as usize];
        let is_there = self.read(&mut changes, offset + BOOK_HEADER_LEN as u64)?.is_empty();
        Ok((is_there && crc32c::crc32c(&changes) == header.crc).then_some(changes))
    }

    /// Reads what can be read of a part of the pack; answers what cannot, which is zeros then.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<Vec<Range<u64>>> {
        let Err(mut fault) = self.file.read(bytes, at) else { return Ok(Vec::new()) };
        let mut lost: Vec<Range<u64>> = Vec::new();
        let mut rest = bytes;
        let mut from = at;
        let mut any = false;
        while !rest.is_empty() {
            let len = (SECTOR - from % SECTOR).min(rest.len() as u64);
            let (part, behind) = rest.split_at_mut(len as usize);
            let to = from + len;
            match (self.file.read(part, from), lost.last_mut()) {
                (Ok(()), _) => any = true,
                (Err(error), last) => {
                    fault = error;
                    part.fill(0);
                    match last {
                        Some(last) if last.end == from => last.end = to,
                        _ => lost.push(from..to),
                    }
                }
            }
            (rest, from) = (behind, to);
        }
        if any || self.is_readable() { Ok(lost) } else { Err(fault) }
    }

    /// Can anything of the pack be read?
    fn is_readable(&self) -> bool {
        let sectors = self.end.div_ceil(SECTOR);
        let probes = sectors.min(PROBES);
        let mut sector = [0; SECTOR as usize];
        (0..probes).any(|probe| {
            let at = probe * sectors / probes * SECTOR;
            let len = (self.end - at).min(SECTOR) as usize;
            self.file.read(&mut sector[..len], at).is_ok()
        })
    }
}
