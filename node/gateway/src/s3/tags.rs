//! Tags of objects and buckets.
//!
//! Invariant: tags that are changed are those of the object that was looked at: of another one that came
//! meanwhile they are read again.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, TAGS, bounded, tags_of, tags_of_set, tags_text};
use super::faults::{error, not_implemented};
use super::names::place_of;
use super::{Bridge, TRIES};
use crate::drive::OnlyIf;

impl Bridge {
    pub(super) async fn tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket).await?;
        let object = self.find(&bucket, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        let version_id = bucket.version_id(&object.info);
        let tag_set = tags_of(&object.info.attributes);
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
    }

    pub(super) async fn tag(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let input = request.input;
        let tags = tags_text(&tags_of_set(input.tagging.tag_set), OBJECT_TAGS_MAX)?;
        let version = input.version_id.as_deref();
        let version_id = self.set_tags(&input.bucket, &input.key, version, Some(tags)).await?;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
    }

    pub(super) async fn untag(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = request.input;
        let version_id = self.set_tags(&input.bucket, &input.key, input.version_id.as_deref(), None).await?;
        Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
    }

    async fn set_tags(
        &self,
        name: &str,
        key: &str,
        version: Option<&str>,
        tags: Option<String>,
    ) -> S3Result<Option<String>> {
        let bucket = self.bucket(name).await?;
        let place = place_of(name, key)?;
        for _ in 0..TRIES {
            let object = self.find(&bucket, name, key, version).await?;
            if object.version.is_some() {
                return Err(not_implemented("tags of an earlier version stay as they are"));
            }
            let mut attributes = object.info.attributes.clone();
            attributes.remove(TAGS);
            attributes.extend(tags.clone().map(|tags| (TAGS.to_owned(), tags)));
            let attributes = bounded(attributes)?;
            if place.marker {
                self.change_folder(&place.path, |all| *all = attributes).await?;
                return Ok(None);
            }
            let same = OnlyIf::Content(object.info.content_id.clone());
            match self.drive.set_attributes_if(place.path.clone(), attributes, same).await {
                Ok(info) => return Ok(bucket.version_id(&info)),
                Err(fault) if fault.code == "precondition" => {}
                Err(fault) => return Err(error(fault, S3ErrorCode::NoSuchKey)),
            }
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }

    pub(super) async fn bucket_tags(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let tag_set = tags_of(&bucket.info.attributes);
        if tag_set.is_empty() {
            return Err(S3Error::new(S3ErrorCode::NoSuchTagSet));
        }
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
    }

    pub(super) async fn tag_bucket(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let tags = tags_text(&tags_of_set(request.input.tagging.tag_set), BUCKET_TAGS_MAX)?;
        let mut attributes = bucket.info.attributes;
        attributes.insert(TAGS.to_owned(), tags.clone());
        bounded(attributes)?;
        self.change_folder(&bucket.path, |all| drop(all.insert(TAGS.to_owned(), tags))).await?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    pub(super) async fn untag_bucket(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        self.change_folder(&bucket.path, |all| drop(all.remove(TAGS))).await?;
        Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
    }
}
