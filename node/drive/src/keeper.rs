//! Between the drive and its custodian: which segments are on their way, and when nothing may be
//! deleted.
//!
//! Invariant: a segment that any put has handed out and not yet made part of a head is counted as
//! pending, and no deletion runs while a segment is being handed out. So a put never loses a
//! segment to a removal that started beside it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, SegmentId};
use commonhold_format::segment::Segment;
use tokio::sync::RwLock;

use crate::custody::{Custody, CustodyError};
use crate::meter::Meter;

/// Locks a mutex whose data stay valid when another holder panicked: sets and maps are changed
/// in single calls here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The custodian with the bookkeeping above.
pub(crate) struct Keeper {
    custody: Arc<dyn Custody>,
    meter: Arc<Meter>,
    /// Read while a segment is handed out, written while others are deleted.
    gate: RwLock<()>,
    pending: Mutex<HashSet<SegmentId>>,
    /// Whether a put ended without its segments becoming part of a head.
    litter: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(custody: Arc<dyn Custody>) -> Arc<Self> {
        Arc::new(Self {
            meter: custody.meter(),
            custody,
            gate: RwLock::new(()),
            pending: Mutex::default(),
            litter: AtomicBool::new(false),
        })
    }

    pub(crate) fn custody(&self) -> &Arc<dyn Custody> {
        &self.custody
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// A put's account of the segments it hands out.
    pub(crate) fn pending(self: &Arc<Self>) -> Arc<Pending> {
        Arc::new(Pending { keeper: self.clone(), ids: Mutex::default(), settled: AtomicBool::new(false) })
    }

    /// Has everything deleted but `live` and what is pending.
    pub(crate) async fn retain(&self, mut live: HashSet<SegmentId>) -> Result<(), CustodyError> {
        let _nothing_is_handed_out = self.gate.write().await;
        // Litter that appears from here on is not covered by this call.
        self.litter.store(false, Ordering::SeqCst);
        live.extend(lock(&self.pending).iter().copied());
        let retained = self.custody.retain(live).await;
        if retained.is_err() {
            self.litter.store(true, Ordering::SeqCst);
        }
        retained
    }

    /// Whether there are segments that no head names and nobody has asked to delete.
    pub(crate) fn has_litter(&self) -> bool {
        self.litter.load(Ordering::SeqCst)
    }

    /// To be called when segments stopped being live and could not be deleted at once.
    pub(crate) fn mark_litter(&self) {
        self.litter.store(true, Ordering::SeqCst);
    }
}

/// The segments of one put, pending until this is dropped.
pub(crate) struct Pending {
    keeper: Arc<Keeper>,
    ids: Mutex<Vec<SegmentId>>,
    settled: AtomicBool,
}

impl Pending {
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.keeper.meter
    }

    /// Hands a segment to the custodian; `segment` has no holders yet. The answer has, and is
    /// otherwise the same.
    pub(crate) async fn keep(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Segment, CustodyError> {
        let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
        let id = Segment { code, len, chunks: ids, holders: Vec::new() }.id();
        let _nothing_is_deleted = self.keeper.gate.read().await;
        lock(&self.ids).push(id);
        lock(&self.keeper.pending).insert(id);
        let kept = self.keeper.custody.keep(code, len, chunks).await?;
        if kept.id() != id || kept.holders.len() != usize::from(code.n()) {
            return Err(CustodyError::Other("the custodian described another segment".to_owned()));
        }
        Ok(kept)
    }

    /// The head names the segments now: they are no litter when this is dropped.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let ids = lock(&self.ids);
        let mut pending = lock(&self.keeper.pending);
        for id in ids.iter() {
            pending.remove(id);
        }
        if !ids.is_empty() && !self.settled.load(Ordering::SeqCst) {
            self.keeper.litter.store(true, Ordering::SeqCst);
        }
    }
}
