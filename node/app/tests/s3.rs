//! S3 over real nodes with real clients: everything is stored by each of them, two of six providers are
//! killed, and each reads back what it stored, byte for byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Devnet, signal};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/clients/s3_clients.py");

fn python() -> String {
    std::env::var("S3_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[test]
fn what_clients_store_is_there_after_two_of_six_providers_are_gone() {
    let has_boto3 = Command::new(python()).args(["-c", "import boto3"]).output();
    if !has_boto3.is_ok_and(|output| output.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "boto3 is missing");
        println!("skipped: Python or boto3 is missing, and with it the clients of S3");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let key = net.json(&["s3", "key", "new", "clients"]);
    let endpoint = key["endpoint"].as_str().unwrap().to_owned();
    let clients = |mode: &str| {
        let done = Command::new(python())
            .arg(Path::new(CLIENTS))
            .args([mode, &endpoint, "--large", "12"])
            .env("S3_ACCESS_KEY", key["access_key"].as_str().unwrap())
            .env("S3_SECRET_KEY", key["secret_key"].as_str().unwrap())
            .status()
            .unwrap();
        assert!(done.success(), "{mode}");
    };
    clients("prepare");
    clients("verify");
    for number in [1, 4] {
        signal(net.pid(number), "KILL");
    }
    clients("verify");
}
