//! QUIC as the second choice: a dial begins a little later than TCP's.
//!
//! Invariant: where a peer can be reached over TCP in good time, the connection is a TCP one;
//! where it cannot, QUIC serves everything that TCP would. Bulk data cost about twice the
//! processor time over QUIC, because every packet is encrypted, sent and acknowledged for itself;
//! QUIC is there for networks in which TCP does not get through.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, quic};

/// How long TCP has for its handshakes before QUIC begins: four round trips of a connection across
/// a continent. A peer that has only QUIC answers later by this much, once.
const HEAD_START: Duration = Duration::from_millis(250);
/// A QUIC peer that is silent for this long is gone. TCP resets tell at once.
const IDLE_MS: u32 = 6_000;
/// So that a living but idle QUIC peer is not silent.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The transport over QUIC.
pub(crate) fn transport(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let mut config = quic::Config::new(key);
    config.max_idle_timeout = IDLE_MS;
    config.keep_alive_interval = KEEP_ALIVE;
    let quic = quic::tokio::Transport::new(config);
    Late(quic).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

/// A transport whose dials wait.
struct Late<T>(T);

impl<T> Transport for Late<T>
where
    T: Transport + Unpin,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<T::Output, T::Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<T::Error>> {
        // Nothing is sent before this is polled.
        let dialing = self.0.dial(address, opts)?;
        Ok(async move {
            tokio::time::sleep(HEAD_START).await;
            dialing.await
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
