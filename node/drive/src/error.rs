//! Why an operation on the drive failed, in sentences for the person who asked for it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::custody::CustodyError;

/// Why an operation on a drive failed. Nothing became visible in the drive unless the variant says
/// otherwise. Cloneable, because one failed fetch may end several waiting reads.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DriveError {
    /// No file or folder has this path.
    #[error("{0} is not in the drive")]
    NotFound(String),
    /// What stands at a path is a folder, and only a file has what was asked for.
    #[error("{0} is a folder: {1}")]
    NotFile(String, &'static str),
    /// A file would replace a folder or the other way round, or something that may not be replaced.
    #[error("{path} {}", occupied(existing, wanted))]
    Exists {
        /// Where.
        path: String,
        /// What stands there: "file" or "folder".
        existing: &'static str,
        /// What should have been put there.
        wanted: &'static str,
    },
    /// Something that may be removed only when it is empty is not.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// What stands at a path is not what the caller said that it should be.
    #[error("{0} is not as it was expected to be: look again and decide")]
    Precondition(String),
    /// The text is not a path of a drive.
    #[error("{path:?} is not a path in the drive: {why}")]
    BadPath {
        /// The refused text, cut to 80 characters.
        path: String,
        /// The reason.
        why: String,
    },
    /// The root folder cannot be removed.
    #[error("the root of the drive cannot be removed: remove what is in it")]
    RootRemoval,
    /// The stream is not an archive that this drive takes in.
    #[error("the archive cannot be stored: {0}")]
    BadArchive(String),
    /// The stream ended or failed before the archive was complete.
    #[error("the archive was interrupted ({0}): nothing of it is in the drive, send it again")]
    Interrupted(String),
    /// A file was not as long as the archive had announced.
    #[error(
        "{path} changed while it was being read: it should have {expected} bytes and {found}; put it again"
    )]
    Changed {
        /// Which file.
        path: String,
        /// The declared length, bytes.
        expected: u64,
        /// What came instead, as a phrase.
        found: String,
    },
    /// The providers could not keep or give back data.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// Data came back, passed the check of its chunks, and still is not what was written.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// Which object.
        what: String,
        /// How that shows.
        why: String,
    },
    /// A bound of the drive's formats was reached.
    #[error("{0}")]
    TooLarge(String),
    /// The newest head of the drive could not be looked up.
    #[error("the newest state of the drive could not be looked up ({0}): try again when the node has peers")]
    HeadUnknown(String),
    /// The drive was made elsewhere, and nothing of it has been found yet.
    #[error(
        "this drive was not found yet; it is looked for as this node reaches others, so try again in a moment. If nothing was ever stored with these 24 words, `commonhold drive begin` makes an empty one"
    )]
    Awaited,
    /// The drive's own directory could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// The system gave no random bytes, or a task of the drive was stopped.
    #[error("the drive could not go on: {0}")]
    Internal(String),
}

/// What is said of a path that is taken.
fn occupied(existing: &str, wanted: &str) -> String {
    if existing == wanted {
        format!("exists already, as a {existing}: choose another name, or replace or remove it first")
    } else {
        format!(
            "is a {existing} in the drive and cannot become a {wanted}: remove it first or choose another name"
        )
    }
}

impl DriveError {
    /// A stable word for programs: `not_found`, `exists`, `precondition`, `bad_path`, `bad_archive`, `interrupted`,
    /// `changed`, `no_providers`, `too_few_providers`, `too_expensive`, `placement_policy`, `quota`,
    /// `not_stored`, `unavailable`, `custody`, `damaged`, `too_large`, `head_unknown`, `io` or `internal`.
    pub fn code(&self) -> &'static str {
        match self {
            DriveError::NotFound(_) | DriveError::NotFile(..) => "not_found",
            DriveError::Exists { .. } | DriveError::NotEmpty(_) => "exists",
            DriveError::Precondition(_) => "precondition",
            DriveError::BadPath { .. } | DriveError::RootRemoval => "bad_path",
            DriveError::BadArchive(_) => "bad_archive",
            DriveError::Interrupted(_) => "interrupted",
            DriveError::Changed { .. } => "changed",
            DriveError::Custody(error) => match error {
                CustodyError::NoProviders => "no_providers",
                CustodyError::TooFewProviders { .. } => "too_few_providers",
                CustodyError::TooExpensive { .. } => "too_expensive",
                CustodyError::PlacementPolicy { .. } => "placement_policy",
                CustodyError::Full { .. } | CustodyError::Quota { .. } => "quota",
                CustodyError::NotStored { .. } => "not_stored",
                CustodyError::Unavailable { .. } => "unavailable",
                CustodyError::Other(_) => "custody",
            },
            DriveError::Damaged { .. } => "damaged",
            DriveError::TooLarge(_) => "too_large",
            DriveError::HeadUnknown(_) | DriveError::Awaited => "head_unknown",
            DriveError::Io { .. } => "io",
            DriveError::Internal(_) => "internal",
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        DriveError::Io { path: path.into(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl ToString) -> Self {
        DriveError::Damaged { what: what.into(), why: why.to_string() }
    }
}
