//! An owner's drive as the local API shows it and is asked to change it (spec/api.md, spec/drive.md):
//! files, folders, versions, the bin, other histories, redundancy. Not here: links (`shares`).
//!
//! Invariant: paths are absolute paths of the drive, times are milliseconds since 1970 unless their name
//! says otherwise, and what was written by others (names, attributes) is data, never markup.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FileEntry, FileKind};

/// Most entries of one [`Listing`](super::Listing) or [`Found`].
pub const LIST_MAX: usize = 10_000;
/// Entries of a listing when the request names no limit.
pub const LIST_DEFAULT: usize = 1_000;
/// Most attributes of one file or folder.
pub const ATTRIBUTES_MAX: usize = 64;
/// Longest key of an attribute, bytes.
pub const ATTRIBUTE_KEY_LEN_MAX: usize = 128;
/// Most bytes of all keys and values of the attributes of one file or folder.
pub const ATTRIBUTES_LEN_MAX: usize = 8 * 1024;

/// What is kept of a file or folder beside its bytes: short texts under short names. `content-type` and
/// `etag` (lower-case hexadecimal MD5 of the content) are set by whoever stored the file, names that begin
/// with `s3-` by the S3 interface.
pub type Attributes = BTreeMap<String, String>;

/// `GET /v1/files/info`, and what a change of one file answers: one file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// As in a listing.
    #[serde(flatten)]
    pub entry: FileEntry,
    /// The number of this version of a file: when it was stored, milliseconds since 1970, and higher than
    /// that of the version before it. 0 for a folder.
    pub version: u64,
    /// Earlier versions of a file that are kept.
    pub versions: u64,
    /// A text that is another one whenever the content is: 32 hexadecimal digits of random. Empty for a
    /// folder.
    pub content_id: String,
    /// Files below a folder, at any depth; 1 for a file.
    pub files: u64,
    /// Entries that lie directly in a folder; 0 for a file.
    pub children: u64,
    /// See [`Attributes`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// `POST /v1/folders`: makes a folder, and those above it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderRequest {
    /// Where.
    pub path: String,
}

/// `POST /v1/files/move` and `POST /v1/files/copy`: the whole new path, name included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// What is moved or copied.
    pub from: String,
    /// Its new path. What stands there already is an `exists`, unless `replace` is set and both are files.
    pub to: String,
    /// Take the place of a file at `to`, which becomes an earlier version.
    #[serde(default)]
    pub replace: bool,
}

/// `GET /v1/files/find`: entries below a folder, depth first in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// At most as many as were asked for.
    pub entries: Vec<FileEntry>,
    /// Where to go on: the `after` of the next request. Absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/files/usage`: what lies below a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// What was measured.
    pub path: String,
    /// Files.
    pub files: u64,
    /// Folders below it.
    pub folders: u64,
    /// Bytes of the files' current versions.
    pub bytes: u64,
    /// Earlier versions that are kept.
    pub versions: u64,
    /// Their bytes.
    pub versions_bytes: u64,
    /// The same sums for each direct child of a folder, in the order of their names, when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<UsageView>,
}

/// `GET /v1/versions`: the versions of a file, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsView {
    /// The file.
    pub path: String,
    /// The first is the current one.
    pub versions: Vec<VersionView>,
}

/// One version of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its number, see [`FileInfo::version`].
    pub version: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When its content was last modified.
    pub modified_ms: i64,
    /// See [`FileInfo::content_id`].
    pub content_id: String,
    /// Whether it is the current one.
    pub current: bool,
    /// See [`Attributes`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// `POST /v1/versions/restore`: an earlier version becomes the current one; the one before it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreVersionRequest {
    /// The file.
    pub path: String,
    /// The version's number.
    pub version: u64,
}

/// `GET /v1/bin`: what was removed and can be restored, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinView {
    /// See there.
    pub items: Vec<BinItem>,
    /// How long the node keeps what was removed, seconds; absent when until the bin is emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
}

/// A file or folder in the bin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinItem {
    /// Its name in the bin.
    pub id: String,
    /// Where it was.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Files in it; 1 for a file.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was removed.
    pub removed_ms: i64,
}

/// `POST /v1/bin/restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinRestoreRequest {
    /// Which item.
    pub id: String,
    /// Where to; without it, where it was. What stands there already is an `exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// `POST /v1/bin/empty`: for good. Space at providers is freed as it becomes possible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinEmptyRequest {
    /// Only these; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Only what was removed at least this long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<u64>,
}

/// What emptying the bin took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinEmptied {
    /// Items.
    pub items: u64,
    /// Files in them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went less than well although the items are gone, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `GET /v1/drive/heads`: the drive's current state and other histories of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsView {
    /// The current head; absent when nothing was ever put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<HeadView>,
    /// Whether it was announced to the network.
    pub announced: bool,
    /// Other histories, which another device wrote or somebody brought back. They are kept until merged or
    /// given up.
    pub forks: Vec<HeadView>,
}

/// One head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadView {
    /// SHA-256 of it, 64 hexadecimal digits.
    pub hash: String,
    /// Its number.
    pub sequence: u64,
    /// When it was written, by the clock of the device that wrote it.
    pub written_ms: i64,
    /// Files under it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// `POST /v1/drive/merge` and `POST /v1/drive/forget`: another history, by the first digits of its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkRequest {
    /// At least 8 hexadecimal digits.
    pub hash: String,
}

/// What a merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Paths that were taken over from the other history, at most 1,000.
    pub added: Vec<String>,
    /// Paths whose two versions differ: both are kept, the other history's under a new name. At most 1,000.
    pub conflicts: Vec<String>,
    /// Paths that the other history had removed, and which are in the bin now. At most 1,000.
    pub removed: Vec<String>,
    /// Whether the state was known from which both histories went on. Without it, what only one of them has
    /// counts as added.
    pub with_ancestor: bool,
    /// As in a put.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `POST /v1/drive/check`: is everything there, as often as it should be?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Only what is below this path; without it, everything, bin and versions included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Have what is missing made again.
    #[serde(default)]
    pub repair: bool,
}

/// What a check found. No whole file was downloaded for it: of every chunk, each provider that should have
/// it was asked for one leaf of 1 KiB, drawn anew. After a repair, what is there then.
///
/// `chunks` = `chunks_proven` + `chunks_counted` + `chunks_unreachable` + `chunks_lost`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Files looked at, versions and the bin included when everything was.
    pub files: u64,
    /// Segments that they lie in.
    pub segments: u64,
    /// Chunks of these.
    pub chunks: u64,
    /// Chunks of which the drawn leaf was shown.
    pub chunks_proven: u64,
    /// Chunks whose providers are of an older version, which cannot be asked for a leaf: these are there,
    /// and were audited where this node has a contract with them.
    pub chunks_counted: u64,
    /// Chunks whose providers did not answer, and that may be there all the same.
    pub chunks_unreachable: u64,
    /// Chunks that nobody has any more.
    pub chunks_lost: u64,
    /// Chunks that nobody within reach could show: those that are lost or out of reach.
    pub missing_chunks: u64,
    /// Chunks made again, of other files too.
    pub repaired_chunks: u64,
    /// Bytes that were received for the check, repairs left out.
    pub fetched_bytes: u64,
    /// Files and folders of which chunks are lost or out of reach; at most 1,000.
    pub incomplete: Vec<Incomplete>,
    /// How many there are.
    pub incomplete_total: u64,
    /// Files that cannot be read or that one more lost provider could make unreadable; at most 1,000.
    pub at_risk: Vec<AtRisk>,
    /// How many there are.
    pub at_risk_total: u64,
    /// What each provider showed, before a repair; at most 1,000.
    pub providers: Vec<CheckedProvider>,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// A file or folder of which not every chunk was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    /// Which, as in [`AtRisk`].
    pub path: String,
    /// Its chunks that nobody has any more.
    pub chunks_lost: u64,
    /// Its chunks whose providers did not answer.
    pub chunks_unreachable: u64,
}

/// What one provider showed of the chunks that it should have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedProvider {
    /// Its node.
    pub peer_id: String,
    /// Chunks of which it showed the drawn leaf.
    pub chunks_proven: u64,
    /// Chunks that were only counted, because it cannot be asked for a leaf.
    pub chunks_counted: u64,
    /// Chunks for which it gave no answer.
    pub chunks_unreachable: u64,
    /// Chunks that it does not show.
    pub chunks_lost: u64,
    /// Why not all are proven, a phrase; empty when they are.
    pub why: String,
}

/// A file of which too few chunks were found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// Which file; one in the bin has the path `bin:ID`.
    pub path: String,
    /// How many more of its chunks may be lost before it cannot be read; negative when it cannot be now.
    pub margin: i64,
    /// What to do, a sentence.
    pub advice: String,
}

/// `POST /v1/tickets`: lets a browser fetch one thing without the token, once, within a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// A file, or a folder, which comes as a tar archive.
    pub path: String,
    /// An earlier version of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Show it in the browser, if it is a picture, a video, sound, a PDF or plain text; else it is saved.
    #[serde(default)]
    pub inline: bool,
}

/// What a ticket answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Path and query on this API's address.
    pub url: String,
    /// Where the download stands in [`DownloadsView`]; absent of a ticket that shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<String>,
}

/// `GET /v1/downloads`: what browsers fetch under tickets for saving, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadsView {
    /// Those that wait, are under way, or ended a while ago.
    pub downloads: Vec<DownloadView>,
}

/// One download, and what `DELETE /v1/downloads/{id}` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadView {
    /// 32 hexadecimal digits of random, which open nothing.
    pub id: String,
    /// The file or folder.
    pub path: String,
    /// The version of a file, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// A folder comes as an archive.
    pub kind: FileKind,
    /// How long the answer is; absent while that is not known, as of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes that were handed to the connection.
    pub sent_bytes: u64,
    /// How it stands.
    pub state: DownloadState,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its ticket was given out, milliseconds since 1970.
    pub begun_ms: i64,
}

/// How a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// The browser has not come for it.
    Waiting,
    /// Bytes are on their way.
    Sending,
    /// All bytes were handed over.
    Done,
    /// It broke off.
    Failed,
    /// It was ended by `DELETE /v1/downloads/{id}`.
    Cancelled,
}

/// `GET /v1/s3/keys`: access keys of the S3 interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3KeysView {
    /// Where the S3 interface listens; absent when it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Without their secrets.
    pub keys: Vec<S3KeyView>,
}

/// An access key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3KeyView {
    /// What clients call the access key id.
    pub access_key: String,
    /// What it is for, in the words of whoever made it.
    pub name: String,
    /// When it was made.
    pub created_ms: i64,
}

/// `POST /v1/s3/keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3KeyRequest {
    /// What it is for.
    #[serde(default)]
    pub name: String,
}

/// What a change answers of which there is nothing more to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A key that was just made: its secret is told here and never again.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3KeyNew {
    /// As in the list.
    #[serde(flatten)]
    pub key: S3KeyView,
    /// The secret.
    pub secret_key: String,
    /// Where the S3 interface listens; absent when it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Without the secret.
impl std::fmt::Debug for S3KeyNew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3KeyNew")
            .field("key", &self.key)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// `GET /v1/uploads`: files that are being put in parts, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadsView {
    /// See there.
    pub uploads: Vec<UploadView>,
}

/// A file that is being put in parts. Its parts are stored; it is in the drive when it is completed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadView {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Where it will stand.
    pub path: String,
    /// When it was begun.
    pub begun_ms: i64,
    /// The parts that are stored, ascending by number.
    pub parts: Vec<PartView>,
    /// What it was begun with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// A part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    /// 1 to 10,000.
    pub number: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal MD5 of them.
    pub md5: String,
    /// When it was stored.
    pub stored_ms: i64,
}

/// `POST /v1/uploads`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// Where the file will stand.
    pub path: String,
    /// What is kept beside its bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// `POST /v1/uploads/{id}/complete`: the parts in this order become the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteRequest {
    /// Numbers of parts, strictly ascending.
    pub parts: Vec<u32>,
    /// When the file was last modified; now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ms: Option<i64>,
    /// May its owner execute it?
    #[serde(default)]
    pub executable: bool,
}
