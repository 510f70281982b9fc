//! What S3's errors mean, in sentences, and headers that S3 does not look at.
//!
//! Invariant: every error that has a body says in it what happened, also those that s3s makes and that carry
//! a code alone. What an error says already stays as it is. Not here: which error a fault is (`faults`).

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

/// Longest body of an error that is looked at, bytes. They have some hundred.
const ERROR_LEN_MAX: usize = 64 << 10;

/// What a code means, for a person.
fn sentence(code: &str) -> String {
    let known = match code {
        "AccessDenied" => {
            "The request is not signed with a key that may do this, or the time that it was good for is over."
        }
        "BadDigest" => "The bytes that came have another checksum than the request says.",
        "BucketAlreadyOwnedByYou" => "There is a bucket of this name already, and it is yours.",
        "BucketNotEmpty" => "The bucket has objects, versions or begun uploads: remove them first.",
        "EntityTooLarge" => "The body is longer than this operation takes.",
        "EntityTooSmall" => "A part that is not the last one has less than 5 MiB.",
        "IncompleteBody" => "The body ended before as many bytes had come as were announced.",
        "InternalError" => "Something went wrong here that is no fault of the request: see the node's log.",
        "InvalidAccessKeyId" => {
            "There is no such access key: `commonhold s3 key list` shows those that there are."
        }
        "InvalidArgument" => "A parameter or a header has a value that this operation does not take.",
        "InvalidBucketName" => "A bucket's name has 3 to 63 small letters, digits, dots and hyphens.",
        "InvalidDigest" => "A checksum in the request is not one of its kind.",
        "InvalidPart" => "A part that is named was not uploaded, or has another ETag.",
        "InvalidPartOrder" => "The parts must be listed by their numbers, ascending.",
        "InvalidRange" => {
            "The object has none of the bytes that were asked for: the range begins behind its end."
        }
        "InvalidRequest" => "The request cannot be carried out as it is put.",
        "InvalidToken" => "Keys here have no session tokens: leave the token out.",
        "MalformedXML" => "The body is not the XML document that this operation takes.",
        "MaxMessageLengthExceeded" => "The body is longer than this operation takes.",
        "MethodNotAllowed" => {
            "What is named cannot be asked for in this way: it may be a mark that the object was removed."
        }
        "MissingContentLength" => "The request must say how long its body is, with Content-Length.",
        "NoSuchBucket" => "There is no bucket of this name.",
        "NoSuchKey" => "There is no object of this key in the bucket.",
        "NoSuchTagSet" => "There are no tags on this.",
        "NoSuchUpload" => "There is no such upload: it was completed or given up, or its id is wrong.",
        "NoSuchVersion" => "The object has no such version.",
        "NotModified" => "The object is as the client has it.",
        "PreconditionFailed" => "A condition in the request's headers (If-Match and the like) does not hold.",
        "RequestTimeTooSkewed" => "The client's clock is more than 15 minutes away from the one here.",
        "RequestTimeout" => "The body did not come for too long.",
        "SignatureDoesNotMatch" => {
            "The signature is not what the secret key gives for this request: check the secret key, and that nothing on the way changes headers or the path."
        }
        _ => return in_words(code),
    };
    known.to_owned()
}

/// A code that nobody has put into words: `NoSuchThing` becomes "No such thing."
fn in_words(code: &str) -> String {
    let mut words = String::with_capacity(code.len() + 8);
    for c in code.chars().filter(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
            words.push(c.to_ascii_lowercase());
        } else {
            words.push(c);
        }
    }
    words.push('.');
    words
}

/// The answer, with a sentence in it if it is an error that has none.
pub(super) async fn with_message(response: Response) -> Response {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let is_short = response.body().size_hint().exact().is_some_and(|len| len <= ERROR_LEN_MAX as u64);
    if !is_error || !is_short {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It lies in memory, so this fails for nothing but its length, which was looked at.
    let body = to_bytes(body, ERROR_LEN_MAX).await.unwrap_or_default();
    let Some(whole) = std::str::from_utf8(&body).ok().and_then(completed) else {
        return Response::from_parts(parts, Body::from(body));
    };
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    }
    Response::from_parts(parts, Body::from(whole))
}

/// An error's document with a sentence behind its code; none if it has one, or is none.
fn completed(xml: &str) -> Option<String> {
    const END: &str = "</Code>";
    if xml.contains("<Message>") || !xml.contains("<Error>") {
        return None;
    }
    let (_, behind) = xml.split_once("<Code>")?;
    let (code, _) = behind.split_once(END)?;
    let (before, rest) = xml.split_once(END)?;
    Some(format!("{before}{END}<Message>{}</Message>{rest}", sentence(code)))
}

/// Takes a `Range` header away that is none of one range of bytes: S3 and RFC 9110 pass such a one over and
/// answer with everything. One that is signed has to stay, because the signature would not match without it.
pub(super) fn drop_odd_range(headers: &mut HeaderMap, query: &str) {
    let Some(range) = headers.get(header::RANGE) else { return };
    let is_understood = range.to_str().is_ok_and(|range| s3s::dto::Range::parse(range).is_ok());
    let authorization = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    if !is_understood && !signs_range(authorization.unwrap_or_default(), query) {
        headers.remove(header::RANGE);
    }
}

/// Whether `range` is among the signed headers, which stand in the `Authorization` header or in the URL.
fn signs_range(authorization: &str, query: &str) -> bool {
    let of_header = authorization.split([',', ' ']).find_map(|field| field.strip_prefix("SignedHeaders="));
    let of_query = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-SignedHeaders="));
    let in_query = of_query.is_some_and(|names| {
        names.split(';').flat_map(|names| names.split("%3B")).flat_map(|it| it.split("%3b")).any(is_range)
    });
    in_query || of_header.is_some_and(|names| names.split(';').any(is_range))
}

fn is_range(name: &str) -> bool {
    name.eq_ignore_ascii_case("range")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_code_gets_a_sentence_and_a_sentence_stays() {
        let bare = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><RequestId>1</RequestId></Error>";
        let whole = completed(bare).unwrap();
        assert!(
            whole.contains(
                "</Code><Message>There is no object of this key in the bucket.</Message><RequestId>"
            )
        );
        assert_eq!(completed(&whole), None);
        assert_eq!(completed("<ListBucketResult><Code>x</Code></ListBucketResult>"), None);
        assert_eq!(completed("<Error><Code>NoSuchKey"), None);
        assert_eq!(sentence("NoSuch<Thing"), "No such thing.");
    }

    #[test]
    fn only_ranges_that_nobody_understands_or_has_signed_are_dropped() {
        let dropped = |range: &str, authorization: &str, query: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().unwrap());
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
            drop_odd_range(&mut headers, query);
            !headers.contains_key(header::RANGE)
        };
        let (plain, signed) = (
            "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;x-amz-date, Signature=1",
            "AWS4-HMAC-SHA256 Credential=x,SignedHeaders=host;range,Signature=1",
        );
        for odd in ["bytes=3-1", "bytes=0-1,3-4", "items=0-1", "bytes=", "x"] {
            assert!(dropped(odd, plain, ""), "{odd}");
            assert!(!dropped(odd, signed, ""), "{odd}");
            assert!(!dropped(odd, "", "a=b&X-Amz-SignedHeaders=host%3Brange"), "{odd}");
            assert!(dropped(odd, "", "X-Amz-SignedHeaders=host"), "{odd}");
        }
        for good in ["bytes=0-1", "bytes=5-", "bytes=-5"] {
            assert!(!dropped(good, plain, ""), "{good}");
        }
    }
}
