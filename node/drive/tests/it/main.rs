//! The drive over custodians and head boards in memory, with faults injected.
#![allow(clippy::unwrap_used)]

mod attacks;
mod changes;
mod files;
mod heads;
mod limits;
mod merge;
mod model;
mod round_trip;
mod shares;
mod streams;
mod support;
