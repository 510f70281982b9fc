//! Looking at files and folders, searching, and reading files.
//!
//! Invariant: each call works on one head, the one that stood when it began, and looks at a bounded number
//! of entries. Nothing here changes the drive.

use std::ops::Range;

use commonhold_format::drive::{Attributes, FileContent, Name};

use super::Drive;
use crate::download::{self, ContentReader, Target};
use crate::error::DriveError;
use crate::located::{Content, FolderNode, Kind};
use crate::objects::Objects;
use crate::path::DrivePath;
use crate::report::{Info, ListKind, content_id};

/// Most entries that one search looks at.
const FIND_LOOKS_MAX: usize = 20_000;

/// A file that is being read.
pub struct OpenFile {
    /// What it is; of an earlier version, what that one was.
    pub info: Info,
    /// The bytes that `content` has.
    pub range: Range<u64>,
    /// Exactly these bytes, or an error before their end. The first of them have been fetched.
    pub content: ContentReader,
}

impl Drive {
    /// One file or folder. The root is a folder without a name or time of its own.
    pub async fn info(&self, path: &DrivePath) -> Result<Info, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        match inner.objects.find(&files, path).await? {
            Some(standing) => Ok(Info::of(path.clone(), standing.entry())),
            None => Ok(root_info(&files, snapshot.written_ms())),
        }
    }

    /// The entries of a folder in the order of their names, those after `after`, at most `limit`; a file
    /// lists itself. The second is whether there are more.
    pub async fn list(
        &self,
        path: &DrivePath,
        after: Option<Name>,
        limit: usize,
    ) -> Result<(Vec<Info>, bool), DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        list_in(&inner.objects, files, path, after, limit).await
    }

    /// Entries below a folder, depth first in the order of names, whose names `wanted` takes; those after the
    /// path `after`. At most `limit`, and no more than a bounded number is looked at: the second is where to
    /// go on, none at the end.
    pub async fn find(
        &self,
        path: &DrivePath,
        after: Option<DrivePath>,
        limit: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Info>, Option<DrivePath>), DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let folder = inner.objects.find_folder(&files, path).await?;
        let folder = folder.ok_or_else(|| DriveError::NotFound(path.to_string()))?;
        // The names of `after` below `path`: each level goes on after its own, and into that one first.
        let depth = path.names().len();
        let mut resume: Vec<Name> = match &after {
            Some(after) if after.names().len() > depth && after.names()[..depth] == *path.names() => {
                after.names()[depth..].to_vec()
            }
            _ => Vec::new(),
        };
        let mut open = vec![(path.clone(), inner.objects.scan(&folder, None))];
        if !resume.is_empty() {
            open.clear();
            let (mut at, mut folder) = (path.clone(), folder);
            for name in std::mem::take(&mut resume) {
                open.push((at.clone(), inner.objects.scan(&folder, Some(name.clone()))));
                at = at.join(name.clone())?;
                match inner.objects.lookup(&folder, &name).await? {
                    Some(standing) => match standing.node()?.kind {
                        Kind::Folder(below) => folder = below,
                        Kind::File(_) => folder = FolderNode::default(),
                    },
                    // It was removed meanwhile.
                    None => folder = FolderNode::default(),
                }
            }
            // What is in the last one was not looked at yet.
            open.push((at, inner.objects.scan(&folder, None)));
        }
        let (mut found, mut looks, mut last) = (Vec::new(), 0, None);
        while let Some((above, scan)) = open.last_mut() {
            let Some(standing) = scan.next().await? else {
                open.pop();
                continue;
            };
            if found.len() == limit || looks == FIND_LOOKS_MAX {
                return Ok((found, last));
            }
            looks += 1;
            let entry = standing.entry();
            let path = above.join(entry.name.clone())?;
            if wanted(entry.name.as_str()) {
                found.push(Info::of(path.clone(), entry));
            }
            last = Some(path.clone());
            if let Kind::Folder(below) = standing.node()?.kind {
                let scan = inner.objects.scan(&below, None);
                open.push((path, scan));
            }
        }
        Ok((found, None))
    }

    /// Opens a file, or one of its earlier versions, for some of its bytes: `range` is cut to its length.
    pub async fn open_file(
        &self,
        path: &DrivePath,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Result<OpenFile, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let not_found = || DriveError::NotFound(path.to_string());
        let standing = inner.objects.find(&files, path).await?.ok_or_else(not_found)?;
        let mut info = Info::of(path.clone(), standing.entry());
        let Kind::File(file) = standing.node()?.kind else {
            return Err(DriveError::NotFile(path.to_string(), "it has no bytes of its own"));
        };
        let mut content = file.content.clone();
        if let Some(version) = version.filter(|version| *version != info.version) {
            let old = self
                .earlier(&file, version)
                .await?
                .ok_or_else(|| DriveError::NotFound(format!("version {version} of {path}")))?;
            (info.version, info.bytes, info.modified_ms) =
                (old.stored_ms, old.content.len(), old.modified_ms);
            (info.executable, info.attributes) = (old.executable, old.attributes);
            info.content_id = id_of(old.stored_ms, &old.content);
            content = old.content;
        }
        let len = content.len();
        let range = range.unwrap_or(0..len);
        let range = range.start.min(len)..range.end.clamp(range.start.min(len), len);
        let target = Target::Bytes { path: path.to_string(), content, range: range.clone() };
        let content = download::stream(inner.objects.clone(), target, snapshot).await?;
        Ok(OpenFile { info, range, content })
    }
}

/// See [`Drive::list`]; below any folder.
pub(super) async fn list_in(
    objects: &Objects,
    root: FolderNode,
    path: &DrivePath,
    after: Option<Name>,
    limit: usize,
) -> Result<(Vec<Info>, bool), DriveError> {
    let folder = match objects.find(&root, path).await? {
        None => root,
        Some(standing) => match standing.node()?.kind {
            Kind::Folder(folder) => folder,
            Kind::File(_) => return Ok((vec![Info::of(path.clone(), standing.entry())], false)),
        },
    };
    let mut scan = objects.scan(&folder, after);
    let mut listed = Vec::new();
    while let Some(standing) = scan.next().await? {
        if listed.len() == limit {
            return Ok((listed, true));
        }
        let entry = standing.entry();
        listed.push(Info::of(path.join(entry.name.clone())?, entry));
    }
    Ok((listed, false))
}

/// See [`Info::content_id`].
pub(super) fn id_of(stored_ms: u64, content: &Content) -> [u8; 16] {
    match content {
        Content::Inline(bytes) => content_id(stored_ms, &FileContent::Inline(bytes.clone())),
        Content::Direct(object) | Content::Manifest { manifest: object, .. } => object.object.id.0,
        Content::Parts(parts) => parts.first().map_or([0; 16], |part| part.object.id.0),
    }
}

fn root_info(files: &FolderNode, written_ms: i64) -> Info {
    Info {
        path: DrivePath::root(),
        kind: ListKind::Folder,
        bytes: files.totals.bytes,
        modified_ms: written_ms,
        executable: false,
        version: 0,
        versions: 0,
        versions_bytes: 0,
        content_id: [0; 16],
        files: files.totals.files,
        children: files.totals.entries,
        attributes: Attributes::new(),
    }
}
