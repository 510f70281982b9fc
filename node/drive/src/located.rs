//! References together with the segments that their extents index, and what is made of them: entries that
//! stand in no page yet.
//!
//! Invariant: a [`Located`] can be read, or written into any page, without knowing where it came from.
//! What this is not: content. Only files so small that their entry holds them are here with their bytes.

use std::sync::Arc;

use commonhold_format::drive::{
    Attributes, Entry, EntryKind, FileContent, FolderRef, History, HistoryRef, Name, ObjectRef, Page,
    TableBuilder, Totals, Version,
};
use commonhold_format::segment::Segment;

use crate::error::DriveError;

/// The segments that extents index.
pub(crate) type Table = Arc<Vec<Segment>>;

/// A reference with its table.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) object: ObjectRef,
    pub(crate) table: Table,
}

impl Located {
    /// A reference that stands in `table`, with those segments alone that it needs.
    pub(crate) fn of(object: &ObjectRef, table: &[Segment]) -> Result<Self, DriveError> {
        let mut own = TableBuilder::new();
        let object = object.moved(table, &mut own).map_err(misplaced)?;
        Ok(Self { object, table: Arc::new(own.finish()) })
    }

    /// The reference for another object, whose table takes its segments over.
    pub(crate) fn place(&self, to: &mut TableBuilder) -> Result<ObjectRef, DriveError> {
        self.object.moved(&self.table, to).map_err(misplaced)
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Here. More than an entry may hold are packed when they are written.
    Inline(Vec<u8>),
    /// In one object.
    Direct(Located),
    /// In the objects that a manifest lists.
    Manifest { manifest: Located, len: u64 },
    /// In these objects one after the other; there is no manifest yet.
    Parts(Vec<Located>),
}

impl Content {
    /// The file's length.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Direct(object) => object.object.len,
            Content::Manifest { len, .. } => *len,
            Content::Parts(parts) => parts.iter().fold(0, |sum, part| part.object.len.saturating_add(sum)),
        }
    }

    fn of(content: &FileContent, table: &[Segment]) -> Result<Self, DriveError> {
        Ok(match content {
            FileContent::Inline(bytes) => Content::Inline(bytes.clone()),
            FileContent::Direct(object) => Content::Direct(Located::of(object, table)?),
            FileContent::Manifest { manifest, len } => {
                Content::Manifest { manifest: Located::of(manifest, table)?, len: *len }
            }
        })
    }

    /// For a page or a history, once there is nothing left to pack.
    fn place(&self, table: &mut TableBuilder) -> Result<FileContent, DriveError> {
        Ok(match self {
            Content::Inline(bytes) => FileContent::Inline(bytes.clone()),
            Content::Direct(object) => FileContent::Direct(object.place(table)?),
            Content::Manifest { manifest, len } => {
                FileContent::Manifest { manifest: manifest.place(table)?, len: *len }
            }
            Content::Parts(_) => return Err(unwritten()),
        })
    }
}

/// Earlier versions of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Newest first; not written yet, and newer than those of `object`.
    pub(crate) newer: Vec<PastVersion>,
    /// Written ones.
    pub(crate) object: Option<Box<PastObject>>,
}

/// A history as its file's entry names it.
#[derive(Debug, Clone)]
pub(crate) struct PastObject {
    pub(crate) object: Located,
    pub(crate) versions: u64,
    pub(crate) bytes: u64,
}

/// One earlier version.
#[derive(Debug, Clone)]
pub(crate) struct PastVersion {
    pub(crate) stored_ms: u64,
    pub(crate) modified_ms: i64,
    pub(crate) executable: bool,
    pub(crate) content: Content,
    pub(crate) attributes: Attributes,
}

impl PastVersion {
    pub(crate) fn of(version: &Version, table: &[Segment]) -> Result<Self, DriveError> {
        Ok(Self {
            stored_ms: version.stored_ms,
            modified_ms: version.modified_ms,
            executable: version.executable,
            content: Content::of(&version.content, table)?,
            attributes: version.attributes.clone(),
        })
    }

    fn place(&self, table: &mut TableBuilder) -> Result<Version, DriveError> {
        Ok(Version {
            stored_ms: self.stored_ms,
            modified_ms: self.modified_ms,
            executable: self.executable,
            content: self.content.place(table)?,
            attributes: self.attributes.clone(),
        })
    }
}

/// The history of some versions, newest first.
pub(crate) fn history(versions: &[PastVersion]) -> Result<History, DriveError> {
    let mut table = TableBuilder::new();
    let versions: Result<Vec<Version>, DriveError> =
        versions.iter().map(|version| version.place(&mut table)).collect();
    Ok(History { versions: versions?, table: table.finish() })
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct FileNode {
    pub(crate) content: Content,
    pub(crate) executable: bool,
    pub(crate) stored_ms: u64,
    pub(crate) past: Past,
}

/// A folder whose pages are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct FolderNode {
    pub(crate) page: Option<Located>,
    pub(crate) totals: Totals,
}

impl FolderNode {
    pub(crate) fn of(folder: &FolderRef, table: &[Segment]) -> Result<Self, DriveError> {
        let page = folder.page.as_ref().map(|page| Located::of(page, table)).transpose()?;
        Ok(Self { page, totals: folder.totals })
    }

    pub(crate) fn place(&self, table: &mut TableBuilder) -> Result<FolderRef, DriveError> {
        let page = self.page.as_ref().map(|page| page.place(table)).transpose()?;
        Ok(FolderRef { page, totals: self.totals })
    }
}

/// A child of a folder without its name.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) modified_ms: i64,
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind,
}

/// What a child is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    File(FileNode),
    Folder(FolderNode),
}

impl Node {
    /// An entry of a page.
    pub(crate) fn of(entry: &Entry, table: &[Segment]) -> Result<Self, DriveError> {
        let kind = match &entry.node {
            EntryKind::Folder(folder) => Kind::Folder(FolderNode::of(folder, table)?),
            EntryKind::File(file) => {
                let object = match &file.history {
                    None => None,
                    Some(history) => Some(Box::new(PastObject {
                        object: Located::of(&history.object, table)?,
                        versions: history.versions,
                        bytes: history.bytes,
                    })),
                };
                Kind::File(FileNode {
                    content: Content::of(&file.content, table)?,
                    executable: file.executable,
                    stored_ms: file.stored_ms,
                    past: Past { newer: Vec::new(), object },
                })
            }
        };
        Ok(Self { modified_ms: entry.modified_ms, attributes: entry.attributes.clone(), kind })
    }

    /// The entry for a page. Everything that it needs is written.
    pub(crate) fn place(&self, name: Name, table: &mut TableBuilder) -> Result<Entry, DriveError> {
        let node = match &self.kind {
            Kind::Folder(folder) => EntryKind::Folder(folder.place(table)?),
            Kind::File(file) => {
                if !file.past.newer.is_empty() {
                    return Err(unwritten());
                }
                let history = match &file.past.object {
                    None => None,
                    Some(past) => Some(HistoryRef {
                        object: past.object.place(table)?,
                        versions: past.versions,
                        bytes: past.bytes,
                    }),
                };
                EntryKind::File(commonhold_format::drive::File {
                    content: file.content.place(table)?,
                    executable: file.executable,
                    stored_ms: file.stored_ms,
                    history,
                })
            }
        };
        Ok(Entry { name, modified_ms: self.modified_ms, attributes: self.attributes.clone(), node })
    }

    /// What it adds to the sums of its folder.
    pub(crate) fn totals(&self) -> Totals {
        match &self.kind {
            Kind::File(file) => Totals { entries: 1, files: 1, bytes: file.content.len() },
            Kind::Folder(folder) => Totals { entries: 1, ..folder.totals },
        }
    }

    /// About how many bytes of a page it takes, its name left out.
    pub(crate) fn weight(&self) -> usize {
        /// A reference with an extent, and what else an entry has.
        const ENTRY: usize = 130;
        let attributes: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
        let content = match &self.kind {
            Kind::File(FileNode { content: Content::Inline(bytes), past, .. }) => {
                bytes.len() + if past.object.is_some() { ENTRY } else { 0 }
            }
            Kind::File(FileNode { past: Past { object: Some(_), .. }, .. }) => ENTRY,
            _ => 0,
        };
        ENTRY + attributes + content
    }
}

/// What an entry of a page adds to the sums of its folder.
pub(crate) fn entry_totals(entry: &Entry) -> Totals {
    match &entry.node {
        EntryKind::File(file) => Totals { entries: 1, files: 1, bytes: file.content.len() },
        EntryKind::Folder(folder) => Totals { entries: 1, ..folder.totals },
    }
}

/// Adds sums.
pub(crate) fn sum(totals: impl IntoIterator<Item = Totals>) -> Totals {
    totals.into_iter().fold(Totals::default(), |sum, other| Totals {
        entries: sum.entries.saturating_add(other.entries),
        files: sum.files.saturating_add(other.files),
        bytes: sum.bytes.saturating_add(other.bytes),
    })
}

/// A page with what its references index, shared by everything that was read from it.
pub(crate) type SharedPage = Arc<Page>;

pub(crate) fn unwritten() -> DriveError {
    DriveError::Internal("something was to be named before it was written".to_owned())
}

pub(crate) fn misplaced(error: impl ToString) -> DriveError {
    DriveError::damaged("a reference", error)
}
