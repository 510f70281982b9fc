//! What a put has read from its archive and not yet made part of the drive.
//!
//! Invariant: every path stands once, and a file is never a folder as well. Bytes held here are
//! bounded: [`STAGED_INLINE_MAX`] of small files and [`STAGED_ENTRIES_MAX`] entries.

use std::collections::BTreeMap;

use commonhold_format::drive::{Name, ObjectRef};

use crate::error::DriveError;

/// Most entries of one archive. Each takes some hundred bytes until the put is complete.
pub(crate) const STAGED_ENTRIES_MAX: u64 = 1_000_000;
/// Most bytes of small files held for their folders' entries in one put. Small files beyond this
/// are packed like larger ones.
pub(crate) const STAGED_INLINE_MAX: usize = 32 << 20;

/// A file read.
#[derive(Debug)]
pub(crate) struct StagedFile {
    pub(crate) modified_ms: i64,
    pub(crate) executable: bool,
    pub(crate) content: StagedContent,
}

/// Its content.
#[derive(Debug)]
pub(crate) enum StagedContent {
    /// For the folder's entry.
    Inline(Vec<u8>),
    /// Sealed; the extents index the put's segments.
    Stored(ObjectRef),
}

/// A folder read, or one on the way to what was read.
#[derive(Debug, Default)]
pub(crate) struct StagedFolder {
    /// None when the archive does not say.
    pub(crate) modified_ms: Option<i64>,
    pub(crate) children: BTreeMap<Name, StagedNode>,
}

/// A child of a staged folder.
#[derive(Debug)]
pub(crate) enum StagedNode {
    File(StagedFile),
    Folder(StagedFolder),
}

impl StagedFolder {
    /// Why a file could not stand at `path`, if so.
    pub(crate) fn objection(&self, path: &[Name]) -> Option<&'static str> {
        let mut folder = self;
        for (depth, name) in path.iter().enumerate() {
            match folder.children.get(name) {
                None => return None,
                Some(StagedNode::File(_)) if depth + 1 < path.len() => {
                    return Some("a file of the same archive stands where its folder should be");
                }
                Some(StagedNode::File(_)) => return Some("the archive has this name twice"),
                Some(StagedNode::Folder(child)) => folder = child,
            }
        }
        Some("the archive has a folder of this name")
    }

    /// The folder at `path`, made if need be; none when a file is in the way.
    pub(crate) fn folder_at(&mut self, path: &[Name]) -> Option<&mut StagedFolder> {
        let mut folder = self;
        for name in path {
            let child = folder
                .children
                .entry(name.clone())
                .or_insert_with(|| StagedNode::Folder(StagedFolder::default()));
            match child {
                StagedNode::Folder(child) => folder = child,
                StagedNode::File(_) => return None,
            }
        }
        Some(folder)
    }

    /// Puts a file to which there is no objection.
    pub(crate) fn insert(&mut self, path: &[Name], file: StagedFile) -> Result<(), DriveError> {
        let taken = || DriveError::Internal("a staged name was taken".to_owned());
        let (name, parents) = path.split_last().ok_or_else(taken)?;
        let folder = self.folder_at(parents).ok_or_else(taken)?;
        match folder.children.insert(name.clone(), StagedNode::File(file)) {
            None => Ok(()),
            Some(_) => Err(taken()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(text: &str) -> Vec<Name> {
        text.split('/').map(|part| Name::new(part).unwrap()).collect()
    }

    fn file() -> StagedFile {
        StagedFile { modified_ms: 0, executable: false, content: StagedContent::Inline(Vec::new()) }
    }

    #[test]
    fn attack_24_duplicate_names_are_seen() {
        let mut root = StagedFolder::default();
        assert!(root.objection(&path("a/b")).is_none());
        root.insert(&path("a/b"), file()).unwrap();
        assert!(root.objection(&path("a/b")).is_some());
        assert!(root.objection(&path("a/b/c")).is_some());
        assert!(root.objection(&path("a")).is_some());
        assert!(root.objection(&path("a/c")).is_none());
        assert!(root.folder_at(&path("a/b")).is_none());
        assert!(root.folder_at(&path("a")).is_some());
        assert!(root.insert(&path("a/b"), file()).is_err());
    }
}
