//! The provider's service: answers what other nodes ask, one request at a time per contract.
//!
//! Invariant: a note leaves with this node's signature only after what it says is durable here, in
//! the store first and in the ledger second. Nothing is done for a peer whose right to it is not
//! proven: a node acts for an owner only when its node record, signed by that owner's party key,
//! says so. Not here: the decisions themselves (engine) and how bytes reach the disk (store).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_engine::admission::{self, AdmissionRules, Capacity};
use commonhold_engine::settlement::{self, Tally};
use commonhold_format::audit::{self, Challenge};
use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::record::NodeRecord;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::{self, Addition, INVENTORY_PAGE_MAX, Refusal, Request, Response};
use commonhold_ledger::Ledger;
use commonhold_net::Net;
use commonhold_store::{CommitError, ContractState, PutError, ReadError, Role, Store, StoreError};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use crate::clock::unix_seconds;
use crate::credit::Creditor;
use crate::money::Purse;
use crate::turns::Turns;
use crate::upkeep::Damage;
use crate::vault::Vault;
use crate::verdicts::Verdicts;
use crate::witness::Witness;

/// Connected nodes that are asked at once whom they act for.
const INTRODUCED_MAX: usize = 64;
/// How long a peer may take to show its node record.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Node records that are remembered as seen; the oldest half is dropped beyond it.
const KNOWN_NODES_MAX: usize = 4096;

/// Puts of a contract that has committed nothing for this long are given up when they stand in the
/// way of new ones: their owner has gone away.
const ABANDON_AFTER: Duration = Duration::from_secs(600);

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
    /// What is accepted; `None` for a node that lends nothing.
    pub rules: Option<AdmissionRules>,
    /// This node's current record, shown on request.
    pub record: Arc<Mutex<Vec<u8>>>,
    /// Which party each node acts for, and until when that is known.
    pub known: Mutex<HashMap<NodeId, (PartyId, u64)>>,
    /// Bytes sent to an owner and not yet in a signed receipt.
    pub egress: Arc<Mutex<HashMap<ContractId, u64>>>,
    /// Who may come to owe how much.
    pub creditor: Arc<Creditor>,
    /// Payments and trust lines.
    pub purse: Arc<Purse>,
    /// When each contract last committed something, or began to put.
    pub progress: Mutex<HashMap<ContractId, Instant>>,
    /// One change at a time per contract.
    pub turns: Turns<ContractId>,
    /// Chunks that were found damaged here.
    pub damage: Damage,
    /// Heads of ledgers.
    pub witness: Arc<Witness>,
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
        match self.serve(from, request).await {
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
            Request::OpenContract { note } => self.open_contract(from, &note).await,
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

    async fn open_contract(&self, from: NodeId, note: &[u8]) -> Answer {
        let Some(rules) = self.rules else {
            return Err(Refused::new(Refusal::Terms, "this node lends no disk"));
        };
        let mut note = parse_note(note)?;
        let Statement::Contract(contract) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a contract"));
        };
        if !note.is_signed_by(&contract.owner) {
            return Err(Refused::new(Refusal::Forbidden, "the owner has not signed the contract"));
        }
        self.authorize(from, contract.owner).await?;
        let id = contract.id();
        self.refuse_lost(&id)?;
        let _turn = self.turns.take(id).await;
        if let Ok(state) = self.state(id).await {
            self.keep_note(&state.note, || Ok(())).await?;
            return Ok(Response::Note { note: state.note.to_bytes() });
        }
        // By the accounts: what the file system has moves with everything else on it, and a contract
        // is a limit and no reservation.
        let usage = self.store()?.usage();
        let capacity = Capacity {
            allotted_bytes: usage.allotted_bytes,
            used_bytes: usage.allotted_bytes - usage.free_bytes,
            promised_bytes: 0,
        };
        self.credit({
            let (owner, hold) = (contract.owner, contract.hold_microcredits);
            move |creditor| creditor.may_open(&owner, hold)
        })
        .await?;
        let me = (self.party.id(), self.net.node());
        admission::admit_contract(&contract, me, &rules, &capacity, unix_seconds())
            .map_err(|denied| Refused::new(denied.refusal(), denied.to_string()))?;
        note.countersign(&self.party);
        self.keep_note(&note, {
            let (store, note) = (self.store()?, note.clone());
            move || store.open_contract(Role::Provider, &contract, &note).map_err(|e| e.to_string())
        })
        .await?;
        // What its owner may hold back counts from now on.
        self.creditor.changed();
        Ok(Response::Note { note: note.to_bytes() })
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

    async fn contract_state(&self, from: NodeId, contract: ContractId) -> Answer {
        let state = self.state_for_owner(from, contract).await?;
        Ok(Response::ContractState {
            contract: state.note.to_bytes(),
            revision: state.revision.map(|(_, note)| note.to_bytes()).unwrap_or_default(),
            receipt: state.receipt.map(|(_, note)| note.to_bytes()).unwrap_or_default(),
        })
    }

    async fn inventory_page(&self, from: NodeId, contract: ContractId, first: u64) -> Answer {
        self.state_for_owner(from, contract).await?;
        let store = self.store()?;
        let page = blocking(move || {
            store.with_inventory(&contract, |inventory| inventory.entries_from(first, INVENTORY_PAGE_MAX))
        });
        let unreadable = |error: StoreError| Refused::new(Refusal::Quarantined, error.to_string());
        let entries = page.await?.map_err(unreadable)?.transpose().map_err(unreadable)?;
        Ok(Response::InventoryPage { entries: entries.unwrap_or_default() })
    }

    async fn put_chunk(&self, from: NodeId, contract: ContractId, chunk: ChunkId, bytes: Bytes) -> Answer {
        let state = self.state_for_owner(from, contract).await?;
        let held = state.revision.as_ref().map_or(0, |(revision, _)| revision.held_bytes);
        if held.saturating_add(bytes.len() as u64) > state.contract.bytes_max {
            return Err(Refused::new(
                Refusal::OverContract,
                format!("the contract covers {} bytes and {held} are used", state.contract.bytes_max),
            ));
        }
        // The commit decides; whoever would be refused there need not send more.
        let len = bytes.len() as u64;
        self.credit(move |creditor| creditor.could_hold(&state, held.saturating_add(len))).await?;
        let idle = locked(&self.progress).entry(contract).or_insert_with(Instant::now).elapsed();
        let store = self.store()?;
        let put = blocking(move || match store.put(contract, chunk, &bytes) {
            Err(PutError::Busy { .. }) if idle > ABANDON_AFTER => {
                store.abandon(&contract);
                store.put(contract, chunk, &bytes)
            }
            outcome => outcome,
        });
        put.await?.map_err(|error| {
            let reason = match &error {
                PutError::WrongId => Refusal::Invalid,
                PutError::QuotaReached { .. } | PutError::DiskFull => Refusal::Full,
                PutError::Busy { .. } => Refusal::Busy,
                _ => Refusal::Quarantined,
            };
            Refused::new(reason, error.to_string())
        })?;
        Ok(Response::Done)
    }

    async fn commit(&self, note: &[u8], adds: Vec<Addition>, removes: Vec<u64>) -> Answer {
        let Some(rules) = self.rules else {
            return Err(Refused::new(Refusal::Terms, "this node lends no disk"));
        };
        let mut note = parse_note(note)?;
        let Statement::Revision(revision) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a revision"));
        };
        let _turn = self.turns.take(revision.contract).await;
        let state = self.state(revision.contract).await?;
        if !note.is_signed_by(&state.contract.owner) {
            return Err(Refused::new(Refusal::Forbidden, "the owner has not signed the revision"));
        }
        let previous = state.revision.as_ref();
        if let Some((_, last)) = previous.filter(|(_, last)| last.text() == note.text()).cloned() {
            // In the ledger too before it is answered again: the disk may have been full between the two.
            self.keep_note(&last, || Ok(())).await?;
            return Ok(Response::Note { note: last.to_bytes() });
        }
        let previous = previous.map(|(previous, _)| previous);
        if revision.sequence != previous.map_or(0, |previous| previous.sequence) + 1 {
            return Err(Refused::new(
                Refusal::Conflict,
                "the revision does not follow the last one; ask for the contract's state",
            ));
        }
        admission::admit_revision(&state.contract, previous, &revision, &rules, unix_seconds())
            .map_err(|denied| Refused::new(denied.refusal(), denied.to_string()))?;
        note.countersign(&self.party);
        let contract = revision.contract;
        let grows =
            !adds.is_empty() || revision.held_bytes > previous.map_or(0, |previous| previous.held_bytes);
        let (store, ledger, signed) = (self.store()?, self.ledger.clone(), note.clone());
        let creditor = self.creditor.clone();
        blocking(move || {
            let reserved = grows.then(|| creditor.may_hold(&state, revision.held_bytes)).transpose();
            let _reserved = reserved.map_err(|why| Refused::new(Refusal::Credit, why))?;
            store.commit(&revision.contract, &revision, &signed, &adds, &removes).map_err(|error| {
                let reason = match &error {
                    CommitError::Missing(_) => Refusal::Unknown,
                    CommitError::Failed(StoreError::Full { .. }) => Refusal::Full,
                    CommitError::Failed { .. } => Refusal::Quarantined,
                    _ => Refusal::Invalid,
                };
                Refused::new(reason, error.to_string())
            })?;
            // The one before is there, unless the disk was full when it came; a claim needs all of them.
            let notes: Vec<SignedNote> =
                state.revision.iter().map(|(_, note)| note.clone()).chain([signed]).collect();
            ledger.append_all(&notes).map_err(|error| Refused::new(Refusal::Quarantined, error.to_string()))
        })
        .await??;
        locked(&self.progress).insert(contract, Instant::now());
        Ok(Response::Note { note: note.to_bytes() })
    }

    async fn get_chunk(&self, from: NodeId, chunk: ChunkId, contract: Option<ContractId>) -> Answer {
        let store = self.store()?;
        let bytes = blocking(move || store.read(&chunk)).await?.map_err(|error| {
            if let (ReadError::Damaged { .. }, Some(contract)) = (&error, contract) {
                self.damage.found(contract, chunk);
            }
            let reason = match &error {
                ReadError::NotHeld => Refusal::Unknown,
                ReadError::Damaged { .. } => Refusal::Damaged,
                _ => Refusal::Quarantined,
            };
            Refused::new(reason, error.to_string())
        })?;
        if let Some(contract) = contract
            && let Ok(state) = self.state_for_owner(from, contract).await
        {
            let len = bytes.len() as u64;
            self.credit(move |creditor| creditor.may_read(&state, len)).await?;
            *locked(&self.egress).entry(contract).or_default() += len;
        } else if self.is_stopped(chunk).await? {
            let why = "it is held only for owners that have not paid for it";
            return Err(Refused::new(Refusal::Credit, why));
        }
        Ok(Response::Chunk { bytes: bytes.into() })
    }

    /// Whether every contract that holds a chunk is stopped.
    async fn is_stopped(&self, chunk: ChunkId) -> Result<bool, Refused> {
        let (store, creditor) = (self.store()?, self.creditor.clone());
        blocking(move || {
            let holders = store.lent_to(&chunk).map_err(|error| error.to_string())?;
            Ok(!holders.is_empty() && holders.iter().all(|it| creditor.stop_of(it).is_some()))
        })
        .await?
        .map_err(|why: String| Refused::new(Refusal::Quarantined, why))
    }

    async fn audit(&self, from: NodeId, challenge: Challenge) -> Answer {
        let contract = challenge.contract;
        let state = self.state_for_owner(from, contract).await?;
        let current = state.revision.as_ref().map(|(revision, _)| revision);
        if !current.is_some_and(|revision| fits(&challenge, revision)) {
            return Err(Refused::new(
                Refusal::Conflict,
                "the challenge is not about the contract's last revision",
            ));
        }
        let store = self.store()?;
        let proof = blocking(move || {
            let mut disk_fault = None;
            let mut damaged = Vec::new();
            let proof = store.with_inventory(&challenge.contract, |inventory| {
                audit::prove(&challenge, inventory, |chunk, _, leaf| match inventory.prove(chunk, leaf) {
                    Ok(shown) => Some(shown),
                    Err(ReadError::NotHeld | ReadError::Damaged { .. }) => {
                        damaged.push(*chunk);
                        None
                    }
                    Err(error) => {
                        disk_fault = Some(error.to_string());
                        None
                    }
                })
            });
            // A disk that cannot be read is not a chunk that is lost: say which it is.
            match (disk_fault, proof.and_then(Option::transpose)) {
                (Some(fault), _) => Err(fault),
                (None, proof) => Ok((proof.map_err(|error| error.to_string())?, damaged)),
            }
        });
        let (proof, damaged) = proof.await?.map_err(|fault| Refused::new(Refusal::Quarantined, fault))?;
        damaged.into_iter().for_each(|chunk| self.damage.found(contract, chunk));
        let proof = proof.ok_or_else(|| Refused::new(Refusal::Unknown, "this node has no such contract"))?;
        // The owner has the inventory, and the paths to its root with it.
        Ok(Response::Proof { proof: proof.without_inventory_paths() })
    }

    /// Notes what an audit of this node found.
    async fn audit_result(&self, from: NodeId, intent: &[u8], record: &[u8]) -> Answer {
        let Some(rules) = self.rules else {
            return Err(Refused::new(Refusal::Unknown, "this node lends no disk"));
        };
        let (intent_note, record_note) = (parse_note(intent)?, parse_note(record)?);
        let (Statement::AuditIntent(intent), Statement::AuditRecord(record)) =
            (statement(&intent_note)?, statement(&record_note)?)
        else {
            return Err(Refused::new(
                Refusal::Invalid,
                "the notes are not an intent and a record of an audit",
            ));
        };
        let state = self.state_for_owner(from, record.contract).await?;
        let _turn = self.turns.take(record.contract).await;
        let (notes, statements) = ((intent_note, record_note), (intent, record));
        let told = self
            .verdicts
            .check(&state, notes, statements, unix_seconds(), rules.clock_skew_seconds_max)
            .map_err(|(reason, why)| Refused::new(reason, why))?;
        let (ledger, notes) = (self.ledger.clone(), told.notes.clone());
        blocking(move || ledger.append_all(&notes))
            .await?
            .map_err(|error| Refused::new(Refusal::Quarantined, error.to_string()))?;
        self.verdicts.enter(told);
        Ok(Response::Done)
    }

    async fn draw_receipt(&self, from: NodeId, request: Request) -> Answer {
        let Request::DrawReceipt {
            contract,
            egress_bytes,
            audits_passed,
            audits_failed,
            evidence,
            owner_size,
            owner_root,
        } = request
        else {
            return Err(Refused::new(Refusal::Invalid, "not a request for a receipt"));
        };
        // No receipt is settled meanwhile: this one states a ledger that has to have the one before it
        // (spec/ledger.md, "Evidence"), even if the disk was full when that came.
        let _turn = self.turns.take(contract).await;
        let state = self.state_for_owner(from, contract).await?;
        if state.given_up && unix_seconds() < state.contract.ends {
            return Err(Refused::new(
                Refusal::Terms,
                "this contract was given up: nothing more is owed under it",
            ));
        }
        let (ledger, last) = (self.ledger.clone(), state.receipt.as_ref().map(|(_, note)| note.clone()));
        let provider_head = blocking(move || {
            if let Some(note) = last {
                ledger.append(&note).map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(ledger.head())
        })
        .await?
        .map_err(|message| Refused::new(Refusal::Quarantined, message))?;
        let previous = state.receipt.as_ref().map(|(receipt, _)| receipt);
        let sent = locked(&self.egress).get(&contract).copied().unwrap_or(0);
        let until = settlement::receipt_end(&state.contract, previous, unix_seconds());
        let tally = Tally {
            byte_seconds: byte_seconds_until(&state, until),
            egress_bytes: egress_bytes.min(sent),
            audits_passed,
            audits_failed,
            evidence,
            owner_node: from,
            owner_head: (owner_size, owner_root),
            provider_head,
        };
        let receipt = settlement::draw_receipt(&state.contract, previous, &tally, until)
            .ok_or_else(|| Refused::new(Refusal::Invalid, "the totals overflow"))?;
        let note = SignedNote::sign(Statement::Receipt(receipt).to_text(), &self.party)
            .map_err(|error| Refused::new(Refusal::Other, error.to_string()))?;
        Ok(Response::Note { note: note.to_bytes() })
    }

    async fn settle_receipt(&self, note: &[u8]) -> Answer {
        let note = parse_note(note)?;
        let Statement::Receipt(receipt) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a receipt"));
        };
        let _turn = self.turns.take(receipt.contract).await;
        let state = self.state(receipt.contract).await?;
        if !note.is_signed_by(&state.contract.owner) || !note.is_signed_by(&self.party.id()) {
            return Err(Refused::new(Refusal::Forbidden, "a receipt needs both signatures"));
        }
        if let Some((_, last)) = state.receipt.as_ref().filter(|(_, last)| last.text() == note.text()) {
            self.keep_note(last, || Ok(())).await?;
            return Ok(Response::Done);
        }
        let previous = state.receipt.as_ref().map(|(receipt, _)| receipt);
        settlement::check_succession(&state.contract, previous, &receipt)
            .map_err(|fault| Refused::new(Refusal::Conflict, fault.to_string()))?;
        let settled = receipt.egress_bytes - previous.map_or(0, |previous| previous.egress_bytes);
        let contract = receipt.contract;
        self.keep_note(&note, {
            let (store, note) = (self.store()?, note.clone());
            move || store.receipt(&contract, &receipt, &note).map_err(|error| error.to_string())
        })
        .await?;
        if let Some(open) = locked(&self.egress).get_mut(&contract) {
            *open = open.saturating_sub(settled);
        }
        self.creditor.changed();
        self.witness.settled.notify_one();
        Ok(Response::Done)
    }

    async fn list_contracts(&self, from: NodeId, owner: PartyId, signature: &[u8; 64]) -> Answer {
        let message = wire::list_contracts_message(&from, &self.net.node());
        if !commonhold_format::keys::verify(owner.as_bytes(), &message, signature) {
            return Err(Refused::new(Refusal::Forbidden, "the owner's signature is wrong"));
        }
        let store = self.store()?;
        let contracts = blocking(move || {
            let mut contracts = store.contracts();
            contracts.retain(|id| {
                store
                    .contract(id)
                    .is_some_and(|state| state.role == Role::Provider && state.contract.owner == owner)
            });
            contracts.truncate(wire::CONTRACTS_MAX);
            contracts
        })
        .await?;
        Ok(Response::Contracts { contracts })
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

fn fits(challenge: &Challenge, revision: &Revision) -> bool {
    challenge.revision == revision.sequence
        && challenge.inventory_root == revision.inventory_root
        && challenge.entries == revision.entries
        && challenge.span == revision.span
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
