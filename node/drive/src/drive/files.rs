//! Single files and folders: looking at them, reading, storing, moving, copying, removing.
//!
//! Invariant: moving and copying change names alone; nothing is downloaded or sent again for it.

use std::ops::Range;

use commonhold_format::drive::{Attributes, Name};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Drive;
use super::state::SMALL_BYTES_MAX;
use crate::changes::{Changes, FILES, Seen, Slot, edit, exists};
use crate::download::{self, ContentReader, Target};
use crate::error::DriveError;
use crate::hashed::Hashed;
use crate::located::{Content, FileNode, FolderNode, Kind, Located, Node, Past, PastVersion};
use crate::objects::Objects;
use crate::packer::{Packer, random};
use crate::path::DrivePath;
use crate::report::{Info, ListKind, Removed, content_id};
use crate::uploads::hex;

/// Files up to this length wait in memory for a batch, in which they are packed with others.
const SMALL_FILE_MAX: u64 = 256 << 10;
/// Bytes taken from a reader at a time.
const READ_LEN: usize = 256 << 10;
/// Most entries that one search looks at.
const FIND_LOOKS_MAX: usize = 20_000;
/// The attribute of something in the bin that says where it was.
pub(super) const PATH_ATTRIBUTE: &str = "path";
/// The attribute with the MD5 of a file's content, hexadecimal.
const ETAG_ATTRIBUTE: &str = "etag";

/// A file that is to be stored.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its whole path. Folders above it are made.
    pub path: DrivePath,
    /// Its bytes.
    pub len: u64,
    /// When it was last modified, milliseconds since 1970; now without it.
    pub modified_ms: Option<i64>,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// What is kept beside its bytes.
    pub attributes: Attributes,
    /// What must hold when it takes its place.
    pub only_if: OnlyIf,
    /// What becomes of the file that stood there.
    pub replaced: Replaced,
}

/// A condition on what stands at a path; `precondition` when it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnlyIf {
    /// None.
    #[default]
    Always,
    /// Nothing stands there.
    Absent,
    /// A file with this [`Info::content_id`].
    Content([u8; 16]),
}

/// What becomes of a file whose place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replaced {
    /// It is kept as an earlier version.
    #[default]
    Kept,
    /// It is gone, its earlier versions too.
    Gone,
}

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
        inner.search_if_new().await;
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
        inner.search_if_new().await;
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
        inner.search_if_new().await;
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
        inner.search_if_new().await;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        let not_found = || DriveError::NotFound(path.to_string());
        let standing = inner.objects.find(&files, path).await?.ok_or_else(not_found)?;
        let mut info = Info::of(path.clone(), standing.entry());
        let Kind::File(file) = standing.node()?.kind else { return Err(not_found()) };
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

    /// Stores one file. Small ones are packed together with others that come at the same time. The head is
    /// announced, and space freed, in the background.
    pub async fn store(
        &self,
        mut file: NewFile,
        content: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Info, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await;
        if file.path.is_root() {
            return Err(exists(&file.path, "folder", "file"));
        }
        let path = file.path.to_string();
        if file.len <= SMALL_FILE_MAX {
            let permits = (file.len as usize).clamp(1, SMALL_BYTES_MAX) as u32;
            // Never closed, so this cannot fail.
            let _place = inner.small.clone().acquire_many_owned(permits).await.ok();
            let mut content = Hashed::new(content);
            let bytes = read_small(&path, file.len, &mut content).await?;
            name_content(&mut file, &content);
            return self.take_place(file, Content::Inline(bytes), None).await;
        }
        let code = inner.keeper.custody().code().await?;
        let pending = inner.keeper.pending();
        let mut content = Hashed::new(content);
        let sealed = self.seal(&path, file.len, &mut content, Packer::new(pending.clone(), code)).await;
        name_content(&mut file, &content);
        match sealed {
            Ok(located) => self.take_place(file, Content::Direct(located), Some(pending)).await,
            Err(error) => {
                drop(pending);
                inner.sweep_later();
                Err(error)
            }
        }
    }

    /// Seals and sends one object of exactly `len` bytes.
    pub(super) async fn seal(
        &self,
        path: &str,
        len: u64,
        mut content: impl AsyncRead + Send + Unpin,
        mut packer: Packer,
    ) -> Result<Located, DriveError> {
        let mut file = packer.begin_file(len).await?;
        let mut buffer = vec![0; READ_LEN];
        let mut left = len;
        loop {
            let got = content.read(&mut buffer).await.map_err(interrupted)?;
            if got == 0 {
                break;
            }
            left = left.checked_sub(got as u64).ok_or_else(|| changed(path, len, "more came"))?;
            packer.write(&mut file, &buffer[..got]).await?;
        }
        if left > 0 {
            return Err(changed(path, len, &format!("{left} bytes fewer came")));
        }
        let object = packer.finish(file).await?;
        let table = packer.flush().await?;
        Ok(Located { object, table })
    }

    /// Lets content take its place in the tree.
    pub(super) async fn take_place(
        &self,
        file: NewFile,
        content: Content,
        pending: Option<std::sync::Arc<crate::keeper::Pending>>,
    ) -> Result<Info, DriveError> {
        let path = file.path.clone();
        let (len, executable, attributes) = (file.len, file.executable, file.attributes.clone());
        let keep = self.inner.options.versions_max > 0 && file.replaced == Replaced::Kept;
        let work = edit(move |changes| {
            Box::pin(async move {
                let name = file.path.name().cloned().ok_or_else(|| exists(&file.path, "folder", "file"))?;
                let above = file.path.parent().unwrap_or_default();
                let folder = changes.folder_made(FILES, &above).await?;
                let old = match changes.see(folder, &name).await? {
                    Some(Seen::Folder(_)) => return Err(exists(&file.path, "folder", "file")),
                    Some(Seen::File(node)) => Some(node),
                    None => None,
                };
                check(&file.path, file.only_if, old.as_ref())?;
                let node = Node {
                    modified_ms: file.modified_ms.unwrap_or(changes.now_ms),
                    attributes: file.attributes,
                    kind: Kind::File(FileNode {
                        content,
                        executable: file.executable,
                        stored_ms: u64::try_from(changes.now_ms).unwrap_or(0),
                        past: Past::default(),
                    }),
                };
                let node = succeed(node, old, keep);
                let stored = match &node.kind {
                    Kind::File(file) => file.stored_ms,
                    Kind::Folder(_) => 0,
                };
                let modified_ms = node.modified_ms;
                changes.put(folder, name, Slot::Node(node));
                Ok((stored, modified_ms))
            })
        });
        let (version, modified_ms) = self.change(pending, work).await?;
        match self.info(&path).await {
            Ok(info) if info.version == version => Ok(info),
            // Somebody else has changed it since: what was stored is told all the same.
            _ => Ok(Info {
                path,
                kind: ListKind::File,
                bytes: len,
                modified_ms,
                executable,
                version,
                versions: 0,
                versions_bytes: 0,
                content_id: [0; 16],
                files: 1,
                children: 0,
                attributes,
            }),
        }
    }

    /// Makes one change and lets what follows from it happen in the background.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        pending: Option<std::sync::Arc<crate::keeper::Pending>>,
        work: impl for<'a> FnOnce(&'a mut Changes) -> BoxFuture<'a, Result<T, DriveError>> + Send + 'static,
    ) -> Result<T, DriveError> {
        self.inner.search_if_new().await;
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
        self.inner.search_if_new().await;
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

/// Notes the MD5 of a file's bytes, unless the caller has another name for them.
fn name_content<R>(file: &mut NewFile, content: &Hashed<R>) {
    file.attributes.entry(ETAG_ATTRIBUTE.to_owned()).or_insert_with(|| hex(&content.md5()));
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

/// A file that takes the place of `old`, with that one and what it has of earlier versions if they are kept.
pub(super) fn succeed(mut node: Node, old: Option<Node>, keep: bool) -> Node {
    let (Kind::File(file), Some(Node { modified_ms, attributes, kind: Kind::File(old) })) =
        (&mut node.kind, old)
    else {
        return node;
    };
    file.stored_ms = file.stored_ms.max(old.stored_ms.saturating_add(1));
    if keep {
        let version = PastVersion {
            stored_ms: old.stored_ms,
            modified_ms,
            executable: old.executable,
            content: old.content,
            attributes,
        };
        let mut newer = vec![version];
        newer.extend(old.past.newer);
        // What the new one brings with it was another file's, and goes.
        file.past = Past { newer, object: old.past.object };
    }
    node
}

pub(super) fn check(path: &DrivePath, only_if: OnlyIf, old: Option<&Node>) -> Result<(), DriveError> {
    let holds = match (only_if, old.map(|node| &node.kind)) {
        (OnlyIf::Always, _) | (OnlyIf::Absent, None) => true,
        (OnlyIf::Content(id), Some(Kind::File(file))) => id_of(file.stored_ms, &file.content) == id,
        _ => false,
    };
    if holds { Ok(()) } else { Err(DriveError::Precondition(path.to_string())) }
}

/// See [`Info::content_id`].
pub(super) fn id_of(stored_ms: u64, content: &Content) -> [u8; 16] {
    use commonhold_format::drive::FileContent;
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

fn interrupted(error: std::io::Error) -> DriveError {
    DriveError::Interrupted(error.to_string())
}

fn changed(path: &str, expected: u64, found: &str) -> DriveError {
    DriveError::Changed { path: path.to_owned(), expected, found: found.to_owned() }
}

/// Reads exactly `len` bytes into memory.
pub(super) async fn read_small(
    path: &str,
    len: u64,
    content: impl AsyncRead + Send + Unpin,
) -> Result<Vec<u8>, DriveError> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    let mut limited = content.take(len.saturating_add(1));
    limited.read_to_end(&mut bytes).await.map_err(interrupted)?;
    match (bytes.len() as u64).cmp(&len) {
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Greater => Err(changed(path, len, "more came")),
        std::cmp::Ordering::Less => {
            Err(changed(path, len, &format!("{} bytes fewer came", len - bytes.len() as u64)))
        }
    }
}
