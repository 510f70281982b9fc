//! A record: a header and a chunk's bytes, as it lies in a pack (spec/store.md, "Packs").
//!
//! Invariant: a header that is right names its chunk and length and says of itself that it is
//! whole. Not here: whether the bytes behind it give the chunk's id.

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::CHUNK_LEN_MAX;

/// "CHr", and the version of the record.
const MAGIC: [u8; 4] = *b"CHr\x01";
/// Magic 4, length 4, chunk id 32, contract id 32, checksum of the bytes 4, checksum of the header
/// up to itself 4.
pub(crate) const HEADER_LEN: usize = 80;
const HEADER_CHECKSUM: usize = HEADER_LEN - 4;

/// Where a record is. As long as the store is open no two records have the same place, and one
/// that was written later has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Number of the pack.
    pub(crate) pack: u32,
    /// First byte of the record.
    pub(crate) offset: u64,
    /// Bytes of the chunk.
    pub(crate) len: u32,
}

impl Place {
    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        record_len(self.len as usize)
    }

    /// First byte behind the record.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.record_len()
    }

    /// Is the length that of a chunk, and the end a position?
    pub(crate) fn is_valid(&self) -> bool {
        (1..=CHUNK_LEN_MAX).contains(&(self.len as usize))
            && self.offset.checked_add(self.record_len()).is_some()
    }
}

/// Bytes of the record of a chunk.
pub(crate) fn record_len(chunk_len: usize) -> u64 {
    (HEADER_LEN + chunk_len) as u64
}

/// The record of a chunk.
pub(crate) fn encode(contract: &ContractId, chunk: &ChunkId, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
    let mut record = Vec::with_capacity(HEADER_LEN + bytes.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(chunk.as_bytes());
    record.extend_from_slice(contract.as_bytes());
    record.extend_from_slice(&crc32c::crc32c(bytes).to_be_bytes());
    record.extend_from_slice(&crc32c::crc32c(&record).to_be_bytes());
    record.extend_from_slice(bytes);
    record
}

/// Is this the header of a record of that chunk, of that length?
pub(crate) fn header_fits(header: &[u8], chunk: &ChunkId, len: u32) -> bool {
    header.len() == HEADER_LEN
        && header[..4] == MAGIC
        && header[4..8] == len.to_be_bytes()
        && header[8..40] == chunk.0
        && header[HEADER_CHECKSUM..] == crc32c::crc32c(&header[..HEADER_CHECKSUM]).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_out_as_the_specification_draws_it() {
        let record = encode(&ContractId([2; 32]), &ChunkId([1; 32]), b"abc");
        let mut expected = b"CHr\x01\x00\x00\x00\x03".to_vec();
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.extend([0x36, 0x4b, 0x3f, 0xb7]);
        expected.extend(crc32c::crc32c(&expected).to_be_bytes());
        expected.extend(b"abc");
        assert_eq!(record, expected);
        assert_eq!(record.len() as u64, record_len(3));
    }

    #[test]
    fn a_header_with_any_bit_flipped_does_not_fit() {
        let chunk = ChunkId([1; 32]);
        let header = &encode(&ContractId([2; 32]), &chunk, b"abc")[..HEADER_LEN];
        assert!(header_fits(header, &chunk, 3));
        assert!(!header_fits(header, &ChunkId([3; 32]), 3));
        assert!(!header_fits(header, &chunk, 4));
        assert!(!header_fits(&header[..HEADER_LEN - 1], &chunk, 3));
        for bit in 0..HEADER_LEN * 8 {
            let mut flipped = header.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!header_fits(&flipped, &chunk, 3), "bit {bit}");
        }
    }

    #[test]
    fn a_place_is_refused_when_no_record_can_be_there() {
        let place = Place { pack: 0, offset: 0, len: 1 };
        assert!(place.is_valid());
        assert!(!Place { len: 0, ..place }.is_valid());
        assert!(!Place { len: CHUNK_LEN_MAX as u32 + 1, ..place }.is_valid());
        assert!(!Place { offset: u64::MAX - 80, ..place }.is_valid());
    }
}
