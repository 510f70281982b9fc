//! Operating plugins on real nodes: commands, hot reload, what is not loaded and what the operator reads.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Net, Node, noise, until};
use commonhold_format::keys::{PartyKey, RootSecret};
use commonhold_format::policy::package::seal;
use commonhold_format::policy::{API_VERSION, Kind};
use commonhold_format::statement::{Capability, PolicyManifest};
use serde_json::Value;
use tempfile::TempDir;

/// A placement policy that does what its configuration says; its source is beside it.
const PROBE: &[u8] = include_bytes!("probe/probe.wasm");
const GRANT: [&str; 2] = ["--grant", "config,log,state"];

fn probe(name: &str, version: &str, author: Option<&PartyKey>) -> Vec<u8> {
    let manifest = PolicyManifest {
        name: name.into(),
        version: version.into(),
        kind: Kind::Placement,
        api: API_VERSION.into(),
        capabilities: Capability::ALL.into(),
        about: "Does what its configuration says".into(),
        component: [0; 32],
        size: 0,
        author: None,
    };
    seal(PROBE, &manifest, author).unwrap()
}

fn stranger(seed: u8) -> PartyKey {
    RootSecret::from_bytes([seed; 32]).party_key()
}

fn written(dir: &Path, bytes: &[u8]) -> PathBuf {
    let file = dir.join("given.wasm");
    fs::write(&file, bytes).unwrap();
    file
}

/// A node on which nothing else happens.
fn lone() -> (TempDir, Node) {
    let temp = tempfile::tempdir().unwrap();
    let node = Node::init(&temp.path().join("node"), &[]);
    (temp, node)
}

fn install(node: &Node, bytes: &[u8], flags: &[&str]) -> String {
    let file = written(node.dir.parent().unwrap(), bytes);
    node.ok(&[&["plugin", "install", file.to_str().unwrap()], flags].concat())
}

fn not_installed(node: &Node, bytes: &[u8], flags: &[&str]) -> String {
    let file = written(node.dir.parent().unwrap(), bytes);
    node.refused(&[&["plugin", "install", file.to_str().unwrap()], flags].concat())
}

/// The probe's file, signed by the node's own party through the command.
fn own(node: &Node, version: &str) -> Vec<u8> {
    let file = written(node.dir.parent().unwrap(), &probe("probe", version, None));
    node.ok(&["plugin", "sign", file.to_str().unwrap()]);
    fs::read(file).unwrap()
}

fn list(node: &Node) -> Value {
    node.json(&["plugin", "list"])
}

fn plugin(node: &Node, name: &str) -> Value {
    let list = list(node);
    list["plugins"].as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
}

fn placement(node: &Node) -> Value {
    list(node)["kinds"][0].clone()
}

/// Sentences of `status` about plugins.
fn problems(node: &Node) -> Vec<String> {
    let status = node.status();
    let all = status["problems"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    all.filter(|it| it.contains("probe") || it.contains("plugin")).collect()
}

fn file(node: &Node) -> PathBuf {
    node.dir.join("plugins/probe/plugin.wasm")
}

#[test]
fn a_plugin_is_operated_on_a_running_node() {
    let (_temp, mut node) = lone();
    node.up();
    assert!(node.ok(&["plugin", "list"]).contains("no plugin is installed"));
    let bytes = own(&node, "1.0.0");
    let why = not_installed(&node, &bytes, &[]);
    assert!(why.contains("--grant config,log,state"), "{why}");
    let told = install(&node, &bytes, &GRANT);
    assert!(told.contains("probe 1.0.0 is installed") && told.contains("this node's own party"), "{told}");
    assert!(told.contains("granted    config, log, state"), "{told}");
    assert_eq!(plugin(&node, "probe")["state"], "off");
    assert_eq!(placement(&node)["decides"], "default");

    let told = node.ok(&["plugin", "enable", "probe", "--set", "say=hello"]);
    assert!(told.contains("probe 1.0.0 decides placement"), "{told}");
    let it = plugin(&node, "probe");
    assert_eq!((&it["state"], &it["config"]["say"]), (&"active".into(), &"hello".into()));
    assert_eq!(it["author"], node.status()["party"]);
    assert_eq!(placement(&node)["plugin"], "probe");
    assert_eq!(problems(&node), [""; 0]);
    assert!(node.ok(&["plugin", "show", "probe"]).contains("set        say = \"hello\""));

    // A newer version takes its place at once and keeps its grant; an older one needs a word.
    let told = install(&node, &own(&node, "1.1.0"), &[]);
    assert!(told.contains("instead of 1.0.0") && told.contains("it decides placement now"), "{told}");
    assert!(not_installed(&node, &bytes, &[]).contains("--downgrade"));
    assert_eq!(plugin(&node, "probe")["version"], "1.1.0");
    install(&node, &bytes, &["--downgrade"]);
    let it = plugin(&node, "probe");
    assert_eq!((&it["version"], &it["config"]["say"]), (&"1.0.0".into(), &"hello".into()));

    // Another one in its place, and back to the default.
    install(&node, &probe("other", "1.0.0", None), &[&GRANT[..], &["--unsigned"]].concat());
    let told = node.ok(&["plugin", "enable", "other"]);
    assert!(told.contains("other 1.0.0 decides placement, instead of probe"), "{told}");
    assert_eq!(plugin(&node, "probe")["state"], "off");
    node.ok(&["plugin", "disable", "placement"]);
    assert_eq!(placement(&node)["decides"], "default");
    assert!(node.refused(&["plugin", "disable", "other"]).contains("is not enabled"));
    node.ok(&["plugin", "set", "probe", "a=b=c", "--unset", "say"]);
    assert_eq!(plugin(&node, "probe")["config"], serde_json::json!({"a": "b=c"}));
    assert!(node.refused(&["plugin", "set", "probe", "--unset", "say"]).contains("is not set"));

    // What it would do is tried first: nothing changes when it fails.
    node.ok(&["plugin", "enable", "probe"]);
    let why = node.refused(&["plugin", "set", "probe", "fail=trap", "early=1"]);
    assert!(why.contains("fails its self-test"), "{why}");
    assert_eq!(plugin(&node, "probe")["config"], serde_json::json!({"a": "b=c"}));
    assert_eq!(plugin(&node, "probe")["state"], "active");
    assert!(node.ok(&["plugin", "reload"]).contains("probe 1.0.0 decides placement"));

    node.ok(&["plugin", "remove", "probe"]);
    node.ok(&["plugin", "remove", "other"]);
    assert!(!node.dir.join("plugins/probe").exists());
    assert_eq!(placement(&node)["decides"], "default");
    for arguments in
        [["plugin", "enable", "probe"], ["plugin", "reload", "probe"], ["plugin", "show", "probe"]]
    {
        assert!(node.refused(&arguments).contains("is installed"), "{arguments:?}");
    }
}

#[test]
fn without_a_node_the_commands_work_on_its_data_directory() {
    let (_temp, mut node) = lone();
    let told = install(&node, &own(&node, "1.0.0"), &[&GRANT[..], &["--set", "say=x"]].concat());
    assert!(told.contains("plugin enable probe"), "{told}");
    node.ok(&["plugin", "enable", "probe"]);
    assert_eq!(plugin(&node, "probe")["state"], "active");
    assert!(node.refused(&["plugin", "reload"]).contains("no node is running"));
    node.up();
    assert_eq!((plugin(&node, "probe")["state"].as_str(), problems(&node).len()), (Some("active"), 0));
    node.stop();
    node.ok(&["plugin", "disable", "probe"]);
    node.ok(&["plugin", "remove", "probe"]);
    node.up();
    assert_eq!(list(&node)["plugins"], serde_json::json!([]));
}

#[test]
fn attack_39_a_file_that_changes_is_loaded_only_when_its_author_signed_it() {
    let (_temp, mut node) = lone();
    node.up();
    let bytes = own(&node, "1.0.0");
    install(&node, &bytes, &GRANT);
    node.ok(&["plugin", "enable", "probe"]);

    // A newer one of the same author is noticed and loaded.
    let newer = own(&node, "1.1.0");
    fs::write(file(&node), &newer).unwrap();
    until("the new version decides", || {
        plugin(&node, "probe")["metrics"].is_object()
            && node.ok(&["plugin", "show", "probe"]).starts_with("probe 1.1.0, placement policy, active")
    });

    let mut tampered = newer.clone();
    tampered[100] ^= 1;
    let other = probe("probe", "1.2.0", Some(&stranger(9)));
    let nobodys = probe("probe", "1.2.0", None);
    let own_other = {
        let file = written(node.dir.parent().unwrap(), &probe("elsewhere", "1.2.0", None));
        node.ok(&["plugin", "sign", file.to_str().unwrap()]);
        fs::read(file).unwrap()
    };
    let older = own(&node, "0.9.0");
    let cases: [(&str, &[u8], &str); 6] = [
        ("tampered", &tampered, "was changed"),
        ("cut off", &newer[..newer.len() / 2], "cut off"),
        ("another author's", &other, "signed by"),
        ("nobody's", &nobodys, "nobody signed it"),
        ("another plugin's", &own_other, "another plugin's"),
        ("older than what was installed", &older, "version_min"),
    ];
    for (what, bytes, why) in cases {
        fs::write(file(&node), bytes).unwrap();
        until(&format!("the operator is told of one that is {what}"), || {
            let problems = problems(&node);
            problems
                .iter()
                .any(|it| it.contains(why) && it.contains("probe 1.1.0 goes on deciding placement"))
        });
        assert_eq!(placement(&node)["decides"], "plugin", "{what}");
        assert!(node.refused(&["plugin", "reload", "probe"]).contains("goes on deciding"), "{what}");
    }
    // Nor after a restart, and then the default decides.
    fs::write(file(&node), &tampered).unwrap();
    node.stop();
    node.up();
    let told = problems(&node);
    assert!(
        told.len() == 1
            && told[0].contains("the default decides placement")
            && told[0].contains("was changed"),
        "{told:?}"
    );
    assert_eq!(placement(&node)["decides"], "default");
    assert_eq!(plugin(&node, "probe")["state"], "not_loaded");
    let listed = node.ok(&["plugin", "list"]);
    assert!(listed.contains("the default, instead of probe"), "{listed}");
    // Mended, it is loaded by itself.
    fs::write(file(&node), &newer).unwrap();
    until("the mended one decides", || plugin(&node, "probe")["state"] == "active");
    assert_eq!(problems(&node), [""; 0]);
}

#[test]
fn attack_39_authors_are_trusted_by_the_operator_alone() {
    let (_temp, mut node) = lone();
    node.up();
    let of_stranger = probe("probe", "1.0.0", Some(&stranger(9)));
    let key = stranger(9).id().to_string();
    assert!(not_installed(&node, &of_stranger, &GRANT).contains(&format!("--author {key}")));
    assert!(
        not_installed(&node, &of_stranger, &[&GRANT[..], &["--unsigned"]].concat())
            .contains("does not trust")
    );
    let wrong = stranger(8).id().to_string();
    assert!(not_installed(&node, &of_stranger, &["--author", &wrong]).contains("and not by"));
    let mut tampered = of_stranger.clone();
    tampered[100] ^= 1;
    assert!(not_installed(&node, &tampered, &["--author", &key]).contains("was changed"));
    assert_eq!(list(&node)["plugins"], serde_json::json!([]));

    let told = install(&node, &of_stranger, &[&GRANT[..], &["--author", &key]].concat());
    assert!(told.contains("the author that was named"), "{told}");
    let told = install(&node, &probe("probe", "1.0.1", Some(&stranger(9))), &[]);
    assert!(told.contains("trusted before"), "{told}");
    // Nobody else takes the name over, this node's own party neither.
    let next = probe("probe", "2.0.0", Some(&stranger(8)));
    assert!(not_installed(&node, &next, &["--author", &wrong]).contains("remove it first"));
    assert!(not_installed(&node, &own(&node, "2.0.0"), &[]).contains("remove it first"));
    assert!(
        not_installed(&node, &probe("probe", "2.0.0", None), &["--unsigned"]).contains("remove it first")
    );

    // An unsigned one is the very component that was installed.
    node.ok(&["plugin", "remove", "probe"]);
    let nobodys = probe("probe", "1.0.0", None);
    assert!(not_installed(&node, &nobodys, &GRANT).contains("--unsigned"));
    install(&node, &nobodys, &[&GRANT[..], &["--unsigned"]].concat());
    node.ok(&["plugin", "enable", "probe"]);
    let mut component = PROBE.to_vec();
    component.extend([0, 3, 1, b'x', 7]);
    let manifest = PolicyManifest { about: String::new(), ..examined(&nobodys) };
    fs::write(file(&node), seal(&component, &manifest, None).unwrap()).unwrap();
    until("the operator is told of other code", || {
        problems(&node).iter().any(|it| it.contains("not the one that was installed"))
    });
    assert_eq!(placement(&node)["decides"], "plugin");
}

fn examined(file: &[u8]) -> PolicyManifest {
    commonhold_format::policy::package::Package::open(file).unwrap().manifest
}

#[test]
fn for_development_every_change_is_loaded() {
    let (_temp, mut node) = lone();
    node.up();
    let told = install(&node, &probe("probe", "1.0.0", None), &[&GRANT[..], &["--follow"]].concat());
    assert!(told.contains("whatever is written"), "{told}");
    node.ok(&["plugin", "enable", "probe"]);
    for version in ["1.0.1", "0.1.0"] {
        fs::write(file(&node), probe("probe", version, None)).unwrap();
        until("it is loaded", || {
            let it = plugin(&node, "probe");
            it["version"] == version && it["state"] == "active" && problems(&node).is_empty()
        });
    }
    assert!(node.ok(&["plugin", "list"]).contains("(follow)"));
}

#[test]
fn the_grant_is_what_counts_and_changes_to_it_are_noticed() {
    let (_temp, mut node) = lone();
    node.up();
    install(&node, &own(&node, "1.0.0"), &GRANT);
    node.ok(&["plugin", "enable", "probe"]);
    let grant = node.dir.join("plugins/probe/grant.toml");
    let text = fs::read_to_string(&grant).unwrap();
    // A mistake is told with its line, and the plugin goes on.
    fs::write(&grant, text.replace("[config]", "colour = 1\n[config]")).unwrap();
    let line = text.lines().position(|line| line == "[config]").unwrap() + 1;
    until("the operator is told of the mistake", || {
        problems(&node)
            .iter()
            .any(|it| it.contains(&format!("grant.toml, line {line}:")) && it.contains("colour"))
    });
    assert_eq!(placement(&node)["decides"], "plugin");
    // What the operator takes back is taken back at once.
    fs::write(&grant, text.replace(", \"state\"", "")).unwrap();
    until("the default decides", || placement(&node)["decides"] == "default");
    assert!(problems(&node)[0].contains("asks for state"), "{:?}", problems(&node));
    fs::write(&grant, format!("{text}say = \"new\"\n")).unwrap();
    until("it decides again", || placement(&node)["decides"] == "plugin");
    assert_eq!(plugin(&node, "probe")["config"]["say"], "new");
    // Which one is enabled may be written by hand, too.
    let active = node.dir.join("plugins/active.toml");
    fs::write(&active, "placement = \"../probe\"\n").unwrap();
    until("the operator is told of the name", || problems(&node).iter().any(|it| it.contains("active.toml")));
    assert_eq!(placement(&node)["decides"], "plugin");
    fs::write(&active, "").unwrap();
    until("the default decides", || placement(&node)["plugin"].is_null());
    fs::write(&active, "placement = \"probe\"\n").unwrap();
    until("it decides again", || placement(&node)["decides"] == "plugin");
    fs::write(&active, "placement = \"nowhere\"\n").unwrap();
    until("the default decides", || placement(&node)["decides"] == "default");
    assert!(list(&node)["plugins"].as_array().unwrap().iter().any(|it| it["state"] == "not_loaded"));
}

#[test]
fn attack_39_links_in_the_folder_are_not_followed() {
    let (temp, mut node) = lone();
    node.up();
    install(&node, &own(&node, "1.0.0"), &GRANT);
    let outside = temp.path().join("outside");
    fs::rename(node.dir.join("plugins/probe"), &outside).unwrap();
    symlink(&outside, node.dir.join("plugins/probe")).unwrap();
    assert!(node.refused(&["plugin", "enable", "probe"]).contains("not followed"));
    assert_eq!(plugin(&node, "probe")["state"], "broken");
    assert!(not_installed(&node, &own(&node, "1.0.0"), &GRANT).contains("not followed"));
    node.ok(&["plugin", "remove", "probe"]);
    assert!(outside.join("plugin.wasm").exists());
    for name in ["../outside", "/etc/passwd", "a/b", "."] {
        assert!(node.refused(&["plugin", "remove", name]).contains("is no plugin's name"), "{name}");
    }
}

#[test]
fn attack_38_a_plugin_that_loops_holds_nothing_up_and_the_operator_reads_why() {
    let mut net = Net::start(&[]);
    install(&net.owner, &own(&net.owner, "1.0.0"), &GRANT);
    net.owner.ok(&["plugin", "enable", "probe", "--set", "say=\u{1b}[2J\u{202e}ranked"]);
    let bytes = noise(300_000, 1);
    net.put("good", &bytes);
    net.assert_readable("good", &bytes);
    let it = plugin(&net.owner, "probe");
    let (calls, remembers) = (it["metrics"]["calls"].as_u64().unwrap(), &it["metrics"]["state_bytes"]);
    assert!(it["metrics"]["faults"].as_u64() < Some(calls), "{it}");
    assert!(remembers.as_u64() > Some(0), "{it}");
    let said = it["log"][0]["message"].as_str().unwrap();
    assert!(
        said.contains("ranked") && !said.contains(|it: char| it.is_control() || it == '\u{202e}'),
        "{said:?}"
    );

    // What it remembers outlives a restart: it counts on.
    net.owner.stop();
    net.owner.up();
    net.wait_for_providers();
    assert_eq!(plugin(&net.owner, "probe")["state"], "active");
    let counted: u64 = said.rsplit(' ').next().unwrap().parse().unwrap();
    net.put("more", &noise(300_000, 2));
    let it = plugin(&net.owner, "probe");
    let next = it["log"][0]["message"].as_str().unwrap();
    assert!(next.rsplit(' ').next().unwrap().parse::<u64>().unwrap() > counted, "{next} after {said}");

    net.owner.ok(&["plugin", "set", "probe", "fail=loop"]);
    let bytes = noise(300_000, 3);
    net.put("kept", &bytes);
    net.assert_readable("kept", &bytes);
    let it = plugin(&net.owner, "probe");
    assert!(it["metrics"]["faults"].as_u64() > Some(0), "{it}");
    let told = problems(&net.owner);
    assert!(
        told.iter().any(|it| it.contains("longer than a call may") && it.contains("placement")),
        "{told:?}"
    );
    // Until it is not asked any more.
    for round in 4..24 {
        if plugin(&net.owner, "probe")["state"] == "resting" {
            break;
        }
        net.put(&format!("again-{round}"), &noise(10_000, round));
    }
    let it = plugin(&net.owner, "probe");
    assert_eq!(it["state"], "resting", "{it}");
    assert_eq!(placement(&net.owner)["decides"], "default");
    assert!(placement(&net.owner)["default_decisions"].as_u64() >= Some(5));
    assert!(
        problems(&net.owner).iter().any(|it| it.contains("failed too often")),
        "{:?}",
        problems(&net.owner)
    );
    net.put("last", &bytes);
    net.assert_readable("last", &bytes);
    // A new version gets a new chance.
    net.owner.ok(&["plugin", "set", "probe", "--unset", "fail"]);
    assert_eq!(
        (plugin(&net.owner, "probe")["state"].as_str(), problems(&net.owner).len()),
        (Some("active"), 0)
    );
}

#[test]
fn check_says_what_is_wrong_with_a_file_and_needs_no_node() {
    let temp = tempfile::tempdir().unwrap();
    let nowhere = Node::init(&temp.path().join("node"), &[]);
    let check = |bytes: &[u8]| {
        let file = written(temp.path(), bytes);
        nowhere.refused(&["plugin", "check", file.to_str().unwrap()])
    };
    let good = probe("probe", "1.0.0", None);
    let file = written(temp.path(), &good);
    let told = nowhere.ok(&["plugin", "check", file.to_str().unwrap()]);
    assert!(told.contains("probe 1.0.0, placement policy") && told.contains("signed by  nobody"), "{told}");
    let manifest = examined(&good);
    let next = PolicyManifest { api: "0.9.0".into(), ..manifest.clone() };
    let why = check(&seal(PROBE, &next, None).unwrap());
    assert!(why.contains("API 0.9.0") && why.contains(API_VERSION), "{why}");
    let quiet = PolicyManifest { capabilities: [Capability::Log].into(), ..manifest.clone() };
    let why = check(&seal(PROBE, &quiet, None).unwrap());
    assert!(why.contains("does not ask for it"), "{why}");
    let other = PolicyManifest { kind: Kind::Pricing, ..manifest };
    let why = check(&seal(PROBE, &other, None).unwrap());
    assert!(why.contains("does not export what a pricing policy"), "{why}");
    assert!(check(PROBE).contains("no manifest"));
    assert!(check(b"#!/bin/sh\n").contains("not a WebAssembly component"));
    assert!(check(b"\0asm\x01\0\0\0").contains("core module"));
    assert!(check(&[0; (16 << 20) + 1]).contains("16 MiB"));
    let mut tampered = good;
    tampered[50] ^= 1;
    assert!(check(&tampered).contains("was changed"));
}
