//! Sealing: what was altered, moved, cut or taken from elsewhere does not open.

#![allow(clippy::unwrap_used)]

use commonhold_format::seal::{
    ObjectId, ObjectKey, ObjectKind, RECORD_LEN, RECORD_PLAIN_LEN, SealError, Sealing, open_small,
    padded_len, record_count, seal_small, sealed_len,
};
use proptest::prelude::*;

const KINDS: [ObjectKind; 6] = [
    ObjectKind::File,
    ObjectKind::Manifest,
    ObjectKind::Folder,
    ObjectKind::Head,
    ObjectKind::History,
    ObjectKind::Link,
];

fn key(byte: u8) -> ObjectKey {
    ObjectKey([byte; 32].into())
}

fn id(byte: u8) -> ObjectId {
    ObjectId([byte; 16])
}

fn sealing(byte: u8) -> Sealing {
    Sealing::new(ObjectKind::File, &id(byte), &key(byte))
}

/// Opens an object of kind Folder that was sealed under key and id 1.
fn open(len: usize, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let commitment = Sealing::new(ObjectKind::Folder, &id(1), &key(1)).commitment();
    open_small(ObjectKind::Folder, &id(1), &key(1), &commitment, len as u64, sealed)
        .map(|plain| plain.to_vec())
}

fn seal(plain: &[u8]) -> Vec<u8> {
    seal_small(ObjectKind::Folder, &id(1), &key(1), plain)
}

/// Three records, of which two are full; the last byte before the padding is not zero.
fn three_records() -> (Vec<u8>, Vec<u8>) {
    let plain: Vec<u8> = (0..150_000u32).map(|at| (at % 251 + 1) as u8).collect();
    let sealed = seal(&plain);
    assert_eq!(record_count(plain.len() as u64), 3);
    (plain, sealed)
}

#[test]
fn attack_1_any_flipped_bit_is_refused() {
    for len in [0usize, 1, 9, 100] {
        let plain = vec![0x5a; len];
        let sealed = seal(&plain);
        assert_eq!(open(len, &sealed).unwrap(), plain);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(len, &changed), Err(SealError), "bit {bit} of {len}");
        }
    }
    let (plain, sealed) = three_records();
    for at in [0, RECORD_LEN - 17, RECORD_LEN - 1, RECORD_LEN, 2 * RECORD_LEN, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 0x80;
        assert_eq!(open(plain.len(), &changed), Err(SealError), "byte {at}");
    }
}

#[test]
fn attack_1_nothing_of_a_refused_record_is_released() {
    let plain = [0x5a; 1000];
    let mut sealed = Vec::new();
    sealing(1).seal_record(0, 0, true, &plain, &mut sealed).unwrap();
    sealed[1015] ^= 1;
    assert_eq!(sealing(1).open_record(0, 0, true, &mut sealed), Err(SealError));
    assert!(!sealed.windows(8).any(|window| window == [0x5a; 8]));
}

#[test]
fn attack_2_records_in_another_order_are_refused() {
    let (plain, sealed) = three_records();
    let records: Vec<&[u8]> = sealed.chunks(RECORD_LEN).collect();
    let [first, second, last] = records[..] else { panic!("three records") };
    for order in [
        [second, first, last],
        [first, first, last],
        [second, second, last],
        [last, second, first],
        [first, last, second],
    ] {
        assert_eq!(open(plain.len(), &order.concat()), Err(SealError));
    }
    assert_eq!(open(plain.len(), &[first, second, last].concat()).unwrap(), plain);
}

#[test]
fn attack_2_a_record_opens_only_in_its_place() {
    let mut sealed = Vec::new();
    sealing(1).seal_record(3, 7, false, b"text", &mut sealed).unwrap();
    let opens = |sealing: Sealing, segment, record, last| {
        sealing.open_record(segment, record, last, &mut sealed.clone()).is_ok()
    };
    assert!(opens(sealing(1), 3, 7, false));
    for (segment, record, last) in [
        (3, 7, true),
        (3, 6, false),
        (3, 8, false),
        (2, 7, false),
        (4, 7, false),
        (7, 3, false),
        (0, 7, false),
    ] {
        assert!(!opens(sealing(1), segment, record, last), "{segment} {record} {last}");
    }
    assert!(!opens(sealing(2), 3, 7, false));
    assert!(!opens(Sealing::new(ObjectKind::File, &id(2), &key(1)), 3, 7, false));
    assert!(!opens(Sealing::new(ObjectKind::File, &id(1), &key(2)), 3, 7, false));
}

#[test]
fn attack_2_records_of_two_versions_do_not_mix() {
    let (plain, old) = three_records();
    let new = seal_small(ObjectKind::Folder, &id(1), &key(2), &plain);
    for at in 0..3 {
        let mut spliced = old.clone();
        let end = spliced.len().min((at + 1) * RECORD_LEN);
        spliced[at * RECORD_LEN..end].copy_from_slice(&new[at * RECORD_LEN..end]);
        assert_eq!(open(plain.len(), &spliced), Err(SealError), "record {at}");
    }
}

#[test]
fn attack_3_cut_and_lengthened_objects_are_refused() {
    let (plain, sealed) = three_records();
    for cut in [0, 16, RECORD_LEN, RECORD_LEN + 1, 2 * RECORD_LEN, sealed.len() - 16, sealed.len() - 1] {
        let cut = &sealed[..cut];
        assert_eq!(open(plain.len(), cut), Err(SealError));
        // Nor with any length that would fit what is left.
        for len in [0, cut.len().saturating_sub(16), cut.len() / RECORD_LEN * RECORD_PLAIN_LEN, cut.len()] {
            assert_eq!(open(len, cut), Err(SealError), "{} bytes as {len}", cut.len());
        }
    }
    for more in [1, 16, 17, RECORD_LEN] {
        assert_eq!(open(plain.len(), &[&sealed[..], &vec![0; more]].concat()), Err(SealError));
        assert_eq!(open(plain.len(), &[&sealed[..], &sealed[..more]].concat()), Err(SealError));
    }
}

/// The length alone gives the cut away above. Where it would not, the flag of the last record does.
#[test]
fn attack_3_an_object_cut_at_a_record_boundary_is_not_a_shorter_object() {
    let sealing = sealing(1);
    let mut sealed = Vec::new();
    for record in 0..3 {
        sealing.seal_record(0, record, record == 2, &[1; RECORD_PLAIN_LEN], &mut sealed).unwrap();
    }
    for (record, part) in (0..).zip(sealed.chunks(RECORD_LEN)) {
        for last in [false, true] {
            let opened = sealing.open_record(0, record, last, &mut part.to_vec()).is_ok();
            assert_eq!(opened, last == (record == 2), "record {record} as last: {last}");
        }
    }
}

#[test]
fn attack_4_zeros_are_sealed_like_everything_else() {
    for len in [16usize, 65_520, 100_000] {
        let plain = vec![0; len];
        let sealed = seal(&plain);
        assert_eq!(open(len, &sealed).unwrap(), plain);
        assert!(!sealed.windows(16).any(|window| window == [0; 16]));
        let zeros = vec![0; sealed.len()];
        assert_eq!(open(len, &zeros), Err(SealError));
        let mut sparse = sealed.clone();
        sparse[..16].fill(0);
        assert_eq!(open(len, &sparse), Err(SealError));
    }
}

#[test]
fn attack_7_there_is_one_error_for_everything() {
    let mut seen = std::collections::HashSet::new();
    let sealed = seal(b"text of 16 bytes");
    let commitment = Sealing::new(ObjectKind::Folder, &id(1), &key(1)).commitment();
    let mut refuse = |kind, id: ObjectId, key: &ObjectKey, commitment: &[u8; 32], len, sealed: &[u8]| {
        let error = open_small(kind, &id, key, commitment, len, sealed).unwrap_err();
        seen.insert((error.to_string(), format!("{error:?}")));
    };
    refuse(ObjectKind::File, id(1), &key(1), &commitment, 16, &sealed);
    refuse(ObjectKind::Folder, id(2), &key(1), &commitment, 16, &sealed);
    refuse(ObjectKind::Folder, id(1), &key(2), &commitment, 16, &sealed);
    refuse(ObjectKind::Folder, id(1), &key(1), &[0; 32], 16, &sealed);
    refuse(ObjectKind::Folder, id(1), &key(1), &commitment, 15, &sealed);
    refuse(ObjectKind::Folder, id(1), &key(1), &commitment, u64::MAX, &sealed);
    refuse(ObjectKind::Folder, id(1), &key(1), &commitment, 16, &sealed[1..]);
    refuse(ObjectKind::Folder, id(1), &key(1), &commitment, 16, &[0; 32]);
    refuse(ObjectKind::Folder, id(1), &key(1), &commitment, 0, &[]);
    assert_eq!(seen.len(), 1);
}

/// The context is spelled out here, with its version and suite bytes, so that a change of either
/// in the code fails this test and a record under another one is shown to be refused.
#[test]
fn attack_13_another_version_or_suite_does_not_open() {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let mut content_key = [0; 32];
    let salt = [&[ObjectKind::File as u8][..], &[1; 16]].concat();
    hkdf::Hkdf::<sha2::Sha256>::new(Some(&salt), &[1; 32])
        .expand(b"commonhold/v1/content-key", &mut content_key)
        .unwrap();
    let seal = |version: u8, suite: u8| {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).unwrap());
        let aad = [&[version, suite, ObjectKind::File as u8][..], &[1; 16], &[0, 0, 0, 5]].concat();
        let mut sealed = b"text".to_vec();
        let nonce = Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1]);
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).unwrap();
        sealed
    };
    assert_eq!(sealing(1).open_record(5, 9, true, &mut seal(1, 1)).unwrap(), b"text");
    for (version, suite) in [(0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (255, 255)] {
        assert!(sealing(1).open_record(5, 9, true, &mut seal(version, suite)).is_err());
    }
}

/// The same plaintext and place under two fresh keys: nothing is in common, so nothing can repeat
/// after a crash or in a cloned machine, as long as keys are fresh.
#[test]
fn attack_14_each_object_has_a_key_of_its_own() {
    let plain = [7; 4096];
    let sealed: Vec<Vec<u8>> = [(1, 1), (1, 2), (2, 1), (2, 2)]
        .map(|(key_byte, id_byte)| seal_small(ObjectKind::File, &id(id_byte), &key(key_byte), &plain))
        .to_vec();
    for (at, one) in sealed.iter().enumerate() {
        for other in &sealed[..at] {
            let equal = one.iter().zip(other).filter(|(a, b)| a == b).count();
            assert!(equal < 60, "{equal} of 4,112 bytes are equal, where chance gives 16");
        }
    }
}

/// That bytes can open under two keys at all is shown by the vector `bad-two-keys`.
#[test]
fn attack_15_a_commitment_is_for_one_key_kind_and_id() {
    let commitment = sealing(1).commitment();
    assert!(Sealing::with_commitment(ObjectKind::File, &id(1), &key(1), &commitment).is_ok());
    for (kind, id, key) in [
        (ObjectKind::File, id(1), key(2)),
        (ObjectKind::File, id(2), key(1)),
        (ObjectKind::Folder, id(1), key(1)),
    ] {
        assert_eq!(Sealing::with_commitment(kind, &id, &key, &commitment).err(), Some(SealError));
    }
    for bit in 0..256 {
        let mut changed = commitment;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Sealing::with_commitment(ObjectKind::File, &id(1), &key(1), &changed).is_err());
    }
}

#[test]
fn attack_16_an_object_opens_only_as_what_it_is() {
    for sealed_as in KINDS {
        let sealed = seal_small(sealed_as, &id(1), &key(1), b"text");
        for opened_as in KINDS {
            for committed in KINDS {
                let commitment = Sealing::new(committed, &id(1), &key(1)).commitment();
                let opened = open_small(opened_as, &id(1), &key(1), &commitment, 4, &sealed);
                assert_eq!(opened.is_ok(), sealed_as == opened_as && opened_as == committed);
            }
        }
    }
}

/// All zeros from the true length on, all of it there, and no more than that.
#[test]
fn padding_is_zeros_and_nothing_else() {
    let sealing = Sealing::new(ObjectKind::Folder, &id(1), &key(1));
    let seal = |padded: &[u8]| {
        let mut out = Vec::new();
        sealing.seal_record(0, 0, true, padded, &mut out).unwrap();
        out
    };
    let len = 41;
    let padded = padded_len(41) as usize;
    assert_eq!(padded, 44);
    let mut plain = vec![1; len];
    plain.resize(padded, 0);
    assert!(open(len, &seal(&plain)).is_ok());
    for at in len..padded {
        let mut changed = plain.clone();
        changed[at] = 1;
        assert_eq!(open(len, &seal(&changed)), Err(SealError));
    }
    for wrong in [&plain[..len], &plain[..padded - 1], &[&plain[..], &[0]].concat()] {
        assert_eq!(open(len, &seal(wrong)), Err(SealError));
    }
}

#[test]
fn records_have_a_largest_size() {
    let mut out = b"before".to_vec();
    let too_long = vec![0; RECORD_PLAIN_LEN + 1];
    assert_eq!(sealing(1).seal_record(0, 0, true, &too_long, &mut out), Err(SealError));
    assert_eq!(out, b"before");
    sealing(1).seal_record(0, 0, true, &too_long[1..], &mut out).unwrap();
    assert_eq!(out.len(), 6 + RECORD_LEN);
    assert_eq!(&out[..6], b"before");
    assert!(sealing(1).open_record(0, 0, true, &mut out[6..]).is_ok());
    for len in [0, 1, 15, RECORD_LEN + 1] {
        assert_eq!(sealing(1).open_record(0, 0, true, &mut vec![0; len]), Err(SealError));
    }
}

#[test]
fn lengths_at_their_bounds() {
    assert_eq!(RECORD_LEN - RECORD_PLAIN_LEN, 16);
    for (len, padded, records, sealed) in [
        (0, 0, 1, 16),
        (1, 1, 1, 17),
        (8, 8, 1, 24),
        (9, 10, 1, 26),
        (63_488, 63_488, 1, 63_504),
        (63_489, 65_536, 2, 65_568),
        (u64::MAX, u64::MAX, 281_543_712_968_706, u64::MAX),
        (1 << 63, 1 << 63, 140_771_856_484_353, (1 << 63) + 16 * 140_771_856_484_353),
    ] {
        assert_eq!((padded_len(len), record_count(len), sealed_len(len)), (padded, records, sealed), "{len}");
    }
}

fn any_length() -> impl Strategy<Value = u64> {
    (0u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
}

proptest! {
    #[test]
    fn objects_survive_sealing(
        kind in prop::sample::select(KINDS.to_vec()), id: [u8; 16], key: [u8; 32],
        plain in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), (0usize..200_000).prop_map(|len| vec![3; len])]
    ) {
        let (id, key) = (ObjectId(id), ObjectKey(key.into()));
        let sealed = seal_small(kind, &id, &key, &plain);
        prop_assert_eq!(sealed.len() as u64, sealed_len(plain.len() as u64));
        let commitment = Sealing::new(kind, &id, &key).commitment();
        let opened = open_small(kind, &id, &key, &commitment, plain.len() as u64, &sealed).unwrap();
        prop_assert!(*opened == plain);
    }

    #[test]
    fn any_bytes_are_refused(len in prop_oneof![0u64..300, any_length()], sealed in prop::collection::vec(any::<u8>(), 0..300)) {
        let commitment = Sealing::new(ObjectKind::Folder, &id(1), &key(1)).commitment();
        prop_assert!(open_small(ObjectKind::Folder, &id(1), &key(1), &commitment, len, &sealed).is_err());
    }

    #[test]
    fn attack_17_padding_hides_the_exact_length_at_little_cost(len in any_length()) {
        let padded = padded_len(len);
        prop_assert!(padded >= len);
        // Under 12 %, in whole numbers.
        prop_assert!(u128::from(padded - len) * 100 < u128::from(len.max(1)) * 12);
        prop_assert_eq!(padded_len(padded), padded);
        prop_assert!(padded_len(len.saturating_sub(1)) <= padded);
        // No more bits are left of it than Padmé leaves.
        if len >= 2 && padded < 1 << 63 {
            let left = padded.ilog2() + 1 - padded.trailing_zeros();
            prop_assert!(left <= padded.ilog2().ilog2() + 2, "{left} bits of {padded}");
        }
        prop_assert!(record_count(len) >= 1);
        prop_assert!(sealed_len(len) >= padded);
    }
}
