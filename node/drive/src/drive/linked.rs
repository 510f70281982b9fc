//! What somebody else shares by a link: reading alone, from its root page down.
//!
//! Invariant: everything below is checked as in a drive of one's own; the link's root stands for the signed
//! head.

use std::sync::Arc;

use commonhold_format::drive::{Name, ObjectRef, Totals};
use commonhold_format::segment::Segment;

use super::reading::list_in;
use super::{Drive, archives};
use crate::download::{self, ContentReader};
use crate::error::DriveError;
use crate::located::{FolderNode, Located};
use crate::objects::Objects;
use crate::path::DrivePath;
use crate::report::Info;

/// What a link leads to, as a folder with one entry.
#[derive(Clone)]
pub struct Linked {
    objects: Objects,
    root: FolderNode,
}

impl Drive {
    /// Reads what a link leads to, through this drive's custodian.
    pub fn linked(&self, segment: Segment, root: ObjectRef) -> Linked {
        let page = Located { object: root, table: Arc::new(vec![segment]) };
        let root = FolderNode { page: Some(page), totals: Totals::default() };
        Linked { objects: self.inner.objects.clone(), root }
    }

    /// The ciphertext of any segment, decoded and kept at hand for a while.
    pub async fn segment(&self, segment: &Segment) -> Result<Arc<Vec<u8>>, DriveError> {
        self.inner.objects.segments.get(segment).await
    }
}

impl Linked {
    /// As [`Drive::list`].
    pub async fn list(
        &self,
        path: &DrivePath,
        after: Option<Name>,
        limit: usize,
    ) -> Result<(Vec<Info>, bool), DriveError> {
        list_in(&self.objects, self.root.clone(), path, after, limit).await
    }

    /// As [`Drive::get_archive`].
    pub async fn get_archive(&self, path: &DrivePath) -> Result<ContentReader, DriveError> {
        let target = archives::target(&self.objects, self.root.clone(), path).await?;
        download::stream(self.objects.clone(), target, ()).await
    }
}
