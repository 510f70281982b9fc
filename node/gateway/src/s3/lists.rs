//! Listings of objects, their versions, and uploads (spec/s3.md, "Listing").
//!
//! Invariant: pages follow each other without a gap and without telling anything twice, whatever else is
//! written meanwhile; a page has at most 1,000 entries, and nothing else of a bucket is held.

use commonhold_client::types::{FileInfo, FileKind};
use data_encoding::BASE64URL_NOPAD;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::etag_of;
use super::conditions::modified;
use super::faults::{error, invalid};
use super::objects::signed;
use super::text::url_encode;
use super::versions::{as_current, number};
use super::walk::{Found, Walk};
use super::{Bridge, Bucket, owner};

/// Most entries of a page, as in S3.
const PAGE_MAX: usize = 1000;

/// How many entries a request asks for.
pub(super) fn most(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let asked = asked.unwrap_or(1000);
    usize::try_from(asked)
        .map(|asked| asked.min(PAGE_MAX))
        .map_err(|_| invalid(format!("{name} is negative")))
}

/// An entry of a listing.
enum Entry {
    Object(String, FileInfo),
    Common(String),
}

/// What is listed.
pub(super) struct Query {
    pub(super) prefix: String,
    delimiter: Option<String>,
    /// Only what comes after this.
    after: Option<String>,
    most: usize,
}

impl Query {
    pub(super) fn new(
        prefix: Option<String>,
        delimiter: Option<String>,
        after: Option<String>,
        most: usize,
    ) -> Self {
        Self {
            prefix: prefix.unwrap_or_default(),
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
            after: after.filter(|after| !after.is_empty()),
            most,
        }
    }

    /// What a key is rolled up to.
    pub(super) fn common<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.as_deref()?;
        let at = key.get(self.prefix.len()..)?.find(delimiter)?;
        key.get(..self.prefix.len() + at + delimiter.len())
    }
}

/// The entries of a listing, one by one.
struct Entries<'a> {
    walk: Walk<'a>,
    query: &'a Query,
    last_common: Option<String>,
}

impl<'a> Entries<'a> {
    async fn start(bridge: &'a Bridge, bucket: &str, query: &'a Query) -> S3Result<Self> {
        let folders = query.delimiter.as_deref() == Some("/");
        let (prefix, after) = (query.prefix.as_str(), query.after.as_deref());
        let walk = Walk::start(&*bridge.drive, bucket, prefix, after, folders, query.most).await;
        let walk = walk.map_err(|fault| error(fault, S3ErrorCode::NoSuchBucket))?;
        Ok(Self { walk, query, last_common: query.after.clone() })
    }

    async fn next(&mut self) -> S3Result<Option<Entry>> {
        loop {
            let found = self.walk.next().await.map_err(|fault| error(fault, S3ErrorCode::NoSuchBucket))?;
            match found {
                None => return Ok(None),
                Some(Found::Folder(prefix)) => return Ok(Some(Entry::Common(prefix))),
                Some(Found::Object(key, info)) => match self.query.common(&key) {
                    None => return Ok(Some(Entry::Object(key, info))),
                    Some(common) if self.last_common.as_deref() == Some(common) => {}
                    Some(common) => {
                        self.last_common = Some(common.to_owned());
                        return Ok(Some(Entry::Common(common.to_owned())));
                    }
                },
            }
        }
    }
}

/// A page of objects.
#[derive(Default)]
struct Page {
    contents: Vec<(String, FileInfo)>,
    common: Vec<String>,
    /// The last entry, when there are more.
    next: Option<String>,
}

/// How keys are written.
#[derive(Clone, Copy)]
pub(super) struct Writing {
    url: bool,
}

impl Writing {
    pub(super) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(other) => Err(invalid(format!("there is no encoding-type {other:?}"))),
        }
    }

    pub(super) fn text(self, key: String) -> String {
        if self.url { url_encode(&key) } else { key }
    }

    pub(super) fn maybe(self, key: Option<String>) -> Option<String> {
        key.map(|key| self.text(key))
    }

    pub(super) fn prefixes(self, prefixes: Vec<String>) -> Option<Vec<CommonPrefix>> {
        Some(prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) }).collect())
    }

    fn objects(self, contents: Vec<(String, FileInfo)>, with_owner: bool) -> Option<Vec<Object>> {
        let object = |(key, info): (String, FileInfo)| Object {
            e_tag: Some(etag_of(&info)),
            key: Some(self.text(key)),
            last_modified: Some(modified(&info)),
            owner: with_owner.then(owner),
            size: Some(size(&info)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Default::default()
        };
        Some(contents.into_iter().map(object).collect())
    }
}

/// The size of an object: that of a folder's marker is 0.
fn size(info: &FileInfo) -> i64 {
    if info.entry.kind == FileKind::Folder { 0 } else { signed(info.entry.bytes) }
}

impl Bridge {
    async fn page(&self, bucket: &str, query: &Query) -> S3Result<Page> {
        let mut page = Page::default();
        if query.most == 0 {
            return Ok(page);
        }
        let mut entries = Entries::start(self, bucket, query).await?;
        let mut last = None;
        while let Some(entry) = entries.next().await? {
            if page.contents.len() + page.common.len() == query.most {
                page.next = last;
                break;
            }
            match entry {
                Entry::Object(key, info) => {
                    last = Some(key.clone());
                    page.contents.push((key, info));
                }
                Entry::Common(prefix) => {
                    last = Some(prefix.clone());
                    page.common.push(prefix);
                }
            }
        }
        Ok(page)
    }

    pub(super) async fn list_v1(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let writing = Writing::of(input.encoding_type.as_ref())?;
        let most = most(input.max_keys, "max-keys")?;
        self.bucket(&input.bucket).await?;
        let query = Query::new(input.prefix.clone(), input.delimiter.clone(), input.marker.clone(), most);
        let page = self.page(&input.bucket, &query).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(writing.text(query.prefix)),
            marker: Some(writing.text(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(most).ok(),
            is_truncated: Some(page.next.is_some()),
            contents: writing.objects(page.contents, true),
            common_prefixes: writing.prefixes(page.common),
            delimiter: writing.maybe(input.delimiter),
            next_marker: writing.maybe(page.next),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(super) async fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let writing = Writing::of(input.encoding_type.as_ref())?;
        let most = most(input.max_keys, "max-keys")?;
        self.bucket(&input.bucket).await?;
        let after = match &input.continuation_token {
            None => input.start_after.clone(),
            Some(token) => {
                let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
                let after = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                let after = after.filter(|after| !after.is_empty());
                Some(after.ok_or_else(|| invalid("this continuation token is not one of this listing"))?)
            }
        };
        let query = Query::new(input.prefix.clone(), input.delimiter.clone(), after, most);
        let page = self.page(&input.bucket, &query).await?;
        let count = page.contents.len() + page.common.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(writing.text(query.prefix)),
            max_keys: i32::try_from(most).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| BASE64URL_NOPAD.encode(next.as_bytes())),
            contents: writing.objects(page.contents, input.fetch_owner == Some(true)),
            common_prefixes: writing.prefixes(page.common),
            delimiter: writing.maybe(input.delimiter),
            encoding_type: input.encoding_type,
            start_after: writing.maybe(input.start_after),
            request_charged: None,
        }))
    }

    pub(super) async fn list_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let writing = Writing::of(input.encoding_type.as_ref())?;
        let most = most(input.max_keys, "max-keys")?;
        let bucket = self.bucket(&input.bucket).await?;
        let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        let id_marker = input.version_id_marker.clone().filter(|marker| !marker.is_empty());
        if id_marker.is_some() && key_marker.is_none() {
            return Err(invalid("version-id-marker needs key-marker"));
        }
        let query = Query::new(input.prefix.clone(), input.delimiter.clone(), key_marker.clone(), most);
        let mut listed = Listed { writing, versions: Vec::new(), common: Vec::new(), last: None };
        let mut next = None;
        if most > 0 {
            // The rest of the key that the page before broke off at.
            if let (Some(key), Some(id)) = (&key_marker, &id_marker)
                && key.starts_with(&query.prefix)
                && query.common(key).is_none()
                && id != "null"
            {
                let below = number(id)?;
                if let Ok(object) = self.find(&bucket, &input.bucket, key, None).await {
                    let all = self.all_versions(&bucket, key, object.info).await?;
                    let rest = all.into_iter().filter(|version| version.1.version < below);
                    next = listed.take(&bucket, rest, most);
                }
            }
            let mut entries = Entries::start(self, &input.bucket, &query).await?;
            while next.is_none() {
                next = match entries.next().await? {
                    None => break,
                    Some(Entry::Common(_)) if listed.len() == most => listed.last.clone(),
                    Some(Entry::Common(prefix)) => {
                        listed.last = Some((prefix.clone(), None));
                        listed.common.push(prefix);
                        None
                    }
                    Some(Entry::Object(..)) if listed.len() == most => listed.last.clone(),
                    Some(Entry::Object(key, info)) => {
                        let all = self.all_versions(&bucket, &key, info).await?;
                        listed.take(&bucket, all.into_iter(), most)
                    }
                };
            }
        }
        let (next_key, next_id) = next.unzip();
        Ok(S3Response::new(ListObjectVersionsOutput {
            common_prefixes: writing.prefixes(listed.common),
            delimiter: writing.maybe(input.delimiter),
            encoding_type: input.encoding_type,
            is_truncated: Some(next_key.is_some()),
            key_marker: Some(writing.text(input.key_marker.unwrap_or_default())),
            max_keys: i32::try_from(most).ok(),
            name: Some(input.bucket),
            next_key_marker: writing.maybe(next_key),
            next_version_id_marker: next_id.flatten(),
            prefix: Some(writing.text(query.prefix)),
            version_id_marker: input.version_id_marker,
            versions: Some(listed.versions),
            ..Default::default()
        }))
    }

    /// The versions of an object, newest first.
    async fn all_versions(
        &self,
        bucket: &Bucket,
        key: &str,
        info: FileInfo,
    ) -> S3Result<Vec<(String, FileInfo, bool)>> {
        if !bucket.versioning || info.versions == 0 || info.entry.kind == FileKind::Folder {
            return Ok(vec![(key.to_owned(), info, true)]);
        }
        match self.drive.versions(info.entry.path.clone()).await {
            Ok(view) => {
                let each = view.versions.into_iter().map(|version| {
                    let current = version.current;
                    (key.to_owned(), as_current(info.clone(), version), current)
                });
                Ok(each.collect())
            }
            // Removed meanwhile.
            Err(fault) if matches!(fault.code, "not_found" | "bad_path") => Ok(Vec::new()),
            Err(fault) => Err(error(fault, S3ErrorCode::NoSuchKey)),
        }
    }
}

/// Versions on a page.
struct Listed {
    writing: Writing,
    versions: Vec<ObjectVersion>,
    common: Vec<String>,
    /// The last entry, with the id of a version.
    last: Option<(String, Option<String>)>,
}

impl Listed {
    fn len(&self) -> usize {
        self.versions.len() + self.common.len()
    }

    /// Adds versions of one key. Tells where the next page goes on when they do not fit.
    fn take(
        &mut self,
        bucket: &Bucket,
        versions: impl Iterator<Item = (String, FileInfo, bool)>,
        most: usize,
    ) -> Option<(String, Option<String>)> {
        for (key, info, current) in versions {
            if self.len() == most {
                return self.last.clone();
            }
            let id = bucket.version_id(&info).unwrap_or_else(|| "null".to_owned());
            self.last = Some((key.clone(), Some(id.clone())));
            self.versions.push(ObjectVersion {
                e_tag: Some(etag_of(&info)),
                is_latest: Some(current),
                key: Some(self.writing.text(key)),
                last_modified: Some(modified(&info)),
                owner: Some(owner()),
                size: Some(size(&info)),
                storage_class: Some(ObjectVersionStorageClass::from_static(
                    ObjectVersionStorageClass::STANDARD,
                )),
                version_id: Some(id),
                ..Default::default()
            });
        }
        None
    }
}
