//! What an opening makes of the log that it finds.
//!
//! Invariant: nothing is changed before the log has been found to continue every head that this ledger
//! signed and kept; then a torn tail is cut off, which nobody was answered for. Not here: telling torn
//! from altered ([`crate::scan`]).

use std::fs::File;
use std::io::Write;
use std::path::Path;

use commonhold_format::note::SignedNote;
use commonhold_format::statement::Checkpoint;
use commonhold_format::tree::{Hash, leaf_hash};

use super::{Place, State};
use crate::book::Key;
use crate::error::LedgerError;
use crate::frame::{FrameHead, HEADER};
use crate::scan::{End, scan};

/// Entries whose hashes are put into the tree together.
const GROUP: usize = 4096;

/// Reads the log, compares it with the signed heads and cuts off a torn tail.
pub(super) fn recover(log: &File, path: &Path, heads: Vec<Checkpoint>) -> Result<State, LedgerError> {
    let mut state = State::default();
    let mut hashes: Vec<Hash> = Vec::with_capacity(GROUP);
    let found = scan(log, |offset, bytes| {
        let Ok(note) = SignedNote::parse(bytes) else { return false };
        let hash = leaf_hash(bytes);
        let index = state.places.len() as u64;
        state.places.push(Place { offset, head: FrameHead::of(bytes) });
        state.by_hash.entry(hash).or_insert(index);
        if let Some(key) = Key::of(&note) {
            state.book.add(index, key);
        }
        hashes.push(hash);
        if hashes.len() == GROUP {
            state.tree.extend(hashes.drain(..));
        }
        true
    })
    .map_err(LedgerError::io("read", path))?;
    state.tree.extend(hashes);
    let entries = state.durable();
    match found.end {
        End::Foreign => return Err(LedgerError::NotALedger { file: path.to_owned() }),
        End::Altered => return Err(LedgerError::altered(path, entries, found.good_len)),
        End::Clean | End::Torn { .. } => {}
    }
    for head in heads {
        let expected = head.size;
        match state.tree.root_at(expected) {
            None => {
                return Err(LedgerError::Truncated { file: path.to_owned(), expected, found: entries });
            }
            Some(root) if root != head.root => {
                // Where the covered entries end.
                let last = expected.checked_sub(1).and_then(|last| state.places.get(last as usize));
                let offset =
                    last.map_or(HEADER.len() as u64, |place| place.offset + u64::from(place.head.len));
                return Err(LedgerError::Altered { file: path.to_owned(), entry: None, offset });
            }
            Some(_) => {}
        }
    }
    if let End::Torn { file_len } = found.end {
        let bytes = file_len.saturating_sub(found.good_len);
        // A log that has just been begun is torn too, and lacks nothing.
        if bytes > 0 {
            tracing::warn!(log = %path.display(), bytes, "a torn tail that no answer depended on was cut off");
        }
        log.set_len(found.good_len).map_err(LedgerError::io("cut the torn tail of", path))?;
    }
    state.durable_len = found.good_len;
    if found.good_len == 0 {
        let mut log = log;
        log.write_all(&HEADER).map_err(LedgerError::io("write", path))?;
        state.durable_len = HEADER.len() as u64;
    }
    // What was found may be in memory only: a process that ended between write and sync leaves whole
    // frames that no sync has covered.
    log.sync_all().map_err(LedgerError::io("sync", path))?;
    Ok(state)
}
