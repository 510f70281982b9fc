//! The vectors of spec/links.md: keys, URLs, records, cover lists, drop boxes.

#![allow(clippy::unwrap_used)]

mod vector_case;

use std::collections::HashMap;

use commonhold_format::drive::Name;
use commonhold_format::ids::SegmentId;
use commonhold_format::keys::RootSecret;
use commonhold_format::link::{
    CoverList, DropHead, DropKey, DropOpener, DropSealer, LinkContent, LinkError, LinkId, LinkKeys,
    LinkPlace, LinkRecord, LinkSecret, LinkUrl, PasswordKey,
};
use commonhold_format::record::{RecordError, link_key, validate};
use sha2::{Digest, Sha256};
use vector_case::Case;
use vector_case::drive::{reference, segment};

#[test]
fn link_vectors() {
    let mut seen: HashMap<String, usize> = HashMap::new();
    vector_case::for_each("link", |expect, case| {
        let of = case.text("of");
        let found = match of.as_str() {
            "keys" => keys(case),
            "password" => password(case),
            "url" => url(case),
            "record" => record(case),
            "cover" => cover(case),
            "drop" => drop_box(case),
            other => panic!("{}: of {other}", case.name()),
        };
        assert_eq!(found, expect, "{}", case.name());
        *seen.entry(of).or_default() += 1;
    });
    assert_eq!(seen.len(), 6, "{seen:?}");
}

fn link_keys(case: &mut Case) -> LinkKeys {
    let root = RootSecret::from_bytes(case.hash("root_secret"));
    root.link_keys(&case.bytes("share_seed").try_into().unwrap())
}

fn keys(case: &mut Case) -> &'static str {
    let keys = link_keys(case);
    let signing = ed25519_dalek::SigningKey::from_bytes(&case.hash("signing_seed"));
    assert_eq!(signing.verifying_key().to_bytes(), keys.id().0);
    assert_eq!(keys.id().0, case.hash("id"));
    assert_eq!(*keys.secret().0, case.hash("secret"));
    assert_eq!(DropKey::from_bytes(case.hash("drop_private").into()).public(), keys.drop_key().public());
    assert_eq!(keys.drop_key().public(), case.hash("drop_public"));
    "ok"
}

fn password(case: &mut Case) -> &'static str {
    let (password, salt) = (case.text("password"), case.bytes("salt").try_into().unwrap());
    match PasswordKey::derive(&password, salt, case.number("iterations")) {
        Ok(derived) => {
            assert_eq!(*derived.key(), case.hash("key"));
            "ok"
        }
        Err(error) => {
            assert_eq!(error, LinkError::Password);
            "refused"
        }
    }
}

fn url(case: &mut Case) -> &'static str {
    let text = case.text("text");
    let Ok(url) = LinkUrl::parse(&text) else { return "refused" };
    assert_eq!(url.id.0, case.hash("id"));
    assert_eq!(*url.secret.0, case.hash("secret"));
    assert_eq!(url.base().map(str::to_owned), case.has("base").then(|| case.text("base")));
    assert_eq!(*url.text(), text);
    "ok"
}

fn place(fields: &mut Case) -> LinkPlace {
    LinkPlace { segment: fields.object("segment", segment), cover_len: fields.number("cover_len") }
}

fn content(fields: &mut Case) -> LinkContent {
    LinkContent {
        root: fields.has("root").then(|| fields.object("root", reference)),
        drop_box: fields.has("drop").then(|| fields.hash("drop")),
        written_ms: fields.number("written_ms"),
    }
}

fn record(case: &mut Case) -> &'static str {
    let (key, now, value) = (case.bytes("key"), case.number("now"), case.bytes("record"));
    let secret = LinkSecret(case.hash("secret").into());
    let password = case.has("password").then(|| case.text("password"));
    let validated = validate(&key, &value, now);
    let decoded = match LinkRecord::decode(&value) {
        Ok(decoded) => decoded,
        Err(error) => {
            let (word, by_dht) = match error {
                LinkError::TooLarge(_) => ("too-large", matches!(validated, Err(RecordError::Shape(_)))),
                LinkError::Shape(_) => ("shape", matches!(validated, Err(RecordError::Shape(_)))),
                LinkError::Signature => ("signature", validated == Err(RecordError::Signature)),
                other => panic!("{}: {other}", case.name()),
            };
            assert!(by_dht, "{}: {validated:?}", case.name());
            return word;
        }
    };
    assert_eq!(decoded.encode(), value);
    let usable = decoded.usable(now).map(|_| ());
    match validated {
        Ok(sequence) => {
            assert_eq!(sequence, decoded.sequence);
            assert_eq!(key, link_key(&decoded.id));
        }
        Err(RecordError::Expired) => {
            // A revoked record has no end of its own, but for one that somebody else wrote.
            let told = if decoded.open.is_some() { LinkError::Expired } else { LinkError::Revoked };
            assert_eq!(usable, Err(told));
            return "expired";
        }
        Err(RecordError::Key) => {
            assert_ne!(key, link_key(&decoded.id));
            return "key";
        }
        Err(other) => panic!("{}: {other}", case.name()),
    }
    if usable == Err(LinkError::Revoked) {
        assert_eq!(decoded.open(&secret, None), Err(LinkError::Revoked));
        let written = LinkRecord::revoke(&link_keys(case), case.number("sequence")).unwrap();
        assert_eq!(written, decoded);
        return "revoked";
    }
    assert_eq!(usable, Ok(()));
    let opened = match decoded.open(&secret, password.as_deref()) {
        Ok(opened) => opened,
        Err(LinkError::Sealed) => return "sealed",
        Err(LinkError::PasswordNeeded) => return "password-needed",
        Err(other) => panic!("{}: {other}", case.name()),
    };
    let keys = link_keys(case);
    let derived = password.map(|password| {
        let salt = case.bytes("password_salt").try_into().unwrap();
        PasswordKey::derive(&password, salt, case.number("iterations")).unwrap()
    });
    assert_eq!(opened, case.object("content", content));
    assert_eq!(*opened.encode(), case.bytes("encoded"));
    // Ed25519 is deterministic and the salt is given, so a record is written in one way.
    let written = LinkRecord::write(
        &keys,
        case.number("sequence"),
        case.number("expires"),
        case.object("place", place),
        case.hash("salt"),
        derived.as_ref(),
        &opened,
    );
    assert_eq!(written.unwrap(), decoded, "{}", case.name());
    "ok"
}

fn cover(case: &mut Case) -> &'static str {
    let encoded = case.bytes("encoded");
    let Ok(list) = CoverList::decode(&encoded) else { return "refused" };
    let segments: Vec<SegmentId> = case.hashes("segments").into_iter().map(SegmentId).collect();
    assert_eq!(list.iter().collect::<Vec<_>>(), segments);
    assert!(segments.iter().all(|segment| list.contains(segment)));
    assert!(!list.contains(&SegmentId(case.hash("other"))));
    let again = CoverList::new(segments.into_iter().rev()).unwrap();
    assert_eq!((again.encode(), again), (encoded, list));
    "ok"
}

fn open(key: &DropKey, link: LinkId, sealed: &[u8], piece: usize) -> Result<(DropHead, Vec<u8>), LinkError> {
    let mut opener = DropOpener::new(key, link);
    let mut out = Vec::new();
    for piece in sealed.chunks(piece) {
        opener.push(piece, &mut out)?;
    }
    Ok((opener.finish()?, out))
}

fn drop_box(case: &mut Case) -> &'static str {
    let link = LinkId(case.hash("id"));
    let key = DropKey::from_bytes(case.hash("drop_private").into());
    if !case.has("file_name") {
        let sealed = case.bytes("sealed");
        for piece in [1, 50, sealed.len().max(1)] {
            assert_eq!(open(&key, link, &sealed, piece), Err(LinkError::Sealed), "{}", case.name());
        }
        return "refused";
    }
    let own = DropKey::from_bytes(case.hash("sender_private").into());
    let content = if case.has("content") {
        case.bytes("content")
    } else {
        (0..case.number::<usize>("text_len")).map(|at| (at % 255 + 1) as u8).collect()
    };
    let name = Name::new(&case.text("file_name")).unwrap();
    let head = DropHead { name, len: content.len() as u64, modified_ms: case.number("modified_ms") };
    let mut sealed = Vec::new();
    let mut sealer = DropSealer::new(&key.public(), &link, &own, &head, &mut sealed).unwrap();
    sealer.push(&content, &mut sealed).unwrap();
    sealer.finish(&mut sealed).unwrap();
    if case.has("sealed") {
        assert_eq!(sealed, case.bytes("sealed"), "{}", case.name());
    } else {
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&sealed)), case.hash("sealed_sha256"), "{}", case.name());
    }
    for piece in [1, 50, sealed.len()] {
        assert_eq!(open(&key, link, &sealed, piece), Ok((head.clone(), content.clone())), "{}", case.name());
    }
    "ok"
}
