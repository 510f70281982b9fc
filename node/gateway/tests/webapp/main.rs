//! The owner's web app: who gets its files, and all of it in a real browser against a drive in memory.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{Fake, Node, TOKEN};
use tokio::net::TcpListener;

/// What a test needs is missing: said, and a failure where everything has to be there.
fn skipped(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing");
    println!("skipped: {what} is missing");
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn chromium() -> bool {
    let named = std::env::var("CHROMIUM").ok().into_iter();
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.chain(usual.map(str::to_owned)).any(|path| Path::new(&path).exists())
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Where screenshots go: beside what cargo builds, for people and for CI.
fn screenshots() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    built.parent().unwrap_or(built).join("screenshots").join("web")
}

#[tokio::test]
async fn attack_40_the_apps_files_need_the_right_host_and_no_token() {
    let node = Node::start().await;
    let host = node.address;
    let plain = |path: &str, host: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")
    };
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app/main.js", "text/javascript; charset=utf-8"),
        ("/app/common.css", "text/css; charset=utf-8"),
        ("/app/icon.svg", "image/svg+xml"),
    ] {
        let answer = node.raw(&plain(path, &host.to_string(), "")).await;
        assert_eq!(answer.status, 200, "{path}");
        for header in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cross-origin-opener-policy: same-origin",
        ] {
            assert!(answer.head.contains(header), "{path} has no {header}: {}", answer.head);
        }
        assert_eq!(answer.head.matches("content-security-policy:").count(), 1);
        assert!(!answer.body.contains(TOKEN));
        // A name that resolves to this machine, another site's page, and its iframes and scripts.
        let rebound = node.raw(&plain(path, &format!("evil.example:{}", host.port()), "")).await;
        assert_eq!((rebound.status, rebound.code().as_str()), (421, "wrong_host"));
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            let answer = node.raw(&plain(path, &host.to_string(), foreign)).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "foreign_origin"), "{foreign}");
        }
    }
    // Nothing else got easier: neither other methods, nor what looks like a file of the app.
    for (path, status) in [
        ("/app/none.js", 404),
        ("/app/../v1/status", 404),
        ("/app/%2e%2e/v1/status", 404),
        ("/app//v1/status", 404),
        ("/app", 401),
        ("/v1/status", 401),
        ("/index.html", 401),
        ("//app/main.js", 401),
    ] {
        assert_eq!(node.raw(&plain(path, &host.to_string(), "")).await.status, status, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let request = plain("/", &host.to_string(), "").replacen("GET", method, 1);
        assert_eq!(node.raw(&request).await.status, 401, "{method}");
    }
    // A link from elsewhere leads to the page, as a page of its own and in no other way.
    let visit = |path: &str, mode: &str, dest: &str, more: &str| {
        plain(
            path,
            &host.to_string(),
            &format!(
                "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n{more}"
            ),
        )
    };
    assert_eq!(node.raw(&visit("/", "navigate", "document", "")).await.status, 200);
    for (path, mode, dest, more) in [
        ("/", "navigate", "iframe", ""),
        ("/", "no-cors", "document", ""),
        ("/", "cors", "empty", ""),
        ("/", "navigate", "document", "Origin: http://evil.example\r\n"),
        ("/", "navigate", "document", "Sec-Fetch-Dest: document\r\n"),
        ("/app/main.js", "navigate", "document", ""),
        ("/v1/status", "navigate", "document", ""),
    ] {
        let answer = node.raw(&visit(path, mode, dest, more)).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "foreign_origin"), "{path} {mode} {dest}");
    }
    assert!(node.calls().is_empty());
}

/// Runs a script of the browser tests. On its output, `@stop` and `@start` do that to the node; `@hold BYTES
/// PATH` has what is read at a path stand still after so many bytes, until `@free PATH`, and `@break BYTES PATH`
/// has it fail there.
fn run_script(script: &str, node: Node) {
    let fake = node.fake.clone();
    let address = node.address;
    let shots = screenshots();
    std::fs::create_dir_all(&shots).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut child = Command::new("node")
        .arg(scripts().join(script))
        .args([&*shots, scratch.path()])
        .env("COMMONHOLD_WEB_LINK", format!("http://{address}/#token={TOKEN}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = child.stdin.take().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let runtime = tokio::runtime::Handle::current();
    let mut node = Some(node);
    for line in said.lines() {
        let line = line.unwrap();
        match line.as_str() {
            "@stop" => {
                let mut node = node.take().unwrap();
                node.tell_to_stop();
                runtime.block_on(node.ended());
                writeln!(told, "stopped").unwrap();
            }
            "@start" => {
                let fake: Arc<Fake> = fake.clone();
                node = Some(runtime.block_on(async {
                    Node::start_on(TcpListener::bind(address).await.unwrap(), fake).await
                }));
                writeln!(told, "started").unwrap();
            }
            _ if line.starts_with('@') => {
                let (order, rest) = line[1..].split_once(' ').unwrap();
                let numbered =
                    rest.split_once(' ').and_then(|(bytes, path)| Some((bytes.parse().ok()?, path)));
                match (order, numbered) {
                    ("hold", Some((bytes, path))) => fake.drive.hold_after(path, bytes),
                    ("break", Some((bytes, path))) => fake.drive.break_after(path, bytes),
                    ("free", _) => fake.drive.let_go(rest),
                    _ => panic!("{line}: no such order"),
                }
                writeln!(told, "done").unwrap();
            }
            _ => println!("{line}"),
        }
    }
    assert!(child.wait().unwrap().success(), "{script} failed: see its output above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_in_a_real_browser() {
    if !is_there("node") {
        return skipped("Node.js, which drives the browser,");
    }
    if !chromium() {
        return skipped("Chromium");
    }
    let node = fixture::node().await;
    tokio::task::spawn_blocking(move || run_script("webapp.test.mjs", node)).await.unwrap();
}

#[test]
fn qr_codes_and_md5_are_what_other_programs_say() {
    if !is_there("node") {
        return skipped("Node.js");
    }
    if !is_there("zbarimg") {
        return skipped("zbarimg, which reads QR codes,");
    }
    let scratch = tempfile::tempdir().unwrap();
    let ran =
        Command::new("node").arg(scripts().join("webapp.units.mjs")).arg(scratch.path()).status().unwrap();
    assert!(ran.success());
}
