//! A line: the owner's side of one contract. Changes queue up, and everything that waits goes into
//! the next revision, so that many chunks share one signature and one sync.
//!
//! Invariant: a change is reported done only when the revision that contains it carries both
//! signatures and stands in this node's store and ledger. One task owns a contract, so its
//! revisions follow each other without gaps. Not here: who gets which chunk (custody).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use commonhold_format::ids::{ChunkId, ContractId, NodeId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::{Addition, COMMIT_CHANGES_MAX, Refusal, Request, Response};
use commonhold_ledger::Ledger;
use commonhold_net::Net;
use commonhold_store::{ContractState, Store};
use tokio::sync::{mpsc, oneshot};

use crate::clock::unix_seconds;

/// Changes that may wait for the next revision; callers beyond it wait for a place.
const QUEUE_MAX: usize = 1024;
/// How long a provider may take to sync and countersign.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a commit is tried when the answer is lost on the way.
const COMMIT_TRIES: usize = 3;

/// Why a change did not get the provider's signature; a sentence for a person.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct LineError(pub String);

enum Change {
    Add(Addition, oneshot::Sender<Result<(), LineError>>),
    Remove(Vec<ChunkId>, oneshot::Sender<Result<(), LineError>>),
    Resync(oneshot::Sender<Result<(), LineError>>),
}

/// What a line needs of the node.
#[derive(Clone)]
pub struct LineContext {
    /// The owner's book.
    pub store: Store,
    /// The owner's ledger.
    pub ledger: Ledger,
    /// The network.
    pub net: Net,
    /// The owner's signature.
    pub party: Arc<PartyKey>,
}

/// Handle of one contract's task.
#[derive(Clone)]
pub struct Line {
    /// The contract.
    pub contract: ContractId,
    changes: mpsc::Sender<Change>,
}

impl Line {
    /// Starts the task of an open contract.
    pub fn start(context: LineContext, contract: ContractId, node: NodeId) -> Self {
        let (changes, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(Worker { context, contract, node }, queue));
        Self { contract, changes }
    }

    /// Makes a chunk that the provider has received count: resolves with its signature.
    ///
    /// # Errors
    /// [`LineError`] when the provider would not or could not sign.
    pub async fn add(&self, chunk: ChunkId, len: u32) -> Result<(), LineError> {
        self.change(|done| Change::Add(Addition { chunk, len }, done)).await
    }

    /// Takes chunks out of the contract; those that are not in it are passed over.
    ///
    /// # Errors
    /// [`LineError`] when the provider would not or could not sign.
    pub async fn remove(&self, chunks: Vec<ChunkId>) -> Result<(), LineError> {
        self.change(|done| Change::Remove(chunks, done)).await
    }

    /// Takes over what the provider countersigned and this node never learned of, if there is anything.
    ///
    /// # Errors
    /// [`LineError`] when the provider does not show a state that both signed and that is not older.
    pub async fn resync(&self) -> Result<(), LineError> {
        self.change(Change::Resync).await
    }

    async fn change(
        &self,
        change: impl FnOnce(oneshot::Sender<Result<(), LineError>>) -> Change,
    ) -> Result<(), LineError> {
        let (done, outcome) = oneshot::channel();
        let stopped = || LineError("this node is shutting down".to_owned());
        self.changes.send(change(done)).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

struct Worker {
    context: LineContext,
    contract: ContractId,
    node: NodeId,
}

async fn run(worker: Worker, mut queue: mpsc::Receiver<Change>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, COMMIT_CHANGES_MAX).await > 0 {
        let changes = std::mem::take(&mut batch);
        let mut adds = Vec::new();
        let mut gone = Vec::new();
        let mut waiting = Vec::new();
        let mut behind = Vec::new();
        for change in changes {
            match change {
                Change::Add(addition, done) => {
                    adds.push(addition);
                    waiting.push(done);
                }
                Change::Remove(chunks, done) => {
                    gone.extend(chunks);
                    waiting.push(done);
                }
                Change::Resync(done) => behind.push(done),
            }
        }
        if !behind.is_empty() {
            let outcome = worker.catch_up().await;
            for done in behind {
                let _ = done.send(outcome.clone());
            }
        }
        let outcome = worker.change(adds, gone).await;
        for done in waiting {
            // A caller that has gone away does not undo the revision.
            let _ = done.send(outcome.clone());
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LineError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LineError("an internal task failed".to_owned()))
}

fn fault(error: impl std::fmt::Display) -> LineError {
    LineError(error.to_string())
}

impl Worker {
    /// Applies additions and removals, in as many revisions as their bounds ask for.
    async fn change(&self, adds: Vec<Addition>, gone: Vec<ChunkId>) -> Result<(), LineError> {
        let mut seen = HashSet::new();
        let adds: Vec<Addition> = adds.into_iter().filter(|add| seen.insert(add.chunk)).collect();
        let mut removes = self.indices(gone).await?.into_iter();
        let mut adds = adds.into_iter();
        loop {
            let removes: Vec<u64> = removes.by_ref().take(COMMIT_CHANGES_MAX).collect();
            let adds: Vec<Addition> = adds.by_ref().take(COMMIT_CHANGES_MAX).collect();
            if removes.is_empty() && adds.is_empty() {
                return Ok(());
            }
            self.commit(adds, removes).await?;
        }
    }

    async fn indices(&self, chunks: Vec<ChunkId>) -> Result<Vec<u64>, LineError> {
        let (store, contract) = (self.context.store.clone(), self.contract);
        blocking(move || {
            let mut indices: Vec<u64> = chunks
                .iter()
                .flat_map(|chunk| store.holders(chunk))
                .filter(|holding| holding.contract == contract)
                .map(|holding| holding.index)
                .collect();
            indices.sort_unstable();
            indices.dedup();
            indices
        })
        .await
    }

    async fn state(&self) -> Result<ContractState, LineError> {
        let (store, contract) = (self.context.store.clone(), self.contract);
        blocking(move || store.contract(&contract))
            .await?
            .ok_or_else(|| LineError("the contract is not in this node's book".to_owned()))
    }

    async fn catch_up(&self) -> Result<(), LineError> {
        let ours = self.state().await?;
        self.resync(&ours).await.map(|_| ())
    }

    /// One revision: proposed and signed here, synced and countersigned there, kept here.
    async fn commit(&self, adds: Vec<Addition>, removes: Vec<u64>) -> Result<(), LineError> {
        let mut resynced = false;
        // What was sent before and not answered: it may have happened, so it is sent again as it is.
        let mut sent: Option<(Revision, SignedNote)> = None;
        for attempt in 1..=COMMIT_TRIES {
            let state = self.state().await?;
            let (store, contract) = (self.context.store.clone(), self.contract);
            let (a, r) = (adds.clone(), removes.clone());
            let preview = blocking(move || store.preview(&contract, &a, &r)).await?.map_err(fault)?;
            let revision = Revision {
                contract: self.contract,
                sequence: preview.sequence,
                inventory_root: preview.inventory_root,
                entries: preview.entries,
                span: preview.span,
                held_bytes: preview.held_bytes,
                held_chunks: preview.held_chunks,
                time: unix_seconds().max(state.revision.as_ref().map_or(0, |(last, _)| last.time)),
            };
            let text = Statement::Revision(revision.clone()).to_text();
            let fresh = SignedNote::sign(text, &self.context.party).map_err(fault)?;
            let (revision, note) =
                sent.take().filter(|(it, _)| it.sequence == revision.sequence).unwrap_or((revision, fresh));
            let request =
                Request::Commit { note: note.to_bytes(), adds: adds.clone(), removes: removes.clone() };
            match self.context.net.call(self.node, request, COMMIT_TIMEOUT).await {
                Ok(Response::Note { note: answered }) => {
                    let signed = SignedNote::parse(&answered).map_err(fault)?;
                    if signed.text() != note.text() || !self.both_signed(&state, &signed) {
                        return Err(LineError("the provider answered with another note".to_owned()));
                    }
                    return self.keep(revision, signed, adds, removes).await;
                }
                Ok(Response::Refused { reason: Refusal::Conflict, .. }) if !resynced => {
                    resynced = true;
                    if self.resync(&state).await? {
                        // What is on record now may contain this change already; the additions
                        // are then no-ops, but removals by index would not be.
                        if !removes.is_empty() {
                            return Err(LineError(
                                "the contract was brought up to date; ask again".to_owned(),
                            ));
                        }
                    }
                }
                Ok(Response::Refused { message, .. }) => return Err(LineError(message)),
                Ok(_) => return Err(LineError("the provider's answer does not fit the request".to_owned())),
                // The commit may have happened: asking again with the same note is harmless.
                Err(error) if attempt == COMMIT_TRIES => return Err(fault(error)),
                Err(_) => sent = Some((revision, note)),
            }
        }
        Err(LineError("the provider and this node do not agree on the contract's state".to_owned()))
    }

    fn both_signed(&self, state: &ContractState, note: &SignedNote) -> bool {
        note.is_signed_by(&state.contract.owner) && note.is_signed_by(&state.contract.provider)
    }

    async fn keep(
        &self,
        revision: Revision,
        note: SignedNote,
        adds: Vec<Addition>,
        removes: Vec<u64>,
    ) -> Result<(), LineError> {
        let (store, ledger, contract) =
            (self.context.store.clone(), self.context.ledger.clone(), self.contract);
        blocking(move || {
            // The one before is in the ledger, unless the disk was full when it came.
            let before = store.contract(&contract).and_then(|state| state.revision).map(|(_, note)| note);
            store.commit(&contract, &revision, &note, &adds, &removes).map_err(fault)?;
            ledger.append_all(&before.into_iter().chain([note]).collect::<Vec<_>>()).map_err(fault)?;
            Ok(())
        })
        .await?
    }

    /// Adopts the one revision that the provider countersigned and this node never learned of.
    /// Answers whether there was one.
    async fn resync(&self, ours: &ContractState) -> Result<bool, LineError> {
        let ask = Request::ContractState { contract: self.contract };
        let answer = self.context.net.call(self.node, ask, COMMIT_TIMEOUT).await.map_err(fault)?;
        let Response::ContractState { revision, .. } = answer else {
            return Err(LineError("the provider did not tell the contract's state".to_owned()));
        };
        if revision.is_empty() {
            return Err(LineError("the provider has lost this contract's revisions".to_owned()));
        }
        let note = SignedNote::parse(&revision).map_err(fault)?;
        let Statement::Revision(theirs) = Statement::of(&note).map_err(fault)? else {
            return Err(LineError("the provider's last revision is not a revision".to_owned()));
        };
        if theirs.contract != self.contract || !self.both_signed(ours, &note) {
            return Err(LineError("the provider's last revision is not signed by both".to_owned()));
        }
        let own_sequence = ours.revision.as_ref().map_or(0, |(revision, _)| revision.sequence);
        if theirs.sequence == own_sequence {
            return Ok(false);
        }
        if theirs.sequence < own_sequence {
            return Err(LineError("the provider has gone back to an older revision".to_owned()));
        }
        let entries = fetch_inventory(&self.context.net, self.node, self.contract, theirs.entries).await?;
        let (store, contract) = (self.context.store.clone(), self.contract);
        let own =
            blocking(move || store.with_inventory(&contract, |it| it.entries_from(0, usize::MAX))).await?;
        let own = own.map_err(fault)?.transpose().map_err(fault)?.unwrap_or_default();
        let (adds, removes) = difference(&own, &entries);
        self.keep(theirs, note, adds, removes).await?;
        Ok(true)
    }
}

/// Reads a contract's whole inventory from its provider; `entries` bounds it.
pub async fn fetch_inventory(
    net: &Net,
    node: NodeId,
    contract: ContractId,
    entries: u64,
) -> Result<Vec<InventoryEntry>, LineError> {
    let mut all = Vec::new();
    while (all.len() as u64) < entries {
        let ask = Request::InventoryPage { contract, from: all.len() as u64 };
        match net.call(node, ask, COMMIT_TIMEOUT).await.map_err(fault)? {
            Response::InventoryPage { entries } if !entries.is_empty() => all.extend(entries),
            _ => return Err(LineError("the provider did not show its inventory".to_owned())),
        }
    }
    all.truncate(usize::try_from(entries).unwrap_or(usize::MAX));
    Ok(all)
}

/// What turns inventory `own` into `theirs`: new entries at the end, holes in between.
pub fn difference(own: &[InventoryEntry], theirs: &[InventoryEntry]) -> (Vec<Addition>, Vec<u64>) {
    let removes = own
        .iter()
        .zip(theirs)
        .enumerate()
        .filter(|(_, (own, theirs))| own.chunk.is_some() && theirs.chunk.is_none())
        .map(|(index, _)| index as u64)
        .collect();
    let adds = theirs
        .iter()
        .skip(own.len())
        .filter_map(|entry| entry.chunk.map(|chunk| Addition { chunk, len: entry.len }))
        .collect();
    (adds, removes)
}
