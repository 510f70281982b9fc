//! The command line against a local network of real processes, as other programs drive it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Devnet, PROGRAM, api_of, noise, run, signal};
use serde_json::Value;

fn is_running(pid: u32) -> bool {
    // A zombie's parent is gone too once devnet has ended, so what is left here is alive.
    Path::new(&format!("/proc/{pid}")).exists()
}

/// One answer of the owner's local API, asked as any other program would.
fn api(net: &Devnet, what: &str) -> Value {
    api_of(&net.description["owner"], what)
}

fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>, u32)> {
    let mut found: Vec<_> = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(Result::unwrap)
        .map(|entry| {
            let bytes = if entry.file_type().is_file() { fs::read(entry.path()).unwrap() } else { vec![] };
            let mode = entry.metadata().unwrap().permissions().mode() & 0o100;
            (entry.path().strip_prefix(dir).unwrap().to_owned(), bytes, mode)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn files_survive_the_death_of_four_providers() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    assert_eq!(net.description["nodes"].as_array().unwrap().len(), 6);
    for node in net.description["nodes"].as_array().unwrap().iter().chain([&net.description["owner"]]) {
        for key in ["role", "peer_id", "pid", "data_dir", "api", "token_file"] {
            assert!(!node[key].is_null(), "{key} is missing: {node}");
        }
        let token = fs::metadata(node["token_file"].as_str().unwrap()).unwrap();
        assert_eq!(token.permissions().mode() & 0o777, 0o600);
    }

    // A folder with what trips file systems up.
    let source = temp.path().join("letters");
    fs::create_dir_all(source.join("empty")).unwrap();
    fs::create_dir_all(source.join("deep/er/still")).unwrap();
    fs::write(source.join("nothing"), b"").unwrap();
    fs::write(source.join("Grüße ☀.txt"), b"hello").unwrap();
    fs::write(source.join("inline"), noise(4096, 1)).unwrap();
    fs::write(source.join("packed"), noise(4097, 2)).unwrap();
    fs::write(source.join("deep/er/still/large"), noise(5_000_001, 3)).unwrap();
    fs::write(source.join("tool"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(source.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();

    assert_eq!(net.ok(&["put", "-r", source.to_str().unwrap()]).trim(), "/letters");
    let single = temp.path().join("single.bin");
    fs::write(&single, noise(3 << 20, 4)).unwrap();
    assert_eq!(
        net.ok(&["put", single.to_str().unwrap(), "--to", "/letters/renamed.bin"]).trim(),
        "/letters/renamed.bin"
    );
    fs::copy(&single, source.join("renamed.bin")).unwrap();

    let listing = net.json(&["ls", "/letters"]);
    let names: Vec<&str> =
        listing["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Grüße ☀.txt", "deep", "empty", "inline", "nothing", "packed", "renamed.bin", "tool"]);

    let audits = net.json(&["audit", "now"]);
    let audits = audits["audits"].as_array().unwrap();
    assert_eq!(audits.len(), 6);
    assert!(audits.iter().all(|audit| audit["outcome"] == "passed"), "{audits:?}");

    // What is removed is gone, and its space at the providers is free again.
    let held = |net: &Devnet| -> u64 {
        let contracts = api(net, "contracts");
        contracts.as_array().unwrap().iter().map(|contract| contract["held_bytes"].as_u64().unwrap()).sum()
    };
    net.ok(&["put", single.to_str().unwrap(), "--to", "/letters/deep/second"]);
    let before = held(&net);
    let removed = net.json(&["rm", "--forever", "-y", "/letters/deep/second"]);
    assert_eq!(removed["files"], 1);
    assert!(
        net.refused(&["get", "/letters/deep/second", temp.path().join("gone").to_str().unwrap()])
            .contains("second")
    );
    assert!(held(&net) + (8 << 20) < before, "{} bytes are still held of {before}", held(&net));

    for number in 0..4 {
        signal(net.pid(number), "KILL");
    }
    let out = temp.path().join("out");
    net.ok(&["get", "-r", "/letters", out.to_str().unwrap()]);
    assert_eq!(tree(&out), tree(&source));

    // Two are not enough to store on, and nothing pretends otherwise.
    let sentence = net.refused(&["put", single.to_str().unwrap(), "--to", "/too-few"]);
    assert!(sentence.contains("6"), "{sentence}");
    assert!(net.refused(&["ls", "/too-few"]).contains("/too-few"));
    // An audit that does not pass is a failed command.
    assert!(net.refused(&["audit", "now"]).contains("4 of 6"));

    let ledger = net.json(&["ledger", "show"]);
    assert!(
        ledger["balances"]
            .as_array()
            .unwrap()
            .iter()
            .any(|balance| balance["owed_to_me_microcredits"].as_i64().unwrap() < 0)
    );

    // Removing writes a folder, which two providers are too few for: nothing is lost either.
    assert!(net.refused(&["rm", "/letters/tool"]).contains("6 are needed"));
    assert_eq!(net.json(&["ls", "/letters"])["entries"].as_array().unwrap().len(), 8);

    // devnet ends all of its nodes.
    let pids: Vec<u32> = (4..6).map(|number| net.pid(number)).collect();
    assert!(pids.iter().all(|pid| is_running(*pid)));
    drop(net);
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn mistakes_get_sentences_and_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6", "--disk", "24 MiB"]);
    let file = temp.path().join("small");
    fs::write(&file, noise(100_000, 5)).unwrap();
    net.ok(&["put", file.to_str().unwrap()]);

    // A file that is missing or unreadable.
    let missing = net.refused(&["put", temp.path().join("missing").to_str().unwrap()]);
    assert!(missing.contains("missing") && missing.contains("No such file"), "{missing}");

    // A file that grows while it is being read.
    let growing = temp.path().join("growing");
    let mut writer = fs::File::create(&growing).unwrap();
    writer.write_all(&noise(4 << 20, 7)).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let grower = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            writer.write_all(b"more").unwrap();
        }
    });
    // On a busy machine it may have been read whole before it grew on: then once more.
    let changed = (0..4).find_map(|_| {
        let output = net.owner(&["put", growing.to_str().unwrap()]);
        if output.status.success() {
            net.ok(&["rm", "/growing"]);
            return None;
        }
        Some(String::from_utf8(output.stderr).unwrap())
    });
    let changed = changed.expect("a file that changed while it was read is refused");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    grower.join().unwrap();
    assert!(changed.contains("growing") && changed.contains("changed"), "{changed}");
    assert!(net.refused(&["ls", "/growing"]).contains("/growing"));

    let large = temp.path().join("large");
    fs::write(&large, noise(80 << 20, 6)).unwrap();
    // Ctrl-C during put.
    let mut put = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(net.dir.join("owner"))
        .args(["put", "--to", "/fifo"])
        .arg(&large)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    signal(put.id(), "INT");
    assert!(!put.wait().unwrap().success());
    assert!(net.refused(&["ls", "/fifo"]).contains("/fifo"));

    // Disk quota: 6 providers of 24 MiB hold less than 80 MiB of file. Last: what was removed again is in
    // their trash.
    let full = net.refused(&["put", large.to_str().unwrap()]);
    assert!(full.contains("free") || full.contains("room"), "{full}");
    assert!(net.refused(&["ls", "/large"]).contains("/large"));

    // What was there before is untouched.
    let out = temp.path().join("out");
    net.ok(&["get", "/small", out.to_str().unwrap()]);
    assert_eq!(fs::read(out).unwrap(), noise(100_000, 5));

    // The owner's directory is in use; a port is taken.
    let second = run(&net.dir.join("owner"), &["up"]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another"), "{second:?}");
    let address =
        net.json(&["status"])["addresses"][0].as_str().unwrap().split("/p2p/").next().unwrap().to_owned();
    let other = temp.path().join("other");
    let made = run(&other, &["init", "--listen", &address, "--api", "127.0.0.1:0"]);
    assert!(made.status.success());
    let taken = run(&other, &["up"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("in use"), "{taken:?}");
}

#[test]
fn the_phrase_alone_reads_everything_back() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let bootstrap =
        api_of(&net.description["nodes"][0], "status")["addresses"][0].as_str().unwrap().to_owned();
    let init = |dir: &Path, restore: Option<&str>| -> Value {
        let mut flags = vec!["--json", "init", "--bootstrap", &bootstrap, "--api", "127.0.0.1:0"];
        flags.extend(["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]);
        flags.extend(restore.map(|_| "--restore"));
        let mut process = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(dir)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(restore.unwrap_or_default().as_bytes()).unwrap();
        serde_json::from_slice(&process.wait_with_output().unwrap().stdout).unwrap()
    };
    let up = |dir: &Path| {
        let mut node = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(dir)
            .arg("up")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let first = BufReader::new(node.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        assert!(first.starts_with("ready: "));
        node
    };
    let file = temp.path().join("photo");
    fs::write(&file, noise(3_000_000, 9)).unwrap();
    let first = temp.path().join("first");
    let made = init(&first, None);
    let mut node = up(&first);
    let put = run(&first, &["put", file.to_str().unwrap()]);
    assert!(put.status.success(), "{put:?}");
    signal(node.id(), "TERM");
    node.wait().unwrap();
    fs::remove_dir_all(&first).unwrap();

    // An empty machine, and nothing but the phrase.
    let second = temp.path().join("second");
    init(&second, made["phrase"].as_str());
    let mut node = up(&second);
    let out = temp.path().join("out");
    let begun = std::time::Instant::now();
    loop {
        let got = run(&second, &["get", "/photo", out.to_str().unwrap()]);
        if got.status.success() {
            break;
        }
        assert!(begun.elapsed().as_secs() < 120, "{got:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(fs::read(out).unwrap(), noise(3_000_000, 9));
    // It is told that the old contracts are out of its hands.
    loop {
        let status = run(&second, &["status"]);
        if String::from_utf8_lossy(&status.stdout).contains("does not know") {
            break;
        }
        assert!(begun.elapsed().as_secs() < 240, "{status:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    signal(node.id(), "TERM");
    node.wait().unwrap();
}

#[test]
fn an_owner_alone_is_told_so_and_a_wrong_phrase_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("alone");
    let made = run(&dir, &["--json", "init", "--listen", "/ip4/127.0.0.1/tcp/0", "--api", "127.0.0.1:0"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let phrase = made["phrase"].as_str().unwrap().to_owned();
    assert_eq!(phrase.split(' ').count(), 24);

    let mut node =
        Command::new(PROGRAM).arg("--data-dir").arg(&dir).arg("up").stdout(Stdio::piped()).spawn().unwrap();
    let ready = BufReader::new(node.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(ready.starts_with("ready: http://127.0.0.1:"), "{ready}");
    let file = temp.path().join("file");
    fs::write(&file, b"0123456789").unwrap();
    let put = run(&dir, &["put", file.to_str().unwrap()]);
    assert_eq!(put.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&put.stderr).contains("no provider"), "{put:?}");
    signal(node.id(), "TERM");
    assert!(node.wait().unwrap().success());
    let stopped = run(&dir, &["status"]);
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("no node is running"), "{stopped:?}");

    // The same phrase gives the same party; a wrong one gives a sentence without the words.
    let restore = |dir: &str, phrase: &str| {
        let mut init = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(temp.path().join(dir))
            .args(["--json", "init", "--restore"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        init.stdin.take().unwrap().write_all(phrase.as_bytes()).unwrap();
        init.wait_with_output().unwrap()
    };
    let again = restore("again", &phrase);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["party"], made["party"]);
    let mut words: Vec<&str> = phrase.split(' ').collect();
    words[4] = "commonhold";
    let wrong = restore("wrong", &words.join(" "));
    let sentence = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(sentence.contains("word 5") && !sentence.contains(words[0]), "{sentence}");
    assert!(!temp.path().join("wrong").exists());

    // A directory of another version is left alone.
    fs::write(dir.join("format"), "commonhold-data 999\n").unwrap();
    let version = run(&dir, &["up"]);
    assert!(String::from_utf8_lossy(&version.stderr).contains("another version"), "{version:?}");

    // A misspelt key names file, line and what is allowed.
    fs::write(dir.join("format"), "commonhold-data 1\n").unwrap();
    fs::write(dir.join("commonhold.toml"), "[network]\nlistne = []\n").unwrap();
    let misspelt = String::from_utf8(run(&dir, &["up"]).stderr).unwrap();
    assert!(misspelt.contains("commonhold.toml, line 2") && misspelt.contains("listen"), "{misspelt}");
}
