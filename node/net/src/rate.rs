//! How fast chunks come from a peer: bytes over the time in which some were on their way.
//!
//! Invariant: time in which nothing was asked for does not count. Not here: where the number is kept.

use std::time::{Duration, Instant};

/// A measurement ends after this long, or when everything that was asked for has come.
const SPAN: Duration = Duration::from_millis(250);
/// Fewer bytes say more about the way there and back than about the line.
const BYTES_MIN: u64 = 64 * 1024;

/// Measures one peer.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    outstanding: u32,
    since: Option<Instant>,
    bytes: u64,
}

impl Rate {
    /// A chunk was asked for; on the way only with a connection.
    pub(crate) fn asked(&mut self, connected: bool, now: Instant) {
        self.outstanding += 1;
        if connected {
            self.connected(now);
        }
    }

    /// There is a connection, so what was asked for is on its way.
    pub(crate) fn connected(&mut self, now: Instant) {
        if self.outstanding > 0 && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// So many bytes have come, 0 for none. With enough of them answers bytes per second.
    pub(crate) fn answered(&mut self, len: u64, now: Instant) -> Option<u64> {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.bytes = self.bytes.saturating_add(len);
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if self.outstanding > 0 && passed < SPAN {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.since = (self.outstanding > 0).then_some(now);
        let microseconds = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
        (bytes >= BYTES_MIN).then(|| bytes.saturating_mul(1_000_000) / microseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_on_the_way_counts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut rate = Rate::default();
        // Two at the same time share the line; there is a connection from 100 ms on.
        rate.asked(false, at(0));
        rate.asked(false, at(0));
        rate.connected(at(100));
        assert_eq!(rate.answered(1 << 20, at(150)), None);
        assert_eq!(rate.answered(1 << 20, at(200)), Some(20 << 20));
        // A minute later.
        rate.asked(true, at(60_000));
        assert_eq!(rate.answered(1 << 20, at(60_500)), Some(2 << 20));
        // Too little, and nothing.
        rate.asked(true, at(70_000));
        assert_eq!(rate.answered(1000, at(70_001)), None);
        rate.asked(true, at(80_000));
        assert_eq!(rate.answered(0, at(90_000)), None);
        // A long one is measured in parts.
        for _ in 0..4 {
            rate.asked(true, at(100_000));
        }
        assert_eq!(rate.answered(1 << 20, at(101_000)), Some(1 << 20));
        assert_eq!(rate.answered(1 << 20, at(101_500)), Some(2 << 20));
        assert_eq!(rate.answered(1 << 20, at(101_501)), None);
    }
}
