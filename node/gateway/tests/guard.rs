//! Who gets in and who does not, over a real socket.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Fake, Node, TOKEN};
use commonhold_client::{Client, ClientError};
use commonhold_gateway::{Token, serve};
use tokio::net::TcpListener;

const ROUTES: [&str; 14] = [
    "GET /v1/status",
    "GET /v1/peers",
    "GET /v1/files?path=/",
    "PUT /v1/archive?to=/",
    "GET /v1/archive?path=/x",
    "DELETE /v1/files?path=/x",
    "POST /v1/audits",
    "POST /v1/repair",
    "POST /v1/store/check",
    "POST /v1/store/compact",
    "POST /v1/store/scrub",
    "GET /v1/contracts",
    "GET /v1/ledger",
    "GET /v1/no-such-endpoint",
];

#[tokio::test]
async fn attack_40_nothing_is_answered_without_the_token() {
    let node = Node::start().await;
    let bad = [
        String::new(),
        "Authorization: Bearer\r\n".into(),
        "Authorization: Bearer \r\n".into(),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: Bearer {}\r\n", &TOKEN[..63]),
        format!("Authorization: Bearer {TOKEN}0\r\n"),
        format!("Authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("Authorization: Bearer  {TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"),
        format!("X-Token: {TOKEN}\r\nCookie: token={TOKEN}\r\n"),
    ];
    for route in ROUTES {
        for headers in &bad {
            let host = node.address;
            let request = format!("{route} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
            let answer = node.raw(&request).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{request}");
            assert!(!answer.body.contains(TOKEN));
        }
    }
    assert!(node.calls().is_empty());
    let stranger = Client::new(&format!("http://{}", node.address), &"f".repeat(64)).unwrap();
    assert_eq!(stranger.status().await.unwrap_err().code(), Some("unauthorized"));
}

#[tokio::test]
async fn attack_40_a_rebound_name_is_refused_even_with_the_token() {
    let node = Node::start().await;
    let port = node.address.port();
    let hosts = [
        String::new(),
        "Host: evil.example\r\n".into(),
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: localhost.evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".into(),
        "Host: 127.0.0.1:1\r\n".into(),
        format!("Host: 0.0.0.0:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"),
    ];
    for host in hosts {
        let answer = node
            .raw(&format!(
                "GET /v1/status HTTP/1.1\r\n{host}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!((answer.status, answer.code().as_str()), (421, "wrong_host"), "{host}");
    }
    // A request line with a whole URL must say the same as Host.
    let answer = node.request("GET http://evil.example/v1/status", "", "").await;
    assert_eq!(answer.code(), "wrong_host");
    assert!(node.calls().is_empty());
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let answer = node
            .raw(&format!(
                "GET /v1/status HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn attack_40_pages_of_other_sites_are_refused_even_with_the_token() {
    let node = Node::start().await;
    let own = node.address;
    let bad = [
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".into(),
        "Origin: \r\n".into(),
        format!("Origin: https://{own}\r\n"),
        format!("Origin: http://{own}.evil.example\r\n"),
        format!("Origin: http://localhost:{}\r\n", own.port()),
        "Origin: http://127.0.0.1:1\r\n".into(),
        "Origin: http://127.0.0.1\r\n".into(),
        format!("Origin: http://{own}\r\nOrigin: http://evil.example\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".into(),
        "Sec-Fetch-Site: same-site\r\n".into(),
    ];
    for header in bad {
        for route in ROUTES {
            let answer = node.request(route, &header, "").await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "foreign_origin"), "{header}");
        }
    }
    assert!(node.calls().is_empty());
    let good = format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(node.request("GET /v1/status", &good, "").await.status, 200);
}

#[tokio::test]
async fn attack_40_no_answer_opens_the_api_to_other_sites() {
    let node = Node::start().await;
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n\
                     Access-Control-Request-Headers: authorization\r\n";
    let answers = [
        node.request("GET /v1/status", "", "").await,
        node.request("GET /v1/files?path=/none", "", "").await,
        node.request("GET /v1/archive?path=/empty", "", "").await,
        node.request("GET /nowhere", "", "").await,
        node.request("PATCH /v1/status", "", "").await,
        node.request("OPTIONS /v1/status", "", "").await,
        node.request("OPTIONS /v1/status", preflight, "").await,
        node.request("HEAD /v1/status", "", "").await,
        node.raw(&format!(
            "OPTIONS /v1/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            node.address
        ))
        .await,
    ];
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 200, 404, 405, 405, 403, 405, 401]);
    for answer in answers {
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
        assert!(answer.head.contains("cross-origin-resource-policy: same-origin"), "{}", answer.head);
        assert!(answer.head.contains("default-src 'none'"), "{}", answer.head);
    }
}

#[tokio::test]
async fn old_http_is_refused_because_its_answers_have_no_end() {
    let node = Node::start().await;
    let good = node.good_headers();
    let answer = node.raw(&format!("GET /v1/archive?path=/breaks HTTP/1.0\r\n{good}\r\n")).await;
    assert_eq!((answer.status, answer.code().as_str()), (505, "http_version"));
}

#[tokio::test]
async fn serve_refuses_what_would_not_be_safe() {
    let nowhere = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
    for token in ["", "short", &" ".repeat(64)] {
        let served = serve(
            nowhere().await,
            Token::new(token.into()),
            Arc::new(Fake::default()),
            Arc::default(),
            async {},
        )
        .await;
        assert_eq!(served.unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{token:?}");
    }
    let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served =
        serve(open, Token::new(TOKEN.into()), Arc::new(Fake::default()), Arc::default(), async {}).await;
    assert_eq!(served.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_client_without_the_right_token_reads_so_even_while_it_uploads() {
    let node = Node::start().await;
    let stranger = Client::new(&format!("http://{}", node.address), &"f".repeat(64)).unwrap();
    for _ in 0..5 {
        let source = common::Source { left: 64 * common::MIB, fails: false, produced: Arc::default() };
        let refused = stranger.put_archive("/x", None, source).await.unwrap_err();
        assert!(matches!(refused, ClientError::Api { status: 401, .. }), "{refused:?}");
    }
}
