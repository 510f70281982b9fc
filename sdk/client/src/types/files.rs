//! What is in a drive, in lines, and what changed by an archive or a removal (spec/api.md).
//!
//! Invariant: paths are absolute paths of the drive. Not here: everything else of a drive (`drive`).

use serde::{Deserialize, Serialize};

/// The state of an owner's drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveStatus {
    /// Sequence of the current head; 0 when nothing was ever put.
    pub sequence: u64,
    /// Other histories of this drive that were seen; more than 0 is a problem.
    pub forks: u64,
    /// Segments that the drive's files and folders need.
    pub segments: u64,
    /// Those of them that lack at least one chunk at present.
    pub degraded_segments: u64,
}

/// What stands under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// `GET /v1/files`: a folder's children, or a file alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What was listed.
    pub path: String,
    /// The children of a folder, ordered by name; a file lists itself.
    pub entries: Vec<FileEntry>,
    /// Where to go on: the `after` of the next request. Absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One line of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The last component of the path.
    pub name: String,
    /// The whole path in the drive.
    pub path: String,
    /// File or folder.
    pub kind: FileKind,
    /// Bytes of a file; of all files below a folder.
    pub bytes: u64,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// May its owner execute it?
    pub executable: bool,
}

/// `PUT /v1/archive`: what was stored. It is in the drive, and enough providers have signed for
/// bytes on disk, when this is answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PutReport {
    /// Paths in the drive of the archive's root entries, ascending.
    pub stored: Vec<String>,
    /// Files stored.
    pub files: u64,
    /// Folders of the archive, new or merged into one that was there.
    #[serde(default)]
    pub folders: u64,
    /// Bytes of these files, before padding and coding.
    pub bytes: u64,
    /// Segments written, those of folders included.
    pub segments: u64,
    /// From the first byte of the request to this answer, seconds.
    pub seconds: f64,
    /// Entries of the archive that were not stored, like devices and links.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// What went less than well although the put is complete, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// An entry of an archive that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path in the archive.
    pub path: String,
    /// The reason, as a phrase.
    pub why: String,
}

/// `DELETE /v1/files`: what is no longer in the drive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// What was removed.
    pub path: String,
    /// Files in it; 1 for a file.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// As in [`PutReport::warnings`].
    #[serde(default)]
    pub warnings: Vec<String>,
}
