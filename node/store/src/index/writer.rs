//! The index's writer: one thread that makes all write transactions.
//!
//! Invariant: a change is answered after the commit that it was in, and what waits meanwhile goes
//! into one commit. LMDB ties a write transaction to its thread. After a failed commit the store
//! has stopped, and every change is refused.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use heed::{Env, RwTxn, WithoutTls};

use super::Tables;
use crate::error::StoreError;
use crate::halt::Halt;

/// Changes that may wait for the writer, and most in one commit; callers beyond it wait.
const QUEUE_MAX: usize = 256;

/// Why a transaction cannot go on.
pub(super) enum Broken {
    Lmdb(heed::Error),
    /// A value that must be replaced cannot be read.
    Value(StoreError),
}

impl From<heed::Error> for Broken {
    fn from(error: heed::Error) -> Self {
        Self::Lmdb(error)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lmdb(error) => write!(f, "index: {error}"),
            Self::Value(error) => error.fmt(f),
        }
    }
}

/// Told how the commit went that a change was in.
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Tables, &mut RwTxn<'_>) -> Result<Done, Broken> + Send>;

/// Handle of the writer's thread, which ends with it.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    halt: Arc<Halt>,
}

impl Writer {
    pub(super) fn start(env: Env<WithoutTls>, tables: Tables, halt: Arc<Halt>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let seen = halt.clone();
        let thread = std::thread::Builder::new()
            .name("store-index".to_owned())
            .spawn(move || write_forever(&env, &tables, &queue, &seen))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), halt })
    }

    /// Runs a change in the writer's next transaction. It is durable on return. `settle` runs
    /// behind the commit, in the order of changes, and before the caller goes on.
    pub(super) fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Tables, &mut RwTxn<'_>) -> Result<T, Broken> + Send + 'static,
        settle: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move |tables, txn| {
            let value = change(tables, txn)?;
            Ok(Box::new(move |outcome: Result<(), StoreError>| {
                if outcome.is_ok() {
                    settle(&value);
                }
                // The caller waits for exactly this.
                let _ = answer.send(outcome.map(|()| value));
            }))
        });
        self.halt.check()?;
        // The thread is only gone when it has stopped the store, or has panicked.
        let gone = || self.halt.stop("the index's writer has ended");
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

fn write_forever(env: &Env<WithoutTls>, tables: &Tables, queue: &Receiver<Job>, halt: &Halt) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter().take(QUEUE_MAX - 1));
        let mut waiting = Vec::with_capacity(jobs.len());
        let outcome = halt
            .check()
            .and_then(|()| commit(env, tables, jobs, &mut waiting).map_err(|error| halt.stop(error)));
        for done in waiting {
            done(outcome.clone());
        }
        if outcome.is_err() {
            // With the queue gone, whoever waits for it is told that the store has stopped.
            return;
        }
    }
}

fn commit(
    env: &Env<WithoutTls>,
    tables: &Tables,
    jobs: Vec<Job>,
    waiting: &mut Vec<Done>,
) -> Result<(), Broken> {
    let mut txn = env.write_txn()?;
    for job in jobs {
        waiting.push(job(tables, &mut txn)?);
    }
    Ok(txn.commit()?)
}
