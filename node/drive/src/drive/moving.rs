//! Making folders, and giving what is there another name, other attributes, another place, or none.
//!
//! Invariant: moving and copying change names alone; nothing is downloaded or sent again for it.

use commonhold_format::drive::Attributes;

use super::Drive;
use super::storing::{OnlyIf, Replaced, check, succeed};
use crate::changes::{Changes, FILES, Seen, Slot, edit, exists};
use crate::error::DriveError;
use crate::located::{Kind, Node, Past};
use crate::packer::random;
use crate::path::DrivePath;
use crate::report::{Info, Removed};

impl Drive {
    /// Makes a folder and those above it. One that is there stays as it is.
    pub async fn make_folder(&self, path: &DrivePath) -> Result<Info, DriveError> {
        let to = path.clone();
        self.change(None, move |changes| Box::pin(async move { changes.folder_made(FILES, &to).await }))
            .await?;
        self.info(path).await
    }

    /// Puts attributes in the place of those of a file or folder.
    pub async fn set_attributes(
        &self,
        path: &DrivePath,
        attributes: Attributes,
        only_if: OnlyIf,
    ) -> Result<Info, DriveError> {
        let of = path.clone();
        self.change(None, move |changes| {
            Box::pin(async move {
                let (folder, name) = changes.parent(FILES, &of).await?;
                match changes.see(folder, name).await? {
                    None => Err(DriveError::NotFound(of.to_string())),
                    Some(Seen::Folder(at)) => {
                        if only_if != OnlyIf::Always {
                            return Err(DriveError::Precondition(of.to_string()));
                        }
                        *changes.entry_of(at).1 = attributes;
                        Ok(())
                    }
                    Some(Seen::File(mut node)) => {
                        check(&of, only_if, Some(&node))?;
                        node.attributes = attributes;
                        changes.put(folder, name.clone(), Slot::Node(node));
                        Ok(())
                    }
                }
            })
        })
        .await?;
        self.info(path).await
    }

    /// Moves a file or folder with its versions to a path at which nothing stands, or, with `replace`, to
    /// that of a file, which becomes an earlier version of a file.
    pub async fn rename(&self, from: &DrivePath, to: &DrivePath, replace: bool) -> Result<Info, DriveError> {
        if from == to {
            return self.info(from).await;
        }
        if from.is_root() || to.names().starts_with(from.names()) {
            let why = "a folder cannot be moved into itself".to_owned();
            return Err(DriveError::BadPath { path: to.to_string(), why });
        }
        let (source, target) = (from.clone(), to.clone());
        let keep = self.inner.options.versions_max > 0;
        self.change(None, move |changes| {
            Box::pin(async move {
                let (folder, name) = changes.parent(FILES, &source).await?;
                let slot = changes.take(folder, name).await?;
                let slot = slot.ok_or_else(|| DriveError::NotFound(source.to_string()))?;
                arrive(changes, &target, slot, replace, keep).await
            })
        })
        .await?;
        self.info(to).await
    }

    /// Copies a file or folder without its versions; of a file, one of its versions, if that is named.
    /// `attributes` take the place of a file's own.
    pub async fn copy(
        &self,
        from: &DrivePath,
        to: &DrivePath,
        version: Option<u64>,
        attributes: Option<Attributes>,
        replace: Option<Replaced>,
    ) -> Result<Info, DriveError> {
        if from.is_root() || (to != from && to.names().starts_with(from.names())) {
            let why = "a folder cannot be copied into itself".to_owned();
            return Err(DriveError::BadPath { path: to.to_string(), why });
        }
        let (source, target) = (from.clone(), to.clone());
        let kept = self.inner.options.versions_max > 0 && replace != Some(Replaced::Gone);
        self.change(None, move |changes| {
            Box::pin(async move {
                let not_found = || DriveError::NotFound(source.to_string());
                let (folder, name) = changes.parent(FILES, &source).await?;
                let slot = changes.slot(folder, name).await?.ok_or_else(not_found)?;
                let Slot::Node(mut node) = slot else {
                    let why = "it is being changed at this moment: try again".to_owned();
                    return Err(DriveError::Internal(why));
                };
                if let Kind::File(file) = &mut node.kind {
                    if let Some(version) = version.filter(|version| *version != file.stored_ms) {
                        let old = super::history::earlier(&changes.objects, file, version).await?;
                        let old = old.ok_or_else(not_found)?;
                        (file.content, file.executable) = (old.content, old.executable);
                        (node.modified_ms, node.attributes) = (old.modified_ms, old.attributes);
                    }
                    file.past = Past::default();
                    file.stored_ms = u64::try_from(changes.now_ms).unwrap_or(0);
                    if let Some(attributes) = attributes {
                        node.attributes = attributes;
                    }
                }
                arrive(changes, &target, Slot::Node(node), replace.is_some(), kept).await
            })
        })
        .await?;
        self.info(to).await
    }

    /// Takes a file or folder with all that is in it out of the drive: into the bin, or for good. What is
    /// gone for good frees space: with `wait`, before this returns. The root cannot be removed.
    pub async fn remove(&self, path: &DrivePath, to_bin: bool, wait: bool) -> Result<Removed, DriveError> {
        if path.is_root() {
            return Err(DriveError::RootRemoval);
        }
        self.inner.search_if_new().await?;
        let of = path.clone();
        let mut salt = [0; 4];
        random(&mut salt)?;
        let work = edit(move |changes| {
            Box::pin(async move {
                let (folder, name) = changes.parent(FILES, &of).await?;
                let slot = changes.slot(folder, name).await?;
                let slot = slot.ok_or_else(|| DriveError::NotFound(of.to_string()))?;
                let totals = changes.measure(&slot).await?;
                changes.take(folder, name).await?;
                if to_bin {
                    super::bin::throw(changes, &of, slot, salt)?;
                }
                let (files, bytes) = (totals.files, totals.bytes);
                Ok(Removed { path: of.to_string(), files, bytes, warnings: Vec::new() })
            })
        });
        if !wait {
            return self.change(None, work).await;
        }
        let inner = self.inner.clone();
        // The caller may stop waiting; what was begun goes on to its end.
        let removing = tokio::spawn(async move {
            let (mut removed, _) = inner.commit(None, work).await.inspect_err(|_| inner.sweep_later())?;
            removed.warnings = inner.settle().await;
            Ok(removed)
        });
        removing.await.map_err(super::stopped)?
    }

    /// Removes a file that meets a condition; `exists` for a folder. Space is freed in the background.
    pub async fn remove_file(
        &self,
        path: &DrivePath,
        to_bin: bool,
        only_if: OnlyIf,
    ) -> Result<Removed, DriveError> {
        let of = path.clone();
        let mut salt = [0; 4];
        random(&mut salt)?;
        let work = edit(move |changes| {
            Box::pin(async move {
                let (folder, name) = changes.parent(FILES, &of).await?;
                let (name, node) = match changes.see(folder, name).await? {
                    Some(Seen::File(node)) => (name.clone(), node),
                    Some(Seen::Folder(_)) => return Err(exists(&of, "folder", "file")),
                    None => return Err(DriveError::NotFound(of.to_string())),
                };
                check(&of, only_if, Some(&node))?;
                let bytes = node.totals().bytes;
                changes.take(folder, &name).await?;
                if to_bin {
                    super::bin::throw(changes, &of, Slot::Node(node), salt)?;
                }
                Ok(Removed { path: of.to_string(), files: 1, bytes, warnings: Vec::new() })
            })
        });
        self.change(None, work).await
    }

    /// Removes a folder if nothing is in it; else `not_empty`.
    pub async fn remove_empty_folder(&self, path: &DrivePath) -> Result<(), DriveError> {
        if path.is_root() {
            return Err(DriveError::RootRemoval);
        }
        let of = path.clone();
        self.change(None, move |changes| {
            Box::pin(async move {
                let (folder, name) = changes.parent(FILES, &of).await?;
                match changes.see(folder, name).await? {
                    Some(Seen::Folder(at)) if changes.is_empty(at).await? => {
                        changes.take(folder, name).await?;
                        Ok(())
                    }
                    Some(Seen::Folder(_)) => Err(DriveError::NotEmpty(of.to_string())),
                    _ => Err(DriveError::NotFound(of.to_string())),
                }
            })
        })
        .await
    }
}

/// Puts something at a path in the place of nothing, or, with `replace`, of a file.
pub(super) async fn arrive(
    changes: &mut Changes,
    to: &DrivePath,
    slot: Slot,
    replace: bool,
    keep: bool,
) -> Result<(), DriveError> {
    let is_file = matches!(&slot, Slot::Node(Node { kind: Kind::File(_), .. }));
    let wanted = if is_file { "file" } else { "folder" };
    let name = to.name().cloned().ok_or_else(|| exists(to, "folder", wanted))?;
    let folder = changes.folder_made(FILES, &to.parent().unwrap_or_default()).await?;
    let slot = match (changes.see(folder, &name).await?, slot) {
        (None, slot) => slot,
        (Some(Seen::File(old)), Slot::Node(node)) if replace && is_file => {
            Slot::Node(succeed(node, Some(old), keep))
        }
        (Some(Seen::File(_)), _) => return Err(exists(to, "file", wanted)),
        (Some(Seen::Folder(_)), _) => return Err(exists(to, "folder", wanted)),
    };
    changes.put(folder, name, slot);
    Ok(())
}
