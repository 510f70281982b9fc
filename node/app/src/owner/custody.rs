//! The drive's `Custody`, kept by providers: choosing them, sending chunks, giving them up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_drive::{Custody, CustodyError, Meter, PlacedChunks, Stage};
use commonhold_engine::placement::{self, Candidate, Need, Placing};
use commonhold_engine::policy::BuiltIn;
use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, ContractId, NodeId, SegmentId};
use commonhold_format::policy::{Purpose, Send};
use commonhold_format::segment::Segment;
use commonhold_store::SMALL_CHUNK_LEN_MAX;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::market::View;
use super::{Owner, ProviderError, blocking};
use crate::clock::moment;
use crate::datadir::random_secret;
use crate::node::SMALL_CHUNKS_BYTES_MIN;

/// How often the network is searched again when too few providers are known.
const SEARCHES: usize = 4;
/// Pause between two searches.
const SEARCH_PAUSE: Duration = Duration::from_millis(500);

impl Custody for Owner {
    fn code(&self) -> BoxFuture<'_, Result<Code, CustodyError>> {
        Box::pin(self.choose_code())
    }

    fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    fn keep(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> BoxFuture<'_, Result<Segment, CustodyError>> {
        Box::pin(self.keep_segment(code, len, chunks))
    }

    fn fetch(
        &self,
        segment: &Segment,
        prefer: Option<NodeId>,
    ) -> BoxFuture<'_, Result<PlacedChunks, CustodyError>> {
        let segment = segment.clone();
        Box::pin(async move { self.fetch_segment(&segment, prefer, Purpose::Use).await })
    }

    fn retain(&self, live: HashSet<SegmentId>) -> BoxFuture<'_, Result<(), CustodyError>> {
        Box::pin(self.release_all_but(live))
    }
}

impl Owner {
    async fn choose_code(&self) -> Result<Code, CustodyError> {
        for search in 0.. {
            let market = self.market();
            match placement::choose_code(&market.candidates, &*self.policies.placement, moment()) {
                Ok(code) => return Ok(code),
                Err(too_few) if search == SEARCHES => {
                    return Err(too_few_at(&market, too_few.have, too_few.need));
                }
                Err(_) => {
                    self.directory.refresh().await;
                    if search > 0 {
                        tokio::time::sleep(SEARCH_PAUSE).await;
                    }
                }
            }
        }
        Err(CustodyError::NoProviders)
    }

    /// Why nothing can be stored now, if that is so and something was stored before. The policy is not asked.
    pub fn shortage(&self) -> Option<String> {
        if self.contracts().is_empty() {
            return None;
        }
        let market = self.market();
        let too_few = placement::choose_code(&market.candidates, &BuiltIn, moment()).err()?;
        Some(format!("nothing can be stored now: {}", too_few_at(&market, too_few.have, too_few.need)))
    }

    async fn keep_segment(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Segment, CustodyError> {
        let chunk_len = chunks.first().map_or(0, |(_, bytes)| bytes.len() as u64);
        let n = usize::from(code.n());
        let ranked = self.holders_for(code, chunk_len).await?;
        let spares = std::sync::Mutex::new(ranked[n..].to_vec());
        let parallel = self.policies.transport.ask(Send {
            now: moment(),
            purpose: Purpose::Use,
            k: u32::from(code.k()),
            n: u32::from(code.n()),
            chunk_len: u32::try_from(chunk_len).unwrap_or(u32::MAX),
        });
        let send = |(at, ((chunk, bytes), node)): (usize, (&(ChunkId, Bytes), &NodeId))| {
            let (spares, chunk, node, bytes) = (&spares, *chunk, *node, bytes.clone());
            async move { (at, self.send_to_one(node, chunk, &bytes, spares).await) }
        };
        let mut waiting = chunks.iter().zip(&ranked).enumerate();
        let at_once = usize::try_from(parallel).unwrap_or(usize::MAX).max(1);
        let mut sending: FuturesUnordered<_> = waiting.by_ref().take(at_once).map(send).collect();
        let mut holders = ranked[..n].to_vec();
        let mut signed = 0;
        let mut failures = Vec::new();
        while let Some((at, outcome)) = sending.next().await {
            sending.extend(waiting.next().map(send));
            match outcome {
                Ok(node) => {
                    holders[at] = node;
                    signed += 1;
                }
                Err(error) => failures.push(error),
            }
        }
        drop(sending);
        let need = usize::from(placement::stored_threshold(code));
        if signed < need {
            if let Some(full) = failures.iter().find(|error| matches!(error, ProviderError::Full { .. })) {
                // The free space that their records named is used up by now.
                self.directory.refresh().await;
                return Err(match self.full(code, chunk_len) {
                    // It is not, and all the same it is not for these.
                    CustodyError::Full { free, needed } if free >= needed => {
                        CustodyError::Quota { signed, need, reason: full.to_string() }
                    }
                    full => full,
                });
            }
            return Err(not_stored(signed, need, &failures));
        }
        for error in &failures {
            tracing::warn!(%error, "a segment is stored with a chunk missing; repair will make it again");
        }
        let segment =
            Segment { code, len, chunks: chunks.into_iter().map(|(chunk, _)| chunk).collect(), holders };
        let (store, kept) = (self.store.clone(), segment.clone());
        let begun = Instant::now();
        blocking(move || store.put_segment(&kept).map_err(|error| error.to_string()))
            .await
            .and_then(|kept| kept)
            .map_err(CustodyError::Other)?;
        self.meter.since(Stage::Index, begun);
        Ok(segment)
    }

    /// Providers for the chunks of a segment, best first; those beyond n are spares. What they said of
    /// their free space may be out of date, so they are asked again before fewer than n are taken for an
    /// answer. The policy is asked once there are enough to choose from, and again only when others have
    /// been found.
    async fn holders_for(&self, code: Code, chunk_len: u64) -> Result<Vec<NodeId>, CustodyError> {
        let (n, seed) = (usize::from(code.n()), random_secret());
        let chunk_len_needed = chunk_len + kept_free(chunk_len);
        let mut asked = None;
        let mut search = 0;
        loop {
            let market = self.market();
            let need =
                Need { now: moment(), purpose: Purpose::Use, code, holders: n, chunk_len: chunk_len_needed };
            let placing = Placing::new(&market.candidates, &[], &need, &seed, |_| None);
            let could = placing.holders(&BuiltIn).len();
            let nodes: Vec<_> = placing.question().candidates.iter().map(|it| it.node).collect();
            if could >= n && asked.as_ref().is_none_or(|(before, _)| *before != nodes) {
                let ranked = placing.holders(&*self.policies.placement);
                if ranked.len() >= n {
                    return Ok(ranked);
                }
                asked = Some((nodes, ranked.len()));
            }
            if search == SEARCHES {
                return Err(match asked {
                    Some((_, named)) if could >= n => {
                        CustodyError::PlacementPolicy { named, providers: could, need: n }
                    }
                    _ => self.short_of(&market, code, chunk_len),
                });
            }
            search += 1;
            tokio::time::sleep(SEARCH_PAUSE).await;
            self.directory.refresh().await;
        }
    }

    /// Why not every chunk of a segment has a provider.
    fn short_of(&self, market: &View, code: Code, chunk_len: u64) -> CustodyError {
        let n = usize::from(code.n());
        let providers = with_any_room(&market.candidates);
        if providers >= n { self.full(code, chunk_len) } else { too_few_at(market, providers, n) }
    }

    /// The disk quota of the providers is reached: how much a segment would find with them, of whom each
    /// takes one chunk, and how much is needed.
    fn full(&self, code: Code, chunk_len: u64) -> CustodyError {
        let candidates = self.candidates();
        let found = |free: u64| free.saturating_sub(kept_free(chunk_len)).min(chunk_len);
        let mut rooms: Vec<u64> = candidates.iter().map(|it| found(it.free_bytes)).collect();
        rooms.sort_unstable_by(|a, b| b.cmp(a));
        let free = rooms.iter().take(usize::from(code.n())).sum();
        CustodyError::Full { free, needed: chunk_len * u64::from(code.n()) }
    }

    /// Gives up every segment that is not in `live`: its chunks leave their contracts.
    async fn release_all_but(&self, live: HashSet<SegmentId>) -> Result<(), CustodyError> {
        let store = self.store.clone();
        let (gone, by_contract) = blocking(move || {
            let mut gone = Vec::new();
            let mut kept_chunks = HashSet::new();
            let mut gone_chunks = HashSet::new();
            for segment in store.segments() {
                let id = segment.id();
                if live.contains(&id) {
                    kept_chunks.extend(segment.chunks);
                } else {
                    gone.push(id);
                    gone_chunks.extend(segment.chunks);
                }
            }
            let mut by_contract: std::collections::HashMap<ContractId, Vec<ChunkId>> = Default::default();
            for chunk in gone_chunks.difference(&kept_chunks) {
                for holding in store.holders(chunk) {
                    by_contract.entry(holding.contract).or_default().push(*chunk);
                }
            }
            (gone, by_contract)
        })
        .await
        .map_err(CustodyError::Other)?;
        let mut failed = HashSet::new();
        for (contract, chunks) in by_contract {
            let released = match self.node_of(&contract) {
                Some(node) if !self.directory.is_down(&node) => match self.line(node).await {
                    Ok(line) if line.contract == contract => {
                        line.remove(chunks.clone()).await.map_err(|error| error.to_string())
                    }
                    Ok(_) => Err("its contract has ended".to_owned()),
                    Err(error) => Err(error.to_string()),
                },
                _ => Err("it is out of reach".to_owned()),
            };
            if let Err(error) = released {
                tracing::warn!(%contract, error, "chunks stay at their provider until the next removal");
                failed.extend(chunks);
            }
        }
        // A segment with a chunk left somewhere stays in the index, so that the next call tries again.
        let store = self.store.clone();
        blocking(move || {
            let done: Vec<SegmentId> = gone
                .into_iter()
                .filter(|id| {
                    store
                        .segment(id)
                        .is_some_and(|segment| !segment.chunks.iter().any(|chunk| failed.contains(chunk)))
                })
                .collect();
            store.remove_segments(&done).map_err(|error| error.to_string())
        })
        .await
        .and_then(|removed| removed)
        .map_err(CustodyError::Other)
    }
}

/// How many chunks of a segment these could hold if all had the room.
fn with_any_room(candidates: &[Candidate]) -> usize {
    let mut roomy = candidates.to_vec();
    roomy.iter_mut().for_each(|candidate| candidate.free_bytes = u64::MAX);
    placement::rank(&roomy, &[], 1, &random_secret()).len()
}

/// `have` providers are too few: because of their prices, when it would be enough with those that ask for
/// too much.
fn too_few_at(market: &View, have: usize, need: usize) -> CustodyError {
    let all = [market.candidates.clone(), market.dear.clone()].concat();
    if !market.dear.is_empty() && with_any_room(&all) >= need {
        return CustodyError::TooExpensive { have, need, dear: market.dear.len() };
    }
    match have {
        0 => CustodyError::NoProviders,
        have => CustodyError::TooFewProviders { have, need },
    }
}

/// What a provider keeps free at least when it takes a chunk of this length (spec/store.md, "Put").
fn kept_free(chunk_len: u64) -> u64 {
    if chunk_len > SMALL_CHUNK_LEN_MAX as u64 { SMALL_CHUNKS_BYTES_MIN } else { 0 }
}

fn not_stored(signed: usize, need: usize, failures: &[ProviderError]) -> CustodyError {
    let reason = failures.first().map_or_else(String::new, ToString::to_string);
    CustodyError::NotStored { signed, need, reason }
}

/// The owner as the drive sees it.
pub fn as_custody(owner: &Arc<Owner>) -> Arc<dyn Custody> {
    owner.clone()
}
