//! A segment: what one coding step covers, by its chunk ids and holders (spec/manifest.md).
//!
//! Invariant: a segment that was decoded has as many chunk ids and holders as its code has
//! chunks, and a length within the code's bounds. What it is not: the segment's bytes, or a
//! promise that the holders still hold them.

use minicbor::{Decode, Decoder, Encode, Encoder};
use sha2::{Digest, Sha256};

use crate::code::Code;
use crate::ids::{ChunkId, NodeId, SegmentId};
use crate::wire::canonical::is_encoding_of;

const ID_DOMAIN: &[u8] = b"commonhold/v1/segment";

/// The description of a stored segment.
///
/// In CBOR it is an array of four: the code, the length, the n chunk ids as one byte string of
/// n x 32 bytes, and the n holders in the same way. Decoding refuses other counts and a length
/// outside the code's bounds; whoever builds one by hand keeps to the same, or it will not decode.
/// Two chunks may have the same id or the same holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many chunks there are and how many are needed.
    pub code: Code,
    /// Bytes of ciphertext, 1 to [`Code::segment_len_max`].
    pub len: u32,
    /// The chunk ids in code order, n of them.
    pub chunks: Vec<ChunkId>,
    /// Who held chunk i when this was written, n of them. Only a hint: repair moves chunks.
    pub holders: Vec<NodeId>,
}

impl Segment {
    /// The segment's identifier: SHA-256 of `commonhold/v1/segment`, k, n (one byte each), the
    /// length (u32, big-endian) and the chunk ids. Holders are no part of it, so that a segment
    /// keeps its id when repair moves chunks.
    pub fn id(&self) -> SegmentId {
        let mut hash = Sha256::new()
            .chain_update(ID_DOMAIN)
            .chain_update([self.code.k(), self.code.n()])
            .chain_update(self.len.to_be_bytes());
        for chunk in &self.chunks {
            hash.update(chunk.0);
        }
        SegmentId(hash.finalize().into())
    }

    /// Strict inverse of the encoding: `None` for anything but the one encoding of a valid description. The
    /// caller bounds the length: 64 chunks take 4.2 kB.
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        let segment: Self = minicbor::decode(bytes).ok()?;
        is_encoding_of(bytes, &segment).then_some(segment)
    }

    /// Bytes of each chunk, see [`Code::chunk_len`]. 0 for a length outside the code's bounds,
    /// which no decoded segment has.
    pub fn chunk_len(&self) -> usize {
        self.code.chunk_len(self.len as usize).unwrap_or(0)
    }
}

impl<C> Encode<C> for Segment {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(4)?;
        Encode::encode(&self.code, e, ctx)?;
        e.u32(self.len)?;
        e.bytes(self.chunks.iter().map(|id| id.0).collect::<Vec<_>>().as_flattened())?;
        e.bytes(self.holders.iter().map(|id| id.0).collect::<Vec<_>>().as_flattened())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Segment {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(4) {
            return Err(minicbor::decode::Error::message("a segment is an array of four"));
        }
        let code: Code = Decode::decode(d, ctx)?;
        let len = d.u32()?;
        code.chunk_len(len as usize).map_err(minicbor::decode::Error::message)?;
        let chunks = ids(d, code)?.into_iter().map(ChunkId).collect();
        let holders = ids(d, code)?.into_iter().map(NodeId).collect();
        Ok(Self { code, len, chunks, holders })
    }
}

/// A byte string of exactly n identifiers.
fn ids(d: &mut Decoder<'_>, code: Code) -> Result<Vec<[u8; 32]>, minicbor::decode::Error> {
    match d.bytes()?.as_chunks() {
        (ids, []) if ids.len() == usize::from(code.n()) => Ok(ids.to_vec()),
        _ => Err(minicbor::decode::Error::message("a segment lists as many ids as its code has chunks")),
    }
}
