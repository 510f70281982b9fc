//! The owner's web app and the pages of links over real nodes, in a real browser: what is uploaded through the
//! app comes out of a link's page byte for byte, also when two of six providers are gone.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Devnet, PROGRAM};
use serde_json::json;

const WALK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/browser/webreal.test.mjs");
const BROWSERS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// What the test needs and this machine lacks.
fn missing() -> Option<&'static str> {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Some("Node.js, which drives the browser,");
    }
    let named = std::env::var("CHROMIUM").ok();
    let there = named.as_deref().into_iter().chain(BROWSERS).any(|path| Path::new(path).exists());
    (!there).then_some("Chromium")
}

/// The link that `commonhold web` prints, if that is a link that a browser can open.
fn printed_link(net: &Devnet) -> String {
    let printed = net.ok(&["web"]);
    let (link, rest) = printed.split_once('\n').unwrap();
    let (url, token) = link.split_once("/#token=").unwrap();
    assert_eq!(url, net.description["owner"]["api"].as_str().unwrap());
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(token.len(), 64, "the token has another form");
    assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()), "the token has another form");
    // Who reads this far is told what the link is worth.
    assert!(rest.contains("Open this link") && rest.contains("do not pass it on"), "{rest}");
    assert_eq!(net.json(&["web"])["url"], link);
    link.to_owned()
}

#[test]
fn the_drive_in_a_browser_outlives_two_of_six_providers() {
    if let Some(what) = missing() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} is missing");
        println!("skipped: {what} is missing");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let shots = built.parent().unwrap_or(built).join("screenshots").join("webreal");
    fs::create_dir_all(&shots).unwrap();
    let scratch = temp.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let plan = scratch.join("plan.json");
    let known = json!({
        "program": PROGRAM,
        "dir": net.dir.join("owner"),
        "gateway": net.description["owner"]["gateway"],
        // These two are killed.
        "victims": [net.pid(1), net.pid(4)],
    });
    fs::write(&plan, known.to_string()).unwrap();
    let walked = Command::new("node")
        .arg(WALK)
        .args([&shots, &scratch])
        .env("COMMONHOLD_WEB_LINK", printed_link(&net))
        .env("PLAN", &plan)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(walked.success(), "see the output above for what failed");
}
