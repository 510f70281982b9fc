//! The vectors of spec/notes.md that are about notes: parsing, signatures, verifier keys.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::ids::PartyId;
use commonhold_format::note::{NoteError, SignedNote, party_name, verifier_key};

#[test]
fn note_vectors() {
    vector_case::for_each("note", |expect, case| {
        let bytes = case.bytes("note");
        let found = match SignedNote::parse(&bytes) {
            Ok(note) => {
                assert_eq!(note.to_bytes(), bytes, "{}", case.name());
                assert_eq!(note.text(), case.text("text"), "{}", case.name());
                assert_eq!(note.text_hash(), case.hash("text_hash"));
                let lines: Vec<(String, u32, Vec<u8>)> = case.objects("signatures", |line| {
                    let id = line.bytes("key_id").try_into().unwrap();
                    (line.text("name"), u32::from_be_bytes(id), line.bytes("signature"))
                });
                let read = note.signatures().iter();
                let read = read.map(|line| (line.name.clone(), line.key_id, line.signature.clone()));
                assert_eq!(read.collect::<Vec<_>>(), lines, "{}", case.name());
                case.objects("parties", |party| {
                    let id = PartyId(party.hash("party"));
                    let expected = party.text("verifier_key");
                    assert_eq!(verifier_key(&id), expected);
                    assert!(expected.starts_with(&party_name(&id)));
                    let signed = if note.is_signed_by(&id) { "yes" } else { "no" };
                    assert_eq!(signed, party.text("signed"), "{}", party.name());
                });
                "ok"
            }
            Err(NoteError(why)) => match why {
                "it has more than 16,384 bytes" => "too-long",
                "it has more than 16 signatures" => "too-many",
                "it has a control character other than newline" => "control",
                "it is not UTF-8" => "utf-8",
                "it has no empty line before its signatures" => "no-signatures",
                "it does not end with a signature and a newline" => "end",
                "its signatures are out of order or one is there twice" => "order",
                "a signature line does not begin with a dash and a space" => "dash",
                "a signature line has a name only" => "name-only",
                "a key name is empty, or has a plus or a space" => "name",
                "a signature is not canonical base64" => "base64",
                "a signature is too short" => "short",
                other => panic!("{}: {other}", case.name()),
            },
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
