//! What browsers fetch under tickets: how far each download is, for whoever shows that, and how it is ended.
//!
//! Invariant: at most [`DOWNLOADS_MAX`] are known, and one that has ended is forgotten after [`KEPT`];
//! `done` is said only of an answer whose bytes were all handed to the connection. An id opens nothing. Not
//! here: who may fetch what ([`tickets`](super::tickets)).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use bytes::Bytes;
use commonhold_client::types::{DownloadState, DownloadView, DownloadsView, FileKind};
use data_encoding::HEXLOWER;
use futures::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::step;
use crate::api::ApiFault;
use crate::routes::{Answer, Calls, NoQuery, Params, Shared};

/// Downloads that are known: more than tickets and connections together, so that those which have not ended
/// always have room.
const DOWNLOADS_MAX: usize = 512;
/// How long one that has ended is known.
const KEPT: Duration = Duration::from_secs(10 * 60);

const NOT_FETCHED: &str = "the browser did not come for it within a minute: it may have been told not to";
const BROKEN_OFF: &str = "the browser ended it, or the connection broke off";

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/v1/downloads", get(list)).route("/v1/downloads/{id}", delete(cancel))
}

/// One download.
struct Download {
    view: DownloadView,
    ended: Option<Instant>,
    stop: CancellationToken,
}

impl Download {
    fn end(&mut self, state: DownloadState, reason: Option<String>) {
        if self.ended.is_none() {
            self.ended = Some(Instant::now());
            self.view.state = state;
            self.view.reason = reason;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The downloads that are known, oldest first. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Downloads(Arc<Mutex<VecDeque<Arc<Mutex<Download>>>>>);

impl Downloads {
    /// Begins to count one. `bytes`: its length, if that is known.
    pub(super) fn begin(
        &self,
        path: String,
        version: Option<u64>,
        kind: FileKind,
        bytes: Option<u64>,
    ) -> Result<Meter, ApiFault> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| ApiFault::internal("there is no randomness"))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let view = DownloadView {
            id: HEXLOWER.encode(&id),
            path,
            version,
            kind,
            bytes,
            sent_bytes: 0,
            state: DownloadState::Waiting,
            reason: None,
            begun_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        };
        let download = Arc::new(Mutex::new(Download { view, ended: None, stop: CancellationToken::new() }));
        let mut known = locked(&self.0);
        forget(&mut known, Instant::now());
        if known.len() >= DOWNLOADS_MAX {
            let ended = known.iter().position(|it| locked(it).ended.is_some());
            known.remove(ended.unwrap_or(0));
        }
        known.push_back(download.clone());
        Ok(Meter(download))
    }

    fn views(&self) -> Vec<DownloadView> {
        let mut known = locked(&self.0);
        forget(&mut known, Instant::now());
        known.iter().map(|it| locked(it).view.clone()).collect()
    }

    fn cancel(&self, id: &str) -> Option<DownloadView> {
        let known = locked(&self.0);
        let download = known.iter().find(|it| locked(it).view.id == id)?;
        let mut download = locked(download);
        download.end(DownloadState::Cancelled, None);
        download.stop.cancel();
        Some(download.view.clone())
    }
}

/// Drops those that ended long ago.
fn forget(known: &mut VecDeque<Arc<Mutex<Download>>>, now: Instant) {
    known.retain(|it| locked(it).ended.is_none_or(|ended| now.saturating_duration_since(ended) < KEPT));
}

/// Counts one download. Dropped, it has ended, one way or the other.
pub(super) struct Meter(Arc<Mutex<Download>>);

impl Meter {
    /// What it is called.
    pub(super) fn id(&self) -> String {
        locked(&self.0).view.id.clone()
    }

    /// The browser has come; false when nobody wants it any more.
    pub(super) fn fetched(&self) -> bool {
        let mut download = locked(&self.0);
        if download.ended.is_some() {
            return false;
        }
        download.view.state = DownloadState::Sending;
        true
    }

    /// It cannot be answered.
    pub(super) fn fail(&self, reason: &str) {
        locked(&self.0).end(DownloadState::Failed, Some(reason.to_owned()));
    }

    /// Counts what leaves in this body, which is `bytes` long if that is known.
    pub(super) fn over(self, body: Body, bytes: Option<u64>) -> Body {
        let stopped = {
            let mut download = locked(&self.0);
            download.view.bytes = bytes;
            download.stop.clone().cancelled_owned()
        };
        Body::from_stream(Metered {
            content: body.into_data_stream(),
            meter: self,
            stopped: Box::pin(stopped),
        })
    }

    fn count(&self, len: usize) {
        locked(&self.0).view.sent_bytes += len as u64;
    }

    fn whole(&self) {
        locked(&self.0).end(DownloadState::Done, None);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut download = locked(&self.0);
        // A body of a known length is not asked for more when it has given that.
        let whole = download.view.bytes == Some(download.view.sent_bytes);
        match download.view.state {
            DownloadState::Waiting => download.end(DownloadState::Failed, Some(NOT_FETCHED.to_owned())),
            _ if whole => download.end(DownloadState::Done, None),
            _ => download.end(DownloadState::Failed, Some(BROKEN_OFF.to_owned())),
        }
    }
}

/// A body that is counted as it leaves, and is cut when the download is cancelled.
struct Metered {
    content: BodyDataStream,
    meter: Meter,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream for Metered {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stopped.as_mut().poll(context).is_ready() {
            // An end without an error would make an archive look whole.
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other("it was cancelled")))));
        }
        let part = ready!(self.content.poll_next_unpin(context));
        match &part {
            Some(Ok(bytes)) => self.meter.count(bytes.len()),
            Some(Err(error)) => self.meter.fail(&error.to_string()),
            None => self.meter.whole(),
        }
        Poll::Ready(part)
    }
}

async fn list(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<DownloadsView> {
    // Tickets that nobody came for end here.
    calls.tickets.tidy();
    Ok(Json(DownloadsView { downloads: calls.tickets.downloads.views() }))
}

async fn cancel(
    State(calls): Shared,
    id: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<DownloadView> {
    let view = calls.tickets.downloads.cancel(&step(id)?);
    view.map(Json).ok_or_else(|| ApiFault::not_found("there is no such download, or it ended long ago"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn begin(downloads: &Downloads, bytes: Option<u64>) -> Meter {
        downloads.begin("/a".into(), None, FileKind::File, bytes).unwrap()
    }

    fn only(downloads: &Downloads) -> DownloadView {
        downloads.views().pop().unwrap()
    }

    async fn read(body: Body) -> Result<usize, axum::Error> {
        let mut stream = body.into_data_stream();
        let mut len = 0;
        while let Some(part) = stream.next().await {
            len += part?.len();
        }
        Ok(len)
    }

    #[tokio::test]
    async fn a_download_is_done_only_when_all_of_it_left() {
        let downloads = Downloads::default();
        let meter = begin(&downloads, Some(6));
        assert_eq!(only(&downloads).state, DownloadState::Waiting);
        assert!(meter.fetched());
        let body = meter.over(Body::from_stream(parts()), Some(6));
        assert_eq!(read(body).await.unwrap(), 6);
        let view = only(&downloads);
        assert_eq!((view.state, view.sent_bytes, view.reason), (DownloadState::Done, 6, None));
        drop(begin(&downloads, Some(0)));
        assert_eq!(only(&downloads).state, DownloadState::Failed, "nobody came for it");

        // Of a known length, hyper asks for no more than was announced.
        for (bytes, count, state) in [
            (Some(6), 2, DownloadState::Done),
            (Some(6), 1, DownloadState::Failed),
            (None, 2, DownloadState::Failed),
            (Some(0), 0, DownloadState::Done),
        ] {
            let meter = begin(&downloads, bytes);
            assert!(meter.fetched());
            let mut stream = meter.over(Body::from_stream(parts()), bytes).into_data_stream();
            for _ in 0..count {
                stream.next().await.unwrap().unwrap();
            }
            drop(stream);
            assert_eq!(only(&downloads).state, state, "{bytes:?} {count}");
        }
    }

    fn parts() -> impl Stream<Item = Result<&'static str, std::io::Error>> + Send + 'static {
        futures::stream::iter([Ok("abc"), Ok("def")])
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_says_why() {
        let downloads = Downloads::default();
        let meter = begin(&downloads, Some(6));
        assert!(meter.fetched());
        let broken =
            futures::stream::iter([Ok(Bytes::from("abc")), Err(std::io::Error::other("too few pieces"))]);
        assert!(read(meter.over(Body::from_stream(broken), Some(6))).await.is_err());
        let view = only(&downloads);
        assert_eq!((view.state, view.sent_bytes), (DownloadState::Failed, 3));
        assert!(view.reason.unwrap().contains("too few pieces"));
    }

    #[tokio::test]
    async fn a_cancelled_one_is_cut_and_never_looks_whole() {
        let downloads = Downloads::default();
        let meter = begin(&downloads, None);
        assert!(meter.fetched());
        let endless =
            futures::stream::iter([Ok::<_, std::io::Error>("abc")]).chain(futures::stream::pending());
        let mut stream = meter.over(Body::from_stream(endless), None).into_data_stream();
        assert_eq!(stream.next().await.unwrap().unwrap(), "abc");
        let waiting = tokio::spawn(async move { stream.next().await });
        let id = only(&downloads).id;
        assert_eq!(downloads.cancel(&id).unwrap().state, DownloadState::Cancelled);
        assert!(waiting.await.unwrap().unwrap().is_err());
        assert_eq!(only(&downloads).state, DownloadState::Cancelled);
        // One that waits for its browser is not answered any more.
        let meter = begin(&downloads, None);
        downloads.cancel(&meter.id()).unwrap();
        assert!(!meter.fetched());
        assert!(downloads.cancel(&"0".repeat(32)).is_none());
    }

    #[test]
    fn what_is_known_is_bounded_and_forgotten() {
        let downloads = Downloads::default();
        let first = begin(&downloads, None);
        for _ in 0..DOWNLOADS_MAX + 10 {
            drop(begin(&downloads, None));
        }
        let views = downloads.views();
        assert_eq!(views.len(), DOWNLOADS_MAX);
        assert_eq!(views[0].id, first.id(), "one that has not ended stays");
        for download in downloads.0.lock().unwrap().iter() {
            if let Some(ended) = &mut download.lock().unwrap().ended {
                *ended -= KEPT;
            }
        }
        assert_eq!(downloads.views().len(), 1);
    }
}
