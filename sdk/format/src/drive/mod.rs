//! A drive's objects: references, manifests, the pages of folders, histories, the sealed part of the
//! head (spec/drive.md, spec/manifest.md).
//!
//! Invariant: what the decoders let through is whole and canonical: every extent lies within its
//! segment, the extents of an object add up to its sealed length, a table names each of its
//! segments once and none in vain, and a page's entries are in order. What it is not: sealing
//! itself ([`crate::seal`]), or knowledge of where chunks are now (the owner's book has that).
//!
//! Encoding does not check: whoever builds a value by hand keeps to the rules above, or its
//! encoding will not decode.

mod codec;
mod name;
mod table;

/// For what seals references elsewhere: the content of links' records.
pub(crate) mod object_parts {
    pub(crate) use super::codec::parts::{read_optional, write_optional};
    pub(crate) use super::codec::{array, encode_secret as encode};
}

pub use name::{NAME_LEN_MAX, Name, NameError};
pub use table::TableBuilder;

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::seal::{ObjectId, ObjectKey};
use crate::segment::Segment;

/// Most bytes of a file that lives in its folder's entry: one block of most file systems, and few
/// enough that folders of small files still load quickly.
pub const INLINE_LEN_MAX: usize = 4096;
/// Files with more extents than this get a manifest object of their own, so that folders stay
/// small. A rule for writers; readers take any number.
pub const DIRECT_EXTENTS_MAX: usize = 8;
/// Highest level of a page: more than any folder needs, and a bound for readers.
pub const PAGE_LEVEL_MAX: u8 = 12;
/// Most attributes of one file or folder.
pub const ATTRIBUTES_MAX: usize = 64;
/// Longest key of an attribute, bytes.
pub const ATTRIBUTE_KEY_LEN_MAX: usize = 128;
/// Most bytes of the keys and values of one file's or folder's attributes.
pub const ATTRIBUTES_LEN_MAX: usize = 8 * 1024;
/// Largest encoding of a manifest, page or history, bytes. Enough for the manifest of a file of 1 TiB
/// under a code of 2 of 6 or for a million entries, and an object has to fit in memory, several
/// times over once it is decoded.
pub const OBJECT_LEN_MAX: usize = 256 << 20;

/// A stretch of a segment's ciphertext (spec/manifest.md, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Place of the segment in the enclosing object's table, from 0.
    pub segment: u32,
    /// First byte within the segment, from 0.
    pub offset: u32,
    /// Bytes, at least 1; `offset` + `len` is at most the segment's length.
    pub len: u32,
}

/// Everything that is needed to fetch and open one sealed object (spec/manifest.md, section 2).
///
/// Its kind follows from where the reference stands, and its extents from the table of the object
/// that holds the reference. Whoever has both can read the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// The object's id.
    pub id: ObjectId,
    /// Its key, fresh for this version.
    pub key: ObjectKey,
    /// The key's commitment, see [`crate::seal::Sealing::commitment`].
    pub commitment: [u8; 32],
    /// True plaintext bytes, padding left out.
    pub len: u64,
    /// The ciphertext in order; the lengths add up to [`crate::seal::sealed_len`] of `len`.
    pub extents: Vec<Extent>,
}

/// Where a file's bytes are (spec/drive.md, section 2). `Debug` shows no byte of the file.
#[derive(Clone, PartialEq, Eq)]
pub enum FileContent {
    /// Here: up to [`INLINE_LEN_MAX`] bytes, sealed with the folder.
    Inline(Vec<u8>),
    /// In an object of kind File, in segments of the folder's table.
    Direct(ObjectRef),
    /// In an object of kind File that a [`Manifest`] describes.
    Manifest {
        /// The manifest's object, in segments of the folder's table.
        manifest: ObjectRef,
        /// The file's length in bytes. Readers refuse a manifest that says another one.
        len: u64,
    },
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileContent::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            FileContent::Direct(file) => f.debug_tuple("Direct").field(file).finish(),
            FileContent::Manifest { manifest, len } => {
                f.debug_struct("Manifest").field("manifest", manifest).field("len", len).finish()
            }
        }
    }
}

impl FileContent {
    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            FileContent::Inline(bytes) => bytes.len() as u64,
            FileContent::Direct(file) => file.len,
            FileContent::Manifest { len, .. } => *len,
        }
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The manifest of one version of a file that is not one object of few extents (spec/manifest.md,
/// section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The segments that the parts' extents lie in.
    pub table: Vec<Segment>,
    /// The file is these objects of kind File one after the other; at least one.
    pub parts: Vec<ObjectRef>,
}

impl Manifest {
    /// The file's length in bytes: the sum of its parts. `None` when it does not fit 64 bits.
    pub fn len(&self) -> Option<u64> {
        self.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.len))
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.len == 0)
    }
}

/// What a folder's files come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Entries that lie directly in it.
    pub entries: u64,
    /// Files below it, at any depth.
    pub files: u64,
    /// Bytes of their current versions.
    pub bytes: u64,
}

impl Totals {
    /// Adds the files and bytes below an entry, or below a page, and `entries`. It stops at `u64::MAX`, for
    /// the numbers are what somebody wrote.
    fn add(&mut self, entries: u64, files: u64, bytes: u64) {
        self.entries = self.entries.saturating_add(entries);
        self.files = self.files.saturating_add(files);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Where a folder's entries are (spec/drive.md, section 2). The default is the empty folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderRef {
    /// Its topmost page, an object of kind Folder; none for a folder without entries.
    pub page: Option<ObjectRef>,
    /// As the writer has them: for people, and not to be relied upon. Zeros without a page, and at least
    /// one entry with one.
    pub totals: Totals,
}

/// A file's earlier versions: an object of kind History.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRef {
    /// The object.
    pub object: ObjectRef,
    /// How many versions it has; at least 1.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is kept of a file or folder beside its bytes: short texts under short keys, ascending by key. At
/// most [`ATTRIBUTES_MAX`], a key of 1 to [`ATTRIBUTE_KEY_LEN_MAX`] bytes, and [`ATTRIBUTES_LEN_MAX`] bytes
/// of keys and values together.
pub type Attributes = BTreeMap<String, String>;

/// One child of a folder: a file or another folder. A child exists only by its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which no other child of the folder has.
    pub name: Name,
    /// When it was last modified, milliseconds since 1970 (UTC, no leap seconds). What the writer
    /// said; any value is accepted.
    pub modified_ms: i64,
    /// See there.
    pub attributes: Attributes,
    /// What it is.
    pub node: EntryKind,
}

/// What a child is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File(File),
    /// A folder.
    Folder(FolderRef),
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where its bytes are.
    pub content: FileContent,
    /// Whether its owner may execute it: all that is kept of its mode.
    pub executable: bool,
    /// When this version was stored, milliseconds since 1970: its number, higher than that of the version
    /// before it.
    pub stored_ms: u64,
    /// Versions before it, if any are kept.
    pub history: Option<HistoryRef>,
}

/// A page of a folder: an object of kind Folder (spec/drive.md, section 2). A folder is a B+ tree of them,
/// so that one change writes a few small pages however many entries there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The segments that the extents of what stands here lie in.
    pub table: Vec<Segment>,
    /// What stands here.
    pub items: Items,
}

/// What stands in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Items {
    /// Entries of the folder, at least one, strictly ascending by the bytes of their names.
    Entries(Vec<Entry>),
    /// Further pages, at least one, strictly ascending by their lower bounds.
    Pages {
        /// 1 when they have entries, 2 when they have such pages, and so on, at most
        /// [`PAGE_LEVEL_MAX`].
        level: u8,
        /// The pages.
        pages: Vec<PageRef>,
    },
}

/// A page below another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// No name below this page is smaller. Readers refuse one that is, or that is not smaller than the
    /// lower bound of the next page, see [`Page::check_place`].
    pub first: Name,
    /// The page: an object of kind Folder.
    pub page: ObjectRef,
    /// Sums over the entries below it, of which there is at least one.
    pub totals: Totals,
}

/// Earlier versions of one file: an object of kind History (spec/drive.md, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The segments that the versions' extents lie in.
    pub table: Vec<Segment>,
    /// Newest first: strictly descending by their numbers; at least one.
    pub versions: Vec<Version>,
}

/// An earlier version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As it was in the entry, see [`File::stored_ms`].
    pub stored_ms: u64,
    /// As it was in the entry.
    pub modified_ms: i64,
    /// As it was in the entry.
    pub executable: bool,
    /// As it was in the entry.
    pub content: FileContent,
    /// As it was in the entry.
    pub attributes: Attributes,
}

/// What a head seals: the three trees of a drive (spec/drive.md, section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadContent {
    /// The segments that the extents of the three lie in.
    pub table: Vec<Segment>,
    /// The root folder.
    pub files: FolderRef,
    /// What was removed: a folder whose entries have names of their own and remember where they were.
    pub bin: FolderRef,
    /// Links that were given out: a folder of small files (spec/links.md).
    pub shares: FolderRef,
    /// When it was written, milliseconds since 1970 (UTC, no leap seconds), by the clock of the
    /// device that wrote it. For people; what is newer follows from sequences alone.
    pub written_ms: i64,
    /// For each device of the owner, the sequence of the last head of its own that is part of this history:
    /// strictly ascending by device, at most [`WRITERS_MAX`]. So a device sees whether what it wrote is in a
    /// head that it finds.
    pub writers: Vec<Writer>,
}

/// Most devices that a head names. Beyond, those that have not written for longest are left out.
pub const WRITERS_MAX: usize = 32;

/// A device of the owner that has written heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// The device: 8 random bytes of its own.
    pub device: [u8; 8],
    /// The sequence of its last head in this history, at least 1.
    pub sequence: u64,
}

/// Bytes are not a valid object, or a reference does not fit its table.
///
/// Objects are decoded after their tags were checked, so the fault is the writer's and no other
/// holder has better bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct ObjectError {
    /// What was expected: manifest, folder, history, head or reference.
    pub what: &'static str,
    /// The reason. It may hold a refused name, but no key.
    pub why: String,
}

impl Manifest {
    /// The one encoding: version byte, then CBOR (spec/manifest.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`Manifest::encode`]: what it accepts encodes to the same bytes again.
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the one encoding of a valid manifest of at most
    /// [`OBJECT_LEN_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}

impl Page {
    /// The sums over what stands here: of a folder when this is its topmost page, of a [`PageRef`] when it
    /// is below another one. They stop at `u64::MAX`.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        match &self.items {
            Items::Entries(entries) => {
                for entry in entries {
                    match &entry.node {
                        EntryKind::File(file) => sum.add(1, 1, file.content.len()),
                        EntryKind::Folder(folder) => sum.add(1, folder.totals.files, folder.totals.bytes),
                    }
                }
            }
            Items::Pages { pages, .. } => {
                for page in pages {
                    sum.add(page.totals.entries, page.totals.files, page.totals.bytes);
                }
            }
        }
        sum
    }

    /// 0 for a page of entries, else that of [`Items::Pages`].
    pub fn level(&self) -> u8 {
        match &self.items {
            Items::Entries(_) => 0,
            Items::Pages { level, .. } => *level,
        }
    }

    /// Checks what a page alone does not show, when a reader comes to it from the page above: it is of the
    /// `level` that is expected, and all that stands here is at or above `first`, the page's own lower
    /// bound, and below `end`, the lower bound of the page after it. `None` is no bound.
    ///
    /// # Errors
    /// [`ObjectError`] when it is not so. The page is then not to be used.
    pub fn check_place(
        &self,
        level: u8,
        first: Option<&Name>,
        end: Option<&Name>,
    ) -> Result<(), ObjectError> {
        let refuse = |why: &str| Err(ObjectError { what: "folder", why: why.to_owned() });
        let bounds = match &self.items {
            Items::Entries(entries) => entries.first().zip(entries.last()).map(|(a, b)| (&a.name, &b.name)),
            Items::Pages { pages, .. } => pages.first().zip(pages.last()).map(|(a, b)| (&a.first, &b.first)),
        };
        let Some((smallest, largest)) = bounds else { return refuse("nothing stands in it") };
        if self.level() != level {
            return refuse("a page is of another level than the one above it says");
        }
        if first.is_some_and(|first| smallest < first) || end.is_some_and(|end| largest >= end) {
            return refuse("what stands in a page lies outside of the page's bounds");
        }
        Ok(())
    }

    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`Page::encode`]: what it accepts encodes to the same bytes again.
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the one encoding of a valid page of at most
    /// [`OBJECT_LEN_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}

impl History {
    /// What a [`HistoryRef`] says of it: the number of versions, and their bytes, which stop at `u64::MAX`.
    pub fn totals(&self) -> (u64, u64) {
        let bytes = self.versions.iter().fold(0u64, |sum, version| sum.saturating_add(version.content.len()));
        (self.versions.len() as u64, bytes)
    }

    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`History::encode`]: what it accepts encodes to the same bytes again.
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the one encoding of a valid history of at most
    /// [`OBJECT_LEN_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}

impl HeadContent {
    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`HeadContent::encode`]: what it accepts encodes to the same bytes again.
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the one encoding of a valid head content of at most
    /// [`OBJECT_LEN_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}
