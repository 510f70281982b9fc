//! Owner and provider agree on revisions while either is killed between any two messages: they find
//! the last revision that both signed and go on from it.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/stranger.rs"]
mod stranger;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Net, Node, PROGRAM, noise, until};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::{Refusal, Request, Response};
use serde_json::{Value, json};
use stranger::{Deal, Stranger, Target};

const KIB: usize = 1024;
/// Kills of each kind; COMMONHOLD_CONTRACT_KILLS says another number.
const KILLS: u64 = 12;

fn kills() -> u64 {
    std::env::var("COMMONHOLD_CONTRACT_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS)
}

/// The last revision that the provider signed.
async fn last_revision(owner: &Stranger, deal: &Deal) -> Option<(Revision, SignedNote)> {
    let state = owner.call(Request::ContractState { contract: deal.contract.id() }).await.unwrap();
    let Response::ContractState { revision, .. } = state else { panic!("{state:?}") };
    if revision.is_empty() {
        return None;
    }
    let note = SignedNote::parse(&revision).unwrap();
    assert!(note.is_signed_by(&owner.party.id()) && note.is_signed_by(&owner.target.party));
    let Ok(Statement::Revision(revision)) = Statement::of(&note) else { panic!("{note:?}") };
    Some((revision, note))
}

/// A provider is killed at some moment around a commit; its owner, which may have its answer or not,
/// goes on from what both signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_around_a_commit_has_it_whole_or_not_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = Node::init(&temp.path().join("provider"), &["--provide", "64 MiB"]);
    node.up();
    let first = Stranger::new(1, &Target::of(&node.status())).await;
    let mut deal = first.open(32 << 20, |_| {}).await.unwrap();
    let mut answered = 0;
    let mut taken = 0;
    for round in 0..kills() {
        let owner = Stranger::new(1, &Target::of(&node.status())).await;
        let add = owner.put(deal.contract.id(), &noise(32 * KIB, round as u8)).await.unwrap();
        let (revision, note, inventory) = owner.propose(&deal, &[add], &[]);
        let commit = Request::Commit { note: note.to_bytes(), adds: vec![add], removes: vec![] };
        let (net, target) = (owner.net.clone(), owner.target.node);
        let sent = commit.clone();
        let call = tokio::spawn(async move { net.call(target, sent, Duration::from_secs(20)).await });
        // From before it arrives until after it was answered.
        tokio::time::sleep(Duration::from_micros(round * 700)).await;
        node.kill();
        if matches!(call.await.unwrap(), Ok(Response::Note { .. })) {
            answered += 1;
        }
        node.up();
        let owner = Stranger::new(1, &Target::of(&node.status())).await;
        let before = deal.revision.as_ref().map_or(0, |(it, _)| it.sequence);
        let last = last_revision(&owner, &deal).await;
        let sequence = last.as_ref().map_or(0, |(it, _)| it.sequence);
        if sequence > before {
            taken += 1;
            let (there, signed) = last.unwrap();
            assert_eq!(there, revision);
            deal.inventory = inventory;
            deal.revision = Some((there, signed));
        }
        assert!(sequence >= before, "a revision that both signed is gone");
        // The same commit again: it is answered as it was, or it happens now, for which the chunk may
        // have to be put again.
        match owner.call(commit.clone()).await {
            Ok(Response::Note { note: answer }) => {
                let signed = SignedNote::parse(&answer).unwrap();
                assert_eq!(signed.text(), note.text());
                if sequence == before {
                    deal.inventory.push(add.chunk, add.len).unwrap();
                    deal.revision = Some((revision, signed));
                }
            }
            Err((Refusal::Unknown, _)) if sequence == before => {
                owner.put(deal.contract.id(), &noise(32 * KIB, round as u8)).await.unwrap();
                owner.commit(&mut deal, vec![add], vec![]).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(owner.get(add.chunk, Some(deal.contract.id())).await.unwrap().len(), 32 * KIB);
    }
    println!("{} kills: {taken} commits had happened, {answered} were answered", kills());
    let report = node.json(&["ledger", "verify"]);
    assert_eq!(report["findings"], json!([]), "{report}");
    assert_eq!(report["notes"]["revision"], kills(), "{report}");
    let check = node.json(&["store", "check"]);
    assert_eq!((&check["findings_total"], &check["chunks"]), (&0.into(), &kills().into()), "{check}");
}

/// What both sides say of every contract of the owner's.
fn assert_agreed(net: &Net) {
    let contracts = |node: &Node| -> Vec<Value> {
        let url = fs::read_to_string(node.dir.join("api.url")).unwrap();
        let entry = json!({ "api": url.trim(), "token_file": node.dir.join("api.token") });
        common::api_of(&entry, "contracts").as_array().unwrap().clone()
    };
    let mine = contracts(&net.owner);
    for provider in &net.providers {
        for theirs in contracts(provider) {
            let same = mine.iter().find(|it| it["contract"] == theirs["contract"]);
            for what in ["sequence", "held_bytes", "held_chunks", "span", "inventory_root"] {
                assert_eq!(same.map(|it| &it[what]), Some(&theirs[what]), "{what} of {theirs}");
            }
        }
    }
}

/// Owner and providers are killed in turn while files are put and removed. Nothing that was stored is
/// lost, both sides agree again, nobody is blamed, and both ledgers hold.
#[test]
fn either_side_may_be_killed_in_the_middle_of_a_put() {
    let mut net = Net::start(&[]);
    net.put("kept", &noise(700 * KIB, 1));
    // Two of three: each waits until a node that was away is asked again.
    for round in 0..kills() * 2 / 3 {
        let file = net.temp.path().join(format!("file-{round}"));
        fs::write(&file, noise(400 * KIB, 10 + round as u8)).unwrap();
        let mut put = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(&net.owner.dir)
            .args(["put", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 9));
        // The first provider is the one through which the others find each other.
        let who = round as usize % 4;
        let node = if who == 0 { &mut net.owner } else { &mut net.providers[who] };
        node.kill();
        let _ = put.wait().unwrap();
        node.up();
        net.wait_for_providers();
        // What was cut off can be done again, and more.
        until("a file is stored again", || net.owner.run(&["put", file.to_str().unwrap()]).status.success());
        if round % 3 == 2 {
            until("a file is removed", || {
                net.owner.run(&["rm", "--forever", "-y", &format!("/file-{}", round - 1)]).status.success()
            });
        }
        net.assert_readable("kept", &noise(700 * KIB, 1));
    }
    // An audit brings contracts up to date and blames nobody.
    until("all audits pass", || {
        let report = net.owner.json(&["audit", "now"]);
        let audits = report["audits"].as_array().unwrap();
        assert!(
            audits.iter().all(|it| it["outcome"] != "wrong-bytes" && it["outcome"] != "no-answer"),
            "{report}"
        );
        audits.len() == net.providers.len() && audits.iter().all(|it| it["outcome"] == "passed")
    });
    assert_agreed(&net);
    for node in net.providers.iter().chain([&net.owner]) {
        let report = node.json(&["ledger", "verify"]);
        assert_eq!(report["findings"], json!([]), "{}: {report}", node.dir.display());
    }
}
