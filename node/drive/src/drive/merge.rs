//! Taking another history of the drive into the current one.
//!
//! Invariant: nothing of either history is lost: where both changed one path, both are kept, the other
//! history's under a new name; what the other one removed goes to the bin. What one of them put into the
//! bin is not brought back (attack 12). Files are told apart by their content, so a file that both have is
//! one file.

use std::collections::HashSet;

use commonhold_format::drive::Name;

use super::Drive;
use super::bin::PATH_ATTRIBUTE;
use super::reading::id_of;
use super::state::roots;
use super::storing::succeed;
use super::{bin, stopped};
use crate::changes::{BIN, Changes, FILES, SHARES, Seen, Slot, edit};
use crate::error::DriveError;
use crate::heads::OpenHead;
use crate::located::{FolderNode, Kind, Node};
use crate::objects::Objects;
use crate::packer::random;
use crate::path::DrivePath;
use crate::report::{Merged, SKIPPED_MAX};

impl Drive {
    /// Takes another history, named by its head's hash, into the current one, and gives it up then.
    /// `not_found` when there is none with this hash.
    pub async fn merge(&self, hash: &[u8; 32]) -> Result<Merged, DriveError> {
        let (inner, hash) = (self.inner.clone(), *hash);
        let merging = tokio::spawn(async move {
            let drive = Drive { inner };
            let mut merged = drive.merge_if(&hash, |_| true).await?;
            merged.warnings = drive.inner.settle().await;
            Ok(merged)
        });
        merging.await.map_err(stopped)?
    }

    /// Gives up the histories of which the current one has everything already, as after a merge on another
    /// device. True if there were some.
    pub async fn forget_contained(&self) -> bool {
        let forks: Vec<[u8; 32]> = {
            let heads = self.inner.heads.lock().await;
            heads.forks.iter().map(|fork| fork.hash).collect()
        };
        let mut forgotten = false;
        for hash in forks {
            let nothing = |merged: &Merged| {
                merged.added.is_empty() && merged.conflicts.is_empty() && merged.removed.is_empty()
            };
            // What cannot be read now may be contained later.
            forgotten |= self.merge_if(&hash, nothing).await.is_ok();
        }
        forgotten
    }

    /// Merges if `wanted` takes what that would do; else `precondition`, and nothing has changed.
    async fn merge_if(
        &self,
        hash: &[u8; 32],
        wanted: impl FnOnce(&Merged) -> bool + Send + 'static,
    ) -> Result<Merged, DriveError> {
        let (theirs, ancestor, current) = {
            let heads = self.inner.heads.lock().await;
            let theirs = heads.forks.iter().find(|fork| fork.hash == *hash).cloned();
            let theirs = theirs.ok_or_else(unknown)?;
            (theirs.clone(), heads.ancestor_of(&theirs), heads.current.clone())
        };
        let objects = &self.inner.objects;
        let mut merge = Merge {
            theirs: roots(&theirs.content)?,
            ancestor: match &ancestor {
                None => None,
                Some(head) => readable(objects, head).await,
            },
            here: Binned::default(),
            there: Binned::default(),
            label: format!("history {}", theirs.head.sequence),
            salt: [0; 4],
            merged: Merged::default(),
        };
        random(&mut merge.salt)?;
        merge.merged.with_ancestor = merge.ancestor.is_some();
        merge.there = Binned::of(objects, &merge.theirs[1]).await?;
        if let Some(current) = &current {
            merge.here = Binned::of(objects, &roots(&current.content)?[1]).await?;
        }
        let keep = self.inner.options.versions_max > 0;
        let writers = theirs.content.writers.clone();
        let (inner, wanted_hash) = (self.inner.clone(), *hash);
        let work = edit(move |changes| {
            Box::pin(async move {
                // Under the change lock, as sweeps are: what it has may be gone if it was given up since.
                if !inner.heads.lock().await.forks.iter().any(|fork| fork.hash == wanted_hash) {
                    return Err(unknown());
                }
                merge.run(changes, keep).await?;
                changes.writers.extend(&writers);
                let not_wanted = || DriveError::Precondition("the drive's current history".to_owned());
                if wanted(&merge.merged) { Ok(merge.merged) } else { Err(not_wanted()) }
            })
        });
        let (merged, _) = self.inner.commit(None, work).await?;
        self.forget_fork(hash).await?;
        Ok(merged)
    }
}

fn unknown() -> DriveError {
    DriveError::NotFound("a history with this hash".to_owned())
}

/// The files of a head, if its topmost page can still be read.
async fn readable(objects: &Objects, head: &OpenHead) -> Option<FolderNode> {
    let [files, ..] = roots(&head.content).ok()?;
    objects.top(&files).await.ok()?;
    Some(files)
}

/// What a history has in its bin.
#[derive(Default)]
struct Binned {
    contents: HashSet<[u8; 16]>,
    paths: HashSet<String>,
}

impl Binned {
    async fn of(objects: &Objects, bin: &FolderNode) -> Result<Self, DriveError> {
        let mut binned = Self::default();
        let mut scan = objects.scan(bin, None);
        let mut folders = Vec::new();
        while let Some(standing) = scan.next().await? {
            binned.paths.extend(standing.entry().attributes.get(PATH_ATTRIBUTE).cloned());
            folders.push(standing.node()?);
        }
        while let Some(node) = folders.pop() {
            match node.kind {
                Kind::File(file) => {
                    binned.contents.insert(id_of(file.stored_ms, &file.content));
                }
                Kind::Folder(folder) => {
                    let mut scan = objects.scan(&folder, None);
                    while let Some(standing) = scan.next().await? {
                        folders.push(standing.node()?);
                    }
                }
            }
        }
        Ok(binned)
    }

    fn has(&self, path: &DrivePath, node: &Node) -> bool {
        match &node.kind {
            Kind::File(file) => self.contents.contains(&id_of(file.stored_ms, &file.content)),
            Kind::Folder(_) => self.paths.contains(&path.to_string()),
        }
    }
}

struct Merge {
    theirs: [FolderNode; 3],
    ancestor: Option<FolderNode>,
    here: Binned,
    there: Binned,
    label: String,
    salt: [u8; 4],
    merged: Merged,
}

/// Two folders under one path, and the one from which both came.
struct Pair {
    path: DrivePath,
    ours: usize,
    theirs: FolderNode,
    ancestor: Option<FolderNode>,
}

impl Merge {
    async fn run(&mut self, changes: &mut Changes, keep: bool) -> Result<(), DriveError> {
        // Before theirs are added to it.
        let ancestor = self.ancestor.clone();
        let mut pairs =
            vec![Pair { path: DrivePath::root(), ours: FILES, theirs: self.theirs[0].clone(), ancestor }];
        while let Some(pair) = pairs.pop() {
            self.removals(changes, &pair).await?;
            self.additions(changes, pair, keep, &mut pairs).await?;
        }
        for (root, theirs) in [(BIN, self.theirs[1].clone()), (SHARES, self.theirs[2].clone())] {
            let mut scan = changes.objects.scan(&theirs, None);
            while let Some(standing) = scan.next().await? {
                let name = &standing.entry().name;
                if changes.slot(root, name).await?.is_none() {
                    changes.put(root, name.clone(), Slot::Node(standing.node()?));
                }
            }
        }
        Ok(())
    }

    /// What the other history took away, and this one left as it was, goes to the bin.
    async fn removals(&mut self, changes: &mut Changes, pair: &Pair) -> Result<(), DriveError> {
        let objects = changes.objects.clone();
        let base = pair.ancestor.clone().unwrap_or_else(|| changes.folders[pair.ours].base.clone());
        let mut scan = objects.scan(&base, None);
        while let Some(standing) = scan.next().await? {
            let name = &standing.entry().name;
            if objects.lookup(&pair.theirs, name).await?.is_some() {
                continue;
            }
            let Some(Slot::Node(ours)) = changes.slot(pair.ours, name).await? else { continue };
            let path = pair.path.join(name.clone())?;
            let gone = match &pair.ancestor {
                Some(_) => same(&standing.node()?, &ours),
                None => self.there.has(&path, &ours),
            };
            if gone && let Some(slot) = changes.take(pair.ours, name).await? {
                note(&mut self.merged.removed, &path);
                // The other history's own entry of the bin stands for it, if it still has it.
                if !self.there.has(&path, &ours) {
                    self.salt = self.salt.map(|byte| byte.wrapping_add(1));
                    bin::throw(changes, &path, slot, self.salt)?;
                }
            }
        }
        Ok(())
    }

    /// What the other history has and this one has not, or otherwise.
    async fn additions(
        &mut self,
        changes: &mut Changes,
        pair: Pair,
        keep: bool,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), DriveError> {
        let objects = changes.objects.clone();
        let mut scan = objects.scan(&pair.theirs, None);
        while let Some(standing) = scan.next().await? {
            let name = standing.entry().name.clone();
            let theirs = standing.node()?;
            let path = pair.path.join(name.clone())?;
            let before = match &pair.ancestor {
                None => None,
                Some(ancestor) => match objects.lookup(ancestor, &name).await? {
                    None => None,
                    Some(standing) => Some(standing.node()?),
                },
            };
            let unchanged_there = before.as_ref().is_some_and(|before| same(before, &theirs));
            // Folders that are alike need not be opened.
            if let Some(Slot::Node(ours)) = changes.slot(pair.ours, &name).await?
                && same(&ours, &theirs)
            {
                continue;
            }
            match (changes.see(pair.ours, &name).await?, &theirs.kind) {
                (None, _) => {
                    let removed_here = unchanged_there || (before.is_none() && self.here.has(&path, &theirs));
                    if !removed_here {
                        changes.put(pair.ours, name, Slot::Node(theirs));
                        note(&mut self.merged.added, &path);
                    }
                }
                (Some(Seen::Folder(ours)), Kind::Folder(folder)) => {
                    let ancestor = match before.map(|before| before.kind) {
                        Some(Kind::Folder(folder)) => Some(folder),
                        _ => pair.ancestor.as_ref().map(|_| FolderNode::default()),
                    };
                    pairs.push(Pair { path, ours, theirs: folder.clone(), ancestor });
                }
                _ if unchanged_there => {}
                (Some(Seen::File(ours)), Kind::File(_)) if before.is_some_and(|it| same(&it, &ours)) => {
                    changes.put(pair.ours, name, Slot::Node(succeed(theirs, Some(ours), keep)));
                    note(&mut self.merged.added, &path);
                }
                _ => {
                    if self.here.has(&path, &theirs)
                        || self.in_history(&objects, &pair, changes, &name, &theirs).await?
                    {
                        continue;
                    }
                    let free = self.free_name(changes, pair.ours, &name).await?;
                    note(&mut self.merged.conflicts, &pair.path.join(free.clone())?);
                    changes.put(pair.ours, free, Slot::Node(theirs));
                }
            }
        }
        Ok(())
    }

    /// Whether their file is an earlier version of ours, or was taken in under another name before.
    async fn in_history(
        &self,
        objects: &Objects,
        pair: &Pair,
        changes: &mut Changes,
        name: &Name,
        theirs: &Node,
    ) -> Result<bool, DriveError> {
        let Kind::File(file) = &theirs.kind else { return Ok(false) };
        let id = id_of(file.stored_ms, &file.content);
        if let Some(Seen::File(Node { kind: Kind::File(ours), .. })) = changes.see(pair.ours, name).await? {
            for past in super::history::past(objects, &ours).await? {
                if id_of(past.stored_ms, &past.content) == id {
                    return Ok(true);
                }
            }
        }
        let taken_in = self.renamed(name, 0)?;
        match changes.see(pair.ours, &taken_in).await? {
            Some(Seen::File(Node { kind: Kind::File(ours), .. })) => {
                Ok(id_of(ours.stored_ms, &ours.content) == id)
            }
            _ => Ok(false),
        }
    }

    fn renamed(&self, name: &Name, count: u32) -> Result<Name, DriveError> {
        let label =
            if count == 0 { format!(" ({})", self.label) } else { format!(" ({}, {count})", self.label) };
        name.with_suffix(&label).map_err(|error| DriveError::Internal(error.to_string()))
    }

    async fn free_name(&self, changes: &Changes, folder: usize, name: &Name) -> Result<Name, DriveError> {
        for count in 0..1000 {
            let candidate = self.renamed(name, count)?;
            if changes.slot(folder, &candidate).await?.is_none() {
                return Ok(candidate);
            }
        }
        Err(DriveError::TooLarge(format!("there are too many files called {}", name.as_str())))
    }
}

/// Whether two entries have the same content: one file, or folders that were not written since.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::File(a), Kind::File(b)) => {
            a.stored_ms == b.stored_ms && id_of(a.stored_ms, &a.content) == id_of(b.stored_ms, &b.content)
        }
        (Kind::Folder(a), Kind::Folder(b)) => {
            let id = |folder: &FolderNode| folder.page.as_ref().map(|page| page.object.id);
            id(a) == id(b)
        }
        _ => false,
    }
}

fn note(list: &mut Vec<String>, path: &DrivePath) {
    if list.len() < SKIPPED_MAX {
        list.push(path.to_string());
    }
}
