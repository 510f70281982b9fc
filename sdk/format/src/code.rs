//! Erasure coding of ciphertext: Reed-Solomon, any k of n chunks (spec/erasure.md).
//!
//! Invariant: the same segment and code give the same n chunks everywhere, so that whoever
//! rebuilds a lost chunk gets the bytes of its id. What it is not: a check of what it is given.
//!
//! **A corrupt chunk decodes silently into wrong bytes**, here as in every erasure code without
//! checksums. Callers compare each chunk with its id before they pass it in, and each rebuilt
//! chunk with the id that it should have before they store it.

use std::borrow::Cow;

use minicbor::{Decode, Decoder, Encode, Encoder};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::tree::CHUNK_LEN_MAX;

/// Most chunks of one segment. Sixty is the largest default code; more holders than that cost
/// more in contracts and audits than they add in durability.
pub const CODE_N_MAX: u8 = 64;

/// Chunk lengths are multiples of this many bytes: the block in which the code's symbols lie.
pub const CHUNK_ALIGN: usize = 64;

/// A code: any k of n chunks give the segment back. 1 <= k <= n <= [`CODE_N_MAX`].
///
/// With k = n there is no parity, with k = 1 every chunk is a copy of the segment. In CBOR it is
/// an array of two unsigned integers, k and n; others are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    k: u8,
    n: u8,
}

/// Why a code or a set of chunks was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// k or n is out of bounds.
    #[error("{k} of {n} is not a code; 1 <= k <= n <= 64 is")]
    Bounds {
        /// The refused number of data chunks.
        k: u8,
        /// The refused number of all chunks.
        n: u8,
    },
    /// Fewer chunks than the code needs.
    #[error("{have} chunks, {need} are needed")]
    TooFew {
        /// How many were given.
        have: usize,
        /// How many are needed: k.
        need: usize,
    },
    /// A chunk whose index is given twice or not below n, or whose length is not the segment's
    /// chunk length.
    #[error("chunk {0} does not belong to this segment")]
    Foreign(u8),
    /// A segment of 0 bytes or of more than k MiB.
    #[error("a segment of {0} bytes is outside the code's bounds")]
    SegmentLength(usize),
}

/// Working memory of an encoder, several times a segment's size, kept from one segment to the next.
#[derive(Default)]
pub struct Coder(Option<ReedSolomonEncoder>);

impl Code {
    /// A code with k data chunks and n chunks in all.
    ///
    /// # Errors
    /// [`CodeError::Bounds`] unless 1 <= k <= n <= [`CODE_N_MAX`].
    pub fn new(k: u8, n: u8) -> Result<Self, CodeError> {
        if 1 <= k && k <= n && n <= CODE_N_MAX { Ok(Self { k, n }) } else { Err(CodeError::Bounds { k, n }) }
    }

    /// How many chunks are needed, and how many are data chunks.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// How many chunks there are, parity included.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// Most bytes of a segment: k times [`CHUNK_LEN_MAX`].
    pub fn segment_len_max(&self) -> usize {
        self.data() * CHUNK_LEN_MAX
    }

    /// Bytes of each chunk of a segment of `segment_len` bytes: `segment_len` / k rounded up,
    /// then rounded up to a multiple of [`CHUNK_ALIGN`].
    ///
    /// # Errors
    /// [`CodeError::SegmentLength`] unless the segment has 1 to
    /// [`segment_len_max`](Self::segment_len_max) bytes.
    pub fn chunk_len(&self, segment_len: usize) -> Result<usize, CodeError> {
        if (1..=self.segment_len_max()).contains(&segment_len) {
            Ok(segment_len.div_ceil(self.data()).next_multiple_of(CHUNK_ALIGN))
        } else {
            Err(CodeError::SegmentLength(segment_len))
        }
    }

    /// The n chunks of a segment, all of one length. The first k are the segment itself, cut and
    /// filled up with zero bytes at the end; the rest is parity.
    ///
    /// # Errors
    /// [`CodeError::SegmentLength`], see [`chunk_len`](Self::chunk_len).
    pub fn encode(&self, segment: &[u8]) -> Result<Vec<Vec<u8>>, CodeError> {
        let mut chunks = segment.to_vec();
        let chunk_len = self.encode_in_place(&mut Coder::default(), &mut chunks)?;
        Ok(chunks.chunks(chunk_len).map(<[u8]>::to_vec).collect())
    }

    /// Turns a segment into the same n chunks, one after the other, and answers their length. The
    /// segment stays where it is if its vector has room for all.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); the segment is then unchanged.
    pub fn encode_in_place(&self, coder: &mut Coder, segment: &mut Vec<u8>) -> Result<usize, CodeError> {
        let chunk_len = self.chunk_len(segment.len())?;
        segment.reserve_exact(self.all() * chunk_len - segment.len());
        segment.resize(self.data() * chunk_len, 0);
        self.append_parity(coder, chunk_len, segment);
        Ok(chunk_len)
    }

    /// The segment from any k of its chunks, given as (index, bytes) in any order. Surplus
    /// chunks are not looked at beyond their index and length.
    ///
    /// The chunks must have been checked against their ids: a wrong one gives a wrong segment
    /// without an error.
    ///
    /// # Errors
    /// [`CodeError::SegmentLength`]; [`CodeError::Foreign`] for a repeated index, an index not
    /// below n or another length than the segment's chunks have; [`CodeError::TooFew`].
    pub fn decode(&self, segment_len: usize, chunks: &[(u8, &[u8])]) -> Result<Vec<u8>, CodeError> {
        let chunk_len = self.chunk_len(segment_len)?;
        let mut segment = Vec::with_capacity(self.data() * chunk_len);
        for chunk in self.data_chunks(chunk_len, chunks)? {
            segment.extend_from_slice(&chunk);
        }
        segment.truncate(segment_len);
        Ok(segment)
    }

    /// The `wanted` chunks, in the order asked for, from any k others. It works on ciphertext
    /// alone, so that anyone can repair.
    ///
    /// The chunks that go in must have been checked against their ids, and what comes out must be
    /// checked before it is stored: the ids of a segment may have been made up from chunks that
    /// do not belong together.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); [`CodeError::Foreign`] also for a wanted index not below n.
    pub fn rebuild(
        &self,
        segment_len: usize,
        chunks: &[(u8, &[u8])],
        wanted: &[u8],
    ) -> Result<Vec<Vec<u8>>, CodeError> {
        let chunk_len = self.chunk_len(segment_len)?;
        if let Some(foreign) = wanted.iter().find(|index| **index >= self.n) {
            return Err(CodeError::Foreign(*foreign));
        }
        let data = self.data_chunks(chunk_len, chunks)?;
        let mut all = data.concat();
        if wanted.iter().any(|index| *index >= self.k) {
            self.append_parity(&mut Coder::default(), chunk_len, &mut all);
        }
        let chunk = |index: &u8| {
            let start = usize::from(*index) * chunk_len;
            all[start..start + chunk_len].to_vec()
        };
        Ok(wanted.iter().map(chunk).collect())
    }

    fn data(&self) -> usize {
        usize::from(self.k)
    }

    fn all(&self) -> usize {
        usize::from(self.n)
    }

    /// Appends the n - k parity chunks to k data chunks of `chunk_len` bytes each.
    fn append_parity(&self, coder: &mut Coder, chunk_len: usize, chunks: &mut Vec<u8>) {
        let count = self.all() - self.data();
        if count == 0 {
            return;
        }
        if self.k == 1 {
            for _ in 0..count {
                chunks.extend_from_within(..chunk_len);
            }
            return;
        }
        let supported = "at most 64 chunks of a multiple of 64 bytes are supported";
        let encoder = match &mut coder.0 {
            Some(encoder) => {
                encoder.reset(self.data(), count, chunk_len).expect(supported);
                encoder
            }
            none => none.insert(ReedSolomonEncoder::new(self.data(), count, chunk_len).expect(supported)),
        };
        for chunk in chunks.chunks(chunk_len) {
            encoder.add_original_shard(chunk).expect("there are k data chunks of one length");
        }
        let parity = encoder.encode().expect("all k data chunks were added");
        for chunk in parity.recovery_iter() {
            chunks.extend_from_slice(chunk);
        }
    }

    /// The k data chunks from any k chunks, which are checked for index and length.
    fn data_chunks<'a>(
        &self,
        chunk_len: usize,
        chunks: &[(u8, &'a [u8])],
    ) -> Result<Vec<Cow<'a, [u8]>>, CodeError> {
        let mut given: Vec<Option<&'a [u8]>> = vec![None; self.all()];
        for (index, bytes) in chunks {
            let place = given
                .get_mut(usize::from(*index))
                .filter(|place| place.is_none() && bytes.len() == chunk_len)
                .ok_or(CodeError::Foreign(*index))?;
            *place = Some(bytes);
        }
        if chunks.len() < self.data() {
            return Err(CodeError::TooFew { have: chunks.len(), need: self.data() });
        }
        if self.k == 1 {
            return Ok(given.into_iter().flatten().take(1).map(Cow::Borrowed).collect());
        }
        let (data, parity) = given.split_at(self.data());
        if data.iter().all(Option::is_some) {
            return Ok(data.iter().flatten().map(|chunk| Cow::Borrowed(*chunk)).collect());
        }
        let mut decoder = ReedSolomonDecoder::new(self.data(), self.all() - self.data(), chunk_len)
            .expect("a missing data chunk and k chunks given mean that there is parity");
        let present = data.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i, c)));
        let mut missing = self.data();
        for (index, chunk) in present {
            decoder.add_original_shard(index, chunk).expect("index and length were checked");
            missing -= 1;
        }
        let present = parity.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i, c)));
        for (index, chunk) in present.take(missing) {
            decoder.add_recovery_shard(index, chunk).expect("index and length were checked");
        }
        let restored = decoder.decode().expect("k chunks were added");
        let chunk = |(index, given): (usize, &Option<&'a [u8]>)| match given {
            Some(chunk) => Cow::Borrowed(*chunk),
            None => {
                let chunk =
                    restored.restored_original(index).expect("a chunk that was not given is restored");
                Cow::Owned(chunk.to_vec())
            }
        };
        Ok(data.iter().enumerate().map(chunk).collect())
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u8(self.k)?.u8(self.n)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a code is an array of two"));
        }
        Self::new(d.u8()?, d.u8()?).map_err(minicbor::decode::Error::message)
    }
}
