//! Tests that stand between the store and its disk, or set its limits otherwise.
#![allow(clippy::unwrap_used)]

mod failures;
mod images;
mod index;
mod limits;
#[path = "../../tests/it/people.rs"]
pub(crate) mod people;
mod power;
mod simulated;
mod torn_index;
