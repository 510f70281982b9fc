//! Health, missing chunks, the order of repairs and where they go.
#![allow(clippy::unwrap_used)]

mod people;

use std::collections::HashSet;

use commonhold_engine::audit::Standing;
use commonhold_engine::durability::{
    Health, HolderView, Mending, assess, missing, repair_order, repair_targets,
};
use commonhold_engine::placement::{Candidate, Subnet};
use commonhold_engine::policy::BuiltIn;
use commonhold_format::code::Code;
use commonhold_format::ids::NodeId;
use commonhold_format::policy::Moment;
use commonhold_format::statement::AuditOutcome;
use people::{DAY, NOON, candidate, candidates, node};
use proptest::prelude::*;

fn code(k: u8, n: u8) -> Code {
    Code::new(k, n).unwrap()
}

fn holder(index: u8, number: u16, last_seen: Option<u64>, lost: bool) -> HolderView {
    HolderView { index, node: node(number), last_seen, lost }
}

/// Six holders that were all just seen.
fn six() -> Vec<HolderView> {
    (0..6).map(|index| holder(index, index.into(), Some(NOON), false)).collect()
}

/// By the default policy.
fn placed(
    missing: &[u8],
    holders: &[HolderView],
    good: &[Candidate],
    candidates: &[Candidate],
    chunk_len: u64,
    seed: &[u8; 32],
) -> Vec<(u8, Option<NodeId>)> {
    let (now, code) = (Moment::default(), Code::new(2, 6).unwrap());
    let mending = Mending { now, code, chunk_len, seed };
    repair_targets(missing, holders, good, candidates, &mending, &BuiltIn)
}

#[test]
fn health_from_full_to_lost() {
    let health = |k, n| (0..=n).rev().map(|alive| assess(code(k, n), alive)).collect::<Vec<_>>();
    use Health::{Degraded, Full, Lost, Urgent};
    assert_eq!(health(2, 6), [Full, Degraded, Degraded, Urgent, Urgent, Lost, Lost]);
    assert_eq!(assess(code(10, 30), 16), Degraded);
    assert_eq!(assess(code(10, 30), 15), Urgent);
    assert_eq!(assess(code(20, 60), 31), Degraded);
    assert_eq!(assess(code(20, 60), 30), Urgent);
    assert_eq!(health(3, 3), [Full, Lost, Lost, Lost]);
}

#[test]
fn a_chunk_is_missing_when_its_holder_lost_it_or_was_not_seen_for_too_long() {
    let mut holders = six();
    holders[1].lost = true;
    holders[2].last_seen = Some(NOON - DAY - 1);
    holders[3].last_seen = None;
    holders[4].last_seen = Some(NOON - DAY);
    holders.remove(0);
    assert_eq!(missing(code(2, 6), &holders, DAY, NOON), [0, 1, 2, 3]);
    // With 0 seconds, holders count that are there right now.
    assert_eq!(missing(code(2, 6), &holders, 0, NOON), [0, 1, 2, 3, 4]);
    // A second holder makes up for the first.
    holders.push(holder(1, 9, Some(NOON), false));
    assert_eq!(missing(code(2, 6), &holders, DAY, NOON), [0, 2, 3]);
}

/// Attack 43: a clock that went back never makes a holder absent; one that went ahead does so only
/// to holders that nobody has reached since, and costs at most an early repair.
#[test]
fn attack_43_a_clock_jump_makes_no_reachable_holder_absent() {
    let mut holders = six();
    assert!(missing(code(2, 6), &holders, DAY, NOON - 2 * DAY).is_empty());
    for holder in &mut holders[..5] {
        holder.last_seen = Some(NOON + 2 * DAY);
    }
    assert_eq!(missing(code(2, 6), &holders, DAY, NOON + 2 * DAY), [5]);
}

#[test]
fn the_most_urgent_repair_comes_first_and_the_hopeless_last() {
    let mut segments = [
        ("hopeless", code(2, 6), 1),
        ("fine", code(2, 6), 6),
        ("near", code(10, 30), 11),
        ("nearest", code(2, 6), 2),
        ("also near", code(20, 60), 21),
        ("half", code(20, 60), 40),
        ("one off", code(20, 60), 19),
        ("gone", code(20, 60), 0),
    ];
    repair_order(&mut segments, |(_, code, alive)| (*code, *alive));
    let names: Vec<&str> = segments.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, ["nearest", "near", "also near", "fine", "half", "hopeless", "one off", "gone"]);
}

#[test]
fn a_damaged_chunk_goes_back_to_its_node_and_others_to_new_ones() {
    let mut holders = six();
    holders[1].lost = true; // damaged, its node answers
    holders[2].lost = true; // damaged, its node is gone
    holders[3].last_seen = Some(NOON - 30 * DAY);
    let all: Vec<Candidate> = [0, 1, 4, 5, 10, 11, 12].map(|n| candidate(n, n, 1 << 30, None)).into();
    let good: Vec<Candidate> = [0, 4, 5].map(|n| candidate(n, n, 1 << 30, None)).into();
    let gone = missing(code(2, 6), &holders, DAY, NOON);
    let targets = placed(&gone, &holders, &good, &all, 1000, &[1; 32]);
    assert_eq!(targets[0], (1, Some(node(1))));
    let rest: HashSet<_> = targets[1..].iter().map(|(_, target)| target.unwrap()).collect();
    assert_eq!(rest.len(), 2);
    assert!(rest.is_subset(&HashSet::from([node(10), node(11), node(12)])));
}

#[test]
fn a_damaged_chunk_does_not_go_back_to_a_node_without_room_or_standing() {
    let mut holders = six();
    holders[1].lost = true;
    let good: Vec<Candidate> = [0, 2, 3, 4, 5].map(|n| candidate(n, n, 1 << 30, None)).into();
    let targets = |again: Candidate, others: &[Candidate]| {
        let all = [&[again], others].concat();
        placed(&[1], &holders, &good, &all, 1000, &[1; 32])
    };
    let fine = candidate(1, 1, 1000, None);
    let full = candidate(1, 1, 999, None);
    let silent =
        Candidate { standing: Standing::default().record(AuditOutcome::NoAnswer, NOON).0, ..fine.clone() };
    let probation =
        Candidate { standing: Standing::default().record(AuditOutcome::WrongBytes, NOON).0, ..fine.clone() };
    let spare = candidate(7, 7, 1000, None);
    assert_eq!(targets(fine, &[]), [(1, Some(node(1)))]);
    assert_eq!(targets(probation, std::slice::from_ref(&spare)), [(1, Some(node(1)))]);
    assert_eq!(targets(full.clone(), &[]), [(1, None)]);
    assert_eq!(targets(full, std::slice::from_ref(&spare)), [(1, Some(node(7)))]);
    assert_eq!(targets(silent, &[spare]), [(1, Some(node(7)))]);
}

#[test]
fn nothing_is_relaxed_when_providers_are_short() {
    let holders: Vec<HolderView> = six()[..4].to_vec();
    let good: Vec<Candidate> = (0..4).map(|n| candidate(n, n, 1 << 30, None)).collect();
    // One new party, one that holds a chunk already, one without room.
    let mut all = good.clone();
    all.extend([
        candidate(10, 10, 1 << 30, None),
        candidate(11, 0, 1 << 30, None),
        candidate(12, 12, 5, None),
    ]);
    let targets = placed(&[4, 5], &holders, &good, &all, 1000, &[1; 32]);
    assert_eq!(targets, [(4, Some(node(10))), (5, None)]);
    assert_eq!(placed(&[4, 5], &holders, &good, &good, 1000, &[1; 32]), [(4, None), (5, None)]);
}

#[test]
fn a_holder_that_was_left_out_of_the_good_ones_gets_no_second_chunk() {
    let holders: Vec<HolderView> = six()[..5].to_vec();
    let all: Vec<Candidate> = (0..5).map(|n| candidate(n, n, 1 << 30, None)).collect();
    assert_eq!(placed(&[5], &holders, &[], &all, 1000, &[1; 32]), [(5, None)]);
}

#[test]
fn a_subnet_that_moved_together_is_seen() {
    // Since it got its chunk, the damaged chunk's node moved next to a good holder.
    let subnet = Some(Subnet::V4([81, 2, 69]));
    let mut holders = six();
    holders[1].lost = true;
    let good = [candidate(0, 0, 1 << 30, subnet)];
    let all = [candidate(0, 0, 1 << 30, subnet), candidate(1, 1, 1 << 30, subnet)];
    assert_eq!(placed(&[1], &holders, &good, &all, 1000, &[1; 32]), [(1, None)]);
}

fn views(n: u8) -> impl Strategy<Value = Vec<HolderView>> {
    let seen = prop::option::of(NOON - 3 * DAY..NOON + 3 * DAY);
    prop::collection::vec((0..n, 0..40_u16, seen, any::<bool>()), 0..usize::from(n) * 2).prop_map(|rows| {
        rows.into_iter().map(|(index, number, seen, lost)| holder(index, number, seen, lost)).collect()
    })
}

proptest! {
    #[test]
    fn a_segment_with_a_missing_chunk_is_never_full(
        (k, n, holders) in (1..=64_u8).prop_flat_map(|n| (1..=n, Just(n), views(n))),
        absent_after in 0..4 * DAY,
        now in NOON - 2 * DAY..NOON + 2 * DAY,
    ) {
        let code = code(k, n);
        let gone = missing(code, &holders, absent_after, now);
        let health = assess(code, n - gone.len() as u8);
        prop_assert_eq!(health == Health::Full, gone.is_empty());
        prop_assert_eq!(health == Health::Lost, usize::from(n) - gone.len() < usize::from(k));
        // A chunk counts as there only with a holder that has it and was seen lately.
        for index in (0..n).filter(|index| !gone.contains(index)) {
            let held = holders.iter().any(|it| {
                it.index == index && !it.lost && it.last_seen.is_some_and(|seen| seen + absent_after >= now)
            });
            prop_assert!(held);
        }
    }

    #[test]
    fn health_never_rises_when_a_chunk_is_lost(k in 1..=64_u8, more in 0..64_u8, alive in 1..=64_u8) {
        let n = k.saturating_add(more).min(64);
        prop_assert!(assess(code(k, n), alive - 1) >= assess(code(k, n), alive));
    }

    #[test]
    fn placed_keep_holders_apart_and_do_not_depend_on_order(
        all in candidates(0..30),
        holders in views(12),
        chunk_len in 0_u64..2_000_000,
        seed: [u8; 32],
        rotation in 0..30_usize,
    ) {
        let gone = missing(code(4, 12), &holders, DAY, NOON);
        let good: Vec<Candidate> = all
            .iter()
            .filter(|it| holders.iter().any(|h| h.node == it.node && !h.lost && !gone.contains(&h.index)))
            .cloned()
            .collect();
        let targets = placed(&gone, &holders, &good, &all, chunk_len, &seed);
        prop_assert_eq!(targets.iter().map(|(index, _)| *index).collect::<Vec<_>>(), gone.clone());
        let mut parties: HashSet<_> = good.iter().map(|it| it.party).collect();
        let mut subnets: HashSet<_> = good.iter().filter_map(|it| it.subnet).collect();
        for target in targets.iter().filter_map(|(_, target)| *target) {
            let it = all.iter().find(|it| it.node == target).unwrap();
            prop_assert!(it.free_bytes >= chunk_len && it.standing.takes_new_data());
            prop_assert!(parties.insert(it.party));
            prop_assert!(it.subnet.is_none_or(|subnet| subnets.insert(subnet)));
        }
        let mut turned = all.clone();
        turned.rotate_left(rotation.min(all.len()));
        prop_assert_eq!(targets, placed(&gone, &holders, &good, &turned, chunk_len, &seed));
    }
}
