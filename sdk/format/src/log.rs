//! A log's tree (RFC 6962) for those who follow it: earlier heads, proofs that one head continues
//! another, and tiles as C2SP tlog-tiles lays them out (spec/ledger.md).
//!
//! Invariant: [`verify_consistency`] accepts exactly one proof for two sizes and roots, and a tile has
//! exactly one path. Not here: who signed a head ([`crate::note`]), and what the entries say.

use std::fmt;
use std::str::FromStr;

use crate::tree::{GrowingTree, Hash, empty_root, node_hash};

/// Hashes of a full tile, and entries of a full bundle of entries.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one level of tiles spans.
const TILE_HEIGHT: u32 = 8;
/// Most hashes of a consistency proof: one for each level, and one more.
pub const CONSISTENCY_LEN_MAX: usize = 65;

impl GrowingTree {
    /// The root over leaves `start..end`, which must be there. Costs O(log n) hashes.
    fn range_root(&self, start: u64, end: u64) -> Option<Hash> {
        let count = end.checked_sub(start)?;
        if count == 0 {
            return Some(empty_root());
        }
        if count.is_power_of_two() && start.is_multiple_of(count) {
            return self.full_subtree(count.trailing_zeros(), start / count);
        }
        let middle = start + split(count);
        Some(node_hash(&self.range_root(start, middle)?, &self.range_root(middle, end)?))
    }

    /// The root as it was when there were `size` leaves; `None` when there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.range_root(0, size)
    }

    /// The RFC 6962 audit path of leaf `index` in the tree of the first `size` leaves; `None` unless
    /// `index < size` and there are so many.
    pub fn path_at(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.len() {
            return None;
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                path.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The RFC 6962 proof that the tree of `new` leaves continues that of `old` leaves; empty when
    /// `old` is 0 or `new`. `None` unless `old <= new` and there are so many leaves.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.len() {
            return None;
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Some(proof);
        }
        // Down to the subtree at whose end the old tree ends; what is passed by on the way up.
        let (mut start, mut end) = (0, new);
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                proof.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        if start > 0 {
            proof.push(self.range_root(start, end)?);
        }
        proof.reverse();
        Some(proof)
    }

    /// The roots of the full subtrees that the first `size` leaves are cut into, largest first (see
    /// [`Frontier`](crate::tree::Frontier)); `None` when there are fewer leaves.
    pub fn frontier(&self, size: u64) -> Option<Vec<Hash>> {
        let heights = (0..u64::BITS).rev().filter(|height| (size >> height) & 1 == 1);
        let mut start = 0;
        heights
            .map(|height| {
                let root = self.full_subtree(height, start >> height)?;
                start += 1 << height;
                Some(root)
            })
            .collect()
    }

    /// The hashes of a tile; `None` when the tree does not reach so far, or the tile is of entries.
    pub fn tile(&self, tile: &TileId) -> Option<Vec<Hash>> {
        let height = u32::from(tile.level?).checked_mul(TILE_HEIGHT)?;
        let first = tile.index.checked_mul(TILE_WIDTH)?;
        (first..first + u64::from(tile.width)).map(|at| self.full_subtree(height, at)).collect()
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// Why one head is not shown to continue another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// The newer tree is smaller.
    #[error("a log of {new} entries cannot continue one of {old}")]
    Shrunk {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// The proof has not exactly the hashes that these two sizes ask for.
    #[error("the consistency proof has {found} hashes where {expected} belong")]
    Length {
        /// Hashes that belong there.
        expected: usize,
        /// Hashes that are there.
        found: usize,
    },
    /// The hashes do not lead to the older root.
    #[error("the proof does not lead to the older root")]
    OldRoot,
    /// The hashes do not lead to the newer root.
    #[error("the proof does not lead to the newer root")]
    NewRoot,
}

/// Checks that the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with
/// `old_root` (RFC 6962, section 2.1.2). Sizes and roots come from signed heads; the proof may come
/// from anybody.
///
/// # Errors
/// [`ConsistencyError`], the first thing that does not hold.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    let found = roots_of(old, old_root, new, new_root, proof)?;
    if found.0 != *old_root {
        return Err(ConsistencyError::OldRoot);
    }
    if found.1 != *new_root {
        return Err(ConsistencyError::NewRoot);
    }
    Ok(())
}

/// The root that a proof shows the first `old` of `new` leaves to have, whatever anybody said it is:
/// from a proof that fails against one root, this is the other root of a log with two histories.
///
/// `None` when the proof does not lead to `new_root`, and when it does not have the older root in it:
/// when `old` is 0, `new` or a power of two, the verifier brings that itself.
pub fn older_root(old: u64, (new, new_root): (u64, &Hash), proof: &[Hash]) -> Option<Hash> {
    if old == 0 || old >= new || old.is_power_of_two() {
        return None;
    }
    let (found, leads_to) = roots_of(old, new_root, new, new_root, proof).ok()?;
    (leads_to == *new_root).then_some(found)
}

/// The older and the newer root that a proof leads to.
fn roots_of(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(Hash, Hash), ConsistencyError> {
    if old > new {
        return Err(ConsistencyError::Shrunk { old, new });
    }
    let expected = consistency_len(old, new);
    if proof.len() != expected {
        return Err(ConsistencyError::Length { expected, found: proof.len() });
    }
    if old == 0 || old == new {
        return Ok((if old == 0 { empty_root() } else { *new_root }, *new_root));
    }
    // The last full subtree of the old tree, then upwards: siblings on the left belong to both
    // trees, siblings on the right to the new one alone.
    let (mut old_at, mut new_at) = (old - 1, new - 1);
    let shift = old_at.trailing_ones();
    (old_at, new_at) = (old_at >> shift, new_at >> shift);
    let mut hashes = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { hashes.next() };
    let Some(first) = first else { return Err(ConsistencyError::Length { expected, found: proof.len() }) };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if old_at & 1 == 1 || old_at == new_at {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while old_at & 1 == 0 && old_at != 0 {
                (old_at, new_at) = (old_at >> 1, new_at >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (old_at, new_at) = (old_at >> 1, new_at >> 1);
    }
    Ok((old_hash, new_hash))
}

/// Hashes of the proof between two sizes, `old` at most `new`.
fn consistency_len(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    let (mut start, mut end, mut count) = (0, new, 0);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            end = middle
        } else {
            start = middle
        }
        count += 1;
    }
    count + usize::from(start > 0)
}

/// A tile of hashes or a bundle of entries: which resource of a log it is.
///
/// Its text is the path that tlog-tiles gives it: `tile/0/x001/234`, `tile/entries/067.p/12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// Level from 0 to 7, or `None` for a bundle of entries.
    pub level: Option<u8>,
    /// Number within the level, from 0.
    pub index: u64,
    /// Hashes or entries, 1 to 256; fewer than 256 is a partial tile.
    pub width: u16,
}

/// Why a text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct TilePathError;

impl TileId {
    /// Every tile and bundle of a log of `size` entries, bundles of entries first, each level from
    /// left to right.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let levels = std::iter::once(None).chain((0..8).map(Some));
        levels.flat_map(move |level| {
            let count = size >> (u32::from(level.unwrap_or(0)) * TILE_HEIGHT);
            let (full, rest) = (count / TILE_WIDTH, (count % TILE_WIDTH) as u16);
            let whole = (0..full).map(move |index| Self { level, index, width: TILE_WIDTH as u16 });
            whole.chain((rest > 0).then_some(Self { level, index: full, width: rest }))
        })
    }

    /// The first entry of a bundle, or the first hash of a tile within its level.
    pub fn first(&self) -> u64 {
        self.index * TILE_WIDTH
    }

    /// Entries that a log must have for this resource to be one of its own; `None` when no log has so
    /// many.
    pub fn entries(&self) -> Option<u64> {
        let hashes = self.index.checked_mul(TILE_WIDTH)?.checked_add(self.width.into())?;
        let height = u32::from(self.level.unwrap_or(0)).checked_mul(TILE_HEIGHT)?;
        hashes.checked_mul(1u64.checked_shl(height)?)
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/")?,
            None => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{digits:0>width$}", width = groups * 3);
        for (at, group) in padded.as_bytes().chunks(3).enumerate() {
            let group = std::str::from_utf8(group).map_err(|_| fmt::Error)?;
            let last = at + 1 == groups;
            write!(f, "{}{group}{}", if last { "" } else { "x" }, if last { "" } else { "/" })?;
        }
        if u64::from(self.width) < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for TileId {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let rest = path.strip_prefix("tile/").ok_or(TilePathError)?;
        let (level, rest) = rest.split_once('/').ok_or(TilePathError)?;
        let level = match level {
            "entries" => None,
            level => Some(level.parse::<u8>().ok().filter(|level| *level < 8).ok_or(TilePathError)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| TilePathError)?),
            None => (rest, TILE_WIDTH as u16),
        };
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let index: u64 = digits.parse().map_err(|_| TilePathError)?;
        let tile = Self { level, index, width };
        let in_bounds = (1..=TILE_WIDTH as u16).contains(&width) && index < u64::MAX / TILE_WIDTH;
        // Whatever is not in the one form of its tile is no path.
        if in_bounds && tile.to_string() == path { Ok(tile) } else { Err(TilePathError) }
    }
}

/// A bundle of entries: each as 2 bytes of length, big-endian, and its bytes. `None` when one has
/// more than 65,535.
pub fn encode_entries<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for entry in entries {
        bundle.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}

/// Strict inverse of [`encode_entries`]: `None` unless the bundle has exactly `count` entries.
pub fn decode_entries(mut bundle: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(count.min(TILE_WIDTH as usize));
    while let Some((len, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        entries.push(entry);
        if entries.len() > count {
            return None;
        }
        bundle = rest;
    }
    (bundle.is_empty() && entries.len() == count).then_some(entries)
}
