//! Heads of other nodes' ledgers, as they were seen: what a witness stands for (spec/ledger.md,
//! "Witnesses").
//!
//! Invariant: of each ledger the last head is kept, on disk before anybody is told; a head takes its
//! place only with the proof that it continues it, so two histories of one ledger are never both
//! accepted, through any crash. Not here: how heads get here, and what is done about a fork.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use commonhold_format::log::verify_consistency;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::Checkpoint;
use commonhold_format::tree::Hash;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::checkpoint;
use crate::compare::{Evidence, Stated};
use crate::error::LedgerError;

/// Most ledgers whose heads are kept.
pub const HEADS_MAX: usize = 4096;

/// The heads that this node saw. Calls block on the disk.
#[derive(Debug)]
pub struct Heads {
    dir: PathBuf,
    seen: Mutex<HashMap<String, (Checkpoint, SignedNote)>>,
}

/// What a head is, beside the one seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It continues it, or is the same, or is the first. It is kept now.
    Continues,
    /// The proof does not begin at the head that was seen, which has so many entries.
    Elsewhere {
        /// Entries of the head that was seen.
        size: u64,
    },
    /// It is older than the one that was seen, which has so many entries.
    Older {
        /// Entries of the head that was seen.
        size: u64,
    },
    /// The proof is wrong.
    Unproven(String),
    /// The ledger has two histories, and this proves it.
    Forked(Box<Evidence>),
    /// No more ledgers are kept track of.
    Full,
}

impl Heads {
    /// Opens the folder with the heads, or starts one.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; [`LedgerError::Checkpoint`] when a file in it is not what was written.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(LedgerError::io("create", dir))?;
        let mut seen = HashMap::new();
        for entry in fs::read_dir(dir).map_err(LedgerError::io("read", dir))? {
            let file = entry.map_err(LedgerError::io("read", dir))?.path();
            if file.extension().is_none_or(|extension| extension != "note") {
                continue;
            }
            let bytes = fs::read(&file).map_err(LedgerError::io("read", &file))?;
            let refused = |why: String| LedgerError::Checkpoint { file: file.clone(), why };
            let note = SignedNote::parse(&bytes).map_err(|error| refused(error.to_string()))?;
            let (head, ..) = Checkpoint::of_ledger(&note).map_err(refused)?;
            seen.insert(head.origin.clone(), (head, note));
        }
        Ok(Self { dir: dir.to_owned(), seen: Mutex::new(seen) })
    }

    /// The head of a ledger that was seen last.
    pub fn last(&self, origin: &str) -> Option<(Checkpoint, SignedNote)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }

    /// Takes a head, with the proof that it continues the one of `old` entries (0, and no proof, for the
    /// first).
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`] when the note is no head signed by its own ledger's key,
    /// [`LedgerError::Io`] when it could not be kept.
    pub fn take(&self, note: &SignedNote, old: u64, proof: &[Hash]) -> Result<Seen, LedgerError> {
        let (head, ..) = Checkpoint::of_ledger(note)
            .map_err(|why| LedgerError::Checkpoint { file: self.dir.clone(), why })?;
        // Held to the end: two heads of one ledger are judged one after the other.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(&head.origin) {
            None if seen.len() >= HEADS_MAX => return Ok(Seen::Full),
            None if old > 0 => return Ok(Seen::Elsewhere { size: 0 }),
            None => {}
            Some((last, _)) if head.size < last.size => return Ok(Seen::Older { size: last.size }),
            Some((last, stated)) if head.size == last.size => {
                if head.root == last.root {
                    return Ok(Seen::Continues);
                }
                let stated = Stated::Head(stated.clone());
                let (root, proof) = (head.root, Vec::new());
                let fork = Evidence::Fork { stated, head: note.clone(), root, proof };
                return Ok(Seen::Forked(Box::new(fork)));
            }
            Some((last, _)) if old != last.size => return Ok(Seen::Elsewhere { size: last.size }),
            Some((last, _)) => {
                if let Err(why) = verify_consistency((last.size, &last.root), (head.size, &head.root), proof)
                {
                    return Ok(Seen::Unproven(why.to_string()));
                }
            }
        }
        let name = format!("{}.note", HEXLOWER.encode(&Sha256::digest(head.origin.as_bytes())));
        checkpoint::save(&self.dir, &name, note)?;
        seen.insert(head.origin.clone(), (head, note.clone()));
        Ok(Seen::Continues)
    }
}
