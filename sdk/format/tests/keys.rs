//! Keys: one purpose each, phrases that forgive typing and nothing else, strict signatures.

#![allow(clippy::unwrap_used)]

use commonhold_format::keys::{DeviceSecret, LABELS, PartyKey, PhraseError, RootSecret, verify};
use commonhold_format::seal::{ObjectId, ObjectKey, ObjectKind, Sealing};
use hkdf::Hkdf;
use proptest::prelude::*;
use sha2::Sha256;

/// What the code derives for each label, as far as its public side shows it. A label that is added
/// has to be added here too.
#[test]
fn attack_8_every_key_has_a_label_of_its_own() {
    let known = [
        "commonhold/v1/party-key",
        "commonhold/v1/drive-signing",
        "commonhold/v1/drive-sealing",
        "commonhold/v1/peer-key",
        "commonhold/v1/content-key",
        "commonhold/v1/key-commitment",
        "commonhold/v1/head-key",
        "commonhold/v1/link-signing",
        "commonhold/v1/link-secret",
        "commonhold/v1/link-drop",
        "commonhold/v1/link-record",
        "commonhold/v1/drop-head",
        "commonhold/v1/drop-file",
    ];
    assert_eq!(LABELS, known);
    for (at, label) in LABELS.iter().enumerate() {
        for (other_at, other) in LABELS.iter().enumerate() {
            assert!(at == other_at || !other.starts_with(label), "{label} and {other}");
        }
    }
    let secret = [7; 32];
    let derived: Vec<[u8; 32]> = LABELS
        .iter()
        .map(|label| {
            let mut out = [0; 32];
            Hkdf::<Sha256>::new(None, &secret).expand(label.as_bytes(), &mut out).unwrap();
            out
        })
        .collect();
    for (at, key) in derived.iter().enumerate() {
        assert_ne!(*key, secret);
        assert!(!derived[..at].contains(key), "{}", LABELS[at]);
    }
}

/// The same bytes in every role: nothing that can be seen of one key is seen of another.
#[test]
fn attack_8_one_secret_in_all_roles_gives_unrelated_keys() {
    let bytes = [9; 32];
    let root = RootSecret::from_bytes(bytes);
    let device = DeviceSecret::from_bytes(bytes);
    let object = ObjectKey(bytes.into());
    let mut seen = vec![
        bytes,
        PartyKey::from_seed(&bytes).id().0,
        root.party_key().id().0,
        root.drive_keys().drive().0,
        device.node().0,
        *device.peer_seed(),
    ];
    for seed in [[9; 16], [0; 16]] {
        let link = root.link_keys(&seed);
        seen.extend([link.id().0, *link.secret().0, link.drop_key().public()]);
    }
    for kind in [
        ObjectKind::File,
        ObjectKind::Manifest,
        ObjectKind::Folder,
        ObjectKind::Head,
        ObjectKind::History,
        ObjectKind::Link,
    ] {
        for id in [[0; 16], [1; 16]] {
            seen.push(Sealing::new(kind, &ObjectId(id), &object).commitment());
        }
    }
    for (at, key) in seen.iter().enumerate() {
        assert!(!seen[..at].contains(key), "{at}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let bytes = *b"a secret of exactly 32 bytes ..!";
    let root = RootSecret::from_bytes(bytes);
    let device = DeviceSecret::from_bytes(bytes);
    let seed = device.peer_seed();
    let key = ObjectKey(bytes.into());
    let sealing = Sealing::new(ObjectKind::File, &ObjectId([0; 16]), &key);
    let party = PartyKey::from_seed(&bytes);
    let link = root.link_keys(&[1; 16]);
    let printed = format!(
        "{root:?} {device:?} {key:?} {sealing:?} {party:?} {:?} {link:?} {:?} {:?}",
        root.drive_keys(),
        link.secret(),
        link.drop_key()
    );
    assert_eq!(
        printed,
        format!(
            "RootSecret(..) DeviceSecret(..) ObjectKey(..) Sealing(File) PartyKey({}) DriveKeys({}) LinkKeys({}) LinkSecret(..) DropKey(..)",
            party.id(),
            root.drive_keys().drive(),
            link.id()
        )
    );
    for secret in [bytes, *seed, *link.secret().0] {
        assert!(!printed.contains(&data_encoding::HEXLOWER.encode(&secret)));
        assert!(!printed.contains(&format!("{secret:?}")));
    }
}

#[test]
fn a_refused_phrase_is_not_repeated() {
    let phrase = format!("{}xylophone{}", "zebra ".repeat(11), " zebra".repeat(12));
    for typed in ["zebra xylophone", &*phrase, &phrase.replace("xylophone", "zoo")] {
        let error = RootSecret::from_phrase(typed).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!["zebra", "xylo", "zoo"].iter().any(|word| shown.contains(word)), "{shown}");
    }
    assert_eq!(RootSecret::from_phrase(&phrase).unwrap_err(), PhraseError::Word(12));
}

proptest! {
    #[test]
    fn a_phrase_gives_its_secret_back(
        bytes: [u8; 32], cases in prop::collection::vec(any::<bool>(), 250), gaps in prop::collection::vec("[ \t\r\n\u{a0}\u{3000}]{1,3}", 25)
    ) {
        let phrase = RootSecret::from_bytes(bytes).phrase();
        prop_assert_eq!(phrase.split(' ').count(), 24);
        prop_assert_eq!(*RootSecret::from_phrase(&phrase).unwrap().as_bytes(), bytes);
        let typed: String = phrase
            .chars()
            .zip(cases)
            .map(|(c, capital)| if capital { c.to_ascii_uppercase() } else { c })
            .collect();
        let mut spaced = gaps[24].clone();
        for (word, gap) in typed.split(' ').zip(&gaps) {
            spaced += word;
            spaced += gap;
        }
        prop_assert_eq!(*RootSecret::from_phrase(&spaced).unwrap().as_bytes(), bytes);
    }

    /// The checksum of 8 bits lets one mistake in 256 through; then the secret is another one.
    #[test]
    fn a_swapped_pair_of_words_never_gives_the_same_secret(bytes: [u8; 32], at in 0usize..23) {
        let phrase = RootSecret::from_bytes(bytes).phrase();
        let mut words: Vec<&str> = phrase.split(' ').collect();
        prop_assume!(words[at] != words[at + 1]);
        words.swap(at, at + 1);
        match RootSecret::from_phrase(&words.join(" ")) {
            Err(error) => prop_assert_eq!(error, PhraseError::Checksum),
            Ok(other) => prop_assert_ne!(other.as_bytes(), &bytes),
        }
    }

    #[test]
    fn any_text_is_taken_without_a_panic(text in "\\PC{0,300}", words in prop::collection::vec("zoo|abandon|Art|x|\u{212a}", 0..30)) {
        prop_assert!(RootSecret::from_phrase(&text).is_err());
        let _ = RootSecret::from_phrase(&words.join(" "));
    }

    #[test]
    fn a_signature_is_for_one_key_and_one_message(seed: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..100), at in 0usize..64, bit in 0u8..8) {
        let key = PartyKey::from_seed(&seed);
        let public = key.id().0;
        let signature = key.sign(&message);
        prop_assert!(verify(&public, &message, &signature));
        let mut changed = signature;
        changed[at] ^= 1 << bit;
        prop_assert!(!verify(&public, &message, &changed));
        let mut other = public;
        other[at / 2] ^= 1 << bit;
        prop_assert!(!verify(&other, &message, &signature));
        prop_assert!(!verify(&public, &[&message[..], &[0]].concat(), &signature));
    }

    #[test]
    fn any_bytes_are_no_signature(public: [u8; 32], signature: [u8; 32], message: [u8; 8]) {
        let signature = [signature, signature].concat().try_into().unwrap();
        prop_assert!(!verify(&public, &message, &signature));
    }
}
