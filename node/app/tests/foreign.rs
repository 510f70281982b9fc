//! Ledgers, proofs and exports of real nodes, checked by programs that others wrote: Go's checksum
//! database, pymerkle, hledger, beancount. They must accept what is right and refuse what was changed.
#![allow(clippy::unwrap_used)]

#[path = "foreign/books.rs"]
mod books;
mod common;
#[path = "foreign/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use books::{assert_guarded, eventful, owed_by_hledger};
use common::{Devnet, noise, run, until};
use commonhold_format::ids::PartyId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::verifier_key;
use commonhold_format::tree::chunk_id;
use commonhold_ledger::export::{Format, write};
use commonhold_ledger::source;
use commonhold_ledger::verify::Log;
use programs::{Auditor, bean_check, has_beancount, has_hledger, hledger_check, pymerkle_roots};
use serde_json::Value;

/// A network with some files and two audits, and so two receipts of each provider.
fn lived_in(dir: &Path) -> Devnet {
    let net = Devnet::start(&dir.join("net"), &["--nodes", "6", "--ledgers"]);
    let file = dir.join("file");
    fs::write(&file, noise(1_500_000, 1)).unwrap();
    net.ok(&["put", file.to_str().unwrap()]);
    net.ok(&["audit", "now"]);
    net.ok(&["get", "/file", dir.join("back").to_str().unwrap()]);
    net.ok(&["put", file.to_str().unwrap(), "--to", "/again"]);
    net.ok(&["audit", "now"]);
    // A provider may log a receipt a moment after the owner has.
    for node in net.description["nodes"].as_array().unwrap() {
        let dir = Path::new(node["data_dir"].as_str().unwrap());
        until("both receipts are in a provider's ledger", || {
            let balance = json_of(dir, &["ledger", "balance"]);
            balance["accounts"][0]["contracts"][0]["receipt_sequence"].as_u64() >= Some(2)
        });
    }
    net
}

fn json_of(dir: &Path, arguments: &[&str]) -> Value {
    let output = run(dir, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text_of(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every note as `ledger export` tells of it.
fn notes_of(dir: &Path) -> Vec<Value> {
    let lines = text_of(dir, &["ledger", "export", "--format", "jsonl"]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file with these bytes, as a name.
fn file(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The answer to a GET: its status, its headers in lower case, its body.
fn fetch(url: &str, path: &str) -> (u16, String, Vec<u8>) {
    use std::io::{Read, Write};
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

/// Entries that a checkpoint covers.
fn size_of(checkpoint: &[u8]) -> u64 {
    std::str::from_utf8(checkpoint).unwrap().lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn gos_checksum_database_reads_the_tiles_of_running_nodes() {
    let temp = tempfile::tempdir().unwrap();
    let Some(auditor) = Auditor::build(temp.path()) else { return };
    let net = lived_in(temp.path());
    let owner = net.dir.join("owner");
    let url = net.description["owner"]["ledger"].as_str().unwrap();
    let verified = json_of(&owner, &["ledger", "verify"]);
    let key = verified["verifier_key"].as_str().unwrap();
    auditor.confirms(&["log", url, key]);
    for node in net.description["nodes"].as_array().unwrap() {
        let verified = json_of(Path::new(node["data_dir"].as_str().unwrap()), &["ledger", "verify"]);
        let key_of_node = verified["verifier_key"].as_str().unwrap();
        auditor.confirms(&["log", node["ledger"].as_str().unwrap(), key_of_node]);
        // A head of another node's ledger is not taken for this one's.
        auditor.refuses(&["log", node["ledger"].as_str().unwrap(), key]);
    }

    // The layout: types, how long answers may be kept, and nothing beyond the head.
    let (status, head, checkpoint) = fetch(url, "checkpoint");
    let before = size_of(&checkpoint);
    assert_eq!(status, 200);
    assert!((30..200).contains(&before), "{before}");
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let old = file(temp.path(), "old-checkpoint", &checkpoint);
    let partial = [format!("tile/0/000.p/{before}"), format!("tile/entries/000.p/{before}")];
    let early: Vec<Vec<u8>> = partial
        .iter()
        .map(|path| {
            let (status, head, body) = fetch(url, path);
            assert_eq!(status, 200, "{path}");
            assert!(head.contains("content-type: application/octet-stream"), "{head}");
            assert!(head.contains("immutable"), "{head}");
            body
        })
        .collect();
    assert_eq!(early[0].len() as u64, before * 32);
    for path in [
        "tile/0/000.p/255",
        "tile/entries/000.p/255",
        "tile/0/000",
        "tile/0/001",
        "tile/1/000.p/1",
        "tile/8/000.p/1",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/0.p/1",
        "tile/00/000.p/1",
        "tile/0/x000/000.p/1",
        "tile/8/0/000.p/1",
        "tile",
        "v1/status",
        "",
    ] {
        let (status, head, _) = fetch(url, path);
        assert_eq!(status, 404, "{path}: {head}");
        assert!(!head.contains("immutable"), "{path}: {head}");
    }

    // It grows past a full tile, and continues what was shown before.
    until("the ledger has more than 256 notes", || {
        net.ok(&["audit", "now"]);
        net.json(&["ledger", "verify"])["size"].as_u64().unwrap() > 256
    });
    let seen = auditor.confirms(&["log", url, key, &old]);
    assert!(seen.contains(&format!("\"continues\":{before}")), "{seen}");
    for (path, early) in partial.iter().zip(&early) {
        assert_eq!(fetch(url, path).2, *early, "{path}");
    }
    let full = fetch(url, "tile/0/000").2;
    assert_eq!(full.len(), 256 * 32);
    assert!(full.starts_with(&early[0]));
    assert!(fetch(url, "tile/entries/000").2.starts_with(&early[1]));
    let higher = fetch(url, "tile/1/000.p/1");
    assert_eq!((higher.0, higher.2.len()), (200, 32));
    net.ok(&["audit", "now"]);
    net.json(&["ledger", "verify"]);
    assert_eq!(fetch(url, "tile/0/000").2, full);
    // A head that was altered is nobody's head to continue.
    let mut altered = checkpoint;
    let root_at = altered.iter().enumerate().filter(|it| *it.1 == b'\n').nth(1).unwrap().0 + 3;
    altered[root_at] = if altered[root_at] == b'A' { b'B' } else { b'A' };
    let altered = file(temp.path(), "altered-checkpoint", altered);
    auditor.refuses(&["log", url, key, &altered]);
}

#[test]
fn gos_checksum_database_checks_proofs_notes_and_evidence() {
    let temp = tempfile::tempdir().unwrap();
    let Some(auditor) = Auditor::build(temp.path()) else { return };
    let net = lived_in(temp.path());
    let owner = net.dir.join("owner");
    let verified = json_of(&owner, &["ledger", "verify"]);
    let (key, size) = (verified["verifier_key"].as_str().unwrap(), verified["size"].as_u64().unwrap());
    let notes = notes_of(&owner);
    assert_eq!(notes.len() as u64, size);

    // The ledger as a bundle lays it out, in files: one changed byte anywhere is refused.
    let (tar, tiles) = (temp.path().join("bundle.tar"), temp.path().join("tiles"));
    text_of(&owner, &["ledger", "bundle", tar.to_str().unwrap()]);
    tar::Archive::new(fs::File::open(&tar).unwrap()).unpack(&tiles).unwrap();
    let log = tiles.to_str().unwrap();
    auditor.confirms(&["log", log, key]);
    let own_line = fs::read_to_string(tiles.join("checkpoint")).unwrap();
    let own_line = own_line.find("\n\n\u{2014} commonhold/ledger/").unwrap();
    for (path, places) in [
        ("checkpoint".to_owned(), vec![3, own_line - 2, own_line + 10, own_line + 200]),
        (format!("tile/0/000.p/{size}"), vec![0, 17, 32 * (size as usize - 1) + 31]),
        (format!("tile/entries/000.p/{size}"), vec![0, 1, 2, 700, 5_000]),
    ] {
        let genuine = fs::read(tiles.join(&path)).unwrap();
        for at in places {
            let mut changed = genuine.clone();
            changed[at] ^= 1;
            fs::write(tiles.join(&path), changed).unwrap();
            auditor.refuses(&["log", log, key]);
        }
        fs::write(tiles.join(&path), &genuine[..genuine.len() - 1]).unwrap();
        auditor.refuses(&["log", log, key]);
        fs::write(tiles.join(&path), genuine).unwrap();
    }
    auditor.confirms(&["log", log, key]);

    // Proofs that this program makes.
    let receipt = notes.iter().rposition(|note| note["kind"] == "receipt").unwrap().to_string();
    let last = size.to_string();
    let inclusions = [("0", &last), (&receipt, &last), ("0", &"1".to_owned()), ("2", &"33".to_owned())];
    let consistencies = [("1", &last), ("32", &last), (&last, &last), ("7", &"9".to_owned())];
    let inclusions = inclusions.map(|(at, of)| json_of(&owner, &["ledger", "prove", at, "--size", of]));
    let consistencies =
        consistencies.map(|(old, new)| json_of(&owner, &["ledger", "prove-consistency", old, new]));
    for (number, proof) in inclusions.iter().chain(&consistencies).enumerate() {
        let proof = file(temp.path(), &format!("{number}.json"), proof.to_string());
        assert_eq!(auditor.confirms(&["proofs", log, key, &proof]).trim(), "1");
    }
    let refused = |change: &dyn Fn(&mut Value), proof: &Value| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_ne!(changed, *proof);
        auditor.refuses(&["proofs", log, key, &file(temp.path(), "changed.json", changed.to_string())])
    };
    let flip = |hash: &mut Value| {
        let text = hash.as_str().unwrap();
        let flipped = if text.starts_with('A') { "B" } else { "A" };
        *hash = format!("{flipped}{}", &text[1..]).into();
    };
    for proof in [&inclusions[1], &inclusions[3], &consistencies[0], &consistencies[3]] {
        let hashes = proof["proof"].as_array().unwrap().len();
        for number in 0..hashes {
            refused(&|it| flip(&mut it["proof"][number]), proof);
        }
        refused(&|it| drop(it["proof"].as_array_mut().unwrap().pop()), proof);
        refused(&|it| it["proof"].as_array_mut().unwrap().push(proof["proof"][0].clone()), proof);
        refused(&|it| it["proof"] = Vec::<Value>::new().into(), proof);
    }
    let plus = |value: &mut Value, more: i64| *value = (value.as_i64().unwrap() + more).into();
    refused(&|it| plus(&mut it["index"], 1), &inclusions[1]);
    refused(&|it| plus(&mut it["index"], -1), &inclusions[1]);
    refused(&|it| plus(&mut it["size"], -1), &inclusions[1]);
    refused(&|it| flip(&mut it["root"]), &inclusions[1]);
    refused(&|it| it["note"] = inclusions[0]["note"].clone(), &inclusions[1]);
    refused(&|it| plus(&mut it["old"]["size"], 1), &consistencies[3]);
    refused(&|it| flip(&mut it["old"]["root"]), &consistencies[3]);
    refused(&|it| flip(&mut it["new"]["root"]), &consistencies[3]);

    // One file with note, path and head, as C2SP has it.
    let whole = text_of(&owner, &["ledger", "prove", &receipt]);
    let proof = file(temp.path(), "receipt.tlog-proof", &whole);
    let note = auditor.confirms(&["tlog-proof", key, &proof]);
    assert_eq!(inclusions[1]["note"], note);
    for (from, to) in [("extra Y", "extra Z"), ("index ", "index 1"), ("\n\ncommonhold", "\n\ncommonhole")] {
        let changed = whole.replacen(from, to, 1);
        assert_ne!(changed, whole);
        auditor.refuses(&["tlog-proof", key, &file(temp.path(), "changed.tlog-proof", changed)]);
    }
    let without_head = run(&owner, &["ledger", "prove", "0", "--size", "1"]);
    assert!(String::from_utf8_lossy(&without_head.stderr).contains("use --json"), "{without_head:?}");

    // A receipt that both parties signed.
    let receipt: usize = receipt.parse().unwrap();
    let signers: Vec<PartyId> = notes[receipt]["signers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap().parse().unwrap())
        .collect();
    let [first, second] = [0, 1].map(|at| verifier_key(&signers[at]));
    let stranger = verifier_key(&PartyKey::from_seed(&[9; 32]).id());
    let path = file(temp.path(), "receipt.note", &note);
    let text = auditor.confirms(&["note", &path, &first, &second]);
    assert!(text.starts_with("commonhold/receipt/v1\n"), "{text}");
    auditor.refuses(&["note", &path, &first, &second, &stranger]);
    let dearer = note.replacen("owed_microcredits: ", "owed_microcredits: 1", 1);
    auditor.refuses(&["note", &file(temp.path(), "dearer.note", dearer), &first, &second]);

    // What audits showed, from the leaf to the inventory that both signed.
    let revisions: BTreeMap<(&str, &str), &Value> = notes
        .iter()
        .filter(|note| note["kind"] == "revision")
        .map(|note| ((note["contract"].as_str().unwrap(), note["sequence"].as_str().unwrap()), note))
        .collect();
    let mut checked = 0;
    for record in notes.iter().filter(|note| note["kind"] == "audit-record") {
        let revision =
            revisions[&(record["contract"].as_str().unwrap(), record["revision"].as_str().unwrap())];
        let path = owner.join(format!("evidence/{}.cbor", record["evidence"].as_str().unwrap()));
        let (root, entries) =
            (revision["inventory_root"].as_str().unwrap(), revision["entries"].as_str().unwrap());
        let leaves = auditor.confirms(&["evidence", path.to_str().unwrap(), root, entries]);
        assert_eq!(leaves.trim().parse(), Ok(record["leaves"].as_u64().unwrap()));
        if checked == 0 {
            let genuine = fs::read(&path).unwrap();
            for at in (0..genuine.len()).step_by(genuine.len() / 60) {
                let mut changed = genuine.clone();
                changed[at] ^= 4;
                let changed = file(temp.path(), "changed.cbor", changed);
                auditor.refuses(&["evidence", &changed, root, entries]);
            }
            let cut = file(temp.path(), "cut.cbor", &genuine[..genuine.len() - 1]);
            auditor.refuses(&["evidence", &cut, root, entries]);
        }
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");
}

/// The first chunk in a provider's packs, and its id.
fn a_chunk(provider: &Path) -> (Vec<u8>, String) {
    for pack in fs::read_dir(provider.join("store/packs")).unwrap() {
        let bytes = fs::read(pack.unwrap().path()).unwrap();
        let Some(at) = bytes.windows(4).position(|it| it == b"CHc\x02") else { continue };
        let len = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let id = bytes[at + 8..at + 40].iter().map(|byte| format!("{byte:02x}")).collect();
        return (bytes[at + 88..at + 88 + len].to_vec(), id);
    }
    panic!("there is no chunk");
}

#[test]
fn pymerkle_finds_the_same_roots() {
    let temp = tempfile::tempdir().unwrap();
    if pymerkle_roots(&["chunk"]).is_none() {
        return;
    }
    let net = lived_in(temp.path());
    let (owner, provider) = (net.dir.join("owner"), net.dir.join("provider-1"));
    for (number, dir) in [&owner, &provider].into_iter().enumerate() {
        let (tar, tiles) = (temp.path().join(format!("{number}.tar")), temp.path().join(format!("{number}")));
        text_of(dir, &["ledger", "bundle", tar.to_str().unwrap()]);
        tar::Archive::new(fs::File::open(&tar).unwrap()).unpack(&tiles).unwrap();
        let log = Log::load(&mut *source::open(&tiles).unwrap()).unwrap();
        let ours: Vec<String> =
            (0..=log.head.size).map(|size| hex(&log.tree.root_at(size).unwrap())).collect();
        assert!(ours.len() > 5);
        assert_eq!(pymerkle_roots(&["log", tiles.to_str().unwrap()]).unwrap(), ours);
    }
    // Chunks: one as it lies on a provider's disk, and lengths with a short last leaf.
    let (chunk, id) = a_chunk(&provider);
    let mut expected = vec![id];
    let mut files = vec![file(temp.path(), "chunk", chunk)];
    for len in [1, 1023, 1024, 1025, 3 * 1024 + 7, 100_001, 1 << 20] {
        let bytes = noise(len, 3);
        expected.push(chunk_id(&bytes).to_string());
        files.push(file(temp.path(), &format!("chunk-{len}"), bytes));
    }
    let mut arguments = vec!["chunk"];
    arguments.extend(files.iter().map(String::as_str));
    assert_eq!(pymerkle_roots(&arguments).unwrap(), expected);
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn hledger_and_beancount_accept_a_nodes_books_and_notice_a_changed_amount() {
    let temp = tempfile::tempdir().unwrap();
    let (hledger, beancount) = (has_hledger(), has_beancount());
    if !hledger && !beancount {
        return;
    }
    let net = lived_in(temp.path());
    for dir in ["owner", "provider-1"] {
        let data = net.dir.join(dir);
        if hledger {
            let path = temp.path().join(format!("{dir}.journal"));
            text_of(&data, &["ledger", "export", "--format", "hledger", "--out", path.to_str().unwrap()]);
            let accounts = json_of(&data, &["ledger", "balance"]);
            let owed: BTreeMap<String, i128> = accounts["accounts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| {
                    let owed = it["owed_to_me_microcredits"].as_str().unwrap().parse().unwrap();
                    (it["party"].as_str().unwrap()[..16].to_owned(), owed)
                })
                .collect();
            assert_eq!(owed.len(), if dir == "owner" { 6 } else { 1 });
            assert!(owed.values().all(|owed| (*owed > 0) == (dir != "owner")), "{owed:?}");
            assert_eq!(owed_by_hledger(&path), owed);
            let books = fs::read_to_string(&path).unwrap();
            assert_guarded(temp.path(), &format!("{dir}-changed.journal"), &books, hledger_check);
            // What is there is not overwritten.
            let again =
                run(&data, &["ledger", "export", "--format", "hledger", "--out", path.to_str().unwrap()]);
            assert_eq!(again.status.code(), Some(1));
        }
        if beancount {
            let books = text_of(&data, &["ledger", "export", "--format", "beancount"]);
            assert_guarded(temp.path(), &format!("{dir}.beancount"), &books, bean_check);
        }
    }
}

#[test]
fn hledger_and_beancount_accept_books_of_an_eventful_life() {
    let temp = tempfile::tempdir().unwrap();
    let mut log = eventful(&temp.path().join("ledger"));
    let mut export = |format| {
        let mut bytes = Vec::new();
        write(&mut log, format, 1, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let (journal, beancount) = (export(Format::Hledger), export(Format::Beancount));
    if has_hledger() {
        assert_guarded(temp.path(), "changed.journal", &journal, hledger_check);
        let path: PathBuf = file(temp.path(), "eventful.journal", &journal).into();
        let owed: BTreeMap<String, i128> = log
            .accounts(&log.party)
            .iter()
            .map(|it| (it.party.to_string()[..16].to_owned(), it.owed_to_me()))
            .collect();
        assert_eq!(owed.len(), 2);
        assert_eq!(owed_by_hledger(&path), owed);
    }
    if has_beancount() {
        assert_guarded(temp.path(), "eventful.beancount", &beancount, bean_check);
    }
}
