//! Tests that stand between the store and its disk, or set its limits otherwise.
#![allow(clippy::unwrap_used)]

mod crash;
mod damaged_index;
mod failures;
mod faults;
mod flips;
mod images;
mod index;
mod limits;
#[path = "../../tests/it/people.rs"]
pub(crate) mod people;
mod sectors;
mod simulated;
mod space;
mod torn_index;
mod world;
