//! The bytes of files: whole or a range of them, out and in.
//!
//! Invariant: an answer has the bytes of one version of a file, exactly as many as its Content-Length
//! says; when they cannot be read to the end, the connection is cut and never looks complete.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use commonhold_client::types::{Attributes, FileInfo};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::names::disposition;
use crate::api::{ApiFault, ArchiveReader, NodeApi};
use crate::drive::{NewFile, OnlyIf, OpenFile, Replaced};
use crate::routes::{Answer, Calls, Params, Shared, bounded};
use crate::upload::{self, STALL_MAX};

/// Bytes of a download that are read at a time.
const PART_LEN: usize = 64 * 1024;
/// Longest content type that is kept with a file, bytes.
const CONTENT_TYPE_LEN_MAX: usize = 255;
/// The attribute that a file's content type is kept in.
const CONTENT_TYPE_KEY: &str = "content-type";
/// What the bytes of a file are when nobody said.
const BINARY: &str = "application/octet-stream";

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/v1/file", get(fetch).put(store))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchQuery {
    path: String,
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreQuery {
    path: String,
    modified_ms: Option<i64>,
    #[serde(default)]
    executable: bool,
    #[serde(default)]
    if_absent: bool,
    if_content: Option<String>,
}

async fn fetch(
    State(calls): Shared,
    Params(query): Params<FetchQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiFault> {
    let path = bounded("path", query.path)?;
    let (file, status, facts) = match select(&*calls.api, path, query.version, &headers).await? {
        Selected::Answer(answer) => return Ok(answer),
        Selected::File(file, status, facts) => (file, status, facts),
    };
    let kind = file.info.attributes.get(CONTENT_TYPE_KEY).and_then(|kind| HeaderValue::from_str(kind).ok());
    let kind = kind.unwrap_or(HeaderValue::from_static(BINARY));
    let shown = disposition(false, &file.info.entry.name);
    let mut response = (status, facts, body(file.content).await?).into_response();
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CONTENT_DISPOSITION, shown);
    Ok(response)
}

async fn store(
    State(calls): Shared,
    Params(query): Params<StoreQuery>,
    request: Request,
) -> Answer<FileInfo> {
    let StoreQuery { path, modified_ms, executable, if_absent, if_content } = query;
    let path = bounded("path", path)?;
    let only_if = match (if_absent, if_content) {
        (false, None) => OnlyIf::Always,
        (true, None) => OnlyIf::Absent,
        (false, Some(id)) => OnlyIf::Content(bounded("if_content", id)?),
        (true, Some(_)) => return Err(ApiFault::invalid("if_absent and if_content exclude each other")),
    };
    let len = announced_len(request.headers())?;
    let mut attributes = Attributes::new();
    if let Some(kind) = request.headers().get(CONTENT_TYPE) {
        let kind = kind.to_str().ok().filter(|kind| (1..=CONTENT_TYPE_LEN_MAX).contains(&kind.len()));
        let kind = kind.ok_or_else(|| ApiFault::invalid("this Content-Type cannot be kept"))?;
        attributes.insert(CONTENT_TYPE_KEY.to_owned(), kind.to_owned());
    }
    let file = NewFile { path, len, modified_ms, executable, attributes, only_if, replaced: Replaced::Kept };
    let content = upload::reader(request.into_body(), STALL_MAX);
    let api = calls.api.clone();
    calls.complete(async move { api.store(file, content).await }).await
}

/// How long the body will be.
pub(super) fn announced_len(headers: &HeaderMap) -> Result<u64, ApiFault> {
    // hyper refuses requests whose Content-Length is no number or stands beside chunks.
    let len = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    len.ok_or_else(|| ApiFault::invalid("the body needs a Content-Length"))
}

/// What a request for a file comes to.
pub(super) enum Selected {
    /// These bytes, with this status and these headers: all but those that say what the bytes are.
    File(Box<OpenFile>, StatusCode, HeaderMap),
    /// An answer without bytes.
    Answer(Response),
}

/// Opens what the request's conditions and its range leave of a file.
pub(super) async fn select(
    api: &dyn NodeApi,
    path: String,
    mut version: Option<u64>,
    headers: &HeaderMap,
) -> Result<Selected, ApiFault> {
    let mut wanted = range(headers);
    let conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_RANGE);
    if conditional || matches!(wanted, Wanted::Last(_)) {
        // No byte is fetched for this.
        let OpenFile { info, .. } = api.open(path.clone(), version, Some(0..0)).await?;
        if lists(headers, &info.content_id) {
            return Ok(Selected::Answer((StatusCode::NOT_MODIFIED, facts(&info)).into_response()));
        }
        if headers.get(IF_RANGE).is_some_and(|tag| tag.as_bytes() != quoted(&info.content_id).as_bytes()) {
            wanted = Wanted::All;
        }
        if let Wanted::Last(len) = wanted {
            let total = info.entry.bytes;
            wanted = Wanted::Part(if len == 0 { total..total } else { total.saturating_sub(len)..total });
        }
        // What is opened next is what was looked at.
        version = Some(info.version);
    }
    let part = match wanted {
        Wanted::Part(part) => Some(part),
        Wanted::All | Wanted::Last(_) => None,
    };
    let file = api.open(path, version, part.clone()).await?;
    let total = file.info.entry.bytes;
    let mut answer = facts(&file.info);
    let status = match part {
        None => StatusCode::OK,
        Some(part) if part.start >= total => {
            let mut response = ApiFault::new(
                "range",
                format!("the range begins behind the end of the file, which has {total} bytes"),
            )
            .into_response();
            response.headers_mut().insert(CONTENT_RANGE, header(format!("bytes */{total}")));
            response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            return Ok(Selected::Answer(response));
        }
        Some(_) => {
            let Range { start, end } = file.range;
            answer.insert(CONTENT_RANGE, header(format!("bytes {start}-{}/{total}", end.saturating_sub(1))));
            StatusCode::PARTIAL_CONTENT
        }
    };
    answer.insert(CONTENT_LENGTH, HeaderValue::from(file.range.end - file.range.start));
    Ok(Selected::File(Box::new(file), status, answer))
}

/// The reader as a body. An error of its first bytes is told in full; after them the answer can only be
/// cut, which hyper does when the stream yields an error.
pub(super) async fn body(content: ArchiveReader) -> Result<Body, ApiFault> {
    let mut parts = ReaderStream::with_capacity(content, PART_LEN);
    let first = parts.next().await.transpose().map_err(|error| {
        error.downcast::<ApiFault>().unwrap_or_else(|error| ApiFault::new("unavailable", error.to_string()))
    })?;
    let parts = stream::iter(first.map(Ok)).chain(parts).inspect_err(|error| {
        tracing::warn!(%error, "a download was cut because its data could not be read");
    });
    Ok(Body::from_stream(parts))
}

/// Headers that say which bytes these are.
fn facts(info: &FileInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, header(quoted(&info.content_id)));
    headers.insert(HeaderName::from_static("commonhold-version"), HeaderValue::from(info.version));
    if let Some(modified) = modified(info.entry.modified_ms) {
        headers.insert(LAST_MODIFIED, header(httpdate::fmt_http_date(modified)));
    }
    headers
}

/// A time that can stand in a header: from 1970 to 9999.
fn modified(ms: i64) -> Option<SystemTime> {
    const END_MS: u64 = 253_402_300_800_000;
    let ms = u64::try_from(ms).ok().filter(|ms| *ms < END_MS)?;
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

fn quoted(id: &str) -> String {
    format!("\"{id}\"")
}

/// Text of which every character may stand in a header.
fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Does If-None-Match name this content?
fn lists(headers: &HeaderMap, content_id: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).any(|tags| {
        tags.split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == quoted(content_id))
    })
}

/// Which bytes are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// So many at the end.
    Last(u64),
}

/// The Range header. As RFC 9110 says, one of another form than a single range of bytes is passed over.
fn range(headers: &HeaderMap) -> Wanted {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Wanted::All };
    range.to_str().ok().and_then(single).unwrap_or(Wanted::All)
}

fn single(range: &str) -> Option<Wanted> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |digits: &str| {
        // A number beyond all files is one beyond this file.
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => Some(Wanted::Last(number(last)?)),
        (first, "") => Some(Wanted::Part(number(first)?..u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| Wanted::Part(first..last.saturating_add(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn asked(text: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
        range(&headers)
    }

    #[test]
    fn ranges_of_one_form_are_understood() {
        assert_eq!(asked("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(asked("Bytes=5-"), Wanted::Part(5..u64::MAX));
        assert_eq!(asked("bytes=-7"), Wanted::Last(7));
        assert_eq!(asked("bytes=1-99999999999999999999999"), Wanted::Part(1..u64::MAX));
        for other in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=0x1-2",
        ] {
            assert_eq!(asked(other), Wanted::All, "{other}");
        }
        let mut two = HeaderMap::new();
        two.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        two.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(range(&two), Wanted::All);
    }

    #[test]
    fn times_beyond_a_header_are_left_out() {
        assert!(modified(0).is_some() && modified(253_402_300_799_999).is_some());
        assert!(modified(-1).is_none() && modified(253_402_300_800_000).is_none());
        assert!(modified(i64::MAX).is_none());
    }

    proptest! {
        #[test]
        fn no_range_header_is_too_strange(text in "[ -~]{0,40}") {
            asked(&text);
            asked(&format!("bytes={text}"));
        }
    }
}
