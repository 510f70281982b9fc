//! Made-up questions of every function, the same each time, to measure with.

use commonhold_format::policy::{
    Address, AdmitConnection, AdmitOffer, Candidate, Ceiling, ChooseCode, CodeAnswer, CreditLimit, Dial,
    Fetch, Key, Kind, Limit, Market, Moment, Peer, Purpose, Question, Quote, Rank, Scope, Send, Source,
    Standing, Traffic, Transport, Usage,
};
use commonhold_format::statement::Prices;

/// 2025-06-16 10:00 UTC, a Monday.
const NOW: Moment = Moment { unix_seconds: 1_750_068_000, minute_of_week: 600 };
const GIB: u64 = 1 << 30;

/// The functions of a world.
pub fn functions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Placement => &["choose_code", "rank", "admit_offer"],
        Kind::Transport => &["dial", "limit", "fetch", "send", "admit_connection"],
        Kind::Pricing => &["quote", "credit_limit", "ceiling"],
    }
}

/// Whether a function is asked with a list.
pub fn has_list(function: &str) -> bool {
    matches!(function, "choose_code" | "rank" | "dial" | "fetch")
}

/// A question of a function, with so many entries in its list.
pub fn question(function: &str, size: u32) -> Question {
    match function {
        "choose_code" => ChooseCode { now: NOW, candidates: candidates(size) }.into(),
        "rank" => Rank {
            now: NOW,
            purpose: Purpose::Use,
            code: CodeAnswer { k: 10, n: 30 },
            holders: 30,
            chunk_len: 1 << 20,
            taken: Vec::new(),
            candidates: candidates(size),
        }
        .into(),
        "admit_offer" => AdmitOffer {
            now: NOW,
            owner: key(1),
            bytes: 100 * GIB,
            term_seconds: 180 * 86_400,
            prices: Prices::default(),
            hold: 0,
            allotted_bytes: 1000 * GIB,
            free_bytes: 400 * GIB,
            contracts_of_owner: 1,
            contracts: 12,
            account: 250_000,
        }
        .into(),
        "dial" => Dial { now: NOW, peer: key(1), addresses: (0..size).map(address).collect() }.into(),
        "limit" => Limit {
            now: NOW,
            traffic: Traffic {
                sent_today: 3 * GIB,
                received_today: GIB,
                sent_this_month: 80 * GIB,
                received_this_month: 40 * GIB,
            },
        }
        .into(),
        "fetch" => Fetch {
            now: NOW,
            purpose: Purpose::Use,
            k: size.div_ceil(3).max(1),
            n: size.max(1),
            chunk_len: 1 << 20,
            sources: (0..size).map(source).collect(),
        }
        .into(),
        "send" => Send { now: NOW, purpose: Purpose::Use, k: 10, n: 30, chunk_len: 1 << 20 }.into(),
        "admit_connection" => AdmitConnection {
            now: NOW,
            node: key(1),
            transport: Transport::Quic,
            scope: Scope::Public,
            family: 4,
            open: 20,
            open_with_peer: 0,
        }
        .into(),
        "quote" => Quote {
            now: NOW,
            base: Prices::default(),
            bytes: 100 * GIB,
            term_seconds: 180 * 86_400,
            peer: peer(),
            usage: Usage { allotted_bytes: 1000 * GIB, used_bytes: 600 * GIB, contracts: 12 },
        }
        .into(),
        "credit_limit" => {
            CreditLimit { now: NOW, peer: peer(), unsigned: 40_000, gift_budget: 10_000_000, trusted: 0 }
                .into()
        }
        _ => Ceiling {
            now: NOW,
            market: Market {
                providers: 40,
                lowest: Prices { storage_microcredits_per_gib_month: 600_000, ..Prices::default() },
                median: Prices::default(),
                highest: Prices { storage_microcredits_per_gib_month: 3_000_000, ..Prices::default() },
            },
        }
        .into(),
    }
}

fn key(at: u32) -> Key {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&at.to_be_bytes());
    Key(bytes)
}

/// A number that looks drawn.
fn drawn(at: u32, below: u64) -> u64 {
    u64::from(at.wrapping_add(1).wrapping_mul(2_654_435_761)) % below
}

fn peer() -> Peer {
    Peer { party: key(1), account: 250_000, given: 900_000, taken: 1_150_000 }
}

fn candidates(size: u32) -> Vec<Candidate> {
    let one = |at: u32| Candidate {
        node: key(at),
        party: key(1_000_000 + at / 2),
        operator: at / 2 + 1,
        subnet: at / 3 + 1,
        region: [0, 0x4445, 0x5553, 0x4652][at as usize % 4],
        standing: if at % 11 == 10 { Standing::Probation } else { Standing::Good },
        audits_passed: at % 100,
        audits_failed: u32::from(at % 17 == 16),
        latency_ms: 5 + at % 120,
        returning: 0,
        free_bytes: GIB + drawn(at, 1000 * GIB),
        prices: Prices {
            storage_microcredits_per_gib_month: 500_000 + drawn(at, 1_000_000),
            ..Prices::default()
        },
        lot: drawn(at, 1 << 39),
    };
    (0..size).map(one).collect()
}

fn address(at: u32) -> Address {
    Address {
        transport: if at.is_multiple_of(2) { Transport::Quic } else { Transport::Tcp },
        scope: [Scope::Public, Scope::Private, Scope::Name][at as usize % 3],
        family: [4, 6, 0][at as usize % 3],
        successes: at % 20,
        failures: at % 3,
        failures_in_row: at % 2,
        connect_ms: 20 + at % 200,
        bytes_per_second: drawn(at, 20 << 20),
        last_success: NOW.unix_seconds - drawn(at, 86_400),
    }
}

fn source(at: u32) -> Source {
    Source {
        node: key(at),
        index: at,
        reachable: at % 7 != 6,
        preferred: false,
        median_ms: 30 + at % 100,
        slow_ms: 200 + at % 500,
        successes: at % 50,
        failures: at % 3,
    }
}
