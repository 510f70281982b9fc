//! Row `compaction`: how long puts take while packs are compacted, against idle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use commonhold_store::{Role, Stop, Store, StoreConfig};

use crate::Plan;
use crate::ground::Ground;
use crate::measure;
use crate::people::{self, Chunk, additions, chunk};

const CHUNK_LEN: usize = 1 << 20;
/// Chunks of a commit.
const GROUP: u64 = 16;
/// What the operator lends: packs are a 64th of it, 64 MiB.
const LENT: u64 = 4 << 30;
/// Chunks that the store is filled with; every other one is removed. Quick: an eighth.
const CHUNKS: u64 = 1024;
/// Puts of 1 MiB a second, which is more than a fast line brings.
const PUTS_PER_SECOND: u32 = 100;

/// Puts at a steady pace until `done`; answers how long each took.
fn put_on(store: &Store, deal: &people::Deal, seeds: u64, done: impl Fn(usize) -> bool) -> Vec<Duration> {
    let pace = Duration::from_secs(1) / PUTS_PER_SECOND;
    let mut took = Vec::new();
    let mut group: Vec<Chunk> = Vec::new();
    while !done(took.len()) {
        let chunk = chunk(seeds + took.len() as u64, CHUNK_LEN);
        let begun = Instant::now();
        chunk.put(store, deal).unwrap();
        took.push(begun.elapsed());
        group.push(chunk);
        if group.len() as u64 == GROUP {
            deal.commit(store, &additions(&group), &[]);
            group.clear();
        }
        thread::sleep(pace.saturating_sub(begun.elapsed()));
    }
    took
}

fn print(name: &str, mut took: Vec<Duration>) -> Duration {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let (median, most, worst) = (at(50), at(99), at(100));
    println!(
        "{name:<28} {:>6} puts, median {median:.2} ms, 99 % {most:.2} ms, longest {worst:.2} ms",
        took.len()
    );
    took.last().copied().unwrap_or_default()
}

/// The row.
pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let plot = ground.plot();
    let config = StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(plot.path(), LENT) };
    let store = Store::open(config).unwrap();
    let (filler, putter) = (people::deal(1), people::deal(2).enter(&store, Role::Provider));
    let filler = filler.enter(&store, Role::Provider);
    let count = if plan.quick { CHUNKS / 8 } else { CHUNKS };
    for group in (0..count).step_by(GROUP as usize) {
        let chunks: Vec<Chunk> = (group..group + GROUP).map(|seed| chunk(seed, CHUNK_LEN)).collect();
        filler.keep(&store, &chunks);
    }
    let removes: Vec<u64> = (0..count).step_by(2).collect();
    filler.commit(&store, &[], &removes);
    store.empty_trash().unwrap();
    let puts = if plan.quick { 50 } else { 400 };
    let idle = print("idle", put_on(&store, &putter, 1 << 32, |done| done == puts));
    let (ended, mut freed, mut copied) = (AtomicBool::new(false), 0, 0);
    let (took, seconds) = thread::scope(|scope| {
        let putting = scope.spawn(|| put_on(&store, &putter, 2 << 32, |_| ended.load(Ordering::Relaxed)));
        let begun = Instant::now();
        while let Some(done) = store.compact(&Stop::default()).unwrap().filter(|it| it.deleted_bytes > 0) {
            freed += done.deleted_bytes;
            copied += done.copied_bytes;
        }
        let seconds = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (putting.join().unwrap(), seconds)
    });
    let busy = print("while packs are compacted", took);
    let rate = copied as f64 / 1e6 / seconds;
    println!("{freed} bytes of packs deleted, {copied} copied in {seconds:.2} s ({rate:.0} MB/s)");
    println!("longest put, of that when idle: {:.1}", busy.as_secs_f64() / idle.as_secs_f64());
    measure::print_target("ms of the longest put while compacting", busy.as_secs_f64() * 1e3, "50 or less");
}
