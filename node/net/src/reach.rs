//! Dialing: every attempt at an address ends in a bounded time and is remembered with its outcome.
//!
//! Invariant: of addresses that are tried at the same time, those of the transport that stands first
//! in the plan begin at once and the others by [`HEAD_START`] later; so the policy's choice of TCP or
//! QUIC is what happens wherever both get through. Unless a policy says otherwise TCP stands first:
//! bulk data cost about twice the processor time over QUIC, because every packet is encrypted, sent
//! and acknowledged for itself. Not here: which addresses are dialed (paths).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, dns};
use tokio::time::Instant;

use crate::driver::split_peer;
use crate::paths::Paths;

/// How long the first transport has for its handshakes before the second begins: four round trips of
/// a connection across a continent.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long an attempt at one address may take, and the handshakes of a connection that comes in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a dial may take in all: one address after the other.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(40);

type Connected = (PeerId, StreamMuxerBox);

/// TCP and QUIC, with names resolved.
pub(crate) fn transport(
    key: &Keypair,
    paths: Arc<Paths>,
) -> Result<Boxed<Connected>, Box<dyn std::error::Error + Send + Sync>> {
    let both = crate::tcp::transport(key)?.or_transport(crate::quic::transport(key));
    let both = both.map(|either, _| either.into_inner());
    let named = dns::tokio::Transport::system(both)?;
    let inner = TransportTimeout::with_ingoing_timeout(named, CONNECT_TIMEOUT).boxed();
    Ok(Reach { inner, paths }.boxed())
}

/// A transport that remembers how its dials ended.
struct Reach {
    inner: Boxed<Connected>,
    paths: Arc<Paths>,
}

impl Transport for Reach {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Connected> as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Connected>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        // Nothing is sent before this is polled.
        let dialing = self.inner.dial(address.clone(), opts)?;
        let (peer, place) = match split_peer(&address) {
            Some((peer, place)) => (Some(peer), place),
            None => (None, address),
        };
        let start = (!self.paths.goes_first(peer.as_ref(), &place)).then(|| Instant::now() + HEAD_START);
        let paths = self.paths.clone();
        Ok(async move {
            // Also when it is its turn only much later, after others have failed.
            if let Some(start) = start {
                tokio::time::sleep_until(start).await;
            }
            let begun = Instant::now();
            let outcome = tokio::time::timeout(CONNECT_TIMEOUT, dialing).await;
            let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Some(peer) = peer {
                let connected = outcome.as_ref().is_ok_and(|(found, _)| *found == peer);
                paths.attempted(peer, &place, connected.then(|| begun.elapsed()));
            }
            outcome
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
