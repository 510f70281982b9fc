//! An upload's data, checked on its way (spec/s3.md, "Checksums").
//!
//! Invariant: the last bytes of an upload are given on only when everything that the client said of it has
//! been found right: its MD5, its checksum in a header or behind the data, its signature. So what is wrong
//! is never stored.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use futures::Stream;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders};

use super::checksums::{Algorithm, Claims, Sum};
use super::faults::invalid;

/// What was found, shared between an upload's reader and whoever stores it.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    error: Option<S3Error>,
    sum: Option<Sum>,
}

impl Verdict {
    fn with<T>(&self, change: impl FnOnce(&mut Found) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the upload was refused.
    pub(super) fn error(&self) -> Option<S3Error> {
        self.with(|found| found.error.take())
    }

    /// The checksum that was found right.
    pub(super) fn sum(&self) -> Option<Sum> {
        self.with(|found| found.sum.clone())
    }
}

/// An upload's data, checked.
pub(super) struct Checked {
    source: StreamingBlob,
    /// Given on when what follows it has been seen.
    held: Option<Bytes>,
    claims: Claims,
    md5: Option<Md5>,
    hasher: Option<ChecksumHasher>,
    verdict: Verdict,
    ended: bool,
}

impl Checked {
    pub(super) fn new(source: StreamingBlob, claims: Claims) -> Self {
        Self {
            source,
            held: None,
            md5: claims.md5.map(|_| Md5::new()),
            hasher: claims.sum.as_ref().map(|(algorithm, _)| algorithm.hasher()),
            claims,
            verdict: Verdict::default(),
            ended: false,
        }
    }

    /// Where the outcome will stand.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// The checksum that the client named before it sent anything. It is right if all data come through.
    pub(super) fn claimed(&self) -> Option<Sum> {
        let (algorithm, value) = self.claims.sum.as_ref()?;
        Some(Sum { algorithm: *algorithm, composite: false, value: value.clone()? })
    }

    /// The algorithm of the checksum that comes with the data.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.claims.sum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    fn update(&mut self, data: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(data);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(data);
        }
    }

    fn judge(&mut self) -> S3Result<()> {
        let bad = |what: &str| {
            let why = format!("the {what} of what arrived is not what the client says it is");
            Err(S3Error::with_message(S3ErrorCode::BadDigest, why))
        };
        if let (Some(md5), Some(claimed)) = (self.md5.take(), self.claims.md5)
            && md5.finalize() != claimed
        {
            return bad("MD5");
        }
        let (Some(hasher), Some((algorithm, claimed))) = (self.hasher.take(), self.claims.sum.take()) else {
            return Ok(());
        };
        let claimed = match claimed {
            Some(claimed) => claimed,
            None => {
                let name = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
                let trailers = self.claims.trailers.as_ref().and_then(TrailingHeaders::take);
                let value = trailers.and_then(|all| all.get(&name)?.to_str().ok().map(str::to_owned));
                value.ok_or_else(|| invalid(format!("{name} was announced and did not come")))?
            }
        };
        let found = algorithm.take(&mut hasher.finalize());
        if found.as_deref() != Some(claimed.as_str()) {
            return bad(algorithm.name());
        }
        let sum = Sum { algorithm, composite: false, value: claimed };
        self.verdict.with(|found| found.sum = Some(sum));
        Ok(())
    }

    fn fail(&mut self, error: S3Error) -> io::Error {
        self.ended = true;
        self.held = None;
        let why = error.message().unwrap_or("the upload is not what the client says it is").to_owned();
        self.verdict.with(|found| found.error = Some(error));
        io::Error::other(why)
    }
}

/// Why a body broke off. The types behind it have no names outside of their crate.
fn broken(error: &StdError) -> S3Error {
    let text = error.to_string();
    let code = if text.contains("Sha256Mismatch") {
        S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into())
    } else if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else if text.contains("given up") {
        S3ErrorCode::RequestTimeout
    } else {
        S3ErrorCode::IncompleteBody
    };
    let mut broken = S3Error::with_message(code, format!("the upload cannot be taken: {text}"));
    if broken.status_code().is_none() {
        broken.set_status_code(hyper::StatusCode::BAD_REQUEST);
    }
    broken
}

impl Stream for Checked {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.source).poll_next(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.update(&data);
                    if let Some(before) = self.held.replace(data) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(error)) => {
                    let error = self.fail(broken(&error));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    if let Err(error) = self.judge() {
                        let error = self.fail(error);
                        return Poll::Ready(Some(Err(error)));
                    }
                    self.ended = true;
                }
            }
        }
        Poll::Ready(self.held.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::{StreamExt, stream};

    use super::*;

    fn blob(parts: &[&'static [u8]]) -> StreamingBlob {
        let parts: Vec<_> = parts.iter().map(|part| Ok::<_, io::Error>(Bytes::from_static(part))).collect();
        StreamingBlob::wrap(stream::iter(parts))
    }

    fn claims(algorithm: Algorithm, value: &str) -> Claims {
        Claims { sum: Some((algorithm, Some(value.to_owned()))), ..Claims::default() }
    }

    /// Checksums of "123456789" from the catalogues of CRCs and from sha1sum and sha256sum.
    const KNOWN: [(Algorithm, &str); 5] = [
        (Algorithm::Crc32, "y/Q5Jg=="),
        (Algorithm::Crc32c, "4waSgw=="),
        (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
        (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
        (Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];

    #[tokio::test]
    async fn right_checksums_let_all_pass_and_wrong_ones_not_the_end() {
        for (algorithm, value) in KNOWN {
            let mut checked = Checked::new(blob(&[b"1234", b"", b"56789"]), claims(algorithm, value));
            let verdict = checked.verdict();
            let mut all = Vec::new();
            while let Some(part) = checked.next().await {
                all.extend_from_slice(&part.unwrap());
            }
            assert_eq!(all, b"123456789");
            assert_eq!(verdict.sum().unwrap().value, value);
            let mut wrong = Checked::new(blob(&[b"1234", b"56788"]), claims(algorithm, value));
            let verdict = wrong.verdict();
            assert_eq!(wrong.next().await.unwrap().unwrap(), &b"1234"[..]);
            assert!(wrong.next().await.unwrap().is_err());
            assert!(wrong.next().await.is_none());
            assert_eq!(verdict.error().unwrap().code(), &S3ErrorCode::BadDigest);
        }
    }
}
