//! Two devices of one owner: both write, both histories are kept, and a merge loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Devnet, Node, api_of, device, until};
use serde_json::Value;

fn put(node: &Node, from: &Path, to: &str, text: &str) {
    fs::write(from, text).unwrap();
    until(&format!("{to} is put"), || {
        node.run(&["put", from.to_str().unwrap(), "--to", to]).status.success()
    });
}

/// The files of the drive; none while a node that has just started reaches too few providers.
fn paths(node: &Node) -> Vec<String> {
    let output = node.run(&["--json", "find", "/", "--type", "f"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let entries = found["entries"].as_array().or(found.as_array()).cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_devices_write_at_once_and_a_merge_keeps_both() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let status = api_of(&net.description["nodes"][0], "status");
    let bootstrap = status["addresses"][0].as_str().unwrap();
    let file = temp.path().join("file");
    let (mut laptop, phrase) = device(&temp.path().join("laptop"), bootstrap, None);
    put(&laptop, &file, "/notes/common", "from the laptop");
    put(&laptop, &file, "/notes/gone", "to be removed");

    // The second device has nothing but the phrase, and shows the drive.
    let (mut phone, _) = device(&temp.path().join("phone"), bootstrap, Some(&phrase));
    until("the phone shows the drive", || paths(&phone) == ["/notes/common", "/notes/gone"]);
    assert_eq!(phone.ok(&["cat", "/notes/common"]), "from the laptop");

    // The two do not hear of each other: each writes while the other is off.
    laptop.stop();
    put(&phone, &file, "/notes/common", "changed on the phone");
    put(&phone, &file, "/notes/phone", "only here");
    phone.ok(&["rm", "/notes/gone"]);
    // Nobody waits until that is announced: a node that is told to stop announces it first.
    phone.stop();
    // The laptop comes back and writes before it has looked; the phone's head wins by its number, or its own.
    laptop.up();
    put(&laptop, &file, "/notes/laptop", "only there");
    until("the laptop knows of both", || {
        let heads = laptop.json(&["drive", "heads"]);
        heads["forks"].as_array().unwrap().len() == 1 || paths(&laptop).contains(&"/notes/phone".to_owned())
    });
    let heads = laptop.json(&["drive", "heads"]);
    for fork in heads["forks"].as_array().unwrap() {
        laptop.ok(&["drive", "merge", fork["hash"].as_str().unwrap()]);
    }
    assert_eq!(laptop.json(&["drive", "heads"])["forks"], serde_json::json!([]));
    let merged = paths(&laptop);
    for path in ["/notes/common", "/notes/phone", "/notes/laptop"] {
        assert!(merged.contains(&path.to_owned()), "{path} is missing of {merged:?}");
    }
    assert!(!merged.contains(&"/notes/gone".to_owned()), "{merged:?}");
    assert_eq!(laptop.ok(&["cat", "/notes/common"]), "changed on the phone");
    assert_eq!(laptop.ok(&["cat", "/notes/phone"]), "only here");

    // The phone takes the merged history for its own; what one device put, the other one can keep anew.
    phone.up();
    until("the phone shows the same", || {
        phone.json(&["drive", "heads"])["forks"] == serde_json::json!([]) && paths(&phone) == merged
    });
    let report = phone.json(&["drive", "check", "--repair"]);
    assert_eq!(report["at_risk_total"], 0, "{report}");
}
