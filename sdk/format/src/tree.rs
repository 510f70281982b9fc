//! The chunk tree: RFC 6962 hashing with SHA-256 over leaves of 1 KiB (spec/chunk-tree.md).
//!
//! Invariant: every root and every path that this module makes or accepts is the one that
//! RFC 6962 defines for that number of leaves, so that any Certificate Transparency verifier can
//! check it. What it is not: a store of trees, or a verifier of several leaves at once.
//!
//! rs_merkle builds chunk trees and gives their paths. Its `MerkleProof::verify` is not used:
//! it accepts indices outside the tree, repeated indices, surplus hashes and some wrong totals.
//! [`verify_path`] accepts one index below a size that the caller took from something signed,
//! with exactly as many hashes as that place in the tree has.

use rs_merkle::MerkleTree;
use sha2::{Digest, Sha256};

use crate::ids::ChunkId;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// Bytes of a leaf; the last leaf of a chunk may be shorter. One KiB keeps an audit's answer
/// small while the tree of a whole chunk has only 1,024 leaves.
pub const LEAF_LEN: usize = 1024;

/// Most bytes of a chunk: 1 MiB.
pub const CHUNK_LEN_MAX: usize = 1 << 20;

/// Bytes of a subtree whose root providers keep beside a chunk, 16 leaves: so that a leaf is proven
/// from 16 KiB and at most 64 roots, and not from the whole chunk.
pub const SUBTREE_LEN: usize = 16 << 10;

/// Most hashes of a path: a tree whose size fits in 64 bits is at most 64 levels high.
pub const PATH_LEN_MAX: usize = 64;

const LEAF_PREFIX: [u8; 1] = [0x00];
const NODE_PREFIX: [u8; 1] = [0x01];

/// The hash of a leaf: SHA-256(0x00 ‖ bytes).
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update(LEAF_PREFIX).chain_update(bytes).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(NODE_PREFIX).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// How many leaves a chunk of `len` bytes has: `len` / 1,024, rounded up.
pub fn leaf_count(len: u32) -> u64 {
    u64::from(len).div_ceil(LEAF_LEN as u64)
}

/// How many bytes leaf `index` of a chunk of `len` bytes has: 1,024, or what remains for the
/// last one. `None` when the chunk has no such leaf.
pub fn leaf_len(len: u32, index: u64) -> Option<usize> {
    let start = index.checked_mul(LEAF_LEN as u64)?;
    let rest = u64::from(len).checked_sub(start)?;
    match rest.min(LEAF_LEN as u64) {
        0 => None,
        bytes => Some(bytes as usize),
    }
}

/// Joins the hashes of neighbours, in order, to the root over all of them: any number of leaves, or
/// of roots of subtrees that are full but for the last. [`empty_root`] when there are none.
#[derive(Clone, Copy)]
struct Peaks {
    // The roots of the full subtrees to the left, largest first: one for each bit that is set in the
    // number of hashes so far.
    stack: [Hash; PATH_LEN_MAX],
    depth: usize,
    count: u64,
}

impl Peaks {
    const NONE: Self = Self { stack: [[0; 32]; PATH_LEN_MAX], depth: 0, count: 0 };

    fn push(&mut self, mut hash: Hash) {
        for _ in 0..self.count.trailing_ones() {
            self.depth -= 1;
            hash = node_hash(&self.stack[self.depth], &hash);
        }
        self.stack[self.depth] = hash;
        self.depth += 1;
        self.count += 1;
    }

    fn root(&self) -> Hash {
        let peaks = self.stack[..self.depth].iter().rev().copied();
        peaks.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// The right edge of a tree: the roots of the full subtrees that its leaves are cut into, from which it
/// can grow without the leaves themselves.
///
/// The roots of a tree of `size` leaves follow from its root by nothing but hashes, so whoever is
/// handed them compares [`Frontier::root`] with a root that is known.
#[derive(Clone)]
pub struct Frontier(Peaks);

impl Frontier {
    /// The edge of a tree of `size` leaves, largest subtree first; `None` unless there is one hash for
    /// each bit that is set in `size`.
    pub fn new(size: u64, roots: &[Hash]) -> Option<Self> {
        if roots.len() != size.count_ones() as usize {
            return None;
        }
        let mut peaks = Peaks { depth: roots.len(), count: size, ..Peaks::NONE };
        peaks.stack[..roots.len()].copy_from_slice(roots);
        Some(Self(peaks))
    }

    /// Adds a leaf, given by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.0.push(leaf);
    }

    /// Leaves of the tree.
    pub fn len(&self) -> u64 {
        self.0.count
    }

    /// Whether the tree has no leaf.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// The tree's root; [`empty_root`] without leaves.
    pub fn root(&self) -> Hash {
        self.0.root()
    }
}

impl std::fmt::Debug for Frontier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontier").field("len", &self.0.count).finish_non_exhaustive()
    }
}

/// The root over hashes of neighbours that are leaves, or roots of subtrees of one size of which
/// only the last may have fewer leaves; [`empty_root`] when there are none.
pub fn root_over(hashes: &[Hash]) -> Hash {
    let mut peaks = Peaks::NONE;
    hashes.iter().for_each(|hash| peaks.push(*hash));
    peaks.root()
}

/// The root of the tree over bytes: its leaves are 1 KiB each.
fn root_of(bytes: &[u8]) -> Hash {
    let mut peaks = Peaks::NONE;
    bytes.chunks(LEAF_LEN).for_each(|leaf| peaks.push(leaf_hash(leaf)));
    peaks.root()
}

/// The id of a chunk: the root of its tree. Equal to [`ChunkTree::id`] and faster, because no
/// level is kept: about one SHA-256 pass over the bytes, without allocation.
///
/// It is defined for any bytes; only 1 to [`CHUNK_LEN_MAX`] bytes are a chunk.
pub fn chunk_id(bytes: &[u8]) -> ChunkId {
    ChunkId(root_of(bytes))
}

/// How many subtrees of [`SUBTREE_LEN`] a chunk of `len` bytes has; 0 for one that is not longer
/// than one of them, whose root is the chunk's id.
pub fn subtree_count(len: u32) -> usize {
    let len = len as usize;
    if len <= SUBTREE_LEN { 0 } else { len.div_ceil(SUBTREE_LEN) }
}

/// The id of a chunk, and the roots of its subtrees of 16 KiB in order ([`subtree_count`] of them),
/// in the one pass that [`chunk_id`] takes. spec/chunk-tree.md, "Subtrees".
pub fn chunk_id_and_subtrees(bytes: &[u8]) -> (ChunkId, Vec<Hash>) {
    if bytes.len() <= SUBTREE_LEN {
        return (chunk_id(bytes), Vec::new());
    }
    let roots: Vec<Hash> = bytes.chunks(SUBTREE_LEN).map(root_of).collect();
    (ChunkId(root_over(&roots)), roots)
}

/// A leaf of a chunk, and its path to the chunk's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafProof {
    /// The leaf's bytes: 1,024, or fewer for the last leaf of a chunk.
    pub bytes: Vec<u8>,
    /// The RFC 6962 audit path, from the leaf's sibling upwards.
    pub path: Vec<Hash>,
}

impl LeafProof {
    /// Shows leaf `leaf` of a chunk of `len` bytes from `block`, the bytes of the one subtree of
    /// 16 KiB that it is in, and the roots of all `subtrees`. `None` unless these lead to the
    /// chunk's id. Takes about 20 microseconds. spec/chunk-tree.md, "Subtrees".
    pub fn from_subtree(
        chunk: &ChunkId,
        len: u32,
        leaf: u64,
        block: &[u8],
        subtrees: &[Hash],
    ) -> Option<Self> {
        let leaves_each = (SUBTREE_LEN / LEAF_LEN) as u64;
        let (at, within) = (leaf / leaves_each, (leaf % leaves_each) as usize);
        let start = at.checked_mul(SUBTREE_LEN as u64)?;
        let block_len = u64::from(len).checked_sub(start)?.min(SUBTREE_LEN as u64);
        if block.len() as u64 != block_len || subtrees.len() != subtree_count(len) {
            return None;
        }
        let bytes = block.chunks(LEAF_LEN).nth(within)?.to_vec();
        let leaves: Vec<Hash> = block.chunks(LEAF_LEN).map(leaf_hash).collect();
        let (mut path, root) = path_over(leaves, within);
        if subtrees.is_empty() {
            return (root == chunk.0).then_some(Self { bytes, path });
        }
        let at = usize::try_from(at).ok()?;
        if subtrees.get(at) != Some(&root) {
            return None;
        }
        let (above, root) = path_over(subtrees.to_vec(), at);
        path.extend(above);
        (root == chunk.0).then_some(Self { bytes, path })
    }

    /// Shows leaf `leaf` of a chunk whose bytes are at hand. `None` unless they are the chunk's.
    pub fn from_chunk(chunk: &ChunkId, bytes: &[u8], leaf: u64) -> Option<Self> {
        let (id, subtrees) = chunk_id_and_subtrees(bytes);
        let block = usize::try_from(leaf).ok()? / (SUBTREE_LEN / LEAF_LEN);
        let block = bytes.chunks(SUBTREE_LEN).nth(block)?;
        let len = u32::try_from(bytes.len()).ok()?;
        if id == *chunk { Self::from_subtree(chunk, len, leaf, block, &subtrees) } else { None }
    }
}

/// The path of hash `index` to the root over all hashes, and that root. There must be one.
pub fn path_over(mut level: Vec<Hash>, mut index: usize) -> (Vec<Hash>, Hash) {
    let mut path = Vec::with_capacity(10);
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        let parents = level.len().div_ceil(2);
        for at in 0..parents {
            level[at] = match level.get(2 * at + 1) {
                Some(right) => node_hash(&level[2 * at], right),
                None => level[2 * at],
            };
        }
        level.truncate(parents);
        index /= 2;
    }
    let root = level.first().copied().unwrap_or_else(empty_root);
    (path, root)
}

/// RFC 6962's node hash for rs_merkle, whose own default has no prefixes.
#[derive(Clone)]
struct Rfc6962;

impl rs_merkle::Hasher for Rfc6962 {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        leaf_hash(data)
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        right.map_or(*left, |right| node_hash(left, right))
    }
}

/// The whole tree of one chunk in memory (64 KiB for a chunk of 1 MiB), to take paths from.
pub struct ChunkTree {
    tree: MerkleTree<Rfc6962>,
}

impl ChunkTree {
    /// Hashes a chunk of 1 to [`CHUNK_LEN_MAX`] bytes; about 1 ms for 1 MiB. The caller bounds
    /// the length.
    pub fn new(bytes: &[u8]) -> Self {
        let leaves: Vec<Hash> = bytes.chunks(LEAF_LEN).map(leaf_hash).collect();
        Self { tree: MerkleTree::from_leaves(&leaves) }
    }

    /// The chunk's id: the root of the tree.
    pub fn id(&self) -> ChunkId {
        ChunkId(self.tree.root().unwrap_or_else(empty_root))
    }

    /// The RFC 6962 audit path of leaf `index`, from the leaf's sibling upwards. `None` when the
    /// chunk has no such leaf.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        let index = usize::try_from(index).ok()?;
        if index >= self.tree.leaves_len() {
            return None;
        }
        Some(self.tree.proof(&[index]).proof_hashes().to_vec())
    }
}

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The index is not below the size.
    #[error("leaf {index} is outside a tree of {size} leaves")]
    OutOfRange {
        /// The index that was claimed.
        index: u64,
        /// The number of leaves of the tree.
        size: u64,
    },
    /// The path is longer or shorter than the paths of this leaf are.
    #[error("the path has {found} hashes, {expected} are needed")]
    Length {
        /// The hashes that a path of this leaf has in a tree of this size.
        expected: usize,
        /// The hashes that were given.
        found: usize,
    },
    /// The leaf and the path hash to another root.
    #[error("the path does not lead to the root")]
    Root,
}

/// Which side a sibling stands on.
enum Side {
    Left,
    Right,
}

/// The sides of the siblings of leaf `index`, from the bottom up, in a tree of `size` leaves.
/// A level where the node has no sibling gives nothing: there the node moves up unchanged.
fn siblings(index: u64, size: u64) -> impl Iterator<Item = Side> {
    let mut node = index;
    let mut last = size.saturating_sub(1);
    std::iter::from_fn(move || {
        while last > 0 {
            let side = match (node & 1 == 1, node < last) {
                (true, _) => Some(Side::Left),
                (false, true) => Some(Side::Right),
                (false, false) => None,
            };
            node >>= 1;
            last >>= 1;
            if side.is_some() {
                return side;
            }
        }
        None
    })
}

/// Checks that the leaf with hash `leaf` stands at `index` of the tree of `size` leaves with
/// this `root`.
///
/// `root` and `size` must come from something that is already trusted (a chunk id and a length
/// from a proven inventory entry, a signed revision); `index`, `leaf` and `path` may come from
/// anybody. See spec/chunk-tree.md, "Inclusion".
///
/// # Errors
/// [`PathError::OutOfRange`] unless `index < size`; [`PathError::Length`] unless the path has
/// exactly the hashes that this place has; [`PathError::Root`] when they lead elsewhere.
pub fn verify_path(root: &Hash, size: u64, index: u64, leaf: &Hash, path: &[Hash]) -> Result<(), PathError> {
    if index >= size {
        return Err(PathError::OutOfRange { index, size });
    }
    let expected = siblings(index, size).count();
    if path.len() != expected {
        return Err(PathError::Length { expected, found: path.len() });
    }
    let computed = siblings(index, size).zip(path).fold(*leaf, |node, (side, sibling)| match side {
        Side::Left => node_hash(sibling, &node),
        Side::Right => node_hash(&node, sibling),
    });
    if computed == *root { Ok(()) } else { Err(PathError::Root) }
}

/// A tree that grows and whose leaves may be replaced, equal to RFC 6962 at every size.
///
/// Push, replace, take off and path are O(log n); the root is at hand. It keeps about 64 bytes
/// of memory for each leaf. Inventories and ledgers are such trees.
#[derive(Default, Clone)]
pub struct GrowingTree {
    // levels[0] are the leaf hashes; levels[j + 1] has half as many nodes, rounded up, with a
    // lone last node moved up unchanged. The last level, if any, is the root alone.
    levels: Vec<Vec<Hash>>,
}

impl GrowingTree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf, given by its hash (see [`leaf_hash`]).
    pub fn push(&mut self, leaf: Hash) {
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        self.levels[0].push(leaf);
        self.refresh(self.levels[0].len() - 1);
    }

    /// Appends many leaves at once: about one hash for each, where [`push`](Self::push) takes one for
    /// each level.
    pub fn extend(&mut self, leaves: impl IntoIterator<Item = Hash>) {
        let mut leaves = leaves.into_iter().peekable();
        if leaves.peek().is_none() {
            return;
        }
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        // The first node of a level that is new or has another hash than before.
        let mut first = self.levels[0].len();
        self.levels[0].extend(leaves);
        let mut height = 0;
        while self.levels[height].len() > 1 {
            first >>= 1;
            if height + 1 == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let (below, above) = self.levels.split_at_mut(height + 1);
            let (level, parents) = (&below[height], &mut above[0]);
            parents.truncate(first);
            let pairs = level[2 * first..].chunks(2);
            parents.extend(pairs.map(|pair| match pair {
                [left, right] => node_hash(left, right),
                lone => lone[0],
            }));
            height += 1;
        }
    }

    /// Replaces the hash of leaf `index`. Returns false, and changes nothing, when there is no
    /// such leaf.
    pub fn set(&mut self, index: u64, leaf: Hash) -> bool {
        let Some(at) = self.position(index) else {
            return false;
        };
        self.levels[0][at] = leaf;
        self.refresh(at);
        true
    }

    /// Takes the last leaf off and returns its hash; `None` when there is none.
    pub fn pop(&mut self) -> Option<Hash> {
        let leaf = self.levels.first_mut()?.pop()?;
        let mut width = self.levels[0].len();
        let mut height = 0;
        while width > 0 {
            self.levels[height].truncate(width);
            height += 1;
            width = if width == 1 { 0 } else { width.div_ceil(2) };
        }
        self.levels.truncate(height);
        if let Some(leaves) = self.levels.first() {
            self.refresh(leaves.len() - 1);
        }
        Some(leaf)
    }

    /// The number of leaves.
    pub fn len(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The root; [`empty_root`] without leaves.
    pub fn root(&self) -> Hash {
        self.levels.last().map_or_else(empty_root, |top| top[0])
    }

    /// The RFC 6962 audit path of leaf `index`, from the leaf's sibling upwards. `None` when
    /// there is no such leaf.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        let at = self.position(index)?;
        let path = self
            .levels
            .iter()
            .enumerate()
            .filter_map(|(height, level)| level.get((at >> height) ^ 1))
            .copied()
            .collect();
        Some(path)
    }

    /// The root of a subtree of 2^height leaves, the `index`-th of that height; `None` unless all of
    /// its leaves are there.
    pub(crate) fn full_subtree(&self, height: u32, index: u64) -> Option<Hash> {
        let end = index.checked_add(1)?.checked_mul(1u64.checked_shl(height)?)?;
        if end > self.len() {
            return None;
        }
        self.levels.get(height as usize)?.get(usize::try_from(index).ok()?).copied()
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index).ok().filter(|_| index < self.len())
    }

    /// Computes the ancestors of leaf `at` again, adding levels where the tree has grown.
    fn refresh(&mut self, at: usize) {
        let mut height = 0;
        let mut node = at;
        while self.levels[height].len() > 1 {
            node >>= 1;
            let level = &self.levels[height];
            let left = level[2 * node];
            let hash = level.get(2 * node + 1).map_or(left, |right| node_hash(&left, right));
            height += 1;
            if height == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let parents = &mut self.levels[height];
            match parents.get_mut(node) {
                Some(parent) => *parent = hash,
                None => parents.push(hash),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rs_merkle::MerkleProof;

    use super::*;

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&[n])).collect()
    }

    /// What rs_merkle's own verification says, with the node hash of this format.
    fn rs_merkle_accepts(
        root: Hash,
        total: usize,
        indices: &[usize],
        leaves: &[Hash],
        path: &[Hash],
    ) -> bool {
        MerkleProof::<Rfc6962>::new(path.to_vec()).verify(root, indices, leaves, total)
    }

    fn root_and_path(leaves: &[Hash], index: usize) -> (Hash, Vec<Hash>) {
        let tree = MerkleTree::<Rfc6962>::from_leaves(leaves);
        let path = tree.proof(&[index]).proof_hashes().to_vec();
        (tree.root().unwrap(), path)
    }

    #[test]
    fn attack_27_rs_merkle_accepts_an_index_outside_the_tree_and_verify_path_does_not() {
        // Leaf 4 of 5 stands directly below the root; it is sold as leaf 1 of a tree of 1.
        let leaves = leaves(5);
        let (root, path) = root_and_path(&leaves, 4);
        assert!(rs_merkle_accepts(root, 1, &[1], &leaves[4..], &path));
        assert_eq!(
            verify_path(&root, 1, 1, &leaves[4], &path),
            Err(PathError::OutOfRange { index: 1, size: 1 })
        );
        assert_eq!(verify_path(&root, 5, 4, &leaves[4], &path), Ok(()));
    }

    #[test]
    fn attack_27_rs_merkle_accepts_a_forged_duplicate_and_verify_path_takes_one_leaf() {
        let leaves = leaves(4);
        let (root, path) = root_and_path(&leaves, 1);
        let forged = leaf_hash(b"never stored");
        // Two claims for index 1 make rs_merkle take two hashes for index 0. It hashes those two
        // together and never looks at the claims.
        let handed = [leaves[0], leaves[1], path[1]];
        assert!(rs_merkle_accepts(root, 4, &[1, 1], &[forged, forged], &handed));
        assert_eq!(verify_path(&root, 4, 1, &forged, &path), Err(PathError::Root));
        assert_eq!(
            verify_path(&root, 4, 1, &forged, &handed),
            Err(PathError::Length { expected: 2, found: 3 })
        );
    }

    #[test]
    fn attack_27_rs_merkle_accepts_surplus_hashes_and_verify_path_does_not() {
        let leaves = leaves(4);
        let (root, mut path) = root_and_path(&leaves, 2);
        path.push(leaf_hash(b"surplus"));
        assert!(rs_merkle_accepts(root, 4, &[2], &leaves[2..3], &path));
        assert_eq!(
            verify_path(&root, 4, 2, &leaves[2], &path),
            Err(PathError::Length { expected: 2, found: 3 })
        );
    }

    #[test]
    fn attack_27_rs_merkle_accepts_wrong_totals_and_verify_path_does_not() {
        // Leaf 2 of 3 has one hash beside it, the root of leaves 0 and 1.
        let leaves = leaves(3);
        let (root, path) = root_and_path(&leaves, 2);
        let claims = || (1..=8).flat_map(|total| (0..8).map(move |index| (total, index)));
        let loose: Vec<(usize, usize)> = claims()
            .filter(|(total, index)| rs_merkle_accepts(root, *total, &[*index], &leaves[2..], &path))
            .collect();
        let strict: Vec<(usize, usize)> = claims()
            .filter(|(total, index)| {
                verify_path(&root, *total as u64, *index as u64, &leaves[2], &path).is_ok()
            })
            .collect();
        // In trees of 2, 3 and 5 leaves the last one has the path "one hash on the left"; no
        // verifier can tell them apart without the size, which is why the size must be signed.
        assert_eq!(strict, [(2, 1), (3, 2), (5, 4)]);
        assert_eq!(loose, [(1, 1), (1, 3), (1, 5), (1, 7), (2, 1), (3, 2), (5, 4)]);
    }

    #[test]
    fn the_streaming_chunk_id_is_rs_merkles_root() {
        // 0 to 70 leaves, each time with a full and with a short last leaf.
        for leaves in 0..=70usize {
            for short in [0, 1, 1023] {
                let len = (leaves * LEAF_LEN).saturating_sub(short);
                let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                assert_eq!(chunk_id(&bytes), ChunkTree::new(&bytes).id(), "{len} bytes");
            }
        }
        let whole = vec![7; CHUNK_LEN_MAX];
        assert_eq!(chunk_id(&whole), ChunkTree::new(&whole).id());
    }
}
