//! What links lead to: one page for each, and the list of segments that its readers may have.
//!
//! Invariant: a link's entry in the tree of shares is a folder whose one page is what its readers see, so
//! what a link shows stays stored as long as the link is there; and its segments are those of the cover
//! list, no others (spec/links.md, sections 3 and 4).

use std::collections::HashSet;

use commonhold_format::drive::{Attributes, EntryKind, Items, Name, ObjectRef, Page, TableBuilder, Totals};
use commonhold_format::ids::SegmentId;
use commonhold_format::link::CoverList;
use commonhold_format::seal::ObjectKind;
use commonhold_format::segment::Segment;

use super::Drive;
use crate::changes::{SHARES, Seen, Slot, edit};
use crate::error::DriveError;
use crate::located::{FolderNode, Kind, Located, Node, Past};
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::report::{Info, ListKind};

/// What a share shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The file or folder itself.
    Content,
    /// An empty folder of its name: a drop box shows nothing.
    Name,
}

/// A link as the drive keeps it.
#[derive(Debug, Clone)]
pub struct Share {
    /// Its name in the tree of shares.
    pub name: String,
    /// When it was made or last written anew, milliseconds since 1970.
    pub written_ms: i64,
    /// What the caller keeps of it.
    pub attributes: Attributes,
    /// The link segment, and the root page in it. None for a share that shows nothing any more.
    pub root: Option<(Segment, ObjectRef)>,
}

impl Drive {
    /// The links that were given out, in the order of their names.
    pub async fn shares(&self) -> Result<Vec<Share>, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [_, _, shares] = snapshot.roots()?;
        let mut scan = inner.objects.scan(&shares, None);
        let mut found = Vec::new();
        while let Some(standing) = scan.next().await? {
            let entry = standing.entry();
            let Kind::Folder(folder) = standing.node()?.kind else { continue };
            found.push(Share {
                name: entry.name.as_str().to_owned(),
                written_ms: entry.modified_ms,
                attributes: entry.attributes.clone(),
                root: folder.page.and_then(|page| Some((page.table.first()?.clone(), page.object))),
            });
        }
        Ok(found)
    }

    /// What stands at a path as a link shows it: its kind, and a text that is another one whenever a link to
    /// it has to be written anew. `not_found` when nothing stands there.
    pub async fn shown(&self, path: &DrivePath) -> Result<(Info, Vec<u8>), DriveError> {
        let inner = &self.inner;
        let snapshot = inner.snapshot().await;
        let [files, ..] = snapshot.roots()?;
        match inner.objects.find(&files, path).await? {
            None => Ok((self.info(path).await?, identity(files.page.as_ref().map(|page| &page.object), ""))),
            Some(standing) => {
                let entry = standing.entry();
                let info = Info::of(path.clone(), entry);
                let identity = match &entry.node {
                    EntryKind::Folder(folder) => identity(folder.page.as_ref(), entry.name.as_str()),
                    EntryKind::File(_) => {
                        let mut id = info.content_id.to_vec();
                        id.extend_from_slice(entry.name.as_str().as_bytes());
                        id
                    }
                };
                Ok((info, identity))
            }
        }
    }

    /// Writes what the share `name` shows of `path`, and keeps `attributes` with it. A share of that name is
    /// replaced. Gives the link segment and the root in it.
    pub async fn put_share(
        &self,
        name: &Name,
        path: &DrivePath,
        shown: Shown,
        attributes: Attributes,
    ) -> Result<Share, DriveError> {
        let inner = &self.inner;
        // Held until the share's turn has come, even if the caller stops waiting: what it names is not deleted
        // before.
        let snapshot = inner.snapshot().await;
        let (page, cover) = {
            let [files, ..] = snapshot.roots()?;
            let (entry_name, mut node) = match inner.objects.find(&files, path).await? {
                Some(standing) => (standing.entry().name.clone(), standing.node()?),
                None => {
                    // The root has no name of its own.
                    let name = Name::new("drive").map_err(|error| DriveError::Internal(error.to_string()))?;
                    (
                        name,
                        Node {
                            modified_ms: snapshot.written_ms(),
                            attributes: Attributes::new(),
                            kind: Kind::Folder(files),
                        },
                    )
                }
            };
            node.attributes.retain(|key, _| key == CONTENT_TYPE);
            let mut live = HashSet::new();
            match &mut node.kind {
                Kind::File(_) if shown == Shown::Name => {
                    return Err(crate::changes::exists(path, "file", "folder"));
                }
                Kind::Folder(folder) if shown == Shown::Name => *folder = FolderNode::default(),
                Kind::File(file) => file.past = Past::default(),
                Kind::Folder(folder) => {
                    inner.objects.live_below(folder, false, &mut HashSet::new(), &mut live).await?;
                    live.extend(folder.page.iter().flat_map(|page| page.table.iter().map(Segment::id)));
                }
            }
            let mut table = TableBuilder::new();
            let entry = node.place(entry_name, &mut table)?;
            let table = table.finish();
            if let EntryKind::File(file) = &entry.node {
                inner.objects.live_content(&table, &file.content, true, &mut live).await?;
            }
            (Page { table, items: Items::Entries(vec![entry]) }, cover(live)?)
        };
        let code = inner.keeper.custody().code().await?;
        let pending = inner.keeper.pending();
        let mut packer = Packer::new(pending.clone(), code);
        packer.add_plain(&cover)?;
        let object = packer.add_object(ObjectKind::Folder, &page.encode()).await?;
        let table = packer.flush().await?;
        let [segment] = table.as_slice() else {
            let why = "what is shared lies in too many segments for one link: share parts of it";
            return Err(DriveError::TooLarge(why.to_owned()));
        };
        let root = (segment.clone(), object.clone());
        let located = Located { object, table: table.clone() };
        let (key, kept) = (name.clone(), attributes.clone());
        let work = edit(move |changes| {
            Box::pin(async move {
                let folder =
                    FolderNode { page: Some(located), totals: Totals { entries: 1, ..Totals::default() } };
                let node = Node { modified_ms: changes.now_ms, attributes: kept, kind: Kind::Folder(folder) };
                changes.put(SHARES, key, Slot::Node(node));
                drop(snapshot);
                Ok(changes.now_ms)
            })
        });
        let written_ms = self.change(Some(pending), work).await?;
        Ok(Share { name: name.as_str().to_owned(), written_ms, attributes, root: Some(root) })
    }

    /// Changes what is kept with a share. With `close`, it shows nothing any more.
    pub async fn set_share(
        &self,
        name: &Name,
        attributes: Attributes,
        close: bool,
    ) -> Result<(), DriveError> {
        let key = name.clone();
        let work = edit(move |changes| {
            Box::pin(async move {
                let missing = || DriveError::NotFound(format!("the share {}", key.as_str()));
                match changes.see(SHARES, &key).await? {
                    Some(Seen::Folder(at)) => {
                        if close {
                            let node = Node {
                                modified_ms: changes.now_ms,
                                attributes,
                                kind: Kind::Folder(FolderNode::default()),
                            };
                            changes.put(SHARES, key, Slot::Node(node));
                        } else {
                            *changes.entry_of(at).1 = attributes;
                        }
                        Ok(())
                    }
                    _ => Err(missing()),
                }
            })
        });
        self.change(None, work).await
    }

    /// Forgets a share. False when there is none of this name.
    pub async fn remove_share(&self, name: &Name) -> Result<bool, DriveError> {
        let key = name.clone();
        let work =
            edit(move |changes| Box::pin(async move { Ok(changes.take(SHARES, &key).await?.is_some()) }));
        self.change(None, work).await
    }
}

/// The one attribute that readers of a link see.
const CONTENT_TYPE: &str = "content-type";

fn identity(page: Option<&ObjectRef>, name: &str) -> Vec<u8> {
    let mut id = page.map_or_else(Vec::new, |page| page.id.0.to_vec());
    id.extend_from_slice(name.as_bytes());
    id
}

fn cover(segments: HashSet<SegmentId>) -> Result<Vec<u8>, DriveError> {
    let list = CoverList::new(segments).map_err(|error| DriveError::TooLarge(error.to_string()))?;
    Ok(list.encode())
}

impl Info {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == ListKind::Folder
    }
}
