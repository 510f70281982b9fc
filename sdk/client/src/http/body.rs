//! Bytes on their way: bodies of requests and answers that are streams.
//!
//! Invariant: a body whose source fails never ends cleanly, in either direction, and one that nobody wants
//! any more is read no further.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::{Body, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio_util::bytes::Bytes;
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Archive, ClientError, innermost, json};

/// Bytes of a body that are read at a time.
const READ_LEN: usize = 256 * 1024;

/// Sends what the reader gives as the body of a call, and reads its JSON answer.
pub(super) async fn sent<T: DeserializeOwned>(
    call: RequestBuilder,
    content: impl AsyncRead + Send + 'static,
) -> Result<T, ClientError> {
    let failure = Failure::default();
    // Dropped with the answer, or with this future: either way the content is read no further.
    let (wanted, unwanted) = oneshot::channel::<()>();
    let body = while_wanted(content, failure.clone(), unwanted);
    let stored = json(call.body(Body::wrap_stream(body))).await;
    drop(wanted);
    match failure.take() {
        // The cause, not what the cut connection looked like.
        Some(error) if stored.is_err() => Err(ClientError::Io(error)),
        _ => stored,
    }
}

/// An answer's body as a reader.
pub(super) fn received(answer: Response) -> Archive {
    let bytes = answer.bytes_stream().map_err(|error| {
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            format!(
                "the node stopped the download before it was complete; what has arrived is not the whole, \
                 and the node's log has the reason ({})",
                innermost(&error)
            ),
        )
    });
    Box::pin(StreamReader::new(bytes))
}

/// The bytes of an archive until `unwanted` completes; then an error, which makes hyper close the
/// connection. Left alone, it would go on sending after an early refusal; and were the stream
/// merely ended there, a part would look like the whole.
fn while_wanted(
    archive: impl AsyncRead + Send + 'static,
    failure: Failure,
    unwanted: oneshot::Receiver<()>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let parts = ReaderStream::with_capacity(Box::pin(archive), READ_LEN)
        .inspect_err(move |error| failure.note(error));
    stream::unfold((parts, unwanted), |(mut parts, mut unwanted)| async move {
        // In this order: an archive that is always ready must not hide that it is unwanted.
        let part = match select(&mut unwanted, parts.next()).await {
            Either::Left(_) => Err(io::Error::other("the node has answered already")),
            Either::Right((part, _)) => part?,
        };
        Some((part, (parts, unwanted)))
    })
}

/// Where a failed archive leaves its error, which would otherwise be lost inside reqwest.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn note(&self, error: &io::Error) {
        let copy = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
