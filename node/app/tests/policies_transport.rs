//! A network of real processes under a transport plugin does what the plugin says, and without it what
//! the default says (spec/policy-transport.md).
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Devnet, Node, noise, signal, until};
use serde_json::Value;

/// Does what its configuration says; its source is beside it.
const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe-transport/probe.wasm");
const INSTALL: [&str; 6] = ["plugin", "install", PROBE, "--unsigned", "--grant", "config,log"];
const MIB: u64 = 1 << 20;
/// What the default waits before it asks one more source.
const DEFAULT_HEDGE: Duration = Duration::from_millis(1500);

fn devnet(dir: &Path) -> Devnet {
    Devnet::start(&dir.join("net"), &["--nodes", "6"])
}

fn traffic(net: &Devnet) -> Value {
    net.json(&["status"])["traffic"].clone()
}

/// Stores noise of this length and answers it.
fn put(net: &Devnet, dir: &Path, name: &str, len: u64) -> Vec<u8> {
    let (file, bytes) = (dir.join(name), noise(len as usize, 7));
    fs::write(&file, &bytes).unwrap();
    // Providers that were stopped for a while have to be found again first.
    until("a file is put", || net.owner(&["put", file.to_str().unwrap()]).status.success());
    bytes
}

/// Reads a file back; answers how long that took.
fn get(net: &Devnet, dir: &Path, name: &str, expected: &[u8]) -> Duration {
    let out = dir.join("out");
    let begun = Instant::now();
    net.ok(&["get", &format!("/{name}"), out.to_str().unwrap()]);
    let took = begun.elapsed();
    assert!(fs::read(&out).unwrap() == expected);
    fs::remove_file(&out).unwrap();
    took
}

#[test]
fn chunks_go_as_fast_as_the_plugin_says_and_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let film = put(&net, temp.path(), "film", 4 * MIB);
    let before = traffic(&net);
    assert!(before["sent_today_bytes"].as_u64() >= Some(8 * MIB), "{before}");
    assert_eq!(before["sent_this_month_bytes"], before["sent_today_bytes"]);
    assert_eq!(before["upload_limit_bytes_per_second"], Value::Null);
    assert_eq!(before["download_limit_bytes_per_second"], Value::Null);

    net.ok(&INSTALL);
    let set = ["plugin", "enable", "line-probe", "--set", "download=1048576", "--set", "upload=2097152"];
    net.ok(&set);
    until("the limits hold", || {
        let now = traffic(&net);
        now["download_limit_bytes_per_second"] == MIB && now["upload_limit_bytes_per_second"] == 2 * MIB
    });
    assert!(net.ok(&["status"]).contains("receiving at most 1.00 MiB per second"));
    // A quarter of a second's worth may have been left over, and the last chunk is paid for afterwards.
    let took = get(&net, temp.path(), "film", &film);
    assert!(took >= Duration::from_millis(2700), "4 MiB at 1 MiB/s in {took:?}");
    let received = traffic(&net)["received_today_bytes"].as_u64().unwrap();
    assert!(received >= before["received_today_bytes"].as_u64().unwrap() + 4 * MIB, "{received}");

    let sent = traffic(&net)["sent_today_bytes"].as_u64().unwrap();
    let begun = Instant::now();
    put(&net, temp.path(), "song", 2 * MIB);
    let took = begun.elapsed();
    let sent = traffic(&net)["sent_today_bytes"].as_u64().unwrap() - sent;
    let paid = Duration::from_secs_f64((sent - MIB) as f64 / (2 * MIB) as f64) - Duration::from_millis(300);
    assert!(took >= paid, "{sent} bytes at 2 MiB/s in {took:?}");

    net.ok(&["plugin", "disable", "line-probe"]);
    until("the limits are gone", || {
        let now = traffic(&net);
        now["download_limit_bytes_per_second"].is_null() && now["upload_limit_bytes_per_second"].is_null()
    });
}

/// Processes that are stopped go on when this is dropped.
struct Stopped(Vec<u32>);

impl Stopped {
    fn new(pids: &[u32]) -> Self {
        pids.iter().for_each(|pid| signal(*pid, "STOP"));
        Self(pids.to_vec())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| signal(*pid, "CONT"));
    }
}

#[test]
fn a_slow_provider_is_waited_for_as_long_as_the_plugin_says() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    // A segment can be read from the two that are left, and some begin with one that is not.
    let slow: Vec<u32> = (0..4).map(|number| net.pid(number)).collect();
    let hedged = || traffic(&net)["hedged_chunks"].as_u64().unwrap();
    // A file of its own for each read: what was fetched once stays at hand for a while.
    let reads = std::cell::Cell::new(0);
    let slow_read = || {
        reads.set(reads.get() + 1);
        let name = format!("film-{}", reads.get());
        let film = put(&net, temp.path(), &name, 8 * MIB);
        let before = hedged();
        let stopped = Stopped::new(&slow);
        let took = get(&net, temp.path(), &name, &film);
        drop(stopped);
        (took, hedged() - before)
    };
    let (took, more) = slow_read();
    assert!(took >= DEFAULT_HEDGE && more > 0, "{took:?}, {more} more");

    net.ok(&INSTALL);
    net.ok(&["plugin", "enable", "line-probe", "--set", "hedge_ms=20"]);
    // By default nothing more is asked for so soon.
    until("a read asks one more without waiting so long", || {
        let (took, more) = slow_read();
        took < DEFAULT_HEDGE && more > 0
    });
}

#[test]
fn peers_are_reached_over_what_the_plugin_wants() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let status = run_json(&net, 0);
    let addresses = status["addresses"].as_array().unwrap();
    let addresses: Vec<&str> = addresses.iter().map(|it| it.as_str().unwrap()).collect();
    assert!(
        addresses.iter().any(|it| it.contains("quic")) && addresses.iter().any(|it| it.contains("/tcp/"))
    );
    let mut flags = Vec::new();
    addresses.iter().for_each(|address| flags.extend(["--bootstrap", address]));
    let mut node = Node::init(&temp.path().join("guest"), &flags);
    let carried_by = |node: &Node, wanted: &str| {
        let peers = node.json(&["peers"]);
        let open: Vec<Value> =
            peers.as_array().unwrap().iter().filter(|peer| peer["connected"] == true).cloned().collect();
        open.len() >= 6 && open.iter().all(|peer| peer["transport"] == wanted)
    };
    node.up();
    node.ok(&INSTALL);
    node.ok(&["plugin", "enable", "line-probe", "--set", "only=1"]);
    node.stop();
    node.up();
    until("all peers are reached over QUIC", || carried_by(&node, "quic"));
    node.ok(&["plugin", "set", "line-probe", "only=2"]);
    node.stop();
    node.up();
    until("all peers are reached over TCP", || carried_by(&node, "tcp"));
}

/// The status of a provider.
fn run_json(net: &Devnet, number: usize) -> Value {
    common::api_of(&net.description["nodes"][number], "status")
}
