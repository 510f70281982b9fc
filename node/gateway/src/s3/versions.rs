//! Versions of objects, where the bucket keeps them (spec/s3.md, "Versions").
//!
//! Invariant: a version's id is its number in the drive. Without versioning there is one version, `null`.

use commonhold_client::types::{FileInfo, FileKind, RestoreVersionRequest, VersionView};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::faults::{error, invalid};
use super::names::{is_marker, parent, place_of};
use super::{Bridge, Bucket};
use crate::drive::OnlyIf;

/// An object that was found.
pub(super) struct Object {
    pub(super) info: FileInfo,
    /// The number of an earlier version; `None` for the current one.
    pub(super) version: Option<u64>,
}

/// A version id as a number.
pub(super) fn number(version: &str) -> S3Result<u64> {
    version.parse().map_err(|_| invalid(format!("{version:?} is not the id of a version")))
}

/// An earlier version as if it were current.
pub(super) fn as_current(mut info: FileInfo, version: VersionView) -> FileInfo {
    info.entry.bytes = version.bytes;
    info.entry.modified_ms = version.modified_ms;
    info.version = version.version;
    info.content_id = version.content_id;
    info.attributes = version.attributes;
    info
}

impl Bridge {
    /// Finds an object.
    pub(super) async fn find(
        &self,
        bucket: &Bucket,
        name: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<Object> {
        debug_assert_eq!(bucket.path, super::names::bucket_path(name));
        let place = place_of(name, key)?;
        let info = self.look(&place.path).await?.ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchKey))?;
        if place.marker != (info.entry.kind == FileKind::Folder) || (place.marker && !is_marker(&info)) {
            return Err(S3Error::new(S3ErrorCode::NoSuchKey));
        }
        let Some(version) = version.filter(|version| *version != "null") else {
            return Ok(Object { info, version: None });
        };
        let wanted = number(version)?;
        if place.marker {
            return Err(S3Error::new(S3ErrorCode::NoSuchVersion));
        }
        if info.version == wanted {
            return Ok(Object { info, version: None });
        }
        let versions = self.drive.versions(place.path).await;
        let versions = versions.map_err(|fault| error(fault, S3ErrorCode::NoSuchKey))?.versions;
        let found = versions.into_iter().find(|version| version.version == wanted);
        let found = found.ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchVersion))?;
        let current = found.current;
        Ok(Object { info: as_current(info, found), version: (!current).then_some(wanted) })
    }

    /// Gives up one version for good. When it is the current one, the one before it takes its place, under
    /// a new number. Tells the folder that may be empty now.
    pub(super) async fn remove_version(
        &self,
        bucket: &Bucket,
        path: &str,
        version: &str,
    ) -> S3Result<Option<String>> {
        let wanted = number(version)?;
        let failed = |fault| error(fault, S3ErrorCode::NoSuchKey);
        let versions = match self.drive.versions(path.to_owned()).await {
            Ok(view) => view.versions,
            Err(fault) if matches!(fault.code, "not_found" | "bad_path" | "exists") => return Ok(None),
            Err(fault) => return Err(failed(fault)),
        };
        let Some(found) = versions.iter().find(|version| version.version == wanted) else { return Ok(None) };
        if !found.current {
            self.drive.remove_version(path.to_owned(), wanted).await.map_err(failed)?;
            return Ok(None);
        }
        let Some(before) = versions.iter().find(|version| version.version < wanted) else {
            let same = OnlyIf::Content(found.content_id.clone());
            let removed =
                self.drive.remove_file(path.to_owned(), crate::drive::RemovedTo::Nowhere, same).await;
            return match removed {
                Ok(_) => Ok(parent(path).map(str::to_owned)),
                // Another version came meanwhile, and this one is an earlier one now.
                Err(fault) if fault.code == "precondition" && bucket.versioning => {
                    self.drive.remove_version(path.to_owned(), wanted).await.map_err(failed)?;
                    Ok(None)
                }
                Err(fault) if matches!(fault.code, "precondition" | "not_found") => Ok(None),
                Err(fault) => Err(failed(fault)),
            };
        };
        let restore = RestoreVersionRequest { path: path.to_owned(), version: before.version };
        self.drive.restore_version(restore).await.map_err(failed)?;
        for version in [wanted, before.version] {
            match self.drive.remove_version(path.to_owned(), version).await {
                Ok(()) => {}
                Err(fault) if fault.code == "not_found" => {}
                Err(fault) => return Err(failed(fault)),
            }
        }
        Ok(None)
    }
}
