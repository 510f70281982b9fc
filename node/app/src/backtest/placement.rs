//! Where chunks would have gone, and what would have been taken on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use commonhold_format::policy::{Answer, Candidate, CodeAnswer, Key, Purpose, Question, Rank};

use super::contracts::Kept;
use super::report::{Row, Section, Table, Value};
use super::{Asked, Window, mean};
use crate::journal::Side;

/// What a holder is lost with, for the chance that a segment is.
const HOLDER_LOST: f64 = 0.1;

/// The sections of the world `placement`.
pub fn sections(asked: &[Asked], contracts: &[Kept], window: Window) -> Vec<Section> {
    vec![codes(asked), holders(asked), offers(asked, contracts, window)]
}

#[derive(Default)]
struct Codes {
    count: u64,
    codes: BTreeMap<(u32, u32), u64>,
    expansion: f64,
    lost: f64,
}

fn codes(asked: &[Asked]) -> Section {
    let mut columns: [Codes; 3] = Default::default();
    for it in asked {
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::Code(code) = answer else { continue };
            column.count += 1;
            *column.codes.entry((code.k, code.n)).or_default() += 1;
            column.expansion += f64::from(code.n) / f64::from(code.k.max(1));
            column.lost += chance_of_loss(*code, HOLDER_LOST);
        }
    }
    let per = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
    let named: BTreeSet<(u32, u32)> = columns.iter().flat_map(|it| it.codes.keys().copied()).collect();
    let line = |(k, n): (u32, u32)| {
        let counts = columns.each_ref().map(|it| it.codes.get(&(k, n)).copied().unwrap_or(0));
        let mut cells = vec![Value::Text(format!("{k} of {n}"))];
        cells.extend(counts.map(Value::from));
        cells
    };
    let rows = vec![
        Row::new("files", "files asked about", columns.each_ref().map(|it| it.count.into())),
        Row::new(
            "expansion",
            "bytes stored for each",
            columns.each_ref().map(|it| Value::real(per(it.expansion, it.count))),
        ),
        Row::new(
            "loss_chance",
            "chance to lose a segment",
            columns.each_ref().map(|it| Value::chance(per(it.lost, it.count))),
        ),
    ];
    let codes = Table {
        key: "codes",
        title: "codes, by how often each was chosen",
        columns: vec!["code", "recorded", "plugin", "default"],
        rows: named.into_iter().map(line).collect(),
    };
    Section {
        key: "codes",
        title: "Codes",
        rule: "the chance is for holders that are lost independently, each with 10 %, and no repair",
        rows,
        tables: vec![codes],
    }
}

/// The chance that fewer than k of n holders are left.
fn chance_of_loss(code: CodeAnswer, lost: f64) -> f64 {
    // The terms of a binomial, each from the one before; by multiplication alone, so that every machine
    // comes to the same number.
    let (k, n) = (code.k, code.n);
    let mut term = (0..n).fold(1.0, |product, _| product * lost);
    let mut sum = 0.0;
    for left in 0..k.min(n) {
        sum += term;
        term *= f64::from(n - left) / f64::from(left + 1) * (1.0 - lost) / lost;
    }
    sum
}

#[derive(Default)]
struct Holders {
    questions: [u64; 2],
    wanted: u64,
    found: u64,
    short: u64,
    same: u64,
    spread: [u64; 3],
    price: u128,
    latency: u128,
    probation: u64,
}

fn holders(asked: &[Asked]) -> Section {
    let mut columns: [Holders; 3] = Default::default();
    for it in asked {
        let Question::Rank(ask) = &it.question else { continue };
        let placed = it.answers.each_ref().map(|answer| match answer {
            Answer::Ranking(order) => placed(ask, order),
            _ => Vec::new(),
        });
        let recorded: HashSet<Key> = placed[0].iter().map(|it| it.node).collect();
        for (column, placed) in columns.iter_mut().zip(&placed) {
            column.add(ask, placed, &recorded);
        }
    }
    let count = |get: fn(&Holders) -> u64| columns.each_ref().map(|it| Value::from(get(it)));
    let all = |it: &Holders| it.questions[0] + it.questions[1];
    let per_question =
        |at: usize| columns.each_ref().map(|it| Value::real(mean(it.spread[at].into(), all(it))));
    let per_holder =
        |get: fn(&Holders) -> u128| columns.each_ref().map(|it| Value::real(mean(get(it), it.found)));
    let rows = vec![
        Row::new("segments", "new segments", count(|it| it.questions[0])),
        Row::new("repairs", "repairs", count(|it| it.questions[1])),
        Row::new("holders_wanted", "holders wanted", count(|it| it.wanted)),
        Row::new("holders", "holders found", count(|it| it.found)),
        Row::new("short", "questions with too few", count(|it| it.short)),
        Row::new("same_holders", "the same holders as recorded", count(|it| it.same)),
        Row::new("other_holders", "other holders", count(|it| it.found - it.same)),
        Row::new("probation", "of those on probation", count(|it| it.probation)),
        Row::new("operators_mean", "operators per segment", per_question(0)),
        Row::new("subnets_mean", "subnets per segment", per_question(1)),
        Row::new("regions_mean", "regions per segment", per_question(2)),
        Row::new("price_mean_microcredits_per_gib_month", "mean price of storage", per_holder(|it| it.price)),
        Row::new("latency_mean_ms", "mean round trip, ms", per_holder(|it| it.latency)),
    ];
    Section {
        key: "holders",
        title: "Holders",
        rule: "holders are the first of a ranking that share no node, party or subnet with each other or \
               with those that hold chunks already; price in microcredits per GiB and 30 days; a segment's \
               operators, subnets and regions are counted with those that hold chunks of it already, \
               unknown ones not at all",
        rows,
        tables: Vec::new(),
    }
}

impl Holders {
    fn add(&mut self, ask: &Rank, placed: &[&Candidate], recorded: &HashSet<Key>) {
        self.questions[usize::from(ask.purpose == Purpose::Repair)] += 1;
        self.wanted += u64::from(ask.holders);
        self.found += placed.len() as u64;
        self.short += u64::from((placed.len() as u64) < u64::from(ask.holders));
        self.same += placed.iter().filter(|it| recorded.contains(&it.node)).count() as u64;
        let all = || ask.taken.iter().chain(placed.iter().copied());
        let differing = |number: fn(&Candidate) -> u32| {
            all().map(number).filter(|it| *it != 0).collect::<HashSet<_>>().len() as u64
        };
        self.spread[0] += all().map(|it| it.party).collect::<HashSet<_>>().len() as u64;
        self.spread[1] += differing(|it| it.subnet);
        self.spread[2] += differing(|it| it.region);
        for it in placed {
            self.price += u128::from(it.prices.storage_microcredits_per_gib_month);
            self.latency += u128::from(it.latency_ms);
            self.probation += u64::from(it.standing == commonhold_format::policy::Standing::Probation);
        }
    }
}

/// Whom a node takes from a ranking: what no policy may bend is applied (spec/engine.md).
fn placed<'a>(ask: &'a Rank, order: &[u32]) -> Vec<&'a Candidate> {
    let mut nodes: HashSet<Key> = ask.taken.iter().map(|it| it.node).collect();
    let mut parties: HashSet<Key> = ask.taken.iter().map(|it| it.party).collect();
    let mut subnets: HashSet<u32> = ask.taken.iter().map(|it| it.subnet).filter(|it| *it != 0).collect();
    let mut apart = |it: &&Candidate| {
        let shared = nodes.contains(&it.node)
            || parties.contains(&it.party)
            || (it.subnet != 0 && subnets.contains(&it.subnet));
        if !shared {
            nodes.insert(it.node);
            parties.insert(it.party);
            subnets.extend((it.subnet != 0).then_some(it.subnet));
        }
        !shared
    };
    let ranked = order.iter().filter_map(|at| ask.candidates.get(*at as usize));
    ranked.filter(|it| apart(it)).take(ask.holders as usize).collect()
}

#[derive(Default)]
struct Offers {
    admitted: u64,
    refused: u64,
    admitted_bytes: u128,
    refused_bytes: u128,
    earned: u64,
    missed: u64,
    missed_byte_seconds: u128,
}

fn offers(asked: &[Asked], contracts: &[Kept], window: Window) -> Section {
    let mut columns: [Offers; 3] = Default::default();
    let mut used = HashSet::new();
    for it in asked {
        let Question::AdmitOffer(ask) = &it.question else { continue };
        let opened = contracts.iter().find(|kept| {
            let terms = &kept.contract;
            kept.side == Side::Provider
                && Key::from(terms.owner) == ask.owner
                && terms.bytes_max == ask.bytes
                && terms.prices == ask.prices
                && kept.begins_near(it.time)
                && !used.contains(&kept.id)
        });
        used.extend(opened.map(|kept| kept.id));
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::Verdict(verdict) = answer else { continue };
            let earned = opened.map_or(0, |kept| kept.earned(window));
            if verdict.admit {
                column.admitted += 1;
                column.admitted_bytes += u128::from(ask.bytes);
                column.earned = column.earned.saturating_add(earned);
            } else {
                column.refused += 1;
                column.refused_bytes += u128::from(ask.bytes);
                column.missed = column.missed.saturating_add(earned);
                let held = opened.map_or(0, |kept| kept.totals(window).byte_seconds);
                column.missed_byte_seconds = column.missed_byte_seconds.saturating_add(held);
            }
        }
    }
    let of = |get: fn(&Offers) -> Value| columns.each_ref().map(get);
    let rows = vec![
        Row::new("admitted", "offers admitted", of(|it| it.admitted.into())),
        Row::new("refused", "offers refused", of(|it| it.refused.into())),
        Row::new("admitted_bytes", "bytes of those admitted, at most", of(|it| it.admitted_bytes.into())),
        Row::new("refused_bytes", "bytes of those refused, at most", of(|it| it.refused_bytes.into())),
        Row::new("earned_microcredits", "earned under those admitted", of(|it| it.earned.into())),
        Row::new("missed_microcredits", "earned under those refused", of(|it| it.missed.into())),
        Row::new(
            "missed_byte_seconds",
            "byte-seconds held under those refused",
            of(|it| it.missed_byte_seconds.into()),
        ),
    ];
    Section {
        key: "offers",
        title: "Offers to this node",
        rule: "an offer's contract is the one in the ledger with its owner, bytes and prices that began within \
               ten minutes of it; earnings in microcredits, by receipts that both signed and that end within \
               the time; what was refused then has earned nothing that could be counted",
        rows,
        tables: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_loss_is_that_of_the_binomial() {
        let cases = [((1, 1), 0.1), ((1, 2), 0.01), ((2, 3), 0.028), ((2, 6), 0.000_055)];
        for ((k, n), chance) in cases {
            let found = chance_of_loss(CodeAnswer { k, n }, 0.1);
            assert!((found - chance).abs() < 1e-9, "{k} of {n}: {found}");
        }
        let found = chance_of_loss(CodeAnswer { k: 20, n: 60 }, 0.1);
        assert!(found > 0.0 && found < 1e-20, "{found}");
    }
}
