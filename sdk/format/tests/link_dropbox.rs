//! Drop boxes: what arrives is what was sent to this box, whole, or is not taken.

#![allow(clippy::unwrap_used)]

use commonhold_format::code::Code;
use commonhold_format::drive::Name;
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::keys::{PartyKey, RootSecret};
use commonhold_format::link::{
    DropHead, DropKey, DropOpener, DropSealer, LinkContent, LinkError, LinkKeys, LinkPlace, LinkRecord,
    LinkSecret,
};
use commonhold_format::seal::RECORD_PLAIN_LEN;
use commonhold_format::segment::Segment;
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

/// The record of a drop box as its owner writes it. `secret` seals it and `public` takes files.
fn box_record(link: &LinkKeys, sequence: u64, public: [u8; 32]) -> LinkRecord {
    let segment = Segment {
        code: Code::new(2, 6).unwrap(),
        len: 1000,
        chunks: vec![ChunkId([1; 32]); 6],
        holders: vec![NodeId([2; 32]); 6],
    };
    let content = LinkContent { root: None, drop_box: Some(public), written_ms: 5 };
    let place = LinkPlace { segment, cover_len: 0 };
    LinkRecord::write(link, sequence, 0, place, [sequence as u8; 32], None, &content).unwrap()
}

/// The bytes signed by the link's own key, as a node could have it do that had taken the key.
fn signed(mut unsigned: Vec<u8>, seed: u8) -> Vec<u8> {
    let mut signing = [0; 32];
    let keys = hkdf::Hkdf::<sha2::Sha256>::new(Some(&[seed; 16]), &[7; 32]);
    keys.expand(b"commonhold/v1/link-signing", &mut signing).unwrap();
    let message = [b"commonhold/v1/link-signature", &unsigned[..]].concat();
    unsigned.extend(PartyKey::from_seed(&signing).sign(&message));
    unsigned
}

#[test]
fn attack_6_a_sender_seals_to_the_key_under_the_links_secret() {
    let link = keys(1);
    let record = box_record(&link, 1, link.drop_key().public());
    let read = LinkRecord::decode(&record.encode()).unwrap();
    let public = read.open(link.secret(), None).unwrap().drop_box.unwrap();
    assert_eq!(public, link.drop_key().public());
    // Its owner opens what a sender who knows nothing but the link has sealed.
    let head = DropHead { name: Name::new("a").unwrap(), len: 5, modified_ms: 0 };
    let mut sent = Vec::new();
    let own = DropKey::from_bytes([4; 32].into());
    let mut sealer = DropSealer::new(&public, &read.id, &own, &head, &mut sent).unwrap();
    sealer.push(b"12345", &mut sent).unwrap();
    sealer.finish(&mut sent).unwrap();
    assert_eq!(opened(&sent, &[7], &link), (b"12345".to_vec(), Ok(head)));
    // The key is nowhere to be seen or replaced: it is under the seal, and the same for every record.
    let encoded = record.encode();
    assert!(!encoded.windows(8).any(|window| window == &public[..8]));
    let later = box_record(&keys(1), 2, keys(1).drop_key().public());
    assert_eq!(later.open(link.secret(), None).unwrap().drop_box, Some(public));
}

#[test]
fn attack_6_no_other_key_gets_into_the_record_of_a_box() {
    let link = keys(1);
    let foreign = DropKey::from_bytes([9; 32].into());
    let genuine = box_record(&link, 1, link.drop_key().public()).encode();
    let other = box_record(&keys(2), 1, foreign.public());
    // A record of the same link that another key has signed.
    let mut renamed = other.encode();
    renamed[1..33].copy_from_slice(&link.id().0);
    assert_eq!(LinkRecord::decode(&renamed), Err(LinkError::Signature));
    // Any change, without the signature and, worse, with it: whoever lacks the fragment's secret seals nothing.
    let body = genuine.len() - 64;
    let sealed_from = body - LinkRecord::decode(&genuine).unwrap().open.unwrap().sealed.len();
    for at in 0..body {
        let mut changed = genuine[..body].to_vec();
        changed[at] ^= 1 << (at % 8);
        let unsigned = [&changed[..], &genuine[body..]].concat();
        assert!(LinkRecord::decode(&unsigned).is_err(), "byte {at}");
        let Ok(record) = LinkRecord::decode(&signed(changed, 1)) else { continue };
        match record.open(link.secret(), None) {
            // Where chunks lie is outside the seal, and guarded by the ids alone; the key is not there.
            Ok(content) => {
                assert!(at < sealed_from, "byte {at}");
                assert_eq!(content.drop_box, Some(link.drop_key().public()), "byte {at}");
            }
            Err(error) => assert!(
                matches!(error, LinkError::Sealed | LinkError::PasswordNeeded | LinkError::Revoked),
                "{error}"
            ),
        }
    }
    // What was sealed for another box, or under another secret, in the place of what the owner sealed.
    let mut taken = LinkRecord::decode(&genuine).unwrap();
    taken.open = other.open.clone();
    let mut unsigned = taken.encode();
    unsigned.truncate(unsigned.len() - 64);
    let taken = LinkRecord::decode(&signed(unsigned, 1)).unwrap();
    assert_eq!(taken.open(link.secret(), None), Err(LinkError::Sealed));
    assert_eq!(taken.open(keys(2).secret(), None), Err(LinkError::Sealed));
    let guessed = LinkSecret([0; 32].into());
    assert_eq!(LinkRecord::decode(&genuine).unwrap().open(&guessed, None), Err(LinkError::Sealed));
}

#[test]
fn attack_6_an_owner_takes_only_what_was_sealed_for_the_link_and_its_box() {
    let link = keys(1);
    let foreign = DropKey::from_bytes([9; 32].into());
    let seal = |public: [u8; 32], id| {
        let head = DropHead { name: Name::new("a").unwrap(), len: 3, modified_ms: 0 };
        let own = DropKey::from_bytes([4; 32].into());
        let mut out = Vec::new();
        let mut sealer = DropSealer::new(&public, &id, &own, &head, &mut out).unwrap();
        sealer.push(b"abc", &mut out).unwrap();
        sealer.finish(&mut out).unwrap();
        out
    };
    let refused = (Vec::new(), Err(LinkError::Sealed));
    // For this box and another link, for this link and another box, and a key swapped on the way.
    assert_eq!(opened(&seal(link.drop_key().public(), keys(2).id()), &[9], &link), refused);
    assert_eq!(opened(&seal(foreign.public(), link.id()), &[9], &link), refused);
    let genuine = seal(link.drop_key().public(), link.id());
    assert_eq!(opened(&genuine, &[9], &link).0, b"abc");
    let swapped = [&genuine[..1], &foreign.public(), &genuine[33..]].concat();
    assert_eq!(opened(&swapped, &[9], &link), refused);
    // Whoever holds the other key opens nothing of what was sealed to the box.
    let mut opener = DropOpener::new(&foreign, link.id());
    assert_eq!(opener.push(&genuine, &mut Vec::new()), Err(LinkError::Sealed));
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
