//! How safe a segment is, what of it is missing, and where the missing chunks go (spec/engine.md,
//! "Durability and repair").
//!
//! Invariant: a segment with a missing chunk is never [`Health::Full`], and a repair target never
//! shares a party or a subnet with another holder of the segment. What it is not: rebuilding, which
//! is `commonhold_format::code`, or a judgement of providers, which is [`crate::audit`].

use std::collections::HashSet;

use commonhold_format::code::Code;
use commonhold_format::ids::NodeId;
use commonhold_format::policy::{Moment, Policy, Purpose};

use crate::placement::{Candidate, Need, Placing};

/// How a segment stands, from safe to gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// All n chunks are there.
    Full,
    /// Chunks are missing, and more than a quarter of the parity is left.
    Degraded,
    /// At most a quarter of the parity is left: 3 or fewer of 6, 15 of 30, 30 of 60.
    Urgent,
    /// Fewer than k chunks are left: unless a holder comes back, the data is gone.
    Lost,
}

/// The health of a segment of which `alive` chunks are there.
pub fn assess(code: Code, alive: u8) -> Health {
    let parity = code.n() - code.k();
    match alive.checked_sub(code.k()) {
        None => Health::Lost,
        Some(_) if alive >= code.n() => Health::Full,
        Some(spare) if spare <= parity / 4 => Health::Urgent,
        Some(_) => Health::Degraded,
    }
}

/// One holder of one chunk of a segment, as its owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderView {
    /// Which chunk of the segment, from 0.
    pub index: u8,
    /// Who holds it.
    pub node: NodeId,
    /// Unix seconds at which the holder was last reached; `None` if never.
    pub last_seen: Option<u64>,
    /// Whether an audit or a read found the chunk lost or damaged there.
    pub lost: bool,
}

/// The indices of a segment's chunks that nobody is known to hold intact, rising.
///
/// A holder counts while it was reached within `absent_after_seconds` before `now`, or after `now`
/// on a clock that went back. With 0 seconds it has to have been reached at `now`. A holder that was
/// never reached does not count, so ask the holders before repairing after a restart.
pub fn missing(code: Code, holders: &[HolderView], absent_after_seconds: u64, now: u64) -> Vec<u8> {
    let present: HashSet<u8> = holders
        .iter()
        .filter(|holder| !holder.lost)
        .filter(|holder| {
            holder.last_seen.is_some_and(|seen| now.saturating_sub(seen) <= absent_after_seconds)
        })
        .map(|holder| holder.index)
        .collect();
    (0..code.n()).filter(|index| !present.contains(index)).collect()
}

/// Sorts segments so that the most urgent repair comes first: by how many chunks may still be lost,
/// fewest first. Segments that are lost come last, because repairing them must wait for a holder to
/// come back; equals keep their order. `state` gives a segment's code and how many of its chunks are
/// there.
pub fn repair_order<T>(segments: &mut [T], state: impl Fn(&T) -> (Code, u8)) {
    segments.sort_by_key(|segment| {
        let (code, alive) = state(segment);
        match alive.checked_sub(code.k()) {
            Some(spare) => (false, spare),
            None => (true, code.k() - alive),
        }
    });
}

/// What a repair needs beside the segment's holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mending<'a> {
    /// When it is asked.
    pub now: Moment,
    /// The segment's code.
    pub code: Code,
    /// Bytes that each new holder must have free.
    pub chunk_len: u64,
    /// Fresh for each segment, see [`Placing::new`].
    pub seed: &'a [u8; 32],
}

/// Where each missing chunk goes: one answer for each index of `missing`, in that order; `None` when
/// the policy names nobody who may take it, and nothing is relaxed to find one.
///
/// The policy ranks; of the first as many as chunks are missing, whoever lost one of them gets that
/// one back: it holds nothing else of the segment, and its contract stands. The default ranks those
/// first. `holders` are the views from which `missing` was derived, `good` the candidates that hold
/// the chunks that are not missing (also those out of reach for the moment, as far as their party and
/// subnet are known), `candidates` all that can be reached now.
pub fn repair_targets(
    missing: &[u8],
    holders: &[HolderView],
    good: &[Candidate],
    candidates: &[Candidate],
    mending: &Mending<'_>,
    policy: &dyn Policy,
) -> Vec<(u8, Option<NodeId>)> {
    // A holder of an intact chunk gets no second one, even when `good` leaves it out.
    let intact: HashSet<NodeId> = holders
        .iter()
        .filter(|holder| !holder.lost && !missing.contains(&holder.index))
        .map(|holder| holder.node)
        .collect();
    let free: Vec<Candidate> =
        candidates.iter().filter(|candidate| !intact.contains(&candidate.node)).cloned().collect();
    let lost_by = |node: &NodeId| {
        let lost = holders.iter().filter(|it| it.lost && it.node == *node).map(|it| it.index);
        lost.filter(|index| missing.contains(index)).min()
    };
    let need = Need {
        now: mending.now,
        purpose: Purpose::Repair,
        code: mending.code,
        holders: missing.len(),
        chunk_len: mending.chunk_len,
    };
    let mut ranked = Placing::new(&free, good, &need, mending.seed, lost_by).holders(policy);
    ranked.truncate(missing.len());
    let (back, fresh): (Vec<NodeId>, Vec<NodeId>) =
        ranked.into_iter().partition(|node| lost_by(node).is_some());
    let mut targets: Vec<(u8, Option<NodeId>)> = missing.iter().map(|index| (*index, None)).collect();
    let mut others = Vec::new();
    for node in back {
        let own = targets.iter_mut().find(|(index, _)| Some(*index) == lost_by(&node));
        match own {
            Some((_, target @ None)) => *target = Some(node),
            // Two lost the same chunk.
            _ => others.push(node),
        }
    }
    let mut rest = others.into_iter().chain(fresh);
    for (_, target) in targets.iter_mut().filter(|(_, target)| target.is_none()) {
        *target = rest.next();
    }
    targets
}
