//! The plugins of this repository: their components are those of their source, they answer their cases,
//! and the defaults among them answer like the node's own.
//!
//! Components are committed, so that no build needs a compiler for WebAssembly. Where there is one they
//! are built again and compared by what they answer, not by their bytes, which differ from one compiler
//! to the next. Where CI=true there must be one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::package::Package;
use commonhold_format::policy::{
    Address, AdmitConnection, AdmitOffer, Answer, Candidate, Ceiling, ChooseCode, CodeAnswer, CreditLimit,
    Dial, Fetch, Key, Kind, Limit, Market, Moment, Peer, Policy, Purpose, Question, Quote, Rank, Scope, Send,
    Source, Standing, Traffic, Transport, Usage,
};
use commonhold_format::statement::{Capability, Prices};
use commonhold_host::{Grant, Host, Limits, Plugin, Trust};
use serde::Deserialize;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Folders under `plugins/` with a plugin in Rust, by name. Components of other languages are too large
/// to be committed.
fn plugins() -> BTreeMap<String, PathBuf> {
    let folders = std::fs::read_dir(root().join("plugins")).unwrap().map(|it| it.unwrap().path());
    folders
        .filter(|dir| dir.join("plugin.toml").is_file() && dir.join("Cargo.toml").is_file())
        .map(|dir| (dir.file_name().unwrap().to_str().unwrap().to_owned(), dir))
        .collect()
}

fn committed(name: &str, dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join(format!("{name}.wasm"))).unwrap_or_else(|error| panic!("{name}.wasm: {error}"))
}

fn load(host: &Host, file: &[u8], config: BTreeMap<String, String>) -> Plugin {
    let manifest = Package::open(file).unwrap().manifest;
    let trusted = Trust::Hash(manifest.component);
    let limits = Limits::default();
    host.load(file, &Grant { trusted, capabilities: manifest.capabilities, config, limits }).unwrap()
}

#[derive(Deserialize)]
struct Description {
    name: String,
    version: String,
    kind: Kind,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    about: String,
}

/// Cases of a plugin: questions with their answers or faults, of one call or of several with one state.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
    question: Option<Question>,
    answer: Option<Answer>,
    fault: Option<String>,
    #[serde(default)]
    step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    question: Question,
    answer: Option<Answer>,
    fault: Option<String>,
}

fn cases(dir: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(dir.join("cases.toml")).unwrap();
    toml::from_str::<Cases>(&text).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).case
}

fn passes_its_cases(host: &Host, file: &[u8], dir: &Path) {
    for case in cases(dir) {
        let plugin = load(host, file, case.config);
        let Case { answer, fault, .. } = case;
        let one = case.question.map(|question| Step { question, answer, fault });
        let steps: Vec<Step> = one.into_iter().chain(case.step).collect();
        assert!(!steps.is_empty(), "{}: {:?} asks nothing", dir.display(), case.name);
        for Step { question, answer, fault } in steps {
            let name = format!("{}: {:?}", dir.display(), case.name);
            match (plugin.call(&question), answer, fault) {
                (Ok(found), Some(answer), None) => assert_eq!(found.answer, answer, "{name}"),
                (Err(found), None, Some(fault)) => {
                    assert!(found.to_string().contains(&fault), "{name}: {found}")
                }
                (found, answer, fault) => panic!("{name}: {found:?} and not {answer:?} or {fault:?}"),
            }
        }
    }
}

#[test]
fn each_plugin_is_whole_and_passes_its_cases() {
    let host = Host::new().unwrap();
    let plugins = plugins();
    assert!(plugins.len() >= 4, "only {} plugins", plugins.len());
    for (name, dir) in plugins {
        let text = std::fs::read_to_string(dir.join("plugin.toml")).unwrap();
        let said: Description = toml::from_str(&text).unwrap();
        let file = committed(&name, &dir);
        let manifest = Package::open(&file).unwrap().manifest;
        let capabilities = said.capabilities.iter().map(|it| it.parse::<Capability>().unwrap()).collect();
        assert_eq!(
            (&manifest.name, &manifest.version, manifest.kind, &manifest.about),
            (&said.name, &said.version, said.kind, &said.about),
            "{name}"
        );
        assert_eq!((&said.name, &manifest.capabilities), (&name, &capabilities));
        assert!(dir.join("README.md").is_file(), "{name} has no README.md");
        passes_its_cases(&host, &file, &dir);
    }
}

#[test]
fn the_defaults_as_plugins_answer_like_the_built_in() {
    let host = Host::new().unwrap();
    for kind in Kind::ALL {
        let name = format!("default-{kind}");
        let plugin = load(&host, &committed(&name, &plugins()[&name]), BTreeMap::new());
        let mut random = Random(11);
        for _ in 0..3000 {
            let question = random.question(kind);
            let found = plugin.call(&question).unwrap_or_else(|fault| panic!("{fault}: {question:?}")).answer;
            assert_eq!(found, BuiltIn.answer(&question), "{question:?}");
        }
    }
}

/// Builds a plugin from source; `None` where there is no compiler for it.
fn build(source: &Path, out: &Path) -> Option<Vec<u8>> {
    let build = Command::new(env!("CARGO_BIN_EXE_commonhold"))
        .args(["plugin", "build"])
        .arg(source)
        .arg("--out")
        .arg(out)
        .arg("--target-dir")
        .arg(root().join("target/plugins"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&build.stderr);
    if errors.contains("no compiler here can build for WebAssembly") {
        let ci = std::env::var("CI");
        assert_ne!(ci.as_deref(), Ok("true"), "such a compiler must be installed where CI=true: {errors}");
        eprintln!("SKIPPED: building plugins from source: {errors}");
        return None;
    }
    assert!(build.status.success(), "{}: {errors}", source.display());
    Some(std::fs::read(out).unwrap())
}

#[test]
fn components_are_those_of_their_source() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new().unwrap();
    for (name, source) in plugins() {
        let Some(new) = build(&source, &dir.path().join(format!("{name}.wasm"))) else { return };
        let old = committed(&name, &source);
        let manifests = [&old, &new].map(|file| Package::open(file).unwrap().manifest);
        let [was, is] = manifests.map(|it| (it.name, it.version, it.kind, it.api, it.capabilities, it.about));
        assert_eq!(was, is);
        passes_its_cases(&host, &new, &source);

        let configs = cases(&source).into_iter().map(|case| case.config);
        let mut random = Random(5);
        for config in configs.chain([BTreeMap::new()]) {
            let (old, new) = (load(&host, &old, config.clone()), load(&host, &new, config));
            for _ in 0..300 {
                let question = random.question(was.2);
                // With the state of all calls before.
                let [was, is] = [&old, &new].map(|it| {
                    it.call(&question).map(|called| (called.answer, called.log)).map_err(|it| it.to_string())
                });
                assert_eq!(was, is, "{name} is not what its source makes; build it again: {question:?}");
            }
        }
    }
}

#[test]
fn what_plugin_new_writes_builds_and_passes_its_cases() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new().unwrap();
    for kind in Kind::ALL {
        let name = format!("my-{kind}");
        let new = Command::new(env!("CARGO_BIN_EXE_commonhold"))
            .args(["plugin", "new", kind.as_str(), &name])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(new.status.success(), "{}", String::from_utf8_lossy(&new.stderr));
        let source = dir.path().join(&name);
        // The same crates as here, which are there already.
        std::fs::copy(root().join("Cargo.lock"), source.join("Cargo.lock")).unwrap();
        let Some(file) = build(&source, &dir.path().join(format!("{name}.wasm"))) else { return };
        passes_its_cases(&host, &file, &source);
    }
}

/// Questions of all kinds, as odd as hosts never ask them and as they do.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small ones, middling ones and any.
    fn number(&mut self) -> u64 {
        let bits = [2, 8, 30, 39, 43, 64][self.below(6) as usize];
        self.next() >> (64 - bits)
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn key(&mut self) -> Key {
        let mut key = [0; 32];
        key.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&self.next().to_be_bytes()));
        Key(key)
    }

    fn now(&mut self) -> Moment {
        Moment {
            unix_seconds: 1_760_000_000 + self.below(1 << 28),
            minute_of_week: self.below(10_080) as u32,
        }
    }

    fn prices(&mut self) -> Prices {
        Prices {
            storage_microcredits_per_gib_month: self.number() >> 1,
            egress_microcredits_per_gib: self.number() >> 1,
            audit_microcredits: self.number() >> 1,
        }
    }

    fn list<T>(&mut self, most: u64, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        let len = self.below(most + 1);
        (0..len).map(|_| one(self)).collect()
    }

    fn candidate(&mut self) -> Candidate {
        Candidate {
            node: self.key(),
            party: self.key(),
            operator: self.below(20) as u32,
            subnet: self.below(20) as u32,
            region: [0, 0x4445, 0x4e4c, 0x5553, 0x4652][self.below(5) as usize],
            standing: if self.yes() { Standing::Good } else { Standing::Probation },
            audits_passed: self.small(),
            audits_failed: self.below(9) as u32,
            latency_ms: self.below(2000) as u32,
            returning: if self.below(4) == 0 { self.below(7) as u32 } else { 0 },
            free_bytes: self.number(),
            prices: self.prices(),
            // Lots beyond 39 bits are never drawn, and are in order all the same.
            lot: self.number(),
        }
    }

    fn code(&mut self) -> CodeAnswer {
        let k = 1 + self.below(20) as u32;
        CodeAnswer { k, n: k + 2 + self.below(40) as u32 }
    }

    fn purpose(&mut self) -> Purpose {
        if self.yes() { Purpose::Use } else { Purpose::Repair }
    }

    fn transport(&mut self) -> Transport {
        if self.yes() { Transport::Quic } else { Transport::Tcp }
    }

    fn scope(&mut self) -> Scope {
        [Scope::Loopback, Scope::Private, Scope::Public, Scope::Name][self.below(4) as usize]
    }

    fn peer(&mut self) -> Peer {
        Peer {
            party: if self.yes() { Key::default() } else { self.key() },
            account: self.next() as i64 >> self.below(60),
            given: self.number(),
            taken: self.number(),
        }
    }

    fn address(&mut self) -> Address {
        Address {
            transport: self.transport(),
            scope: self.scope(),
            family: [0, 4, 6][self.below(3) as usize],
            successes: self.small(),
            failures: self.small(),
            failures_in_row: self.below(9) as u32,
            connect_ms: self.below(3000) as u32,
            bytes_per_second: self.number(),
            last_success: self.number(),
        }
    }

    fn source(&mut self, index: u32) -> Source {
        Source {
            node: self.key(),
            index,
            reachable: self.yes(),
            preferred: self.below(4) == 0,
            median_ms: self.below(3000) as u32,
            slow_ms: self.below(9000) as u32,
            successes: self.below(32) as u32,
            failures: self.below(32) as u32,
        }
    }

    fn question(&mut self, kind: Kind) -> Question {
        let now = self.now();
        match (kind, self.below(8)) {
            (Kind::Placement, 0) => ChooseCode { now, candidates: self.list(70, Self::candidate) }.into(),
            (Kind::Placement, 1) => AdmitOffer {
                now,
                owner: self.key(),
                bytes: self.number(),
                term_seconds: self.number(),
                prices: self.prices(),
                hold: self.number(),
                allotted_bytes: self.number(),
                free_bytes: self.number(),
                contracts_of_owner: self.small(),
                contracts: self.small(),
                account: self.next() as i64,
            }
            .into(),
            (Kind::Placement, _) => {
                let code = self.code();
                Rank {
                    now,
                    purpose: self.purpose(),
                    code,
                    holders: code.n,
                    chunk_len: 1 << 20,
                    taken: self.list(10, Self::candidate),
                    candidates: self.list(70, Self::candidate),
                }
                .into()
            }
            (Kind::Transport, 0..=1) => {
                Dial { now, peer: self.key(), addresses: self.list(12, Self::address) }.into()
            }
            (Kind::Transport, 2..=3) => {
                let traffic = Traffic {
                    sent_today: self.number(),
                    received_today: self.number(),
                    sent_this_month: self.number(),
                    received_this_month: self.number(),
                };
                Limit { now, traffic }.into()
            }
            (Kind::Transport, 4..=5) => {
                let CodeAnswer { k, n } = self.code();
                let indices: Vec<u32> = (0..n).filter(|_| self.below(4) > 0).collect();
                let mut sources: Vec<Source> = indices.into_iter().map(|index| self.source(index)).collect();
                let turn = self.below(sources.len() as u64 + 1) as usize;
                sources.rotate_left(turn);
                Fetch { now, purpose: self.purpose(), k, n, chunk_len: 1 << 20, sources }.into()
            }
            (Kind::Transport, 6) => {
                let CodeAnswer { k, n } = self.code();
                Send { now, purpose: self.purpose(), k, n, chunk_len: self.small() }.into()
            }
            (Kind::Transport, _) => AdmitConnection {
                now,
                node: self.key(),
                transport: self.transport(),
                scope: self.scope(),
                family: 4,
                open: self.below(500) as u32,
                open_with_peer: self.below(5) as u32,
            }
            .into(),
            (Kind::Pricing, 0..=3) => {
                let announced = self.yes();
                let allotted_bytes = self.number();
                Quote {
                    now,
                    base: self.prices(),
                    bytes: if announced { 0 } else { self.number() },
                    term_seconds: if announced { 0 } else { self.number() },
                    peer: self.peer(),
                    usage: Usage {
                        allotted_bytes,
                        used_bytes: self.number() % allotted_bytes.max(1),
                        contracts: self.small(),
                    },
                }
                .into()
            }
            (Kind::Pricing, 4..=5) => CreditLimit {
                now,
                peer: self.peer(),
                unsigned: self.number(),
                gift_budget: self.number(),
                trusted: self.number(),
            }
            .into(),
            (Kind::Pricing, _) => {
                let market = Market {
                    providers: self.below(900) as u32,
                    lowest: self.prices(),
                    median: self.prices(),
                    highest: self.prices(),
                };
                Ceiling { now, market }.into()
            }
        }
    }
}
