//! The owner's drive as the gateway asks for it: translates between texts and types. No decision is made
//! here.

use std::ops::Range;

use commonhold_client::types::{
    self, Attributes, BinEmptied, BinEmptyRequest, BinItem, BinRestoreRequest, BinView, CheckReport,
    CheckRequest, CompleteRequest, FileEntry, FileInfo, FileKind, Found, HeadView, HeadsView, Listing,
    Merged, MoveRequest, PartView, Removed, RestoreVersionRequest, ShareRequest, ShareView, SharesView,
    UploadRequest, UploadView, UploadsView, UsageView, VersionView, VersionsView,
};
use commonhold_drive::{
    Complete, Drive, DrivePath, Info, ListKind, NewFile as Storing, OnlyIf as Condition, PartInfo,
    Replaced as Fate, UploadId, UploadInfo, Usage,
};
use commonhold_format::drive::Name;
use commonhold_gateway::{
    Answer, ApiFault, ArchiveReader, DriveApi, NewFile, OnlyIf, OpenFile, RemovedTo, Replaced,
};
use data_encoding::HEXLOWER;

use super::{Api, drive_fault, fault};
use crate::clock::unix_milliseconds;

fn parsed(path: &str) -> Result<DrivePath, ApiFault> {
    path.parse().map_err(drive_fault)
}

fn name_of(text: &str) -> Result<Name, ApiFault> {
    Name::new(text).map_err(|error| fault("bad_path", error.to_string()))
}

fn kind(kind: ListKind) -> FileKind {
    match kind {
        ListKind::File => FileKind::File,
        ListKind::Folder => FileKind::Folder,
    }
}

/// A line of a listing.
pub fn entry_view(info: &Info) -> FileEntry {
    FileEntry {
        name: info.name().to_owned(),
        path: info.path.to_string(),
        kind: kind(info.kind),
        bytes: info.bytes,
        modified_ms: info.modified_ms,
        executable: info.executable,
    }
}

fn info_view(info: Info) -> FileInfo {
    FileInfo {
        entry: entry_view(&info),
        version: info.version,
        versions: info.versions,
        content_id: match info.kind {
            ListKind::File => HEXLOWER.encode(&info.content_id),
            ListKind::Folder => String::new(),
        },
        files: info.files,
        children: info.children,
        attributes: info.attributes,
    }
}

fn condition(only_if: OnlyIf) -> Result<Condition, ApiFault> {
    Ok(match only_if {
        OnlyIf::Always => Condition::Always,
        OnlyIf::Absent => Condition::Absent,
        OnlyIf::Content(id) => {
            let bytes = HEXLOWER.decode(id.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            // What is no content id is the id of no content.
            Condition::Content(bytes.ok_or_else(|| fault("precondition", "no file has this content"))?)
        }
    })
}

fn fate(replaced: Replaced) -> Fate {
    match replaced {
        Replaced::Kept => Fate::Kept,
        Replaced::Gone => Fate::Gone,
    }
}

fn usage_view(path: String, usage: Usage) -> UsageView {
    UsageView {
        path,
        files: usage.files,
        folders: usage.folders,
        bytes: usage.bytes,
        versions: usage.versions,
        versions_bytes: usage.versions_bytes,
        children: Vec::new(),
    }
}

fn part_view(number: u32, part: &PartInfo) -> PartView {
    PartView { number, bytes: part.bytes, md5: HEXLOWER.encode(&part.md5), stored_ms: part.stored_ms }
}

fn upload_view(upload: UploadInfo) -> UploadView {
    UploadView {
        id: upload.id.to_string(),
        path: upload.path.to_string(),
        begun_ms: upload.begun_ms,
        parts: upload.parts.iter().map(|(number, part)| part_view(*number, part)).collect(),
        attributes: upload.attributes,
    }
}

fn upload_id(text: &str) -> Result<UploadId, ApiFault> {
    UploadId::parse(text).ok_or_else(|| ApiFault::not_found(format!("the upload {text}")))
}

fn removed_view(removed: commonhold_drive::Removed) -> Removed {
    Removed { path: removed.path, files: removed.files, bytes: removed.bytes, warnings: removed.warnings }
}

fn head_view(head: &commonhold_drive::Fork) -> HeadView {
    HeadView {
        hash: HEXLOWER.encode(&head.hash),
        sequence: head.sequence,
        written_ms: head.written_ms,
        files: head.files,
        bytes: head.bytes,
    }
}

/// The other history whose hash begins with `digits`.
async fn fork(drive: &Drive, digits: &str) -> Result<[u8; 32], ApiFault> {
    let digits = digits.to_ascii_lowercase();
    if digits.len() < 8 {
        return Err(ApiFault::invalid("a history is named by at least 8 digits of its hash"));
    }
    let forks = drive.status().await.forks;
    let mut named = forks.iter().filter(|fork| HEXLOWER.encode(&fork.hash).starts_with(&digits));
    match (named.next(), named.next()) {
        (Some(fork), None) => Ok(fork.hash),
        (None, _) => Err(ApiFault::not_found("there is no other history with this hash")),
        (Some(_), Some(_)) => Err(ApiFault::invalid("several histories begin with these digits")),
    }
}

impl Api {
    fn drive(&self) -> Result<&Drive, ApiFault> {
        Ok(&self.owner()?.1)
    }
}

impl DriveApi for Api {
    fn info(&self, path: String) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let info = self.drive()?.info(&parsed(&path)?).await.map_err(drive_fault)?;
            Ok(info_view(info))
        })
    }

    fn list_page(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, Listing> {
        Box::pin(async move {
            let path = parsed(&path)?;
            let after = after.as_deref().map(name_of).transpose()?;
            let (listed, more) = self.drive()?.list(&path, after, limit).await.map_err(drive_fault)?;
            let next = if more { listed.last().map(|info| info.name().to_owned()) } else { None };
            Ok(Listing { path: path.to_string(), entries: listed.iter().map(entry_view).collect(), next })
        })
    }

    fn infos(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, (Vec<FileInfo>, bool)> {
        Box::pin(async move {
            let path = parsed(&path)?;
            let after = after.as_deref().map(name_of).transpose()?;
            let drive = self.drive()?;
            if !drive.info(&path).await.map_err(drive_fault)?.is_folder() {
                return Err(ApiFault::not_found(format!("{path} is no folder")));
            }
            let (listed, more) = drive.list(&path, after, limit).await.map_err(drive_fault)?;
            Ok((listed.into_iter().map(info_view).collect(), more))
        })
    }

    fn find(
        &self,
        path: String,
        name: Option<String>,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Found> {
        Box::pin(async move {
            let (path, after) = (parsed(&path)?, after.as_deref().map(parsed).transpose()?);
            let wanted = name.map(|name| name.to_lowercase());
            let takes =
                |name: &str| wanted.as_ref().is_none_or(|wanted| name.to_lowercase().contains(wanted));
            let (found, next) = self.drive()?.find(&path, after, limit, takes).await.map_err(drive_fault)?;
            let entries = found.iter().map(entry_view).collect();
            Ok(Found { entries, next: next.map(|next| next.to_string()) })
        })
    }

    fn open(&self, path: String, version: Option<u64>, range: Option<Range<u64>>) -> Answer<'_, OpenFile> {
        Box::pin(async move {
            let open = self.drive()?.open_file(&parsed(&path)?, version, range).await.map_err(drive_fault)?;
            Ok(OpenFile { info: info_view(open.info), range: open.range, content: open.content })
        })
    }

    fn store(&self, file: NewFile, content: ArchiveReader) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let storing = Storing {
                path: parsed(&file.path)?,
                len: file.len,
                modified_ms: file.modified_ms,
                executable: file.executable,
                attributes: file.attributes,
                only_if: condition(file.only_if)?,
                replaced: fate(file.replaced),
            };
            Ok(info_view(self.drive()?.store(storing, content).await.map_err(drive_fault)?))
        })
    }

    fn make_folder(&self, path: String) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            Ok(info_view(self.drive()?.make_folder(&parsed(&path)?).await.map_err(drive_fault)?))
        })
    }

    fn set_attributes(&self, path: String, attributes: Attributes) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let changed = self.drive()?.set_attributes(&parsed(&path)?, attributes, Condition::Always).await;
            Ok(info_view(changed.map_err(drive_fault)?))
        })
    }

    fn set_attributes_if(
        &self,
        path: String,
        attributes: Attributes,
        only_if: OnlyIf,
    ) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let only_if = condition(only_if)?;
            let changed = self.drive()?.set_attributes(&parsed(&path)?, attributes, only_if).await;
            Ok(info_view(changed.map_err(drive_fault)?))
        })
    }

    fn move_to(&self, request: MoveRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let (from, to) = (parsed(&request.from)?, parsed(&request.to)?);
            let moved = self.drive()?.rename(&from, &to, request.replace).await;
            Ok(info_view(moved.map_err(drive_fault)?))
        })
    }

    fn copy_to(
        &self,
        request: MoveRequest,
        version: Option<u64>,
        attributes: Option<Attributes>,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let (from, to) = (parsed(&request.from)?, parsed(&request.to)?);
            let replace = request.replace.then(|| fate(replaced));
            let copied = self.drive()?.copy(&from, &to, version, attributes, replace).await;
            Ok(info_view(copied.map_err(drive_fault)?))
        })
    }

    fn remove_to(&self, path: String, to: RemovedTo) -> Answer<'_, Removed> {
        Box::pin(async move {
            let to_bin = to == RemovedTo::Bin;
            // What goes for good is asked for to free space, and has done so then.
            let removed = self.drive()?.remove(&parsed(&path)?, to_bin, !to_bin).await;
            Ok(removed_view(removed.map_err(drive_fault)?))
        })
    }

    fn remove_file(&self, path: String, to: RemovedTo, only_if: OnlyIf) -> Answer<'_, Removed> {
        Box::pin(async move {
            let (to_bin, only_if) = (to == RemovedTo::Bin, condition(only_if)?);
            let removed = self.drive()?.remove_file(&parsed(&path)?, to_bin, only_if).await;
            Ok(removed_view(removed.map_err(drive_fault)?))
        })
    }

    fn remove_empty_folder(&self, path: String) -> Answer<'_, Removed> {
        Box::pin(async move {
            self.drive()?.remove_empty_folder(&parsed(&path)?).await.map_err(drive_fault)?;
            Ok(Removed { path, ..Removed::default() })
        })
    }

    fn bin(&self) -> Answer<'_, BinView> {
        Box::pin(async move {
            let items = self.drive()?.bin().await.map_err(drive_fault)?;
            let items = items
                .into_iter()
                .map(|item| BinItem {
                    id: item.id,
                    path: item.path,
                    kind: kind(item.info.kind),
                    files: item.info.files,
                    bytes: item.info.bytes,
                    removed_ms: item.removed_ms,
                })
                .collect();
            let keep = self.keep_removed_seconds;
            Ok(BinView { items, keep_seconds: (keep > 0).then_some(keep) })
        })
    }

    fn restore_from_bin(&self, request: BinRestoreRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let to = request.to.as_deref().map(parsed).transpose()?;
            let restored = self.drive()?.restore_from_bin(&request.id, to).await;
            Ok(info_view(restored.map_err(drive_fault)?))
        })
    }

    fn empty_bin(&self, request: BinEmptyRequest) -> Answer<'_, BinEmptied> {
        Box::pin(async move {
            let before = request.older_than_seconds.map(|seconds| {
                let age = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
                i64::try_from(unix_milliseconds()).unwrap_or(i64::MAX).saturating_sub(age)
            });
            let (items, removed) = self.drive()?.empty_bin(request.ids, before).await.map_err(drive_fault)?;
            Ok(BinEmptied { items, files: removed.files, bytes: removed.bytes, warnings: removed.warnings })
        })
    }

    fn versions(&self, path: String) -> Answer<'_, VersionsView> {
        Box::pin(async move {
            let versions = self.drive()?.versions(&parsed(&path)?).await.map_err(drive_fault)?;
            let versions = versions
                .into_iter()
                .map(|version| VersionView {
                    version: version.version,
                    bytes: version.bytes,
                    modified_ms: version.modified_ms,
                    content_id: HEXLOWER.encode(&version.content_id),
                    current: version.current,
                    attributes: version.attributes,
                })
                .collect();
            Ok(VersionsView { path, versions })
        })
    }

    fn restore_version(&self, request: RestoreVersionRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let restored = self.drive()?.restore_version(&parsed(&request.path)?, request.version).await;
            Ok(info_view(restored.map_err(drive_fault)?))
        })
    }

    fn remove_version(&self, path: String, version: u64) -> Answer<'_, ()> {
        Box::pin(
            async move { self.drive()?.remove_version(&parsed(&path)?, version).await.map_err(drive_fault) },
        )
    }

    fn usage(&self, path: String, children: bool) -> Answer<'_, UsageView> {
        Box::pin(async move {
            let (drive, at) = (self.drive()?, parsed(&path)?);
            let mut view = usage_view(path, drive.usage(&at).await.map_err(drive_fault)?);
            if children && drive.info(&at).await.map_err(drive_fault)?.is_folder() {
                let (listed, _) = drive.list(&at, None, types::LIST_MAX).await.map_err(drive_fault)?;
                for child in listed {
                    let usage = drive.usage(&child.path).await.map_err(drive_fault)?;
                    view.children.push(usage_view(child.path.to_string(), usage));
                }
            }
            Ok(view)
        })
    }

    fn heads(&self) -> Answer<'_, HeadsView> {
        Box::pin(async move {
            let drive = self.drive()?;
            // What another device has announced is wanted here, if anywhere; without peers it is told.
            let _ = drive.refresh().await;
            let status = drive.status().await;
            Ok(HeadsView {
                current: status.current.as_ref().map(head_view),
                announced: status.published,
                forks: status.forks.iter().map(head_view).collect(),
            })
        })
    }

    fn merge(&self, hash: String) -> Answer<'_, Merged> {
        Box::pin(async move {
            let drive = self.drive()?;
            let hash = fork(drive, &hash).await?;
            let merged = drive.merge(&hash).await.map_err(drive_fault)?;
            Ok(Merged {
                added: merged.added,
                conflicts: merged.conflicts,
                removed: merged.removed,
                with_ancestor: merged.with_ancestor,
                warnings: merged.warnings,
            })
        })
    }

    fn forget(&self, hash: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let drive = self.drive()?;
            let hash = fork(drive, &hash).await?;
            drive.forget_fork(&hash).await.map_err(drive_fault)?;
            Ok(())
        })
    }

    fn begin(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.drive()?.begin().await.map_err(drive_fault) })
    }

    fn check_drive(&self, request: CheckRequest) -> Answer<'_, CheckReport> {
        Box::pin(async move {
            let (owner, drive) = self.owner()?;
            let path = request.path.as_deref().map(parsed).transpose()?;
            crate::redundancy::check(owner, drive, path.as_ref(), request.repair).await
        })
    }

    fn begin_upload(&self, request: UploadRequest) -> Answer<'_, UploadView> {
        Box::pin(async move {
            let path = parsed(&request.path)?;
            let begun = self.drive()?.begin_upload(path, request.attributes).await;
            Ok(upload_view(begun.map_err(drive_fault)?))
        })
    }

    fn uploads(&self) -> Answer<'_, UploadsView> {
        Box::pin(async move {
            let mut uploads: Vec<UploadView> = self.drive()?.uploads().into_iter().map(upload_view).collect();
            uploads.sort_by_key(|upload| std::cmp::Reverse(upload.begun_ms));
            Ok(UploadsView { uploads })
        })
    }

    fn upload(&self, id: String) -> Answer<'_, UploadView> {
        Box::pin(async move { Ok(upload_view(self.drive()?.upload(upload_id(&id)?).map_err(drive_fault)?)) })
    }

    fn store_part(&self, id: String, number: u32, len: u64, content: ArchiveReader) -> Answer<'_, PartView> {
        Box::pin(async move {
            let stored = self.drive()?.store_part(upload_id(&id)?, number, len, content).await;
            Ok(part_view(number, &stored.map_err(drive_fault)?))
        })
    }

    fn copy_part(
        &self,
        id: String,
        number: u32,
        from: String,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Answer<'_, PartView> {
        Box::pin(async move {
            let (id, from) = (upload_id(&id)?, parsed(&from)?);
            let stored = self.drive()?.copy_part(id, number, &from, version, range).await;
            Ok(part_view(number, &stored.map_err(drive_fault)?))
        })
    }

    fn complete_upload(
        &self,
        id: String,
        request: CompleteRequest,
        attributes: Attributes,
        only_if: OnlyIf,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let complete = Complete {
                parts: request.parts,
                modified_ms: request.modified_ms,
                executable: request.executable,
                attributes,
                only_if: condition(only_if)?,
                replaced: fate(replaced),
            };
            let completed = self.drive()?.complete_upload(upload_id(&id)?, complete).await;
            Ok(info_view(completed.map_err(drive_fault)?))
        })
    }

    fn abort_upload(&self, id: String) -> Answer<'_, ()> {
        Box::pin(async move { self.drive()?.abort_upload(upload_id(&id)?).await.map_err(drive_fault) })
    }

    fn shares(&self) -> Answer<'_, SharesView> {
        Box::pin(async move {
            let drive = self.drive()?;
            self.links.shares(drive).await.map(|shares| SharesView { shares })
        })
    }

    fn share(&self, request: ShareRequest) -> Answer<'_, ShareView> {
        Box::pin(async move {
            let drive = self.drive()?;
            self.links.share(drive, request).await
        })
    }

    fn unshare(&self, id: String) -> Answer<'_, ShareView> {
        Box::pin(async move {
            let drive = self.drive()?;
            self.links.unshare(drive, &id).await
        })
    }
}
