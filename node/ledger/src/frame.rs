//! The bytes of the log: a header, then one frame for each note (spec/ledger.md, "log").
//!
//! Invariant: a frame that decodes is one that was written, up to an accident of 1 in 2^32. Not here:
//! what is in a note, and files.

use commonhold_format::note::NOTE_LEN_MAX;

/// The first bytes of a log: seven letters and the version.
pub(crate) const HEADER: [u8; 8] = *b"chledgr\x01";

/// Bytes of a frame before the note: its length and its CRC-32C, both u32 big-endian.
pub(crate) const FRAME_HEAD_LEN: usize = 8;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

impl FrameHead {
    pub(crate) fn of(note: &[u8]) -> Self {
        let len = u32::try_from(note.len()).expect("the caller bounds notes to NOTE_LEN_MAX");
        Self { len, crc: crc32c::crc32c(note) }
    }

    pub(crate) fn to_bytes(self) -> [u8; FRAME_HEAD_LEN] {
        let mut bytes = [0; FRAME_HEAD_LEN];
        bytes[..4].copy_from_slice(&self.len.to_be_bytes());
        bytes[4..].copy_from_slice(&self.crc.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; FRAME_HEAD_LEN]) -> Self {
        Self { len: u32::from_be_bytes([a, b, c, d]), crc: u32::from_be_bytes([e, f, g, h]) }
    }

    /// Whether a frame may have this length.
    pub(crate) fn is_bounded(&self) -> bool {
        (1..=NOTE_LEN_MAX as u32).contains(&self.len)
    }

    pub(crate) fn fits(&self, note: &[u8]) -> bool {
        note.len() == self.len as usize && crc32c::crc32c(note) == self.crc
    }
}
