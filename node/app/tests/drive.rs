//! The drive's commands against a network of real processes: folders, transfers that are interrupted,
//! versions, the bin, links, keys.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use common::{Devnet, Node, PROGRAM, answer, api_of, noise, signal, until};
use commonhold_format::link::LinkRecord;
use commonhold_format::segment::Segment;
use serde_json::Value;

fn devnet(temp: &Path) -> Devnet {
    Devnet::start(&temp.join("net"), &["--nodes", "6"])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file and folder below a folder: path, bytes, time in milliseconds, executable.
fn tree(root: &Path) -> Vec<(String, Option<Vec<u8>>, u128, bool)> {
    let mut all = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let modified = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis();
            let name = text(path.strip_prefix(root).unwrap()).to_owned();
            if metadata.is_dir() {
                all.push((name, None, modified, false));
                folders.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                all.push((name, Some(fs::read(&path).unwrap()), modified, executable));
            }
        }
    }
    all.sort();
    all
}

/// A folder with what trips file systems up.
fn make_letters(root: &Path) {
    fs::create_dir_all(root.join("deep/er/still")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    fs::write(root.join("Grüße ☀.txt"), b"hello").unwrap();
    fs::write(root.join("a!"), b"before a slash").unwrap();
    fs::create_dir(root.join("a")).unwrap();
    fs::write(root.join("a").join("x".repeat(255)), noise(4097, 2)).unwrap();
    fs::write(root.join("deep/er/still/large"), noise(3_000_001, 3)).unwrap();
    fs::write(root.join("tool"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let old = UNIX_EPOCH + Duration::from_millis(981_173_106_789);
    fs::File::open(root.join("Grüße ☀.txt")).unwrap().set_modified(old).unwrap();
}

/// Sends Ctrl-C to a command after a while; says whether it had succeeded before.
fn interrupted(net: &Devnet, arguments: &[&str], after: Duration) -> bool {
    let mut command = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(net.dir.join("owner"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    if command.try_wait().unwrap().is_none() {
        signal(command.id(), "INT");
    }
    command.wait().unwrap().success()
}

#[test]
fn a_folder_goes_in_and_comes_out_and_only_differences_travel() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let source = temp.path().join("letters");
    make_letters(&source);
    assert!(net.refused(&["put", text(&source)]).contains("add -r"));
    assert_eq!(net.ok(&["put", "-r", text(&source)]).trim(), "/letters");
    let again = net.json(&["put", "-r", text(&source)]);
    assert_eq!((&again["files"], &again["unchanged_files"]), (&0.into(), &6.into()));

    let out = temp.path().join("out");
    assert!(net.refused(&["get", "/letters", text(&out)]).contains("add -r"));
    net.ok(&["get", "-r", "/letters", text(&out)]);
    assert_eq!(tree(&out), tree(&source));
    assert!(net.refused(&["get", "-r", "/letters/", text(&out.join("none/x"))]).contains("none"));
    fs::remove_file(out.join("tool")).unwrap();
    fs::write(out.join("mine"), b"stays").unwrap();
    let resumed = net.json(&["get", "-r", "--resume", "/letters", text(&out)]);
    assert_eq!((&resumed["files"], &resumed["kept_files"]), (&6.into(), &5.into()));
    fs::remove_file(out.join("mine")).unwrap();
    assert_eq!(
        tree(&out).into_iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(),
        tree(&source).into_iter().map(|it| (it.0, it.1)).collect::<Vec<_>>()
    );

    // Sync: a change, an addition, a removal, a file that becomes a folder.
    fs::write(source.join("nothing"), b"something").unwrap();
    fs::write(source.join("new"), b"new").unwrap();
    fs::remove_dir_all(source.join("deep/er")).unwrap();
    fs::remove_file(source.join("tool")).unwrap();
    fs::create_dir(source.join("tool")).unwrap();
    let planned = net.json(&["sync", text(&source), "--delete", "--dry-run"]);
    assert_eq!(planned["send"], serde_json::json!(["/letters/new", "/letters/nothing"]));
    assert_eq!(planned["remove"], serde_json::json!(["/letters/tool", "/letters/deep/er"]));
    assert!(net.refused(&["sync", text(&source)]).contains("/letters/tool"));
    let synced = net.json(&["sync", text(&source), "--delete"]);
    assert_eq!((&synced["files"], &synced["unchanged_files"]), (&2.into(), &3.into()));
    let synced = net.json(&["sync", text(&source), "--delete"]);
    assert_eq!((&synced["files"], &synced["removed"]), (&0.into(), &serde_json::json!([])));
    let back = temp.path().join("back");
    net.ok(&["get", "-r", "/letters", text(&back)]);
    let contents = |root: &Path| tree(root).into_iter().map(|it| (it.0, it.1, it.3)).collect::<Vec<_>>();
    assert_eq!(contents(&back), contents(&source));
    // What was removed is in the bin.
    let bin = net.json(&["bin", "list"]);
    let paths: Vec<&str> =
        bin["items"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/letters/deep/er", "/letters/tool"]);
    net.ok(&["bin", "restore", "/letters/deep/er"]);
    assert_eq!(net.json(&["ls", "/letters/deep/er/still"])["entries"][0]["bytes"], 3_000_001);
}

#[test]
fn interrupted_transfers_go_on_where_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let file = temp.path().join("large");
    let content = noise(150 << 20, 7);
    fs::write(&file, &content).unwrap();
    let put = ["put", text(&file)];
    // Until some parts are stored and not all.
    let mut wait = Duration::from_millis(400);
    until("an upload is interrupted in the middle", || {
        if interrupted(&net, &put, wait) {
            net.ok(&["rm", "--forever", "-y", "/large"]);
            wait /= 2;
            return false;
        }
        wait += wait / 4;
        let uploads = net.json(&["drive", "uploads"]);
        uploads["uploads"].as_array().unwrap().iter().any(|it| !it["parts"].as_array().unwrap().is_empty())
    });
    assert!(net.refused(&["ls", "/large"]).contains("/large"), "it is not there before it is whole");
    net.ok(&put);
    assert_eq!(net.json(&["drive", "uploads"])["uploads"], serde_json::json!([]));

    let out = temp.path().join("out");
    let get = ["get", "/large", text(&out)];
    let partial = || {
        let names = fs::read_dir(temp.path()).unwrap().map(|it| it.unwrap());
        names.filter(|it| it.file_name().to_str().unwrap().starts_with(".commonhold-")).map(|it| {
            let len = it.metadata().unwrap().len();
            (it.path(), len)
        })
    };
    let mut wait = Duration::from_millis(200);
    until("a download is interrupted in the middle", || {
        if interrupted(&net, &get, wait) {
            fs::remove_file(&out).unwrap();
            wait /= 2;
            return false;
        }
        wait += wait / 4;
        assert!(!out.exists(), "it is not there before it is whole");
        partial().any(|(_, len)| len > 1 << 20)
    });
    net.ok(&get);
    assert!(fs::read(&out).unwrap() == content, "another content came back");
    assert_eq!(partial().count(), 0);
}

#[test]
fn what_was_can_be_brought_back() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let file = temp.path().join("notes");
    for version in [&b"first"[..], b"second", b"third"] {
        fs::write(&file, version).unwrap();
        net.ok(&["put", text(&file)]);
    }
    let versions = net.json(&["versions", "/notes"]);
    let numbers: Vec<String> =
        versions["versions"].as_array().unwrap().iter().map(|it| it["version"].to_string()).collect();
    assert_eq!(numbers.len(), 3);
    assert_eq!(net.ok(&["cat", "/notes"]), "third");
    assert_eq!(net.ok(&["cat", "/notes", "--version", &numbers[2]]), "first");
    assert_eq!(net.ok(&["cat", "/notes", "--range", "1-3"]), "hir");
    assert_eq!(net.ok(&["cat", "/notes", "--range", "-2"]), "rd");
    assert!(net.refused(&["cat", "/notes", "--range", "9-"]).contains("5 bytes"));
    net.ok(&["restore", "/notes", "--version", &numbers[1]]);
    assert_eq!(net.ok(&["cat", "/notes"]), "second");
    let old = temp.path().join("old");
    net.ok(&["get", "/notes", text(&old), "--version", &numbers[2]]);
    assert_eq!(fs::read(&old).unwrap(), b"first");

    net.ok(&["mkdir", "/a/b"]);
    assert_eq!(net.ok(&["mv", "/notes", "/a/b"]).trim(), "/a/b/notes");
    assert_eq!(net.ok(&["cp", "/a/b/notes", "/copy"]).trim(), "/copy");
    assert!(net.refused(&["cp", "/a", "/c"]).contains("add -r"));
    net.ok(&["cp", "-r", "/a", "/c"]);
    assert_eq!(net.ok(&["cat", "/c/b/notes"]), "second");
    assert_eq!(net.json(&["du", "/"])["files"], 3);
    let found = net.json(&["find", "/", "--name", "NOTE", "--type", "f"]);
    assert_eq!(found["entries"].as_array().unwrap().len(), 2);

    // People type paths and patterns as they are used to.
    let found = net.json(&["find", "--name", "n?t*S"]);
    assert_eq!(found["entries"].as_array().unwrap().len(), 2);
    assert_eq!(net.json(&["find", "/", "--name", "*.txt"])["entries"], serde_json::json!([]));
    assert_eq!(net.ok(&["ls", "a/b"]), net.ok(&["ls", "/a/b"]));
    net.ok(&["mkdir", "-p", "p/q"]);
    net.ok(&["rm", "-r", "-y", "--forever", "p"]);
    for command in [&["cat", "/a"][..], &["versions", "/a"]] {
        assert!(net.refused(command).contains("/a is a folder"), "{command:?}");
    }
    for command in [&["mv", "/copy", "/a/b/notes"][..], &["cp", "/copy", "/a/b/notes"]] {
        assert!(net.refused(command).contains("exists already"), "{command:?}");
    }
    net.ok(&["rm", "/copy"]);
    net.ok(&["cp", "/a/b/notes", "/copy"]);
    let refused = net.refused(&["bin", "restore", "/copy"]);
    assert!(refused.contains("exists already") && refused.contains("--to"), "{refused}");
    net.ok(&["bin", "empty", "-y"]);

    net.ok(&["rm", "/a", "/copy"]);
    assert!(net.refused(&["cat", "/copy"]).contains("/copy"));
    net.ok(&["bin", "restore", "/a", "--to", "/back"]);
    assert_eq!(net.ok(&["cat", "/back/b/notes"]), "second");
    assert_eq!(net.json(&["bin", "empty", "-y"])["items"], 1);
    assert!(net.refused(&["bin", "restore", "/copy"]).contains("bin list"));
    assert_eq!(net.json(&["drive", "heads"])["forks"], serde_json::json!([]));
}

#[test]
fn redundancy_is_checked_and_repaired() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let file = temp.path().join("file");
    fs::write(&file, noise(2 << 20, 4)).unwrap();
    net.ok(&["put", text(&file)]);
    let report = net.json(&["drive", "check"]);
    assert_eq!((&report["missing_chunks"], &report["at_risk_total"]), (&0.into(), &0.into()));
    assert!(report["fetched_bytes"].as_u64().unwrap() < 2 << 20, "{report}");
    signal(net.pid(0), "KILL");
    let report = net.json(&["drive", "check", "/file"]);
    assert!(report["missing_chunks"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn links_and_keys_are_made_and_taken_back() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let file = temp.path().join("file");
    fs::write(&file, b"shared").unwrap();
    net.ok(&["put", text(&file), "--to", "/docs/file"]);
    assert!(net.refused(&["share", "/docs"]).contains("--folder"));
    let base = "https://drive.example.org";
    let share = net.json(&["share", "/docs", "--folder", "--expires", "30d", "--base", base]);
    let link = share["link"].as_str().unwrap();
    assert!(link.starts_with("https://drive.example.org/s/") && link.contains('#'), "{link}");
    // The password comes through standard input.
    let mut child = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(net.dir.join("owner"))
        .args(["--json", "share", "/docs/file", "--password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("pässwörd\n".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let protected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(protected["password"], true);
    assert_eq!(net.json(&["shares"])["shares"].as_array().unwrap().len(), 2);
    net.ok(&["unshare", link]);
    net.ok(&["unshare", &protected["id"].as_str().unwrap()[..12]]);
    assert_eq!(net.json(&["shares"])["shares"], serde_json::json!([]));

    let key = net.json(&["s3", "key", "new", "backup"]);
    assert!(key["secret_key"].as_str().unwrap().len() >= 32);
    let listed = net.ok(&["--json", "s3", "key", "list"]);
    assert!(listed.contains("backup") && !listed.contains(key["secret_key"].as_str().unwrap()));
    net.ok(&["s3", "key", "remove", "-y", key["access_key"].as_str().unwrap()]);
    assert_eq!(net.json(&["s3"])["keys"], serde_json::json!([]));
}

#[test]
fn attack_22_and_42_a_node_that_keeps_no_files_serves_links_of_others_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let net = devnet(temp.path());
    let file = temp.path().join("film");
    let bytes = noise(3 << 20, 9);
    fs::write(&file, &bytes).unwrap();
    net.ok(&["put", text(&file)]);
    let link = net.json(&["share", "/film"])["link"].as_str().unwrap().to_owned();

    let status = api_of(&net.description["nodes"][0], "status");
    let bootstrap = status["addresses"][0].as_str().unwrap();
    let mut node = Node::init(&temp.path().join("gateway"), &["--bootstrap", bootstrap]);
    let file = node.dir.join("commonhold.toml");
    let config = fs::read_to_string(&file).unwrap();
    let config = config
        .replace("# listen = \"127.0.0.1:4780\"", "listen = \"127.0.0.1:0\"")
        .replace("[owner]\n# Keep files through this node?\nenabled = true", "[owner]\nenabled = false");
    assert!(config.contains("enabled = false"));
    fs::write(&file, config).unwrap();
    node.up();
    assert!(node.refused(&["ls"]).contains("keeps no files"));

    // Whoever sits at it opens the link from the command line …
    let out = temp.path().join("out");
    until("the new node knows enough of the others", || {
        let mut open = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(&node.dir)
            .args(["open", "-", text(&out)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        open.stdin.take().unwrap().write_all(format!("{link}\n").as_bytes()).unwrap();
        open.wait().unwrap().success()
    });
    assert!(fs::read(&out).unwrap() == bytes);
    // … and anybody is given its record and page.
    let gateway = node.status()["gateway"].as_str().unwrap().to_owned();
    let host = gateway.trim_start_matches("http://");
    let id = link.split("/s/").nth(1).unwrap().split('#').next().unwrap();
    let asked = |path: &str| {
        let mut answer = answer(host, path);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        let body = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        answer.split_off(body)
    };
    assert!(asked(&format!("/s/{id}")).to_ascii_lowercase().starts_with(b"<!doctype html>"));
    let record = asked(&format!("/s/{id}/record"));
    assert_eq!(LinkRecord::decode(&record).unwrap().id.to_string(), id);

    // Segments are given out that the link covers, and no others (attack 42).
    let ask = |segment: &Segment| {
        let body = minicbor::to_vec(segment).unwrap();
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        let head = format!("POST /s/{id}/segment HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
        String::from_utf8_lossy(&answer[..12]).into_owned()
    };
    let own = LinkRecord::decode(&record).unwrap().open.unwrap().place.segment;
    assert_eq!(ask(&own), "HTTP/1.1 200");
    let mut foreign = own.clone();
    foreign.chunks[0].0[0] ^= 1;
    assert_eq!(ask(&foreign), "HTTP/1.1 403");

    // Its operator blocks the link: nobody is given anything of it here, until that is taken back.
    node.ok(&["gateway", "block", &link, "--remark", "a notice"]);
    until("the link is blocked", || answer(host, &format!("/s/{id}/record")).starts_with(b"HTTP/1.1 451"));
    let blocked = node.json(&["gateway", "blocked"]);
    assert_eq!(
        (&blocked["links"][0]["id"], &blocked["links"][0]["remark"]),
        (&id.into(), &"a notice".into())
    );
    node.ok(&["gateway", "unblock", id]);
    until("the link is served again", || {
        answer(host, &format!("/s/{id}/record")).starts_with(b"HTTP/1.1 200")
    });

    // A link is taken back even when there are too few providers to change the drive.
    for provider in 0..2 {
        signal(net.pid(provider), "KILL");
    }
    let film = temp.path().join("film");
    until("nothing can be stored", || !net.owner(&["put", text(&film), "--to", "/x"]).status.success());
    net.ok(&["unshare", &link]);
    assert_eq!(net.json(&["shares"])["shares"], serde_json::json!([]));
    until("others know it", || answer(host, &format!("/s/{id}/record")).starts_with(b"HTTP/1.1 410"));
    // The record is not all: nothing that it covered is given out either (attack 22).
    assert_eq!(ask(&own), "HTTP/1.1 410");
}
