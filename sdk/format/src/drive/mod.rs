//! A drive's objects: references, manifests, folders, the sealed part of the head (spec/drive.md,
//! spec/manifest.md).
//!
//! Invariant: what the decoders let through is whole and canonical: every extent lies within its
//! segment, the extents of an object add up to its sealed length, a table names each of its
//! segments once and none in vain, and a folder's entries are in order. Not here: sealing itself
//! ([`crate::seal`]) and where chunks are now (the owner's book knows).

mod codec;
mod name;
mod table;

pub use name::{NAME_LEN_MAX, Name, NameError};
pub use table::TableBuilder;

use zeroize::Zeroizing;

use crate::seal::{ObjectId, ObjectKey};
use crate::segment::Segment;

/// Files up to this many bytes live in their folder's entry.
pub const INLINE_LEN_MAX: usize = 4096;
/// Files with more extents than this get a manifest object of their own.
pub const DIRECT_EXTENTS_MAX: usize = 8;
/// Largest encoding of a manifest, folder or head content, bytes: a manifest of about 1 TiB.
pub const OBJECT_LEN_MAX: usize = 256 << 20;

/// A stretch of a segment's ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which segment of the enclosing object's table.
    pub segment: u32,
    /// First byte.
    pub offset: u32,
    /// Bytes, at least 1.
    pub len: u32,
}

/// Everything that is needed to fetch and open one sealed object. Its kind follows from where the
/// reference stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// The object's id.
    pub id: ObjectId,
    /// Its key.
    pub key: ObjectKey,
    /// The key's commitment.
    pub commitment: [u8; 32],
    /// True plaintext bytes.
    pub len: u64,
    /// The ciphertext in order; the lengths add up to [`crate::seal::sealed_len`] of `len`.
    pub extents: Vec<Extent>,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// Here: up to [`INLINE_LEN_MAX`] bytes.
    Inline(Vec<u8>),
    /// In segments of the folder's table.
    Direct(ObjectRef),
    /// In segments that a manifest object lists.
    Manifest {
        /// The manifest object, in segments of the folder's table.
        manifest: ObjectRef,
        /// The file's bytes; the manifest says the same.
        len: u64,
    },
}

impl FileContent {
    /// The file's bytes.
    pub fn len(&self) -> u64 {
        match self {
            FileContent::Inline(bytes) => bytes.len() as u64,
            FileContent::Direct(file) => file.len,
            FileContent::Manifest { len, .. } => *len,
        }
    }

    /// Has the file no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The manifest of one version of a large file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The segments that the file's extents lie in.
    pub table: Vec<Segment>,
    /// The file.
    pub file: ObjectRef,
}

/// One child of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// What it is.
    pub node: EntryKind,
}

/// What a child is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its bytes.
        content: FileContent,
        /// May its owner execute it?
        executable: bool,
    },
    /// A folder.
    Folder(ObjectRef),
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    /// The segments that the entries' extents lie in.
    pub table: Vec<Segment>,
    /// Children, ascending by the bytes of their names.
    pub entries: Vec<Entry>,
}

/// What a head seals: where the root folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadContent {
    /// The segments that the root folder's extents lie in.
    pub table: Vec<Segment>,
    /// The root folder.
    pub root: ObjectRef,
    /// When it was written, milliseconds since 1970.
    pub written_ms: i64,
}

/// Bytes are not such an object, or a reference does not fit its table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct ObjectError {
    /// Manifest, folder, head or reference.
    pub what: &'static str,
    /// The reason.
    pub why: String,
}

impl Manifest {
    /// The one encoding: version byte, then CBOR (spec/manifest.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`Manifest::encode`].
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the encoding of a valid manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}

impl Folder {
    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`Folder::encode`].
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the encoding of a valid folder.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}

impl HeadContent {
    /// The one encoding: version byte, then CBOR (spec/drive.md).
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Strict inverse of [`HeadContent::encode`].
    ///
    /// # Errors
    /// [`ObjectError`] for anything but the encoding of a valid head content.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        codec::decode(bytes)
    }
}
