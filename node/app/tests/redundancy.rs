//! `drive check` with real nodes: what a provider no longer has is found chunk by chunk, without the files
//! being downloaded, and is made again; what does not answer is not taken for lost.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/lender.rs"]
mod lender;
#[path = "common/stranger.rs"]
mod stranger;

use std::fs;

use common::{Net, device, noise, until, wipe};
use commonhold_format::ids::ChunkId;
use commonhold_format::probe::{PROBE_CHUNKS_MAX, PROBE_SHOWN_MAX, ProbedLeaf};
use commonhold_format::tree::chunk_id;
use commonhold_format::wire::{Refusal, Request, Response};
use lender::{Lender, Probing};
use serde_json::{Value, json};
use stranger::{Stranger, Target};

const MIB: usize = 1 << 20;
/// The file that chunks are taken of: its chunks have 1 MiB, and others are smaller.
const BIG: usize = 8 * MIB;

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no {field}: {report}"))
}

fn assert_all_proven(report: &Value) {
    assert_eq!(number(report, "chunks_proven"), number(report, "chunks"), "{report}");
    assert_eq!(number(report, "missing_chunks"), 0, "{report}");
    assert_eq!(report["incomplete"], json!([]), "{report}");
}

/// A check costs about a kilobyte for each chunk, whatever the files have.
fn assert_cheap(report: &Value) {
    let fetched = number(report, "fetched_bytes");
    assert!(fetched > 0 && fetched < BIG as u64 / 32, "{report}");
}

#[test]
fn what_a_provider_dropped_is_found_named_and_made_again() {
    let mut net = Net::start(&[("scrub_rate", "0")]);
    let (big, other) = (noise(BIG, 1), noise(30_000, 2));
    net.put("big", &big);
    net.put("other", &other);
    let report = net.owner.json(&["drive", "check"]);
    assert_all_proven(&report);
    assert_cheap(&report);
    let most = number(&report, "chunks") * PROBE_SHOWN_MAX as u64 + 100;
    assert!(number(&report, "fetched_bytes") <= most, "{report}");
    assert_eq!(report["providers"].as_array().unwrap().len(), common::PROVIDERS);
    let all = number(&report, "chunks");

    // One that is away is away: nothing of it is lost, also not when it is back.
    net.providers[5].kill();
    let report = net.owner.json(&["drive", "check"]);
    assert_eq!(number(&report, "chunks_lost"), 0, "{report}");
    let away = number(&report, "chunks_unreachable");
    assert!(away > 0 && number(&report, "chunks_proven") + away == all, "{report}");
    net.providers[5].up();
    until("all chunks are proven again", || {
        let report = net.owner.json(&["drive", "check"]);
        assert_eq!(number(&report, "chunks_lost"), 0, "{report}");
        number(&report, "chunks_proven") == all
    });

    assert_eq!(wipe(&net.providers[2], MIB, 2), 2);
    let report = net.owner.json(&["drive", "check"]);
    assert_eq!(number(&report, "chunks_lost"), 2, "{report}");
    assert_eq!(number(&report, "chunks_proven"), all - 2, "{report}");
    assert_eq!(
        report["incomplete"],
        json!([{"path": "/big", "chunks_lost": 2, "chunks_unreachable": 0}]),
        "{report}"
    );
    let culprit = net.providers[2].peer_id();
    for provider in report["providers"].as_array().unwrap() {
        let is_it = provider["peer_id"] == culprit;
        assert_eq!(number(provider, "chunks_lost"), if is_it { 2 } else { 0 }, "{provider}");
        assert_eq!(provider["why"] != "", is_it, "{provider}");
    }
    assert_cheap(&report);

    let report = net.owner.json(&["drive", "check", "--repair"]);
    assert_all_proven(&report);
    assert_cheap(&report);
    let report = net.owner.json(&["drive", "check"]);
    assert_all_proven(&report);
    assert_eq!(number(&report, "chunks"), all);
    // Nobody's standing hangs on it.
    let standings = net.owner.status()["standings"].as_array().cloned().unwrap_or_default();
    assert_eq!(standings, Vec::<Value>::new());

    // A person reads the same.
    assert_eq!(wipe(&net.providers[3], MIB, 1), 1);
    let said = net.owner.ok(&["drive", "check"]);
    assert!(said.contains("/big: 1 chunk lost"), "{said}");
    assert!(said.contains(&format!("provider {}", net.providers[3].peer_id())), "{said}");
    assert!(!said.contains("/other"), "{said}");
    assert_all_proven(&net.owner.json(&["drive", "check", "--repair", "/big"]));

    // What was made again is really there: the two that lost something are enough to read by.
    for away in [0, 1, 4, 5] {
        net.providers[away].kill();
    }
    net.assert_readable("big", &big);
    net.assert_readable("other", &other);
}

#[test]
fn what_another_device_put_is_probed_too_and_kept_anew() {
    let net = Net::start(&[("scrub_rate", "0")]);
    let bootstrap = net.providers[0].status()["addresses"][0].as_str().unwrap().to_owned();
    let (mut laptop, phrase) = device(&net.temp.path().join("laptop"), &bootstrap, None);
    let file = net.temp.path().join("big");
    fs::write(&file, noise(BIG, 3)).unwrap();
    until("the file is put", || laptop.run(&["put", file.to_str().unwrap()]).status.success());
    let all = number(&laptop.json(&["drive", "check"]), "chunks");
    until("the drive is announced", || laptop.json(&["drive", "heads"])["announced"] == true);
    laptop.stop();

    let (phone, _) = device(&net.temp.path().join("phone"), &bootstrap, Some(&phrase));
    until("the phone proves every chunk", || {
        let output = phone.run(&["--json", "drive", "check"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        report["chunks_proven"] == all
    });
    assert_eq!(wipe(&net.providers[1], MIB, 3), 3);
    let report = phone.json(&["drive", "check"]);
    assert_eq!((number(&report, "chunks_lost"), number(&report, "chunks_proven")), (3, all - 3), "{report}");
    assert_eq!(report["incomplete"][0]["path"], "/big", "{report}");
    assert_cheap(&report);
    let report = phone.json(&["drive", "check", "--repair"]);
    assert_all_proven(&report);
    assert!(number(&report, "repaired_chunks") >= 3, "{report}");
    assert_all_proven(&phone.json(&["drive", "check"]));
}

/// What the check found of one provider.
fn of_provider(report: &Value, peer_id: &str) -> Value {
    let providers = report["providers"].as_array().unwrap();
    providers.iter().find(|it| it["peer_id"] == peer_id).unwrap_or_else(|| panic!("{report}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn attack_27_a_provider_that_answers_wrongly_proves_nothing_and_an_old_one_is_counted() {
    let net = Net::start(&[("scrub_rate", "0")]);
    let bootstrap = serde_json::from_value(net.providers[0].status()["addresses"].clone()).unwrap();
    let lender = Lender::new(77, bootstrap).await;
    let node = lender.net.node().to_string();
    until("the lender is found", || {
        let peers = net.owner.json(&["peers"]);
        let it = peers.as_array().unwrap().iter().find(|peer| peer["peer_id"] == node);
        it.is_some_and(|it| it["free_bytes"].as_u64() > Some(1 << 30))
    });
    net.put("big", &noise(BIG, 5));
    let report = net.owner.json(&["drive", "check"]);
    assert_all_proven(&report);
    let (all, held) = (number(&report, "chunks"), number(&of_provider(&report, &node), "chunks_proven"));
    assert!(held >= 4, "{report}");

    // An older version: counted, after an audit, and said so.
    for probing in [Probing::Ends, Probing::Refuses(Refusal::Invalid), Probing::Refuses(Refusal::Terms)] {
        lender.answer_probes(probing);
        let audits = lender.audits();
        let report = net.owner.json(&["drive", "check"]);
        assert_eq!(number(&report, "chunks_counted"), held, "{probing:?}: {report}");
        assert_eq!(number(&report, "chunks_proven"), all - held, "{probing:?}: {report}");
        assert_eq!(number(&report, "missing_chunks"), 0, "{probing:?}: {report}");
        let why = of_provider(&report, &node)["why"].to_string();
        assert!(why.contains("answers no probes"), "{why}");
        assert_eq!(lender.audits(), audits + 1, "{probing:?}");
    }
    assert!(net.owner.ok(&["drive", "check"]).contains(&format!("{held} only counted")));

    // No answer to the question: out of reach, and not lost.
    for probing in [Probing::Refuses(Refusal::Quarantined), Probing::Otherwise] {
        lender.answer_probes(probing);
        let report = net.owner.json(&["drive", "check"]);
        assert_eq!(number(&report, "chunks_unreachable"), held, "{probing:?}: {report}");
        assert_eq!(number(&report, "chunks_lost"), 0, "{probing:?}: {report}");
    }
    lender.answer_probes(Probing::Rightly);
    assert_all_proven(&net.owner.json(&["drive", "check"]));

    // A wrong answer proves nothing, and what is not proven is made again.
    let wrong = [
        Probing::OtherChunks,
        Probing::OtherLeaves,
        Probing::OtherPaths,
        Probing::TooFew,
        Probing::TooMany,
        Probing::Nothing,
    ];
    for probing in wrong {
        lender.answer_probes(probing);
        let report = net.owner.json(&["drive", "check"]);
        assert_eq!(number(&report, "chunks_lost"), held, "{probing:?}: {report}");
        assert_eq!(number(&report, "chunks_proven"), all - held, "{probing:?}: {report}");
        assert_eq!(number(&of_provider(&report, &node), "chunks_lost"), held, "{probing:?}: {report}");
        lender.answer_probes(Probing::Rightly);
        let report = net.owner.json(&["drive", "check", "--repair"]);
        assert_all_proven(&report);
        assert_eq!(number(&report, "repaired_chunks"), held, "{probing:?}: {report}");
    }
    assert_eq!(lender.held(), held);
}

async fn probe(
    asker: &Stranger,
    nonce: [u8; 32],
    chunks: &[ChunkId],
) -> Result<Vec<Option<ProbedLeaf>>, Refusal> {
    match asker.call(Request::Probe { nonce, chunks: chunks.to_vec() }).await {
        Ok(Response::Probed { shown }) => Ok(shown),
        Ok(other) => panic!("{other:?}"),
        Err((reason, _)) => Err(reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_shows_the_drawn_leaves_in_order_and_nothing_of_what_it_lacks() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = common::Node::init(&temp.path().join("provider"), &["--provide", "128 MiB"]);
    node.set("scrub_rate", "0");
    node.up();
    let target = Target::of(&node.status());
    let (owner, anybody) = (Stranger::new(1, &target).await, Stranger::new(2, &target).await);
    let mut deal = owner.open(16 << 20, |_| {}).await.unwrap();
    let chunks = [noise(1, 1), noise(1025, 2), noise(300_000, 3), noise(MIB, 4)];
    let mut ids = Vec::new();
    for bytes in &chunks {
        ids.push(owner.keep(&mut deal, bytes).await.unwrap());
    }
    let unknown = chunk_id(b"never put");
    ids.insert(2, unknown);
    let lens = [1, 1025, 0, 300_000, MIB as u32];
    for seed in 0..8 {
        let nonce = [seed; 32];
        for asker in [&owner, &anybody] {
            let shown = probe(asker, nonce, &ids).await.unwrap();
            assert_eq!(shown.len(), ids.len());
            for ((id, len), shown) in ids.iter().zip(lens).zip(&shown) {
                match shown {
                    Some(leaf) => assert!(leaf.proves(&nonce, id, len), "{len} bytes"),
                    None => assert_eq!(*id, unknown),
                }
            }
        }
    }
    // As often as it is asked for, and as many as there may be.
    let shown = probe(&anybody, [9; 32], &vec![ids[4]; PROBE_CHUNKS_MAX]).await.unwrap();
    assert!(shown.len() == PROBE_CHUNKS_MAX && shown.iter().all(|it| *it == shown[0] && it.is_some()));
    // A chunk that rotted is not shown; the others are.
    assert_eq!(wipe(&node, 300_000, 1), 1);
    let shown = probe(&anybody, [10; 32], &ids).await.unwrap();
    let there: Vec<bool> = shown.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, true, false, false, true]);

    // Probes take of the line what it has for chunks, and whoever would wait too long is told so.
    let plugin = format!("{}/../../plugins/home-uplink/home-uplink.wasm", env!("CARGO_MANIFEST_DIR"));
    node.ok(&["plugin", "install", &plugin, "--unsigned", "--grant", "config,log,state"]);
    node.ok(&["plugin", "enable", "home-uplink", "--set", "upload=4 KB"]);
    until("the limit holds", || {
        node.status()["traffic"]["upload_limit_bytes_per_second"].as_u64() == Some(4000)
    });
    let sent = node.status()["traffic"]["sent_today_bytes"].as_u64().unwrap();
    assert!(probe(&anybody, [11; 32], &vec![ids[4]; PROBE_CHUNKS_MAX]).await.is_ok());
    let now = node.status()["traffic"]["sent_today_bytes"].as_u64().unwrap();
    assert_eq!(now - sent, (PROBE_CHUNKS_MAX * (1024 + 320)) as u64);
    assert_eq!(probe(&anybody, [12; 32], &ids).await, Err(Refusal::Busy));
}
