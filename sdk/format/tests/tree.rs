//! The chunk tree and the growing tree against RFC 6962 as its text defines it: a recursive
//! split at the largest power of two below the size.

#![allow(clippy::unwrap_used)]

use commonhold_format::tree::{
    CHUNK_LEN_MAX, ChunkTree, GrowingTree, Hash, LEAF_LEN, LeafProof, PathError, SUBTREE_LEN, chunk_id,
    chunk_id_and_subtrees, empty_root, leaf_count, leaf_hash, leaf_len, node_hash, path_over, root_over,
    subtree_count, verify_path,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const SIZES: u64 = 300;

/// MTH and PATH of RFC 6962, sections 2.1 and 2.1.1: the root over leaf hashes, and the path of
/// every leaf. SHA-256 is called directly.
fn reference(leaves: &[Hash]) -> (Hash, Vec<Vec<Hash>>) {
    match leaves {
        [] => (Sha256::digest([]).into(), Vec::new()),
        [leaf] => (*leaf, vec![Vec::new()]),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let (left, mut paths) = reference(left);
            let (right, mut right_paths) = reference(right);
            paths.iter_mut().for_each(|path| path.push(right));
            right_paths.iter_mut().for_each(|path| path.push(left));
            paths.append(&mut right_paths);
            let mut bytes = vec![1];
            bytes.extend(left);
            bytes.extend(right);
            (Sha256::digest(bytes).into(), paths)
        }
    }
}

/// The largest power of two below `len`.
fn split(len: usize) -> usize {
    let mut at = 1;
    while at * 2 < len {
        at *= 2;
    }
    at
}

/// Bytes with `count` different leaves, the last one shorter for odd counts.
fn chunk(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in 0..count {
        bytes.extend_from_slice(&leaf.to_be_bytes());
        bytes.resize((leaf as usize + 1) * LEAF_LEN, 0xA5);
    }
    bytes.truncate(bytes.len() - (count % 2) as usize * 700);
    bytes
}

fn leaf_hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes
        .chunks(LEAF_LEN)
        .map(|leaf| {
            let mut prefixed = vec![0];
            prefixed.extend_from_slice(leaf);
            Sha256::digest(prefixed).into()
        })
        .collect()
}

fn numbered(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn hashes_are_those_of_rfc_6962() {
    // The empty tree, and the leaf and node of certificate-transparency's own test data.
    let hex = |hash: Hash| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    assert_eq!(
        hex(node_hash(&leaf_hash(b""), &leaf_hash(&[0]))),
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    );
}

#[test]
fn roots_and_paths_of_chunks_are_those_of_rfc_6962_up_to_300_leaves() {
    for count in 0..=SIZES {
        let bytes = chunk(count);
        let leaves = leaf_hashes(&bytes);
        assert_eq!(leaves.len() as u64, count);
        assert_eq!(leaf_count(bytes.len() as u32), count);
        let tree = ChunkTree::new(&bytes);
        let (root, paths) = reference(&leaves);
        assert_eq!(tree.id().0, root, "{count} leaves");
        assert_eq!(chunk_id(&bytes).0, root, "{count} leaves");
        for index in 0..count {
            let path = tree.path(index).unwrap();
            assert_eq!(path, paths[index as usize]);
            assert_eq!(verify_path(&root, count, index, &leaves[index as usize], &path), Ok(()));
        }
        assert_eq!(tree.path(count), None);
        assert_eq!(tree.path(u64::MAX), None);
    }
}

#[test]
fn a_growing_tree_is_rfc_6962_at_every_size_up_and_down() {
    let leaves = numbered(SIZES);
    let check = |tree: &GrowingTree, leaves: &[Hash]| {
        assert_eq!(tree.len(), leaves.len() as u64);
        assert_eq!(tree.is_empty(), leaves.is_empty());
        let (root, paths) = reference(leaves);
        assert_eq!(tree.root(), root);
        for (index, path) in paths.iter().enumerate() {
            assert_eq!(tree.path(index as u64).as_ref(), Some(path));
        }
        assert_eq!(tree.path(leaves.len() as u64), None);
    };
    let mut tree = GrowingTree::new();
    check(&tree, &[]);
    for count in 1..=leaves.len() {
        tree.push(leaves[count - 1]);
        check(&tree, &leaves[..count]);
    }
    for count in (0..leaves.len()).rev() {
        assert_eq!(tree.pop(), Some(leaves[count]));
        check(&tree, &leaves[..count]);
    }
    assert_eq!(tree.pop(), None);
    tree.push(leaves[7]);
    check(&tree, &leaves[7..8]);
}

#[test]
fn a_growing_tree_is_rfc_6962_after_every_single_replacement() {
    for count in 1..=40u64 {
        for index in 0..count {
            let mut leaves = numbered(count);
            let mut tree = GrowingTree::new();
            for leaf in &leaves {
                tree.push(*leaf);
            }
            leaves[index as usize] = [0x5A; 32];
            assert!(tree.set(index, [0x5A; 32]));
            let (root, paths) = reference(&leaves);
            assert_eq!(tree.root(), root);
            for (at, path) in paths.iter().enumerate() {
                assert_eq!(tree.path(at as u64).as_ref(), Some(path));
            }
        }
        let mut tree = GrowingTree::new();
        assert!(!tree.set(0, [0; 32]));
        tree.push([1; 32]);
        assert!(!tree.set(1, [0; 32]));
        assert_eq!(tree.root(), [1; 32]);
    }
}

proptest! {
    #[test]
    fn a_growing_tree_follows_any_history(
        steps in prop::collection::vec((0u8..4, any::<u16>()), 0..200)
    ) {
        let mut tree = GrowingTree::new();
        let mut leaves: Vec<Hash> = Vec::new();
        for (step, value) in steps {
            let leaf = leaf_hash(&value.to_be_bytes());
            match step {
                0 | 1 => {
                    tree.push(leaf);
                    leaves.push(leaf);
                }
                2 => prop_assert_eq!(tree.pop(), leaves.pop()),
                _ => {
                    let index = usize::from(value) % (leaves.len() + 1);
                    let known = leaves.get_mut(index).map(|place| *place = leaf).is_some();
                    prop_assert_eq!(tree.set(index as u64, leaf), known);
                }
            }
            prop_assert_eq!(tree.root(), reference(&leaves).0);
        }
        for (index, path) in reference(&leaves).1.iter().enumerate() {
            prop_assert_eq!(tree.path(index as u64), Some(path.clone()));
        }
    }

    #[test]
    fn attack_27_a_path_with_any_bit_flipped_is_refused(
        count in 1u64..300, index in any::<u64>(), at in any::<usize>(), bit in 0usize..256
    ) {
        let leaves = numbered(count);
        let index = index % count;
        let (root, paths) = reference(&leaves);
        let path = paths[index as usize].clone();
        let flip = |hash: &mut Hash| hash[bit / 8] ^= 1 << (bit % 8);
        let mut wrong_leaf = leaves[index as usize];
        flip(&mut wrong_leaf);
        prop_assert_eq!(verify_path(&root, count, index, &wrong_leaf, &path), Err(PathError::Root));
        let mut wrong_root = root;
        flip(&mut wrong_root);
        let leaf = leaves[index as usize];
        prop_assert_eq!(verify_path(&wrong_root, count, index, &leaf, &path), Err(PathError::Root));
        if !path.is_empty() {
            let mut wrong = path.clone();
            flip(&mut wrong[at % path.len()]);
            prop_assert_eq!(verify_path(&root, count, index, &leaf, &wrong), Err(PathError::Root));
        }
    }
}

#[test]
fn attack_27_forged_path_is_refused() {
    for count in 1..=64u64 {
        let leaves = numbered(count);
        let (root, paths) = reference(&leaves);
        for index in 0..count {
            let leaf = leaves[index as usize];
            let path = &paths[index as usize];
            let verify = |index, leaf: &Hash, path: &[Hash]| verify_path(&root, count, index, leaf, path);
            // Another place in the tree, the first one outside, and one that wraps around.
            for other in (0..count).filter(|other| *other != index) {
                assert!(verify(other, &leaf, path).is_err());
            }
            assert_eq!(verify(count, &leaf, path), Err(PathError::OutOfRange { index: count, size: count }));
            assert!(verify(index + (1 << 63), &leaf, path).is_err());
            // Too long at either end, too short at either end.
            for surplus in [[leaf, path.first().copied().unwrap_or(leaf)], [root; 2]] {
                let long: Vec<Hash> = path.iter().copied().chain([surplus[0]]).collect();
                assert_eq!(
                    verify(index, &leaf, &long),
                    Err(PathError::Length { expected: path.len(), found: path.len() + 1 })
                );
                let long: Vec<Hash> = [surplus[1]].into_iter().chain(path.clone()).collect();
                assert!(verify(index, &leaf, &long).is_err());
            }
            if let Some(short) = path.len().checked_sub(1) {
                let expected = PathError::Length { expected: path.len(), found: short };
                assert_eq!(verify(index, &leaf, &path[..short]), Err(expected));
                assert_eq!(verify(index, &leaf, &path[1..]), Err(expected));
                // An inner node sold as a leaf.
                let parent =
                    if index % 2 == 0 { node_hash(&leaf, &path[0]) } else { node_hash(&path[0], &leaf) };
                assert!(verify(index, &parent, &path[1..]).is_err());
                assert!(verify(index / 2, &parent, &path[1..]).is_err());
            }
            // Hashes in another order.
            if path.len() >= 2 {
                let mut swapped = path.clone();
                swapped.swap(0, 1);
                assert_eq!(verify(index, &leaf, &swapped), Err(PathError::Root));
                let twice = vec![path[0]; path.len()];
                assert_eq!(verify(index, &leaf, &twice), Err(PathError::Root));
            }
        }
    }
}

#[test]
fn nothing_is_in_an_empty_tree() {
    assert_eq!(
        verify_path(&empty_root(), 0, 0, &empty_root(), &[]),
        Err(PathError::OutOfRange { index: 0, size: 0 })
    );
}

#[test]
fn the_largest_sizes_neither_overflow_nor_take_long() {
    let size = u64::MAX;
    // The last of 2^64 - 1 leaves has a sibling on every level but the lowest.
    let expected = 63;
    assert_eq!(
        verify_path(&[0; 32], size, size - 1, &[0; 32], &[]),
        Err(PathError::Length { expected, found: 0 })
    );
    assert_eq!(verify_path(&[0; 32], size, size - 1, &[0; 32], &[[0; 32]; 63]), Err(PathError::Root));
}

#[test]
fn leaves_cover_a_chunk_exactly() {
    for len in [1u32, 1023, 1024, 1025, 4096, 5000, CHUNK_LEN_MAX as u32] {
        let count = leaf_count(len);
        let total: usize = (0..count).map(|leaf| leaf_len(len, leaf).unwrap()).sum();
        assert_eq!(total, len as usize);
        assert_eq!(leaf_len(len, count), None);
        assert_eq!(leaf_len(len, u64::MAX), None);
    }
    assert_eq!(leaf_count(0), 0);
    assert_eq!(leaf_len(0, 0), None);
}

fn some_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + (at >> 8) * 7 + (at >> 16)) as u8).collect()
}

#[test]
fn a_leaf_is_proven_from_its_subtree_and_the_roots_of_the_others() {
    let lens = [
        1,
        1023,
        1024,
        1025,
        SUBTREE_LEN - 1,
        SUBTREE_LEN,
        SUBTREE_LEN + 1,
        3 * SUBTREE_LEN,
        100_000,
        CHUNK_LEN_MAX - 1,
        CHUNK_LEN_MAX,
    ];
    for len in lens {
        let bytes = some_bytes(len);
        let tree = ChunkTree::new(&bytes);
        let (id, roots) = chunk_id_and_subtrees(&bytes);
        assert_eq!(id, tree.id());
        assert_eq!(roots.len(), subtree_count(len as u32), "{len} bytes");
        let step = if len > 100_000 { 37 } else { 1 };
        let leaves = leaf_count(len as u32);
        for leaf in (0..leaves).step_by(step).chain([leaves - 1]) {
            let block = bytes.chunks(SUBTREE_LEN).nth(leaf as usize / 16).unwrap();
            let shown = LeafProof::from_subtree(&id, len as u32, leaf, block, &roots).unwrap();
            assert_eq!(Some(&shown.path), tree.path(leaf).as_ref(), "leaf {leaf} of {len} bytes");
            assert_eq!(verify_path(&id.0, leaves, leaf, &leaf_hash(&shown.bytes), &shown.path), Ok(()));
            assert_eq!(LeafProof::from_chunk(&id, &bytes, leaf), Some(shown));
        }
        assert_eq!(LeafProof::from_chunk(&id, &bytes, leaves), None);
        assert_eq!(LeafProof::from_chunk(&id, &bytes, u64::MAX), None);
    }
}

#[test]
fn attack_27_a_subtree_or_root_with_a_flipped_bit_proves_nothing() {
    let bytes = some_bytes(40_000);
    let (id, roots) = chunk_id_and_subtrees(&bytes);
    let block = &bytes[SUBTREE_LEN..2 * SUBTREE_LEN];
    let prove = |block: &[u8], roots: &[Hash]| LeafProof::from_subtree(&id, 40_000, 20, block, roots);
    assert!(prove(block, &roots).is_some());
    for at in (0..block.len()).step_by(997) {
        let mut flipped = block.to_vec();
        flipped[at] ^= 4;
        assert_eq!(prove(&flipped, &roots), None, "byte {at}");
    }
    for at in 0..roots.len() {
        let mut flipped = roots.clone();
        flipped[at][7] ^= 1;
        assert_eq!(prove(block, &flipped), None, "root {at}");
    }
    assert_eq!(prove(&block[1..], &roots), None);
    assert_eq!(prove(block, &roots[..2]), None);
    assert_eq!(prove(&bytes[..SUBTREE_LEN], &roots), None);
    assert_eq!(LeafProof::from_subtree(&id, 90_000, 20, block, &roots), None);
}

#[test]
fn roots_and_paths_over_any_hashes_are_those_of_the_tree() {
    for size in 1..80usize {
        let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&[n as u8])).collect();
        let (root, paths) = reference(&leaves);
        assert_eq!(root_over(&leaves), root);
        for (index, path) in paths.iter().enumerate() {
            assert_eq!(path_over(leaves.clone(), index), (path.clone(), root));
        }
    }
    assert_eq!(root_over(&[]), empty_root());
}
