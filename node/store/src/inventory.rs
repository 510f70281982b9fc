//! Inventories in blocks of 16, so that a million entries need no memory.
//!
//! Invariant: roots and paths are those of [`commonhold_format::inventory::Inventory`]: blocks are
//! aligned and of a power of two, and a lone node moves up unchanged in both. A block that is not
//! what the shape asks for is an error. Not here: where blocks are kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use commonhold_format::ids::ChunkId;
use commonhold_format::inventory::{InventoryEntry, InventoryError, InventoryView};
use commonhold_format::tree::{Hash, empty_root, path_over, root_over};

/// Entries, or hashes, in a block.
pub(crate) const BLOCK: usize = 16;

/// Where the blocks of an inventory are.
pub(crate) trait Blocks {
    type Error;

    /// Entries 16·block and on, at most 16.
    fn entries(&self, block: u64) -> Result<Vec<InventoryEntry>, Self::Error>;
    /// The roots of blocks 16·block and on of the level below, at most 16. Level 0 is the entries.
    fn hashes(&self, level: u8, block: u64) -> Result<Vec<Hash>, Self::Error>;
    /// What is told of a block that is not right.
    fn damaged(&self, level: u8, block: u64, why: &str) -> Self::Error;
}

impl<B: Blocks> Blocks for &B {
    type Error = B::Error;

    fn entries(&self, block: u64) -> Result<Vec<InventoryEntry>, Self::Error> {
        (*self).entries(block)
    }

    fn hashes(&self, level: u8, block: u64) -> Result<Vec<Hash>, Self::Error> {
        (*self).hashes(level, block)
    }

    fn damaged(&self, level: u8, block: u64, why: &str) -> Self::Error {
        (*self).damaged(level, block, why)
    }
}

/// What a signed revision says of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) entries: u64,
    pub(crate) span: u64,
    pub(crate) held_bytes: u64,
    pub(crate) held_chunks: u64,
    pub(crate) root: Hash,
}

impl Shape {
    pub(crate) fn empty() -> Self {
        Self { entries: 0, span: 0, held_bytes: 0, held_chunks: 0, root: empty_root() }
    }

    /// Blocks of a level.
    fn blocks(&self, level: u8) -> u64 {
        (0..=level).fold(self.entries, |items, _| items.div_ceil(BLOCK as u64))
    }

    /// Items in a block of a level.
    fn items(&self, level: u8, block: u64) -> usize {
        let all = if level == 0 { self.entries } else { self.blocks(level - 1) };
        all.saturating_sub(block * BLOCK as u64).min(BLOCK as u64) as usize
    }

    fn count(&mut self, entry: &InventoryEntry) {
        if entry.chunk.is_some() {
            self.held_bytes += u64::from(entry.len);
            self.held_chunks += 1;
        }
    }
}

fn leaf_hashes(entries: &[InventoryEntry]) -> Vec<Hash> {
    entries.iter().map(InventoryEntry::leaf_hash).collect()
}

fn block_of(index: u64) -> (u64, usize) {
    (index / BLOCK as u64, (index % BLOCK as u64) as usize)
}

/// Reads blocks and checks that they have as many items as the shape says.
#[derive(Clone, Copy)]
struct Checked<B> {
    shape: Shape,
    blocks: B,
}

impl<B: Blocks> Checked<B> {
    fn entries(&self, block: u64) -> Result<Vec<InventoryEntry>, B::Error> {
        let entries = self.blocks.entries(block)?;
        if entries.len() == self.shape.items(0, block) {
            return Ok(entries);
        }
        Err(self.blocks.damaged(0, block, "it has another number of entries than the revision says"))
    }

    fn hashes(&self, level: u8, block: u64) -> Result<Vec<Hash>, B::Error> {
        let hashes = self.blocks.hashes(level, block)?;
        if hashes.len() == self.shape.items(level, block) {
            return Ok(hashes);
        }
        Err(self.blocks.damaged(level, block, "it has another number of hashes than the revision says"))
    }
}

/// An inventory of which only what is looked at is read.
pub(crate) struct StoredInventory<B>(Checked<B>);

impl<B: Blocks> StoredInventory<B> {
    pub(crate) fn new(shape: Shape, blocks: B) -> Self {
        Self(Checked { shape, blocks })
    }

    /// At most `max` entries from `index` on.
    pub(crate) fn entries_from(&self, index: u64, max: usize) -> Result<Vec<InventoryEntry>, B::Error> {
        let mut entries = Vec::new();
        let (mut block, mut skip) = block_of(index);
        while entries.len() < max && block < self.0.shape.blocks(0) {
            let more = self.0.entries(block)?;
            entries.extend(more.into_iter().skip(skip).take(max - entries.len()));
            (block, skip) = (block + 1, 0);
        }
        Ok(entries)
    }
}

impl<B: Blocks> InventoryView for StoredInventory<B> {
    type Error = B::Error;

    fn len(&self) -> u64 {
        self.0.shape.entries
    }

    fn span(&self) -> u64 {
        self.0.shape.span
    }

    fn root(&self) -> Hash {
        self.0.shape.root
    }

    fn entry(&self, index: u64) -> Result<Option<InventoryEntry>, B::Error> {
        if index >= self.len() {
            return Ok(None);
        }
        let (block, within) = block_of(index);
        Ok(self.0.entries(block)?.get(within).copied())
    }

    fn path(&self, index: u64) -> Result<Option<Vec<Hash>>, B::Error> {
        if index >= self.len() {
            return Ok(None);
        }
        let (mut block, within) = block_of(index);
        let (mut path, mut below) = path_over(leaf_hashes(&self.0.entries(block)?), within);
        for level in 1.. {
            if self.0.shape.blocks(level - 1) <= 1 {
                break;
            }
            let (above, within) = block_of(block);
            let hashes = self.0.hashes(level, above)?;
            if hashes.get(within) != Some(&below) {
                return Err(self.0.blocks.damaged(level, above, "it does not fit the level below"));
            }
            let (more, root) = path_over(hashes, within);
            path.extend(more);
            (block, below) = (above, root);
        }
        if below == self.0.shape.root {
            Ok(Some(path))
        } else {
            Err(self.0.blocks.damaged(0, index / BLOCK as u64, "it does not lead to the signed root"))
        }
    }

    fn locate(&self, position: u64) -> Result<Option<u64>, B::Error> {
        if position >= self.span() {
            return Ok(None);
        }
        // The last block whose first entry begins at the position or before it.
        let (mut low, mut high) = (0, self.0.shape.blocks(0));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let entries = self.0.entries(middle)?;
            if entries.first().is_some_and(|entry| entry.offset <= position) {
                low = middle
            } else {
                high = middle
            }
        }
        let entries = self.0.entries(low)?;
        match entries.iter().position(|entry| entry.covers(position)) {
            Some(within) => Ok(Some(low * BLOCK as u64 + within as u64)),
            None => Err(self.0.blocks.damaged(0, low, "its entries do not lie end to end")),
        }
    }
}

/// Why an inventory cannot change like that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EditError<E> {
    Refused(InventoryError),
    Blocks(E),
}

impl<E> From<InventoryError> for EditError<E> {
    fn from(error: InventoryError) -> Self {
        Self::Refused(error)
    }
}

/// A change of an inventory. Dropped, nothing has changed.
pub(crate) struct Edit<B> {
    before: Checked<B>,
    shape: Shape,
    /// Blocks of entries that were changed.
    entries: BTreeMap<u64, Vec<InventoryEntry>>,
}

/// What must be written for an inventory to be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) shape: Shape,
    pub(crate) entries: Vec<(u64, Vec<InventoryEntry>)>,
    /// Level, block, hashes.
    pub(crate) hashes: Vec<(u8, u64, Vec<Hash>)>,
}

impl<B: Blocks> Edit<B> {
    pub(crate) fn new(shape: Shape, blocks: B) -> Self {
        Self { before: Checked { shape, blocks }, shape, entries: BTreeMap::new() }
    }

    /// A block for changing.
    fn block(&mut self, block: u64) -> Result<&mut Vec<InventoryEntry>, EditError<B::Error>> {
        if !self.entries.contains_key(&block) {
            let is_new = self.before.shape.items(0, block) == 0;
            let entries =
                if is_new { Vec::new() } else { self.before.entries(block).map_err(EditError::Blocks)? };
            self.entries.insert(block, entries);
        }
        Ok(self.entries.get_mut(&block).expect("it was just entered"))
    }

    /// As [`commonhold_format::inventory::Inventory::remove`].
    pub(crate) fn remove(&mut self, index: u64) -> Result<InventoryEntry, EditError<B::Error>> {
        let missing = EditError::Refused(InventoryError::NotHeld(index));
        if index >= self.shape.entries {
            return Err(missing);
        }
        let (block, within) = block_of(index);
        let entry = self.block(block)?.get_mut(within).filter(|entry| entry.chunk.is_some());
        let Some(entry) = entry else { return Err(missing) };
        let before = *entry;
        entry.chunk = None;
        self.shape.held_bytes = self.shape.held_bytes.saturating_sub(u64::from(before.len));
        self.shape.held_chunks = self.shape.held_chunks.saturating_sub(1);
        Ok(before)
    }

    /// As [`commonhold_format::inventory::Inventory::push`].
    pub(crate) fn push(&mut self, chunk: ChunkId, len: u32) -> Result<u64, EditError<B::Error>> {
        let index = self.shape.entries;
        let entry = InventoryEntry::new(self.shape.span, len, chunk, index)?;
        let (block, _) = block_of(index);
        self.block(block)?.push(entry);
        self.shape.entries += 1;
        self.shape.span = entry.end();
        self.shape.count(&entry);
        Ok(index)
    }

    /// Works out the tree; O(changes × log n).
    pub(crate) fn finish(mut self) -> Result<Changed, EditError<B::Error>> {
        let mut dirty: BTreeMap<u64, Hash> =
            self.entries.iter().map(|(block, entries)| (*block, root_over(&leaf_hashes(entries)))).collect();
        let mut changed = Vec::new();
        let before = &self.before;
        for level in 1u8.. {
            let below = level - 1;
            if self.shape.blocks(below) <= 1 {
                break;
            }
            if before.shape.blocks(below) == 1 && !dirty.contains_key(&0) {
                // The level is new, so it has nothing yet of the block that was the only one.
                let root = match below {
                    0 => before.entries(0).map(|entries| root_over(&leaf_hashes(&entries))),
                    _ => before.hashes(below, 0).map(|hashes| root_over(&hashes)),
                };
                dirty.insert(0, root.map_err(EditError::Blocks)?);
            }
            let had_level = before.shape.blocks(below) > 1;
            let mut parents: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
            for (block, hash) in dirty {
                let (above, within) = block_of(block);
                let hashes = match parents.entry(above) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        let is_new = !had_level || before.shape.items(level, above) == 0;
                        let hashes = if is_new { Ok(Vec::new()) } else { before.hashes(level, above) };
                        entry.insert(hashes.map_err(EditError::Blocks)?)
                    }
                };
                match hashes.get_mut(within) {
                    Some(old) => *old = hash,
                    None => hashes.push(hash),
                }
            }
            dirty = parents.iter().map(|(block, hashes)| (*block, root_over(hashes))).collect();
            changed.extend(parents.into_iter().map(|(block, hashes)| (level, block, hashes)));
        }
        if let Some(root) = dirty.get(&0) {
            self.shape.root = *root;
        }
        Ok(Changed { shape: self.shape, entries: self.entries.into_iter().collect(), hashes: changed })
    }
}

/// The shape and all blocks of hashes of an inventory, by its entries.
///
/// # Errors
/// [`InventoryError`] for an entry that does not follow the one before it.
pub(crate) fn rebuild_hashes(
    entries: impl IntoIterator<Item = InventoryEntry>,
) -> Result<Changed, InventoryError> {
    let mut shape = Shape::empty();
    // Hashes of the levels that have not filled a block, and of blocks that are full.
    let mut leaves: Vec<Hash> = Vec::with_capacity(BLOCK);
    let mut level: Vec<Hash> = Vec::new();
    for entry in entries {
        if entry.offset != shape.span || !entry.is_valid() {
            return Err(InventoryError::Gap(shape.entries));
        }
        shape.entries += 1;
        shape.span = entry.end();
        shape.count(&entry);
        leaves.push(entry.leaf_hash());
        if leaves.len() == BLOCK {
            level.push(root_over(&leaves));
            leaves.clear();
        }
    }
    if !leaves.is_empty() {
        level.push(root_over(&leaves));
    }
    let mut hashes = Vec::new();
    for number in 1u8.. {
        if level.len() <= 1 {
            break;
        }
        let blocks = (0..).zip(level.chunks(BLOCK));
        hashes.extend(blocks.map(|(block, items)| (number, block, items.to_vec())));
        level = level.chunks(BLOCK).map(root_over).collect();
    }
    shape.root = level.first().copied().unwrap_or_else(empty_root);
    Ok(Changed { shape, entries: Vec::new(), hashes })
}

#[cfg(test)]
mod tests;
