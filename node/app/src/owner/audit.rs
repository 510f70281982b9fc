//! The owner audits its providers and settles what it owes them.
//!
//! Invariant: the nonce of a challenge is committed in the ledger before it leaves this node, and
//! every outcome is logged, whatever it is. A challenge that left and was not judged is sent again
//! unchanged, until it is or its revision is no longer the last one (spec/audit.md, "Silence"). A
//! receipt is countersigned only when each of its totals follows from notes that both signed or from
//! what this owner counted itself.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use commonhold_engine::audit::{check_audit, next_audit};
use commonhold_engine::settlement::{OwnCount, check_receipt};
use commonhold_format::audit::{Challenge, Places, Proof, ProofReport, nonce_commitment, verify_proof};
use commonhold_format::course::AuditCourse;
use commonhold_format::ids::{ContractId, NodeId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditIntent, AuditOutcome, AuditRecord, Revision, Statement};
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_store::ContractState;
use futures::StreamExt;

use super::{CONTRACT_TIMEOUT, Owner, blocking};
use crate::advice::{self, Side};
use crate::clock::unix_seconds;
use crate::datadir::{random_secret, write_durably};
use crate::provider::byte_seconds_until;

/// How long a provider may take until its whole proof is here, connecting included (spec/audit.md,
/// "Deadline"): long enough for 64 reads of a disk that spins up first, on a line of 4 kB/s.
const AUDIT_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to note what an audit found.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an audit begins anew because a revision overtook it, which is nobody's fault.
const OVERTAKEN_MAX: usize = 16;
/// Providers that are audited at the same time.
const AUDITS_AT_ONCE: usize = 8;
/// Pause between two receipts that a provider asks for under one contract.
const SETTLE_PAUSE: Duration = Duration::from_secs(10);
/// A receipt's time may be this far ahead of the owner's clock.
const SKEW_SECONDS: u64 = 600;

/// One finished audit.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Whose disk.
    pub node: NodeId,
    /// Under which contract.
    pub contract: ContractId,
    /// Its number under the contract.
    pub epoch: u64,
    /// The fault class.
    pub outcome: AuditOutcome,
    /// What the proof showed; empty without one.
    pub report: ProofReport,
    /// Bytes under the contract.
    pub held_bytes: u64,
    /// A sentence that says why the outcome is what it is.
    pub reason: String,
    /// What to do about it; empty when nothing is.
    pub what_to_do: &'static str,
    /// SHA-256 of challenge and proof; zeros without a proof.
    pub evidence: [u8; 32],
    /// From sending the challenge to its whole answer, or to giving it up.
    pub took: Duration,
    /// Bytes of the answer that were received; 0 when it was no proof.
    pub received: u64,
    /// Was it a challenge that had been sent before?
    pub repeated: bool,
}

/// What came back for a challenge.
struct Judged {
    outcome: AuditOutcome,
    report: ProofReport,
    reason: String,
    evidence: [u8; 32],
    received: u64,
}

enum Answer {
    /// It can be judged, or there was none.
    Judged(Judged),
    /// The provider's last revision is another one.
    Overtaken(String),
}

impl From<Judged> for Answer {
    fn from(judged: Judged) -> Self {
        Self::Judged(judged)
    }
}

/// A challenge that is announced.
struct Announced {
    challenge: Challenge,
    places: Places,
    intent: AuditIntent,
    /// Time of the last record under its epoch, when it was sent before.
    sent: Option<u64>,
}

impl Judged {
    fn silent(outcome: AuditOutcome, reason: String) -> Self {
        Self { outcome, report: ProofReport::default(), reason, evidence: [0; 32], received: 0 }
    }
}

impl Owner {
    /// Audits every provider that holds something, or only `provider`. A given nonce makes the
    /// drawn leaves known beforehand; without one it is random.
    ///
    /// # Errors
    /// A sentence, when this node could not keep its own records.
    pub async fn audit_now(
        &self,
        provider: Option<NodeId>,
        nonce: Option<[u8; 32]>,
    ) -> Result<Vec<Audited>, String> {
        let contracts: Vec<ContractId> = self
            .contracts()
            .iter()
            .filter(|state| provider.is_none_or(|node| node == state.contract.node))
            .map(|state| state.contract.id())
            .collect();
        let outcomes: Vec<_> = futures::stream::iter(contracts)
            .map(|contract| async move { self.audit_contract(&contract, nonce).await })
            .buffered(AUDITS_AT_ONCE)
            .collect()
            .await;
        let audited: Result<Vec<Option<Audited>>, String> = outcomes.into_iter().collect();
        Ok(audited?.into_iter().flatten().collect())
    }

    /// One audit under one contract, logged, with the receipt that follows it. `None` when there
    /// is nothing under the contract, or it has ended.
    async fn audit_contract(
        &self,
        contract: &ContractId,
        nonce: Option<[u8; 32]>,
    ) -> Result<Option<Audited>, String> {
        let _turn = self.auditing.take(*contract).await;
        for _ in 0..OVERTAKEN_MAX {
            let Some((node, revision)) = self.auditable(contract) else { return Ok(None) };
            // A revision may come in between.
            let Some(announced) = self.announce(contract, &revision, nonce).await? else { continue };
            let begun = Instant::now();
            let answer = self.challenge(node, &announced).await;
            let took = begun.elapsed();
            let judged = match answer {
                Answer::Judged(judged) => judged,
                Answer::Overtaken(why) => match self.catch_up(contract, node, &revision).await {
                    // Both signed another revision meanwhile: the challenge is about what is no more.
                    Ok(()) => continue,
                    Err(fault) => {
                        Judged::silent(AuditOutcome::NoAnswer, format!("It refused: {why}; {fault}."))
                    }
                },
            };
            let surplus = nonce.is_some_and(|nonce| nonce != announced.challenge.nonce);
            let mut audited = self.conclude(node, announced, judged, &revision).await?;
            audited.took = took;
            if surplus {
                audited.reason.push_str(" The nonce was not used: an older challenge was still open.");
            }
            return Ok(Some(audited));
        }
        Err(format!("contract {contract} changes too fast to be audited: try again when less is put"))
    }

    /// Where and about what a contract can be audited now.
    fn auditable(&self, contract: &ContractId) -> Option<(NodeId, Revision)> {
        let state = self.store.contract(contract).filter(|state| state.contract.ends > unix_seconds())?;
        let (revision, _) = state.revision.filter(|(revision, _)| revision.held_bytes > 0)?;
        Some((state.contract.node, revision))
    }

    /// The challenge that is still open under the contract, or a new one that is announced now. `None`
    /// when `revision` is not the last one any more.
    async fn announce(
        &self,
        contract: &ContractId,
        revision: &Revision,
        nonce: Option<[u8; 32]>,
    ) -> Result<Option<Announced>, String> {
        let last = self.records().course(contract).cloned();
        let next_epoch = self.store.contract(contract).map_or(1, |state| state.next_epoch);
        let challenge = |epoch, nonce| Challenge {
            contract: *contract,
            revision: revision.sequence,
            inventory_root: revision.inventory_root,
            entries: revision.entries,
            span: revision.span,
            epoch,
            nonce,
            beacon: None,
        };
        if let Some(course) = last.as_ref().filter(|it| it.intent().revision == revision.sequence)
            && let Some(nonce) = course.open_nonce()
        {
            let challenge = challenge(course.intent().epoch, nonce);
            let Some(places) = self.places(&challenge).await? else { return Ok(None) };
            let sent = course.last().map(|record| record.time);
            return Ok(Some(Announced { challenge, places, intent: course.intent().clone(), sent }));
        }
        // An intent without a record, of an audit that was broken off, has used its number up as well.
        let after = last.map_or(0, |course: AuditCourse| course.intent().epoch.saturating_add(1));
        let challenge = challenge(next_epoch.max(after), nonce.unwrap_or_else(|| *random_secret()));
        let Some(places) = self.places(&challenge).await? else { return Ok(None) };
        let intent = AuditIntent {
            contract: *contract,
            epoch: challenge.epoch,
            revision: challenge.revision,
            commitment: nonce_commitment(contract, challenge.epoch, &challenge.nonce),
            time: unix_seconds(),
        };
        self.log(Statement::AuditIntent(intent.clone())).await?;
        self.records().announce(intent.clone());
        Ok(Some(Announced { challenge, places, intent, sent: None }))
    }

    /// Where this owner's own inventory has what is asked for; `None` when it is another one by now.
    async fn places(&self, challenge: &Challenge) -> Result<Option<Places>, String> {
        let (store, challenge) = (self.store.clone(), challenge.clone());
        let places = blocking(move || {
            store.with_inventory(&challenge.contract, |inventory| Places::of(&challenge, inventory))
        });
        let failed = |error: commonhold_store::StoreError| error.to_string();
        Ok(places.await?.map_err(failed)?.transpose().map_err(failed)?.flatten())
    }

    /// Takes over the revision that the provider has and this node does not.
    ///
    /// # Errors
    /// A phrase, when there is none: then the provider's refusal stands.
    async fn catch_up(&self, contract: &ContractId, node: NodeId, ours: &Revision) -> Result<(), String> {
        self.resync(contract, node).await?;
        match self.auditable(contract) {
            Some((_, now)) if now.sequence == ours.sequence => {
                Err(format!("and yet says itself that revision {} is the last one", ours.sequence))
            }
            _ => Ok(()),
        }
    }

    /// Logs what an audit found, and draws the consequences.
    async fn conclude(
        &self,
        node: NodeId,
        announced: Announced,
        judged: Judged,
        revision: &Revision,
    ) -> Result<Audited, String> {
        let Announced { challenge, intent, sent, .. } = announced;
        let contract = challenge.contract;
        let record = AuditRecord {
            contract,
            epoch: challenge.epoch,
            revision: challenge.revision,
            nonce: challenge.nonce,
            outcome: judged.outcome,
            leaves: judged.report.leaves,
            lost_chunks: u32::try_from(judged.report.lost.len()).unwrap_or(u32::MAX),
            evidence: judged.evidence,
            // Records of one challenge follow each other in time, whatever the clock does.
            time: unix_seconds().max(sent.map_or(0, |last| last.saturating_add(1))),
        };
        let note = self.log(Statement::AuditRecord(record.clone())).await?;
        let (store, outcome, evidence, epoch) =
            (self.store.clone(), judged.outcome, judged.evidence, challenge.epoch);
        blocking(move || store.audited(&contract, epoch, outcome, evidence).map_err(|e| e.to_string()))
            .await??;
        if !judged.report.lost.is_empty() {
            self.mark_lost(contract, judged.report.lost.clone()).await;
        }
        let standing_reason = self.records().record(node, &record);
        if outcome != AuditOutcome::Offline {
            self.tell(node, intent, &note).await;
        }
        if matches!(outcome, AuditOutcome::Passed | AuditOutcome::WrongBytes)
            && let Err(error) = self.settle(&contract).await
        {
            tracing::warn!(%node, error, "no receipt this time; totals are cumulative, so nothing is lost");
        }
        Ok(Audited {
            node,
            contract,
            epoch,
            outcome,
            report: judged.report,
            held_bytes: revision.held_bytes,
            reason: format!("{} {standing_reason}", judged.reason),
            what_to_do: advice::to_do(outcome, Side::Owner),
            evidence,
            took: Duration::ZERO,
            received: judged.received,
            repeated: sent.is_some(),
        })
    }

    /// Tells the provider what was found. Nothing hangs on it.
    async fn tell(&self, node: NodeId, intent: AuditIntent, record: &SignedNote) {
        // The same text signed by the same key is the same note that was logged.
        let Ok(intent) = SignedNote::sign(Statement::AuditIntent(intent).to_text(), &self.party) else {
            return;
        };
        let request = Request::AuditResult { intent: intent.to_bytes(), record: record.to_bytes() };
        match self.net.call(node, request, TELL_TIMEOUT).await {
            Ok(Response::Done) => {}
            Ok(Response::Refused { message, .. }) => {
                tracing::debug!(%node, message, "the provider does not note what its audit found");
            }
            Ok(_) => tracing::debug!(%node, "the provider's answer does not fit"),
            Err(error) => tracing::debug!(%node, %error, "the provider was not told what its audit found"),
        }
    }

    async fn challenge(&self, node: NodeId, announced: &Announced) -> Answer {
        let Announced { challenge, places, .. } = announced;
        let request = Request::Audit { challenge: challenge.clone() };
        let answer = self.net.call(node, request, AUDIT_DEADLINE).await;
        let received = match &answer {
            Ok(proof @ Response::Proof { .. }) => proof.encode().len() as u64,
            _ => 0,
        };
        match answer {
            Ok(Response::Proof { proof }) => {
                self.directory.observed(&node, true);
                let (folder, asked) = (self.evidence.clone(), challenge.clone());
                let proof = proof.with_inventory_paths(places);
                match blocking(move || judge(&folder, &asked, &proof)).await {
                    Ok(judged) => Judged { received, ..judged }.into(),
                    Err(why) => Judged::silent(AuditOutcome::NoAnswer, format!("{why}.")).into(),
                }
            }
            Ok(Response::Refused { reason: Refusal::Conflict, message }) => Answer::Overtaken(message),
            Ok(Response::Refused { reason: Refusal::Quarantined, message }) => {
                let why = format!("The provider says that its disk is in quarantine: {message}.");
                Judged::silent(AuditOutcome::Quarantined, why).into()
            }
            Ok(Response::Refused { message, .. }) => {
                Judged::silent(AuditOutcome::NoAnswer, format!("It refused: {message}.")).into()
            }
            Ok(_) => Judged::silent(AuditOutcome::NoAnswer, "Its answer is not a proof.".to_owned()).into(),
            Err(commonhold_net::CallError::Unreachable { .. }) => {
                self.directory.observed(&node, false);
                Judged::silent(AuditOutcome::Offline, "It cannot be reached.".to_owned()).into()
            }
            Err(error) => {
                self.directory.observed(&node, false);
                Judged::silent(AuditOutcome::NoAnswer, format!("{error}.")).into()
            }
        }
    }

    /// Signs a receipt because the provider serves nothing before. Answers whether it may serve now; not
    /// more often than [`SETTLE_PAUSE`] allows, because a provider may want more than a receipt.
    pub(super) async fn settle_for_credit(&self, contract: &ContractId) -> bool {
        let asked = Instant::now();
        let _turn = self.auditing.take(*contract).await;
        let settled = || self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = settled().get(contract).copied() {
            // Somebody who asked at the same time did it, or it was of no use a moment ago.
            if at > asked || at.elapsed() < SETTLE_PAUSE {
                return at > asked;
            }
        }
        let outcome = self.settle(contract).await;
        settled().insert(*contract, Instant::now());
        outcome.inspect_err(|error| tracing::warn!(%contract, error, "no receipt could be signed")).is_ok()
    }

    /// Draws a receipt from the provider, checks it, countersigns it and hands it back.
    async fn settle(&self, contract: &ContractId) -> Result<(), String> {
        let state = self.store.contract(contract).ok_or("the contract is not in this node's book")?;
        let node = state.contract.node;
        let received = self.received().get(contract).copied().unwrap_or(0);
        // The last receipt is in the ledger before another is drawn up, even if the disk was full when
        // it was signed: the next one states a ledger that has to have it (spec/ledger.md, "Evidence").
        let (ledger, last) = (self.ledger.clone(), state.receipt.as_ref().map(|(_, note)| note.clone()));
        let (owner_size, owner_root) = blocking(move || {
            if let Some(note) = last {
                ledger.append(&note).map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(ledger.head())
        })
        .await??;
        let request = Request::DrawReceipt {
            contract: *contract,
            egress_bytes: received,
            audits_passed: state.audits_passed,
            audits_failed: state.audits_failed,
            evidence: state.evidence,
            owner_size,
            owner_root,
        };
        let note = match self.call(node, request, CONTRACT_TIMEOUT).await.map_err(|e| e.to_string())? {
            Response::Note { note } => note,
            other => return Err(super::unexpected(node, other).to_string()),
        };
        let mut note = SignedNote::parse(&note).map_err(|error| error.to_string())?;
        let Statement::Receipt(receipt) = Statement::of(&note).map_err(|error| error.to_string())? else {
            return Err("the note is not a receipt".to_owned());
        };
        if let Some((last, signed)) = &state.receipt
            && last.sequence == receipt.sequence
        {
            // The provider never got the last receipt back: it comes first, this one another time.
            return self.hand_back(node, signed).await;
        }
        if !note.is_signed_by(&state.contract.provider) {
            return Err("the provider has not signed its receipt".to_owned());
        }
        // A provider that put in another head would have this owner sign that it forked its ledger.
        if (receipt.owner_node, receipt.owner_head) != (self.net.node(), (owner_size, owner_root)) {
            return Err("the receipt states another ledger of this node than it has".to_owned());
        }
        let previous = state.receipt.as_ref().map(|(receipt, _)| receipt);
        let own = self.own_count(&state, receipt.until, received);
        check_receipt(&state.contract, previous, &receipt, &own, unix_seconds(), SKEW_SECONDS)
            .map_err(|error| error.to_string())?;
        note.countersign(&self.party);
        let settled = receipt.egress_bytes - previous.map_or(0, |previous| previous.egress_bytes);
        let (store, ledger, id, kept) = (self.store.clone(), self.ledger.clone(), *contract, note.clone());
        blocking(move || {
            store.receipt(&id, &receipt, &kept).map_err(|error| error.to_string())?;
            ledger.append(&kept).map_err(|error| error.to_string())
        })
        .await??;
        if let Some(open) = self.received().get_mut(contract) {
            *open = open.saturating_sub(settled);
        }
        self.hand_back(node, &note).await
    }

    /// Gives the provider a receipt that both signed.
    async fn hand_back(&self, node: NodeId, note: &SignedNote) -> Result<(), String> {
        let request = Request::SettleReceipt { note: note.to_bytes() };
        match self.call(node, request, CONTRACT_TIMEOUT).await.map_err(|error| error.to_string())? {
            Response::Done => Ok(()),
            other => Err(super::unexpected(node, other).to_string()),
        }
    }

    fn own_count(&self, state: &ContractState, until: u64, received: u64) -> OwnCount {
        let settled = state.receipt.as_ref().map_or(0, |(receipt, _)| receipt.egress_bytes);
        OwnCount {
            byte_seconds: byte_seconds_until(state, until),
            egress_bytes: settled + received,
            audits_passed: state.audits_passed,
            audits_failed: state.audits_failed,
        }
    }

    /// Signs a statement of this owner alone and logs it.
    async fn log(&self, statement: Statement) -> Result<SignedNote, String> {
        let note = SignedNote::sign(statement.to_text(), &self.party).map_err(|error| error.to_string())?;
        let ledger = self.ledger.clone();
        blocking(move || ledger.append(&note).map(|_| note).map_err(|error| error.to_string())).await?
    }

    /// Audits each provider at times drawn around the contract's interval, and soon again when it did
    /// not answer, until this node stops.
    pub async fn audit_forever(&self) {
        /// How often the list of contracts is looked at for audits that are due.
        const LOOK: Duration = Duration::from_secs(30);
        let mut due = std::collections::HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = unix_seconds();
            for state in self.contracts() {
                let id = state.contract.id();
                let draw = u64::from_be_bytes(random_secret()[..8].try_into().expect("8 of 32 bytes"));
                let drawn = next_audit(now, state.contract.audit_interval_seconds, draw);
                let at = *due.entry(id).or_insert(drawn);
                let at = self.records().next_try(&id).map_or(at, |soon| soon.min(at));
                if at > now {
                    continue;
                }
                due.insert(id, drawn);
                match self.audit_contract(&id, None).await {
                    Ok(Some(audited)) => {
                        tracing::info!(node = %audited.node, outcome = audited.outcome.as_str(), reason = audited.reason, "audited");
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(error, "an audit could not be recorded"),
                }
            }
        }
    }
}

/// Verifies a proof and keeps it as evidence in `folder`. Blocks on the disk.
fn judge(folder: &Path, challenge: &Challenge, proof: &Proof) -> Judged {
    let evidence = proof.evidence(challenge);
    let bundle = proof.bundle(challenge);
    let verified = verify_proof(challenge, proof);
    let path = folder.join(format!("{}.cbor", data_encoding::HEXLOWER.encode(&evidence)));
    if let Err(error) = std::fs::create_dir_all(folder)
        .map_err(|error| error.to_string())
        .and_then(|()| write_durably(&path, &bundle, 0o644).map_err(|error| error.to_string()))
    {
        tracing::error!(%error, "the evidence of an audit could not be kept");
    }
    let outcome = check_audit(&verified);
    let (report, reason) = match verified {
        Ok(report) if report.lost.is_empty() => {
            let reason = format!("{} leaves shown and right.", report.leaves);
            (report, reason)
        }
        Ok(report) => {
            let reason =
                format!("{} leaves right, {} chunks wrong or lost.", report.leaves, report.lost.len());
            (report, reason)
        }
        Err(error) => (ProofReport::default(), format!("The proof is no answer: {error}.")),
    };
    Judged { outcome, report, reason, evidence, received: 0 }
}
