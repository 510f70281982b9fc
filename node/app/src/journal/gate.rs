//! How many lines are let in, and how many were not.
//!
//! Invariant: what waits to be written weighs at most [`QUEUE_WEIGHT_MAX`], no kind of line fills the
//! journal by itself (strangers can cause some), and every line that is not let in is counted once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::line::What;

/// Entries of lists that wait: about 8 MiB.
const QUEUE_WEIGHT_MAX: usize = 32 << 10;
/// How long omissions are added up before they are said, seconds.
const OMITTED_FOR_SECONDS: u64 = 60;

/// Most lines of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// In a second.
    pub second: u32,
    /// In an hour.
    pub hour: u32,
}

/// Decisions of one function.
pub const DECISIONS: Rate = Rate { second: 50, hour: 240 };
/// Transfers in one direction.
pub const TRANSFERS: Rate = Rate { second: 200, hour: 5000 };
/// Contracts that are opened, and those that are refused.
pub const CONTRACTS: Rate = Rate { second: 50, hour: 240 };

#[derive(Default)]
struct State {
    second: u64,
    /// Lines of this second and of this hour.
    taken: BTreeMap<&'static str, (u32, u32)>,
    waiting: usize,
    queue: u64,
    rate: BTreeMap<&'static str, u64>,
    /// The second of the first line that was not let in and not said yet.
    omitted_since: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub struct Gate(Mutex<State>);

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more line of a kind goes in; its weight then counts as waiting.
    pub fn admit(&self, name: &'static str, most: Rate, weight: usize, second: u64) -> bool {
        let mut state = self.state();
        if state.second / 3600 != second / 3600 {
            state.taken.clear();
        } else if state.second != second {
            state.taken.values_mut().for_each(|(in_second, _)| *in_second = 0);
        }
        state.second = second;
        let (in_second, in_hour) = state.taken.entry(name).or_default();
        if *in_second >= most.second || *in_hour >= most.hour {
            *state.rate.entry(name).or_default() += 1;
            state.omitted_since.get_or_insert(second);
            return false;
        }
        *in_second += 1;
        *in_hour += 1;
        if state.waiting + weight > QUEUE_WEIGHT_MAX {
            state.queue += 1;
            state.omitted_since.get_or_insert(second);
            return false;
        }
        state.waiting += weight;
        true
    }

    /// A line of that weight was written.
    pub fn written(&self, weight: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(weight);
    }

    /// A line that was let in was not written after all.
    pub fn dropped(&self, weight: usize, second: u64) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(weight);
        state.queue += 1;
        state.omitted_since.get_or_insert(second);
    }

    /// What was not let in, a minute after it began or when it is the `last` chance to say so; `None` when
    /// there is nothing to say.
    pub fn omitted(&self, second: u64, last: bool) -> Option<What> {
        let mut state = self.state();
        let since = state.omitted_since?;
        // A clock may go back.
        if !last && second.abs_diff(since) < OMITTED_FOR_SECONDS {
            return None;
        }
        state.omitted_since = None;
        let rate = std::mem::take(&mut state.rate);
        let rate = rate.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        Some(What::Omitted { queue: std::mem::take(&mut state.queue), rate })
    }
}
