//! Is everything that a drive needs there, as often as it should be? And if not, which files are at risk.
//!
//! Invariant: nothing is downloaded for it but what providers prove (64 leaves each) and, in a repair, the
//! chunks that others are made from. What a provider that passed its audit holds is counted as held; what
//! that means is said in spec/audit.md.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use commonhold_client::types::{AtRisk, CheckReport};
use commonhold_drive::{Drive, DrivePath};
use commonhold_format::ids::SegmentId;
use commonhold_format::segment::Segment;
use commonhold_gateway::ApiFault;

use crate::owner::Owner;

/// Files at risk that a report lists.
const LISTED_MAX: usize = 1000;
/// About how many bytes a proven leaf takes: the leaf and its path within the chunk.
const LEAF_BYTES: u64 = 1024 + 10 * 32;

/// What was found of one drive.
#[derive(Default)]
struct Seen {
    segments: HashMap<SegmentId, Segment>,
    /// Each path with its segments; files only count.
    paths: Vec<(String, bool, Vec<SegmentId>)>,
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
    let seen = Mutex::new(Seen::default());
    drive
        .needs(path, |needs| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let mut ids = Vec::with_capacity(needs.segments.len());
            for segment in needs.segments {
                let id = segment.id();
                seen.segments.entry(id).or_insert_with(|| segment.clone());
                ids.push(id);
            }
            ids.sort_unstable();
            ids.dedup();
            seen.paths.push((needs.path.to_owned(), needs.is_file, ids));
        })
        .await
        .map_err(super::api::drive_fault)?;
    let Seen { segments, paths } = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let audited = owner.audit_now(None, None).await.map_err(internal)?;
    let mut report = CheckReport {
        files: paths.iter().filter(|(_, is_file, _)| *is_file).count() as u64,
        segments: segments.len() as u64,
        chunks: segments.values().map(|segment| u64::from(segment.code.n())).sum(),
        fetched_bytes: audited.iter().map(|audit| u64::from(audit.report.leaves) * LEAF_BYTES).sum(),
        ..CheckReport::default()
    };
    let missing = |present: &HashMap<SegmentId, u8>| -> u64 {
        present.iter().map(|(id, present)| u64::from(segments[id].code.n().saturating_sub(*present))).sum()
    };
    let mut present = owner.present(segments.values()).await;
    report.missing_chunks = missing(&present);
    if repair && report.missing_chunks > 0 {
        report.repaired_chunks = owner.repair_now(0).await.map_err(internal)?.rebuilt_chunks;
        for (id, segment) in &segments {
            if present[id] < segment.code.n() && owner.is_foreign(segment) {
                match drive.segment(segment).await {
                    Ok(bytes) => match owner.adopt(segment, &bytes).await {
                        Ok(chunks) => report.repaired_chunks += chunks,
                        Err(error) => {
                            tracing::warn!(segment = %id, %error, "a segment could not be kept anew")
                        }
                    },
                    Err(error) => tracing::warn!(segment = %id, %error, "a segment cannot be read"),
                }
            }
        }
        present = owner.present(segments.values()).await;
        report.missing_chunks = missing(&present);
    }
    for (path, _, ids) in paths {
        let margin = ids.iter().map(|id| i64::from(present[id]) - i64::from(segments[id].code.k())).min();
        let Some(margin) = margin.filter(|margin| *margin <= 0) else { continue };
        report.at_risk_total += 1;
        if report.at_risk.len() < LISTED_MAX {
            let advice = match (margin < 0, repair) {
                (true, _) => {
                    "it cannot be read now: wait for its providers to come back, or restore it from elsewhere"
                }
                (false, false) => {
                    "one more lost provider makes it unreadable: `commonhold drive check --repair` makes its chunks again"
                }
                (false, true) => {
                    "one more lost provider makes it unreadable, and there was nobody to take its chunks: find more providers"
                }
            };
            report.at_risk.push(AtRisk { path, margin, advice: advice.to_owned() });
        }
    }
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}
