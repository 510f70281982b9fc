//! Notes on their way to the disk: gathered while a batch is being written, then written and synced
//! together.
//!
//! Invariant: one thread at a time writes, the first that finds nobody doing it; it takes along
//! everything that waits, with one write and one sync, and the others share its outcome. A batch is
//! in the log whole, or none of it is. After a failed sync nothing is written any more.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, MutexGuard, OnceLock, PoisonError};

use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::tree::{Hash, leaf_hash};

use super::{Inner, Place, State};
use crate::book::Key;
use crate::error::LedgerError;
use crate::frame::FrameHead;

/// Writes at the end of the log.
type WriteAt = Box<dyn Fn(&File, &[u8]) -> io::Result<()> + Send + Sync>;
/// Makes written bytes durable.
type MakeDurable = Box<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

/// The disk under the log: itself, except in tests of what happens when it fails.
pub(crate) struct Disk {
    pub(crate) write: WriteAt,
    pub(crate) sync: MakeDurable,
}

impl Default for Disk {
    fn default() -> Self {
        Self { write: Box::new(|mut log, bytes| log.write_all(bytes)), sync: Box::new(File::sync_data) }
    }
}

/// A note as it will stand in the log. Made before the ledger is locked.
pub(super) struct Prepared {
    bytes: Vec<u8>,
    head: FrameHead,
    hash: Hash,
    key: Option<Key>,
}

impl Prepared {
    /// # Errors
    /// [`LedgerError::NoteTooLong`].
    pub(super) fn of(note: &SignedNote) -> Result<Self, LedgerError> {
        let bytes = note.to_bytes();
        if bytes.len() > NOTE_LEN_MAX {
            return Err(LedgerError::NoteTooLong { bytes: bytes.len(), max: NOTE_LEN_MAX });
        }
        Ok(Self { head: FrameHead::of(&bytes), hash: leaf_hash(&bytes), key: Key::of(note), bytes })
    }
}

/// Where a note that was handed in stands.
pub(super) enum Ticket {
    /// In the log, under this index.
    Durable(u64),
    /// In a batch, by its hash.
    Waits(Hash, Arc<Batch>),
}

/// Notes that are written together. Their outcome is set once, under the ledger's lock.
#[derive(Default)]
pub(super) struct Batch {
    outcome: OnceLock<Result<(), Failure>>,
    // Signalled when the outcome is there, and to one who waits when the batch can be written.
    turn: Condvar,
}

/// Why none of a batch is in the log.
enum Failure {
    /// The write failed; the ledger goes on.
    Write { kind: io::ErrorKind, why: String },
    /// The ledger has stopped.
    Stopped(String),
}

/// The batch that is gathered, and the hashes of all notes that are on their way.
#[derive(Default)]
pub(super) struct Queue {
    gathered: Gathered,
    on_the_way: HashMap<Hash, Arc<Batch>>,
    is_writing: bool,
}

#[derive(Default)]
struct Gathered {
    batch: Arc<Batch>,
    bytes: Vec<u8>,
    notes: Vec<Queued>,
}

struct Queued {
    // Of the note, from the start of the batch.
    offset: u64,
    head: FrameHead,
    hash: Hash,
    key: Option<Key>,
}

impl Gathered {
    fn add(&mut self, note: Prepared) {
        self.bytes.extend_from_slice(&note.head.to_bytes());
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&note.bytes);
        self.notes.push(Queued { offset, head: note.head, hash: note.hash, key: note.key });
    }
}

impl State {
    /// Counts the notes of a batch, which is on the disk, as entries.
    fn settle(&mut self, gathered: &Gathered) {
        for note in &gathered.notes {
            let index = self.places.len() as u64;
            self.places.push(Place { offset: self.durable_len + note.offset, head: note.head });
            self.by_hash.insert(note.hash, index);
            if let Some(key) = note.key {
                self.book.add(index, key);
            }
        }
        self.tree.extend(gathered.notes.iter().map(|note| note.hash));
        self.durable_len += gathered.bytes.len() as u64;
    }

    /// Tells everybody who waits for a batch what became of it.
    fn finish(&mut self, gathered: &Gathered, outcome: Result<(), Failure>) {
        for note in &gathered.notes {
            self.queue.on_the_way.remove(&note.hash);
        }
        // Whoever takes a batch is the only one to finish it.
        let _ = gathered.batch.outcome.set(outcome);
        gathered.batch.turn.notify_all();
    }
}

impl Inner {
    /// Takes a note in, unless it is there.
    pub(super) fn enqueue(&self, state: &mut State, note: Prepared) -> Result<Ticket, LedgerError> {
        if let Some(why) = &state.stopped {
            return Err(self.stopped(why));
        }
        let hash = note.hash;
        if let Some(index) = state.by_hash.get(&hash) {
            return Ok(Ticket::Durable(*index));
        }
        let queue = &mut state.queue;
        if let Some(batch) = queue.on_the_way.get(&hash) {
            return Ok(Ticket::Waits(hash, batch.clone()));
        }
        queue.gathered.add(note);
        let batch = queue.gathered.batch.clone();
        queue.on_the_way.insert(hash, batch.clone());
        Ok(Ticket::Waits(hash, batch))
    }

    /// Returns once a batch is durable: written by another thread, or by this one.
    pub(super) fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        batch: &Arc<Batch>,
    ) -> Result<MutexGuard<'a, State>, LedgerError> {
        loop {
            match batch.outcome.get() {
                Some(Ok(())) => return Ok(state),
                Some(Err(Failure::Stopped(why))) => return Err(self.stopped(why)),
                Some(Err(Failure::Write { kind, why })) => {
                    let error = io::Error::new(*kind, why.clone());
                    return Err(LedgerError::io("append to", &self.log_path)(error));
                }
                None if !state.queue.is_writing && Arc::ptr_eq(batch, &state.queue.gathered.batch) => {
                    state = self.write_gathered(state);
                }
                None => state = batch.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Writes and syncs what was gathered, without the lock.
    fn write_gathered<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let gathered = std::mem::take(&mut state.queue.gathered);
        state.queue.is_writing = true;
        let end = state.durable_len;
        drop(state);
        let written = (self.disk.write)(&self.log, &gathered.bytes);
        let taken_back = match &written {
            Ok(()) => Ok(()),
            // Part of it may be there; nothing must be appended behind half an entry.
            Err(_) => self.log.set_len(end),
        };
        let synced = if written.is_ok() { (self.disk.sync)(&self.log) } else { Ok(()) };
        let mut state = self.state();
        state.queue.is_writing = false;
        let outcome = match (written, taken_back, synced) {
            (Ok(()), _, Ok(())) => {
                state.settle(&gathered);
                Ok(())
            }
            (Ok(()), _, Err(error)) => {
                // The system may have dropped the bytes and call the next sync a success, so
                // another try would prove nothing.
                tracing::error!(%error, log = %self.log_path.display(), "a sync failed; the ledger stops");
                state.stopped = Some(error.to_string());
                Err(Failure::Stopped(error.to_string()))
            }
            (Err(error), taken_back, _) => {
                if let Err(error) = taken_back {
                    let why = format!("a half-written entry could not be taken back: {error}");
                    tracing::error!(why, log = %self.log_path.display(), "the ledger stops");
                    state.stopped = Some(why);
                }
                Err(Failure::Write { kind: error.kind(), why: error.to_string() })
            }
        };
        state.finish(&gathered, outcome);
        if let Some(why) = state.stopped.clone() {
            let next = std::mem::take(&mut state.queue.gathered);
            state.finish(&next, Err(Failure::Stopped(why)));
        } else {
            // One of those who came in meanwhile writes next.
            state.queue.gathered.batch.turn.notify_one();
        }
        state
    }
}
