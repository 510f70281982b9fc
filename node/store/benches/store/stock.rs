//! The chunks that are put: made once, so that making them is not measured.

use commonhold_format::ids::ChunkId;
use commonhold_format::tree::chunk_id;
use commonhold_format::wire::Addition;

use crate::people;

/// Bytes that do not repeat, cut into chunks of one length.
pub(crate) struct Stock {
    bytes: Vec<u8>,
    chunk_len: usize,
    ids: Vec<ChunkId>,
}

impl Stock {
    pub(crate) fn new(bytes: usize, chunk_len: usize) -> Self {
        let bytes = people::chunk_bytes(0, bytes - bytes % chunk_len);
        let ids = bytes.chunks(chunk_len).map(chunk_id).collect();
        Self { bytes, chunk_len, ids }
    }

    /// How many chunks there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn chunk_len(&self) -> usize {
        self.chunk_len
    }

    /// A chunk and its id.
    pub(crate) fn chunk(&self, number: usize) -> (&ChunkId, &[u8]) {
        (&self.ids[number], &self.bytes[number * self.chunk_len..][..self.chunk_len])
    }

    pub(crate) fn addition(&self, number: usize) -> Addition {
        Addition { chunk: self.ids[number], len: self.chunk_len as u32 }
    }
}
