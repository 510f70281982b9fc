//! Chunks in and out.
//!
//! Invariant: bytes leave only after the store has checked them against their id, and only for an owner
//! that is served. Not here: what is acknowledged, which takes a revision.

use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_format::ids::{ChunkId, ContractId, NodeId};
use commonhold_format::wire::{Refusal, Response};
use commonhold_store::{PutError, ReadError};

use super::{Answer, Provider, Refused, blocking, locked};
use crate::link::TURN_MAX;

/// Puts of a contract that has committed nothing for this long are given up when they stand in the
/// way of new ones: their owner has gone away.
const ABANDON_AFTER: Duration = Duration::from_secs(600);

impl Provider {
    pub(super) async fn put_chunk(
        &self,
        from: NodeId,
        contract: ContractId,
        chunk: ChunkId,
        bytes: Bytes,
    ) -> Answer {
        self.link.received(bytes.len());
        let state = self.state_for_owner(from, contract).await?;
        let held = state.revision.as_ref().map_or(0, |(revision, _)| revision.held_bytes);
        if held.saturating_add(bytes.len() as u64) > state.contract.bytes_max {
            return Err(Refused::new(
                Refusal::OverContract,
                format!("the contract covers {} bytes and {held} are used", state.contract.bytes_max),
            ));
        }
        // The commit decides; whoever would be refused there need not send more.
        let len = bytes.len() as u64;
        self.credit(move |creditor| creditor.could_hold(&state, held.saturating_add(len))).await?;
        // The bytes are here already. Whoever sent them waits, and sends no more meanwhile.
        if !self.link.download.take_within(len, TURN_MAX).await {
            return Err(Refused::new(Refusal::Busy, "this node's line takes no more at present"));
        }
        let idle = locked(&self.progress).entry(contract).or_insert_with(Instant::now).elapsed();
        let store = self.store()?;
        let put = blocking(move || match store.put(contract, chunk, &bytes) {
            Err(PutError::Busy { .. }) if idle > ABANDON_AFTER => {
                store.abandon(&contract);
                store.put(contract, chunk, &bytes)
            }
            outcome => outcome,
        });
        put.await?.map_err(|error| {
            let reason = match &error {
                PutError::WrongId => Refusal::Invalid,
                PutError::QuotaReached { .. } | PutError::DiskFull => Refusal::Full,
                PutError::Busy { .. } => Refusal::Busy,
                _ => Refusal::Quarantined,
            };
            Refused::new(reason, error.to_string())
        })?;
        Ok(Response::Done)
    }

    pub(super) async fn get_chunk(
        &self,
        from: NodeId,
        chunk: ChunkId,
        contract: Option<ContractId>,
    ) -> Answer {
        let store = self.store()?;
        let read = blocking(move || {
            let read = store.read(&chunk);
            // Who has to be told is for the index to say, and not for the asker.
            let held = if read.is_err() { store.lent_to(&chunk).unwrap_or_default() } else { Vec::new() };
            (read, held)
        });
        let (read, damaged) = read.await?;
        let bytes = read.map_err(|error| {
            if let ReadError::Damaged { .. } = &error {
                damaged.iter().for_each(|contract| self.damage.found(*contract, chunk));
            }
            let reason = match &error {
                ReadError::NotHeld => Refusal::Unknown,
                ReadError::Damaged { .. } => Refusal::Damaged,
                _ => Refusal::Quarantined,
            };
            Refused::new(reason, error.to_string())
        })?;
        let len = bytes.len() as u64;
        if !self.link.upload.take_within(len, TURN_MAX).await {
            return Err(Refused::new(Refusal::Busy, "this node's line has no room at present"));
        }
        let served = self.serve_chunk(from, chunk, contract, bytes.into()).await;
        match &served {
            Ok(_) => self.link.sent(len as usize),
            Err(_) => self.link.upload.give_back(len),
        }
        served
    }

    /// The bytes of a chunk for whoever may have them.
    async fn serve_chunk(
        &self,
        from: NodeId,
        chunk: ChunkId,
        contract: Option<ContractId>,
        bytes: Bytes,
    ) -> Answer {
        if let Some(contract) = contract
            && let Ok(state) = self.state_for_owner(from, contract).await
        {
            let len = bytes.len() as u64;
            self.credit(move |creditor| creditor.may_read(&state, len)).await?;
            *locked(&self.egress).entry(contract).or_default() += len;
        } else if self.is_stopped(chunk).await? {
            let why = "it is held only for owners that have not paid for it";
            return Err(Refused::new(Refusal::Credit, why));
        }
        Ok(Response::Chunk { bytes })
    }

    /// Whether every contract that holds a chunk is stopped.
    pub(super) async fn is_stopped(&self, chunk: ChunkId) -> Result<bool, Refused> {
        let (store, creditor) = (self.store()?, self.creditor.clone());
        blocking(move || {
            let holders = store.lent_to(&chunk).map_err(|error| error.to_string())?;
            Ok(!holders.is_empty() && holders.iter().all(|it| creditor.stop_of(it).is_some()))
        })
        .await?
        .map_err(|why: String| Refused::new(Refusal::Quarantined, why))
    }
}
