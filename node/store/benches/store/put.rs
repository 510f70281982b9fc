//! Rows `put-1m` and `put-16k`: how many bytes a second become durable.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use commonhold_format::wire::Addition;
use commonhold_store::Role;

use crate::Plan;
use crate::ground::Ground;
use crate::measure::{self, Contestant, Outcome};
use crate::people;
use crate::rivals;
use crate::stock::Stock;

/// Bytes between two syncs of those that sync in groups.
const GROUP_BYTES: usize = 16 << 20;
/// Most chunks that those put who sync each one: more take long, and tell nothing new.
const EACH_MAX: usize = 512;

/// How the store is used: threads, each with a contract of its own, and chunks per commit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Use {
    threads: usize,
    group: usize,
}

/// How a node uses the store: some owners at a time that commit 16 chunks.
const USUAL: Use = Use { threads: 4, group: 16 };

/// The store as a provider uses it: puts, and commits of revisions that both have signed.
fn store_takes_in(folder: &Path, stock: &Stock, how: Use) -> Duration {
    let store = people::open_with(folder, 1 << 40);
    let deals: Vec<people::Deal> =
        (0..how.threads).map(|salt| people::deal(salt as u8).enter(&store, Role::Provider)).collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        for (who, deal) in deals.iter().enumerate() {
            let store = &store;
            scope.spawn(move || {
                let mine: Vec<usize> = (who..stock.len()).step_by(how.threads).collect();
                for group in mine.chunks(how.group) {
                    for number in group {
                        let (id, bytes) = stock.chunk(*number);
                        store.put(deal.id, *id, bytes).unwrap();
                    }
                    let adds: Vec<Addition> = group.iter().map(|number| stock.addition(*number)).collect();
                    deal.commit(store, &adds, &[]);
                }
            });
        }
    });
    begun.elapsed()
}

/// MB/s of `count` chunks.
fn rate(stock: &Stock, count: usize, took: Duration) -> f64 {
    (count.min(stock.len()) * stock.chunk_len()) as f64 / 1e6 / took.as_secs_f64()
}

struct Race {
    outcomes: Vec<Outcome>,
    /// Where among the outcomes what is.
    plain: usize,
    usual: usize,
    files: usize,
}

impl Race {
    fn ratio(&self, who: usize, to: usize) -> f64 {
        self.outcomes[who].median() / self.outcomes[to].median()
    }
}

fn race(ground: &Ground, plan: &Plan, stock: &Stock, uses: &[Use]) -> Race {
    let all = stock.len();
    let each = all.min(EACH_MAX);
    let group = GROUP_BYTES / stock.chunk_len();
    let mut contestants = vec![Contestant::new("plain append, a sync per 16 MiB", || {
        rate(stock, all, rivals::plain_append(ground.plot().path(), stock, group))
    })];
    for how in uses {
        let Use { threads, group } = *how;
        let usual = if *how == USUAL { " (usual)" } else { "" };
        let name = format!("store, {threads} threads, {group} chunks a commit{usual}");
        contestants.push(Contestant::new(name, move || {
            rate(stock, all, store_takes_in(ground.plot().path(), stock, *how))
        }));
    }
    let files = contestants.len();
    contestants.push(Contestant::new("a file per chunk, each synced", || {
        rate(stock, each, rivals::file_per_chunk(ground.plot().path(), stock, each))
    }));
    contestants.push(Contestant::new("LMDB values, a commit per 16 MiB", || {
        rate(stock, all, rivals::lmdb_values(ground.plot().path(), stock, all, group))
    }));
    contestants.push(Contestant::new("LMDB values, a commit each", || {
        rate(stock, each, rivals::lmdb_values(ground.plot().path(), stock, each, 1))
    }));
    contestants.push(Contestant::new("redb values, a commit per 16 MiB", || {
        rate(stock, all, rivals::redb_values(ground.plot().path(), stock, group))
    }));
    let outcomes = measure::take_turns(plan.rounds, &contestants);
    measure::print("MB/s", &outcomes);
    let usual = 1 + uses.iter().position(|how| *how == USUAL).expect("the usual way is among them");
    let race = Race { outcomes, plain: 0, usual, files };
    let best = (1..files).max_by(|a, b| race.ratio(*a, 0).total_cmp(&race.ratio(*b, 0))).unwrap_or(usual);
    println!("best of the store: {}", race.outcomes[best].name);
    race
}

/// Row `put-1m`.
pub(crate) fn large(ground: &Ground, plan: &Plan) {
    let stock = Stock::new(plan.put_bytes, 1 << 20);
    let uses = [
        USUAL,
        Use { threads: 1, group: 16 },
        Use { threads: 2, group: 16 },
        Use { threads: 8, group: 16 },
        Use { threads: 4, group: 4 },
        Use { threads: 4, group: 64 },
    ];
    let race = race(ground, plan, &stock, &uses);
    measure::print_target("store / plain append", race.ratio(race.usual, race.plain), "0.8 or more");
    measure::print_target("store / a file per chunk", race.ratio(race.usual, race.files), "above 1");
}

/// Row `put-16k`.
pub(crate) fn small(ground: &Ground, plan: &Plan) {
    // An eighth of the bytes: what counts here is the number of chunks.
    let stock = Stock::new(plan.put_bytes / 8, 16 << 10);
    let uses = [
        USUAL,
        Use { threads: 1, group: 16 },
        Use { threads: 8, group: 16 },
        Use { threads: 4, group: 64 },
        Use { threads: 4, group: 256 },
    ];
    let race = race(ground, plan, &stock, &uses);
    measure::print_target("store / a file per chunk", race.ratio(race.usual, race.files), "10 or more");
}
