//! What owners found when they audited this node, as far as they told it (spec/audit.md, "The provider
//! is told").
//!
//! Invariant: what is told counts only when the owner of a contract that this node holds signed it, it
//! follows what was told before, and it is in the ledger; all of it is found again there after a restart.
//! An owner can neither make the ledger grow without end nor put notes into it that do not hold
//! together. Not here: whether the owner is right, which only the evidence shows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use commonhold_client::types;
use commonhold_format::course::{AuditCourse, CourseFault};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditIntent, AuditOutcome, AuditRecord, Statement};
use commonhold_format::wire::Refusal;
use commonhold_ledger::Ledger;
use commonhold_store::ContractState;
use data_encoding::HEXLOWER;

use crate::advice::{self, Side};
use crate::hourly::Hourly;

/// Results of one contract's audits that are taken in an hour.
const RESULTS_PER_HOUR_MAX: usize = 20;
/// Days that a summary covers.
const DAYS: u64 = 30;
const DAY_SECONDS: u64 = 86_400;

type Refused = (Refusal, String);

/// See the module.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By contract, the audit with the highest number that was told of.
    courses: HashMap<ContractId, AuditCourse>,
    /// Results by contract.
    budgets: Hourly<ContractId>,
    /// By day since 1970: audits by outcome.
    days: BTreeMap<u64, [u64; 5]>,
    /// Audits by outcome, all of them.
    totals: [u64; 5],
    /// The last audit that was not passed, and who says so.
    failed: Option<(PartyId, AuditRecord)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            courses: HashMap::new(),
            budgets: Hourly::new(RESULTS_PER_HOUR_MAX),
            days: BTreeMap::new(),
            totals: [0; 5],
            failed: None,
        }
    }
}

/// What was told, checked and not yet logged.
pub struct Told {
    owner: PartyId,
    course: AuditCourse,
    record: AuditRecord,
    /// The notes that the ledger lacks; none when nothing is new.
    pub notes: Vec<SignedNote>,
}

impl Verdicts {
    /// What the ledger of `node`, whose party is `me`, says.
    pub fn replay(ledger: &Ledger, me: &PartyId, node: &NodeId) -> Self {
        const PAGE: usize = 1024;
        let mut owners: HashMap<ContractId, PartyId> = HashMap::new();
        let mut state = State::default();
        let mut from = 0;
        loop {
            let page = ledger.entries(from, PAGE);
            for (index, note) in &page {
                from = index + 1;
                match Statement::of(note) {
                    Ok(Statement::Contract(contract))
                        if (contract.provider, contract.node) == (*me, *node) && contract.owner != *me =>
                    {
                        owners.insert(contract.id(), contract.owner);
                    }
                    Ok(Statement::AuditIntent(intent)) if owners.contains_key(&intent.contract) => {
                        state.courses.insert(intent.contract, AuditCourse::new(intent));
                    }
                    Ok(Statement::AuditRecord(record)) => {
                        let Some(owner) = owners.get(&record.contract) else { continue };
                        let Some(course) = state.courses.get(&record.contract) else { continue };
                        let mut course = course.clone();
                        if course.take(&record).is_ok() {
                            state.enter(*owner, course, record);
                        }
                    }
                    _ => {}
                }
            }
            if page.len() < PAGE {
                return Self(Mutex::new(state));
            }
        }
    }

    /// Checks what an owner tells about an audit under the contract of `state`, at `now` (Unix seconds)
    /// with so much room for differences of clocks. One caller at a time for each contract.
    ///
    /// # Errors
    /// A refusal, and why.
    pub fn check(
        &self,
        state: &ContractState,
        notes: (SignedNote, SignedNote),
        statements: (AuditIntent, AuditRecord),
        now: u64,
        skew_seconds: u64,
    ) -> Result<Told, Refused> {
        let (intent_note, record_note) = notes;
        let (intent, record) = statements;
        let owner = state.contract.owner;
        for note in [&intent_note, &record_note] {
            if !note.is_signed_by(&owner) {
                return Err((Refusal::Forbidden, "the contract's owner has not signed it".to_owned()));
            }
            if note.signatures().len() != 1 {
                return Err((Refusal::Invalid, "a note of an audit has one signature".to_owned()));
            }
        }
        if intent.time.max(record.time) > now.saturating_add(skew_seconds) {
            return Err((Refusal::Clock, "the audit is from the future".to_owned()));
        }
        if state.revision.as_ref().is_none_or(|(last, _)| record.revision > last.sequence) {
            return Err((Refusal::Invalid, "it is about a revision that was never signed".to_owned()));
        }
        let mut here = self.state();
        let known = here.courses.get(&record.contract);
        let (mut course, mut notes) = match known {
            Some(course) if *course.intent() == intent => (course.clone(), Vec::new()),
            Some(course) if course.intent().epoch >= intent.epoch => {
                let last = course.intent().epoch;
                return Err((Refusal::Conflict, format!("audit {last} was told of before")));
            }
            _ => (AuditCourse::new(intent), vec![intent_note]),
        };
        if course.last() == Some(&record) {
            return Ok(Told { owner, course, record, notes: Vec::new() });
        }
        course.take(&record).map_err(|fault| {
            let reason = match fault {
                CourseFault::Apart | CourseFault::Nonce => Refusal::Invalid,
                CourseFault::Time | CourseFault::Closed { .. } => Refusal::Conflict,
            };
            (reason, fault.to_string())
        })?;
        if !here.budgets.take(record.contract, 1) {
            return Err((Refusal::Busy, "too many audits in an hour: try again later".to_owned()));
        }
        notes.push(record_note);
        Ok(Told { owner, course, record, notes })
    }

    /// Takes in what was checked, once its notes are in the ledger.
    pub fn enter(&self, told: Told) {
        if !told.notes.is_empty() {
            let Told { owner, course, record, .. } = told;
            tracing::info!(outcome = record.outcome.as_str(), %owner, "an owner told what its audit found");
            self.state().enter(owner, course, record);
        }
    }

    /// The audits of the last days; `None` when there never was one.
    pub fn summary(&self, now: u64) -> Option<types::AuditsHere> {
        let state = self.state();
        let first = (now / DAY_SECONDS).saturating_sub(DAYS - 1);
        let mut sums = [0; 5];
        for counts in state.days.range(first..).map(|(_, counts)| counts) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        if state.days.is_empty() {
            return None;
        }
        let [passed, wrong_bytes, no_answer, offline, quarantined] = sums;
        let last_failed = state.failed.as_ref().map(|(owner, record)| types::FailedAudit {
            time: record.time,
            owner: owner.to_string(),
            contract: record.contract.to_string(),
            epoch: record.epoch,
            outcome: outcome(record.outcome),
            lost_chunks: record.lost_chunks.into(),
            what_to_do: advice::to_do(record.outcome, Side::Provider).to_owned(),
            evidence: HEXLOWER.encode(&record.evidence),
        });
        Some(types::AuditsHere {
            days: DAYS,
            passed,
            wrong_bytes,
            no_answer,
            offline,
            quarantined,
            last_failed,
        })
    }

    /// Audits that owners told of: passed, wrong bytes, no answer, offline, quarantined.
    pub fn totals(&self) -> [u64; 5] {
        self.state().totals
    }

    /// Contracts under which the last audit found wrong bytes or got no answer, of those that `still_here`
    /// says are.
    pub fn failing(&self, still_here: impl Fn(&ContractId) -> bool) -> u64 {
        let state = self.state();
        let failed = state.courses.iter().filter(|(contract, course)| {
            let outcome = course.last().map(|record| record.outcome);
            matches!(outcome, Some(AuditOutcome::WrongBytes | AuditOutcome::NoAnswer)) && still_here(contract)
        });
        failed.count() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, owner: PartyId, course: AuditCourse, record: AuditRecord) {
        let counts = self.days.entry(record.time / DAY_SECONDS).or_default();
        counts[column(record.outcome)] += 1;
        self.totals[column(record.outcome)] += 1;
        while self.days.len() as u64 > DAYS + 1 {
            self.days.pop_first();
        }
        self.courses.insert(record.contract, course);
        if record.outcome != AuditOutcome::Passed {
            self.failed = Some((owner, record));
        }
    }
}

/// Where an outcome is counted: passed, wrong bytes, no answer, offline, quarantined.
pub fn column(outcome: AuditOutcome) -> usize {
    match outcome {
        AuditOutcome::Passed => 0,
        AuditOutcome::WrongBytes => 1,
        AuditOutcome::NoAnswer => 2,
        AuditOutcome::Offline => 3,
        AuditOutcome::Quarantined => 4,
    }
}

/// The outcome as the local API says it.
pub fn outcome(outcome: AuditOutcome) -> types::AuditOutcome {
    match outcome {
        AuditOutcome::Passed => types::AuditOutcome::Passed,
        AuditOutcome::WrongBytes => types::AuditOutcome::WrongBytes,
        AuditOutcome::NoAnswer => types::AuditOutcome::NoAnswer,
        AuditOutcome::Offline => types::AuditOutcome::Offline,
        AuditOutcome::Quarantined => types::AuditOutcome::Quarantined,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use commonhold_format::audit::nonce_commitment;
    use commonhold_format::keys::PartyKey;
    use commonhold_format::statement::{Contract, Prices, Revision, ledger_origin};
    use commonhold_store::Role;

    const NOW: u64 = 1_750_000_000;
    const SKEW: u64 = 600;
    const NODE: NodeId = NodeId([3; 32]);

    fn key(seed: u8) -> PartyKey {
        PartyKey::from_seed(&[seed; 32])
    }

    fn both(statement: Statement) -> SignedNote {
        let mut note = SignedNote::sign(statement.to_text(), &key(1)).unwrap();
        note.countersign(&key(2));
        note
    }

    /// A contract between 1, the owner, and 2, with three revisions.
    fn state() -> ContractState {
        let contract = Contract {
            owner: key(1).id(),
            provider: key(2).id(),
            node: NODE,
            salt: [4; 16],
            prices: Prices::default(),
            bytes_max: 1 << 30,
            starts: NOW,
            ends: NOW + 1000,
            audit_interval_seconds: 100,
            grace_seconds: 100,
            hold_microcredits: 0,
        };
        let revision = Revision {
            contract: contract.id(),
            sequence: 3,
            inventory_root: [5; 32],
            entries: 1,
            span: 1,
            held_bytes: 1,
            held_chunks: 1,
            time: NOW,
        };
        let note = both(Statement::Revision(revision.clone()));
        ContractState {
            role: Role::Provider,
            note: both(Statement::Contract(contract.clone())),
            contract,
            revision: Some((revision, note)),
            receipt: None,
            byte_seconds: 0,
            next_epoch: 1,
            audits_passed: 0,
            audits_failed: 0,
            evidence: [0; 32],
            given_up: false,
        }
    }

    fn statements(epoch: u64, outcome: AuditOutcome, time: u64) -> (AuditIntent, AuditRecord) {
        let contract = state().contract.id();
        let commitment = nonce_commitment(&contract, epoch, &[9; 32]);
        let evidence = if outcome == AuditOutcome::Passed { [8; 32] } else { [0; 32] };
        (
            AuditIntent { contract, epoch, revision: 3, commitment, time: NOW },
            AuditRecord {
                contract,
                epoch,
                revision: 3,
                nonce: [9; 32],
                outcome,
                leaves: 0,
                lost_chunks: 0,
                evidence,
                time,
            },
        )
    }

    fn note(statement: &Statement, keys: &[u8]) -> SignedNote {
        let mut note = SignedNote::sign(statement.to_text(), &key(keys[0])).unwrap();
        keys[1..].iter().for_each(|seed| assert!(note.countersign(&key(*seed))));
        note
    }

    fn told(
        verdicts: &Verdicts,
        (intent, record): (AuditIntent, AuditRecord),
        keys: &[u8],
    ) -> Result<Told, Refusal> {
        let notes = (
            note(&Statement::AuditIntent(intent.clone()), keys),
            note(&Statement::AuditRecord(record.clone()), keys),
        );
        verdicts.check(&state(), notes, (intent, record), NOW, SKEW).map_err(|(reason, _)| reason)
    }

    #[test]
    fn attack_28_what_an_owner_tells_has_to_hold_together() {
        use AuditOutcome::{NoAnswer, Passed, WrongBytes};
        let verdicts = Verdicts::default();
        let refused = |statements, keys: &[u8]| told(&verdicts, statements, keys).err();
        // Not by the owner, or with lines that would only make the ledger longer.
        assert_eq!(refused(statements(1, Passed, NOW), &[2]), Some(Refusal::Forbidden));
        assert_eq!(refused(statements(1, Passed, NOW), &[1, 5]), Some(Refusal::Invalid));
        assert_eq!(refused(statements(1, Passed, NOW + SKEW + 1), &[1]), Some(Refusal::Clock));
        let mut other = statements(1, Passed, NOW);
        other.1.nonce = [7; 32];
        assert_eq!(refused(other, &[1]), Some(Refusal::Invalid));
        let mut unsigned = statements(1, Passed, NOW);
        (unsigned.0.revision, unsigned.1.revision) = (4, 4);
        assert_eq!(refused(unsigned, &[1]), Some(Refusal::Invalid));

        let first = told(&verdicts, statements(5, NoAnswer, NOW), &[1]).unwrap();
        assert_eq!(first.notes.len(), 2);
        verdicts.enter(first);
        // Told again it is known; the same challenge's next record comes without its intent.
        assert_eq!(told(&verdicts, statements(5, NoAnswer, NOW), &[1]).unwrap().notes.len(), 0);
        let second = told(&verdicts, statements(5, WrongBytes, NOW + 1), &[1]).unwrap();
        assert_eq!(second.notes.len(), 1);
        verdicts.enter(second);
        for late in [statements(5, Passed, NOW + 2), statements(4, Passed, NOW + 2)] {
            assert_eq!(refused(late, &[1]), Some(Refusal::Conflict));
        }
        let mut rival = statements(5, Passed, NOW + 2);
        rival.0.time += 1;
        assert_eq!(refused(rival, &[1]), Some(Refusal::Conflict));
        let here = verdicts.summary(NOW).unwrap();
        assert_eq!((here.passed, here.wrong_bytes, here.no_answer), (0, 1, 1));
        assert_eq!(here.last_failed.unwrap().outcome, types::AuditOutcome::WrongBytes);
    }

    #[test]
    fn attack_37_an_owner_that_tells_without_end_is_told_to_wait() {
        let verdicts = Verdicts::default();
        let mut taken = 0;
        for epoch in 1..200 {
            match told(&verdicts, statements(epoch, AuditOutcome::Passed, NOW), &[1]) {
                Ok(told) => {
                    verdicts.enter(told);
                    taken += 1;
                }
                Err(reason) => assert_eq!(reason, Refusal::Busy),
            }
        }
        assert_eq!(taken, RESULTS_PER_HOUR_MAX);
        assert_eq!(verdicts.summary(NOW).unwrap().passed, taken as u64);
        // What is older than the summary's days does not count in it, and is not kept for ever.
        assert_eq!(verdicts.summary(NOW + 40 * DAY_SECONDS).unwrap().passed, 0);
    }

    #[test]
    fn a_restart_finds_in_the_ledger_what_was_told() {
        use AuditOutcome::{NoAnswer, Passed, Quarantined};
        let temp = tempfile::tempdir().unwrap();
        let origin = ledger_origin(&key(2).id(), &NODE);
        let ledger = Ledger::open(temp.path(), key(2), origin).unwrap();
        ledger.append(&state().note).unwrap();
        let live = Verdicts::default();
        let audits = [(1, Passed, NOW), (2, NoAnswer, NOW), (2, Quarantined, NOW + 1), (2, Passed, NOW + 2)];
        for (epoch, outcome, time) in audits {
            let told = told(&live, statements(epoch, outcome, time), &[1]).unwrap();
            ledger.append_all(&told.notes).unwrap();
            live.enter(told);
        }
        assert_eq!(ledger.len(), 1 + 2 + 4);
        let again = Verdicts::replay(&ledger, &key(2).id(), &NODE);
        assert_eq!(again.summary(NOW), live.summary(NOW));
        assert_eq!(again.summary(NOW).unwrap().passed, 2);
        assert_eq!(told(&again, statements(2, Passed, NOW + 2), &[1]).unwrap().notes.len(), 0);
        assert_eq!(told(&again, statements(2, Passed, NOW + 3), &[1]).err(), Some(Refusal::Conflict));
        // On the owner's side of the same ledger nothing was told.
        assert_eq!(Verdicts::replay(&ledger, &key(1).id(), &NODE).summary(NOW), None);
    }
}
