//! Audits as owner, operator and stranger meet them: what was found, on both sides; one audit in a file
//! that anybody can check; silence, absence and rot kept apart. Real nodes on real folders.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Net, Node, PROVIDERS, noise, rot, run, signal, until};
use serde_json::Value;

/// The audits that a node's ledger tells of, oldest first.
fn history(node: &Node, flags: &[&str]) -> Vec<Value> {
    let told = node.json(&[&["audit", "history"], flags].concat());
    assert_eq!(told["older"], 0);
    told["audits"].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Runs `audit verify` where there is no node and no data directory.
fn verify(file: &Path, flags: &[&str]) -> std::process::Output {
    let nowhere = file.with_extension("nowhere");
    let output = run(&nowhere, &[&["audit", "verify", file.to_str().unwrap()], flags].concat());
    assert!(!nowhere.exists());
    output
}

fn assert_ledger_holds(node: &Node) -> String {
    let printed = node.ok(&["ledger", "verify"]);
    assert!(printed.contains("ok: everything that was checked holds"), "{printed}");
    printed
}

#[test]
fn attack_29_what_audits_find_is_told_to_both_sides_and_proven_to_strangers() {
    let mut net = Net::start(&[("scrub_rate", "0")]);
    // Chunks of two subtrees: an audit reads both of each.
    net.put("file", &noise(50_000, 1));
    let audits = net.owner.json(&["audit", "now"]);
    let audits = audits["audits"].as_array().unwrap();
    assert_eq!(audits.len(), PROVIDERS);
    assert!(audits.iter().all(|it| it["outcome"] == "passed" && it["repeated"] == false), "{audits:?}");
    assert!(audits.iter().all(|it| it["took_ms"].as_u64().unwrap() < 30_000), "{audits:?}");

    let ours = history(&net.owner, &[]);
    assert_eq!(ours.len(), PROVIDERS);
    for audit in &ours {
        assert_eq!((text(audit, "role"), text(audit, "outcome")), ("owner", "passed"));
        assert_eq!((text(audit, "standing"), &audit["evidence_kept"]), ("good", &Value::Bool(true)));
    }
    // The provider was told, in the very notes that the owner logged.
    let provider = net.providers[0].peer_id();
    let theirs = history(&net.providers[0], &[]);
    let [told] = theirs.as_slice() else { panic!("{theirs:?}") };
    let ours = history(&net.owner, &["--provider", &provider]);
    let [one] = ours.as_slice() else { panic!("{ours:?}") };
    assert_eq!((text(told, "role"), &told["evidence_kept"]), ("provider", &Value::Bool(false)));
    for same in ["contract", "epoch", "nonce", "outcome", "evidence", "time", "leaves"] {
        assert_eq!(told[same], one[same], "{same}");
    }
    assert_eq!(net.providers[0].status()["audits_here"]["passed"], 1);

    // One audit in a file.
    let file = net.temp.path().join("audit.bundle");
    let name = file.to_str().unwrap();
    let (contract, epoch) = (text(one, "contract").to_owned(), one["epoch"].to_string());
    let written = net.owner.json(&["audit", "bundle", &contract[..16], &epoch, name]);
    let (owner, keeper) = (text(&written, "owner").to_owned(), text(&written, "provider").to_owned());
    assert!(net.owner.refused(&["audit", "bundle", &contract, &epoch, name]).contains("cannot create"));
    assert!(net.owner.refused(&["audit", "bundle", &contract, "99", name]).contains("no audit 99"));
    let elsewhere = net.temp.path().join("other.bundle");
    let elsewhere = elsewhere.to_str().unwrap();
    let refused = net.providers[0].refused(&["audit", "bundle", &contract, &epoch, elsewhere]);
    assert!(refused.contains("evidence of this audit is not here"), "{refused}");
    assert!(!Path::new(elsewhere).exists());

    let keys = ["--owner", owner.as_str(), "--provider", keeper.as_str()];
    let checked = verify(&file, &[&["--json"], &keys[..]].concat());
    assert!(checked.status.success(), "{checked:?}");
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let samples = checked["answer"]["samples"].as_array().unwrap();
    assert_eq!((samples.len(), &checked["outcome"]), (64, &Value::from("passed")));
    assert!(samples.iter().all(|it| it["shown"] == "right"), "{samples:?}");
    let drawn: Vec<&Value> = samples.iter().map(|it| &it["position"]).collect();
    assert_eq!(drawn, checked["answer"]["drawn"].as_array().unwrap().iter().collect::<Vec<_>>());
    assert_eq!(checked["nonce"], one["nonce"]);
    let printed = String::from_utf8(verify(&file, &keys).stdout).unwrap();
    assert!(printed.contains("64 right, 0 lost") && printed.contains(text(&checked["answer"], "seed")));

    // Another party's keys, the two exchanged, or none: the file cannot vouch for itself.
    let stranger = "ab".repeat(32);
    for wrong in [[&stranger, &keeper], [&owner, &stranger], [&keeper, &owner]] {
        let refused = verify(&file, &["--owner", wrong[0], "--provider", wrong[1]]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }
    let unnamed = verify(&file, &[]);
    assert_eq!(unnamed.status.code(), Some(1));
    let said = String::from_utf8([unnamed.stdout, unnamed.stderr].concat()).unwrap();
    assert!(said.contains(&owner) && said.contains("proves nothing") && said.contains("--owner"), "{said}");
    // A byte anywhere.
    let bytes = fs::read(&file).unwrap();
    let forged = net.temp.path().join("forged.bundle");
    for at in (0..bytes.len()).step_by(bytes.len() / 12) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fs::write(&forged, bytes).unwrap();
        assert_eq!(verify(&forged, &keys).status.code(), Some(1), "byte {at}");
    }

    // Rot on one disk. It reads as what it is, on either side, and not as anything else.
    let chunk = rot(&net.providers[0]);
    let found = net.owner.json(&["audit", "now", "--provider", &provider]);
    let found = &found["audits"][0];
    assert_eq!(
        (text(found, "outcome"), found["lost_chunks"][0].as_str().unwrap()),
        ("wrong-bytes", chunk.as_str())
    );
    let ours = history(&net.owner, &["--provider", &provider]);
    let failed = ours.last().unwrap();
    assert_eq!((text(failed, "standing"), &failed["standing_changed"]), ("probation", &Value::Bool(true)));
    assert!(text(failed, "what_to_do").contains("repair now"), "{failed}");
    let theirs = history(&net.providers[0], &[]);
    assert_eq!(text(theirs.last().unwrap(), "standing"), "probation");
    assert!(text(theirs.last().unwrap(), "reason").starts_with("You could not show"));
    assert!(text(theirs.last().unwrap(), "what_to_do").contains("store scrub"));
    let printed = net.providers[0].ok(&["audit", "history"]);
    assert!(printed.contains("you were audited by") && printed.contains("store scrub"), "{printed}");
    let status = net.owner.status();
    let [standing] = status["standings"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!((text(standing, "provider"), text(standing, "state")), (provider.as_str(), "probation"));
    assert_eq!(standing["evidence"], failed["evidence"]);
    assert!(net.owner.ok(&["status"]).contains("probation"));
    let here = net.providers[0].status()["audits_here"].clone();
    assert_eq!((&here["wrong_bytes"], &here["last_failed"]["outcome"]), (&1.into(), &"wrong-bytes".into()));
    assert_eq!(here["last_failed"]["owner"], owner.as_str());
    let fault = net.temp.path().join("fault.bundle");
    let epoch = failed["epoch"].to_string();
    net.owner.ok(&["audit", "bundle", &contract, &epoch, fault.to_str().unwrap()]);
    let proven = verify(&fault, &keys);
    let printed = String::from_utf8(proven.stdout).unwrap();
    assert!(proven.status.success() && printed.contains(&format!("lost       chunk {chunk}")), "{printed}");
    assert!(printed.contains("wrong-bytes, as the record says"), "{printed}");

    // What is old enough and settled goes; the notes stay, and say so.
    assert_ledger_holds(&net.owner);
    assert_ledger_holds(&net.providers[0]);
    net.owner.stop();
    net.owner.set("keep_evidence", "\"0 s\"");
    net.owner.up();
    until("spent evidence is gone", || {
        history(&net.owner, &[]).iter().all(|it| it["evidence_kept"] == false)
    });
    assert!(assert_ledger_holds(&net.owner).contains("without their evidence"));
    let gone = net.owner.refused(&["audit", "bundle", &contract, &epoch, elsewhere]);
    assert!(gone.contains("keep_evidence"), "{gone}");
    assert!(verify(&fault, &keys).status.success());
}

#[test]
fn attack_28_silence_brings_the_same_challenge_again_and_is_not_absence() {
    let mut net = Net::start(&[]);
    net.put("file", &noise(50_000, 2));
    let silent = net.providers[1].peer_id();
    assert_eq!(net.audit(&silent), "passed");

    // Connected, and not answering: the program stands still.
    signal(net.providers[1].pid(), "STOP");
    let asked = net.owner.json(&["audit", "now", "--provider", &silent]);
    let asked = asked["audits"][0].clone();
    assert_eq!(text(&asked, "outcome"), "no-answer", "{asked}");
    let standing = net.owner.status()["standings"][0].clone();
    assert_eq!((text(&standing, "state"), text(&standing, "outcome")), ("suspended", "no-answer"));
    net.owner.stop();
    signal(net.providers[1].pid(), "CONT");
    net.owner.up();
    let epoch = asked["epoch"].as_u64().unwrap();
    let of_epoch = || {
        let told = history(&net.owner, &["--provider", &silent]);
        told.into_iter().filter(|it| it["epoch"] == epoch).collect::<Vec<Value>>()
    };
    // Offline until the two have found each other; that does not use the challenge up.
    until("the challenge is answered", || {
        net.audit(&silent);
        of_epoch().last().unwrap()["outcome"] == "passed"
    });
    let tries = of_epoch();
    assert!(tries.len() >= 2 && tries[0]["outcome"] == "no-answer", "{tries:?}");
    for again in &tries[1..] {
        assert_eq!((&again["nonce"], &again["revision"]), (&tries[0]["nonce"], &tries[0]["revision"]));
        assert!(again["time"].as_u64() > tries[0]["time"].as_u64());
    }
    assert_eq!(tries.last().unwrap()["tries_before"], tries.len() as u64 - 1);
    assert_eq!(text(tries.last().unwrap(), "standing"), "good");
    // Once it is judged, the next challenge is another one.
    let next = net.owner.json(&["audit", "now", "--provider", &silent])["audits"][0].clone();
    assert!(next["epoch"].as_u64() > Some(epoch) && next["repeated"] == false, "{next}");

    // A process that is gone is offline, and nothing is held against it.
    let killed = net.providers[2].peer_id();
    signal(net.providers[2].pid(), "KILL");
    until("it is gone", || net.audit(&killed) == "offline");
    let told = history(&net.owner, &["--provider", &killed]);
    assert_eq!(told.last().unwrap()["evidence"], Value::Null);
    assert!(text(told.last().unwrap(), "what_to_do").contains("tolerated"));
    assert!(told.iter().all(|it| it["outcome"] != "wrong-bytes"), "{told:?}");
    assert_ledger_holds(&net.owner);
    assert_ledger_holds(&net.providers[1]);
}

#[test]
fn attack_41_a_provider_that_is_a_revision_ahead_is_not_called_silent() {
    let mut net = Net::start(&[("scrub_rate", "0")]);
    net.put("file", &noise(50_000, 3));
    let ahead = net.providers[3].peer_id();
    net.owner.stop();
    // The owner ends between the provider's signature and its own book: it has what was there before.
    let (dir, before) = (net.owner.dir.clone(), net.temp.path().join("before"));
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&dir, &before);
    net.owner.up();
    net.wait_for_providers();
    let revisions = |node: &Node| -> u64 {
        let told = node.json(&["ledger", "show"]);
        let of = |it: &&Value| it["kind"] == "revision";
        told["entries"].as_array().unwrap().iter().filter(of).count() as u64
    };
    let signed = revisions(&net.providers[3]);
    // A chunk that is made again there is one revision.
    rot(&net.providers[3]);
    assert!(net.providers[3].refused(&["store", "scrub"]).contains("rotted"));
    until("the chunk is whole again", || net.providers[3].run(&["store", "check"]).status.success());
    assert_eq!(revisions(&net.providers[3]), signed + 1);
    net.owner.stop();
    fs::remove_dir_all(&dir).unwrap();
    copy(&before, &dir);
    net.owner.up();
    net.wait_for_providers();

    let audits = net.owner.json(&["audit", "now"]);
    let audits = audits["audits"].as_array().unwrap();
    assert_eq!(audits.len(), PROVIDERS);
    assert!(audits.iter().all(|it| it["outcome"] == "passed"), "{audits:?}");
    let told = history(&net.owner, &["--provider", &ahead]);
    let [one] = told.as_slice() else { panic!("{told:?}") };
    // The challenge that was overtaken was announced, and there is nothing to record of it.
    assert_eq!((&one["epoch"], text(one, "standing")), (&2.into(), "good"));
    assert_eq!(history(&net.providers[3], &[]).len(), 1);
    assert_ledger_holds(&net.owner);
    assert_ledger_holds(&net.providers[3]);
}
