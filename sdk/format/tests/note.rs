//! Signed notes: one byte form, and signatures that cannot be moved to other texts or keys.

#![allow(clippy::unwrap_used)]

use commonhold_format::ids::PartyId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::{NOTE_LEN_MAX, NOTE_SIGNATURES_MAX, SignedNote, party_name};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn key(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}

fn signed(text: &str, seeds: &[u8]) -> SignedNote {
    let mut note = SignedNote::sign(text.to_owned(), &key(seeds[0])).unwrap();
    for seed in &seeds[1..] {
        assert!(note.countersign(&key(*seed)));
    }
    note
}

/// A well-formed line of a signer that is not known here, with a name that sorts last.
fn foreign_line(name: &str) -> String {
    format!("\u{2014} {name} {}\n", data_encoding::BASE64.encode(&[7; 68]))
}

#[test]
fn both_parties_hold_the_same_bytes_whoever_signs_first() {
    let (a, b) = (signed("terms\n", &[1, 2]), signed("terms\n", &[2, 1]));
    assert_eq!(a.to_bytes(), b.to_bytes());
    assert_eq!(SignedNote::parse(&a.to_bytes()).unwrap(), b);
    for seed in [1, 2] {
        assert!(a.is_signed_by(&key(seed).id()));
    }
    assert!(!a.is_signed_by(&key(3).id()));
}

#[test]
fn what_is_signed_here_is_what_the_specification_shows() {
    // The keys of spec/vectors/messages.py; Ed25519 is deterministic. The same bytes open with
    // Go's golang.org/x/mod/sumdb/note.
    let key = |name: &str| PartyKey::from_seed(&Sha256::digest(name).into());
    let mut note = SignedNote::sign("a text\nof two lines\n".to_owned(), &key("provider")).unwrap();
    assert!(note.countersign(&key("owner")));
    let expected = include_str!("../../../spec/vectors/note/ok-both.json");
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    let expected = data_encoding::HEXLOWER.decode(expected["note"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(note.to_bytes(), expected);
    let page = include_str!("../../../spec/notes.md");
    assert!(page.contains(std::str::from_utf8(&expected).unwrap()));
}

#[test]
fn signing_again_changes_nothing() {
    let mut note = signed("terms\n", &[1, 2]);
    let before = note.clone();
    assert!(note.countersign(&key(1)));
    assert_eq!(note, before);
}

#[test]
fn countersigning_replaces_whatever_stands_under_the_name() {
    let name = party_name(&key(2).id());
    let text = format!("terms\n\n{}", foreign_line(&name));
    let mut note = SignedNote::parse(text.as_bytes()).unwrap();
    assert!(!note.is_signed_by(&key(2).id()));
    assert!(note.countersign(&key(2)));
    assert_eq!(note, signed("terms\n", &[2]));
}

#[test]
fn texts_that_no_note_can_have_are_not_signed() {
    let long = "x".repeat(NOTE_LEN_MAX) + "\n";
    for text in ["", "no newline", "a\r\n", "a\tb\n", "a\0\n", "\u{7f}\n", long.as_str()] {
        assert!(SignedNote::sign(text.to_owned(), &key(1)).is_err(), "{text:.20}");
    }
}

#[test]
fn the_longest_note_can_be_signed_and_parsed_and_no_longer_one() {
    let signature = signed("\n", &[1]).to_bytes().len() - 1;
    let text = |extra: usize| "x".repeat(NOTE_LEN_MAX - signature - 1 + extra) + "\n";
    let note = SignedNote::sign(text(0), &key(1)).unwrap();
    assert_eq!(note.to_bytes().len(), NOTE_LEN_MAX);
    assert_eq!(SignedNote::parse(&note.to_bytes()).unwrap(), note);
    assert!(SignedNote::sign(text(1), &key(1)).is_err());
}

#[test]
fn attack_25_a_note_without_room_is_not_countersigned_into_one_that_nobody_can_read() {
    let lines: String = (0..NOTE_SIGNATURES_MAX).map(|n| foreign_line(&format!("w{n:02}"))).collect();
    let many = format!("terms\n\n{lines}");
    let long = format!("{}\n\n{}", "x".repeat(NOTE_LEN_MAX - 150), foreign_line("w"));
    for full in [many, long] {
        let mut note = SignedNote::parse(full.as_bytes()).unwrap();
        let before = note.clone();
        assert!(!note.countersign(&key(1)));
        assert_eq!(note, before);
        assert_eq!(SignedNote::parse(&note.to_bytes()).unwrap(), before);
    }
}

#[test]
fn attack_5_a_signature_counts_for_its_own_key_alone() {
    let note = signed("terms\n", &[1]);
    let mine = party_name(&key(1).id());
    let theirs = party_name(&key(2).id());
    let renamed = String::from_utf8(note.to_bytes()).unwrap().replace(&mine, &theirs);
    let renamed = SignedNote::parse(renamed.as_bytes()).unwrap();
    assert!(!renamed.is_signed_by(&key(1).id()));
    assert!(!renamed.is_signed_by(&key(2).id()));
}

#[test]
fn attack_28_a_signature_moved_to_another_text_is_no_signature() {
    let old = String::from_utf8(signed("owed: 5\n", &[1, 2]).to_bytes()).unwrap();
    let new = SignedNote::parse(old.replace("owed: 5", "owed: 6").as_bytes()).unwrap();
    assert!(!new.is_signed_by(&key(1).id()));
    assert!(!new.is_signed_by(&key(2).id()));
}

#[test]
fn a_party_of_small_order_signs_nothing() {
    // For these points some verifiers accept one signature for every message.
    let mut weak = [[0; 32], [0; 32]];
    weak[0][0] = 1;
    for point in weak {
        let party = PartyId(point);
        let name = party_name(&party);
        let key_id = Sha256::digest([name.as_bytes(), b"\n\x01", &point].concat());
        let mut signature = [0; 64];
        signature[0] = 1;
        let blob = data_encoding::BASE64.encode(&[&key_id[..4], &signature].concat());
        let note = SignedNote::parse(format!("terms\n\n\u{2014} {name} {blob}\n").as_bytes()).unwrap();
        assert!(!note.is_signed_by(&party));
    }
}

proptest! {
    #[test]
    fn what_is_signed_is_parsed_back(
        text in "[^\\x00-\\x1f\\x7f]{0,60}(\n[^\\x00-\\x1f\\x7f]{0,20}){0,5}", seeds in prop::collection::vec(0u8..20, 1..6)
    ) {
        let text = format!("{text}\n");
        let note = signed(&text, &seeds);
        prop_assert_eq!(note.text(), &text);
        let bytes = note.to_bytes();
        let read = SignedNote::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &note);
        for seed in 0..20 {
            prop_assert_eq!(read.is_signed_by(&key(seed).id()), seeds.contains(&seed));
        }
    }

    #[test]
    fn attack_1_no_changed_byte_leaves_the_signature_and_the_text(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let note = signed("commonhold/test/v1\nsequence: 7\n", &[1, 2]);
        let mut bytes = note.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = SignedNote::parse(&bytes) {
            prop_assert_eq!(changed.to_bytes(), bytes);
            let both = [1, 2].iter().all(|seed| changed.is_signed_by(&key(*seed).id()));
            prop_assert!(!both);
        }
    }

    #[test]
    fn whatever_is_parsed_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(note) = SignedNote::parse(&bytes) {
            prop_assert_eq!(note.to_bytes(), bytes);
        }
    }

    #[test]
    fn whatever_almost_is_a_note_is_written_the_same(
        parts in prop::collection::vec(prop::sample::select(
            &["\n", "\n\n", "\u{2014} ", "\u{2014}", "a", "name ", " ", "AAAAAAA=", "AAAAAAAA", "=", "+", "\u{2014} n AAAAAAA=\n"][..]
        ), 0..14)
    ) {
        let text = parts.concat();
        if let Ok(note) = SignedNote::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_bytes(), text.as_bytes());
        }
    }
}
