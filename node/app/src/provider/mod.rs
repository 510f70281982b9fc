//! The provider's service: answers what other nodes ask, one request at a time per contract.
//!
//! Invariant: a note leaves with this node's signature only after what it says is durable here, in
//! the store first and in the ledger second. Nothing is done for a peer whose right to it is not
//! proven: a node acts for an owner only when its node record, signed by that owner's party key,
//! says so. Not here: the decisions themselves (engine) and how bytes reach the disk (store).

mod agreement;
mod chunks;
mod journaled;
mod probing;
mod quoting;
pub mod served;
mod settling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use commonhold_engine::admission::AdmissionRules;
use commonhold_engine::settlement::{self};
use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::record::NodeRecord;
use commonhold_format::statement::Statement;
use commonhold_format::wire::{self, Refusal, Request, Response};
use commonhold_ledger::Ledger;
use commonhold_net::Net;
use commonhold_store::{ContractState, Role, Store};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use crate::clock::unix_seconds;
use crate::credit::Creditor;
use crate::hourly::Hourly;
use crate::journal::Journal;
use crate::link::Link;
use crate::money::Purse;
use crate::policies::Policies;
use crate::turns::Turns;
use crate::upkeep::{Damage, Ended};
use crate::vault::Vault;
use crate::verdicts::Verdicts;
use crate::witness::Witness;

pub use probing::Probing;
pub use quoting::Quoter;
pub use served::Served;

/// Connected nodes that are asked at once whom they act for.
const INTRODUCED_MAX: usize = 64;
/// How long a peer may take to show its node record.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Node records that are remembered as seen; the oldest half is dropped beyond it.
const KNOWN_NODES_MAX: usize = 4096;

/// Receipts of one contract that are settled in an hour.
pub const RECEIPTS_PER_HOUR_MAX: usize = 60;

/// The provider's half of a node. Also answers for nodes that lend nothing: they show their record
/// and refuse the rest.
pub struct Provider {
    /// Chunks and contracts, as long as their disk is well.
    pub vault: Arc<Vault>,
    /// Where notes are logged before they are answered.
    pub ledger: Ledger,
    /// Signs this node's notes.
    pub party: PartyKey,
    /// To ask a peer for its record.
    pub net: Net,
    /// How fast chunks may go.
    pub link: Arc<Link>,
    /// What is accepted, but for prices, which are the quoter's; `None` for a node that lends nothing.
    pub rules: Option<AdmissionRules>,
    /// What is asked for.
    pub quoter: Arc<Quoter>,
    /// Who decides what an operator may decide.
    pub policies: Policies,
    /// This node's current record, shown on request.
    pub record: Arc<Mutex<Vec<u8>>>,
    /// Which party each node acts for, and until when that is known.
    pub known: Mutex<HashMap<NodeId, (PartyId, u64)>>,
    /// Bytes sent to an owner and not yet in a signed receipt.
    pub egress: Arc<Mutex<HashMap<ContractId, u64>>>,
    /// Receipts that are settled, by contract.
    pub receipts: Mutex<Hourly<ContractId>>,
    /// Who may come to owe how much.
    pub creditor: Arc<Creditor>,
    /// Payments and trust lines.
    pub purse: Arc<Purse>,
    /// What was decided, and how it went.
    pub journal: Arc<Journal>,
    /// When each contract last committed something, or began to put.
    pub progress: Mutex<HashMap<ContractId, Instant>>,
    /// One change at a time per contract.
    pub turns: Turns<ContractId>,
    /// Probes that are answered at the same time.
    pub probing: Probing,
    /// Chunks that were found damaged here.
    pub damage: Damage,
    /// Contracts that have ended.
    pub ended: Arc<Ended>,
    /// Heads of ledgers.
    pub witness: Arc<Witness>,
    /// What was asked of it.
    pub served: Served,
    /// What owners found when they audited this node.
    pub verdicts: Verdicts,
    /// Where reports of other providers about this owner's chunks go, if files are kept through
    /// this node.
    pub reports: Option<mpsc::Sender<DamageReport>>,
}

/// A provider's report that chunks have rotted there.
#[derive(Debug)]
pub struct DamageReport {
    /// Whose node says so.
    pub from: NodeId,
    /// The contract that holds the chunks.
    pub contract: ContractId,
    /// The chunks.
    pub chunks: Vec<ChunkId>,
    /// Whether it was taken.
    pub answer: oneshot::Sender<Result<(), (Refusal, String)>>,
}

/// A refusal on its way to the peer.
struct Refused(Refusal, String);

impl Refused {
    fn new(reason: Refusal, message: impl Into<String>) -> Self {
        Self(reason, message.into())
    }
}

type Answer = Result<Response, Refused>;

/// Runs blocking work of the store or ledger off the network's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refused::new(Refusal::Other, "an internal task of this node failed"))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The guarded values are replaced whole, so a panic elsewhere leaves them valid.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    /// Answers one request of the peer `from`.
    pub async fn answer(&self, from: NodeId, request: Request) -> Response {
        let kind = Served::kind(&request);
        let served = self.serve(from, request).await;
        self.served.note(kind, served.is_ok());
        match served {
            Ok(response) => response,
            Err(Refused(reason, message)) => {
                tracing::debug!(peer = %from, ?reason, message, "refused a request");
                wire::refused(reason, message)
            }
        }
    }

    async fn serve(&self, from: NodeId, request: Request) -> Answer {
        match request {
            Request::Hello => Ok(Response::Record { record: locked(&self.record).clone() }),
            Request::OpenContract { note } => self.answer_offer(from, &note).await,
            Request::ContractState { contract } => self.contract_state(from, contract).await,
            Request::InventoryPage { contract, from: first } => {
                self.inventory_page(from, contract, first).await
            }
            Request::PutChunk { contract, chunk, bytes } => {
                self.put_chunk(from, contract, chunk, bytes).await
            }
            Request::Commit { note, adds, removes } => self.commit(&note, adds, removes).await,
            Request::GetChunk { chunk, contract } => self.get_chunk(from, chunk, contract).await,
            Request::Audit { challenge } => self.audit(from, challenge).await,
            Request::DrawReceipt { .. } => self.draw_receipt(from, request).await,
            Request::SettleReceipt { note } => self.settle_receipt(&note).await,
            Request::ListContracts { owner, signature } => self.list_contracts(from, owner, &signature).await,
            Request::Damaged { contract, chunks } => self.report_damage(from, contract, chunks).await,
            Request::Cosign { checkpoint, old, proof } => {
                let answer = self.witness.cosign(from, &checkpoint, old, proof).await;
                answer.map_err(|(reason, why)| Refused::new(reason, why))
            }
            Request::Consistency { old, new } => {
                self.witness.consistency(old, new).map_err(|(reason, why)| Refused::new(reason, why))
            }
            Request::Countersign { note } => {
                let purse = self.purse.clone();
                let signed = blocking(move || purse.countersign(&note)).await?;
                let signed = signed.map_err(|(reason, why)| Refused::new(reason, why))?;
                // Only then: anybody can ask, and counting anew costs a look at every contract.
                if signed.is_new {
                    self.creditor.changed();
                }
                Ok(Response::Note { note: signed.note.to_bytes() })
            }
            Request::AuditResult { intent, record } => self.audit_result(from, &intent, &record).await,
            Request::Quote { owner, bytes, seconds } => self.quote(from, owner, bytes, seconds).await,
            Request::Probe { nonce, chunks } => self.probe(nonce, chunks).await,
        }
    }

    /// The store, or the refusal of a node in quarantine.
    fn store(&self) -> Result<Store, Refused> {
        self.vault.store().map_err(|why| Refused::new(Refusal::Quarantined, why))
    }

    /// Refuses what is about a contract whose chunks were lost with a disk.
    fn refuse_lost(&self, contract: &ContractId) -> Result<(), Refused> {
        if self.vault.has_lost(contract) {
            let why = "this node's disk was lost, and with it the chunks under this contract";
            return Err(Refused::new(Refusal::Unknown, why));
        }
        Ok(())
    }

    async fn state(&self, contract: ContractId) -> Result<ContractState, Refused> {
        let store = self.store()?;
        self.refuse_lost(&contract)?;
        let state = blocking(move || store.contract(&contract)).await?;
        state
            .filter(|state| state.role == Role::Provider)
            .ok_or_else(|| Refused::new(Refusal::Unknown, "this node has no such contract"))
    }

    /// The contract, once `from` is known to act for its owner.
    async fn state_for_owner(&self, from: NodeId, contract: ContractId) -> Result<ContractState, Refused> {
        let state = self.state(contract).await?;
        self.authorize(from, state.contract.owner).await?;
        Ok(state)
    }

    /// Checks that the node `from` acts for `owner`: its record, signed by both keys, says so.
    async fn authorize(&self, from: NodeId, owner: PartyId) -> Result<(), Refused> {
        let now = unix_seconds();
        let known = locked(&self.known).get(&from).copied();
        let party = match known {
            Some((party, until)) if until > now => party,
            _ => self.introduce(from, now).await?,
        };
        if party == owner {
            Ok(())
        } else {
            Err(Refused::new(Refusal::Forbidden, "your node does not act for this contract's owner"))
        }
    }

    /// Nodes that act for an owner: known ones or, when there is none, connected ones that say so.
    pub async fn nodes_of(&self, owner: &PartyId) -> Vec<NodeId> {
        let known = self.known_nodes_of(owner);
        if !known.is_empty() {
            return known;
        }
        let now = unix_seconds();
        let connected = self.net.peers().await.into_iter().filter(|peer| peer.connected);
        let strange = |node: &NodeId| locked(&self.known).get(node).is_none_or(|(_, until)| *until <= now);
        let strangers = connected.map(|peer| peer.node).filter(strange).take(INTRODUCED_MAX);
        let introduced = strangers.map(|node| self.introduce(node, now)).collect::<FuturesUnordered<_>>();
        introduced.for_each(|_| std::future::ready(())).await;
        self.known_nodes_of(owner)
    }

    fn known_nodes_of(&self, owner: &PartyId) -> Vec<NodeId> {
        let now = unix_seconds();
        let known = locked(&self.known);
        let nodes = known.iter().filter(|(_, (party, until))| party == owner && *until > now);
        nodes.map(|(node, _)| *node).collect()
    }

    /// Hands another provider's report on to the owner's half of this node.
    async fn report_damage(&self, from: NodeId, contract: ContractId, chunks: Vec<ChunkId>) -> Answer {
        let nobody = || Refused::new(Refusal::Unknown, "no files are kept through this node");
        let (answer, answered) = oneshot::channel();
        let report = DamageReport { from, contract, chunks, answer };
        let reports = self.reports.as_ref().ok_or_else(nobody)?;
        reports.try_send(report).map_err(|_| Refused::new(Refusal::Busy, "too many reports wait"))?;
        match answered.await {
            Ok(Ok(())) => Ok(Response::Done),
            Ok(Err((reason, why))) => Err(Refused::new(reason, why)),
            Err(_) => Err(nobody()),
        }
    }

    async fn introduce(&self, from: NodeId, now: u64) -> Result<PartyId, Refused> {
        let forbidden = |why: &str| Refused::new(Refusal::Forbidden, format!("your node record: {why}"));
        let answer = self.net.call(from, Request::Hello, HELLO_TIMEOUT).await;
        let Ok(Response::Record { record }) = answer else {
            return Err(forbidden("it was asked for and not shown"));
        };
        let record = NodeRecord::decode(&record).map_err(|error| forbidden(&error.to_string()))?;
        if record.node != from || record.expires <= now {
            return Err(forbidden("it is another node's or has expired"));
        }
        let mut known = locked(&self.known);
        if known.len() >= KNOWN_NODES_MAX {
            let mut ends: Vec<u64> = known.values().map(|(_, until)| *until).collect();
            ends.sort_unstable();
            let median = ends[ends.len() / 2];
            known.retain(|_, (_, until)| *until > median);
        }
        known.insert(from, (record.party, record.expires));
        Ok(record.party)
    }

    /// Asks whether something is covered, off the network's threads.
    async fn credit<T: Send + 'static>(
        &self,
        may: impl FnOnce(&Creditor) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Refused> {
        let creditor = self.creditor.clone();
        blocking(move || may(&creditor)).await?.map_err(|why| Refused::new(Refusal::Credit, why))
    }

    /// Makes a change durable in the store, then its note in the ledger.
    async fn keep_note(
        &self,
        note: &SignedNote,
        change: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), Refused> {
        let (ledger, note) = (self.ledger.clone(), note.clone());
        blocking(move || {
            change()?;
            ledger.append(&note).map(|_| ()).map_err(|error| error.to_string())
        })
        .await?
        .map_err(|message| Refused::new(Refusal::Quarantined, message))
    }
}

/// Byte-seconds of a contract from its start to `until`: both parties come to the same number,
/// because it follows from the revisions that both signed.
pub fn byte_seconds_until(state: &ContractState, until: u64) -> u128 {
    state.revision.as_ref().map_or(0, |(revision, _)| {
        let (held, from, ends) = (revision.held_bytes, revision.time, state.contract.ends);
        settlement::byte_seconds(state.byte_seconds, held, from, until, ends)
    })
}

/// Whether a note has that many signature lines: more would be others' to put into this ledger.
fn has_lines(note: &SignedNote, count: usize) -> Result<(), Refused> {
    if note.signatures().len() == count {
        return Ok(());
    }
    Err(Refused::new(Refusal::Invalid, format!("the note has to have {count} signature lines and no other")))
}

fn parse_note(bytes: &[u8]) -> Result<SignedNote, Refused> {
    SignedNote::parse(bytes).map_err(|error| Refused::new(Refusal::Invalid, error.to_string()))
}

fn statement(note: &SignedNote) -> Result<Statement, Refused> {
    Statement::of(note).map_err(|error| Refused::new(Refusal::Invalid, error.to_string()))
}

/// Logs the last notes of every contract that the ledger lacks: a crash between store and ledger
/// leaves exactly such a gap.
///
/// # Errors
/// The ledger's own error.
pub fn reconcile(store: &Store, ledger: &Ledger) -> Result<(), commonhold_ledger::LedgerError> {
    for id in store.contracts() {
        let Some(state) = store.contract(&id) else { continue };
        ledger.append(&state.note)?;
        if let Some((_, note)) = &state.revision {
            ledger.append(note)?;
        }
        if let Some((_, note)) = &state.receipt {
            ledger.append(note)?;
        }
    }
    Ok(())
}
