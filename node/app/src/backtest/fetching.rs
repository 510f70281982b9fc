//! A segment fetched once more, with the times that its chunks took then.
//!
//! Invariant: the same plan and the same times give the same result. The steps are those of a node that
//! fetches (spec/policy-transport.md): so many at the same time in the plan's order, one more for each
//! that fails, and one more when nothing has come for so long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use commonhold_format::policy::{Fetch, FetchPlan};

/// How one source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// After how long, milliseconds.
    pub ms: u64,
    /// With the chunk?
    pub whole: bool,
}

/// What came of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// When the last chunk that was needed was there, milliseconds; `None` when it never was.
    pub ms: Option<u64>,
    /// Chunks that were asked for because of slowness.
    pub hedges: u64,
    /// Chunks that were asked for and neither needed nor refused.
    pub surplus: u64,
}

/// Fetches by a plan; `chunks` has the answer of each source of the question.
pub fn fetch(ask: &Fetch, plan: &FetchPlan, chunks: &[Chunk]) -> Fetched {
    let mut planned = vec![false; ask.sources.len()];
    plan.order.iter().for_each(|at| planned[*at as usize] = true);
    let rest = (0..ask.sources.len()).filter(|at| !planned[*at]);
    let order = plan.order.iter().map(|at| *at as usize).chain(rest);
    let mut waiting = order.filter_map(|at| chunks.get(at).copied()).peekable();

    let (k, parallel) = (ask.k as usize, plan.parallel.max(1) as usize);
    let mut running: BinaryHeap<Reverse<(u64, bool)>> = BinaryHeap::new();
    let (mut now, mut since, mut have, mut asked, mut failed, mut hedges) =
        (0_u64, 0_u64, 0, 0_u64, 0_u64, 0);
    let mut begin = |running: &mut BinaryHeap<_>, now: u64, chunk: Chunk| {
        asked += 1;
        running.push(Reverse((now.saturating_add(chunk.ms), chunk.whole)));
    };
    waiting.by_ref().take(parallel).for_each(|chunk| begin(&mut running, 0, chunk));
    while have < k {
        let next = running.peek().map(|Reverse((at, _))| *at);
        let patience = since.saturating_add(plan.hedge_after_ms.into());
        let may_hedge = hedges < u64::from(plan.hedges) && waiting.peek().is_some();
        if may_hedge && next.is_some_and(|at| at > patience) {
            (now, since) = (patience, patience);
            hedges += 1;
            waiting.next().into_iter().for_each(|chunk| begin(&mut running, now, chunk));
            continue;
        }
        let Some(Reverse((at, whole))) = running.pop() else { break };
        (now, since) = (at, at);
        if !whole {
            failed += 1;
            waiting.next().into_iter().for_each(|chunk| begin(&mut running, now, chunk));
            continue;
        }
        have += 1;
        let wanted = parallel.min(k.saturating_sub(have) + parallel.saturating_sub(k));
        let more = wanted.saturating_sub(running.len());
        waiting.by_ref().take(more).for_each(|chunk| begin(&mut running, now, chunk));
    }
    let surplus = asked.saturating_sub(failed).saturating_sub(have as u64);
    Fetched { ms: (have >= k).then_some(now), hedges, surplus }
}

#[cfg(test)]
mod tests {
    use commonhold_format::policy::Source;

    use super::*;

    fn ask(k: u32, sources: usize) -> Fetch {
        Fetch {
            now: Default::default(),
            purpose: Default::default(),
            k,
            n: sources as u32,
            chunk_len: 10,
            sources: vec![Source::default(); sources],
        }
    }

    fn plan(order: &[u32], parallel: u32, hedge_after_ms: u32, hedges: u32) -> FetchPlan {
        FetchPlan { order: order.to_vec(), parallel, hedge_after_ms, hedges }
    }

    const fn whole(ms: u64) -> Chunk {
        Chunk { ms, whole: true }
    }

    const LATE: Chunk = whole(5000);
    const GONE: Chunk = Chunk { ms: 30, whole: false };

    #[test]
    fn plans_come_to_what_they_would_by_hand() {
        let cases = [
            // The two first of four.
            (plan(&[0, 1, 2, 3], 2, 1000, 2), vec![whole(10), whole(20), LATE, LATE], (Some(20), 0, 0)),
            // The order counts, and those left out come after.
            (plan(&[2], 1, 1000, 0), vec![whole(10), LATE, whole(70), LATE], (Some(80), 0, 0)),
            // One is late: one more is asked for after a second, and that one is there first.
            (plan(&[0, 1, 2, 3], 2, 1000, 2), vec![whole(10), LATE, whole(50), LATE], (Some(1060), 1, 1)),
            // No hedge is allowed.
            (plan(&[0, 1, 2, 3], 2, 1000, 0), vec![whole(10), LATE, whole(50), LATE], (Some(5000), 0, 0)),
            // One fails: the next is asked for.
            (plan(&[0, 1, 2, 3], 2, 1000, 2), vec![GONE, whole(10), whole(50), LATE], (Some(80), 0, 0)),
            // More at the same time than are needed.
            (plan(&[0, 1, 2, 3], 4, 1000, 0), vec![LATE, whole(10), LATE, whole(50)], (Some(50), 0, 2)),
            // Too few are left.
            (plan(&[0, 1, 2, 3], 2, 1000, 2), vec![GONE, GONE, whole(50), GONE], (None, 0, 0)),
        ];
        for (number, (plan, chunks, (ms, hedges, surplus))) in cases.into_iter().enumerate() {
            assert_eq!(fetch(&ask(2, 4), &plan, &chunks), Fetched { ms, hedges, surplus }, "case {number}");
        }
        assert_eq!(fetch(&ask(2, 0), &plan(&[], 2, 10, 2), &[]).ms, None);
    }
}
