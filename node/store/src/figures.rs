//! How many bytes of packs are what: the accounts of the lent disk (spec/store.md, "Accounts").
//!
//! Invariant: the same moves bring the figures in the index and those in memory up to date.

use commonhold_format::ids::ChunkId;

use crate::record::{PACK_HEADER_LEN, Place};

/// Records of one kind in a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

impl Tally {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, records: self.records + other.records }
    }

    pub(crate) fn add(&mut self, place: &Place) {
        self.records += 1;
        self.bytes += place.record_len();
    }

    pub(crate) fn take(&mut self, place: &Place) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(place.record_len());
    }
}

/// What the index knows of a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PackFigures {
    pub(crate) live: Tally,
    pub(crate) trash: Tally,
    pub(crate) book_bytes: u64,
}

impl PackFigures {
    /// Bytes that the pack has at least.
    pub(crate) fn bytes(&self) -> u64 {
        self.live.bytes + self.trash.bytes + self.book_bytes
    }
}

/// How the index keeps a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Live,
    Trash,
}

/// A record that the index keeps in another way since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) chunk: ChunkId,
    pub(crate) place: Place,
    pub(crate) from: Option<Kept>,
    pub(crate) to: Option<Kept>,
}

impl Move {
    /// Brings the figures of its pack up to date.
    pub(crate) fn apply(&self, figures: &mut PackFigures) {
        match self.from {
            Some(Kept::Live) => figures.live.take(&self.place),
            Some(Kept::Trash) => figures.trash.take(&self.place),
            None => {}
        }
        match self.to {
            Some(Kept::Live) => figures.live.add(&self.place),
            Some(Kept::Trash) => figures.trash.add(&self.place),
            None => {}
        }
    }
}

/// Bytes of packs by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) packs: u64,
    pub(crate) all_bytes: u64,
    pub(crate) live: Tally,
    pub(crate) trash: Tally,
    pub(crate) pending_bytes: u64,
    pub(crate) book_bytes: u64,
}

impl Figures {
    pub(crate) fn used_bytes(&self) -> u64 {
        self.live.bytes + self.pending_bytes + self.book_bytes + self.packs * PACK_HEADER_LEN as u64
    }

    pub(crate) fn dead_bytes(&self) -> u64 {
        self.all_bytes.saturating_sub(self.used_bytes() + self.trash.bytes)
    }
}
