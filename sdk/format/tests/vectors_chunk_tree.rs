//! The vectors of spec/chunk-tree.md: chunks and their ids.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::tree::{CHUNK_LEN_MAX, ChunkTree, LEAF_LEN, chunk_id};

/// Leaf number in four bytes, then the place in the leaf modulo 256 (spec/vectors/storage.py).
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| match at % LEAF_LEN {
            within @ 0..4 => ((at / LEAF_LEN) as u32).to_be_bytes()[within],
            within => within as u8,
        })
        .collect()
}

#[test]
fn chunk_tree_vectors() {
    vector_case::for_each("chunk-tree", |expect, case| {
        let bytes =
            if case.has("pattern_len") { pattern(case.number("pattern_len")) } else { case.bytes("bytes") };
        let id = case.hash("id");
        let found = if !(1..=CHUNK_LEN_MAX).contains(&bytes.len()) {
            "not-a-chunk"
        } else if chunk_id(&bytes).0 == id && ChunkTree::new(&bytes).id().0 == id {
            "ok"
        } else {
            "wrong-id"
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
