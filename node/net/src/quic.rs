//! QUIC: for networks in which TCP does not get through, and for whoever prefers it
//! (spec/policy-transport.md).

use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::identity::Keypair;
use libp2p::quic;

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
    quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}
