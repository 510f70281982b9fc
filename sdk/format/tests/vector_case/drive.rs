//! What vectors of several topics say of segments and of the objects in them (spec/manifest.md).

use commonhold_format::code::Code;
use commonhold_format::drive::{Extent, ObjectRef};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::seal::{ObjectId, ObjectKey};
use commonhold_format::segment::Segment;

use super::Case;

/// A segment's description.
pub(crate) fn segment(fields: &mut Case) -> Segment {
    Segment {
        code: Code::new(fields.number("k"), fields.number("n")).unwrap(),
        len: fields.number("len"),
        chunks: fields.hashes("chunks").into_iter().map(ChunkId).collect(),
        holders: fields.hashes("holders").into_iter().map(NodeId).collect(),
    }
}

/// A reference to an object.
pub(crate) fn reference(fields: &mut Case) -> ObjectRef {
    let extent = |text: &String| {
        let numbers: Vec<u32> = text.split(',').map(|number| number.parse().unwrap()).collect();
        let [segment, offset, len] = numbers[..] else { panic!("an extent has three numbers") };
        Extent { segment, offset, len }
    };
    ObjectRef {
        id: ObjectId(fields.bytes("id").try_into().unwrap()),
        key: ObjectKey(fields.hash("key").into()),
        commitment: fields.hash("commitment"),
        len: fields.number("len"),
        extents: fields.texts("extents").iter().map(extent).collect(),
    }
}
