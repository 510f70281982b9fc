//! Tar streams in and out: how files and folders travel through the drive's interface.

mod read;
mod write;

pub(crate) use read::{TarItem, TarReader};
pub(crate) use write::{HeaderKind, end_of_archive, entry_header, padding};

/// Bytes of a tar block.
const BLOCK_LEN: usize = 512;
