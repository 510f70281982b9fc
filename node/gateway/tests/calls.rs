//! Every endpoint through the typed client, refused parameters, and the bounds of the server.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{ENDLESS, Node, PATIENCE, until};
use commonhold_client::ClientError;
use commonhold_client::types::{AuditRequest, JSON_LEN_MAX, LEDGER_COUNT_MAX, LinkRequest, RepairRequest};
use commonhold_format::ids::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn every_endpoint_is_reached_with_what_the_client_said() {
    let node = Node::start().await;
    let client = &node.client;
    let peer = NodeId([7; 32]);
    let contract = "ab".repeat(32);
    node.fake.drive.put("/a/ä?&#%/b", b"1");
    node.fake.drive.put("/x y", b"2");
    client.status().await.unwrap();
    client.peers().await.unwrap();
    assert_eq!(client.list("/a/ä?&#%/b").await.unwrap().path, "/a/ä?&#%/b");
    client.get_archive("/x", Some(&peer.to_string())).await.unwrap();
    assert_eq!(client.remove("/x y", false).await.unwrap().path, "/x y");
    client.audit(&AuditRequest::default()).await.unwrap();
    client
        .audit(&AuditRequest { provider: Some(peer.to_string()), nonce: Some("01".repeat(32)) })
        .await
        .unwrap();
    client.repair(&RepairRequest { absent_after_seconds: Some(9) }).await.unwrap();
    assert_eq!(client.check_store().await.unwrap().findings[0].what, "pack 3");
    assert_eq!(client.compact_store().await.unwrap().deleted_bytes, 7);
    assert_eq!(client.scrub_store().await.unwrap_err().code(), Some("quarantined"));
    client.contracts().await.unwrap();
    client.inventory(&contract, 5).await.unwrap();
    client.ledger(3, LEDGER_COUNT_MAX).await.unwrap();
    assert_eq!(
        node.calls(),
        [
            "status".to_owned(),
            "peers".into(),
            "files /a/ä?&#%/b".into(),
            format!("get /x Some(NodeId({peer}))"),
            "remove /x y Bin".into(),
            "audit None None".into(),
            format!("audit Some(NodeId({peer})) Some({:?})", [1; 32]),
            "repair Some(9)".into(),
            "check store".into(),
            "compact store".into(),
            "scrub store".into(),
            "contracts".into(),
            format!("inventory {contract} 5"),
            "ledger 3 1000".into(),
        ]
    );
}

#[tokio::test]
async fn a_fault_arrives_with_its_word_and_sentence() {
    let node = Node::start().await;
    let failed = node.client.list("/none").await.unwrap_err();
    assert_eq!(failed.code(), Some("not_found"));
    assert_eq!(failed.to_string(), "/none is not in the drive");
}

#[tokio::test]
async fn parameters_that_are_not_valid_never_reach_the_node() {
    let node = Node::start().await;
    let long = "x".repeat(4097);
    let contract = "ab".repeat(32);
    for line in [
        "GET /v1/files".to_owned(),
        "GET /v1/files?path=/&pth=/".into(),
        "GET /v1/files?path=/a&path=/b".into(),
        "GET /v1/files?path=%FF".into(),
        "GET /v1/files?path=/%C3".into(),
        "GET /v1/files?path=/%".into(),
        "GET /v1/files?path=/%4".into(),
        "GET /v1/files?path=/%4g".into(),
        format!("GET /v1/files?path={long}"),
        format!("DELETE /v1/files?path={long}"),
        "DELETE /v1/files".into(),
        "PUT /v1/archive".into(),
        "PUT /v1/archive?to=/&name=x".into(),
        format!("PUT /v1/archive?to=/&as={long}"),
        "GET /v1/archive".into(),
        "GET /v1/archive?path=/&prefer=nobody".into(),
        "GET /v1/status?verbose=1".into(),
        "GET /v1/ledger?from=-1".into(),
        "GET /v1/ledger?from=18446744073709551616".into(),
        "GET /v1/ledger?count=1001".into(),
        "GET /v1/ledger?count=ten".into(),
        "GET /v1/contracts/xyz/inventory".into(),
        "GET /v1/contracts/%FF/inventory".into(),
        format!("GET /v1/contracts/{contract}/inventory?from=x"),
        format!("GET /v1/contracts/{}/inventory", contract.to_uppercase()),
    ] {
        let answer = node.request(&line, "", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{line}");
    }
    for (path, body) in [
        ("/v1/audits", ""),
        ("/v1/audits", "[]x"),
        ("/v1/audits", r#"{"provider": 1}"#),
        ("/v1/audits", r#"{"provider": "12D3KooW"}"#),
        ("/v1/audits", r#"{"nonce": "00"}"#),
        ("/v1/audits", r#"{"nonse": null}"#),
        ("/v1/audits", r#"{"nonce": null, "nonce": null}"#),
        ("/v1/repair", r#"{"absent_after_seconds": -1}"#),
        ("/v1/repair", r#"{"absent_after_seconds": 1.5}"#),
        ("/v1/repair", r#"{"absent_after_minutes": 1}"#),
    ] {
        let answer = node.post(path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{body}");
    }
    // A form, which any page may send anywhere without asking first.
    let form = "Content-Type: text/plain\r\nContent-Length: 2\r\n";
    assert_eq!(node.request("POST /v1/repair", form, "{}").await.code(), "invalid");
    assert!(node.calls().is_empty(), "{:?}", node.calls());
    assert_eq!(node.post("/v1/repair", "{}").await.status, 200);
    assert_eq!(node.post("/v1/audits", "{}").await.status, 200);
    assert_eq!(node.request("GET /v1/ledger", "", "").await.status, 200);
    assert_eq!(node.calls(), ["repair None", "audit None None", "ledger 0 100"]);
}

#[tokio::test]
async fn attack_25_a_json_body_is_bounded() {
    let node = Node::start().await;
    let padded = |len: usize| format!("{{{}}}", " ".repeat(len - 2));
    assert_eq!(node.post("/v1/audits", &padded(JSON_LEN_MAX)).await.status, 200);
    let answer = node.post("/v1/audits", &padded(JSON_LEN_MAX + 1)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let nested = format!("{{\"nonce\":{}", "[".repeat(JSON_LEN_MAX - 20));
    assert_eq!(node.post("/v1/audits", &nested).await.status, 400);
}

#[tokio::test]
async fn attack_37_a_giant_head_is_refused() {
    let node = Node::start().await;
    for more in [
        format!("X: {}\r\n", "x".repeat(33_000)),
        format!("X: {}\r\n", "x".repeat(9_000_000)),
        "X: y\r\n".repeat(70),
    ] {
        let mut stream = node.connect().await;
        let good = node.good_headers();
        // The node may have closed the connection before all of it was sent.
        let _ = stream.write_all(format!("GET /v1/status HTTP/1.1\r\n{good}{more}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{} bytes were waited with", more.len());
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
    assert!(node.calls().is_empty());
}

#[tokio::test]
async fn attack_37_a_half_sent_head_is_closed_and_others_are_served_meanwhile() {
    let node = Node::start().await;
    let mut silent = node.connect().await;
    let mut half = node.connect().await;
    half.write_all(b"GET /v1/status HTTP/1.1\r\nHost: ").await.unwrap();
    let begun = Instant::now();
    node.client.status().await.unwrap();
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut half] {
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_secs(8), "closed early");
    assert_eq!(node.calls(), ["status"]);
}

#[tokio::test]
async fn attack_37_connections_are_bounded_and_the_next_one_waits() {
    let node = Node::start().await;
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(node.connect().await);
    }
    // Let all of them be accepted before the one that should wait.
    sleep(Duration::from_millis(200)).await;
    let client = node.client.clone();
    let waiting = tokio::spawn(async move { client.status().await });
    sleep(Duration::from_millis(500)).await;
    assert!(node.calls().is_empty(), "a connection too many was served");
    held.pop();
    timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_is_gone() {
    let node = Node::start().await;
    let client = node.client.clone();
    let call = tokio::spawn(async move { client.repair(&RepairRequest::default()).await });
    until("the repair begins", || !node.calls().is_empty()).await;
    call.abort();
    until("the repair ends", || node.fake.repaired.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn attack_37_changes_without_clients_are_bounded_too() {
    let node = Node::start().await;
    // As many rounds as it takes until every place is taken by a call whose client has gone.
    for _ in 0..1000 {
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let client = node.client.clone();
                tokio::spawn(async move {
                    let endless = RepairRequest { absent_after_seconds: Some(ENDLESS) };
                    client.repair(&endless).await.map_err(|e| e.code().map(str::to_owned))
                })
            })
            .collect();
        sleep(Duration::from_millis(20)).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        if node.calls().len() >= 32 {
            break;
        }
    }
    assert_eq!(node.calls().len(), 32);
    let refused = node.client.repair(&RepairRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some("busy"));
    // Questions are still answered.
    node.client.status().await.unwrap();
}

#[tokio::test]
async fn a_call_that_panics_is_answered_and_harms_no_other() {
    let node = Node::start().await;
    let failed = node.client.put_archive("/panic", None, tokio::io::empty()).await.unwrap_err();
    assert_eq!(failed.code(), Some("internal"));
    // A question has no task of its own: its connection ends.
    let failed = node.client.list("/panic").await.unwrap_err();
    assert!(matches!(failed, ClientError::Interrupted(_)), "{failed:?}");
    node.client.status().await.unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_ends_idle_connections_at_once() {
    let mut node = Node::start().await;
    node.fake.drive.put("/slow/file", b"");
    // Idle from the start, and idle after a call.
    let idle = node.connect().await;
    let mut used = node.connect().await;
    let good = node.good_headers();
    used.write_all(format!("GET /v1/status HTTP/1.1\r\n{good}\r\n").as_bytes()).await.unwrap();
    used.read_exact(&mut [0; 12]).await.unwrap();
    let client = node.client.clone();
    let call = tokio::spawn(async move { client.list("/slow").await });
    until("the call begins", || node.calls().len() == 2).await;
    let (client, address) = (node.client.clone(), node.address);
    node.tell_to_stop();
    let begun = Instant::now();
    node.ended().await;
    // Connections that do something are waited for for five seconds; the idle ones were not.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(call.await.unwrap().unwrap().path, "/slow");
    assert!(matches!(client.status().await.unwrap_err(), ClientError::NotRunning), "{address}");
    drop((idle, used));
}

#[tokio::test]
async fn links_of_others_are_read_through_the_node() {
    let node = Node::start().await;
    node.fake.drive.put("/shared.txt", b"1");
    let asked = |link: &str, password: Option<&str>| LinkRequest {
        link: link.to_owned(),
        password: password.map(str::to_owned),
        ..LinkRequest::default()
    };
    assert_eq!(node.client.list_link(&asked("open#", None)).await.unwrap().entries[0].name, "shared.txt");
    for (link, password, code) in
        [("gone#", None, "gone"), ("locked#", None, "password"), ("locked#", Some("shut"), "forbidden")]
    {
        let error = node.client.list_link(&asked(link, password)).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    node.client.list_link(&asked("locked#", Some("open"))).await.unwrap();
    let mut archive = node.client.link_archive(&asked("open#", None)).await.unwrap();
    let mut read = Vec::new();
    archive.read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), 1 << 20);
    // One that breaks off never looks whole.
    let mut archive = node.client.link_archive(&asked("breaks#", None)).await.unwrap();
    assert!(archive.read_to_end(&mut Vec::new()).await.is_err());
    // The secret is in no request line, and in nothing that prints a request.
    assert_eq!(format!("{:?}", asked("secret", Some("word"))), "LinkRequest { path: None, .. }");
}
