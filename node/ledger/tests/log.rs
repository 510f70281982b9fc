//! Appending, reading, roots and checkpoints.
#![allow(clippy::unwrap_used)]

mod people;

use commonhold_format::note::SignedNote;
use commonhold_format::statement::Checkpoint;
use commonhold_format::tree::{GrowingTree, empty_root, leaf_hash};
use commonhold_ledger::{ENTRIES_PAGE_MAX, LedgerError};
use people::{ORIGIN, key, open, text_note, try_open};
use proptest::prelude::*;
use tempfile::TempDir;

#[test]
fn the_root_is_that_of_the_notes() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    assert_eq!((ledger.len(), ledger.root(), ledger.is_empty()), (0, empty_root(), true));
    let mut tree = GrowingTree::new();
    for number in 0..20 {
        let note = text_note(number);
        assert_eq!(ledger.append(&note).unwrap(), number);
        tree.push(leaf_hash(&note.to_bytes()));
        assert_eq!(ledger.head(), (number + 1, tree.root()));
    }
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!((ledger.len(), ledger.root()), (20, tree.root()));
}

#[test]
fn identical_notes_are_logged_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    let [a, b] = [text_note(1), text_note(2)];
    assert_eq!(ledger.append_all(&[a.clone(), b.clone(), a.clone()]).unwrap(), [0, 1, 0]);
    assert_eq!(ledger.append(&b).unwrap(), 1);
    // The same text under another signature is another note.
    let mut countersigned = a.clone();
    countersigned.countersign(&key(2));
    assert_eq!(ledger.append(&countersigned).unwrap(), 2);
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.append(&a).unwrap(), 0);
    assert_eq!(ledger.len(), 3);
    assert_eq!(ledger.append_all(&[]).unwrap(), [0; 0]);
}

#[test]
fn entries_are_read_in_bounded_pages() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    let notes: Vec<SignedNote> = (0..1100).map(text_note).collect();
    ledger.append_all(&notes).unwrap();
    let page = ledger.entries(0, usize::MAX);
    assert_eq!(page.len(), ENTRIES_PAGE_MAX);
    assert!(page.iter().enumerate().all(|(at, (index, note))| *index == at as u64 && *note == notes[at]));
    assert_eq!(ledger.entries(1090, 100).len(), 10);
    assert_eq!(ledger.read(3, 2).unwrap(), [(3, notes[3].clone()), (4, notes[4].clone())]);
    assert_eq!(ledger.entries(1100, 5), []);
    assert_eq!(ledger.entries(u64::MAX, usize::MAX), []);
    assert_eq!(ledger.entries(0, 0), []);
}

#[test]
fn a_file_that_changed_under_the_ledger_is_noticed_when_read() {
    use std::os::unix::fs::FileExt;
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    ledger.append_all(&[text_note(0), text_note(1), text_note(2)]).unwrap();
    let second = 8 + 8 + text_note(0).to_bytes().len() as u64 + 8;
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("log")).unwrap();
    file.write_all_at(b"X", second + 5).unwrap();
    assert!(matches!(ledger.read(0, 3), Err(LedgerError::Altered { entry: Some(1), .. })));
    assert_eq!(ledger.entries(0, 3), [(0, text_note(0))]);
    assert_eq!(ledger.read(2, 1).unwrap().len(), 1);
}

#[test]
fn checkpoints_are_signed_and_of_the_present_head() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    for number in 0..3 {
        ledger.append(&text_note(number)).unwrap();
        let note = ledger.checkpoint().unwrap();
        assert!(note.is_signed_as(ORIGIN, &key(1).id()));
        let head = Checkpoint::from_text(note.text()).unwrap();
        assert_eq!((head.origin.as_str(), head.size, head.root), (ORIGIN, number + 1, ledger.root()));
        assert_eq!(std::fs::read(dir.path().join("checkpoint")).unwrap(), note.to_bytes());
        assert_eq!(ledger.checkpoint().unwrap(), note);
    }
}

#[test]
fn closing_and_opening_leave_a_checkpoint_over_everything() {
    let dir = TempDir::new().unwrap();
    let on_disk = || {
        let bytes = std::fs::read(dir.path().join("checkpoint")).unwrap();
        Checkpoint::from_text(SignedNote::parse(&bytes).unwrap().text()).unwrap().size
    };
    let ledger = open(dir.path());
    assert_eq!(on_disk(), 0);
    let clone = ledger.clone();
    ledger.append(&text_note(0)).unwrap();
    drop(ledger);
    assert_eq!(on_disk(), 0);
    drop(clone);
    assert_eq!(on_disk(), 1);
}

#[test]
fn a_ledger_is_open_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    match try_open(dir.path()) {
        Err(LedgerError::InUse { file }) => assert_eq!(file, dir.path().join("log")),
        other => panic!("{other:?}"),
    }
    drop(ledger);
    open(dir.path());
}

#[test]
fn the_key_is_not_in_the_debug_text() {
    let dir = TempDir::new().unwrap();
    let text = format!("{:?}", open(dir.path()));
    assert!(text.starts_with("Ledger") && text.len() < 200, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is appended, in whatever groups, is there in order after any number of openings.
    #[test]
    fn the_log_is_what_was_appended(
        groups in prop::collection::vec((prop::collection::vec(0..30_u64, 0..6), any::<bool>()), 0..12),
    ) {
        let dir = TempDir::new().unwrap();
        let mut ledger = open(dir.path());
        let mut expected: Vec<u64> = Vec::new();
        for (group, reopen) in groups {
            let notes: Vec<SignedNote> = group.iter().map(|number| text_note(*number)).collect();
            let indices = ledger.append_all(&notes).unwrap();
            for (number, index) in group.into_iter().zip(indices) {
                let at = expected.iter().position(|known| *known == number).unwrap_or_else(|| {
                    expected.push(number);
                    expected.len() - 1
                });
                prop_assert_eq!(index, at as u64);
            }
            if reopen {
                drop(ledger);
                ledger = open(dir.path());
            }
        }
        let found = ledger.read(0, 1000).unwrap();
        let expected: Vec<(u64, SignedNote)> =
            expected.into_iter().enumerate().map(|(at, number)| (at as u64, text_note(number))).collect();
        prop_assert_eq!(found, expected);
    }
}
