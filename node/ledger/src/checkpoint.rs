//! The checkpoint file: the signed head of the log, replaced as a whole (spec/ledger.md,
//! "checkpoint").
//!
//! Invariant: after a crash the file is the old checkpoint or the new one. Not here: what a
//! checkpoint is compared with.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use commonhold_format::ids::PartyId;
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::statement::Checkpoint;

use crate::error::LedgerError;

/// What an open is checked against.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// What others are shown, with their cosignatures.
pub(crate) const PUBLISHED: &str = "published";

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(CHECKPOINT)
}

/// The checkpoint in the file `name` of `dir`, which must be signed by `party` and name `origin`;
/// `None` when there is none yet.
pub(crate) fn load(
    dir: &Path,
    name: &str,
    party: &PartyId,
    origin: &str,
) -> Result<Option<(Checkpoint, SignedNote)>, LedgerError> {
    let file = dir.join(name);
    let refused = |why: String| LedgerError::Checkpoint { file: file.clone(), why };
    let len = match fs::metadata(&file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("read", &file)(error)),
    };
    if len > NOTE_LEN_MAX as u64 {
        return Err(refused(format!("it has {len} bytes")));
    }
    let bytes = fs::read(&file).map_err(LedgerError::io("read", &file))?;
    let note = SignedNote::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    let checkpoint = Checkpoint::of(&note, party).map_err(refused)?;
    if checkpoint.origin != origin {
        return Err(refused(format!("it is about {}, not {origin}", checkpoint.origin)));
    }
    Ok(Some((checkpoint, note)))
}

/// Replaces the checkpoint in the file `name` of `dir` and syncs it.
pub(crate) fn save(dir: &Path, name: &str, note: &SignedNote) -> Result<(), LedgerError> {
    let tmp = dir.join(format!("{name}.tmp"));
    let write = || {
        let mut file = File::create(&tmp)?;
        file.write_all(&note.to_bytes())?;
        file.sync_all()
    };
    write().map_err(LedgerError::io("write", &tmp))?;
    let file = dir.join(name);
    fs::rename(&tmp, &file).map_err(LedgerError::io("replace", &file))?;
    sync_dir(dir)
}

/// Makes names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(LedgerError::io("sync", dir))
}
