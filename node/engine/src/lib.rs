//! The decisions of a node, without I/O: who gets a chunk, what a provider takes on, when to audit
//! and what an audit says about a provider, what to repair, whether a receipt adds up
//! (spec/engine.md).
//!
//! Invariant: every function here is a function of its arguments. Time, seeds and draws come in;
//! nothing is read, sent, slept or logged, so that a node, a test and a simulator that pass the same
//! arguments decide the same. What it is not: a place for signatures; whoever calls has checked who
//! signed what.

pub mod admission;
pub mod audit;
mod chance;
pub mod claim;
pub mod credit;
pub mod durability;
pub mod placement;
pub mod policy;
pub mod settlement;
