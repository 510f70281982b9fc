//! Why the store does not do what it was asked, one type for each operation.

use std::io;
use std::path::{Path, PathBuf};

use commonhold_format::ids::ChunkId;

/// The index, or the store as a whole, has failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A write or sync failed; nothing is acknowledged any more.
    #[error("the store has stopped after a disk error ({why}): check the disk and start the node again")]
    Failed {
        /// The first error.
        why: String,
    },
    /// The index holds something that it cannot hold.
    #[error("the index is damaged: database {database}, key {key}: {why}")]
    Damaged {
        /// Name of the database.
        database: &'static str,
        /// The key in hexadecimal.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// The index could not be read.
    #[error("the index cannot be read: {why}")]
    Read {
        /// LMDB's reason.
        why: String,
    },
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by another version.
    #[error("{file} says {found:?}; this program knows {expected:?}: use the matching program")]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A pack that the index needs is not there or too short.
    #[error("{file} is missing or shorter than the index knows it: is the right disk mounted?")]
    Pack {
        /// The file.
        file: PathBuf,
    },
    /// The index is damaged.
    #[error(transparent)]
    Index(#[from] StoreError),
    /// A revision or contract in the index does not fit the rest.
    #[error("the index is damaged: contract {contract}: {why}")]
    Book {
        /// The contract.
        contract: String,
        /// What does not fit.
        why: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Why a chunk is not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PutError {
    /// The bytes do not give the id, or are none or too many.
    #[error("the bytes are not the chunk that they are said to be")]
    WrongId,
    /// The disk's allotment is used up.
    #[error("the disk quota is reached: {needed} bytes are needed and {free} are free")]
    QuotaReached {
        /// Bytes of the record.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Too much is waiting to be committed.
    #[error("{waiting} bytes of this contract wait for their commit: commit them first")]
    Busy {
        /// Bytes waiting.
        waiting: u64,
    },
    /// The store has stopped.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Why a chunk cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// It is not here.
    #[error("this node does not hold the chunk")]
    NotHeld,
    /// It is here and its bytes are not right.
    #[error("this node's copy of the chunk is damaged: {why}")]
    Damaged {
        /// What is wrong.
        why: &'static str,
    },
    /// The disk did not give it.
    #[error("the disk cannot be read: {why}")]
    Io {
        /// The operating system's reason.
        why: String,
    },
}

impl ReadError {
    pub(crate) fn index(error: StoreError) -> Self {
        Self::Io { why: error.to_string() }
    }
}

/// Why the book does not take something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BookError {
    /// The contract is not in the book.
    #[error("the contract is not known here")]
    Unknown,
    /// A signature is missing or wrong.
    #[error("the note needs the signatures of owner and provider")]
    Unsigned,
    /// The change is not possible.
    #[error("the inventory cannot change like that: {0}")]
    Change(#[from] commonhold_format::inventory::InventoryError),
    /// The store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a revision is not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Chunks were not put before.
    #[error("{} of the chunks were not put before", .0.len())]
    Missing(Vec<ChunkId>),
    /// The revision is not what the changes come to.
    #[error("the revision does not say what the changes come to")]
    Mismatch,
    /// The book does not take it.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}
