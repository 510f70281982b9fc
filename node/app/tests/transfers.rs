//! What a transfer does when something is in its way: files that are being written, names that no drive
//! takes, a command or a node that is killed.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use common::{Devnet, Net, PROGRAM, noise, until};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn paths(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it.as_str().or(it["path"].as_str()).unwrap()).collect()
}

/// What a command prints as JSON that must end with status 1 all the same.
fn partly(net: &Devnet, arguments: &[&str]) -> Value {
    let output = net.owner(&[&["--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nothing_is_removed_for_good_unasked() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let file = temp.path().join("file");
    fs::write(&file, b"kept").unwrap();
    net.ok(&["put", text(&file)]);
    assert!(net.refused(&["rm", "--forever", "/file"]).contains("-y"));
    assert_eq!(net.ok(&["cat", "/file"]), "kept");
    net.ok(&["rm", "/file"]);
    assert!(net.refused(&["bin", "empty"]).contains("-y"));
    assert_eq!(net.json(&["bin", "list"])["items"].as_array().unwrap().len(), 1);
    let key = net.json(&["s3", "key", "new"]);
    assert!(net.refused(&["s3", "key", "remove", key["access_key"].as_str().unwrap()]).contains("-y"));
    assert_eq!(net.json(&["bin", "empty", "-y"])["items"], 1);
}

#[test]
fn what_cannot_be_stored_is_left_out_and_named() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let root = temp.path().join("letters");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("good"), b"good").unwrap();
    std::os::unix::fs::symlink("good", root.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    // Links and pipes are named, and are no failure.
    let put = net.json(&["put", "-r", text(&root)]);
    assert_eq!(paths(&put["skipped"]), [text(&root.join("link")), text(&root.join("pipe"))]);
    assert_eq!((&put["failed"], &put["files"]), (&serde_json::json!([]), &1.into()));

    for name in [&b"new\nline"[..], b"tab\t", b"esc\x1b[2J", "turn\u{202e}".as_bytes(), b"\xff\xfe"] {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), b"bad").unwrap();
    }
    fs::write(root.join("also good"), b"good").unwrap();
    let put = partly(&net, &["put", "-r", text(&root)]);
    assert_eq!(put["failed"].as_array().unwrap().len(), 5, "{put}");
    assert_eq!(put["skipped"].as_array().unwrap().len(), 7, "{put}");
    assert!(put["skipped"].as_array().unwrap().iter().all(|it| !it["why"].as_str().unwrap().is_empty()));
    assert_eq!(net.ok(&["cat", "/letters/also good"]), "good");
    assert_eq!(partly(&net, &["sync", text(&root)])["failed"].as_array().unwrap().len(), 5);
}

#[test]
fn a_file_that_is_being_written_stops_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let root = temp.path().join("work");
    fs::create_dir(&root).unwrap();
    for number in 0..50 {
        fs::write(root.join(format!("file-{number}")), noise(9_000, number)).unwrap();
    }
    let large = root.join("disk");
    fs::write(&large, noise(20 << 20, 92)).unwrap();
    fs::write(root.join("other large"), noise(9 << 20, 93)).unwrap();
    let stop = AtomicBool::new(false);
    let file = File::options().append(true).open(&large).unwrap();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(number)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let output = net.owner(&["--json", "put", "-r", text(&root)]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    assert_eq!(paths(&report["failed"]), [text(&large)]);
    assert_eq!(report["files"], 51);
    assert!(net.refused(&["cat", "/work/disk"]).contains("/work/disk"));
    assert_eq!(net.json(&["drive", "uploads"])["uploads"], serde_json::json!([]));
    // At rest, it comes with the next one, and nothing else does.
    let synced = net.json(&["sync", text(&root)]);
    assert_eq!((&synced["files"], &synced["unchanged_files"]), (&1.into(), &51.into()));
}

fn begin(net: &Net, arguments: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.arg("--data-dir").arg(&net.owner.dir).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Chunks' bytes that the owner has sent.
fn sent(net: &Net) -> u64 {
    net.owner.status()["traffic"]["sent_today_bytes"].as_u64().unwrap()
}

#[test]
fn what_is_killed_costs_little_of_what_was_sent() {
    let mut net = Net::start(&[]);
    let root = net.temp.path().join("pictures");
    fs::create_dir(&root).unwrap();
    for number in 0..160 {
        fs::write(root.join(format!("small-{number}")), noise(256 << 10, number)).unwrap();
    }
    for number in 0..4 {
        fs::write(root.join(format!("large-{number}")), noise(12 << 20, 200 + number)).unwrap();
    }
    let content = 88 * MIB;
    // What a byte of a file takes of the line.
    let before = sent(&net);
    net.put("sample", &noise(16 << 20, 250));
    let begun = sent(&net);
    let on_the_line = |bytes: u64| (begun - before) * (bytes / MIB) / 16;

    let sync = ["sync", text(&root), "/pictures"].map(str::to_owned);
    let sync = sync.each_ref().map(String::as_str);
    let mut command = begin(&net, &sync);
    until("a part is sent", || sent(&net) > begun + on_the_line(30 * MIB));
    command.kill().unwrap();
    assert!(!command.wait().unwrap().success(), "it was done before it was killed");

    let mut command = begin(&net, &sync);
    let again = sent(&net);
    until("more is sent", || sent(&net) > again + on_the_line(32 * MIB));
    let first = sent(&net) - begun;
    net.owner.kill();
    assert!(!command.wait().unwrap().success(), "it was done before its node was killed");
    net.owner.up();
    net.wait_for_providers();
    let restarted = sent(&net);
    let synced = net.owner.json(&sync);
    assert_eq!(synced["failed"], serde_json::json!([]), "{synced}");
    let all = first + sent(&net) - restarted;
    assert!(
        all < on_the_line(content + 2 * 20 * MIB),
        "{} MiB were sent of {}, and two interruptions may cost 16 MiB each",
        all / MIB,
        on_the_line(content) / MIB
    );
    let out = net.temp.path().join("out");
    net.owner.ok(&["get", "-r", "/pictures", text(&out)]);
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        assert!(fs::read(&path).unwrap() == fs::read(out.join(path.file_name().unwrap())).unwrap());
    }
}
