//! What visitors may draw: token buckets, one for each client and one for each link.
//!
//! Invariant: over any time t a client or link draws at most its burst and rate · t, and one request more.
//! The memory is bounded: when there are too many who have drawn of late, newcomers share one bucket.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::LinkId;

/// Buckets of one kind that are kept; one takes about 64 bytes.
const BUCKETS_MAX: usize = 65_536;
/// Full buckets are looked for no more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait that a visitor is told.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How much may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second, in the long run. At least 1.
    pub per_second: u64,
    /// Bytes at once, after a pause. At least 1.
    pub burst: u64,
}

/// The bounds of serving links. Downloads and deposits count alike, by their bytes; a request counts at
/// least some kilobytes, and one that makes the node search the network more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// For one client: an IPv4 address, or an IPv6 network of 64 bits. 16 MiB/s and 512 MiB by default.
    pub per_client: Rate,
    /// For one link, whoever reads it. 64 MiB/s and 2 GiB by default.
    pub per_link: Rate,
    /// Largest deposit in a drop box, bytes as they are sent. 16 GiB by default.
    pub deposit_len_max: u64,
    /// Take the client's address from the last `X-Forwarded-For`, and its Host from `X-Forwarded-Host`.
    /// Only right behind a web server that sets them: others could write there what they like. Off by
    /// default.
    pub trust_proxy: bool,
}

impl Default for Budgets {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            per_client: Rate { per_second: 16 * MIB, burst: 512 * MIB },
            per_link: Rate { per_second: 64 * MIB, burst: 2048 * MIB },
            deposit_len_max: 16 << 30,
            trust_proxy: false,
        }
    }
}

/// What is left, at a time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Below zero after a request that took more than there was.
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate.per_second as f64).min(rate.burst as f64);
        self.at = now;
    }

    /// Takes `cost`, or says how long there is nothing to take.
    fn draw(&mut self, rate: Rate, cost: u64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        if self.left <= 0.0 {
            let seconds = (1.0 - self.left) / rate.per_second.max(1) as f64;
            return Err(Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX).min(WAIT_MAX));
        }
        self.left -= cost as f64;
        Ok(())
    }
}

/// Buckets of one kind.
struct Buckets<K> {
    rate: Rate,
    max: usize,
    some: HashMap<K, Bucket>,
    /// For those who find no place.
    others: Bucket,
    swept: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(rate: Rate, max: usize, now: Instant) -> Self {
        let full = Bucket { left: rate.burst as f64, at: now };
        Self { rate, max, some: HashMap::new(), others: full, swept: now }
    }

    fn draw(&mut self, key: K, cost: u64, now: Instant) -> Result<(), Duration> {
        let rate = self.rate;
        if self.some.len() >= self.max && !self.some.contains_key(&key) {
            if now.saturating_duration_since(self.swept) >= SWEEP_PAUSE {
                self.swept = now;
                // A full bucket says nothing that a new one would not.
                self.some.retain(|_, bucket| {
                    bucket.refill(rate, now);
                    bucket.left < rate.burst as f64
                });
            }
            if self.some.len() >= self.max {
                return self.others.draw(rate, cost, now);
            }
        }
        let full = Bucket { left: rate.burst as f64, at: now };
        self.some.entry(key).or_insert(full).draw(rate, cost, now)
    }
}

/// The books of all visitors.
pub(super) struct Ledgers {
    clients: Mutex<Buckets<IpAddr>>,
    links: Mutex<Buckets<LinkId>>,
}

impl Ledgers {
    pub(super) fn new(budgets: &Budgets) -> Self {
        let now = Instant::now();
        Self {
            clients: Mutex::new(Buckets::new(budgets.per_client, BUCKETS_MAX, now)),
            links: Mutex::new(Buckets::new(budgets.per_link, BUCKETS_MAX, now)),
        }
    }

    /// Charges a client, or says how long to wait.
    pub(super) fn client(&self, client: IpAddr, cost: u64) -> Result<(), Duration> {
        // Numbers alone are in there: whoever panicked left nothing half done.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.draw(client, cost, Instant::now())
    }

    /// Charges a link, or says how long to wait.
    pub(super) fn link(&self, link: LinkId, cost: u64) -> Result<(), Duration> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.draw(link, cost, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_second: 1000, burst: 5000 };

    #[test]
    fn attack_42_a_budget_is_a_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::new(RATE, 4, start);
        assert_eq!(buckets.draw(1, 5000, start), Ok(()));
        let wait = buckets.draw(1, 1, start).expect_err("it is empty");
        assert!(wait <= Duration::from_millis(2), "{wait:?}");
        // One request may take more than there is, and the next one waits for it.
        assert_eq!(buckets.draw(1, 11_000, start + Duration::from_secs(1)), Ok(()));
        let wait = buckets.draw(1, 1, start + Duration::from_secs(1)).expect_err("in debt");
        assert!(wait > Duration::from_secs(9) && wait < Duration::from_secs(11), "{wait:?}");
        assert_eq!(buckets.draw(2, 1, start), Ok(()), "another one is not concerned");
    }

    #[test]
    fn attack_37_budgets_keep_a_bounded_number_of_visitors() {
        let start = Instant::now();
        let mut buckets = Buckets::new(RATE, 100, start);
        for visitor in 0..100 {
            assert_eq!(buckets.draw(visitor, 3000, start), Ok(()));
        }
        // Newcomers share one bucket while all others are in use.
        assert_eq!(buckets.draw(100, 5000, start), Ok(()));
        assert!(buckets.draw(101, 1, start).is_err());
        assert_eq!(buckets.some.len(), 100);
        // When those are full again, they make room.
        let later = start + Duration::from_secs(60);
        assert_eq!(buckets.draw(101, 1, later), Ok(()));
        assert_eq!(buckets.some.len(), 1);
    }

    proptest! {
        /// Over any sequence of draws nobody gets more than the promise.
        #[test]
        fn attack_42_nobody_draws_more_than_burst_and_rate(
            draws in prop::collection::vec((0u64..2000, 0u64..3000), 1..200),
        ) {
            let start = Instant::now();
            let mut buckets = Buckets::new(RATE, 4, start);
            let (mut now, mut drawn, mut largest) = (start, 0, 0);
            for (pause, cost) in draws {
                now += Duration::from_millis(pause);
                largest = largest.max(cost);
                if buckets.draw(7, cost, now).is_ok() {
                    drawn += cost;
                }
            }
            let passed = now.duration_since(start).as_millis() as u64;
            prop_assert!(drawn <= RATE.burst + RATE.per_second * passed / 1000 + largest + 1);
        }
    }
}
