//! Objects that are put in parts.
//!
//! Invariant: an object is made of the parts that the client names by number and ETag, and of no others; its
//! ETag is the MD5 of theirs with their number, as clients compute it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use commonhold_client::types::{Attributes, CompleteRequest, FileInfo, FileKind, UploadRequest, UploadView};
use data_encoding::HEXLOWER;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::{
    CHECKSUM, ETAG, OBJECT_TAGS_MAX, PARTS, TAGS, bounded, etag_of, headers_of, modified_at_source,
    parts_text, tags_of_header, tags_text,
};
use super::checksums::{Algorithm, Sum, checksums_of, decoded, the_one};
use super::faults::{error, invalid, not_implemented};
use super::names::place;
use super::objects::{claims, put_error, reader, upload};
use super::{Bridge, Bucket};

/// Which checksum the object will have; of the upload alone.
pub(super) const WANTED: &str = "upload-checksum";
/// Most uploads whose parts' checksums are remembered.
const UPLOADS_MAX: usize = 256;
/// Most parts of all of them together, about 20 MB.
const PARTS_MAX: usize = 100_000;
/// Highest number of a part, as in S3.
const PART_MAX: i32 = 10_000;

/// Checksums of parts, found right when these were stored. They are remembered while the node runs, which
/// is enough for the checksum of an object that is completed in that time; later it has none.
#[derive(Default)]
pub(super) struct PartSums(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    uploads: HashMap<String, BTreeMap<u32, (String, Sum)>>,
    /// Oldest first.
    order: VecDeque<String>,
}

impl PartSums {
    fn with<T>(&self, change: impl FnOnce(&mut Remembered) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Of a part with this MD5.
    fn remember(&self, upload: &str, number: u32, md5: &str, sum: Option<Sum>) {
        let Some(sum) = sum else { return self.forget_part(upload, number) };
        self.with(|all| {
            if !all.uploads.contains_key(upload) {
                all.order.push_back(upload.to_owned());
            }
            let parts = all.uploads.entry(upload.to_owned()).or_default();
            parts.insert(number, (md5.to_owned(), sum));
            let full = |all: &Remembered| {
                all.order.len() > UPLOADS_MAX
                    || all.uploads.values().map(BTreeMap::len).sum::<usize>() > PARTS_MAX
            };
            while all.order.len() > 1 && full(all) {
                let oldest = all.order.pop_front();
                oldest.and_then(|oldest| all.uploads.remove(&oldest));
            }
        });
    }

    pub(super) fn forget_part(&self, upload: &str, number: u32) {
        self.with(|all| all.uploads.get_mut(upload).and_then(|parts| parts.remove(&number)));
    }

    fn forget(&self, upload: &str) {
        self.with(|all| {
            all.uploads.remove(upload);
            all.order.retain(|one| one != upload);
        });
    }

    /// Of a part, if it still has this MD5.
    pub(super) fn of(&self, upload: &str, number: u32, md5: &str) -> Option<Sum> {
        self.with(|all| {
            let (of, sum) = all.uploads.get(upload)?.get(&number)?;
            (of == md5).then(|| sum.clone())
        })
    }
}

/// The number of a part.
pub(super) fn part_number(number: i32) -> S3Result<u32> {
    let fits = Some(number).filter(|number| (1..=PART_MAX).contains(number));
    fits.and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| invalid("parts have numbers 1 to 10,000"))
}

/// Algorithm and type of the checksum that an upload is to have.
pub(super) fn wanted(attributes: &Attributes) -> Option<(Algorithm, bool)> {
    let (algorithm, kind) = attributes.get(WANTED)?.split_once(' ')?;
    Some((Algorithm::named(algorithm)?, kind == ChecksumType::COMPOSITE))
}

impl Bridge {
    pub(super) async fn begin(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut input = request.input;
        let mut attributes = headers_of!(input).into_attributes()?;
        if let Some(tagging) = &input.tagging {
            attributes.insert(TAGS.to_owned(), tags_text(&tags_of_header(tagging)?, OBJECT_TAGS_MAX)?);
        }
        let (mut algorithm, mut kind) = (None, None);
        if let Some(name) = &input.checksum_algorithm {
            let one = Algorithm::named(name.as_str())
                .ok_or_else(|| not_implemented(format!("the checksum {:?}", name.as_str())))?;
            let digest = matches!(one, Algorithm::Sha1 | Algorithm::Sha256);
            let composite = match input.checksum_type.as_ref().map(ChecksumType::as_str) {
                None => one != Algorithm::Crc64Nvme,
                Some(ChecksumType::COMPOSITE) if one != Algorithm::Crc64Nvme => true,
                Some(ChecksumType::FULL_OBJECT) if !digest => false,
                Some(kind) => return Err(invalid(format!("{} has no checksum {kind}", one.name()))),
            };
            let text = if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
            attributes.insert(WANTED.to_owned(), format!("{} {text}", one.name()));
            algorithm = input.checksum_algorithm.clone();
            kind = Some(ChecksumType::from_static(text));
        } else if input.checksum_type.is_some() {
            return Err(invalid("x-amz-checksum-type needs x-amz-checksum-algorithm"));
        }
        let attributes = bounded(attributes)?;
        let place = place(&input.bucket, &input.key)?;
        if place.marker {
            return Err(invalid("a key that ends with a slash stands for a folder, and has no content"));
        }
        self.bucket(&input.bucket).await?;
        let begun = self.drive.begin_upload(UploadRequest { path: place.path, attributes }).await;
        let id = begun.map_err(put_error)?.id;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: algorithm,
            checksum_type: kind,
            key: Some(input.key),
            server_side_encryption: input.server_side_encryption,
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    /// An upload, if it is one for this key.
    pub(super) async fn find_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<UploadView> {
        let missing = || S3Error::new(S3ErrorCode::NoSuchUpload);
        self.bucket(bucket).await?;
        let place = place(bucket, key).map_err(|_| missing())?;
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let upload = self.drive.upload(id.to_owned()).await;
        let upload = upload.map_err(|fault| error(fault, S3ErrorCode::NoSuchUpload))?;
        if place.marker || upload.path != place.path {
            return Err(missing());
        }
        Ok(upload)
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let S3Request { mut input, headers, trailing_headers, .. } = request;
        let claims = claims(&headers, input.content_md5.as_deref(), checksums_of!(input), trailing_headers)?;
        let upload = upload(input.body.take(), input.content_length, claims)?;
        let number = part_number(input.part_number)?;
        let view = self.find_upload(&input.bucket, &input.key, &input.upload_id).await?;
        if let (Some((expected, _)), Some(sent)) = (wanted(&view.attributes), upload.checked.algorithm())
            && expected != sent
        {
            return Err(invalid(format!("the upload was begun with {} checksums", expected.name())));
        }
        let (id, verdict) = (input.upload_id, upload.checked.verdict());
        let stored = self.drive.store_part(id.clone(), number, upload.len, reader(upload.checked)).await;
        let part = stored
            .map_err(|fault| verdict.error().unwrap_or_else(|| error(fault, S3ErrorCode::NoSuchUpload)))?;
        let sum = verdict.sum();
        self.sums.remember(&id, number, &part.md5, sum.clone());
        let shown = sum.map(|sum| sum.shown()).unwrap_or_default();
        Ok(S3Response::new(UploadPartOutput {
            checksum_crc32: shown.checksum_crc32,
            checksum_crc32c: shown.checksum_crc32c,
            checksum_crc64nvme: shown.checksum_crc64nvme,
            checksum_sha1: shown.checksum_sha1,
            checksum_sha256: shown.checksum_sha256,
            e_tag: Some(ETag::Strong(part.md5)),
            ..Default::default()
        }))
    }

    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut input = request.input;
        let claimed = the_one(checksums_of!(input))?;
        let bucket = self.bucket(&input.bucket).await?;
        let named = input.multipart_upload.take().and_then(|it| it.parts).unwrap_or_default();
        if named.is_empty() {
            return Err(S3Error::new(S3ErrorCode::MalformedXML));
        }
        let found = self.find_upload(&input.bucket, &input.key, &input.upload_id).await;
        let view = match found {
            Ok(view) => view,
            Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => {
                // A client that missed the answer asks again.
                return match self.completed_before(&input.bucket, &input.key, &named).await? {
                    Some(info) => Ok(S3Response::new(self.completed(&bucket, &input, &info))),
                    None => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        let chosen = self.choose(&view, named)?;
        let len: u64 = chosen.sizes.iter().sum();
        if input.mpu_object_size.is_some_and(|size| u64::try_from(size) != Ok(len)) {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                format!("the parts have {len} bytes"),
            ));
        }
        let mut attributes = view.attributes.clone();
        attributes.retain(|key, _| !key.starts_with("upload-"));
        attributes.insert(ETAG.to_owned(), chosen.etag.clone());
        attributes.extend(parts_text(&chosen.sizes).map(|text| (PARTS.to_owned(), text)));
        let sum = self.whole_sum(&view, &chosen);
        if let Some((algorithm, value)) = claimed {
            // A composite checksum may come without the number of parts.
            let right = |sum: &Sum| {
                sum.algorithm == algorithm
                    && (sum.value == value
                        || (sum.composite && sum.value.split('-').next() == Some(value.as_str())))
            };
            match &sum {
                Some(sum) if right(sum) => {}
                Some(_) => return Err(S3Error::new(S3ErrorCode::BadDigest)),
                None => {
                    let why = "the checksums of these parts are not known, so that of the object cannot be verified";
                    return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, why));
                }
            }
        }
        attributes.extend(sum.map(|sum| (CHECKSUM.to_owned(), sum.to_text())));
        let place = place(&input.bucket, &input.key)?;
        let only_if = self.condition(&place, input.if_match.as_ref(), input.if_none_match.as_ref()).await?;
        let modified_ms = modified_at_source(&attributes);
        let complete = CompleteRequest { parts: chosen.numbers, modified_ms, executable: false };
        let (id, replaced) = (input.upload_id.clone(), bucket.replaced());
        let info = match self.drive.complete_upload(id, complete, attributes, only_if, replaced).await {
            Ok(info) => info,
            Err(fault) if fault.code == "not_found" => return Err(error(fault, S3ErrorCode::NoSuchUpload)),
            Err(fault) => return Err(put_error(fault)),
        };
        self.sums.forget(&input.upload_id);
        Ok(S3Response::new(self.completed(&bucket, &input, &info)))
    }

    fn completed(
        &self,
        bucket: &Bucket,
        input: &CompleteMultipartUploadInput,
        info: &FileInfo,
    ) -> CompleteMultipartUploadOutput {
        let shown = Sum::shown_of(info);
        CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            checksum_crc32: shown.checksum_crc32,
            checksum_crc32c: shown.checksum_crc32c,
            checksum_crc64nvme: shown.checksum_crc64nvme,
            checksum_sha1: shown.checksum_sha1,
            checksum_sha256: shown.checksum_sha256,
            checksum_type: shown.checksum_type,
            e_tag: Some(etag_of(info)),
            key: Some(input.key.clone()),
            location: Some(format!("/{}/{}", input.bucket, super::text::url_encode(&input.key))),
            version_id: bucket.version_id(info),
            ..Default::default()
        }
    }

    /// The object that these parts would make, if it stands there already.
    async fn completed_before(
        &self,
        bucket: &str,
        key: &str,
        named: &[CompletedPart],
    ) -> S3Result<Option<FileInfo>> {
        let Ok(place) = place(bucket, key) else { return Ok(None) };
        let md5s = named.iter().map(|part| part.e_tag.as_ref().map(|etag| etag.value().to_owned()));
        let Some(etag) = md5s.collect::<Option<Vec<_>>>().and_then(|md5s| composite(&md5s)) else {
            return Ok(None);
        };
        let standing = self.look(&place.path).await?.filter(|info| info.entry.kind == FileKind::File);
        Ok(standing.filter(|info| etag_of(info).value() == etag))
    }

    /// The parts that a client names, among those that are stored.
    fn choose(&self, view: &UploadView, named: Vec<CompletedPart>) -> S3Result<Chosen> {
        let missing = |number: i32| {
            let why = format!("part {number} was not stored, or with another ETag or checksum");
            S3Error::with_message(S3ErrorCode::InvalidPart, why)
        };
        let at_hand: HashMap<u32, _> = view.parts.iter().map(|part| (part.number, part)).collect();
        let mut chosen = Chosen::default();
        let mut md5s = Vec::with_capacity(named.len());
        for mut part in named {
            let claimed = the_one(checksums_of!(part))?;
            let number = part.part_number.ok_or_else(|| S3Error::new(S3ErrorCode::MalformedXML))?;
            let stored = u32::try_from(number).ok().and_then(|number| at_hand.get(&number));
            let stored = stored.ok_or_else(|| missing(number))?;
            if chosen.numbers.last().is_some_and(|last| stored.number <= *last) {
                return Err(S3Error::new(S3ErrorCode::InvalidPartOrder));
            }
            if part.e_tag.as_ref().is_none_or(|etag| etag.value() != stored.md5) {
                return Err(missing(number));
            }
            let sum = self.sums.of(&view.id, stored.number, &stored.md5);
            if let (Some((algorithm, value)), Some(sum)) = (&claimed, &sum)
                && (*algorithm != sum.algorithm || *value != sum.value)
            {
                return Err(missing(number));
            }
            chosen.numbers.push(stored.number);
            chosen.sizes.push(stored.bytes);
            chosen.sums.push(sum);
            md5s.push(stored.md5.clone());
        }
        chosen.etag = composite(&md5s).ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))?;
        Ok(chosen)
    }

    /// The checksum of the object, if those of all its parts are known.
    fn whole_sum(&self, view: &UploadView, chosen: &Chosen) -> Option<Sum> {
        let (algorithm, composite) = wanted(&view.attributes)?;
        let parts = chosen.sums.iter().zip(&chosen.sizes).map(|(sum, size)| {
            let sum = sum.as_ref().filter(|sum| sum.algorithm == algorithm)?;
            Some((decoded(algorithm, &sum.value)?, *size))
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let value = if composite { algorithm.composite(&parts)? } else { algorithm.combined(&parts)? };
        Some(Sum { algorithm, composite, value })
    }

    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.find_upload(&input.bucket, &input.key, &input.upload_id).await?;
        let aborted = self.drive.abort_upload(input.upload_id.clone()).await;
        aborted.map_err(|fault| error(fault, S3ErrorCode::NoSuchUpload))?;
        self.sums.forget(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The parts that an object is made of.
#[derive(Default)]
struct Chosen {
    numbers: Vec<u32>,
    sizes: Vec<u64>,
    sums: Vec<Option<Sum>>,
    etag: String,
}

/// The ETag of an object of parts with these MD5s.
fn composite(md5s: &[String]) -> Option<String> {
    let mut all = Md5::new();
    for md5 in md5s {
        all.update(&HEXLOWER.decode(md5.as_bytes()).ok().filter(|bytes| bytes.len() == 16)?);
    }
    Some(format!("{}-{}", HEXLOWER.encode(&all.finalize()), md5s.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn etags_are_those_of_clients() {
        // Computed with `md5sum`: two parts of "a" and "b".
        let md5s = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"];
        let md5s = md5s.map(str::to_owned);
        assert_eq!(composite(&md5s).unwrap(), "96e024ba2074fe77e8e965ba43a704be-2");
        assert_eq!(composite(&["no".to_owned()]), None);
    }

    #[test]
    fn attack_25_few_uploads_are_remembered() {
        let sums = PartSums::default();
        let sum = Sum { algorithm: Algorithm::Crc32, composite: false, value: "AAAAAA==".into() };
        for upload in 0..UPLOADS_MAX + 10 {
            sums.remember(&upload.to_string(), 1, "md5", Some(sum.clone()));
        }
        assert_eq!(sums.with(|all| (all.uploads.len(), all.order.len())), (UPLOADS_MAX, UPLOADS_MAX));
        assert_eq!(sums.of("9", 1, "md5"), None);
        assert_eq!(sums.of("10", 1, "md5"), Some(sum));
        assert_eq!(sums.of("10", 1, "another"), None);
        sums.forget("10");
        assert_eq!(sums.of("10", 1, "md5"), None);
    }
}
