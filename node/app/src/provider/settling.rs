//! Proofs of what is kept, and receipts for it.
//!
//! Invariant: a disk that cannot be read is never shown as a chunk that is lost, and a receipt states
//! totals that follow from what both have signed or counted. Not here: judging a proof (the owner does).

use commonhold_engine::settlement::{self, Tally};
use commonhold_format::audit::{self, Challenge};
use commonhold_format::ids::NodeId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_store::ReadError;

use super::{
    Answer, Provider, Refused, blocking, byte_seconds_until, has_lines, locked, parse_note, statement,
};
use crate::clock::unix_seconds;

impl Provider {
    pub(super) async fn audit(&self, from: NodeId, challenge: Challenge) -> Answer {
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
    pub(super) async fn audit_result(&self, from: NodeId, intent: &[u8], record: &[u8]) -> Answer {
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

    pub(super) async fn draw_receipt(&self, from: NodeId, request: Request) -> Answer {
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

    pub(super) async fn settle_receipt(&self, note: &[u8]) -> Answer {
        let note = parse_note(note)?;
        let Statement::Receipt(receipt) = statement(&note)? else {
            return Err(Refused::new(Refusal::Invalid, "the note is not a receipt"));
        };
        let _turn = self.turns.take(receipt.contract).await;
        let state = self.state(receipt.contract).await?;
        if !note.is_signed_by(&state.contract.owner) || !note.is_signed_by(&self.party.id()) {
            return Err(Refused::new(Refusal::Forbidden, "a receipt needs both signatures"));
        }
        has_lines(&note, 2)?;
        if let Some((_, last)) = state.receipt.as_ref().filter(|(_, last)| last.text() == note.text()) {
            self.keep_note(last, || Ok(())).await?;
            return Ok(Response::Done);
        }
        let previous = state.receipt.as_ref().map(|(receipt, _)| receipt);
        settlement::check_succession(&state.contract, previous, &receipt)
            .map_err(|fault| Refused::new(Refusal::Conflict, fault.to_string()))?;
        let settled = receipt.egress_bytes - previous.map_or(0, |previous| previous.egress_bytes);
        let contract = receipt.contract;
        if !locked(&self.receipts).take(contract, 1) {
            return Err(Refused::new(Refusal::Busy, "too many receipts in an hour: try again later"));
        }
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
}

fn fits(challenge: &Challenge, revision: &Revision) -> bool {
    challenge.revision == revision.sequence
        && challenge.inventory_root == revision.inventory_root
        && challenge.entries == revision.entries
        && challenge.span == revision.span
}
