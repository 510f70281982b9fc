//! A policy tried on what this node was asked before (spec/backtest.md).
//!
//! Invariant: the same history and the same policy give the same report, byte for byte; nothing is read
//! but the journal and the ledger, and no clock. What it is not: a prophecy. Others would have answered
//! otherwise too, had this node done so; each section says what it takes to be unchanged.

mod contracts;
mod fetching;
mod placement;
mod pricing;
mod report;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::time::Duration;

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::{Answer, Kind, Policy, Question};
use serde::Serialize;

use crate::journal::{By, History, Line, What};

pub use self::contracts::{Kept, of_ledger};
pub use self::report::Report;

/// Most different sentences of faults that are listed.
const FAULTS_MAX: usize = 20;

/// Somebody who is tried.
pub trait Candidate {
    /// Asks one question, as a node would.
    fn ask(&mut self, question: &Question) -> Tried;
}

/// What came of a question.
#[derive(Debug, Clone)]
pub struct Tried {
    /// A checked answer, or why there is none.
    pub answer: Result<Answer, Failed>,
    /// Fuel that it took.
    pub fuel: u64,
    /// How long it took.
    pub time: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// A sentence.
    pub why: String,
    /// Did it answer, out of bounds?
    pub refused: bool,
}

/// A time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Unix seconds.
    pub from: u64,
    /// Unix seconds.
    pub to: u64,
}

impl Window {
    /// The last so many seconds before the newest line or receipt, or all there is. Not counted from now,
    /// so that the same history gives the same report tomorrow.
    pub fn of(history: &History, receipts: Option<u64>, since_seconds: Option<u64>) -> Self {
        let newest = history.lines.iter().map(|line| line.time / 1000).chain(receipts).max();
        let to = newest.unwrap_or(0);
        Self { from: since_seconds.map_or(0, |seconds| to.saturating_sub(seconds)), to }
    }

    /// Whether it has a time, in Unix seconds.
    pub fn has(&self, seconds: u64) -> bool {
        (self.from..=self.to).contains(&seconds)
    }
}

/// One question with the answers to it.
struct Asked {
    /// Unix milliseconds.
    time: u64,
    question: Question,
    /// Whose they are: see [`report::Row`].
    answers: [Answer; 3],
}

/// How often and how it answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Calls {
    /// Questions, each of which is one call.
    pub questions: u64,
    /// Of those, with a list that the journal cut.
    pub partial: u64,
    /// Whose answers counted then, with how often.
    pub decided_then: BTreeMap<String, u64>,
    /// Answers that were refused; the default's was used.
    pub refused: u64,
    /// Calls without an answer; the default's was used.
    pub faults: u64,
    /// Sentences, with how often each was the reason.
    pub reasons: BTreeMap<String, u64>,
    /// Median of the fuel of a call that gave an answer.
    pub fuel_median: u64,
    /// Most fuel of a call.
    pub fuel_max: u64,
    /// Median of the time of a call, microseconds; only when asked for, since it is never the same twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_median_us: Option<f64>,
    /// Longest call, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_max_us: Option<f64>,
}

/// Replays the questions of one world.
pub fn run(
    kind: Kind,
    history: &History,
    contracts: &[Kept],
    window: Window,
    candidate: &mut dyn Candidate,
    timings: bool,
) -> Report {
    let lines: Vec<&Line> = history.lines.iter().filter(|line| window.has(line.time / 1000)).collect();
    let (asked, calls, invalid) = ask_all(kind, &lines, candidate, timings);
    let sections = match kind {
        Kind::Placement => placement::sections(&asked, contracts, window),
        Kind::Transport => transport::sections(&asked, &lines, window),
        Kind::Pricing => pricing::sections(&asked, contracts, window),
    };
    Report { window, damaged: history.damaged + invalid, omitted: omitted(&lines), calls, sections }
}

/// Lines that the node left out within the time.
fn omitted(lines: &[&Line]) -> u64 {
    let of = |line: &&Line| match &line.what {
        What::Omitted { queue, rate } => rate.values().fold(*queue, |sum, it| sum.saturating_add(*it)),
        _ => 0,
    };
    lines.iter().map(of).fold(0, u64::saturating_add)
}

fn ask_all(
    kind: Kind,
    lines: &[&Line],
    candidate: &mut dyn Candidate,
    timings: bool,
) -> (Vec<Asked>, Calls, u64) {
    let (mut asked, mut calls, mut invalid) = (Vec::new(), Calls::default(), 0);
    let (mut fuels, mut times) = (Vec::new(), Vec::new());
    for line in lines {
        let What::Decision { question, answer, left_out, by } = &line.what else { continue };
        if question.kind() != kind {
            continue;
        }
        // A file is a claim too.
        if question.check(answer).is_err() {
            invalid += 1;
            continue;
        }
        let tried = candidate.ask(question);
        calls.questions += 1;
        calls.partial += u64::from(*left_out > 0);
        *calls.decided_then.entry(decider(by)).or_default() += 1;
        if tried.answer.is_ok() {
            fuels.push(tried.fuel);
            times.push(tried.time);
        }
        let default = BuiltIn.answer(question);
        let checked = tried.answer.and_then(|answer| match question.check(&answer) {
            Ok(()) => Ok(answer),
            Err(bad) => Err(Failed { why: bad.to_string(), refused: true }),
        });
        let found = checked.unwrap_or_else(|failed| {
            *if failed.refused { &mut calls.refused } else { &mut calls.faults } += 1;
            let others = "other reasons".to_owned();
            let known = calls.reasons.contains_key(&failed.why) || calls.reasons.len() < FAULTS_MAX;
            *calls.reasons.entry(if known { failed.why } else { others }).or_default() += 1;
            default.clone()
        });
        asked.push(Asked {
            time: line.time,
            question: question.clone(),
            answers: [answer.clone(), found, default],
        });
    }
    (calls.fuel_median, calls.fuel_max) = (median(&mut fuels), fuels.last().copied().unwrap_or(0));
    if timings {
        let micros = |time: Duration| (time.as_nanos() as f64 / 100.0).round() / 10.0;
        calls.time_median_us = Some(micros(median(&mut times)));
        calls.time_max_us = Some(micros(times.last().copied().unwrap_or_default()));
    }
    (asked, calls, invalid)
}

/// For people.
fn decider(by: &By) -> String {
    match by {
        By::Default => "the default".to_owned(),
        By::Plugin { name, version } => format!("{name} {version}"),
        By::Fallback { name, .. } => format!("the default in place of {name}"),
    }
}

/// The middle one, or the default of none; the list is sorted then.
pub fn median<T: Ord + Copy + Default>(list: &mut [T]) -> T {
    list.sort_unstable();
    list.get(list.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The mean, or nothing of none.
fn mean(sum: u128, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}
