//! Earlier versions of files, and sums over what lies below a path.
//!
//! Invariant: restoring a version makes it the current one and keeps the one before it, so nothing is lost
//! by it.

use super::Drive;
use super::reading::id_of;
use super::storing::succeed;
use crate::changes::{FILES, Slot, edit};
use crate::error::DriveError;
use crate::located::{FileNode, Kind, Node, Past, PastVersion};
use crate::objects::Objects;
use crate::path::DrivePath;
use crate::report::{Info, Usage, VersionInfo};

/// All earlier versions of a file, newest first.
pub(super) async fn past(objects: &Objects, file: &FileNode) -> Result<Vec<PastVersion>, DriveError> {
    let mut versions = file.past.newer.clone();
    if let Some(older) = &file.past.object {
        let history = objects.history(&older.object.table, &older.object.object).await?;
        for version in &history.versions {
            versions.push(PastVersion::of(version, &history.table)?);
        }
    }
    Ok(versions)
}

/// One of them.
pub(super) async fn earlier(
    objects: &Objects,
    file: &FileNode,
    version: u64,
) -> Result<Option<PastVersion>, DriveError> {
    Ok(past(objects, file).await?.into_iter().find(|past| past.stored_ms == version))
}

impl Drive {
    pub(super) async fn earlier(
        &self,
        file: &FileNode,
        version: u64,
    ) -> Result<Option<PastVersion>, DriveError> {
        earlier(&self.inner.objects, file, version).await
    }

    /// The versions of a file, newest first; the first is the current one.
    pub async fn versions(&self, path: &DrivePath) -> Result<Vec<VersionInfo>, DriveError> {
        let inner = &self.inner;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let not_found = || DriveError::NotFound(path.to_string());
        let standing = inner.objects.find(&files, path).await?.ok_or_else(not_found)?;
        let node = standing.node()?;
        let Kind::File(file) = node.kind else {
            return Err(DriveError::NotFile(path.to_string(), "only files have versions"));
        };
        let mut versions = vec![VersionInfo {
            version: file.stored_ms,
            bytes: file.content.len(),
            modified_ms: node.modified_ms,
            content_id: id_of(file.stored_ms, &file.content),
            current: true,
            attributes: node.attributes,
        }];
        for past in past(&inner.objects, &file).await? {
            versions.push(VersionInfo {
                version: past.stored_ms,
                bytes: past.content.len(),
                modified_ms: past.modified_ms,
                content_id: id_of(past.stored_ms, &past.content),
                current: false,
                attributes: past.attributes,
            });
        }
        Ok(versions)
    }

    /// Makes an earlier version of a file the current one. The one before it is kept, and so is the one
    /// that is restored.
    pub async fn restore_version(&self, path: &DrivePath, version: u64) -> Result<Info, DriveError> {
        let of = path.clone();
        let keep = self.inner.options.versions_max > 0;
        let work = edit(move |changes| {
            Box::pin(async move {
                let (folder, name, node) = changes.file(FILES, &of).await?;
                let Kind::File(file) = &node.kind else { return Err(DriveError::NotFound(of.to_string())) };
                if file.stored_ms == version {
                    return Ok(());
                }
                let old = earlier(&changes.objects, file, version).await?;
                let old = old.ok_or_else(|| DriveError::NotFound(format!("version {version} of {of}")))?;
                let restored = Node {
                    modified_ms: old.modified_ms,
                    attributes: old.attributes,
                    kind: Kind::File(FileNode {
                        content: old.content,
                        executable: old.executable,
                        stored_ms: u64::try_from(changes.now_ms).unwrap_or(0),
                        past: Past::default(),
                    }),
                };
                changes.put(folder, name, Slot::Node(succeed(restored, Some(node), keep)));
                Ok(())
            })
        });
        self.change(None, work).await?;
        self.info(path).await
    }

    /// Gives up one earlier version of a file for good.
    pub async fn remove_version(&self, path: &DrivePath, version: u64) -> Result<(), DriveError> {
        let of = path.clone();
        let work = edit(move |changes| {
            Box::pin(async move {
                let (folder, name, mut node) = changes.file(FILES, &of).await?;
                let not_found = || DriveError::NotFound(format!("version {version} of {of}"));
                let Kind::File(file) = &mut node.kind else { return Err(not_found()) };
                let mut versions = past(&changes.objects, file).await?;
                let before = versions.len();
                versions.retain(|past| past.stored_ms != version);
                if versions.len() == before {
                    return Err(not_found());
                }
                file.past = Past { newer: versions, object: None };
                changes.put(folder, name, Slot::Node(node));
                Ok(())
            })
        });
        self.change(None, work).await
    }

    /// Sums over what lies below a path. Earlier versions are counted from what entries say of them.
    pub async fn usage(&self, path: &DrivePath) -> Result<Usage, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let mut usage = Usage::default();
        let count = |usage: &mut Usage, info: &Info| {
            usage.files += 1;
            usage.bytes = usage.bytes.saturating_add(info.bytes);
            usage.versions += info.versions;
            usage.versions_bytes = usage.versions_bytes.saturating_add(info.versions_bytes);
        };
        let mut folders = Vec::new();
        match inner.objects.find(&files, path).await? {
            None => folders.push(files),
            Some(standing) => match standing.node()?.kind {
                Kind::Folder(folder) => folders.push(folder),
                Kind::File(_) => count(&mut usage, &Info::of(path.clone(), standing.entry())),
            },
        }
        while let Some(folder) = folders.pop() {
            let mut scan = inner.objects.scan(&folder, None);
            while let Some(standing) = scan.next().await? {
                match standing.node()?.kind {
                    Kind::Folder(below) => {
                        usage.folders += 1;
                        folders.push(below);
                    }
                    Kind::File(_) => count(&mut usage, &Info::of(DrivePath::root(), standing.entry())),
                }
            }
        }
        Ok(usage)
    }
}
