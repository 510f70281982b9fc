//! Lets requests in (spec/s3.md, "Who may call" and "What is not supported").
//!
//! Invariant: an operation begins only for a request that is signed with SigV4 by a key of the owner and
//! names nothing that is passed over. Operations, query parameters and headers are let in by name, so that
//! what nobody thought of is refused. Bodies are timed, and drained when they are not wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::faults::{invalid, not_implemented};
use super::words::{drop_odd_range, with_message};
use super::{Bridge, OWNER, S3Keys};
use crate::upload::{Draining, STALL_MAX, timed};

/// Longest XML body: 10,000 parts with all their checksums, or 1,000 keys of 1 KiB, escaped.
const XML_LEN_MAX: usize = 8 << 20;
/// How far a client's clock may be away, seconds.
const SKEW_SECONDS_MAX: u32 = 15 * 60;

/// What is done. All else that s3s knows is not.
const OPERATIONS: [&str; 30] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketTagging",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "GetBucketLocation",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutObject",
    "PutObjectTagging",
    "UploadPart",
    "UploadPartCopy",
];

/// Query parameters that are looked at, or that decide nothing.
const PARAMETERS: [&str; 43] = [
    "attributes",
    "bucket-region",
    "continuation-token",
    "delete",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "location",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partnumber",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "start-after",
    "tagging",
    "upload-id-marker",
    "uploadid",
    "uploads",
    "version-id-marker",
    "versionid",
    "versioning",
    "versions",
    "x-amz-algorithm",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
    "x-id",
];

/// Headers that ask for something that is not done, by how their names begin.
const REFUSED: [&str; 12] = [
    "x-amz-grant-",
    "x-amz-server-side-encryption-",
    "x-amz-copy-source-server-side-encryption-",
    "x-amz-object-lock-",
    "x-amz-bucket-object-lock-",
    "x-amz-bypass-governance-retention",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "x-amz-mfa",
    "x-amz-if-match-",
    "x-amz-rename-source",
    "x-amz-optional-object-attributes",
];

/// The routes: one, behind which s3s finds the operation.
pub(super) fn router(bridge: Bridge, keys: Arc<dyn S3Keys>) -> Router {
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_LEN_MAX;
    config.presigned_url_max_skew_time_secs = SKEW_SECONDS_MAX;
    let mut builder = S3ServiceBuilder::new(bridge);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Keys(keys));
    builder.set_access(Gate);
    Router::new().fallback(answer).with_state(builder.build())
}

/// Whether a request has been admitted, which decides how much of its body is drained.
#[derive(Clone)]
struct Admitted(Arc<AtomicBool>);

async fn answer(State(service): State<S3Service>, request: Request) -> Response {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let admitted = Admitted(Arc::default());
    let (request, expected) = Draining::wrap_undecided(request, admitted.0.clone());
    let (mut parts, body) = request.into_parts();
    let body = timed(body, STALL_MAX);
    let mut response = match old_ways(&parts) {
        Some(error) => error_response(error),
        None => {
            let query = parts.uri.query().unwrap_or_default();
            drop_odd_range(&mut parts.headers, query);
            parts.extensions.insert(admitted);
            let request = Request::from_parts(parts, s3s::Body::http_body_unsync(body));
            match service.call(request).await {
                Ok(response) => response.map(Body::new),
                Err(_) => error_response(S3Error::new(S3ErrorCode::InternalError)),
            }
        }
    };
    expected.close_if_unasked(&mut response);
    let mut response = with_message(response).await;
    let headers = response.headers_mut();
    let number = format!("{:016X}", NUMBER.fetch_add(1, Ordering::Relaxed));
    headers.extend(HeaderValue::try_from(number).ok().map(|value| (AMZ_REQUEST_ID, value)));
    // What is stored here may be anything, and a browser with a presigned URL is to run none of it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    response
}

const AMZ_REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-amz-request-id");

/// Refuses what s3s would let in: signatures of version 2, which have no bound on their age, and forms,
/// whose fields are read before anybody is asked who they are.
fn old_ways(parts: &axum::http::request::Parts) -> Option<S3Error> {
    let authorization = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let query = parts.uri.query().unwrap_or_default();
    let in_query = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    if authorization.is_some_and(|it| !it.starts_with(b"AWS4-HMAC-SHA256"))
        || in_query("Signature")
        || in_query("AWSAccessKeyId")
    {
        return Some(not_implemented("requests are signed with AWS4-HMAC-SHA256 (signature version 4) here"));
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if parts.method == Method::POST && content_type.to_ascii_lowercase().starts_with(b"multipart/form-data") {
        return Some(not_implemented("objects are put with PUT here, and not with a form"));
    }
    None
}

fn error_response(error: S3Error) -> Response {
    match error.to_http_response() {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The owner's keys.
struct Keys(Arc<dyn S3Keys>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.secret_of(access_key).await {
            Some(secret) => Ok(SecretKey::from(secret.as_str())),
            None => Err(S3Error::new(S3ErrorCode::InvalidAccessKeyId)),
        }
    }
}

/// Who may go on, and with what.
struct Gate;

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            let why = "requests must be signed with a key made by `commonhold s3 key new`";
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, why));
        }
        if let Some(Admitted(admitted)) = cx.extensions_mut().get() {
            admitted.store(true, Ordering::Relaxed);
        }
        let operation = cx.s3_op().name();
        if !OPERATIONS.contains(&operation) {
            return Err(not_implemented(format!("{operation} is not supported")));
        }
        let len = cx.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        if !matches!(operation, "PutObject" | "UploadPart")
            && len.is_some_and(|len: u64| len > XML_LEN_MAX as u64)
        {
            return Err(S3Error::new(S3ErrorCode::MaxMessageLengthExceeded));
        }
        check_query(cx)?;
        check_headers(cx, operation)
    }
}

fn check_query(cx: &S3AccessContext<'_>) -> S3Result<()> {
    let query = cx.uri().query().unwrap_or_default();
    let names: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    let names: Vec<_> = names.iter().map(|pair| pair.split('=').next().unwrap_or_default()).collect();
    for name in &names {
        let lower = name.to_ascii_lowercase();
        let known = PARAMETERS.contains(&lower.as_str())
            // Some clients repeat headers here when they presign; S3 does not look at these either.
            || lower.starts_with("x-amz-checksum-")
            || lower.starts_with("x-amz-sdk-");
        if !known {
            return Err(not_implemented(format!("the query parameter {name:?} is not supported")));
        }
    }
    let has = |wanted: &str| names.contains(&wanted);
    if cx.method() == Method::PUT && has("partNumber") != has("uploadId") {
        return Err(invalid("a part needs both uploadId and partNumber"));
    }
    Ok(())
}

fn check_headers(cx: &S3AccessContext<'_>, operation: &str) -> S3Result<()> {
    for (name, value) in cx.headers() {
        let name = name.as_str();
        let value = value.to_str().unwrap_or_default();
        let fits = match name {
            "x-amz-acl" => matches!(value, "private" | "bucket-owner-full-control"),
            "x-amz-server-side-encryption" => value == "AES256",
            "x-amz-storage-class" if value != "STANDARD" => {
                return Err(S3Error::with_message(
                    S3ErrorCode::InvalidStorageClass,
                    "there is STANDARD alone",
                ));
            }
            "x-amz-security-token" => return Err(S3Error::new(S3ErrorCode::InvalidToken)),
            "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner" if value != OWNER => {
                let why = format!("all buckets belong to {OWNER:?} here");
                return Err(S3Error::with_message(S3ErrorCode::AccessDenied, why));
            }
            "if-match" | "if-none-match" => operation != "CopyObject" && operation != "UploadPart",
            _ => !REFUSED.iter().any(|refused| name.starts_with(refused)),
        };
        if !fits {
            return Err(not_implemented(format!("{name}: {value} is not supported with {operation}")));
        }
    }
    Ok(())
}
