//! Receipts: nothing goes down, amounts are exact, clocks pay nobody twice.
#![allow(clippy::unwrap_used)]

mod people;

use commonhold_engine::settlement::{
    OwnCount, SettlementFault, Total, byte_seconds, check_receipt, check_succession,
};
use commonhold_format::statement::{Contract, Receipt};
use people::{DAY, NOON, contract, contract_with_salt, id, price, receipt};
use proptest::prelude::*;

const SKEW: u64 = 600;

fn counted(receipt: &Receipt) -> OwnCount {
    OwnCount {
        byte_seconds: receipt.byte_seconds,
        egress_bytes: receipt.egress_bytes,
        audits_passed: receipt.audits_passed,
        audits_failed: receipt.audits_failed,
    }
}

fn check(previous: Option<&Receipt>, next: &Receipt) -> Result<(), SettlementFault> {
    check_receipt(&contract(), previous, next, &counted(next), next.until, SKEW)
}

fn pair() -> (Receipt, Receipt) {
    let it = contract();
    (receipt(&it, 1, NOON + DAY, 1 << 50, 3), receipt(&it, 2, NOON + 2 * DAY, 1 << 51, 4))
}

/// A change to a receipt that makes one total go down, and which.
type Decline = (Total, fn(&Receipt, &mut Receipt));

const DECLINES: [Decline; 6] = [
    (Total::ByteSeconds, |before, it| it.byte_seconds = before.byte_seconds - 1),
    (Total::EgressBytes, |before, it| it.egress_bytes = before.egress_bytes - 1),
    (Total::AuditsPassed, |before, it| it.audits_passed = before.audits_passed - 1),
    (Total::AuditsFailed, |before, it| it.audits_failed = before.audits_failed - 1),
    (Total::OwnerLedger, |before, it| it.owner_head.0 = before.owner_head.0 - 1),
    (Total::ProviderLedger, |before, it| it.provider_head.0 = before.provider_head.0 - 1),
];

#[test]
fn receipts_that_add_up_are_signed() {
    let (first, second) = pair();
    assert_eq!(check(None, &first), Ok(()));
    assert_eq!(check(Some(&first), &second), Ok(()));
    // Nothing happened in between: still a receipt.
    let same = Receipt { sequence: 2, ..first.clone() };
    assert_eq!(check(Some(&first), &same), Ok(()));
}

#[test]
fn attack_28_a_total_that_goes_down_is_refused() {
    let (mut first, second) = pair();
    first.audits_failed = 1;
    let with_failure = |mut it: Receipt| {
        it.audits_failed = 1;
        it
    };
    for (total, decline) in DECLINES {
        let mut next = with_failure(second.clone());
        decline(&first, &mut next);
        price(&contract(), &mut next);
        match check(Some(&first), &next) {
            Err(SettlementFault::WentDown { total: found, .. }) => assert_eq!(found, total),
            other => panic!("{total}: {other:?}"),
        }
    }
}

#[test]
fn attack_28_replayed_and_skipped_receipts_are_refused() {
    let it = contract();
    let receipts: Vec<Receipt> =
        (1..=4).map(|n| receipt(&it, n, NOON + n * DAY, u128::from(n) << 50, n)).collect();
    for (at, previous) in receipts.iter().enumerate() {
        for (other, next) in receipts.iter().enumerate().filter(|(other, _)| *other != at + 1) {
            assert!(
                matches!(check(Some(previous), next), Err(SettlementFault::Sequence { .. })),
                "{at} then {other}"
            );
        }
    }
    assert!(matches!(check(None, &receipts[1]), Err(SettlementFault::Sequence { expected: 1, found: 2 })));
    let mut zero = receipts[0].clone();
    zero.sequence = 0;
    assert!(check(None, &zero).is_err());
    let mut last = receipts[0].clone();
    last.sequence = u64::MAX;
    assert!(check(Some(&last), &zero).is_err());
    let foreign = receipt(&contract_with_salt(9), 1, NOON + DAY, 1, 1);
    assert!(matches!(check(None, &foreign), Err(SettlementFault::OtherContract { .. })));
    assert!(matches!(check(Some(&foreign), &receipts[1]), Err(SettlementFault::OtherContract { .. })));
}

#[test]
fn amounts_are_exact() {
    let (first, second) = pair();
    for wrong in [second.owed_microcredits + 1, second.owed_microcredits - 1, u64::MAX] {
        let next = Receipt { owed_microcredits: wrong, ..second.clone() };
        assert_eq!(
            check(Some(&first), &next),
            Err(SettlementFault::Amount { expected: second.owed_microcredits, found: wrong })
        );
    }
    let endless = Receipt { byte_seconds: u128::MAX, ..second };
    assert_eq!(check(Some(&first), &endless), Err(SettlementFault::Overflow));
}

#[test]
fn time_goes_forward_and_not_beyond_now_or_the_end() {
    let (first, second) = pair();
    let own = counted(&second);
    let at = |now| check_receipt(&contract(), Some(&first), &second, &own, now, SKEW);
    assert_eq!(at(second.until - SKEW), Ok(()));
    assert_eq!(
        at(second.until - SKEW - 1),
        Err(SettlementFault::Future { found: second.until, now: second.until - SKEW - 1 })
    );
    assert_eq!(at(u64::MAX), Ok(()));
    let early = Receipt { until: first.until - 1, ..second.clone() };
    assert_eq!(
        check(Some(&first), &early),
        Err(SettlementFault::Backwards { previous: first.until, found: first.until - 1 })
    );
    let ends = contract().ends;
    let late = Receipt { until: ends + 1, ..second.clone() };
    assert_eq!(check(Some(&first), &late), Err(SettlementFault::AfterEnd { found: ends + 1, ends }));
    assert_eq!(check(Some(&first), &Receipt { until: ends, ..second }), Ok(()));
}

#[test]
fn nothing_is_signed_that_was_not_counted() {
    let (first, second) = pair();
    let with = |change: fn(&mut OwnCount)| {
        let mut own = counted(&second);
        change(&mut own);
        match check_receipt(&contract(), Some(&first), &second, &own, second.until, SKEW) {
            Ok(()) => None,
            Err(SettlementFault::NotCounted { total, .. }) => Some(total),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(with(|own| own.byte_seconds -= 1), Some(Total::ByteSeconds));
    assert_eq!(with(|own| own.egress_bytes -= 1), Some(Total::EgressBytes));
    assert_eq!(with(|own| own.audits_passed -= 1), Some(Total::AuditsPassed));
    assert_eq!(with(|own| own.audits_failed += 1), Some(Total::AuditsFailed));
    // More was counted than is claimed: the rest comes later.
    assert_eq!(with(|own| own.byte_seconds += 1), None);
}

#[test]
fn attack_32_a_ledger_with_two_roots_of_one_size_is_refused() {
    let (first, second) = pair();
    let owner = Receipt { owner_head: (first.owner_head.0, id(99)), ..second.clone() };
    assert_eq!(check(Some(&first), &owner), Err(SettlementFault::Forked { total: Total::OwnerLedger }));
    let provider = Receipt { provider_head: (first.provider_head.0, id(99)), ..second.clone() };
    assert_eq!(check(Some(&first), &provider), Err(SettlementFault::Forked { total: Total::ProviderLedger }));
    let unmoved = Receipt { owner_head: first.owner_head, provider_head: first.provider_head, ..second };
    assert_eq!(check(Some(&first), &unmoved), Ok(()));
}

#[test]
fn byte_seconds_follow_the_clock_forward_only_and_end_with_the_contract() {
    assert_eq!(byte_seconds(5, 10, NOON, NOON + 3, u64::MAX), 35);
    assert_eq!(byte_seconds(5, 10, NOON, NOON - 3, u64::MAX), 5);
    assert_eq!(byte_seconds(5, 10, NOON, NOON + 30, NOON + 3), 35);
    assert_eq!(byte_seconds(5, 10, NOON + 9, NOON + 30, NOON + 3), 5);
    assert_eq!(byte_seconds(u128::MAX, u64::MAX, 0, u64::MAX, u64::MAX), u128::MAX);
}

/// The provider's side: a receipt from its own clock, as the next after `previous`.
fn drawn(it: &Contract, previous: Option<&Receipt>, held: u64, clock: u64) -> Receipt {
    let until = clock.max(previous.map_or(0, |it| it.until)).min(it.ends);
    let sequence = previous.map_or(0, |it| it.sequence) + 1;
    receipt(it, sequence, until, byte_seconds(0, held, it.starts, until, it.ends), 0)
}

proptest! {
    #[test]
    fn attack_28_whatever_is_accepted_takes_nothing_back(
        before in (0..50_u128, 0..50_u64, 0..50_u64, 0..50_u64, 0..50_u64),
        after in (0..50_u128, 0..50_u64, 0..50_u64, 0..50_u64, 0..50_u64),
        (heads_before, heads_after) in ((0..9_u64, 0..9_u64), (0..9_u64, 0..9_u64)),
        sequences in (1..4_u64, 0..6_u64),
        off in -1..2_i64,
        now in NOON - 700..NOON + 700,
    ) {
        let it = contract();
        let make = |(bytes, egress, passed, failed, until): (u128, u64, u64, u64, u64), heads: (u64, u64), sequence| {
            let mut made = receipt(&it, sequence, NOON + until, bytes << 40, passed);
            made.egress_bytes = egress << 25;
            made.audits_failed = failed;
            made.owner_head = (heads.0, id(heads.0 as u16));
            made.provider_head = (heads.1, id(heads.1 as u16));
            price(&it, &mut made);
            made
        };
        let previous = make(before, heads_before, sequences.0);
        let mut next = make(after, heads_after, sequences.1);
        next.owed_microcredits = next.owed_microcredits.saturating_add_signed(off);
        let exact = it.prices.amount_due(next.byte_seconds, next.egress_bytes, next.audits_passed);
        let expected = sequences.1 == sequences.0 + 1
            && after.0 >= before.0
            && after.1 >= before.1
            && after.2 >= before.2
            && after.3 >= before.3
            && after.4 >= before.4
            && heads_after.0 >= heads_before.0
            && heads_after.1 >= heads_before.1
            && exact == Some(next.owed_microcredits)
            && next.owed_microcredits >= previous.owed_microcredits
            && next.until <= now + SKEW;
        let accepted = check_receipt(&it, Some(&previous), &next, &counted(&next), now, SKEW);
        prop_assert_eq!(accepted.is_ok(), expected, "{:?}", accepted);
        if next.until <= now + SKEW {
            prop_assert_eq!(check_succession(&it, Some(&previous), &next).is_ok(), expected);
        }
    }

    /// Attack 43: owner and provider settle again and again while either clock jumps by two days and
    /// comes back. No receipt covers time that has not passed on the owner's clock, and once both are
    /// right the amount is exact: nothing was paid twice.
    #[test]
    fn attack_43_clock_jumps_pay_nobody_twice(
        steps in prop::collection::vec((1..DAY, -1..2_i64, -1..2_i64), 1..20),
        held in 1..1_u64 << 30,
    ) {
        let it = Contract { ends: NOON + 1000 * DAY, ..contract() };
        let mut last: Option<Receipt> = None;
        let mut real = NOON + 3 * DAY;
        let settle = |last: &mut Option<Receipt>, provider: u64, owner: u64| {
            let next = drawn(&it, last.as_ref(), held, provider);
            let own = OwnCount {
                byte_seconds: byte_seconds(0, held, it.starts, next.until, it.ends),
                egress_bytes: u64::MAX,
                ..OwnCount::default()
            };
            if check_receipt(&it, last.as_ref(), &next, &own, owner, SKEW).is_ok() {
                *last = Some(next);
            }
        };
        for (step, provider_jump, owner_jump) in steps {
            real += step;
            let provider = real.saturating_add_signed(provider_jump * 2 * DAY as i64);
            let owner = real.saturating_add_signed(owner_jump * 2 * DAY as i64);
            let before = last.clone();
            settle(&mut last, provider, owner);
            if let Some(it) = last.as_ref().filter(|_| last != before) {
                // Both signed it, so neither clock was before its end.
                prop_assert!(it.until <= owner + SKEW && (it.until <= provider || before.is_some()));
                prop_assert_eq!(it.byte_seconds, u128::from(held) * u128::from(it.until - NOON));
            }
        }
        // The clocks are right again, and later than what any jump can have put into a receipt.
        real += 2 * DAY + SKEW;
        settle(&mut last, real, real);
        let last = last.unwrap();
        prop_assert_eq!(last.until, real);
        prop_assert_eq!(last.byte_seconds, u128::from(held) * u128::from(real - NOON));
        let due = it.prices.amount_due(last.byte_seconds, last.egress_bytes, 0);
        prop_assert_eq!(Some(last.owed_microcredits), due);
    }
}
