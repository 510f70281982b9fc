//! Credit between real nodes: newcomers, owners that do not sign, payments, trust lines.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/stranger.rs"]
mod stranger;

use common::{Node, noise, until};
use commonhold_format::statement::Statement;
use commonhold_format::wire::{Refusal, Request};
use serde_json::Value;
use stranger::{Stranger, Target, notes};

const KIB: usize = 1024;

/// A provider with these settings.
fn provider(dir: &std::path::Path, settings: &[(&str, &str)]) -> (Node, Target) {
    let mut node = Node::init(dir, &["--provide", "64 MiB"]);
    settings.iter().for_each(|(key, value)| node.set(key, value));
    node.up();
    let target = Target::of(&node.status());
    (node, target)
}

fn amount(value: &Value) -> i128 {
    value.as_str().unwrap().parse().unwrap()
}

/// How a party stands with a provider.
fn credit(node: &Node, party: &str) -> Value {
    let view = node.json(&["ledger", "credit"]);
    let found = view["parties"].as_array().unwrap().iter().find(|it| it["party"] == party).cloned();
    found.unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_31_an_owner_that_does_not_sign_is_claimed_from_and_not_served() {
    let temp = tempfile::tempdir().unwrap();
    let (mut node, target) = provider(&temp.path().join("provider"), &[("epoch", "\"4 s\"")]);
    let owner = Stranger::new(1, &target).await;
    // Dear enough for a second of it to be owed for.
    let mut deal = owner
        .open(1 << 20, |it| it.prices.storage_microcredits_per_gib_month = 1_000_000_000_000)
        .await
        .unwrap();
    let id = deal.contract.id();
    let chunk = owner.keep(&mut deal, &noise(16 * KIB, 1)).await.unwrap();
    let party = owner.party.id().to_string();
    until("the provider stops", || {
        credit(&node, &party)["stopped"].as_array().is_some_and(|it| it.len() == 1)
    });
    for refused in [
        owner.put(id, &noise(KIB, 2)).await.map(drop),
        owner.get(chunk, Some(id)).await.map(drop),
        owner.get(chunk, None).await.map(drop),
        owner.call(Request::Probe { nonce: [0; 32], chunks: vec![chunk] }).await.map(drop),
        owner.open(1 << 20, |it| it.salt = [9; 16]).await.map(drop),
    ] {
        let (reason, message) = refused.unwrap_err();
        assert_eq!(reason, Refusal::Credit, "{message}");
    }
    assert!(node.status()["problems"].to_string().contains("not served"));
    // The claim is logged, once, also over a restart, and anybody can check it.
    until("the claim is logged", || node.ok(&["ledger", "show"]).contains("claim of receipt 1"));
    node.stop();
    node.up();
    let owner = Stranger::new(1, &Target::of(&node.status())).await;
    until("it is stopped again", || {
        credit(&node, &party)["stopped"].as_array().is_some_and(|it| it.len() == 1)
    });
    let report = node.json(&["ledger", "verify"]);
    assert_eq!((&report["claims"], &report["findings"]), (&1.into(), &serde_json::json!([])), "{report}");
    let claim = notes(&node.json(&["ledger", "show"])).iter().find_map(|note| match Statement::of(note) {
        Ok(Statement::Claim(claim)) => Some(claim),
        _ => None,
    });
    let claim = claim.unwrap();
    let (revision, _) = deal.revision.clone().unwrap();
    // Exactly the one epoch.
    assert_eq!((claim.sequence, claim.until), (1, revision.time + 4));
    assert_eq!(claim.byte_seconds, 4 * 16 * KIB as u128);
    // Nor is anything taken in the place of something else.
    let again = commonhold_format::wire::Addition { chunk, len: 16 * KIB as u32 };
    assert_eq!(owner.commit(&mut deal, vec![again], vec![0]).await.unwrap_err().0, Refusal::Credit);
    // Taking something away and signing are never refused; signing opens the doors again.
    let (_, note, inventory) = owner.propose(&deal, &[], &[]);
    assert!(note.is_signed_by(&owner.party.id()) && inventory.len() == 1);
    owner.settle(&mut deal).await.unwrap();
    owner.put(id, &noise(KIB, 2)).await.unwrap();
    assert_eq!(owner.get(chunk, Some(id)).await.unwrap().len(), 16 * KIB);
    assert_eq!(node.json(&["ledger", "verify"])["findings"], serde_json::json!([]));
    until("it is stopped once more", || {
        credit(&node, &party)["stopped"].as_array().is_some_and(|it| it.len() == 1)
    });
    owner.commit(&mut deal, vec![], vec![0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_33_all_strangers_together_get_one_gift_budget() {
    let temp = tempfile::tempdir().unwrap();
    // 16 KiB for an epoch cost 16 KiB / 1 GiB * 7 / 30 * 10^9 = 3,561 microcredits, so eleven fit.
    let settings =
        [("gift_microcredits_per_epoch", "40000"), ("storage_microcredits_per_gib_month", "1000000000")];
    let (node, target) = provider(&temp.path().join("provider"), &settings);
    let price = |it: &mut commonhold_format::statement::Contract| {
        it.prices.storage_microcredits_per_gib_month = 1_000_000_000;
    };
    let strangers = futures::future::join_all((1..=12).map(|seed| Stranger::new(seed, &target))).await;
    // All at once, three chunks each.
    let kept = futures::future::join_all(strangers.iter().enumerate().map(|(n, stranger)| async move {
        let Ok(mut deal) = stranger.open(1 << 20, price).await else { return (0, None) };
        let mut kept = 0;
        for part in 0..3 {
            match stranger.keep(&mut deal, &noise(16 * KIB, (n * 3 + part) as u8)).await {
                Ok(_) => kept += 1,
                Err((reason, message)) => assert_eq!(reason, Refusal::Credit, "{message}"),
            }
        }
        (kept, Some(deal))
    }))
    .await;
    let mut sum: u8 = kept.iter().map(|(kept, _)| kept).sum();
    assert!(sum <= 11, "{sum} chunks");
    // What was being added at the same time may have been counted twice for a moment; in the end the
    // budget is used up and no more.
    let (at, mut deal) = kept.into_iter().enumerate().find_map(|(at, (_, deal))| Some((at, deal?))).unwrap();
    until("the budget is used up", || {
        let bytes = noise(16 * KIB, 100 + sum);
        let more = strangers[at].keep(&mut deal, &bytes);
        let kept = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(more));
        sum += u8::from(kept.is_ok());
        sum >= 11
    });
    let view = node.json(&["ledger", "credit"]);
    assert!(amount(&view["gift_used_microcredits"]) <= 40_000 + 12, "{view}");
    assert_eq!(strangers[at].keep(&mut deal, &noise(16 * KIB, 200)).await.unwrap_err().0, Refusal::Credit);
    let latecomer = Stranger::new(99, &target).await;
    if let Ok(mut deal) = latecomer.open(1 << 20, price).await {
        let (reason, _) = latecomer.keep(&mut deal, &noise(16 * KIB, 200)).await.unwrap_err();
        assert_eq!(reason, Refusal::Credit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_31_what_is_kept_for_an_owner_that_never_signs_is_given_up_at_last() {
    let temp = tempfile::tempdir().unwrap();
    let settings = [("epoch", "\"2 s\""), ("arrears_term", "\"2 s\"")];
    let (node, target) = provider(&temp.path().join("provider"), &settings);
    let owner = Stranger::new(1, &target).await;
    let price = |it: &mut commonhold_format::statement::Contract| {
        it.prices.storage_microcredits_per_gib_month = 1_000_000_000_000;
    };
    let mut deal = owner.open(1 << 20, price).await.unwrap();
    let chunk = owner.keep(&mut deal, &noise(16 * KIB, 1)).await.unwrap();
    until("its chunk is in the trash", || node.status()["storage"]["trash_chunks"] == 1);
    // Nothing more is owed, kept or given out.
    assert_eq!(owner.draw(&deal).await.unwrap_err().0, Refusal::Terms);
    assert_eq!(owner.get(chunk, Some(deal.contract.id())).await.unwrap_err().0, Refusal::Unknown);
    assert!(node.ok(&["ledger", "show"]).contains("claim of receipt 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_held_back_and_the_operators_word_are_cover() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = Node::init(&temp.path().join("provider"), &["--provide", "64 MiB"]);
    node.set("gift_microcredits_per_epoch", "0");
    node.set("hold_microcredits_max", "1000000");
    let friend = commonhold_format::keys::PartyKey::from_seed(&[2; 32]).id();
    let file = node.dir.join("commonhold.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let table = format!("[[provider.trusted]]\nparty = \"{friend}\"\nlimit_microcredits = 1000000\n");
    std::fs::write(&file, text.replace("\n[owner]\n", &format!("\n{table}\n[owner]\n"))).unwrap();
    node.up();
    let target = Target::of(&node.status());
    let stranger = Stranger::new(1, &target).await;
    assert_eq!(stranger.open(1 << 20, |_| {}).await.map(drop).unwrap_err().0, Refusal::Credit);
    let hold = |microcredits| {
        move |it: &mut commonhold_format::statement::Contract| it.hold_microcredits = microcredits
    };
    assert_eq!(stranger.open(1 << 20, hold(1_000_001)).await.map(drop).unwrap_err().0, Refusal::Terms);
    let mut deal = stranger.open(1 << 20, hold(500_000)).await.unwrap();
    let chunk = stranger.keep(&mut deal, &noise(16 * KIB, 1)).await.unwrap();
    stranger.get(chunk, Some(deal.contract.id())).await.unwrap();
    let friend = Stranger::new(2, &target).await;
    let mut deal = friend.open(1 << 20, |_| {}).await.unwrap();
    friend.keep(&mut deal, &noise(16 * KIB, 2)).await.unwrap();
    let own = |party: &str| amount(&credit(&node, party)["own_microcredits"]);
    assert_eq!(own(&stranger.party.id().to_string()), 500_000);
    assert_eq!(own(&friend.party.id().to_string()), 1_000_000);
}

#[test]
fn payments_and_trust_lines_are_signed_by_both_and_count_on_both_sides() {
    let temp = tempfile::tempdir().unwrap();
    let mut providers = Vec::new();
    let mut bootstrap: Vec<String> = Vec::new();
    for number in 1..=6 {
        let mut flags = vec!["--provide", "64 MiB"];
        bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
        let mut node = Node::init(&temp.path().join(format!("provider-{number}")), &flags);
        node.up();
        if bootstrap.is_empty() {
            bootstrap = Target::of(&node.status()).addresses;
        }
        providers.push(node);
    }
    let mut flags = Vec::new();
    bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
    let mut owner = Node::init(&temp.path().join("owner"), &flags);
    owner.up();
    let file = temp.path().join("file");
    std::fs::write(&file, noise(300 * KIB, 5)).unwrap();
    until("it is stored", || owner.run(&["put", file.to_str().unwrap()]).status.success());
    owner.ok(&["audit", "now"]);

    let party = |node: &Node| node.status()["party"].as_str().unwrap().to_owned();
    let (first, second) = (&providers[0], &providers[1]);
    let (me, provider, other) = (party(&owner), party(first), party(second));
    let owed = |node: &Node, with: &str| {
        let view = node.json(&["ledger", "balance"]);
        let accounts = view["accounts"].as_array().unwrap().clone();
        let account = accounts.into_iter().find(|it| it["party"] == with).unwrap();
        amount(&account["owed_to_me_microcredits"])
    };
    let before = owed(first, &me);
    assert!(before > 0, "an audit was passed");
    assert_eq!(owed(&owner, &provider), -before);
    // Paid: less is owed, on both sides, and what was paid ahead is credit.
    let note = first.ok(&["ledger", "paid", &me, "2.5"]);
    assert!(note.contains("paid_microcredits: 2500000"), "{note}");
    first.ok(&["ledger", "paid", &me, "0.5", "--reference", &"ab".repeat(32)]);
    assert_eq!(owed(first, &me), before - 3_000_000);
    assert_eq!(owed(&owner, &provider), 3_000_000 - before);
    let standing = credit(first, &me);
    assert_eq!(amount(&standing["account_microcredits"]), before - 3_000_000, "{standing}");
    assert!(amount(&standing["headroom_microcredits"]) > 12_000_000, "{standing}");
    // The owner answers for the second provider at the first one, with what it has there.
    let stranger = amount(
        &credit(first, &other)["headroom_microcredits"]
            .as_str()
            .map_or(Value::String("10000000".to_owned()), |text| Value::String(text.to_owned())),
    );
    owner.ok(&["ledger", "trust", &provider, &other, "50", "--for", "30 d"]);
    let line = credit(first, &other);
    let more = amount(&line["headroom_microcredits"]) - stranger;
    assert!((2_900_000..3_000_000).contains(&more), "{line}");
    // Taken back.
    owner.ok(&["ledger", "trust", &provider, &other, "0"]);
    assert_eq!(amount(&credit(first, &other)["headroom_microcredits"]), stranger);
    // Nobody is made to sign for what is not its own, and refusals are sentences.
    let refused = second.refused(&["ledger", "paid", &provider, "1"]);
    assert!(refused.contains("no contract with that payee"), "{refused}");
    let refused = first.refused(&["ledger", "paid", &provider, "1"]);
    assert!(refused.contains("nobody pays itself"), "{refused}");
    let refused = first.refused(&["ledger", "paid", &"77".repeat(32), "1"]);
    assert!(refused.contains("--node"), "{refused}");
    // What was half signed is in the ledger, harms nothing, and is said.
    assert!(second.json(&["ledger", "verify"])["unchecked"].to_string().contains("wait for the second"));
    for node in [&owner, first, second] {
        let report = node.json(&["ledger", "verify"]);
        assert_eq!(report["findings"], serde_json::json!([]), "{report}");
    }
    owner.stop();
    // The payer is away: the note waits, and comes first when it is back.
    let waits = first.refused(&["ledger", "paid", &me, "1"]);
    assert!(waits.contains("sent again"), "{waits}");
    owner.up();
    until("it is paid", || first.run(&["ledger", "paid", &me, "1"]).status.success());
    assert_eq!(owed(first, &me), before - 5_000_000);
    assert_eq!(owed(&owner, &provider), 5_000_000 - before);
}
