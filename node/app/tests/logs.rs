//! The log of a whole session as JSON: every line parses, and no line has a secret, a name or contents
//! (attack 19).
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Net, Node, PROGRAM, run};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::Value;

/// Runs a node with all that this program logs, and libp2p's details, going to a file.
fn up_logged(node: &mut Node, log: &Path) {
    node.stop();
    let mut command = Command::new(PROGRAM);
    command.env("COMMONHOLD_LOG", "debug,commonhold=trace").stderr(File::create(log).unwrap());
    node.up_by(command);
}

/// What a command says that reads a secret from its standard input.
fn told(net: &Net, arguments: &[&str], secret: &str) -> String {
    let mut child = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(&net.owner.dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{secret}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn attack_19_a_sessions_json_log_parses_line_by_line_and_has_no_secret() {
    let mut net = Net::start(&[("format", "\"json\"")]);
    let logs = [net.temp.path().join("owner.log"), net.temp.path().join("provider.log")];
    net.owner.set("format", "\"json\"");
    net.owner.set("# listen", "\"127.0.0.1:0\"");
    up_logged(&mut net.owner, &logs[0]);
    up_logged(&mut net.providers[5], &logs[1]);
    net.wait_for_providers();

    let root = net.temp.path().join("Marrakesh-diary");
    fs::create_dir(&root).unwrap();
    let contents = b"the-rain-in-spain-stays-mainly";
    fs::write(root.join("payslip-4711.txt"), contents.repeat(40)).unwrap();
    fs::write(root.join("Zanzibar.bin"), contents.repeat(23_511)).unwrap();
    net.owner.ok(&["put", "-r", root.to_str().unwrap()]);
    net.owner.ok(&["mv", "/Marrakesh-diary/Zanzibar.bin", "/renamed-Xanadu"]);
    let shared = net.owner.json(&["share", "/Marrakesh-diary", "--folder"]);
    let link = shared["link"].as_str().unwrap().to_owned();
    let secret = link.split('#').nth(1).unwrap();
    told(&net, &["--json", "share", "/renamed-Xanadu", "--password"], "swordfish-and-chips");
    told(&net, &["open", "--list"], &link);
    let key = net.owner.json(&["s3", "key", "new", "backup"]);
    net.owner.ok(&["get", "-r", "/Marrakesh-diary", net.temp.path().join("back").to_str().unwrap()]);
    net.owner.json(&["audit", "now"]);
    net.owner.json(&["drive", "check"]);
    // What is refused is logged, too.
    net.owner.refused(&["get", "/payslip-that-is-not-there", "/nowhere"]);
    net.owner.ok(&["unshare", &link]);
    net.owner.ok(&["rm", "/renamed-Xanadu"]);
    net.owner.stop();
    net.providers[5].stop();

    let read = |file: &str| fs::read(net.owner.dir.join(file)).unwrap();
    let token = String::from_utf8(read("api.token")).unwrap();
    let mut needles: Vec<(&str, Vec<u8>)> = [
        ("a name", "Marrakesh-diary"),
        ("a name", "payslip"),
        ("a name", "Zanzibar.bin"),
        ("a name", "renamed-Xanadu"),
        ("contents", "the-rain-in-spain"),
        ("the password", "swordfish"),
        ("the API's token", token.trim()),
        ("the link's secret", secret),
    ]
    .map(|(what, text)| (what, text.as_bytes().to_vec()))
    .to_vec();
    let link_secret = BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap();
    needles.push(("the link's secret in hexadecimal", HEXLOWER.encode(&link_secret).into_bytes()));
    let s3_secret = key["secret_key"].as_str().or(key["secret"].as_str()).unwrap();
    needles.push(("the S3 key's secret", s3_secret.as_bytes().to_vec()));
    for file in ["keys/root.key", "keys/device.key"] {
        let bytes = read(file);
        needles.push(("a key of the node", bytes.clone()));
        needles.push(("a key of the node in hexadecimal", HEXLOWER.encode(&bytes).into_bytes()));
        let list: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        needles.push(("a key of the node as numbers", list.join(", ").into_bytes()));
    }
    for (log, lines_min) in logs.iter().zip([200, 100]) {
        let bytes = fs::read(log).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let mut ours = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for field in ["timestamp", "level", "target", "fields"] {
                assert!(line.get(field).is_some(), "{field}: {line}");
            }
            ours += usize::from(line["target"].as_str().unwrap().starts_with("commonhold"));
        }
        assert!(text.lines().count() > lines_min, "{} lines", text.lines().count());
        assert!(ours > 0);
        for (what, needle) in &needles {
            let found = bytes.windows(needle.len()).position(|window| window == needle.as_slice());
            let at = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned());
            assert!(at.is_none(), "{what} is in {}, behind {at:?}", log.display());
        }
    }
}

#[test]
fn why_a_node_ends_is_json_too_and_flags_rule_over_the_configuration() {
    let temp = tempfile::tempdir().unwrap();
    let node = Node::init(&temp.path().join("node"), &[]);
    node.set("format", "\"json\"");
    // Something that cannot be: a store of no version that there is.
    fs::write(node.dir.join("format"), "commonhold-data 999\n").unwrap();
    let refused = run(&node.dir, &["up"]);
    assert_eq!(refused.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!((&line["level"], &line["fields"]["message"]), (&"ERROR".into(), &"this program ends".into()));
    assert!(line["fields"]["why"].as_str().unwrap().contains("999"), "{line}");
    let refused = run(&node.dir, &["--log-format", "text", "up"]);
    assert!(String::from_utf8(refused.stderr).unwrap().starts_with("commonhold: "));
    for flags in [["--log-format", "xml"], ["--log", "commonhold=loud"]] {
        assert_eq!(run(&node.dir, &[flags[0], flags[1], "status"]).status.code(), Some(2), "{flags:?}");
    }
}
