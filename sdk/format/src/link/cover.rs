//! The cover list: which segments a link's readers need (spec/links.md, section 3).

use super::LinkError;
use crate::ids::SegmentId;

/// Most segments of a cover list: 16 MiB of ids.
pub const COVER_SEGMENTS_MAX: usize = 524_288;
/// Bytes of an id.
pub(super) const ID_LEN: usize = 32;

/// The ids of all segments that a link's readers need beside the link segment, strictly ascending. Not
/// sealed: whoever serves a link refuses all other segments by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoverList(Vec<[u8; ID_LEN]>);

impl CoverList {
    /// From segments in any order; one that is named twice stands there once.
    ///
    /// # Errors
    /// [`LinkError::Shape`] for more than [`COVER_SEGMENTS_MAX`].
    pub fn new(segments: impl IntoIterator<Item = SegmentId>) -> Result<Self, LinkError> {
        let mut ids: Vec<[u8; ID_LEN]> = segments.into_iter().map(|id| id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > COVER_SEGMENTS_MAX {
            return Err(LinkError::Shape("it covers more than 524,288 segments"));
        }
        Ok(Self(ids))
    }

    /// The beginning of the link segment: the ids, one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.0.as_flattened().to_vec()
    }

    /// Strict inverse of [`CoverList::encode`].
    ///
    /// # Errors
    /// [`LinkError::Shape`] unless it is whole ids, strictly ascending, and not too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let (ids, rest) = bytes.as_chunks::<ID_LEN>();
        if !rest.is_empty() || ids.len() > COVER_SEGMENTS_MAX {
            return Err(LinkError::Shape("a cover list is at most 524,288 whole ids"));
        }
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(LinkError::Shape("a cover list is out of order or names a segment twice"));
        }
        Ok(Self(ids.to_vec()))
    }

    /// Whether a segment is in it.
    pub fn contains(&self, segment: &SegmentId) -> bool {
        self.0.binary_search(&segment.0).is_ok()
    }

    /// How many segments it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none: everything is in the link segment.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments, ascending.
    pub fn iter(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.0.iter().map(|id| SegmentId(*id))
    }
}
