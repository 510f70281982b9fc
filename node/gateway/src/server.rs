//! Accepts connections and ends them: the bounds on their number and on their time.
//!
//! Invariant: at most [`Bounds::connections`] connections are open, a connection that sends no request
//! is closed after [`HEAD_TIME_MAX`], and [`serve`] returns within [`GRACE`] and a moment after
//! `shutdown`, whatever clients do.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::NodeApi;
use crate::connection::Connection;
use crate::counts::RequestCounts;
use crate::files::tickets::Tickets;
use crate::guard::{Gate, Token, guard};
use crate::places::{Places, network};
use crate::routes::{CHANGES_MAX, Calls, router};
use crate::upload::STALL_MAX;

/// Connections that are open at the same time; more wait in the system's backlog. A client needs
/// one for each call, and each takes at most about half a megabyte of buffers here.
const CONNECTIONS_MAX: usize = 128;
/// A request's head must be complete within this time, counted from the connection's start or the
/// end of the request before: connections without the token cost something for no longer.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest request head, bytes. The longest real one carries a path and a name, percent-encoded:
/// twice three times 4 KiB.
const HEAD_LEN_MAX: usize = 32 * 1024;
/// How far a connection reads ahead, and how much of an answer it holds, about, bytes.
const BUFFER_LEN_MAX: usize = 64 * 1024;
/// Most header fields of a request.
const HEADERS_MAX: usize = 64;
/// How long calls may go on after `shutdown`.
const GRACE: Duration = Duration::from_secs(5);
/// How long cancelled tasks may take to be gone; they only have to be dropped.
const DROP_TIME_MAX: Duration = Duration::from_secs(1);
/// Pause after a failed accept: the usual reason, too many open files, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the local API on `listener` until `shutdown` completes; then idle connections end at
/// once, calls get five seconds, and what still runs is dropped. `counts` learns of every answer.
/// spec/api.md describes the API.
///
/// # Errors
/// When `listener` is not on a loopback address, or the token is shorter than 32 bytes or not
/// visible ASCII. Failures of single connections are no errors.
pub async fn serve(
    listener: TcpListener,
    token: Token,
    api: Arc<dyn NodeApi>,
    counts: Arc<RequestCounts>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if !address.ip().is_loopback() {
        return invalid(format!(
            "the local API is for this machine only, and {address} is not a loopback address"
        ));
    }
    if !token.is_usable() {
        return invalid("the API token is too short or has characters that no header can carry".into());
    }
    let gate = Arc::new(Gate { token, port: address.port() });
    let doors = Doors::default().counting(counts);
    let calls = Calls {
        api,
        places: Arc::new(Semaphore::new(CHANGES_MAX)),
        running: doors.running.clone(),
        stop: doors.stop.clone(),
        tickets: Tickets::default(),
    };
    let app = router(Arc::new(calls)).layer(axum::middleware::from_fn_with_state(gate, guard));
    doors.open(listener, app, shutdown).await;
    Ok(())
}

/// How many connections there may be, and how long they may be of no use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at the same time; more wait in the system's backlog.
    pub(crate) connections: usize,
    /// Connections of one client; more are closed.
    pub(crate) per_client: usize,
    /// How long a client may stop reading.
    pub(crate) stall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: CONNECTIONS_MAX, per_client: CONNECTIONS_MAX, stall: STALL_MAX }
    }
}

/// Where a request came from; every request has it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The other end of the connection.
    pub(crate) ip: IpAddr,
    /// Ends the connection.
    pub(crate) end: CancellationToken,
}

/// Where connections come in, and how what they started is ended.
#[derive(Default)]
pub(crate) struct Doors {
    bounds: Bounds,
    counts: Arc<RequestCounts>,
    /// Everything that runs for a client.
    running: TaskTracker,
    /// Drops it.
    stop: CancellationToken,
}

impl Doors {
    /// With other bounds than those of the local API.
    pub(crate) fn bounded(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// With counts that others read.
    pub(crate) fn counting(self, counts: Arc<RequestCounts>) -> Self {
        Self { counts, ..self }
    }

    /// Serves `app` until `shutdown` completes, then ends as [`serve`] says.
    pub(crate) async fn open(self, listener: TcpListener, app: Router, shutdown: impl Future<Output = ()>) {
        let Self { bounds, counts, running, stop } = self;
        // Dropping this future ends everything, too: nothing of it outlives it by more than the
        // bounded drains.
        let _stop_on_drop = stop.clone().drop_guard();
        let stopping = CancellationToken::new();
        let _stopping_on_drop = stopping.clone().drop_guard();
        let places = Arc::new(Semaphore::new(bounds.connections));
        let clients = Places::new(bounds.per_client);
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                // Never closed, so this cannot fail.
                let place = places.clone().acquire_owned().await.ok();
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(own_place) = clients.take(network(peer.ip())) else {
                        tracing::debug!("a client has too many connections");
                        continue;
                    };
                    let caller = Caller { ip: peer.ip(), end: stop.child_token() };
                    let end = caller.end.clone();
                    let open = counts.open();
                    let connection =
                        converse(stream, app.clone(), caller, bounds.stall, counts.clone(), stopping.clone());
                    running.spawn(async move {
                        let _places = (place, own_place, open);
                        tokio::select! {
                            () = connection => {}
                            () = end.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        running.close();
        stopping.cancel();
        if timeout(GRACE, running.wait()).await.is_err() {
            tracing::info!("calls that are still running are ended");
            stop.cancel();
            // A call that blocks its thread cannot be dropped; it must not hold up the node's end.
            let _ = timeout(DROP_TIME_MAX, running.wait()).await;
        }
    }
}

/// Serves one connection; after `stopping`, only until its present call is answered.
async fn converse(
    stream: TcpStream,
    app: Router,
    caller: Caller,
    stall: Duration,
    counts: Arc<RequestCounts>,
    stopping: CancellationToken,
) {
    // Small answers should not wait for more to come; a failure costs milliseconds.
    let _ = stream.set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller.clone());
        let (answered, counts) = (app.call(request), counts.clone());
        async move {
            let answered = answered.await;
            if let Ok(response) = &answered {
                counts.note(response.status());
            }
            answered
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_header_size(HEAD_LEN_MAX)
        .max_buf_size(BUFFER_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Connection::new(stream, stall)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away are everyday life.
        tracing::debug!(%error, "a connection of the local API ended early");
    }
}
