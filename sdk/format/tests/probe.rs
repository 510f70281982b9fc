//! Probes: the drawn leaf proves its chunk, and nothing else does.

#![allow(clippy::unwrap_used)]

use commonhold_format::ids::ChunkId;
use commonhold_format::probe::{PROBE_PATH_MAX, ProbedLeaf, probed_leaf};
use commonhold_format::tree::{CHUNK_LEN_MAX, ChunkTree, LEAF_LEN, LeafProof, chunk_id, leaf_count};
use proptest::prelude::*;

fn show(bytes: &[u8], leaf: u64) -> ProbedLeaf {
    LeafProof::from_chunk(&chunk_id(bytes), bytes, leaf).unwrap().into()
}

fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// A chunk in which no two leaves are alike.
fn chunk(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / LEAF_LEN) as u8 ^ (at / LEAF_LEN / 256) as u8 ^ seed).collect()
}

#[test]
fn the_largest_chunk_is_proven_by_the_longest_path() {
    let bytes = chunk(CHUNK_LEN_MAX, 1);
    let (id, len) = (chunk_id(&bytes), len_of(&bytes));
    let leaf = probed_leaf(&[7; 32], &id, len).unwrap();
    let shown = show(&bytes, leaf);
    assert_eq!(shown.path.len(), PROBE_PATH_MAX);
    assert!(shown.proves(&[7; 32], &id, len));
    // The path is the one that the tree has.
    assert_eq!(Some(shown.path), ChunkTree::new(&bytes).path(leaf));
}

#[test]
fn a_chunk_without_bytes_has_no_leaf() {
    let id = ChunkId([1; 32]);
    assert_eq!(probed_leaf(&[0; 32], &id, 0), None);
    assert!(!ProbedLeaf { bytes: vec![0], path: Vec::new() }.proves(&[0; 32], &id, 0));
}

#[test]
fn every_leaf_is_drawn_about_as_often() {
    let mut drawn = [0_u32; 16];
    for nonce in 0_u32..16_000 {
        let mut all = [0; 32];
        all[..4].copy_from_slice(&nonce.to_be_bytes());
        let leaf = probed_leaf(&all, &ChunkId([9; 32]), 16 * 1024).unwrap();
        drawn[usize::try_from(leaf).unwrap()] += 1;
    }
    // 1,000 each, and 31 is the standard deviation.
    assert!(drawn.iter().all(|times| (800..1200).contains(times)), "{drawn:?}");
}

proptest! {
    #[test]
    fn the_drawn_leaf_proves_its_chunk_and_no_other_leaf_does(len in 1_usize..40_000, nonce: [u8; 32], seed: u8) {
        let bytes = chunk(len, seed);
        let (id, len) = (chunk_id(&bytes), len_of(&bytes));
        let drawn = probed_leaf(&nonce, &id, len).unwrap();
        prop_assert!(drawn < leaf_count(len));
        for leaf in 0..leaf_count(len) {
            prop_assert_eq!(show(&bytes, leaf).proves(&nonce, &id, len), leaf == drawn, "leaf {}", leaf);
        }
    }

    #[test]
    fn attack_27_nothing_that_was_changed_is_proven(
        len in 1_usize..40_000,
        nonce: [u8; 32],
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let bytes = chunk(len, 3);
        let (id, len) = (chunk_id(&bytes), len_of(&bytes));
        let right = show(&bytes, probed_leaf(&nonce, &id, len).unwrap());
        prop_assert!(right.proves(&nonce, &id, len));

        let mut leaf = right.clone();
        let place = at.index(leaf.bytes.len());
        leaf.bytes[place] ^= 1 << bit;
        prop_assert!(!leaf.proves(&nonce, &id, len));
        let mut longer = right.clone();
        longer.bytes.push(0);
        prop_assert!(!longer.proves(&nonce, &id, len));
        let mut shorter = right.clone();
        shorter.bytes.pop();
        prop_assert!(!shorter.proves(&nonce, &id, len));
        let mut surplus = right.clone();
        surplus.path.push([0; 32]);
        prop_assert!(!surplus.proves(&nonce, &id, len));
        if !right.path.is_empty() {
            let place = at.index(right.path.len());
            let mut path = right.clone();
            path.path[place][0] ^= 1 << bit;
            prop_assert!(!path.proves(&nonce, &id, len));
            let mut cut = right.clone();
            cut.path.remove(place);
            prop_assert!(!cut.proves(&nonce, &id, len));
        }
    }

    #[test]
    fn attack_27_the_leaf_of_another_chunk_proves_nothing(len in 1_usize..40_000, nonce: [u8; 32]) {
        let (one, other) = (chunk(len, 3), chunk(len, 4));
        let (id, len) = (chunk_id(&one), len_of(&one));
        for leaf in 0..leaf_count(len) {
            prop_assert!(!show(&other, leaf).proves(&nonce, &id, len));
        }
        // A node inside the tree is no leaf: what is hashed differs.
        if leaf_count(len) == 2 {
            let path = ChunkTree::new(&one).path(0).unwrap();
            let inner = ProbedLeaf { bytes: path.concat(), path: Vec::new() };
            prop_assert!(!inner.proves(&nonce, &id, 1024));
        }
    }
}
