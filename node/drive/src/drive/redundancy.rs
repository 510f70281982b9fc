//! Which segments each file of the drive needs, for whoever checks that they are all there.
//!
//! Invariant: every segment that the head needs is told at least once, under a path that could not be read
//! without it.

use commonhold_format::drive::{EntryKind, FileContent, Items};
use commonhold_format::segment::Segment;

use super::Drive;
use super::bin::PATH_ATTRIBUTE;
use crate::error::DriveError;
use crate::located::FolderNode;
use crate::objects::Bounds;
use crate::path::DrivePath;
use crate::reader::segments_of;

/// What a path needs.
#[derive(Debug)]
pub struct Needs<'a> {
    /// The path; `bin:PATH` for what is in the bin, `share:PATH` for links to it.
    pub path: &'a str,
    /// Whether it is a file; else these are pages of a folder.
    pub is_file: bool,
    /// The segments.
    pub segments: Vec<&'a Segment>,
}

impl Drive {
    /// Goes through a path, or through everything, and tells what each file and folder needs. Earlier
    /// versions are told under the path of their file.
    pub async fn needs(
        &self,
        path: Option<&DrivePath>,
        mut tell: impl FnMut(Needs<'_>) + Send,
    ) -> Result<(), DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [files, bin, shares] = snapshot.roots()?;
        let Some(path) = path.filter(|path| !path.is_root()) else {
            self.below("", &files, "", &mut tell).await?;
            self.below("bin:", &bin, "", &mut tell).await?;
            return self.below("share:", &shares, "", &mut tell).await;
        };
        let standing = inner.objects.find(&files, path).await?;
        let standing = standing.ok_or_else(|| DriveError::NotFound(path.to_string()))?;
        let shown = path.to_string();
        match &standing.entry().node {
            EntryKind::Folder(folder) => {
                let folder = FolderNode::of(folder, &standing.page.table)?;
                self.below("", &folder, &shown, &mut tell).await
            }
            EntryKind::File(file) => {
                let history = file.history.as_ref();
                self.file(&shown, &standing.page.table, &file.content, &mut tell).await?;
                if let Some(history) = history {
                    self.past(&shown, &standing.page.table, history, &mut tell).await?;
                }
                Ok(())
            }
        }
    }

    async fn below(
        &self,
        prefix: &str,
        folder: &FolderNode,
        path: &str,
        tell: &mut (impl FnMut(Needs<'_>) + Send),
    ) -> Result<(), DriveError> {
        let objects = &self.inner.objects;
        let Some(top) = &folder.page else { return Ok(()) };
        let shown =
            |path: &str| if path.is_empty() { format!("{prefix}/") } else { format!("{prefix}{path}") };
        tell(Needs { path: &shown(path), is_file: false, segments: top.table.iter().collect() });
        let first = objects.page(&top.table, &top.object, &Bounds::default()).await?;
        let mut waiting = vec![(path.to_owned(), first, Bounds::default())];
        while let Some((path, page, bounds)) = waiting.pop() {
            match &page.items {
                Items::Pages { level, pages } => {
                    for (at, below) in pages.iter().enumerate() {
                        let segments = segments_of(&page.table, &below.page)?;
                        tell(Needs { path: &shown(&path), is_file: false, segments });
                        let bounds = bounds.below(*level, pages, at);
                        let below = objects.page(&page.table, &below.page, &bounds).await?;
                        waiting.push((path.clone(), below, bounds));
                    }
                }
                Items::Entries(entries) => {
                    for entry in entries {
                        // Things in the bin are told under the path that they had, and links under what they
                        // show.
                        let own = entry
                            .attributes
                            .get(PATH_ATTRIBUTE)
                            .filter(|_| !prefix.is_empty() && path.is_empty());
                        let below = match own {
                            Some(own) => own.clone(),
                            None => format!("{path}/{}", entry.name.as_str()),
                        };
                        match &entry.node {
                            EntryKind::Folder(folder) => {
                                let Some(top) = &folder.page else { continue };
                                let segments = segments_of(&page.table, top)?;
                                tell(Needs { path: &shown(&below), is_file: false, segments });
                                let top = objects.page(&page.table, top, &Bounds::default()).await?;
                                waiting.push((below, top, Bounds::default()));
                            }
                            EntryKind::File(file) => {
                                self.file(&shown(&below), &page.table, &file.content, tell).await?;
                                if let Some(history) = &file.history {
                                    self.past(&shown(&below), &page.table, history, tell).await?;
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn past(
        &self,
        path: &str,
        table: &[Segment],
        history: &commonhold_format::drive::HistoryRef,
        tell: &mut (impl FnMut(Needs<'_>) + Send),
    ) -> Result<(), DriveError> {
        let history = self.inner.objects.history(table, &history.object).await?;
        for version in &history.versions {
            self.file(path, &history.table, &version.content, tell).await?;
        }
        Ok(())
    }

    async fn file(
        &self,
        path: &str,
        table: &[Segment],
        content: &FileContent,
        tell: &mut (impl FnMut(Needs<'_>) + Send),
    ) -> Result<(), DriveError> {
        let (mut segments, manifest) = match content {
            FileContent::Inline(_) => (Vec::new(), None),
            FileContent::Direct(object) => (segments_of(table, object)?, None),
            FileContent::Manifest { manifest, len } => {
                let object = self.inner.objects.manifest(table, manifest, *len).await?;
                (segments_of(table, manifest)?, Some(object))
            }
        };
        segments.extend(manifest.iter().flat_map(|manifest| &manifest.table));
        tell(Needs { path, is_file: true, segments });
        Ok(())
    }
}
