//! What this owner's audits have come to: how each provider stands, and which challenge is open under
//! each contract.
//!
//! Invariant: all of it follows from the intents and records in this node's ledger that this owner
//! signed, in their order, so a restart changes nothing. Not here: asking and judging (audit).

use std::collections::HashMap;

use commonhold_engine::audit::{Reason, Standing, next_try};
use commonhold_format::course::AuditCourse;
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditIntent, AuditOutcome, AuditRecord, Statement};

use crate::verdicts::column;

/// How a provider stands, and the audit that led there.
#[derive(Debug, Clone)]
pub struct Stood {
    /// The standing.
    pub standing: Standing,
    /// Why it is what it is since the last audit.
    pub reason: Reason,
    /// The last audit.
    pub last: AuditRecord,
    /// Evidence of the last audit that failed, if one did.
    pub failed: Option<AuditRecord>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Records {
    standings: HashMap<NodeId, Stood>,
    courses: HashMap<ContractId, AuditCourse>,
    totals: [u64; 5],
}

impl Records {
    /// Takes in a note of this owner's ledger; notes that are not about its audits are passed over.
    pub fn replay(&mut self, note: &SignedNote, nodes: &HashMap<ContractId, NodeId>, owner: &PartyId) {
        match Statement::of(note) {
            Ok(Statement::AuditIntent(intent))
                if nodes.contains_key(&intent.contract) && note.is_signed_by(owner) =>
            {
                self.announce(intent);
            }
            Ok(Statement::AuditRecord(record)) => {
                if let Some(node) = nodes.get(&record.contract).filter(|_| note.is_signed_by(owner)) {
                    self.record(*node, &record);
                }
            }
            _ => {}
        }
    }

    /// Begins a challenge; the one before it under that contract is given up.
    pub fn announce(&mut self, intent: AuditIntent) {
        let newer = self.courses.get(&intent.contract).is_none_or(|it| it.intent().epoch < intent.epoch);
        if newer {
            self.courses.insert(intent.contract, AuditCourse::new(intent));
        }
    }

    /// Enters what an audit found; answers what it means for the provider.
    pub fn record(&mut self, node: NodeId, record: &AuditRecord) -> Reason {
        if let Some(course) = self.courses.get_mut(&record.contract)
            && let Err(fault) = course.take(record)
        {
            // Standings count what was recorded, as they did when it was.
            tracing::error!(%node, %fault, "an audit's record does not follow the one before it");
        }
        self.totals[column(record.outcome)] += 1;
        let before = self.standings.get(&node);
        let (standing, reason) =
            before.map(|it| it.standing).unwrap_or_default().record(record.outcome, record.time);
        let failed = match record.outcome {
            AuditOutcome::WrongBytes => Some(record.clone()),
            _ => before.and_then(|it| it.failed.clone()),
        };
        self.standings.insert(node, Stood { standing, reason, last: record.clone(), failed });
        reason
    }

    /// Audits by outcome: passed, wrong bytes, no answer, offline, quarantined.
    pub fn totals(&self) -> [u64; 5] {
        self.totals
    }

    /// How a provider stands; in good standing when it was never audited.
    pub fn standing(&self, node: &NodeId) -> Standing {
        self.standings.get(node).map(|it| it.standing).unwrap_or_default()
    }

    /// Everybody who was audited, in order of node.
    pub fn all(&self) -> Vec<(NodeId, Stood)> {
        let mut all: Vec<_> = self.standings.iter().map(|(node, stood)| (*node, stood.clone())).collect();
        all.sort_by_key(|(node, _)| *node);
        all
    }

    /// The challenge under a contract that was announced last.
    pub fn course(&self, contract: &ContractId) -> Option<&AuditCourse> {
        self.courses.get(contract)
    }

    /// When an unanswered challenge is sent again, Unix seconds; `None` when none waits for that.
    pub fn next_try(&self, contract: &ContractId) -> Option<u64> {
        let course = self.courses.get(contract)?;
        let nonce = course.open_nonce()?;
        let last = course.last().filter(|last| last.outcome == AuditOutcome::NoAnswer)?;
        // The nonce is random, and the same after a restart.
        let at = usize::from(course.unanswered() % 4) * 8;
        let draw = u64::from_be_bytes(nonce[at..at + 8].try_into().ok()?);
        next_try(last.time, course.unanswered(), draw)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use commonhold_engine::audit::{REPEAT_SECONDS, State};
    use commonhold_format::audit::nonce_commitment;
    use commonhold_format::keys::PartyKey;

    const CONTRACT: ContractId = ContractId([1; 32]);
    const NODE: NodeId = NodeId([2; 32]);
    const NOW: u64 = 1_750_000_000;

    fn intent(epoch: u64) -> AuditIntent {
        let commitment = nonce_commitment(&CONTRACT, epoch, &[epoch as u8; 32]);
        AuditIntent { contract: CONTRACT, epoch, revision: 3, commitment, time: NOW }
    }

    fn record(epoch: u64, outcome: AuditOutcome, time: u64) -> AuditRecord {
        AuditRecord {
            contract: CONTRACT,
            epoch,
            revision: 3,
            nonce: [epoch as u8; 32],
            outcome,
            leaves: 0,
            lost_chunks: 0,
            evidence: [0; 32],
            time,
        }
    }

    #[test]
    fn a_restart_finds_the_open_challenge_and_the_standings_again() {
        let (owner, stranger) = (PartyKey::from_seed(&[1; 32]), PartyKey::from_seed(&[2; 32]));
        let nodes = HashMap::from([(CONTRACT, NODE)]);
        let mut live = Records::default();
        let mut again = Records::default();
        let mut log = |statement: Statement, live: &mut Records, key: &PartyKey| {
            let note = SignedNote::sign(statement.to_text(), key).unwrap();
            live.replay(&note, &nodes, &key.id());
            again.replay(&note, &nodes, &owner.id());
        };
        log(Statement::AuditIntent(intent(1)), &mut live, &owner);
        assert_eq!(live.next_try(&CONTRACT), None);
        log(Statement::AuditRecord(record(1, AuditOutcome::NoAnswer, NOW)), &mut live, &owner);
        // What a stranger says of it is not this owner's record.
        let lie = record(1, AuditOutcome::Passed, NOW + 1);
        log(Statement::AuditRecord(lie), &mut Records::default(), &stranger);
        assert_eq!(again.course(&CONTRACT), live.course(&CONTRACT));
        assert_eq!(again.course(&CONTRACT).unwrap().open_nonce(), Some([1; 32]));
        let soon = again.next_try(&CONTRACT).unwrap() - NOW;
        assert!((REPEAT_SECONDS[0] * 3 / 4..=REPEAT_SECONDS[0] * 5 / 4).contains(&soon), "{soon}");
        assert_eq!(live.next_try(&CONTRACT), again.next_try(&CONTRACT));
        assert_eq!(again.standing(&NODE).state(), State::Suspended);
        assert_eq!(again.standing(&NODE), live.standing(&NODE));
    }

    #[test]
    fn being_offline_neither_uses_a_challenge_up_nor_brings_it_back_sooner() {
        let mut records = Records::default();
        records.announce(intent(1));
        records.record(NODE, &record(1, AuditOutcome::NoAnswer, NOW));
        records.record(NODE, &record(1, AuditOutcome::Offline, NOW + 60));
        assert_eq!(records.course(&CONTRACT).unwrap().open_nonce(), Some([1; 32]));
        assert_eq!(records.course(&CONTRACT).unwrap().unanswered(), 1);
        assert_eq!(records.next_try(&CONTRACT), None);
        // A challenge of an older number does not take its place, a newer one does.
        records.announce(intent(1));
        assert!(records.course(&CONTRACT).unwrap().open_nonce().is_some());
        records.announce(intent(2));
        assert_eq!(records.course(&CONTRACT).unwrap().open_nonce(), None);
    }
}
