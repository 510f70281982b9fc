//! The libp2p behaviours of a node, and every limit on them with its reason.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use commonhold_format::record::RECORD_LEN_MAX;
use commonhold_format::wire::{CHUNK_PROTOCOL, CONTROL_PROTOCOL};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, BucketInserts, Mode, StoreInserts};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, identify, ping};

use crate::StartError;
use crate::codec::Codec;
use crate::guard::Guard;
use crate::paths::Paths;
use crate::reach::DIAL_TIMEOUT;

/// Our own DHT: no other network's nodes get into it by accident.
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/commonhold/kad/1");
const IDENTIFY_PROTOCOL: &str = "/commonhold/identify/1";

/// Open connections in all: a home router's table holds a few thousand.
pub(crate) const CONNECTIONS_MAX: u32 = 512;
/// Connections of one peer: one of each transport in each direction.
pub(crate) const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Inbound connections that have not finished their handshake.
const PENDING_INBOUND_MAX: u32 = 128;
/// Outbound connections that have not finished their handshake.
const PENDING_OUTBOUND_MAX: u32 = 256;
/// Small requests at work on one connection.
const CONTROL_STREAMS_MAX: usize = 128;
/// Chunk requests at work on one connection; each may hold a chunk in memory.
const CHUNK_STREAMS_MAX: usize = 48;
/// The longest that any request may take; callers set shorter limits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// DHT records kept for others: 64 MiB at most.
const RECORDS_MAX: usize = 8192;
/// How long a DHT query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Our own records are published anew this often.
const PUBLICATION_INTERVAL: Duration = Duration::from_secs(3600);
/// Records are dropped after this long without being published anew.
const RECORD_TTL: Duration = Duration::from_secs(48 * 3600);
/// The table is refreshed this often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// Nodes that keep each record.
const REPLICATION: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");
/// A connection without streams is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) control: request_response::Behaviour<Codec>,
    pub(crate) chunks: request_response::Behaviour<Codec>,
}

fn behaviour(key: &Keypair, dht_server: bool) -> Behaviour {
    let peer = key.public().to_peer_id();
    let limits = ConnectionLimits::default()
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(Some(PENDING_INBOUND_MAX))
        .with_max_pending_outgoing(Some(PENDING_OUTBOUND_MAX));
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_query_timeout(QUERY_TIMEOUT)
        .set_replication_factor(REPLICATION)
        .set_publication_interval(Some(PUBLICATION_INTERVAL))
        .set_record_ttl(Some(RECORD_TTL))
        .set_max_packet_size(2 * RECORD_LEN_MAX)
        .set_periodic_bootstrap_interval(Some(REFRESH_INTERVAL))
        .disjoint_query_paths(true);
    let store = MemoryStoreConfig {
        max_records: RECORDS_MAX,
        max_value_bytes: RECORD_LEN_MAX,
        // Nobody provides keys here: manifests name the holders.
        max_providers_per_key: 1,
        max_provided_keys: 1,
    };
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, store), config);
    kad.set_mode(Some(if dht_server { Mode::Server } else { Mode::Client }));
    let requests = |bulk: bool, protocol: &'static str, streams: usize| {
        request_response::Behaviour::with_codec(
            Codec { bulk },
            [(StreamProtocol::new(protocol), ProtocolSupport::Full)],
            request_response::Config::default()
                .with_request_timeout(REQUEST_TIMEOUT)
                .with_max_concurrent_streams(streams),
        )
    };
    Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(
            identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
                .with_agent_version(format!("commonhold/{}", env!("CARGO_PKG_VERSION"))),
        ),
        ping: ping::Behaviour::default(),
        kad,
        control: requests(false, CONTROL_PROTOCOL, CONTROL_STREAMS_MAX),
        chunks: requests(true, CHUNK_PROTOCOL, CHUNK_STREAMS_MAX),
    }
}

/// A swarm over QUIC and TCP that listens nowhere yet.
pub(crate) fn swarm(
    mut seed: [u8; 32],
    dht_server: bool,
    paths: Arc<Paths>,
) -> Result<Swarm<Guard>, StartError> {
    let setup = |why: String| StartError::Setup { why };
    let key = Keypair::ed25519_from_bytes(&mut seed[..]).map_err(|error| setup(error.to_string()))?;
    let swarm = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|key| crate::reach::transport(key, paths.clone()))
        .map_err(|error| setup(error.to_string()))?
        .with_behaviour(|key| Guard::new(behaviour(key, dht_server), paths))
        .map_err(|error| setup(error.to_string()))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .with_connection_timeout(DIAL_TIMEOUT)
        .build();
    Ok(swarm)
}
