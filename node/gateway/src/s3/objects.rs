//! Putting objects.
//!
//! Invariant: what a put stores has been checked against all that the client said of it, and takes its place
//! with all its attributes at once.

use std::io;

use axum::body::Bytes;
use commonhold_client::types::{Attributes, CompleteRequest, FileInfo, FileKind, UploadRequest};
use futures::StreamExt;
use hyper::header::HeaderMap;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use tokio_util::io::StreamReader;

use super::attributes::{
    CHECKSUM, ETAG, OBJECT_TAGS_MAX, TAGS, bounded, etag_of, headers_of, modified_at_source, tags_of_header,
    tags_text,
};
use super::checked::Checked;
use super::checksums::{Claims, Sum, checksums_of};
use super::conditions::on_write;
use super::faults::{conflict, error, invalid, not_implemented};
use super::names::{FOLDER, Place, place};
use super::{Bridge, Bucket, TRIES};
use crate::api::{ApiFault, ArchiveReader};
use crate::drive::{NewFile, OnlyIf};

/// Uploads up to here are read before they are stored; 128 connections hold 32 MiB of them.
const READ_WHOLE_MAX: u64 = 256 * 1024;

/// What a client says of data that it sends, and the data.
pub(super) struct Upload {
    pub(super) len: u64,
    pub(super) checked: Checked,
    /// The checksum is known only at the end.
    pub(super) sum_comes_last: bool,
}

/// The length of a body.
///
/// # Errors
/// `MissingContentLength`.
pub(super) fn upload(body: Option<StreamingBlob>, len: Option<i64>, claims: Claims) -> S3Result<Upload> {
    let len = len.ok_or_else(|| S3Error::new(S3ErrorCode::MissingContentLength))?;
    let len = u64::try_from(len).map_err(|_| invalid("the length of the content is negative"))?;
    let nothing = || StreamingBlob::wrap(futures::stream::empty::<io::Result<Bytes>>());
    let sum_comes_last = claims.comes_last();
    Ok(Upload { len, checked: Checked::new(body.unwrap_or_else(nothing), claims), sum_comes_last })
}

/// A stream of data as a reader.
pub(super) fn reader(data: Checked) -> ArchiveReader {
    Box::pin(StreamReader::new(data))
}

/// The text of a header.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What a request says of its data.
pub(super) fn claims(
    headers: &HeaderMap,
    md5: Option<&str>,
    named: Checksum,
    trailers: Option<s3s::TrailingHeaders>,
) -> S3Result<Claims> {
    Claims::read(md5, named, header(headers, "x-amz-trailer"), trailers)
}

impl Bridge {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request { mut input, headers, trailing_headers, .. } = request;
        let claims = claims(&headers, input.content_md5.as_deref(), checksums_of!(input), trailing_headers)?;
        let upload = upload(input.body.take(), input.content_length, claims)?;
        let mut attributes = headers_of!(input).into_attributes()?;
        if let Some(tagging) = &input.tagging {
            let tags = tags_text(&tags_of_header(tagging)?, OBJECT_TAGS_MAX)?;
            attributes.insert(TAGS.to_owned(), tags);
        }
        let attributes = bounded(attributes)?;
        let place = place(&input.bucket, &input.key)?;
        let bucket = self.bucket(&input.bucket).await?;
        let (matches, none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
        let info = if place.marker {
            if upload.len > 0 {
                return Err(invalid("a key that ends with a slash stands for a folder, and has no content"));
            }
            if matches.is_some() || none_match.is_some() {
                return Err(not_implemented("conditions on a key that ends with a slash"));
            }
            let verdict = upload.checked.verdict();
            read_whole(upload.checked).await.map_err(|fault| verdict.error().unwrap_or(fault))?;
            self.put_marker(&place, attributes).await?
        } else {
            let only_if = self.condition(&place, matches, none_match).await?;
            self.put_file(&bucket, &place, upload, attributes, only_if).await?
        };
        let shown = Sum::shown_of(&info);
        Ok(S3Response::new(PutObjectOutput {
            checksum_crc32: shown.checksum_crc32,
            checksum_crc32c: shown.checksum_crc32c,
            checksum_crc64nvme: shown.checksum_crc64nvme,
            checksum_sha1: shown.checksum_sha1,
            checksum_sha256: shown.checksum_sha256,
            checksum_type: shown.checksum_type,
            e_tag: Some(etag_of(&info)),
            server_side_encryption: input.server_side_encryption,
            version_id: bucket.version_id(&info),
            ..Default::default()
        }))
    }

    /// What a write's conditions mean for what stands at a place now.
    pub(super) async fn condition(
        &self,
        place: &Place,
        matches: Option<&ETagCondition>,
        none_match: Option<&ETagCondition>,
    ) -> S3Result<OnlyIf> {
        if matches.is_none() && none_match.is_none() {
            return Ok(OnlyIf::Always);
        }
        let standing = self.look(&place.path).await?.filter(|info| info.entry.kind == FileKind::File);
        on_write(matches, none_match, standing.as_ref())
    }

    async fn put_file(
        &self,
        bucket: &Bucket,
        place: &Place,
        upload: Upload,
        mut attributes: Attributes,
        only_if: OnlyIf,
    ) -> S3Result<FileInfo> {
        let verdict = upload.checked.verdict();
        let len = upload.len;
        let content: ArchiveReader = if len <= READ_WHOLE_MAX {
            let read = read_whole(upload.checked).await.map_err(|fault| verdict.error().unwrap_or(fault))?;
            attributes.extend(verdict.sum().map(|sum| (CHECKSUM.to_owned(), sum.to_text())));
            Box::pin(io::Cursor::new(read))
        } else if upload.sum_comes_last {
            return self.put_and_sum(bucket, place, upload, attributes, only_if).await;
        } else {
            attributes.extend(upload.checked.claimed().map(|sum| (CHECKSUM.to_owned(), sum.to_text())));
            reader(upload.checked)
        };
        let file = NewFile {
            path: place.path.clone(),
            len,
            modified_ms: modified_at_source(&attributes),
            executable: false,
            attributes,
            only_if,
            replaced: bucket.replaced(),
        };
        self.drive
            .store(file, content)
            .await
            .map_err(|fault| verdict.error().unwrap_or_else(|| put_error(fault)))
    }

    /// Stores a large file whose checksum comes behind its data: as an upload of one part, which takes its
    /// attributes when it is complete.
    async fn put_and_sum(
        &self,
        bucket: &Bucket,
        place: &Place,
        upload: Upload,
        mut attributes: Attributes,
        only_if: OnlyIf,
    ) -> S3Result<FileInfo> {
        let begun = UploadRequest { path: place.path.clone(), attributes: Attributes::new() };
        let id = self.drive.begin_upload(begun).await.map_err(put_error)?.id;
        let verdict = upload.checked.verdict();
        let stored = async {
            let part = self.drive.store_part(id.clone(), 1, upload.len, reader(upload.checked)).await?;
            attributes.extend(verdict.sum().map(|sum| (CHECKSUM.to_owned(), sum.to_text())));
            attributes.insert(ETAG.to_owned(), part.md5);
            let modified_ms = modified_at_source(&attributes);
            let complete = CompleteRequest { parts: vec![1], modified_ms, executable: false };
            self.drive.complete_upload(id.clone(), complete, attributes, only_if, bucket.replaced()).await
        };
        match stored.await {
            Ok(info) => Ok(info),
            Err(fault) => {
                // It may be gone already.
                let _ = self.drive.abort_upload(id).await;
                Err(verdict.error().unwrap_or_else(|| put_error(fault)))
            }
        }
    }

    /// Makes a folder that stays when it is empty.
    pub(super) async fn put_marker(&self, place: &Place, mut attributes: Attributes) -> S3Result<FileInfo> {
        attributes.insert(FOLDER.to_owned(), "1".to_owned());
        let _lock = self.folder_lock(&place.path).await;
        for _ in 0..TRIES {
            let folder = self.drive.make_folder(place.path.clone()).await.map_err(put_error)?;
            let mut all = folder.attributes;
            all.retain(|key, _| !super::removal::is_of_marker(key));
            all.extend(attributes.clone());
            match self.drive.set_attributes_if(place.path.clone(), all, OnlyIf::Always).await {
                Ok(info) => return Ok(info),
                // Somebody else removed it in between.
                Err(fault) if fault.code == "not_found" => {}
                Err(fault) => return Err(put_error(fault)),
            }
        }
        Err(S3Error::new(S3ErrorCode::OperationAborted))
    }
}

/// A size as S3 has it.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The error for a fault of a write.
pub(super) fn put_error(fault: ApiFault) -> S3Error {
    match fault.code {
        "exists" => conflict(&fault.message),
        _ => error(fault, S3ErrorCode::NoSuchBucket),
    }
}

/// Reads a bounded upload whole.
async fn read_whole(mut data: Checked) -> S3Result<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(part) = data.next().await {
        let part = part.map_err(|_| S3Error::new(S3ErrorCode::IncompleteBody))?;
        if (whole.len() + part.len()) as u64 > READ_WHOLE_MAX {
            return Err(S3Error::new(S3ErrorCode::IncompleteBody));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}
