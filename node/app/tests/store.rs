//! A lent disk as its operator meets it: rot, a disk that is gone, space that comes back, an index
//! that is lost. Real nodes on real folders.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Net, Node, PROGRAM, PROVIDERS, noise, rot, until};

/// used + trash + dead + reserve + free = disk allotted, by the line that a check prints.
fn assert_accounts(node: &Node) {
    let printed = node.ok(&["store", "check"]);
    let line = printed.lines().last().unwrap();
    let (terms, lent) = line.split_once(" = ").unwrap();
    let number = |text: &str| text.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let names: Vec<&str> = terms.split(" + ").map(|term| term.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["used", "trash", "dead", "reserve", "free"], "{line}");
    assert_eq!(terms.split(" + ").map(number).sum::<u64>(), 128 << 20, "{line}");
    assert_eq!(number(lent), 128 << 20, "{line}");
}

fn storage(node: &Node) -> impl Fn(&str) -> u64 {
    let storage = node.status()["storage"].clone();
    move |what| storage[what].as_u64().unwrap()
}

fn quarantine(node: &Node) -> Option<String> {
    node.status()["quarantine"].as_str().map(str::to_owned)
}

#[test]
fn rot_is_found_by_the_scrub_told_to_the_owner_and_mended() {
    let net = Net::start(&[("scrub_rate", "0")]);
    let bytes = noise(6 << 20, 1);
    net.put("file", &bytes);
    let provider = &net.providers[2];
    assert_accounts(provider);
    let chunk = rot(provider);

    let found = provider.refused(&["store", "check"]);
    assert!(found.contains(&chunk) && found.contains("1 things are wrong"), "{found}");
    let found = provider.refused(&["store", "scrub"]);
    assert!(found.contains(&chunk) && found.contains("rotted"), "{found}");
    assert_eq!(provider.status()["scrub"]["rot"], 1);
    // The owner's node is told, makes the chunk again from others, and nobody had to ask for it.
    until("the chunk is whole again", || provider.run(&["store", "check"]).status.success());
    assert_accounts(provider);
    assert_eq!(net.audit(&provider.peer_id()), "passed");
    assert!(provider.ok(&["store", "scrub"]).contains("0 mended"));
    net.assert_readable("file", &bytes);
}

#[test]
fn the_node_scrubs_by_itself_and_finds_its_owner() {
    let mut net = Net::start(&[]);
    let bytes = noise(2 << 20, 2);
    net.put("file", &bytes);
    let provider = &mut net.providers[1];
    provider.stop();
    rot(provider);
    assert!(provider.refused(&["store", "check"]).contains("1 things are wrong"));
    provider.up();
    until("the scrub finds it", || provider.status()["scrub"]["rot"] == 1);
    until("the chunk is whole again", || provider.run(&["store", "check"]).status.success());
    let printed = provider.ok(&["status"]);
    assert!(printed.contains("1 chunks rotten"), "{printed}");
    net.assert_readable("file", &bytes);
}

#[test]
fn a_disk_that_is_gone_is_quarantine_and_not_loss() {
    let mut net = Net::start(&[]);
    let bytes = noise(3 << 20, 3);
    net.put("file", &bytes);
    let provider = net.providers[4].peer_id();
    let (store, away) = (net.providers[4].dir.join("store"), net.temp.path().join("away"));

    // Nothing is mounted when the node starts, or only the empty folder of the mount point.
    for mount_point in [false, true] {
        net.providers[4].stop();
        fs::rename(&store, &away).unwrap();
        if mount_point {
            fs::create_dir(&store).unwrap();
        }
        net.providers[4].up();
        assert!(quarantine(&net.providers[4]).is_some());
        let printed = net.providers[4].ok(&["status"]);
        assert!(printed.contains("this node is in quarantine"), "{printed}");
        assert!(net.providers[4].refused(&["store", "compact"]).contains("quarantine"));
        net.wait_for_outcome(&provider, "quarantined");
        net.assert_readable("file", &bytes);
        // It is mounted: the node goes on by itself.
        if mount_point {
            fs::remove_dir(&store).unwrap();
        }
        fs::rename(&away, &store).unwrap();
        until("the node goes on", || quarantine(&net.providers[4]).is_none());
        assert_eq!(net.audit(&provider), "passed");
    }

    // It goes away while the node runs. Until the node notices it reads the files that it has open.
    fs::rename(&store, &away).unwrap();
    until("the node notices", || quarantine(&net.providers[4]).is_some());
    assert_eq!(net.audit(&provider), "quarantined");
    let why = quarantine(&net.providers[4]).unwrap();
    assert!(why.contains("start the node again"), "{why}");

    // Another store in its place is not taken for it, and is not touched.
    net.providers[4].stop();
    let mut other = Node::init(&net.temp.path().join("other"), &["--provide", "32 MiB"]);
    other.up();
    other.stop();
    fs::rename(other.dir.join("store"), &store).unwrap();
    let before = tree(&store);
    net.providers[4].up();
    let why = quarantine(&net.providers[4]).unwrap();
    assert!(why.contains("mount the right disk"), "{why}");
    net.wait_for_outcome(&provider, "quarantined");
    assert_eq!(tree(&store), before);
    net.providers[4].stop();
    fs::remove_dir_all(&store).unwrap();

    // An older copy of the disk.
    fs::rename(&away, &store).unwrap();
    copy(&store, &away);
    net.providers[4].up();
    net.wait_for_outcome(&provider, "passed");
    net.wait_for_providers();
    net.put("later", &bytes[..100_000]);
    net.providers[4].stop();
    let newer = net.temp.path().join("newer");
    fs::rename(&store, &newer).unwrap();
    fs::rename(&away, &store).unwrap();
    net.providers[4].up();
    let why = quarantine(&net.providers[4]).unwrap();
    assert!(why.contains("an older copy"), "{why}");
    net.wait_for_outcome(&provider, "quarantined");
    net.providers[4].stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&newer, &store).unwrap();
    net.providers[4].up();
    net.wait_for_outcome(&provider, "passed");

    // All of it stands in the owner's ledger as what it was, and none of it as wrong bytes.
    let ledger = net.owner.ok(&["ledger", "show"]);
    assert!(ledger.contains("quarantined") && !ledger.contains("wrong-bytes"), "{ledger}");
}

#[test]
fn packs_and_an_index_that_go_away_while_the_node_runs_are_noticed() {
    let net = Net::start(&[]);
    net.put("file", &noise(1 << 20, 14));
    let gone = [
        (1, None, ".pack is gone"),
        (2, Some("packs"), ".pack is gone"),
        (3, Some("index"), "another index than before"),
    ];
    for (number, replaced, _) in gone {
        let node = &net.providers[number];
        assert_eq!(quarantine(node), None);
        match replaced {
            None => common::packs(node).iter().for_each(|pack| fs::remove_file(pack).unwrap()),
            Some(folder) => replace(&node.dir.join("store").join(folder)),
        }
    }
    for (number, _, sentence) in gone {
        until("the node notices", || quarantine(&net.providers[number]).is_some());
        let why = quarantine(&net.providers[number]).unwrap();
        assert!(why.contains(sentence) && why.contains("start the node again"), "{why}");
        let provider = net.providers[number].peer_id();
        assert_eq!(net.audit(&provider), "quarantined");
    }
    assert_eq!(quarantine(&net.providers[0]), None);
}

/// Puts a copy in a folder's place.
fn replace(folder: &Path) {
    let copied = folder.with_extension("copy");
    copy(folder, &copied);
    fs::rename(folder, folder.with_extension("before")).unwrap();
    fs::rename(&copied, folder).unwrap();
}

/// Stores a file once the owner's node has found a provider again that was started again.
fn put_soon(net: &Net, name: &str, bytes: &[u8]) {
    let file = net.temp.path().join(name);
    fs::write(&file, bytes).unwrap();
    until("the file is stored", || net.owner.run(&["put", file.to_str().unwrap()]).status.success());
}

/// The outcome of an audit of one provider with its reason.
fn audit_reason(net: &Net, provider: &str) -> (String, String) {
    let report = net.owner.json(&["audit", "now", "--provider", provider]);
    let text = |what: &str| report["audits"][0][what].as_str().unwrap().to_owned();
    (text("outcome"), text("reason"))
}

#[test]
fn a_copy_of_the_disk_without_the_contract_is_quarantine_until_the_loss_is_accepted() {
    let mut net = Net::start(&[]);
    let provider = net.providers[4].peer_id();
    let store = net.providers[4].dir.join("store");
    let (before, newer) = (net.temp.path().join("before"), net.temp.path().join("newer"));
    net.providers[4].stop();
    copy(&store, &before);
    net.providers[4].up();
    let bytes = noise(5 << 20, 9);
    put_soon(&net, "file", &bytes);
    net.wait_for_outcome(&provider, "passed");

    net.providers[4].stop();
    fs::rename(&store, &newer).unwrap();
    fs::rename(&before, &store).unwrap();
    let found = net.providers[4].refused(&["store", "check"]);
    assert!(found.contains("an older copy") && found.contains("does not know contract"), "{found}");
    net.providers[4].up();
    let why = quarantine(&net.providers[4]).unwrap();
    assert!(why.contains("an older copy") && why.contains("store accept-loss"), "{why}");
    net.wait_for_outcome(&provider, "quarantined");
    let sentence = net.providers[4].refused(&["store", "accept-loss"]);
    assert!(sentence.contains("stop it first"), "{sentence}");

    // The newer one is gone for good, and so it is when there is only an empty disk.
    for empty in [false, true] {
        net.providers[4].stop();
        if empty {
            fs::remove_dir_all(&store).unwrap();
            let sentence = net.providers[4].refused(&["store", "accept-loss"]);
            assert!(sentence.contains("mount the new disk"), "{sentence}");
            assert!(!store.exists());
            fs::create_dir(&store).unwrap();
        }
        let printed = net.providers[4].ok(&["store", "accept-loss"]);
        assert!(printed.contains("1 contracts are lost"), "{printed}");
        net.providers[4].ok(&["store", "check"]);
        net.providers[4].up();
        assert_eq!(quarantine(&net.providers[4]), None);
        until("it says that they are lost", || {
            let (outcome, reason) = audit_reason(&net, &provider);
            outcome == "no-answer" && reason.contains("disk was lost")
        });
    }
    net.assert_readable("file", &bytes);

    // It was not gone after all.
    net.providers[4].stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&newer, &store).unwrap();
    net.providers[4].up();
    assert!(quarantine(&net.providers[4]).unwrap().contains("mount the right disk"));
    net.providers[4].stop();
    let printed = net.providers[4].ok(&["store", "accept-loss"]);
    assert!(printed.contains("0 contracts are lost"), "{printed}");
    net.providers[4].up();
    net.wait_for_outcome(&provider, "passed");
    let ledger = net.owner.ok(&["ledger", "show"]);
    assert!(!ledger.contains("wrong-bytes"), "{ledger}");
}

#[test]
fn under_a_contract_that_was_given_up_nothing_is_signed_a_second_time() {
    let mut net = Net::start(&[]);
    net.put("file", &noise(1 << 20, 10));
    let provider = net.providers[4].peer_id();
    let store = net.providers[4].dir.join("store");
    let older = net.temp.path().join("older");
    net.providers[4].stop();
    copy(&store, &older);
    net.providers[4].up();
    net.wait_for_outcome(&provider, "passed");
    put_soon(&net, "later", &noise(1 << 20, 11));
    net.providers[4].stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&older, &store).unwrap();
    let printed = net.providers[4].ok(&["store", "accept-loss"]);
    assert!(printed.contains("1 contracts are lost"), "{printed}");
    net.providers[4].up();
    assert_eq!(quarantine(&net.providers[4]), None);
    put_soon(&net, "more", &noise(1 << 20, 12));
    until("it says that they are lost", || audit_reason(&net, &provider).1.contains("disk was lost"));
    net.providers[4].stop();
    net.providers[4].ok(&["ledger", "verify"]);
}

#[test]
fn before_the_first_start_a_check_makes_no_store_and_too_little_disk_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, mount_point) = (temp.path().join("node"), temp.path().join("mount point"));
    fs::create_dir(&mount_point).unwrap();
    let refused = common::run(&dir, &["init", "--provide", "1 KiB"]);
    let sentence = String::from_utf8(refused.stderr).unwrap();
    assert!(sentence.contains("at least 16 MiB are needed to lend"), "{sentence}");
    assert!(!refused.status.success() && !dir.exists());

    let flags = ["--provide", "16 MiB", "--store-dir", mount_point.to_str().unwrap()];
    let mut node = Node::init(&dir, &flags);
    let sentence = node.refused(&["store", "check"]);
    assert!(sentence.contains("no node has run here yet"), "{sentence}");
    assert_eq!(fs::read_dir(&mount_point).unwrap().count(), 0);
    node.up();
    assert_eq!(quarantine(&node), None);
}

#[test]
fn somebodys_folder_is_not_made_a_store() {
    let temp = tempfile::tempdir().unwrap();
    let photos = temp.path().join("photos");
    fs::create_dir_all(photos.join("index")).unwrap();
    fs::write(photos.join("index/important.txt"), "mine").unwrap();
    let flags = ["--provide", "16 MiB", "--store-dir", photos.to_str().unwrap()];
    let mut node = Node::init(&temp.path().join("node"), &flags);
    let before = tree(&photos);
    node.up();
    let why = quarantine(&node).unwrap();
    assert!(why.contains("important.txt") && why.contains("choose an empty folder"), "{why}");
    assert!(node.refused(&["store", "check"]).contains("quarantine"));
    node.stop();
    assert_eq!(tree(&photos), before);
}

#[test]
fn the_store_of_another_node_is_quarantine() {
    let mut net = Net::start(&[]);
    net.put("file", &noise(1 << 20, 13));
    net.providers[2].stop();
    net.owner.stop();
    let cases = [(&net.providers[2], "lends under contract"), (&net.owner, "is the owner of contract")];
    for (number, (node, sentence)) in cases.into_iter().enumerate() {
        let store = node.dir.join("store");
        let dir = net.temp.path().join(format!("fresh-{number}"));
        let flags = ["--provide", "128 MiB", "--store-dir", store.to_str().unwrap()];
        let mut fresh = Node::init(&dir, &flags);
        fresh.up();
        let why = quarantine(&fresh).unwrap();
        assert!(why.contains("another node's store") && why.contains(sentence), "{why}");
        assert_eq!(fresh.status()["contracts"], 0);
        fresh.stop();
        assert!(!dir.join("store-id").exists());
        let sentence = fresh.refused(&["store", "accept-loss"]);
        assert!(sentence.contains("another node's store"), "{sentence}");
    }
    net.providers[2].up();
    assert_eq!(quarantine(&net.providers[2]), None);
}

#[test]
fn a_disk_that_cannot_be_written_is_quarantine() {
    let wrapper = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command
    };
    if !wrapper("true").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "this test needs unshare and the right to mount");
        println!("skipped: this test needs unshare and the right to mount");
        return;
    }
    let mut net = Net::start(&[]);
    net.put("file", &noise(1 << 20, 4));
    let provider = net.providers[3].peer_id();
    net.providers[3].stop();
    let store = net.providers[3].dir.join("store");
    let script =
        format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && exec \"$@\"", store.display());
    let mut read_only = wrapper(&script);
    read_only.arg(PROGRAM);
    net.providers[3].up_by(read_only);
    let why = quarantine(&net.providers[3]).unwrap();
    assert!(why.contains("Read-only"), "{why}");
    net.wait_for_outcome(&provider, "quarantined");
    net.providers[3].stop();
    net.providers[3].up();
    net.wait_for_outcome(&provider, "passed");
}

#[test]
fn a_store_that_has_stopped_proves_what_it_acknowledged_and_takes_nothing() {
    let mut net = Net::start(&[]);
    let bytes = noise(6 << 20, 15);
    net.put("file", &bytes);
    let provider = net.providers[3].peer_id();
    net.providers[3].stop();
    // A write behind the end of the pack fails from here on, as on a disk that is failing.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh", PROGRAM]);
    net.providers[3].up_by(limited);
    net.wait_for_outcome(&provider, "passed");
    put_soon(&net, "more", &noise(2 << 20, 16));
    until("it has had to write", || quarantine(&net.providers[3]).is_some());
    let why = quarantine(&net.providers[3]).unwrap();
    assert!(why.contains("the store has stopped after a disk error"), "{why}");
    let before = storage(&net.providers[3])("used_bytes");
    net.put("others have it", &noise(1 << 20, 17));
    assert_eq!(storage(&net.providers[3])("used_bytes"), before);
    assert_eq!(net.audit(&provider), "passed");
    let out = net.temp.path().join("out");
    net.owner.ok(&["get", "/file", out.to_str().unwrap(), "--prefer", &provider]);
    assert!(fs::read(out).unwrap() == bytes);
    net.providers[3].stop();
    net.providers[3].up();
    assert_eq!(quarantine(&net.providers[3]), None);
    net.wait_for_outcome(&provider, "passed");
}

#[test]
fn space_of_removed_files_comes_back_after_the_term_of_the_trash() {
    let net = Net::start(&[("trash_term", "\"5 s\"")]);
    net.put("kept", &noise(2 << 20, 5));
    let provider = &net.providers[0];
    let before = storage(provider);
    net.put("gone", &noise(24 << 20, 6));
    let full = storage(provider);
    assert!(full("free_bytes") + (10 << 20) < before("free_bytes"));
    net.owner.ok(&["rm", "--forever", "-y", "/gone"]);
    let removed = storage(provider);
    assert!(removed("trash_bytes") + removed("dead_bytes") > 10 << 20);
    assert!(removed("free_bytes") <= full("free_bytes") + (1 << 20));
    assert_accounts(provider);
    until("the space is free again", || {
        provider.ok(&["store", "compact"]);
        storage(provider)("free_bytes") + (5 << 20) > before("free_bytes")
    });
    assert_eq!(storage(provider)("trash_bytes"), 0);
    assert_accounts(provider);
    assert_eq!(net.audit(&provider.peer_id()), "passed");
    net.assert_readable("kept", &noise(2 << 20, 5));
}

#[test]
fn files_can_be_removed_when_the_providers_are_full_of_others() {
    let net = Net::start(&[("disk", "\"16 MiB\"")]);
    let file = net.temp.path().join("filling");
    let mut names = Vec::new();
    // Until none fits: each chunk of a file is half as long.
    for len in [4 << 20, 300 << 10] {
        let refused = loop {
            let name = format!("/filling-{}", names.len());
            fs::write(&file, noise(len, names.len() as u8)).unwrap();
            let put = net.owner.run(&["put", file.to_str().unwrap(), "--to", &name]);
            if !put.status.success() {
                break String::from_utf8(put.stderr).unwrap();
            }
            names.push(name);
            assert!(names.len() < 100);
        };
        assert!(refused.contains("remove files or find more providers"), "{refused}");
    }
    assert!(names.len() > 4, "{names:?}");
    for provider in &net.providers {
        let free = storage(provider)("free_bytes");
        assert!((3 << 19..(2 << 20) + (600 << 10)).contains(&free), "{free}");
    }
    names.iter().for_each(|name| drop(net.owner.ok(&["rm", "--forever", "-y", name])));
}

#[test]
fn a_lost_index_is_made_again_from_the_packs() {
    let mut net = Net::start(&[]);
    let bytes = noise(5 << 20, 7);
    net.put("file", &bytes);
    net.put("gone", &noise(1 << 20, 8));
    net.owner.ok(&["rm", "--forever", "-y", "/gone"]);
    let provider = net.providers[5].peer_id();
    assert!(net.providers[5].refused(&["store", "rebuild-index"]).contains("stop it first"));
    for node in net.providers.iter_mut().skip(1).chain([&mut net.owner]) {
        node.stop();
        fs::remove_dir_all(node.dir.join("store/index")).unwrap();
    }
    // An owner cannot go on without its book, and says what is missing.
    let sentence = net.owner.refused(&["up"]);
    assert!(sentence.contains("rebuild-index"), "{sentence}");
    net.providers[5].up();
    net.providers[5].stop();
    for node in net.providers.iter_mut().skip(1).chain([&mut net.owner]) {
        let printed = node.ok(&["store", "rebuild-index"]);
        assert!(printed.contains("made anew"), "{printed}");
        node.ok(&["store", "check"]);
        node.up();
    }
    net.wait_for_providers();
    net.wait_for_outcome(&provider, "passed");
    let audits = net.owner.json(&["audit", "now"]);
    let audits = audits["audits"].as_array().unwrap();
    assert!(audits.len() == PROVIDERS && audits.iter().all(|it| it["outcome"] == "passed"), "{audits:?}");
    net.assert_readable("file", &bytes);
    net.put("more", &bytes[..50_000]);
    net.providers.iter().for_each(assert_accounts);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Names and bytes of all files, but for the lock's.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file() && entry.file_name() != "lock.mdb");
    files.map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap())).collect()
}
