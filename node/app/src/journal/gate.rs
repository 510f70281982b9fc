//! How many lines are let in, and how many were not.
//!
//! Invariant: what waits to be written weighs at most [`QUEUE_WEIGHT_MAX`], and every line that is not
//! let in is counted once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::line::What;

/// Decisions of one function in a second.
pub const DECISIONS_PER_SECOND: u32 = 50;
/// Events of one kind in a second.
pub const EVENTS_PER_SECOND: u32 = 200;
/// Entries of lists that wait: about 8 MiB.
const QUEUE_WEIGHT_MAX: usize = 32 << 10;

#[derive(Default)]
struct State {
    second: u64,
    taken: BTreeMap<&'static str, u32>,
    waiting: usize,
    queue: u64,
    rate: BTreeMap<&'static str, u64>,
    /// The second of the last line that was not let in.
    omitted_at: u64,
}

/// See the module.
#[derive(Default)]
pub struct Gate(Mutex<State>);

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more line of a kind goes in; its weight then counts as waiting.
    pub fn admit(&self, name: &'static str, per_second: u32, weight: usize, second: u64) -> bool {
        let mut state = self.state();
        if state.second != second {
            state.second = second;
            state.taken.clear();
        }
        let taken = state.taken.entry(name).or_default();
        if *taken >= per_second {
            *state.rate.entry(name).or_default() += 1;
            state.omitted_at = second;
            return false;
        }
        *taken += 1;
        if state.waiting + weight > QUEUE_WEIGHT_MAX {
            state.queue += 1;
            state.omitted_at = second;
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
        state.omitted_at = second;
    }

    /// What was not let in before `second`, once that is over; `None` when there is nothing to say.
    pub fn omitted(&self, second: u64) -> Option<What> {
        let mut state = self.state();
        if (state.queue == 0 && state.rate.is_empty()) || state.omitted_at == second {
            return None;
        }
        let rate = std::mem::take(&mut state.rate);
        let rate = rate.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        Some(What::Omitted { queue: std::mem::take(&mut state.queue), rate })
    }
}
