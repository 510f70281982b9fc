//! What lies in a pack: its header, records of chunks, and records of the book (spec/store.md,
//! "Packs").
//!
//! Invariant: a header that is right was written by this store, names what it is about and how long
//! that is, and says of itself that it is whole. Not here: whether a chunk's bytes give its id.

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::tree::{CHUNK_LEN_MAX, Hash, subtree_count};
use sha2::{Digest, Sha256};

/// Kind and version of what begins here.
const PACK: [u8; 4] = *b"CHp\x02";
pub(crate) const CHUNK: [u8; 4] = *b"CHc\x02";
pub(crate) const BOOK: [u8; 4] = *b"CHb\x02";

/// Magic 4, number 4, store 16, salt 16, check 8.
pub(crate) const PACK_HEADER_LEN: usize = 48;
/// Magic 4, length 4, chunk id 32, contract id 32, checksum of the bytes 4, checksum of the roots
/// 4, check 8.
pub(crate) const HEADER_LEN: usize = 88;
/// Magic 4, length 4, number 8, checksum of the changes 4, check 8.
pub(crate) const BOOK_HEADER_LEN: usize = 28;
/// Most bytes of the changes in one book record: four times what the largest transactions come to.
pub(crate) const BOOK_LEN_MAX: usize = 1 << 28;
const CHECK_LEN: usize = 8;

/// Names one store among all, so that another one's disk is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(pub [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::str::FromStr for StoreId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let id = bytes.and_then(|bytes| bytes.try_into().ok());
        id.map(Self).ok_or_else(|| format!("{text:?} is not the id of a store: 32 hexadecimal digits"))
    }
}

/// What all records of a store are checked with. Whoever does not have the salt cannot make bytes
/// that look like a record of this store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) store: StoreId,
    pub(crate) salt: [u8; 16],
}

fn first_bytes(hash: Sha256) -> [u8; CHECK_LEN] {
    let digest: Hash = hash.finalize().into();
    *digest.first_chunk().expect("a hash is longer than a check")
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[at..at + N]);
    number
}

impl Seal {
    fn check(&self, header: &[u8]) -> [u8; CHECK_LEN] {
        first_bytes(Sha256::new().chain_update(self.salt).chain_update(header))
    }

    /// The header of pack `pack`.
    pub(crate) fn pack_header(&self, pack: u32) -> [u8; PACK_HEADER_LEN] {
        let mut header = [0; PACK_HEADER_LEN];
        header[..4].copy_from_slice(&PACK);
        header[4..8].copy_from_slice(&pack.to_be_bytes());
        header[8..24].copy_from_slice(&self.store.0);
        header[24..40].copy_from_slice(&self.salt);
        let check = first_bytes(Sha256::new().chain_update(&header[..40]));
        header[40..].copy_from_slice(&check);
        header
    }

    /// Number and seal by the header of a pack; none when it is not whole.
    pub(crate) fn of_pack(header: &[u8; PACK_HEADER_LEN]) -> Option<(u32, Self)> {
        let check = first_bytes(Sha256::new().chain_update(&header[..40]));
        if header[..4] != PACK || header[40..] != check {
            return None;
        }
        let seal = Self { store: StoreId(number(header, 8)), salt: number(header, 24) };
        Some((u32::from_be_bytes(number(header, 4)), seal))
    }

    /// The header of a chunk's record.
    pub(crate) fn chunk_header(
        &self,
        contract: &ContractId,
        chunk: &ChunkId,
        bytes: &[u8],
        roots: &[u8],
    ) -> [u8; HEADER_LEN] {
        let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&CHUNK);
        header[4..8].copy_from_slice(&len.to_be_bytes());
        header[8..40].copy_from_slice(chunk.as_bytes());
        header[40..72].copy_from_slice(contract.as_bytes());
        header[72..76].copy_from_slice(&crc32c::crc32c(bytes).to_be_bytes());
        header[76..80].copy_from_slice(&crc32c::crc32c(roots).to_be_bytes());
        let check = self.check(&header[..80]);
        header[80..].copy_from_slice(&check);
        header
    }

    /// The header of a book record.
    pub(crate) fn book_header(&self, record: u64, changes: &[u8]) -> [u8; BOOK_HEADER_LEN] {
        let len = u32::try_from(changes.len()).expect("the writer bounds the changes");
        let mut header = [0; BOOK_HEADER_LEN];
        header[..4].copy_from_slice(&BOOK);
        header[4..8].copy_from_slice(&len.to_be_bytes());
        header[8..16].copy_from_slice(&record.to_be_bytes());
        header[16..20].copy_from_slice(&crc32c::crc32c(changes).to_be_bytes());
        let check = self.check(&header[..20]);
        header[20..].copy_from_slice(&check);
        header
    }

    /// Reads the header at the beginning of `bytes`; none when there is none that is whole.
    pub(crate) fn header(&self, bytes: &[u8]) -> Option<Header> {
        if bytes.starts_with(&CHUNK) {
            let header: &[u8; HEADER_LEN] = bytes.first_chunk()?;
            let len = u32::from_be_bytes(number(header, 4));
            if header[80..] != self.check(&header[..80]) || !(1..=CHUNK_LEN_MAX).contains(&(len as usize)) {
                return None;
            }
            return Some(Header::Chunk(ChunkHeader {
                chunk: ChunkId(number(header, 8)),
                contract: ContractId(number(header, 40)),
                len,
                bytes_crc: u32::from_be_bytes(number(header, 72)),
                roots_crc: u32::from_be_bytes(number(header, 76)),
            }));
        }
        if bytes.starts_with(&BOOK) {
            let header: &[u8; BOOK_HEADER_LEN] = bytes.first_chunk()?;
            let len = u32::from_be_bytes(number(header, 4));
            if header[20..] != self.check(&header[..20]) || len as usize > BOOK_LEN_MAX {
                return None;
            }
            return Some(Header::Book(BookHeader {
                len,
                record: u64::from_be_bytes(number(header, 8)),
                crc: u32::from_be_bytes(number(header, 16)),
            }));
        }
        None
    }
}

/// What the header of a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    Chunk(ChunkHeader),
    Book(BookHeader),
}

impl Header {
    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        match self {
            Self::Chunk(header) => record_len(header.len as usize),
            Self::Book(header) => header.record_len(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChunkHeader {
    pub(crate) chunk: ChunkId,
    pub(crate) contract: ContractId,
    pub(crate) len: u32,
    pub(crate) bytes_crc: u32,
    pub(crate) roots_crc: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BookHeader {
    pub(crate) len: u32,
    pub(crate) record: u64,
    pub(crate) crc: u32,
}

impl BookHeader {
    pub(crate) fn record_len(&self) -> u64 {
        BOOK_HEADER_LEN as u64 + u64::from(self.len)
    }
}

/// Where a record is. As long as the store is open no two records have the same place, and one
/// that was written later has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Number of the pack.
    pub(crate) pack: u32,
    /// First byte of the record.
    pub(crate) offset: u64,
    /// Bytes of the chunk.
    pub(crate) len: u32,
}

/// The pack of chunks that are held and were found nowhere. No pack has this number.
pub(crate) const NOWHERE: u32 = u32::MAX;

impl Place {
    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        record_len(self.len as usize)
    }

    /// Is the length that of a chunk, and the end a position?
    pub(crate) fn is_valid(&self) -> bool {
        (1..=CHUNK_LEN_MAX).contains(&(self.len as usize))
            && self.offset.checked_add(self.record_len()).is_some()
    }
}

/// Bytes of the subtree roots behind a chunk of `len` bytes.
pub(crate) fn roots_len(len: u32) -> usize {
    subtree_count(len) * size_of::<Hash>()
}

/// Bytes of the record of a chunk.
pub(crate) fn record_len(chunk_len: usize) -> u64 {
    (HEADER_LEN + chunk_len + roots_len(chunk_len as u32)) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SEAL: Seal = Seal { store: StoreId([7; 16]), salt: [9; 16] };

    fn sha(bytes: &[u8]) -> [u8; 8] {
        *<[u8; 32]>::from(Sha256::digest(bytes)).first_chunk().unwrap()
    }

    #[test]
    fn headers_are_laid_out_as_the_specification_draws_them() {
        let mut expected = b"CHp\x02\x00\x00\x00\x03".to_vec();
        expected.extend([7; 16]);
        expected.extend([9; 16]);
        expected.extend(sha(&expected));
        assert_eq!(SEAL.pack_header(3).to_vec(), expected);

        let mut expected = b"CHc\x02\x00\x00\x00\x03".to_vec();
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.extend([0x36, 0x4b, 0x3f, 0xb7]);
        expected.extend([0; 4]);
        expected.extend(sha(&[&[9; 16], expected.as_slice()].concat()));
        let header = SEAL.chunk_header(&ContractId([2; 32]), &ChunkId([1; 32]), b"abc", &[]);
        assert_eq!(header.to_vec(), expected);

        let mut expected = b"CHb\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05".to_vec();
        expected.extend([0x36, 0x4b, 0x3f, 0xb7]);
        expected.extend(sha(&[&[9; 16], expected.as_slice()].concat()));
        assert_eq!(SEAL.book_header(5, b"abc").to_vec(), expected);
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_of_another_store_is_none() {
        let pack = SEAL.pack_header(3);
        assert!(Seal::of_pack(&pack).is_some_and(|(number, seal)| number == 3 && seal == SEAL));
        for bit in 0..PACK_HEADER_LEN * 8 {
            let mut flipped = pack;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::of_pack(&flipped).is_none(), "bit {bit}");
        }
        let chunk = SEAL.chunk_header(&ContractId([2; 32]), &ChunkId([1; 32]), b"abc", &[]);
        let book = SEAL.book_header(5, b"abc");
        let other = Seal { salt: [8; 16], ..SEAL };
        for header in [&chunk[..], &book[..]] {
            assert!(SEAL.header(header).is_some());
            assert!(other.header(header).is_none());
            assert!(SEAL.header(&header[..header.len() - 1]).is_none());
            for bit in 0..header.len() * 8 {
                let mut flipped = header.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(SEAL.header(&flipped).is_none(), "bit {bit}");
            }
        }
    }

    #[test]
    fn roots_follow_chunks_of_more_than_one_subtree() {
        assert_eq!(record_len(1), 89);
        assert_eq!(record_len(16_384), 88 + 16_384);
        assert_eq!(record_len(16_385), 88 + 16_385 + 64);
        assert_eq!(record_len(CHUNK_LEN_MAX), 88 + 1_048_576 + 2048);
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
