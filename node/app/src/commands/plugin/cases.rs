//! Cases of a plugin: questions, and what it has to answer (spec/plugins.md, "Cases").
//!
//! Invariant: a case says an answer or a fault for each question, and each answer is one to its question.
//! A line of a node's journal that is a decision is a case as it is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_format::policy::{Answer, Question};
use serde::Deserialize;

/// Largest file of cases, bytes.
const FILE_LEN_MAX: u64 = 64 << 20;

/// A plugin with a configuration and an empty state, and what it is asked one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// For people.
    pub name: String,
    /// What it reads through `config`.
    pub config: BTreeMap<String, String>,
    /// At least one.
    pub steps: Vec<Step>,
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is asked.
    pub question: Question,
    /// What has to come of it.
    pub expected: Expected,
}

/// What has to come of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Exactly this.
    Answer(Answer),
    /// A fault whose sentence has this in it.
    Fault(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    step: Vec<WrittenStep>,
    question: Option<Question>,
    answer: Option<Answer>,
    fault: Option<String>,
    // Of a line of the journal.
    #[serde(default)]
    time: Option<u64>,
    #[serde(default)]
    event: Option<String>,
    #[serde(default, rename = "by")]
    _by: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    left_out: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    question: Question,
    answer: Option<Answer>,
    fault: Option<String>,
}

/// Reads a file of cases: TOML, JSON of the same shape, or lines of JSON with a case each.
///
/// # Errors
/// A sentence that names the file and the case.
pub fn read(path: &Path) -> Result<Vec<Case>> {
    let name = path.display().to_string();
    let meta = std::fs::metadata(path).with_context(|| name.clone())?;
    if !meta.is_file() || meta.len() > FILE_LEN_MAX {
        bail!("{name} is not a file of cases, which has at most 64 MiB");
    }
    let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    let cases = parse(&text, extension).map_err(|why| anyhow!("{name}: {why:#}"))?;
    if cases.is_empty() {
        bail!("{name} has no case: write one, like [[case]]");
    }
    Ok(cases)
}

fn parse(text: &str, extension: &str) -> Result<Vec<Case>> {
    let written = match extension {
        "toml" => toml::from_str::<Cases>(text)?.case,
        "json" => serde_json::from_str::<Cases>(text)?.case,
        "jsonl" => {
            let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
            let read = |(number, line)| {
                serde_json::from_str::<serde_json::Value>(line)
                    .and_then(|value| {
                        // What else a journal has is passed over.
                        let other = value.get("event").is_some_and(|it| it != "decision");
                        if other { Ok(None) } else { serde_json::from_value::<Written>(value).map(Some) }
                    })
                    .with_context(|| format!("line {number}"))
            };
            lines.map(read).filter_map(Result::transpose).collect::<Result<Vec<Written>>>()?
        }
        other => bail!("{other:?} is no ending of a file of cases: toml, json or jsonl is"),
    };
    (1..).zip(written).map(|(number, it)| it.case(number)).collect()
}

impl Written {
    fn case(self, number: usize) -> Result<Case> {
        let what = self.question.as_ref().map_or("steps", crate::journal::name);
        let named = || match self.time {
            Some(time) => format!("case {number}: {what} at {time}"),
            None => format!("case {number}: {what}"),
        };
        let name = self.name.clone().unwrap_or_else(named);
        let wrong = |why: &str| anyhow!("{name}: {why}");
        if self.event.is_some_and(|event| event != "decision") {
            return Err(wrong("only lines of decisions are cases"));
        }
        if self.left_out > 0 {
            return Err(wrong("its question is partial: the journal left candidates out"));
        }
        let single =
            self.question.map(|question| WrittenStep { question, answer: self.answer, fault: self.fault });
        let steps: Vec<WrittenStep> = single.into_iter().chain(self.step).collect();
        if steps.is_empty() {
            return Err(wrong("it asks nothing: it needs a question, or steps"));
        }
        let steps = (1..).zip(steps).map(|(at, it): (usize, WrittenStep)| {
            it.step().map_err(|why| wrong(&format!("question {at}: {why}")))
        });
        Ok(Case { steps: steps.collect::<Result<_>>()?, config: self.config, name: name.clone() })
    }
}

impl WrittenStep {
    fn step(self) -> Result<Step, String> {
        let expected = match (self.answer, self.fault) {
            (Some(answer), None) => {
                let fits = self.question.check(&answer);
                fits.map_err(|why| format!("no plugin can give its answer: {why}"))?;
                Expected::Answer(answer)
            }
            (None, Some(fault)) => Expected::Fault(fault),
            _ => return Err("it needs either an answer or a fault".to_owned()),
        };
        Ok(Step { question: self.question, expected })
    }
}
