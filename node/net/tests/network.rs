//! Nodes on loopback: calls over each transport, discovery, records, hostile peers.
#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commonhold_format::ids::NodeId;
use commonhold_format::keys::{DeviceSecret, PartyKey};
use commonhold_format::policy::{Answer, DialPlan, Moment, Policy, Question, Verdict};
use commonhold_format::record::{NodeRecord, node_key};
use commonhold_format::tree::{CHUNK_LEN_MAX, chunk_id};
use commonhold_format::wire::{CONTROL_PROTOCOL, Refusal, Request, Response};
use commonhold_net::{CallError, DhtError, Incoming, Net, NetConfig, StartError, check_address, start};
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::{Multiaddr, PeerId, StreamProtocol, noise, tcp, yamux};
use tokio::sync::mpsc;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const LONG: Duration = Duration::from_secs(60);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn device(seed: u8) -> DeviceSecret {
    DeviceSecret::from_bytes([seed; 32])
}

async fn node_at(
    seed: u8,
    listen: &[&str],
    bootstrap: &[String],
) -> Result<(Net, mpsc::Receiver<Incoming>), StartError> {
    start(NetConfig {
        peer_seed: device(seed).peer_seed(),
        listen: listen.iter().map(|text| (*text).to_owned()).collect(),
        bootstrap: bootstrap.to_vec(),
        dht_server: true,
        policy: Arc::new(Anything),
        moment: Moment::default,
    })
    .await
}

/// Every address, as it comes; everybody may stay.
struct Anything;

impl Policy for Anything {
    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Dial(dial) => {
                let order = (0..dial.addresses.len() as u32).collect();
                Answer::DialPlan(DialPlan { order, at_once: 8 })
            }
            _ => Answer::Verdict(Verdict::yes()),
        }
    }
}

/// A node that answers chunks with what it was sent last, and everything else with "done".
async fn node(seed: u8, listen: &[&str], bootstrap: &[String]) -> Net {
    let (net, mut incoming) = node_at(seed, listen, bootstrap).await.unwrap();
    tokio::spawn(async move {
        let mut last = Bytes::from_static(&[0]);
        while let Some(Incoming { request, answer, .. }) = incoming.recv().await {
            let response = match request {
                Request::PutChunk { bytes, .. } => {
                    last = bytes;
                    Response::Done
                }
                Request::GetChunk { .. } => Response::Chunk { bytes: last.clone() },
                _ => Response::Done,
            };
            let _ = answer.send(response);
        }
    });
    net
}

fn record(seed: u8, sequence: u64, expires: u64) -> ([u8; 32], Vec<u8>) {
    let (device, party) = (device(seed), PartyKey::from_seed(&[seed; 32]));
    let record = NodeRecord {
        node: device.node(),
        party: party.id(),
        sequence,
        expires,
        addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        offer: None,
    };
    (node_key(&record.node), record.encode(&device, &party).unwrap())
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not happen within a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_chunks_travel_over_each_transport() {
    for (seed, listen, transport) in [(1, TCP, "tcp"), (3, QUIC, "quic")] {
        let a = node(seed, &[listen], &[]).await;
        let b = node(seed + 1, &[listen], &[]).await;
        b.remember(a.node(), a.addresses());
        assert_eq!(b.call(a.node(), Request::Hello, LONG).await, Ok(Response::Done));
        let bytes: Bytes = (0..CHUNK_LEN_MAX).map(|i| (i * 31 % 251) as u8).collect();
        let chunk = chunk_id(&bytes);
        let contract = commonhold_format::ids::ContractId([1; 32]);
        let put = Request::PutChunk { contract, chunk, bytes: bytes.clone() };
        assert_eq!(b.call(a.node(), put, LONG).await, Ok(Response::Done));
        let got = b.call(a.node(), Request::GetChunk { chunk, contract: None }, LONG).await;
        assert_eq!(got, Ok(Response::Chunk { bytes }));
        let peers = b.peers().await;
        let peer = peers.iter().find(|peer| peer.node == a.node()).unwrap();
        assert!(peer.connected && peer.transport == Some(transport), "{peer:?}");
        // The other way round over the same connection.
        assert_eq!(a.call(b.node(), Request::Hello, LONG).await, Ok(Response::Done));
        a.shutdown().await;
        assert!(b.call(device(seed).node(), Request::Hello, LONG).await.is_err());
    }
}

/// How `net` is connected to `node`.
async fn transport_to(net: &Net, node: NodeId) -> Option<&'static str> {
    net.peers().await.iter().find(|peer| peer.node == node).and_then(|peer| peer.transport)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_comes_first_and_quic_serves_where_tcp_does_not_get_through() {
    let a = node(80, &[QUIC, TCP], &[]).await;
    let b = node(81, &[QUIC, TCP], &[]).await;
    b.remember(a.node(), a.addresses());
    assert_eq!(b.call(a.node(), Request::Hello, LONG).await, Ok(Response::Done));
    assert_eq!(transport_to(&b, a.node()).await, Some("tcp"));

    // Through a bootstrap address as well.
    let c = node(82, &[QUIC, TCP], &a.addresses()).await;
    until("the connection", async || transport_to(&c, a.node()).await).await;
    assert_eq!(transport_to(&c, a.node()).await, Some("tcp"));

    // Nobody listens on this TCP port any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let d = node(83, &[QUIC], &[]).await;
    let mut addresses = d.addresses();
    addresses.insert(0, format!("/ip4/127.0.0.1/tcp/{closed}"));
    b.remember(d.node(), addresses);
    let bytes = Bytes::from(vec![5; CHUNK_LEN_MAX]);
    let contract = commonhold_format::ids::ContractId([1; 32]);
    let put = Request::PutChunk { contract, chunk: chunk_id(&bytes), bytes };
    assert_eq!(b.call(d.node(), put, LONG).await, Ok(Response::Done));
    assert_eq!(transport_to(&b, d.node()).await, Some("quic"));
}

/// Dials over TCP with libp2p's own upgrades and waits for the connection.
async fn connects(target: &Net, mut swarm: libp2p::Swarm<libp2p::ping::Behaviour>) -> bool {
    let expected = PeerId::from_bytes(&target.node().to_peer_id_bytes()).unwrap();
    let address: Multiaddr = target.addresses()[0].parse().unwrap();
    swarm.dial(address).unwrap();
    let outcome = async {
        loop {
            match swarm.select_next_some().await {
                // A ping has gone through whatever was agreed on, in both directions.
                libp2p::swarm::SwarmEvent::Behaviour(libp2p::ping::Event { peer, result, .. }) => {
                    return peer == expected && result.is_ok();
                }
                libp2p::swarm::SwarmEvent::OutgoingConnectionError { .. } => return false,
                _ => {}
            }
        }
    };
    tokio::time::timeout(LONG, outcome).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_libp2p_peers_connect_with_their_own_tls_and_noise() {
    let target = node(84, &[TCP], &[]).await;
    let tls = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), libp2p::tls::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p::ping::Behaviour::default())
        .unwrap()
        .build();
    assert!(connects(&target, tls).await);
    let noise = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p::ping::Behaviour::default())
        .unwrap()
        .build();
    assert!(connects(&target, noise).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_proves_another_key_is_not_taken_for_the_one_dialed() {
    let real = node(85, &[TCP], &[]).await;
    let dialer = node(86, &[TCP], &[]).await;
    let claimed = device(87).node();
    let address = real.addresses()[0].split("/p2p/").next().unwrap().to_owned();
    dialer.remember(claimed, vec![address]);
    let call = dialer.call(claimed, Request::Hello, LONG).await;
    assert!(matches!(call, Err(CallError::Unreachable { .. })), "{call:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_through_one_address_and_records_through_the_dht() {
    let first = node(10, &[TCP, QUIC], &[]).await;
    let mut nets = vec![first.clone()];
    for seed in 11..18 {
        nets.push(node(seed, &[TCP, QUIC], &first.addresses()).await);
    }
    for net in &nets {
        until("discovery", async || (net.discover().await.len() == nets.len() - 1).then_some(())).await;
    }
    let (key, newer) = record(30, 2, now() + 3600);
    let (_, older) = record(30, 1, now() + 3600);
    nets[3].publish(key, newer.clone()).await.unwrap();
    for net in &nets {
        let found = until("the record", async || net.find(key).await.unwrap()).await;
        assert_eq!(found, newer);
    }
    // attack 35: an older record never replaces a newer one.
    let _ = nets[5].publish(key, older).await;
    for net in nets.iter().filter(|net| net.node() != nets[5].node()) {
        assert_eq!(net.find(key).await.unwrap(), Some(newer.clone()));
    }
    assert_eq!(nets[0].find([7; 32]).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_35_forged_expired_and_misplaced_records_are_not_published() {
    let net = node(40, &[TCP], &[]).await;
    let (key, good) = record(41, 1, now() + 3600);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let (_, expired) = record(41, 1, now() - 1);
    let (_, long) = record(41, 1, now() + 30 * 86_400);
    for (key, value) in
        [(key, forged), (key, expired), (key, long), ([0; 32], good.clone()), (key, vec![9; 100])]
    {
        assert!(matches!(net.publish(key, value).await, Err(DhtError::Invalid(_))));
    }
    // A good one is taken; nobody else is there to keep it.
    assert_eq!(net.publish(key, good).await, Err(DhtError::Alone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_and_ports_taken_get_their_own_errors() {
    let a = node(50, &[TCP, QUIC], &[]).await;
    let nobody = device(51).node();
    a.remember(nobody, vec!["/ip4/127.0.0.1/tcp/9".to_owned()]);
    assert!(matches!(a.call(nobody, Request::Hello, LONG).await, Err(CallError::Unreachable { .. })));
    assert!(matches!(a.call(a.node(), Request::Hello, LONG).await, Err(CallError::Unreachable { .. })));
    for address in a.addresses() {
        let address = address.split("/p2p/").next().unwrap().to_owned();
        let taken = node_at(52, &[&address], &[]).await.err().unwrap();
        assert!(matches!(taken, StartError::PortTaken { .. }), "{taken}");
    }
    let bad = node_at(53, &["/ip4/127.0.0.1/sctp/1"], &[]).await.err().unwrap();
    assert!(matches!(bad, StartError::BadAddress { .. }), "{bad}");
    // A silent answerer: the caller's own patience ends it.
    let (silent, mut incoming) = node_at(54, &[TCP], &[]).await.unwrap();
    a.remember(silent.node(), silent.addresses());
    let call = a.call(silent.node(), Request::Hello, Duration::from_secs(2)).await;
    assert!(matches!(call, Err(CallError::Timeout { seconds: 2, .. })), "{call:?}");
    // One that drops the request: the stream ends.
    drop(incoming.recv().await);
    let closed = tokio::join!(a.call(silent.node(), Request::Hello, LONG), async {
        drop(incoming.recv().await);
    });
    assert!(matches!(closed.0, Err(CallError::Closed { .. })), "{:?}", closed.0);
    // So it does for one that does not know the message, as a node of an older version: here, one beyond
    // its bounds.
    let chunks = vec![chunk_id(&[1]); commonhold_format::probe::PROBE_CHUNKS_MAX + 1];
    let unknown = a.call(silent.node(), Request::Probe { nonce: [0; 32], chunks }, LONG).await;
    assert!(matches!(unknown, Err(CallError::Closed { .. })), "{unknown:?}");
}

#[test]
fn addresses_are_checked() {
    let peer = device(1).node();
    for good in
        [TCP, QUIC, "/ip6/::1/tcp/4701", "/dns4/example.org/tcp/4701", "/dns/example.org/udp/1/quic-v1"]
    {
        assert_eq!(check_address(good), Ok(()));
        assert_eq!(check_address(&format!("{good}/p2p/{peer}")), Ok(()));
    }
    for bad in [
        "",
        "localhost:1",
        "/ip4/127.0.0.1",
        "/ip4/1.2.3.4/udp/1",
        "/tcp/1",
        "/ip4/1.2.3.4/tcp/1/ws",
        "/ip4/1.2.3.4/tcp/1/p2p/x",
    ] {
        assert!(check_address(bad).is_err(), "{bad}");
    }
}

/// What a hostile peer writes on the control protocol instead of a frame.
#[derive(Debug, Clone)]
enum Poison {
    GiantLength,
    JunkBody,
    HalfAFrame,
    Bulk,
    Flood,
}

#[derive(Clone)]
struct Hostile;

impl request_response::Codec for Hostile {
    type Protocol = StreamProtocol;
    type Request = Poison;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<Poison> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        use futures::AsyncReadExt;
        let mut all = Vec::new();
        io.take(4096).read_to_end(&mut all).await?;
        if all.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(all) }
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        poison: Poison,
    ) -> io::Result<()> {
        let frame = |body: &[u8]| {
            let mut frame = (body.len() as u32).to_be_bytes().to_vec();
            frame.extend_from_slice(body);
            frame
        };
        let bytes = match poison {
            Poison::GiantLength => vec![0xff; 4],
            Poison::JunkBody => frame(&[0xa5; 300]),
            Poison::HalfAFrame => frame(&Request::Hello.encode())[..5].to_vec(),
            Poison::Bulk => {
                let chunk = chunk_id(&[1]);
                let contract = commonhold_format::ids::ContractId([1; 32]);
                frame(&Request::PutChunk { contract, chunk, bytes: Bytes::from_static(&[1]) }.encode())
            }
            Poison::Flood => frame(&Request::Hello.encode()),
        };
        io.write_all(&bytes).await?;
        if matches!(poison, Poison::HalfAFrame) {
            // Silence, and the stream stays open.
            io.flush().await?;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        io.close().await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_37_hostile_frames_and_floods_do_not_stop_honest_calls() {
    let target = node(60, &[TCP], &[]).await;
    let honest = node(61, &[TCP], &[]).await;
    honest.remember(target.node(), target.addresses());
    let mut attacker = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            request_response::Behaviour::with_codec(
                Hostile,
                [(StreamProtocol::new(CONTROL_PROTOCOL), ProtocolSupport::Outbound)],
                request_response::Config::default().with_max_concurrent_streams(2000),
            )
        })
        .unwrap()
        .build();
    let peer = PeerId::from_bytes(&target.node().to_peer_id_bytes()).unwrap();
    let address: Multiaddr = target.addresses()[0].parse().unwrap();
    attacker.dial(address).unwrap();
    let mut sent = 0;
    for poison in [Poison::GiantLength, Poison::JunkBody, Poison::HalfAFrame, Poison::Bulk] {
        attacker.behaviour_mut().send_request(&peer, poison);
        sent += 1;
    }
    for _ in 0..500 {
        attacker.behaviour_mut().send_request(&peer, Poison::Flood);
        sent += 1;
    }
    let (mut answered, mut failed) = (0, 0);
    let attack = async {
        while answered + failed < sent {
            match attacker.select_next_some().await {
                libp2p::swarm::SwarmEvent::Behaviour(request_response::Event::Message { .. }) => {
                    answered += 1
                }
                libp2p::swarm::SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. }) => {
                    failed += 1
                }
                _ => {}
            }
        }
    };
    let calls = async {
        for _ in 0..50 {
            assert_eq!(honest.call(target.node(), Request::Hello, LONG).await, Ok(Response::Done));
        }
    };
    tokio::join!(tokio::time::timeout(LONG, attack), calls).0.unwrap();
    // The four poisoned requests never got an answer; of the flood, what was answered was bounded.
    assert!(failed >= 4, "{failed} of {sent} failed");
    assert_eq!(honest.call(target.node(), Request::Hello, LONG).await, Ok(Response::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_37_more_requests_than_can_be_answered_are_refused_as_busy() {
    // Nobody takes requests off the queue here.
    let (stuck, _incoming) = node_at(70, &[TCP], &[]).await.unwrap();
    let caller = node(71, &[TCP], &[]).await;
    caller.remember(stuck.node(), stuck.addresses());
    assert!(caller.call(stuck.node(), Request::Hello, Duration::from_secs(1)).await.is_err());
    let target: NodeId = stuck.node();
    let calls = (0..127).map(|_| caller.call(target, Request::Hello, Duration::from_secs(3)));
    let outcomes = futures::future::join_all(calls).await;
    let more = caller.call(target, Request::Hello, Duration::from_secs(3)).await;
    let busy = |outcome: &Result<Response, CallError>| {
        matches!(outcome, Ok(Response::Refused { reason: Refusal::Busy, .. }))
    };
    assert!(outcomes.iter().filter(|outcome| !busy(outcome)).count() <= 128);
    assert!(busy(&more) || more.is_err());
}
