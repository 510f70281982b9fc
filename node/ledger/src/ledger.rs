//! The ledger itself: open, append, read, derive, sign heads.
//!
//! Invariant: the state shows durable entries and no others ([`queue`] has those on their way), so
//! neither a root nor a signed head ever covers what a crash could take away. The head that others are
//! shown only grows. Not here: how entries get to the disk ([`queue`]) and what a crash leaves there
//! ([`recovery`]).

mod queue;
mod recovery;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commonhold_format::ids::PartyId;
use commonhold_format::keys::PartyKey;
use commonhold_format::log::{TILE_WIDTH, TileId, encode_entries};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Checkpoint, Contract, Payment, Revision, Statement, Trust};
use commonhold_format::tree::{GrowingTree, Hash};

use self::queue::{Disk, Prepared, Queue, Ticket};
use crate::book::{Account, Balance, Book, Conflict, Notes, Subject};
use crate::checkpoint::{self, CHECKPOINT, PUBLISHED};
use crate::error::LedgerError;
use crate::frame::FrameHead;

/// Most entries that one read returns: with the longest notes 16 MiB.
pub const ENTRIES_PAGE_MAX: usize = 1024;

const LOG: &str = "log";

/// A node's ledger; cheap to clone. All calls block on the disk.
///
/// Memory: about 200 bytes for each entry (tree, index by hash, place in the file, book), and no
/// note, so a million entries take some 200 MB. Opening reads the whole log once.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    log_path: PathBuf,
    key: PartyKey,
    origin: String,
    // The handle that appends and holds the lock.
    log: File,
    disk: Disk,
    // The handle that reads, with its own position.
    reader: Mutex<File>,
    state: Mutex<State>,
    // The checkpoint on disk; held while one is written, so that an older one never replaces a newer.
    saved: Mutex<Option<(Checkpoint, SignedNote)>>,
    // The checkpoint that others are shown, with their cosignatures; on disk too. Held while one is
    // written, likewise.
    published: Mutex<Option<(Checkpoint, SignedNote)>>,
}

/// The durable entries, and the queue of those that are on their way to the disk.
#[derive(Default)]
struct State {
    // Where each entry's note stands in the file.
    places: Vec<Place>,
    // By leaf hash; of identical notes the first.
    by_hash: HashMap<Hash, u64>,
    tree: GrowingTree,
    book: Book,
    // Where the log ends: behind the last durable entry.
    durable_len: u64,
    queue: Queue,
    stopped: Option<String>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    head: FrameHead,
}

impl State {
    fn durable(&self) -> u64 {
        self.tree.len()
    }
}

impl Ledger {
    /// Opens the ledger in `dir`, or starts one. `key` signs its checkpoints under the name `origin`.
    ///
    /// A torn tail is cut off; entries that the checkpoint covers must be there unchanged. Ends by
    /// writing a checkpoint over everything that was found.
    ///
    /// # Errors
    /// [`LedgerError::InUse`], [`LedgerError::NotALedger`], [`LedgerError::Checkpoint`],
    /// [`LedgerError::Truncated`], [`LedgerError::Altered`], [`LedgerError::Io`]. None of them removes
    /// or changes a byte that is there.
    pub fn open(dir: &Path, key: PartyKey, origin: String) -> Result<Self, LedgerError> {
        Self::open_with(dir, key, origin, Disk::default())
    }

    pub(crate) fn open_with(
        dir: &Path,
        key: PartyKey,
        origin: String,
        disk: Disk,
    ) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(LedgerError::io("create", dir))?;
        let log_path = dir.join(LOG);
        let log = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&log_path)
            .map_err(LedgerError::io("open", &log_path))?;
        log.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::InUse { file: log_path.clone() },
            TryLockError::Error(error) => LedgerError::io("lock", &log_path)(error),
        })?;
        let saved = checkpoint::load(dir, CHECKPOINT, &key.id(), &origin)?;
        let published = checkpoint::load(dir, PUBLISHED, &key.id(), &origin)?;
        // Both were signed, and others may have seen either: the log must continue both.
        let heads = [&saved, &published].into_iter().flatten().map(|(head, _)| head.clone()).collect();
        let state = recovery::recover(&log, &log_path, heads)?;
        checkpoint::sync_dir(dir)?;
        let reader = File::open(&log_path).map_err(LedgerError::io("open", &log_path))?;
        let is_first = published.is_none();
        let ledger = Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                log_path,
                key,
                origin,
                log,
                disk,
                reader: Mutex::new(reader),
                state: Mutex::new(state),
                saved: Mutex::new(saved),
                published: Mutex::new(published),
            }),
        };
        ledger.checkpoint()?;
        if is_first {
            ledger.publish()?;
        }
        Ok(ledger)
    }

    /// Appends a note and returns its index once it is durable. A note whose bytes are in the log
    /// already is not appended again; its index is returned, durable as well.
    ///
    /// Threads that append at the same time share a write and a sync.
    ///
    /// # Errors
    /// [`LedgerError::NoteTooLong`]; [`LedgerError::Io`] when it could not be written, which leaves
    /// the ledger as it was; [`LedgerError::Stopped`] when a sync failed, now or before.
    pub fn append(&self, note: &SignedNote) -> Result<u64, LedgerError> {
        let inner = &*self.inner;
        let prepared = Prepared::of(note)?;
        let mut state = inner.state();
        match inner.enqueue(&mut state, prepared)? {
            Ticket::Durable(index) => Ok(index),
            Ticket::Waits(hash, batch) => {
                let state = inner.wait(state, &batch)?;
                Ok(state.by_hash[&hash])
            }
        }
    }

    /// Appends notes in order with one write and one sync, and returns their indices.
    ///
    /// # Errors
    /// As [`append`](Self::append). When a note is too long none is appended; when they could not be
    /// written, none of those that were not in the log before.
    pub fn append_all(&self, notes: &[SignedNote]) -> Result<Vec<u64>, LedgerError> {
        let inner = &*self.inner;
        let prepared = notes.iter().map(Prepared::of).collect::<Result<Vec<_>, _>>()?;
        let mut state = inner.state();
        let tickets = prepared
            .into_iter()
            .map(|prepared| inner.enqueue(&mut state, prepared))
            .collect::<Result<Vec<_>, _>>()?;
        let mut indices = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            indices.push(match ticket {
                Ticket::Durable(index) => index,
                Ticket::Waits(hash, batch) => {
                    state = inner.wait(state, &batch)?;
                    state.by_hash[&hash]
                }
            });
        }
        Ok(indices)
    }

    /// The number of durable entries.
    pub fn len(&self) -> u64 {
        self.inner.state().durable()
    }

    /// Whether there is no durable entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The Merkle root over the durable entries: RFC 6962 over the bytes of the notes.
    pub fn root(&self) -> Hash {
        self.inner.state().tree.root()
    }

    /// Size and root of one and the same moment.
    pub fn head(&self) -> (u64, Hash) {
        let state = self.inner.state();
        (state.durable(), state.tree.root())
    }

    /// A checkpoint over the durable entries, signed, and saved so that the next open checks the log
    /// against it. Writes nothing when the saved one is of the same head.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] after a failed sync; [`LedgerError::Io`]; [`LedgerError::Checkpoint`]
    /// when the origin cannot stand in a checkpoint.
    pub fn checkpoint(&self) -> Result<SignedNote, LedgerError> {
        self.inner.checkpoint()
    }

    /// Makes the head of this moment the one that others are shown, and saves it. It is the one shown
    /// before, cosignatures and all, when nothing was appended since.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn publish(&self) -> Result<SignedNote, LedgerError> {
        // Held to the end: of two that publish at once, the older head must not come last.
        let mut published = self.inner.published();
        let note = self.checkpoint()?;
        if let Some((_, shown)) = published.as_ref().filter(|(_, shown)| shown.text() == note.text()) {
            return Ok(shown.clone());
        }
        let head = Checkpoint::from_text(note.text())
            .map_err(|error| self.inner.checkpoint_refused(error.to_string()))?;
        checkpoint::save(&self.inner.dir, PUBLISHED, &note)?;
        *published = Some((head, note.clone()));
        Ok(note)
    }

    /// The head that others are shown, with the cosignatures that it has by now.
    pub fn published(&self) -> Option<SignedNote> {
        self.inner.published().as_ref().map(|(_, note)| note.clone())
    }

    /// Adds the cosignature of `witness` to the head that others are shown, if `cosigned` is of that
    /// head and the cosignature is valid. Answers whether it has it now; a head has room for 15.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when it could not be saved.
    pub fn add_cosignature(&self, cosigned: &SignedNote, witness: &PartyId) -> Result<bool, LedgerError> {
        let mut published = self.inner.published();
        let Some((_, shown)) = published.as_mut() else { return Ok(false) };
        if shown.text() != cosigned.text() {
            return Ok(false);
        }
        // That one line: whoever answers may have put others beside it, under any name.
        let Some((line, _)) = cosigned.cosignature(witness) else { return Ok(false) };
        let mut note = shown.clone();
        if !note.merge(cosigned, |other| other == line) {
            return Ok(shown.cosigned_by(witness).is_some());
        }
        checkpoint::save(&self.inner.dir, PUBLISHED, &note)?;
        *shown = note;
        Ok(true)
    }

    /// The name under which this ledger's heads are signed.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// The root when there were `size` durable entries; `None` when there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.inner.state().tree.root_at(size)
    }

    /// The proof that the head of `new` entries continues that of `old` entries; `None` unless
    /// `old <= new` and there are so many.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        self.inner.state().tree.consistency(old, new)
    }

    /// The path of entry `index` to the root of the first `size` entries.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        self.inner.state().tree.path_at(index, size)
    }

    /// A resource of tlog-tiles: hashes of a tile, or a bundle of entries. `None` where the ledger does
    /// not reach so far.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn tile(&self, tile: &TileId) -> Result<Option<Vec<u8>>, LedgerError> {
        if tile.level.is_some() {
            return Ok(self.inner.state().tree.tile(tile).map(|hashes| hashes.as_flattened().to_vec()));
        }
        let Some(first) = tile.index.checked_mul(TILE_WIDTH) else { return Ok(None) };
        let notes = self.read(first, tile.width.into())?;
        if notes.len() < usize::from(tile.width) {
            return Ok(None);
        }
        let notes: Vec<Vec<u8>> = notes.iter().map(|(_, note)| note.to_bytes()).collect();
        Ok(encode_entries(notes.iter().map(Vec::as_slice)))
    }

    /// As [`tile`](Self::tile), within the head that others are shown: what stands in no signed head is
    /// nobody's to see.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn published_tile(&self, tile: &TileId) -> Result<Option<Vec<u8>>, LedgerError> {
        let shown = self.inner.published().as_ref().map_or(0, |(head, _)| head.size);
        if tile.entries().is_none_or(|entries| entries > shown) {
            return Ok(None);
        }
        self.tile(tile)
    }

    /// The durable entries from index `from` on, at most `count` and [`ENTRIES_PAGE_MAX`]. Each is
    /// checked against its checksum.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; [`LedgerError::Altered`] when the file changed under the ledger.
    pub fn read(&self, from: u64, count: usize) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        let last = from.saturating_add(count.min(ENTRIES_PAGE_MAX) as u64);
        self.inner.read(from..last)
    }

    /// As [`read`](Self::read), ending before an entry that cannot be read; the reason is logged.
    /// For showing a ledger. Whoever must not miss an entry uses [`read`](Self::read).
    pub fn entries(&self, from: u64, count: usize) -> Vec<(u64, SignedNote)> {
        self.read(from, count).unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger cannot be read");
            let last = from.saturating_add(count.min(ENTRIES_PAGE_MAX) as u64);
            (from..last).map_while(|index| self.inner.read(index..index + 1).ok()?.pop()).collect()
        })
    }

    /// What each contract of `me` comes to, in order of contract id: one balance for each contract
    /// that has a receipt that counts (spec/ledger.md, "Balances"). Costs a few reads and signature
    /// checks for each contract.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Altered`].
    pub fn balances(&self, me: &PartyId) -> Result<Vec<Balance>, LedgerError> {
        Notes::balances(&*self.inner, me)
    }

    /// What stands between `me` and each other party by receipts and payments, in order of party.
    ///
    /// # Errors
    /// As [`balances`](Self::balances).
    pub fn accounts(&self, me: &PartyId) -> Result<Vec<Account>, LedgerError> {
        Notes::accounts(&*self.inner, me)
    }

    /// As [`accounts`](Self::accounts), as they stood at `at` (Unix seconds): by receipts for times until
    /// then and payments up to then alone.
    ///
    /// # Errors
    /// As [`balances`](Self::balances).
    pub fn accounts_at(&self, me: &PartyId, at: u64) -> Result<Vec<Account>, LedgerError> {
        Notes::accounts_at(&*self.inner, me, at)
    }

    /// The revisions of a contract that both signed, in order of sequence.
    ///
    /// # Errors
    /// As [`balances`](Self::balances).
    pub fn revisions(&self, contract: &Contract) -> Result<Vec<Revision>, LedgerError> {
        Notes::all(&*self.inner, &Subject::Revision(contract.id()), Some(contract), |statement| {
            match statement {
                Statement::Revision(revision) => Some(revision),
                _ => None,
            }
        })
    }

    /// The note of `subject` with this sequence that was logged last, whoever signed it.
    ///
    /// # Errors
    /// As [`balances`](Self::balances).
    pub fn numbered(&self, subject: &Subject, sequence: u64) -> Result<Option<SignedNote>, LedgerError> {
        Notes::numbered(&*self.inner, subject, sequence)
    }

    /// Every sequence for which both parties signed two texts: revisions, receipts, payments and trust
    /// lines (attack 32: one of them shows one text here and another one there).
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Altered`].
    pub fn conflicts(&self) -> Result<Vec<Conflict>, LedgerError> {
        Notes::conflicts(&*self.inner)
    }

    /// The payment with the highest sequence from `payer` to `payee` that both signed, and no other text
    /// beside it.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Altered`].
    pub fn last_payment(&self, payer: &PartyId, payee: &PartyId) -> Result<Option<Payment>, LedgerError> {
        let subject = Subject::Payment { payer: *payer, payee: *payee };
        self.inner.latest(&subject, None, |statement| match statement {
            Statement::Payment(payment) => Some(payment),
            _ => None,
        })
    }

    /// The trust line of these three with the highest sequence that both signed.
    ///
    /// # Errors
    /// As [`balances`](Self::balances).
    pub fn last_trust(
        &self,
        guarantor: &PartyId,
        creditor: &PartyId,
        debtor: &PartyId,
    ) -> Result<Option<Trust>, LedgerError> {
        let subject = Subject::Trust { guarantor: *guarantor, creditor: *creditor, debtor: *debtor };
        self.inner.latest(&subject, None, |statement| match statement {
            Statement::Trust(trust) => Some(trust),
            _ => None,
        })
    }

    /// The trust lines to `creditor` that count: of each guarantor and debtor the one with the highest
    /// sequence.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Altered`].
    pub fn trust_lines(&self, creditor: &PartyId) -> Result<Vec<Trust>, LedgerError> {
        let mut lines = Vec::new();
        for subject in self.inner.look(|book| book.trust_lines(creditor)) {
            lines.extend(self.inner.latest(&subject, None, |statement| match statement {
                Statement::Trust(trust) => Some(trust),
                _ => None,
            })?);
        }
        Ok(lines)
    }
}

impl Notes for Inner {
    fn look<T>(&self, up: impl FnOnce(&Book) -> T) -> T {
        up(&self.state().book)
    }

    fn notes(&self, indices: &[u64]) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        self.read_all(indices)
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("log", &self.inner.log_path).finish_non_exhaustive()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the state was held leaves it no worse than written: what is durable is only
        // counted after a sync.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, Option<(Checkpoint, SignedNote)>> {
        // Replaced whole, after it was saved.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checkpoint_refused(&self, why: String) -> LedgerError {
        LedgerError::Checkpoint { file: checkpoint::path(&self.dir), why }
    }

    fn stopped(&self, why: &str) -> LedgerError {
        LedgerError::Stopped { file: self.log_path.clone(), why: why.to_owned() }
    }

    fn checkpoint(&self) -> Result<SignedNote, LedgerError> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = {
            let state = self.state();
            if let Some(why) = &state.stopped {
                return Err(self.stopped(why));
            }
            (state.durable(), state.tree.root())
        };
        if let Some((_, note)) = saved.as_ref().filter(|(head, _)| (head.size, head.root) == (size, root)) {
            return Ok(note.clone());
        }
        let head = Checkpoint { origin: self.origin.clone(), size, root };
        let note = SignedNote::sign_as(head.to_text(), &self.origin, &self.key)
            .map_err(|error| self.checkpoint_refused(error.to_string()))?;
        checkpoint::save(&self.dir, CHECKPOINT, &note)?;
        *saved = Some((head, note.clone()));
        Ok(note)
    }

    /// The durable entries of a range of indices.
    fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        let places: Vec<(u64, Place)> = {
            let state = self.state();
            let end = range.end.min(state.durable());
            (range.start..end).map(|index| (index, state.places[index as usize])).collect()
        };
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        places
            .into_iter()
            .map(|(index, place)| {
                let mut bytes = vec![0; place.head.len as usize];
                reader
                    .seek(SeekFrom::Start(place.offset))
                    .and_then(|_| reader.read_exact(&mut bytes))
                    .map_err(LedgerError::io("read", &self.log_path))?;
                let altered = || LedgerError::altered(&self.log_path, index, place.offset);
                if !place.head.fits(&bytes) {
                    return Err(altered());
                }
                Ok((index, SignedNote::parse(&bytes).map_err(|_| altered())?))
            })
            .collect()
    }

    fn read_all(&self, indices: &[u64]) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        let mut entries = Vec::with_capacity(indices.len());
        for index in indices {
            entries.extend(self.read(*index..index + 1)?);
        }
        Ok(entries)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let stopped = self.state().stopped.is_some();
        if let Err(error) = self.checkpoint()
            && !stopped
        {
            tracing::warn!(%error, "the ledger was closed without a new checkpoint");
        }
    }
}

#[cfg(test)]
mod tests;
