//! Questions that a plugin has to answer before it is put in a seat: ordinary ones and corner cases.

use commonhold_format::policy::{
    Address, AdmitConnection, AdmitOffer, Candidate, Ceiling, ChooseCode, CodeAnswer, CreditLimit, Dial,
    Fetch, Key, Kind, Limit, Market, Moment, Peer, Purpose, Question, Quote, Rank, Scope, Send, Source,
    Standing, Traffic, Transport, Usage,
};
use commonhold_format::statement::Prices;

/// 2026-01-05 10:00 UTC, a Monday.
const NOW: Moment = Moment { unix_seconds: 1_767_607_200, minute_of_week: 600 };
const PRICES: Prices = Prices {
    storage_microcredits_per_gib_month: 1_000_000,
    egress_microcredits_per_gib: 100_000,
    audit_microcredits: 10,
};

/// See the module.
pub(crate) fn questions(kind: Kind) -> Vec<Question> {
    match kind {
        Kind::Placement => placement(),
        Kind::Transport => transport(),
        Kind::Pricing => pricing(),
    }
}

fn key(at: u32) -> Key {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&at.to_be_bytes());
    Key(bytes)
}

fn candidates(len: u32) -> Vec<Candidate> {
    let one = |at: u32| Candidate {
        node: key(at),
        party: key(1000 + at / 2),
        operator: at / 2,
        subnet: at % 7,
        region: [0, 0x4445, 0x5553][at as usize % 3],
        standing: if at % 5 == 4 { Standing::Probation } else { Standing::Good },
        audits_passed: 10 * at,
        audits_failed: at % 3,
        latency_ms: 5 + 3 * at,
        returning: if at == 3 { 2 } else { 0 },
        free_bytes: u64::from(at) << 30,
        prices: PRICES,
        lot: u64::from(at.wrapping_mul(2_654_435_761)) << 2,
    };
    (0..len).map(one).collect()
}

fn placement() -> Vec<Question> {
    let rank = |taken, wanted, len, purpose| -> Question {
        Rank {
            now: NOW,
            purpose,
            code: CodeAnswer { k: 4, n: 12 },
            holders: wanted,
            chunk_len: 65_536,
            taken: candidates(taken),
            candidates: candidates(len),
        }
        .into()
    };
    let code = |len| -> Question { ChooseCode { now: NOW, candidates: candidates(len) }.into() };
    let offer = AdmitOffer {
        now: NOW,
        owner: key(7),
        bytes: 10 << 30,
        term_seconds: 90 * 86_400,
        prices: PRICES,
        hold: 1_000_000,
        allotted_bytes: 100 << 30,
        free_bytes: 40 << 30,
        contracts_of_owner: 1,
        contracts: 12,
        account: -5_000,
    };
    vec![
        code(0),
        code(1),
        code(40),
        rank(0, 12, 0, Purpose::Use),
        rank(0, 12, 1, Purpose::Use),
        rank(0, 12, 64, Purpose::Use),
        rank(8, 4, 20, Purpose::Repair),
        offer.into(),
        AdmitOffer::default().into(),
    ]
}

fn transport() -> Vec<Question> {
    let address = |at: u32| Address {
        transport: if at.is_multiple_of(2) { Transport::Quic } else { Transport::Tcp },
        scope: [Scope::Public, Scope::Private, Scope::Name, Scope::Loopback][at as usize % 4],
        family: [4, 6, 0][at as usize % 3],
        successes: at,
        failures: 10 - at.min(10),
        failures_in_row: at % 3,
        connect_ms: 20 * at,
        bytes_per_second: 1_000_000 * u64::from(at),
        last_success: if at == 0 { 0 } else { NOW.unix_seconds - 60 },
    };
    let dial = |len| -> Question {
        Dial { now: NOW, peer: key(1), addresses: (0..len).map(address).collect() }.into()
    };
    let source = |at: u32| Source {
        node: key(at),
        index: at,
        reachable: at % 4 != 3,
        preferred: at == 2,
        median_ms: 30 * at,
        slow_ms: 90 * at,
        successes: at,
        failures: at % 2,
    };
    let fetch = |len, purpose| -> Question {
        let sources = (0..len).map(source).collect();
        Fetch { now: NOW, purpose, k: 4, n: 12, chunk_len: 65_536, sources }.into()
    };
    let traffic = Traffic {
        sent_today: 1 << 30,
        received_today: 2 << 30,
        sent_this_month: 30 << 30,
        received_this_month: 60 << 30,
    };
    let connection = AdmitConnection {
        now: NOW,
        node: key(9),
        transport: Transport::Quic,
        scope: Scope::Public,
        family: 4,
        open: 40,
        open_with_peer: 1,
    };
    vec![
        dial(0),
        dial(1),
        dial(12),
        Limit { now: NOW, traffic }.into(),
        Limit::default().into(),
        fetch(0, Purpose::Use),
        fetch(12, Purpose::Use),
        fetch(5, Purpose::Repair),
        Send { now: NOW, purpose: Purpose::Use, k: 4, n: 12, chunk_len: 65_536 }.into(),
        Send { now: NOW, purpose: Purpose::Use, k: 1, n: 1, chunk_len: 1 }.into(),
        connection.into(),
        AdmitConnection::default().into(),
    ]
}

fn pricing() -> Vec<Question> {
    let peer = Peer { party: key(3), account: 12_345, given: 1_000_000, taken: 2_000_000 };
    let usage = |used| Usage { allotted_bytes: 100 << 30, used_bytes: used, contracts: 9 };
    let quote = |peer, bytes, used| -> Question {
        Quote { now: NOW, base: PRICES, bytes, term_seconds: 86_400, peer, usage: usage(used) }.into()
    };
    let market = Market { providers: 12, lowest: PRICES, median: PRICES, highest: PRICES };
    vec![
        quote(Peer::default(), 0, 0),
        quote(peer, 5 << 30, 50 << 30),
        quote(peer, 5 << 30, 100 << 30),
        Quote::default().into(),
        CreditLimit { now: NOW, peer, unsigned: 500, gift_budget: 5_000_000, trusted: 0 }.into(),
        CreditLimit::default().into(),
        Ceiling { now: NOW, market }.into(),
        Ceiling::default().into(),
    ]
}
