//! Writes a batch of changes: what its files still lack, then its pages, from the lowest height up
//! (spec/drive-layout.md, section 4).
//!
//! Invariant: a page is sealed only after the custodian has accepted the segments of everything that it
//! names; pages that the batch does not touch are referred to as they are. Nothing becomes visible here:
//! the new roots do, once a head names them.

use std::collections::BTreeSet;
use std::sync::Arc;

use commonhold_format::drive::{
    DIRECT_EXTENTS_MAX, Entry, EntryKind, FolderRef, HeadContent, Items, Manifest, ObjectRef, Page, PageRef,
    TableBuilder, Writer,
};
use commonhold_format::seal::ObjectKind;
use futures::future::BoxFuture;

use crate::changes::{BIN, Changes, FILES, SHARES, Slot};
use crate::error::DriveError;
use crate::located::{
    Content, FileNode, FolderNode, Kind, Located, Past, PastObject, PastVersion, history, misplaced,
    unwritten,
};
use crate::packer::Packer;
use crate::tree::{Edit, Item, NewItems, Plan, Unit};

/// Largest file that stands in its folder's entry. Pages are written anew whenever one of their entries
/// changes, so larger ones are packed.
pub(crate) const INLINE_WRITE_MAX: usize = 1024;

/// Writes the batch and gives what its head says.
pub(crate) async fn write(
    mut changes: Changes,
    packer: &mut Packer,
    written_ms: i64,
) -> Result<HeadContent, DriveError> {
    contents(&mut changes, packer).await?;
    histories(&mut changes, packer).await?;
    let mut plan = Plan::default();
    let mut tops = Vec::new();
    for root in [FILES, BIN, SHARES] {
        tops.push(plan_folder(&changes, &mut plan, root).await?);
    }
    pages(&changes, &mut plan, tops.iter().filter_map(|(top, _)| top.as_ref()), packer).await?;
    let mut roots = Vec::new();
    for (top, totals) in &tops {
        let page = top.as_ref().map(|top| located(&plan, top)).transpose()?;
        roots.push(FolderNode { page, totals: *totals });
    }
    head(&roots, written_ms, Vec::new())
}

/// The content of a head over three roots.
pub(crate) fn head(
    roots: &[FolderNode],
    written_ms: i64,
    writers: Vec<Writer>,
) -> Result<HeadContent, DriveError> {
    let mut table = TableBuilder::new();
    let mut trees = Vec::with_capacity(roots.len());
    for root in roots {
        trees.push(root.place(&mut table)?);
    }
    let [files, bin, shares] = <[FolderRef; 3]>::try_from(trees).map_err(|_| unwritten())?;
    Ok(HeadContent { table: table.finish(), files, bin, shares, written_ms, writers })
}

/// The numbers of the open folders that hold changed files, and the names of these.
fn changed_files(changes: &Changes) -> Vec<(usize, commonhold_format::drive::Name)> {
    let mut found = Vec::new();
    let mut open: Vec<usize> = vec![FILES, BIN, SHARES];
    while let Some(at) = open.pop() {
        for (name, slot) in &changes.folders[at].slots {
            match slot {
                Slot::Open(below) => open.push(*below),
                Slot::Node(node) if matches!(node.kind, Kind::File(_)) => found.push((at, name.clone())),
                Slot::Node(_) | Slot::Gone => {}
            }
        }
    }
    found
}

fn file_at<'a>(
    changes: &'a mut Changes,
    folder: usize,
    name: &commonhold_format::drive::Name,
) -> Result<&'a mut FileNode, DriveError> {
    match changes.folders[folder].slots.get_mut(name) {
        Some(Slot::Node(node)) => match &mut node.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(unwritten()),
        },
        _ => Err(unwritten()),
    }
}

/// Packs files that are too large for their entries, and writes the manifests of those with many extents.
async fn contents(changes: &mut Changes, packer: &mut Packer) -> Result<(), DriveError> {
    // What was handed to the packer, and where its reference goes when that is flushed: to a file, or to one of
    // its earlier versions.
    let mut waiting = Vec::new();
    for (folder, name) in changed_files(changes) {
        let file = file_at(changes, folder, &name)?;
        let mut content = std::mem::replace(&mut file.content, Content::Inline(Vec::new()));
        if let Some((object, len)) = settle(&mut content, packer).await? {
            waiting.push((folder, name.clone(), None, object, len));
        }
        let file = file_at(changes, folder, &name)?;
        file.content = content;
        for at in 0..file.past.newer.len() {
            let file = file_at(changes, folder, &name)?;
            let mut content =
                std::mem::replace(&mut file.past.newer[at].content, Content::Inline(Vec::new()));
            if let Some((object, len)) = settle(&mut content, packer).await? {
                waiting.push((folder, name.clone(), Some(at), object, len));
            }
            file_at(changes, folder, &name)?.past.newer[at].content = content;
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let table = packer.flush().await?;
    for (folder, name, past, object, manifest_of) in waiting {
        let located = Located { object, table: table.clone() };
        let content = match manifest_of {
            Some(len) => Content::Manifest { manifest: located, len },
            None => Content::Direct(located),
        };
        let file = file_at(changes, folder, &name)?;
        match past {
            None => file.content = content,
            Some(at) => file.past.newer[at].content = content,
        }
    }
    Ok(())
}

/// Hands what a content lacks to the packer: the object and, if it is a manifest, the file's length.
async fn settle(
    content: &mut Content,
    packer: &mut Packer,
) -> Result<Option<(ObjectRef, Option<u64>)>, DriveError> {
    match content {
        Content::Inline(bytes) if bytes.len() > INLINE_WRITE_MAX => {
            let mut file = packer.begin_file(bytes.len() as u64).await?;
            packer.write(&mut file, bytes).await?;
            Ok(Some((packer.finish(file).await?, None)))
        }
        Content::Direct(object) if object.object.extents.len() > DIRECT_EXTENTS_MAX => {
            let len = object.object.len;
            let manifest = manifest(std::slice::from_ref(object))?;
            Ok(Some((packer.add_object(ObjectKind::Manifest, &manifest.encode()).await?, Some(len))))
        }
        Content::Parts(parts) => {
            let manifest = manifest(parts)?;
            let too_long = || DriveError::TooLarge("the parts are too long for one file".to_owned());
            let len = manifest.len().ok_or_else(too_long)?;
            Ok(Some((packer.add_object(ObjectKind::Manifest, &manifest.encode()).await?, Some(len))))
        }
        Content::Inline(_) | Content::Direct(_) | Content::Manifest { .. } => Ok(None),
    }
}

fn manifest(parts: &[Located]) -> Result<Manifest, DriveError> {
    let mut table = TableBuilder::new();
    let parts: Result<Vec<ObjectRef>, DriveError> = parts.iter().map(|part| part.place(&mut table)).collect();
    Ok(Manifest { parts: parts?, table: table.finish() })
}

/// Writes the histories of files that became newer.
async fn histories(changes: &mut Changes, packer: &mut Packer) -> Result<(), DriveError> {
    let mut waiting = Vec::new();
    for (folder, name) in changed_files(changes) {
        let most = changes.versions_max;
        let objects = changes.objects.clone();
        let past = std::mem::take(&mut file_at(changes, folder, &name)?.past);
        if past.newer.is_empty() {
            file_at(changes, folder, &name)?.past = past;
            continue;
        }
        let mut versions = past.newer;
        if let Some(older) = past.object.filter(|_| versions.len() < most) {
            let object = objects.history(&older.object.table, &older.object.object).await?;
            for version in &object.versions {
                versions.push(PastVersion::of(version, &object.table)?);
            }
        }
        versions.truncate(most);
        if versions.is_empty() {
            continue;
        }
        let bytes = versions.iter().fold(0u64, |sum, version| sum.saturating_add(version.content.len()));
        let count = versions.len() as u64;
        let object = packer.add_object(ObjectKind::History, &history(&versions)?.encode()).await?;
        waiting.push((folder, name, count, bytes, object));
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let table = packer.flush().await?;
    for (folder, name, versions, bytes, object) in waiting {
        let object = Located { object, table: table.clone() };
        let past = Past { newer: Vec::new(), object: Some(Box::new(PastObject { object, versions, bytes })) };
        file_at(changes, folder, &name)?.past = past;
    }
    Ok(())
}

fn plan_folder<'a>(
    changes: &'a Changes,
    plan: &'a mut Plan,
    folder: usize,
) -> BoxFuture<'a, Result<(Option<Unit>, commonhold_format::drive::Totals), DriveError>> {
    Box::pin(async move {
        let open = &changes.folders[folder];
        let mut edits: Vec<Edit> = Vec::new();
        for (name, slot) in &open.slots {
            let item = match slot {
                Slot::Gone => None,
                Slot::Node(node) => Some(Item::New(name.clone(), node.clone())),
                Slot::Open(below) => {
                    if !changes.is_changed(*below) {
                        continue;
                    }
                    let (top, totals) = plan_folder(changes, plan, *below).await?;
                    let below = &changes.folders[*below];
                    Some(Item::Folder {
                        name: name.clone(),
                        modified_ms: below.modified_ms,
                        attributes: below.attributes.clone(),
                        top,
                        totals,
                    })
                }
            };
            edits.push((name.clone(), item));
        }
        plan.folder(&changes.objects, &open.base, edits).await
    })
}

/// Seals the planned pages that the roots lead to.
async fn pages<'a>(
    changes: &Changes,
    plan: &mut Plan,
    tops: impl Iterator<Item = &'a Unit>,
    packer: &mut Packer,
) -> Result<(), DriveError> {
    let mut needed: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut waiting: Vec<usize> =
        tops.filter_map(|top| if let Unit::New(at) = top { Some(*at) } else { None }).collect();
    while let Some(at) = waiting.pop() {
        let page = &plan.pages[at];
        if !needed.insert((page.height, at)) {
            continue;
        }
        let mut follow = |unit: &Unit| {
            if let Unit::New(below) = unit {
                waiting.push(*below);
            }
        };
        match &page.items {
            NewItems::Pages { pages, .. } => pages.iter().for_each(&mut follow),
            NewItems::Entries(items) => {
                for item in items {
                    if let Item::Folder { top: Some(top), .. } = item {
                        follow(top);
                    }
                }
            }
        }
    }
    let heights: BTreeSet<usize> = needed.iter().map(|(height, _)| *height).collect();
    for height in heights {
        let mut written = Vec::new();
        for (_, at) in needed.range((height, 0)..=(height, usize::MAX)) {
            let page = build(plan, *at)?;
            let object = packer.add_object(ObjectKind::Folder, &page.encode()).await?;
            changes.objects.remember(&object, Arc::new(page));
            written.push((*at, object));
        }
        let table = packer.flush().await?;
        for (at, object) in written {
            plan.pages[at].written = Some(Located { object, table: table.clone() });
        }
    }
    Ok(())
}

/// Where a page is, now that it is written.
fn located(plan: &Plan, unit: &Unit) -> Result<Located, DriveError> {
    match unit {
        Unit::Old { page, .. } => Ok(page.clone()),
        Unit::New(at) => plan.pages[*at].written.clone().ok_or_else(unwritten),
    }
}

fn build(plan: &Plan, at: usize) -> Result<Page, DriveError> {
    let mut table = TableBuilder::new();
    let items = match &plan.pages[at].items {
        NewItems::Pages { level, pages } => {
            let mut below = Vec::with_capacity(pages.len());
            for unit in pages {
                below.push(PageRef {
                    first: plan.first(unit),
                    page: located(plan, unit)?.place(&mut table)?,
                    totals: plan.totals(unit),
                });
            }
            Items::Pages { level: *level, pages: below }
        }
        NewItems::Entries(items) => {
            let mut entries = Vec::with_capacity(items.len());
            for item in items {
                entries.push(entry(plan, item, &mut table)?);
            }
            Items::Entries(entries)
        }
    };
    Ok(Page { table: table.finish(), items })
}

fn entry(plan: &Plan, item: &Item, table: &mut TableBuilder) -> Result<Entry, DriveError> {
    match item {
        Item::New(name, node) => node.place(name.clone(), table),
        Item::Old(standing) => {
            let entry = standing.entry();
            let from = &standing.page.table;
            let mut moved = entry.clone();
            match &mut moved.node {
                EntryKind::Folder(folder) => {
                    if let Some(page) = &mut folder.page {
                        *page = page.moved(from, table).map_err(misplaced)?;
                    }
                }
                EntryKind::File(file) => {
                    use commonhold_format::drive::FileContent::{Direct, Inline, Manifest};
                    match &mut file.content {
                        Inline(_) => {}
                        Direct(object) | Manifest { manifest: object, .. } => {
                            *object = object.moved(from, table).map_err(misplaced)?;
                        }
                    }
                    if let Some(history) = &mut file.history {
                        history.object = history.object.moved(from, table).map_err(misplaced)?;
                    }
                }
            }
            Ok(moved)
        }
        Item::Folder { name, modified_ms, attributes, top, totals } => {
            let page = top.as_ref().map(|top| located(plan, top)?.place(table)).transpose()?;
            Ok(Entry {
                name: name.clone(),
                modified_ms: *modified_ms,
                attributes: attributes.clone(),
                node: EntryKind::Folder(FolderRef { page, totals: *totals }),
            })
        }
    }
}
