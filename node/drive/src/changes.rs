//! A batch of changes to the three trees of a drive, in memory.
//!
//! Invariant: each change sees those before it; one that fails leaves the batch as it was before it, so
//! that many callers can share one batch. Nothing here is written or visible: `write` makes pages of it.

use std::collections::BTreeMap;

use commonhold_format::drive::{Attributes, Name, Totals, Writer};
use futures::future::BoxFuture;

use crate::error::DriveError;
use crate::located::{FolderNode, Kind, Node};
use crate::objects::Objects;
use crate::path::DrivePath;

/// The root folder of the files, by its number.
pub(crate) const FILES: usize = 0;
/// The bin.
pub(crate) const BIN: usize = 1;
/// The links that were given out.
pub(crate) const SHARES: usize = 2;

/// What stands under a name in an open folder, where it differs from what was there.
#[derive(Clone)]
pub(crate) enum Slot {
    /// Nothing.
    Gone,
    /// A file, or a folder that is not open.
    Node(Node),
    /// An open folder, by its number.
    Open(usize),
}

/// A folder of which entries were looked at or changed.
pub(crate) struct Folder {
    /// Its pages before the batch.
    pub(crate) base: FolderNode,
    /// For its own entry; without meaning for roots.
    pub(crate) modified_ms: i64,
    pub(crate) attributes: Attributes,
    pub(crate) slots: BTreeMap<Name, Slot>,
    /// Whether its entry is new or another one than before.
    pub(crate) touched: bool,
}

enum Undo {
    Slot(usize, Name, Option<Slot>),
    Entry(usize, i64, Attributes, bool),
}

/// The batch.
pub(crate) struct Changes {
    pub(crate) objects: Objects,
    pub(crate) folders: Vec<Folder>,
    undo: Vec<Undo>,
    /// The time of this batch, milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Most earlier versions of a file.
    pub(crate) versions_max: usize,
    /// Devices of histories that were taken in.
    pub(crate) writers: Vec<Writer>,
}

/// A change of a batch, spelled so that the compiler sees that it takes the batch for any time.
pub(crate) fn edit<T, F>(change: F) -> F
where
    F: for<'a> FnOnce(&'a mut Changes) -> BoxFuture<'a, Result<T, DriveError>>,
{
    change
}

/// What stands under a name.
pub(crate) enum Seen {
    /// A file.
    File(Node),
    /// A folder, which is open now.
    Folder(usize),
}

impl Changes {
    pub(crate) fn new(objects: Objects, trees: [FolderNode; 3], now_ms: i64, versions_max: usize) -> Self {
        let folders = trees.map(|base| Folder {
            base,
            modified_ms: 0,
            attributes: Attributes::new(),
            slots: BTreeMap::new(),
            touched: false,
        });
        Self { objects, folders: folders.into(), undo: Vec::new(), now_ms, versions_max, writers: Vec::new() }
    }

    /// Forgets what could be undone: what happened so far stays.
    pub(crate) fn settle(&mut self) {
        self.undo.clear();
    }

    /// Undoes everything since the last [`Changes::settle`].
    pub(crate) fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Slot(folder, name, Some(slot)) => {
                    self.folders[folder].slots.insert(name, slot);
                }
                Undo::Slot(folder, name, None) => {
                    self.folders[folder].slots.remove(&name);
                }
                Undo::Entry(folder, modified_ms, attributes, touched) => {
                    let folder = &mut self.folders[folder];
                    (folder.modified_ms, folder.attributes, folder.touched) =
                        (modified_ms, attributes, touched);
                }
            }
        }
    }

    fn set(&mut self, folder: usize, name: Name, slot: Slot) {
        let old = self.folders[folder].slots.insert(name.clone(), slot);
        self.undo.push(Undo::Slot(folder, name, old));
    }

    /// The folder with this number, for its own entry to be changed.
    pub(crate) fn entry_of(&mut self, folder: usize) -> (&mut i64, &mut Attributes) {
        let (modified_ms, attributes, touched) = {
            let folder = &self.folders[folder];
            (folder.modified_ms, folder.attributes.clone(), folder.touched)
        };
        self.undo.push(Undo::Entry(folder, modified_ms, attributes, touched));
        let folder = &mut self.folders[folder];
        folder.touched = true;
        (&mut folder.modified_ms, &mut folder.attributes)
    }

    fn add(&mut self, base: FolderNode, modified_ms: i64, attributes: Attributes, touched: bool) -> usize {
        self.folders.push(Folder { base, modified_ms, attributes, slots: BTreeMap::new(), touched });
        self.folders.len() - 1
    }

    /// What stands under a name. A folder is opened for it.
    pub(crate) async fn see(&mut self, folder: usize, name: &Name) -> Result<Option<Seen>, DriveError> {
        let node = match self.folders[folder].slots.get(name) {
            Some(Slot::Gone) => return Ok(None),
            Some(Slot::Open(at)) => return Ok(Some(Seen::Folder(*at))),
            Some(Slot::Node(node)) => node.clone(),
            None => match self.objects.lookup(&self.folders[folder].base, name).await? {
                None => return Ok(None),
                Some(standing) => standing.node()?,
            },
        };
        let changed = matches!(self.folders[folder].slots.get(name), Some(Slot::Node(_)));
        match node.kind {
            Kind::File(_) => Ok(Some(Seen::File(node))),
            Kind::Folder(base) => {
                let at = self.add(base, node.modified_ms, node.attributes, changed);
                self.set(folder, name.clone(), Slot::Open(at));
                Ok(Some(Seen::Folder(at)))
            }
        }
    }

    /// The folder at a path below `root`; `not_found` if there is none.
    pub(crate) async fn folder(&mut self, root: usize, path: &DrivePath) -> Result<usize, DriveError> {
        let mut at = root;
        for name in path.names() {
            match self.see(at, name).await? {
                Some(Seen::Folder(next)) => at = next,
                _ => return Err(DriveError::NotFound(path.to_string())),
            }
        }
        Ok(at)
    }

    /// The same, made if need be; `exists` where a file is in the way.
    pub(crate) async fn folder_made(&mut self, root: usize, path: &DrivePath) -> Result<usize, DriveError> {
        let mut at = root;
        for (depth, name) in path.names().iter().enumerate() {
            at = match self.see(at, name).await? {
                Some(Seen::Folder(next)) => next,
                Some(Seen::File(_)) => {
                    let clash = DrivePath::from_names(path.names()[..=depth].to_vec())?;
                    return Err(exists(&clash, "file", "folder"));
                }
                None => self.make_folder(at, name.clone(), self.now_ms),
            };
        }
        Ok(at)
    }

    /// Makes an empty folder under a name that nothing has.
    pub(crate) fn make_folder(&mut self, folder: usize, name: Name, modified_ms: i64) -> usize {
        let at = self.add(FolderNode::default(), modified_ms, Attributes::new(), true);
        self.set(folder, name, Slot::Open(at));
        at
    }

    /// The folder that a path's last name stands in, and that name; `not_found` for the root.
    pub(crate) async fn parent<'a>(
        &mut self,
        root: usize,
        path: &'a DrivePath,
    ) -> Result<(usize, &'a Name), DriveError> {
        let not_found = || DriveError::NotFound(path.to_string());
        let name = path.name().ok_or_else(not_found)?;
        let above = path.parent().unwrap_or_default();
        let folder = self.folder(root, &above).await.map_err(|error| match error {
            DriveError::NotFound(_) => not_found(),
            error => error,
        })?;
        Ok((folder, name))
    }

    /// The file at a path below `root`.
    pub(crate) async fn file(
        &mut self,
        root: usize,
        path: &DrivePath,
    ) -> Result<(usize, Name, Node), DriveError> {
        let (folder, name) = self.parent(root, path).await?;
        match self.see(folder, name).await? {
            Some(Seen::File(node)) => Ok((folder, name.clone(), node)),
            _ => Err(DriveError::NotFound(path.to_string())),
        }
    }

    /// What stands under a name, left where it is. Folders are not opened for it.
    pub(crate) async fn slot(&self, folder: usize, name: &Name) -> Result<Option<Slot>, DriveError> {
        match self.folders[folder].slots.get(name) {
            Some(Slot::Gone) => Ok(None),
            Some(slot) => Ok(Some(slot.clone())),
            None => match self.objects.lookup(&self.folders[folder].base, name).await? {
                None => Ok(None),
                Some(standing) => Ok(Some(Slot::Node(standing.node()?))),
            },
        }
    }

    /// Takes what stands under a name away.
    pub(crate) async fn take(&mut self, folder: usize, name: &Name) -> Result<Option<Slot>, DriveError> {
        let slot = self.slot(folder, name).await?;
        if let Some(Slot::Open(at)) = &slot {
            // Wherever it comes to stand, its entry is new there.
            self.entry_of(*at);
        }
        if slot.is_some() {
            self.set(folder, name.clone(), Slot::Gone);
        }
        Ok(slot)
    }

    /// Puts something under a name, whatever stands there.
    pub(crate) fn put(&mut self, folder: usize, name: Name, slot: Slot) {
        self.set(folder, name, slot);
    }

    /// Whether anything in an open folder or below it is other than it was, its own entry included.
    pub(crate) fn is_changed(&self, folder: usize) -> bool {
        let mut open = vec![folder];
        while let Some(at) = open.pop() {
            let folder = &self.folders[at];
            if folder.touched {
                return true;
            }
            for slot in folder.slots.values() {
                match slot {
                    Slot::Gone | Slot::Node(_) => return true,
                    Slot::Open(below) => open.push(*below),
                }
            }
        }
        false
    }

    /// Files and bytes in a slot, as far as is known without its pages.
    pub(crate) async fn measure(&self, slot: &Slot) -> Result<Totals, DriveError> {
        let mut totals = Totals::default();
        let mut waiting = vec![slot.clone()];
        while let Some(slot) = waiting.pop() {
            match slot {
                Slot::Gone => {}
                Slot::Node(node) => totals = crate::located::sum([totals, node.totals()]),
                Slot::Open(at) => {
                    let folder = &self.folders[at];
                    if folder.slots.is_empty() {
                        totals = crate::located::sum([totals, folder.base.totals]);
                        continue;
                    }
                    waiting.extend(folder.slots.values().cloned());
                    let mut scan = self.objects.scan(&folder.base, None);
                    while let Some(standing) = scan.next().await? {
                        if !folder.slots.contains_key(&standing.entry().name) {
                            totals =
                                crate::located::sum([totals, crate::located::entry_totals(standing.entry())]);
                        }
                    }
                }
            }
        }
        Ok(totals)
    }

    /// Whether an open folder has no entries.
    pub(crate) async fn is_empty(&self, folder: usize) -> Result<bool, DriveError> {
        let folder = &self.folders[folder];
        if folder.slots.values().any(|slot| !matches!(slot, Slot::Gone)) {
            return Ok(false);
        }
        let mut scan = self.objects.scan(&folder.base, None);
        while let Some(standing) = scan.next().await? {
            if !folder.slots.contains_key(&standing.entry().name) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The error of a file against a folder, either way.
pub(crate) fn exists(path: &DrivePath, existing: &'static str, wanted: &'static str) -> DriveError {
    DriveError::Exists { path: path.to_string(), existing, wanted }
}
