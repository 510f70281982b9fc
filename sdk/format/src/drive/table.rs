//! Tables of segments: each object names its segments once, and references index them
//! (spec/manifest.md, section 3).
//!
//! Invariant: no segment stands in a table twice. What it is not: a check that an extent lies
//! within its segment, which decoding the finished object makes.

use std::collections::HashMap;

use super::{Extent, ObjectError, ObjectRef};
use crate::ids::SegmentId;
use crate::segment::Segment;

/// Builds the table of a new object: each segment gets one place, in the order of first use.
///
/// Segments are told apart by [`Segment::id`], which leaves holders out: of two descriptions of one
/// segment the first one stays, with its holders.
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

    /// The place of a segment, for [`Extent::segment`]; it gets one if it has none yet.
    pub fn intern(&mut self, segment: &Segment) -> u32 {
        *self.places.entry(segment.id()).or_insert_with(|| {
            self.segments.push(segment.clone());
            u32::try_from(self.segments.len() - 1).expect("a table fits in memory, so its places fit u32")
        })
    }

    /// The table. It must go with references to each of its segments, or the object will not
    /// decode.
    pub fn finish(self) -> Vec<Segment> {
        self.segments
    }
}

impl ObjectRef {
    /// The same reference for another object: its extents index `from` and come to index what
    /// `to` becomes, which takes their segments over.
    ///
    /// The object itself is untouched. Its records are bound to places within the object and not
    /// to a table, so it need not be sealed again when its parent is rewritten.
    ///
    /// # Errors
    /// [`ObjectError`] when an extent names a segment that `from` does not have. Segments of
    /// earlier extents may have been taken over by then: give `to` up.
    pub fn moved(&self, from: &[Segment], to: &mut TableBuilder) -> Result<Self, ObjectError> {
        let mut extents = Vec::with_capacity(self.extents.len());
        for extent in &self.extents {
            let segment = from.get(extent.segment as usize).ok_or_else(|| ObjectError {
                what: "reference",
                why: "an extent lies in a segment that its table does not have".to_owned(),
            })?;
            extents.push(Extent { segment: to.intern(segment), ..*extent });
        }
        Ok(Self { id: self.id, key: self.key.clone(), commitment: self.commitment, len: self.len, extents })
    }
}
