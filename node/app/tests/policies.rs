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
