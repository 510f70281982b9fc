//! A node's ledger: an append-only log of the signed notes that it signed or received, with a Merkle
//! root over them, signed checkpoints, and balances that follow from the notes (spec/ledger.md).
//!
//! Invariant: an entry that was answered for is on disk, and what a checkpoint covers is there
//! unchanged at every later open, or the open fails and says so. No balance is stored. What it is
//! not: a check of what may be appended (the caller has verified the note), a proof to others that
//! nothing was forked (there are no witnesses), or a copy that survives the disk.

mod book;
mod checkpoint;
mod error;
mod frame;
mod ledger;
mod scan;

pub use book::{Balance, Conflict, Role, Subject};
pub use error::LedgerError;
pub use ledger::{ENTRIES_PAGE_MAX, Ledger};
