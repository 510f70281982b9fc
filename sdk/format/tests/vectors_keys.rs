//! The vectors of spec/keys.md: phrases, derived keys, signatures.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::keys::{DeviceSecret, PartyKey, PhraseError, RootSecret, verify};
use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use sha2::Sha256;
use vector_case::Case;

#[test]
fn keys_vectors() {
    vector_case::for_each("keys", |expect, case| {
        let found = match case.text("of").as_str() {
            "root" => root(case),
            "device" => device(case),
            "signature" => signature(case),
            other => panic!("{}: of {other}", case.name()),
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}

fn derived(secret: &[u8; 32], purpose: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let label = format!("commonhold/v1/{purpose}");
    Hkdf::<Sha256>::new(None, secret).expand(label.as_bytes(), &mut out).unwrap();
    out
}

fn root(case: &mut Case) -> &'static str {
    let typed = case.text("typed");
    let root = match RootSecret::from_phrase(&typed) {
        Ok(root) => root,
        Err(PhraseError::Count(words)) => {
            assert_eq!(words, case.number::<usize>("words"), "{}", case.name());
            return "count";
        }
        Err(PhraseError::Word(position)) => {
            assert_eq!(position, case.number::<usize>("position"), "{}", case.name());
            return "word";
        }
        Err(PhraseError::Checksum) => return "checksum",
    };
    let bytes = case.hash("root");
    assert_eq!(*root.as_bytes(), bytes, "{}", case.name());
    assert_eq!(*RootSecret::from_bytes(bytes).phrase(), case.text("phrase"), "{}", case.name());

    let party_seed = case.hash("party_seed");
    let drive_seed = case.hash("drive_seed");
    assert_eq!(party_seed, derived(&bytes, "party-key"));
    assert_eq!(drive_seed, derived(&bytes, "drive-signing"));
    assert_eq!(case.hash("drive_sealing"), derived(&bytes, "drive-sealing"));
    let party = case.hash("party");
    assert_eq!(root.party_key().id().0, party);
    assert_eq!(PartyKey::from_seed(&party_seed).id().0, party);
    let drive = case.hash("drive");
    assert_eq!(root.drive_keys().drive().0, drive);
    assert_eq!(PartyKey::from_seed(&drive_seed).id().0, drive);
    "ok"
}

fn device(case: &mut Case) -> &'static str {
    let device = DeviceSecret::from_bytes(case.hash("device"));
    assert_eq!(*device.peer_seed(), case.hash("peer_seed"));
    assert_eq!(HEXLOWER.encode(device.node().as_bytes()), case.text("node"));
    assert_eq!(device.node().to_string(), case.text("peer_id"));
    assert!(verify(device.node().as_bytes(), b"message", &device.sign(b"message")));
    "ok"
}

fn signature(case: &mut Case) -> &'static str {
    let (public, message) = (case.hash("public"), case.bytes("message"));
    let signature = case.bytes("signature").try_into().unwrap();
    if verify(&public, &message, &signature) { "ok" } else { "refused" }
}
