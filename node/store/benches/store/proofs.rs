//! Row `proofs`: how many random leaves a second one thread proves, with the packs in the page
//! cache.

use std::thread;
use std::time::{Duration, Instant};

use commonhold_format::ids::ChunkId;
use commonhold_format::tree::{leaf_count, leaf_hash, verify_path};
use commonhold_store::{Role, Store};

use crate::Plan;
use crate::ground::Ground;
use crate::measure::{self, Contestant};
use crate::people::{self, Chunk, additions, chunk};

/// Bytes of each chunk.
const CHUNK_LEN: usize = 1 << 20;
/// Chunks in a commit while the store is filled.
const FILL_GROUP: usize = 16;
/// Threads that fill the store.
const FILL_THREADS: u64 = 2;
/// How long a turn takes.
const TURN: Duration = Duration::from_secs(1);
const TURN_QUICK: Duration = Duration::from_millis(200);

/// Numbers that look random and are the same in every run.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        // Xorshift stays at 0.
        Self(seed | 1 << 63)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Fills the store with chunks; answers their ids.
fn fill(store: &Store, count: u64) -> Vec<ChunkId> {
    let filler = |who: u64| {
        let deal = people::deal(who as u8).enter(store, Role::Provider);
        let numbers: Vec<u64> = (who..count).step_by(FILL_THREADS as usize).collect();
        let mut ids = Vec::with_capacity(numbers.len());
        for group in numbers.chunks(FILL_GROUP) {
            let chunks: Vec<Chunk> = group.iter().map(|number| chunk(*number, CHUNK_LEN)).collect();
            deal.keep(store, &chunks);
            ids.extend(additions(&chunks).iter().map(|addition| addition.chunk));
        }
        ids
    };
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILL_THREADS).map(|who| scope.spawn(move || filler(who))).collect();
        fillers.into_iter().flat_map(|filler| filler.join().unwrap()).collect()
    })
}

/// The row.
pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let plot = ground.plot();
    let store = people::open_with(plot.path(), 1 << 40);
    let begun = Instant::now();
    let ids = fill(&store, (plan.proof_bytes / CHUNK_LEN) as u64);
    println!("a store of {} MiB, filled in {:.1} s", plan.proof_bytes >> 20, begun.elapsed().as_secs_f64());
    // Every byte is read once, so that the page cache has it if it can.
    for id in &ids {
        store.read(id).unwrap();
    }
    let leaves = leaf_count(CHUNK_LEN as u32);
    let mut draw = Draw::new(1);
    let mut random = || (&ids[draw.below(ids.len() as u64) as usize], draw.below(leaves));
    for _ in 0..64 {
        let (chunk, number) = random();
        let shown = store.prove(chunk, number).unwrap();
        verify_path(&chunk.0, leaves, number, &leaf_hash(&shown.bytes), &shown.path)
            .expect("the proof is right");
    }
    let turn = if plan.quick { TURN_QUICK } else { TURN };
    let random = std::cell::RefCell::new(random);
    let prover = Contestant::new("random leaves, one thread", || {
        let begun = Instant::now();
        let mut proofs = 0u64;
        while begun.elapsed() < turn {
            let (chunk, leaf) = random.borrow_mut()();
            std::hint::black_box(store.prove(chunk, leaf).unwrap());
            proofs += 1;
        }
        proofs as f64 / begun.elapsed().as_secs_f64()
    });
    let outcomes = measure::take_turns(plan.rounds, &[prover]);
    measure::print("proofs/s", &outcomes);
    measure::print_target("proofs a second on one core", outcomes[0].median(), "20000 or more");
}
