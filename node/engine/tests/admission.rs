//! What a provider admits, and the code with which it refuses.
#![allow(clippy::unwrap_used)]

mod people;

use commonhold_engine::admission::{
    AdmissionRules, CLOCK_SKEW_SECONDS_DEFAULT, Capacity, Denied, admit_contract, admit_revision,
};
use commonhold_format::ids::PartyId;
use commonhold_format::statement::{Contract, Prices, Revision};
use commonhold_format::wire::Refusal;
use people::{DAY, NOON, contract, id, node, revision};
use proptest::prelude::*;

fn rules() -> AdmissionRules {
    AdmissionRules {
        prices: Prices::default(),
        term_seconds_max: 30 * DAY,
        clock_skew_seconds_max: CLOCK_SKEW_SECONDS_DEFAULT,
        contract_bytes_max: 2 << 30,
        hold_microcredits_max: 500,
    }
}

fn admit(change: impl FnOnce(&mut Contract)) -> Result<(), Refusal> {
    let mut it = contract();
    change(&mut it);
    let capacity = Capacity { allotted_bytes: 4 << 30, used_bytes: 2 << 30, promised_bytes: 1 << 30 };
    admit_contract(&it, (PartyId(id(2)), node(3)), &rules(), &capacity, NOON).map_err(|denied| {
        assert!(!denied.to_string().is_empty());
        denied.refusal()
    })
}

fn follow(previous: Option<&Revision>, next: &Revision, now: u64) -> Result<(), Refusal> {
    admit_revision(&contract(), previous, next, &rules(), now).map_err(|denied| denied.refusal())
}

#[test]
fn a_contract_on_the_providers_terms_is_admitted() {
    assert_eq!(admit(|_| {}), Ok(()));
    assert_eq!(admit(|it| it.prices.audit_microcredits += 1), Ok(()));
    assert_eq!(admit(|it| it.starts = NOON + 600), Ok(()));
    assert_eq!(admit(|it| it.hold_microcredits = 500), Ok(()));
}

#[test]
fn contracts_are_refused_for_what_is_wrong_with_them() {
    use Refusal::{Clock, Full, Invalid, Terms};
    assert_eq!(admit(|it| it.provider = PartyId(id(9))), Err(Invalid));
    assert_eq!(admit(|it| it.node = node(9)), Err(Invalid));
    assert_eq!(admit(|it| it.ends = it.starts), Err(Invalid));
    assert_eq!(admit(|it| it.ends = it.starts - 1), Err(Invalid));
    assert_eq!(admit(|it| it.bytes_max = 0), Err(Invalid));
    assert_eq!(admit(|it| it.audit_interval_seconds = 0), Err(Invalid));
    assert_eq!(admit(|it| it.prices.storage_microcredits_per_gib_month -= 1), Err(Terms));
    assert_eq!(admit(|it| it.prices.egress_microcredits_per_gib -= 1), Err(Terms));
    assert_eq!(admit(|it| it.prices.audit_microcredits -= 1), Err(Terms));
    assert_eq!(admit(|it| it.ends += 1), Err(Terms));
    assert_eq!(admit(|it| it.hold_microcredits = 501), Err(Terms));
    assert_eq!(admit(|it| it.bytes_max = (2 << 30) + 1), Err(Terms));
    assert_eq!(admit(|it| it.bytes_max = (1 << 30) + 1), Err(Full));
    assert_eq!(admit(|it| (it.starts, it.ends) = (NOON - 601, NOON + DAY)), Err(Clock));
    assert_eq!(admit(|it| (it.starts, it.ends) = (NOON + 601, NOON + DAY)), Err(Clock));
    assert_eq!(admit(|it| (it.starts, it.ends) = (NOON - 60, NOON)), Err(Terms));
}

#[test]
fn refusals_say_what_to_do() {
    let capacity = Capacity { allotted_bytes: 10, used_bytes: 20, promised_bytes: 0 };
    let denied =
        admit_contract(&contract(), (PartyId(id(2)), node(3)), &rules(), &capacity, NOON).unwrap_err();
    assert_eq!(denied, Denied::NoRoom { asked: 1 << 30, free: 0 });
    assert_eq!(
        denied.to_string(),
        "the contract asks for 1073741824 bytes and 0 are free: ask for at most that"
    );
}

#[test]
fn revisions_follow_each_other() {
    let it = contract();
    let first = revision(&it, 1, 10, NOON + 5);
    let second = revision(&it, 2, 12, NOON + 5);
    assert_eq!(follow(None, &first, NOON + 5), Ok(()));
    assert_eq!(follow(Some(&first), &second, NOON + 5), Ok(()));
    // Everything removed.
    assert_eq!(follow(Some(&first), &revision(&it, 2, 0, NOON + 6), NOON + 6), Ok(()));
}

#[test]
fn attack_28_a_replayed_or_skipped_revision_is_refused() {
    let it = contract();
    let revisions: Vec<Revision> = (1..=3).map(|n| revision(&it, n, n, NOON + n)).collect();
    for (at, previous) in revisions.iter().enumerate() {
        for (other, next) in revisions.iter().enumerate() {
            let expected = if other == at + 1 { Ok(()) } else { Err(Refusal::Conflict) };
            assert_eq!(follow(Some(previous), next, NOON + 5), expected, "{at} then {other}");
        }
    }
    assert_eq!(follow(None, &revisions[1], NOON + 5), Err(Refusal::Conflict));
    assert_eq!(follow(None, &revision(&it, 0, 1, NOON), NOON), Err(Refusal::Conflict));
    let last = revision(&it, u64::MAX, 1, NOON);
    assert_eq!(follow(Some(&last), &revision(&it, 0, 1, NOON), NOON), Err(Refusal::Conflict));
}

#[test]
fn revisions_are_refused_for_what_is_wrong_with_them() {
    let it = contract();
    let first = revision(&it, 1, 10, NOON + 100);
    let next = |change: fn(&mut Revision)| {
        let mut next = revision(&it, 2, 10, NOON + 100);
        change(&mut next);
        follow(Some(&first), &next, NOON + 100)
    };
    use Refusal::{Clock, Invalid, OverContract, Terms};
    assert_eq!(next(|_| {}), Ok(()));
    assert_eq!(next(|it| it.contract.0[0] ^= 1), Err(Invalid));
    assert_eq!(next(|it| it.held_chunks = 11), Err(Invalid));
    assert_eq!(next(|it| it.held_chunks = 0), Err(Invalid));
    assert_eq!(next(|it| it.held_bytes = 9), Err(Invalid));
    assert_eq!(next(|it| it.span = 9_999), Err(Invalid));
    assert_eq!(next(|it| it.time -= 1), Err(Clock));
    assert_eq!(next(|it| it.time += 601), Err(Clock));
    let large = |it: &mut Revision| {
        (it.held_bytes, it.span, it.held_chunks, it.entries) = ((1 << 30) + 1, 2 << 30, 2000, 2000)
    };
    assert_eq!(next(large), Err(OverContract));
    let late = revision(&it, 2, 10, it.ends);
    assert_eq!(follow(Some(&first), &late, it.ends), Err(Terms));
    let alien = Revision { contract: people::contract_with_salt(7).id(), ..first.clone() };
    assert_eq!(follow(Some(&alien), &revision(&it, 2, 10, NOON + 100), NOON + 100), Err(Invalid));
}

proptest! {
    /// Attack 43: on a provider whose clock is two days off, a revision is refused as a matter of
    /// clocks, with nothing held against anybody, and goes through when the clock is right again.
    #[test]
    fn attack_43_a_clock_jump_refuses_and_heals(back: bool, step in 0..600_u64) {
        let it = contract();
        let first = revision(&it, 1, 1, NOON + 3 * DAY);
        let next = revision(&it, 2, 2, NOON + 3 * DAY + step);
        let now = NOON + 3 * DAY + step;
        let jumped = if back { now - 2 * DAY } else { now + 2 * DAY };
        prop_assert_eq!(follow(Some(&first), &next, jumped), Err(Refusal::Clock));
        prop_assert_eq!(follow(Some(&first), &next, now), Ok(()));
    }

    /// Whatever is admitted is within the disk, the price, the term and the skew.
    #[test]
    fn what_is_admitted_is_within_the_rules(
        (allotted, used, promised, bytes) in (0..100_u64, 0..100_u64, 0..100_u64, 0..100_u64),
        price in 999_998..1_000_003_u64,
        (starts, term) in (NOON - 700..NOON + 700, 0..31 * DAY),
    ) {
        let mut it = contract();
        it.bytes_max = bytes;
        it.prices.storage_microcredits_per_gib_month = price;
        (it.starts, it.ends) = (starts, starts + term);
        let capacity = Capacity { allotted_bytes: allotted, used_bytes: used, promised_bytes: promised };
        let admitted = admit_contract(&it, (PartyId(id(2)), node(3)), &rules(), &capacity, NOON).is_ok();
        let expected = bytes > 0
            && bytes + used + promised <= allotted
            && price >= 1_000_000
            && starts.abs_diff(NOON) <= 600
            && term > 0
            && term <= 30 * DAY
            && starts + term > NOON;
        prop_assert_eq!(admitted, expected);
    }
}
