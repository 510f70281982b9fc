//! The drive over custodians and head boards in memory, with faults injected.
#![allow(clippy::unwrap_used)]

mod attacks;
mod changes;
mod heads;
mod limits;
mod model;
mod round_trip;
mod streams;
mod support;
