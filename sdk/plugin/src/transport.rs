//! How data travels (spec/policy-transport.md).
//!
//! `use commonhold_plugin::transport::*` brings in all that a transport policy needs.

pub use crate::bindings::transport::exports::commonhold::policy::transport::{
    Address, Connection, DialPlan, FetchPlan, Limits, Need, Source, Traffic,
};
pub use crate::prelude::*;

/// An address or connection over QUIC: its `transport`.
pub const QUIC: u32 = 1;
/// An address or connection over TCP: its `transport`.
pub const TCP: u32 = 2;

/// This machine: the `scope` of an address.
pub const SCOPE_LOOPBACK: u32 = 1;
/// A private or link-local network: the `scope` of an address.
pub const SCOPE_PRIVATE: u32 = 2;
/// Everywhere: the `scope` of an address.
pub const SCOPE_PUBLIC: u32 = 3;
/// A name that is not resolved yet: the `scope` of an address.
pub const SCOPE_NAME: u32 = 4;

/// Somebody reads: the `purpose` of a need.
pub const PURPOSE_READ: u32 = 1;
/// Repair: the `purpose` of a need.
pub const PURPOSE_REPAIR: u32 = 2;

/// Most addresses that are dialed at the same time.
pub const AT_ONCE_MAX: u32 = 8;
/// Shortest wait before one more source is asked, milliseconds.
pub const HEDGE_AFTER_MS_MIN: u32 = 10;
/// The default's wait, milliseconds.
pub const HEDGE_AFTER_MS: u32 = 1500;

/// A transport policy. What is not written is the built-in default's.
pub trait Transport {
    /// Which of a peer's addresses are dialed, and how many at the same time, 1 to 8. An address that is
    /// left out is not dialed.
    fn dial(now: Moment, peer: Key, addresses: Vec<Address>) -> DialPlan {
        let _ = (now, peer);
        DialPlan { order: order::as_they_stand(addresses.len()), at_once: AT_ONCE_MAX }
    }

    /// How fast chunks go, all peers together; asked every minute.
    fn limit(now: Moment, traffic: Traffic) -> Limits {
        let _ = (now, traffic);
        Limits { upload: 0, download: 0 }
    }

    /// How the chunks of a segment are fetched. Sources that are left out come after the others.
    fn fetch(need: Need, sources: Vec<Source>) -> FetchPlan {
        default_fetch(need, &sources)
    }

    /// How many chunks of a new segment are sent at the same time, 1 to n.
    fn send(need: Need) -> u32 {
        need.n.max(1)
    }

    /// Whether a peer that connected may stay.
    fn admit(connection: Connection) -> Verdict {
        let _ = connection;
        Verdict::yes()
    }
}

/// The default's plan: those that the reader prefers, then whoever answered last time, among equals those
/// that need no decoding; k at a time, and one more after each [`HEDGE_AFTER_MS`].
pub fn default_fetch(need: Need, sources: &[Source]) -> FetchPlan {
    let order = order::by_key(sources, |it| (it.preferred != 1, it.reachable != 1, it.index));
    let parallel = need.k.clamp(1, need.n.max(1));
    FetchPlan { order, parallel, hedge_after_ms: HEDGE_AFTER_MS, hedges: need.n - parallel.min(need.n) }
}

impl Address {
    /// Of the attempts to connect, the part that failed, in thousandths; 0 when there were none.
    pub fn failed_per_mille(&self) -> u32 {
        let all = u64::from(self.successes) + u64::from(self.failures);
        (u64::from(self.failures) * 1000).checked_div(all).unwrap_or(0) as u32
    }
}

/// A public IPv4 address over QUIC that was never dialed, for tests.
impl Default for Address {
    fn default() -> Self {
        Self {
            transport: QUIC,
            scope: SCOPE_PUBLIC,
            family: 4,
            successes: 0,
            failures: 0,
            failures_in_row: 0,
            connect_ms: 0,
            bytes_per_second: 0,
            last_success: 0,
        }
    }
}

/// Nothing went over the link, for tests.
impl Default for Traffic {
    fn default() -> Self {
        Self { sent_today: 0, received_today: 0, sent_this_month: 0, received_this_month: 0 }
    }
}

/// No limits.
impl Default for Limits {
    fn default() -> Self {
        Self { upload: 0, download: 0 }
    }
}

/// Somebody who answers and of whom nothing else is known, for tests.
impl Default for Source {
    fn default() -> Self {
        Self {
            node: Key::NOBODY,
            index: 0,
            reachable: 1,
            preferred: 0,
            median_ms: 0,
            slow_ms: 0,
            successes: 0,
            failures: 0,
        }
    }
}

/// Somebody reads a segment of 2 of 6 chunks of 1 MiB, for tests.
impl Default for Need {
    fn default() -> Self {
        Self { now: Moment::default(), purpose: PURPOSE_READ, k: 2, n: 6, chunk_len: 1 << 20 }
    }
}

/// The first connection, over QUIC and IPv4, for tests.
impl Default for Connection {
    fn default() -> Self {
        Self {
            now: Moment::default(),
            node: Key::NOBODY,
            transport: QUIC,
            scope: SCOPE_PUBLIC,
            family: 4,
            open: 0,
            open_with_peer: 0,
        }
    }
}
