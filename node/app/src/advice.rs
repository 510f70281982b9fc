//! What the outcome of an audit means and what to do about it, in words for whoever reads it: the owner
//! who audited, or the operator whose disk was audited.
//!
//! Invariant: every class of fault has words of its own on either side, so that a bad line never reads
//! like a bad disk. Not here: what follows from an outcome (the engine's standing).

use commonhold_engine::audit::{PROBATION_PASSES, Reason, STRIKES_MAX, UNANSWERED_MAX};
use commonhold_format::statement::AuditOutcome;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Audited somebody's disk.
    Owner,
    /// Was audited.
    Provider,
}

impl Side {
    /// What this side did, in words.
    pub fn deed(self) -> &'static str {
        match self {
            Self::Owner => "you audited",
            Self::Provider => "you were audited by",
        }
    }
}

/// What to do after an audit with this outcome; empty when nothing is.
pub fn to_do(outcome: AuditOutcome, side: Side) -> &'static str {
    match (outcome, side) {
        (AuditOutcome::Passed, _) => "",
        (AuditOutcome::WrongBytes, Side::Owner) => {
            "What is lost is made again from other providers by itself; `commonhold repair now` does it at once. \
             The evidence is proof against the provider: `commonhold audit bundle` writes it to a file for others."
        }
        (AuditOutcome::WrongBytes, Side::Provider) => {
            "Run `commonhold store scrub` to find what else has rotted, look at the disk's own report of errors \
             (smartctl), and replace the disk when there is more than one. The owner has the evidence."
        }
        (AuditOutcome::NoAnswer, Side::Owner) => {
            "The same challenge is sent again by itself, within minutes. If it stays unanswered, ask the \
             provider's operator whether its node is overloaded or its clock or version is wrong."
        }
        (AuditOutcome::NoAnswer, Side::Provider) => {
            "Look whether the node was overloaded, suspended or short of memory, and whether its disk is slow: \
             a proof has to be there within 30 seconds. The same challenge comes again within minutes."
        }
        (AuditOutcome::Offline, Side::Owner) => {
            "Nothing for now: being away is tolerated. If the provider stays away, its chunks are made again \
             elsewhere after `absent_after` of the configuration."
        }
        (AuditOutcome::Offline, Side::Provider) => {
            "Look at this machine's network and at its router: the addresses in `commonhold status` have to be \
             reachable from outside."
        }
        (AuditOutcome::Quarantined, Side::Owner) => {
            "Its operator has to look at the disk; nothing is held against the provider. Its chunks count as there \
             as long as its node can be reached; the same challenge is sent again with the next audit."
        }
        (AuditOutcome::Quarantined, Side::Provider) => {
            "`commonhold status` says what is wrong with the disk: mount it, or free or mend it. The node goes \
             on by itself, and nothing is held against it."
        }
    }
}

/// Why a standing is what it is, for the provider: the owner reads the reason's own text.
pub fn for_provider(reason: Reason) -> String {
    match reason {
        Reason::Kept => "You are in good standing with this owner.".to_owned(),
        Reason::PassesOwed(left) => {
            format!("You stay on probation with this owner until you have passed {left} more audits.")
        }
        Reason::ProbationServed => "Your probation is over: you are in good standing again.".to_owned(),
        Reason::Returned => "You are back in good standing and may get new data again.".to_owned(),
        Reason::WrongBytes(strikes) => format!(
            "You could not show bytes that you had signed for ({strikes} of {STRIKES_MAX} times): you get little \
             new data until you have passed {PROBATION_PASSES} audits."
        ),
        Reason::TrustLost => format!(
            "You could not show bytes that you had signed for, {STRIKES_MAX} times: you get no new data from \
             this owner until you pass an audit."
        ),
        Reason::Unanswered(times) => format!(
            "Your node was reached and did not answer ({times} of {UNANSWERED_MAX} times): you get no new data \
             until it answers."
        ),
        Reason::Silent => format!(
            "Your node left its challenge unanswered {UNANSWERED_MAX} times in a row, which counts as a failed \
             audit: you get no new data from this owner until you pass one."
        ),
        Reason::Away(_) => "Your node could not be reached, which is tolerated for three days.".to_owned(),
        Reason::GoneTooLong(_) => {
            "Your node was out of reach for too long: you get no new data until you pass an audit.".to_owned()
        }
        Reason::InQuarantine => {
            "Your node said that its disk is in quarantine: you get no new data until you pass an audit."
                .to_owned()
        }
        Reason::StillLost => "You had lost your standing with this owner before: pass an audit.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_class_of_fault_reads_differently_on_both_sides() {
        use AuditOutcome::{NoAnswer, Offline, Quarantined, WrongBytes};
        let faults = [WrongBytes, NoAnswer, Offline, Quarantined];
        let words: HashSet<&str> =
            faults.iter().flat_map(|it| [to_do(*it, Side::Owner), to_do(*it, Side::Provider)]).collect();
        assert_eq!(words.len(), 8);
        assert!(words.iter().all(|it| it.ends_with('.')));
        assert_eq!(to_do(AuditOutcome::Passed, Side::Owner), "");
        let reasons = [
            Reason::Kept,
            Reason::PassesOwed(2),
            Reason::ProbationServed,
            Reason::Returned,
            Reason::WrongBytes(1),
            Reason::TrustLost,
            Reason::Unanswered(1),
            Reason::Silent,
            Reason::Away(60),
            Reason::GoneTooLong(600_000),
            Reason::InQuarantine,
            Reason::StillLost,
        ];
        let texts: HashSet<String> = reasons.iter().map(|it| for_provider(*it)).collect();
        assert_eq!(texts.len(), reasons.len());
    }
}
