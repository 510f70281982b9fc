//! Runs policy plugins: WebAssembly components that answer the questions of
//! [`commonhold_format::policy`] under limits, with the built-in default behind them
//! (spec/policy.md, spec/plugins.md).
//!
//! A [`Host`] compiles components, a [`Plugin`] is one that was checked and compiled, a [`Seat`] is the
//! place in a node where a policy decides: a plugin or nothing, and always a default.
//!
//! Invariant: whatever a plugin does, a [`Seat`] answers, the answer passed [`Question::check`], and the
//! node's time that went into it is bounded. A plugin sees its question, what the operator configured
//! for it and what it remembered itself; it has no clock, no randomness, no files and no network. What
//! it is not: a judge of policies. Rules that no policy may bend are applied by whoever asked.
//!
//! [`Question::check`]: commonhold_format::policy::Question::check

mod breaker;
mod call;
mod convert;
mod engine;
mod fault;
mod guest;
mod limits;
mod load;
mod scan;
mod seat;
mod self_test;
mod state;
mod wit;

pub use breaker::{
    BREAKER_FAULTS_IN_ROW, BREAKER_FAULTS_IN_WINDOW, BREAKER_PAUSE, BREAKER_PAUSE_MAX, BREAKER_WINDOW,
};
pub use call::{Called, Plugin};
pub use engine::{Host, HostError};
pub use fault::{Fault, FaultKind};
pub use guest::{LOG_LINE_LEN_MAX, LOG_LINES_MAX, Level, LogLine};
pub use limits::{Limits, MEMORY_BYTES_MAX, WALL_MAX};
pub use load::{Grant, Refused, Trust};
pub use seat::{Decider, Metrics, Observer, PastFault, Seat, SeatLine, SeatStatus};
pub use state::{STATE_KEY_LEN_MAX, STATE_KEYS_MAX, STATE_LEN_MAX, STATE_VALUE_LEN_MAX, State, StateError};
