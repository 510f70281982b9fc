//! Is everything that a drive needs there, as often as it should be? And if not, which files are at risk.
//!
//! Invariant: a chunk counts only when its holder showed the leaf of it that was drawn, or answers no
//! probes and was audited instead, which the report tells apart. Nothing else is downloaded, but in a repair
//! the chunks that others are made from. What a leaf shows is said in spec/wire.md.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use commonhold_client::types::{AtRisk, CheckReport, CheckedProvider, Incomplete};
use commonhold_drive::{Drive, DrivePath};
use commonhold_format::ids::SegmentId;
use commonhold_format::segment::Segment;
use commonhold_gateway::ApiFault;

use crate::owner::Owner;
use crate::owner::probe::{Found, Probed, ProbedProvider};

/// Files at risk, incomplete ones, and providers, that a report lists.
const LISTED_MAX: usize = 1000;

/// What was found of one drive.
#[derive(Default)]
struct Seen {
    segments: Vec<Segment>,
    /// Where each is.
    places: HashMap<SegmentId, usize>,
    /// Each path with its segments.
    paths: Vec<(String, Vec<usize>)>,
    files: u64,
}

impl Seen {
    /// What is needed below `path`, or by everything, as the drive is now.
    async fn of(drive: &Drive, path: Option<&DrivePath>) -> Result<Self, ApiFault> {
        let mut seen = Self::default();
        drive.needs(path, |needs| seen.take_in(needs)).await.map_err(super::api::drive_fault)?;
        Ok(seen)
    }

    fn take_in(&mut self, needs: commonhold_drive::Needs<'_>) {
        self.files += u64::from(needs.is_file);
        let mut own = Vec::with_capacity(needs.segments.len());
        for segment in needs.segments {
            let next = self.segments.len();
            let place = *self.places.entry(segment.id()).or_insert(next);
            if place == next {
                self.segments.push(segment.clone());
            }
            own.push(place);
        }
        // Versions follow their file, under its path.
        match self.paths.last_mut().filter(|(path, _)| path == needs.path) {
            Some((_, places)) => places.extend(own),
            None => self.paths.push((needs.path.to_owned(), own)),
        }
        if let Some((_, places)) = self.paths.last_mut() {
            places.sort_unstable();
            places.dedup();
        }
    }
}

fn count(found: &[Found], what: Found) -> u64 {
    found.iter().filter(|it| **it == what).count() as u64
}

/// How many chunks of a segment are there.
fn present(found: &[Found]) -> u64 {
    count(found, Found::Proven) + count(found, Found::Counted)
}

fn incomplete(found: &[Found]) -> bool {
    present(found) < found.len() as u64
}

/// Checks what is below `path`, or everything, and repairs it if asked to.
///
/// # Errors
/// As the drive has them; `internal` when this node could not keep its own records.
pub async fn check(
    owner: &Arc<Owner>,
    drive: &Arc<Drive>,
    path: Option<&DrivePath>,
    repair: bool,
) -> Result<CheckReport, ApiFault> {
    let begun = Instant::now();
    let internal = |why: String| ApiFault::internal(why);
    let Seen { segments, mut paths, files, .. } = Seen::of(drive, path).await?;
    let segments: Arc<[Segment]> = segments.into();
    let Probed { mut chunks, providers, received } = owner.probe(segments.clone()).await.map_err(internal)?;
    let mut report = CheckReport {
        files,
        segments: segments.len() as u64,
        fetched_bytes: received,
        providers: providers.iter().take(LISTED_MAX).map(checked).collect(),
        ..CheckReport::default()
    };
    let ailing: Vec<usize> = (0..segments.len()).filter(|at| incomplete(&chunks[*at])).collect();
    if repair && !ailing.is_empty() {
        report.repaired_chunks = mend(owner, drive, &segments, &ailing).await?;
        let again: Arc<[Segment]> = ailing.iter().map(|at| segments[*at].clone()).collect();
        let probed = owner.probe(again).await.map_err(internal)?;
        report.fetched_bytes += probed.received;
        for (at, found) in ailing.into_iter().zip(probed.chunks) {
            chunks[at] = found;
        }
    }
    if chunks.iter().any(|found| incomplete(found)) {
        // What was given up since, by a change of the drive or of a link, is missed by nobody.
        let needed = Seen::of(drive, path).await?.places;
        for (segment, found) in segments.iter().zip(&mut chunks) {
            if incomplete(found) && !needed.contains_key(&segment.id()) {
                found.clear();
            }
        }
        for (_, places) in &mut paths {
            places.retain(|at| !chunks[*at].is_empty());
        }
    }
    for found in &chunks {
        report.chunks += found.len() as u64;
        report.chunks_proven += count(found, Found::Proven);
        report.chunks_counted += count(found, Found::Counted);
        report.chunks_unreachable += count(found, Found::Unreachable);
        report.chunks_lost += count(found, Found::Lost);
    }
    report.missing_chunks = report.chunks_lost + report.chunks_unreachable;
    for (path, places) in paths {
        tell_path(&mut report, path, &places, &segments, &chunks, repair);
    }
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Makes missing chunks again, and keeps anew what another device put. Answers how many chunks.
async fn mend(
    owner: &Arc<Owner>,
    drive: &Arc<Drive>,
    segments: &[Segment],
    ailing: &[usize],
) -> Result<u64, ApiFault> {
    let foreign: Vec<&Segment> =
        ailing.iter().map(|at| &segments[*at]).filter(|segment| owner.is_foreign(segment)).collect();
    let mut repaired = owner.repair_now(0).await.map_err(ApiFault::internal)?.rebuilt_chunks;
    for segment in foreign {
        match drive.segment(segment).await {
            Ok(bytes) => match owner.adopt(segment, &bytes).await {
                Ok(chunks) => repaired += chunks,
                Err(error) => {
                    tracing::warn!(segment = %segment.id(), %error, "a segment could not be kept anew");
                }
            },
            Err(error) => tracing::warn!(segment = %segment.id(), %error, "a segment cannot be read"),
        }
    }
    Ok(repaired)
}

fn checked(provider: &ProbedProvider) -> CheckedProvider {
    let ProbedProvider { node, found, why } = provider;
    CheckedProvider {
        peer_id: node.to_string(),
        chunks_proven: count(found, Found::Proven),
        chunks_counted: count(found, Found::Counted),
        chunks_unreachable: count(found, Found::Unreachable),
        chunks_lost: count(found, Found::Lost),
        why: why.clone(),
    }
}

/// What is to be told of one path.
fn tell_path(
    report: &mut CheckReport,
    path: String,
    places: &[usize],
    segments: &[Segment],
    chunks: &[Vec<Found>],
    repair: bool,
) {
    let all = |what| places.iter().map(|at| count(&chunks[*at], what)).sum::<u64>();
    let (chunks_lost, chunks_unreachable) = (all(Found::Lost), all(Found::Unreachable));
    if chunks_lost + chunks_unreachable > 0 {
        report.incomplete_total += 1;
        if report.incomplete.len() < LISTED_MAX {
            report.incomplete.push(Incomplete { path: path.clone(), chunks_lost, chunks_unreachable });
        }
    }
    let margin = |at: &usize| present(&chunks[*at]) as i64 - i64::from(segments[*at].code.k());
    let Some(margin) = places.iter().map(margin).min().filter(|margin| *margin <= 0) else { return };
    report.at_risk_total += 1;
    if report.at_risk.len() < LISTED_MAX {
        let advice = match (margin < 0, repair) {
            (true, _) => "wait for its providers to come back, or restore it from elsewhere",
            (false, false) => "`commonhold drive check --repair` makes its chunks again",
            (false, true) => "there was nobody to take its chunks: find more providers",
        };
        report.at_risk.push(AtRisk { path, margin, advice: advice.to_owned() });
    }
}
