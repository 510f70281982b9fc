//! Chunks in and out, each with a line in the journal.

use bytes::Bytes;
use commonhold_format::ids::{ChunkId, ContractId, NodeId};

use super::{Owner, ProviderError};

impl Owner {
    /// Sends one chunk now and waits until the provider has signed for it.
    pub(super) async fn send_over(
        &self,
        node: NodeId,
        chunk: ChunkId,
        bytes: Bytes,
    ) -> Result<(), ProviderError> {
        self.journal.sent(node, bytes.len(), self.try_send(node, chunk, bytes)).await
    }

    /// Fetches one chunk from one provider and checks it. A damaged or wrong answer marks the
    /// chunk as lost there.
    pub(super) async fn fetch_chunk(
        &self,
        node: NodeId,
        chunk: ChunkId,
        contract: Option<ContractId>,
    ) -> Result<Bytes, ProviderError> {
        self.journal.fetched(node, self.try_fetch(node, chunk, contract)).await
    }
}
