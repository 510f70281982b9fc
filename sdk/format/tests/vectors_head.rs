//! The vectors of spec/drive.md, section 5: heads, and what is refused.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::drive::HeadContent;
use commonhold_format::head::{Head, HeadError};
use commonhold_format::keys::RootSecret;

#[test]
fn head_vectors() {
    vector_case::for_each("head", |expect, case| {
        let keys = RootSecret::from_bytes(case.hash("root")).drive_keys();
        let record = case.bytes("record");
        let found = match Head::decode(&record).and_then(|head| Ok((head.open(&keys)?, head))) {
            Ok((opened, head)) => {
                let (sequence, previous, salt) =
                    (case.number("sequence"), case.hash("previous"), case.hash("salt"));
                let content = case.bytes("content");
                assert_eq!(HeadContent::decode(&content), Ok(opened.clone()), "{}", case.name());
                assert_eq!(*opened.encode(), content, "{}", case.name());
                // Ed25519 is deterministic and the salt is given, so a head is written in one way.
                let written = Head::write(&keys, sequence, previous, salt, &opened).unwrap();
                assert_eq!(written, head, "{}", case.name());
                assert_eq!(written.encode(), record, "{}", case.name());
                assert_eq!(head.hash(), case.hash("hash"), "{}", case.name());
                "ok"
            }
            Err(HeadError::Shape(_)) => "shape",
            Err(HeadError::TooLarge(_)) => "too-large",
            Err(HeadError::Signature) => "signature",
            Err(HeadError::Sealed) => "sealed",
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
