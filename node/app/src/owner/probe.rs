//! Probing: who still has which chunk, asked for one leaf of each (spec/wire.md, "Probe").
//!
//! Invariant: a chunk counts as proven only by the leaf that a fresh nonce draws, checked against its id;
//! without an answer nothing is taken for lost. What is found is this owner's own knowledge: a chunk that
//! was not shown is marked in its book as one that could not be read is, and nobody's standing changes.
//! Memory: a few bytes for each chunk, and one answer of each provider that is asked at the time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use commonhold_format::ids::{ChunkId, ContractId, NodeId};
use commonhold_format::probe::{PROBE_SHOWN_MAX, ProbedLeaf};
use commonhold_format::segment::Segment;
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_net::CallError;
use futures::StreamExt;

use super::fetch::{BUSY_PATIENCE, BUSY_PAUSE, BUSY_PAUSE_MAX};
use super::{Owner, blocking};
use crate::datadir::random_secret;

/// Chunks of one probe: half of what there could be, so that a line of 3 kB/s answers in time.
const BATCH: usize = 128;
/// How long the answer to one may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
/// Providers that are probed at the same time.
const AT_ONCE: usize = 8;
/// How often a provider is asked that ends the stream before it is taken for one of an older version.
const TRIES: usize = 3;
/// How long a provider may take to say that it is there.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// What was found of a chunk at a holder, or at the best one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Nobody shows it.
    Lost,
    /// Its holder did not answer.
    Unreachable,
    /// Its holder is there and knows no probes; an audit, if there is a contract, did not find it lost.
    Counted,
    /// The drawn leaf was shown.
    Proven,
}

/// What was found of one provider.
#[derive(Debug)]
pub struct ProbedProvider {
    /// Who.
    pub node: NodeId,
    /// Of each of its chunks.
    pub found: Vec<Found>,
    /// Why not all are proven, the last reason; a phrase, or empty.
    pub why: String,
}

/// What was found of segments.
#[derive(Debug, Default)]
pub struct Probed {
    /// For each segment, of each of its chunks.
    pub chunks: Vec<Vec<Found>>,
    /// By whom.
    pub providers: Vec<ProbedProvider>,
    /// Bytes of answers that were received.
    pub received: u64,
}

/// A chunk that a provider is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    contract: Option<ContractId>,
    segment: u32,
    index: u8,
}

impl Asked {
    fn chunk(&self, segments: &[Segment]) -> (ChunkId, u32) {
        let segment = &segments[self.segment as usize];
        (segment.chunks[usize::from(self.index)], u32::try_from(segment.chunk_len()).unwrap_or(u32::MAX))
    }
}

/// How a probe ended.
#[derive(Debug)]
enum Reply {
    /// With this, to be checked.
    Shown(Vec<Option<ProbedLeaf>>),
    /// The node is there and answers no probes.
    NotKnown(String),
    /// Not at all.
    Silent(String),
}

/// What an answer means, before anything else is asked.
#[derive(Debug)]
enum Step {
    End(Reply),
    /// It has too much to do.
    Busy(String),
    /// It wants a receipt first.
    Credit(String),
    /// It ended the stream: as a node does that does not know the message, and one that was stopped.
    Ended(String),
}

fn step(answer: Result<Response, CallError>) -> Step {
    match answer {
        Ok(Response::Probed { shown }) => Step::End(Reply::Shown(shown)),
        Ok(Response::Refused { reason: Refusal::Busy, message }) => Step::Busy(message),
        Ok(Response::Refused { reason: Refusal::Credit, message }) => Step::Credit(message),
        Ok(Response::Refused { reason: Refusal::Quarantined, message }) => Step::End(Reply::Silent(message)),
        Ok(Response::Refused { message, .. }) => Step::End(Reply::NotKnown(message)),
        Ok(_) => Step::End(Reply::Silent("its answer does not fit the request".to_owned())),
        Err(error @ CallError::Closed { .. }) => Step::Ended(error.to_string()),
        Err(error) => Step::End(Reply::Silent(error.to_string())),
    }
}

/// Which of the chunks are proven: each by the leaf that the nonce draws of it. An answer for another
/// number of chunks proves none.
fn judge(nonce: &[u8; 32], asked: &[(ChunkId, u32)], shown: &[Option<ProbedLeaf>]) -> Vec<bool> {
    if shown.len() != asked.len() {
        return vec![false; asked.len()];
    }
    let proves = |((chunk, len), shown): (&(ChunkId, u32), &Option<ProbedLeaf>)| {
        shown.as_ref().is_some_and(|leaf| leaf.proves(nonce, chunk, *len))
    };
    asked.iter().zip(shown).map(proves).collect()
}

impl Owner {
    /// Asks every holder of every chunk of these segments for a leaf of it. Chunks that are not shown are
    /// marked as lost in this owner's book.
    ///
    /// # Errors
    /// A sentence, when this node could not keep its own records.
    pub async fn probe(self: &Arc<Self>, segments: Arc<[Segment]>) -> Result<Probed, String> {
        self.directory.refresh().await;
        let mut probed = Probed {
            chunks: segments.iter().map(|it| vec![Found::Lost; usize::from(it.code.n())]).collect(),
            ..Probed::default()
        };
        let (owner, of) = (self.clone(), segments.clone());
        let holders = blocking(move || owner.all_holders(&of)).await?;
        let known = |node: &NodeId| self.directory.get(node).is_some();
        let unknown: HashSet<NodeId> = holders.keys().filter(|node| !known(node)).copied().collect();
        self.directory.ask(unknown).await;
        let work = holders.into_iter().map(|(node, asked)| self.probe_node(&segments, node, asked));
        let mut running = futures::stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some(outcome) = running.next().await {
            let (node, mut found, why, received) = outcome?;
            probed.received += received;
            if found.iter().any(|(_, found)| *found == Found::Counted) {
                probed.received += self.count_only(&segments, node, &mut found).await?;
            }
            for (asked, found) in &found {
                let best = &mut probed.chunks[asked.segment as usize][usize::from(asked.index)];
                *best = (*best).max(*found);
            }
            let found = found.into_iter().map(|(_, found)| found).collect();
            probed.providers.push(ProbedProvider { node, found, why });
        }
        drop(running);
        probed.providers.sort_by_key(|it| it.node);
        Ok(probed)
    }

    /// Whom to ask for what: by this owner's book, and for segments that another device put, as their
    /// description hints too. Blocks on the index.
    fn all_holders(&self, segments: &[Segment]) -> HashMap<NodeId, Vec<Asked>> {
        let mut holders: HashMap<NodeId, Vec<Asked>> = HashMap::new();
        let mut nodes: HashMap<ContractId, Option<NodeId>> = HashMap::new();
        for (segment, at) in segments.iter().zip(0..) {
            let foreign = self.is_foreign(segment);
            for index in 0..segment.code.n() {
                if foreign {
                    for (node, contract) in self.sources(segment, index) {
                        holders.entry(node).or_default().push(Asked { contract, segment: at, index });
                    }
                    continue;
                }
                let held = self.store.holders(&segment.chunks[usize::from(index)]);
                for holding in held.into_iter().filter(|holding| !holding.lost) {
                    let contract = holding.contract;
                    let node = *nodes.entry(contract).or_insert_with(|| self.node_of(&contract));
                    let asked = Asked { contract: Some(contract), segment: at, index };
                    if let Some(node) = node {
                        holders.entry(node).or_default().push(asked);
                    }
                }
            }
        }
        // One contract after the other: what is owed under one keeps nothing back of another.
        holders.values_mut().for_each(|asked| asked.sort_unstable());
        holders
    }

    /// Asks one provider for all its chunks.
    #[allow(clippy::type_complexity, reason = "used once, right above")]
    async fn probe_node(
        &self,
        segments: &Arc<[Segment]>,
        node: NodeId,
        asked: Vec<Asked>,
    ) -> Result<(NodeId, Vec<(Asked, Found)>, String, u64), String> {
        let mut found = Vec::with_capacity(asked.len());
        let (mut why, mut received) = (String::new(), 0);
        // What is true of all that is not asked for any more.
        let mut rest = None;
        if self.directory.get(&node).is_none_or(|known| !known.reachable) && !self.is_there(node).await {
            (rest, why) = (Some(Found::Unreachable), "it cannot be reached".to_owned());
        }
        let batches = asked.chunk_by(|a, b| a.contract == b.contract).flat_map(|it| it.chunks(BATCH));
        for batch in batches {
            if let Some(rest) = rest {
                found.extend(batch.iter().map(|asked| (*asked, rest)));
                continue;
            }
            let contract = batch.first().and_then(|asked| asked.contract);
            let wanted: Vec<(ChunkId, u32)> = batch.iter().map(|asked| asked.chunk(segments)).collect();
            let nonce: [u8; 32] = *random_secret();
            let chunks: Vec<ChunkId> = wanted.iter().map(|(chunk, _)| *chunk).collect();
            let all = match self
                .ask_for_leaves(node, contract, Request::Probe { nonce, chunks: chunks.clone() })
                .await
            {
                Reply::Shown(shown) => {
                    let judging = move || {
                        let proven = judge(&nonce, &wanted, &shown);
                        (proven, Response::Probed { shown }.encode().len() as u64)
                    };
                    let (proven, bytes) = blocking(judging).await?;
                    received += bytes;
                    let lost: Vec<ChunkId> = chunks
                        .into_iter()
                        .zip(&proven)
                        .filter(|(_, proven)| !**proven)
                        .map(|(it, _)| it)
                        .collect();
                    if !lost.is_empty() {
                        why = "it does not show chunks that it signed for".to_owned();
                        tracing::warn!(%node, chunks = lost.len(), "a provider does not show what it signed for");
                        if let Some(contract) = contract {
                            self.mark_lost(contract, lost).await;
                        }
                    }
                    let of = |proven| if proven { Found::Proven } else { Found::Lost };
                    found.extend(batch.iter().copied().zip(proven.into_iter().map(of)));
                    continue;
                }
                Reply::NotKnown(reason) => {
                    why = format!("it answers no probes: {reason}");
                    rest = Some(Found::Counted);
                    Found::Counted
                }
                Reply::Silent(reason) => {
                    why = reason;
                    // Whoever is still there may answer for other chunks.
                    if self.directory.is_down(&node) {
                        rest = Some(Found::Unreachable);
                    }
                    Found::Unreachable
                }
            };
            found.extend(batch.iter().map(|asked| (*asked, all)));
        }
        Ok((node, found, why, received))
    }

    /// One probe, with as much patience as a read has.
    async fn ask_for_leaves(&self, node: NodeId, contract: Option<ContractId>, request: Request) -> Reply {
        let Request::Probe { chunks, .. } = &request else {
            return Reply::Silent("not a probe".to_owned());
        };
        let most = chunks.len() as u64 * PROBE_SHOWN_MAX as u64;
        let begun = Instant::now();
        let (mut pause, mut ended, mut settled) = (BUSY_PAUSE, 0, false);
        loop {
            self.link.download.take(most).await;
            let answer = self.net.call(node, request.clone(), PROBE_TIMEOUT).await;
            let taken = match &answer {
                Ok(Response::Probed { shown }) => {
                    shown.iter().flatten().map(|it| it.bytes.len() + it.path.as_flattened().len()).sum()
                }
                _ => 0,
            };
            self.link.download.give_back(most.saturating_sub(taken as u64));
            self.link.received(taken);
            match &answer {
                Ok(_) => self.directory.observed(&node, true),
                Err(CallError::Closed { .. } | CallError::BadAnswer { .. }) => {}
                Err(_) => self.directory.observed(&node, false),
            }
            match step(answer) {
                Step::End(reply) => return reply,
                Step::Credit(why) => match contract {
                    Some(contract) if !settled && self.settle_for_credit(&contract).await => settled = true,
                    _ => return Reply::Silent(why),
                },
                Step::Busy(why) if begun.elapsed() > BUSY_PATIENCE => return Reply::Silent(why),
                Step::Busy(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BUSY_PAUSE_MAX);
                }
                Step::Ended(why) => {
                    ended += 1;
                    if !self.is_there(node).await {
                        return Reply::Silent(why);
                    }
                    if ended == TRIES {
                        return Reply::NotKnown(why);
                    }
                    // It may be one that answers as many requests as it can.
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Whether a node answers at all.
    async fn is_there(&self, node: NodeId) -> bool {
        let there =
            matches!(self.net.call(node, Request::Hello, HELLO_TIMEOUT).await, Ok(Response::Record { .. }));
        self.directory.observed(&node, there);
        there
    }

    /// Audits a provider that answers no probes, and takes back what it then does not show. Answers the
    /// bytes that were received.
    async fn count_only(
        &self,
        segments: &Arc<[Segment]>,
        node: NodeId,
        found: &mut [(Asked, Found)],
    ) -> Result<u64, String> {
        let audited = self.audit_now(Some(node), None).await?;
        let there = !self.directory.is_down(&node);
        for (asked, found) in found.iter_mut().filter(|(_, found)| *found == Found::Counted) {
            let (chunk, _) = asked.chunk(segments);
            let holders = self.store.holders(&chunk);
            if holders.iter().any(|it| it.lost && Some(it.contract) == asked.contract) {
                *found = Found::Lost;
            } else if !there {
                *found = Found::Unreachable;
            }
        }
        Ok(audited.iter().map(|audit| audit.received).sum())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use commonhold_format::probe::probed_leaf;
    use commonhold_format::tree::{LeafProof, chunk_id, leaf_count};

    use super::*;

    fn chunk(seed: u8) -> Vec<u8> {
        (0..20_000).map(|at| (at % 251) as u8 ^ (at / 1024) as u8 ^ seed).collect()
    }

    fn leaf(bytes: &[u8], leaf: u64) -> Option<ProbedLeaf> {
        Some(LeafProof::from_chunk(&chunk_id(bytes), bytes, leaf).unwrap().into())
    }

    fn honest(nonce: &[u8; 32], bytes: &[u8]) -> Option<ProbedLeaf> {
        leaf(bytes, probed_leaf(nonce, &chunk_id(bytes), 20_000).unwrap())
    }

    #[test]
    fn attack_27_of_a_hostile_answer_nothing_counts_but_what_is_right() {
        let nonce = [5; 32];
        let chunks: Vec<Vec<u8>> = (0..4).map(chunk).collect();
        let asked: Vec<(ChunkId, u32)> = chunks.iter().map(|bytes| (chunk_id(bytes), 20_000)).collect();
        let right: Vec<_> = chunks.iter().map(|bytes| honest(&nonce, bytes)).collect();
        assert_eq!(judge(&nonce, &asked, &right), [true; 4]);
        // Another count, be all of it right.
        assert_eq!(judge(&nonce, &asked, &right[..3]), [false; 4]);
        assert_eq!(judge(&nonce, &asked, &[&right[..], &right[..1]].concat()), [false; 4]);
        assert_eq!(judge(&nonce, &asked, &[]), [false; 4]);
        // Another order.
        let turned: Vec<_> = right.iter().rev().cloned().collect();
        assert_eq!(judge(&nonce, &asked, &turned), [false; 4]);
        // The leaf of another chunk, a leaf of another index, another path, and none.
        let mut wrong = right.clone();
        wrong[0] = honest(&nonce, &chunks[1]);
        let drawn = probed_leaf(&nonce, &asked[1].0, 20_000).unwrap();
        wrong[1] = leaf(&chunks[1], (drawn + 1) % leaf_count(20_000));
        wrong[2].as_mut().unwrap().path.swap(0, 1);
        wrong[3] = None;
        assert_eq!(judge(&nonce, &asked, &wrong), [false; 4]);
        let mut one = right.clone();
        one[2] = None;
        assert_eq!(judge(&nonce, &asked, &one), [true, true, false, true]);
        // An answer to another nonce, as one that was kept, proves what happens to be drawn again.
        let later = [6; 32];
        let again = |bytes: &Vec<u8>| {
            let of = |nonce| probed_leaf(nonce, &chunk_id(bytes), 20_000);
            of(&nonce) == of(&later)
        };
        assert_eq!(judge(&later, &asked, &right), chunks.iter().map(again).collect::<Vec<_>>());
    }

    #[test]
    fn without_an_answer_nothing_is_lost() {
        let node = NodeId([1; 32]);
        let refused = |reason| Ok(Response::Refused { reason, message: "why".to_owned() });
        let silent = |answer| matches!(step(answer), Step::End(Reply::Silent(_)));
        assert!(silent(Err(CallError::Timeout { node, seconds: 60 })));
        assert!(silent(Err(CallError::Unreachable { node, why: String::new() })));
        assert!(silent(Err(CallError::BadAnswer { node, why: String::new() })));
        assert!(silent(Ok(Response::Done)) && silent(refused(Refusal::Quarantined)));
        assert!(matches!(step(refused(Refusal::Busy)), Step::Busy(_)));
        assert!(matches!(step(refused(Refusal::Credit)), Step::Credit(_)));
        // What a node says that has never heard of probes.
        assert!(matches!(step(Err(CallError::Closed { node })), Step::Ended(_)));
        for reason in [Refusal::Other, Refusal::Invalid, Refusal::Terms, Refusal::Unknown] {
            assert!(matches!(step(refused(reason)), Step::End(Reply::NotKnown(_))));
        }
    }
}
