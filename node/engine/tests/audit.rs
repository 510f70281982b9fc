//! Times of audits and the standings that follow from their outcomes.
#![allow(clippy::unwrap_used)]

mod people;

use commonhold_engine::audit::{
    AWAY_SECONDS_MAX, GAP_MEANS_MAX, PROBATION_PASSES, REPEAT_SECONDS, Reason, STRIKES_MAX, Standing, State,
    UNANSWERED_MAX, check_audit, next_audit, next_try,
};
use commonhold_format::audit::{ProofError, ProofReport};
use commonhold_format::ids::ChunkId;
use commonhold_format::statement::AuditOutcome::{self, NoAnswer, Offline, Passed, Quarantined, WrongBytes};
use people::{DAY, NOON};
use proptest::prelude::*;

/// SplitMix64: well-spread draws from a counter.
fn draws() -> impl Iterator<Item = u64> {
    let mut state = 42_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

fn replay(outcomes: &[(AuditOutcome, u64)]) -> (Standing, Reason) {
    outcomes.iter().fold((Standing::default(), Reason::Kept), |(standing, _), (outcome, now)| {
        standing.record(*outcome, *now)
    })
}

fn at_noon(outcomes: &[AuditOutcome]) -> (Standing, Reason) {
    replay(&outcomes.iter().map(|outcome| (*outcome, NOON)).collect::<Vec<_>>())
}

#[test]
fn gaps_have_the_mean_and_the_shape_of_a_poisson_process() {
    const COUNT: usize = 100_000;
    let gaps: Vec<u64> = draws().take(COUNT).map(|draw| next_audit(NOON, DAY, draw) - NOON).collect();
    let mean = gaps.iter().sum::<u64>() as f64 / COUNT as f64;
    assert!((mean / DAY as f64 - 1.0).abs() < 0.02, "{mean}");
    // Of exponential gaps 63.2 % are shorter than the mean and 13.5 % longer than two means.
    let shorter = gaps.iter().filter(|gap| **gap < DAY).count() as f64 / COUNT as f64;
    let longer = gaps.iter().filter(|gap| **gap > 2 * DAY).count() as f64 / COUNT as f64;
    assert!((shorter - 0.632).abs() < 0.01, "{shorter}");
    assert!((longer - 0.135).abs() < 0.01, "{longer}");
    assert_eq!(gaps.iter().max(), Some(&(GAP_MEANS_MAX * DAY)));
}

#[test]
fn extreme_draws_give_the_least_and_the_longest_gap() {
    assert_eq!(next_audit(NOON, DAY, u64::MAX), NOON + 1);
    assert_eq!(next_audit(NOON, DAY, 0), NOON + GAP_MEANS_MAX * DAY);
    assert_eq!(next_audit(NOON, 0, 0), NOON + 1);
    assert_eq!(next_audit(u64::MAX, DAY, 0), u64::MAX);
    assert_eq!(next_audit(0, u64::MAX, 0), u64::MAX);
}

proptest! {
    #[test]
    fn no_gap_is_zero_or_beyond_the_cap(after in 0..u64::MAX / 2, mean in 1..u64::MAX / 16, draw: u64) {
        let gap = next_audit(after, mean, draw) - after;
        prop_assert!(gap >= 1 && gap <= mean * GAP_MEANS_MAX);
    }
}

#[test]
fn an_unanswered_challenge_comes_back_soon_and_not_for_ever() {
    for (unanswered, mean) in (1..).zip(REPEAT_SECONDS) {
        let waits: Vec<u64> =
            draws().take(10_000).map(|draw| next_try(NOON, unanswered, draw).unwrap() - NOON).collect();
        assert!(waits.iter().all(|wait| (mean * 3 / 4..=mean * 5 / 4).contains(wait)));
        let average = waits.iter().sum::<u64>() as f64 / waits.len() as f64;
        assert!((average / mean as f64 - 1.0).abs() < 0.02, "{average}");
        assert!(waits.contains(&(mean * 3 / 4)) && waits.contains(&(mean * 5 / 4)));
    }
    assert_eq!(next_try(NOON, 0, 7), None);
    assert_eq!(next_try(NOON, UNANSWERED_MAX, 7), None);
    assert_eq!(next_try(u64::MAX, 1, 7), Some(u64::MAX));
}

#[test]
fn outcomes_of_proofs() {
    let lost = ProofReport { lost: vec![ChunkId([1; 32])], leaves: 60, holes: 3 };
    assert_eq!(check_audit(&Ok(ProofReport { leaves: 64, ..ProofReport::default() })), Passed);
    assert_eq!(check_audit(&Ok(lost)), WrongBytes);
    assert_eq!(check_audit(&Err(ProofError::Count { expected: 64, found: 3 })), WrongBytes);
}

#[test]
fn wrong_bytes_lead_to_probation_and_three_passes_out_of_it() {
    let (mut standing, reason) = at_noon(&[Passed, WrongBytes]);
    assert_eq!((standing.state(), reason), (State::Probation, Reason::WrongBytes(1)));
    assert!(standing.takes_new_data());
    assert!(standing.weight() < Standing::default().weight());
    for owed in (1..PROBATION_PASSES).rev() {
        let (next, reason) = standing.record(Passed, NOON);
        assert_eq!((next.state(), reason), (State::Probation, Reason::PassesOwed(owed)));
        standing = next;
    }
    let (standing, reason) = standing.record(Passed, NOON);
    assert_eq!((standing.state(), reason), (State::Good, Reason::ProbationServed));
    assert_eq!((standing.passed(), standing.failed()), (u32::from(PROBATION_PASSES) + 1, 1));
    // A served probation is forgotten: the next fault is the first again.
    assert_eq!(standing.record(WrongBytes, NOON).1, Reason::WrongBytes(1));
}

#[test]
fn wrong_bytes_three_times_lose_the_standing_and_a_pass_leads_back_to_probation() {
    let (standing, reason) = at_noon(&[WrongBytes; STRIKES_MAX as usize]);
    assert_eq!((standing.state(), reason), (State::Lost, Reason::TrustLost));
    assert!(!standing.takes_new_data());
    for outcome in [WrongBytes, NoAnswer, Offline, Quarantined] {
        let (next, reason) = standing.record(outcome, NOON);
        assert_eq!((next.state(), reason), (State::Lost, Reason::StillLost), "{outcome:?}");
    }
    let (standing, reason) = standing.record(Passed, NOON);
    assert_eq!((standing.state(), reason), (State::Probation, Reason::PassesOwed(PROBATION_PASSES)));
}

#[test]
fn one_pass_between_faults_does_not_wipe_them_out() {
    // Passing every other audit is what a provider does that has lost a part.
    let (standing, _) = at_noon(&[WrongBytes, Passed, WrongBytes, Passed, WrongBytes]);
    assert_eq!(standing.state(), State::Lost);
}

#[test]
fn no_answer_suspends_and_the_third_in_a_row_fails() {
    let (once, reason) = at_noon(&[Passed, NoAnswer]);
    assert_eq!((once.state(), reason, once.unanswered()), (State::Suspended, Reason::Unanswered(1), 1));
    assert_eq!((once.takes_new_data(), once.failed()), (false, 0));
    let (back, reason) = once.record(Passed, NOON);
    assert_eq!((back.state(), reason, back.unanswered()), (State::Good, Reason::Returned, 0));
    let (silent, reason) = at_noon(&[NoAnswer; UNANSWERED_MAX as usize]);
    assert_eq!((silent.state(), reason, silent.failed()), (State::Lost, Reason::Silent, 1));
}

#[test]
fn faults_of_the_line_are_no_faults_of_the_disk() {
    let (standing, _) = at_noon(&[NoAnswer, Offline, Quarantined, NoAnswer, Passed]);
    assert_eq!((standing.state(), standing.failed()), (State::Good, 0));
    // And they do not end a probation either.
    let (standing, _) = at_noon(&[WrongBytes, Quarantined]);
    assert_eq!((standing.state(), standing.passes_owed()), (State::Quarantined, PROBATION_PASSES));
    assert_eq!(standing.record(Passed, NOON).0.state(), State::Probation);
}

#[test]
fn a_quarantine_costs_new_data_and_nothing_else() {
    let (quarantined, reason) = at_noon(&[Passed, Quarantined, Quarantined, Quarantined, Quarantined]);
    assert_eq!((quarantined.state(), reason), (State::Quarantined, Reason::InQuarantine));
    assert_eq!((quarantined.takes_new_data(), quarantined.failed()), (false, 0));
    assert_eq!(quarantined.record(Passed, NOON).0.state(), State::Good);
}

#[test]
fn offline_is_tolerated_for_three_days_and_then_called_absence() {
    let (mut standing, _) = at_noon(&[Passed]);
    for hour in 0..72 {
        let (next, reason) = standing.record(Offline, NOON + hour * 3600);
        assert_eq!((next.state(), reason), (State::Good, Reason::Away(hour * 3600)));
        assert!(next.takes_new_data());
        standing = next;
    }
    let (absent, reason) = standing.record(Offline, NOON + AWAY_SECONDS_MAX);
    assert_eq!((absent.state(), reason), (State::Absent, Reason::GoneTooLong(AWAY_SECONDS_MAX)));
    assert_eq!((absent.takes_new_data(), absent.failed()), (false, 0));
    assert_eq!(absent.since(), NOON + AWAY_SECONDS_MAX);
    let (back, _) = absent.record(Passed, NOON + 9 * DAY);
    assert_eq!((back.state(), back.away_seconds()), (State::Good, 0));
}

#[test]
fn every_reason_is_a_sentence() {
    for reason in [
        Reason::Kept,
        Reason::PassesOwed(2),
        Reason::ProbationServed,
        Reason::Returned,
        Reason::WrongBytes(1),
        Reason::TrustLost,
        Reason::Unanswered(2),
        Reason::Silent,
        Reason::Away(90),
        Reason::GoneTooLong(260_000),
        Reason::InQuarantine,
        Reason::StillLost,
    ] {
        let text = reason.to_string();
        assert!(text.starts_with("The provider ") && text.ends_with('.'), "{text}");
        assert!(!text.contains("  "), "{text}");
    }
}

fn outcome() -> impl Strategy<Value = AuditOutcome> {
    prop_oneof![Just(Passed), Just(WrongBytes), Just(NoAnswer), Just(Offline), Just(Quarantined)]
}

/// Whether the machine's clock is two days off while an outcome is recorded.
fn jump() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(2 * DAY as i64), Just(-2 * (DAY as i64))]
}

proptest! {
    #[test]
    fn a_standing_follows_from_the_outcomes_alone(outcomes in prop::collection::vec((outcome(), any::<u64>()), 0..60)) {
        let (standing, _) = replay(&outcomes);
        prop_assert_eq!(standing, replay(&outcomes).0);
        let count = |wanted| outcomes.iter().filter(|(outcome, _)| *outcome == wanted).count() as u32;
        prop_assert_eq!(standing.passed(), count(Passed));
        prop_assert!(standing.failed() >= count(WrongBytes));
        prop_assert!(standing.failed() <= count(WrongBytes) + count(NoAnswer) / u32::from(UNANSWERED_MAX));
        prop_assert_eq!(standing.takes_new_data(), matches!(standing.state(), State::Good | State::Probation));
    }

    /// Attack 43: an honest provider that is away for less than two days in all keeps its standing
    /// when the owner's clock jumps by two days either way and back, at any time.
    #[test]
    fn attack_43_a_clock_jump_of_two_days_costs_a_provider_nothing(
        steps in prop::collection::vec(0..4 * 3600_u64, 1..40),
        away_from in 0..40_usize,
        jump_from in 0..40_usize,
        jump_for in 0..40_usize,
        jump in jump(),
    ) {
        let mut standing = Standing::default();
        let mut real = NOON;
        let mut away_since = None;
        for (at, step) in steps.iter().enumerate() {
            real += step;
            let jumped = at >= jump_from && at < jump_from.saturating_add(jump_for);
            let clock = if jumped { real.saturating_add_signed(jump) } else { real };
            let offline = at >= away_from && real - *away_since.get_or_insert(real) < 2 * DAY;
            let outcome = if offline { Offline } else { Passed };
            if at < away_from {
                away_since = None;
            }
            standing = standing.record(outcome, clock).0;
            prop_assert_eq!(standing.state(), State::Good);
            prop_assert_eq!(standing.failed(), 0);
        }
    }

    /// Attack 43, one step: whatever the two times are, one observation of absence is no absence.
    #[test]
    fn attack_43_no_single_gap_makes_a_provider_absent(first: u64, second: u64) {
        let (standing, _) = replay(&[(Passed, first), (Offline, first), (Offline, second)]);
        prop_assert_eq!(standing.state(), State::Good);
    }

    /// Attack 43 for the schedule: after a jump the next audit is drawn from the time that is, so
    /// neither direction makes audits pile up or stop for longer than the cap.
    #[test]
    fn attack_43_the_schedule_stays_within_the_cap(jump in jump(), draw: u64) {
        let now = NOON.saturating_add_signed(jump);
        let next = next_audit(now, DAY, draw);
        prop_assert!(next > now && next <= now + GAP_MEANS_MAX * DAY);
    }
}
