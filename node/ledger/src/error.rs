//! What can go wrong with a ledger, in sentences for its operator.

use std::io;
use std::path::{Path, PathBuf};

/// Why a ledger could not be opened, read or appended to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system refused to read or write.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process, or another handle of this one, has the ledger open.
    #[error("{} is in use: stop the other node on this data directory first", file.display())]
    InUse {
        /// The log.
        file: PathBuf,
    },
    /// The file is not a ledger of this version.
    #[error("{} is not a ledger that this version can read: move it away, or use the version that wrote it", file.display())]
    NotALedger {
        /// The log.
        file: PathBuf,
    },
    /// Entries that a checkpoint covers are missing at the end.
    #[error(
        "{} has {found} entries and its checkpoint covers {expected}: entries were lost. Restore the file from a \
         backup that has them; a node must not go on from an older ledger",
        file.display()
    )]
    Truncated {
        /// The log.
        file: PathBuf,
        /// Entries that the checkpoint covers.
        expected: u64,
        /// Entries that are there.
        found: u64,
    },
    /// Bytes of an entry are not those that were written.
    #[error(
        "{} was altered ({}): check the disk, and restore the file from a backup",
        file.display(),
        place(.entry, .offset)
    )]
    Altered {
        /// The log.
        file: PathBuf,
        /// The entry, from 0; `None` when every entry is well formed and only the root of all of them
        /// differs from the checkpoint's.
        entry: Option<u64>,
        /// Where the entry starts in the file, or where the covered entries end.
        offset: u64,
    },
    /// The checkpoint cannot be used.
    #[error(
        "{} is not a checkpoint of this ledger ({why}): restore it from a backup together with the log",
        file.display()
    )]
    Checkpoint {
        /// The checkpoint.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The head of another node's ledger cannot be used.
    #[error(
        "{} is not the head of a ledger ({why}): restore it from a backup; without it this node may cosign another \
         history of that ledger",
        file.display()
    )]
    Head {
        /// The file, or the folder of heads for one that came from elsewhere.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The note is longer than notes may be.
    #[error("a note of {bytes} bytes is longer than the {max} that a ledger takes")]
    NoteTooLong {
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        max: usize,
    },
    /// A sync failed before, so nobody knows what is on disk. Only opening it again tells.
    #[error(
        "the ledger {} stopped after a failed write ({why}): check the disk, then start the node again",
        file.display()
    )]
    Stopped {
        /// The log.
        file: PathBuf,
        /// What failed.
        why: String,
    },
}

impl LedgerError {
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }

    pub(crate) fn altered(file: &Path, entry: u64, offset: u64) -> Self {
        Self::Altered { file: file.to_owned(), entry: Some(entry), offset }
    }
}

fn place(entry: &Option<u64>, offset: &u64) -> String {
    match entry {
        Some(entry) => format!("entry {entry}, at byte {offset}"),
        None => format!("somewhere before byte {offset}"),
    }
}
