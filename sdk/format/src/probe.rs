//! Probes: whether chunks are there, one leaf of each (spec/wire.md, "Probe").
//!
//! Invariant: which leaf has to be shown follows from the asker's nonce, the chunk's id and its length
//! alone, and it proves the chunk only when it leads to the id as that very leaf. What it is not: a proof
//! of the chunk's other leaves, or of where the bytes lie; and nothing is signed, so it shows nothing to
//! others.

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::audit::leaf_is_right;
use crate::ids::ChunkId;
use crate::tree::{Hash, LEAF_LEN, LeafProof, leaf_count};

/// Most chunks of one probe. The answer to so many has at most 350 kB.
pub const PROBE_CHUNKS_MAX: usize = 256;

/// Most hashes of a path within a chunk: the largest has 1,024 leaves.
pub const PROBE_PATH_MAX: usize = 10;

/// Most bytes of what is shown of one chunk, its envelope included: for budgets.
pub const PROBE_SHOWN_MAX: usize = LEAF_LEN + PROBE_PATH_MAX * 32 + 7;

const DOMAIN: &[u8] = b"commonhold/v1/probe";

/// The leaf that has to be shown of a chunk of `len` bytes, from 0: the first 8 bytes of
/// SHA-256(`commonhold/v1/probe` ‖ nonce ‖ chunk), an unsigned big-endian number, modulo the number of
/// its leaves. `None` for a chunk without bytes.
pub fn probed_leaf(nonce: &[u8; 32], chunk: &ChunkId, len: u32) -> Option<u64> {
    let digest: Hash =
        Sha256::new().chain_update(DOMAIN).chain_update(nonce).chain_update(chunk.0).finalize().into();
    let mut draw = [0; 8];
    draw.copy_from_slice(&digest[..8]);
    // At most 1,024 leaves: the remainder favours none by more than 2^-54.
    u64::from_be_bytes(draw).checked_rem(leaf_count(len))
}

/// What is shown of one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProbedLeaf {
    /// The leaf's bytes: 1,024, or fewer for the last leaf of a chunk.
    #[cbor(n(0), with = "leaf_bytes")]
    pub bytes: Vec<u8>,
    /// The leaf's path to the chunk id, at most [`PROBE_PATH_MAX`] hashes.
    #[cbor(n(1), with = "path")]
    pub path: Vec<Hash>,
}

impl From<LeafProof> for ProbedLeaf {
    fn from(LeafProof { bytes, path }: LeafProof) -> Self {
        Self { bytes, path }
    }
}

impl ProbedLeaf {
    /// Whether it is the leaf that `nonce` asks for, of the chunk of `len` bytes with this id.
    ///
    /// Id and length come from somewhere that is trusted, as a segment of the asker's own.
    pub fn proves(&self, nonce: &[u8; 32], chunk: &ChunkId, len: u32) -> bool {
        let Some(leaf) = probed_leaf(nonce, chunk, len) else { return false };
        leaf_is_right(chunk, len, leaf * LEAF_LEN as u64, &self.bytes, &self.path)
    }
}

/// Leaf bytes as a byte string of 1 to [`LEAF_LEN`].
mod leaf_bytes {
    pub(super) use minicbor::bytes::encode;
    use minicbor::decode::{Decoder, Error};

    use super::LEAF_LEN;

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
        let bytes = d.bytes()?;
        if bytes.is_empty() || bytes.len() > LEAF_LEN {
            return Err(Error::message("a leaf has 1 to 1,024 bytes"));
        }
        Ok(bytes.to_vec())
    }
}

/// A path as one byte string of at most [`PROBE_PATH_MAX`] hashes.
mod path {
    use minicbor::decode::{Decoder, Error};

    use super::PROBE_PATH_MAX;
    use crate::tree::Hash;
    pub(super) use crate::wire::hashes::encode;

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Hash>, Error> {
        let (hashes, rest) = d.bytes()?.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() > PROBE_PATH_MAX {
            return Err(Error::message("a path within a chunk is at most 10 whole hashes"));
        }
        Ok(hashes.to_vec())
    }
}
