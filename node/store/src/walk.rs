//! Walking through the records of a pack.
//!
//! Invariant: whatever is in the file, a walk comes to its end, and every record that it shows has a
//! header of this store that is whole. Behind a damaged one it looks for the next at every byte.

use std::io;
use std::sync::Arc;

use commonhold_format::tree::Hash;

use crate::disk::PackFile;
use crate::record::{
    BOOK_HEADER_LEN, BookHeader, ChunkHeader, HEADER_LEN, Header, PACK_HEADER_LEN, Place, Seal, roots_len,
};

/// Bytes that are searched at a time for the next record.
const WINDOW: usize = 256 << 10;

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
    /// Bytes that are no record.
    Junk {
        offset: u64,
        len: u64,
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
    /// The disk's own.
    pub(crate) fn header_is_right(&self) -> io::Result<bool> {
        if self.end < PACK_HEADER_LEN as u64 {
            return Ok(false);
        }
        let mut header = [0; PACK_HEADER_LEN];
        self.file.read(&mut header, 0)?;
        Ok(Seal::of_pack(&header) == Some((self.pack, self.seal)))
    }

    /// Where the next record begins.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The next thing in the pack; none at its end.
    ///
    /// # Errors
    /// The disk's own.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        let mut head = [0; HEADER_LEN];
        let len = (self.end - offset).min(HEADER_LEN as u64) as usize;
        self.file.read(&mut head[..len], offset)?;
        let header = self.seal.header(&head[..len]).filter(|header| header.record_len() <= self.end - offset);
        let Some(header) = header else {
            self.at = self.search(offset + 1)?;
            return Ok(Some(Step::Junk { offset, len: self.at - offset }));
        };
        self.at += header.record_len();
        Ok(Some(match header {
            Header::Chunk(header) => {
                Step::Chunk { place: Place { pack: self.pack, offset, len: header.len }, header }
            }
            Header::Book(header) => Step::Book { offset, header },
        }))
    }

    /// The first byte from `from` on at which a record begins, or the end.
    fn search(&self, from: u64) -> io::Result<u64> {
        let mut at = from;
        let mut window = vec![0; WINDOW + HEADER_LEN];
        while at < self.end {
            let len = (self.end - at).min(window.len() as u64) as usize;
            self.file.read(&mut window[..len], at)?;
            // Records begin with the same two letters.
            let starts = window[..len.min(WINDOW)].iter().enumerate().filter(|(_, byte)| **byte == b'C');
            for (start, _) in starts {
                let left = self.end - at - start as u64;
                let header = self.seal.header(&window[start..len]);
                if header.is_some_and(|header| header.record_len() <= left) {
                    return Ok(at + start as u64);
                }
            }
            at += WINDOW as u64;
        }
        Ok(self.end)
    }

    /// The bytes and the subtree roots of a chunk's record, whatever they are.
    ///
    /// # Errors
    /// The disk's own.
    pub(crate) fn chunk(&self, place: &Place) -> io::Result<(Vec<u8>, Vec<Hash>)> {
        let mut bytes = vec![0; place.len as usize];
        let mut roots = vec![[0; 32]; roots_len(place.len) / size_of::<Hash>()];
        let at = place.offset + HEADER_LEN as u64;
        self.file.read(&mut bytes, at)?;
        self.file.read(roots.as_flattened_mut(), at + u64::from(place.len))?;
        Ok((bytes, roots))
    }

    /// The changes of a book record, if they have their checksum.
    ///
    /// # Errors
    /// The disk's own.
    pub(crate) fn book(&self, offset: u64, header: &BookHeader) -> io::Result<Option<Vec<u8>>> {
        let mut changes = vec![0; header.len as usize];
        self.file.read(&mut changes, offset + BOOK_HEADER_LEN as u64)?;
        Ok((crc32c::crc32c(&changes) == header.crc).then_some(changes))
    }
}
