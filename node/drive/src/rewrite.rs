//! Writes the folders that a change touches, from the bottom up (spec/drive-layout.md).
//!
//! Invariant: a parent is sealed only after its children's segments were accepted by the
//! custodian; folders that a change does not touch are referred to as they are.
//! What this is not: it does not make anything visible; the new root does, once a head names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use commonhold_format::drive::{
    DIRECT_EXTENTS_MAX, Entry, EntryKind, FileContent, Folder, Manifest, Name, ObjectRef, TableBuilder,
};
use commonhold_format::seal::ObjectKind;
use commonhold_format::segment::Segment;

use crate::error::DriveError;
use crate::heads::OpenHead;
use crate::objects::{Objects, position};
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::reader::Segments;
use crate::staging::{StagedContent, StagedFile, StagedFolder, StagedNode};

/// Most bytes of small files that one folder carries in its entries. A folder is written anew
/// whenever anything in it changes, so this bounds what a change costs.
pub(crate) const FOLDER_INLINE_MAX: usize = 256 << 10;

/// A folder to be written.
struct Node {
    /// Index of the parent, and the name in it; none for the root.
    parent: Option<(usize, Name)>,
    depth: usize,
    path: DrivePath,
    modified_ms: i64,
    existing: Arc<Folder>,
    files: BTreeMap<Name, StagedFile>,
    /// Children that are written as well, by their index.
    folders: BTreeMap<Name, usize>,
    removed: Option<Name>,
    written: Option<ObjectRef>,
}

/// The folders that a change touches, parents before children.
pub(crate) struct Rewrite {
    nodes: Vec<Node>,
}

impl Rewrite {
    async fn at_root(
        objects: &Objects,
        segments: &Segments,
        head: Option<&OpenHead>,
    ) -> Result<Self, DriveError> {
        let existing = objects.root(segments, head.map(|head| &head.content)).await?;
        let root = Node {
            parent: None,
            depth: 0,
            path: DrivePath::root(),
            modified_ms: 0,
            existing,
            files: BTreeMap::new(),
            folders: BTreeMap::new(),
            removed: None,
            written: None,
        };
        Ok(Self { nodes: vec![root] })
    }

    /// The folders in which `staged`, standing at `to`, is merged into what is there. Folders on
    /// the way are made. Fails with `exists` where a file meets a folder. `now_ms` is the time of
    /// new folders that the archive did not date.
    pub(crate) async fn merging(
        objects: &Objects,
        segments: &Segments,
        head: Option<&OpenHead>,
        to: &DrivePath,
        mut staged: StagedFolder,
        now_ms: i64,
    ) -> Result<Self, DriveError> {
        for name in to.names().iter().rev() {
            let child = StagedNode::Folder(staged);
            let children = BTreeMap::from([(name.clone(), child)]);
            staged = StagedFolder { modified_ms: None, children };
        }
        let mut rewrite = Self::at_root(objects, segments, head).await?;
        let mut waiting = vec![(0, staged)];
        while let Some((at, staged)) = waiting.pop() {
            for (name, child) in staged.children {
                match child {
                    StagedNode::File(file) => rewrite.put_file(at, name, file)?,
                    StagedNode::Folder(child) => {
                        let dated = child.modified_ms;
                        let index = rewrite.enter(objects, segments, at, name, dated, now_ms).await?;
                        waiting.push((index, child));
                    }
                }
            }
        }
        Ok(rewrite)
    }

    /// The folders above `path`, without its entry in the last of them.
    pub(crate) async fn removing(
        objects: &Objects,
        segments: &Segments,
        head: Option<&OpenHead>,
        path: &DrivePath,
    ) -> Result<Self, DriveError> {
        let Some((last, parents)) = path.names().split_last() else {
            return Err(DriveError::RootRemoval);
        };
        let not_found = || DriveError::NotFound(path.to_string());
        let mut rewrite = Self::at_root(objects, segments, head).await?;
        let mut at = 0;
        for name in parents {
            let folder = &rewrite.nodes[at].existing;
            let entry = position(folder, name).map(|place| &folder.entries[place].node);
            if !matches!(entry, Some(EntryKind::Folder(_))) {
                return Err(not_found());
            }
            at = rewrite.enter(objects, segments, at, name.clone(), None, 0).await?;
        }
        position(&rewrite.nodes[at].existing, last).ok_or_else(not_found)?;
        rewrite.nodes[at].removed = Some(last.clone());
        Ok(rewrite)
    }

    /// The folder and the entry that [`Rewrite::removing`] takes out.
    pub(crate) fn removed(&self) -> Option<(&Folder, &Entry)> {
        let node = self.nodes.iter().find(|node| node.removed.is_some())?;
        let at = position(&node.existing, node.removed.as_ref()?)?;
        Some((&node.existing, &node.existing.entries[at]))
    }

    fn put_file(&mut self, at: usize, name: Name, file: StagedFile) -> Result<(), DriveError> {
        let node = &mut self.nodes[at];
        if let Some(place) = position(&node.existing, &name)
            && matches!(node.existing.entries[place].node, EntryKind::Folder(_))
        {
            let path = node.path.join(name)?.to_string();
            return Err(DriveError::Exists { path, existing: "folder", wanted: "file" });
        }
        node.files.insert(name, file);
        Ok(())
    }

    async fn enter(
        &mut self,
        objects: &Objects,
        segments: &Segments,
        at: usize,
        name: Name,
        dated: Option<i64>,
        now_ms: i64,
    ) -> Result<usize, DriveError> {
        let parent = &self.nodes[at];
        let path = parent.path.join(name.clone())?;
        let (existing, modified_ms) = match position(&parent.existing, &name) {
            None => (Arc::default(), dated.unwrap_or(now_ms)),
            Some(place) => {
                let entry = &parent.existing.entries[place];
                let EntryKind::Folder(object) = &entry.node else {
                    let path = path.to_string();
                    return Err(DriveError::Exists { path, existing: "file", wanted: "folder" });
                };
                let folder = objects.folder(segments, &parent.existing.table, object).await?;
                (folder, dated.unwrap_or(entry.modified_ms))
            }
        };
        let index = self.nodes.len();
        let node = Node {
            parent: Some((at, name.clone())),
            depth: parent.depth + 1,
            path,
            modified_ms,
            existing,
            files: BTreeMap::new(),
            folders: BTreeMap::new(),
            removed: None,
            written: None,
        };
        self.nodes.push(node);
        self.nodes[at].folders.insert(name, index);
        Ok(index)
    }

    /// Writes everything and gives the table and the reference of the new root.
    pub(crate) async fn write(
        mut self,
        objects: &Objects,
        packer: &mut Packer,
    ) -> Result<(Vec<Segment>, ObjectRef), DriveError> {
        packer.flush().await?;
        for node in &mut self.nodes {
            settle_contents(node, packer).await?;
        }
        packer.flush().await?;
        let depths: BTreeSet<usize> = self.nodes.iter().map(|node| node.depth).collect();
        for depth in depths.into_iter().rev() {
            for at in 0..self.nodes.len() {
                if self.nodes[at].depth != depth {
                    continue;
                }
                let folder = self.build(at, packer.kept())?;
                let object = packer.add_object(ObjectKind::Folder, &folder.encode()).await?;
                objects.remember(&object, Arc::new(folder));
                self.nodes[at].written = Some(object);
            }
            packer.flush().await?;
        }
        let root = self.nodes[0].written.as_ref().ok_or_else(unwritten)?;
        let mut table = TableBuilder::new();
        let root = root.moved(packer.kept(), &mut table).map_err(misplaced)?;
        Ok((table.finish(), root))
    }

    /// The folder as it will be, its children written before.
    fn build(&mut self, at: usize, kept: &[Segment]) -> Result<Folder, DriveError> {
        let mut table = TableBuilder::new();
        let files = std::mem::take(&mut self.nodes[at].files);
        let node = &self.nodes[at];
        let mut entries = Vec::new();
        for entry in &node.existing.entries {
            let replaced = files.contains_key(&entry.name)
                || node.folders.contains_key(&entry.name)
                || node.removed.as_ref() == Some(&entry.name);
            if !replaced {
                entries.push(moved_entry(entry, &node.existing.table, &mut table)?);
            }
        }
        for (name, index) in &node.folders {
            let child = &self.nodes[*index];
            debug_assert_eq!(child.parent.as_ref(), Some(&(at, name.clone())));
            let object = child.written.as_ref().ok_or_else(unwritten)?;
            let object = object.moved(kept, &mut table).map_err(misplaced)?;
            entries.push(Entry {
                name: name.clone(),
                modified_ms: child.modified_ms,
                node: EntryKind::Folder(object),
            });
        }
        for (name, file) in files {
            let content = match file.content {
                StagedContent::Inline(bytes) => FileContent::Inline(bytes),
                StagedContent::Stored(object) => {
                    FileContent::Direct(object.moved(kept, &mut table).map_err(misplaced)?)
                }
                StagedContent::Manifest { manifest, len } => FileContent::Manifest {
                    manifest: manifest.moved(kept, &mut table).map_err(misplaced)?,
                    len,
                },
            };
            let node = EntryKind::File { content, executable: file.executable };
            entries.push(Entry { name, modified_ms: file.modified_ms, node });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Folder { table: table.finish(), entries })
    }
}

/// Packs small files for which the folder's entries have no room, and writes the manifests of
/// large ones, whose segments are all accepted now.
async fn settle_contents(node: &mut Node, packer: &mut Packer) -> Result<(), DriveError> {
    let mut inline_bytes = 0;
    for entry in &node.existing.entries {
        if let EntryKind::File { content: FileContent::Inline(bytes), .. } = &entry.node
            && !node.files.contains_key(&entry.name)
        {
            inline_bytes += bytes.len();
        }
    }
    for file in node.files.values_mut() {
        match &file.content {
            StagedContent::Inline(bytes) => {
                inline_bytes += bytes.len();
                if inline_bytes > FOLDER_INLINE_MAX && !bytes.is_empty() {
                    inline_bytes -= bytes.len();
                    let object = packer.add_object(ObjectKind::File, bytes).await?;
                    file.content = StagedContent::Stored(object);
                }
            }
            StagedContent::Stored(object) if object.extents.len() > DIRECT_EXTENTS_MAX => {
                let len = object.len;
                let mut table = TableBuilder::new();
                let object = object.moved(packer.kept(), &mut table).map_err(misplaced)?;
                let manifest = Manifest { table: table.finish(), file: object };
                let manifest = packer.add_object(ObjectKind::Manifest, &manifest.encode()).await?;
                file.content = StagedContent::Manifest { manifest, len };
            }
            StagedContent::Stored(_) | StagedContent::Manifest { .. } => {}
        }
    }
    Ok(())
}

fn moved_entry(entry: &Entry, from: &[Segment], table: &mut TableBuilder) -> Result<Entry, DriveError> {
    let node = match &entry.node {
        EntryKind::Folder(object) => EntryKind::Folder(object.moved(from, table).map_err(misplaced)?),
        EntryKind::File { content, executable } => {
            let content = match content {
                FileContent::Inline(bytes) => FileContent::Inline(bytes.clone()),
                FileContent::Direct(object) => {
                    FileContent::Direct(object.moved(from, table).map_err(misplaced)?)
                }
                FileContent::Manifest { manifest, len } => FileContent::Manifest {
                    manifest: manifest.moved(from, table).map_err(misplaced)?,
                    len: *len,
                },
            };
            EntryKind::File { content, executable: *executable }
        }
    };
    Ok(Entry { name: entry.name.clone(), modified_ms: entry.modified_ms, node })
}

fn unwritten() -> DriveError {
    DriveError::Internal("a folder was to be named before it was written".to_owned())
}

fn misplaced(error: impl ToString) -> DriveError {
    DriveError::damaged("a reference", error)
}
