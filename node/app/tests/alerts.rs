//! Alerts: what a real node sends to an address of its operator's, once for each beginning and end.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use common::{Net, Node, PROGRAM, noise, packs, run, until};
use serde_json::Value;

/// A request that came, and its body.
type Came = (Vec<String>, Value);

/// A small server that keeps what it is sent. It answers with each of `answers` once, and then with 204.
struct Hook {
    url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Hook {
    fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/services/B0-address-that-is-secret", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let (keep, mut answers) = (came.clone(), answers.to_vec());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() <= 2 {
                        break;
                    }
                    head.push(line.trim().to_owned());
                }
                let length = head.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
                });
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                keep.lock().unwrap().push((head, serde_json::from_slice(&body).unwrap()));
                let answer = if answers.is_empty() { "204 No Content" } else { answers.remove(0) };
                // The node may have gone away.
                let _ = write!(reader.get_mut(), "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Self { url, came }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Messages about an alert, in their order, without those that came again.
    fn about(&self, alert: &str) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        for (_, message) in self.came() {
            if message["alert"] == alert && messages.iter().all(|it| it["id"] != message["id"]) {
                messages.push(message);
            }
        }
        messages
    }

    fn states(&self, alert: &str) -> Vec<String> {
        self.about(alert).iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
    }

    fn settings(&self) -> [(&'static str, String); 2] {
        [("# url", format!("{:?}", self.url)), ("settle", "\"1 s\"".to_owned())]
    }
}

#[test]
fn each_beginning_and_end_is_told_once_and_tried_again_until_it_is_taken() {
    let temp = tempfile::tempdir().unwrap();
    let hook = Hook::start(&["500 Internal Server Error", "429 Too Many Requests", "400 Bad Request"]);
    let mut node = Node::init(&temp.path().join("node"), &["--provide", "64 MiB"]);
    hook.settings().iter().for_each(|(key, value)| node.set(key, value));
    node.set("# secret_file", "\"alerts.secret\"");
    node.set("level", "\"debug\"");
    fs::write(node.dir.join("alerts.secret"), "Bearer swordfish-4711\nnothing of this line\n").unwrap();
    let log = temp.path().join("log");
    let up = |node: &mut Node| {
        let mut command = Command::new(PROGRAM);
        let to = File::options().create(true).append(true).open(&log).unwrap();
        command.stderr(to);
        node.up_by(command);
    };
    up(&mut node);
    until("the message comes three times", || hook.came().len() >= 3);
    let came = hook.came();
    let (head, message) = &came[0];
    assert_eq!(head[0], "POST /services/B0-address-that-is-secret HTTP/1.1");
    let has = |line: &str| head.iter().any(|it| it.eq_ignore_ascii_case(line));
    assert!(has("authorization: Bearer swordfish-4711") && has("content-type: application/json"), "{head:?}");
    assert_eq!((&message["alert"], &message["state"]), (&"no_peers".into(), &"began".into()));
    assert_eq!(message["node"], node.peer_id());
    assert!(came[..3].iter().all(|(_, again)| again == message), "the same message came again");

    // Another node joins: the end is told.
    let address = node.status()["addresses"][0].as_str().unwrap().to_owned();
    let mut other = Node::init(&temp.path().join("other"), &["--bootstrap", &address]);
    other.up();
    until("the end is told", || hook.states("no_peers") == ["began", "ended"]);
    // The disk is gone: also after a restart it is told once.
    node.stop();
    fs::rename(node.dir.join("store"), node.dir.join("elsewhere")).unwrap();
    node.set("disk_percent", "1");
    up(&mut node);
    until("quarantine is told", || hook.states("quarantine") == ["began"]);
    node.stop();
    up(&mut node);
    // Long enough to look twice.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    node.stop();
    fs::rename(node.dir.join("elsewhere"), node.dir.join("store")).unwrap();
    up(&mut node);
    until("its end is told", || hook.states("quarantine") == ["began", "ended"]);
    // A hundredth of a new store is records and reserve.
    until("the disk is filling", || hook.states("disk_filling") == ["began"]);
    for alert in ["no_peers", "quarantine", "disk_filling"] {
        let states = hook.states(alert);
        assert!(states.iter().zip(["began", "ended"].iter().cycle()).all(|(is, be)| is == be), "{states:?}");
    }
    let told = hook.about("quarantine");
    assert!(told[0]["what_to_do"].as_str().unwrap().contains("status"), "{told:?}");
    assert!(told[1]["sentence"].as_str().unwrap().starts_with("No longer: "));

    node.ok(&["alerts", "test"]);
    assert_eq!(hook.states("test"), ["began"]);
    node.stop();
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("alert"), "{log}");
    assert!(!log.contains("swordfish") && !log.contains("B0-address"), "{log}");
    let url = hook.url.replace("/services/B0-address-that-is-secret", "");
    assert!(!log.contains(&url) || !log.contains("services"), "{log}");
}

/// Flips a bit in each leaf of each chunk on a node's disk, so that the first audit finds it.
fn rot_through(node: &Node) {
    for pack in packs(node) {
        let mut bytes = fs::read(&pack).unwrap();
        let number =
            |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let chunks: Vec<usize> =
            (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"CHc\x02").collect();
        for at in chunks {
            let end = at + 88 + number(&bytes, at + 4);
            (at + 88..end.min(bytes.len())).step_by(1024).for_each(|leaf| bytes[leaf] ^= 4);
        }
        File::options().write(true).open(&pack).unwrap().write_all_at(&bytes, 0).unwrap();
    }
}

#[test]
fn a_provider_tells_of_failed_audits_and_of_silence_and_an_owner_of_its_providers() {
    let hook = Hook::start(&[]);
    let settings: Vec<(&str, String)> = hook.settings().into_iter().collect();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    all.push(("silent_after", "\"3 s\""));
    let mut net = Net::start(&all);
    let owners = Hook::start(&[]);
    owners.settings().iter().for_each(|(key, value)| net.owner.set(key, value));
    net.owner.stop();
    net.owner.up();
    net.wait_for_providers();
    // As long as nobody has a contract, nobody is silent.
    net.put("file.bin", &noise(2 << 20, 3));
    until("silence is told", || !hook.about("silent").is_empty());
    let provider = net.providers[2].peer_id();
    rot_through(&net.providers[2]);
    net.wait_for_outcome(&provider, "wrong-bytes");
    until("the provider tells", || {
        hook.about("audit_failed").iter().any(|it| it["node"] == provider.as_str() && it["state"] == "began")
    });
    until("the owner tells", || owners.states("provider_failed").first().is_some_and(|it| it == "began"));
    assert!(hook.about("audit_failed").iter().all(|it| it["node"] == provider.as_str()));
}

#[test]
fn what_is_refused_for_good_is_said_and_nothing_is_sent_without_an_address() {
    let temp = tempfile::tempdir().unwrap();
    let hook = Hook::start(&["404 Not Found", "302 Found"]);
    let node = Node::init(&temp.path().join("node"), &[]);
    assert!(node.refused(&["alerts", "test"]).contains("[alerts]"));
    node.set("# url", &format!("{:?}", hook.url));
    for status in ["404", "302"] {
        let said = node.refused(&["alerts", "test"]);
        assert!(said.contains(status) && !said.contains("B0-address"), "{said}");
    }
    assert_eq!(hook.came().len(), 2);
    node.set("# secret_file", "\"not-there\"");
    assert!(node.refused(&["alerts", "test"]).contains("secret's file"));
    assert_eq!(hook.came().len(), 2);
}

/// Answers one POST after the other over TLS.
const TLS_HOOK: &str = r#"
import http.server, ssl, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn https_is_trusted_only_with_a_certificate_of_a_known_authority() {
    let temp = tempfile::tempdir().unwrap();
    let (certificate, key) = (temp.path().join("cert.pem"), temp.path().join("key.pem"));
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
                     -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .args(arguments.split_whitespace())
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output();
    let server = made.ok().filter(|made| made.status.success()).and_then(|_| {
        let mut command = Command::new("python3");
        command
            .args(["-c", TLS_HOOK])
            .arg(&certificate)
            .arg(&key)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().ok()
    });
    let Some(mut server) = server.map(Ended) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "openssl and python3 are needed");
        println!("skipped: without openssl and python3 there is no server of https");
        return;
    };
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let node = Node::init(&temp.path().join("node"), &[]);
    node.set("# url", &format!("\"https://localhost:{}/hook\"", port.trim()));
    let trusting = |authorities: &std::path::Path| {
        let mut command = Command::new(PROGRAM);
        command.env("SSL_CERT_FILE", authorities).arg("--data-dir").arg(&node.dir).args(["alerts", "test"]);
        command.output().unwrap()
    };
    let taken = trusting(&certificate);
    assert!(taken.status.success(), "{taken:?}");
    // Without it, and with another name than the certificate's, nothing is sent.
    let strange = run(&node.dir, &["alerts", "test"]);
    assert_eq!(strange.status.code(), Some(1), "{strange:?}");
    node.set("url", &format!("\"https://127.0.0.1:{}/hook\"", port.trim()));
    assert_eq!(trusting(&certificate).status.code(), Some(1));
}
