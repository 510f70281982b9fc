//! What the gateway asks of an owner's drive: for the local API, for S3, for the web app.
//!
//! Invariant: a call that changes something has changed it durably when it answers, or has changed
//! nothing. Paths are texts that only the drive understands. Not here: HTTP.

use std::ops::Range;

use commonhold_client::types::{
    Attributes, BinEmptied, BinEmptyRequest, BinRestoreRequest, BinView, CheckReport, CheckRequest,
    CompleteRequest, FileInfo, Found, HeadsView, Listing, Merged, MoveRequest, PartView, Removed,
    RestoreVersionRequest, ShareRequest, ShareView, SharesView, UploadRequest, UploadView, UploadsView,
    UsageView, VersionsView,
};
use futures::future::BoxFuture;

use crate::api::{ApiFault, ArchiveReader};

/// What a call answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ApiFault>>;

/// A file that is to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewFile {
    /// Its whole path. Folders above it are made.
    pub path: String,
    /// Its bytes; fewer or more in the reader is a `changed`, and nothing is stored.
    pub len: u64,
    /// When it was last modified; now without it.
    pub modified_ms: Option<i64>,
    /// May its owner execute it?
    pub executable: bool,
    /// What is kept beside its bytes. An `etag` is added, the MD5 of the content, unless one is given.
    pub attributes: Attributes,
    /// What must hold for the path at the moment at which the file takes its place, or `precondition`.
    pub only_if: OnlyIf,
    /// What becomes of the file that stood there.
    pub replaced: Replaced,
}

/// A condition on what stands at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OnlyIf {
    /// None.
    #[default]
    Always,
    /// Nothing stands there.
    Absent,
    /// A file with this [`content_id`](FileInfo::content_id).
    Content(String),
}

/// What becomes of a file whose place is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replaced {
    /// It is kept as an earlier version, as many as the configuration says.
    #[default]
    Kept,
    /// It is gone for good, its earlier versions too.
    Gone,
}

/// What becomes of what is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RemovedTo {
    /// It goes to the bin.
    #[default]
    Bin,
    /// It is gone for good.
    Nowhere,
}

/// A file that is being read.
pub struct OpenFile {
    /// What it is. For an earlier version, that version's facts.
    pub info: FileInfo,
    /// The bytes that `content` has: what was asked for, cut to the file's length.
    pub range: Range<u64>,
    /// Exactly these bytes, or an error before their end. The first of them have been fetched.
    pub content: ArchiveReader,
}

/// An owner's drive. Implemented by the app.
///
/// Codes of faults: `not_found`, `exists` (something else stands there), `bad_path`, `precondition`
/// (`only_if` did not hold), `changed` (a body of another length), those of the custodian, and others of
/// spec/api.md. Calls that change something go on to their end once their data are in, even when their
/// future is dropped.
pub trait DriveApi: Send + Sync + 'static {
    /// One file or folder; the root is a folder with an empty name.
    fn info(&self, path: String) -> Answer<'_, FileInfo>;

    /// Children of a folder in the order of their names' bytes, those after the name `after`, at most
    /// `limit`. A file lists itself.
    fn list_page(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, Listing>;

    /// The same with everything that [`DriveApi::info`] tells, for a folder only. The second is whether
    /// there are more.
    fn infos(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, (Vec<FileInfo>, bool)>;

    /// Entries below a folder, depth first, whose names contain `name` (without regard to case) if it is
    /// given; those after the path `after`. Looks at no more than a bounded number of entries for one
    /// answer, so an answer may be empty and still have a `next`.
    fn find(
        &self,
        path: String,
        name: Option<String>,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Found>;

    /// Opens a file or one of its versions. `range`: first byte, and the one after the last, of which
    /// either may lie beyond the end; without it, all.
    fn open(&self, path: String, version: Option<u64>, range: Option<Range<u64>>) -> Answer<'_, OpenFile>;

    /// Stores a file.
    fn store(&self, file: NewFile, content: ArchiveReader) -> Answer<'_, FileInfo>;

    /// Makes a folder and those above it; one that is there already stays as it is.
    fn make_folder(&self, path: String) -> Answer<'_, FileInfo>;

    /// Puts `attributes` in the place of those of a file or folder. Its content, version and time stay.
    fn set_attributes(&self, path: String, attributes: Attributes) -> Answer<'_, FileInfo>;

    /// The same where `only_if` holds at that moment, or `precondition`: so attributes that were read and
    /// changed never end up on another file.
    fn set_attributes_if(
        &self,
        path: String,
        attributes: Attributes,
        only_if: OnlyIf,
    ) -> Answer<'_, FileInfo>;

    /// Moves a file or folder with its versions. Nothing is downloaded or sent again.
    fn move_to(&self, request: MoveRequest) -> Answer<'_, FileInfo>;

    /// Copies a file or folder without its versions. Nothing is downloaded or sent again. With
    /// `attributes`, a file's copy has these instead; with `version`, it is a copy of that one.
    fn copy_to(
        &self,
        request: MoveRequest,
        version: Option<u64>,
        attributes: Option<Attributes>,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo>;

    /// Removes a file or folder with all that is in it.
    fn remove_to(&self, path: String, to: RemovedTo) -> Answer<'_, Removed>;

    /// Removes a file of which `only_if` holds at that moment, or `precondition`. A folder is an `exists`.
    fn remove_file(&self, path: String, to: RemovedTo, only_if: OnlyIf) -> Answer<'_, Removed>;

    /// Removes a folder that is empty; `exists` if it is not.
    fn remove_empty_folder(&self, path: String) -> Answer<'_, Removed>;

    /// What is in the bin.
    fn bin(&self) -> Answer<'_, BinView>;

    /// Puts something back.
    fn restore_from_bin(&self, request: BinRestoreRequest) -> Answer<'_, FileInfo>;

    /// Gives up what is in the bin.
    fn empty_bin(&self, request: BinEmptyRequest) -> Answer<'_, BinEmptied>;

    /// The versions of a file.
    fn versions(&self, path: String) -> Answer<'_, VersionsView>;

    /// Makes an earlier version the current one.
    fn restore_version(&self, request: RestoreVersionRequest) -> Answer<'_, FileInfo>;

    /// Gives up one earlier version of a file for good.
    fn remove_version(&self, path: String, version: u64) -> Answer<'_, ()>;

    /// Sums over what lies below a path, and with `children` over each direct child.
    fn usage(&self, path: String, children: bool) -> Answer<'_, UsageView>;

    /// The current head and other histories.
    fn heads(&self) -> Answer<'_, HeadsView>;

    /// Takes another history into the current one.
    fn merge(&self, hash: String) -> Answer<'_, Merged>;

    /// Gives another history up.
    fn forget(&self, hash: String) -> Answer<'_, ()>;

    /// Begins a new drive where one that was made elsewhere is waited for.
    fn begin(&self) -> Answer<'_, ()>;

    /// Verifies redundancy, and repairs it if asked to.
    fn check_drive(&self, request: CheckRequest) -> Answer<'_, CheckReport>;

    /// Begins a file that comes in parts.
    fn begin_upload(&self, request: UploadRequest) -> Answer<'_, UploadView>;

    /// Files that come in parts.
    fn uploads(&self) -> Answer<'_, UploadsView>;

    /// One of them.
    fn upload(&self, id: String) -> Answer<'_, UploadView>;

    /// Stores a part of `len` bytes; one of the same number is replaced.
    fn store_part(&self, id: String, number: u32, len: u64, content: ArchiveReader) -> Answer<'_, PartView>;

    /// Stores bytes of a file of the drive as a part.
    fn copy_part(
        &self,
        id: String,
        number: u32,
        from: String,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Answer<'_, PartView>;

    /// Makes the file of its parts. Nothing is sent again. The upload is gone then.
    fn complete_upload(
        &self,
        id: String,
        request: CompleteRequest,
        attributes: Attributes,
        only_if: OnlyIf,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo>;

    /// Gives an upload up.
    fn abort_upload(&self, id: String) -> Answer<'_, ()>;

    /// The links that were given out.
    fn shares(&self) -> Answer<'_, SharesView>;

    /// Gives out a link.
    fn share(&self, request: ShareRequest) -> Answer<'_, ShareView>;

    /// Revokes a link, by its id or the first digits of it.
    fn unshare(&self, id: String) -> Answer<'_, ShareView>;
}
