//! How data would have travelled.

use std::collections::{BTreeMap, HashMap};

use commonhold_format::policy::{Answer, Dial, Fetch, Key, Limits, Question, Transport as Carrier};

use super::fetching::{Chunk, fetch};
use super::report::{Row, Section, Table, Value};
use super::{Asked, Window, mean, median};
use crate::journal::{Line, Moved, What};

/// A chunk that was asked for so long before or after its question belongs to it, milliseconds.
const BEFORE_MS: u64 = 5;
const AFTER_MS: u64 = 60_000;
/// What a chunk takes from somebody of whom nothing is known, milliseconds.
const UNKNOWN_MS: u32 = 1000;

/// The sections of the world `transport`.
pub fn sections(asked: &[Asked], lines: &[&Line], window: Window) -> Vec<Section> {
    vec![fetches(asked, lines), sends(asked), limits(asked, lines, window), dials(asked), connections(asked)]
}

/// What is known of how long chunks take.
struct Times<'a> {
    /// By question, as its position in all, and node: when it was asked, and how it went.
    of_question: HashMap<(usize, Key), (u64, &'a Moved)>,
    medians: HashMap<Key, u32>,
    median: u32,
}

impl<'a> Times<'a> {
    fn of(asked: &[Asked], lines: &[&'a Line]) -> Self {
        let mut events: BTreeMap<Key, Vec<(u64, &Moved)>> = BTreeMap::new();
        let mut all = Vec::new();
        for line in lines {
            let What::Fetched { moved } = &line.what else { continue };
            let begun = line.time.saturating_sub(moved.ms.into());
            events.entry(moved.node).or_default().push((begun, moved));
            all.extend(moved.is_whole().then_some(moved.ms));
        }
        let mut questions: HashMap<Key, Vec<(u64, usize)>> = HashMap::new();
        for (at, it) in asked.iter().enumerate() {
            let Question::Fetch(ask) = &it.question else { continue };
            for source in &ask.sources {
                questions.entry(source.node).or_default().push((it.time, at));
            }
        }
        let (mut medians, mut of_question) = (HashMap::new(), HashMap::new());
        for (node, mut events) in events {
            let mut whole: Vec<u32> =
                events.iter().filter(|(_, moved)| moved.is_whole()).map(|(_, moved)| moved.ms).collect();
            if !whole.is_empty() {
                medians.insert(node, median(&mut whole));
            }
            events.sort_by_key(|(begun, _)| *begun);
            let mut questions = questions.remove(&node).unwrap_or_default();
            questions.sort_unstable();
            for (begun, moved) in events {
                // The last question before it that has none from this node yet.
                let before = questions.partition_point(|(time, _)| *time <= begun.saturating_add(BEFORE_MS));
                let free = (0..before).rev().find(|at| {
                    let (time, question) = questions[*at];
                    time.saturating_add(AFTER_MS) < begun || !of_question.contains_key(&(question, node))
                });
                let Some((time, question)) = free.map(|at| questions[at]) else { continue };
                if time.saturating_add(AFTER_MS) >= begun {
                    of_question.insert((question, node), (begun, moved));
                }
            }
        }
        let median = if all.is_empty() { UNKNOWN_MS } else { median(&mut all) };
        Self { of_question, medians, median }
    }

    /// What a chunk from a node takes as a rule.
    fn usual(&self, node: &Key, told: u32) -> u32 {
        let known = self.medians.get(node).copied();
        known.or((told > 0).then_some(told)).unwrap_or(self.median)
    }
}

#[derive(Default)]
struct Fetches {
    times: Vec<u64>,
    failed: u64,
    hedges: u64,
    surplus_bytes: u128,
}

fn fetches(asked: &[Asked], lines: &[&Line]) -> Section {
    let times = Times::of(asked, lines);
    let mut columns: [Fetches; 3] = Default::default();
    let (mut measured, mut taken, mut guessed) = (Vec::new(), 0_u64, 0_u64);
    for (number, it) in asked.iter().enumerate() {
        let Question::Fetch(ask) = &it.question else { continue };
        let mut ends = Vec::new();
        let mut chunks = Vec::with_capacity(ask.sources.len());
        for source in &ask.sources {
            let usual = times.usual(&source.node, source.median_ms);
            let found = times.of_question.get(&(number, source.node)).copied();
            chunks.push(match found {
                Some((_, moved)) if moved.is_whole() || moved.error.is_some() => {
                    Chunk { ms: moved.ms.into(), whole: moved.is_whole() }
                }
                // It was given up: it would have taken longer than that.
                Some((_, moved)) => Chunk { ms: moved.ms.max(usual).into(), whole: true },
                None => Chunk { ms: usual.into(), whole: true },
            });
            *if found.is_some() { &mut taken } else { &mut guessed } += 1;
            ends.extend(
                found.filter(|(_, moved)| moved.is_whole()).map(|(begun, moved)| begun + u64::from(moved.ms)),
            );
        }
        measured.extend(measured_ms(ask, it.time, &mut ends));
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::FetchPlan(plan) = answer else { continue };
            let fetched = fetch(ask, plan, &chunks);
            match fetched.ms {
                Some(ms) => column.times.push(ms),
                None => column.failed += 1,
            }
            column.hedges += fetched.hedges;
            column.surplus_bytes += u128::from(fetched.surplus) * u128::from(ask.chunk_len);
        }
    }
    columns.iter_mut().for_each(|it| it.times.sort_unstable());
    measured.sort_unstable();
    let of = |get: fn(&Fetches) -> Value| columns.each_ref().map(get);
    let only = |value: Value| [value, Value::None, Value::None];
    let rows = vec![
        Row::new("segments", "segments fetched", of(|it| (it.times.len() as u64).into())),
        Row::new("failed", "segments that could not be", of(|it| it.failed.into())),
        Row::new("mean_ms", "time of a segment, mean ms", of(|it| Value::real(mean_of(&it.times)))),
        Row::new("median_ms", "median ms", of(|it| part(&it.times, 50).into())),
        Row::new("slow_ms", "19 of 20 within, ms", of(|it| part(&it.times, 95).into())),
        Row::new("max_ms", "slowest, ms", of(|it| it.times.last().copied().into())),
        Row::new("hedges", "chunks asked for because of slowness", of(|it| it.hedges.into())),
        Row::new("surplus_bytes", "bytes asked for beyond need, at most", of(|it| it.surplus_bytes.into())),
        Row::new(
            "measured_segments",
            "segments whose time was measured",
            only((measured.len() as u64).into()),
        ),
        Row::new("measured_mean_ms", "measured, mean ms", only(Value::real(mean_of(&measured)))),
        Row::new("measured_median_ms", "measured, median ms", only(part(&measured, 50).into())),
        Row::new("chunks_recorded", "chunk times that were recorded", only(taken.into())),
        Row::new("chunks_usual", "chunk times taken from medians", only(guessed.into())),
    ];
    Section {
        key: "fetches",
        title: "Fetching",
        rule: "each segment is fetched again by each plan with the times that its chunks took; a node that was \
               not asked then takes its median, by the journal or else as it was told to the policy; one that \
               was given up takes at least so long; chunks do not slow each other down",
        rows,
        tables: Vec::new(),
    }
}

/// When the last of k chunks was there after the question, if so many were seen.
fn measured_ms(ask: &Fetch, time: u64, ends: &mut [u64]) -> Option<u64> {
    ends.sort_unstable();
    let last = ends.get((ask.k as usize).checked_sub(1)?)?;
    Some(last.saturating_sub(time))
}

fn mean_of(times: &[u64]) -> Option<f64> {
    mean(times.iter().map(|it| u128::from(*it)).sum(), times.len() as u64)
}

/// What so many in a hundred are within, of a sorted list.
fn part(times: &[u64], percent: usize) -> Option<u64> {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.max(1) - 1).copied()
}

fn sends(asked: &[Asked]) -> Section {
    let mut columns = [(0_u64, 0_u64); 3];
    for it in asked {
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::Parallel(parallel) = answer else { continue };
            column.0 += 1;
            column.1 += u64::from(*parallel);
        }
    }
    let rows = vec![
        Row::new("segments", "segments sent", columns.map(|it| it.0.into())),
        Row::new(
            "parallel_mean",
            "chunks at the same time, mean",
            columns.map(|it| Value::real(mean(it.1.into(), it.0))),
        ),
    ];
    Section {
        key: "sends",
        title: "Sending",
        rule: "how many at most; not how long it takes",
        rows,
        tables: vec![],
    }
}

fn limits(asked: &[Asked], lines: &[&Line], window: Window) -> Section {
    let points: Vec<(u64, [Limits; 3])> = asked
        .iter()
        .filter(|it| matches!(it.question, Question::Limit(_)))
        .map(|it| {
            let limits = it.answers.each_ref().map(|answer| match answer {
                Answer::Limits(limits) => *limits,
                _ => Limits::default(),
            });
            (it.time, limits)
        })
        .collect();
    let mut moved = vec![[0_u128; 2]; points.len()];
    for line in lines {
        let (way, bytes) = match &line.what {
            What::Sent { moved } if moved.is_whole() => (0, moved.bytes),
            What::Fetched { moved } if moved.is_whole() => (1, moved.bytes),
            _ => continue,
        };
        let after = points.partition_point(|(time, _)| *time <= line.time);
        if let Some(interval) = after.checked_sub(1).and_then(|at| moved.get_mut(at)) {
            interval[way] += u128::from(bytes);
        }
    }
    let mut limited_ms = [[0_u64; 2]; 3];
    let mut over = [[0_u128; 2]; 3];
    for (at, (time, limits)) in points.iter().enumerate() {
        let end =
            points.get(at + 1).map_or(window.to.saturating_add(1).saturating_mul(1000), |(next, _)| *next);
        let ms = end.saturating_sub(*time);
        for (column, limits) in limits.iter().enumerate() {
            for (way, limit) in [limits.upload, limits.download].into_iter().enumerate() {
                if limit > 0 {
                    let sum = &mut limited_ms[column][way];
                    *sum = sum.saturating_add(ms);
                    let most = u128::from(limit) * u128::from(ms) / 1000;
                    over[column][way] += moved[at][way].saturating_sub(most);
                }
            }
        }
    }
    let hours = |way: usize| limited_ms.map(|it| Value::real(Some(it[way] as f64 / 3_600_000.0)));
    let bytes = |way: usize| over.map(|it| Value::from(it[way]));
    let all = |way: usize| {
        let sum = moved.iter().map(|it| it[way]).sum::<u128>();
        [Value::from(sum), Value::None, Value::None]
    };
    let rows = vec![
        Row::new("questions", "questions", [0; 3].map(|_: u8| Value::from(points.len() as u64))),
        Row::new("upload_limited_hours", "hours with a limit to others", hours(0)),
        Row::new("download_limited_hours", "hours with a limit from others", hours(1)),
        Row::new("sent_bytes", "bytes sent meanwhile", all(0)),
        Row::new("received_bytes", "bytes received meanwhile", all(1)),
        Row::new("upload_over_bytes", "of those sent, would have come later", bytes(0)),
        Row::new("download_over_bytes", "of those received, would have come later", bytes(1)),
    ];
    let limit = |it: u64| if it == 0 { "none".to_owned() } else { it.to_string() };
    let both = |it: &Limits| Value::Text(format!("{}/{}", limit(it.upload), limit(it.download)));
    let mut changes: Vec<Vec<Value>> = Vec::new();
    let mut before = None;
    for (time, limits) in &points {
        if before != Some(*limits) {
            let mut line = vec![Value::Text(crate::clock::utc(time / 1000))];
            line.extend(limits.each_ref().map(both));
            changes.push(line);
        }
        before = Some(*limits);
    }
    let table = Table {
        key: "changes",
        title: "limits over time, bytes per second to others/from others",
        columns: vec!["since (UTC)", "recorded", "plugin", "default"],
        rows: changes,
    };
    Section {
        key: "limits",
        title: "Limits",
        rule: "a limit holds until the next question; what is more than it lets through until then would have \
               come later; only chunks of this node's own files are in the journal",
        rows,
        tables: vec![table],
    }
}

#[derive(Default)]
struct Dials {
    count: u64,
    same: u64,
    first: [u64; 2],
    none: u64,
    left_out: u64,
    at_once: u64,
    failing: u64,
    known: u64,
    connect_ms: u128,
}

fn dials(asked: &[Asked]) -> Section {
    let mut columns: [Dials; 3] = Default::default();
    for it in asked {
        let Question::Dial(ask) = &it.question else { continue };
        let recorded = order_of(&it.answers[0]);
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::DialPlan(plan) = answer else { continue };
            column.add(ask, &plan.order, plan.at_once);
            column.same += u64::from(recorded == Some(&plan.order[..]));
        }
    }
    let of = |get: fn(&Dials) -> Value| columns.each_ref().map(get);
    let rows = vec![
        Row::new("peers", "peers dialed", of(|it| it.count.into())),
        Row::new("same_order", "in the same order as recorded", of(|it| it.same.into())),
        Row::new("first_quic", "QUIC first", of(|it| it.first[0].into())),
        Row::new("first_tcp", "TCP first", of(|it| it.first[1].into())),
        Row::new("not_dialed", "not dialed at all", of(|it| it.none.into())),
        Row::new("left_out", "addresses left out", of(|it| it.left_out.into())),
        Row::new(
            "at_once_mean",
            "addresses at the same time, mean",
            of(|it| Value::real(mean(it.at_once.into(), it.count))),
        ),
        Row::new("first_failed", "first address had failed last", of(|it| it.failing.into())),
        Row::new(
            "first_connect_ms",
            "time to connect at the first, mean ms",
            of(|it| Value::real(mean(it.connect_ms, it.known))),
        ),
    ];
    Section {
        key: "dials",
        title: "Dialing",
        rule: "what was known of an address when it was asked about; unknown times are not in the mean",
        rows,
        tables: Vec::new(),
    }
}

fn order_of(answer: &Answer) -> Option<&[u32]> {
    match answer {
        Answer::DialPlan(plan) => Some(&plan.order),
        _ => None,
    }
}

impl Dials {
    fn add(&mut self, ask: &Dial, order: &[u32], at_once: u32) {
        self.count += 1;
        self.left_out += (ask.addresses.len() - order.len()) as u64;
        self.at_once += u64::from(at_once);
        let Some(first) = order.first().and_then(|at| ask.addresses.get(*at as usize)) else {
            self.none += 1;
            return;
        };
        self.first[usize::from(first.transport == Carrier::Tcp)] += 1;
        self.failing += u64::from(first.failures_in_row > 0);
        if first.connect_ms > 0 {
            self.known += 1;
            self.connect_ms += u128::from(first.connect_ms);
        }
    }
}

fn connections(asked: &[Asked]) -> Section {
    let mut columns = [[0_u64; 2]; 3];
    for it in asked {
        for (column, answer) in columns.iter_mut().zip(&it.answers) {
            let Answer::Verdict(verdict) = answer else { continue };
            column[usize::from(verdict.admit)] += 1;
        }
    }
    let rows = vec![
        Row::new("admitted", "connections kept", columns.map(|it| it[1].into())),
        Row::new("refused", "connections closed", columns.map(|it| it[0].into())),
    ];
    let rule = "what came over a connection that would have been closed is not taken away";
    Section { key: "connections", title: "Connections", rule, rows, tables: Vec::new() }
}
