//! `plugin test`: a plugin asked what its cases ask, under the limits of a node.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use commonhold_format::policy::{Answer, Question};
use serde_json::{Value, json};

use super::cases::{self, Case, Expected, Step};
use super::trial::{self, Trial};
use crate::cli::plugin::Test;
use crate::commands::print_json;

/// Files of cases that are looked for beside a plugin.
const CASES: [&str; 3] = ["cases.toml", "cases.json", "cases.jsonl"];

/// A case that did not come out as it had to.
struct Failure {
    question: usize,
    asked: Value,
    expected: String,
    found: String,
}

/// Runs the command.
///
/// # Errors
/// A sentence; also when a case fails.
pub fn run(flags: &Test, json: bool) -> Result<()> {
    let file = component_of(&flags.plugin)?;
    let cases = cases::read(&cases_of(flags, &file)?)?;
    let trial = Trial::open(&file)?;
    let outcomes: Vec<(&Case, Option<Failure>)> =
        cases.iter().map(|case| Ok((case, run_case(&trial, case)?))).collect::<Result<_>>()?;
    print(&trial, &outcomes, json)?;
    let failed = outcomes.iter().filter(|(_, failure)| failure.is_some()).count();
    if failed > 0 {
        bail!("{failed} of {} cases failed", outcomes.len());
    }
    Ok(())
}

/// The plugin's file: a folder has one of its own name, or one alone.
fn component_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let own = std::fs::canonicalize(path).ok().and_then(|path| path.file_name().map(ToOwned::to_owned));
    let own = own.map(|name| path.join(name).with_extension("wasm")).filter(|own| own.is_file());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let file = entry?.path();
        if file.extension().is_some_and(|it| it == "wasm") {
            found.push(file);
        }
    }
    match (own, found.as_slice()) {
        (Some(own), _) => Ok(own),
        (None, [file]) => Ok(file.clone()),
        (None, []) => {
            bail!("{} has no .wasm file: build it with `commonhold plugin build`", path.display())
        }
        (None, _) => bail!("{} has several .wasm files: name one", path.display()),
    }
}

fn cases_of(flags: &Test, file: &Path) -> Result<PathBuf> {
    if let Some(cases) = &flags.cases {
        return Ok(cases.clone());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let found = CASES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("there is no cases.toml beside {}: name one with --cases", file.display()))
}

fn run_case(trial: &Trial, case: &Case) -> Result<Option<Failure>> {
    let plugin = trial.plugin(case.config.clone())?;
    for (number, Step { question, expected }) in case.steps.iter().enumerate() {
        let called = trial::call(&plugin, question).map(|called| called.answer);
        let found = match &called {
            Ok(answer) => shown(answer),
            Err(fault) => format!("fault: {fault}"),
        };
        let (right, wanted) = match (expected, called) {
            (Expected::Answer(expected), called) => (called.as_ref() == Ok(expected), shown(expected)),
            (Expected::Fault(text), called) => {
                let right = called.is_err_and(|fault| fault.to_string().contains(text.as_str()));
                (right, format!("a fault with {text:?}"))
            }
        };
        if !right {
            let asked = serde_json::to_value(question)?;
            return Ok(Some(Failure { question: number + 1, asked, expected: wanted, found }));
        }
    }
    Ok(None)
}

fn shown(answer: &Answer) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}

fn print(trial: &Trial, outcomes: &[(&Case, Option<Failure>)], json: bool) -> Result<()> {
    if json {
        let line = |(case, failure): &(&Case, Option<Failure>)| {
            json!({
                "name": case.name,
                "passed": failure.is_none(),
                "questions": case.steps.len(),
                "failure": failure.as_ref().map(|it| json!({
                    "question": it.question,
                    "asked": it.asked,
                    "expected": it.expected,
                    "found": it.found,
                })),
            })
        };
        return print_json(&json!({
            "plugin": trial.manifest.name,
            "version": trial.manifest.version,
            "passed": outcomes.iter().all(|(_, failure)| failure.is_none()),
            "cases": outcomes.iter().map(line).collect::<Vec<_>>(),
        }));
    }
    for (case, failure) in outcomes {
        match failure {
            None => println!("ok      {}", case.name),
            Some(it) => {
                println!("FAILED  {}", case.name);
                let asked: Option<&Question> = case.steps.get(it.question - 1).map(|step| &step.question);
                let asked = asked.map_or("", crate::journal::name);
                println!("        question {} ({asked})", it.question);
                println!("        expected {}", it.expected);
                println!("        found    {}", it.found);
            }
        }
    }
    println!("{} cases", outcomes.len());
    Ok(())
}
