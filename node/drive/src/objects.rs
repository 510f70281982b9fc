//! Folders and manifests of the drive: loading, looking up, walking.
//!
//! Invariant: an object is decoded only after it was opened under the key and commitment that its
//! parent names, so a child exists only in a signed parent. Objects are immutable, so what is
//! kept in memory never goes stale.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use commonhold_format::drive::{
    Entry, EntryKind, FileContent, Folder, HeadContent, Manifest, Name, ObjectRef,
};
use commonhold_format::ids::SegmentId;
use commonhold_format::seal::{ObjectId, ObjectKind};
use commonhold_format::segment::Segment;

use crate::error::DriveError;
use crate::keeper::lock;
use crate::path::DrivePath;
use crate::reader::Segments;

/// Encoded bytes of the folders and manifests kept in memory, so that walks do not fetch them
/// again. A folder of 1,000 files takes about 200 KiB.
const CACHE_BYTES_MAX: u64 = 64 << 20;

/// The folders and manifests at hand.
#[derive(Default)]
pub(crate) struct Objects {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    held: HashMap<ObjectId, Held>,
    bytes: u64,
    tick: u64,
}

struct Held {
    object: Object,
    len: u64,
    used: u64,
}

#[derive(Clone)]
enum Object {
    Folder(Arc<Folder>),
    Manifest(Arc<Manifest>),
}

/// Where a path leads.
pub(crate) enum Found {
    /// To a folder; the root has no entry.
    Folder { folder: Arc<Folder>, modified_ms: i64 },
    /// To a file, by its entry in `parent`.
    File { parent: Arc<Folder>, at: usize },
}

impl Objects {
    /// A folder that `table` and `object` name.
    pub(crate) async fn folder(
        &self,
        segments: &Segments,
        table: &[Segment],
        object: &ObjectRef,
    ) -> Result<Arc<Folder>, DriveError> {
        if let Some(Object::Folder(folder)) = self.held(&object.id) {
            return Ok(folder);
        }
        let bytes = segments.object(ObjectKind::Folder, table, object).await?;
        let folder = Folder::decode(&bytes).map_err(|error| DriveError::damaged("a folder", error))?;
        let folder = Arc::new(folder);
        self.keep(object, Object::Folder(folder.clone()));
        Ok(folder)
    }

    /// The manifest of a large file.
    pub(crate) async fn manifest(
        &self,
        segments: &Segments,
        table: &[Segment],
        object: &ObjectRef,
        file_len: u64,
    ) -> Result<Arc<Manifest>, DriveError> {
        let manifest = match self.held(&object.id) {
            Some(Object::Manifest(manifest)) => manifest,
            _ => {
                let bytes = segments.object(ObjectKind::Manifest, table, object).await?;
                let manifest =
                    Manifest::decode(&bytes).map_err(|error| DriveError::damaged("a manifest", error))?;
                let manifest = Arc::new(manifest);
                self.keep(object, Object::Manifest(manifest.clone()));
                manifest
            }
        };
        if manifest.file.len != file_len {
            return Err(DriveError::damaged("a manifest", "it is for a file of another length"));
        }
        Ok(manifest)
    }

    /// Remembers a folder that was just written.
    pub(crate) fn remember(&self, object: &ObjectRef, folder: Arc<Folder>) {
        self.keep(object, Object::Folder(folder));
    }

    fn held(&self, id: &ObjectId) -> Option<Object> {
        let mut cache = lock(&self.cache);
        cache.tick += 1;
        let now = cache.tick;
        let held = cache.held.get_mut(id)?;
        held.used = now;
        Some(held.object.clone())
    }

    fn keep(&self, reference: &ObjectRef, object: Object) {
        let len = reference.len.max(1);
        if len > CACHE_BYTES_MAX {
            return;
        }
        let mut cache = lock(&self.cache);
        cache.tick += 1;
        let used = cache.tick;
        if let Some(old) = cache.held.insert(reference.id, Held { object, len, used }) {
            cache.bytes -= old.len;
        }
        cache.bytes += len;
        if cache.bytes > CACHE_BYTES_MAX {
            // Down to three quarters at once, so that a long walk does not sort at every step.
            let mut by_age: Vec<(u64, ObjectId)> =
                cache.held.iter().map(|(id, held)| (held.used, *id)).collect();
            by_age.sort_unstable_by_key(|(used, _)| *used);
            for (_, id) in by_age {
                if cache.bytes <= CACHE_BYTES_MAX / 4 * 3 {
                    break;
                }
                if let Some(held) = cache.held.remove(&id) {
                    cache.bytes -= held.len;
                }
            }
        }
    }

    /// The root folder under a head; an empty one when there is no head yet.
    pub(crate) async fn root(
        &self,
        segments: &Segments,
        head: Option<&HeadContent>,
    ) -> Result<Arc<Folder>, DriveError> {
        match head {
            Some(head) => self.folder(segments, &head.table, &head.root).await,
            None => Ok(Arc::default()),
        }
    }

    /// What stands at `path`.
    pub(crate) async fn find(
        &self,
        segments: &Segments,
        head: Option<&HeadContent>,
        path: &DrivePath,
    ) -> Result<Found, DriveError> {
        let mut folder = self.root(segments, head).await?;
        let mut modified_ms = head.map_or(0, |head| head.written_ms);
        for (depth, name) in path.names().iter().enumerate() {
            let at = position(&folder, name).ok_or_else(|| DriveError::NotFound(path.to_string()))?;
            let entry = &folder.entries[at];
            match &entry.node {
                EntryKind::Folder(object) => {
                    modified_ms = entry.modified_ms;
                    folder = self.folder(segments, &folder.table, object).await?;
                }
                EntryKind::File { .. } if depth + 1 == path.names().len() => {
                    return Ok(Found::File { parent: folder, at });
                }
                EntryKind::File { .. } => return Err(DriveError::NotFound(path.to_string())),
            }
        }
        Ok(Found::Folder { folder, modified_ms })
    }

    /// Adds every segment that a head needs to `live`: the tables of the head, of all folders and
    /// of all manifests.
    pub(crate) async fn live(
        &self,
        segments: &Segments,
        head: &HeadContent,
        live: &mut HashSet<SegmentId>,
    ) -> Result<(), DriveError> {
        live.extend(head.table.iter().map(Segment::id));
        let mut folders = vec![self.folder(segments, &head.table, &head.root).await?];
        while let Some(folder) = folders.pop() {
            live.extend(folder.table.iter().map(Segment::id));
            for entry in &folder.entries {
                match &entry.node {
                    EntryKind::Folder(object) => {
                        folders.push(self.folder(segments, &folder.table, object).await?);
                    }
                    EntryKind::File { content: FileContent::Manifest { manifest, len }, .. } => {
                        let manifest = self.manifest(segments, &folder.table, manifest, *len).await?;
                        live.extend(manifest.table.iter().map(Segment::id));
                    }
                    EntryKind::File { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Files and bytes below an entry.
    pub(crate) async fn measure(
        &self,
        segments: &Segments,
        parent: &Folder,
        entry: &Entry,
    ) -> Result<(u64, u64), DriveError> {
        let EntryKind::Folder(object) = &entry.node else {
            return Ok((1, file_len(entry)));
        };
        let (mut files, mut bytes) = (0, 0u64);
        let mut folders = vec![self.folder(segments, &parent.table, object).await?];
        while let Some(folder) = folders.pop() {
            for entry in &folder.entries {
                match &entry.node {
                    EntryKind::Folder(object) => {
                        folders.push(self.folder(segments, &folder.table, object).await?);
                    }
                    EntryKind::File { .. } => {
                        files += 1;
                        bytes = bytes.saturating_add(file_len(entry));
                    }
                }
            }
        }
        Ok((files, bytes))
    }
}

/// Where `name` stands in a folder.
pub(crate) fn position(folder: &Folder, name: &Name) -> Option<usize> {
    folder.entries.binary_search_by(|entry| entry.name.cmp(name)).ok()
}

/// Bytes of a file; 0 for a folder.
pub(crate) fn file_len(entry: &Entry) -> u64 {
    match &entry.node {
        EntryKind::File { content, .. } => content.len(),
        EntryKind::Folder(_) => 0,
    }
}
