//! The shipped defaults (plugins/default-*) answer what the native default answers.
#![allow(clippy::unwrap_used)]

mod common;

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::{
    Address, AdmitConnection, AdmitOffer, Candidate, Ceiling, ChooseCode, CodeAnswer, CreditLimit, Dial,
    Fetch, Key, Kind, Limit, Market, Moment, Peer, Policy, Purpose, Question, Quote, Rank, Scope, Send,
    Source, Standing, Traffic, Transport, Usage,
};
use commonhold_format::statement::Prices;
use commonhold_host::{Host, Plugin};

/// Questions of each world.
const QUESTIONS: u64 = 4000;

/// Numbers that a failure can be repeated with.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small ones, extremes, and any.
    fn long(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX as u64,
            3 | 4 => self.below(4),
            5 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    fn int(&mut self) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => u32::MAX,
            2..=4 => self.below(4) as u32,
            _ => self.next() as u32,
        }
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn key(&mut self) -> Key {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_be_bytes()));
        Key(bytes)
    }

    fn now(&mut self) -> Moment {
        Moment { unix_seconds: self.long(), minute_of_week: self.below(10_080) as u32 }
    }

    fn prices(&mut self) -> Prices {
        // No quote may exceed any amount; the default passes on what the operator set.
        let mut price = || self.long().min(i64::MAX as u64);
        Prices {
            storage_microcredits_per_gib_month: price(),
            egress_microcredits_per_gib: price(),
            audit_microcredits: price(),
        }
    }

    fn purpose(&mut self) -> Purpose {
        if self.flag() { Purpose::Use } else { Purpose::Repair }
    }

    fn transport(&mut self) -> Transport {
        if self.flag() { Transport::Quic } else { Transport::Tcp }
    }

    fn scope(&mut self) -> Scope {
        [Scope::Loopback, Scope::Private, Scope::Public, Scope::Name][self.below(4) as usize]
    }

    /// Mostly short lists, now and then a long one.
    fn len(&mut self) -> u64 {
        match self.below(40) {
            0 => 300 + self.below(700),
            1..=9 => self.below(3),
            _ => self.below(70),
        }
    }

    fn candidate(&mut self) -> Candidate {
        Candidate {
            node: self.key(),
            party: self.key(),
            operator: self.int(),
            subnet: self.int(),
            region: self.int(),
            standing: if self.flag() { Standing::Good } else { Standing::Probation },
            audits_passed: self.int(),
            audits_failed: self.int(),
            latency_ms: self.int(),
            // Most lost nothing, and some of those who did lost the same chunk.
            returning: if self.below(4) == 0 { self.below(6) as u32 } else { 0 },
            free_bytes: self.long(),
            prices: self.prices(),
            // 39 bits, with some that are equal.
            lot: if self.below(4) == 0 { self.below(3) } else { self.below(1 << 39) },
        }
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        (0..self.len()).map(|_| self.candidate()).collect()
    }

    fn code(&mut self) -> CodeAnswer {
        let k = 1 + self.below(60) as u32;
        CodeAnswer { k, n: k + self.below(60) as u32 }
    }

    fn placement(&mut self) -> Question {
        match self.below(4) {
            0 => ChooseCode { now: self.now(), candidates: self.candidates() }.into(),
            1 => AdmitOffer {
                now: self.now(),
                owner: self.key(),
                bytes: self.long(),
                term_seconds: self.long(),
                prices: self.prices(),
                hold: self.long(),
                allotted_bytes: self.long(),
                free_bytes: self.long(),
                contracts_of_owner: self.int(),
                contracts: self.int(),
                account: self.long() as i64,
            }
            .into(),
            _ => Rank {
                now: self.now(),
                purpose: self.purpose(),
                code: self.code(),
                holders: self.below(100) as u32,
                chunk_len: self.int(),
                taken: self.candidates(),
                candidates: self.candidates(),
            }
            .into(),
        }
    }

    fn address(&mut self) -> Address {
        Address {
            transport: self.transport(),
            scope: self.scope(),
            family: [0, 4, 6][self.below(3) as usize],
            successes: self.int(),
            failures: self.int(),
            failures_in_row: self.int(),
            connect_ms: self.int(),
            bytes_per_second: self.long(),
            last_success: self.long(),
        }
    }

    fn source(&mut self) -> Source {
        Source {
            node: self.key(),
            index: self.below(60) as u32,
            reachable: self.flag(),
            preferred: self.below(8) == 0,
            median_ms: self.int(),
            slow_ms: self.int(),
            successes: self.int(),
            failures: self.int(),
        }
    }

    fn transfers(&mut self) -> Question {
        let CodeAnswer { k, n } = self.code();
        match self.below(5) {
            0 => {
                let addresses = (0..self.len()).map(|_| self.address()).collect();
                Dial { now: self.now(), peer: self.key(), addresses }.into()
            }
            1 => {
                let traffic = Traffic {
                    sent_today: self.long(),
                    received_today: self.long(),
                    sent_this_month: self.long(),
                    received_this_month: self.long(),
                };
                Limit { now: self.now(), traffic }.into()
            }
            2 => {
                let sources = (0..self.len()).map(|_| self.source()).collect();
                Fetch { now: self.now(), purpose: self.purpose(), k, n, chunk_len: self.int(), sources }
                    .into()
            }
            3 => Send { now: self.now(), purpose: self.purpose(), k, n, chunk_len: self.int() }.into(),
            _ => AdmitConnection {
                now: self.now(),
                node: self.key(),
                transport: self.transport(),
                scope: self.scope(),
                family: 4,
                open: self.int(),
                open_with_peer: self.int(),
            }
            .into(),
        }
    }

    fn peer(&mut self) -> Peer {
        let party = if self.flag() { Key::default() } else { self.key() };
        Peer { party, account: self.long() as i64, given: self.long(), taken: self.long() }
    }

    fn pricing(&mut self) -> Question {
        match self.below(3) {
            0 => Quote {
                now: self.now(),
                base: self.prices(),
                bytes: self.long(),
                term_seconds: self.long(),
                peer: self.peer(),
                usage: Usage { allotted_bytes: self.long(), used_bytes: self.long(), contracts: self.int() },
            }
            .into(),
            1 => CreditLimit {
                now: self.now(),
                peer: self.peer(),
                unsigned: self.long(),
                gift_budget: self.long(),
                trusted: self.long(),
            }
            .into(),
            _ => {
                let market = Market {
                    providers: self.int(),
                    lowest: self.prices(),
                    median: self.prices(),
                    highest: self.prices(),
                };
                Ceiling { now: self.now(), market }.into()
            }
        }
    }
}

fn shipped(host: &Host, kind: Kind) -> Plugin {
    let name = format!("default-{kind}");
    let file = common::root().join(format!("plugins/{name}/{name}.wasm"));
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    common::load(host, &bytes).unwrap()
}

fn same(kind: Kind, ask: fn(&mut Numbers) -> Question) {
    let host = Host::new().unwrap();
    let plugin = shipped(&host, kind);
    let mut asked = std::collections::BTreeSet::new();
    for seed in 0..QUESTIONS {
        let question = ask(&mut Numbers(seed));
        asked.insert(format!("{:?}", std::mem::discriminant(&question)));
        let called =
            plugin.call(&question).unwrap_or_else(|fault| panic!("seed {seed}: {fault}: {question:?}"));
        assert_eq!(called.answer, BuiltIn.answer(&question), "seed {seed}: {question:?}");
        // The same again, to the instruction.
        if seed % 16 == 0 {
            let again = common::patiently(|| plugin.call(&question)).unwrap();
            assert_eq!((again.answer, again.fuel), (called.answer, called.fuel), "seed {seed}");
        }
    }
    let functions = match kind {
        Kind::Transport => 5,
        Kind::Placement | Kind::Pricing => 3,
    };
    assert_eq!(asked.len(), functions, "of {kind} not all was asked");
}

#[test]
fn default_placement_is_the_native_default() {
    same(Kind::Placement, Numbers::placement);
}

#[test]
fn default_transport_is_the_native_default() {
    same(Kind::Transport, Numbers::transfers);
}

#[test]
fn default_pricing_is_the_native_default() {
    same(Kind::Pricing, Numbers::pricing);
}

/// As many candidates as a question may have, within the limits of a call.
#[test]
fn ten_thousand_candidates_are_ranked() {
    let host = Host::new().unwrap();
    let plugin = shipped(&host, Kind::Placement);
    let mut numbers = Numbers(1);
    let candidates = (0..commonhold_format::policy::LIST_LEN_MAX).map(|_| numbers.candidate()).collect();
    let (now, purpose, code) = (numbers.now(), Purpose::Use, CodeAnswer { k: 10, n: 30 });
    let question =
        Rank { now, purpose, code, holders: 30, chunk_len: 1 << 20, taken: Vec::new(), candidates }.into();
    let answer = BuiltIn.answer(&question);
    let called = common::patiently(|| plugin.call(&question)).unwrap();
    assert_eq!(called.answer, answer);
}
