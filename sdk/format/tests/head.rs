//! Drive heads: signed, sealed, bound to their drive and place, and of bounded size.

#![allow(clippy::unwrap_used)]

use commonhold_format::code::Code;
use commonhold_format::drive::{Extent, FolderRef, HeadContent, ObjectRef, Totals};
use commonhold_format::head::{HEAD_LEN_MAX, Head, HeadError};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::keys::{DriveKeys, PartyKey, RootSecret};
use commonhold_format::seal::{ObjectId, ObjectKey, sealed_len};
use commonhold_format::segment::Segment;
use proptest::prelude::*;

fn keys(byte: u8) -> DriveKeys {
    RootSecret::from_bytes([byte; 32]).drive_keys()
}

/// The signing key behind [`keys`], for heads that no honest writer would make.
fn signer(byte: u8) -> PartyKey {
    let mut seed = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, &[byte; 32])
        .expand(b"commonhold/v1/drive-signing", &mut seed)
        .unwrap();
    PartyKey::from_seed(&seed)
}

fn signed(mut head: Head, by: u8) -> Head {
    let unsigned = head.encode();
    let unsigned = &unsigned[..unsigned.len() - 64];
    head.signature = signer(by).sign(&[b"commonhold/v1/drive-head-signature", unsigned].concat());
    head
}

/// A folder of files of `segments` extents under a code of 2 of 6.
fn content(segments: u8) -> HeadContent {
    let code = Code::new(2, 6).unwrap();
    let table = (0..segments)
        .map(|at| Segment {
            code,
            len: 2 << 20,
            chunks: vec![ChunkId([at; 32]); 6],
            holders: vec![NodeId([at; 32]); 6],
        })
        .collect();
    let len = 1000;
    let rest = sealed_len(len) as u32 - u32::from(segments - 1);
    let extents = (0..u32::from(segments))
        .map(|at| Extent { segment: at, offset: 0, len: if at == 0 { rest } else { 1 } })
        .collect();
    let key = ObjectKey([0xaa; 32].into());
    let root = ObjectRef { id: ObjectId([1; 16]), key, commitment: [2; 32], len, extents };
    let files = FolderRef { page: Some(root), totals: Totals { entries: 3, files: 2, bytes: 1 } };
    HeadContent { table, files, written_ms: 1_750_000_000_000, ..HeadContent::default() }
}

fn head() -> Head {
    Head::write(&keys(1), 7, [3; 32], [4; 32], &content(1)).unwrap()
}

#[test]
fn a_head_survives_its_encoding() {
    let encoded = head().encode();
    assert_eq!(encoded[0], 0x02);
    let decoded = Head::decode(&encoded).unwrap();
    assert_eq!(decoded, head());
    assert_eq!((decoded.drive, decoded.sequence, decoded.previous), (keys(1).drive(), 7, [3; 32]));
    assert_eq!(decoded.open(&keys(1)).unwrap(), content(1));
    assert_eq!(decoded.hash(), head().hash());
}

#[test]
fn attack_1_any_flipped_bit_of_a_head_is_refused() {
    let encoded = head().encode();
    for at in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Head::decode(&changed).is_err(), "byte {at}");
    }
}

/// Even if a signature could be made: every field is bound to what is sealed.
#[test]
fn attack_1_a_signed_head_with_a_flipped_bit_does_not_open() {
    let good = head();
    let refused = |change: fn(&mut Head)| {
        let mut head = good.clone();
        change(&mut head);
        let head = Head::decode(&signed(head, 1).encode()).unwrap();
        assert_eq!(head.open(&keys(1)), Err(HeadError::Sealed));
    };
    refused(|head| head.sequence += 1);
    refused(|head| head.previous[0] ^= 1);
    refused(|head| head.sealed[0] ^= 1);
    refused(|head| head.sealed[32] ^= 1);
    refused(|head| *head.sealed.last_mut().unwrap() ^= 1);
    refused(|head| head.sealed.push(0));
    refused(|head| head.sealed.truncate(head.sealed.len() - 1));
}

#[test]
fn attack_2_a_sealed_part_is_of_one_drive() {
    let mut taken_over = head();
    taken_over.drive = keys(2).drive();
    let taken_over = Head::decode(&signed(taken_over, 2).encode()).unwrap();
    assert_eq!(taken_over.open(&keys(1)), Err(HeadError::Sealed));
    assert_eq!(taken_over.open(&keys(2)), Err(HeadError::Sealed));
    assert_eq!(head().open(&keys(2)), Err(HeadError::Sealed));
}

#[test]
fn attack_5_a_head_is_signed_by_the_drive_that_it_names() {
    assert_eq!(Head::decode(&signed(head(), 2).encode()), Err(HeadError::Signature));
    let party = RootSecret::from_bytes([1; 32]).party_key();
    let mut by_party = head();
    let unsigned = by_party.encode();
    by_party.signature =
        party.sign(&[b"commonhold/v1/drive-head-signature", &unsigned[..unsigned.len() - 64]].concat());
    assert_eq!(Head::decode(&by_party.encode()), Err(HeadError::Signature));
}

/// What the format gives a reader to notice a rollback by: an order, and a chain.
#[test]
fn attack_11_heads_are_numbered_and_chained() {
    let first = Head::write(&keys(1), 1, [0; 32], [1; 32], &content(1)).unwrap();
    let second = Head::write(&keys(1), 2, first.hash(), [2; 32], &content(2)).unwrap();
    let fork = Head::write(&keys(1), 2, first.hash(), [3; 32], &content(2)).unwrap();
    assert_eq!(Head::decode(&second.encode()).unwrap().previous, first.hash());
    assert_ne!(second.hash(), fork.hash());
    // An old head cannot be given a new number, by its sealed part.
    let mut raised = first;
    raised.sequence = 3;
    raised.previous = second.hash();
    assert_eq!(signed(raised, 1).open(&keys(1)), Err(HeadError::Sealed));
}

#[test]
fn attack_14_two_heads_share_no_key() {
    let one = Head::write(&keys(1), 7, [3; 32], [4; 32], &content(1)).unwrap().sealed;
    let other = Head::write(&keys(1), 7, [3; 32], [5; 32], &content(1)).unwrap().sealed;
    let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(equal < 30, "{equal} of {} bytes are equal", one.len());
}

#[test]
fn attack_17_a_head_shows_neither_names_nor_keys_nor_its_exact_length() {
    let encoded = head().encode();
    for secret in [[0xaa; 8], [1; 8], [2; 8]] {
        assert!(!encoded.windows(8).any(|window| window == secret));
    }
    let mut later = content(1);
    later.written_ms = 0;
    let shorter = later.encode().len();
    assert!(shorter < content(1).encode().len());
    let later = Head::write(&keys(1), 7, [3; 32], [4; 32], &later).unwrap();
    assert_eq!(later.encode().len(), encoded.len());
}

#[test]
fn attack_25_a_head_is_at_most_8_kib() {
    let fits = |segments| Head::write(&keys(1), 1, [0; 32], [1; 32], &content(segments));
    let most = (1..=40).rev().find(|segments| fits(*segments).is_ok()).unwrap();
    let largest = fits(most).unwrap();
    assert!(largest.encode().len() <= HEAD_LEN_MAX);
    assert_eq!(Head::decode(&largest.encode()).unwrap().open(&keys(1)).unwrap(), content(most));
    let Err(HeadError::TooLarge(len)) = fits(most + 1) else { panic!("{} segments", most + 1) };
    assert!(len > HEAD_LEN_MAX && len < HEAD_LEN_MAX + 400, "{len}");
    let mut long = largest.encode();
    long.resize(HEAD_LEN_MAX + 1, 0);
    assert_eq!(Head::decode(&long), Err(HeadError::TooLarge(HEAD_LEN_MAX + 1)));
}

#[test]
fn sequences_start_at_1() {
    let zero = Head::write(&keys(1), 0, [0; 32], [1; 32], &content(1));
    assert!(matches!(zero, Err(HeadError::Shape(_))));
    let mut zero = head();
    zero.sequence = 0;
    assert!(matches!(Head::decode(&signed(zero, 1).encode()), Err(HeadError::Shape(_))));
    assert!(Head::write(&keys(1), u64::MAX, [0; 32], [1; 32], &content(1)).is_ok());
}

proptest! {
    #[test]
    fn heads_survive_their_encoding(
        sequence in 1u64.., previous: [u8; 32], salt: [u8; 32], segments in 1u8..15, written_ms: i64
    ) {
        let content = HeadContent { written_ms, ..content(segments) };
        let head = Head::write(&keys(1), sequence, previous, salt, &content).unwrap();
        let encoded = head.encode();
        prop_assert!(encoded.len() <= HEAD_LEN_MAX);
        let decoded = Head::decode(&encoded).unwrap();
        prop_assert_eq!(decoded.encode(), encoded);
        prop_assert_eq!(decoded.open(&keys(1)).unwrap(), content);
    }

    #[test]
    fn cut_or_longer_heads_are_refused(at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..200)) {
        let encoded = head().encode();
        prop_assert!(Head::decode(&encoded[..at.index(encoded.len())]).is_err());
        prop_assert!(Head::decode(&[encoded, more].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Head::decode(&bytes).is_err());
        prop_assert!(Head::decode(&[&[2][..], &bytes].concat()).is_err());
        // Even when the owner signed them.
        let head = signed(Head { sealed: bytes, ..head() }, 1);
        prop_assert!(head.open(&keys(1)).is_err());
    }
}
