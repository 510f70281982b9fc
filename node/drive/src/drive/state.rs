//! What a drive knows and does behind its public calls: snapshots, commits, announcing, sweeping.
//!
//! Invariant: the change lock is held from reading the current head to replacing it; and nothing
//! is deleted at providers but under that lock, after the newest head was looked up, and never
//! what the current head, the announced head, a fork, a reader or a running put needs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use commonhold_format::drive::HeadContent;
use commonhold_format::head::{Head, HeadError};
use commonhold_format::keys::DriveKeys;

use crate::custody::{Custody, HeadBoard};
use crate::error::DriveError;
use crate::heads::{Heads, OpenHead, Verdict};
use crate::keeper::{Keeper, Pending, lock};
use crate::meter::Stage;
use crate::objects::Objects;
use crate::packer::{Packer, random};
use crate::path::DrivePath;
use crate::reader::Segments;
use crate::report::Removed;
use crate::rewrite::Rewrite;
use crate::staging::StagedFolder;

/// How long an announcement or a search for heads may take before the drive goes on without.
const BOARD_TIMEOUT: Duration = Duration::from_secs(30);
/// A drive without a head looks for one whenever it is read, but not more often than this.
const SEARCH_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Inner {
    keys: DriveKeys,
    pub(super) keeper: Arc<Keeper>,
    board: Arc<dyn HeadBoard>,
    pub(super) objects: Arc<Objects>,
    pub(super) heads: Arc<tokio::sync::Mutex<Heads>>,
    /// Held while the head or what is stored at providers changes.
    pub(super) change: tokio::sync::Mutex<()>,
    /// Held while a head is announced.
    announcing: tokio::sync::Mutex<()>,
    /// Heads that somebody is reading under.
    leases: Mutex<HashMap<u64, Arc<OpenHead>>>,
    next_lease: AtomicU64,
    searched: Mutex<Option<Instant>>,
    pub(super) warnings: Mutex<Warnings>,
}

#[derive(Default)]
pub(super) struct Warnings {
    pub(super) board: Option<String>,
    pub(super) announcement: Option<String>,
    pub(super) sweep: Option<String>,
}

/// The head of a moment. What it needs is not deleted while this lives.
pub(super) struct Snapshot {
    inner: Arc<Inner>,
    head: Option<Arc<OpenHead>>,
    lease: u64,
}

impl Snapshot {
    pub(super) fn content(&self) -> Option<&HeadContent> {
        self.head.as_deref().map(|head| &head.content)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        lock(&self.inner.leases).remove(&self.lease);
    }
}

impl Inner {
    /// Reads what this device knows in `dir`.
    pub(super) async fn open(
        dir: PathBuf,
        keys: DriveKeys,
        custody: Arc<dyn Custody>,
        board: Arc<dyn HeadBoard>,
    ) -> Result<Arc<Self>, DriveError> {
        let opening = move || Heads::open(&dir, &keys).map(|heads| (heads, keys));
        let (heads, keys) = tokio::task::spawn_blocking(opening).await.map_err(stopped)??;
        Ok(Arc::new(Self {
            keys,
            keeper: Keeper::new(custody),
            board,
            objects: Arc::default(),
            heads: Arc::new(tokio::sync::Mutex::new(heads)),
            change: tokio::sync::Mutex::new(()),
            announcing: tokio::sync::Mutex::new(()),
            leases: Mutex::default(),
            next_lease: AtomicU64::new(0),
            searched: Mutex::new(None),
            warnings: Mutex::default(),
        }))
    }

    pub(super) async fn snapshot(self: &Arc<Self>) -> Snapshot {
        // Under the lock of the heads, so that a sweep sees the lease or the head itself.
        let heads = self.heads.lock().await;
        let head = heads.current.clone();
        let lease = self.next_lease.fetch_add(1, Ordering::Relaxed);
        if let Some(head) = &head {
            lock(&self.leases).insert(lease, head.clone());
        }
        Snapshot { inner: self.clone(), head, lease }
    }

    /// Runs something blocking on the heads.
    pub(super) async fn with_heads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Heads) -> Result<T, DriveError> + Send + 'static,
    ) -> Result<T, DriveError> {
        let mut heads = self.heads.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || work(&mut heads)).await.map_err(stopped)?
    }

    pub(super) async fn commit_put(
        self: &Arc<Self>,
        to: &DrivePath,
        staged: StagedFolder,
        mut packer: Packer,
        pending: Arc<Pending>,
    ) -> Result<u64, DriveError> {
        let _change = self.change.lock().await;
        let current = self.heads.lock().await.current.clone();
        let segments = Segments::new(self.keeper.custody().clone(), None);
        let now = now_ms();
        let rewrite = Rewrite::merging(&self.objects, &segments, current.as_deref(), to, staged, now).await?;
        let begun = Instant::now();
        self.replace_root(rewrite, current, &mut packer, &pending).await?;
        self.keeper.meter().since(Stage::Head, begun);
        Ok(packer.kept().len() as u64)
    }

    pub(super) async fn commit_removal(self: &Arc<Self>, path: &DrivePath) -> Result<Removed, DriveError> {
        let _change = self.change.lock().await;
        let current = self.heads.lock().await.current.clone();
        let segments = Segments::new(self.keeper.custody().clone(), None);
        let rewrite = Rewrite::removing(&self.objects, &segments, current.as_deref(), path).await?;
        let (parent, entry) = rewrite.removed().ok_or_else(|| DriveError::NotFound(path.to_string()))?;
        let (files, bytes) = self.objects.measure(&segments, parent, entry).await?;
        let code = self.keeper.custody().code().await?;
        let pending = self.keeper.pending();
        let mut packer = Packer::new(pending.clone(), code);
        self.replace_root(rewrite, current, &mut packer, &pending).await?;
        Ok(Removed { path: path.to_string(), files, bytes, warnings: Vec::new() })
    }

    /// Writes the folders of a change and the head that names them. Under the change lock.
    async fn replace_root(
        &self,
        rewrite: Rewrite,
        current: Option<Arc<OpenHead>>,
        packer: &mut Packer,
        pending: &Arc<Pending>,
    ) -> Result<(), DriveError> {
        let (table, root) = rewrite.write(&self.objects, packer).await?;
        let content = HeadContent { table, root, written_ms: now_ms() };
        let (sequence, previous) = match &current {
            Some(current) => {
                let next =
                    current.head.sequence.checked_add(1).ok_or_else(|| {
                        DriveError::TooLarge("the drive has had its last change".to_owned())
                    })?;
                (next, current.hash)
            }
            None => (1, [0; 32]),
        };
        let mut salt = [0; 32];
        random(&mut salt)?;
        let unwritable = |error: HeadError| match error {
            HeadError::TooLarge(_) => DriveError::TooLarge(
                "the root folder has too many entries for a drive head: move some into a folder".to_owned(),
            ),
            error => DriveError::Internal(error.to_string()),
        };
        let head = Head::write(&self.keys, sequence, previous, salt, &content).map_err(unwritable)?;
        let head = OpenHead::from_head(head, &self.keys).map_err(unwritable)?;
        let advanced = self.with_heads(move |heads| heads.advance(head)).await;
        if advanced.is_err() {
            // The head may have reached the disk all the same: what it names stays pending for
            // as long as this process lives.
            std::mem::forget(pending.clone());
        }
        advanced?;
        pending.settle();
        Ok(())
    }

    /// After a change: announces the head, then frees what nothing needs any more. Failures are
    /// warnings, because the change itself is complete.
    pub(super) async fn settle(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Err(why) = self.announce().await {
            warnings.push(why);
        }
        if let Err(error) = self.sweep().await {
            warnings.push(format!("space was not freed at providers: {error}"));
        }
        warnings
    }

    pub(super) async fn announce(&self) -> Result<(), String> {
        let _one_at_a_time = self.announcing.lock().await;
        let head = {
            let heads = self.heads.lock().await;
            match &heads.current {
                Some(head) if !heads.is_announced() => head.clone(),
                _ => return Ok(()),
            }
        };
        let publishing = self.board.publish(head.head.encode());
        let told = match tokio::time::timeout(BOARD_TIMEOUT, publishing).await {
            Ok(told) => told,
            Err(_) => Err("nobody answered in time".to_owned()),
        };
        let outcome = match told {
            Ok(()) => {
                // What only the head announced before needed can go now.
                self.keeper.mark_litter();
                self.with_heads(move |heads| heads.note_announced(head))
                    .await
                    .map_err(|error| error.to_string())
            }
            Err(why) => Err(format!(
                "the new state of the drive could not be announced ({why}); it is safe on this device and will be announced later"
            )),
        };
        lock(&self.warnings).announcement = outcome.clone().err();
        if let Err(why) = &outcome {
            tracing::warn!("{why}");
        }
        outcome
    }

    /// Looks for a head once in a while as long as there is none here: a fresh device may have
    /// been opened before it had peers.
    pub(super) async fn search_if_new(&self) {
        if self.heads.lock().await.current.is_some() {
            return;
        }
        let recently = lock(&self.searched).is_some_and(|when| when.elapsed() < SEARCH_PAUSE);
        if !recently {
            let _change = self.change.lock().await;
            // The failure is in the warnings, and an empty drive is what this device knows.
            let _ = self.search().await;
        }
    }

    /// Finds and takes in the newest head. Under the change lock.
    pub(super) async fn search(&self) -> Result<(), DriveError> {
        *lock(&self.searched) = Some(Instant::now());
        let found = match tokio::time::timeout(BOARD_TIMEOUT, self.board.find()).await {
            Ok(found) => found,
            Err(_) => Err("nobody answered in time".to_owned()),
        };
        let found = found.map_err(|why| {
            let error = DriveError::HeadUnknown(why);
            lock(&self.warnings).board = Some(error.to_string());
            error
        })?;
        let mut warning = None;
        match found.map(|bytes| OpenHead::from_bytes(&bytes, &self.keys)) {
            None => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "a drive head that was found is ignored");
                warning = Some(format!("a drive head that was found is ignored: {error}"));
            }
            Some(Ok(head)) => {
                let sequence = head.head.sequence;
                let verdict = self.with_heads(move |heads| heads.take_in(head)).await?;
                if verdict == Verdict::Older {
                    tracing::debug!(sequence, "an older drive head that was found is ignored");
                }
            }
        }
        lock(&self.warnings).board = warning;
        Ok(())
    }

    /// Has everything deleted at providers that nothing needs.
    pub(super) async fn sweep(&self) -> Result<(), DriveError> {
        let swept = self.sweep_now().await;
        lock(&self.warnings).sweep = match &swept {
            Ok(()) => None,
            Err(error) => {
                self.keeper.mark_litter();
                Some(format!("space could not be freed at providers: {error}"))
            }
        };
        swept
    }

    async fn sweep_now(&self) -> Result<(), DriveError> {
        let _change = self.change.lock().await;
        // Another device may have built on what this one is about to delete.
        self.search().await?;
        let mut needed: HashMap<[u8; 32], Arc<OpenHead>> = HashMap::new();
        {
            let heads = self.heads.lock().await;
            if heads.fork_dropped {
                return Err(DriveError::Internal(
                    "there are more histories of the drive than this device keeps".to_owned(),
                ));
            }
            let known = heads.current.iter().chain(&heads.announced).chain(&heads.forks);
            needed.extend(known.map(|head| (head.hash, head.clone())));
            needed.extend(lock(&self.leases).values().map(|head| (head.hash, head.clone())));
        }
        let segments = Segments::new(self.keeper.custody().clone(), None);
        let mut live = HashSet::new();
        for head in needed.values() {
            self.objects.live(&segments, &head.content, &mut live).await?;
        }
        Ok(self.keeper.retain(live).await?)
    }

    /// Sweeps in the background after a put that failed.
    pub(super) fn sweep_later(self: &Arc<Self>) {
        let inner = self.clone();
        tokio::spawn(async move {
            if inner.keeper.has_litter()
                && let Err(error) = inner.sweep().await
            {
                tracing::warn!(%error, "what a failed put left at providers stays for now");
            }
        });
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn stopped(error: tokio::task::JoinError) -> DriveError {
    DriveError::Internal(format!("a task was stopped: {error}"))
}
