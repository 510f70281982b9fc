//! How a provider stands with one owner: a small state machine over the outcomes of audits.
//!
//! ```text
//! outcome       Good         Probation     Suspended      Quarantined, Absent   Lost
//! passed        Good         one less; *   back **        back **               Probation
//! wrong bytes   Probation    Probation+    Probation+     Probation+            Lost
//! no answer     Suspended    Suspended     3rd: Lost      Suspended             Lost
//! offline       stays; away too long: Absent              stays; Absent         stays
//! quarantined   Quarantined  Quarantined   Quarantined    Quarantined           stays
//!
//! *   Good after the last pass that was owed
//! **  to Probation when passes are still owed, else to Good; the pass counts
//! +   with all passes owed again; Lost at the third time
//! ```
//!
//! Invariant: being offline, in quarantine or not answering once or twice leaves no mark once the
//! provider passes again. Time only ever counts how long a provider was away, and no single jump of
//! a clock, of any size, makes one that is away for less than two days absent.

use std::fmt;

use commonhold_format::course::AUDIT_TRIES_MAX;
use commonhold_format::statement::AuditOutcome;

/// Passed audits that end a probation. Three audits of 64 samples find a loss of 5 % with
/// 99.995 %, one of 1 % with 85 %.
pub const PROBATION_PASSES: u8 = 3;

/// Times of wrong bytes, without a probation served in between, after which nothing is left to a
/// provider. Disks fail more than once while they die; a provider that repaired itself has passed in
/// between.
pub const STRIKES_MAX: u8 = 3;

/// How often a provider may leave challenges unanswered in a row before that counts as a failed audit:
/// as often as one challenge is sent.
pub const UNANSWERED_MAX: u8 = AUDIT_TRIES_MAX;

/// How long a provider may be out of reach before it is called absent: three days.
pub const AWAY_SECONDS_MAX: u64 = 3 * 86_400;

/// Most seconds that one gap between two observations adds to the time away: one day, the default
/// mean between audits. So one jump of this machine's clock adds at most a day of absence.
pub const AWAY_GAP_SECONDS_MAX: u64 = 86_400;

/// Weight of a provider in good standing when chunks are placed.
pub const WEIGHT_GOOD: u8 = 8;

/// Weight of a provider on probation: it gets some new data, because audits of an empty provider
/// prove nothing, and there may be no other.
pub const WEIGHT_PROBATION: u8 = 1;

/// Where a provider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Nothing is held against it. Newcomers start here: they hold little that could be lost.
    #[default]
    Good,
    /// It could not show bytes that it had signed for. It gets little new data until it has passed
    /// [`PROBATION_PASSES`] audits.
    Probation,
    /// It was reached and did not answer. It gets no new data; the same challenge is sent again.
    Suspended,
    /// It says that its disk is in quarantine. It gets no new data until it passes.
    Quarantined,
    /// It has been out of reach for longer than [`AWAY_SECONDS_MAX`]. It gets no new data.
    Absent,
    /// Wrong bytes [`STRIKES_MAX`] times or a challenge unanswered [`UNANSWERED_MAX`] times: nothing
    /// that it holds is counted on. A passed audit leads back to probation.
    Lost,
}

impl State {
    /// The state as one word, for logs and interfaces.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Probation => "probation",
            Self::Suspended => "suspended",
            Self::Quarantined => "quarantined",
            Self::Absent => "absent",
            Self::Lost => "lost",
        }
    }
}

/// Why a standing is what it is now. Its text is one or two sentences: what happened, and what is
/// done or to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Passed, as before.
    Kept,
    /// Passed on probation; so many passes are still owed.
    PassesOwed(u8),
    /// Passed for the last time that was owed.
    ProbationServed,
    /// Passed after a suspension, a quarantine or an absence.
    Returned,
    /// Wrong bytes, for the so-manieth time since the last good standing.
    WrongBytes(u8),
    /// Wrong bytes too often.
    TrustLost,
    /// No answer, for the so-manieth time in a row.
    Unanswered(u8),
    /// No answer to the last repetition.
    Silent,
    /// Out of reach for so many seconds, which is tolerated.
    Away(u64),
    /// Out of reach for longer than is tolerated.
    GoneTooLong(u64),
    /// In quarantine by its own word.
    InQuarantine,
    /// Nothing new about a provider that is lost already.
    StillLost,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => write!(f, "The provider is in good standing; nothing is to be done."),
            Self::PassesOwed(left) => {
                write!(f, "The provider stays on probation until it has passed {left} more audits.")
            }
            Self::ProbationServed => {
                write!(
                    f,
                    "The provider has passed every audit of its probation and is in good standing again."
                )
            }
            Self::Returned => write!(f, "The provider is back and may get new data again."),
            Self::WrongBytes(strikes) => write!(
                f,
                "The provider could not show bytes that it had signed for ({strikes} of {STRIKES_MAX} times): \
                 what is lost is repaired now, and the provider is on probation for {PROBATION_PASSES} audits. \
                 Its operator should check the disk."
            ),
            Self::TrustLost => write!(
                f,
                "The provider could not show bytes that it had signed for, {STRIKES_MAX} times: it gets no new \
                 data, and what it holds should be repaired elsewhere. Its operator should replace the disk."
            ),
            Self::Unanswered(times) => write!(
                f,
                "The provider was reached and did not answer ({times} of {UNANSWERED_MAX} times): it gets no new \
                 data, and the same challenge is sent again soon."
            ),
            Self::Silent => write!(
                f,
                "The provider left its challenge unanswered {UNANSWERED_MAX} times in a row, which counts as a failed \
                 audit: it gets no new data, and what it holds should be repaired elsewhere."
            ),
            Self::Away(seconds) => write!(
                f,
                "The provider has been out of reach for {}, which is tolerated up to {}; nothing is held against it.",
                Span(*seconds),
                Span(AWAY_SECONDS_MAX)
            ),
            Self::GoneTooLong(seconds) => write!(
                f,
                "The provider has been out of reach for {}: it gets no new data until it is back and passes an \
                 audit.",
                Span(*seconds)
            ),
            Self::InQuarantine => write!(
                f,
                "The provider says that its disk is in quarantine: it gets no new data until it passes an audit, \
                 and nothing is held against it."
            ),
            Self::StillLost => write!(
                f,
                "The provider had lost its standing before; only a passed audit leads back to probation."
            ),
        }
    }
}

/// Seconds for a person: whole hours from two hours on.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..7200 => write!(f, "{seconds} s"),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}

/// How a provider stands with one owner. Made from [`Standing::default`] by recording outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    state: State,
    since: u64,
    passed: u32,
    failed: u32,
    passes_owed: u8,
    strikes: u8,
    unanswered: u8,
    away_seconds: u64,
    // Time of the last outcome while the provider is away.
    away_last: Option<u64>,
}

impl Standing {
    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Unix seconds at which the state began; 0 when no outcome was recorded that changed it.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Audits passed.
    pub fn passed(&self) -> u32 {
        self.passed
    }

    /// Audits failed: wrong bytes, or a challenge that went unanswered [`UNANSWERED_MAX`] times.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Passes that are still owed before a probation ends.
    pub fn passes_owed(&self) -> u8 {
        self.passes_owed
    }

    /// How often challenges went unanswered in a row. Which one is to be sent again is for
    /// [`AuditCourse`](commonhold_format::course::AuditCourse) to say.
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// For how long the provider has been seen to be away, in seconds; 0 when it was last reached.
    pub fn away_seconds(&self) -> u64 {
        self.away_seconds
    }

    /// Whether new chunks may be placed with it: in [`State::Good`] and [`State::Probation`].
    pub fn takes_new_data(&self) -> bool {
        self.weight() > 0
    }

    /// Its weight when chunks are placed; 0 when it gets no new data.
    pub fn weight(&self) -> u8 {
        match self.state {
            State::Good => WEIGHT_GOOD,
            State::Probation => WEIGHT_PROBATION,
            State::Suspended | State::Quarantined | State::Absent | State::Lost => 0,
        }
    }

    /// The standing after an audit that ended at `now` (Unix seconds) with this outcome, and why.
    /// Times may go backwards and jump; see the head of this file for what that can do.
    #[must_use]
    pub fn record(&self, outcome: AuditOutcome, now: u64) -> (Self, Reason) {
        let mut next = *self;
        let reason = match outcome {
            AuditOutcome::Passed => next.pass(),
            AuditOutcome::WrongBytes => next.wrong_bytes(),
            AuditOutcome::NoAnswer => next.no_answer(),
            AuditOutcome::Offline => next.offline(now),
            AuditOutcome::Quarantined => next.quarantined(),
        };
        if next.state != self.state {
            next.since = now;
        }
        (next, reason)
    }

    fn reached(&mut self) {
        self.away_seconds = 0;
        self.away_last = None;
    }

    fn pass(&mut self) -> Reason {
        let before = self.state;
        self.reached();
        self.unanswered = 0;
        self.passed = self.passed.saturating_add(1);
        if before == State::Lost {
            // The audit that led out of it is not one of those that are owed.
            self.state = State::Probation;
            self.strikes = 0;
            self.passes_owed = PROBATION_PASSES;
            return Reason::PassesOwed(self.passes_owed);
        }
        if self.passes_owed > 1 {
            self.state = State::Probation;
            self.passes_owed -= 1;
            return Reason::PassesOwed(self.passes_owed);
        }
        let served = self.passes_owed == 1;
        self.state = State::Good;
        self.passes_owed = 0;
        self.strikes = 0;
        match (served, before) {
            (true, _) => Reason::ProbationServed,
            (false, State::Good) => Reason::Kept,
            (false, _) => Reason::Returned,
        }
    }

    fn wrong_bytes(&mut self) -> Reason {
        self.reached();
        self.unanswered = 0;
        self.failed = self.failed.saturating_add(1);
        self.strikes = self.strikes.saturating_add(1);
        self.passes_owed = PROBATION_PASSES;
        if self.state == State::Lost {
            return Reason::StillLost;
        }
        if self.strikes >= STRIKES_MAX {
            self.state = State::Lost;
            return Reason::TrustLost;
        }
        self.state = State::Probation;
        Reason::WrongBytes(self.strikes)
    }

    fn no_answer(&mut self) -> Reason {
        self.reached();
        if self.state == State::Lost {
            return Reason::StillLost;
        }
        self.unanswered += 1;
        if self.unanswered >= UNANSWERED_MAX {
            self.state = State::Lost;
            self.unanswered = 0;
            self.failed = self.failed.saturating_add(1);
            self.passes_owed = PROBATION_PASSES;
            return Reason::Silent;
        }
        self.state = State::Suspended;
        Reason::Unanswered(self.unanswered)
    }

    fn offline(&mut self, now: u64) -> Reason {
        let gap = self.away_last.map_or(0, |last| now.saturating_sub(last));
        self.away_seconds = self.away_seconds.saturating_add(gap.min(AWAY_GAP_SECONDS_MAX));
        self.away_last = Some(now);
        if self.state == State::Lost {
            return Reason::StillLost;
        }
        if self.away_seconds < AWAY_SECONDS_MAX {
            return Reason::Away(self.away_seconds);
        }
        self.state = State::Absent;
        Reason::GoneTooLong(self.away_seconds)
    }

    fn quarantined(&mut self) -> Reason {
        self.reached();
        if self.state == State::Lost {
            return Reason::StillLost;
        }
        self.state = State::Quarantined;
        Reason::InQuarantine
    }
}
