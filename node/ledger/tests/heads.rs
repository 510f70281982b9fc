//! A witness: it never accepts two histories of one ledger, and what it finds is evidence.
#![allow(clippy::unwrap_used)]

mod trade;

use commonhold_format::ids::NodeId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Checkpoint, ledger_origin};
use commonhold_format::tree::{GrowingTree, Hash, leaf_hash};
use commonhold_ledger::LedgerError;
use commonhold_ledger::compare::{Evidence, Stated};
use commonhold_ledger::heads::{HEADS_MAX, Heads, Seen};
use proptest::prelude::*;
use tempfile::TempDir;
use trade::{head, key};

const NODE: NodeId = NodeId([1; 32]);

/// A history: entries of one ledger, as numbers.
fn tree(entries: &[u64]) -> GrowingTree {
    let mut tree = GrowingTree::new();
    tree.extend(entries.iter().map(|entry| leaf_hash(&entry.to_be_bytes())));
    tree
}

fn shown(key: &PartyKey, entries: &[u64]) -> SignedNote {
    head(key, NODE, &tree(entries))
}

fn origin() -> String {
    ledger_origin(&key(1).id(), &NODE)
}

fn take(heads: &Heads, entries: &[u64], old: u64) -> Seen {
    let proof = tree(entries).consistency(old, entries.len() as u64).unwrap_or_default();
    heads.take(&shown(&key(1), entries), old, &proof, HEADS_MAX).unwrap()
}

#[test]
fn heads_that_continue_each_other_are_kept_through_restarts() {
    let dir = TempDir::new().unwrap();
    let mut heads = Heads::open(dir.path()).unwrap();
    let all: Vec<u64> = (0..300).collect();
    let mut old = 0;
    for size in [0, 1, 2, 3, 8, 9, 100, 300] {
        assert_eq!(take(&heads, &all[..size], old), Seen::Continues, "{size}");
        assert_eq!(take(&heads, &all[..size], old), Seen::Continues, "{size} again");
        old = size as u64;
        heads = Heads::open(dir.path()).unwrap();
        assert_eq!(heads.last(&origin()).unwrap().0.size, old);
    }
    // Older ones are told apart, and change nothing.
    for size in [0, 1, 299] {
        assert_eq!(take(&heads, &all[..size], 0), Seen::Older { size: 300 });
    }
    // The proof has to begin at the head that was seen.
    let more: Vec<u64> = (0..310).collect();
    for old in [0, 299, 301] {
        assert_eq!(take(&heads, &more, old), Seen::Elsewhere { size: 300 });
    }
    assert_eq!(heads.last(&origin()).unwrap().0.size, 300);
    // A ledger that was never seen begins at nothing.
    let fresh = Heads::open(TempDir::new().unwrap().path()).unwrap();
    assert_eq!(take(&fresh, &more, 5), Seen::Elsewhere { size: 0 });
}

#[test]
fn attack_32_a_fork_leaves_evidence() {
    let key = key(1);
    for seen in [1, 2, 3, 6, 8, 100] {
        for parting in [0, seen / 2, seen - 1] {
            for more in [0, 1, 2, 30] {
                let dir = TempDir::new().unwrap();
                let heads = Heads::open(dir.path()).unwrap();
                let honest: Vec<u64> = (0..seen).collect();
                assert_eq!(take(&heads, &honest, 0), Seen::Continues);
                let forked: Vec<u64> =
                    (0..parting).chain((parting..seen + more).map(|entry| entry + 1_000)).collect();
                // The proof that the forked ledger's own node gives.
                match take(&heads, &forked, seen) {
                    Seen::Forked(evidence) => {
                        assert_eq!(evidence.check().unwrap().accused, key.id());
                        let Evidence::Fork { stated: Stated::Head(stated), head, .. } = *evidence else {
                            panic!()
                        };
                        assert_eq!((stated, head), (shown(&key, &honest), shown(&key, &forked)));
                    }
                    // Of a size that is a power of two the proof does not have the root.
                    Seen::Unproven(_) => {
                        assert!(seen.is_power_of_two() && more > 0, "{seen} {parting} {more}")
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(heads.last(&origin()).unwrap().1, shown(&key, &honest));
            }
        }
    }
}

#[test]
fn a_wrong_proof_is_refused_and_proves_nothing() {
    let dir = TempDir::new().unwrap();
    let heads = Heads::open(dir.path()).unwrap();
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(take(&heads, &all[..6], 0), Seen::Continues);
    let next = shown(&key(1), &all);
    let proof = tree(&all).consistency(6, 20).unwrap();
    let mut wrong: Vec<Vec<Hash>> = vec![vec![], proof[1..].to_vec(), [&proof[..], &[[0; 32]]].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.clone();
        flipped[at][0] ^= 1;
        wrong.push(flipped);
    }
    for proof in wrong {
        assert!(matches!(heads.take(&next, 6, &proof, HEADS_MAX).unwrap(), Seen::Unproven(_)));
    }
    assert_eq!(heads.last(&origin()).unwrap().0.size, 6);
    assert_eq!(heads.take(&next, 6, &proof, HEADS_MAX).unwrap(), Seen::Continues);
}

#[test]
fn what_is_no_head_of_its_own_ledger_is_refused() {
    let dir = TempDir::new().unwrap();
    let heads = Heads::open(dir.path()).unwrap();
    let refused = |note: &SignedNote| {
        assert!(matches!(heads.take(note, 0, &[], HEADS_MAX), Err(LedgerError::Head { .. })));
    };
    let genuine = shown(&key(1), &[1, 2, 3]);
    refused(&SignedNote::sign_as(genuine.text().to_owned(), &origin(), &key(2)).unwrap());
    refused(&SignedNote::sign(genuine.text().to_owned(), &key(1)).unwrap());
    let elsewhere = genuine.text().replacen(&origin(), "commonhold/ledger/elsewhere", 1);
    refused(&SignedNote::sign_as(elsewhere, "commonhold/ledger/elsewhere", &key(1)).unwrap());
    // A root of nothing that nothing has.
    let nothing = Checkpoint { origin: origin(), size: 0, root: [1; 32] };
    let nothing = SignedNote::sign_as(nothing.to_text(), &origin(), &key(1)).unwrap();
    assert!(matches!(heads.take(&nothing, 0, &[], HEADS_MAX).unwrap(), Seen::Unproven(_)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn strangers_do_not_crowd_out_those_with_a_contract() {
    let dir = TempDir::new().unwrap();
    let heads = Heads::open(dir.path()).unwrap();
    for seed in 1..=4 {
        let seen = heads.take(&shown(&key(seed), &[1]), 0, &[], 3).unwrap();
        assert_eq!(seen, if seed < 4 { Seen::Continues } else { Seen::Full });
    }
    assert_eq!(heads.take(&shown(&key(4), &[1]), 0, &[], 4).unwrap(), Seen::Continues);
    // Those that are there go on.
    let proof = tree(&[1, 2]).consistency(1, 2).unwrap();
    assert_eq!(heads.take(&shown(&key(1), &[1, 2]), 1, &proof, 3).unwrap(), Seen::Continues);
}

#[test]
fn a_head_that_was_altered_on_disk_is_not_forgotten_quietly() {
    let dir = TempDir::new().unwrap();
    for seed in [1, 2] {
        let heads = Heads::open(dir.path()).unwrap();
        assert_eq!(heads.take(&shown(&key(seed), &[1, 2]), 0, &[], HEADS_MAX).unwrap(), Seen::Continues);
    }
    // What a crash left of one that was being written does no harm.
    std::fs::write(dir.path().join("x.note.tmp"), b"half").unwrap();
    Heads::open(dir.path()).unwrap();
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "note"))
        .collect();
    let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let refused = |bytes: &[u8]| {
        std::fs::write(&files[0], bytes).unwrap();
        match Heads::open(dir.path()) {
            Err(LedgerError::Head { file, .. }) => assert_eq!(file, files[0]),
            other => panic!("{other:?}"),
        }
    };
    for at in 0..contents[0].len() {
        let mut flipped = contents[0].clone();
        flipped[at] ^= 1;
        refused(&flipped);
    }
    refused(&contents[0][..100]);
    refused(b"");
    refused(&vec![b'a'; 100_000]);
    // The other ledger's, in its place.
    refused(&contents[1]);
    std::fs::write(&files[0], &contents[0]).unwrap();
    assert_eq!(Heads::open(dir.path()).unwrap().last(&origin()).unwrap().0.size, 2);
}

#[derive(Debug, Clone)]
enum Step {
    /// A head of one of the histories, so many entries, with a proof from so many.
    Show {
        history: usize,
        size: usize,
        from: From,
    },
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Seen,
    Nothing,
    Elsewhere(usize),
    Garbage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let from = prop_oneof![
        6 => Just(From::Seen),
        2 => Just(From::Nothing),
        1 => (0usize..40).prop_map(From::Elsewhere),
        1 => Just(From::Garbage),
    ];
    let step = prop_oneof![
        8 => (0usize..3, 0usize..40, from).prop_map(|(history, size, from)| Step::Show { history, size, from }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever heads of whatever histories are shown, old ones again among them, with whatever proofs,
    /// and whenever the witness is started again: all that it accepts are beginnings of one history.
    #[test]
    fn attack_32_a_witness_never_accepts_two_histories(parting in prop::array::uniform2(0usize..40), steps in steps()) {
        let dir = TempDir::new().unwrap();
        let mut heads = Heads::open(dir.path()).unwrap();
        let main: Vec<u64> = (0..40).collect();
        let fork = |at: usize, salt: u64| -> Vec<u64> {
            main.iter().enumerate().map(|(place, entry)| if place < at { *entry } else { entry + salt }).collect()
        };
        let histories = [main.clone(), fork(parting[0], 1_000), fork(parting[1], 2_000)];
        let mut accepted: Vec<Vec<u64>> = Vec::new();
        for step in steps {
            let Step::Show { history, size, from } = step else {
                heads = Heads::open(dir.path()).unwrap();
                continue;
            };
            let entries = &histories[history][..size];
            let last = heads.last(&origin()).map_or(0, |(last, _)| last.size);
            let old = match from {
                From::Seen | From::Garbage => last,
                From::Nothing => 0,
                From::Elsewhere(size) => size as u64,
            };
            let mut proof = tree(entries).consistency(old, size as u64).unwrap_or_default();
            if matches!(from, From::Garbage) {
                proof = vec![[7; 32]; proof.len()];
            }
            match heads.take(&shown(&key(1), entries), old, &proof, HEADS_MAX).unwrap() {
                Seen::Continues => accepted.push(entries.to_vec()),
                Seen::Forked(evidence) => {
                    // Two histories were shown indeed.
                    let longest = accepted.iter().max_by_key(|entries| entries.len()).unwrap();
                    prop_assert!(!entries.starts_with(longest));
                    prop_assert_eq!(evidence.check().unwrap().accused, key(1).id());
                }
                _ => {}
            }
        }
        accepted.sort_by_key(Vec::len);
        for pair in accepted.windows(2) {
            prop_assert!(pair[1].starts_with(&pair[0]), "{:?} and {:?}", pair[0], pair[1]);
        }
    }
}
