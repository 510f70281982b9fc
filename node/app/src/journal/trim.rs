//! Long lists of a question, cut to what a line keeps.
//!
//! Invariant: the cut question has at most [`CANDIDATES_MAX`] entries in each list, the cut answer is one
//! to the cut question, and what the answer names first is in it.

use commonhold_format::policy::{
    Answer, Candidate, ChooseCode, Dial, DialPlan, Fetch, FetchPlan, Question, Rank,
};

/// Most candidates, addresses or sources of a question that are kept.
pub const CANDIDATES_MAX: usize = 256;

/// The name of a question's function.
pub fn name(question: &Question) -> &'static str {
    match question {
        Question::ChooseCode(_) => "choose_code",
        Question::Rank(_) => "rank",
        Question::AdmitOffer(_) => "admit_offer",
        Question::Dial(_) => "dial",
        Question::Limit(_) => "limit",
        Question::Fetch(_) => "fetch",
        Question::Send(_) => "send",
        Question::AdmitConnection(_) => "admit_connection",
        Question::Quote(_) => "quote",
        Question::CreditLimit(_) => "credit_limit",
        Question::Ceiling(_) => "ceiling",
    }
}

/// Entries of the lists that are kept of a question, and one for the rest.
pub fn weight(question: &Question) -> usize {
    let kept = |len: usize| len.min(CANDIDATES_MAX);
    1 + match question {
        Question::ChooseCode(it) => kept(it.candidates.len()),
        Question::Rank(it) => kept(it.candidates.len()) + kept(it.taken.len()),
        Question::Dial(it) => kept(it.addresses.len()),
        Question::Fetch(it) => kept(it.sources.len()),
        _ => 0,
    }
}

/// Cuts a question and its answer; how many entries were left out.
pub fn trim(question: &Question, answer: &Answer) -> (Question, Answer, u32) {
    match (question, answer) {
        (Question::Rank(it), Answer::Ranking(order))
            if it.candidates.len() > CANDIDATES_MAX || it.taken.len() > CANDIDATES_MAX =>
        {
            let kept = Kept::of(it.candidates.len(), order);
            let taken = &it.taken[..it.taken.len().min(CANDIDATES_MAX)];
            let left_out = kept.left_out + it.taken.len() - taken.len();
            let cut = Rank {
                now: it.now,
                purpose: it.purpose,
                code: it.code,
                holders: it.holders,
                chunk_len: it.chunk_len,
                taken: taken.to_vec(),
                candidates: kept.pick(&it.candidates),
            };
            (cut.into(), Answer::Ranking(kept.order), count(left_out))
        }
        (Question::Dial(it), Answer::DialPlan(plan)) if it.addresses.len() > CANDIDATES_MAX => {
            let kept = Kept::of(it.addresses.len(), &plan.order);
            let cut = Dial { now: it.now, peer: it.peer, addresses: kept.pick(&it.addresses) };
            let plan = DialPlan { order: kept.order, ..*plan };
            (cut.into(), Answer::DialPlan(plan), count(kept.left_out))
        }
        (Question::Fetch(it), Answer::FetchPlan(plan)) if it.sources.len() > CANDIDATES_MAX => {
            let kept = Kept::of(it.sources.len(), &plan.order);
            let cut = Fetch { sources: kept.pick(&it.sources), ..without_sources(it) };
            let plan = FetchPlan { order: kept.order, ..*plan };
            (cut.into(), Answer::FetchPlan(plan), count(kept.left_out))
        }
        (Question::ChooseCode(it), answer) if it.candidates.len() > CANDIDATES_MAX => {
            let candidates: Vec<Candidate> = it.candidates[..CANDIDATES_MAX].to_vec();
            let left_out = it.candidates.len() - CANDIDATES_MAX;
            (ChooseCode { now: it.now, candidates }.into(), answer.clone(), count(left_out))
        }
        _ => (question.clone(), answer.clone(), 0),
    }
}

fn without_sources(it: &Fetch) -> Fetch {
    Fetch { now: it.now, purpose: it.purpose, k: it.k, n: it.n, chunk_len: it.chunk_len, sources: vec![] }
}

fn count(left_out: usize) -> u32 {
    u32::try_from(left_out).unwrap_or(u32::MAX)
}

/// Which entries of a list are kept, rising, and the answer's order over those.
struct Kept {
    positions: Vec<usize>,
    order: Vec<u32>,
    left_out: usize,
}

impl Kept {
    /// What the answer names first, and then the first of the rest.
    fn of(len: usize, order: &[u32]) -> Self {
        let mut is_kept = vec![false; len];
        let named = order.iter().filter_map(|at| usize::try_from(*at).ok()).filter(|at| *at < len);
        let mut room = CANDIDATES_MAX;
        for at in named.chain(0..len) {
            if room == 0 {
                break;
            }
            if !is_kept[at] {
                is_kept[at] = true;
                room -= 1;
            }
        }
        let positions: Vec<usize> = (0..len).filter(|at| is_kept[*at]).collect();
        let mut new = vec![None; len];
        positions.iter().zip(0_u32..).for_each(|(old, at)| new[*old] = Some(at));
        let order = order.iter().filter_map(|at| *new.get(*at as usize)?).collect();
        let left_out = len - positions.len();
        Self { positions, order, left_out }
    }

    fn pick<T: Clone>(&self, list: &[T]) -> Vec<T> {
        self.positions.iter().filter_map(|at| list.get(*at).cloned()).collect()
    }
}
