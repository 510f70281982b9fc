//! Pages, manifests and histories of the drive: loading and keeping at hand.
//!
//! Invariant: an object is decoded only after it was opened under the key and commitment that its
//! parent names, so a child exists only in a signed parent. Objects are immutable, so what is
//! kept in memory never goes stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use commonhold_format::drive::{History, Manifest, Name, ObjectRef, Page};
use commonhold_format::seal::{ObjectId, ObjectKind};
use commonhold_format::segment::Segment;

use crate::error::DriveError;
use crate::keeper::lock;
use crate::reader::Segments;

/// Encoded bytes of the pages, manifests and histories kept in memory, so that walks do not fetch them
/// again. A hundred thousand files take about 20 MiB.
const CACHE_BYTES_MAX: u64 = 64 << 20;

/// The objects at hand, and the segments to read others from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Objects {
    cache: Arc<Mutex<Cache>>,
    pub(crate) segments: Arc<Segments>,
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
    Page(Arc<Page>),
    Manifest(Arc<Manifest>),
    History(Arc<History>),
}

/// What a page's parent says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// Its level; none when it is the topmost page of a folder.
    pub(crate) level: Option<u8>,
    /// No name is smaller.
    pub(crate) first: Option<Name>,
    /// Every name is smaller.
    pub(crate) end: Option<Name>,
}

impl Bounds {
    /// Of the page number `at` below a page of `level` that has these bounds itself.
    pub(crate) fn below(&self, level: u8, pages: &[commonhold_format::drive::PageRef], at: usize) -> Self {
        // A name smaller than all lower bounds belongs into the first page.
        let first = if at == 0 { self.first.clone() } else { pages.get(at).map(|page| page.first.clone()) };
        let end = pages.get(at + 1).map(|next| next.first.clone()).or_else(|| self.end.clone());
        Self { level: level.checked_sub(1), first, end }
    }

    fn check(&self, page: &Page) -> Result<(), DriveError> {
        let level = self.level.unwrap_or(page.level());
        page.check_place(level, self.first.as_ref(), self.end.as_ref())
            .map_err(|error| DriveError::damaged("a folder", error))
    }
}

impl Objects {
    pub(crate) fn new(segments: Arc<Segments>) -> Self {
        Self { cache: Arc::default(), segments }
    }

    /// The same cache, with other segments to read from.
    pub(crate) fn over(&self, segments: Arc<Segments>) -> Self {
        Self { cache: self.cache.clone(), segments }
    }

    /// A page that `table` and `object` name.
    pub(crate) async fn page(
        &self,
        table: &[Segment],
        object: &ObjectRef,
        bounds: &Bounds,
    ) -> Result<Arc<Page>, DriveError> {
        let page = match self.held(&object.id) {
            Some(Object::Page(page)) => page,
            _ => {
                let bytes = self.segments.object(ObjectKind::Folder, table, object).await?;
                let page = Page::decode(&bytes).map_err(|error| DriveError::damaged("a folder", error))?;
                let page = Arc::new(page);
                self.keep(object, Object::Page(page.clone()));
                page
            }
        };
        bounds.check(&page)?;
        Ok(page)
    }

    /// The manifest of a large file.
    pub(crate) async fn manifest(
        &self,
        table: &[Segment],
        object: &ObjectRef,
        file_len: u64,
    ) -> Result<Arc<Manifest>, DriveError> {
        let manifest = match self.held(&object.id) {
            Some(Object::Manifest(manifest)) => manifest,
            _ => {
                let bytes = self.segments.object(ObjectKind::Manifest, table, object).await?;
                let manifest =
                    Manifest::decode(&bytes).map_err(|error| DriveError::damaged("a manifest", error))?;
                let manifest = Arc::new(manifest);
                self.keep(object, Object::Manifest(manifest.clone()));
                manifest
            }
        };
        if manifest.len() != Some(file_len) {
            return Err(DriveError::damaged("a manifest", "it is for a file of another length"));
        }
        Ok(manifest)
    }

    /// The earlier versions of a file.
    pub(crate) async fn history(
        &self,
        table: &[Segment],
        object: &ObjectRef,
    ) -> Result<Arc<History>, DriveError> {
        if let Some(Object::History(history)) = self.held(&object.id) {
            return Ok(history);
        }
        let bytes = self.segments.object(ObjectKind::History, table, object).await?;
        let history = History::decode(&bytes).map_err(|error| DriveError::damaged("a history", error))?;
        let history = Arc::new(history);
        self.keep(object, Object::History(history.clone()));
        Ok(history)
    }

    /// Remembers a page that was just written.
    pub(crate) fn remember(&self, object: &ObjectRef, page: Arc<Page>) {
        self.keep(object, Object::Page(page));
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
}
