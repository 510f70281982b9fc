//! Attack 19: what the gateway says while links are made, opened and served. It is alone in its file, because
//! the log of a whole process is looked at.
#![allow(clippy::unwrap_used)]

mod common;
mod links;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::Node;
use commonhold_client::types::{LinkRequest, ShareRequest};
use commonhold_format::link::LinkUrl;
use commonhold_gateway::Budgets;
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use links::owner::{Owner, Terms};
use links::{Gateway, Vault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a secret could be written.
fn forms(secret: &[u8], text: &str) -> Vec<String> {
    let listed = format!("{:?}", &secret[..8]);
    vec![
        text.to_owned(),
        HEXLOWER.encode(secret),
        HEXUPPER.encode(secret),
        BASE64.encode(secret),
        listed.trim_matches(['[', ']']).to_owned(),
    ]
}

/// A visitor's request, and what came back.
async fn visit(gateway: &Gateway, method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        gateway.address,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_19_no_secret_of_a_link_is_logged_or_answered_to_a_visitor() {
    const PASSWORD: &str = "swordfish and chips";
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    // The owner's own interface: a share is made, shown and taken back; a link is opened, rightly and wrongly.
    let node = Node::start().await;
    node.fake.drive.put("/docs/a", b"1");
    let request =
        ShareRequest { path: "/docs".into(), password: Some(PASSWORD.into()), ..ShareRequest::default() };
    let share = node.client.share(&request).await.unwrap();
    node.client.shares().await.unwrap();
    let secret = LinkUrl::parse(&share.link).unwrap().secret;
    for link in [share.link.clone(), format!("{}!", share.link), share.link[3..].to_owned()] {
        let request = LinkRequest { link, password: Some(PASSWORD.into()), ..LinkRequest::default() };
        let _ = node.client.list_link(&request).await;
        let _ = node.client.link_archive(&request).await;
    }
    node.client.unshare(&share.id).await.unwrap();

    // The public side: a page, its record, a segment that is not of the link, a drop box that is none.
    let vault = Arc::new(Vault::default());
    let gateway = Gateway::start(vault.clone(), Budgets::default()).await;
    let owner = Owner::new(vault);
    let item = owner.file("a.bin", &[&[7; 5000]]);
    let url = owner.share(&item, &Terms::default(), &gateway.base());
    let link = LinkUrl::parse(&url).unwrap();
    let path = format!("/s/{}", link.id);
    let mut answers = Vec::new();
    for (method, target, body) in [
        ("GET", path.clone(), &b""[..]),
        ("GET", format!("{path}/record"), b""),
        ("GET", format!("/s/{}/record", "A".repeat(43)), b""),
        ("POST", format!("{path}/segment"), b"\x84"),
        ("POST", format!("{path}/drop"), b"sealed"),
    ] {
        answers.extend(visit(&gateway, method, &target, body).await);
    }
    gateway.stop().await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a visitor of a link was refused"), "the log was recorded");
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.contains("200 OK") && answers.contains("404 Not Found"));
    let mut secrets = forms(&*link.secret.0, &link.secret.to_text());
    secrets.extend(forms(&*secret.0, &secret.to_text()));
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "a link's secret is in the log");
        assert!(!answers.contains(secret.as_str()), "a link's secret was answered to a visitor");
    }
    assert!(!log.contains(PASSWORD), "a link's password is in the log");
}
