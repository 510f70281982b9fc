//! Puts and gets of many files at once, as tar streams.
//!
//! Invariant: an archive is put whole or not at all, and is merged into what is there as one change.

use std::collections::BTreeMap;
use std::sync::Arc;

use commonhold_format::drive::{Attributes, Name};
use commonhold_format::ids::NodeId;
use tokio::io::AsyncRead;

use super::state::stopped;
use super::{Drive, DriveOptions};
use crate::changes::{Changes, FILES, Seen, Slot, edit, exists};
use crate::download::{self, ContentReader, Target};
use crate::error::DriveError;
use crate::located::{Content, FileNode, FolderNode, Kind, Located, Node, Past, Table};
use crate::objects::Objects;
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::reader::{OWN_CACHE_BYTES_MAX, Segments};
use crate::report::PutReport;
use crate::staging::{StagedContent, StagedFile, StagedFolder, StagedNode};
use crate::upload::Upload;

impl Drive {
    /// Puts the files and folders of a tar stream into the folder `to`, which is made if need be.
    /// With `name`, the archive must have one root entry, and it is stored under this name.
    ///
    /// A file replaces a file of the same path, which is kept as an earlier version; a folder is merged
    /// into one; a file against a folder fails with `exists`. Links, devices and entries with impossible
    /// names are left out and reported. Nothing is visible before everything is stored; on any error the
    /// drive is as it was. Dropping the future early gives the put up.
    pub async fn put_archive(
        &self,
        to: &DrivePath,
        name: Option<Name>,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<PutReport, DriveError> {
        let inner = &self.inner;
        let code = inner.keeper.custody().code().await?;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let there = match inner.objects.find_folder(&files, to).await {
            Ok(Some(folder)) => Some(folder),
            Ok(None) => return Err(exists(to, "file", "folder")),
            Err(DriveError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let pending = inner.keeper.pending();
        let mut packer = Packer::new(pending.clone(), code);
        let upload = Upload::new(to.clone(), name, there, inner.objects.clone());
        let read = async {
            let read = upload.read(archive, &mut packer).await?;
            Ok((read, packer.flush().await?))
        };
        let read = read.await;
        drop(snapshot);
        let ((staged, mut report), table) = match read {
            Ok(read) => read,
            Err(error) => {
                drop((packer, pending));
                inner.sweep_later();
                return Err(error);
            }
        };
        report.segments = packer.flushed();
        drop(packer);
        if staged.children.is_empty() {
            return Ok(report);
        }
        let (inner, to) = (inner.clone(), to.clone());
        let finishing = tokio::spawn(async move {
            let keep = inner.options;
            let merging =
                edit(move |changes| Box::pin(async move { merge(changes, &to, staged, &table, keep).await }));
            match inner.commit(Some(pending), merging).await {
                Ok(((), segments)) => {
                    report.segments += segments;
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
    ) -> Result<ContentReader, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let objects = match prefer {
            None => inner.objects.clone(),
            Some(_) => {
                let custody = inner.keeper.custody().clone();
                inner.objects.over(Segments::new(custody, prefer, OWN_CACHE_BYTES_MAX))
            }
        };
        let target = target(&objects, files, path).await?;
        download::stream(objects, target, snapshot).await
    }
}

/// What an archive of a path below `root` has.
pub(super) async fn target(
    objects: &Objects,
    root: FolderNode,
    path: &DrivePath,
) -> Result<Target, DriveError> {
    let Some(standing) = objects.find(&root, path).await? else { return Ok(Target::Contents(root)) };
    let (name, node) = (standing.entry().name.as_str().to_owned(), standing.node()?);
    Ok(match node.kind {
        Kind::File(_) => Target::File { name, node },
        Kind::Folder(folder) => Target::Folder { name, folder, modified_ms: node.modified_ms },
    })
}

/// Merges what was staged into the folder at `to`.
async fn merge(
    changes: &mut Changes,
    to: &DrivePath,
    staged: StagedFolder,
    table: &Table,
    keep: DriveOptions,
) -> Result<(), DriveError> {
    let root = changes.folder_made(FILES, to).await?;
    let mut waiting = vec![(root, to.clone(), staged)];
    while let Some((folder, path, staged)) = waiting.pop() {
        for (name, child) in staged.children {
            let seen = changes.see(folder, &name).await?;
            match (child, seen) {
                (StagedNode::File(_), Some(Seen::Folder(_))) => {
                    return Err(exists(&path.join(name)?, "folder", "file"));
                }
                (StagedNode::Folder(_), Some(Seen::File(_))) => {
                    return Err(exists(&path.join(name)?, "file", "folder"));
                }
                (StagedNode::File(file), old) => {
                    let old = match old {
                        Some(Seen::File(old)) => Some(old),
                        _ => None,
                    };
                    let node = located(file, table, changes.now_ms);
                    let node = super::storing::succeed(node, old, keep.versions_max > 0);
                    changes.put(folder, name, Slot::Node(node));
                }
                (StagedNode::Folder(child), seen) => {
                    let at = match seen {
                        Some(Seen::Folder(at)) => {
                            if let Some(dated) = child.modified_ms
                                && changes.folders[at].modified_ms != dated
                            {
                                *changes.entry_of(at).0 = dated;
                            }
                            at
                        }
                        _ => {
                            let dated = child.modified_ms.unwrap_or(changes.now_ms);
                            changes.make_folder(folder, name.clone(), dated)
                        }
                    };
                    waiting.push((at, path.join(name)?, child));
                }
            }
        }
    }
    Ok(())
}

fn located(file: StagedFile, table: &Table, now_ms: i64) -> Node {
    let content = match file.content {
        StagedContent::Inline(bytes) => Content::Inline(bytes),
        StagedContent::Stored(object) => Content::Direct(Located { object, table: Arc::clone(table) }),
    };
    Node {
        modified_ms: file.modified_ms,
        attributes: Attributes::from(BTreeMap::new()),
        kind: Kind::File(FileNode {
            content,
            executable: file.executable,
            stored_ms: u64::try_from(now_ms).unwrap_or(0),
            past: Past::default(),
        }),
    }
}
