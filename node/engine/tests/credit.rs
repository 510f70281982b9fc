//! Credit: what is covered, what is a gift, who is stopped, and that nobody gets more than the caps,
//! whatever they sign among themselves.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use commonhold_engine::credit::{
    Advice, CreditRules, Debt, Debts, Line, Signing, Stop, stopped, storage_price,
};
use commonhold_format::ids::PartyId;
use commonhold_format::statement::{AMOUNT_MAX, Prices};
use proptest::prelude::*;

const GIFT: u64 = 1_000;
/// What policies may answer for.
const TRUST: u64 = 700;
const WEEK: u64 = 7 * 86_400;

fn party(n: u8) -> PartyId {
    PartyId([n; 32])
}

fn rules(trusted: &[(u8, u64)]) -> CreditRules {
    let trusted = trusted.iter().map(|(n, limit)| (party(*n), *limit)).collect();
    CreditRules { gift_microcredits: GIFT, epoch_seconds: WEEK, trusted, policy_trust_max: TRUST }
}

fn owes(account: i128) -> Debt {
    Debt { account, ..Debt::default() }
}

fn debts(rules: CreditRules, debts: &[(u8, i128)], lines: &[(u8, u8, u64)]) -> Debts {
    let line =
        |(g, d, limit): &(u8, u8, u64)| Line { guarantor: party(*g), debtor: party(*d), limit: *limit };
    Debts {
        rules,
        debts: debts.iter().map(|(n, owed)| (party(*n), owes(*owed))).collect(),
        lines: lines.iter().map(line).collect(),
        ..Debts::default()
    }
}

fn advice(all: &[(u8, u64, u64)]) -> BTreeMap<PartyId, Advice> {
    all.iter()
        .map(|(n, trust, gift_max)| (party(*n), Advice { trust: *trust, gift_max: *gift_max }))
        .collect()
}

#[test]
fn a_newcomer_earns_pays_ahead_or_shares_the_gifts() {
    let all = debts(rules(&[(3, 500)]), &[(1, -2_000), (2, 0)], &[]);
    // Earned or paid ahead, and the gifts; nothing but gifts; the operator's word and gifts.
    assert_eq!(all.headroom(&party(1)), 3_000);
    assert_eq!(all.headroom(&party(2)), 1_000);
    assert_eq!(all.headroom(&party(3)), 1_500);
    assert_eq!(all.headroom(&party(99)), 1_000);
}

#[test]
fn attack_33_a_thousand_identities_get_one_budget() {
    let mut all = Debts { rules: rules(&[]), ..Debts::default() };
    let mut given = 0;
    for n in 0..1_000u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let stranger = PartyId(id);
        for _ in 0..3 {
            if all.allows(&stranger, 7) {
                all.debts.entry(stranger).or_default().account += 7;
                given += 7;
            }
        }
    }
    assert_eq!(given, GIFT - GIFT % 7);
    // The next epoch gives as much again.
    let weighed = all.weigh();
    all.before = weighed.iter().map(|(party, credit)| (*party, credit.uncovered)).collect();
    assert_eq!(all.headroom(&party(99)), GIFT);
}

/// One by one by bisection, this would take hours.
#[test]
fn the_headrooms_of_ten_thousand_strangers_are_found_at_once() {
    let mut all = Debts { rules: rules(&[]), ..Debts::default() };
    for n in 0..10_000u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        all.debts.insert(PartyId(id), owes(if n < 300 { 1 } else { 0 }));
    }
    let headrooms = all.headrooms();
    assert_eq!(headrooms.len(), 10_000);
    assert!(headrooms.values().all(|it| *it == GIFT - 300));
}

#[test]
fn a_trust_line_is_worth_what_its_guarantor_is_worth_here() {
    let all = debts(rules(&[(1, 100)]), &[(2, -300)], &[(1, 5, 1_000), (2, 5, 200), (3, 5, 9_999)]);
    // 100 of 1 whom the operator trusts, 200 of the 300 that 2 earned, nothing of a stranger.
    assert_eq!(all.headroom(&party(5)), 300 + GIFT);
    // What a guarantor stands for, it cannot spend.
    let used = debts(rules(&[(1, 100)]), &[(2, -300), (5, 300)], &[(1, 5, 1_000), (2, 5, 200)]);
    assert_eq!(used.weigh()[&party(5)].guaranteed, 300);
    assert_eq!(used.headroom(&party(1)), GIFT);
    assert_eq!(used.headroom(&party(2)), 100 + GIFT);
}

#[test]
fn attack_34_strangers_who_answer_for_each_other_have_nothing() {
    let circle = debts(rules(&[]), &[(1, 0), (2, 0), (3, 0)], &[(1, 2, 9_000), (2, 3, 9_000), (3, 1, 9_000)]);
    for n in 1..=3 {
        assert_eq!(circle.headroom(&party(n)), GIFT);
    }
    // A line is not lent on.
    let chain = debts(rules(&[(1, 500)]), &[], &[(1, 2, 500), (2, 3, 500)]);
    assert_eq!(chain.headroom(&party(3)), GIFT);
}

#[test]
fn what_may_be_held_back_is_cover_and_backs_nobody() {
    let mut all = debts(rules(&[]), &[], &[(1, 2, 500)]);
    all.debts.insert(party(1), Debt { hold: 300, ..Debt::default() });
    assert_eq!(all.headroom(&party(1)), 300 + GIFT);
    assert_eq!(all.headroom(&party(2)), GIFT);
}

#[test]
fn a_policy_answers_for_what_nobody_else_does_and_for_no_more_than_it_may() {
    let mut all = debts(rules(&[(1, 100)]), &[(1, 400), (2, 400), (3, 400)], &[]);
    all.debts.insert(party(4), owes(-1_000));
    all.lines.push(Line { guarantor: party(4), debtor: party(2), limit: 50 });
    all.advice = advice(&[(1, 9_000, GIFT), (2, 200, GIFT), (3, 5_000, GIFT)]);
    let weighed = all.weigh();
    // In the order of parties: 300, then 200 of 350, then what is left of 700.
    let stood = |n| (weighed[&party(n)].policy, weighed[&party(n)].uncovered);
    assert_eq!([stood(1), stood(2), stood(3)], [(300, 0), (200, 150), (200, 200)]);
    // Without the operator's leave it answers for nobody.
    all.rules.policy_trust_max = 0;
    assert!(all.weigh().values().all(|it| it.policy == 0));
    assert_eq!(all.weigh(), Debts { advice: BTreeMap::new(), ..all.clone() }.weigh());
}

#[test]
fn attack_34_what_a_policy_answers_for_backs_no_line() {
    let mut all = debts(rules(&[]), &[(1, 0), (2, 0)], &[(1, 2, 9_000)]);
    all.advice = advice(&[(1, 9_000, GIFT)]);
    assert_eq!(all.headroom(&party(1)), TRUST + GIFT);
    assert_eq!(all.headroom(&party(2)), GIFT);
}

#[test]
fn a_policy_bounds_what_one_party_uses_of_the_gifts() {
    let mut all = debts(rules(&[]), &[(1, 0), (2, 300), (3, 500)], &[]);
    all.advice = advice(&[(1, 0, 100), (2, 0, 250), (4, 0, 0)]);
    assert_eq!([1, 2, 3, 4, 5].map(|n| all.headroom(&party(n))), [100, 0, 200, 0, 200]);
    // Who uses more than it may is over the limit, and nobody else is.
    assert_eq!([1, 2, 3].map(|n| all.weigh()[&party(n)].over), [false, true, false]);
    // Paying is never refused, nor is what changes nothing.
    assert!(all.allows(&party(2), 0) && !all.allows(&party(2), 1));
    // What was owed when the epoch began is no gift of this one.
    all.before = BTreeMap::from([(party(2), 300)]);
    assert_eq!((all.headroom(&party(2)), all.weigh()[&party(2)].over), (250, false));
}

#[test]
fn an_owner_that_does_not_sign_is_stopped_after_one_epoch() {
    let rules = rules(&[]);
    let all = debts(rules.clone(), &[(1, 100)], &[]);
    let credit = all.weigh()[&party(1)];
    let signing = |since, unsigned| Signing { signed_until: since, unsigned };
    let at = |signing, now| stopped(&rules, &signing, &credit, now);
    assert_eq!(at(signing(Some(10), 5), 10 + WEEK), None);
    assert_eq!(at(signing(Some(10), 5), 11 + WEEK), Some(Stop::Unsigned { since: 10 }));
    // Nothing new is owed; or nothing was stored yet; or a clock went back.
    assert_eq!(at(signing(Some(10), 0), 11 + WEEK), None);
    assert_eq!(at(signing(None, 0), 11 + WEEK), None);
    assert_eq!(at(signing(Some(10 + WEEK), 5), 0), None);
    // Paid ahead.
    let paid = debts(rules.clone(), &[(1, -1)], &[]);
    let credit = paid.weigh()[&party(1)];
    assert_eq!(stopped(&rules, &signing(Some(10), 5), &credit, 11 + WEEK), None);
}

#[test]
fn an_owner_beyond_its_limit_is_stopped_when_the_gifts_are_used_up() {
    let rules = rules(&[(2, 5_000)]);
    let all = debts(rules.clone(), &[(1, 1_001), (2, 4_000)], &[]);
    let signed = Signing { signed_until: Some(10), unsigned: 0 };
    let verdict = |n| stopped(&rules, &signed, &all.weigh()[&party(n)], 11);
    assert_eq!(verdict(1), Some(Stop::OverLimit { owed: 1_001 }));
    assert_eq!(verdict(2), None);
}

#[test]
fn an_owner_whose_cover_runs_out_stops_itself_and_nobody_else() {
    let rules = rules(&[]);
    let signed = Signing { signed_until: Some(10), unsigned: 0 };
    let verdicts = |owed: &[(u8, i128)]| -> Vec<bool> {
        let all = debts(rules.clone(), owed, &[]).weigh();
        all.values().map(|it| stopped(&rules, &signed, it, 11).is_some()).collect()
    };
    // The last was granted much for what it had paid ahead, and has used that up.
    assert_eq!(verdicts(&[(1, 300), (2, 700), (3, 90_000)]), [false, false, true]);
    assert_eq!(verdicts(&[(1, 300), (2, 701), (3, 90_000)]), [false, true, true]);
    assert_eq!(verdicts(&[(1, -5), (2, 0), (3, 1_000)]), [false, false, false]);
}

#[test]
fn audits_of_this_epoch_are_owed_and_take_nothing_of_the_gifts() {
    let mut all = debts(rules(&[]), &[(1, 0)], &[(2, 1, 500)]);
    all.debts.insert(party(2), Debt { account: 9_700, audits: 10_000, ..Debt::default() });
    all.debts.insert(party(1), owes(300));
    // Nor do they take from those for whom a guarantor stands.
    assert_eq!((all.spent(), all.weigh()[&party(1)].guaranteed), (0, 300));
}

#[test]
fn keeping_has_a_price_that_is_never_rounded_to_nothing() {
    let prices = Prices::default();
    assert_eq!(storage_price(&prices, 0, WEEK), 0);
    assert_eq!(storage_price(&prices, 1, 1), 1);
    assert_eq!(storage_price(&prices, 1 << 30, 30 * 86_400), 1_000_001);
    assert_eq!(storage_price(&prices, u64::MAX, u64::MAX), u64::MAX);
}

prop_compose! {
    fn any_debts()(
        owed in prop::collection::btree_map(0u8..8, (-3_000i128..3_000, 0u64..500, 0u64..500, 0u64..300), 0..8),
        trusted in prop::collection::btree_map(0u8..8, 0u64..2_000, 0..4),
        lines in prop::collection::vec((0u8..8, 0u8..8, 0u64..3_000), 0..12),
        before in prop::collection::btree_map(0u8..8, 0i128..2_000, 0..6),
        advised in prop::collection::vec((0u8..9, 0u64..2_000, 0u64..2_000), 0..5),
    ) -> Debts {
        let debt = |(account, unsigned, ahead, hold)| Debt { account, unsigned, ahead, hold, audits: 0 };
        Debts {
            rules: rules(&trusted.into_iter().collect::<Vec<_>>()),
            debts: owed.into_iter().map(|(n, it)| (party(n), debt(it))).collect(),
            lines: lines
                .into_iter()
                .filter(|(g, d, _)| g != d)
                .map(|(g, d, limit)| Line { guarantor: party(g), debtor: party(d), limit })
                .collect(),
            before: before.into_iter().map(|(n, it)| (party(n), it)).collect(),
            advice: advice(&advised),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_counted_twice(all in any_debts()) {
        let weighed = all.weigh();
        let sum = |of: fn(&commonhold_engine::credit::Credit) -> i128| weighed.values().map(of).sum::<i128>();
        prop_assert_eq!(sum(|it| it.lent), sum(|it| it.guaranteed));
        prop_assert!(sum(|it| it.policy) <= i128::from(TRUST));
        for (party, it) in &weighed {
            prop_assert!(it.uncovered >= 0 && it.lent >= 0 && it.guaranteed >= 0 && it.gift >= 0);
            // All of the exposure is covered by somebody or uncovered.
            prop_assert_eq!((it.exposure - it.own).max(0), it.guaranteed + it.policy + it.uncovered);
            let trust = all.advice.get(party).map_or(0, |it| it.trust);
            prop_assert!((0..=i128::from(trust)).contains(&it.policy));
            // A guarantor stands for no more than it could still owe, holds left out.
            let trusted = i128::from(all.rules.trusted.get(party).copied().unwrap_or(0));
            prop_assert!(it.lent == 0 || it.lent <= trusted - it.exposure.min(0) );
        }
    }

    #[test]
    fn the_headroom_is_what_is_allowed_and_no_more(all in any_debts(), n in 0u8..9) {
        let party = party(n);
        let headroom = all.headroom(&party);
        prop_assert!(all.allows(&party, headroom));
        prop_assert!(!all.allows(&party, headroom + 1));
        if all.lines.len() < 3 {
            prop_assert!(all.headrooms().get(&party).is_none_or(|it| *it == headroom));
        }
        // Whoever uses it leaves no more for others than the budget.
        let mut after = all.clone();
        after.debts.entry(party).or_default().account += i128::from(headroom);
        prop_assert!(after.spent() <= i128::from(GIFT).max(all.spent()));
        // Nor does anybody's part of the gifts become more than it may be.
        let before = all.weigh();
        for (party, it) in after.weigh() {
            let most = all.advice.get(&party).map_or(i128::MAX, |it| it.gift_max.into());
            prop_assert!(it.gift <= most.max(before.get(&party).map_or(0, |it| it.gift)));
        }
    }

    /// However a policy changes its mind, and whoever asks for how much in which order.
    #[test]
    fn attack_33_in_an_epoch_nobody_gives_more_than_the_budget_and_what_policies_may_answer_for(
        began in any_debts(),
        steps in prop::collection::vec((prop::collection::vec((0u8..9, 0u64..2_000, 0u64..2_000), 0..5), 0u8..9, 0u64..900), 1..12),
    ) {
        let began = Debts { before: BTreeMap::new(), ..began };
        let mut now = began.clone();
        // What nobody stands for when the policy does not.
        let bare = |it: &Debts| -> i128 {
            Debts { advice: BTreeMap::new(), ..it.clone() }.weigh().values().map(|it| it.uncovered).sum()
        };
        for (advised, n, more) in steps {
            now.advice = advice(&advised);
            let stood = Debts { advice: now.advice.clone(), ..began.clone() }.weigh();
            now.before = stood.into_iter().map(|(party, it)| (party, it.uncovered)).collect();
            if now.allows(&party(n), more) {
                now.debts.entry(party(n)).or_default().account += i128::from(more);
            }
            let most = i128::from(GIFT + TRUST);
            prop_assert!(bare(&now) - bare(&began) <= most, "{} {}", bare(&now), bare(&began));
        }
    }

    /// What the default says changes nothing.
    #[test]
    fn advice_without_trust_and_bound_is_none(all in any_debts(), n in 0u8..9) {
        let none = Debts { advice: BTreeMap::new(), ..all.clone() };
        let default = (0..9).map(|n| (party(n), Advice { trust: 0, gift_max: AMOUNT_MAX })).collect();
        let default = Debts { advice: default, ..all };
        prop_assert_eq!(none.weigh(), default.weigh());
        prop_assert_eq!(none.headroom(&party(n)), default.headroom(&party(n)));
    }

    #[test]
    fn more_debt_is_never_less_spent(all in any_debts(), n in 0u8..9, more in 1u64..2_000) {
        let mut after = all.clone();
        after.debts.entry(party(n)).or_default().account += i128::from(more);
        let (before, after) = (all.spent(), after.spent());
        prop_assert!(before <= after && after <= before + i128::from(more), "{} {}", before, after);
    }
}
