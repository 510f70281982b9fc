//! Repair: segments that lack chunks get them back, made from any k others, ciphertext alone.
//!
//! Invariant: a chunk is made again only from chunks that were checked against their ids, and it
//! is the same chunk: its id is compared before it is sent. Not here: when a holder counts as gone
//! (engine decides from what is passed in).

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use commonhold_drive::{Custody, CustodyError};

use commonhold_engine::durability::{self, Health, HolderView, Mending};
use commonhold_engine::placement::Candidate;
use commonhold_engine::policy::BuiltIn;
use commonhold_format::code::Coder;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::policy::{Policy, Purpose};
use commonhold_format::segment::Segment;
use commonhold_format::tree::chunk_id;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Owner, blocking};
use crate::clock::{moment, unix_seconds};
use crate::datadir::random_secret;

/// Segments that are repaired at the same time; bounds memory to a few coded segments.
const PARALLEL: usize = 3;
/// Pause before repair looks for new providers once more.
const SEARCH_PAUSE: Duration = Duration::from_millis(500);
/// How often it does.
const SEARCHES: usize = 10;

/// What one run of repair found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Segments looked at.
    pub segments: u64,
    /// Segments with all their chunks at the end.
    pub full: u64,
    /// Segments that got chunks back.
    pub repaired_segments: u64,
    /// Chunks made again and signed for.
    pub rebuilt_chunks: u64,
    /// Their bytes.
    pub rebuilt_bytes: u64,
    /// Segments that still lack chunks and can be read.
    pub at_risk: u64,
    /// Segments with fewer than k chunks.
    pub lost: u64,
}

/// Segments by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redundancy {
    /// With all their chunks.
    pub complete: u64,
    /// Lacking some, with more than a quarter of the parity.
    pub missing: u64,
    /// With a quarter of the parity or less.
    pub at_risk: u64,
    /// With fewer than k chunks.
    pub lost: u64,
}

impl Redundancy {
    /// Those that lack a chunk.
    pub fn degraded(&self) -> u64 {
        self.missing + self.at_risk + self.lost
    }

    /// All.
    pub fn segments(&self) -> u64 {
        self.complete + self.degraded()
    }
}

impl Owner {
    /// How each chunk of a segment stands: the best of its holders.
    fn views(&self, segment: &Segment) -> Vec<HolderView> {
        let now = unix_seconds();
        (0..segment.code.n())
            .flat_map(|index| {
                let chunk = &segment.chunks[usize::from(index)];
                self.store.holders(chunk).into_iter().filter_map(move |holding| {
                    let node = self.node_of(&holding.contract)?;
                    let last_seen = self
                        .directory
                        .get(&node)
                        .map(|known| if known.reachable { now } else { known.last_seen });
                    Some(HolderView { index, node, last_seen, lost: holding.lost })
                })
            })
            .collect()
    }

    /// How all segments stand at present.
    pub fn redundancy(&self, absent_after_seconds: u64) -> Redundancy {
        let now = unix_seconds();
        let mut found = Redundancy::default();
        for segment in self.store.segments() {
            let views = self.views(&segment);
            let missing = durability::missing(segment.code, &views, absent_after_seconds, now).len();
            let alive = usize::from(segment.code.n()).saturating_sub(missing);
            *match durability::assess(segment.code, u8::try_from(alive).unwrap_or(0)) {
                Health::Full => &mut found.complete,
                Health::Degraded => &mut found.missing,
                Health::Urgent => &mut found.at_risk,
                Health::Lost => &mut found.lost,
            } += 1;
        }
        found
    }

    /// Segments that the repair that runs has still to do; chunks that were made again since the start, and
    /// their bytes.
    pub fn repairs(&self) -> (u64, u64, u64) {
        let [queue, chunks, bytes] = self.repairs.each_ref().map(|it| it.load(Ordering::Relaxed));
        (queue, chunks, bytes)
    }

    /// Whether a segment is not in this node's book: another device of this owner put it.
    pub fn is_foreign(&self, segment: &Segment) -> bool {
        self.store.segment(&segment.id()).is_none()
    }

    /// Keeps a segment under contracts of this node, from its ciphertext. Gives how many chunks were placed.
    pub async fn adopt(&self, segment: &Segment, bytes: &[u8]) -> Result<u64, CustodyError> {
        let (code, len) = (segment.code, segment.len);
        let mut all = bytes.to_vec();
        let ids = segment.chunks.clone();
        let coding = move || {
            let chunk_len = code
                .encode_in_place(&mut Coder::default(), &mut all)
                .map_err(|error| CustodyError::Other(error.to_string()))?;
            let all = Bytes::from(all);
            let chunks: Vec<(ChunkId, Bytes)> =
                all.chunks(chunk_len).map(|chunk| (chunk_id(chunk), all.slice_ref(chunk))).collect();
            let same = chunks.iter().map(|(id, _)| *id).eq(ids);
            if same { Ok(chunks) } else { Err(CustodyError::Other("it codes to other chunks".to_owned())) }
        };
        let chunks = blocking(coding).await.map_err(CustodyError::Other)??;
        self.keep(code, len, chunks).await?;
        Ok(u64::from(code.n()))
    }

    /// Looks at every segment and makes missing chunks again. A holder that has been out of reach
    /// for longer than `absent_after_seconds` counts as gone; 0 means out of reach right now.
    ///
    /// # Errors
    /// A sentence, when this node could not keep its own records.
    pub async fn repair_now(&self, absent_after_seconds: u64) -> Result<Repaired, String> {
        let _one_at_a_time = self.repairing.lock().await;
        self.directory.refresh().await;
        let unknown: HashSet<NodeId> = self
            .contracts()
            .iter()
            .map(|state| state.contract.node)
            .filter(|node| self.directory.get(node).is_none())
            .collect();
        self.directory.ask(unknown).await;
        let now = unix_seconds();
        let store = self.store.clone();
        let segments = blocking(move || store.segments()).await?;
        let mut report = Repaired { segments: segments.len() as u64, ..Repaired::default() };
        let mut ailing = Vec::new();
        for segment in segments {
            let missing = durability::missing(segment.code, &self.views(&segment), absent_after_seconds, now);
            if missing.is_empty() {
                report.full += 1;
            } else {
                ailing.push((segment, missing));
            }
        }
        self.find_room(&ailing).await;
        let count = |missing: &[u8], segment: &Segment| segment.code.n() - missing.len() as u8;
        // Most urgent first.
        ailing.sort_by_key(|(segment, missing)| count(missing, segment).saturating_sub(segment.code.k()));
        self.repairs[0].store(ailing.len() as u64, Ordering::Relaxed);
        let mut waiting = ailing.into_iter();
        let heal = |(segment, missing): (Segment, Vec<u8>)| async move {
            let alive = segment.code.n() - missing.len() as u8;
            let health = durability::assess(segment.code, alive);
            let healed = self.heal(&segment, &missing).await;
            (segment, missing, health, healed)
        };
        let mut running: FuturesUnordered<_> = waiting.by_ref().take(PARALLEL).map(heal).collect();
        while let Some((segment, missing, health, healed)) = running.next().await {
            running.extend(waiting.next().map(heal));
            self.repairs[0].fetch_sub(1, Ordering::Relaxed);
            match healed {
                Ok(rebuilt) => {
                    self.repairs[1].fetch_add(rebuilt, Ordering::Relaxed);
                    self.repairs[2].fetch_add(rebuilt * segment.chunk_len() as u64, Ordering::Relaxed);
                    report.rebuilt_chunks += rebuilt;
                    report.rebuilt_bytes += rebuilt * segment.chunk_len() as u64;
                    report.repaired_segments += u64::from(rebuilt > 0);
                    if rebuilt == missing.len() as u64 {
                        report.full += 1;
                    } else {
                        report.at_risk += 1;
                    }
                }
                Err(error) => {
                    tracing::warn!(segment = %segment.id(), error, "a segment could not be repaired");
                    if health == Health::Lost {
                        report.lost += 1;
                    } else {
                        report.at_risk += 1;
                    }
                }
            }
        }
        Ok(report)
    }

    /// Searches for providers until the worst segment can get all its chunks back, or gives up.
    async fn find_room(&self, ailing: &[(Segment, Vec<u8>)]) {
        for _ in 0..SEARCHES {
            // The policy is not asked before there is enough to choose from.
            let short = ailing.iter().any(|(segment, missing)| {
                self.targets(segment, missing, &BuiltIn).iter().any(|(_, target)| target.is_none())
            });
            if !short {
                return;
            }
            tokio::time::sleep(SEARCH_PAUSE).await;
            self.directory.refresh().await;
        }
    }

    fn targets(&self, segment: &Segment, missing: &[u8], policy: &dyn Policy) -> Vec<(u8, Option<NodeId>)> {
        let views = self.views(segment);
        let all = self.candidates();
        // Also those that are out of reach for the moment: their party and subnet still count.
        let good: Vec<Candidate> = views
            .iter()
            .filter(|view| !view.lost && !missing.contains(&view.index))
            .filter_map(|view| self.candidate(&self.directory.get(&view.node)?))
            .collect();
        let (seed, chunk_len) = (random_secret(), segment.chunk_len() as u64);
        let mending = Mending { now: moment(), code: segment.code, chunk_len, seed: &seed };
        durability::repair_targets(missing, &views, &good, &all, &mending, policy)
    }

    /// Makes the missing chunks of one segment again; answers how many were signed for.
    async fn heal(&self, segment: &Segment, missing: &[u8]) -> Result<u64, String> {
        let found = |policy: &dyn Policy| -> Vec<(u8, NodeId)> {
            let targets = self.targets(segment, missing, policy).into_iter();
            targets.filter_map(|(index, target)| target.map(|node| (index, node))).collect()
        };
        let targets = found(&*self.policies.placement);
        if targets.is_empty() {
            let why = if !found(&BuiltIn).is_empty() {
                "this node's placement policy chose none of the providers that could take its chunks"
            } else if self.market().dear.is_empty() {
                "no provider is known that could take its chunks"
            } else {
                "no provider that could take its chunks asks for as little as this node's pricing policy accepts"
            };
            return Err(why.to_owned());
        }
        let chunks =
            self.fetch_segment(segment, None, Purpose::Repair).await.map_err(|error| error.to_string())?;
        let (code, len) = (segment.code, segment.len as usize);
        let wanted: Vec<u8> = targets.iter().map(|(index, _)| *index).collect();
        let ids = segment.chunks.clone();
        let rebuilt = blocking(move || {
            let given: Vec<(u8, &[u8])> = chunks.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
            let rebuilt = code.rebuild(len, &given, &wanted).map_err(|error| error.to_string())?;
            let same =
                wanted.iter().zip(&rebuilt).all(|(index, bytes)| chunk_id(bytes) == ids[usize::from(*index)]);
            if same { Ok(rebuilt) } else { Err("a rebuilt chunk has another id".to_owned()) }
        })
        .await??;
        let mut sending: FuturesUnordered<_> = targets
            .iter()
            .zip(rebuilt)
            .map(|((index, node), bytes)| async move {
                let chunk = segment.chunks[usize::from(*index)];
                (*index, *node, self.send_patiently(*node, chunk, &bytes.into()).await)
            })
            .collect();
        let mut healed = segment.clone();
        let mut signed = 0;
        let mut reason = None;
        while let Some((index, node, outcome)) = sending.next().await {
            match outcome {
                Ok(()) => {
                    healed.holders[usize::from(index)] = node;
                    signed += 1;
                }
                Err(error) => reason = Some(error.to_string()),
            }
        }
        let store = self.store.clone();
        blocking(move || store.put_segment(&healed).map_err(|error| error.to_string())).await??;
        match reason {
            Some(reason) if signed == 0 => Err(reason),
            _ => Ok(signed),
        }
    }

    /// Repairs at the configured interval until this node stops.
    pub async fn repair_forever(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(self.config.repair_interval.0)).await;
            match self.repair_now(self.config.absent_after.0).await {
                Ok(report) if report.full == report.segments => {}
                Ok(report) => tracing::warn!(?report, "not every segment has all its chunks"),
                Err(error) => tracing::error!(error, "repair could not keep its records"),
            }
        }
    }
}
