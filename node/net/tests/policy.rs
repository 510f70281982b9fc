//! The transport policy decides what is dialed and who may stay connected.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonhold_format::ids::NodeId;
use commonhold_format::keys::DeviceSecret;
use commonhold_format::policy::{
    Address, AdmitConnection, Answer, Dial, DialPlan, Key, Moment, Policy, Question, Scope, Transport,
    Verdict,
};
use commonhold_format::tree::{CHUNK_LEN_MAX, chunk_id};
use commonhold_format::wire::{Request, Response};
use commonhold_net::{CallError, Incoming, Net, NetConfig, start};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const LONG: Duration = Duration::from_secs(60);
const NOW: u64 = 1_750_000_000;

type Choose = dyn Fn(&Dial) -> DialPlan + Send + Sync;
type Admit = dyn Fn(&AdmitConnection) -> Verdict + Send + Sync;

/// A policy of closures that keeps what it was asked.
struct Scripted {
    choose: Box<Choose>,
    admit: Box<Admit>,
    dials: Mutex<Vec<Dial>>,
    admissions: Mutex<Vec<AdmitConnection>>,
}

impl Scripted {
    fn new(
        choose: impl Fn(&Dial) -> DialPlan + Send + Sync + 'static,
        admit: impl Fn(&AdmitConnection) -> Verdict + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            choose: Box::new(choose),
            admit: Box::new(admit),
            dials: Mutex::default(),
            admissions: Mutex::default(),
        })
    }

    fn dialing(choose: impl Fn(&Dial) -> DialPlan + Send + Sync + 'static) -> Arc<Self> {
        Self::new(choose, |_| Verdict::yes())
    }

    /// Addresses of one transport alone.
    fn only(transport: Transport) -> Arc<Self> {
        Self::dialing(move |dial| plan(positions(dial, |it| it.transport == transport), 8))
    }

    fn dials(&self, node: NodeId) -> Vec<Dial> {
        let dials = self.dials.lock().unwrap();
        dials.iter().filter(|dial| dial.peer == Key::from(node)).cloned().collect()
    }
}

impl Policy for Scripted {
    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Dial(dial) => {
                self.dials.lock().unwrap().push(dial.clone());
                Answer::DialPlan((self.choose)(dial))
            }
            Question::AdmitConnection(ask) => {
                self.admissions.lock().unwrap().push(ask.clone());
                Answer::Verdict((self.admit)(ask))
            }
            other => panic!("the network asked {other:?}"),
        }
    }
}

fn plan(order: Vec<u32>, at_once: u32) -> DialPlan {
    DialPlan { order, at_once }
}

fn all(dial: &Dial) -> Vec<u32> {
    positions(dial, |_| true)
}

fn positions(dial: &Dial, wanted: impl Fn(&Address) -> bool) -> Vec<u32> {
    (0..).zip(&dial.addresses).filter(|(_, address)| wanted(address)).map(|(at, _)| at).collect()
}

fn node_id(seed: u8) -> NodeId {
    DeviceSecret::from_bytes([seed; 32]).node()
}

fn noon() -> Moment {
    Moment { unix_seconds: NOW, minute_of_week: 720 }
}

struct Setup<'a> {
    seed: u8,
    listen: &'a [&'a str],
    bootstrap: &'a [String],
    dht_server: bool,
}

/// A node that answers chunks with zeros, and everything else with "done".
async fn node_with(setup: Setup<'_>, policy: Arc<Scripted>) -> Net {
    let (net, mut incoming) = start(NetConfig {
        peer_seed: DeviceSecret::from_bytes([setup.seed; 32]).peer_seed(),
        listen: setup.listen.iter().map(|text| (*text).to_owned()).collect(),
        bootstrap: setup.bootstrap.to_vec(),
        dht_server: setup.dht_server,
        policy,
        moment: noon,
    })
    .await
    .unwrap();
    tokio::spawn(async move {
        while let Some(Incoming { request, answer, .. }) = incoming.recv().await {
            let _ = answer.send(match request {
                Request::GetChunk { .. } => Response::Chunk { bytes: Bytes::from(vec![0; CHUNK_LEN_MAX]) },
                _ => Response::Done,
            });
        }
    });
    net
}

async fn node(seed: u8, listen: &[&str], policy: Arc<Scripted>) -> Net {
    node_with(Setup { seed, listen, bootstrap: &[], dht_server: true }, policy).await
}

async fn plain(seed: u8, listen: &[&str]) -> Net {
    node(seed, listen, Scripted::dialing(|dial| plan(all(dial), 8))).await
}

async fn transport_to(net: &Net, node: NodeId) -> Option<&'static str> {
    let peers = net.peers().await;
    peers.iter().find(|peer| peer.node == node && peer.connected).and_then(|peer| peer.transport)
}

/// Takes connections and answers nothing; counts them.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            open.push(socket);
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transport_that_the_policy_wants_is_the_one_that_is_used() {
    let target = plain(1, &[QUIC, TCP]).await;
    let quic_first = Scripted::dialing(|dial| {
        let mut order = positions(dial, |it| it.transport == Transport::Quic);
        order.extend(positions(dial, |it| it.transport == Transport::Tcp));
        plan(order, 8)
    });
    let cases = [
        (2, Scripted::only(Transport::Tcp), "tcp"),
        (3, Scripted::only(Transport::Quic), "quic"),
        (4, Scripted::dialing(|dial| plan(all(dial), 8)), "tcp"),
        (5, quic_first, "quic"),
    ];
    for (seed, policy, expected) in cases {
        let dialer = node(seed, &[TCP, QUIC], policy.clone()).await;
        dialer.remember(target.node(), target.addresses());
        // Many calls, one dial, one question.
        let calls = (0..20).map(|_| dialer.call(target.node(), Request::Hello, LONG));
        for outcome in futures::future::join_all(calls).await {
            assert_eq!(outcome, Ok(Response::Done));
        }
        assert_eq!(transport_to(&dialer, target.node()).await, Some(expected), "{seed}");
        let asked = policy.dials(target.node());
        assert_eq!(asked.len(), 1, "{asked:?}");
        let seen: HashSet<_> =
            asked[0].addresses.iter().map(|it| (it.transport, it.scope, it.family)).collect();
        assert_eq!(
            seen,
            HashSet::from([(Transport::Tcp, Scope::Loopback, 4), (Transport::Quic, Scope::Loopback, 4)])
        );
        assert_eq!(asked[0].now, noon());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_left_out_is_never_dialed() {
    let target = plain(10, &[QUIC]).await;
    let (trap, dialed) = silent();
    let mut addresses = target.addresses();
    addresses.push(trap.clone());
    let quic = node(11, &[TCP], Scripted::only(Transport::Quic)).await;
    quic.remember(target.node(), addresses.clone());
    assert_eq!(quic.call(target.node(), Request::Hello, LONG).await, Ok(Response::Done));
    assert_eq!(dialed.load(Ordering::SeqCst), 0);

    let nothing = node(12, &[TCP], Scripted::dialing(|_| plan(Vec::new(), 1))).await;
    nothing.remember(target.node(), addresses.clone());
    let outcome = nothing.call(target.node(), Request::Hello, LONG).await;
    assert!(matches!(outcome, Err(CallError::Unreachable { .. })), "{outcome:?}");
    assert_eq!(dialed.load(Ordering::SeqCst), 0);

    // The trap does count who comes.
    let everything = plain(13, &[TCP]).await;
    everything.remember(target.node(), vec![trap]);
    let outcome = everything.call(target.node(), Request::Hello, LONG).await;
    assert!(matches!(outcome, Err(CallError::Unreachable { .. })), "{outcome:?}");
    assert_eq!(dialed.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_goes_in_the_policys_order() {
    let target = plain(20, &[TCP]).await;
    let (trap, dialed) = silent();
    // The address that was remembered last is tried first, alone, and answers nothing for four seconds.
    let backwards = Scripted::dialing(|dial| plan(all(dial).into_iter().rev().collect(), 1));
    let dialer = node(21, &[TCP], backwards.clone()).await;
    dialer.remember(target.node(), vec![target.addresses()[0].clone(), trap]);
    let begun = Instant::now();
    assert_eq!(dialer.call(target.node(), Request::Hello, LONG).await, Ok(Response::Done));
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(dialed.load(Ordering::SeqCst), 1);

    // Nobody listens at the first.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let forwards = Scripted::dialing(|dial| plan(all(dial), 1));
    let dialer = node(22, &[TCP], forwards).await;
    let dead = format!("/ip4/127.0.0.1/tcp/{closed}");
    dialer.remember(target.node(), vec![dead, target.addresses()[0].clone()]);
    assert_eq!(dialer.call(target.node(), Request::Hello, LONG).await, Ok(Response::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_at_an_address_is_told_the_next_time() {
    let policy = Scripted::dialing(|dial| plan(all(dial), 8));
    let dialer = node(30, &[TCP], policy.clone()).await;
    let target = plain(31, &[TCP]).await;
    let address = target.addresses()[0].split("/p2p/").next().unwrap().to_owned();
    dialer.remember(node_id(31), vec![address.clone()]);
    let get = Request::GetChunk { chunk: chunk_id(&[1]), contract: None };
    for _ in 0..4 {
        let got = dialer.call(node_id(31), get.clone(), LONG).await;
        assert!(matches!(got, Ok(Response::Chunk { .. })), "{got:?}");
    }
    target.shutdown().await;
    let fails = async || {
        // Not dialed again for a moment after a failure.
        tokio::time::sleep(Duration::from_millis(2100)).await;
        dialer.call(node_id(31), Request::Hello, LONG).await.unwrap_err()
    };
    while policy.dials(node_id(31)).len() < 3 {
        fails().await;
    }
    let asked = policy.dials(node_id(31));
    assert_eq!(asked[0].addresses[0].successes, 0);
    assert_eq!((asked[1].addresses[0].successes, asked[1].addresses[0].failures), (1, 0));
    let seen = &asked[2].addresses[0];
    assert_eq!((seen.successes, seen.failures, seen.failures_in_row), (1, 1, 1));
    assert_eq!(seen.last_success, NOW);
    assert!(seen.connect_ms > 0 && seen.bytes_per_second > 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_wanted_is_closed() {
    let unwanted = Key::from(node_id(41));
    let policy = Scripted::new(
        |dial| plan(all(dial), 8),
        move |ask| Verdict { admit: ask.node != unwanted, reason: "no strangers".to_owned() },
    );
    let host = node(40, &[TCP, QUIC], policy.clone()).await;
    // They stay until the end.
    let mut guests = Vec::new();
    for (seed, listen) in [(41, [TCP]), (42, [QUIC])] {
        let guest = plain(seed, &listen).await;
        guest.remember(host.node(), host.addresses());
        let outcome = guest.call(host.node(), Request::Hello, LONG).await;
        assert_eq!(outcome.is_ok(), seed == 42, "{outcome:?}");
        if seed == 41 {
            assert!(host.refused_connections() >= 1);
            assert_eq!(transport_to(&host, guest.node()).await, None);
            // Connections that the host makes itself are not asked about.
            let asked = policy.admissions.lock().unwrap().len();
            host.remember(guest.node(), guest.addresses());
            assert_eq!(host.call(guest.node(), Request::Hello, LONG).await, Ok(Response::Done));
            assert_eq!(policy.admissions.lock().unwrap().len(), asked);
        }
        guests.push(guest);
    }
    let asked = policy.admissions.lock().unwrap();
    let first = AdmitConnection { now: noon(), node: unwanted, ..asked[0].clone() };
    assert_eq!(asked[0], first);
    assert_eq!((asked[0].scope, asked[0].family, asked[0].open), (Scope::Loopback, 4, 0));
    assert!(asked.iter().any(|ask| ask.node == Key::from(node_id(42)) && ask.open == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_of_the_dht_dial_through_the_policy_too() {
    let first = plain(50, &[TCP]).await;
    let mut others = Vec::new();
    for seed in 51..55 {
        let setup = Setup { seed, listen: &[TCP], bootstrap: &first.addresses(), dht_server: true };
        others.push(node_with(setup, Scripted::dialing(|dial| plan(all(dial), 8))).await);
    }
    let home = Key::from(first.node());
    let policy =
        Scripted::dialing(move |dial| plan(if dial.peer == home { all(dial) } else { Vec::new() }, 8));
    // It serves nobody, so nobody connects to it.
    let setup = Setup { seed: 60, listen: &[TCP], bootstrap: &first.addresses(), dht_server: false };
    let careful = node_with(setup, policy.clone()).await;
    let strangers = || -> HashSet<Key> {
        let dials = policy.dials.lock().unwrap();
        dials.iter().map(|dial| dial.peer).filter(|peer| *peer != home).collect()
    };
    let deadline = Instant::now() + LONG;
    while strangers().is_empty() {
        assert!(Instant::now() < deadline, "a walk through the DHT dials nobody");
        careful.discover().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let connected: Vec<NodeId> =
        careful.peers().await.into_iter().filter(|peer| peer.connected).map(|peer| peer.node).collect();
    assert_eq!(connected, [first.node()]);
}
