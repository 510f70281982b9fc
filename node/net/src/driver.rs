//! The network task: owns the swarm, carries out commands, hands requests of other nodes on.
//!
//! Invariant: every map and queue here is bounded by connections, by commands in flight, or by a
//! constant of this file; a caller that has gone away leaves nothing behind but work that ends by
//! itself.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use commonhold_format::ids::NodeId;
use commonhold_format::policy::Key;
use commonhold_format::record::validate;
use commonhold_format::wire::{self, Refusal, Request, Response};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::core::ConnectedPoint;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::request_response::{
    Event as ExchangeEvent, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{PeerId, Swarm, identify, ping};
use tokio::sync::{mpsc, oneshot};

use crate::behaviour::{self, BehaviourEvent, KAD_PROTOCOL};
use crate::guard::{Guard, Unwanted};
use crate::listen::{listen, push_address, with_node};
use crate::paths::Paths;
use crate::rate::Rate;
use crate::table::{SubnetLimits, believable, ip_of};
use crate::{CallError, DhtError, Incoming, NetConfig, Peer, StartError};

/// Peers whose addresses are remembered; beyond it those without a connection are forgotten.
const PEERS_MAX: usize = 10_000;
/// Requests of other nodes that wait for their answer.
const ANSWERING_MAX: usize = 1024;
/// Requests of one peer that wait for their answer.
const ANSWERING_PER_PEER_MAX: usize = 128;
/// Copies of a record that are looked at before the newest is taken.
const COPIES_MAX: usize = 4;
/// A peer that could not be reached is not dialed again for this long, so that a dead peer costs
/// one wait and not one for every call.
const DIAL_PAUSE: Duration = Duration::from_secs(2);
/// How often a node without any DHT peer dials its bootstrap addresses again.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(2);
/// Records that one peer may store here in an hour; replication by an honest peer stays below it.
const RECORDS_PER_PEER_MAX: u32 = 2048;

/// What the handle asks of the task.
pub(crate) enum Command {
    Call { node: NodeId, request: Request, answer: oneshot::Sender<Result<Response, CallError>> },
    Remember { node: NodeId, addresses: Vec<String> },
    Publish { key: [u8; 32], value: Vec<u8>, done: oneshot::Sender<Result<(), DhtError>> },
    Find { key: [u8; 32], done: oneshot::Sender<Option<Vec<u8>>> },
    Discover { done: oneshot::Sender<Vec<NodeId>> },
    Peers { done: oneshot::Sender<Vec<Peer>> },
    Shutdown { done: oneshot::Sender<()> },
}

enum Query {
    Publish(oneshot::Sender<Result<(), DhtError>>),
    Find {
        copies: usize,
        newest: Option<(u64, Vec<u8>)>,
        done: Option<oneshot::Sender<Option<Vec<u8>>>>,
    },
    /// A walk to a random place, which connects to the nodes around it.
    Walk,
}

#[derive(Default)]
struct Known {
    connections: u32,
    seen_at: Option<IpAddr>,
    transport: Option<&'static str>,
    round_trip: Option<Duration>,
    in_dht: bool,
    answering: usize,
    failed_at: Option<Instant>,
    /// How fast chunks come from there.
    rate: Rate,
    records: u32,
    records_since: Option<Instant>,
}

/// A request of this node that waits for its answer.
struct Asked {
    node: NodeId,
    peer: PeerId,
    /// A chunk is to come back.
    gets: bool,
    answer: oneshot::Sender<Result<Response, CallError>>,
}

type Calls = HashMap<(bool, OutboundRequestId), Asked>;
type Answer = (PeerId, bool, ResponseChannel<Response>, Option<Response>);

pub(crate) struct Driver {
    swarm: Swarm<Guard>,
    node: NodeId,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Incoming>,
    listening: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicU64>,
    bootstrap: Vec<(PeerId, Multiaddr)>,
    peers: HashMap<PeerId, Known>,
    subnets: SubnetLimits,
    calls: Calls,
    queries: HashMap<QueryId, Query>,
    answering: FuturesUnordered<futures::future::BoxFuture<'static, Answer>>,
}

fn node_of(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

fn peer_of(node: &NodeId) -> Option<PeerId> {
    PeerId::from_bytes(&node.to_peer_id_bytes()).ok()
}

/// A peer as policies are told; zeros for a key that no node can have.
pub(crate) fn key_of(peer: &PeerId) -> Key {
    node_of(peer).map(Key::from).unwrap_or_default()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Splits `/…/p2p/PEER_ID` into address and peer.
pub(crate) fn split_peer(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut address = address.clone();
    match address.pop()? {
        Protocol::P2p(peer) => Some((peer, address)),
        _ => None,
    }
}

impl Driver {
    /// Binds every listener and prepares the task.
    pub(crate) async fn start(
        config: &NetConfig,
        commands: mpsc::Receiver<Command>,
        incoming: mpsc::Sender<Incoming>,
        listening: Arc<Mutex<Vec<String>>>,
    ) -> Result<Self, StartError> {
        let paths = Arc::new(Paths::new(config.policy.clone(), config.moment));
        let mut swarm = behaviour::swarm(*config.peer_seed, config.dht_server, paths)?;
        let node = node_of(swarm.local_peer_id())
            .ok_or_else(|| StartError::Setup { why: "the peer key is not an Ed25519 key".to_owned() })?;
        let mut bootstrap = Vec::new();
        for text in &config.bootstrap {
            let bad = |why: &str| StartError::BadAddress { address: text.clone(), why: why.to_owned() };
            let address: Multiaddr = text.parse().map_err(|error| bad(&format!("{error}")))?;
            let split = split_peer(&address).ok_or_else(|| bad("it does not end in /p2p/PEER_ID"))?;
            if split.0 != *swarm.local_peer_id() {
                bootstrap.push(split);
            }
        }
        listen(&mut swarm, &node, &config.listen, &listening).await?;
        Ok(Self {
            swarm,
            node,
            commands,
            incoming,
            listening,
            refused: Arc::default(),
            bootstrap,
            peers: HashMap::new(),
            subnets: SubnetLimits::default(),
            calls: HashMap::new(),
            queries: HashMap::new(),
            answering: FuturesUnordered::new(),
        })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Counts connections that the policy did not want.
    pub(crate) fn refused(&self) -> Arc<AtomicU64> {
        self.refused.clone()
    }

    /// Runs until the handle shuts it down or is gone.
    pub(crate) async fn run(mut self) {
        self.join();
        let mut rejoin = tokio::time::interval(BOOTSTRAP_PAUSE);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { done }) => {
                        // The handle may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some((peer, bulk, channel, response)) = self.answering.next() => {
                    self.answer(peer, bulk, channel, response);
                }
                _ = rejoin.tick() => self.rejoin(),
            }
        }
    }

    fn join(&mut self) {
        // All addresses of a peer at once: the policy chooses among them.
        let mut addresses: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
        for (peer, address) in &self.bootstrap {
            addresses.entry(*peer).or_default().push(address.clone());
        }
        for (peer, addresses) in addresses {
            if !self.swarm.behaviour().is_near(&peer) {
                let opts = self.swarm.behaviour().dial(peer, addresses);
                // Whoever cannot be dialed now is tried again.
                let _ = self.swarm.dial(opts);
            }
        }
    }

    fn rejoin(&mut self) {
        let alone = !self.peers.values().any(|known| known.connections > 0 && known.in_dht);
        if alone {
            self.join();
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Call { node, request, answer } => self.call(node, request, answer),
            Command::Remember { node, addresses } => {
                if let Some(peer) = peer_of(&node) {
                    let addresses = addresses.iter().filter_map(|text| text.parse().ok());
                    let addresses: Vec<Multiaddr> = addresses
                        .map(|address: Multiaddr| {
                            split_peer(&address).map_or(address, |(_, address)| address)
                        })
                        .collect();
                    let seen_at = self.peers.get(&peer).and_then(|known| known.seen_at);
                    self.remember(peer, believable(addresses, seen_at.or(self.own_ip())));
                }
            }
            Command::Publish { key, value, done } => self.publish(key, value, done),
            Command::Find { key, done } => self.find(key, done),
            Command::Discover { done } => self.discover(done),
            Command::Peers { done } => {
                let _ = done.send(self.known_peers());
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// The address that this node listens on: what counts as near.
    fn own_ip(&self) -> Option<IpAddr> {
        self.swarm.listeners().find_map(ip_of)
    }

    fn call(&mut self, node: NodeId, request: Request, answer: oneshot::Sender<Result<Response, CallError>>) {
        let unreachable = |why: &str| CallError::Unreachable { node, why: why.to_owned() };
        let Some(peer) = peer_of(&node).filter(|peer| peer != self.swarm.local_peer_id()) else {
            let _ = answer.send(Err(unreachable("it is no other node")));
            return;
        };
        let known = self.peers.get(&peer);
        let connected = known.is_some_and(|known| known.connections > 0);
        let failed = known.and_then(|known| known.failed_at).is_some_and(|at| at.elapsed() < DIAL_PAUSE);
        if !connected && failed {
            let _ = answer.send(Err(unreachable("it could not be reached a moment ago")));
            return;
        }
        let bulk = request.is_bulk();
        let gets = matches!(request, Request::GetChunk { .. });
        if gets {
            self.peers.entry(peer).or_default().rate.asked(connected, Instant::now());
        }
        let exchange = if bulk {
            &mut self.swarm.behaviour_mut().chunks
        } else {
            &mut self.swarm.behaviour_mut().control
        };
        // Without a connection it asks for a dial, which the guard plans.
        let id = exchange.send_request(&peer, request);
        self.calls.insert((bulk, id), Asked { node, peer, gets, answer });
    }

    fn publish(&mut self, key: [u8; 32], value: Vec<u8>, done: oneshot::Sender<Result<(), DhtError>>) {
        if let Err(error) = validate(&key, &value, unix_seconds()) {
            let _ = done.send(Err(DhtError::Invalid(error.to_string())));
            return;
        }
        let record = Record::new(RecordKey::new(&key), value);
        match self.swarm.behaviour_mut().kad.put_record(record, Quorum::One) {
            Ok(id) => {
                self.queries.insert(id, Query::Publish(done));
            }
            Err(error) => {
                let _ = done.send(Err(DhtError::Invalid(error.to_string())));
            }
        }
    }

    fn find(&mut self, key: [u8; 32], done: oneshot::Sender<Option<Vec<u8>>>) {
        let id = self.swarm.behaviour_mut().kad.get_record(RecordKey::new(&key));
        self.queries.insert(id, Query::Find { copies: 0, newest: None, done: Some(done) });
    }

    /// Answers the nodes of the table, and walks to a random place, if no walk is under way: the
    /// nodes met there are in the table the next time.
    fn discover(&mut self, done: oneshot::Sender<Vec<NodeId>>) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let mut nodes = Vec::new();
        for bucket in kad.kbuckets() {
            nodes.extend(bucket.iter().filter_map(|entry| node_of(entry.node.key.preimage())));
        }
        if !self.queries.values().any(|query| matches!(query, Query::Walk)) {
            let id = self.swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
            self.queries.insert(id, Query::Walk);
        }
        // The caller may have gone away.
        let _ = done.send(nodes);
    }

    fn known_peers(&self) -> Vec<Peer> {
        self.peers
            .iter()
            .filter_map(|(peer, known)| {
                Some(Peer {
                    node: node_of(peer)?,
                    addresses: self
                        .swarm
                        .behaviour()
                        .addresses_of(peer)
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    connected: known.connections > 0,
                    round_trip_ms: known
                        .round_trip
                        .map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
                    transport: known.transport.filter(|_| known.connections > 0),
                })
            })
            .collect()
    }

    fn remember(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return;
        }
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, known| known.connections > 0);
            let peers = &self.peers;
            self.swarm.behaviour_mut().book().retain(|peer, _| peers.contains_key(peer));
        }
        self.peers.entry(peer).or_default();
        self.swarm.behaviour_mut().book().insert(peer, addresses);
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                self.on_identified(peer_id, info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(time), .. })) => {
                self.peers.entry(peer).or_default().round_trip = Some(time);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.on_kad(event),
            SwarmEvent::Behaviour(BehaviourEvent::Control(event)) => self.on_exchange(false, event),
            SwarmEvent::Behaviour(BehaviourEvent::Chunks(event)) => self.on_exchange(true, event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                let known = self.peers.entry(peer_id).or_default();
                known.connections = num_established.get();
                known.failed_at = None;
                known.rate.connected(Instant::now());
                let address = match &endpoint {
                    ConnectedPoint::Dialer { address, .. } => address,
                    ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
                };
                known.seen_at = ip_of(address);
                let quic = address.iter().any(|part| matches!(part, Protocol::QuicV1));
                known.transport = Some(if quic { "quic" } else { "tcp" });
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                if let Some(known) = self.peers.get_mut(&peer_id) {
                    known.connections = num_established;
                }
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error: ListenError::Denied { cause },
                ..
            } => {
                if let Ok(Unwanted(reason)) = cause.downcast::<Unwanted>() {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(from = %send_back_addr, reason, "the policy refused a connection");
                }
            }
            // Too many attempts at once says nothing about the peer.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                if !matches!(
                    error,
                    DialError::Denied { .. } | DialError::Aborted | DialError::DialPeerConditionFalse(_)
                ) =>
            {
                tracing::debug!(%peer, %error, "could not connect");
                self.on_unreachable(peer);
            }
            SwarmEvent::NewListenAddr { address, .. } => push_address(&self.listening, address, &self.node),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let gone = with_node(address, &self.node);
                self.listening.lock().unwrap_or_else(PoisonError::into_inner).retain(|text| *text != gone);
            }
            _ => {}
        }
    }

    /// A peer that cannot be reached leaves the table, so that no query waits for it; it comes back
    /// when it connects and identifies itself.
    fn on_unreachable(&mut self, peer: PeerId) {
        let known = self.peers.entry(peer).or_default();
        if known.connections == 0 {
            known.failed_at = Some(Instant::now());
            known.in_dht = false;
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            self.subnets.forget(&peer);
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        if info.public_key.to_peer_id() != peer || node_of(&peer).is_none() {
            return;
        }
        let seen_at = self.peers.get(&peer).and_then(|known| known.seen_at);
        let addresses = believable(info.listen_addrs, seen_at);
        self.remember(peer, addresses.clone());
        let in_dht = info.protocols.contains(&KAD_PROTOCOL);
        let known = self.peers.entry(peer).or_default();
        let first = in_dht && !known.in_dht;
        known.in_dht = in_dht;
        if in_dht && self.subnets.admit(peer, &addresses) {
            for address in addresses {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
            if first {
                // With nobody in the table there is nothing to look for yet.
                let _ = self.swarm.behaviour_mut().kad.bootstrap();
            }
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { source, record: Some(record), .. },
            } => self.on_record(source, record),
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_query(id, result, step.last);
            }
            kad::Event::RoutingUpdated { old_peer: Some(old), .. } => self.subnets.forget(&old),
            _ => {}
        }
    }

    /// A peer wants a record stored: only a valid one, only if it is not older than what is here,
    /// and not too many from one peer.
    fn on_record(&mut self, source: PeerId, record: Record) {
        let now = unix_seconds();
        let Ok(sequence) = validate(record.key.as_ref(), &record.value, now) else {
            tracing::debug!(peer = %source, "offered a record that is not valid");
            return;
        };
        let known = self.peers.entry(source).or_default();
        if known.records_since.is_none_or(|since| since.elapsed() > Duration::from_secs(3600)) {
            known.records_since = Some(Instant::now());
            known.records = 0;
        }
        known.records += 1;
        if known.records > RECORDS_PER_PEER_MAX {
            return;
        }
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let held = store.get(&record.key).and_then(|held| validate(held.key.as_ref(), &held.value, now).ok());
        if held.is_none_or(|held| held <= sequence)
            && let Err(error) = store.put(record)
        {
            tracing::debug!(%error, "a record could not be kept");
        }
    }

    fn on_query(&mut self, id: QueryId, result: QueryResult, last: bool) {
        if let QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) = &result {
            self.on_copy(id, &found.record);
        }
        if !last {
            return;
        }
        match (self.queries.remove(&id), result) {
            (Some(Query::Publish(done)), QueryResult::PutRecord(outcome)) => {
                let _ = done.send(outcome.map(|_| ()).map_err(|_| DhtError::Alone));
            }
            (Some(Query::Find { newest, done: Some(done), .. }), _) => {
                let _ = done.send(newest.map(|(_, value)| value));
            }
            _ => {}
        }
    }

    /// One more copy of a record that is looked for.
    fn on_copy(&mut self, id: QueryId, record: &Record) {
        let Some(Query::Find { copies, newest, .. }) = self.queries.get_mut(&id) else { return };
        let Ok(sequence) = validate(record.key.as_ref(), &record.value, unix_seconds()) else { return };
        if newest.as_ref().is_none_or(|(known, _)| *known < sequence) {
            *newest = Some((sequence, record.value.clone()));
        }
        *copies += 1;
        if *copies >= COPIES_MAX
            && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id)
        {
            query.finish();
        }
    }

    fn on_exchange(&mut self, bulk: bool, event: ExchangeEvent<Request, Response>) {
        match event {
            ExchangeEvent::Message {
                message: Message::Response { request_id, response },
                connection_id,
                ..
            } => {
                if let Some(asked) = self.calls.remove(&(bulk, request_id)) {
                    let len = match &response {
                        Response::Chunk { bytes } => bytes.len(),
                        _ => 0,
                    };
                    self.answered(&asked, len, Some(connection_id));
                    let _ = asked.answer.send(Ok(response));
                }
            }
            ExchangeEvent::OutboundFailure { request_id, error, .. } => {
                if let Some(asked) = self.calls.remove(&(bulk, request_id)) {
                    self.answered(&asked, 0, None);
                    let _ = asked.answer.send(Err(call_error(asked.node, &error)));
                }
            }
            ExchangeEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_request(peer, bulk, request, channel);
            }
            ExchangeEvent::InboundFailure { .. } | ExchangeEvent::ResponseSent { .. } => {}
        }
    }

    /// A request of this node has its answer, over this connection, or has none.
    fn answered(&mut self, asked: &Asked, len: usize, connection: Option<ConnectionId>) {
        if !asked.gets {
            return;
        }
        let Some(known) = self.peers.get_mut(&asked.peer) else { return };
        let measured = known.rate.answered(len as u64, Instant::now());
        if let (Some(rate), Some(connection)) = (measured, connection) {
            self.swarm.behaviour().received(&connection, rate);
        }
    }

    fn on_request(&mut self, peer: PeerId, bulk: bool, request: Request, channel: ResponseChannel<Response>) {
        let busy = || wire::refused(Refusal::Busy, "this node has too much to do: try again later");
        let Some(from) = node_of(&peer) else { return };
        let known = self.peers.entry(peer).or_default();
        if known.answering >= ANSWERING_PER_PEER_MAX || self.answering.len() >= ANSWERING_MAX {
            self.respond(bulk, channel, busy());
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.incoming.try_send(Incoming { from, request, answer }).is_err() {
            self.respond(bulk, channel, busy());
            return;
        }
        known.answering += 1;
        self.answering.push(Box::pin(async move { (peer, bulk, channel, answered.await.ok()) }));
    }

    fn answer(
        &mut self,
        peer: PeerId,
        bulk: bool,
        channel: ResponseChannel<Response>,
        response: Option<Response>,
    ) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.answering = known.answering.saturating_sub(1);
        }
        // Without an answer the channel is dropped, and the peer sees the stream end.
        if let Some(response) = response {
            self.respond(bulk, channel, response);
        }
    }

    fn respond(&mut self, bulk: bool, channel: ResponseChannel<Response>, response: Response) {
        let behaviour = self.swarm.behaviour_mut();
        let exchange = if bulk { &mut behaviour.chunks } else { &mut behaviour.control };
        // The peer may have gone away.
        let _ = exchange.send_response(channel, response);
    }
}

fn call_error(node: NodeId, error: &OutboundFailure) -> CallError {
    match error {
        OutboundFailure::DialFailure => {
            CallError::Unreachable { node, why: "no connection could be made".to_owned() }
        }
        OutboundFailure::UnsupportedProtocols => {
            CallError::Unreachable { node, why: "it does not speak this protocol".to_owned() }
        }
        OutboundFailure::Timeout => CallError::Timeout { node, seconds: 60 },
        OutboundFailure::ConnectionClosed => CallError::Closed { node },
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            CallError::BadAnswer { node, why: error.to_string() }
        }
        OutboundFailure::Io(_) => CallError::Closed { node },
    }
}
