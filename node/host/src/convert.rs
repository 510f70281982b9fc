//! Questions into the records of the WIT, and its answers back.

use commonhold_format::policy::{
    Address, AdmitConnection, AdmitOffer, Candidate, CodeAnswer, Credit, CreditLimit, DialPlan, Fetch,
    FetchPlan, Key, Limits, Market, Moment, Peer, Quote, Rank, Send, Source, Traffic, Usage, Verdict,
};
use commonhold_format::statement::Prices;

use crate::wit::placement::exports::commonhold::policy::placement;
use crate::wit::pricing::exports::commonhold::policy::pricing;
use crate::wit::transport::exports::commonhold::policy::transport;
use crate::wit::types;

pub(crate) fn key(key: &Key) -> types::Key {
    let [a, b, c, d] = key.words();
    types::Key { a, b, c, d }
}

pub(crate) fn moment(now: &Moment) -> types::Moment {
    types::Moment { unix_seconds: now.unix_seconds, minute_of_week: now.minute_of_week }
}

pub(crate) fn prices(prices: &Prices) -> types::Prices {
    types::Prices {
        storage: prices.storage_microcredits_per_gib_month,
        egress: prices.egress_microcredits_per_gib,
        audit: prices.audit_microcredits,
    }
}

pub(crate) fn prices_back(prices: types::Prices) -> Prices {
    Prices {
        storage_microcredits_per_gib_month: prices.storage,
        egress_microcredits_per_gib: prices.egress,
        audit_microcredits: prices.audit,
    }
}

/// The reason of a yes is not looked at.
pub(crate) fn verdict_back(verdict: types::Verdict) -> Verdict {
    let reason = if verdict.admit { String::new() } else { verdict.reason };
    Verdict { admit: verdict.admit, reason }
}

pub(crate) fn candidate(it: &Candidate) -> placement::Candidate {
    placement::Candidate {
        node: key(&it.node),
        party: key(&it.party),
        operator: it.operator,
        subnet: it.subnet,
        region: it.region,
        standing: it.standing.code(),
        audits_passed: it.audits_passed,
        audits_failed: it.audits_failed,
        latency_ms: it.latency_ms,
        returning: it.returning,
        free_bytes: it.free_bytes,
        prices: prices(&it.prices),
        lot: it.lot,
    }
}

pub(crate) fn candidates(list: &[Candidate]) -> Vec<placement::Candidate> {
    list.iter().map(candidate).collect()
}

pub(crate) fn need(ask: &Rank) -> placement::Need {
    placement::Need {
        now: moment(&ask.now),
        purpose: ask.purpose.code(),
        code: placement::Code { k: ask.code.k, n: ask.code.n },
        holders: ask.holders,
        chunk_len: ask.chunk_len,
    }
}

pub(crate) fn code_back(code: placement::Code) -> CodeAnswer {
    CodeAnswer { k: code.k, n: code.n }
}

pub(crate) fn offer(ask: &AdmitOffer) -> placement::Offer {
    placement::Offer {
        now: moment(&ask.now),
        owner: key(&ask.owner),
        bytes: ask.bytes,
        term_seconds: ask.term_seconds,
        prices: prices(&ask.prices),
        hold: ask.hold,
        allotted_bytes: ask.allotted_bytes,
        free_bytes: ask.free_bytes,
        contracts_of_owner: ask.contracts_of_owner,
        contracts: ask.contracts,
        account: ask.account,
    }
}

pub(crate) fn address(it: &Address) -> transport::Address {
    transport::Address {
        transport: it.transport.code(),
        scope: it.scope.code(),
        family: it.family,
        successes: it.successes,
        failures: it.failures,
        failures_in_row: it.failures_in_row,
        connect_ms: it.connect_ms,
        bytes_per_second: it.bytes_per_second,
        last_success: it.last_success,
    }
}

pub(crate) fn dial_plan_back(plan: transport::DialPlan) -> DialPlan {
    DialPlan { order: plan.order, at_once: plan.at_once }
}

pub(crate) fn traffic(it: &Traffic) -> transport::Traffic {
    transport::Traffic {
        sent_today: it.sent_today,
        received_today: it.received_today,
        sent_this_month: it.sent_this_month,
        received_this_month: it.received_this_month,
    }
}

pub(crate) fn limits_back(limits: transport::Limits) -> Limits {
    Limits { upload: limits.upload, download: limits.download }
}

pub(crate) fn source(it: &Source) -> transport::Source {
    transport::Source {
        node: key(&it.node),
        index: it.index,
        reachable: it.reachable.into(),
        preferred: it.preferred.into(),
        median_ms: it.median_ms,
        slow_ms: it.slow_ms,
        successes: it.successes,
        failures: it.failures,
    }
}

pub(crate) fn fetch_need(ask: &Fetch) -> transport::Need {
    transport::Need {
        now: moment(&ask.now),
        purpose: ask.purpose.code(),
        k: ask.k,
        n: ask.n,
        chunk_len: ask.chunk_len,
    }
}

pub(crate) fn send_need(ask: &Send) -> transport::Need {
    transport::Need {
        now: moment(&ask.now),
        purpose: ask.purpose.code(),
        k: ask.k,
        n: ask.n,
        chunk_len: ask.chunk_len,
    }
}

pub(crate) fn fetch_plan_back(plan: transport::FetchPlan) -> FetchPlan {
    FetchPlan {
        order: plan.order,
        parallel: plan.parallel,
        hedge_after_ms: plan.hedge_after_ms,
        hedges: plan.hedges,
    }
}

pub(crate) fn connection(ask: &AdmitConnection) -> transport::Connection {
    transport::Connection {
        now: moment(&ask.now),
        node: key(&ask.node),
        transport: ask.transport.code(),
        scope: ask.scope.code(),
        family: ask.family,
        open: ask.open,
        open_with_peer: ask.open_with_peer,
    }
}

fn peer(it: &Peer) -> pricing::Peer {
    pricing::Peer { party: key(&it.party), account: it.account, given: it.given, taken: it.taken }
}

fn usage(it: &Usage) -> pricing::Usage {
    pricing::Usage { allotted_bytes: it.allotted_bytes, used_bytes: it.used_bytes, contracts: it.contracts }
}

pub(crate) fn request(ask: &Quote) -> pricing::Request {
    pricing::Request {
        now: moment(&ask.now),
        base: prices(&ask.base),
        bytes: ask.bytes,
        term_seconds: ask.term_seconds,
        peer: peer(&ask.peer),
        usage: usage(&ask.usage),
    }
}

pub(crate) fn credit_request(ask: &CreditLimit) -> pricing::CreditRequest {
    pricing::CreditRequest {
        now: moment(&ask.now),
        peer: peer(&ask.peer),
        unsigned: ask.unsigned,
        gift_budget: ask.gift_budget,
        trusted: ask.trusted,
    }
}

pub(crate) fn credit_back(credit: pricing::Credit) -> Credit {
    Credit { trust: credit.trust, gift: credit.gift }
}

pub(crate) fn market(now: &Moment, it: &Market) -> pricing::Market {
    pricing::Market {
        now: moment(now),
        providers: it.providers,
        lowest: prices(&it.lowest),
        median: prices(&it.median),
        highest: prices(&it.highest),
    }
}
