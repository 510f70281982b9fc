//! Probes: one leaf of each chunk that somebody asks for (spec/wire.md, "Probe").
//!
//! Invariant: what is shown leads to the chunk's id; a disk that cannot be read and a chunk that is not
//! served at present are never shown as a chunk that is not held. A probe takes its place on the line
//! before anything is read for it, and few are read for at the same time. Not here: whether a leaf is
//! right, which is for the asker to check.

use std::collections::HashMap;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::probe::{PROBE_SHOWN_MAX, ProbedLeaf};
use commonhold_format::wire::{Refusal, Response};
use commonhold_store::{ReadError, Store};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Answer, Provider, Refused, blocking};
use crate::credit::Creditor;
use crate::link::TURN_MAX;

/// Probes that are read for at the same time: each reads up to 256 places of the disk.
const AT_ONCE: usize = 4;

/// Places for probes.
pub struct Probing(Semaphore);

impl Default for Probing {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// What was found on the disk.
struct Looked {
    shown: Vec<Option<ProbedLeaf>>,
    /// Chunks that are not intact any more, with a contract that holds them.
    damaged: Vec<(ContractId, ChunkId)>,
}

impl Provider {
    pub(super) async fn probe(&self, nonce: [u8; 32], chunks: Vec<ChunkId>) -> Answer {
        let store = self.store()?;
        let busy = |why: &str| Refused::new(Refusal::Busy, why);
        let Ok(Ok(_place)) = timeout(TURN_MAX, self.probing.0.acquire()).await else {
            return Err(busy("this node answers as many probes as it can"));
        };
        let most = chunks.len() as u64 * PROBE_SHOWN_MAX as u64;
        if !self.link.upload.take_within(most, TURN_MAX).await {
            return Err(busy("this node's line has no room at present"));
        }
        let creditor = self.creditor.clone();
        let looked = blocking(move || look(&store, &creditor, &nonce, &chunks)).await.and_then(|it| it);
        let sent = looked.as_ref().map_or(0, |looked| taken(&looked.shown));
        self.link.upload.give_back(most.saturating_sub(sent as u64));
        let Looked { shown, damaged } = looked?;
        self.link.sent(sent);
        damaged.into_iter().for_each(|(contract, chunk)| self.damage.found(contract, chunk));
        Ok(Response::Probed { shown })
    }
}

/// Bytes of leaves and paths.
fn taken(shown: &[Option<ProbedLeaf>]) -> usize {
    shown.iter().flatten().map(|leaf| leaf.bytes.len() + leaf.path.as_flattened().len()).sum()
}

fn look(store: &Store, creditor: &Creditor, nonce: &[u8; 32], chunks: &[ChunkId]) -> Result<Looked, Refused> {
    let quarantined = |why: String| Refused::new(Refusal::Quarantined, why);
    let mut looked = Looked { shown: Vec::with_capacity(chunks.len()), damaged: Vec::new() };
    // Most chunks of a probe are under one contract.
    let mut stops = HashMap::new();
    let mut stopped = |contract: &ContractId| {
        *stops.entry(*contract).or_insert_with(|| creditor.stop_of(contract).is_some())
    };
    for chunk in chunks {
        let holders = store.lent_to(chunk).map_err(|error| quarantined(error.to_string()))?;
        if !holders.is_empty() && holders.iter().all(&mut stopped) {
            let why = "a chunk is held only for owners that have not paid for it";
            return Err(Refused::new(Refusal::Credit, why));
        }
        match store.probe(chunk, nonce) {
            Ok(leaf) => looked.shown.push(Some(leaf.into())),
            Err(fault @ (ReadError::NotHeld | ReadError::Damaged { .. })) => {
                looked.shown.push(None);
                if matches!(fault, ReadError::Damaged { .. }) {
                    looked.damaged.extend(holders.into_iter().map(|contract| (contract, *chunk)));
                }
            }
            Err(error @ ReadError::Io { .. }) => return Err(quarantined(error.to_string())),
        }
    }
    Ok(looked)
}
