//! Fetching: any k chunks of a segment, from whom and how fast as the transport policy says
//! (spec/policy-transport.md, "fetch").
//!
//! Invariant: the policy is asked once for a segment and decides only order and haste: whoever it
//! leaves out comes last, and a chunk counts only after it was checked against its id. While a chunk
//! waits for its turn on this node's own line nobody is taken for slow.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_drive::{CustodyError, PlacedChunks};
use commonhold_format::ids::{ContractId, NodeId};
use commonhold_format::policy::{Fetch, FetchPlan, Purpose, Source};
use commonhold_format::segment::Segment;
use futures::stream::{FuturesUnordered, StreamExt};

use super::{Owner, ProviderError};
use crate::clock::moment;

/// Providers that have too much to do are asked again after this long, which doubles …
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// … up to this.
pub(super) const BUSY_PAUSE_MAX: Duration = Duration::from_secs(8);
/// And no longer than this without anything done.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(120);

impl Owner {
    /// Any k chunks of a segment, each checked against its id.
    pub(super) async fn fetch_segment(
        &self,
        segment: &Segment,
        prefer: Option<NodeId>,
        purpose: Purpose,
    ) -> Result<PlacedChunks, CustodyError> {
        let (k, n) = (segment.code.k(), segment.code.n());
        let sources = (0..n).filter_map(|index| {
            let (node, _) = *self.ranked_sources(segment, index, prefer).first()?;
            let pace = self.paces.of(&node);
            Some(Source {
                node: node.into(),
                index: u32::from(index),
                reachable: !self.directory.is_down(&node),
                preferred: prefer == Some(node),
                median_ms: pace.median_ms,
                slow_ms: pace.slow_ms,
                successes: pace.successes,
                failures: pace.failures,
            })
        });
        let sources: Vec<Source> = sources.collect();
        let indices: Vec<u8> = sources.iter().filter_map(|source| u8::try_from(source.index).ok()).collect();
        let plan = self.policies.transport.ask(Fetch {
            now: moment(),
            purpose,
            k: u32::from(k),
            n: u32::from(n),
            chunk_len: u32::try_from(segment.chunk_len()).unwrap_or(u32::MAX),
            sources,
        });
        let order = full_order(&indices, &plan.order, n);
        let in_line = AtomicUsize::new(0);
        let in_line = &in_line;
        let fetch =
            |index: u8| async move { (index, self.fetch_index(segment, index, prefer, in_line).await) };
        let need = usize::from(k);
        let may_hedge = || {
            let nobody_waits_here = in_line.load(Ordering::Relaxed) == 0;
            if nobody_waits_here {
                self.link.hedged();
            }
            nobody_waits_here
        };
        gather(order, need, &plan, may_hedge, fetch).await.map_err(|Missing { have, reason }| {
            CustodyError::Unavailable {
                have,
                need,
                reason: reason.unwrap_or_else(|| "no provider was asked".to_owned()),
            }
        })
    }

    /// Who has a chunk: the reader's choice first, then whoever answered last.
    fn ranked_sources(
        &self,
        segment: &Segment,
        index: u8,
        prefer: Option<NodeId>,
    ) -> Vec<(NodeId, Option<ContractId>)> {
        let mut sources = self.sources(segment, index);
        sources.sort_by_key(|(node, _)| (Some(*node) != prefer, self.directory.is_down(node)));
        sources
    }

    async fn fetch_index(
        &self,
        segment: &Segment,
        index: u8,
        prefer: Option<NodeId>,
        in_line: &AtomicUsize,
    ) -> Result<Bytes, Failed> {
        let chunk = segment.chunks[usize::from(index)];
        let len = segment.chunk_len() as u64;
        let mut failed = Failed { why: "nobody is known to hold the chunk".to_owned(), busy: false };
        for (node, contract) in self.ranked_sources(segment, index, prefer) {
            in_line.fetch_add(1, Ordering::Relaxed);
            self.link.download.take(len).await;
            in_line.fetch_sub(1, Ordering::Relaxed);
            match self.fetch_chunk(node, chunk, contract).await {
                Ok(bytes) if bytes.len() as u64 == len => return Ok(bytes),
                Ok(_) => failed.why = format!("{node} sent a chunk of another length"),
                Err(error) => {
                    self.link.download.give_back(len);
                    failed.busy |= matches!(error, ProviderError::Busy { .. });
                    failed.why = error.to_string();
                }
            }
        }
        Err(failed)
    }
}

/// Every chunk of a segment of n: those that the policy chose among `indices`, then the other ones
/// that somebody is known to hold, then the rest.
fn full_order(indices: &[u8], chosen: &[u32], n: u8) -> Vec<u8> {
    let chosen = chosen.iter().filter_map(|at| indices.get(usize::try_from(*at).ok()?));
    let mut seen = HashSet::new();
    let all = chosen.chain(indices).copied().chain(0..n);
    all.filter(|index| *index < n && seen.insert(*index)).collect()
}

/// A chunk that did not come.
#[derive(Debug)]
struct Failed {
    why: String,
    /// Somebody has it, and too much to do.
    busy: bool,
}

/// Too few chunks came.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    have: usize,
    /// Why the last one did not.
    reason: Option<String>,
}

/// Fetches in this order until `need` chunks are there. When somebody is slow and there is a hedge left
/// and somebody to ask, `may_hedge` is asked whether one more is asked for. When only those are left who have too much to do, they are
/// asked again, until nothing has come for [`BUSY_PATIENCE`].
async fn gather<F: Future<Output = (u8, Result<Bytes, Failed>)>>(
    order: Vec<u8>,
    need: usize,
    plan: &FetchPlan,
    may_hedge: impl Fn() -> bool,
    fetch: impl Fn(u8) -> F,
) -> Result<PlacedChunks, Missing> {
    let parallel = usize::try_from(plan.parallel).unwrap_or(usize::MAX).max(1);
    // More than are needed, because some may be slow.
    let spare = parallel.saturating_sub(need);
    let patience = Duration::from_millis(u64::from(plan.hedge_after_ms));
    let mut hedges = plan.hedges;
    let mut waiting = order.into_iter();
    let mut running: FuturesUnordered<F> = waiting.by_ref().take(parallel).map(&fetch).collect();
    let mut chunks = Vec::with_capacity(need);
    let mut reason = None;
    let mut busy = Vec::new();
    let mut progress = Instant::now();
    let mut pause = BUSY_PAUSE;
    while chunks.len() < need {
        match tokio::time::timeout(patience, running.next()).await {
            Ok(Some((index, Ok(bytes)))) => {
                chunks.push((index, bytes));
                (progress, pause) = (Instant::now(), BUSY_PAUSE);
                let wanted = parallel.min(need - chunks.len() + spare);
                let more = wanted.saturating_sub(running.len());
                running.extend(waiting.by_ref().take(more).map(&fetch));
            }
            Ok(Some((index, Err(failed)))) => {
                reason = Some(failed.why);
                if failed.busy {
                    busy.push(index);
                }
                running.extend(waiting.next().map(&fetch));
            }
            Ok(None) if !busy.is_empty() && progress.elapsed() < BUSY_PATIENCE => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BUSY_PAUSE_MAX);
                // Whoever was busy first is asked first.
                let again = busy.len().min(need - chunks.len());
                running.extend(busy.drain(..again).map(&fetch));
            }
            Ok(None) => return Err(Missing { have: chunks.len(), reason }),
            // Somebody is slow: one more, and whoever is first.
            Err(_) if hedges > 0 && waiting.len() > 0 && may_hedge() => {
                if let Some(index) = waiting.next() {
                    tracing::debug!(index, "somebody is slow; asking one more");
                    hedges -= 1;
                    running.push(fetch(index));
                }
            }
            Err(_) => {}
        }
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use futures::channel::oneshot;

    use super::*;

    /// Sources that answer when the test says so.
    #[derive(Clone, Default)]
    struct Sources(Arc<Mutex<Asked>>);

    #[derive(Default)]
    struct Asked {
        order: Vec<u8>,
        waiting: HashMap<u8, oneshot::Sender<Said>>,
    }

    #[derive(Debug)]
    enum Said {
        Here,
        Nothing,
        Busy,
    }

    impl Sources {
        async fn fetch(self, index: u8) -> (u8, Result<Bytes, Failed>) {
            let (say, said) = oneshot::channel();
            {
                let mut it = self.0.lock().unwrap();
                it.order.push(index);
                it.waiting.insert(index, say);
            }
            match said.await {
                Ok(Said::Here) => (index, Ok(Bytes::from(vec![index]))),
                Ok(Said::Busy) => (index, Err(Failed { why: format!("{index} is busy"), busy: true })),
                _ => (index, Err(Failed { why: format!("{index} has nothing"), busy: false })),
            }
        }

        fn asked(&self) -> Vec<u8> {
            self.0.lock().unwrap().order.clone()
        }

        async fn until_asked(&self, expected: &[u8]) {
            for _ in 0..20_000 {
                if self.asked().len() >= expected.len() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(self.asked(), expected);
        }

        fn say(&self, index: u8, what: Said) {
            self.0.lock().unwrap().waiting.remove(&index).unwrap().send(what).unwrap();
        }

        fn answer(&self, index: u8, well: bool) {
            self.say(index, if well { Said::Here } else { Said::Nothing });
        }
    }

    fn plan(parallel: u32, hedge_after_ms: u32, hedges: u32) -> FetchPlan {
        FetchPlan { order: Vec::new(), parallel, hedge_after_ms, hedges }
    }

    type Gathered = tokio::task::JoinHandle<Result<PlacedChunks, Missing>>;

    fn start(order: &[u8], need: usize, plan: FetchPlan, may_hedge: bool) -> (Sources, Gathered) {
        let sources = Sources::default();
        let (asked, order) = (sources.clone(), order.to_vec());
        let task = tokio::spawn(async move {
            gather(order, need, &plan, || may_hedge, |index| asked.clone().fetch(index)).await
        });
        (sources, task)
    }

    const NEVER: u32 = u32::MAX;

    #[tokio::test]
    async fn k_at_once_and_one_more_for_each_that_fails() {
        let (sources, task) = start(&[4, 3, 2, 1, 0], 3, plan(3, NEVER, 5), true);
        sources.until_asked(&[4, 3, 2]).await;
        sources.answer(3, true);
        sources.answer(4, false);
        sources.until_asked(&[4, 3, 2, 1]).await;
        sources.answer(1, true);
        sources.answer(2, true);
        let chunks = task.await.unwrap().unwrap();
        assert_eq!(chunks.iter().map(|(index, _)| *index).collect::<HashSet<_>>(), HashSet::from([1, 2, 3]));
        assert_eq!(sources.asked(), [4, 3, 2, 1]);
    }

    #[tokio::test]
    async fn fewer_than_k_at_once_go_one_after_the_other_and_more_come_beside() {
        let (sources, task) = start(&[0, 1, 2, 3], 3, plan(1, NEVER, 0), true);
        for index in 0..3 {
            sources.until_asked(&[0, 1, 2][..=usize::from(index)]).await;
            sources.answer(index, true);
        }
        assert_eq!(task.await.unwrap().unwrap().len(), 3);
        assert_eq!(sources.asked(), [0, 1, 2]);

        let (sources, task) = start(&[0, 1, 2, 3, 4], 2, plan(4, NEVER, 0), true);
        sources.until_asked(&[0, 1, 2, 3]).await;
        sources.answer(3, true);
        sources.answer(2, true);
        assert_eq!(task.await.unwrap().unwrap().len(), 2);
        assert_eq!(sources.asked(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn slowness_brings_as_many_more_as_the_plan_has_and_none_while_this_node_is_what_is_slow() {
        let (sources, task) = start(&[0, 1, 2, 3, 4], 2, plan(2, 10, 2), true);
        sources.until_asked(&[0, 1, 2, 3]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(sources.asked(), [0, 1, 2, 3]);
        sources.answer(3, true);
        sources.answer(2, true);
        assert_eq!(task.await.unwrap().unwrap().len(), 2);

        let (sources, task) = start(&[0, 1, 2], 2, plan(2, 10, 2), false);
        sources.until_asked(&[0, 1]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(sources.asked(), [0, 1]);
        sources.answer(0, true);
        sources.answer(1, true);
        assert_eq!(task.await.unwrap().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn too_few_are_too_few() {
        let (sources, task) = start(&[0, 1, 2], 2, plan(1, NEVER, 0), true);
        for (index, well) in [(0, false), (1, true), (2, false)] {
            sources.until_asked(&[0, 1, 2][..=usize::from(index)]).await;
            sources.answer(index, well);
        }
        let missing = Missing { have: 1, reason: Some("2 has nothing".to_owned()) };
        assert_eq!(task.await.unwrap().unwrap_err(), missing);
    }

    #[tokio::test]
    async fn those_who_have_too_much_to_do_are_asked_again_when_nobody_else_is_left() {
        let (sources, task) = start(&[0, 1, 2], 2, plan(2, NEVER, 0), true);
        sources.until_asked(&[0, 1]).await;
        sources.say(0, Said::Busy);
        sources.until_asked(&[0, 1, 2]).await;
        sources.answer(1, true);
        sources.say(2, Said::Busy);
        sources.until_asked(&[0, 1, 2, 0]).await;
        sources.say(0, Said::Busy);
        sources.until_asked(&[0, 1, 2, 0, 2]).await;
        sources.answer(2, true);
        assert_eq!(task.await.unwrap().unwrap().len(), 2);
    }

    #[test]
    fn whoever_is_left_out_comes_last_and_nothing_twice() {
        assert_eq!(full_order(&[0, 2, 3], &[2, 0], 5), [3, 0, 2, 1, 4]);
        assert_eq!(full_order(&[], &[], 3), [0, 1, 2]);
        assert_eq!(full_order(&[1], &[0, 0, 9], 2), [1, 0]);
    }
}
