//! Hostile questions for the tests of the example plugins, and what a node checks of each answer.
//!
//! Every number of a question is now and then 0, 1 or as large as it can be, lists may be empty, and
//! codes may be unknown. A policy must answer all of it within the bounds of its page in spec/.
//!
//! Invariant: [`placement()`], [`transport()`] and [`pricing()`] check what `Question::check` of
//! commonhold-format checks. What it is not: a part of any plugin; their tests alone import it.
use commonhold_plugin::placement::{self, Candidate, Code, Offer, Placement};
use commonhold_plugin::pricing::{self, CreditRequest, Market, Peer, Pricing, Request, Usage};
use commonhold_plugin::transport::{self, Address, Connection, Source, Traffic, Transport};
use commonhold_plugin::{AMOUNT_MAX, Key, Moment, Prices, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Questions of each function that are asked.
pub const QUESTIONS: u32 = 256;
/// Longest list in a question.
const LIST_LEN: usize = 70;

/// 64 bits, often at an end.
pub fn long() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..4, 0_u64..2000, any::<u64>(), Just(AMOUNT_MAX), u64::MAX - 2..=u64::MAX]
}

/// 32 bits, often at an end.
pub fn short() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..4, 0_u32..2000, any::<u32>(), u32::MAX - 2..=u32::MAX]
}

fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![-2_i64..3, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

/// One of a few keys, so that they meet, or any.
fn key() -> impl Strategy<Value = Key> {
    let any = (long(), long(), long(), long()).prop_map(|(a, b, c, d)| Key { a, b, c, d });
    prop_oneof![(0_u64..4).prop_map(|d| Key { d, ..Key::NOBODY }), any]
}

fn prices() -> impl Strategy<Value = Prices> {
    (long(), long(), long()).prop_map(|(storage, egress, audit)| Prices { storage, egress, audit })
}

fn moment() -> impl Strategy<Value = Moment> {
    let minute = prop_oneof![0_u32..10_080, short()];
    (long(), minute).prop_map(|(unix_seconds, minute_of_week)| Moment { unix_seconds, minute_of_week })
}

/// A provider.
pub fn candidate() -> impl Strategy<Value = Candidate> {
    let who = (key(), key(), short(), short(), short(), short());
    let what = (short(), short(), short(), short(), long(), prices(), long());
    (who, what).prop_map(|(who, what)| {
        let (node, party, operator, subnet, region, standing) = who;
        let (audits_passed, audits_failed, latency_ms, returning, free_bytes, prices, lot) = what;
        Candidate {
            node,
            party,
            operator,
            subnet,
            region,
            standing,
            audits_passed,
            audits_failed,
            latency_ms,
            returning,
            free_bytes,
            prices,
            lot,
        }
    })
}

fn offer() -> impl Strategy<Value = Offer> {
    let much = (long(), long(), prices(), long(), long(), long());
    (moment(), key(), much, short(), short(), signed()).prop_map(
        |(now, owner, much, contracts_of_owner, contracts, account)| {
            let (bytes, term_seconds, prices, hold, allotted_bytes, free_bytes) = much;
            Offer {
                now,
                owner,
                bytes,
                term_seconds,
                prices,
                hold,
                allotted_bytes,
                free_bytes,
                contracts_of_owner,
                contracts,
                account,
            }
        },
    )
}

fn address() -> impl Strategy<Value = Address> {
    let what = (0_u32..4, 0_u32..6, prop_oneof![Just(0_u32), Just(4), Just(6), short()]);
    let seen = (short(), short(), short(), short(), long(), long());
    (what, seen).prop_map(|((transport, scope, family), seen)| {
        let (successes, failures, failures_in_row, connect_ms, bytes_per_second, last_success) = seen;
        Address {
            transport,
            scope,
            family,
            successes,
            failures,
            failures_in_row,
            connect_ms,
            bytes_per_second,
            last_success,
        }
    })
}

fn source() -> impl Strategy<Value = Source> {
    let seen = (short(), short(), short(), short());
    (key(), short(), 0_u32..3, 0_u32..3, seen).prop_map(|(node, index, reachable, preferred, seen)| {
        let (median_ms, slow_ms, successes, failures) = seen;
        Source { node, index, reachable, preferred, median_ms, slow_ms, successes, failures }
    })
}

/// k and n of codes that are codes.
fn code() -> impl Strategy<Value = (u32, u32)> {
    (1_u32..=64).prop_flat_map(|n| (1..=n, Just(n)))
}

fn peer() -> impl Strategy<Value = Peer> {
    (key(), signed(), long(), long()).prop_map(|(party, account, given, taken)| Peer {
        party,
        account,
        given,
        taken,
    })
}

fn ask<S: Strategy>(questions: &S, check: impl Fn(S::Value)) {
    let config = Config { cases: QUESTIONS, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(questions, |question| {
        check(question);
        Ok(())
    });
    if let Err(why) = ran {
        panic!("{why}");
    }
}

/// Positions in a list, each at most once.
pub fn are_positions(answer: &[u32], len: usize) {
    let mut seen = vec![false; len];
    for at in answer {
        let seen = seen.get_mut(*at as usize).unwrap_or_else(|| panic!("{at} of {len}"));
        assert!(!std::mem::replace(seen, true), "{at} twice");
    }
}

fn is_verdict(answer: &Verdict) {
    assert!(answer.reason.len() <= 200, "{}", answer.reason);
}

fn are_amounts(answer: &[u64]) {
    assert!(answer.iter().all(|it| *it <= AMOUNT_MAX), "{answer:?}");
}

/// Whether a policy may answer with this code.
pub fn is_code(Code { k, n }: Code) {
    assert!(1 <= k && k + 2 <= n && n <= 64 && n <= 8 * k, "{k} of {n}");
}

/// Asks a placement policy everything.
///
/// # Panics
/// When an answer would be refused.
pub fn placement<P: Placement>() {
    let candidates = || vec(candidate(), 0..LIST_LEN);
    ask(&(moment(), candidates()), |(now, candidates)| is_code(P::choose_code(now, candidates)));
    let need = (moment(), short(), code(), short(), short());
    ask(&(need, vec(candidate(), 0..9), candidates()), |(need, taken, candidates)| {
        let (now, purpose, (k, n), holders, chunk_len) = need;
        let need = placement::Need { now, purpose, code: Code { k, n }, holders, chunk_len };
        let len = candidates.len();
        are_positions(&P::rank(need, taken, candidates), len);
    });
    ask(&offer(), |offer| is_verdict(&P::admit(offer)));
}

/// Asks a transport policy everything.
///
/// # Panics
/// When an answer would be refused.
pub fn transport<P: Transport>() {
    ask(&(moment(), key(), vec(address(), 0..LIST_LEN)), |(now, peer, addresses)| {
        let len = addresses.len();
        let plan = P::dial(now, peer, addresses);
        are_positions(&plan.order, len);
        assert!((1..=8).contains(&plan.at_once), "{}", plan.at_once);
    });
    ask(&(moment(), long(), long(), long(), long()), |(now, a, b, c, d)| {
        let traffic =
            Traffic { sent_today: a, received_today: b, sent_this_month: c, received_this_month: d };
        // Anything goes.
        P::limit(now, traffic);
    });
    let need =
        || {
            (moment(), short(), code(), short()).prop_map(|(now, purpose, (k, n), chunk_len)| {
                transport::Need { now, purpose, k, n, chunk_len }
            })
        };
    ask(&(need(), vec(source(), 0..LIST_LEN)), |(need, sources)| {
        let (len, n) = (sources.len(), need.n);
        let plan = P::fetch(need, sources);
        are_positions(&plan.order, len);
        assert!((1..=n).contains(&plan.parallel) && plan.hedges <= n && plan.hedge_after_ms >= 10);
    });
    ask(&need(), |need| assert!((1..=need.n).contains(&P::send(need))));
    ask(&(moment(), key(), 0_u32..4, 0_u32..6, short(), short(), short()), |it| {
        let (now, node, transport, scope, family, open, open_with_peer) = it;
        is_verdict(&P::admit(Connection { now, node, transport, scope, family, open, open_with_peer }));
    });
}

/// Asks a pricing policy everything.
///
/// # Panics
/// When an answer would be refused.
pub fn pricing<P: Pricing>() {
    let usage = (long(), long(), short());
    ask(&(moment(), prices(), long(), long(), peer(), usage), |it| {
        let (now, base, bytes, term_seconds, peer, usage) = it;
        // Nobody configures more than can be paid.
        let base = base.map(|price| price.min(AMOUNT_MAX));
        let (allotted_bytes, used_bytes, contracts) = usage;
        let usage = Usage { allotted_bytes, used_bytes, contracts };
        let Prices { storage, egress, audit } =
            P::quote(Request { now, base, bytes, term_seconds, peer, usage });
        are_amounts(&[storage, egress, audit]);
    });
    ask(&(moment(), peer(), long(), long(), long()), |(now, peer, unsigned, gift_budget, trusted)| {
        let pricing::Credit { trust, gift } =
            P::credit_limit(CreditRequest { now, peer, unsigned, gift_budget, trusted });
        are_amounts(&[trust, gift]);
    });
    ask(&(moment(), short(), prices(), prices(), prices()), |(now, providers, lowest, median, highest)| {
        // Anything goes.
        P::ceiling(Market { now, providers, lowest, median, highest });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Default;

    impl Placement for Default {}
    impl Transport for Default {}
    impl Pricing for Default {}

    #[test]
    fn the_default_answers_everything() {
        placement::<Default>();
        transport::<Default>();
        pricing::<Default>();
    }

    struct Wrong;

    impl Placement for Wrong {
        fn rank(_: placement::Need, _: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
            vec![candidates.len() as u32]
        }
    }

    #[test]
    #[should_panic(expected = "Test failed")]
    fn a_wrong_answer_is_found() {
        placement::<Wrong>();
    }
}
