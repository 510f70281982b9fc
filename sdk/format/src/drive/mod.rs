//! A drive's objects: references, manifests, folders, the sealed part of the head (spec/drive.md,
//! spec/manifest.md).
//!
//! Invariant: what the decoders let through is whole and canonical: every extent lies within its
//! segment, the extents of an object add up to its sealed length, a table names each of its
//! segments once and none in vain, and a folder's entries are in order. What it is not: sealing
//! itself ([`crate::seal`]), or knowledge of where chunks are now (the owner's book has that).
//!
//! Encoding does not check: whoever builds a value by hand keeps to the rules above, or its
//! encoding will not decode.

mod codec;
mod name;
mod table;

pub use name::{NAME_LEN_MAX, Name, NameError};
pub use table::TableBuilder;

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
/// Largest encoding of a manifest or folder, bytes. Enough for the manifest of a file of 1 TiB
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

/// The manifest of one version of a large file (spec/manifest.md, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The segments that the file's extents lie in.
    pub table: Vec<Segment>,
    /// The file: an object of kind File.
    pub file: ObjectRef,
}

/// One child of a folder: a file or another folder. A child exists only by its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which no other child of the folder has.
    pub name: Name,
    /// When it was last modified, milliseconds since 1970 (UTC, no leap seconds). What the writer
    /// said; any value is accepted.
    pub modified_ms: i64,
    /// What it is.
    pub node: EntryKind,
}

/// What a child is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Where its bytes are.
        content: FileContent,
        /// Whether its owner may execute it: all that is kept of its mode.
        executable: bool,
    },
    /// A folder: an object of kind Folder.
    Folder(ObjectRef),
}

/// A folder (spec/drive.md, section 2). The default is the empty folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    /// The segments that the entries' extents lie in.
    pub table: Vec<Segment>,
    /// Children, strictly ascending by the bytes of their names.
    pub entries: Vec<Entry>,
}

/// What a head seals: where the root folder is (spec/drive.md, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadContent {
    /// The segments that the root folder's extents lie in.
    pub table: Vec<Segment>,
    /// The root folder: an object of kind Folder.
    pub root: ObjectRef,
    /// When it was written, milliseconds since 1970 (UTC, no leap seconds), by the clock of the
    /// device that wrote it. For people; what is newer follows from sequences alone.
    pub written_ms: i64,
}

/// Bytes are not a valid object, or a reference does not fit its table.
///
/// Objects are decoded after their tags were checked, so the fault is the writer's and no other
/// holder has better bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct ObjectError {
    /// What was expected: manifest, folder, head or reference.
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

impl Folder {
    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`Folder::encode`]: what it accepts encodes to the same bytes again.
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the one encoding of a valid folder of at most
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
