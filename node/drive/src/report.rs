//! What the operations of a drive answer.

use commonhold_format::drive::{Attributes, Entry, EntryKind, FileContent};
use commonhold_format::tree::leaf_hash;

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

/// A file or folder of the drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The whole path.
    pub path: DrivePath,
    /// File or folder.
    pub kind: ListKind,
    /// Bytes of a file's current version; of all files below a folder.
    pub bytes: u64,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether its owner may execute the file.
    pub executable: bool,
    /// The number of this version of a file: when it was stored, milliseconds since 1970. 0 for a folder.
    pub version: u64,
    /// Earlier versions that are kept.
    pub versions: u64,
    /// Bytes of these.
    pub versions_bytes: u64,
    /// Something that is another one whenever the content of a file is. Zeros for a folder.
    pub content_id: [u8; 16],
    /// Files below a folder; 1 for a file.
    pub files: u64,
    /// Entries that lie directly in a folder; 0 for a file.
    pub children: u64,
    /// What is kept beside the bytes.
    pub attributes: Attributes,
}

impl Info {
    /// The last component of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.path.name().map_or("", |name| name.as_str())
    }

    pub(crate) fn of(path: DrivePath, entry: &Entry) -> Self {
        let mut info = Self {
            path,
            kind: ListKind::Folder,
            bytes: 0,
            modified_ms: entry.modified_ms,
            executable: false,
            version: 0,
            versions: 0,
            versions_bytes: 0,
            content_id: [0; 16],
            files: 0,
            children: 0,
            attributes: entry.attributes.clone(),
        };
        match &entry.node {
            EntryKind::Folder(folder) => {
                let totals = folder.totals;
                (info.bytes, info.files, info.children) = (totals.bytes, totals.files, totals.entries);
            }
            EntryKind::File(file) => {
                info.kind = ListKind::File;
                info.files = 1;
                info.bytes = file.content.len();
                info.executable = file.executable;
                info.version = file.stored_ms;
                info.content_id = content_id(file.stored_ms, &file.content);
                if let Some(history) = &file.history {
                    (info.versions, info.versions_bytes) = (history.versions, history.bytes);
                }
            }
        }
        info
    }
}

/// An object's id, which is random; for a file that stands in its entry, a hash of when it was stored and of
/// its bytes.
pub(crate) fn content_id(stored_ms: u64, content: &FileContent) -> [u8; 16] {
    match content {
        FileContent::Direct(object) | FileContent::Manifest { manifest: object, .. } => object.id.0,
        FileContent::Inline(bytes) => {
            let mut id = [0; 16];
            let mut hashed = stored_ms.to_be_bytes().to_vec();
            hashed.extend_from_slice(bytes);
            id.copy_from_slice(&leaf_hash(&hashed)[..16]);
            id
        }
    }
}

/// An earlier or the current version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number, see [`Info::version`].
    pub version: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When its content was last modified.
    pub modified_ms: i64,
    /// See [`Info::content_id`].
    pub content_id: [u8; 16],
    /// Whether it is the current one.
    pub current: bool,
    /// What is kept beside its bytes.
    pub attributes: Attributes,
}

/// Something in the bin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinInfo {
    /// Its name there.
    pub id: String,
    /// Where it was, as a text: a path that is not valid any more cannot be in a drive either.
    pub path: String,
    /// What it is; its own path is its place in the bin.
    pub info: Info,
    /// When it was removed, milliseconds since 1970.
    pub removed_ms: i64,
}

/// Sums over what lies below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files.
    pub files: u64,
    /// Folders below it.
    pub folders: u64,
    /// Bytes of the files' current versions.
    pub bytes: u64,
    /// Earlier versions.
    pub versions: u64,
    /// Their bytes.
    pub versions_bytes: u64,
}

/// What taking in another history did. Each list has at most [`SKIPPED_MAX`] paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Taken over from the other history.
    pub added: Vec<String>,
    /// Different in both: the other history's stand under these new names.
    pub conflicts: Vec<String>,
    /// Removed in the other history, and in the bin now.
    pub removed: Vec<String>,
    /// Whether the state was known from which both went on.
    pub with_ancestor: bool,
    /// As in [`PutReport::warnings`].
    pub warnings: Vec<String>,
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
    /// Files under it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The state of the drive's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveStatus {
    /// Sequence of the current head; 0 when nothing was ever put.
    pub sequence: u64,
    /// The current head; none when nothing was ever put.
    pub current: Option<Fork>,
    /// Whether the current head has been announced (or was found announced).
    pub published: bool,
    /// Other histories that were seen. Their data are kept until somebody decides.
    pub forks: Vec<Fork>,
    /// What the owner should know, as sentences.
    pub warnings: Vec<String>,
}
