//! What a drive knows and does behind its public calls: snapshots, commits, announcing, sweeping.
//!
//! Invariant: the change lock is held from reading the current head to replacing it; and nothing
//! is deleted at providers but under that lock, after the newest head was looked up, and never
//! what the current head, the announced head, a fork, a reader or a running put needs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use commonhold_format::drive::HeadContent;
use commonhold_format::head::{Head, HeadError};
use commonhold_format::keys::DriveKeys;
use commonhold_format::seal::ObjectKind;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot, watch};

use super::DriveOptions;
use crate::changes::{BIN, Changes, FILES, SHARES};
use crate::custody::{Custody, HeadBoard};
use crate::error::DriveError;
use crate::heads::{Heads, OpenHead, Verdict};
use crate::keeper::{Keeper, Pending, lock};
use crate::located::{FolderNode, Located};
use crate::meter::Stage;
use crate::objects::Objects;
use crate::packer::{Packer, random};
use crate::reader::Segments;
use crate::uploads::Uploads;
use crate::write;

/// How long an announcement or a search for heads may take before the drive goes on without.
const BOARD_TIMEOUT: Duration = Duration::from_secs(30);
/// A drive without a head looks for one whenever it is read, but not more often than this …
const SEARCH_PAUSE: Duration = Duration::from_secs(10);
/// … or this, when it is known to be somewhere.
const SEARCH_PAUSE_AWAITED: Duration = Duration::from_secs(1);
/// Before a change, when nobody has looked for so long, what other devices have announced is looked for …
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// … but no longer than this: the change is made, and both histories are kept if it comes to that.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// Where several devices write, the same is done before anything is read, for no longer than this …
const GLANCE_TIMEOUT: Duration = Duration::from_secs(1);
/// … and not again for this long when it led to nothing.
const GLANCE_PAUSE: Duration = Duration::from_secs(10);
/// Most changes that share a head.
const BATCH_MAX: usize = 1024;
/// Bytes of small files that wait for their batch at a time.
pub(super) const SMALL_BYTES_MAX: usize = 32 << 20;
/// Least and most time between two sweeps in the background.
const SWEEP_PAUSE_MIN: Duration = Duration::from_secs(1);
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(600);

/// A change of a batch. It either succeeds or is undone.
type Work = Box<dyn for<'a> FnOnce(&'a mut Changes) -> BoxFuture<'a, Result<(), DriveError>> + Send>;

/// A change that waits for its batch.
struct Queued {
    work: Work,
    pending: Option<Arc<Pending>>,
    done: oneshot::Sender<Result<u64, DriveError>>,
}

pub(super) struct Inner {
    keys: DriveKeys,
    pub(super) keeper: Arc<Keeper>,
    board: Arc<dyn HeadBoard>,
    pub(super) objects: Objects,
    pub(super) options: DriveOptions,
    queue: Mutex<VecDeque<Queued>>,
    /// A permit for each byte of small files that wait.
    pub(super) small: Arc<Semaphore>,
    pub(super) uploads: Arc<Uploads>,
    /// The sequence of the current head.
    pub(super) changed: watch::Sender<u64>,
    sweeping: AtomicBool,
    sweep_pause: Mutex<Duration>,
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

    /// The files, the bin and the links that were given out; all empty without a head.
    pub(super) fn roots(&self) -> Result<[FolderNode; 3], DriveError> {
        self.content().map_or_else(|| Ok(Default::default()), roots)
    }

    pub(super) fn written_ms(&self) -> i64 {
        self.content().map_or(0, |head| head.written_ms)
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
        options: DriveOptions,
    ) -> Result<Arc<Self>, DriveError> {
        let opening = move || Ok::<_, DriveError>((Heads::open(&dir, &keys)?, Uploads::open(&dir)?, keys));
        let (heads, uploads, keys) = tokio::task::spawn_blocking(opening).await.map_err(stopped)??;
        Ok(Arc::new(Self {
            keys,
            objects: Objects::new(Segments::new(custody.clone(), None, options.cache_bytes_max)),
            keeper: Keeper::new(custody),
            board,
            options,
            queue: Mutex::default(),
            small: Arc::new(Semaphore::new(SMALL_BYTES_MAX)),
            uploads: Arc::new(uploads),
            changed: watch::Sender::new(heads.current.as_ref().map_or(0, |head| head.head.sequence)),
            sweeping: AtomicBool::new(false),
            sweep_pause: Mutex::new(SWEEP_PAUSE_MIN),
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
        let working = tokio::task::spawn_blocking(move || {
            let done = work(&mut heads);
            (done, heads.current.as_ref().map_or(0, |head| head.head.sequence))
        });
        let (done, sequence) = working.await.map_err(stopped)?;
        self.changed.send_if_modified(|known| std::mem::replace(known, sequence) != sequence);
        done
    }

    /// Has a change made together with others that wait at the same time, in one head. Gives what `work`
    /// gave once the head is durable, and how many segments the batch took. `pending` are segments that the
    /// change brings with it. Goes on to its end even if the caller stops waiting.
    ///
    /// `work` fails without effect; it must not leave anything half done that it would not want to stay.
    pub(super) async fn commit<T: Send + 'static>(
        self: &Arc<Self>,
        pending: Option<Arc<Pending>>,
        work: impl for<'a> FnOnce(&'a mut Changes) -> BoxFuture<'a, Result<T, DriveError>> + Send + 'static,
    ) -> Result<(T, u64), DriveError> {
        let outcome = Arc::new(Mutex::new(None));
        let slot = outcome.clone();
        let work: Work = Box::new(move |changes| {
            Box::pin(async move {
                let done = work(changes).await?;
                *lock(&slot) = Some(done);
                Ok(())
            })
        });
        let (done, answer) = oneshot::channel();
        lock(&self.queue).push_back(Queued { work, pending, done });
        let inner = self.clone();
        tokio::spawn(async move { inner.write_batch().await });
        let lost = || DriveError::Internal("a change was given up".to_owned());
        let segments = answer.await.map_err(|_| lost())??;
        let done = lock(&outcome).take();
        Ok((done.ok_or_else(lost)?, segments))
    }

    /// Makes the changes that wait, unless somebody else has done so by the time that it is their turn.
    async fn write_batch(self: Arc<Self>) {
        let _change = self.change.lock().await;
        let batch: Vec<Queued> = {
            let mut queue = lock(&self.queue);
            let count = queue.len().min(BATCH_MAX);
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        let begun = Instant::now();
        if let Err(error) = self.look_first().await {
            batch.into_iter().for_each(|queued| drop(queued.done.send(Err(error.clone()))));
            return;
        }
        let current = self.heads.lock().await.current.clone();
        let trees = match current
            .as_deref()
            .map(|head| roots(&head.content))
            .unwrap_or_else(|| Ok(Default::default()))
        {
            Ok(trees) => trees,
            Err(error) => {
                batch.into_iter().for_each(|queued| drop(queued.done.send(Err(error.clone()))));
                return;
            }
        };
        let mut changes = Changes::new(self.objects.clone(), trees, now_ms(), self.options.versions_max);
        let mut made = Vec::with_capacity(batch.len());
        for queued in batch {
            match (queued.work)(&mut changes).await {
                Ok(()) => {
                    changes.settle();
                    made.push((queued.pending, queued.done));
                }
                Err(error) => {
                    changes.roll_back();
                    let _ = queued.done.send(Err(error));
                }
            }
        }
        let changed = [FILES, BIN, SHARES].into_iter().any(|root| changes.is_changed(root));
        let written =
            if changed && !made.is_empty() { self.replace_root(changes, current).await } else { Ok(0) };
        self.keeper.meter().since(Stage::Head, begun);
        for (pending, done) in made {
            if let Some(pending) = pending {
                match &written {
                    Ok(_) => pending.settle(),
                    // The head may have reached the disk all the same: what it names stays pending for
                    // as long as this process lives.
                    Err(Unwritten { head_written: true, .. }) => std::mem::forget(pending.clone()),
                    Err(_) => {}
                }
            }
            let _ = done.send(written.as_ref().copied().map_err(|unwritten| unwritten.error.clone()));
        }
    }

    /// Writes the pages of a batch and the head that names them, and gives how many segments that took.
    /// Under the change lock.
    async fn replace_root(
        &self,
        mut changes: Changes,
        current: Option<Arc<OpenHead>>,
    ) -> Result<u64, Unwritten> {
        let early = |error: DriveError| Unwritten { error, head_written: false };
        let code = self.keeper.custody().code().await.map_err(|error| early(error.into()))?;
        let pending = self.keeper.pending();
        let mut packer = Packer::new(pending.clone(), code);
        let others = std::mem::take(&mut changes.writers);
        let mut content = write::write(changes, &mut packer, now_ms()).await.map_err(early)?;
        let (sequence, previous) = match &current {
            Some(current) => {
                let last = || early(DriveError::TooLarge("the drive has had its last change".to_owned()));
                (current.head.sequence.checked_add(1).ok_or_else(last)?, current.hash)
            }
            None => (1, [0; 32]),
        };
        content.writers = self.heads.lock().await.writers(sequence, &others);
        let mut salt = [0; 32];
        random(&mut salt).map_err(early)?;
        let unwritable = |error: HeadError| early(DriveError::Internal(error.to_string()));
        let head = match Head::write(&self.keys, sequence, previous, salt, &content) {
            Err(HeadError::TooLarge(_)) => {
                // The three topmost pages lie in three wide segments: written together they lie in one.
                let content = self.gathered(&content, &mut packer).await.map_err(early)?;
                Head::write(&self.keys, sequence, previous, salt, &content).map_err(unwritable)?
            }
            head => head.map_err(unwritable)?,
        };
        let head = OpenHead::from_head(head, &self.keys).map_err(unwritable)?;
        let advanced = self.with_heads(move |heads| heads.advance(head)).await;
        if let Err(error) = advanced {
            std::mem::forget(pending.clone());
            return Err(Unwritten { error, head_written: true });
        }
        pending.settle();
        Ok(packer.flushed())
    }

    /// The same trees with their topmost pages written anew, together.
    async fn gathered(&self, content: &HeadContent, packer: &mut Packer) -> Result<HeadContent, DriveError> {
        let mut trees = roots(content)?;
        let mut written = Vec::new();
        for (at, tree) in trees.iter().enumerate() {
            if let Some(page) = self.objects.top(tree).await? {
                written.push((at, packer.add_object(ObjectKind::Folder, &page.encode()).await?));
            }
        }
        let table = packer.flush().await?;
        for (at, object) in written {
            trees[at].page = Some(Located { object, table: table.clone() });
        }
        write::head(&trees, content.written_ms, content.writers.clone())
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
    /// been opened before it had peers. Fails as long as the drive is known to be somewhere and was not found:
    /// to show it as empty would be a lie. With a head, see [`Self::glance`].
    pub(super) async fn search_if_new(&self) -> Result<(), DriveError> {
        let (is_there, is_awaited, is_shared) = {
            let heads = self.heads.lock().await;
            (heads.current.is_some(), heads.is_awaited(), heads.has_other_writers())
        };
        if is_there {
            if is_shared {
                self.glance().await;
            }
            return Ok(());
        }
        let pause = if is_awaited { SEARCH_PAUSE_AWAITED } else { SEARCH_PAUSE };
        if !self.has_looked_within(pause) {
            let _change = self.change.lock().await;
            // The failure is in the warnings.
            let _ = self.search().await;
        }
        self.refuse_awaited().await
    }

    /// Before a change: looks for what other devices have announced, so that those who take turns do not
    /// write two histories. Under the change lock.
    async fn look_first(&self) -> Result<(), DriveError> {
        if !self.has_looked_within(LOOK_AGAIN) {
            // A failure is in the warnings.
            if tokio::time::timeout(LOOK_TIMEOUT, self.search()).await.is_err() {
                tracing::debug!("a change is made without knowing what other devices have announced");
            }
            *lock(&self.searched) = Some(Instant::now());
        }
        self.refuse_awaited().await
    }

    /// Where other devices write: a state that is not the newest may name what they have given up meanwhile.
    async fn glance(&self) {
        if self.has_looked_within(LOOK_AGAIN) {
            return;
        }
        // Whoever changes something looks, too.
        let Ok(_change) = self.change.try_lock() else { return };
        let looked = tokio::time::timeout(GLANCE_TIMEOUT, self.search()).await;
        let pause = if matches!(looked, Ok(Ok(()))) { Duration::ZERO } else { GLANCE_PAUSE };
        *lock(&self.searched) = Some(Instant::now() + pause);
    }

    fn has_looked_within(&self, pause: Duration) -> bool {
        lock(&self.searched).is_some_and(|when| when.elapsed() < pause)
    }

    async fn refuse_awaited(&self) -> Result<(), DriveError> {
        if self.heads.lock().await.is_awaited() { Err(DriveError::Awaited) } else { Ok(()) }
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
        let (mut seen, mut live) = (HashSet::new(), HashSet::new());
        for head in needed.values() {
            self.objects.live(&head.content, &mut seen, &mut live).await?;
        }
        self.uploads.live(&mut live);
        Ok(self.keeper.retain(live).await?)
    }

    /// Sweeps in the background, soon and not too often: a sweep goes through the whole tree.
    pub(super) fn sweep_later(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let inner = self.clone();
        tokio::spawn(async move {
            let pause = *lock(&inner.sweep_pause);
            tokio::time::sleep(pause).await;
            inner.sweeping.store(false, Ordering::SeqCst);
            if !inner.keeper.has_litter() {
                return;
            }
            let begun = Instant::now();
            if let Err(error) = inner.sweep().await {
                tracing::warn!(%error, "what nothing needs any more stays at providers for now");
            }
            // At most a twentieth of the time goes into this.
            *lock(&inner.sweep_pause) = (begun.elapsed() * 20).clamp(SWEEP_PAUSE_MIN, SWEEP_PAUSE_MAX);
        });
    }

    /// After a change that nobody waits for: announces the head and frees space, both in the background
    /// and together with what other changes ask for.
    pub(super) fn settle_later(self: &Arc<Self>) {
        self.keeper.mark_litter();
        let inner = self.clone();
        tokio::spawn(async move {
            // The failure is in the warnings.
            let _ = inner.announce().await;
            inner.sweep_later();
        });
    }
}

/// A batch could not be written.
struct Unwritten {
    error: DriveError,
    /// Whether the head may have reached the disk.
    head_written: bool,
}

/// The three trees under a head.
pub(super) fn roots(head: &HeadContent) -> Result<[FolderNode; 3], DriveError> {
    Ok([
        FolderNode::of(&head.files, &head.table)?,
        FolderNode::of(&head.bin, &head.table)?,
        FolderNode::of(&head.shares, &head.table)?,
    ])
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn stopped(error: tokio::task::JoinError) -> DriveError {
    DriveError::Internal(format!("a task was stopped: {error}"))
}
