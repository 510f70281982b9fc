//! The owner audits its providers and settles what it owes them.
//!
//! Invariant: the nonce of a challenge is committed in the ledger before it leaves this node, and
//! every outcome is logged, whatever it is. A receipt is countersigned only when each of its
//! totals follows from notes that both signed or from what this owner counted itself.

use std::time::Duration;

use commonhold_engine::audit::{check_audit, next_audit};
use commonhold_engine::settlement::{OwnCount, check_receipt};
use commonhold_format::audit::{Challenge, ProofReport, nonce_commitment, verify_proof};
use commonhold_format::ids::{ContractId, NodeId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditIntent, AuditOutcome, AuditRecord, Statement};
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_store::ContractState;
use futures::StreamExt;

use super::{CONTRACT_TIMEOUT, Owner, blocking};
use crate::clock::unix_seconds;
use crate::datadir::{random_secret, write_durably};
use crate::provider::byte_seconds_until;

/// How long a provider may take to answer a challenge.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Providers that are audited at the same time.
const AUDITS_AT_ONCE: usize = 8;
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
    /// SHA-256 of challenge and proof; zeros without a proof.
    pub evidence: [u8; 32],
}

/// What came back for a challenge.
struct Judged {
    outcome: AuditOutcome,
    report: ProofReport,
    reason: String,
    evidence: [u8; 32],
}

impl Judged {
    fn silent(outcome: AuditOutcome, reason: String) -> Self {
        Self { outcome, report: ProofReport::default(), reason, evidence: [0; 32] }
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
    /// is nothing under the contract.
    async fn audit_contract(
        &self,
        contract: &ContractId,
        nonce: Option<[u8; 32]>,
    ) -> Result<Option<Audited>, String> {
        let _turn = self.auditing.take(*contract).await;
        let Some(state) = self.store.contract(contract) else { return Ok(None) };
        let Some((revision, _)) = state.revision.clone().filter(|(revision, _)| revision.held_bytes > 0)
        else {
            return Ok(None);
        };
        let node = state.contract.node;
        let challenge = Challenge {
            contract: *contract,
            revision: revision.sequence,
            inventory_root: revision.inventory_root,
            entries: revision.entries,
            span: revision.span,
            epoch: state.next_epoch,
            nonce: nonce.unwrap_or_else(|| *random_secret()),
            beacon: None,
        };
        self.log(Statement::AuditIntent(AuditIntent {
            contract: *contract,
            epoch: challenge.epoch,
            revision: challenge.revision,
            commitment: nonce_commitment(contract, challenge.epoch, &challenge.nonce),
            time: unix_seconds(),
        }))
        .await?;
        let judged = self.challenge(node, &challenge).await;
        let time = unix_seconds();
        self.log(Statement::AuditRecord(AuditRecord {
            contract: *contract,
            epoch: challenge.epoch,
            revision: challenge.revision,
            nonce: challenge.nonce,
            outcome: judged.outcome,
            leaves: judged.report.leaves,
            lost_chunks: u32::try_from(judged.report.lost.len()).unwrap_or(u32::MAX),
            evidence: judged.evidence,
            time,
        }))
        .await?;
        let (store, id, outcome, evidence, epoch) =
            (self.store.clone(), *contract, judged.outcome, judged.evidence, challenge.epoch);
        blocking(move || store.audited(&id, epoch, outcome, evidence).map_err(|e| e.to_string())).await??;
        if !judged.report.lost.is_empty() {
            self.mark_lost(*contract, judged.report.lost.clone()).await;
        }
        let standing_reason = {
            let mut standings = self.standings();
            let standing = standings.entry(node).or_default();
            let (next, reason) = standing.record(judged.outcome, time);
            *standing = next;
            reason
        };
        if matches!(judged.outcome, AuditOutcome::Passed | AuditOutcome::WrongBytes)
            && let Err(error) = self.settle(contract).await
        {
            tracing::warn!(%node, error, "no receipt this time; totals are cumulative, so nothing is lost");
        }
        Ok(Some(Audited {
            node,
            contract: *contract,
            epoch: challenge.epoch,
            outcome: judged.outcome,
            report: judged.report,
            held_bytes: revision.held_bytes,
            reason: format!("{} {standing_reason}", judged.reason),
            evidence: judged.evidence,
        }))
    }

    async fn challenge(&self, node: NodeId, challenge: &Challenge) -> Judged {
        let request = Request::Audit { challenge: challenge.clone() };
        let proof = match self.net.call(node, request, AUDIT_TIMEOUT).await {
            Ok(Response::Proof { proof }) => {
                self.directory.observed(&node, true);
                proof
            }
            Ok(Response::Refused { reason: Refusal::Quarantined, message }) => {
                return Judged::silent(
                    AuditOutcome::Quarantined,
                    format!("The provider says that its disk is in quarantine: {message}."),
                );
            }
            Ok(Response::Refused { message, .. }) => {
                return Judged::silent(AuditOutcome::NoAnswer, format!("It refused: {message}."));
            }
            Ok(_) => {
                return Judged::silent(AuditOutcome::NoAnswer, "Its answer is not a proof.".to_owned());
            }
            Err(commonhold_net::CallError::Unreachable { .. }) => {
                self.directory.observed(&node, false);
                return Judged::silent(AuditOutcome::Offline, "It cannot be reached.".to_owned());
            }
            Err(error) => {
                self.directory.observed(&node, false);
                return Judged::silent(AuditOutcome::NoAnswer, format!("{error}."));
            }
        };
        let evidence = proof.evidence(challenge);
        let bundle = proof.bundle(challenge);
        let verified = verify_proof(challenge, &proof);
        let path = self.evidence.join(format!("{}.cbor", data_encoding::HEXLOWER.encode(&evidence)));
        if let Err(error) = std::fs::create_dir_all(&self.evidence)
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
        Judged { outcome, report, reason, evidence }
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
    async fn log(&self, statement: Statement) -> Result<(), String> {
        let note = SignedNote::sign(statement.to_text(), &self.party).map_err(|error| error.to_string())?;
        let ledger = self.ledger.clone();
        blocking(move || ledger.append(&note).map(|_| ()).map_err(|error| error.to_string())).await?
    }

    /// Audits each provider at times drawn around the contract's interval, until this node stops.
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
