//! Plugins that do harm (plugins/hostile): the seat goes on serving, the default's answer comes, soon,
//! and the status says why.
#![allow(clippy::unwrap_used)]

#[path = "../benches/code.rs"]
mod code;
mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use commonhold_engine::policy::BuiltIn;
use commonhold_format::keys::RootSecret;
use commonhold_format::policy::package::{Package, PackageError, seal};
use commonhold_format::policy::{
    AdmitOffer, Candidate, Ceiling, ChooseCode, CodeAnswer, CreditLimit, Key, Kind, Moment, Policy, Purpose,
    Question, Rank,
};
use commonhold_format::statement::{Capability, PolicyManifest};
use commonhold_host::{
    BREAKER_FAULTS_IN_ROW, Fault, FaultKind, Grant, Host, Limits, Plugin, Refused, Seat, Trust,
};

/// When plugins of plugins/hostile turn bad, and after.
const LATER: Moment = Moment { unix_seconds: 1_900_000_000, minute_of_week: 0 };

/// Processor time of this thread: what else a machine does does not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// What is asked of them in the tests.
fn credit() -> Question {
    CreditLimit { now: LATER, gift_budget: 1_000, ..CreditLimit::default() }.into()
}

fn rank(len: u8) -> Question {
    let candidates = (0..len).map(|at| Candidate {
        node: Key([at; 32]),
        free_bytes: u64::from(at) << 30,
        lot: 1000 - u64::from(at),
        ..Candidate::default()
    });
    let candidates = candidates.collect();
    let code = CodeAnswer { k: 4, n: 12 };
    let purpose = Purpose::Use;
    Rank { now: LATER, purpose, code, holders: 12, chunk_len: 1 << 20, taken: Vec::new(), candidates }.into()
}

fn folder() -> PathBuf {
    common::root().join("plugins/hostile")
}

/// How a file of the folder is made of a source there.
struct Made {
    name: &'static str,
    source: &'static str,
    kind: Kind,
    capabilities: &'static [Capability],
    finish: fn(Vec<u8>, &PolicyManifest) -> Vec<u8>,
}

fn unsigned(component: Vec<u8>, manifest: &PolicyManifest) -> Vec<u8> {
    seal(&component, manifest, None).unwrap()
}

/// Built for an API that this node does not have.
fn of_another_version(component: Vec<u8>, manifest: &PolicyManifest) -> Vec<u8> {
    unsigned(component, &PolicyManifest { api: "0.2.0".to_owned(), ..manifest.clone() })
}

/// Signed, and then one bit of its code was changed.
fn tampered(component: Vec<u8>, manifest: &PolicyManifest) -> Vec<u8> {
    let at = component.len() / 2;
    let mut file = seal(&component, manifest, Some(&author(7))).unwrap();
    file[at] ^= 1;
    file
}

/// The manifest names one author and another one signed it.
fn signed_by_another(component: Vec<u8>, manifest: &PolicyManifest) -> Vec<u8> {
    let signed = seal(&component, manifest, Some(&author(8))).unwrap();
    let (named, signer) = (author(7).id().to_string(), author(8).id().to_string());
    let text = signed.windows(signer.len()).position(|window| window == signer.as_bytes()).unwrap();
    let mut file = signed;
    file[text..text + named.len()].copy_from_slice(named.as_bytes());
    file
}

fn author(seed: u8) -> commonhold_format::keys::PartyKey {
    RootSecret::from_bytes([seed; 32]).party_key()
}

const fn made(name: &'static str, kind: Kind, capabilities: &'static [Capability]) -> Made {
    Made { name, source: name, kind, capabilities, finish: unsigned }
}

const MADE: &[Made] = &[
    made("infinite-loop", Kind::Pricing, &[]),
    made("memory-bomb", Kind::Pricing, &[]),
    made("deep-recursion", Kind::Pricing, &[]),
    made("trap", Kind::Pricing, &[]),
    made("panic", Kind::Pricing, &[Capability::Log]),
    made("log-flood", Kind::Pricing, &[Capability::Log]),
    made("log-not-text", Kind::Pricing, &[Capability::Log]),
    made("state-flood", Kind::Pricing, &[Capability::State]),
    made("start-loop", Kind::Pricing, &[]),
    made("too-expensive", Kind::Pricing, &[]),
    made("harmless", Kind::Pricing, &[]),
    made("silent-import", Kind::Pricing, &[]),
    made("stray-realloc", Kind::Placement, &[]),
    made("stray-answer", Kind::Placement, &[]),
    made("huge-answer", Kind::Placement, &[]),
    made("unknown-candidates", Kind::Placement, &[]),
    made("same-candidate", Kind::Placement, &[]),
    made("unknown-codes", Kind::Placement, &[]),
    made("long-reason", Kind::Placement, &[]),
    made("not-text", Kind::Placement, &[]),
    Made { finish: of_another_version, source: "harmless", ..made("another-version", Kind::Pricing, &[]) },
    Made { finish: tampered, source: "harmless", ..made("tampered", Kind::Pricing, &[]) },
    Made { finish: signed_by_another, source: "harmless", ..made("wrong-signature", Kind::Pricing, &[]) },
];

/// The files are what their sources say: `COMMONHOLD_WRITE=1` writes them anew.
#[test]
fn the_files_are_made_of_their_sources() {
    for it in MADE {
        let source = std::fs::read_to_string(folder().join(format!("{}.wat", it.source))).unwrap();
        let manifest = common::manifest(it.kind, it.name, it.capabilities);
        let bytes = (it.finish)(common::component(it.kind, &source), &manifest);
        let file = folder().join(format!("{}.wasm", it.name));
        if std::env::var_os("COMMONHOLD_WRITE").is_some() {
            std::fs::write(&file, &bytes).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(
            found == bytes,
            "{} is not what {}.wat says: COMMONHOLD_WRITE=1 cargo test -p commonhold-host --test hostile",
            file.display(),
            it.source
        );
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let known = match path.extension().and_then(|it| it.to_str()) {
            Some("wat") => MADE.iter().any(|it| it.source == stem),
            Some("wasm") => MADE.iter().any(|it| it.name == stem),
            _ => true,
        };
        assert!(known, "{} belongs to no test", path.display());
    }
}

fn file(name: &str) -> Vec<u8> {
    let file = folder().join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn load(host: &Host, name: &str) -> Plugin {
    common::load(host, &file(name)).unwrap_or_else(|refused| panic!("{name}: {refused}"))
}

fn seat_with(host: &Host, name: &str) -> Seat {
    let seat = Seat::new(load(host, name).kind(), Arc::new(BuiltIn));
    common::patiently(|| seat.put(name, load(host, name))).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    seat
}

/// A plugin of the folder does what it does: the default's answer comes, each time, within 100 ms; the
/// status says what happened, in words among which are `says`; after a few times the plugin is not asked
/// any more; and the seat takes another plugin, which works.
fn survives(name: &str, question: &Question, kind: FaultKind, says: &str) {
    survives_either(name, question, &[(kind, says)]);
}

/// The same where a slow machine has another reason to stop it.
fn survives_either(name: &str, question: &Question, either: &[(FaultKind, &str)]) {
    let host = Host::new().unwrap();
    let seat = seat_with(&host, name);
    let expected = BuiltIn.answer(question);
    let (mut cheapest, mut told_once) = (Duration::MAX, false);
    for round in 1..=u64::from(BREAKER_FAULTS_IN_ROW) {
        let begun = cpu_time();
        let answer = seat.answer(question);
        cheapest = cheapest.min(cpu_time() - begun);
        assert_eq!(answer, expected, "{name}");
        let status = seat.status();
        let last = status.faults.last().unwrap_or_else(|| panic!("{name}: nothing happened"));
        let text = last.fault.to_string();
        let told = either.iter().any(|(kind, says)| last.fault.kind() == *kind && text.contains(says));
        // The clock may always be first on a machine that has much else to do, though not every time.
        told_once |= told;
        assert!(told || last.fault.kind() == FaultKind::Wall, "{name}: {}: {text}", last.fault.kind());
        assert_eq!(status.metrics.faults.values().sum::<u64>(), round, "{name}");
        assert_eq!(status.metrics.fallbacks, round, "{name}");
        let refused = status.metrics.faults.get(&FaultKind::Answer).copied().unwrap_or_default();
        assert_eq!(status.metrics.refusals, refused, "{name}");
        assert!(seat.state().unwrap().is_empty(), "{name} remembers something");
    }
    assert!(told_once, "{name}: {:?}", seat.status().faults);
    assert!(cheapest < Duration::from_millis(100), "{name}: {cheapest:?}");
    assert!(seat.status().paused.is_some(), "{name} is still asked");
    let before = seat.status().metrics;
    assert_eq!(seat.answer(question), expected, "{name}");
    let metrics = seat.status().metrics;
    assert_eq!((metrics.calls, metrics.fallbacks), (before.calls, before.fallbacks + 1), "{name}");
    // Instances after it are whole.
    if question.kind() == Kind::Pricing {
        common::patiently(|| seat.put("harmless", load(&host, "harmless"))).unwrap();
        assert!((0..4).any(|_| seat.answer(question) != expected));
    }
}

#[test]
fn attack_38_infinite_loop() {
    let either = [(FaultKind::Fuel, "20000000 instructions"), (FaultKind::Wall, "60 ms")];
    survives_either("infinite-loop", &credit(), &either);
}

/// The clock ends what fuel would not.
#[test]
fn attack_38_infinite_loop_with_fuel_for_hours() {
    let host = Host::new().unwrap();
    let file = file("infinite-loop");
    let limits = Limits { fuel: u64::MAX, wall: Duration::from_millis(20), ..Limits::default() };
    // The host bounds fuel as well; so low a wall comes first.
    let plugin = host.load(&file, &Grant { limits, ..common::grant(&file) }).unwrap();
    let fault = plugin.call(&credit()).unwrap_err();
    assert_eq!(fault, Fault::Wall(Duration::from_millis(20)));
    assert!(fault.to_string().contains("20 ms"), "{fault}");
}

#[test]
fn attack_38_memory_bomb() {
    let either = [(FaultKind::Memory, "67108864 bytes"), (FaultKind::Wall, "60 ms")];
    survives_either("memory-bomb", &credit(), &either);
}

#[test]
fn attack_38_deep_recursion() {
    survives("deep-recursion", &credit(), FaultKind::Stack, "too deep");
}

#[test]
fn attack_38_trap() {
    survives("trap", &credit(), FaultKind::Trap, "divide by zero");
}

#[test]
fn attack_38_panic_with_a_message() {
    survives("panic", &credit(), FaultKind::Panic, "src/lib.rs:7: no entry for 2030 in my map");
}

#[test]
fn attack_38_log_flood() {
    survives("log-flood", &credit(), FaultKind::Answer, "more than any amount");
    let host = Host::new().unwrap();
    let seat = seat_with(&host, "log-flood");
    for _ in 0..100 {
        seat.answer(&credit());
    }
    let log = seat.status().log;
    assert!((1..=200).contains(&log.len()), "{} lines", log.len());
    assert!(log.iter().all(|line| line.line.text.len() <= 256 && !line.line.text.contains('\0')));
}

#[test]
fn attack_38_state_flood() {
    survives("state-flood", &credit(), FaultKind::Trap, "unreachable");
}

#[test]
fn attack_38_import_is_handed_what_is_no_text() {
    survives("log-not-text", &credit(), FaultKind::Import, "not UTF-8");
}

#[test]
fn attack_38_answer_of_a_million() {
    survives("huge-answer", &rank(20), FaultKind::Answer, "256 KiB");
}

#[test]
fn attack_38_unknown_candidates() {
    survives("unknown-candidates", &rank(20), FaultKind::Answer, "number 4294967295 of 20 candidates");
    survives("same-candidate", &rank(20), FaultKind::Answer, "number 0 of the candidates twice");
}

#[test]
fn attack_38_unknown_codes() {
    let question = ChooseCode { now: LATER, candidates: Vec::new() }.into();
    survives("unknown-codes", &question, FaultKind::Answer, "4294967295 of 4294967295 is not a code");
    survives("too-expensive", &credit(), FaultKind::Answer, "more than any amount");
}

#[test]
fn attack_38_reasons_that_cannot_be_passed_on() {
    let question = AdmitOffer { now: LATER, ..AdmitOffer::default() }.into();
    survives("long-reason", &question, FaultKind::Answer, "100000 bytes");
    survives("not-text", &question, FaultKind::Answer, "not UTF-8");
}

#[test]
fn attack_38_memory_that_is_not_there() {
    survives("stray-answer", &rank(20), FaultKind::Answer, "out of");
    let question = rank(255);
    let many = match question {
        Question::Rank(ask) => {
            let candidates = ask.candidates.iter().cycle().take(2000).cloned().collect();
            Question::Rank(Rank { candidates, ..ask })
        }
        other => other,
    };
    survives("stray-realloc", &many, FaultKind::Trap, "not there");
}

/// A plugin that never answers is not seated; the one before stays and keeps deciding.
#[test]
fn attack_38_start_that_never_ends() {
    let host = Host::new().unwrap();
    let seat = seat_with(&host, "harmless");
    let before = seat.answer(&credit());
    let fault = seat.put("start-loop", load(&host, "start-loop")).unwrap_err();
    assert!([FaultKind::Fuel, FaultKind::Wall].contains(&fault.kind()), "{fault}");
    assert_eq!(seat.status().plugin.unwrap().0, "harmless");
    assert_eq!(seat.answer(&credit()), before);
    assert_ne!(before, BuiltIn.answer(&credit()));
}

/// What was not granted is not there to be called.
#[test]
fn attack_38_import_that_was_not_granted() {
    let host = Host::new().unwrap();
    // Its code imports what its manifest does not ask for.
    let refused = common::load(&host, &file("silent-import")).unwrap_err();
    assert!(matches!(refused, Refused::Import(_)), "{refused:?}");
    assert!(refused.to_string().contains("imports state and its manifest does not ask"), "{refused}");
    // Its manifest asks for what the operator does not give.
    let file = file("panic");
    let grant = Grant { capabilities: [Capability::Config].into(), ..common::grant(&file) };
    let refused = host.load(&file, &grant).unwrap_err();
    assert_eq!(refused, Refused::NotGranted(Capability::Log));
    // What no policy gets.
    let core = std::fs::read_to_string(folder().join("harmless.wat")).unwrap();
    let wit = tempfile::tempdir().unwrap();
    for name in ["types", "placement", "pricing", "transport"] {
        let text = std::fs::read_to_string(common::root().join(format!("spec/wit/v0.1/{name}.wit"))).unwrap();
        let text = text
            .replace("world pricing-policy {", "world pricing-policy {\n import clock;")
            .replace("interface log {", "interface clock { now: func() -> u64; }\ninterface log {");
        std::fs::write(wit.path().join(format!("{name}.wit")), text).unwrap();
    }
    let core = core.replace(
        "(memory (export",
        "(import \"commonhold:policy/clock@0.1.0\" \"now\" (func $time (result i64)))\n  (memory (export",
    );
    let core = core.replace("nop", "(drop (call $time))");
    let component = common::component_with_wit(Kind::Pricing, &core, wit.path());
    let manifest = common::manifest(Kind::Pricing, "clock", &Capability::ALL);
    let refused = common::load(&host, &seal(&component, &manifest, None).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("commonhold:policy/clock@0.1.0"), "{refused}");
}

#[test]
fn attack_39_another_version() {
    let host = Host::new().unwrap();
    let refused = common::load(&host, &file("another-version")).unwrap_err();
    let text =
        "it was built for policy API 0.2.0 and this node has 0.1.0: build it again with the SDK of 0.1.0";
    assert_eq!(refused.to_string(), text);
    // A later 0.1 is taken as long as it uses what there is.
    let core = std::fs::read_to_string(folder().join("harmless.wat")).unwrap();
    let manifest = common::manifest(Kind::Pricing, "later", &[]);
    let later = PolicyManifest { api: "0.1.7".to_owned(), ..manifest };
    let file = seal(&common::component(Kind::Pricing, &core), &later, None).unwrap();
    let plugin = common::load(&host, &file).unwrap();
    common::patiently(|| plugin.self_test()).unwrap();
}

#[test]
fn attack_39_tampered_bytes() {
    let host = Host::new().unwrap();
    let tampered = file("tampered");
    let trusted = Trust::Author(author(7).id());
    let refused = host.load(&tampered, &Grant { trusted, ..common::grant(&tampered) }).unwrap_err();
    assert_eq!(refused, Refused::File(PackageError::Changed));
    assert!(refused.to_string().contains("changed after its manifest was written"), "{refused}");
}

#[test]
fn attack_39_wrong_signature() {
    let host = Host::new().unwrap();
    let forged = file("wrong-signature");
    let trusted = Trust::Author(author(7).id());
    let grant = Grant { trusted, ..common::grant(&forged) };
    let refused = host.load(&forged, &grant).unwrap_err();
    assert_eq!(refused, Refused::File(PackageError::Signature(author(7).id())));
    // Properly signed by somebody whom the operator did not name, by nobody, and other bytes than those
    // that were installed.
    let core = std::fs::read_to_string(folder().join("harmless.wat")).unwrap();
    let component = common::component(Kind::Pricing, &core);
    let manifest = common::manifest(Kind::Pricing, "harmless", &[]);
    for key in [Some(author(8)), None] {
        let file = seal(&component, &manifest, key.as_ref()).unwrap();
        let refused = host.load(&file, &grant).unwrap_err();
        assert!(matches!(refused, Refused::Trust(_)), "{refused:?}");
        assert!(refused.to_string().contains("install it again"), "{refused}");
        let pinned = Grant { trusted: Trust::Hash([1; 32]), ..grant.clone() };
        assert!(matches!(host.load(&file, &pinned).unwrap_err(), Refused::Trust(_)));
        let hash = Package::open(&file).unwrap().manifest.component;
        host.load(&file, &Grant { trusted: Trust::Hash(hash), ..grant.clone() }).unwrap();
    }
    let own = seal(&component, &manifest, Some(&author(7))).unwrap();
    let plugin = host.load(&own, &grant).unwrap();
    common::patiently(|| plugin.self_test()).unwrap();
}

/// 20 MB are refused by their number; a little less by what a walk over the functions finds. Nothing of
/// either is compiled.
#[test]
fn attack_38_twenty_megabytes_of_code() {
    let host = Host::new().unwrap();
    let manifest = common::manifest(Kind::Pricing, "large", &[]);
    let (_, component) = code::samples(1 << 20, 200).swap_remove(0);
    let mut file = seal(&component, &manifest, None).unwrap();
    file.resize(20_000_000, 0);
    let refused = common::load(&host, &file).unwrap_err();
    assert_eq!(refused, Refused::File(PackageError::TooLarge(20_000_000)));
    assert!(refused.to_string().contains("16 MiB"), "{refused}");
    for (function, says) in
        [(200, "functions"), (2000, "bytes of code,"), (300 << 10, "bytes of code in one")]
    {
        for (name, component) in code::samples(13 << 20, function) {
            let file = seal(&component, &manifest, None).unwrap();
            let begun = cpu_time();
            let refused = common::load(&host, &file).unwrap_err();
            let text = refused.to_string();
            assert!(matches!(refused, Refused::Code(_)), "{name}: {text}");
            assert!(text.contains(says) || text.contains("branches in tables"), "{name}: {text}");
            // Compiling it would take minutes.
            assert!(cpu_time() - begun < Duration::from_secs(20), "{name}");
        }
    }
}

/// While several plugins misbehave at once on many threads, every question is answered by the default.
#[test]
fn attack_38_many_at_once() {
    let host = Host::new().unwrap();
    let seats: Vec<Seat> =
        ["infinite-loop", "memory-bomb", "deep-recursion", "trap"].map(|name| seat_with(&host, name)).into();
    let ceiling: Question = Ceiling { now: LATER, ..Ceiling::default() }.into();
    let harmless = seat_with(&host, "harmless");
    std::thread::scope(|scope| {
        for at in 0..16 {
            let (seat, harmless, ceiling) = (&seats[at % seats.len()], &harmless, &ceiling);
            scope.spawn(move || {
                for _ in 0..4 {
                    assert_eq!(seat.answer(&credit()), BuiltIn.answer(&credit()));
                    harmless.answer(ceiling);
                }
            });
        }
    });
    for seat in &seats {
        let metrics = seat.status().metrics;
        assert_eq!(metrics.fallbacks, 16);
        assert!(metrics.calls <= 16);
    }
}
