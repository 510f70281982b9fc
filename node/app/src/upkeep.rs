//! What a provider does for its disk by itself: ended contracts, trash, compaction, scrub, and
//! telling owners what has rotted.
//!
//! Invariant: damage that was found is told to a node of the owner, or kept to be told, or found
//! again by the next lap of the scrub. Not here: what the store does in each of these (store).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::wire::{DAMAGED_MAX, Request, Response};
use commonhold_store::{Compacted, Rot, ScrubSlice, Stop, Store, StoreError};

use crate::clock::unix_seconds;
use crate::provider::Provider;

/// How often ended contracts, the trash and dead bytes are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How long a contract has to be seen as ended before it is given up.
const ENDED_FOR: Duration = Duration::from_secs(6 * 3600);
/// How long one part of the scrub takes at the configured rate.
const SCRUB_PART: Duration = Duration::from_secs(2);
/// How often damage that could not be told is tried again.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Chunks whose damage is kept to be told; the next lap of the scrub finds the others again.
const UNTOLD_MAX: usize = 16_384;
/// How long an owner's node may take to note damage.
const TELL_TIMEOUT: Duration = Duration::from_secs(20);

/// What the scrub has found since the node was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScrubRecord {
    /// When the last lap ended, Unix seconds.
    pub lap_ended: Option<u64>,
    /// Chunks found rotten.
    pub rot: u64,
}

/// Damage that owners are to be told of, and what the scrub has found.
#[derive(Default)]
pub struct Damage {
    untold: Mutex<BTreeMap<ContractId, BTreeSet<ChunkId>>>,
    scrubbed: Mutex<ScrubRecord>,
    fault: Mutex<Fault>,
}

/// Why the scrub could not read something.
#[derive(Default)]
struct Fault {
    why: Option<String>,
    /// In the lap that is under way.
    is_fresh: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Damage {
    /// Notes that a contract's chunk is damaged.
    pub fn found(&self, contract: ContractId, chunk: ChunkId) {
        let mut untold = locked(&self.untold);
        if untold.values().map(BTreeSet::len).sum::<usize>() < UNTOLD_MAX {
            untold.entry(contract).or_default().insert(chunk);
        }
    }

    /// What the scrub has found.
    pub fn scrubbed(&self) -> ScrubRecord {
        *locked(&self.scrubbed)
    }

    /// Notes what a part of the scrub has found.
    pub fn note(&self, slice: &ScrubSlice) {
        self.note_rot(&slice.rot);
        let mut scrubbed = locked(&self.scrubbed);
        scrubbed.rot += slice.rot.len() as u64;
        if slice.lap_ended {
            scrubbed.lap_ended = Some(unix_seconds());
            let mut fault = locked(&self.fault);
            if !std::mem::take(&mut fault.is_fresh) {
                fault.why = None;
            }
        }
    }

    /// Notes chunks that are damaged.
    pub fn note_rot(&self, rot: &[Rot]) {
        for Rot { chunk, contracts, why } in rot {
            tracing::error!(%chunk, why, "a chunk on this disk has rotted");
            contracts.iter().for_each(|contract| self.found(*contract, *chunk));
        }
    }

    /// Notes that a part of the scrub failed. It is a problem until a whole lap has not.
    pub fn scrub_failed(&self, why: String) {
        *locked(&self.fault) = Fault { why: Some(why), is_fresh: true };
    }

    /// What the operator should know of the scrub.
    pub fn problem(&self) -> Option<String> {
        let fault = locked(&self.fault);
        fault.why.as_ref().map(|why| format!("the scrub could not look at a part of the store: {why}"))
    }

    fn untold(&self) -> Vec<(ContractId, Vec<ChunkId>)> {
        let untold = locked(&self.untold);
        let some =
            untold.iter().map(|(id, chunks)| (*id, chunks.iter().take(DAMAGED_MAX).copied().collect()));
        some.collect()
    }

    /// Chunks were put and committed anew: their owner need not be told any more, and would take them for
    /// damaged once more.
    pub fn mended(&self, contract: &ContractId, chunks: &[ChunkId]) {
        self.told(contract, chunks);
    }

    fn told(&self, contract: &ContractId, chunks: &[ChunkId]) {
        let mut untold = locked(&self.untold);
        if let Some(left) = untold.get_mut(contract) {
            chunks.iter().for_each(|chunk| {
                left.remove(chunk);
            });
            if left.is_empty() {
                untold.remove(contract);
            }
        }
    }
}

/// Stops the store's work when the task that waits for it is dropped.
struct StopOnDrop(Arc<Stop>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs work of the store that takes long; it is told to stop when nobody waits for it any more.
///
/// # Errors
/// A sentence, when the work failed.
pub async fn long<T: Send + 'static>(
    store: Store,
    work: impl FnOnce(&Store, &Stop) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let stop = Arc::new(Stop::default());
    let _stop = StopOnDrop(stop.clone());
    let task = tokio::task::spawn_blocking(move || work(&store, &stop));
    task.await
        .map_err(|_| "an internal task of this node failed".to_owned())?
        .map_err(|error| error.to_string())
}

/// Contracts that were seen to have ended. They are given up only when that has been so for
/// [`ENDED_FOR`] by a clock that does not jump: data must not be deleted because of a wrong date.
#[derive(Debug, Default)]
pub struct Ended(Mutex<HashMap<ContractId, Instant>>);

impl Ended {
    /// Whether a contract that has ended by the date may be given up at `at`.
    fn may_go(&self, contract: &ContractId, at: Instant) -> bool {
        let mut seen = locked(&self.0);
        let first = *seen.entry(*contract).or_insert(at);
        at.saturating_duration_since(first) >= ENDED_FOR
    }

    /// Forgets contracts that have not ended by the date any more.
    fn keep(&self, ended: &BTreeSet<ContractId>) {
        locked(&self.0).retain(|contract, _| ended.contains(contract));
    }
}

/// Gives ended contracts up, empties the trash and compacts as long as that frees something.
///
/// # Errors
/// [`StoreError`].
pub fn tidy(store: &Store, ended: &Ended, stop: &Stop) -> Result<Compacted, StoreError> {
    let (at, mut seen) = (Instant::now(), BTreeSet::new());
    let given_up = store.give_up_ended_if(|contract| {
        seen.insert(*contract);
        ended.may_go(contract, at)
    })?;
    ended.keep(&seen);
    for contract in given_up {
        tracing::info!(%contract, "a contract has ended; its chunks are in the trash");
    }
    store.empty_trash()?;
    let mut sum = Compacted::default();
    while let Some(done) = store.compact(stop)? {
        sum.deleted_bytes += done.deleted_bytes;
        sum.copied_bytes += done.copied_bytes;
        sum.copied_chunks += done.copied_chunks;
        sum.rot.extend(done.rot);
        if done.deleted_bytes == 0 {
            break;
        }
    }
    Ok(sum)
}

/// Tidies now and then.
pub async fn tidy_forever(provider: Arc<Provider>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Ok(store) = provider.vault.store() else { continue };
        let ended = provider.ended.clone();
        match long(store, move |store, stop| tidy(store, &ended, stop)).await {
            Ok(done) => {
                provider.damage.note_rot(&done.rot);
                if done.deleted_bytes > 0 {
                    let Compacted { deleted_bytes, copied_bytes, .. } = done;
                    tracing::info!(deleted_bytes, copied_bytes, "compacted");
                }
            }
            Err(error) => tracing::error!(error, "the store could not be tidied"),
        }
    }
}

/// Scrubs at `rate` MiB per second.
pub async fn scrub_forever(provider: Arc<Provider>, rate: u32) {
    if rate == 0 {
        return;
    }
    let bytes = (u64::from(rate) << 20) * SCRUB_PART.as_secs();
    let mut turns = tokio::time::interval(SCRUB_PART);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Ok(store) = provider.vault.store() else { continue };
        match long(store, move |store, stop| store.scrub(bytes, stop)).await {
            Ok(slice) => {
                provider.damage.note(&slice);
                if slice.lap_ended {
                    // A small store would be read without end.
                    tokio::time::sleep(LAP_PAUSE).await;
                }
            }
            Err(error) => {
                tracing::error!(error, "the scrub cannot read the disk");
                provider.damage.scrub_failed(error);
                tokio::time::sleep(LAP_PAUSE).await;
            }
        }
    }
}

/// Between two laps of the scrub, and after it failed.
const LAP_PAUSE: Duration = Duration::from_secs(600);

/// Tells owners' nodes of damage, again and again until they have noted it.
pub async fn tell_forever(provider: Arc<Provider>) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        for (contract, chunks) in provider.damage.untold() {
            let Ok(Some(owner)) = provider.vault.store().map(|store| store.contract(&contract)) else {
                continue;
            };
            for node in provider.nodes_of(&owner.contract.owner).await {
                let request = Request::Damaged { contract, chunks: chunks.clone() };
                match provider.net.call(node, request, TELL_TIMEOUT).await {
                    Ok(Response::Done) => {
                        tracing::info!(%contract, %node, chunks = chunks.len(), "told of damage");
                        provider.damage.told(&contract, &chunks);
                        break;
                    }
                    Ok(answer) => tracing::debug!(%node, ?answer, "a report of damage was not taken"),
                    Err(error) => tracing::debug!(%error, "a report of damage did not arrive"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_43_a_contract_goes_only_when_it_has_ended_for_a_while() {
        let (ended, id, start) = (Ended::default(), ContractId([1; 32]), Instant::now());
        assert!(!ended.may_go(&id, start));
        assert!(!ended.may_go(&id, start + ENDED_FOR - Duration::from_secs(1)));
        assert!(ended.may_go(&id, start + ENDED_FOR));
        // The clock was put right meanwhile: it begins anew.
        ended.keep(&BTreeSet::new());
        assert!(!ended.may_go(&id, start + ENDED_FOR));
    }

    #[test]
    fn a_scrub_that_failed_is_a_problem_until_a_whole_lap_has_not() {
        let damage = Damage::default();
        let (part, lap) = (ScrubSlice::default(), ScrubSlice { lap_ended: true, ..ScrubSlice::default() });
        damage.note(&lap);
        assert_eq!(damage.problem(), None);
        damage.scrub_failed("a pack cannot be read".to_owned());
        // The lap that it failed in has not been through everything.
        for slice in [&part, &lap, &part] {
            damage.note(slice);
            assert!(damage.problem().is_some_and(|it| it.contains("a pack cannot be read")));
        }
        damage.note(&lap);
        assert_eq!(damage.problem(), None);
    }
}
