//! An owner's files: put, get, list, remove (spec/drive-layout.md).
//!
//! Invariant: what leaves this crate through [`Custody`] and [`HeadBoard`] is ciphertext under
//! fresh keys; what enters through them is used only after its authentication. A put is in the
//! drive whole or not at all.
//! What this is not: it knows no providers, no network and no contracts, and has no HTTP.
//!
//! The rooms: `upload` reads an archive and has `packer` seal and code it; `rewrite` writes the
//! folders above it; `heads` makes the new root current; `download` is the way back, over
//! `objects` (folders, manifests) and `reader` (segments). `keeper` keeps puts and deletions
//! apart, and `drive` gives the order of things.

mod archive;
mod buffers;
mod changes;
mod custody;
mod download;
mod drive;
mod error;
mod folder;
mod hashed;
mod heads;
mod keeper;
mod located;
mod meter;
mod objects;
mod packer;
mod path;
mod reader;
mod report;
mod staging;
mod tree;
mod upload;
mod uploads;
mod write;

pub use custody::{BoxFuture, Custody, CustodyError, HeadBoard, PlacedChunks};
pub use download::ContentReader;
pub use drive::{
    Complete, Drive, DriveOptions, Linked, Needs, NewFile, OnlyIf, OpenFile, Replaced, Share, Shown,
};
pub use error::DriveError;
pub use heads::await_head;
pub use meter::{Meter, Stage};
pub use path::{DEPTH_MAX, DrivePath, PATH_LEN_MAX};
pub use report::{
    BinInfo, DriveStatus, Fork, Info, ListKind, Merged, PutReport, Removed, SKIPPED_MAX, Skipped, Usage,
    VersionInfo,
};
pub use uploads::{PARTS_MAX, PartInfo, UPLOADS_MAX, UploadId, UploadInfo};
