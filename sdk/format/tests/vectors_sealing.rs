//! The vectors of spec/sealing.md: lengths, objects, records, and what is refused.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::seal::{
    ObjectId, ObjectKey, ObjectKind, SealError, Sealing, open_small, padded_len, record_count, seal_small,
    sealed_len,
};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use vector_case::Case;

#[test]
fn sealing_vectors() {
    vector_case::for_each("sealing", |expect, case| {
        let found = match case.text("of").as_str() {
            "lengths" => {
                lengths(case);
                Ok(())
            }
            "object" if expect == "ok" => {
                sealed_object(case);
                Ok(())
            }
            "object" => opened_object(case),
            "records" => {
                records(case);
                Ok(())
            }
            "record" => opened_record(case),
            "two-keys" => two_keys(case),
            other => panic!("{}: of {other}", case.name()),
        };
        assert_eq!(if found.is_ok() { "ok" } else { "refused" }, expect, "{}", case.name());
    });
}

fn kind(case: &mut Case) -> ObjectKind {
    match case.number("kind") {
        1 => ObjectKind::File,
        2 => ObjectKind::Manifest,
        3 => ObjectKind::Folder,
        5 => ObjectKind::History,
        other => panic!("{}: kind {other}", case.name()),
    }
}

fn id(case: &mut Case) -> ObjectId {
    ObjectId(case.bytes("id").try_into().unwrap())
}

/// Kind, id, key and commitment; the content key is derived and compared here.
fn parts(case: &mut Case) -> (ObjectKind, ObjectId, ObjectKey, [u8; 32]) {
    let (kind, id, key) = (kind(case), id(case), case.hash("key"));
    let salt = [&[kind as u8][..], &id.0].concat();
    let mut content_key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt), &key).expand(b"commonhold/v1/content-key", &mut content_key).unwrap();
    assert_eq!(content_key, case.hash("content_key"), "{}", case.name());
    (kind, id, ObjectKey(key.into()), case.hash("commitment"))
}

fn lengths(case: &mut Case) {
    let rows = case.objects("lengths", |row| {
        let len = row.number("len");
        assert_eq!(padded_len(len), row.number::<u64>("padded"), "{len}");
        assert_eq!(record_count(len), row.number::<u64>("records"), "{len}");
        assert_eq!(sealed_len(len), row.number::<u64>("sealed"), "{len}");
    });
    assert!(!rows.is_empty());
}

fn sealed_object(case: &mut Case) {
    let (kind, id, key, commitment) = parts(case);
    let plain = if case.has("plain") {
        case.bytes("plain")
    } else {
        (0..case.number("text_len")).map(|at: usize| (at % 255 + 1) as u8).collect()
    };
    assert_eq!(Sealing::new(kind, &id, &key).commitment(), commitment, "{}", case.name());
    let sealed = seal_small(kind, &id, &key, &plain);
    if case.has("sealed") {
        assert_eq!(sealed, case.bytes("sealed"), "{}", case.name());
    } else {
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&sealed)), case.hash("sealed_sha256"), "{}", case.name());
    }
    let opened = open_small(kind, &id, &key, &commitment, plain.len() as u64, &sealed).unwrap();
    assert_eq!(*opened, plain, "{}", case.name());
}

fn opened_object(case: &mut Case) -> Result<(), SealError> {
    let (kind, id, key, commitment) = parts(case);
    open_small(kind, &id, &key, &commitment, case.number("len"), &case.bytes("sealed")).map(|_| ())
}

fn last(case: &mut Case) -> bool {
    match case.text("last").as_str() {
        "yes" => true,
        "no" => false,
        other => panic!("{}: last {other}", case.name()),
    }
}

fn records(case: &mut Case) {
    let (kind, id, key, commitment) = parts(case);
    let sealing = Sealing::with_commitment(kind, &id, &key, &commitment).unwrap();
    case.objects("records", |record| {
        let (segment, number, last) = (record.number("segment"), record.number("record"), last(record));
        let (plain, expected) = (record.bytes("plain"), record.bytes("sealed"));
        let mut sealed = Vec::new();
        sealing.seal_record(segment, number, last, &plain, &mut sealed).unwrap();
        assert_eq!(sealed, expected);
        assert_eq!(sealing.open_record(segment, number, last, &mut sealed).unwrap(), plain);
    });
}

fn opened_record(case: &mut Case) -> Result<(), SealError> {
    let (kind, id, key, commitment) = parts(case);
    let sealing = Sealing::with_commitment(kind, &id, &key, &commitment).unwrap();
    let (segment, number, last) = (case.number("segment"), case.number("record"), last(case));
    sealing.open_record(segment, number, last, &mut case.bytes("sealed")).map(|_| ())
}

/// Attack 15. Each key opens the bytes if its own commitment is asked for, which shows that the
/// tag alone does not tell the two apart; with the other's commitment neither does.
fn two_keys(case: &mut Case) -> Result<(), SealError> {
    let (kind, id, sealed) = (kind(case), id(case), case.bytes("sealed"));
    let keys = case.objects("keys", |part| {
        (ObjectKey(part.hash("key").into()), part.hash("commitment"), part.bytes("plain"))
    });
    let open = |key, commitment| open_small(kind, &id, key, commitment, 32, &sealed);
    for (key, commitment, plain) in &keys {
        assert_eq!(*open(key, commitment).unwrap(), *plain);
    }
    let [(one, of_one, plain), (two, of_two, other_plain)] = &keys[..] else { panic!("two keys") };
    assert_ne!(plain, other_plain);
    assert_eq!(open(one, of_two), Err(SealError));
    open(two, of_one).map(|_| ())
}
