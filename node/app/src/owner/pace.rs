//! How fast nodes send chunks: the times of the last ones, for the transport policy.
//!
//! Invariant: bounded for each node and in all; kept in memory alone. A chunk that nobody waited for
//! any longer counts with the time that it was waited for, when that was longer than the node's
//! median: otherwise those who are always too slow would have no times at all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonhold_format::ids::NodeId;

/// Times that are kept of one node.
const TIMES_MAX: usize = 32;
/// Nodes that are remembered; beyond it the half that was asked least lately goes.
const NODES_MAX: usize = 10_000;

/// What is known of one node.
#[derive(Debug, Clone, Default)]
struct Pace {
    times: VecDeque<u32>,
    successes: u32,
    failures: u32,
    asked: u64,
}

/// A node's pace, for a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Half of the last chunks arrived within this time, milliseconds; 0 when unknown.
    pub median_ms: u32,
    /// 19 in 20 of them did.
    pub slow_ms: u32,
    /// Chunks that came.
    pub successes: u32,
    /// Chunks that did not.
    pub failures: u32,
}

/// The smallest of the times that so many hundredths of them do not exceed.
fn percentile(sorted: &[u32], hundredths: usize) -> u32 {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

impl Pace {
    fn sorted(&self) -> Vec<u32> {
        let mut times: Vec<u32> = self.times.iter().copied().collect();
        times.sort_unstable();
        times
    }

    fn push(&mut self, time: Duration) {
        if self.times.len() == TIMES_MAX {
            self.times.pop_front();
        }
        self.times.push_back(u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1));
    }
}

#[derive(Debug, Default)]
struct All {
    nodes: HashMap<NodeId, Pace>,
    asked: u64,
}

/// The paces of all nodes.
#[derive(Debug, Default)]
pub struct Paces(Mutex<All>);

impl Paces {
    fn all(&self) -> MutexGuard<'_, All> {
        // Every change is a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a node.
    pub fn of(&self, node: &NodeId) -> Measured {
        let all = self.all();
        let Some(pace) = all.nodes.get(node) else { return Measured::default() };
        let sorted = pace.sorted();
        Measured {
            median_ms: percentile(&sorted, 50),
            slow_ms: percentile(&sorted, 95),
            successes: pace.successes,
            failures: pace.failures,
        }
    }

    /// A node is asked for a chunk now.
    pub fn ask(&self, node: NodeId) -> Asked<'_> {
        Asked { paces: self, node, begun: Instant::now(), ended: false }
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut Pace)) {
        let mut all = self.all();
        all.asked += 1;
        let now = all.asked;
        if all.nodes.len() >= NODES_MAX && !all.nodes.contains_key(&node) {
            let mut times: Vec<u64> = all.nodes.values().map(|pace| pace.asked).collect();
            times.sort_unstable();
            let median = times[times.len() / 2];
            all.nodes.retain(|_, pace| pace.asked > median);
        }
        let pace = all.nodes.entry(node).or_default();
        pace.asked = now;
        change(pace);
    }
}

/// A chunk that was asked for. Dropped, nobody waits for it any longer.
pub struct Asked<'a> {
    paces: &'a Paces,
    node: NodeId,
    begun: Instant,
    ended: bool,
}

impl Asked<'_> {
    /// It came, or the node did not send it.
    pub fn ended(mut self, came: bool) {
        self.ended = true;
        let time = self.begun.elapsed();
        self.paces.change(self.node, |pace| {
            if came {
                pace.push(time);
                pace.successes = pace.successes.saturating_add(1);
            } else {
                pace.failures = pace.failures.saturating_add(1);
            }
        });
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let time = self.begun.elapsed();
        if !self.ended && time.as_millis() > u128::from(self.paces.of(&self.node).median_ms) {
            self.paces.change(self.node, |pace| pace.push(time));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u32) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(bytes)
    }

    #[test]
    fn the_last_times_count_and_older_ones_do_not() {
        let paces = Paces::default();
        assert_eq!(paces.of(&node(1)), Measured::default());
        for ms in 1..=100 {
            paces.change(node(1), |pace| pace.push(Duration::from_millis(ms)));
        }
        // The last 32 are 69 to 100.
        let it = paces.of(&node(1));
        assert_eq!((it.median_ms, it.slow_ms), (84, 99));
    }

    #[test]
    fn what_nobody_waited_for_counts_when_it_was_slow() {
        let paces = Paces::default();
        paces.ask(node(1)).ended(true);
        paces.ask(node(1)).ended(false);
        let first = paces.of(&node(1));
        assert_eq!((first.successes, first.failures), (1, 1));
        let asked = paces.ask(node(1));
        std::thread::sleep(Duration::from_millis(u64::from(first.median_ms) + 20));
        drop(asked);
        let it = paces.of(&node(1));
        assert!(it.slow_ms >= first.median_ms + 20, "{it:?}");
        assert_eq!((it.successes, it.failures), (1, 1));
        // Given up at once, it says nothing.
        drop(paces.ask(node(2)));
        assert_eq!(paces.of(&node(2)).median_ms, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let paces = Paces::default();
        for number in 0..NODES_MAX as u32 + 10 {
            paces.change(node(number), |pace| pace.successes += 1);
            assert!(paces.all().nodes.len() <= NODES_MAX);
        }
        assert_eq!(paces.of(&node(0)).successes, 0);
        assert_eq!(paces.of(&node(NODES_MAX as u32)).successes, 1);
    }

    proptest! {
        #[test]
        fn a_percentile_is_what_its_name_says(
            mut times in proptest::collection::vec(any::<u32>(), 1..64), hundredths in 1usize..=100
        ) {
            times.sort_unstable();
            let found = percentile(&times, hundredths);
            let within = times.iter().filter(|time| **time <= found).count();
            let below = times.iter().filter(|time| **time < found).count();
            prop_assert!(within * 100 >= times.len() * hundredths);
            prop_assert!(below * 100 < times.len() * hundredths);
        }
    }
}
