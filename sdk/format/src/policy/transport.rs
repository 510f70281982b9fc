//! The questions of the world `transport` (spec/policy-transport.md).

use serde::{Deserialize, Serialize};

use super::{BadAnswer, Key, Moment, Purpose, bad, positions};

/// Most addresses of a peer that are tried at the same time.
pub const DIAL_AT_ONCE_MAX: u32 = 8;
/// Shortest wait before one more source is asked, milliseconds.
pub const HEDGE_AFTER_MS_MIN: u32 = 10;

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Code 1.
    #[default]
    Quic,
    /// Code 2.
    Tcp,
}

impl Transport {
    /// The WIT's code.
    pub fn code(self) -> u32 {
        match self {
            Self::Quic => 1,
            Self::Tcp => 2,
        }
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This machine. Code 1.
    Loopback,
    /// A private or link-local network. Code 2.
    Private,
    /// Everywhere. Code 3.
    #[default]
    Public,
    /// A name that is not resolved yet. Code 4.
    Name,
}

impl Scope {
    /// The WIT's code.
    pub fn code(self) -> u32 {
        match self {
            Self::Loopback => 1,
            Self::Private => 2,
            Self::Public => 3,
            Self::Name => 4,
        }
    }
}

/// An address of a peer, with what this node saw there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Address {
    /// What carries connections there.
    pub transport: Transport,
    /// How far it reaches.
    pub scope: Scope,
    /// 4 or 6; 0 for a name.
    pub family: u32,
    /// Connections made.
    pub successes: u32,
    /// Attempts failed.
    pub failures: u32,
    /// Attempts failed since the last connection.
    pub failures_in_row: u32,
    /// How long making a connection takes, milliseconds, a moving mean; 0 when unknown.
    pub connect_ms: u32,
    /// What arrives, bytes per second, a moving mean; 0 when unknown.
    pub bytes_per_second: u64,
    /// When a connection was made last, Unix seconds; 0 when none was.
    pub last_success: u64,
}

/// Which addresses of a peer are dialed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// When.
    #[serde(default)]
    pub now: Moment,
    /// The peer's node.
    #[serde(default)]
    pub peer: Key,
    /// Where it may be reached.
    pub addresses: Vec<Address>,
}

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialPlan {
    /// Positions in the addresses, first to be tried first.
    pub order: Vec<u32>,
    /// How many are tried at the same time, 1 to [`DIAL_AT_ONCE_MAX`].
    pub at_once: u32,
}

impl Dial {
    pub(super) fn check_plan(&self, answer: &DialPlan) -> Result<(), BadAnswer> {
        positions("addresses", self.addresses.len(), &answer.order)?;
        within("addresses at once", answer.at_once, 1, DIAL_AT_ONCE_MAX)
    }
}

/// What went over the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traffic {
    /// Bytes of chunks sent since midnight, operator's time.
    pub sent_today: u64,
    /// Received.
    pub received_today: u64,
    /// Sent since the first of the month.
    pub sent_this_month: u64,
    /// Received.
    pub received_this_month: u64,
}

/// How fast chunks go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// When.
    pub now: Moment,
    /// What went before.
    pub traffic: Traffic,
}

/// Bytes of chunks per second, all peers together; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// To others.
    pub upload: u64,
    /// From others.
    pub download: u64,
}

/// Somebody who can send a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Who.
    pub node: Key,
    /// Which chunk.
    pub index: u32,
    /// Answered the last time?
    pub reachable: bool,
    /// Did the reader ask for it first?
    pub preferred: bool,
    /// Half of its last chunks arrived within this time, milliseconds; 0 when unknown.
    pub median_ms: u32,
    /// 19 in 20 of them did.
    pub slow_ms: u32,
    /// Chunks that it sent.
    pub successes: u32,
    /// Chunks that it did not send.
    pub failures: u32,
}

/// How the chunks of a segment are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// When.
    #[serde(default)]
    pub now: Moment,
    /// What for.
    #[serde(default)]
    pub purpose: Purpose,
    /// Chunks that are needed.
    pub k: u32,
    /// Chunks of the segment.
    pub n: u32,
    /// Bytes of each.
    pub chunk_len: u32,
    /// At most one for each chunk.
    pub sources: Vec<Source>,
}

/// See [`Fetch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchPlan {
    /// Positions in the sources, first to be asked first; those left out come after.
    pub order: Vec<u32>,
    /// Chunks that are asked for at the same time, 1 to n.
    pub parallel: u32,
    /// After so long without a chunk one more is asked for, milliseconds.
    pub hedge_after_ms: u32,
    /// Most chunks that are asked for because of slowness.
    pub hedges: u32,
}

impl Fetch {
    pub(super) fn check_plan(&self, answer: &FetchPlan) -> Result<(), BadAnswer> {
        positions("sources", self.sources.len(), &answer.order)?;
        within("chunks at once", answer.parallel, 1, self.n)?;
        within("milliseconds before a hedge", answer.hedge_after_ms, HEDGE_AFTER_MS_MIN, u32::MAX)?;
        within("hedges", answer.hedges, 0, self.n)
    }
}

/// How many chunks of a new segment are sent at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    /// When.
    pub now: Moment,
    /// What for.
    pub purpose: Purpose,
    /// Chunks that give the segment back.
    pub k: u32,
    /// Chunks of the segment.
    pub n: u32,
    /// Bytes of each.
    pub chunk_len: u32,
}

impl Send {
    pub(super) fn check_parallel(&self, answer: &u32) -> Result<(), BadAnswer> {
        within("chunks at once", *answer, 1, self.n)
    }
}

/// Whether a peer may stay connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmitConnection {
    /// When.
    pub now: Moment,
    /// The peer.
    pub node: Key,
    /// What carries it.
    pub transport: Transport,
    /// Where it comes from.
    pub scope: Scope,
    /// 4 or 6.
    pub family: u32,
    /// Connections that are open.
    pub open: u32,
    /// Of those, with this peer.
    pub open_with_peer: u32,
}

fn within(what: &str, found: u32, low: u32, high: u32) -> Result<(), BadAnswer> {
    if (low..=high).contains(&found) { Ok(()) } else { bad(format!("{found} {what}: {low} to {high} go")) }
}
