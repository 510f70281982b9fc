//! Ledgers as strangers meet them: checked from a folder, a file and an address, held beside each other,
//! cosigned by others, and forked. Real nodes and the command line.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Node, noise, run, until};
use serde_json::Value;
use tempfile::TempDir;

/// As many as the default code asks for.
const PROVIDERS: usize = 6;

/// Six providers and an owner.
struct Net {
    providers: Vec<Node>,
    owner: Node,
    bootstrap: Vec<String>,
    /// Removed after the nodes have ended.
    temp: TempDir,
}

impl Net {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut bootstrap: Vec<String> = Vec::new();
        let mut providers = Vec::new();
        // The first one is the way in for the others, and is never stopped.
        for number in 1..=PROVIDERS {
            let mut node = init(&temp.path().join(format!("provider-{number}")), &bootstrap, true);
            serve_ledger(&node.dir);
            node.up();
            if bootstrap.is_empty() {
                let addresses = node.status()["addresses"].as_array().unwrap().clone();
                bootstrap = addresses.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
            }
            providers.push(node);
        }
        let mut owner = init(&temp.path().join("owner"), &bootstrap, false);
        owner.up();
        let net = Self { providers, owner, bootstrap, temp };
        net.wait_for_providers(&net.owner);
        net
    }

    fn wait_for_providers(&self, owner: &Node) {
        until("all providers are found", || {
            let peers = owner.json(&["peers"]);
            let offers = |peer: &&Value| peer["connected"] == true && peer["free_bytes"].as_u64() > Some(0);
            peers.as_array().unwrap().iter().filter(offers).count() >= PROVIDERS
        });
    }

    fn put(&self, owner: &Node, name: &str, seed: u8) {
        let file = self.temp.path().join(name);
        fs::write(&file, noise(300_000, seed)).unwrap();
        owner.ok(&["put", file.to_str().unwrap()]);
    }
}

fn init(dir: &Path, bootstrap: &[String], lends: bool) -> Node {
    let mut flags = if lends { vec!["--provide", "128 MiB"] } else { vec![] };
    bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
    Node::init(dir, &flags)
}

/// Lets a node serve its ledger on a free port.
fn serve_ledger(dir: &Path) {
    let file = dir.join("commonhold.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (head, table) = text.split_once("[ledger]\n").unwrap();
    let rest: Vec<&str> = table.lines().filter(|line| !line.contains("listen = ")).collect();
    let text = format!("{head}[ledger]\nlisten = \"127.0.0.1:0\"\n{}\n", rest.join("\n"));
    fs::write(&file, text).unwrap();
}

/// The JSON that a command prints from nowhere near a node, and whether it succeeded.
fn stranger(arguments: &[&str]) -> (Value, bool) {
    let nowhere = tempfile::tempdir().unwrap();
    let output = run(&nowhere.path().join("none"), &[&["--json"], arguments].concat());
    let value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"));
    (value, output.status.success())
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn strangers_check_ledgers_by_themselves() {
    let net = Net::start();
    net.put(&net.owner, "letters", 1);
    assert_eq!(net.owner.json(&["audit", "now"])["audits"].as_array().unwrap().len(), PROVIDERS);

    // The owner's, while its node runs: every audit again from its evidence, every receipt and its heads.
    let report = net.owner.json(&["ledger", "verify"]);
    assert_eq!(report["findings"], serde_json::json!([]), "{report}");
    for (name, least) in
        [("audits_checked_again", 6), ("receipts", 6), ("heads_in_receipts", 6), ("signatures", 40)]
    {
        assert!(number(&report, name) >= least, "{name}: {report}");
    }
    assert_eq!(number(&report, "audits_without_evidence"), 0);
    let accounts = report["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), PROVIDERS);

    // Counterparties cosign heads by themselves.
    for node in net.providers.iter().chain([&net.owner]) {
        until("a head is cosigned", || number(&node.status()["ledger"], "cosigners") > 0);
    }
    let cosigned = net.owner.json(&["ledger", "verify"]);
    assert!(!cosigned["cosignatures"].as_array().unwrap().is_empty(), "{cosigned}");

    // In one file, from nowhere near the node.
    let bundle = net.temp.path().join("owner.tar");
    let bundled = net.owner.json(&["ledger", "bundle", text(&bundle)]);
    assert_eq!((number(&bundled, "evidence"), number(&bundled, "evidence_missing")), (6, 0));
    let (shown, passed) = stranger(&["ledger", "verify", text(&bundle)]);
    assert!(passed && shown["root"] == cosigned["root"], "{shown}");
    assert_eq!(shown["audits_checked_again"], cosigned["audits_checked_again"]);
    assert!(number(&shown, "tiles") > 0);
    let party = shown["party"].as_str().unwrap();
    assert!(stranger(&["ledger", "verify", text(&bundle), "--party", party]).1);
    let other = run(net.temp.path(), &["ledger", "verify", text(&bundle), "--party", &"0".repeat(64)]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(net.owner.refused(&["ledger", "bundle", text(&bundle)]).contains("cannot create"));

    // A provider's, from its folder and its address.
    for provider in &net.providers {
        let (from_dir, passed) = stranger(&["ledger", "verify", text(&provider.dir)]);
        assert!(passed, "{from_dir}");
        let url = provider.status()["ledger"]["url"].as_str().unwrap().to_owned();
        let (from_url, passed) = stranger(&["ledger", "verify", &url]);
        assert!(passed && number(&from_url, "size") >= number(&from_dir, "size"), "{from_url}");

        // Both logs have what both signed, byte for byte.
        // Showing a ledger publishes its head of the moment.
        for node in [&net.owner, provider] {
            node.ok(&["ledger", "show"]);
        }
        let (found, same) = stranger(&["ledger", "compare", text(&net.owner.dir), &url]);
        assert!(same, "{found}");
        assert_eq!(found["evidence"], serde_json::json!([]), "{found}");
        assert_eq!(found["differences"], serde_json::json!([]), "{found}");
        // At least a revision and a receipt; and the heads of both that the receipt names.
        assert!(number(&found, "shared") >= 2 && number(&found, "heads_compared") >= 2, "{found}");

        // Each says of the other what the other says of it.
        let sides = [&net.owner, provider].map(|node| node.json(&["ledger", "balance"]));
        let owed = |at: usize| -> i128 {
            let of = sides[1 - at]["party"].as_str().unwrap();
            let accounts = sides[at]["accounts"].as_array().unwrap();
            let account = accounts.iter().find(|it| it["party"] == of).unwrap();
            account["owed_to_me_microcredits"].as_str().unwrap().parse().unwrap()
        };
        assert_eq!(owed(0) + owed(1), 0, "{sides:?}");
    }

    // One byte in the middle of the notes, and the file is refused with a sentence.
    let mut bytes = fs::read(&bundle).unwrap();
    let at = bytes.windows(9).position(|it| it == b"sequence:").unwrap();
    bytes[at + 10] ^= 1;
    let forged = net.temp.path().join("forged.tar");
    fs::write(&forged, bytes).unwrap();
    let refused = run(net.temp.path(), &["ledger", "verify", text(&forged)]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("hashes of the entries") || why.contains("root"), "{why}");
}

/// A copy of a data directory, as somebody who restores a machine would make it.
fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else if entry.file_type().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn attack_32_a_node_that_runs_twice_is_found_out() {
    let mut net = Net::start();
    net.put(&net.owner, "letters", 1);
    net.owner.json(&["audit", "now"]);
    let mut forker = net.providers.pop().unwrap();
    let peer = forker.peer_id();
    forker.stop();
    let twin_dir = net.temp.path().join("twin");
    copy(&forker.dir, &twin_dir);

    // One history goes on, and the owner sees its head.
    forker.up();
    let size = number(&forker.status()["ledger"], "size");
    until("another receipt is settled", || {
        net.owner.run(&["audit", "now", "--provider", &peer]);
        number(&forker.status()["ledger"], "size") > size
    });
    until("the owner has cosigned the head with it", || {
        let ledger = forker.status()["ledger"].clone();
        number(&ledger, "cosigners") > 0 && number(&ledger, "size") > size
    });
    forker.stop();
    // What the owner may have seen of it by now.
    let (whole, passed) = stranger(&["ledger", "verify", text(&forker.dir)]);
    assert!(passed, "{whole}");
    let seen = number(&whole, "size");

    // The other one gets notes from somebody else, until it is longer.
    let mut twin = init(&net.temp.path().join("unused"), &net.bootstrap, true);
    twin.dir = twin_dir.clone();
    twin.up();
    let mut second = init(&net.temp.path().join("second"), &net.bootstrap, false);
    second.up();
    net.wait_for_providers(&second);
    for turn in 0u8.. {
        net.put(&second, &format!("papers-{turn}"), 50 + turn);
        if number(&twin.status()["ledger"], "size") > seen {
            break;
        }
    }
    // The owner notices by itself, since the twin asks it to cosign.
    let mut problems = String::new();
    until("the owner is told", || {
        problems = net.owner.status()["problems"].to_string();
        problems.contains("forked its ledger") || problems.contains("does not continue")
    });
    if problems.contains("forked its ledger") {
        // With a file that proves it to anybody, which is remembered through a restart.
        let file = problems.split("ledger verify ").nth(1).unwrap().split('`').next().unwrap().to_owned();
        let (proven, holds) = stranger(&["ledger", "verify", &file]);
        assert!(holds && proven["kind"] == "fork", "{proven}");
        net.owner.stop();
        net.owner.up();
        assert!(net.owner.status()["problems"].to_string().contains("forked its ledger"));
    }
    twin.stop();

    // Whoever has both ledgers has the evidence.
    let evidence = net.temp.path().join("found");
    let (found, same) =
        stranger(&["ledger", "compare", text(&forker.dir), text(&twin_dir), "--evidence", text(&evidence)]);
    assert!(!same, "{found}");
    let pieces = found["evidence"].as_array().unwrap();
    assert!(!pieces.is_empty() && pieces.iter().all(|it| it["kind"] == "fork"), "{found}");
    for piece in pieces {
        let (proven, holds) = stranger(&["ledger", "verify", piece["file"].as_str().unwrap()]);
        assert!(
            holds && proven["proves"] == piece["proves"] && proven["accused"] == piece["accused"],
            "{proven}"
        );
    }
    // Each by itself is a whole ledger; that there are two is what nobody sees in one.
    for dir in [&forker.dir, &twin_dir] {
        let (report, passed) = stranger(&["ledger", "verify", text(dir)]);
        assert!(passed, "{report}");
    }
}
