//! The owner's agent: keeps contracts with providers, sends and fetches chunks, audits and repairs.
//! It implements the drive's `Custody`, so the drive never learns who holds what.
//!
//! Invariant: a chunk counts as kept by a provider only through a revision that both signed; a
//! chunk is used only after its bytes were checked against its id. Not here: plaintext and keys of
//! files; this half works on ciphertext alone.

pub mod audit;
pub mod custody;
mod evidence;
mod fetch;
pub mod forgotten;
mod journaled;
pub mod line;
mod market;
mod pace;
pub mod probe;
mod records;
pub mod repair;
mod reports;
mod send;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_drive::{Meter, Stage};
use commonhold_engine::audit::Standing;
use commonhold_format::ids::{ChunkId, ContractId, NodeId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::segment::Segment;
use commonhold_format::statement::{Contract, Prices, Statement};
use commonhold_format::tree::chunk_id;
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_ledger::Ledger;
use commonhold_net::Net;
use commonhold_store::{ContractState, Role, Store};

use crate::clock::unix_seconds;
use crate::config::OwnerConfig;
use crate::directory::Directory;
use crate::journal::{Journal, Side};
use crate::link::Link;
use crate::policies::Policies;
use crate::turns::Turns;
use line::{Line, LineContext};
use pace::Paces;
use records::Records;
pub use records::Stood;
use send::Queues;

/// How long a provider may take to answer about a contract.
const CONTRACT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a chunk may take in either direction: 1 MiB at about 35 kB/s.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// After so long a provider's record says how much room there is now: it is written every second.
const RECORD_PAUSE: Duration = Duration::from_millis(1500);
/// Clocks of two parties may differ by this much when a contract starts.
const START_ALLOWANCE_SECONDS: u64 = 60;

/// Why a provider did not do what it was asked; a sentence for a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// Not reachable or no answer.
    #[error("{node}: {why}")]
    Unreachable {
        /// Who.
        node: NodeId,
        /// The network's reason.
        why: String,
    },
    /// It has no room left.
    #[error("{node} has no room left: {why}")]
    Full {
        /// Who.
        node: NodeId,
        /// Its own words.
        why: String,
    },
    /// It has too much to do at present.
    #[error("{node} has too much to do: {why}")]
    Busy {
        /// Who.
        node: NodeId,
        /// Its own words.
        why: String,
    },
    /// It no longer has the chunk intact.
    #[error("{node} no longer has the chunk intact: {why}")]
    Lost {
        /// Who.
        node: NodeId,
        /// What it answered.
        why: String,
    },
    /// Anything else.
    #[error("{node}: {why}")]
    Refused {
        /// Who.
        node: NodeId,
        /// Its own words.
        why: String,
    },
}

/// The owner's half of a node.
pub struct Owner {
    /// The book of contracts and the index of segments.
    pub store: Store,
    /// The owner's ledger.
    pub ledger: Ledger,
    /// The network.
    pub net: Net,
    /// Signs notes.
    pub party: Arc<PartyKey>,
    /// Known providers.
    pub directory: Directory,
    /// Who decides.
    pub policies: Policies,
    /// What was decided, and how it went.
    pub journal: Arc<Journal>,
    /// How fast chunks may go.
    pub link: Arc<Link>,
    /// Terms and intervals.
    pub config: OwnerConfig,
    /// Folder for audit evidence.
    pub evidence: PathBuf,
    lines: tokio::sync::Mutex<HashMap<NodeId, Line>>,
    records: Mutex<Records>,
    received: Mutex<HashMap<ContractId, u64>>,
    auditing: Turns<ContractId>,
    /// The highest prices that are accepted, and when the policy said so.
    ceiling: Mutex<Option<(Instant, Prices)>>,
    /// When a receipt was last signed because the provider asked for one.
    settled: Mutex<HashMap<ContractId, Instant>>,
    repairing: tokio::sync::Mutex<()>,
    /// Segments that the repair that runs has still to do, chunks that were made again, and their bytes.
    repairs: [AtomicU64; 3],
    forgotten: AtomicU64,
    paces: Paces,
    /// Providers that had too much to do get one chunk at a time.
    queues: Queues,
    /// Time by stage of the work.
    pub meter: Arc<Meter>,
}

impl Owner {
    /// An agent over the given rooms. Standings are derived again from the audits in the ledger.
    #[allow(clippy::too_many_arguments, reason = "one for each room")]
    pub fn new(
        store: Store,
        ledger: Ledger,
        net: Net,
        party: Arc<PartyKey>,
        directory: Directory,
        policies: Policies,
        journal: Arc<Journal>,
        link: Arc<Link>,
        config: OwnerConfig,
        evidence: PathBuf,
    ) -> Self {
        let owner = Self {
            store,
            ledger,
            net,
            party,
            directory,
            policies,
            journal,
            link,
            config,
            evidence,
            lines: tokio::sync::Mutex::default(),
            records: Mutex::default(),
            received: Mutex::default(),
            auditing: Turns::default(),
            ceiling: Mutex::default(),
            settled: Mutex::default(),
            repairing: tokio::sync::Mutex::default(),
            repairs: Default::default(),
            forgotten: AtomicU64::new(0),
            paces: Paces::default(),
            queues: Queues::default(),
            meter: Arc::default(),
        };
        owner.replay_audits();
        owner
    }

    fn replay_audits(&self) {
        const PAGE: usize = 1024;
        let contracts = self.contracts();
        let nodes: HashMap<ContractId, NodeId> =
            contracts.iter().map(|state| (state.contract.id(), state.contract.node)).collect();
        let mut records = self.records();
        let mut from = 0;
        loop {
            let page = self.ledger.entries(from, PAGE);
            for (index, note) in &page {
                from = index + 1;
                records.replay(note, &nodes, &self.party.id());
            }
            if page.len() < PAGE {
                return;
            }
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) -> MutexGuard<'_, HashMap<ContractId, u64>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This owner's contracts.
    pub fn contracts(&self) -> Vec<ContractState> {
        self.store
            .contracts()
            .iter()
            .filter_map(|id| self.store.contract(id))
            .filter(|state| state.role == Role::Owner)
            .collect()
    }

    /// The node behind a contract of this owner.
    fn node_of(&self, contract: &ContractId) -> Option<NodeId> {
        self.store.contract(contract).map(|state| state.contract.node)
    }

    /// How a provider stands with this owner.
    pub fn standing(&self, node: &NodeId) -> Standing {
        self.records().standing(node)
    }

    /// Audits by outcome: passed, wrong bytes, no answer, offline, quarantined.
    pub fn audit_totals(&self) -> [u64; 5] {
        self.records().totals()
    }

    /// Everybody who was audited, with the audit that led to the standing.
    pub fn audited(&self) -> Vec<(NodeId, Stood)> {
        self.records().all()
    }

    /// The line to a provider: its open contract, or a new one.
    async fn line(&self, node: NodeId) -> Result<Line, ProviderError> {
        let mut lines = self.lines.lock().await;
        if let Some(line) = lines.get(&node) {
            return Ok(line.clone());
        }
        let now = unix_seconds();
        let open = self
            .contracts()
            .into_iter()
            .filter(|state| state.contract.node == node && state.contract.ends > now)
            .max_by_key(|state| state.contract.ends);
        let contract = match open {
            Some(state) => state.contract.id(),
            None => self.open_contract(node).await?,
        };
        let line = Line::start(self.line_context(), contract, node);
        lines.insert(node, line.clone());
        Ok(line)
    }

    fn line_context(&self) -> LineContext {
        LineContext {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            net: self.net.clone(),
            party: self.party.clone(),
        }
    }

    /// Takes over what the provider countersigned under a contract and this node never learned of.
    async fn resync(&self, contract: &ContractId, node: NodeId) -> Result<(), String> {
        // One task owns a contract. A provider's line is that of its newest one; an older one has none.
        let line = self.line(node).await.map_err(|error| error.to_string())?;
        let line =
            if line.contract == *contract { line } else { Line::start(self.line_context(), *contract, node) };
        line.resync().await.map_err(|error| error.0)
    }

    /// Opens a contract at the provider's current offer, or what it quotes. A refusal may mean that the
    /// offer seen last has passed, so the record is asked for again: at once, and when there is less room
    /// than it says, also when it was written anew.
    async fn open_contract(&self, node: NodeId) -> Result<ContractId, ProviderError> {
        let outcome = match self.offer_contract(node).await {
            Err(ProviderError::Full { .. } | ProviderError::Refused { .. }) => {
                self.directory.ask([node]).await;
                self.offer_contract(node).await
            }
            outcome => outcome,
        };
        let Err(ProviderError::Full { .. }) = outcome else { return outcome };
        tokio::time::sleep(RECORD_PAUSE).await;
        self.directory.ask([node]).await;
        self.offer_contract(node).await
    }

    async fn offer_contract(&self, node: NodeId) -> Result<ContractId, ProviderError> {
        let refused = |why: String| ProviderError::Refused { node, why };
        let known = self.directory.get(&node);
        let Some((record, offer)) =
            known.and_then(|known| known.record.offer.clone().map(|offer| (known.record, offer)))
        else {
            return Err(refused("this node offers no disk".to_owned()));
        };
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| refused(error.to_string()))?;
        let term = self.config.term.0.min(offer.term_seconds_max.saturating_sub(START_ALLOWANCE_SECONDS));
        let prices = self.agree_on(node, &offer.prices, offer.free_bytes, term).await?;
        let starts = unix_seconds();
        let contract = Contract {
            owner: self.party.id(),
            provider: record.party,
            node,
            salt,
            prices,
            bytes_max: offer.free_bytes,
            starts,
            ends: starts + term,
            audit_interval_seconds: self.config.audit_interval.0,
            grace_seconds: self.config.absent_after.0,
            hold_microcredits: self.config.hold_microcredits,
        };
        let id = contract.id();
        let note = SignedNote::sign(Statement::Contract(contract.clone()).to_text(), &self.party)
            .map_err(|error| refused(error.to_string()))?;
        let request = Request::OpenContract { note: note.to_bytes() };
        let answer = match self.call(node, request, CONTRACT_TIMEOUT).await? {
            Response::Note { note } => note,
            other => {
                let error = unexpected(node, other);
                self.journal.refused(Side::Owner, &contract, &error.to_string());
                return Err(error);
            }
        };
        let signed = SignedNote::parse(&answer).map_err(|error| refused(error.to_string()))?;
        if signed.text() != note.text()
            || !signed.is_signed_by(&contract.owner)
            || !signed.is_signed_by(&contract.provider)
        {
            return Err(refused("it answered with another contract".to_owned()));
        }
        let (store, ledger, agreed) = (self.store.clone(), self.ledger.clone(), contract.clone());
        blocking(move || {
            store.open_contract(Role::Owner, &contract, &signed).map_err(|error| error.to_string())?;
            ledger.append(&signed).map_err(|error| error.to_string())
        })
        .await
        .and_then(|kept| kept)
        .map_err(refused)?;
        self.journal.opened(Side::Owner, &agreed);
        Ok(id)
    }

    /// One request, with its outcome noted in the directory.
    async fn call(
        &self,
        node: NodeId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, ProviderError> {
        match self.net.call(node, request, timeout).await {
            Ok(response) => {
                self.directory.observed(&node, true);
                Ok(response)
            }
            Err(error) => {
                self.directory.observed(&node, false);
                Err(ProviderError::Unreachable { node, why: error.to_string() })
            }
        }
    }

    /// As [`call`](Self::call); when the provider wants a receipt first, it gets one and is asked again.
    async fn call_settled(
        &self,
        node: NodeId,
        contract: Option<ContractId>,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, ProviderError> {
        let answer = self.call(node, request.clone(), timeout).await?;
        match (&answer, contract) {
            (Response::Refused { reason: Refusal::Credit, .. }, Some(contract))
                if self.settle_for_credit(&contract).await =>
            {
                self.call(node, request, timeout).await
            }
            _ => Ok(answer),
        }
    }

    /// Fetches one chunk from one provider and checks it. A damaged or wrong answer marks the
    /// chunk as lost there.
    async fn try_fetch(
        &self,
        node: NodeId,
        chunk: ChunkId,
        contract: Option<ContractId>,
    ) -> Result<Bytes, ProviderError> {
        let lost = |why: &str| ProviderError::Lost { node, why: why.to_owned() };
        let begun = Instant::now();
        let request = Request::GetChunk { chunk, contract };
        let asked = self.paces.ask(node);
        let answer = self.call_settled(node, contract, request, CHUNK_TIMEOUT).await;
        asked.ended(matches!(answer, Ok(Response::Chunk { .. })));
        let answer = answer?;
        self.meter.since(Stage::Fetch, begun);
        let fits = match &answer {
            Response::Chunk { bytes } => {
                self.link.received(bytes.len());
                self.has_id(bytes, chunk).await.map_err(|why| ProviderError::Unreachable { node, why })?
            }
            _ => false,
        };
        let outcome = match answer {
            Response::Chunk { bytes } if fits => {
                if let Some(contract) = contract {
                    *self.received().entry(contract).or_default() += bytes.len() as u64;
                }
                return Ok(bytes);
            }
            Response::Chunk { .. } => Err(lost("it sent other bytes")),
            Response::Refused { reason: Refusal::Damaged | Refusal::Unknown, message } => Err(lost(&message)),
            other => return Err(unexpected(node, other)),
        };
        tracing::warn!(%node, %chunk, "a provider could not serve a chunk that it signed for");
        if let Some(contract) = contract {
            self.mark_lost(contract, vec![chunk]).await;
        }
        outcome
    }

    /// Whether these are the bytes of `chunk`. Off the network's threads: hashing takes its time.
    async fn has_id(&self, bytes: &Bytes, chunk: ChunkId) -> Result<bool, String> {
        let (bytes, meter) = (bytes.clone(), self.meter.clone());
        let checked = blocking(move || {
            let begun = Instant::now();
            let same = chunk_id(&bytes) == chunk;
            meter.since(Stage::Check, begun);
            same
        });
        checked.await
    }

    async fn mark_lost(&self, contract: ContractId, chunks: Vec<ChunkId>) {
        let store = self.store.clone();
        let marked = blocking(move || store.mark_lost(&contract, &chunks).map_err(|e| e.to_string())).await;
        if let Err(error) | Ok(Err(error)) = marked {
            tracing::error!(%error, "could not note a lost chunk");
        }
    }

    /// Who holds chunk `index` of a segment: by this owner's book first, then by the manifest's hint.
    fn sources(&self, segment: &Segment, index: u8) -> Vec<(NodeId, Option<ContractId>)> {
        let at = usize::from(index);
        let mut sources: Vec<(NodeId, Option<ContractId>)> = self
            .store
            .holders(&segment.chunks[at])
            .into_iter()
            .filter(|holding| !holding.lost)
            .filter_map(|holding| Some((self.node_of(&holding.contract)?, Some(holding.contract))))
            .collect();
        let hint = segment.holders[at];
        let known_lost = self
            .store
            .holders(&segment.chunks[at])
            .iter()
            .any(|holding| holding.lost && self.node_of(&holding.contract) == Some(hint));
        if !known_lost && !sources.iter().any(|(node, _)| *node == hint) {
            sources.push((hint, None));
        }
        sources
    }
}

/// Turns an answer that is not what was asked for into its error.
fn unexpected(node: NodeId, response: Response) -> ProviderError {
    match response {
        Response::Refused { reason: Refusal::Full | Refusal::OverContract, message } => {
            ProviderError::Full { node, why: message }
        }
        Response::Refused { reason: Refusal::Busy, message } => ProviderError::Busy { node, why: message },
        Response::Refused { message, .. } => ProviderError::Refused { node, why: message },
        _ => ProviderError::Refused { node, why: "its answer does not fit the request".to_owned() },
    }
}

/// Runs blocking work of the store or ledger off the network's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "an internal task failed".to_owned())
}
