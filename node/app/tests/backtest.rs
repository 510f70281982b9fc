//! `plugin test`, `plugin bench` and `plugin backtest` as an author runs them, with the committed
//! plugins, on made-up histories and on that of a real network.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Devnet, noise, run};
use serde_json::{Value, json};
use tempfile::TempDir;

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

fn default_of(kind: &str) -> String {
    plugins().join(format!("default-{kind}/default-{kind}.wasm")).display().to_string()
}

fn hostile(name: &str) -> String {
    plugins().join(format!("hostile/{name}.wasm")).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A data directory with a journal of these lines.
fn history(lines: &[Value]) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let made = run(temp.path(), &["init", "--api", "127.0.0.1:0"]);
    assert!(made.status.success(), "{made:?}");
    fs::create_dir(temp.path().join("journal")).unwrap();
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(temp.path().join("journal/2025-06-15.jsonl"), lines.concat()).unwrap();
    temp
}

fn decision(time: u64, question: Value, answer: Value) -> Value {
    json!({ "time": time, "event": "decision", "question": question, "answer": answer, "by": "default" })
}

fn key(at: u64) -> String {
    format!("{at:064x}")
}

/// Asked at a time in Unix seconds.
fn rank(now: u64) -> Value {
    let candidate = |at: u64| {
        json!({
            "node": key(at), "party": key(100 + at), "operator": at, "subnet": at, "region": 256 * 65 + at,
            "latency_ms": 10 * at, "free_bytes": 1u64 << 30, "lot": at << 30,
            "prices": {
                "storage_microcredits_per_gib_month": 1000 * (20 - at),
                "egress_microcredits_per_gib": 0,
                "audit_microcredits": 0,
            },
        })
    };
    json!({
        "ask": "rank",
        "now": { "unix_seconds": now, "minute_of_week": 0 },
        "code": { "k": 2, "n": 6 },
        "holders": 6,
        "chunk_len": 1000,
        "candidates": (1..=9).map(candidate).collect::<Vec<_>>(),
    })
}

/// Somebody owes 5, asked at a time in Unix seconds.
fn credit(now: u64) -> Value {
    json!({
        "ask": "credit_limit",
        "now": { "unix_seconds": now, "minute_of_week": 0 },
        "peer": { "party": key(7), "account": 5 },
        "gift_budget": 100,
    })
}

fn backtest(dir: &Path, flags: &[&str]) -> Output {
    run(dir, &[&["plugin", "backtest"], flags].concat())
}

fn backtest_json(dir: &Path, flags: &[&str]) -> Value {
    let output = run(dir, &[&["--json", "plugin", "backtest"], flags].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every row of a report, with its section.
fn rows(report: &Value) -> Vec<(String, Value)> {
    let sections = report["report"]["sections"].as_array().unwrap();
    let of = |section: &Value| {
        let name = section["key"].as_str().unwrap().to_owned();
        section["rows"].as_array().unwrap().clone().into_iter().map(move |row| (name.clone(), row))
    };
    sections.iter().flat_map(of).collect()
}

fn row(report: &Value, section: &str, key: &str) -> Value {
    rows(report).into_iter().find(|(name, row)| name == section && row["key"] == key).unwrap().1
}

#[test]
fn the_default_as_a_plugin_does_what_the_default_does() {
    let lines: Vec<Value> = (0..20)
        .map(|at| {
            decision(1_750_000_000_000 + at, rank(1_750_000_000), json!({ "ranking": [8, 7, 6, 5, 4, 3] }))
        })
        .collect();
    let temp = history(&lines);
    let report = backtest_json(temp.path(), &[&default_of("placement")]);
    assert_eq!(report["plugin"]["name"], "default-placement");
    assert_eq!(report["report"]["calls"]["questions"], 20);
    assert_eq!(report["report"]["calls"]["decided_then"]["the default"], 20);
    assert_eq!(report["report"]["calls"]["faults"], 0);
    assert!(report["report"]["calls"]["fuel_median"].as_u64().unwrap() > 0);
    for (section, row) in rows(&report) {
        assert_eq!(row["plugin"], row["default"], "{section}: {row}");
    }
    // Really the last six were taken, 4 to 9, and these are the dearest: 1 to 6 have the smallest lots.
    let price = row(&report, "holders", "price_mean_microcredits_per_gib_month");
    assert_eq!((&price["recorded"], &price["plugin"]), (&json!(13_500.0), &json!(16_500.0)));
    assert_eq!(row(&report, "holders", "same_holders")["plugin"], 60);
    assert_eq!(row(&report, "holders", "other_holders")["plugin"], 60);
}

#[test]
fn the_same_history_and_file_give_the_same_bytes() {
    let lines: Vec<Value> = (0..50)
        .map(|at| {
            decision(1_750_000_000_000 + 3_600_000 * at, rank(1_750_000_000), json!({ "ranking": [at % 9] }))
        })
        .collect();
    let temp = history(&lines);
    let flags = [&default_of("placement")[..], "--since", "24h"];
    let first = backtest(temp.path(), &flags);
    assert!(first.status.success(), "{first:?}");
    assert_eq!(first.stdout, backtest(temp.path(), &flags).stdout);
    let said = text(&first.stdout);
    // 24 hours back from the last one, both ends included.
    assert!(said.contains("25 questions") && said.contains("Holders"), "{said}");
    let json = |flags: &[&str]| run(temp.path(), &[&["--json", "plugin", "backtest"], flags].concat()).stdout;
    assert_eq!(json(&flags), json(&flags));
    assert!(!said.contains("time per call"));
    let timed = text(&backtest(temp.path(), &[&flags[..], &["--timings"]].concat()).stdout);
    assert!(timed.contains("time per call"), "{timed}");
    // Nothing was changed, and no lock was taken.
    assert_eq!(fs::read_dir(temp.path().join("journal")).unwrap().count(), 1);
    assert!(!temp.path().join("lock").exists());
}

#[test]
fn hostile_plugins_are_replayed_to_the_end_and_the_reasons_are_counted() {
    // They behave until 2030.
    let times = [1_750_000_000, 1_900_000_001, 1_900_000_002];
    let ranked = times.map(|now| decision(1000 * now, rank(now), json!({ "ranking": [0, 1, 2, 3, 4, 5] })));
    let owing = times.map(|now| {
        let answer = json!({ "credit": { "trust": 0, "gift": i64::MAX } });
        decision(1000 * now, credit(now), answer)
    });
    let temp = history(&[ranked, owing].concat());
    let cases = [
        ("infinite-loop", false, "credit", "refused"),
        ("trap", false, "credit", "refused"),
        ("panic", false, "credit", "refused"),
        ("unknown-candidates", true, "holders", "short"),
        ("same-candidate", true, "holders", "short"),
    ];
    for (name, refused, section, key) in cases {
        let report = backtest_json(temp.path(), &[&hostile(name)]);
        let calls = &report["report"]["calls"];
        let counted = (calls["faults"].as_u64().unwrap(), calls["refused"].as_u64().unwrap());
        assert_eq!(counted, if refused { (0, 2) } else { (2, 0) }, "{name}: {calls}");
        let reasons = calls["reasons"].as_object().unwrap();
        assert_eq!(reasons.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{name}: {calls}");
        // The default stood in for it twice; its own answer was an empty ranking, and no credit.
        assert_eq!(row(&report, section, key)["plugin"], 1, "{name}");
        assert_eq!(row(&report, section, key)["default"], 0, "{name}");
    }
    for name in ["tampered", "wrong-signature", "another-version", "silent-import"] {
        let refused = backtest(temp.path(), &[&hostile(name)]);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert!(text(&refused.stderr).starts_with("commonhold: "), "{name}: {refused:?}");
    }
}

#[test]
fn a_damaged_journal_is_counted_and_an_empty_one_is_said() {
    let temp = history(&[decision(1_750_000_000_000, rank(1_750_000_000), json!({ "ranking": [0] }))]);
    let file = temp.path().join("journal/2025-06-15.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend(b"{\"time\":1,\"event\":\"unheard of\"}\nnot JSON\n\xff\xfe\n");
    // An answer that is none to its question, and a line that a crash cut off.
    let wrong = decision(1_750_000_000_001, rank(1_750_000_000), json!({ "ranking": [99] }));
    bytes.extend(format!("{wrong}\n").as_bytes());
    bytes.extend(b"{\"time\":17500");
    fs::write(&file, &bytes).unwrap();
    let report = backtest_json(temp.path(), &[&default_of("placement")]);
    assert_eq!(report["report"]["damaged"], 4);
    assert_eq!(report["report"]["calls"]["questions"], 1);

    let empty = history(&[]);
    let said = backtest(empty.path(), &[&default_of("placement")]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).contains("nothing that was recorded"), "{said:?}");
    let said = backtest(temp.path(), &[&default_of("placement"), "--set", "floor"]);
    assert!(text(&said.stderr).contains("not KEY=VALUE"), "{said:?}");
}

#[test]
fn the_cases_of_every_committed_plugin_come_out() {
    let temp = tempfile::tempdir().unwrap();
    let mut tested = 0;
    for entry in fs::read_dir(plugins()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let has = |file: String| folder.join(file).is_file();
        if !has("cases.toml".to_owned()) || !has(format!("{name}.wasm")) {
            continue;
        }
        let output = run(temp.path(), &["plugin", "test", folder.to_str().unwrap()]);
        assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
        tested += 1;
    }
    println!("{tested} plugins with cases");
}

#[test]
fn a_case_that_fails_is_shown_beside_what_was_expected() {
    let temp = tempfile::tempdir().unwrap();
    let cases = temp.path().join("cases.toml");
    fs::write(
        &cases,
        r#"
[[case]]
name = "the operator's prices are quoted"
question = { ask = "quote", base = { storage_microcredits_per_gib_month = 5, egress_microcredits_per_gib = 6, audit_microcredits = 7 } }
answer = { prices = { storage_microcredits_per_gib_month = 5, egress_microcredits_per_gib = 6, audit_microcredits = 7 } }

[[case]]
name = "gifts"

[[case.step]]
question = { ask = "credit_limit", trusted = 5 }
answer = { credit = { trust = 0, gift = 9223372036854775807 } }

[[case.step]]
question = { ask = "credit_limit", trusted = 9 }
answer = { credit = { trust = 9, gift = 1 } }

[[case]]
question = { ask = "ceiling" }
fault = "out of fuel"
"#,
    )
    .unwrap();
    let default = default_of("pricing");
    let flags = ["plugin", "test", &default, "--cases", cases.to_str().unwrap()];
    let output = run(temp.path(), &flags);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("ok      the operator's prices are quoted"), "{said}");
    assert!(said.contains("FAILED  gifts\n        question 2 (credit_limit)"), "{said}");
    assert!(said.contains(r#"expected {"credit":{"trust":9,"gift":1}}"#), "{said}");
    assert!(said.contains(r#"found    {"credit":{"trust":0,"gift":9223372036854775807}}"#), "{said}");
    assert!(said.contains("FAILED  case 3: ceiling"), "{said}");
    assert!(text(&output.stderr).contains("2 of 3 cases failed"));
    let report = run(temp.path(), &[&["--json"], &flags[..]].concat());
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["passed"], &report["cases"][0]["passed"]), (&json!(false), &json!(true)));
    assert_eq!(report["cases"][1]["failure"]["question"], 2);

    // The same as JSON, only what comes out.
    let cases = temp.path().join("cases.json");
    let asked = json!({ "ask": "credit_limit" });
    let answer = json!({ "credit": { "trust": 0, "gift": 9_223_372_036_854_775_807u64 } });
    fs::write(&cases, json!({ "case": [{ "question": asked, "answer": answer }] }).to_string()).unwrap();
    let output = run(temp.path(), &["plugin", "test", &default, "--cases", cases.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");

    for (wrong, why) in [
        ("", "has no case"),
        ("[[case]]\nname = \"x\"\n", "asks nothing"),
        ("[[case]]\nquestion = { ask = \"ceiling\" }\n", "either an answer or a fault"),
        ("[[case]]\nquestion = { ask = \"send\", n = 6 }\nanswer = { parallel = 7 }\n", "no plugin can give"),
        ("[[case]]\nquestion = { ask = \"celing\" }\n", "ceiling"),
        ("[[case]]\nanwser = 1\n", "anwser"),
    ] {
        let cases = temp.path().join("wrong.toml");
        fs::write(&cases, wrong).unwrap();
        let output = run(temp.path(), &["plugin", "test", &default, "--cases", cases.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{wrong:?}: {output:?}");
    }
}

#[test]
fn faults_can_be_expected_and_lines_of_a_journal_are_cases() {
    let temp = tempfile::tempdir().unwrap();
    let cases = temp.path().join("cases.jsonl");
    let lines = [
        decision(1_750_000_000_000, rank(1_750_000_000), json!({ "ranking": [] })),
        json!({ "time": 5, "event": "omitted", "queue": 1, "rate": {} }),
        json!({ "name": "later", "question": rank(1_900_000_001), "fault": "4294967295" }),
    ];
    fs::write(&cases, lines.clone().map(|line| format!("{line}\n")).concat()).unwrap();
    let plugin = hostile("unknown-candidates");
    let flags = ["plugin", "test", &plugin, "--cases", cases.to_str().unwrap()];
    let output = run(temp.path(), &flags);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("2 cases"), "{output:?}");
    // One that the journal cut cannot be one.
    let mut partial = lines[0].clone();
    partial["left_out"] = json!(3);
    fs::write(&cases, partial.to_string()).unwrap();
    let output = run(temp.path(), &flags);
    assert!(text(&output.stderr).contains("partial"), "{output:?}");
}

#[test]
fn calls_are_measured_beside_the_default() {
    let temp = tempfile::tempdir().unwrap();
    for (kind, functions) in [("pricing", 3), ("placement", 9), ("transport", 11)] {
        let output = run(temp.path(), &["--json", "plugin", "bench", &default_of(kind)]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let measured = report["functions"].as_array().unwrap();
        assert_eq!(measured.len(), functions, "{kind}");
        for it in measured {
            assert!(it["default_us"].is_f64(), "{it}");
            match it["fault"].as_str() {
                None => {
                    assert!(it["plugin_us"].as_f64() > Some(0.0) && it["fuel"].as_u64() > Some(0), "{it}")
                }
                // A machine that is busy enough.
                Some(why) => assert!(why.contains("took longer") && it["size"] == 10_000, "{it}"),
            }
        }
        let failed = measured.iter().any(|it| it["fault"].is_string());
        assert_eq!(output.status.success(), !failed, "{output:?}");
    }
    let lines = run(temp.path(), &["plugin", "bench", &default_of("pricing")]);
    assert!(text(&lines.stdout).contains("credit_limit"), "{lines:?}");
}

#[test]
fn a_real_networks_history_can_be_replayed_while_it_runs() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let owner = net.dir.join("owner");
    for (number, len) in [(1, 300_000), (2, 900_000), (3, 5000)] {
        let file = temp.path().join(format!("letter-{number}"));
        fs::write(&file, noise(len, number)).unwrap();
        net.ok(&["put", file.to_str().unwrap()]);
        net.ok(&[
            "get",
            &format!("/letter-{number}"),
            temp.path().join(format!("back-{number}")).to_str().unwrap(),
        ]);
    }
    net.ok(&["audit", "now"]);
    common::until("the journal has what happened", || {
        let placed = backtest_json(&owner, &[&default_of("placement")]);
        row(&placed, "holders", "segments")["recorded"].as_u64() >= Some(3)
    });
    let journal = owner.join("journal");
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o777, 0o700);
    let written = fs::read_dir(&journal).unwrap().map(|it| fs::read_to_string(it.unwrap().path()).unwrap());
    let written: String = written.collect();
    assert!(!written.contains("letter"), "a file's name is in the journal");
    assert!(written.contains("\"event\":\"sent\"") && written.contains("\"event\":\"fetched\""));
    assert!(written.contains("\"event\":\"contract_opened\"") && written.contains("\"side\":\"owner\""));

    // The default decided, so the default as a plugin would have decided the same.
    for kind in ["placement", "transport", "pricing"] {
        let report = backtest_json(&owner, &[&default_of(kind), "--since", "1d"]);
        assert!(report["report"]["calls"]["questions"].as_u64() > Some(0), "{kind}: {report}");
        assert_eq!(
            (&report["report"]["damaged"], &report["report"]["calls"]["faults"]),
            (&json!(0), &json!(0))
        );
        for (section, row) in rows(&report).into_iter().filter(|(_, row)| !row["plugin"].is_null()) {
            assert_eq!(row["plugin"], row["default"], "{kind}, {section}: {row}");
            // What is recorded alone has no counterpart.
            assert_eq!(row["plugin"], row["recorded"], "{kind}, {section}: {row}");
        }
    }
    let transport = backtest_json(&owner, &[&default_of("transport")]);
    assert!(row(&transport, "fetches", "segments")["recorded"].as_u64() >= Some(3));
    assert!(row(&transport, "fetches", "measured_segments")["recorded"].as_u64() >= Some(3));
    let pricing = backtest_json(&owner, &[&default_of("pricing")]);
    assert_eq!(row(&pricing, "paid", "contracts")["recorded"], 6);

    // A provider: its contract, its quote and what was signed for.
    let provider = PathBuf::from(net.description["nodes"][0]["data_dir"].as_str().unwrap());
    let earned = backtest_json(&provider, &[&default_of("pricing")]);
    assert_eq!(row(&earned, "earned", "accepted")["plugin"], 1, "{earned}");
    assert_eq!(row(&earned, "earned", "unquoted")["plugin"], 0);
    let offers = backtest_json(&provider, &[&default_of("placement")]);
    assert_eq!(row(&offers, "offers", "admitted")["plugin"], 1);
}
