//! The built-in default policy (spec/policy.md): what a node does without plugins, and what decides
//! when a plugin fails.
//!
//! Invariant: every answer passes [`Question::check`]. The plugins `default-placement`,
//! `default-transport` and `default-pricing` give the same answers; a test of the host compares them.

use commonhold_format::policy::{
    Answer, Candidate, ChooseCode, CodeAnswer, Credit, DIAL_AT_ONCE_MAX, Dial, DialPlan, Fetch, FetchPlan,
    Limits, Policy, Question, Rank, Standing, Verdict,
};
use commonhold_format::statement::Prices;

use crate::audit::{WEIGHT_GOOD, WEIGHT_PROBATION};
use crate::placement::{FREE_WEIGHT_BYTES_MAX, default_code};

/// After so long without a chunk the default asks one more source, milliseconds.
pub const HEDGE_AFTER_MS: u32 = 1500;

/// The highest prices: any.
pub const NO_CEILING: Prices = Prices {
    storage_microcredits_per_gib_month: u64::MAX,
    egress_microcredits_per_gib: u64::MAX,
    audit_microcredits: u64::MAX,
};

/// The default of all three worlds.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

impl Policy for BuiltIn {
    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::ChooseCode(ask) => Answer::Code(choose_code(ask)),
            Question::Rank(ask) => Answer::Ranking(rank(ask)),
            Question::AdmitOffer(_) | Question::AdmitConnection(_) => Answer::Verdict(Verdict::yes()),
            Question::Dial(ask) => Answer::DialPlan(dial(ask)),
            Question::Limit(_) => Answer::Limits(Limits::default()),
            Question::Fetch(ask) => Answer::FetchPlan(fetch(ask)),
            Question::Send(ask) => Answer::Parallel(ask.n.max(1)),
            Question::Quote(ask) => Answer::Prices(ask.base),
            Question::CreditLimit(_) => Answer::Credit(Credit::DEFAULT),
            Question::Ceiling(_) => Answer::Prices(NO_CEILING),
        }
    }
}

fn choose_code(ask: &ChooseCode) -> CodeAnswer {
    default_code(ask.candidates.len()).into()
}

/// Whoever lost a chunk gets it back; then a weighted draw (spec/engine.md, "The order").
fn rank(ask: &Rank) -> Vec<u32> {
    let mut order: Vec<(u32, &Candidate)> = (0..).zip(&ask.candidates).collect();
    order.sort_by(|(_, a), (_, b)| {
        let fresh = |it: &Candidate| it.returning.wrapping_sub(1);
        fresh(a).cmp(&fresh(b)).then_with(|| {
            // lot / weight without dividing. A lot has 39 bits, a weight at most 49.
            (u128::from(a.lot) * u128::from(weight(b))).cmp(&(u128::from(b.lot) * u128::from(weight(a))))
        })
    });
    order.into_iter().map(|(position, _)| position).collect()
}

fn weight(candidate: &Candidate) -> u64 {
    let standing = match candidate.standing {
        Standing::Good => WEIGHT_GOOD,
        Standing::Probation => WEIGHT_PROBATION,
    };
    candidate.free_bytes.clamp(1, FREE_WEIGHT_BYTES_MAX) * u64::from(standing)
}

fn dial(ask: &Dial) -> DialPlan {
    DialPlan { order: (0..ask.addresses.len() as u32).collect(), at_once: DIAL_AT_ONCE_MAX }
}

/// Preferred first, then whoever answered last; among equals the data chunks, which need no decoding.
fn fetch(ask: &Fetch) -> FetchPlan {
    let mut order: Vec<u32> = (0..ask.sources.len() as u32).collect();
    order.sort_by_key(|at| {
        let source = &ask.sources[*at as usize];
        (!source.preferred, !source.reachable, source.index)
    });
    let k = ask.k.clamp(1, ask.n.max(1));
    FetchPlan { order, parallel: k, hedge_after_ms: HEDGE_AFTER_MS, hedges: ask.n - k.min(ask.n) }
}
