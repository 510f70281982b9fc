//! Placement by policies of others: whatever they answer, the node's own rules hold, and a policy is
//! asked once.
#![allow(clippy::unwrap_used)]

mod people;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use commonhold_engine::durability::{HolderView, Mending, repair_targets};
use commonhold_engine::placement::{Candidate, Need, Placing, Subnet, TooFewProviders, choose_code};
use commonhold_engine::policy::BuiltIn;
use commonhold_format::code::Code;
use commonhold_format::ids::NodeId;
use commonhold_format::policy::{self, Answer, CodeAnswer, Moment, Policy, Purpose, Question};
use people::{candidate, candidates, node};
use proptest::prelude::*;

const NOW: Moment = Moment { unix_seconds: 1_790_000_000, minute_of_week: 600 };

/// A policy made of a function, with the questions that it was asked.
struct Custom<F> {
    answer: F,
    asked: Mutex<Vec<Question>>,
}

impl<F: Fn(&Question) -> Answer + Send + Sync> Custom<F> {
    fn new(answer: F) -> Self {
        Self { answer, asked: Mutex::default() }
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

impl<F: Fn(&Question) -> Answer + Send + Sync> Policy for Custom<F> {
    fn answer(&self, question: &Question) -> Answer {
        self.asked.lock().unwrap().push(question.clone());
        (self.answer)(question)
    }
}

fn need(holders: usize, chunk_len: u64) -> Need {
    Need { now: NOW, purpose: Purpose::Use, code: Code::new(2, 6).unwrap(), holders, chunk_len }
}

/// Ranks by a key, smallest first, those for whom there is one.
fn by<K: Ord>(
    key: impl Fn(&policy::Candidate) -> Option<K> + Send + Sync,
) -> Custom<impl Fn(&Question) -> Answer + Send + Sync> {
    Custom::new(move |question: &Question| {
        let Question::Rank(ask) = question else { return BuiltIn.answer(question) };
        let keyed = (0..).zip(&ask.candidates);
        let mut order: Vec<(K, u32)> = keyed.filter_map(|(at, it)| Some((key(it)?, at))).collect();
        order.sort();
        Answer::Ranking(order.into_iter().map(|(_, at)| at).collect())
    })
}

#[test]
fn the_policys_order_is_followed_and_it_is_asked_once() {
    let mut all: Vec<Candidate> = (0..8).map(|n| candidate(n, n, 1 << 30, None)).collect();
    for (n, it) in all.iter_mut().enumerate() {
        it.prices.storage_microcredits_per_gib_month = 100 - n as u64;
        it.region = 256 * 68 + 69;
    }
    let cheapest = by(|it| Some(it.prices.storage_microcredits_per_gib_month));
    let holders = Placing::new(&all, &[], &need(6, 1), &[1; 32], |_| None).holders(&cheapest);
    assert_eq!(holders, (0..8).rev().map(node).collect::<Vec<_>>());
    let asked = cheapest.asked();
    let [Question::Rank(ask)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((ask.now, ask.purpose, ask.holders, ask.chunk_len), (NOW, Purpose::Use, 6, 1));
    assert_eq!((ask.code, ask.candidates.len(), ask.taken.len()), (CodeAnswer { k: 2, n: 6 }, 8, 0));
    assert!(ask.candidates.iter().all(|it| it.region == 256 * 68 + 69 && it.returning == 0));
}

#[test]
fn whoever_the_policy_leaves_out_gets_nothing() {
    let all: Vec<Candidate> = (0..8).map(|n| candidate(n, n, 1 << 30, None)).collect();
    let three: Vec<policy::Key> = (2..5).map(|n| node(n).into()).collect();
    let only = by(move |it| three.contains(&it.node).then_some(it.lot));
    let placing = Placing::new(&all, &[], &need(6, 1), &[1; 32], |_| None);
    let holders: BTreeSet<NodeId> = placing.holders(&only).into_iter().collect();
    assert_eq!(holders, (2..5).map(node).collect());
    assert_eq!(placing.holders(&by(|_| None::<u8>)), []);
}

#[test]
fn a_policy_that_ranks_one_subnet_and_one_party_first_gets_one_of_each() {
    let subnet = Some(Subnet::V4([81, 2, 69]));
    let mut all: Vec<Candidate> = (0..10).map(|n| candidate(n, n, 1 << 30, subnet)).collect();
    all.extend((10..20).map(|n| candidate(n, 10, 1 << 30, None)));
    all.extend((20..24).map(|n| candidate(n, n, 1 << 30, None)));
    let in_order = by(|it| Some(it.node));
    let holders = Placing::new(&all, &[], &need(6, 1), &[1; 32], |_| None).holders(&in_order);
    assert_eq!(holders, [0, 10, 20, 21, 22, 23].map(node));
    // Also against those that hold chunks already.
    let taken = [candidate(99, 10, 0, None), candidate(98, 20, 0, subnet)];
    let holders = Placing::new(&all, &taken, &need(6, 1), &[1; 32], |_| None).holders(&in_order);
    assert_eq!(holders, [21, 22, 23].map(node));
}

/// What a plugin names beyond its question is refused before it gets here; were it not, it would name
/// nobody.
#[test]
fn attack_39_positions_that_are_none_fail_the_check_and_name_nobody() {
    let all: Vec<Candidate> = (0..3).map(|n| candidate(n, n, 1 << 30, None)).collect();
    let placing = Placing::new(&all, &[], &need(6, 1), &[1; 32], |_| None);
    let question = Question::from(placing.question().clone());
    for bad in [vec![3], vec![u32::MAX], vec![0, 1, 1], vec![0, 1, 2, 0]] {
        assert!(question.check(&Answer::Ranking(bad)).is_err());
    }
    assert!(question.check(&Answer::Parallel(1)).is_err());
    assert!(question.check(&Answer::Ranking(vec![2, 0])).is_ok());
    let odd = Custom::new(|_: &Question| Answer::Ranking(vec![7, 1, u32::MAX, 1, 0]));
    assert_eq!(placing.holders(&odd), [1, 0].map(node));
}

#[test]
fn the_policys_code_is_used_where_each_chunk_can_be_apart() {
    let subnet = Some(Subnet::V4([81, 2, 69]));
    let mut all: Vec<Candidate> = (0..9).map(|n| candidate(n, n, 1 << 30, None)).collect();
    all.extend((20..40).map(|n| candidate(n, n, 1 << 30, subnet)));
    all.push(candidate(50, 0, 1 << 30, None));
    all.push(candidate(51, 51, 0, None));
    let code = |k, n| Custom::new(move |_: &Question| Answer::Code(CodeAnswer { k, n }));
    let chosen = |k, n| {
        let policy = code(k, n);
        let chosen = choose_code(&all, &policy, NOW).map(|it| (it.k(), it.n()));
        let asked = policy.asked();
        let [Question::ChooseCode(ask)] = &asked[..] else { panic!("{asked:?}") };
        // One of each party and subnet, with room.
        assert_eq!((ask.candidates.len(), ask.now), (10, NOW));
        let apart = |of: fn(&policy::Candidate) -> u32| -> usize {
            ask.candidates.iter().map(of).filter(|it| *it > 0).collect::<HashSet<_>>().len()
        };
        assert_eq!((apart(|it| it.operator), apart(|it| it.subnet)), (10, 1));
        chosen
    };
    assert_eq!(chosen(4, 10), Ok((4, 10)));
    assert_eq!(chosen(1, 3), Ok((1, 3)));
    assert_eq!(chosen(4, 11), Err(TooFewProviders { have: 10, need: 11 }));
    // Codes that could lose data at once are none.
    let question = Question::from(policy::ChooseCode::default());
    for (k, n) in [(0, 6), (6, 6), (5, 6), (1, 9), (2, 65), (300, 302), (u32::MAX, u32::MAX)] {
        assert!(question.check(&Answer::Code(CodeAnswer { k, n })).is_err(), "{k} of {n}");
    }
}

fn mended(policy: &dyn Policy, lost: &[u16]) -> BTreeMap<u8, Option<NodeId>> {
    let all: Vec<Candidate> = (0..10).map(|n| candidate(n, n, 1 << 30, None)).collect();
    let views: Vec<HolderView> = (0..6)
        .map(|n| HolderView { index: n as u8, node: node(n), last_seen: Some(1), lost: lost.contains(&n) })
        .collect();
    let missing: Vec<u8> = lost.iter().map(|n| *n as u8).collect();
    let good: Vec<Candidate> =
        all[..6].iter().filter(|it| !lost.contains(&it.node.0[1].into())).cloned().collect();
    let mending = Mending { now: NOW, code: Code::new(2, 6).unwrap(), chunk_len: 1, seed: &[3; 32] };
    repair_targets(&missing, &views, &good, &all, &mending, policy).into_iter().collect()
}

#[test]
fn repair_follows_the_policy_and_gives_whoever_it_takes_back_its_own_chunk() {
    // Strangers first: the two that lost chunks are not wanted.
    let strangers = by(|it| Some((it.returning > 0, it.node)));
    assert_eq!(mended(&strangers, &[1, 4]), BTreeMap::from([(1, Some(node(6))), (4, Some(node(7)))]));
    let asked = strangers.asked();
    let [Question::Rank(ask)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((ask.purpose, ask.holders, ask.taken.len(), ask.candidates.len()), (Purpose::Repair, 2, 4, 6));
    let returning: BTreeMap<_, _> = ask.candidates.iter().map(|it| (it.node, it.returning)).collect();
    assert_eq!(
        (returning[&node(1).into()], returning[&node(4).into()], returning[&node(6).into()]),
        (2, 5, 0)
    );
    // One of the two, wherever it stands, gets its own back.
    let one = by(|it| (it.returning != 2).then_some(it.node));
    assert_eq!(mended(&one, &[1, 4]), BTreeMap::from([(1, Some(node(6))), (4, Some(node(4)))]));
    // Too few are named: the rest waits.
    let nine = by(|it| (it.node == node(9).into()).then_some(0));
    assert_eq!(mended(&nine, &[1, 4]), BTreeMap::from([(1, Some(node(9))), (4, None)]));
}

proptest! {
    /// Whatever order a policy gives, and whomever it leaves out.
    #[test]
    fn no_policy_puts_two_chunks_in_one_place_or_where_there_is_no_room(
        all in candidates(0..40),
        taken in candidates(0..6),
        chunk_len in 0_u64..2_000_000,
        seed: [u8; 32],
        keys in prop::collection::vec(prop::option::of(any::<u8>()), 40),
    ) {
        let place = |it: &policy::Candidate| keys[usize::from(it.node.0[1]) % keys.len()];
        let custom = by(place);
        let placing = Placing::new(&all, &taken, &need(6, chunk_len), &seed, |_| None);
        let holders = placing.holders(&custom);
        prop_assert_eq!(custom.asked().len(), 1);
        let mut parties: HashSet<_> = taken.iter().map(|it| it.party).collect();
        let mut subnets: HashSet<_> = taken.iter().filter_map(|it| it.subnet).collect();
        let mut nodes: HashSet<NodeId> = taken.iter().map(|it| it.node).collect();
        for chosen in &holders {
            let it = all.iter().find(|it| it.node == *chosen).unwrap();
            prop_assert!(it.free_bytes >= chunk_len && it.standing.takes_new_data());
            prop_assert!(nodes.insert(it.node) && parties.insert(it.party));
            prop_assert!(it.subnet.is_none_or(|subnet| subnets.insert(subnet)));
            prop_assert!(keys[usize::from(it.node.0[1]) % keys.len()].is_some());
        }
        // In the policy's order.
        let position = |node: &NodeId| keys[usize::from(node.0[1]) % keys.len()];
        prop_assert!(holders.iter().map(position).is_sorted());
        // And nobody whom it named and who could have come in was left out.
        for it in all.iter().filter(|it| position(&it.node).is_some()) {
            let shut_out = it.free_bytes < chunk_len
                || !it.standing.takes_new_data()
                || nodes.contains(&it.node)
                || parties.contains(&it.party)
                || it.subnet.is_some_and(|subnet| subnets.contains(&subnet));
            prop_assert!(shut_out, "{:?}", it.node);
        }
    }

    /// The built-in policy's answers pass the check that plugins have to pass.
    #[test]
    fn the_defaults_answers_pass_the_check(all in candidates(0..40), taken in candidates(0..6), seed: [u8; 32]) {
        let lost = |node: &NodeId| node.0[1].is_multiple_of(3).then_some(node.0[1] % 6);
        let placing = Placing::new(&all, &taken, &need(6, 1), &seed, lost);
        let question = Question::from(placing.question().clone());
        prop_assert!(question.check(&BuiltIn.answer(&question)).is_ok());
        let candidates = placing.question().candidates.clone();
        let question = Question::from(policy::ChooseCode { now: NOW, candidates });
        prop_assert!(question.check(&BuiltIn.answer(&question)).is_ok());
    }
}
