//! So many of something in an hour, for each key: what others may have this node write down.
//!
//! Invariant: a key is remembered for an hour after its first use and then forgotten, so memory is
//! bounded by what came within an hour. Not here: what is refused, and with which words.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// Counts by key.
#[derive(Debug)]
pub struct Hourly<K> {
    most: usize,
    used: HashMap<K, (Instant, usize)>,
}

impl<K: Eq + Hash> Hourly<K> {
    /// At most so many in an hour for each key.
    pub fn new(most: usize) -> Self {
        Self { most, used: HashMap::new() }
    }

    /// Takes `count` for `key`, if that is within the bound; otherwise nothing changes.
    pub fn take(&mut self, key: K, count: usize) -> bool {
        self.used.retain(|_, (since, _)| since.elapsed() < HOUR);
        let (_, used) = self.used.entry(key).or_insert((Instant::now(), 0));
        let fits = *used + count <= self.most;
        if fits {
            *used += count;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bound() {
        let mut hourly = Hourly::new(3);
        assert!(hourly.take(1, 2) && !hourly.take(1, 2) && hourly.take(1, 1) && !hourly.take(1, 1));
        assert!(hourly.take(2, 3));
        assert!(!hourly.take(3, 4));
    }
}
