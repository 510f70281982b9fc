//! The drive as a caller sees it.
//!
//! Invariant: a change is in the tree whole or not at all, and two changes at a time both end up
//! in it.

mod state;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use commonhold_format::drive::{Entry, EntryKind, Name};
use commonhold_format::ids::{NodeId, SegmentId};
use commonhold_format::keys::DriveKeys;
use tokio::io::AsyncRead;

use crate::custody::{Custody, HeadBoard};
use crate::download::{self, ArchiveReader, Target};
use crate::error::DriveError;
use crate::keeper::lock;
use crate::objects::{Found, file_len};
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::reader::Segments;
use crate::report::{DriveStatus, Fork, ListEntry, ListKind, PutReport, Removed};
use crate::upload::Upload;
use state::{Inner, stopped};

/// An owner's files. Cheap to clone; all clones are one drive.
///
/// Reading (`list`, `get_archive`) works on the head as it is when the call begins. A change
/// (`put_archive`, `remove`) is durable on this device and stored at providers when the call
/// returns, and goes on to its end even if the caller stops waiting once its data are in.
#[derive(Clone)]
pub struct Drive {
    inner: Arc<Inner>,
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
    ) -> Result<Drive, DriveError> {
        let inner = Inner::open(dir, keys, custody, heads).await?;
        // A put that was cut off by the end of the last process may have left segments.
        inner.keeper.mark_litter();
        let drive = Drive { inner };
        if let Err(error) = drive.refresh().await {
            tracing::warn!(%error, "the drive goes on with the head on this device");
        }
        Ok(drive)
    }

    /// Puts the files and folders of a tar stream into the folder `to`, which is made if need be.
    /// With `name`, the archive must have one root entry, and it is stored under this name.
    ///
    /// A file replaces a file of the same path, a folder is merged into one; a file against a
    /// folder fails with `exists`. Links, devices and entries with impossible names are left out
    /// and reported. Nothing is visible before everything is stored; on any error the drive is as
    /// it was. Dropping the future early gives the put up.
    pub async fn put_archive(
        &self,
        to: &DrivePath,
        name: Option<Name>,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<PutReport, DriveError> {
        let inner = &self.inner;
        let code = inner.keeper.custody().code().await?;
        inner.search_if_new().await;
        let snapshot = inner.snapshot().await;
        let segments = Segments::new(inner.keeper.custody().clone(), None);
        let there = match inner.objects.find(&segments, snapshot.content(), to).await {
            Ok(Found::Folder { folder, .. }) => Some(folder),
            Ok(Found::File { .. }) => {
                let path = to.to_string();
                return Err(DriveError::Exists { path, existing: "file", wanted: "folder" });
            }
            Err(DriveError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        drop(snapshot);
        let pending = inner.keeper.pending();
        let mut packer = Packer::new(pending.clone(), code);
        let upload = Upload::new(to.clone(), name, there);
        let read = upload.read(archive, &mut packer).await;
        let (staged, mut report) = match read {
            Ok(read) => read,
            Err(error) => {
                drop((packer, pending));
                inner.sweep_later();
                return Err(error);
            }
        };
        if staged.children.is_empty() {
            return Ok(report);
        }
        let (inner, to) = (inner.clone(), to.clone());
        let finishing = tokio::spawn(async move {
            let done = inner.commit_put(&to, staged, packer, pending).await;
            match done {
                Ok(segments) => {
                    report.segments = segments;
                    report.warnings.extend(inner.settle().await);
                    Ok(report)
                }
                Err(error) => {
                    inner.sweep_later();
                    Err(error)
                }
            }
        });
        finishing.await.map_err(stopped)?
    }

    /// Streams a file or a folder as a tar archive whose root entry is the last component of
    /// `path`; for `/`, the entries of the root folder. `prefer` is the provider to ask first.
    ///
    /// Fails with `not_found`, or when the first bytes cannot be had. What fails later ends the
    /// stream with an error whose inner error is a [`DriveError`].
    pub async fn get_archive(
        &self,
        path: &DrivePath,
        prefer: Option<NodeId>,
    ) -> Result<ArchiveReader, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await;
        let snapshot = inner.snapshot().await;
        let segments = Segments::new(inner.keeper.custody().clone(), prefer);
        let found = inner.objects.find(&segments, snapshot.content(), path).await?;
        let target = match (found, path.name()) {
            (Found::File { parent, at }, _) => Target::Entry { parent, at },
            (Found::Folder { folder, modified_ms }, Some(name)) => {
                Target::Folder { name: name.as_str().to_owned(), folder, modified_ms }
            }
            (Found::Folder { folder, .. }, None) => Target::Root(folder),
        };
        download::stream(inner.objects.clone(), segments, target, snapshot).await
    }

    /// The entries of a folder in the order of their names; a file lists itself.
    pub async fn list(&self, path: &DrivePath) -> Result<Vec<ListEntry>, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await;
        let snapshot = inner.snapshot().await;
        let segments = Segments::new(inner.keeper.custody().clone(), None);
        match inner.objects.find(&segments, snapshot.content(), path).await? {
            Found::File { parent, at } => Ok(vec![listed(path.clone(), &parent.entries[at])]),
            Found::Folder { folder, .. } => {
                folder.entries.iter().map(|entry| Ok(listed(path.join(entry.name.clone())?, entry))).collect()
            }
        }
    }

    /// Takes a file or a folder with all that is in it out of the drive, and has the space of
    /// their data freed. The root cannot be removed. Goes on to its end even if the caller stops
    /// waiting.
    pub async fn remove(&self, path: &DrivePath) -> Result<Removed, DriveError> {
        if path.is_root() {
            return Err(DriveError::RootRemoval);
        }
        let (inner, path) = (self.inner.clone(), path.clone());
        let removing = tokio::spawn(async move {
            inner.search_if_new().await;
            let mut removed = inner.commit_removal(&path).await.inspect_err(|error| {
                if !matches!(error, DriveError::NotFound(_)) {
                    inner.sweep_later();
                }
            })?;
            removed.warnings = inner.settle().await;
            Ok(removed)
        });
        removing.await.map_err(stopped)?
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
                "this drive has {forks} other histories, written by another device with the same phrase or brought back by someone; nothing of them was merged or deleted"
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
            written_ms: heads.current.as_ref().map(|head| head.content.written_ms),
            published: heads.is_announced(),
            forks: heads
                .forks
                .iter()
                .map(|fork| Fork {
                    sequence: fork.head.sequence,
                    hash: fork.hash,
                    written_ms: fork.content.written_ms,
                })
                .collect(),
            warnings: told,
        }
    }

    /// Looks for a newer head. An older one is ignored; another history is kept beside the
    /// current one. Fails with `head_unknown` when the search fails.
    pub async fn refresh(&self) -> Result<(), DriveError> {
        let _change = self.inner.change.lock().await;
        self.inner.search().await
    }

    /// Announces the current head if it was not yet, and has space freed that could not be freed
    /// before. Meant to be called now and then. True when the current head is announced.
    pub async fn republish(&self) -> Result<bool, DriveError> {
        let announced = self.inner.announce().await.is_ok();
        if self.inner.keeper.has_litter() {
            self.inner.sweep().await?;
        }
        Ok(announced)
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

    /// Every segment that the current head needs.
    pub async fn walk(&self) -> Result<HashSet<SegmentId>, DriveError> {
        let inner = &self.inner;
        let snapshot = inner.snapshot().await;
        let mut live = HashSet::new();
        if let Some(head) = snapshot.content() {
            let segments = Segments::new(inner.keeper.custody().clone(), None);
            inner.objects.live(&segments, head, &mut live).await?;
        }
        Ok(live)
    }
}

fn listed(path: DrivePath, entry: &Entry) -> ListEntry {
    let (kind, executable) = match &entry.node {
        EntryKind::File { executable, .. } => (ListKind::File, *executable),
        EntryKind::Folder(_) => (ListKind::Folder, false),
    };
    ListEntry {
        name: entry.name.as_str().to_owned(),
        path,
        kind,
        bytes: file_len(entry),
        modified_ms: entry.modified_ms,
        executable,
    }
}
