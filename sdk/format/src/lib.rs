//! What Commonhold's nodes, owners and auditors exchange and keep: identifiers, the chunk tree,
//! sealing, erasure coding, manifests, links, signed notes, challenges and proofs, wire messages.
//!
//! Invariant: every decoder here is strict and bounded, so a value of one of these types is valid
//! once built. What this crate is not: it does no I/O, knows no clock and draws no randomness;
//! time, seeds and fresh keys come in as arguments. spec/ describes each format byte by byte.

pub mod audit;
pub mod code;
pub mod course;
pub mod drive;
pub mod evidence;
pub mod head;
pub mod ids;
pub mod inventory;
pub mod keys;
pub mod link;
pub mod log;
pub mod note;
pub mod policy;
pub mod probe;
pub mod record;
pub mod seal;
pub mod segment;
pub mod statement;
pub mod tree;
pub mod wire;
