//! All behaviours behind one door: what they dial is dialed as the transport policy says, and what
//! comes in stays only when it says so (spec/policy-transport.md).
//!
//! Invariant: no behaviour reaches the swarm with a dial of its own, so an address that the policy
//! left out is dialed by nobody; a connection that it refuses is closed before any protocol runs over
//! it. Not here: the question and the memory behind it (paths).

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::behaviour::{Behaviour, CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX};
use crate::driver::split_peer;
use crate::paths::Paths;

/// The policy wants no connection with a peer.
#[derive(Debug, thiserror::Error)]
#[error("the transport policy refuses it: {0}")]
pub(crate) struct Unwanted(pub(crate) String);

/// The behaviours of a node and what stands before them.
pub(crate) struct Guard {
    inner: Behaviour,
    paths: Arc<Paths>,
    /// Where peers may be reached; bounded by whoever fills it.
    book: HashMap<PeerId, Vec<Multiaddr>>,
    /// Dials under way.
    dialing: HashMap<ConnectionId, PeerId>,
    /// Open connections, with the address of those that were made here.
    open: HashMap<ConnectionId, (PeerId, Option<Multiaddr>)>,
}

impl Guard {
    pub(crate) fn new(inner: Behaviour, paths: Arc<Paths>) -> Self {
        Self { inner, paths, book: HashMap::new(), dialing: HashMap::new(), open: HashMap::new() }
    }

    /// Where peers may be reached.
    pub(crate) fn book(&mut self) -> &mut HashMap<PeerId, Vec<Multiaddr>> {
        &mut self.book
    }

    /// Where a peer may be reached.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> &[Multiaddr] {
        self.book.get(peer).map_or(&[], Vec::as_slice)
    }

    /// How to dial a peer that may be reached at `known`, for the swarm.
    pub(crate) fn dial(&self, peer: PeerId, known: impl IntoIterator<Item = Multiaddr>) -> DialOpts {
        let plan = self.paths.plan(peer, known);
        tracing::debug!(%peer, addresses = ?plan.addresses, at_once = plan.at_once, "dialing");
        DialOpts::peer_id(peer)
            .addresses(plan.addresses)
            .override_dial_concurrency_factor(plan.at_once)
            .build()
    }

    /// A dial would be refused by the swarm: there is a connection, or there will be one.
    pub(crate) fn is_near(&self, peer: &PeerId) -> bool {
        self.dialing.values().any(|it| it == peer) || self.open.values().any(|(it, _)| it == peer)
    }

    /// So much came per second over a connection.
    pub(crate) fn received(&self, connection: &ConnectionId, bytes_per_second: u64) {
        if let Some((peer, Some(address))) = self.open.get(connection) {
            self.paths.received(*peer, address, bytes_per_second);
        }
    }

    /// Where the behaviours themselves believe a peer to be: the tables of the DHT.
    fn tables(&mut self, id: ConnectionId, peer: PeerId) -> Vec<Multiaddr> {
        let role = Endpoint::Dialer;
        let kad = self.inner.kad.handle_pending_outbound_connection(id, Some(peer), &[], role);
        let identify = self.inner.identify.handle_pending_outbound_connection(id, Some(peer), &[], role);
        // Neither of them refuses a dial.
        [kad, identify].into_iter().flatten().flatten().collect()
    }
}

impl Deref for Guard {
    type Target = Behaviour;

    fn deref(&self) -> &Behaviour {
        &self.inner
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Behaviour {
        &mut self.inner
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = <Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let open = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let with_peer = self.open.values().filter(|(it, _)| *it == peer).count() as u32;
        // Beyond the limits there is nothing to ask.
        if open < CONNECTIONS_MAX && with_peer < CONNECTIONS_PER_PEER_MAX {
            let verdict = self.paths.admit(&peer, remote, open, with_peer);
            if !verdict.admit {
                return Err(ConnectionDenied::new(Unwanted(verdict.reason)));
            }
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Its own addresses are in the plan already, as far as the policy wants them.
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        if let Some(peer) = peer {
            self.dialing.insert(id, peer);
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                self.dialing.remove(connection_id);
                let address = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => {
                        Some(split_peer(address).map_or_else(|| (*address).clone(), |(_, address)| address))
                    }
                    ConnectedPoint::Listener { .. } => None,
                };
                self.open.insert(*connection_id, (*peer_id, address));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.open.remove(connection_id);
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.dialing.remove(connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.inner.poll(cx) {
            Poll::Ready(ToSwarm::Dial { opts }) => {
                let wanted = opts.get_peer_id().filter(|peer| !self.is_near(peer));
                let Some(peer) = wanted else { return Poll::Ready(ToSwarm::Dial { opts }) };
                let mut known = self.addresses_of(&peer).to_vec();
                known.extend(self.tables(opts.connection_id(), peer));
                Poll::Ready(ToSwarm::Dial { opts: self.dial(peer, known) })
            }
            other => other,
        }
    }
}
