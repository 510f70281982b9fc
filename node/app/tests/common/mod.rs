//! What the tests of the program share: running it and networks of it, asking its API, bytes to store.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

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

    /// Changes a line of the configuration.
    pub fn set(&self, key: &str, value: &str) {
        let file = self.dir.join("commonhold.toml");
        let text = fs::read_to_string(&file).unwrap();
        let begins = |line: &&str| line.split(" = ").next() == Some(key);
        let line = text.lines().find(begins).unwrap();
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
