//! Row `verify`: a whole ledger checked from its folder, against its signatures alone.

use std::thread;
use std::time::Instant;

use commonhold_format::keys::{self, Verifier};
use commonhold_format::note::party_of;
use commonhold_ledger::source;
use commonhold_ledger::verify::{Log, verify};
use ed25519_dalek::{Signature, VerifyingKey, verify_batch};

use crate::Plan;
use crate::ground::Ground;
use crate::measure::{self, Contestant};
use crate::{stock, trade};

/// Signatures of a batch.
const BATCH: usize = 256;

/// A signature with all that it takes to verify it.
struct Signed {
    public: [u8; 32],
    key: Verifier,
    text: String,
    signature: [u8; 64],
}

/// `work` on shares of the signatures, on as many threads as `verify` gets; signatures a second.
fn on_threads(signatures: &[Signed], threads: usize, work: impl Fn(&[Signed]) -> bool + Sync) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for share in signatures.chunks(signatures.len().div_ceil(threads)) {
            let work = &work;
            scope.spawn(move || assert!(work(share)));
        }
    });
    signatures.len() as f64 / begun.elapsed().as_secs_f64()
}

pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (owner, node) = (trade::key(1), stock::node(1));
    let plot = ground.plot();
    let folder = plot.path();
    let ledger = stock::open(folder, &owner, node);
    stock::fill(&ledger, &owner, node, plan.notes);
    ledger.publish().unwrap();
    let notes = ledger.len();
    drop(ledger);

    let load = || Log::load(&mut *source::open(folder).unwrap()).unwrap();
    let signatures: Vec<Signed> = load()
        .notes()
        .flat_map(|(_, note)| {
            note.signatures().iter().map(|line| {
                let public = *party_of(&line.name).unwrap().as_bytes();
                Signed {
                    public,
                    key: Verifier::new(&public).unwrap(),
                    text: note.text().to_owned(),
                    signature: line.signature.as_slice().try_into().unwrap(),
                }
            })
        })
        .collect();
    let count = signatures.len() as f64;
    println!("{notes} notes with {count} signatures, {threads} threads");

    let contestants = [
        Contestant::new("signatures alone, strictly, one by one", || {
            on_threads(&signatures, threads, |share| {
                share.iter().all(|it| keys::verify(&it.public, it.text.as_bytes(), &it.signature))
            })
        }),
        Contestant::new("the same, each key's point worked out before", || {
            on_threads(&signatures, threads, |share| {
                share.iter().all(|it| it.key.verify(it.text.as_bytes(), &it.signature))
            })
        }),
        Contestant::new("in batches, not strictly (not used)", || {
            on_threads(&signatures, threads, |share| {
                share.chunks(BATCH).all(|batch| {
                    let texts: Vec<&[u8]> = batch.iter().map(|it| it.text.as_bytes()).collect();
                    let signatures: Vec<Signature> =
                        batch.iter().map(|it| Signature::from_bytes(&it.signature)).collect();
                    let keys: Vec<VerifyingKey> =
                        batch.iter().map(|it| VerifyingKey::from_bytes(&it.public).unwrap()).collect();
                    verify_batch(&texts, &signatures, &keys).is_ok()
                })
            })
        }),
        Contestant::new("ledger verify: open, load, verify", || {
            let begun = Instant::now();
            let mut source = source::open(folder).unwrap();
            let mut log = Log::load(&mut *source).unwrap();
            let report = verify(&mut log, &mut *source, &trade::PlainRules, threads).unwrap();
            let seconds = begun.elapsed().as_secs_f64();
            assert_eq!((report.findings.len(), report.signatures), (0, signatures.len() as u64));
            count / seconds
        }),
        Contestant::new("of that, open and load", || {
            let begun = Instant::now();
            load();
            count / begun.elapsed().as_secs_f64()
        }),
    ];
    let outcomes = measure::take_turns(plan.rounds, &contestants);
    measure::print("signatures/s", &outcomes);
    let [alone, prepared, _, whole, _] = &outcomes[..] else { return };
    let times = |bare: &measure::Outcome| 1.0 / whole.paired_ratio(bare);
    measure::print_target("ledger verify / its signatures alone", times(alone), "1.3 or less");
    println!("-> ledger verify / its signatures with prepared keys: {:.2}", times(prepared));
    println!("-> seconds for the whole ledger: {:.1}", count / whole.median());
}
