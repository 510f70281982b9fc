//! Drop boxes: what arrives is what was sent to this box, whole, or is not taken.

#![allow(clippy::unwrap_used)]

use commonhold_format::drive::Name;
use commonhold_format::keys::RootSecret;
use commonhold_format::link::{DropHead, DropKey, DropOpener, DropSealer, LinkError, LinkKeys};
use commonhold_format::seal::RECORD_PLAIN_LEN;
use proptest::prelude::*;

fn keys(seed: u8) -> LinkKeys {
    RootSecret::from_bytes([7; 32]).link_keys(&[seed; 16])
}

fn sealed(content: &[u8], pieces: &[usize], link: &LinkKeys) -> Vec<u8> {
    let head = DropHead { name: Name::new("a").unwrap(), len: content.len() as u64, modified_ms: -3 };
    let own = DropKey::from_bytes([3; 32].into());
    let mut out = Vec::new();
    let mut sealer = DropSealer::new(&link.drop_key().public(), &link.id(), &own, &head, &mut out).unwrap();
    for piece in cut(content, pieces) {
        sealer.push(piece, &mut out).unwrap();
    }
    sealer.finish(&mut out).unwrap();
    out
}

/// `bytes` in pieces of these lengths, and again from the start when there are no more.
fn cut<'a>(mut bytes: &'a [u8], pieces: &[usize]) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    let mut lens = pieces.iter().cycle();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at((*lens.next().unwrap()).clamp(1, bytes.len()));
        out.push(piece);
        bytes = rest;
    }
    out
}

/// What was opened before it failed, and whether it failed.
fn opened(sealed: &[u8], pieces: &[usize], link: &LinkKeys) -> (Vec<u8>, Result<DropHead, LinkError>) {
    let mut opener = DropOpener::new(link.drop_key(), link.id());
    let mut out = Vec::new();
    for piece in cut(sealed, pieces) {
        if let Err(error) = opener.push(piece, &mut out) {
            // Once it has failed, nothing is taken any more.
            assert_eq!(opener.push(b"x", &mut out), Err(LinkError::Sealed));
            return (out, Err(error));
        }
    }
    (out, opener.finish())
}

#[test]
fn a_sealer_takes_as_many_bytes_as_its_head_says() {
    let link = keys(1);
    let own = DropKey::from_bytes([3; 32].into());
    let head = DropHead { name: Name::new("a").unwrap(), len: 5, modified_ms: 0 };
    let mut out = Vec::new();
    let mut sealer =
        || DropSealer::new(&link.drop_key().public(), &link.id(), &own, &head, &mut out).unwrap();
    let (mut long, mut short) = (sealer(), sealer());
    assert_eq!(long.push(b"123456", &mut Vec::new()), Err(LinkError::Sealed));
    short.push(b"1234", &mut Vec::new()).unwrap();
    assert_eq!(short.finish(&mut Vec::new()), Err(LinkError::Sealed));
}

#[test]
fn attack_5_a_box_of_small_order_takes_nothing() {
    let own = DropKey::from_bytes([3; 32].into());
    let head = DropHead { name: Name::new("a").unwrap(), len: 5, modified_ms: 0 };
    let mut one = [0; 32];
    one[0] = 1;
    for public in [[0; 32], one] {
        let sealer = DropSealer::new(&public, &keys(1).id(), &own, &head, &mut Vec::new());
        assert_eq!(sealer.unwrap_err(), LinkError::Sealed);
    }
}

#[test]
fn attack_25_an_opener_believes_no_length() {
    let link = keys(1);
    let own = DropKey::from_bytes([3; 32].into());
    let head = DropHead { name: Name::new("a").unwrap(), len: u64::MAX, modified_ms: 0 };
    let mut out = Vec::new();
    DropSealer::new(&link.drop_key().public(), &link.id(), &own, &head, &mut out).unwrap();
    let mut opener = DropOpener::new(link.drop_key(), link.id());
    opener.push(&out, &mut Vec::new()).unwrap();
    assert_eq!(opener.head(), Some(&head));
    assert_eq!(opener.finish(), Err(LinkError::Sealed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_arrive_in_a_drop_box_however_they_are_cut(
        len in prop_oneof![0usize..300, RECORD_PLAIN_LEN - 2..RECORD_PLAIN_LEN + 3, 2 * RECORD_PLAIN_LEN - 2..2 * RECORD_PLAIN_LEN + 3],
        sent in prop::collection::vec(1usize..100_000, 1..4), arrived in prop::collection::vec(1usize..100_000, 1..4)
    ) {
        let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let sealed = sealed(&content, &sent, &keys(1));
        let (out, head) = opened(&sealed, &arrived, &keys(1));
        prop_assert_eq!(out, content);
        prop_assert_eq!(head.unwrap().len, len as u64);
    }

    /// Attacks 1 to 3: only what was sealed comes out, and never to its end.
    #[test]
    fn an_altered_file_gives_out_a_true_beginning_at_most(
        len in prop_oneof![0usize..300, 2 * RECORD_PLAIN_LEN - 2..2 * RECORD_PLAIN_LEN + 3],
        at in any::<prop::sample::Index>(), bit in 0u8..8, how in 0u8..4, arrived in prop::collection::vec(1usize..100_000, 1..4)
    ) {
        let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let mut sealed = sealed(&content, &[9999], &keys(1));
        let at = at.index(sealed.len());
        match how {
            0 => sealed[at] ^= 1 << bit,
            1 => sealed.truncate(at),
            2 => sealed.push(bit),
            _ => { sealed.remove(at); }
        }
        // The highest bit of an X25519 key is not looked at, but is part of what the keys come from.
        let (out, head) = opened(&sealed, &arrived, &keys(1));
        prop_assert_eq!(head, Err(LinkError::Sealed));
        prop_assert!(content.starts_with(&out));
    }

    #[test]
    fn attack_20_a_file_is_for_one_box(content in prop::collection::vec(any::<u8>(), 0..100), other in 2u8..9) {
        let sealed = sealed(&content, &[50], &keys(1));
        let (out, head) = opened(&sealed, &[50], &keys(other));
        prop_assert!(out.is_empty());
        prop_assert_eq!(head, Err(LinkError::Sealed));
    }
}
