//! What the tests of the program share: running it and networks of it, asking its API, bytes to store.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_commonhold");

/// Long enough for any machine; what is waited for comes much earlier on most.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}

pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("--data-dir").arg(dir).args(arguments).output().unwrap()
}

pub fn api_of(node: &Value, what: &str) -> Value {
    let url = node["api"].as_str().unwrap();
    let host = url.strip_prefix("http://").unwrap();
    let token = fs::read_to_string(node["token_file"].as_str().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /v1/{what} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token.trim()
    )
    .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// What a server answers, head and body.
pub fn answer(host: &str, path: &str) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    answer
}

pub fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut state = [seed; 32];
    while bytes.len() < len {
        state = Sha256::digest(state).into();
        bytes.extend_from_slice(&state);
    }
    bytes.truncate(len);
    bytes
}

/// Waits until `done` says so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A running `devnet`, ended with SIGTERM when dropped.
pub struct Devnet {
    process: Child,
    pub dir: PathBuf,
    /// What devnet.json says.
    pub description: Value,
}

impl Devnet {
    pub fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["devnet", "--dir"])
            .arg(dir)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert_eq!(first, "devnet: ready");
        let text = fs::read_to_string(dir.join("devnet.json")).unwrap();
        // Keep the pipe open and drained, so that the network can print.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, dir: dir.to_owned(), description: serde_json::from_str(&text).unwrap() }
    }

    pub fn owner(&self, arguments: &[&str]) -> Output {
        run(&self.dir.join("owner"), arguments)
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.owner(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// The sentence of a command that must fail.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.owner(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} should have failed");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn pid(&self, number: usize) -> u32 {
        u32::try_from(self.description["nodes"][number]["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        signal(self.process.id(), "TERM");
        let _ = self.process.wait();
    }
}

/// A data directory, and the node that runs on it; that is ended when this is dropped.
pub struct Node {
    pub dir: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Makes a data directory whose node listens on free ports of loopback.
    pub fn init(dir: &Path, flags: &[&str]) -> Self {
        let mut all = vec!["init", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
        all.extend(flags);
        let made = run(dir, &all);
        assert!(made.status.success(), "{made:?}");
        Self { dir: dir.to_owned(), process: None }
    }

    /// The node of a data directory that is there.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), process: None }
    }

    /// Changes a line of the configuration; of one that is commented out, the key begins with `# `.
    pub fn set(&self, key: &str, value: &str) {
        let file = self.dir.join("commonhold.toml");
        let text = fs::read_to_string(&file).unwrap();
        let begins = |line: &&str| line.split(" = ").next() == Some(key);
        let line = text.lines().find(begins).unwrap();
        let key = key.trim_start_matches("# ");
        fs::write(&file, text.replace(line, &format!("{key} = {value}"))).unwrap();
    }

    /// Starts the node and waits until it is ready.
    pub fn up(&mut self) {
        self.up_by(Command::new(PROGRAM));
    }

    /// Starts the node by a command to which its arguments are added.
    pub fn up_by(&mut self, mut command: Command) {
        let command = command.arg("--data-dir").arg(&self.dir).args(["up", "--stop-with-stdin"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.starts_with("ready: "), "{first}");
        std::thread::spawn(move || lines.for_each(drop));
        self.process = Some(process);
    }

    /// Ends the node in order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().unwrap();
        }
    }

    /// Ends the node with SIGKILL, wherever it is.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&self.dir, arguments)
    }

    /// What a command prints that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sentence of a command that must fail, behind what it prints.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} should have failed: {output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// The JSON that a command prints, whatever its status.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"))
    }

    /// The process of the running node.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    pub fn peer_id(&self) -> String {
        self.status()["peer_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A running device of the owner whose phrase this is, or of a new one; and the phrase.
pub fn device(dir: &Path, bootstrap: &str, phrase: Option<&str>) -> (Node, String) {
    let mut flags = vec!["--json", "init", "--bootstrap", bootstrap, "--api", "127.0.0.1:0"];
    flags.extend(["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]);
    flags.extend(phrase.map(|_| "--restore"));
    let mut init = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(dir)
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    init.stdin.take().unwrap().write_all(phrase.unwrap_or_default().as_bytes()).unwrap();
    let made: Value = serde_json::from_slice(&init.wait_with_output().unwrap().stdout).unwrap();
    let phrase = phrase.map_or_else(|| made["phrase"].as_str().unwrap().to_owned(), str::to_owned);
    let mut node = Node::at(dir);
    node.up();
    (node, phrase)
}

/// Of a [`Net`]: as many as the smallest code needs.
pub const PROVIDERS: usize = 6;

/// Six providers and an owner.
pub struct Net {
    pub providers: Vec<Node>,
    pub owner: Node,
    /// Removed after the nodes have ended.
    pub temp: TempDir,
}

impl Net {
    /// The providers' configuration is changed by `settings`.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut bootstrap: Vec<String> = Vec::new();
        let mut providers = Vec::new();
        for number in 1..=PROVIDERS {
            let mut flags = vec!["--provide", "128 MiB"];
            bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
            let mut node = Node::init(&temp.path().join(format!("provider-{number}")), &flags);
            settings.iter().for_each(|(key, value)| node.set(key, value));
            node.up();
            if bootstrap.is_empty() {
                let status = node.status();
                let addresses = status["addresses"].as_array().unwrap();
                bootstrap = addresses.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
            }
            providers.push(node);
        }
        let mut flags = Vec::new();
        bootstrap.iter().for_each(|address| flags.extend(["--bootstrap", address]));
        let mut owner = Node::init(&temp.path().join("owner"), &flags);
        owner.up();
        let net = Self { providers, owner, temp };
        net.wait_for_providers();
        net
    }

    pub fn wait_for_providers(&self) {
        until("all providers are found", || {
            let peers = self.owner.json(&["peers"]);
            let offers = |peer: &&Value| peer["connected"] == true && peer["free_bytes"].as_u64() > Some(0);
            peers.as_array().unwrap().iter().filter(offers).count() == PROVIDERS
        });
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.temp.path().join(name);
        fs::write(&file, bytes).unwrap();
        self.owner.ok(&["put", file.to_str().unwrap()]);
    }

    pub fn assert_readable(&self, name: &str, bytes: &[u8]) {
        let out = TempDir::new_in(self.temp.path()).unwrap();
        let file = out.path().join(name);
        self.owner.ok(&["get", &format!("/{name}"), file.to_str().unwrap()]);
        assert!(fs::read(file).unwrap() == bytes);
    }

    /// The outcome of an audit of one provider.
    pub fn audit(&self, provider: &str) -> String {
        let report = self.owner.json(&["audit", "now", "--provider", provider]);
        report["audits"][0]["outcome"].as_str().unwrap().to_owned()
    }

    pub fn wait_for_outcome(&self, provider: &str, outcome: &str) {
        until(&format!("an audit says {outcome}"), || self.audit(provider) == outcome);
    }
}

pub fn packs(node: &Node) -> Vec<PathBuf> {
    let packs = fs::read_dir(node.dir.join("store/packs")).unwrap();
    packs.map(|pack| pack.unwrap().path()).collect()
}

/// Flips a bit in the middle of the first chunk on a node's disk; answers the chunk's id.
pub fn rot(node: &Node) -> String {
    for pack in packs(node) {
        let bytes = fs::read(&pack).unwrap();
        let Some(at) = bytes.windows(4).position(|it| it == b"CHc\x02") else { continue };
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let middle = at + 88 + number(at + 4) / 2;
        let file = fs::File::options().write(true).open(&pack).unwrap();
        file.write_all_at(&[bytes[middle] ^ 4], middle as u64).unwrap();
        return bytes[at + 8..at + 40].iter().map(|byte| format!("{byte:02x}")).collect();
    }
    panic!("there is no chunk");
}

/// Overwrites at most `most` chunks of `len` bytes on a node's disk from their first byte to their last;
/// answers how many there were. Those that are zeros already are left alone.
pub fn wipe(node: &Node, len: usize, most: usize) -> usize {
    let mut wiped = 0;
    for pack in packs(node) {
        let bytes = fs::read(&pack).unwrap();
        let file = fs::File::options().write(true).open(&pack).unwrap();
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(4).position(|it| it == b"CHc\x02").map(|it| from + it) {
            from = at + 4;
            let Some(header) = bytes.get(at..at + 88) else { break };
            let found = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
            let Some(body) = bytes.get(at + 88..at + 88 + found) else { continue };
            from = at + 88 + found;
            if found == len && wiped < most && body.iter().any(|byte| *byte != 0) {
                file.write_all_at(&vec![0; len], (at + 88) as u64).unwrap();
                wiped += 1;
            }
        }
    }
    wiped
}
