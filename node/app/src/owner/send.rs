//! Sending chunks: each waits for its turn on this node's line, and a provider that has too much to do
//! is asked again instead of being given up.
//!
//! Invariant: a chunk counts as sent only when the provider has signed for it. Not here: who gets which
//! chunk (custody, repair), and the signing (line).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_drive::Stage;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::wire::{Request, Response};
use tokio::sync::OwnedMutexGuard;

use super::fetch::{BUSY_PATIENCE, BUSY_PAUSE, BUSY_PAUSE_MAX};
use super::{CHUNK_TIMEOUT, Owner, ProviderError, unexpected};
use crate::turns::Turns;

/// A provider that had too much to do gets one chunk at a time for this long.
const BUSY_REMEMBERED: Duration = Duration::from_secs(300);

/// Providers that had too much to do, and whose turn it is with each of them.
#[derive(Debug, Default)]
pub(super) struct Queues {
    busy: Mutex<HashMap<NodeId, Instant>>,
    turns: Turns<NodeId>,
}

impl Queues {
    fn note(&self, node: NodeId) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, at| at.elapsed() < BUSY_REMEMBERED);
        busy.insert(node, Instant::now());
    }

    /// The turn with a provider that had too much to do; nothing to wait for with others.
    async fn turn(&self, node: NodeId) -> Option<OwnedMutexGuard<()>> {
        let busy = {
            let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.get(&node).is_some_and(|at| at.elapsed() < BUSY_REMEMBERED)
        };
        if busy { Some(self.turns.take(node).await) } else { None }
    }
}

impl Owner {
    /// Sends a chunk to `node`, or to the next spare when it fails. Answers who signed.
    pub(super) async fn send_to_one(
        &self,
        node: NodeId,
        chunk: ChunkId,
        bytes: &Bytes,
        spares: &Mutex<Vec<NodeId>>,
    ) -> Result<NodeId, ProviderError> {
        let mut node = node;
        loop {
            let error = match self.send_chunk(node, chunk, bytes.clone()).await {
                Ok(()) => return Ok(node),
                Err(error) => error,
            };
            tracing::debug!(%error, "a chunk was not kept; trying the next provider");
            let spare = {
                let mut spares = spares.lock().unwrap_or_else(PoisonError::into_inner);
                if spares.is_empty() { None } else { Some(spares.remove(0)) }
            };
            match (spare, error) {
                (Some(spare), _) => node = spare,
                (None, ProviderError::Busy { .. }) => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                    return self.send_patiently(node, chunk, bytes).await.map(|()| node);
                }
                (None, error) => return Err(error),
            }
        }
    }

    /// Sends a chunk to a provider; while that has too much to do, again and again for a while.
    pub(super) async fn send_patiently(
        &self,
        node: NodeId,
        chunk: ChunkId,
        bytes: &Bytes,
    ) -> Result<(), ProviderError> {
        let mut pause = BUSY_PAUSE;
        let mut turn = self.queues.turn(node).await;
        let mut begun = Instant::now();
        loop {
            match self.send_over(node, chunk, bytes.clone()).await {
                Err(ProviderError::Busy { .. }) if turn.is_none() => {
                    // Others of this node may wait for it as well. From here on this one is alone.
                    turn = self.queues.turn(node).await;
                    begun = Instant::now();
                }
                Err(ProviderError::Busy { .. }) if begun.elapsed() < BUSY_PATIENCE => {}
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BUSY_PAUSE_MAX);
        }
    }

    /// Sends one chunk and waits until the provider has signed for it.
    async fn send_chunk(&self, node: NodeId, chunk: ChunkId, bytes: Bytes) -> Result<(), ProviderError> {
        let _turn = self.queues.turn(node).await;
        self.send_over(node, chunk, bytes).await
    }

    pub(super) async fn try_send(
        &self,
        node: NodeId,
        chunk: ChunkId,
        bytes: Bytes,
    ) -> Result<(), ProviderError> {
        let line = self.line(node).await?;
        let len = u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
        let request = Request::PutChunk { contract: line.contract, chunk, bytes };
        // Before the provider's time begins to run.
        self.link.upload.take(u64::from(len)).await;
        let begun = Instant::now();
        let answer = self.call_settled(node, Some(line.contract), request, CHUNK_TIMEOUT).await;
        match &answer {
            Ok(_) => self.link.sent(len as usize),
            Err(_) => self.link.upload.give_back(u64::from(len)),
        }
        match answer? {
            Response::Done => {}
            other => {
                let error = unexpected(node, other);
                if let ProviderError::Busy { .. } = error {
                    self.queues.note(node);
                }
                return Err(error);
            }
        }
        self.meter.since(Stage::Send, begun);
        let begun = Instant::now();
        let signed = line.add(chunk, len).await;
        self.meter.since(Stage::Commit, begun);
        signed.map_err(|error| ProviderError::Refused { node, why: error.0 })
    }
}
