//! What a node tells those who watch it: `/healthz`, `/readyz` and `/metrics`, held against spec/metrics.md.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use common::{Net, Node, noise, until};
use serde_json::Value;

const PAGE: &str = include_str!("../../../spec/metrics.md");

fn ask(address: &str, line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn api_address(node: &Node) -> String {
    fs::read_to_string(node.dir.join("api.url")).unwrap().trim().trim_start_matches("http://").to_owned()
}

fn get(node: &Node, path: &str) -> (u16, String) {
    let address = api_address(node);
    ask(&address, &format!("GET {path}"), &format!("Host: {address}\r\n"))
}

/// The samples of an answer of `/metrics`, by name and labels as they stand there.
fn samples(text: &str) -> BTreeMap<String, f64> {
    // The body is chunked or not; samples stand in lines of their own either way.
    let lines = text.lines().filter(|line| line.starts_with("commonhold_"));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

fn names(samples: &BTreeMap<String, f64>) -> BTreeSet<String> {
    samples.keys().map(|name| name.split('{').next().unwrap().to_owned()).collect()
}

/// The names of the page's table.
fn documented() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn what_nodes_show_is_what_the_page_says_and_nothing_secret() {
    let net = Net::start(&[]);
    net.put("payslip-4711.bin", &noise(3 << 20, 1));
    net.owner.json(&["audit", "now"]);
    net.owner.json(&["repair", "now"]);
    let settled = || {
        samples(&get(&net.owner, "/metrics").1)["commonhold_audits_total{role=\"owner\",outcome=\"passed\"}"]
            > 5.0
    };
    until("the audits are counted", settled);
    let provider = &net.providers[0];
    let stored = || samples(&get(provider, "/metrics").1)["commonhold_disk_chunks{state=\"kept\"}"] > 0.0;
    until("the chunks are counted", stored);
    let (owners, providers) = (get(&net.owner, "/metrics").1, get(provider, "/metrics").1);
    let (of_owner, of_provider) = (samples(&owners), samples(&providers));
    let shown = &names(&of_owner) | &names(&of_provider);
    assert_eq!(shown, documented());
    assert!(owners.contains("# EOF"));

    let all = |from: &BTreeMap<String, f64>, name: &str| -> f64 {
        let of = |it: &&String| it.split('{').next() == Some(name);
        from.keys().filter(of).map(|it| from[it]).sum()
    };
    let disk = all(&of_provider, "commonhold_disk_bytes");
    assert_eq!(
        disk,
        of_provider["commonhold_disk_allotted_bytes"] + of_provider["commonhold_disk_excess_bytes"]
    );
    assert!(all(&of_owner, "commonhold_segments") >= 1.0);
    assert_eq!(of_owner["commonhold_segments{state=\"complete\"}"], all(&of_owner, "commonhold_segments"));
    assert_eq!(of_owner["commonhold_ready"], 1.0);
    assert_eq!(of_owner["commonhold_providers{standing=\"good\"}"], 6.0);
    assert!(of_owner["commonhold_chunk_bytes_total{direction=\"sent\"}"] > f64::from(3 << 20));
    assert!(of_provider["commonhold_requests_total{kind=\"put\",outcome=\"served\"}"] > 0.0);
    assert!(of_provider["commonhold_audits_total{role=\"provider\",outcome=\"passed\"}"] >= 1.0);
    assert!(of_owner["commonhold_http_requests_total{interface=\"api\",status=\"2xx\"}"] > 0.0);
    assert!(of_owner.len() < 400 && of_provider.len() < 400);

    // Attack 19: nothing of whom, nor of what.
    let token = fs::read_to_string(net.owner.dir.join("api.token")).unwrap();
    let mut needles =
        vec!["payslip".to_owned(), token.trim().to_owned(), "/ip4/".to_owned(), "127.0.0.1".to_owned()];
    needles.push(net.owner.dir.display().to_string());
    for node in net.providers.iter().chain([&net.owner]) {
        let status = node.status();
        needles.extend(["peer_id", "party"].map(|what| status[what].as_str().unwrap().to_owned()));
    }
    let contracts: Value = net.owner.json(&["ledger", "balance"]);
    assert!(!contracts.is_null());
    for text in [&owners, &providers] {
        for needle in &needles {
            assert!(!text.contains(needle), "{needle} is shown");
        }
        let hex = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        assert!(hex < Some(32), "something like an id is shown");
    }
    // The operator's page says what each file of a data directory is.
    let page = include_str!("../../../spec/operating.md");
    for node in net.providers.iter().chain([&net.owner]) {
        for entry in fs::read_dir(&node.dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_named = |form: &String| page.contains(form.as_str());
            let forms = [format!("`{name}`"), format!("`{name}/`"), format!("`{name}/root.key`")];
            assert!(forms.iter().any(is_named), "{name} is on no page");
        }
    }
    // The dashboard reads these names alone.
    let dashboard: Value = serde_json::from_str(include_str!("../packaging/grafana.json")).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() > 15, "{}", queries.len());
    for query in &queries {
        let used = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used: Vec<&str> = used.filter(|word| word.starts_with("commonhold_")).collect();
        assert!(!used.is_empty(), "{query}");
        for name in used {
            assert!(shown.contains(name), "{name} of the dashboard is in no table");
        }
    }
}

/// Every `expr` of a dashboard.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, into));
        }
        Value::Array(all) => all.iter().for_each(|it| collect(it, into)),
        _ => {}
    }
}

#[test]
fn a_node_alone_is_healthy_and_not_ready_and_another_address_shows_the_same_three() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = Node::init(&temp.path().join("node"), &["--provide", "64 MiB"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let file = node.dir.join("commonhold.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("# listen = \"0.0.0.0:4783\"\n", &format!("listen = \"{free}\"\n")))
        .unwrap();
    node.set("names", "[\"node.lan\"]");
    node.up();
    assert_eq!(get(&node, "/healthz"), (200, "ok\n".to_owned()));
    let (status, why) = get(&node, "/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("no other node is connected"), "{why}");
    for host in [free.as_str(), "node.lan"] {
        for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/metrics", 200), ("/v1/status", 404)] {
            assert_eq!(ask(&free, &format!("GET {path}"), &format!("Host: {host}\r\n")).0, status, "{path}");
        }
    }
    assert_eq!(ask(&free, "GET /metrics", "Host: evil.example\r\n").0, 421);
    let at_api = api_address(&node);
    assert_eq!(ask(&at_api, "GET /metrics", "Host: node.lan\r\n").0, 421);
    assert_eq!(ask(&at_api, "GET /v1/status", &format!("Host: {at_api}\r\n")).0, 401);
    // A disk that is gone is an obstacle, too, and its folder is not named.
    node.stop();
    fs::rename(node.dir.join("store"), node.dir.join("elsewhere")).unwrap();
    node.up();
    until("the node says that it is in quarantine", || get(&node, "/readyz").1.contains("quarantine"));
    let (_, why) = get(&node, "/readyz");
    assert!(!why.contains(&*node.dir.to_string_lossy()), "{why}");
    until("the metrics say so", || samples(&get(&node, "/metrics").1)["commonhold_quarantined"] == 1.0);
}
