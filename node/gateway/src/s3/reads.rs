//! Getting objects and looking at them.
//!
//! Invariant: what a get shows of an object and what it sends are of one version.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Bytes;
use commonhold_client::types::{FileInfo, FileKind};
use futures::{Stream, StreamExt};
use hyper::StatusCode;
use hyper::header::{ETAG as ETAG_HEADER, HeaderMap, LAST_MODIFIED};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use tokio_util::io::ReaderStream;

use super::attributes::{Headers, etag_of, parts_of, tags_of};
use super::checksums::Sum;
use super::conditions::{Conditions, Outcome, modified};
use super::faults::{error, invalid};
use super::objects::signed;
use super::versions::Object;
use super::{Bridge, TRIES};
use crate::api::ArchiveReader;

/// How much of a file is sent at a time.
const SEND_LEN: usize = 64 * 1024;

/// The conditions of a GetObject or HeadObject, whose inputs have them under the same names.
macro_rules! conditions {
    ($input:ident) => {
        Conditions {
            matches: $input.if_match,
            none_match: $input.if_none_match,
            modified_since: $input.if_modified_since,
            unmodified_since: $input.if_unmodified_since,
        }
    };
}

/// The output of a GetObject or HeadObject: what both tell of an object under the same names, and more.
macro_rules! output {
    ($output:ident, $bucket:ident, $object:ident, $cut:ident, $mode:expr, { $($more:tt)* }) => {{
        let info = &$object.info;
        let headers = Headers::of(&info.attributes);
        let shown = shown_sum(info, $mode, &$cut);
        $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control,
            checksum_crc32: shown.checksum_crc32,
            checksum_crc32c: shown.checksum_crc32c,
            checksum_crc64nvme: shown.checksum_crc64nvme,
            checksum_sha1: shown.checksum_sha1,
            checksum_sha256: shown.checksum_sha256,
            checksum_type: shown.checksum_type,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_length: Some($cut.len()),
            content_range: $cut.content_range,
            content_type: headers.content_type,
            e_tag: Some(etag_of(info)),
            expires: headers.expires,
            last_modified: Some(modified(info)),
            metadata: headers.metadata,
            parts_count: $cut.parts,
            version_id: $bucket.version_id(info),
            $($more)*
            ..Default::default()
        }
    }};
}

impl Bridge {
    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket).await?;
        let object = self.find(&bucket, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        check(&conditions!(input), &object.info)?;
        let cut = Cut::of(&object.info, input.range, input.part_number)?;
        let status = cut.content_range.as_ref().map(|_| StatusCode::PARTIAL_CONTENT);
        let mode = input.checksum_mode.as_ref();
        let mut response = S3Response::new(output!(HeadObjectOutput, bucket, object, cut, mode, {}));
        response.status = status;
        Ok(response)
    }

    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket).await?;
        let conditions = conditions!(input);
        for _ in 0..TRIES {
            let object = self.find(&bucket, &input.bucket, &input.key, input.version_id.as_deref()).await?;
            check(&conditions, &object.info)?;
            let cut = Cut::of(&object.info, input.range, input.part_number)?;
            // Another version came meanwhile: look again.
            let Some(content) = self.open(&object, &cut).await? else { continue };
            let tags = tags_of(&object.info.attributes).len();
            let mode = input.checksum_mode.as_ref();
            return Ok(S3Response::new(output!(GetObjectOutput, bucket, object, cut, mode, {
                body: Some(content),
                tag_count: i32::try_from(tags).ok().filter(|count| *count > 0),
            })));
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }

    /// The bytes of an object, unless it is another one by now.
    async fn open(&self, object: &Object, cut: &Cut) -> S3Result<Option<StreamingBlob>> {
        if object.info.entry.kind == FileKind::Folder || cut.range.is_empty() {
            return Ok(Some(StreamingBlob::wrap(futures::stream::empty::<io::Result<Bytes>>())));
        }
        let path = object.info.entry.path.clone();
        let opened = match self.drive.open(path, object.version, Some(cut.range.clone())).await {
            Ok(opened) => opened,
            Err(fault) if fault.code == "not_found" => return Ok(None),
            Err(fault) => return Err(error(fault, S3ErrorCode::NoSuchKey)),
        };
        if opened.info.content_id != object.info.content_id || opened.range != cut.range {
            return Ok(None);
        }
        let parts = ReaderStream::with_capacity(opened.content, SEND_LEN);
        Ok(Some(StreamingBlob::wrap(Shared(Mutex::new(parts)))))
    }

    pub(super) async fn facts(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket).await?;
        let object = self.find(&bucket, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        let info = &object.info;
        // Some clients name them in one header, with commas between.
        let named = input.object_attributes.iter().flat_map(|it| it.as_str().split(','));
        let named: Vec<_> = named.map(str::trim).collect();
        let wanted = |name: &str| named.contains(&name);
        let sum = Sum::of(info);
        let parts = parts_of(&info.attributes, info.entry.bytes);
        let total = parts.and_then(|parts| i32::try_from(parts.len()).ok());
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: sum.filter(|_| wanted("Checksum")).map(|sum| sum.shown()),
            e_tag: wanted("ETag").then(|| etag_of(info)),
            last_modified: Some(modified(info)),
            object_parts: total.filter(|_| wanted("ObjectParts")).map(|total| GetObjectAttributesParts {
                total_parts_count: Some(total),
                ..Default::default()
            }),
            object_size: wanted("ObjectSize").then(|| signed(info.entry.bytes)),
            storage_class: wanted("StorageClass").then(|| StorageClass::from_static(StorageClass::STANDARD)),
            version_id: bucket.version_id(info),
            ..Default::default()
        }))
    }
}

/// Which bytes are asked for.
struct Cut {
    range: std::ops::Range<u64>,
    content_range: Option<String>,
    /// The number of parts, when one was asked for.
    parts: Option<i32>,
}

impl Cut {
    fn of(info: &FileInfo, range: Option<Range>, part: Option<i32>) -> S3Result<Self> {
        let len = if info.entry.kind == FileKind::Folder { 0 } else { info.entry.bytes };
        let (range, parts) = match (range, part) {
            (None, None) => return Ok(Self { range: 0..len, content_range: None, parts: None }),
            (Some(_), Some(_)) => return Err(invalid("a range or a part number, and not both")),
            (Some(range), None) => (range.check(len)?, None),
            (None, Some(part)) => {
                let parts = parts_of(&info.attributes, len).unwrap_or_else(|| vec![len]);
                let at = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
                let Some(size) = at.and_then(|at| parts.get(at)) else {
                    return Err(S3Error::new(S3ErrorCode::Custom("InvalidPartNumber".into()))).map_err(
                        |mut error: S3Error| {
                            error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
                            error
                        },
                    );
                };
                let start: u64 = parts[..at.unwrap_or(0)].iter().sum();
                (start..start + size, i32::try_from(parts.len()).ok())
            }
        };
        let last = range.end.saturating_sub(1);
        let content_range = (!range.is_empty()).then(|| format!("bytes {}-{last}/{len}", range.start));
        Ok(Self { range, content_range, parts })
    }

    fn len(&self) -> i64 {
        signed(self.range.end - self.range.start)
    }
}

/// Refuses what the conditions of a read refuse. A `NotModified` carries what the client compares with.
fn check(conditions: &Conditions, info: &FileInfo) -> S3Result<()> {
    let (etag, at) = (etag_of(info), modified(info));
    match conditions.of(&etag, &at) {
        Outcome::Hold => Ok(()),
        Outcome::Failed => Err(S3Error::new(S3ErrorCode::PreconditionFailed)),
        Outcome::NotModified => {
            let mut error = S3Error::new(S3ErrorCode::NotModified);
            let mut headers = HeaderMap::new();
            headers.extend(etag.to_http_header().ok().map(|value| (ETAG_HEADER, value)));
            let mut text = Vec::new();
            if at.format(TimestampFormat::HttpDate, &mut text).is_ok() {
                headers.extend(text.as_slice().try_into().ok().map(|value| (LAST_MODIFIED, value)));
            }
            error.set_headers(headers);
            Err(error)
        }
    }
}

/// The checksum, when the client wants it and all of the object.
fn shown_sum(info: &FileInfo, mode: Option<&ChecksumMode>, cut: &Cut) -> Checksum {
    if mode.is_none_or(|mode| mode.as_str() != ChecksumMode::ENABLED) || cut.content_range.is_some() {
        return Checksum::default();
    }
    Sum::shown_of(info)
}

/// A stream that one task reads, as s3s wants it: shareable between threads, although nobody shares it.
struct Shared(Mutex<ReaderStream<ArchiveReader>>);

impl Stream for Shared {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}
