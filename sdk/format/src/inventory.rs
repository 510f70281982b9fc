//! The inventory: the ordered chunks under one contract, and their tree (spec/inventory.md).
//!
//! Invariant: entries lie end to end from byte 0, so that every byte position below the span
//! belongs to exactly one entry; a removed chunk leaves a hole of the same length. What it is
//! not: a record of where chunk bytes lie on a disk, or of who owns them.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::ids::ChunkId;
use crate::tree::{CHUNK_LEN_MAX, GrowingTree, Hash, leaf_hash};

/// Bytes of an inventory leaf before hashing.
pub const ENTRY_LEN: usize = 44;

/// What stands in the place of a chunk id in the leaf of a hole.
const HOLE: [u8; 32] = [0; 32];

/// One leaf of an inventory.
///
/// It is hashed as 44 bytes: offset (u64, big-endian), length (u32, big-endian), chunk id, or 32
/// zero bytes for a hole. On the wire it is a CBOR array of three: offset, length, and the id as
/// a byte string or null. Decoding refuses what [`InventoryEntry::is_valid`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Where the chunk begins in the contract's byte space.
    pub offset: u64,
    /// Bytes of the chunk, 1 to [`CHUNK_LEN_MAX`]. A hole keeps the length of what it held.
    pub len: u32,
    /// The chunk; `None` for a hole.
    pub chunk: Option<ChunkId>,
}

impl InventoryEntry {
    /// The entry of a chunk that begins at byte `offset`; `index` is its number, for the error.
    ///
    /// # Errors
    /// [`InventoryError::ChunkLength`] unless `len` is 1 to [`CHUNK_LEN_MAX`];
    /// [`InventoryError::ChunkId`] for 32 zero bytes; [`InventoryError::Gap`] when it does not end
    /// within 64 bits.
    pub fn new(offset: u64, len: u32, chunk: ChunkId, index: u64) -> Result<Self, InventoryError> {
        let entry = Self { offset, len, chunk: Some(chunk) };
        if !length_is_valid(len) {
            return Err(InventoryError::ChunkLength(len));
        }
        if chunk == ChunkId(HOLE) {
            return Err(InventoryError::ChunkId);
        }
        if entry.is_valid() { Ok(entry) } else { Err(InventoryError::Gap(index)) }
    }

    /// The 44 bytes that are hashed as a leaf.
    pub fn to_bytes(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_be_bytes());
        bytes[12..].copy_from_slice(&self.chunk.map_or(HOLE, |chunk| chunk.0));
        bytes
    }

    /// Reads 44 bytes back. `None` when they are not a valid entry.
    pub fn from_bytes(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (len, id) = rest.split_first_chunk()?;
        let id: [u8; 32] = id.try_into().ok()?;
        let entry = Self {
            offset: u64::from_be_bytes(*offset),
            len: u32::from_be_bytes(*len),
            chunk: (id != HOLE).then_some(ChunkId(id)),
        };
        entry.is_valid().then_some(entry)
    }

    /// Whether the length is within bounds, the end fits in 64 bits, and the chunk id is not the
    /// 32 zero bytes that stand for a hole.
    pub fn is_valid(&self) -> bool {
        length_is_valid(self.len)
            && self.offset.checked_add(u64::from(self.len)).is_some()
            && self.chunk != Some(ChunkId(HOLE))
    }

    /// Whether the entry covers a byte position.
    pub fn covers(&self, position: u64) -> bool {
        position.checked_sub(self.offset).is_some_and(|within| within < u64::from(self.len))
    }

    /// The entry's hash as a leaf of the inventory tree.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.to_bytes())
    }

    /// The first position after the entry. Entries of an [`Inventory`] are valid, so it fits.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

fn length_is_valid(len: u32) -> bool {
    (1..=CHUNK_LEN_MAX).contains(&(len as usize))
}

impl<C> Encode<C> for InventoryEntry {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?.u64(self.offset)?.u32(self.len)?;
        self.chunk.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for InventoryEntry {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let refused = |why| Err(minicbor::decode::Error::message(why));
        if d.array()? != Some(3) {
            return refused("an inventory entry is an array of three");
        }
        let entry = Self { offset: d.u64()?, len: d.u32()?, chunk: Option::decode(d, ctx)? };
        if entry.is_valid() { Ok(entry) } else { refused("an inventory entry is out of bounds") }
    }
}

/// Why an inventory operation was refused. The inventory is then unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// A length of 0 or above [`CHUNK_LEN_MAX`].
    #[error("a chunk of {0} bytes; 1 to 1,048,576 are allowed")]
    ChunkLength(u32),
    /// Thirty-two zero bytes stand for a hole and cannot be a chunk's id.
    #[error("32 zero bytes are not a chunk id; they stand for a hole")]
    ChunkId,
    /// There is no such entry, or it is a hole already.
    #[error("entry {0} holds no chunk")]
    NotHeld(u64),
    /// Only a hole can be given a chunk back.
    #[error("entry {0} is not a hole")]
    NotAHole(u64),
    /// An entry does not begin where the one before it ends, or goes beyond 64 bits.
    #[error("entry {0} does not continue the one before it")]
    Gap(u64),
}

/// What an audit is proven from: an inventory, be it in memory or on a disk.
pub trait InventoryView {
    /// Why a look can fail.
    type Error;

    /// How many entries there are, holes included.
    fn len(&self) -> u64;
    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes that the entries span, holes included.
    fn span(&self) -> u64;
    /// The root of the tree over all entries.
    fn root(&self) -> Hash;
    /// Entry `index`, if there is one.
    ///
    /// # Errors
    /// When the inventory cannot be read; so for the others.
    fn entry(&self, index: u64) -> Result<Option<InventoryEntry>, Self::Error>;
    /// The path of entry `index` to the root; `None` when there is no such entry.
    ///
    /// # Errors
    /// When the inventory cannot be read.
    fn path(&self, index: u64) -> Result<Option<Vec<Hash>>, Self::Error>;
    /// The index of the entry that covers a byte position; `None` when it is not below the span.
    ///
    /// # Errors
    /// When the inventory cannot be read.
    fn locate(&self, position: u64) -> Result<Option<u64>, Self::Error>;
}

impl InventoryView for Inventory {
    type Error = std::convert::Infallible;

    fn len(&self) -> u64 {
        self.len()
    }

    fn span(&self) -> u64 {
        self.span()
    }

    fn root(&self) -> Hash {
        self.root()
    }

    fn entry(&self, index: u64) -> Result<Option<InventoryEntry>, Self::Error> {
        Ok(self.entry(index))
    }

    fn path(&self, index: u64) -> Result<Option<Vec<Hash>>, Self::Error> {
        Ok(self.path(index))
    }

    fn locate(&self, position: u64) -> Result<Option<u64>, Self::Error> {
        Ok(self.locate(position))
    }
}

/// An inventory with its tree in memory: about 120 bytes for each entry.
///
/// Every change costs O(log n), and each has an inverse ([`pop`](Self::pop) for
/// [`push`](Self::push), [`refill`](Self::refill) for [`remove`](Self::remove)), so that a
/// change can be tried, compared with what was signed, and taken back.
#[derive(Clone, Default)]
pub struct Inventory {
    entries: Vec<InventoryEntry>,
    tree: GrowingTree,
    held_bytes: u64,
    held_chunks: u64,
}

impl Inventory {
    /// An inventory without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds an inventory from entries that were stored or received, in order.
    ///
    /// # Errors
    /// [`InventoryError::ChunkLength`] or [`InventoryError::ChunkId`] for an entry that is out
    /// of bounds, [`InventoryError::Gap`] for one that does not begin where the previous one ends.
    pub fn from_entries(entries: impl IntoIterator<Item = InventoryEntry>) -> Result<Self, InventoryError> {
        let mut inventory = Self::new();
        for entry in entries {
            if entry.offset != inventory.span() {
                return Err(InventoryError::Gap(inventory.len()));
            }
            inventory.append(entry)?;
        }
        Ok(inventory)
    }

    /// Appends a chunk after the last entry and returns its index. A chunk that is held already
    /// is not looked for here.
    ///
    /// # Errors
    /// [`InventoryError::ChunkLength`] unless `len` is 1 to [`CHUNK_LEN_MAX`];
    /// [`InventoryError::ChunkId`] for 32 zero bytes.
    pub fn push(&mut self, chunk: ChunkId, len: u32) -> Result<u64, InventoryError> {
        self.append(InventoryEntry::new(self.span(), len, chunk, self.len())?)
    }

    /// Turns an entry into a hole and returns what it was.
    ///
    /// # Errors
    /// [`InventoryError::NotHeld`] when there is no such entry or it is a hole already.
    pub fn remove(&mut self, index: u64) -> Result<InventoryEntry, InventoryError> {
        let before =
            self.entry(index).filter(|entry| entry.chunk.is_some()).ok_or(InventoryError::NotHeld(index))?;
        self.replace(index, InventoryEntry { chunk: None, ..before });
        Ok(before)
    }

    /// Takes the last entry off and returns it: undoes the last [`push`](Self::push). `None`
    /// when there is no entry.
    pub fn pop(&mut self) -> Option<InventoryEntry> {
        let entry = self.entries.pop()?;
        self.tree.pop();
        self.uncount(&entry);
        Some(entry)
    }

    /// Gives a hole its chunk back: undoes a [`remove`](Self::remove).
    ///
    /// # Errors
    /// [`InventoryError::NotAHole`] when there is no such entry or it holds a chunk;
    /// [`InventoryError::ChunkId`] for 32 zero bytes.
    pub fn refill(&mut self, index: u64, chunk: ChunkId) -> Result<(), InventoryError> {
        let hole =
            self.entry(index).filter(|entry| entry.chunk.is_none()).ok_or(InventoryError::NotAHole(index))?;
        if chunk == ChunkId(HOLE) {
            return Err(InventoryError::ChunkId);
        }
        self.replace(index, InventoryEntry { chunk: Some(chunk), ..hole });
        Ok(())
    }

    /// How many entries there are, holes included.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the entries span, holes included: where the next chunk will begin.
    pub fn span(&self) -> u64 {
        self.entries.last().map_or(0, InventoryEntry::end)
    }

    /// Bytes of the chunks that are held.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// How many chunks are held.
    pub fn held_chunks(&self) -> u64 {
        self.held_chunks
    }

    /// The root of the tree over all entries; the one that a revision carries.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Entry `index`, if there is one.
    pub fn entry(&self, index: u64) -> Option<InventoryEntry> {
        self.entries.get(usize::try_from(index).ok()?).copied()
    }

    /// All entries in order, holes included.
    pub fn entries(&self) -> &[InventoryEntry] {
        &self.entries
    }

    /// The index of the entry that covers a byte position, in O(log n). `None` when the position
    /// is not below the span.
    pub fn locate(&self, position: u64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| entry.offset <= position);
        let index = after.checked_sub(1)?;
        self.entries[index].covers(position).then_some(index as u64)
    }

    /// The path of entry `index` to the root; `None` when there is no such entry.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        self.tree.path(index)
    }

    fn append(&mut self, entry: InventoryEntry) -> Result<u64, InventoryError> {
        let index = self.len();
        if !length_is_valid(entry.len) {
            return Err(InventoryError::ChunkLength(entry.len));
        }
        if entry.chunk == Some(ChunkId(HOLE)) {
            return Err(InventoryError::ChunkId);
        }
        if !entry.is_valid() {
            return Err(InventoryError::Gap(index));
        }
        self.tree.push(entry.leaf_hash());
        self.entries.push(entry);
        self.count(&entry);
        Ok(index)
    }

    /// Puts `entry` in the place of an entry that the caller has found at `index`.
    fn replace(&mut self, index: u64, entry: InventoryEntry) {
        let before = std::mem::replace(&mut self.entries[index as usize], entry);
        self.tree.set(index, entry.leaf_hash());
        self.uncount(&before);
        self.count(&entry);
    }

    fn count(&mut self, entry: &InventoryEntry) {
        if entry.chunk.is_some() {
            self.held_bytes += u64::from(entry.len);
            self.held_chunks += 1;
        }
    }

    fn uncount(&mut self, entry: &InventoryEntry) {
        if entry.chunk.is_some() {
            self.held_bytes -= u64::from(entry.len);
            self.held_chunks -= 1;
        }
    }
}
