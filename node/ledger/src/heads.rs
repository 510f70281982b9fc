//! Heads of other nodes' ledgers, as they were seen: what a witness stands for (spec/ledger.md,
//! "Witnesses").
//!
//! Invariant: of each ledger the last head is kept, on disk before anybody is told; a head takes its
//! place only with the proof that it continues it, so two histories of one ledger are never both
//! accepted, through any crash. Not here: how heads get here, and what is done about a fork.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use commonhold_format::log::{older_root, verify_consistency};
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::statement::Checkpoint;
use commonhold_format::tree::{Hash, empty_root};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::checkpoint;
use crate::error::LedgerError;
use crate::evidence::{Evidence, Stated};

/// Most ledgers whose heads are kept.
pub const HEADS_MAX: usize = 4096;
/// Most of them for whoever asks: the rest is kept for those with whom this node has a contract, so
/// that strangers cannot crowd them out.
pub const HEADS_OF_STRANGERS_MAX: usize = 3072;

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
    /// The proof is wrong, and does not show why.
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
    /// [`LedgerError::Io`]; [`LedgerError::Head`] when a file in it is not what was written: a witness
    /// that forgets a head may cosign another history.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(LedgerError::io("create", dir))?;
        let mut seen = HashMap::new();
        for entry in fs::read_dir(dir).map_err(LedgerError::io("read", dir))? {
            let file = entry.map_err(LedgerError::io("read", dir))?.path();
            // What a crash left of one that was being written ends in .tmp.
            if file.extension().is_none_or(|extension| extension != "note") {
                continue;
            }
            let bytes = read(&file).map_err(LedgerError::io("read", &file))?;
            let refused = |why: String| LedgerError::Head { file: file.clone(), why };
            let note = SignedNote::parse(&bytes).map_err(|error| refused(error.to_string()))?;
            let (head, ..) = Checkpoint::of_ledger(&note).map_err(refused)?;
            if file.file_name().is_none_or(|name| name != file_name(&head.origin).as_str()) {
                return Err(refused(format!("it is about {}", head.origin)));
            }
            seen.insert(head.origin.clone(), (head, note));
        }
        Ok(Self { dir: dir.to_owned(), seen: Mutex::new(seen) })
    }

    /// The head of a ledger that was seen last.
    pub fn last(&self, origin: &str) -> Option<(Checkpoint, SignedNote)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }

    /// Takes a head, with the proof that it continues the one of `old` entries (0, and no proof, for the
    /// first). The head of a ledger that was not seen before is kept while fewer than `room` are.
    ///
    /// # Errors
    /// [`LedgerError::Head`] when the note is no head signed by its own ledger's key,
    /// [`LedgerError::Io`] when it could not be kept.
    pub fn take(
        &self,
        note: &SignedNote,
        old: u64,
        proof: &[Hash],
        room: usize,
    ) -> Result<Seen, LedgerError> {
        let (head, ..) =
            Checkpoint::of_ledger(note).map_err(|why| LedgerError::Head { file: self.dir.clone(), why })?;
        if head.size == 0 && head.root != empty_root() {
            return Ok(Seen::Unproven("it has no entries, and another root than nothing has".to_owned()));
        }
        // Held to the end: two heads of one ledger are judged one after the other.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(&head.origin) {
            None if seen.len() >= room.min(HEADS_MAX) => return Ok(Seen::Full),
            None if old > 0 => return Ok(Seen::Elsewhere { size: 0 }),
            None => {}
            Some((last, _)) if head.size < last.size => return Ok(Seen::Older { size: last.size }),
            Some((last, stated)) if head.size == last.size => {
                if head.root == last.root {
                    return Ok(Seen::Continues);
                }
                return Ok(forked(stated, note, head.root, Vec::new()));
            }
            Some((last, _)) if old != last.size => return Ok(Seen::Elsewhere { size: last.size }),
            Some((last, stated)) => {
                let (before, after) = ((last.size, &last.root), (head.size, &head.root));
                if let Err(why) = verify_consistency(before, after, proof) {
                    // The proof of another history shows which root that has.
                    return Ok(match older_root(last.size, after, proof) {
                        Some(root) if root != last.root => forked(stated, note, root, proof.to_vec()),
                        _ => Seen::Unproven(why.to_string()),
                    });
                }
            }
        }
        checkpoint::save(&self.dir, &file_name(&head.origin), note)?;
        seen.insert(head.origin.clone(), (head, note.clone()));
        Ok(Seen::Continues)
    }
}

fn forked(stated: &SignedNote, head: &SignedNote, root: Hash, proof: Vec<Hash>) -> Seen {
    let stated = Stated::Head(stated.clone());
    Seen::Forked(Box::new(Evidence::Fork { stated, head: head.clone(), root, proof }))
}

fn file_name(origin: &str) -> String {
    format!("{}.note", HEXLOWER.encode(&Sha256::digest(origin.as_bytes())))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(NOTE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
