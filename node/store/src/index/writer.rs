//! The index's writer: one thread that makes all write transactions.
//!
//! Invariant: a change is answered after the commit that it was in, and what waits meanwhile goes
//! into one commit. What a transaction changes in the book is in the packs, and everything in the
//! packs before its record is synced, before LMDB commits. LMDB ties a write transaction to its
//! thread. After a failed commit the store has stopped, and every change is refused.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use heed::{MdbError, RwTxn};

use super::journal::{self, Booked};
use super::{Index, META, PACKS, TAIL, Table, Tables, damaged, value};
use crate::disk::is_full;
use crate::error::StoreError;
use crate::figures::{Move, PackFigures};
use crate::halt::Halt;
use crate::pack::Tail;
use crate::record::{BOOK_HEADER_LEN, NOWHERE};
use crate::shelf::Shelf;

/// Changes that may wait for the writer, and most in one commit; callers beyond it wait.
const QUEUE_MAX: usize = 256;
/// No further change goes into a transaction that changes this much of the book.
const BOOK_BYTES_MAX: usize = 16 << 20;

/// Why a transaction cannot go on.
pub(crate) enum Broken {
    Lmdb(heed::Error),
    /// A value that must be replaced cannot be read, or there is no space for a record of the book.
    Store(StoreError),
}

impl From<heed::Error> for Broken {
    fn from(error: heed::Error) -> Self {
        Self::Lmdb(error)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Broken {
    fn is_map_full(&self) -> bool {
        matches!(self, Self::Lmdb(heed::Error::Mdb(MdbError::MapFull)))
    }
}

/// A transaction that is being put together.
pub(crate) struct Change<'a, 'env> {
    pub(crate) tables: &'a Tables,
    pub(crate) txn: &'a mut RwTxn<'env>,
    /// What it changes in the book.
    book: Vec<u8>,
    /// Records that the index keeps in another way behind it.
    moves: Vec<Move>,
    /// The tail must move on even if nothing else changes.
    moves_tail: bool,
    /// Keys that it changes in the index, and bytes of their values.
    keys: u64,
    value_bytes: u64,
}

impl Change<'_, '_> {
    pub(super) fn table(&self, table: Booked) -> Table {
        match table {
            Booked::Trash => self.tables.trash,
            Booked::Holdings => self.tables.holdings,
            Booked::Contracts => self.tables.contracts,
            Booked::Entries => self.tables.entries,
            Booked::Segments => self.tables.segments,
        }
    }

    /// Writes a value into a table.
    pub(crate) fn set(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.keys += 1;
        self.value_bytes += value.len() as u64;
        Ok(table.put(self.txn, key, value)?)
    }

    /// Removes a key from a table; answers whether it was there.
    pub(crate) fn unset(&mut self, table: Table, key: &[u8]) -> Result<bool, Broken> {
        self.keys += 1;
        Ok(table.delete(self.txn, key)?)
    }

    /// Writes a value into a table and into the book.
    pub(crate) fn put(&mut self, table: Booked, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.set(self.table(table), key, value)?;
        self.note(table, key, Some(value));
        Ok(())
    }

    /// Removes a key from a table and from the book.
    pub(crate) fn delete(&mut self, table: Booked, key: &[u8]) -> Result<(), Broken> {
        if self.unset(self.table(table), key)? {
            self.note(table, key, None);
        }
        Ok(())
    }

    /// Writes into the book alone.
    pub(crate) fn note(&mut self, table: Booked, key: &[u8], value: Option<&[u8]>) {
        journal::push(&mut self.book, table, key, value);
    }

    /// The index keeps a record in another way since.
    pub(crate) fn moved(&mut self, moved: Move) {
        self.moves.push(moved);
    }

    /// Forgets a pack that is no more.
    pub(crate) fn forget_pack(&mut self, pack: u32) -> Result<(), Broken> {
        self.unset(self.tables.packs, &pack.to_be_bytes())?;
        // It may have the tail.
        self.moves_tail = true;
        Ok(())
    }

    /// Brings the figures of the packs up to date, and counts the book record that ends at `tail`.
    fn count(&mut self, tail: Tail, book_bytes: u64) -> Result<(), Broken> {
        let mut packs: BTreeMap<u32, PackFigures> = BTreeMap::new();
        let (tables, txn) = (self.tables, &*self.txn);
        let read = |number: u32| -> Result<PackFigures, Broken> {
            let key = number.to_be_bytes();
            let bytes = tables.packs.get(txn, &key)?;
            let figures = bytes.map(|bytes| value::to_figures(bytes).map_err(damaged(PACKS, &key)));
            Ok(figures.transpose()?.unwrap_or_default())
        };
        let moved = self.moves.iter().map(|moved| moved.place.pack);
        for number in moved.filter(|pack| *pack != NOWHERE).chain([tail.pack]) {
            if let Entry::Vacant(vacant) = packs.entry(number) {
                vacant.insert(read(number)?);
            }
        }
        for moved in &self.moves {
            packs.entry(moved.place.pack).and_modify(|figures| moved.apply(figures));
        }
        packs.entry(tail.pack).and_modify(|figures| figures.book_bytes += book_bytes);
        for (number, figures) in packs {
            self.set(self.tables.packs, &number.to_be_bytes(), &value::figures(&figures))?;
        }
        Ok(())
    }
}

/// One caller's change.
trait Job: Send {
    /// Puts it into a transaction. May be called again, for another one.
    fn run(&mut self, change: &mut Change<'_, '_>) -> Result<(), Broken>;
    /// Tells the caller how it went.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct JobOf<T, F> {
    change: F,
    value: Option<T>,
    answer: SyncSender<Result<T, StoreError>>,
}

impl<T, F> Job for JobOf<T, F>
where
    T: Send,
    F: FnMut(&mut Change<'_, '_>) -> Result<T, Broken> + Send,
{
    fn run(&mut self, change: &mut Change<'_, '_>) -> Result<(), Broken> {
        self.value = Some((self.change)(change)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, answer, .. } = *self;
        if let Some(outcome) = outcome.map(|()| value).transpose() {
            // The caller waits for exactly this.
            let _ = answer.send(outcome);
        }
    }
}

/// Handle of the writer's thread, which ends with it.
pub(crate) struct Writer {
    jobs: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    halt: Arc<Halt>,
}

impl Writer {
    pub(crate) fn start(
        index: Arc<Index>,
        shelf: Arc<Shelf>,
        tail: Tail,
        halt: Arc<Halt>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let scribe = Scribe { index, shelf, tail, halt: halt.clone() };
        let thread = std::thread::Builder::new()
            .name("store-index".to_owned())
            .spawn(move || scribe.write_forever(&queue))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), halt })
    }

    /// Runs a change in the writer's next transaction; it may run again, in another one, when the
    /// first was not committed. It is durable on return, and the shelf's figures follow it.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Change<'_, '_>) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = sync_channel(1);
        self.halt.check()?;
        // The thread is only gone when it has stopped the store, or has panicked.
        let gone = || self.halt.stop("the index's writer has ended");
        let job = Box::new(JobOf { change, value: None, answer });
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without senders the thread ends; joined, it has let go of the files.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It panicked, and every caller was told so.
            let _ = thread.join();
        }
    }
}

/// What the writer's thread works with.
struct Scribe {
    index: Arc<Index>,
    shelf: Arc<Shelf>,
    tail: Tail,
    halt: Arc<Halt>,
}

impl Scribe {
    fn write_forever(mut self, queue: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = queue.recv() {
            let mut waiting = vec![first];
            waiting.extend(queue.try_iter().take(QUEUE_MAX - 1));
            while !waiting.is_empty() {
                let outcome = self.halt.check().and_then(|()| self.commit(&mut waiting));
                // All of them, if none was committed.
                let done = outcome.as_ref().map_or(waiting.len(), |done| *done);
                let outcome = outcome.map(|_| ());
                for job in waiting.drain(..done) {
                    job.answer(outcome.clone());
                }
                if self.halt.check().is_err() {
                    // With the queue gone, whoever waits for it is told that the store has stopped.
                    return;
                }
            }
        }
    }

    /// Commits as many of the jobs as fit one transaction, from the first on; answers how many.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<usize, StoreError> {
        loop {
            let full = match self.try_commit(jobs) {
                Ok(done) => return Ok(done),
                Err(Broken::Store(error @ StoreError::Full { .. })) => return Err(error),
                Err(Broken::Store(error)) => return Err(self.halt.stop(error)),
                Err(broken) if broken.is_map_full() => self.index.env.grow(),
                Err(Broken::Lmdb(error)) if self.index.env.is_full(&error) => {
                    let why = format_args!("the file system is full, free some of it; index: {error}");
                    return Err(self.halt.stop(why));
                }
                Err(Broken::Lmdb(error)) => return Err(self.halt.stop(format_args!("index: {error}"))),
            };
            match full {
                Ok(true) => {}
                Ok(false) => return Err(self.halt.stop("index: it has reached the most that it can hold")),
                Err(error) => return Err(self.halt.stop(format_args!("index: {error}"))),
            }
        }
    }

    fn try_commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<usize, Broken> {
        self.index.env.make_room()?;
        let mut txn = self.index.env.write()?;
        let tables = &self.index.tables;
        let mut change = Change {
            tables,
            txn: &mut txn,
            book: Vec::new(),
            moves: Vec::new(),
            moves_tail: false,
            keys: 0,
            value_bytes: 0,
        };
        let mut done = 0;
        for job in jobs {
            job.run(&mut change)?;
            done += 1;
            if change.book.len() >= BOOK_BYTES_MAX {
                break;
            }
        }
        let is_recorded = !change.book.is_empty() || !change.moves.is_empty() || change.moves_tail;
        if is_recorded || change.keys > 0 {
            // Before anything is promised. What is written of the packs and of the tail is in the slack.
            self.index.env.hold_room(change.keys, change.value_bytes).map_err(|error| {
                let full = StoreError::Full { why: format!("for the index: {error}") };
                if is_full(&error) { Broken::Store(full) } else { Broken::Lmdb(heed::Error::Io(error)) }
            })?;
        }
        if !is_recorded {
            txn.commit()?;
            return Ok(done);
        }
        let bytes = (BOOK_HEADER_LEN + change.book.len()) as u64;
        let (tail, mark) = self.shelf.packs.append_book(self.tail.record + 1, &change.book)?;
        let unbook = || self.shelf.packs.unbook(tail.pack, bytes);
        let synced = self.shelf.packs.sync(mark).map_err(Broken::from);
        synced.and_then(|()| change.count(tail, bytes)).inspect_err(|_| unbook())?;
        let moves = std::mem::take(&mut change.moves);
        let committed = tables.meta.put(&mut txn, TAIL, &value::tail(&tail)).and_then(|()| txn.commit());
        committed.inspect_err(|_| unbook())?;
        self.tail = tail;
        self.shelf.settle(&moves);
        Ok(done)
    }
}

/// A value of `meta` that is written by itself.
impl Writer {
    /// Writes a value of the database `meta`, which is not part of the book.
    pub(crate) fn write_meta(&self, key: &'static [u8], bytes: Vec<u8>) -> Result<(), StoreError> {
        debug_assert!(key != TAIL, "{META} has the tail from the writer alone");
        self.write(move |change| change.set(change.tables.meta, key, &bytes))
    }
}
