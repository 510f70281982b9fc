//! What would have been earned and paid, and whom credit would have been given.

use std::collections::{BTreeMap, HashSet};

use commonhold_format::policy::Question;
use commonhold_format::policy::{Answer, Credit, CreditLimit, Key, Quote};
use commonhold_format::statement::Prices;

use super::contracts::Kept;
use super::report::{Row, Section, Table, Value};
use super::{Asked, Window};
use crate::journal::Side;

/// The sections of the world `pricing`.
pub fn sections(asked: &[Asked], contracts: &[Kept], window: Window) -> Vec<Section> {
    let of = |side: Side| contracts.iter().filter(move |it| it.side == side && it.is_of(window));
    vec![
        earned(asked, of(Side::Provider).collect(), window),
        credit(asked),
        paid(asked, of(Side::Owner).collect(), window),
    ]
}

/// The question that a contract came of: the last one before it began, or the first after.
fn question_of<'a>(asked: impl Iterator<Item = &'a Asked> + Clone, kept: &Kept) -> Option<&'a Asked> {
    asked.clone().filter(|it| kept.begins_after(it.time)).last().or_else(|| asked.clone().next())
}

fn prices(answer: &Answer) -> Option<Prices> {
    match answer {
        Answer::Prices(prices) => Some(*prices),
        _ => None,
    }
}

/// Whether no price is higher than the other's.
fn at_most(prices: &Prices, limit: &Prices) -> bool {
    prices.storage_microcredits_per_gib_month <= limit.storage_microcredits_per_gib_month
        && prices.egress_microcredits_per_gib <= limit.egress_microcredits_per_gib
        && prices.audit_microcredits <= limit.audit_microcredits
}

fn shown(prices: &Prices) -> Value {
    let price = |it: u64| if it == u64::MAX { "any".to_owned() } else { it.to_string() };
    Value::Text(format!(
        "{}/{}/{}",
        price(prices.storage_microcredits_per_gib_month),
        price(prices.egress_microcredits_per_gib),
        price(prices.audit_microcredits)
    ))
}

fn short(key: &[u8; 32]) -> Value {
    Value::Text(data_encoding::HEXLOWER.encode(&key[..8]))
}

#[derive(Default)]
struct Earned {
    accepted: u64,
    not_accepted: u64,
    earned: u64,
    if_all: u64,
}

fn earned(asked: &[Asked], contracts: Vec<&Kept>, window: Window) -> Section {
    let quotes: Vec<(&Asked, &Quote)> = asked
        .iter()
        .filter_map(|it| match &it.question {
            Question::Quote(ask) => Some((it, ask)),
            _ => None,
        })
        .collect();
    let mut columns: [Earned; 3] = Default::default();
    let (mut really, mut unquoted) = (0_u64, 0_u64);
    let mut rows = Vec::new();
    for kept in &contracts {
        let owner = Key::from(kept.contract.owner);
        let terms = &kept.contract;
        // Its own quote, one for its owner, or what was announced to everybody.
        let own = quotes.iter().filter(|(it, ask)| {
            ask.peer.party == owner && ask.bytes == terms.bytes_max && kept.begins_near(it.time)
        });
        let owners = quotes.iter().filter(|(_, ask)| ask.peer.party == owner && ask.bytes > 0);
        let announced = quotes.iter().filter(|(_, ask)| ask.bytes == 0);
        let quote = question_of(own.map(|(it, _)| *it), kept)
            .or_else(|| question_of(owners.map(|(it, _)| *it), kept))
            .or_else(|| question_of(announced.map(|(it, _)| *it), kept));
        let real = kept.earned(window);
        really = really.saturating_add(real);
        let totals = kept.totals(window);
        let mut line = vec![short(&kept.id.0), short(&terms.owner.0)];
        line.extend([
            Value::from(totals.byte_seconds),
            totals.egress_bytes.into(),
            totals.audits_passed.into(),
            shown(&terms.prices),
            real.into(),
        ]);
        match quote {
            None => {
                unquoted += 1;
                line.extend([Value::None, Value::None, Value::None, Value::None]);
            }
            Some(quote) => {
                for (at, (column, answer)) in columns.iter_mut().zip(&quote.answers).enumerate() {
                    let Some(quoted) = prices(answer) else { continue };
                    let accepted = at_most(&quoted, &terms.prices);
                    let due = kept.due(window, &quoted);
                    column.if_all = column.if_all.saturating_add(due);
                    if accepted {
                        column.accepted += 1;
                        column.earned = column.earned.saturating_add(due);
                    } else {
                        column.not_accepted += 1;
                    }
                    if at > 0 {
                        line.extend([shown(&quoted), if accepted { due.into() } else { Value::None }]);
                    }
                }
            }
        }
        rows.push(line);
    }
    let count = |get: fn(&Earned) -> u64| columns.each_ref().map(|it| Value::from(get(it)));
    let figures = vec![
        Row::new("quotes", "quotes", [0; 3].map(|_: u8| Value::from(quotes.len() as u64))),
        Row::new("accepted", "contracts whose owner would have accepted", count(|it| it.accepted)),
        Row::new("not_accepted", "contracts whose owner would not have", count(|it| it.not_accepted)),
        Row::new("unquoted", "contracts without a recorded quote", [0; 3].map(|_: u8| unquoted.into())),
        Row::new(
            "signed_microcredits",
            "what both signed within the time",
            [really.into(), Value::None, Value::None],
        ),
        Row::new("earned_microcredits", "earned from those who accept", count(|it| it.earned)),
        Row::new("if_all_microcredits", "earned had all accepted", count(|it| it.if_all)),
    ];
    let table = Table {
        key: "contracts",
        title: "contracts in which this node is the provider; prices are storage/egress/audit",
        columns: vec![
            "contract",
            "owner",
            "byte_seconds",
            "egress_bytes",
            "audits",
            "paid",
            "earned",
            "plugin",
            "would_earn",
            "default",
            "default_would",
        ],
        rows,
    };
    Section {
        key: "earned",
        title: "Earned",
        rule: "an owner accepts a quote of which no price is higher than what its contract paid; for the same \
               bytes, times and audits; in microcredits. A contract's quote is the last one for it, for its \
               owner or for everybody before it began, or else the first after",
        rows: figures,
        tables: vec![table],
    }
}

#[derive(Default)]
struct Given {
    allowed: u64,
    refused: u64,
    parties_refused: HashSet<Key>,
}

/// How far a party may go with an answer, microcredits.
fn limit_of(ask: &CreditLimit, credit: &Credit) -> u64 {
    ask.trusted.saturating_add(credit.trust).saturating_add(credit.gift.min(ask.gift_budget))
}

fn debt_of(ask: &CreditLimit) -> u64 {
    u64::try_from(ask.peer.account).unwrap_or(0).saturating_add(ask.unsigned)
}

fn credit(asked: &[Asked]) -> Section {
    let mut columns: [Given; 3] = Default::default();
    let mut last: BTreeMap<Key, (u64, [u64; 3])> = BTreeMap::new();
    for it in asked {
        let Question::CreditLimit(ask) = &it.question else { continue };
        let debt = debt_of(ask);
        let limits = it.answers.each_ref().map(|answer| match answer {
            Answer::Credit(credit) => limit_of(ask, credit),
            _ => 0,
        });
        for (column, limit) in columns.iter_mut().zip(limits) {
            if debt <= limit {
                column.allowed += 1;
            } else {
                column.refused += 1;
                column.parties_refused.insert(ask.peer.party);
            }
        }
        last.insert(ask.peer.party, (debt, limits));
    }
    let of = |get: fn(&Given) -> u64| columns.each_ref().map(|it| Value::from(get(it)));
    let sum = |get: fn(u64, u64) -> u64| {
        [0, 1, 2].map(|at: usize| {
            let parts = last.values().map(|(debt, limits)| u128::from(get(*debt, limits[at])));
            Value::from(parts.sum::<u128>())
        })
    };
    let rows = vec![
        Row::new("allowed", "decisions within the limit", of(|it| it.allowed)),
        Row::new("refused", "decisions beyond it", of(|it| it.refused)),
        Row::new("parties", "parties", [0; 3].map(|_: u8| Value::from(last.len() as u64))),
        Row::new(
            "parties_refused",
            "parties that were ever beyond it",
            of(|it| it.parties_refused.len() as u64),
        ),
        Row::new("covered_microcredits", "debts covered at the end", sum(|debt, limit| debt.min(limit))),
        Row::new("uncovered_microcredits", "debts not covered at the end", sum(u64::saturating_sub)),
    ];
    let line = |(party, (debt, limits)): (Key, (u64, [u64; 3]))| {
        let mut cells = vec![short(&party.0), debt.into()];
        cells.extend(limits.map(Value::from));
        cells
    };
    let mut by_debt: Vec<(Key, (u64, [u64; 3]))> = last.into_iter().collect();
    by_debt.sort_by_key(|(party, (debt, _))| (std::cmp::Reverse(*debt), *party));
    let table = Table {
        key: "parties",
        title: "parties, by what they owed when asked about last, with how far each may go",
        columns: vec!["party", "debt", "recorded", "plugin", "default"],
        rows: by_debt.into_iter().map(line).collect(),
    };
    Section {
        key: "credit",
        title: "Credit",
        rule: "a party may go as far as the operator and the policy answer for, and its part of the gift \
               budget as if nobody else used that; what it owes is what it owed then, in microcredits",
        rows,
        tables: vec![table],
    }
}

#[derive(Default)]
struct Paid {
    beyond: u64,
    beyond_paid: u64,
    within_paid: u64,
}

fn paid(asked: &[Asked], contracts: Vec<&Kept>, window: Window) -> Section {
    let ceilings: Vec<&Asked> =
        asked.iter().filter(|it| matches!(it.question, Question::Ceiling(_))).collect();
    let mut columns: [Paid; 3] = Default::default();
    let mut unasked = 0_u64;
    let mut rows = Vec::new();
    for kept in &contracts {
        let paid = kept.earned(window);
        let Some(ceiling) = question_of(ceilings.iter().copied(), kept) else {
            unasked += 1;
            continue;
        };
        let mut line = vec![short(&kept.id.0), short(&kept.contract.provider.0)];
        line.extend([shown(&kept.contract.prices), paid.into()]);
        for (at, (column, answer)) in columns.iter_mut().zip(&ceiling.answers).enumerate() {
            let Some(limit) = prices(answer) else { continue };
            let beyond = !at_most(&kept.contract.prices, &limit);
            column.beyond += u64::from(beyond);
            let sum = if beyond { &mut column.beyond_paid } else { &mut column.within_paid };
            *sum = sum.saturating_add(paid);
            if at == 1 {
                line.extend([shown(&limit), Value::Text(if beyond { "no" } else { "yes" }.to_owned())]);
            }
        }
        rows.push(line);
    }
    let of = |get: fn(&Paid) -> u64| columns.each_ref().map(|it| Value::from(get(it)));
    let same = |value: u64| [0; 3].map(|_: u8| Value::from(value));
    let figures = vec![
        Row::new("contracts", "contracts", same(contracts.len() as u64)),
        Row::new("unasked", "contracts without a recorded question", same(unasked)),
        Row::new("beyond", "contracts beyond the ceiling", of(|it| it.beyond)),
        Row::new("beyond_microcredits", "paid under those", of(|it| it.beyond_paid)),
        Row::new("within_microcredits", "paid under the others", of(|it| it.within_paid)),
    ];
    let table = Table {
        key: "contracts",
        title: "contracts in which this node is the owner; prices are storage/egress/audit",
        columns: vec!["contract", "provider", "prices", "paid", "ceiling", "within"],
        rows,
    };
    Section {
        key: "paid",
        title: "Paid",
        rule: "a contract is beyond a ceiling when any of its prices is; what was paid is what both signed \
               within the time, in microcredits",
        rows: figures,
        tables: vec![table],
    }
}
