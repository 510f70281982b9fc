//! The network of a node on libp2p: connections over QUIC and TCP, a Kademlia DHT of small signed
//! records, and requests between nodes (spec/network.md).
//!
//! Invariant: what comes from the network is bounded before it is kept, and decoded and verified
//! before it leaves this crate: requests and answers by `commonhold_format::wire`, records by
//! `commonhold_format::record`. Not here: what a request leads to, and which node to trust.

mod behaviour;
mod codec;
mod driver;
mod guard;
mod listen;
mod paths;
mod quic;
mod rate;
mod reach;
mod table;
mod tcp;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commonhold_format::ids::NodeId;
use commonhold_format::policy::{Moment, Policy};
use commonhold_format::wire::{Request, Response};
use libp2p::multiaddr::{Multiaddr, Protocol};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use driver::{Command, Driver};

/// Commands of this node that may wait for the network task; callers beyond it wait.
const COMMANDS_MAX: usize = 1024;
/// Requests of other nodes that may wait for an answerer; beyond it they are refused as busy.
const INCOMING_MAX: usize = 512;
/// How long a DHT operation may take.
const DHT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a node needs to join the network.
pub struct NetConfig {
    /// Ed25519 seed of the peer key.
    pub peer_seed: Zeroizing<[u8; 32]>,
    /// Multiaddrs to listen on; port 0 takes any free port.
    pub listen: Vec<String>,
    /// Multiaddrs of nodes to join through, each ending in `/p2p/PEER_ID`.
    pub bootstrap: Vec<String>,
    /// Does this node keep DHT records for others? Providers do.
    pub dht_server: bool,
    /// The transport policy: says which addresses are dialed and who may stay connected
    /// (spec/policy-transport.md). Asked in the network's own task, once for each of these.
    pub policy: Arc<dyn Policy>,
    /// The time that the policy is told.
    pub moment: fn() -> Moment,
}

/// Why the network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("the address {address} is in use by another program: stop it or listen on another port")]
    PortTaken {
        /// The address.
        address: String,
    },
    /// An address cannot be used.
    #[error("the address {address} cannot be used: {why}")]
    BadAddress {
        /// The address.
        address: String,
        /// The reason.
        why: String,
    },
    /// The transports could not be set up.
    #[error("the network could not start: {why}")]
    Setup {
        /// The reason.
        why: String,
    },
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("{node} cannot be reached: {why}")]
    Unreachable {
        /// Who.
        node: NodeId,
        /// The reason.
        why: String,
    },
    /// No answer in time.
    #[error("{node} did not answer within {seconds} s")]
    Timeout {
        /// Who.
        node: NodeId,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection ended before the answer.
    #[error("{node} closed the connection before it answered")]
    Closed {
        /// Who.
        node: NodeId,
    },
    /// The answer is not a valid message.
    #[error("{node} sent an answer that is not valid: {why}")]
    BadAnswer {
        /// Who.
        node: NodeId,
        /// The reason.
        why: String,
    },
}

/// Why a DHT operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DhtError {
    /// No other node took or gave the record.
    #[error("no other node of the DHT answered")]
    Alone,
    /// The record is not valid.
    #[error("the record is not valid: {0}")]
    Invalid(String),
    /// No result in time, or the network has stopped.
    #[error("the DHT did not answer in time")]
    Timeout,
}

/// A request of another node, to be answered through `answer`.
#[derive(Debug)]
pub struct Incoming {
    /// Who asks; the connection proves it.
    pub from: NodeId,
    /// What.
    pub request: Request,
    /// Where the answer goes. Dropped, the peer sees the stream end.
    pub answer: oneshot::Sender<Response>,
}

/// A node that this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub node: NodeId,
    /// Where it may be reached.
    pub addresses: Vec<String>,
    /// Is there a connection?
    pub connected: bool,
    /// Last measured round trip.
    pub round_trip_ms: Option<u32>,
    /// `"quic"` or `"tcp"`, with a connection.
    pub transport: Option<&'static str>,
}

/// Handle of the network; cheap to clone.
#[derive(Clone)]
pub struct Net {
    node: NodeId,
    addresses: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicU64>,
    commands: mpsc::Sender<Command>,
}

/// Checks that a text is an address that nodes can listen on or dial.
///
/// # Errors
/// A phrase that says what is wrong.
pub fn check_address(text: &str) -> Result<(), String> {
    let address: Multiaddr = text.parse().map_err(|error| format!("{error}"))?;
    let mut parts = address.iter();
    let host = matches!(
        parts.next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let port = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    if !host || !port {
        return Err("it names no host with a TCP or QUIC port".to_owned());
    }
    match (parts.next(), parts.next()) {
        (None, None) => Ok(()),
        (Some(Protocol::P2p(peer)), None) if NodeId::from_peer_id_bytes(&peer.to_bytes()).is_some() => Ok(()),
        _ => Err("only /p2p/PEER_ID of an Ed25519 key may follow the port".to_owned()),
    }
}

/// Starts the network. Returns once every listener is bound.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub async fn start(config: NetConfig) -> Result<(Net, mpsc::Receiver<Incoming>), StartError> {
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let (incoming, requests) = mpsc::channel(INCOMING_MAX);
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let driver = Driver::start(&config, queue, incoming, addresses.clone()).await?;
    let (node, refused) = (driver.node(), driver.refused());
    tokio::spawn(driver.run());
    Ok((Net { node, addresses, refused, commands }, requests))
}

impl Net {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it listens, each with `/p2p/PEER_ID`.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections of other nodes that the transport policy did not want, since the start.
    pub fn refused_connections(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Asks a node, connecting to it if need be, and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`]. After [`CallError::Timeout`] and [`CallError::Closed`] the request may have
    /// been carried out all the same.
    pub async fn call(
        &self,
        node: NodeId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let (answer, answered) = oneshot::channel();
        let work = async {
            let closed = || CallError::Closed { node };
            self.commands.send(Command::Call { node, request, answer }).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout { node, seconds: timeout.as_secs() }),
        }
    }

    /// Notes where a node may be reached.
    pub fn remember(&self, node: NodeId, addresses: Vec<String>) {
        // Hints only: with a full queue they are forgotten.
        let _ = self.commands.try_send(Command::Remember { node, addresses });
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, DhtError> {
        let (answer, answered) = oneshot::channel();
        let work = async {
            self.commands.send(command(answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(DHT_TIMEOUT, work).await.ok().flatten().ok_or(DhtError::Timeout)
    }

    /// Puts a record into the DHT.
    ///
    /// # Errors
    /// [`DhtError::Invalid`] for one that other nodes would refuse, [`DhtError::Alone`] when nobody
    /// took it.
    pub async fn publish(&self, key: [u8; 32], value: Vec<u8>) -> Result<(), DhtError> {
        self.ask(|done| Command::Publish { key, value, done }).await?
    }

    /// Finds a record in the DHT: of the valid ones that nodes return, the one with the highest
    /// sequence.
    ///
    /// # Errors
    /// [`DhtError::Timeout`].
    pub async fn find(&self, key: [u8; 32]) -> Result<Option<Vec<u8>>, DhtError> {
        self.ask(|done| Command::Find { key, done }).await
    }

    /// Nodes of the DHT in this node's table. Each call also walks to a random place, whose nodes
    /// are in the table by a later call.
    pub async fn discover(&self) -> Vec<NodeId> {
        self.ask(|done| Command::Discover { done }).await.unwrap_or_default()
    }

    /// The nodes that this node knows.
    pub async fn peers(&self) -> Vec<Peer> {
        self.ask(|done| Command::Peers { done }).await.unwrap_or_default()
    }

    /// Closes all connections and ends the network task.
    pub async fn shutdown(self) {
        // If the task has ended already, nothing is left to do.
        let _ = self.ask(|done| Command::Shutdown { done }).await;
    }
}
