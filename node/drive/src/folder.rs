//! Reading folders: one name, a stretch of names, everything below.
//!
//! Invariant: pages are loaded one at a time and only those that a question needs, so a folder of a
//! hundred thousand entries costs three pages for one name. Sums that writers noted are used to tell
//! people, never to decide how much to read.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use commonhold_format::drive::{
    Entry, EntryKind, FileContent, FolderRef, HeadContent, Items, Name, Page, PageRef,
};
use commonhold_format::ids::SegmentId;
use commonhold_format::seal::ObjectId;
use commonhold_format::segment::Segment;

use crate::error::DriveError;
use crate::located::{FolderNode, Kind, Node, SharedPage};
use crate::objects::{Bounds, Objects};
use crate::path::DrivePath;
use crate::reader::segments_of;

/// An entry where it stands: its page, and its place there.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) page: SharedPage,
    pub(crate) at: usize,
}

impl Standing {
    /// The entry. Made only for places that have one.
    pub(crate) fn entry(&self) -> &Entry {
        match &self.page.items {
            Items::Entries(entries) => &entries[self.at],
            Items::Pages { .. } => unreachable!("only places of entries are handed out"),
        }
    }

    /// The same on its own feet.
    pub(crate) fn node(&self) -> Result<Node, DriveError> {
        Node::of(self.entry(), &self.page.table)
    }
}

/// The entries of a page of the lowest level.
pub(crate) fn entries(page: &Page) -> &[Entry] {
    match &page.items {
        Items::Entries(entries) => entries,
        Items::Pages { .. } => &[],
    }
}

/// Which page a name belongs into: the last one whose lower bound is not greater, or the first.
pub(crate) fn page_for(pages: &[PageRef], name: &Name) -> usize {
    pages.partition_point(|page| page.first <= *name).saturating_sub(1)
}

impl Objects {
    /// The topmost page of a folder.
    pub(crate) async fn top(&self, folder: &FolderNode) -> Result<Option<SharedPage>, DriveError> {
        match &folder.page {
            None => Ok(None),
            Some(page) => self.page(&page.table, &page.object, &Bounds::default()).await.map(Some),
        }
    }

    /// The entry of this name.
    pub(crate) async fn lookup(
        &self,
        folder: &FolderNode,
        name: &Name,
    ) -> Result<Option<Standing>, DriveError> {
        let Some(mut page) = self.top(folder).await? else { return Ok(None) };
        let mut bounds = Bounds::default();
        loop {
            let next = match &page.items {
                Items::Entries(entries) => {
                    let at = entries.binary_search_by(|entry| entry.name.cmp(name)).ok();
                    return Ok(at.map(|at| Standing { page: page.clone(), at }));
                }
                Items::Pages { level, pages } => {
                    let at = page_for(pages, name);
                    let below = bounds.below(*level, pages, at);
                    let next = self.page(&page.table, &pages[at].page, &below).await?;
                    bounds = below;
                    next
                }
            };
            page = next;
        }
    }

    /// The entry at a path below `root`; none for the root itself.
    pub(crate) async fn find(
        &self,
        root: &FolderNode,
        path: &DrivePath,
    ) -> Result<Option<Standing>, DriveError> {
        let not_found = || DriveError::NotFound(path.to_string());
        let mut folder = root.clone();
        let mut found = None;
        for (depth, name) in path.names().iter().enumerate() {
            let standing = self.lookup(&folder, name).await?.ok_or_else(not_found)?;
            if depth + 1 < path.names().len() {
                let Kind::Folder(next) = standing.node()?.kind else { return Err(not_found()) };
                folder = next;
            }
            found = Some(standing);
        }
        Ok(found)
    }

    /// The folder at a path below `root`.
    pub(crate) async fn find_folder(
        &self,
        root: &FolderNode,
        path: &DrivePath,
    ) -> Result<Option<FolderNode>, DriveError> {
        match self.find(root, path).await? {
            None => Ok(Some(root.clone())),
            Some(standing) => match standing.node()?.kind {
                Kind::Folder(folder) => Ok(Some(folder)),
                Kind::File(_) => Ok(None),
            },
        }
    }

    /// Goes through a folder in the order of its names, from after `after` on.
    pub(crate) fn scan(&self, folder: &FolderNode, after: Option<Name>) -> Scan {
        let todo = folder.page.clone().map(|page| ToRead {
            page: page.object,
            table: page.table,
            bounds: Bounds::default(),
        });
        Scan { objects: self.clone(), after, todo: todo.into_iter().collect(), page: None }
    }

    /// Adds every segment that a head needs to `live`: the tables of the head, and of all pages,
    /// manifests and histories. `seen` are pages and other objects that were gone through before.
    pub(crate) async fn live(
        &self,
        head: &HeadContent,
        seen: &mut HashSet<ObjectId>,
        live: &mut HashSet<SegmentId>,
    ) -> Result<(), DriveError> {
        live.extend(head.table.iter().map(Segment::id));
        let table = Arc::new(head.table.clone());
        for tree in [&head.files, &head.bin, &head.shares] {
            self.live_below(&FolderNode::of(tree, &table)?, true, seen, live).await?;
        }
        Ok(())
    }

    /// The same for what lies below one folder, its own topmost page's segments left out. With `past`,
    /// earlier versions too.
    pub(crate) async fn live_below(
        &self,
        folder: &FolderNode,
        past: bool,
        seen: &mut HashSet<ObjectId>,
        live: &mut HashSet<SegmentId>,
    ) -> Result<(), DriveError> {
        let Some(top) = &folder.page else { return Ok(()) };
        if !seen.insert(top.object.id) {
            return Ok(());
        }
        let top = self.page(&top.table, &top.object, &Bounds::default()).await?;
        // Folders' topmost pages have no bounds, other pages those of their parents.
        let mut pages = vec![(top, Bounds::default())];
        while let Some((page, bounds)) = pages.pop() {
            if past {
                live.extend(page.table.iter().map(Segment::id));
            }
            match &page.items {
                Items::Pages { level, pages: below } => {
                    for (at, next) in below.iter().enumerate() {
                        if !past {
                            self.note(&page.table, &next.page, live)?;
                        }
                        if seen.insert(next.page.id) {
                            let bounds = bounds.below(*level, below, at);
                            pages.push((self.page(&page.table, &next.page, &bounds).await?, bounds));
                        }
                    }
                }
                Items::Entries(entries) => {
                    for entry in entries {
                        match &entry.node {
                            EntryKind::Folder(FolderRef { page: Some(top), .. }) => {
                                if !past {
                                    self.note(&page.table, top, live)?;
                                }
                                if seen.insert(top.id) {
                                    let top = self.page(&page.table, top, &Bounds::default()).await?;
                                    pages.push((top, Bounds::default()));
                                }
                            }
                            EntryKind::Folder(_) => {}
                            EntryKind::File(file) => {
                                self.live_content(&page.table, &file.content, !past, live).await?;
                                if past
                                    && let Some(history) = &file.history
                                    && seen.insert(history.object.id)
                                {
                                    let history = self.history(&page.table, &history.object).await?;
                                    live.extend(history.table.iter().map(Segment::id));
                                    for version in &history.versions {
                                        self.live_content(&history.table, &version.content, false, live)
                                            .await?;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The segments of one file's content. With `own`, those in which its object or manifest lies, too.
    pub(crate) async fn live_content(
        &self,
        table: &[Segment],
        content: &FileContent,
        own: bool,
        live: &mut HashSet<SegmentId>,
    ) -> Result<(), DriveError> {
        match content {
            FileContent::Inline(_) => {}
            FileContent::Direct(object) => {
                if own {
                    self.note(table, object, live)?;
                }
            }
            FileContent::Manifest { manifest, len } => {
                if own {
                    self.note(table, manifest, live)?;
                }
                let manifest = self.manifest(table, manifest, *len).await?;
                live.extend(manifest.table.iter().map(Segment::id));
            }
        }
        Ok(())
    }

    fn note(
        &self,
        table: &[Segment],
        object: &commonhold_format::drive::ObjectRef,
        live: &mut HashSet<SegmentId>,
    ) -> Result<(), DriveError> {
        live.extend(segments_of(table, object)?.into_iter().map(Segment::id));
        Ok(())
    }
}

struct ToRead {
    page: commonhold_format::drive::ObjectRef,
    table: Arc<Vec<Segment>>,
    bounds: Bounds,
}

/// A walk through one folder.
pub(crate) struct Scan {
    objects: Objects,
    after: Option<Name>,
    todo: VecDeque<ToRead>,
    page: Option<Standing>,
}

impl Scan {
    /// The next entry; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Standing>, DriveError> {
        loop {
            if let Some(standing) = &mut self.page {
                let found = standing.clone();
                if found.at < entries(&found.page).len() {
                    standing.at += 1;
                    return Ok(Some(found));
                }
                self.page = None;
            }
            let Some(ToRead { page, table, bounds }) = self.todo.pop_front() else { return Ok(None) };
            let page = self.objects.page(&table, &page, &bounds).await?;
            match &page.items {
                Items::Entries(entries) => {
                    let at = match &self.after {
                        Some(after) => entries.partition_point(|entry| entry.name <= *after),
                        None => 0,
                    };
                    self.page = Some(Standing { page: page.clone(), at });
                }
                Items::Pages { level, pages } => {
                    let from = self.after.as_ref().map_or(0, |after| page_for(pages, after));
                    let table = Arc::new(page.table.clone());
                    for at in (from..pages.len()).rev() {
                        self.todo.push_front(ToRead {
                            page: pages[at].page.clone(),
                            table: table.clone(),
                            bounds: bounds.below(*level, pages, at),
                        });
                    }
                }
            }
        }
    }
}
