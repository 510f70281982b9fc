#![allow(missing_docs, clippy::unwrap_used)]
use commonhold_format::policy::package::Package;
use commonhold_format::policy::*;
use commonhold_host::{Grant, Host, Limits, Trust};
use std::time::Instant;
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
fn rank(len: u64) -> Question {
    let mut next = numbers(len);
    let candidates = (0..len)
        .map(|at| Candidate {
            operator: at as u32,
            subnet: at as u32,
            region: (at % 40) as u32 + 0x4141,
            standing: if next() % 8 == 0 { Standing::Probation } else { Standing::Good },
            free_bytes: next() % (1 << 40),
            lot: next() % (1 << 36),
            ..Default::default()
        })
        .collect();
    Rank {
        now: Moment::default(),
        purpose: Purpose::Use,
        code: CodeAnswer { k: 10, n: 30 },
        holders: 30,
        chunk_len: 1 << 20,
        taken: Vec::new(),
        candidates,
    }
    .into()
}
fn main() {
    let host = Host::new().unwrap();
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).unwrap();
        let manifest = Package::open(&bytes).unwrap().manifest;
        let plugin = host
            .load(
                &bytes,
                &Grant {
                    trusted: Trust::Hash(manifest.component),
                    capabilities: commonhold_format::statement::Capability::ALL.into(),
                    config: [].into(),
                    limits: Limits::default(),
                },
            )
            .unwrap();
        let questions: Vec<(&str, Question, u32)> = match manifest.kind {
            Kind::Pricing => vec![("quote", Quote::default().into(), 400)],
            Kind::Transport => vec![("limit", Limit::default().into(), 400)],
            Kind::Placement => {
                vec![("rank-1", rank(1), 200), ("rank-64", rank(64), 200), ("rank-10000", rank(10000), 3)]
            }
        };
        for (name, question, calls) in questions {
            let mut times = vec![];
            let mut fuel = 0;
            for _ in 0..21 {
                let begun = Instant::now();
                for _ in 0..calls {
                    fuel = plugin.call(&question).unwrap().fuel;
                }
                times.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
            }
            times.sort_by(f64::total_cmp);
            println!("{file} {name}: min {:.1} median {:.1} µs, fuel {fuel}", times[0], times[10]);
        }
    }
}
