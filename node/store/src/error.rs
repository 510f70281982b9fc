//! Why the store does not do what it was asked, one type for each operation.

use std::io;
use std::path::{Path, PathBuf};

use commonhold_format::ids::ChunkId;

use crate::record::StoreId;

/// The index, or the store as a whole, has failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A write or sync failed; nothing is acknowledged any more.
    #[error("the store has stopped after a disk error ({why}): check the disk and start the node again")]
    Failed {
        /// The first error.
        why: String,
    },
    /// There is no space on the file system. Nothing has changed, and the store goes on.
    #[error("there is no space on the store's file system ({why}): free some")]
    Full {
        /// The operating system's reason.
        why: String,
    },
    /// The index holds something that it cannot hold.
    #[error(
        "the index is damaged: database {database}, key {key}: {why}; `store rebuild-index` makes it anew"
    )]
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
    /// The index's file is cut off, or its pages are damaged.
    #[error("{} is damaged: {why}; `store rebuild-index` makes it anew from the packs", file.display())]
    IndexFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No part of a pack could be read. What cannot be read beside parts that can is damage to those
    /// records alone, and no error.
    #[error("{} cannot be read ({why}): is its disk healthy?", file.display())]
    Pack {
        /// The pack's file.
        file: PathBuf,
        /// The operating system's reason.
        why: String,
    },
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by another version.
    #[error("{} says {found:?}; this program knows {expected:?}: use the matching program", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Another process, or another store of this one, has it open.
    #[error("{} is open already: stop the other node, or give this one a directory of its own", dir.display())]
    InUse {
        /// The store's folder.
        dir: PathBuf,
    },
    /// There is no store, and what is there is somebody's.
    #[error(
        "{} is not empty, and no store: there is {}; choose an empty folder, nothing was changed",
        dir.display(),
        found.display()
    )]
    NotEmpty {
        /// The store's folder.
        dir: PathBuf,
        /// The first thing in it that is none of a store's.
        found: PathBuf,
    },
    /// The store that was here, or a part of it, is gone.
    #[error("{} is missing: is the right disk mounted?", file.display())]
    Missing {
        /// The file or folder.
        file: PathBuf,
    },
    /// The packs are there, and the index is not.
    #[error("{} is missing: `store rebuild-index` makes it anew from the packs", file.display())]
    NoIndex {
        /// The index's file.
        file: PathBuf,
    },
    /// A pack that the index needs is not there, too short, or not the one that it should be.
    #[error(
        "{} {why}: is the right disk mounted, and is it healthy? `store rebuild-index` accepts the loss",
        file.display()
    )]
    Pack {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// This is the store of another node, or an older one of this node.
    #[error("{} is store {found}, and this node's is {expected}: mount the right disk", dir.display())]
    OtherStore {
        /// The store's folder.
        dir: PathBuf,
        /// The id that is there.
        found: StoreId,
        /// The id that should be.
        expected: StoreId,
    },
    /// The index is damaged.
    #[error(transparent)]
    Index(#[from] StoreError),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
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
    /// The contract is not in the book, or this node is its owner.
    #[error("this node lends no disk under that contract")]
    Unknown,
    /// The disk's allotment is used up.
    #[error("the disk quota is reached: {needed} bytes are needed and {free} are free for them")]
    QuotaReached {
        /// Bytes of the record.
        needed: u64,
        /// Bytes free for a chunk of its length.
        free: u64,
    },
    /// Too much waits for its commit under this contract ([`PENDING_BYTES_MAX`](crate::PENDING_BYTES_MAX)).
    #[error("{waiting} bytes of this contract wait for their commit: commit them first")]
    Busy {
        /// Bytes waiting.
        waiting: u64,
    },
    /// The file system has no space. Nothing has changed, and the store goes on.
    #[error("there is no space on the store's file system: free some")]
    DiskFull,
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
    /// The contract has ended, and its inventory was given up.
    #[error("the contract has ended and its inventory was given up")]
    GivenUp,
    /// A signature is missing or wrong.
    #[error("the note needs the signatures of owner and provider")]
    Unsigned,
    /// The note says something else than what it was handed in with.
    #[error("the note does not say what it is said to")]
    Note,
    /// A receipt that does not come after the one on record.
    #[error("receipt {offered} does not follow receipt {last}")]
    Superseded {
        /// Sequence of the receipt on record.
        last: u64,
        /// Sequence of the one that was offered.
        offered: u64,
    },
    /// The change is not possible.
    #[error("the inventory cannot change like that: {0}")]
    Change(#[from] commonhold_format::inventory::InventoryError),
    /// The store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a revision is not committed. Nothing has changed then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Chunks are not here. They have to be put first, or again.
    #[error("{} of the chunks are not here: put them and commit again", .0.len())]
    Missing(Vec<ChunkId>),
    /// A chunk has another length than the addition says.
    #[error("chunk {chunk} has {held} bytes and not {said}")]
    Length {
        /// The chunk.
        chunk: ChunkId,
        /// What the addition says.
        said: u32,
        /// What the chunk has.
        held: u32,
    },
    /// The revision is not what the changes come to.
    #[error("the revision does not say what the changes come to: ask for the contract's state")]
    Mismatch,
    /// The book does not take it.
    #[error(transparent)]
    Book(BookError),
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl From<BookError> for CommitError {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Store(error) => Self::Failed(error),
            error => Self::Book(error),
        }
    }
}

impl From<crate::inventory::EditError<StoreError>> for BookError {
    fn from(error: crate::inventory::EditError<StoreError>) -> Self {
        match error {
            crate::inventory::EditError::Refused(error) => Self::Change(error),
            crate::inventory::EditError::Blocks(error) => Self::Store(error),
        }
    }
}
