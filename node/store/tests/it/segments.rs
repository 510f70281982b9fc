//! The owner's segments.

use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::segment::Segment;
use tempfile::TempDir;

use crate::people::open;

fn segment(seed: u8) -> Segment {
    let code = Code::new(2, 6).unwrap();
    Segment {
        code,
        len: 1000,
        chunks: (0..6).map(|at| ChunkId([seed + at; 32])).collect(),
        holders: (0..6).map(|at| NodeId([at; 32])).collect(),
    }
}

#[test]
fn segments_come_back_and_go() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (segment(1), segment(50));
    {
        let store = open(dir.path());
        assert_eq!(store.segments(), []);
        store.put_segment(&a).unwrap();
        store.put_segment(&b).unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.segments().len(), 2);
    assert_eq!(store.segment(&a.id()), Some(a.clone()));
    store.remove_segments(&[a.id(), a.id()]).unwrap();
    assert_eq!(store.segments(), [b]);
    assert_eq!(store.segment(&a.id()), None);
}

#[test]
fn a_segment_that_is_entered_again_has_the_new_holders() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let before = segment(1);
    let mut after = before.clone();
    after.holders[3] = NodeId([99; 32]);
    store.put_segment(&before).unwrap();
    store.put_segment(&after).unwrap();
    assert_eq!(store.segments(), [after]);
}
