//! A limit on bytes per second, first come first served.
//!
//! Invariant: over any time, what passes is at most the rate times that time, and beyond it
//! [`BURST`]'s worth and one chunk; without a limit nobody waits. A limit that changes holds at once,
//! also for those who wait. Not here: who sets the limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What was not used in this time may be used later.
const BURST: Duration = Duration::from_millis(250);

/// The arithmetic: what has passed is paid for until a time, and the next may pass then.
#[derive(Debug, Clone, Copy)]
struct Paid {
    until: Instant,
}

impl Paid {
    /// How long so many bytes take.
    fn cost(len: u64, rate: u64) -> Duration {
        let microseconds = u128::from(len) * 1_000_000 / u128::from(rate.max(1));
        // A century is as good as never, and can be added to a time.
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(u64::MAX))
            .min(Duration::from_secs(3_000_000_000))
    }

    fn wait(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    fn pass(&mut self, len: u64, rate: u64, now: Instant) {
        let start = now.checked_sub(BURST).unwrap_or(now).max(self.until);
        self.until = start + Self::cost(len, rate);
    }

    fn give_back(&mut self, len: u64, rate: u64) {
        self.until = self.until.checked_sub(Self::cost(len, rate)).unwrap_or(self.until);
    }

    /// What is not paid for yet is paid for at the new rate.
    fn at_rate(&mut self, old: u64, new: u64, now: Instant) {
        let left = self.wait(now);
        if new == 0 {
            self.until = now;
        } else if !left.is_zero() {
            let bytes = left.as_micros().saturating_mul(u128::from(old)) / 1_000_000;
            self.until = now + Self::cost(u64::try_from(bytes).unwrap_or(u64::MAX), new);
        }
    }
}

/// One direction of the line.
#[derive(Debug)]
pub struct Bucket {
    /// Bytes per second; 0 for no limit.
    rate: watch::Sender<u64>,
    paid: Mutex<Paid>,
    /// Who holds it is next.
    turn: tokio::sync::Mutex<()>,
    /// Bytes of those who wait.
    waiting: AtomicU64,
}

/// Bytes that wait, as long as it lives.
struct Waiting<'a>(&'a AtomicU64, u64);

impl<'a> Waiting<'a> {
    fn new(bytes: &'a AtomicU64, len: u64) -> Self {
        bytes.fetch_add(len, Ordering::Relaxed);
        Self(bytes, len)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            rate: watch::Sender::new(0),
            paid: Mutex::new(Paid { until: Instant::now() }),
            turn: tokio::sync::Mutex::default(),
            waiting: AtomicU64::new(0),
        }
    }
}

impl Bucket {
    fn paid(&self) -> MutexGuard<'_, Paid> {
        // It is one number, replaced whole.
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes per second; 0 for no limit.
    pub fn rate(&self) -> u64 {
        *self.rate.borrow()
    }

    /// Sets the limit; 0 for none.
    pub fn set_rate(&self, rate: u64) {
        let old = self.rate();
        if rate != old {
            self.paid().at_rate(old, rate, Instant::now());
            self.rate.send_replace(rate);
        }
    }

    /// Waits until so many bytes may pass. They are taken then, and only then.
    pub async fn take(&self, len: u64) {
        if self.rate() == 0 {
            return;
        }
        let _waiting = Waiting::new(&self.waiting, len);
        let _turn = self.turn.lock().await;
        let mut changes = self.rate.subscribe();
        loop {
            let rate = *changes.borrow_and_update();
            if rate == 0 {
                return;
            }
            let wait = {
                let (mut paid, now) = (self.paid(), Instant::now());
                let wait = paid.wait(now);
                if wait.is_zero() {
                    paid.pass(len, rate, now);
                    return;
                }
                wait
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// As [`take`](Self::take), unless that takes longer than `most`: then nothing is taken and the
    /// answer is false, at once where it can be foreseen.
    pub async fn take_within(&self, len: u64, most: Duration) -> bool {
        let rate = self.rate();
        if rate == 0 {
            return true;
        }
        let before = Paid::cost(self.waiting.load(Ordering::Relaxed), rate);
        if before + self.paid().wait(Instant::now()) > most {
            return false;
        }
        tokio::time::timeout(most, self.take(len)).await.is_ok()
    }

    /// Bytes that were taken did not pass.
    pub fn give_back(&self, len: u64) {
        let rate = self.rate();
        if rate > 0 {
            self.paid().give_back(len, rate);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;

    #[tokio::test]
    async fn without_a_limit_nobody_waits_and_nobody_is_turned_away() {
        let bucket = Bucket::default();
        for _ in 0..1000 {
            assert!(futures::poll!(std::pin::pin!(bucket.take(u64::MAX))).is_ready());
        }
        assert!(bucket.take_within(u64::MAX, Duration::ZERO).await);
    }

    #[tokio::test]
    async fn what_passes_keeps_the_rate() {
        let bucket = Bucket::default();
        bucket.set_rate(1000 * KIB);
        let begun = Instant::now();
        // The last is paid for only afterwards, and a quarter of a second's worth was there before.
        for _ in 0..10 {
            bucket.take(100 * KIB).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(650), "{:?}", begun.elapsed());
        assert_eq!(bucket.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn whoever_came_first_passes_first_and_a_new_limit_holds_for_those_who_wait() {
        let bucket = Arc::new(Bucket::default());
        bucket.set_rate(1);
        bucket.take(1_000_000).await;
        let passed = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..20 {
            let (of, passed) = (bucket.clone(), passed.clone());
            waiting.push(tokio::spawn(async move {
                of.take(1).await;
                passed.lock().unwrap().push(number);
            }));
            while bucket.waiting.load(Ordering::Relaxed) <= number {
                tokio::task::yield_now().await;
            }
        }
        // Somebody in the middle goes away.
        waiting.remove(7).abort();
        assert!(passed.lock().unwrap().is_empty());
        assert!(!bucket.take_within(1, Duration::from_secs(20)).await);
        // What was a matter of eleven days is one of a second.
        bucket.set_rate(1_000_000);
        for task in waiting {
            task.await.unwrap();
        }
        let expected: Vec<u64> = (0..20).filter(|number| *number != 7).collect();
        assert_eq!(*passed.lock().unwrap(), expected);
        bucket.set_rate(1);
        bucket.take(1_000_000).await;
        let of = bucket.clone();
        let last = tokio::spawn(async move { of.take(1).await });
        while bucket.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        bucket.set_rate(0);
        last.await.unwrap();
    }

    #[tokio::test]
    async fn what_did_not_pass_is_given_back() {
        let bucket = Bucket::default();
        bucket.set_rate(1);
        bucket.take(1_000_000).await;
        bucket.give_back(1_000_000);
        assert!(futures::poll!(std::pin::pin!(bucket.take(1))).is_ready());
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_than_the_rate_passes(
            rate in 1u64..100_000_000,
            steps in proptest::collection::vec((0u64..2_000_000, 1u64..=1 << 20), 1..100),
        ) {
            let start = Instant::now();
            let mut now = start + BURST;
            let mut paid = Paid { until: start };
            let mut passed = Vec::new();
            for (pause, len) in steps {
                now += Duration::from_micros(pause);
                now += paid.wait(now);
                paid.pass(len, rate, now);
                passed.push((now, len));
            }
            for (at, (first, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (then, len) in &passed[at..] {
                    // All but the last are paid for by then.
                    let allowed = (then.duration_since(*first) + BURST).as_secs_f64() * rate as f64;
                    prop_assert!(sum as f64 <= allowed + 2.0 + passed.len() as f64, "{sum} {allowed}");
                    sum += len;
                }
            }
        }

        #[test]
        fn a_debt_keeps_its_bytes_at_another_rate(
            len in 1u64..1 << 30, old in 1u64..1 << 30, new in 1u64..1 << 30
        ) {
            let now = Instant::now();
            let mut paid = Paid { until: now + Paid::cost(len, old) };
            paid.at_rate(old, new, now);
            let expected = len as f64 / new as f64;
            let found = paid.wait(now).as_secs_f64();
            let slack = 1e-5 + (old as f64 / 1e6 + 1.0) / new as f64;
            prop_assert!((found - expected).abs() <= slack, "{found} {expected}");
        }
    }
}
