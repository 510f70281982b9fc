//! What S3 keeps of an object beside its bytes, as attributes of the file (spec/s3.md, "Attributes").
//!
//! Invariant: what is written here fits the bounds of attributes; what is read may have been written by
//! anybody, so that nothing of it gets into a header that is not a header's value.

use std::collections::BTreeMap;

use commonhold_client::types::{ATTRIBUTES_LEN_MAX, Attributes, FileInfo, FileKind};
use hyper::header::{HeaderName, HeaderValue};
use s3s::dto::{ETag, Metadata, Tag, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::faults::invalid;
use super::text;

pub(super) const CONTENT_TYPE: &str = "content-type";
pub(super) const ETAG: &str = "etag";
pub(super) const TAGS: &str = "s3-tags";
/// Algorithm, type and value of a checksum, with spaces between.
pub(super) const CHECKSUM: &str = "s3-checksum";
/// Sizes of the parts of an object that was put in parts.
pub(super) const PARTS: &str = "s3-parts";
/// Of a bucket: whether replaced and removed objects are kept.
pub(super) const VERSIONING: &str = "s3-versioning";
const META: &str = "s3-meta";
const CACHE_CONTROL: &str = "s3-cache-control";
const CONTENT_DISPOSITION: &str = "s3-content-disposition";
const CONTENT_ENCODING: &str = "s3-content-encoding";
const CONTENT_LANGUAGE: &str = "s3-content-language";
const EXPIRES: &str = "s3-expires";

/// What a request may set, and CopyObject replaces.
const SETTABLE: [&str; 7] =
    [CONTENT_TYPE, META, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, EXPIRES];

/// The MD5 of nothing: the ETag of a folder's marker.
pub(super) const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// What S3 says of an object without a type.
pub(super) const DEFAULT_TYPE: &str = "binary/octet-stream";
/// Most bytes of names and values of user metadata, as in S3.
const META_LEN_MAX: usize = 2048;
/// Room that is kept for ETag, checksum and parts.
const OWN_LEN_MAX: usize = 1024;
/// Longest attribute with sizes of parts.
pub(super) const PARTS_LEN_MAX: usize = 768;
/// Most tags of an object, as in S3.
pub(super) const OBJECT_TAGS_MAX: usize = 10;
/// Most tags of a bucket, as in S3.
pub(super) const BUCKET_TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// Headers of an object, as a request sets them and an answer shows them.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Headers {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
}

/// Takes the headers out of a request that has them under these names.
macro_rules! headers_of {
    ($input:expr) => {
        $crate::s3::attributes::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take(),
        }
    };
}
pub(super) use headers_of;

impl Headers {
    /// As attributes.
    ///
    /// # Errors
    /// `MetadataTooLarge`.
    pub(super) fn into_attributes(self) -> S3Result<Attributes> {
        let mut attributes = Attributes::new();
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                attributes.insert(key.to_owned(), value);
            }
        };
        set(CONTENT_TYPE, self.content_type);
        set(CACHE_CONTROL, self.cache_control);
        set(CONTENT_DISPOSITION, self.content_disposition);
        set(CONTENT_ENCODING, self.content_encoding.map(|value| without_aws_chunked(&value)));
        set(CONTENT_LANGUAGE, self.content_language);
        set(EXPIRES, self.expires.as_ref().and_then(http_date));
        let metadata: BTreeMap<_, _> = self.metadata.unwrap_or_default().into_iter().collect();
        let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > META_LEN_MAX {
            return Err(too_large());
        }
        if !metadata.is_empty() {
            set(META, serde_json::to_string(&metadata).ok());
        }
        Ok(attributes)
    }

    /// What the attributes say; what could not be a header is left out.
    pub(super) fn of(attributes: &Attributes) -> Self {
        let get =
            |key: &str| attributes.get(key).filter(|value| HeaderValue::from_str(value).is_ok()).cloned();
        let expires = |text: &String| Timestamp::parse(TimestampFormat::HttpDate, text).ok();
        Self {
            content_type: Some(get(CONTENT_TYPE).unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
            cache_control: get(CACHE_CONTROL),
            content_disposition: get(CONTENT_DISPOSITION),
            content_encoding: get(CONTENT_ENCODING),
            content_language: get(CONTENT_LANGUAGE),
            expires: attributes.get(EXPIRES).and_then(expires),
            metadata: metadata_of(attributes),
        }
    }
}

fn metadata_of(attributes: &Attributes) -> Option<Metadata> {
    let all: BTreeMap<String, String> = serde_json::from_str(attributes.get(META)?).ok()?;
    let fits = |(key, value): &(String, String)| {
        HeaderName::from_bytes(format!("x-amz-meta-{key}").as_bytes()).is_ok()
            && !value.contains(|c: char| c.is_ascii_control())
    };
    Some(all.into_iter().filter(fits).collect())
}

/// The time at which the content was last modified where it came from, if the client said so as rclone
/// does: seconds since 1970, as a decimal fraction.
pub(super) fn modified_at_source(attributes: &Attributes) -> Option<i64> {
    let metadata = metadata_of(attributes)?;
    let (seconds, fraction) = match metadata.get("mtime")?.split_once('.') {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (metadata.get("mtime")?.as_str(), ""),
    };
    let seconds: i64 = seconds.parse().ok().filter(|seconds| (0..=253_402_300_799).contains(seconds))?;
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(seconds * 1000 + thousandths.parse::<i64>().ok().filter(|thousandths| *thousandths >= 0)?)
}

fn http_date(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// `aws-chunked` is how the request came, not what the object is.
fn without_aws_chunked(value: &str) -> String {
    let encodings = value.split(',').map(str::trim).filter(|one| !one.eq_ignore_ascii_case("aws-chunked"));
    encodings.collect::<Vec<_>>().join(",")
}

fn too_large() -> S3Error {
    S3Error::new(S3ErrorCode::MetadataTooLarge)
}

/// Refuses attributes that leave no room for those that are added later.
pub(super) fn bounded(attributes: Attributes) -> S3Result<Attributes> {
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ATTRIBUTES_LEN_MAX - OWN_LEN_MAX { Err(too_large()) } else { Ok(attributes) }
}

/// `old` with what a request may set taken from `new`.
pub(super) fn replaced(old: &Attributes, new: Attributes) -> Attributes {
    let mut attributes = old.clone();
    attributes.retain(|key, _| !SETTABLE.contains(&key.as_str()));
    attributes.extend(new);
    attributes
}

/// The ETag of an object.
pub(super) fn etag_of(info: &FileInfo) -> ETag {
    etag(info.entry.kind, &info.attributes, &info.content_id)
}

/// The ETag of a version.
pub(super) fn etag(kind: FileKind, attributes: &Attributes, content_id: &str) -> ETag {
    let fits = |etag: &&String| etag.len() <= 64 && etag.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    ETag::Strong(match attributes.get(ETAG).filter(fits) {
        _ if kind == FileKind::Folder => EMPTY_MD5.to_owned(),
        Some(etag) => etag.clone(),
        None => format!("{content_id}-1"),
    })
}

/// The sizes of parts, equal ones in a row together: `8388608*31,1024`. Nothing for too many different ones.
pub(super) fn parts_text(sizes: &[u64]) -> Option<String> {
    let mut text = String::new();
    for run in sizes.chunk_by(|one, next| one == next) {
        let comma = if text.is_empty() { "" } else { "," };
        let times = if run.len() > 1 { format!("*{}", run.len()) } else { String::new() };
        text += &format!("{comma}{}{times}", run[0]);
        if text.len() > PARTS_LEN_MAX {
            return None;
        }
    }
    Some(text)
}

/// The sizes again, of an object of `len` bytes.
pub(super) fn parts_of(attributes: &Attributes, len: u64) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    for run in attributes.get(PARTS)?.split(',') {
        let (size, times) = run.split_once('*').unwrap_or((run, "1"));
        let (size, times) = (size.parse::<u64>().ok()?, times.parse::<usize>().ok()?);
        if times > 10_000 - sizes.len().min(10_000) {
            return None;
        }
        sizes.extend(std::iter::repeat_n(size, times));
    }
    let sum = sizes.iter().try_fold(0_u64, |sum, size| sum.checked_add(*size));
    (sum == Some(len)).then_some(sizes)
}

/// Tags as an attribute.
///
/// # Errors
/// `InvalidTag`.
pub(super) fn tags_text(tags: &[(String, String)], most: usize) -> S3Result<String> {
    let bad = |why: &str| Err(S3Error::with_message(S3ErrorCode::InvalidTag, why.to_owned()));
    if tags.len() > most {
        return bad(&format!("there are at most {most} tags"));
    }
    for (place, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return bad("a tag's key has 1 to 128 characters");
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return bad("a tag's value has at most 256 characters");
        }
        if [key, value].iter().any(|text| text.contains(char::is_control)) {
            return bad("a tag has no control characters");
        }
        if tags[..place].iter().any(|(other, _)| other == key) {
            return bad("a tag's key stands there once");
        }
    }
    serde_json::to_string(tags).map_err(S3Error::internal_error)
}

/// Tags of a request's body.
pub(super) fn tags_of_set(set: Vec<Tag>) -> Vec<(String, String)> {
    set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect()
}

/// Tags of a request's header: `key=value&…`, percent-encoded.
pub(super) fn tags_of_header(header: &str) -> S3Result<Vec<(String, String)>> {
    let pairs = header.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((text::form_decode(key)?, text::form_decode(value)?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("the tagging header is not percent-encoded UTF-8"))
}

/// The tags that the attributes have.
pub(super) fn tags_of(attributes: &Attributes) -> Vec<Tag> {
    let all: Vec<(String, String)> =
        attributes.get(TAGS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    all.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sizes_of_parts_come_back(sizes in prop::collection::vec(0_u64..4, 1..300)) {
            if let Some(text) = parts_text(&sizes) {
                let attributes = Attributes::from([(PARTS.to_owned(), text)]);
                prop_assert_eq!(parts_of(&attributes, sizes.iter().sum()), Some(sizes.clone()));
                prop_assert_eq!(parts_of(&attributes, sizes.iter().sum::<u64>() + 1), None);
            }
        }

        #[test]
        fn attack_25_any_text_as_sizes_is_bounded(text in "[0-9*,]{0,60}") {
            let attributes = Attributes::from([(PARTS.to_owned(), text)]);
            if let Some(sizes) = parts_of(&attributes, 10) {
                prop_assert!(sizes.len() <= 10_000);
            }
        }

        #[test]
        fn tags_come_back(tags in prop::collection::btree_map("\\PC{1,20}", "\\PC{0,20}", 0..10)) {
            let tags: Vec<_> = tags.into_iter().collect();
            let attributes = Attributes::from([(TAGS.to_owned(), tags_text(&tags, 10).unwrap())]);
            prop_assert_eq!(tags_of_set(tags_of(&attributes)), tags);
        }
    }

    #[test]
    fn headers_come_back_without_aws_chunked() {
        let headers = Headers {
            content_type: Some("text/plain".into()),
            cache_control: Some("no-store".into()),
            content_disposition: Some("attachment".into()),
            content_encoding: Some("aws-chunked, gzip".into()),
            content_language: Some("de".into()),
            expires: Some(super::super::conditions::time(1_700_000_000_000)),
            metadata: Some(Metadata::from([("a".into(), "ü".into())])),
        };
        let back = Headers::of(&headers.clone().into_attributes().unwrap());
        assert_eq!(back, Headers { content_encoding: Some("gzip".into()), ..headers });
        let large = Metadata::from([("a".into(), "x".repeat(2048))]);
        let large = Headers { metadata: Some(large), ..Headers::default() };
        assert_eq!(large.into_attributes().unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
    }

    #[test]
    fn attack_23_attributes_that_others_wrote_break_no_header() {
        let attributes = Attributes::from([
            (CONTENT_TYPE.to_owned(), "text/html\r\nset-cookie: a=b".to_owned()),
            (META.to_owned(), r#"{"a b":"c","d":"e\r\nf: g","h":"i"}"#.to_owned()),
            (ETAG.to_owned(), "\"\r\n".to_owned()),
        ]);
        let headers = Headers::of(&attributes);
        assert_eq!(headers.content_type.as_deref(), Some(DEFAULT_TYPE));
        assert_eq!(headers.metadata, Some(Metadata::from([("h".into(), "i".into())])));
        assert_eq!(etag(FileKind::File, &attributes, "ab").value(), "ab-1");
    }

    #[test]
    fn times_at_the_source_are_those_of_rclone() {
        let at = |mtime: &str| {
            let metadata = Some(Metadata::from([("mtime".into(), mtime.into())]));
            modified_at_source(&Headers { metadata, ..Headers::default() }.into_attributes().unwrap())
        };
        assert_eq!(at("1700000000.123456789"), Some(1_700_000_000_123));
        assert_eq!(at("1700000000.5"), Some(1_700_000_000_500));
        assert_eq!(at("1700000000"), Some(1_700_000_000_000));
        for bad in ["", "x", "-1", "1.-5", "99999999999999999999", "999999999999999"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
