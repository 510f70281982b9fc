//! Removing objects, and the folders that were there only for their sake.
//!
//! Invariant: what is removed is the file that was looked at and nothing that came since; a folder goes only
//! when it is empty at that moment and nobody made it a marker.

use commonhold_client::types::{FileInfo, FileKind};
use futures::{StreamExt, stream};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::etag_of;
use super::faults::{error, not_implemented};
use super::names::{FOLDER, is_marker, parent, place};
use super::{Bridge, Bucket, CONCURRENT, TRIES};
use crate::drive::OnlyIf;

/// Most keys of one DeleteObjects, as in S3.
const KEYS_MAX: usize = 1000;

impl Bridge {
    pub(super) async fn remove(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket).await?;
        let only_if = input.if_match.as_ref();
        let emptied =
            self.remove_one(&bucket, &input.bucket, &input.key, input.version_id.as_deref(), only_if);
        if let Some(folder) = emptied.await? {
            self.prune(&folder).await;
        }
        let version_id = input.version_id;
        Ok(S3Response::new(DeleteObjectOutput { version_id, ..Default::default() }))
    }

    pub(super) async fn remove_all(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket: name, delete, .. } = request.input;
        if delete.objects.is_empty() || delete.objects.len() > KEYS_MAX {
            return Err(S3Error::new(S3ErrorCode::MalformedXML));
        }
        let bucket = self.bucket(&name).await?;
        let (bucket, name) = (&bucket, &name);
        let outcomes: Vec<_> = stream::iter(delete.objects)
            .map(|object| async move {
                let outcome = self.remove_named(bucket, name, &object).await;
                (object, outcome)
            })
            .buffered(CONCURRENT)
            .collect()
            .await;
        let (mut deleted, mut errors, mut emptied) = (Vec::new(), Vec::new(), Vec::new());
        for (object, outcome) in outcomes {
            let ObjectIdentifier { key, version_id, .. } = object;
            match outcome {
                Ok(folder) => {
                    emptied.extend(folder);
                    deleted.push(DeletedObject { key: Some(key), version_id, ..Default::default() });
                }
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id,
                }),
            }
        }
        // The deepest first: what is above them may be empty then.
        emptied.sort_by_key(|folder: &String| std::cmp::Reverse(folder.matches('/').count()));
        emptied.dedup();
        for folder in emptied {
            self.prune(&folder).await;
        }
        let quiet = delete.quiet.unwrap_or_default();
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: Some(errors),
            request_charged: None,
        }))
    }

    async fn remove_named(
        &self,
        bucket: &Bucket,
        name: &str,
        object: &ObjectIdentifier,
    ) -> S3Result<Option<String>> {
        if object.last_modified_time.is_some() || object.size.is_some() {
            return Err(not_implemented("a key is removed if its ETag matches, and not by its time or size"));
        }
        let only_if = object.e_tag.clone().map(ETagCondition::ETag);
        self.remove_one(bucket, name, &object.key, object.version_id.as_deref(), only_if.as_ref()).await
    }

    /// Removes what a key names; what is not there is removed already. Tells the folder that may be empty
    /// now.
    async fn remove_one(
        &self,
        bucket: &Bucket,
        name: &str,
        key: &str,
        version: Option<&str>,
        only_if: Option<&ETagCondition>,
    ) -> S3Result<Option<String>> {
        let absent = || match only_if {
            Some(_) => Err(S3Error::new(S3ErrorCode::NoSuchKey)),
            None => Ok(None),
        };
        let Ok(place) = place(name, key) else { return absent() };
        if place.marker {
            return self.remove_marker(&place.path).await;
        }
        if let Some(version) = version.filter(|version| *version != "null") {
            if only_if.is_some() {
                return Err(not_implemented("If-Match together with a version"));
            }
            return self.remove_version(bucket, &place.path, version).await;
        }
        for _ in 0..TRIES {
            let Some(info) = self.look(&place.path).await?.filter(|info| info.entry.kind == FileKind::File)
            else {
                return absent();
            };
            if only_if.is_some_and(|condition| !matches(condition, &info)) {
                return Err(S3Error::new(S3ErrorCode::PreconditionFailed));
            }
            let same = OnlyIf::Content(info.content_id);
            match self.drive.remove_file(place.path.clone(), bucket.removed_to(), same).await {
                Ok(_) => return Ok(parent(&place.path).map(str::to_owned)),
                Err(fault) if matches!(fault.code, "precondition" | "not_found" | "exists") => {}
                Err(fault) => return Err(error(fault, S3ErrorCode::NoSuchKey)),
            }
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }

    /// Takes a folder's marker away, and the folder if it is empty.
    async fn remove_marker(&self, path: &str) -> S3Result<Option<String>> {
        match self.look(path).await? {
            Some(info) if is_marker(&info) => {
                self.change_folder(path, |attributes| attributes.retain(|key, _| !is_of_marker(key))).await?;
                Ok(Some(path.to_owned()))
            }
            Some(info) if info.entry.kind == FileKind::Folder => Ok(Some(path.to_owned())),
            _ => Ok(None),
        }
    }

    /// Removes a folder that is empty and no marker, and those above it that are empty then. What goes wrong
    /// leaves an empty folder, which S3 does not show.
    pub(super) async fn prune(&self, folder: &str) {
        let mut folder = folder;
        loop {
            let _lock = self.folder_lock(folder).await;
            match self.look(folder).await {
                Ok(Some(info))
                    if info.entry.kind == FileKind::Folder && info.children == 0 && !is_marker(&info) => {}
                _ => return,
            }
            if self.drive.remove_empty_folder(folder.to_owned()).await.is_err() {
                return;
            }
            match parent(folder) {
                Some(above) => folder = above,
                None => return,
            }
        }
    }
}

/// Whether an attribute of a folder came with its marker.
pub(super) fn is_of_marker(key: &str) -> bool {
    key == FOLDER || key == super::attributes::CONTENT_TYPE || key.starts_with("s3-")
}

fn matches(condition: &ETagCondition, info: &FileInfo) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.strong_cmp(&etag_of(info)),
    }
}
