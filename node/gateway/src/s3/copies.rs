//! Copies: of objects, and of bytes of objects as parts. Nothing is sent again for them.
//!
//! Invariant: what is copied is the version whose conditions were looked at.

use commonhold_client::types::{Attributes, FileInfo, FileKind, MoveRequest, RestoreVersionRequest};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::{
    CHECKSUM, ETAG, OBJECT_TAGS_MAX, PARTS, TAGS, bounded, etag_of, headers_of, replaced, tags_of_header,
    tags_text,
};
use super::checksums::Sum;
use super::conditions::{Conditions, modified};
use super::faults::{error, invalid, not_implemented};
use super::names::{Place, place};
use super::objects::put_error;
use super::versions::Object;
use super::{Bridge, Bucket, TRIES};
use crate::drive::{NewFile, OnlyIf};

/// Takes the conditions on a copy's source out of a request that has them under these names.
macro_rules! source_conditions {
    ($input:expr) => {
        Conditions {
            matches: $input.copy_source_if_match.take(),
            none_match: $input.copy_source_if_none_match.take(),
            modified_since: $input.copy_source_if_modified_since.take(),
            unmodified_since: $input.copy_source_if_unmodified_since.take(),
        }
    };
}

/// Where a copy comes from.
struct Source {
    bucket: Bucket,
    object: Object,
}

impl Bridge {
    /// Finds a copy's source, whose conditions must hold.
    async fn source(&self, source: &CopySource, conditions: &Conditions) -> S3Result<Source> {
        let CopySource::Bucket { bucket: name, key, version_id } = source else {
            return Err(not_implemented("copies from access points"));
        };
        let bucket = self.bucket(name).await?;
        let object = self.find(&bucket, name, key, version_id.as_deref()).await?;
        conditions.require(&object.info)?;
        Ok(Source { bucket, object })
    }

    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = request.input;
        let conditions = source_conditions!(input);
        let headers = headers_of!(input).into_attributes()?;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(invalid("x-amz-metadata-directive is COPY or REPLACE")),
        };
        let tags = match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
            None | Some("COPY") => None,
            Some("REPLACE") => {
                let tags = tags_of_header(input.tagging.as_deref().unwrap_or_default())?;
                Some(tags_text(&tags, OBJECT_TAGS_MAX)?)
            }
            Some(_) => return Err(invalid("x-amz-tagging-directive is COPY or REPLACE")),
        };
        let target = place(&input.bucket, &input.key)?;
        let bucket = self.bucket(&input.bucket).await?;
        for _ in 0..TRIES {
            let source = self.source(&input.copy_source, &conditions).await?;
            let info = &source.object.info;
            self.check_algorithm(info, input.checksum_algorithm.as_ref())?;
            if info.entry.path == target.path && source.object.version.is_none() && !replace && tags.is_none()
            {
                let why = "a copy of an object onto itself must change its metadata or tags";
                return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, why));
            }
            let mut attributes =
                if replace { replaced(&info.attributes, headers.clone()) } else { info.attributes.clone() };
            if let Some(tags) = &tags {
                attributes.insert(TAGS.to_owned(), tags.clone());
            }
            // A source without an ETag of its own keeps the one that was made for it.
            attributes.entry(ETAG.to_owned()).or_insert_with(|| etag_of(info).value().to_owned());
            let attributes = bounded(attributes)?;
            match self.copy_one(&bucket, &source, &target, attributes).await {
                Ok(copied) => {
                    let shown = Sum::shown_of(&copied);
                    return Ok(S3Response::new(CopyObjectOutput {
                        copy_object_result: Some(CopyObjectResult {
                            checksum_crc32: shown.checksum_crc32,
                            checksum_crc32c: shown.checksum_crc32c,
                            checksum_crc64nvme: shown.checksum_crc64nvme,
                            checksum_sha1: shown.checksum_sha1,
                            checksum_sha256: shown.checksum_sha256,
                            checksum_type: shown.checksum_type,
                            e_tag: Some(etag_of(&copied)),
                            last_modified: Some(modified(&copied)),
                        }),
                        copy_source_version_id: source.bucket.version_id(info),
                        version_id: bucket.version_id(&copied),
                        ..Default::default()
                    }));
                }
                // The source became another one meanwhile: look again.
                Err(fault) if matches!(fault.code(), S3ErrorCode::NoSuchVersion) => {}
                Err(error) => return Err(error),
            }
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }

    /// A copy has the checksum of its source, and is not read to have another.
    fn check_algorithm(&self, info: &FileInfo, wanted: Option<&ChecksumAlgorithm>) -> S3Result<()> {
        let Some(wanted) = wanted else { return Ok(()) };
        let sum = Sum::of(info);
        if sum.is_some_and(|sum| sum.algorithm.name() == wanted.as_str()) {
            return Ok(());
        }
        Err(not_implemented("a copy has the checksum of its source, and no other"))
    }

    async fn copy_one(
        &self,
        bucket: &Bucket,
        source: &Source,
        target: &Place,
        attributes: Attributes,
    ) -> S3Result<FileInfo> {
        let info = &source.object.info;
        let gone = |fault: crate::api::ApiFault| match fault.code {
            "not_found" | "precondition" => S3Error::new(S3ErrorCode::NoSuchVersion),
            _ => put_error(fault),
        };
        let empty = info.entry.kind == FileKind::Folder || info.entry.bytes == 0;
        if target.marker {
            if !empty {
                return Err(invalid("a key that ends with a slash stands for a folder, and has no content"));
            }
            return self.put_marker(target, without_content(attributes)).await;
        }
        if info.entry.kind == FileKind::Folder {
            let mut attributes = without_content(attributes);
            attributes.remove(super::names::FOLDER);
            let path = target.path.clone();
            let file = NewFile { path, attributes, replaced: bucket.replaced(), ..NewFile::default() };
            return self.drive.store(file, Box::pin(tokio::io::empty())).await.map_err(put_error);
        }
        if info.entry.path == target.path {
            let current = match source.object.version {
                None => info.clone(),
                Some(version) => {
                    let restore = RestoreVersionRequest { path: target.path.clone(), version };
                    self.drive.restore_version(restore).await.map_err(gone)?
                }
            };
            let same = OnlyIf::Content(current.content_id);
            return self.drive.set_attributes_if(target.path.clone(), attributes, same).await.map_err(gone);
        }
        let request = MoveRequest { from: info.entry.path.clone(), to: target.path.clone(), replace: true };
        let copied =
            self.drive.copy_to(request, Some(info.version), Some(attributes), bucket.replaced()).await;
        copied.map_err(gone)
    }

    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let mut input = request.input;
        let conditions = source_conditions!(input);
        self.find_upload(&input.bucket, &input.key, &input.upload_id).await?;
        let number = super::multipart::part_number(input.part_number)?;
        for _ in 0..TRIES {
            let source = self.source(&input.copy_source, &conditions).await?;
            let info = &source.object.info;
            if info.entry.kind == FileKind::Folder {
                return Err(invalid("a folder has no content to copy"));
            }
            let range = match input.copy_source_range.as_deref() {
                None => None,
                Some(text) => Some(part_range(text, info.entry.bytes)?),
            };
            let from = info.entry.path.clone();
            let copied =
                self.drive.copy_part(input.upload_id.clone(), number, from, Some(info.version), range).await;
            let part = match copied {
                Ok(part) => part,
                // Either the source or the upload is gone.
                Err(fault) if fault.code == "not_found" => {
                    self.find_upload(&input.bucket, &input.key, &input.upload_id).await?;
                    continue;
                }
                Err(fault) => return Err(error(fault, S3ErrorCode::NoSuchUpload)),
            };
            self.sums.forget_part(&input.upload_id, number);
            return Ok(S3Response::new(UploadPartCopyOutput {
                copy_part_result: Some(CopyPartResult {
                    e_tag: Some(ETag::Strong(part.md5)),
                    last_modified: Some(super::conditions::at(part.stored_ms)),
                    ..Default::default()
                }),
                copy_source_version_id: source.bucket.version_id(info),
                ..Default::default()
            }));
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }
}

/// Attributes that say nothing of a content, for what has none.
fn without_content(mut attributes: Attributes) -> Attributes {
    for key in [ETAG, CHECKSUM, PARTS] {
        attributes.remove(key);
    }
    attributes
}

/// `bytes=first-last`, all of which must be there.
fn part_range(text: &str, len: u64) -> S3Result<std::ops::Range<u64>> {
    let bad = || invalid("x-amz-copy-source-range is bytes=FIRST-LAST, within the source");
    let (first, last) = text.strip_prefix("bytes=").and_then(|it| it.split_once('-')).ok_or_else(bad)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(bad)
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last || last >= len {
        return Err(bad());
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_of_parts_lie_within_the_source() {
        assert_eq!(part_range("bytes=0-9", 10).unwrap(), 0..10);
        assert_eq!(part_range("bytes=3-3", 10).unwrap(), 3..4);
        for bad in [
            "",
            "bytes=",
            "bytes=0-",
            "bytes=-1",
            "bytes=0-10",
            "bytes=5-4",
            "bytes=+1-2",
            "0-9",
            "bytes=0-9,1-2",
        ] {
            assert!(part_range(bad, 10).is_err(), "{bad}");
        }
        assert!(part_range("bytes=0-18446744073709551615", u64::MAX).is_err());
    }
}
