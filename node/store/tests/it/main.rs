//! The store as the rest of the node uses it.
#![allow(clippy::unwrap_used)]

mod book;
mod chunks;
mod kill;
mod model;
mod opening;
mod people;
mod segments;
mod threads;
mod upkeep;
