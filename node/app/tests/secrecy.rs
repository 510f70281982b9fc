//! What others get to see: every byte that leaves the owner's process, and every file on providers, through
//! a session with known names and contents (attacks 17 and 19).
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Devnet, answer, signal, until};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

/// Records every packet on loopback into a file, once it has said so.
const RECORD: &str = r#"
import socket, sys
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
seen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
seen.bind(("lo", 0))
print("recording", flush=True)
with open(sys.argv[1], "wb") as out:
    while True:
        packet, address = seen.recvfrom(1 << 17)
        # Loopback shows each packet twice: on its way out, and in.
        if address[2] == socket.PACKET_OUTGOING:
            continue
        # Not what the command line and its own node tell each other: their ports are given.
        ip = packet[14:]
        if len(ip) > 24 and ip[0] == 0x45 and ip[9] == 6:
            ports = {int.from_bytes(ip[20:22], "big"), int.from_bytes(ip[22:24], "big")}
            if ports & set(map(int, sys.argv[2:])):
                continue
        out.write(packet)
        out.flush()
"#;

/// Every regular file below a folder.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        signal(self.0.id(), "KILL");
        let _ = self.0.wait();
    }
}

fn recorder(to: &Path, ports: &[String]) -> Option<Ended> {
    let started = Command::new("python3")
        .args(["-c", RECORD])
        .arg(to)
        .args(ports)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.ok()?;
    let mut said = String::new();
    let out = child.stdout.take()?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).ok()?;
    (said == "recording\n").then_some(Ended(child))
}

#[test]
fn attack_17_and_19_nobody_else_sees_names_contents_sizes_shapes_or_secrets() {
    let temp = tempfile::tempdir().unwrap();
    let net = Devnet::start(&temp.path().join("net"), &["--nodes", "6"]);
    let port = |what: &str| {
        let url = net.description["owner"][what].as_str().unwrap();
        url.rsplit(':').next().unwrap().to_owned()
    };
    let record = temp.path().join("packets");
    let recorder = recorder(&record, &[port("api"), port("s3")]);
    if recorder.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "packets cannot be recorded here");
        println!("skipped: packets on loopback cannot be recorded; only files of providers are looked at");
    }
    // A session in which everything has a name, a length and bytes that are known.
    let names =
        ["Marrakesh-diary", "payslip-4711.txt", "confidential-plan", "Zanzibar.bin", "renamed-Xanadu"];
    let contents = [&b"the-rain-in-spain-stays-mainly"[..], b"quick-brown-foxes-jumped-twice"];
    let root = temp.path().join(names[0]);
    fs::create_dir_all(root.join(names[2])).unwrap();
    fs::write(root.join(names[1]), contents[0].repeat(40)).unwrap();
    fs::write(root.join(names[2]).join(names[3]), contents[1].repeat(23_511)).unwrap();
    net.ok(&["put", "-r", root.to_str().unwrap()]);
    fs::write(root.join(names[1]), contents[1].repeat(77)).unwrap();
    let at = |rest: &str| format!("/{}/{rest}", names[0]);
    net.ok(&["put", root.join(names[1]).to_str().unwrap(), "--to", &at(names[1])]);
    net.ok(&["mv", &at(names[2]), &format!("/{}", names[4])]);
    net.ok(&["cp", &at(names[1]), &format!("/{}/{}", names[4], names[1])]);
    net.ok(&["rm", &format!("/{}/{}", names[4], names[1])]);
    let share = net.json(&["share", &format!("/{}", names[0]), "--folder"]);
    let link = share["link"].as_str().unwrap().to_owned();
    let mut child = Command::new(common::PROGRAM)
        .arg("--data-dir")
        .arg(net.dir.join("owner"))
        .args(["--json", "share", &at(names[1]), "--password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"swordfish-and-chips\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    // Somebody opens the link through a gateway: the record and a page are asked for, the secret is not sent.
    let gateway = net.description["owner"]["gateway"].as_str().unwrap().to_owned();
    let id = link.split("/s/").nth(1).unwrap().split('#').next().unwrap();
    let secret = BASE64URL_NOPAD.decode(link.split('#').nth(1).unwrap().as_bytes()).unwrap();
    let asked = answer(gateway.trim_start_matches("http://"), &format!("/s/{id}/record"));
    assert!(asked.starts_with(b"HTTP/1.1 200"));
    // One's own node opens it from standard input.
    let mut child = Command::new(common::PROGRAM)
        .arg("--data-dir")
        .arg(net.dir.join("owner"))
        .args(["open", "--list"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{link}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(names[0]), "{output:?}");
    net.ok(&["get", "-r", &format!("/{}", names[0]), temp.path().join("back").to_str().unwrap()]);
    net.json(&["audit", "now"]);
    net.json(&["drive", "check"]);
    net.ok(&["unshare", &link]);

    let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
    for name in names {
        needles.push((format!("the name {name}"), name.as_bytes().to_vec()));
        needles
            .push((format!("the name {name} in hexadecimal"), HEXLOWER.encode(name.as_bytes()).into_bytes()));
    }
    for content in contents {
        needles.push(("contents".to_owned(), content.to_vec()));
    }
    needles.push(("the link's secret".to_owned(), secret.clone()));
    needles.push(("the link's secret as text".to_owned(), link.split('#').nth(1).unwrap().into()));
    needles.push(("the link's secret in hexadecimal".to_owned(), HEXLOWER.encode(&secret).into_bytes()));
    needles.push(("the password".to_owned(), b"swordfish-and-chips".to_vec()));
    // Exact lengths, as texts and as the integers that formats here are made of.
    for len in [30 * 40u64, 30 * 23_511, 30 * 77] {
        needles.push((format!("the length {len} in CBOR"), {
            let mut cbor = vec![0x1a];
            cbor.extend_from_slice(&(len as u32).to_be_bytes());
            if len > u64::from(u16::MAX) { cbor } else { Vec::new() }
        }));
        needles.push((format!("the length {len} in 64 bits"), len.to_be_bytes().to_vec()));
    }
    needles.retain(|(_, needle)| !needle.is_empty());
    let mut looked_at = 0;
    for node in net.description["nodes"].as_array().unwrap() {
        for file in files(Path::new(node["data_dir"].as_str().unwrap())) {
            // Indexes are maps of a gigabyte; what is not a hole is read all the same.
            let Ok(bytes) = fs::read(&file) else { continue };
            looked_at += bytes.len();
            for (what, needle) in &needles {
                assert!(!contains(&bytes, needle), "{what} is in {}", file.display());
            }
        }
    }
    assert!(looked_at > 1_500_000, "{looked_at} bytes on providers");
    // Nor in the log of the owner's own node, in its metrics, or on a command line of this machine.
    let owner = &net.description["owner"];
    let log = net.dir.join("owner").join("node.log");
    let metrics = answer(owner["api"].as_str().unwrap().trim_start_matches("http://"), "/metrics");
    assert!(metrics.starts_with(b"HTTP/1.1 200") && contains(&metrics, b"commonhold_"));
    let mut shown = vec![("the owner's log", fs::read(log).unwrap()), ("the metrics", metrics)];
    for process in fs::read_dir("/proc").unwrap() {
        // Processes end meanwhile.
        if let Ok(line) = fs::read(process.unwrap().path().join("cmdline")) {
            shown.push(("a command line", line));
        }
    }
    for (place, bytes) in &shown {
        for (what, needle) in needles.iter().filter(|(what, _)| !what.contains("length")) {
            assert!(!contains(bytes, needle), "{what} is in {place}");
        }
    }
    if recorder.is_some() {
        until("the packets are written", || fs::metadata(&record).unwrap().len() > 1_500_000);
        drop(recorder);
        let packets = fs::read(&record).unwrap();
        for (what, needle) in &needles {
            assert!(!contains(&packets, needle), "{what} left the owner's process");
        }
    }
}
