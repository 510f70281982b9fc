//! Tables of segments: each object names its segments once, and references index them.

use std::collections::HashMap;

use super::{Extent, ObjectError, ObjectRef};
use crate::ids::SegmentId;
use crate::segment::Segment;

/// Builds the table of a new object; each segment gets one place.
#[derive(Debug, Default)]
pub struct TableBuilder {
    segments: Vec<Segment>,
    places: HashMap<SegmentId, u32>,
}

impl TableBuilder {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The place of a segment; it gets one if it has none yet.
    pub fn intern(&mut self, segment: &Segment) -> u32 {
        *self.places.entry(segment.id()).or_insert_with(|| {
            self.segments.push(segment.clone());
            u32::try_from(self.segments.len() - 1).expect("a table fits in memory, so its places fit u32")
        })
    }

    /// The table.
    pub fn finish(self) -> Vec<Segment> {
        self.segments
    }
}

impl ObjectRef {
    /// The same reference for another table: its segments are taken over into `to`.
    ///
    /// # Errors
    /// When an extent is not within `from`.
    pub fn moved(&self, from: &[Segment], to: &mut TableBuilder) -> Result<Self, ObjectError> {
        let mut extents = Vec::with_capacity(self.extents.len());
        for extent in &self.extents {
            let segment = from.get(extent.segment as usize).ok_or_else(|| ObjectError {
                what: "reference",
                why: "an extent lies in a segment that its table does not have".to_owned(),
            })?;
            extents.push(Extent { segment: to.intern(segment), ..*extent });
        }
        Ok(Self { extents, ..self.clone() })
    }
}
