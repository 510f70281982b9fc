//! Listings of uploads and of their parts.
//!
//! Invariant: pages follow each other without a gap, by key, then by the time at which an upload was begun.

use commonhold_client::types::UploadView;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::faults::error;
use super::lists::{Query, Writing, most};
use super::multipart::wanted;
use super::objects::signed;
use super::{Bridge, OWNER, owner};

/// Who began an upload: the owner.
fn initiator() -> Initiator {
    Initiator { display_name: Some(OWNER.to_owned()), id: Some(OWNER.to_owned()) }
}

impl Bridge {
    pub(super) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let view = self.find_upload(&input.bucket, &input.key, &input.upload_id).await?;
        let most = most(input.max_parts, "max-parts")?;
        let marker = input.part_number_marker.unwrap_or(0);
        let mut parts: Vec<_> =
            view.parts.iter().filter(|part| i64::from(part.number) > i64::from(marker)).collect();
        let truncated = parts.len() > most;
        parts.truncate(most);
        let next = parts.last().filter(|_| truncated).and_then(|part| i32::try_from(part.number).ok());
        let kinds = wanted(&view.attributes);
        let shown = parts.into_iter().map(|part| {
            let sum = self.sums.of(&view.id, part.number, &part.md5);
            let sum = sum.map(|sum| sum.shown()).unwrap_or_default();
            Part {
                checksum_crc32: sum.checksum_crc32,
                checksum_crc32c: sum.checksum_crc32c,
                checksum_crc64nvme: sum.checksum_crc64nvme,
                checksum_sha1: sum.checksum_sha1,
                checksum_sha256: sum.checksum_sha256,
                e_tag: Some(ETag::Strong(part.md5.clone())),
                last_modified: Some(super::conditions::at(part.stored_ms)),
                part_number: i32::try_from(part.number).ok(),
                size: Some(signed(part.bytes)),
            }
        });
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: kinds.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
            initiator: Some(initiator()),
            is_truncated: Some(truncated),
            key: Some(input.key),
            max_parts: i32::try_from(most).ok(),
            next_part_number_marker: next,
            owner: Some(owner()),
            part_number_marker: Some(marker),
            parts: Some(shown.collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            upload_id: Some(view.id.clone()),
            ..Default::default()
        }))
    }

    pub(super) async fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let writing = Writing::of(input.encoding_type.as_ref())?;
        let most = most(input.max_uploads, "max-uploads")?;
        let bucket = self.bucket(&input.bucket).await?;
        let uploads = self.drive.uploads().await;
        let uploads = uploads.map_err(|fault| error(fault, S3ErrorCode::InternalError))?.uploads;
        let below = format!("{}/", bucket.path);
        let query = Query::new(input.prefix.clone(), input.delimiter.clone(), None, most);
        let key = |upload: &UploadView| upload.path.strip_prefix(&below).map(str::to_owned);
        let mut all: Vec<(String, UploadView)> = uploads
            .into_iter()
            .filter_map(|upload| Some((key(&upload)?, upload)))
            .filter(|(key, _)| key.starts_with(&query.prefix))
            .collect();
        let order = |one: &(String, UploadView)| (one.0.clone(), one.1.begun_ms, one.1.id.clone());
        all.sort_by_cached_key(order);
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let id_marker = input.upload_id_marker.clone().filter(|_| !key_marker.is_empty()).unwrap_or_default();
        // Where the page before broke off; an upload that is gone since leaves only its key.
        let begun = all.iter().find(|(key, upload)| *key == key_marker && upload.id == id_marker).map(order);
        let mut shown = Vec::new();
        let mut common: Vec<String> = Vec::new();
        let (mut last, mut truncated) = (None, false);
        for one in all {
            let earlier = match &begun {
                Some(begun) => order(&one) <= *begun,
                None => !key_marker.is_empty() && one.0 <= key_marker,
            };
            let rolled = query.common(&one.0).map(str::to_owned);
            let told =
                rolled.as_ref().is_some_and(|rolled| common.last() == Some(rolled) || *rolled == key_marker);
            if earlier || told {
                continue;
            }
            if shown.len() + common.len() >= most {
                truncated = most > 0;
                break;
            }
            if let Some(rolled) = rolled {
                last = Some((rolled.clone(), None));
                common.push(rolled);
                continue;
            }
            let (key, upload) = one;
            last = Some((key.clone(), Some(upload.id.clone())));
            shown.push(MultipartUpload {
                initiated: Some(super::conditions::at(upload.begun_ms)),
                initiator: Some(initiator()),
                key: Some(writing.text(key)),
                owner: Some(owner()),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                upload_id: Some(upload.id),
                ..Default::default()
            });
        }
        let (next_key, next_id) = last.filter(|_| truncated).unzip();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: writing.prefixes(common),
            delimiter: writing.maybe(input.delimiter),
            encoding_type: input.encoding_type,
            is_truncated: Some(truncated),
            key_marker: Some(writing.text(key_marker)),
            max_uploads: i32::try_from(most).ok(),
            next_key_marker: writing.maybe(next_key),
            next_upload_id_marker: next_id.flatten(),
            prefix: Some(writing.text(query.prefix)),
            request_charged: None,
            upload_id_marker: input.upload_id_marker,
            uploads: Some(shown),
        }))
    }
}
