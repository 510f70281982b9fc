//! Request bodies: how they become readers, and what happens to the rest of one that nobody wants.
//!
//! Invariant: a reader ends cleanly only when the client ended its body; a body that is dropped
//! before its end is read on for a bounded time and number of bytes. Without that, closing a
//! socket that still has unread bytes resets the connection, and a client that sends before it
//! reads would see the reset instead of the sentence that says what went wrong.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use futures::{Stream, StreamExt};
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::io::StreamReader;

use crate::api::{ApiFault, ArchiveReader};

/// An upload may pause this long while the node waits for it: a user may have stopped the sending
/// program or its source may be slow, but a forgotten one does not hold a connection for ever.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(600);
/// A body that is read whole must be there within this time after its headers.
const WHOLE_TIME_MAX: Duration = Duration::from_secs(10);

/// How much of an unwanted body is read before the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drain {
    bytes: u64,
    time: Duration,
}

impl Drain {
    /// Of a caller with the token: ten seconds leave even slow clients the time to look at the
    /// answer; the bytes are what loopback carries in about that time.
    pub(crate) const ADMITTED: Self = Self { bytes: 4 << 30, time: Duration::from_secs(10) };
    /// Of a caller without it: enough for a client with an old token to read that it is refused.
    pub(crate) const REFUSED: Self = Self { bytes: 16 << 20, time: Duration::from_secs(2) };
}

/// A request body that drains itself when it is dropped before its end.
pub(crate) struct Draining {
    /// `None` once the end or an error was seen.
    body: Option<Body>,
    limit: Drain,
    /// Where the caller is told apart only after the body was wrapped: whether it was admitted.
    admitted: Option<Arc<AtomicBool>>,
    /// A body that was not asked for is not drained.
    expected: Expected,
    /// Taken at the start: a reader may be dropped on a thread outside the runtime.
    runtime: Handle,
}

impl Draining {
    /// Wraps the body of a request; must be called inside the runtime.
    pub(crate) fn wrap_request(request: Request, limit: Drain) -> (Request, Expected) {
        let expected = Expected::of(&request);
        let request = request.map(|body| Self::wrapped(body, limit, None, expected.clone()));
        (request, expected)
    }

    /// The same for a caller of whom it is known later whether it is admitted.
    pub(crate) fn wrap_undecided(request: Request, admitted: Arc<AtomicBool>) -> (Request, Expected) {
        let expected = Expected::of(&request);
        let wrap = |body| Self::wrapped(body, Drain::REFUSED, Some(admitted), expected.clone());
        let request = request.map(wrap);
        (request, expected)
    }

    fn wrapped(body: Body, limit: Drain, admitted: Option<Arc<AtomicBool>>, expected: Expected) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body: Some(body), limit, admitted, expected, runtime: Handle::current() })
    }
}

/// Whether a client sends its body only when it is asked to, and has been asked.
///
/// One that is answered without having been asked sends no body, but may have begun to. Nobody can tell what
/// comes next on such a connection, so it is closed.
#[derive(Clone)]
pub(crate) struct Expected {
    expects: bool,
    asked: Arc<AtomicBool>,
}

impl Expected {
    fn of(request: &Request) -> Self {
        let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        Self { expects: request.headers().get(EXPECT).is_some_and(expects), asked: Arc::default() }
    }

    fn unasked(&self) -> bool {
        self.expects && !self.asked.load(Ordering::Relaxed)
    }

    /// Ends the connection with this answer, if need be.
    pub(crate) fn close_if_unasked<B>(&self, response: &mut Response<B>) {
        if self.unasked() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl HttpBody for Draining {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.expected.asked.store(true, Ordering::Relaxed);
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if body.is_end_stream() || self.expected.unasked() {
            return;
        }
        let admitted = self.admitted.as_ref().is_some_and(|admitted| admitted.load(Ordering::Relaxed));
        let Drain { bytes, time } = if admitted { Drain::ADMITTED } else { self.limit };
        // Bounded by `time`, and one for each connection: no need to keep track of it.
        self.runtime.spawn(tokio::time::timeout(time, async move {
            let mut parts = body.into_data_stream();
            let mut drained = 0;
            while let Some(Ok(part)) = parts.next().await {
                drained += part.len() as u64;
                if drained > bytes {
                    break;
                }
            }
        }));
    }
}

/// Data of a body that fails when it stalls or breaks off.
struct Parts {
    body: BodyDataStream,
    /// Runs only while the node waits for the client, not while the client waits for the node.
    stall: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    ended: bool,
}

impl Stream for Parts {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(part) = self.body.poll_next_unpin(cx) {
            self.stall = None;
            self.ended = !matches!(part, Some(Ok(_)));
            return Poll::Ready(part.map(|part| {
                // Not UnexpectedEof: a careless reader might take that for an end.
                part.map_err(|error| {
                    io::Error::new(io::ErrorKind::ConnectionAborted, format!("the upload broke off: {error}"))
                })
            }));
        }
        let stall_max = self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        ready!(stall.as_mut().poll(cx));
        self.ended = true;
        let message = format!("nothing came for {} s: the upload was given up", stall_max.as_secs());
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, message))))
    }
}

/// The body as a reader. Reading is what makes the client send on: nothing is read ahead of it
/// but one buffer of the connection.
pub(crate) fn reader(body: Body, stall_max: Duration) -> ArchiveReader {
    Box::pin(StreamReader::new(Parts { body: body.into_data_stream(), stall: None, stall_max, ended: false }))
}

/// The same as a body.
pub(crate) fn timed(body: Body, stall_max: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::from_stream(Parts { body: body.into_data_stream(), stall: None, stall_max, ended: false })
}

/// Reads a small body whole.
pub(crate) async fn read_whole(body: Body, len_max: usize) -> Result<Vec<u8>, ApiFault> {
    let deadline = Instant::now() + WHOLE_TIME_MAX;
    let mut whole = Vec::new();
    let mut parts = body.into_data_stream();
    loop {
        let part = tokio::time::timeout_at(deadline, parts.next()).await.map_err(|_| {
            let seconds = WHOLE_TIME_MAX.as_secs();
            ApiFault::new("timeout", format!("the request's body was not complete after {seconds} s"))
        })?;
        match part {
            None => return Ok(whole),
            Some(Ok(part)) if whole.len() + part.len() <= len_max => whole.extend_from_slice(&part),
            Some(Ok(_)) => {
                return Err(ApiFault::new(
                    "too_large",
                    format!("this endpoint takes a body of at most {len_max} bytes"),
                ));
            }
            Some(Err(error)) => {
                return Err(ApiFault::new("interrupted", format!("the request's body broke off: {error}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::stream;
    use tokio::io::AsyncReadExt;

    use super::*;

    const PART: usize = 1000;

    fn unexpected() -> Expected {
        Expected { expects: false, asked: Arc::default() }
    }

    /// A body of endless parts, and how many bytes were taken from it.
    fn endless() -> (Body, Arc<AtomicU64>) {
        let taken = Arc::new(AtomicU64::new(0));
        let count = taken.clone();
        let parts = stream::repeat_with(move || {
            count.fetch_add(PART as u64, Ordering::SeqCst);
            Ok::<_, io::Error>(Bytes::from_static(&[7; PART]))
        });
        (Body::from_stream(parts), taken)
    }

    #[tokio::test]
    async fn attack_37_an_upload_that_stalls_fails_and_does_not_end() {
        let parts = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"abc"))]).chain(stream::pending());
        let mut reader = reader(Body::from_stream(parts), Duration::from_millis(50));
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((error.kind(), &read[..]), (io::ErrorKind::TimedOut, &b"abc"[..]));
    }

    #[tokio::test]
    async fn a_slow_node_is_no_stalled_upload() {
        let (body, _) = endless();
        let mut reader = reader(body, Duration::from_millis(20));
        let mut part = [0; PART];
        for _ in 0..3 {
            reader.read_exact(&mut part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }

    #[tokio::test]
    async fn a_broken_upload_is_an_error_of_a_kind_that_nobody_takes_for_an_end() {
        let parts = stream::iter([Ok(Bytes::from_static(b"abc")), Err(io::Error::other("cut"))]);
        let mut reader = reader(Body::from_stream(parts), STALL_MAX);
        let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn attack_37_draining_is_bounded_in_bytes() {
        let (body, taken) = endless();
        drop(Draining::wrapped(
            body,
            Drain { bytes: 10 * PART as u64, time: Duration::from_secs(60) },
            None,
            unexpected(),
        ));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(taken.load(Ordering::SeqCst), 11 * PART as u64);
    }

    #[tokio::test]
    async fn attack_37_draining_is_bounded_in_time() {
        struct Gone(Arc<AtomicU64>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(1, Ordering::SeqCst);
            }
        }
        let gone = Arc::new(AtomicU64::new(0));
        let held = Gone(gone.clone());
        let silent = stream::pending::<io::Result<Bytes>>().map(move |part| {
            let _ = &held;
            part
        });
        let drain = Drain { bytes: 1, time: Duration::from_millis(50) };
        drop(Draining::wrapped(Body::from_stream(silent), drain, None, unexpected()));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(gone.load(Ordering::SeqCst), 0, "it waits a little");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(gone.load(Ordering::SeqCst), 1, "and not for ever");
    }

    #[tokio::test]
    async fn a_whole_body_is_bounded() {
        let ten = || Body::from(vec![b'x'; 10]);
        assert_eq!(read_whole(ten(), 10).await.unwrap().len(), 10);
        assert_eq!(read_whole(ten(), 9).await.unwrap_err().code, "too_large");
        let (body, taken) = endless();
        assert_eq!(read_whole(body, 5 * PART).await.unwrap_err().code, "too_large");
        assert_eq!(taken.load(Ordering::SeqCst), 6 * PART as u64);
    }
}
