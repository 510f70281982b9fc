//! What policies decide, between real processes: quotes, prices and regions as owners and providers see
//! them.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/stranger.rs"]
mod stranger;

use std::sync::{Arc, Mutex};

use common::{Net, Node, noise, until};
use commonhold_format::ids::NodeId;
use commonhold_format::keys::{DeviceSecret, PartyKey};
use commonhold_format::note::SignedNote;
use commonhold_format::record::{NodeRecord, Offer};
use commonhold_format::statement::{Contract, Prices, Statement};
use commonhold_format::wire::{Refusal, Request, Response, refused};
use commonhold_net::{Incoming, NetConfig, start};
use serde_json::{Value, json};
use stranger::{Stranger, Target, now};

const MONTH: u64 = 30 * 86_400;

fn prices(storage: u64) -> Prices {
    Prices { storage_microcredits_per_gib_month: storage, ..Prices::default() }
}

async fn quote(owner: &Stranger, bytes: u64, seconds: u64) -> Result<(Prices, u64), Refusal> {
    let request = Request::Quote { owner: owner.party.id(), bytes, seconds };
    match owner.call(request).await {
        Ok(Response::Quote { prices, valid_until }) => Ok((prices, valid_until)),
        Ok(other) => panic!("{other:?}"),
        Err((reason, _)) => Err(reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_quotes_an_owner_its_own_prices_and_takes_them() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = Node::init(&temp.path().join("provider"), &["--provide", "64 MiB"]);
    node.set("storage_microcredits_per_gib_month", "777");
    node.up();
    let target = Target::of(&node.status());
    let owner = Stranger::new(1, &target).await;
    let (quoted, until) = quote(&owner, 1 << 20, MONTH).await.unwrap();
    assert_eq!(quoted, prices(777));
    assert!((now()..=now() + 60).contains(&until), "{until}");
    let open = |storage, salt| {
        let change = move |it: &mut Contract| {
            it.prices = prices(storage);
            it.salt = [salt; 16];
        };
        owner.open(1 << 20, change)
    };
    let (reason, why) = open(776, 1).await.err().unwrap();
    assert_eq!(reason, Refusal::Terms);
    assert!(why.contains("costs 777"), "{why}");
    open(777, 2).await.unwrap();
    open(778, 3).await.unwrap();
    // For nobody else.
    let other = Stranger::new(2, &target).await;
    let request = Request::Quote { owner: owner.party.id(), bytes: 1, seconds: 1 };
    assert_eq!(other.call(request).await.unwrap_err().0, Refusal::Forbidden);
    // Contracts are shown with their prices on both sides' books.
    let contracts = api(&node, "contracts");
    let mut seen: Vec<u64> = contracts
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["prices"]["storage_microcredits_per_gib_month"].as_u64().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [777, 778]);
    // And not without end.
    let mut busy = false;
    for bytes in 2..200 {
        match quote(&owner, bytes, MONTH).await {
            Ok((quoted, _)) => assert_eq!(quoted, prices(777)),
            Err(reason) => {
                assert_eq!(reason, Refusal::Busy);
                busy = true;
                break;
            }
        }
    }
    assert!(busy);
    node.stop();
    let mut idle = Node::init(&temp.path().join("owner"), &[]);
    idle.up();
    let owner = Stranger::new(3, &Target::of(&idle.status())).await;
    assert_eq!(quote(&owner, 1, 1).await, Err(Refusal::Terms));
}

fn api(node: &Node, what: &str) -> Value {
    let url = std::fs::read_to_string(node.dir.join("api.url")).unwrap();
    common::api_of(&json!({ "api": url.trim(), "token_file": node.dir.join("api.token") }), what)
}

/// What a provider made by hand does with a request for a quote.
#[derive(Clone, Copy)]
enum Quoting {
    /// As a node that does not know the question.
    Ends,
    /// So much for storage.
    Asks(u64),
}

/// A provider made by hand, which takes no contract on.
struct Lender {
    node: NodeId,
    quoting: Arc<Mutex<Quoting>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Lender {
    async fn new(bootstrap: Vec<String>) -> Self {
        let device = DeviceSecret::from_bytes([200; 32]);
        let party = PartyKey::from_seed(&[200; 32]);
        let (net, mut incoming) = start(NetConfig {
            peer_seed: device.peer_seed(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap,
            dht_server: true,
            policy: Arc::new(commonhold_engine::policy::BuiltIn),
            moment: commonhold_format::policy::Moment::default,
        })
        .await
        .unwrap();
        let offer = Offer {
            free_bytes: 1 << 40,
            prices: prices(1_000),
            term_seconds_max: 366 * 86_400,
            region: Some("FR".parse().unwrap()),
        };
        let record = NodeRecord {
            node: net.node(),
            party: party.id(),
            sequence: 1,
            expires: now() + 3600,
            addresses: net.addresses(),
            offer: Some(offer),
        };
        let record = record.encode(&device, &party).unwrap();
        let quoting = Arc::new(Mutex::new(Quoting::Ends));
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (node, asked, kept) = (net.node(), quoting.clone(), seen.clone());
        tokio::spawn(async move {
            let _net = net;
            while let Some(Incoming { request, answer, .. }) = incoming.recv().await {
                let response = match &request {
                    Request::Hello => Some(Response::Record { record: record.clone() }),
                    Request::Quote { .. } => match *asked.lock().unwrap() {
                        Quoting::Ends => None,
                        Quoting::Asks(storage) => {
                            Some(Response::Quote { prices: prices(storage), valid_until: now() + 60 })
                        }
                    },
                    _ => Some(refused(Refusal::Terms, "not today")),
                };
                kept.lock().unwrap().push(request);
                if let Some(response) = response {
                    let _ = answer.send(response);
                }
            }
        });
        Self { node, quoting, seen }
    }

    /// Prices of the contracts that were offered meanwhile, and whether a quote was asked for.
    fn offered(&self) -> (Vec<u64>, bool) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let asked = seen.iter().any(|it| matches!(it, Request::Quote { .. }));
        let offered = seen.iter().filter_map(|it| match it {
            Request::OpenContract { note } => {
                let note = SignedNote::parse(note).unwrap();
                let Ok(Statement::Contract(contract)) = Statement::of(&note) else { panic!("{note:?}") };
                Some(contract.prices.storage_microcredits_per_gib_month)
            }
            _ => None,
        });
        (offered.collect(), asked)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_pays_a_quote_and_never_far_more_than_was_announced() {
    let net = Net::start(&[("# region", "\"DE\"")]);
    let addresses = net.providers[0].status()["addresses"].clone();
    let lender = Lender::new(serde_json::from_value(addresses).unwrap()).await;
    let node = lender.node.to_string();
    until("the lender is found", || {
        let peers = net.owner.json(&["peers"]);
        peers.as_array().unwrap().iter().any(|peer| peer["peer_id"] == node && peer["region"] == "FR")
    });
    let peers = net.owner.json(&["peers"]);
    let of_lender = peers.as_array().unwrap().iter().find(|peer| peer["peer_id"] == node).unwrap();
    assert_eq!(of_lender["prices"]["storage_microcredits_per_gib_month"], 1_000);
    // It says the most of its room, so it is the first to be asked; the others keep the data.
    let put = |name: &str| {
        net.put(name, &noise(5_000, 1));
        lender.offered()
    };
    lender.offered();
    let (offered, asked) = put("old");
    assert!(asked && !offered.is_empty() && offered.iter().all(|it| *it == 1_000), "{offered:?}");
    *lender.quoting.lock().unwrap() = Quoting::Asks(900);
    let (offered, asked) = put("cheaper");
    assert!(asked && !offered.is_empty() && offered.iter().all(|it| *it == 900), "{offered:?}");
    *lender.quoting.lock().unwrap() = Quoting::Asks(2_000);
    let (offered, asked) = put("dearer");
    assert!(asked && !offered.is_empty() && offered.iter().all(|it| *it == 2_000), "{offered:?}");
    // Whoever announces little and then asks for more gets nothing.
    *lender.quoting.lock().unwrap() = Quoting::Asks(2_001);
    assert_eq!(put("bait"), (vec![], true));
    for name in ["old", "cheaper", "dearer", "bait"] {
        net.assert_readable(name, &noise(5_000, 1));
    }
}

/// Installs one of plugins/ on a running node and lets it decide.
fn enable(node: &Node, name: &str, settings: &[&str]) {
    let file = format!("{}/../../plugins/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    node.ok(&["plugin", "install", &file, "--unsigned", "--grant", "config,log"]);
    let set: Vec<&str> = settings.iter().flat_map(|it| ["--set", it]).collect();
    node.ok(&[&["plugin", "enable", name], &set[..]].concat());
}

/// An owner that joins through a provider and knows so many of them.
fn owner(dir: &std::path::Path, through: &Node, providers: usize) -> Node {
    let addresses = through.status()["addresses"].clone();
    let addresses: Vec<String> = serde_json::from_value(addresses).unwrap();
    let flags: Vec<&str> = addresses.iter().flat_map(|it| ["--bootstrap", it]).collect();
    let mut node = Node::init(dir, &flags);
    node.up();
    until("the owner has found the providers", || offers(&node).len() >= providers);
    node
}

/// Peers that lend disk to an owner.
fn offers(node: &Node) -> Vec<Value> {
    let peers = node.json(&["peers"]);
    let offers = |peer: &&Value| peer["connected"] == true && peer["free_bytes"].as_u64() > Some(0);
    peers.as_array().unwrap().iter().filter(offers).cloned().collect()
}

fn put(node: &Node, name: &str, bytes: &[u8]) {
    let file = node.dir.parent().unwrap().join(name);
    std::fs::write(&file, bytes).unwrap();
    node.ok(&["put", file.to_str().unwrap()]);
}

/// How many of an owner's chunks are in Germany, and how many there are.
fn in_germany(node: &Node) -> (u64, u64) {
    let offers = offers(node);
    let is_german =
        |provider: &Value| offers.iter().any(|peer| peer["peer_id"] == *provider && peer["region"] == "DE");
    let contracts = api(node, "contracts");
    let contracts = contracts.as_array().unwrap();
    let count = |it: &Value| it["held_chunks"].as_u64().unwrap();
    let german = contracts.iter().filter(|it| is_german(&it["provider"])).map(count).sum();
    (german, contracts.iter().map(count).sum())
}

/// Nine providers, four of them in one country: by the default they hold 4 of 9 of the chunks, and under
/// `spread` one of the six chunks of each segment.
#[test]
fn with_spread_no_country_has_two_chunks_of_a_segment() {
    let temp = tempfile::tempdir().unwrap();
    let mut bootstrap: Vec<String> = Vec::new();
    let mut providers = Vec::new();
    for (number, region) in ["DE", "DE", "DE", "DE", "FR", "IT", "ES", "PL", "AT"].into_iter().enumerate() {
        let mut flags = vec!["--provide", "128 MiB"];
        bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
        let mut node = Node::init(&temp.path().join(format!("provider-{number}")), &flags);
        node.set("# region", &format!("{region:?}"));
        node.up();
        if bootstrap.is_empty() {
            bootstrap = serde_json::from_value(node.status()["addresses"].clone()).unwrap();
        }
        providers.push(node);
    }
    let plain = owner(&temp.path().join("plain"), &providers[0], 9);
    let spread = owner(&temp.path().join("spread"), &providers[0], 9);
    enable(&spread, "spread", &[]);
    for number in 0..6 {
        put(&plain, &format!("plain-{number}"), &noise(3_000, number));
        put(&spread, &format!("spread-{number}"), &noise(3_000, number));
    }
    let (german, all) = in_germany(&plain);
    assert!(5 * german > all, "{german} of {all}");
    // Of a segment stored with a chunk less it is one of five.
    let (german, all) = in_germany(&spread);
    assert!(german > 0 && 5 * german <= all, "{german} of {all}");
    // A policy that wants other countries than there are says so.
    spread.ok(&["plugin", "set", "spread", "regions=NL", "unknown=false"]);
    let file = temp.path().join("nowhere");
    std::fs::write(&file, noise(3_000, 9)).unwrap();
    let why = spread.refused(&["put", file.to_str().unwrap()]);
    assert!(why.contains("placement policy"), "{why}");
}

/// Prices of an owner's contracts for storage.
fn agreed(node: &Node) -> Vec<u64> {
    let contracts = api(node, "contracts");
    let price = |it: &Value| it["prices"]["storage_microcredits_per_gib_month"].as_u64().unwrap();
    contracts.as_array().unwrap().iter().map(price).collect()
}

#[test]
fn with_flat_contracts_have_its_prices_and_owners_its_ceiling() {
    let net = Net::start(&[]);
    net.put("before", &noise(3_000, 1));
    let before = agreed(&net.owner);
    assert!(!before.is_empty() && before.iter().all(|it| *it == 1_000_000), "{before:?}");
    for provider in &net.providers {
        enable(provider, "flat", &["storage=2000"]);
    }
    let second = owner(&net.temp.path().join("second"), &net.providers[0], common::PROVIDERS);
    until("the new prices are announced", || {
        offers(&second).iter().all(|it| it["prices"]["storage_microcredits_per_gib_month"] == 2_000)
    });
    put(&second, "after", &noise(3_000, 2));
    let after = agreed(&second);
    assert!(!after.is_empty() && after.iter().all(|it| *it == 2_000), "{after:?}");
    // Contracts that stand are as they were.
    assert_eq!(agreed(&net.owner), before);
    // An owner that accepts less puts nothing, and reads why.
    enable(&second, "flat", &["max_storage=1999"]);
    let third = owner(&net.temp.path().join("third"), &net.providers[0], common::PROVIDERS);
    enable(&third, "flat", &["max_storage=1999"]);
    let file = net.temp.path().join("dear");
    std::fs::write(&file, noise(3_000, 3)).unwrap();
    for poor in [&second, &third] {
        let why = poor.refused(&["put", file.to_str().unwrap()]);
        assert!(why.contains("pricing policy accepts"), "{why}");
    }
    third.ok(&["plugin", "disable", "pricing"]);
    // And a provider whose policy gives nobody anything takes no newcomer on.
    for provider in &net.providers {
        provider.ok(&["plugin", "set", "flat", "gift=0"]);
    }
    let why = third.refused(&["put", file.to_str().unwrap()]);
    assert!(why.contains("no more credit"), "{why}");
}
