//! One challenge and everything that came of it: an intent, and the records under its epoch
//! (spec/audit.md, "Silence").
//!
//! Invariant: what stands in a course is about one epoch, one revision and the one nonce that was
//! committed to; it has at most [`AUDIT_TRIES_MAX`] silences, and nothing after it was closed. Not
//! here: signatures, whether a proof was judged rightly ([`crate::evidence`]), and what silence does
//! to a standing (the engine decides).

use crate::audit::nonce_commitment;
use crate::statement::{AuditIntent, AuditOutcome, AuditRecord};

/// How often one challenge may go unanswered before it is given up.
pub const AUDIT_TRIES_MAX: u8 = 3;

/// A challenge with what was recorded of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCourse {
    intent: AuditIntent,
    last: Option<AuditRecord>,
    unanswered: u8,
    open: bool,
}

/// Why a record does not belong into a course.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CourseFault {
    /// It is of another contract, epoch or revision than the intent.
    #[error("the record is about another contract, revision or audit than its intent")]
    Apart,
    /// The nonce is not the one that was committed to.
    #[error("the nonce does not fit the commitment")]
    Nonce,
    /// It is not later than the record before.
    #[error("the record is not later than the one before it under its epoch")]
    Time,
    /// The challenge is not open any more.
    #[error("audit {epoch} was closed by the record before: another challenge has another epoch")]
    Closed {
        /// The epoch.
        epoch: u64,
    },
}

impl AuditCourse {
    /// A challenge that was announced and of which nothing is recorded yet.
    pub fn new(intent: AuditIntent) -> Self {
        Self { intent, last: None, unanswered: 0, open: false }
    }

    /// Takes the next record under this epoch. The last one again changes nothing.
    ///
    /// # Errors
    /// [`CourseFault`]; the course is then unchanged.
    pub fn take(&mut self, record: &AuditRecord) -> Result<(), CourseFault> {
        let Self { intent, .. } = self;
        if (record.contract, record.epoch, record.revision)
            != (intent.contract, intent.epoch, intent.revision)
        {
            return Err(CourseFault::Apart);
        }
        if nonce_commitment(&record.contract, record.epoch, &record.nonce) != intent.commitment {
            return Err(CourseFault::Nonce);
        }
        if let Some(last) = &self.last {
            if last == record {
                return Ok(());
            }
            if !self.open {
                return Err(CourseFault::Closed { epoch: intent.epoch });
            }
            if record.time <= last.time {
                return Err(CourseFault::Time);
            }
        }
        match record.outcome {
            AuditOutcome::Passed | AuditOutcome::WrongBytes => self.open = false,
            AuditOutcome::NoAnswer => {
                self.unanswered += 1;
                self.open = self.unanswered < AUDIT_TRIES_MAX;
            }
            AuditOutcome::Quarantined => self.open = true,
            // Open as before: a challenge that never left its challenger is given up.
            AuditOutcome::Offline => {}
        }
        self.last = Some(record.clone());
        Ok(())
    }

    /// The intent that began it.
    pub fn intent(&self) -> &AuditIntent {
        &self.intent
    }

    /// The last record, if there is one.
    pub fn last(&self) -> Option<&AuditRecord> {
        self.last.as_ref()
    }

    /// How often the challenge went unanswered so far.
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// The nonce to send again: the provider was asked and nothing was judged yet. `None` when the
    /// next challenge is another one.
    pub fn open_nonce(&self) -> Option<[u8; 32]> {
        self.last.as_ref().filter(|_| self.open).map(|record| record.nonce)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ids::ContractId;
    use AuditOutcome::{NoAnswer, Offline, Passed, Quarantined, WrongBytes};

    const NONCE: [u8; 32] = [9; 32];
    const CONTRACT: ContractId = ContractId([1; 32]);

    fn course() -> AuditCourse {
        AuditCourse::new(AuditIntent {
            contract: CONTRACT,
            epoch: 7,
            revision: 3,
            commitment: nonce_commitment(&CONTRACT, 7, &NONCE),
            time: 100,
        })
    }

    fn record(outcome: AuditOutcome, time: u64) -> AuditRecord {
        AuditRecord {
            contract: CONTRACT,
            epoch: 7,
            revision: 3,
            nonce: NONCE,
            outcome,
            leaves: 0,
            lost_chunks: 0,
            evidence: [0; 32],
            time,
        }
    }

    fn after(outcomes: &[AuditOutcome]) -> Result<AuditCourse, CourseFault> {
        let mut course = course();
        for (outcome, time) in outcomes.iter().zip(101..) {
            course.take(&record(*outcome, time))?;
        }
        Ok(course)
    }

    #[test]
    fn a_challenge_stays_open_until_it_is_judged_or_given_up() {
        let open = [
            &[NoAnswer][..],
            &[NoAnswer, NoAnswer],
            &[Quarantined],
            &[NoAnswer, Offline],
            &[NoAnswer, Offline, Quarantined, Offline, NoAnswer],
        ];
        for outcomes in open {
            assert_eq!(after(outcomes).unwrap().open_nonce(), Some(NONCE), "{outcomes:?}");
            for end in [Passed, WrongBytes] {
                let ended = after(&[outcomes, &[end]].concat()).unwrap();
                assert_eq!(ended.open_nonce(), None, "{outcomes:?}, {end}");
            }
        }
        let closed = [
            &[Passed][..],
            &[WrongBytes],
            &[Offline],
            &[NoAnswer, NoAnswer, NoAnswer],
            &[NoAnswer, Quarantined, NoAnswer, Offline, NoAnswer],
        ];
        for outcomes in closed {
            assert_eq!(after(outcomes).unwrap().open_nonce(), None, "{outcomes:?}");
            for more in [Passed, WrongBytes, NoAnswer, Offline, Quarantined] {
                let refused = after(&[outcomes, &[more]].concat());
                assert_eq!(refused, Err(CourseFault::Closed { epoch: 7 }), "{outcomes:?}, {more}");
            }
        }
        assert_eq!(course().open_nonce(), None);
        assert_eq!(after(&[NoAnswer, Offline, NoAnswer]).unwrap().unanswered(), 2);
    }

    #[test]
    fn attack_28_a_record_that_is_repeated_changed_or_older_does_not_count() {
        let mut course = after(&[NoAnswer]).unwrap();
        let before = course.clone();
        // The very same one again, as a copy with other signature lines would be.
        assert_eq!(course.take(&record(NoAnswer, 101)), Ok(()));
        assert_eq!(course.take(&record(Passed, 101)), Err(CourseFault::Time));
        assert_eq!(course.take(&record(NoAnswer, 100)), Err(CourseFault::Time));
        type Change = fn(&mut AuditRecord);
        let changes: [(Change, CourseFault); 4] = [
            (|it| it.contract.0[0] ^= 1, CourseFault::Apart),
            (|it| it.epoch += 1, CourseFault::Apart),
            (|it| it.revision += 1, CourseFault::Apart),
            (|it| it.nonce[0] ^= 1, CourseFault::Nonce),
        ];
        for (change, fault) in changes {
            let mut changed = record(Passed, 102);
            change(&mut changed);
            assert_eq!(course.take(&changed), Err(fault));
        }
        assert_eq!(course, before);
    }
}
