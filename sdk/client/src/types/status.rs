//! How a node is, and which others it knows (spec/api.md).
//!
//! Invariant: what a node cannot say is absent, never 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AuditsHere, DriveStatus, LedgerHead, Prices, ProviderStanding, ScrubStatus, Storage};

/// On which side of something this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Lends disk.
    Provider,
    /// Keeps files with others.
    Owner,
}

impl Role {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Provider => "provider",
            Role::Owner => "owner",
        }
    }
}

/// `GET /v1/status`: how the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running program, like "0.1.0".
    pub version: String,
    /// What the node is for.
    pub role: Role,
    /// The node's peer id, `12D3KooW…`.
    pub peer_id: String,
    /// The party that signs its notes, 64 hexadecimal digits.
    pub party: String,
    /// Multiaddrs under which it listens, each ending in `/p2p/PEER_ID`.
    pub addresses: Vec<String>,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// URL of this API, like `http://127.0.0.1:4700`.
    pub api: String,
    /// Why the node takes in and acknowledges nothing, when its disk is not well; absent otherwise.
    pub quarantine: Option<String>,
    /// The lent disk; absent when the node lends none, or cannot look at it.
    pub storage: Option<Storage>,
    /// The scrub of the lent disk; absent like it.
    pub scrub: Option<ScrubStatus>,
    /// The owner's drive; absent when the node keeps no files.
    pub drive: Option<DriveStatus>,
    /// Contracts in the book, as either side.
    pub contracts: u64,
    /// Peers with an open connection.
    pub peers_connected: u64,
    /// Connections of others that the transport policy did not want, since the start.
    #[serde(default)]
    pub connections_refused: u64,
    /// What chunks take of the line.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// The node's own ledger.
    pub ledger: LedgerHead,
    /// Providers of this owner that are not in good standing, or did not pass their last audit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standings: Vec<ProviderStanding>,
    /// What owners found when they audited this node; absent when none ever told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audits_here: Option<AuditsHere>,
    /// What its operator should look at, as sentences; empty when all is well.
    pub problems: Vec<String>,
    /// Of a node that keeps files: milliseconds that the stages of its puts and gets took since it
    /// started. Stages that run beside each other each count in full.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stage_milliseconds: BTreeMap<String, u64>,
    /// Where the pages of links are served to everybody, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where programs that speak S3 find this node's files, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
}

/// What chunks took of the line, all peers together, and how fast they may go. Days and months are
/// those of the operator's time zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Bytes of chunks sent since midnight.
    pub sent_today_bytes: u64,
    /// Received since midnight.
    pub received_today_bytes: u64,
    /// Sent since the first of the month.
    pub sent_this_month_bytes: u64,
    /// Received since the first of the month.
    pub received_this_month_bytes: u64,
    /// Chunks that were asked for because others were slow, since the node started.
    #[serde(default)]
    pub hedged_chunks: u64,
    /// The limit that the transport policy set for sending, bytes per second; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_limit_bytes_per_second: Option<u64>,
    /// The limit for receiving; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_limit_bytes_per_second: Option<u64>,
}

/// An element of `GET /v1/peers`: a node that this node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its peer id.
    pub peer_id: String,
    /// The party that signs its notes; absent until its record was seen.
    pub party: Option<String>,
    /// Multiaddrs under which it was seen or says it is.
    pub addresses: Vec<String>,
    /// Is there an open connection?
    pub connected: bool,
    /// Last measured round trip, milliseconds; absent when never measured.
    pub round_trip_ms: Option<u32>,
    /// `"quic"` or `"tcp"`; absent without a connection.
    pub transport: Option<String>,
    /// Bytes that it says it still lends; absent when it offers none or was not asked.
    pub free_bytes: Option<u64>,
    /// What it asks of everybody; absent when it offers nothing.
    pub prices: Option<Prices>,
    /// The country where it says that it is, two letters; absent when it does not.
    pub region: Option<String>,
}
