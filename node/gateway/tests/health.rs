//! What watches a node: open without the token, to nobody else's pages, and nothing beside it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Fake, Node};
use commonhold_gateway::{RequestCounts, serve_health};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

async fn status(node: &Node, line: &str, headers: &str) -> u16 {
    node.raw(&format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await.status
}

#[tokio::test]
async fn attack_40_what_watches_needs_no_token_and_opens_nothing_else() {
    let node = Node::start().await;
    let host = format!("Host: {}\r\n", node.address);
    for path in OPEN {
        assert_eq!(status(&node, &format!("GET {path}"), &host).await, 200, "{path}");
        // A wrong token is not asked for either.
        let wrong = format!("{host}Authorization: Bearer wrong\r\n");
        assert_eq!(status(&node, &format!("GET {path}"), &wrong).await, 200, "{path}");
        for line in [
            format!("POST {path}"),
            format!("HEAD {path}"),
            format!("PUT {path}"),
            format!("GET {path}/"),
            format!("GET /{path}"),
            format!("GET {path}/../v1/status"),
            format!("GET {}", path.to_uppercase()),
        ] {
            assert_eq!(status(&node, &line, &host).await, 401, "{line}");
        }
        assert_eq!(status(&node, &format!("GET {path}?x=1"), &host).await, 400, "{path}");
        let foreign = [
            ("Host: evil.example\r\n".to_owned(), 421),
            (format!("Host: evil.example:{}\r\n", node.address.port()), 421),
            (format!("{host}Origin: https://evil.example\r\n"), 403),
            (format!("{host}Origin: null\r\n"), 403),
            (format!("{host}Sec-Fetch-Site: cross-site\r\n"), 403),
            (
                format!(
                    "{host}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
                ),
                403,
            ),
        ];
        for (headers, code) in foreign {
            assert_eq!(status(&node, &format!("GET {path}"), &headers).await, code, "{path} {headers}");
        }
        let old = format!("GET {path} HTTP/1.0\r\n{host}\r\n");
        assert_eq!(node.raw(&old).await.status, 505);
    }
    assert!(node.calls().is_empty());
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_in_lines() {
    let node = Node::start().await;
    *node.fake.obstacles.lock().unwrap() =
        vec!["no other node\r\nis connected".to_owned(), "it is full".to_owned()];
    let ask =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", node.address);
    let answer = node.raw(&ask("/readyz")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "no other node  is connected\nit is full\n");
    assert_eq!(node.raw(&ask("/healthz")).await.body, "ok\n");
}

#[tokio::test]
async fn attack_40_another_address_has_these_three_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(RequestCounts::default());
    let fake = Arc::new(Fake::default());
    let names = vec!["node.lan".to_owned()];
    let served =
        tokio::spawn(serve_health(listener, fake.clone(), names, counts.clone(), std::future::pending()));
    let ask = async |request: String| -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let line = async |line: &str, headers: &str| -> u16 {
        let answer = ask(format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    };
    for path in OPEN {
        for host in [address.to_string(), "node.lan:80".to_owned(), "192.0.2.1".to_owned()] {
            assert_eq!(
                line(&format!("GET {path}"), &format!("Host: {host}\r\n")).await,
                200,
                "{path} {host}"
            );
        }
        assert_eq!(line(&format!("GET {path}"), "Host: evil.example\r\n").await, 421);
        assert_eq!(line(&format!("GET {path}"), "").await, 421);
        assert_eq!(
            line(&format!("GET {path}"), "Host: node.lan\r\nOrigin: http://evil.example\r\n").await,
            403
        );
        assert_eq!(line(&format!("POST {path}"), "Host: node.lan\r\n").await, 405);
        assert_eq!(line(&format!("HEAD {path}"), "Host: node.lan\r\n").await, 405);
    }
    let token = format!("Host: node.lan\r\nAuthorization: Bearer {}\r\n", common::TOKEN);
    for path in ["/v1/status", "/", "/app/", "/v1/files?path=/", "/v1/tickets/x"] {
        assert_eq!(line(&format!("GET {path}"), &token).await, 404, "{path}");
    }
    assert!(fake.calls.lock().unwrap().is_empty());
    let [fine, _, refused, failed] = counts.answered();
    assert_eq!((fine, failed), (9, 0));
    assert!(refused >= 20, "{refused}");
    served.abort();
}
