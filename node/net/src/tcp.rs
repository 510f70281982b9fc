//! What runs over a TCP connection: TLS 1.3 or Noise, and Yamux above it (spec/network.md).
//!
//! Invariant: whichever of the two the peers agree on proves the peer's key before a byte of any
//! protocol passes, and what a peer may have waiting here is bounded by [`WINDOWS_MAX`].
//! TLS comes first because its AES-GCM takes a fraction of the time that Noise's ChaCha20 takes on
//! processors with AES instructions; peers without TLS are met with Noise.
//!
//! Most of this file is about system calls: bulk data pass in large pieces, and a frame's header
//! leaves together with its body.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, Either};
use futures::io::{BufReader, BufWriter};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::TlsStream;
use libp2p::core::StreamMuxer;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::{self, InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp};

use crate::tls::{self, Tls};

/// Read from the socket at a time. TLS asks for 4 KiB and Noise for 8, each a system call without
/// this buffer.
const READ_LEN: usize = 128 * 1024;
/// Bytes of a frame's header.
const FRAME_HEAD_LEN: usize = 12;
/// Frame and header together: what TLS takes at once. Yamux's own 16 KiB would cost four times the
/// system calls; larger frames leave the processor's cache between two copies.
const FRAME_LEN: usize = 64 * 1024;
/// Streams of one connection, both directions: the limits of every protocol together stay below.
const STREAMS_MAX: usize = 512;
/// Bytes that one stream may always have waiting here: Yamux says so.
const STREAM_WINDOW: usize = 256 * 1024;
/// By which the windows of all streams of a connection may grow together.
const WINDOWS_GROWTH: usize = 32 << 20;
/// Bytes that a peer may have waiting here on one connection, if it opens every stream and nobody
/// reads. Yamux's own limit is 1 GiB.
const WINDOWS_MAX: usize = STREAMS_MAX * STREAM_WINDOW + WINDOWS_GROWTH;
/// Streams that a peer opened and nobody has taken yet; the swarm takes them at once.
const STREAMS_WAITING_MAX: usize = 256;

/// The transport over TCP.
pub(crate) fn transport(
    key: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn std::error::Error + Send + Sync>> {
    let security = Security { tls: Tls::new(key)?, noise: noise::Config::new(key)? };
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    Ok(tcp.upgrade(upgrade::Version::V1Lazy).authenticate(security).multiplex(Streams).boxed())
}

/// TLS or Noise, in this order.
#[derive(Clone)]
struct Security {
    tls: Tls,
    noise: noise::Config,
}

type Secured<C> = Either<TlsStream<BufReader<C>>, noise::Output<BufReader<C>>>;

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::iter::Chain<std::iter::Once<&'static str>, <noise::Config as UpgradeInfo>::InfoIter>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(tls::PROTOCOL).chain(self.noise.protocol_info())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, protocol: &'static str) -> Self::Future {
        async move {
            let socket = BufReader::with_capacity(READ_LEN, socket);
            if protocol == tls::PROTOCOL {
                let secured = self.tls.accept(socket).await;
                secured.map(|(peer, stream)| (peer, Either::Left(stream)))
            } else {
                let secured = self.noise.upgrade_inbound(socket, protocol).await;
                secured.map(|(peer, stream)| (peer, Either::Right(stream))).map_err(io::Error::other)
            }
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, protocol: &'static str) -> Self::Future {
        async move {
            let socket = BufReader::with_capacity(READ_LEN, socket);
            if protocol == tls::PROTOCOL {
                let secured = self.tls.connect(socket).await;
                secured.map(|(peer, stream)| (peer, Either::Left(stream)))
            } else {
                let secured = self.noise.upgrade_outbound(socket, protocol).await;
                secured.map(|(peer, stream)| (peer, Either::Right(stream))).map_err(io::Error::other)
            }
        }
        .boxed()
    }
}

/// Yamux with this file's numbers.
#[derive(Clone)]
struct Streams;

impl Streams {
    fn over<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: C, mode: yamux::Mode) -> Muxer {
        let mut config = yamux::Config::default();
        config
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOWS_MAX))
            .set_split_send_size(FRAME_LEN - FRAME_HEAD_LEN);
        let socket: Socket = Box::pin(BufWriter::with_capacity(FRAME_LEN, socket));
        Muxer {
            connection: yamux::Connection::new(socket, config, mode),
            waiting: VecDeque::new(),
            waker: None,
        }
    }
}

impl UpgradeInfo for Streams {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Streams {
    type Output = Muxer;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Muxer>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        std::future::ready(Ok(Self::over(socket, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Streams {
    type Output = Muxer;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Muxer>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        std::future::ready(Ok(Self::over(socket, yamux::Mode::Client)))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}
type Socket = Pin<Box<dyn Duplex>>;

/// The streams of one connection.
pub(crate) struct Muxer {
    connection: yamux::Connection<Socket>,
    /// Opened by the peer, not yet taken.
    waiting: VecDeque<yamux::Stream>,
    waker: Option<std::task::Waker>,
}

impl Muxer {
    /// Drives the connection until the peer opens a stream.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let opened = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(opened.unwrap_or(Err(yamux::ConnectionError::Closed)).map_err(failed))
    }
}

fn failed(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl StreamMuxer for Muxer {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let opened = self.poll_opened(cx);
        if opened.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        opened
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(failed)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_opened(cx))?;
        // Beyond the bound a stream is reset by being dropped.
        if self.waiting.len() < STREAMS_WAITING_MAX {
            self.waiting.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
