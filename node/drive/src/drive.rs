//! The drive as a caller sees it.
//!
//! Invariant: a change is in the tree whole or not at all, and two changes at a time both end up
//! in it. Changes that wait at the same time share one head.

mod archives;
mod bin;
mod history;
mod linked;
mod merge;
mod moving;
mod parts;
mod reading;
mod redundancy;
mod share;
mod state;
mod storing;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use commonhold_format::ids::SegmentId;
use commonhold_format::keys::DriveKeys;
use futures::future::BoxFuture;

use crate::changes::Changes;
use crate::custody::{Custody, HeadBoard};
use crate::error::DriveError;
use crate::heads::OpenHead;
use crate::keeper::{Pending, lock};
use crate::report::{DriveStatus, Fork};
pub use linked::Linked;
pub use parts::Complete;
pub use reading::OpenFile;
pub use redundancy::Needs;
pub use share::{Share, Shown};
use state::{Inner, stopped};
pub use storing::{NewFile, OnlyIf, Replaced};

/// An owner's files. Cheap to clone; all clones are one drive.
///
/// Reading works on the head as it is when the call begins. A change is durable on this device and stored
/// at providers when the call returns, and goes on to its end even if the caller stops waiting once its
/// data are in.
#[derive(Clone)]
pub struct Drive {
    inner: Arc<Inner>,
}

/// What a drive keeps beyond what is in it, and at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveOptions {
    /// Most earlier versions of a file. 0 keeps none.
    pub versions_max: usize,
    /// Ciphertext of decoded segments that stays in memory, bytes: neighbours in a folder lie in the same
    /// segment, and so do the ranges of a file that somebody plays or reads piece by piece. The segment that
    /// was read last stays in any case.
    pub cache_bytes_max: usize,
}

impl Default for DriveOptions {
    fn default() -> Self {
        Self { versions_max: 32, cache_bytes_max: 64 << 20 }
    }
}

impl Drive {
    /// Opens the drive of `keys` with what this device knows in `dir` (made if need be), and looks
    /// for a newer head. That search failing is no error: [`Drive::status`] tells.
    ///
    /// Fails when `dir` cannot be read or written, or when the head in it does not verify: going
    /// on without it would give up the protection against rollback.
    pub async fn open(
        dir: PathBuf,
        keys: DriveKeys,
        custody: Arc<dyn Custody>,
        heads: Arc<dyn HeadBoard>,
        options: DriveOptions,
    ) -> Result<Drive, DriveError> {
        let inner = Inner::open(dir, keys, custody, heads, options).await?;
        // A put that was cut off by the end of the last process may have left segments.
        inner.keeper.mark_litter();
        let drive = Drive { inner };
        if let Err(error) = drive.refresh().await {
            tracing::warn!(%error, "the drive goes on with the head on this device");
        }
        Ok(drive)
    }

    /// The state of the head, with what the owner should know.
    pub async fn status(&self) -> DriveStatus {
        let heads = self.inner.heads.lock().await;
        let warnings = lock(&self.inner.warnings);
        let mut told: Vec<String> = [&warnings.board, &warnings.announcement, &warnings.sweep]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if !heads.forks.is_empty() {
            let forks = heads.forks.len();
            told.push(format!(
                "this drive has {forks} other histories, written by another device with the same phrase or brought back by someone; nothing of them was merged or deleted: `commonhold drive heads` shows them, `drive merge` takes one in"
            ));
        }
        if heads.fork_dropped {
            told.push(
                "there are more histories than this device keeps, so nothing is deleted at providers"
                    .to_owned(),
            );
        }
        DriveStatus {
            sequence: heads.current.as_ref().map_or(0, |head| head.head.sequence),
            current: heads.current.as_deref().map(described),
            published: heads.is_announced(),
            forks: heads.forks.iter().map(|fork| described(fork)).collect(),
            warnings: told,
        }
    }

    /// Looks for a newer head. An older one is ignored; another history is kept beside the
    /// current one. Fails with `head_unknown` when the search fails.
    pub async fn refresh(&self) -> Result<(), DriveError> {
        let _change = self.inner.change.lock().await;
        self.inner.search().await
    }

    /// Announces the current head if it was not yet, gives up uploads that nobody goes on with, and has
    /// space freed that could not be freed before. Meant to be called now and then. True when the current
    /// head is announced.
    pub async fn republish(&self) -> Result<bool, DriveError> {
        if self.inner.uploads.expire(state::now_ms()).await {
            self.inner.keeper.mark_litter();
        }
        let announced = self.inner.announce().await.is_ok();
        if self.inner.keeper.has_litter() {
            self.inner.sweep().await?;
        }
        Ok(announced)
    }

    /// Announces the current head if it was not yet: what a device does before it stops.
    ///
    /// # Errors
    /// A sentence when nobody took it; it is announced after the next start.
    pub async fn announce(&self) -> Result<(), String> {
        self.inner.announce().await
    }

    /// Begins a new drive where one that was made elsewhere is waited for: what to do when nothing was ever
    /// stored under the phrase. A drive that is found later is kept beside the new one.
    pub async fn begin(&self) -> Result<(), DriveError> {
        self.inner.with_heads(|heads| heads.begin()).await
    }

    /// Gives up another history, so that what only it needs can be deleted. False when there is
    /// none with this hash.
    pub async fn forget_fork(&self, hash: &[u8; 32]) -> Result<bool, DriveError> {
        let hash = *hash;
        let forgotten = self.inner.with_heads(move |heads| heads.forget_fork(&hash)).await?;
        if forgotten {
            self.inner.keeper.mark_litter();
        }
        Ok(forgotten)
    }

    /// Makes one change and lets what follows from it happen in the background.
    async fn change<T: Send + 'static>(
        &self,
        pending: Option<Arc<Pending>>,
        work: impl for<'a> FnOnce(&'a mut Changes) -> BoxFuture<'a, Result<T, DriveError>> + Send + 'static,
    ) -> Result<T, DriveError> {
        self.inner.search_if_new().await?;
        match self.inner.commit(pending, work).await {
            Ok((done, _)) => {
                self.inner.settle_later();
                Ok(done)
            }
            Err(error) => {
                self.inner.sweep_later();
                Err(error)
            }
        }
    }

    /// Tells whenever the head of this drive is another one: its sequence.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Every segment that the current head needs.
    pub async fn walk(&self) -> Result<HashSet<SegmentId>, DriveError> {
        let snapshot = self.inner.snapshot().await;
        let mut live = HashSet::new();
        if let Some(head) = snapshot.content() {
            self.inner.objects.live(head, &mut HashSet::new(), &mut live).await?;
        }
        Ok(live)
    }
}

fn described(head: &OpenHead) -> Fork {
    Fork {
        sequence: head.head.sequence,
        hash: head.hash,
        written_ms: head.content.written_ms,
        files: head.content.files.totals.files,
        bytes: head.content.files.totals.bytes,
    }
}
