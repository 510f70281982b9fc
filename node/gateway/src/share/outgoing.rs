//! A segment on its way to a visitor.
//!
//! Invariant: segments that are being sent take a bounded amount of memory together, and a visitor who
//! takes one too slowly loses the connection, so that nobody holds that memory for long.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::ApiFault;
use crate::server::Caller;

/// Segments that are fetched or sent at the same time, bytes.
const MEMORY_MAX: usize = 256 << 20;
/// What room is counted in, bytes, and how much is handed to a connection at a time.
const PART_LEN: usize = 64 * 1024;
/// How long a request waits for room.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);
/// A visitor has this long for each segment, and
const TIME_BASE: Duration = Duration::from_secs(60);
/// must take at least so many bytes a second.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// Room for segments.
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY_MAX / PART_LEN)))
    }

    /// Waits for room for so many bytes, which are at most a segment's.
    pub(super) async fn take(&self, len: usize) -> Result<OwnedSemaphorePermit, ApiFault> {
        let busy = || ApiFault::new("busy", "this node serves many visitors now: try again in a moment");
        let parts = u32::try_from(len.div_ceil(PART_LEN)).map_err(|_| busy())?;
        let room = timeout(ROOM_WAIT_MAX, self.0.clone().acquire_many_owned(parts)).await;
        room.ok().and_then(Result::ok).ok_or_else(busy)
    }
}

/// See the module.
struct Outgoing {
    rest: Bytes,
    _room: OwnedSemaphorePermit,
    _in_time: DropGuard,
}

/// The body of an answer.
pub(super) fn body(bytes: Bytes, room: OwnedSemaphorePermit, caller: &Caller) -> Body {
    let time = TIME_BASE + Duration::from_secs(bytes.len() as u64 / BYTES_PER_SECOND_MIN);
    Body::new(outgoing(bytes, room, caller, time))
}

/// Ends the connection unless what this returns is dropped in time.
fn outgoing(bytes: Bytes, room: OwnedSemaphorePermit, caller: &Caller, time: Duration) -> Outgoing {
    let sent = CancellationToken::new();
    let end = caller.end.clone();
    let in_time = sent.clone().drop_guard();
    tokio::spawn(async move {
        tokio::select! {
            () = sent.cancelled() => {}
            () = sleep(time) => end.cancel(),
        }
    });
    Outgoing { rest: bytes, _room: room, _in_time: in_time }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.rest.len().min(PART_LEN);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use axum::body::to_bytes;

    use super::*;

    fn caller() -> Caller {
        Caller { ip: Ipv4Addr::LOCALHOST.into(), end: CancellationToken::new() }
    }

    #[tokio::test]
    async fn attack_37_who_takes_a_segment_too_slowly_loses_the_connection() {
        let (room, caller) = (Room::new(), caller());
        let held = room.take(2 << 20).await.unwrap();
        let slow = outgoing(Bytes::from(vec![0; 2 << 20]), held, &caller, Duration::from_millis(20));
        timeout(Duration::from_secs(20), caller.end.cancelled()).await.expect("the connection is ended");
        let free = room.0.available_permits();
        drop(slow);
        assert_eq!(room.0.available_permits(), free + 32, "and with it goes the memory");
    }

    #[tokio::test]
    async fn who_takes_it_in_time_keeps_the_connection() {
        let (room, caller) = (Room::new(), caller());
        let bytes: Bytes = (0..200_000u32).map(|at| at as u8).collect();
        let held = room.take(bytes.len()).await.unwrap();
        let sent = outgoing(bytes.clone(), held, &caller, Duration::from_millis(200));
        assert_eq!(sent.size_hint().exact(), Some(200_000));
        assert_eq!(to_bytes(Body::new(sent), usize::MAX).await.unwrap(), bytes);
        sleep(Duration::from_millis(400)).await;
        assert!(!caller.end.is_cancelled());
        assert_eq!(room.0.available_permits(), MEMORY_MAX / PART_LEN);
    }

    #[tokio::test]
    async fn attack_37_room_is_bounded() {
        let room = Room::new();
        let _all = room.take(MEMORY_MAX).await.unwrap();
        assert!(room.0.clone().try_acquire_many_owned(1).is_err());
    }
}
