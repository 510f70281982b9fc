//! Real S3 clients, driven by `clients/s3_clients.py`, against the interface over a drive in memory.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/s3.rs"]
mod s3;

use std::process::Stdio;

use memory::Memory;
use s3::{ACCESS, SECRET, Server};
use tokio::process::Command;

/// The Python that has boto3; another one than `python3` where the environment says so.
fn python() -> String {
    std::env::var("S3_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_do_all_they_can() {
    let found = Command::new(python()).arg("--version").stdout(Stdio::null()).status().await;
    if !found.is_ok_and(|status| status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "python3 is missing");
        eprintln!("skipped: python3 is not installed, and with it no S3 client is tried");
        return;
    }
    let drive = Memory::new();
    let server = Server::start(drive.clone()).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/s3_clients.py");
    let endpoint = format!("http://{}", server.address);
    let only = std::env::var("S3_CLIENTS_ONLY").unwrap_or_default();
    let ended = Command::new(python())
        .args([script, "all", &endpoint, "--only", &only])
        .env("S3_ACCESS_KEY", ACCESS)
        .env("S3_SECRET_KEY", SECRET)
        .status()
        .await
        .unwrap();
    assert!(ended.success(), "see above which client failed");
    server.stop().await;
}
