//! Which nodes exist, what they offer and whether they answer: found by walking the DHT, each
//! asked for its own signed record.
//!
//! Invariant: an entry stands here only with a record that its node signed and that has not
//! expired. Not here: whom to choose (engine) and contracts.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonhold_engine::placement::subnet_of;
use commonhold_format::ids::NodeId;
use commonhold_format::record::NodeRecord;
use commonhold_format::wire::{Request, Response};
use commonhold_net::Net;
use futures::StreamExt;

use crate::clock::unix_seconds;

/// Most nodes that are kept; new ones are not taken in beyond it until others expire.
const NODES_MAX: usize = 10_000;
/// Nodes that are asked at the same time.
const PARALLEL: usize = 16;
/// How long a node may take to show its record.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that did not answer is not asked again for this long.
const PAUSE: Duration = Duration::from_secs(10);

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its signed record.
    pub record: NodeRecord,
    /// When it last answered, in Unix seconds.
    pub last_seen: u64,
    /// Did it answer the last time it was asked for anything?
    pub reachable: bool,
    /// How long its last answer took, milliseconds.
    pub latency_ms: u32,
}

impl Known {
    /// The IP address that its first address names, if any.
    pub fn ip(&self) -> Option<IpAddr> {
        self.record.addresses.iter().find_map(|address| {
            let mut parts = address.split('/').skip(1);
            match (parts.next(), parts.next()) {
                (Some("ip4" | "ip6"), Some(ip)) => ip.parse().ok(),
                _ => None,
            }
        })
    }

    /// The subnet that placement keeps apart; `None` on LANs and loopback.
    pub fn subnet(&self) -> Option<commonhold_engine::placement::Subnet> {
        self.ip().and_then(subnet_of)
    }
}

/// The shared directory; cheap to clone.
#[derive(Clone)]
pub struct Directory {
    net: Net,
    nodes: Arc<Mutex<HashMap<NodeId, Known>>>,
    /// When nodes failed to answer; they are left alone for [`PAUSE`].
    failed: Arc<Mutex<HashMap<NodeId, Instant>>>,
}

impl Directory {
    /// An empty directory over `net`.
    pub fn new(net: Net) -> Self {
        Self { net, nodes: Arc::default(), failed: Arc::default() }
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        // Entries are replaced whole, so a panic elsewhere leaves the map valid.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything known.
    pub fn all(&self) -> Vec<Known> {
        self.nodes().values().cloned().collect()
    }

    /// What is known of one node.
    pub fn get(&self, node: &NodeId) -> Option<Known> {
        self.nodes().get(node).cloned()
    }

    /// Is this node known to be out of reach at present?
    pub fn is_down(&self, node: &NodeId) -> bool {
        self.nodes().get(node).is_some_and(|known| !known.reachable)
    }

    /// How many nodes lend disk, answered the last time and are connected.
    pub async fn offering(&self) -> usize {
        let peers = self.net.peers().await;
        let connected: HashSet<NodeId> =
            peers.iter().filter(|peer| peer.connected).map(|peer| peer.node).collect();
        let offers = |known: &&Known| {
            known.reachable && known.record.offer.is_some() && connected.contains(&known.record.node)
        };
        self.nodes().values().filter(offers).count()
    }

    /// Notes that a node answered, or did not.
    pub fn observed(&self, node: &NodeId, answered: bool) {
        if let Some(known) = self.nodes().get_mut(node) {
            known.reachable = answered;
            if answered {
                known.last_seen = unix_seconds();
            }
        }
        let mut failed = self.failed();
        if answered {
            failed.remove(node);
        } else {
            failed.retain(|_, at| at.elapsed() < PAUSE);
            failed.insert(*node, Instant::now());
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks the DHT and asks every node found for its record.
    pub async fn refresh(&self) {
        let mut found: HashSet<NodeId> = self.net.discover().await.into_iter().collect();
        found.extend(self.nodes().keys().copied());
        found.remove(&self.net.node());
        self.ask(found).await;
    }

    /// Asks these nodes whether they are there.
    pub async fn ask(&self, nodes: impl IntoIterator<Item = NodeId>) {
        let paused: HashSet<NodeId> =
            self.failed().iter().filter(|(_, at)| at.elapsed() < PAUSE).map(|(node, _)| *node).collect();
        futures::stream::iter(nodes.into_iter().filter(|node| !paused.contains(node)))
            .for_each_concurrent(PARALLEL, |node| async move {
                self.introduce(node).await;
            })
            .await;
        let now = unix_seconds();
        self.nodes().retain(|_, known| known.record.expires > now);
    }

    async fn introduce(&self, node: NodeId) {
        let asked = Instant::now();
        let answer = self.net.call(node, Request::Hello, HELLO_TIMEOUT).await;
        let Ok(Response::Record { record }) = answer else {
            self.observed(&node, false);
            return;
        };
        let now = unix_seconds();
        let record = match NodeRecord::decode(&record) {
            Ok(record) if record.node == node && record.expires > now => record,
            _ => {
                tracing::debug!(peer = %node, "showed a record that is not its own valid one");
                return;
            }
        };
        self.net.remember(node, record.addresses.clone());
        let mut nodes = self.nodes();
        if nodes.len() < NODES_MAX || nodes.contains_key(&node) {
            let latency_ms = u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX);
            self.failed().remove(&node);
            nodes.insert(node, Known { record, last_seen: now, reachable: true, latency_ms });
        }
    }
}
