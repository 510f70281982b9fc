//! What the operations of a drive answer.

use crate::path::DrivePath;

/// What a put did. It is in the drive when this is returned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutReport {
    /// Paths of the archive's root entries, ascending.
    pub stored: Vec<String>,
    /// Files stored.
    pub files: u64,
    /// Folders of the archive, whether new or merged into one that was there.
    pub folders: u64,
    /// Bytes of the files stored, before padding and coding.
    pub bytes: u64,
    /// Segments written, those of folders included.
    pub segments: u64,
    /// Entries of the archive that are not in the drive. At most [`SKIPPED_MAX`] are listed.
    pub skipped: Vec<Skipped>,
    /// What went less than well although the put is complete, as sentences: a head that could not
    /// be announced, space that could not be freed.
    pub warnings: Vec<String>,
}

/// Most skipped entries that a report lists; a warning counts the others.
pub const SKIPPED_MAX: usize = 1000;

/// An entry of an archive that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path as the archive has it, cut to 200 characters, controls replaced.
    pub path: String,
    /// The reason, as a phrase.
    pub why: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The last component of the path.
    pub name: String,
    /// The whole path.
    pub path: DrivePath,
    /// File or folder.
    pub kind: ListKind,
    /// Bytes of a file; 0 for a folder.
    pub bytes: u64,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether its owner may execute the file.
    pub executable: bool,
}

/// What a removal took out of the drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What was removed.
    pub path: String,
    /// Files in it, 1 for a file.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// As in [`PutReport::warnings`].
    pub warnings: Vec<String>,
}

/// A head beside the current one: another history of the same drive, signed with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of the encoded head.
    pub hash: [u8; 32],
    /// When it was written, milliseconds since 1970, by the clock of the device that wrote it.
    pub written_ms: i64,
}

/// The state of the drive's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveStatus {
    /// Sequence of the current head; 0 when nothing was ever put.
    pub sequence: u64,
    /// When it was written, milliseconds since 1970; none when nothing was ever put.
    pub written_ms: Option<i64>,
    /// Whether the current head has been announced (or was found announced).
    pub published: bool,
    /// Other histories that were seen. Their data are kept until somebody decides.
    pub forks: Vec<Fork>,
    /// What the owner should know, as sentences.
    pub warnings: Vec<String>,
}
