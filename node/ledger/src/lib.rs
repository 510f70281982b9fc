//! A node's ledger: an append-only log of the signed notes that it signed or received, with a Merkle
//! root over them, signed checkpoints, and balances that follow from the notes (spec/ledger.md).
//!
//! Invariant: an entry that was answered for is on disk, and what a checkpoint covers is there
//! unchanged at every later open, or the open fails and says so. No balance is stored. A ledger of
//! somebody else is believed in nothing ([`verify`], [`compare`]). What it is not: a check of what may
//! be appended (the caller has verified the note), or a copy that survives the disk.

mod book;
pub mod bundle;
mod checkpoint;
pub mod compare;
mod error;
pub mod evidence;
pub mod export;
mod frame;
pub mod heads;
mod ledger;
mod log;
mod scan;
pub mod source;
pub mod verify;

pub use book::{Account, Balance, Conflict, Role, Subject, binds, numbered};
pub use error::LedgerError;
pub use ledger::{ENTRIES_PAGE_MAX, Ledger};
