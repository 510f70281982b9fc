//! Links: one form each, bound to their link, sealed, and told apart by nobody without the secret.

#![allow(clippy::unwrap_used)]

use commonhold_format::code::Code;
use commonhold_format::drive::{
    Attributes, Entry, EntryKind, Extent, File, FileContent, FolderRef, HistoryRef, Items, Name, ObjectRef,
    Page, Totals,
};
use commonhold_format::ids::{ChunkId, NodeId, SegmentId};
use commonhold_format::keys::{PartyKey, RootSecret};
use commonhold_format::link::{
    COVER_SEGMENTS_MAX, CoverList, DropHead, DropKey, DropOpener, DropSealer, LINK_URL_LEN_MAX, LinkContent,
    LinkError, LinkId, LinkKeys, LinkPlace, LinkRecord, LinkSecret, LinkUrl, PASSWORD_ITERATIONS_MIN,
    PasswordKey,
};
use commonhold_format::record::{RECORD_LEN_MAX, RecordError, link_key, validate};
use commonhold_format::seal::{ObjectId, ObjectKey, sealed_len};
use commonhold_format::segment::Segment;
use proptest::prelude::*;

const ROOT: [u8; 32] = [7; 32];

fn keys(seed: u8) -> LinkKeys {
    RootSecret::from_bytes(ROOT).link_keys(&[seed; 16])
}

/// Signs what no honest writer would sign.
fn signed(unsigned: &[u8], seed: u8) -> Vec<u8> {
    let mut signing = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(&[seed; 16]), &ROOT)
        .expand(b"commonhold/v1/link-signing", &mut signing)
        .unwrap();
    let signature = PartyKey::from_seed(&signing).sign(&[b"commonhold/v1/link-signature", unsigned].concat());
    [unsigned, &signature].concat()
}

fn place() -> LinkPlace {
    let code = Code::new(2, 6).unwrap();
    let segment =
        Segment { code, len: 1000, chunks: vec![ChunkId([1; 32]); 6], holders: vec![NodeId([2; 32]); 6] };
    LinkPlace { segment, cover_len: 64 }
}

fn root(extents: &[(u32, u32, u32)], len: u64) -> ObjectRef {
    ObjectRef {
        id: ObjectId([1; 16]),
        key: ObjectKey([0xaa; 32].into()),
        commitment: [3; 32],
        len,
        extents: extents.iter().map(|&(segment, offset, len)| Extent { segment, offset, len }).collect(),
    }
}

fn content() -> LinkContent {
    let root = root(&[(0, 64, sealed_len(100) as u32)], 100);
    LinkContent { root: Some(root), drop_box: None, written_ms: 5 }
}

fn record(sequence: u64, expires: u64) -> LinkRecord {
    LinkRecord::write(&keys(1), sequence, expires, place(), [9; 32], None, &content()).unwrap()
}

#[test]
fn a_record_survives_its_encoding_and_opens_with_the_secret() {
    let encoded = record(3, 0).encode();
    let decoded = LinkRecord::decode(&encoded).unwrap();
    assert_eq!(decoded, record(3, 0));
    assert_eq!(decoded.open(keys(1).secret(), None), Ok(content()));
    // A password that nothing asks for changes nothing.
    assert_eq!(decoded.open(keys(1).secret(), Some("password")), Ok(content()));
    assert_eq!(validate(&link_key(&keys(1).id()), &encoded, 1_000), Ok(3));
}

#[test]
fn attack_1_any_flipped_bit_of_a_record_is_refused() {
    let encoded = record(3, 0).encode();
    for at in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(LinkRecord::decode(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn attack_20_a_link_is_not_pointed_at_another_target() {
    let own = keys(1);
    // Not by the key of another link,
    let other = LinkRecord::write(&keys(2), 3, 0, place(), [9; 32], None, &content()).unwrap();
    let mut taken = other.encode();
    taken[1..33].copy_from_slice(&own.id().0);
    assert_eq!(LinkRecord::decode(&taken), Err(LinkError::Signature));
    assert_eq!(validate(&link_key(&own.id()), &other.encode(), 0), Err(RecordError::Key));
    assert_eq!(other.open(own.secret(), None), Err(LinkError::Sealed));
    // nor by what was sealed for another place: sequence and end are under the tag.
    for change in [33..41, 41..49] {
        let mut unsigned = record(3, 1_000_000).encode();
        unsigned.truncate(unsigned.len() - 64);
        unsigned[change.end - 1] ^= 1;
        let moved = LinkRecord::decode(&signed(&unsigned, 1)).unwrap();
        assert_eq!(moved.open(own.secret(), None), Err(LinkError::Sealed));
    }
}

/// Not even the link's own key signs one into being taken: another version of the content, or a password that
/// is cheap to guess.
#[test]
fn attack_13_a_record_with_a_cheaper_password_is_refused() {
    let key = PasswordKey::from_parts(PASSWORD_ITERATIONS_MIN, [5; 16], [6; 32].into()).unwrap();
    let record = LinkRecord::write(&keys(1), 1, 0, place(), [9; 32], Some(&key), &content()).unwrap();
    let mut unsigned = record.encode();
    unsigned.truncate(unsigned.len() - 64);
    assert!(LinkRecord::decode(&signed(&unsigned, 1)).is_ok());
    for iterations in [0, 1, 1000, PASSWORD_ITERATIONS_MIN - 1, 10_000_001, u32::MAX] {
        unsigned[51..55].copy_from_slice(&iterations.to_be_bytes());
        let refused = LinkRecord::decode(&signed(&unsigned, 1));
        assert!(matches!(refused, Err(LinkError::Shape(_))), "{iterations}");
    }
    // Nor is another kind of password, or none where there was one.
    unsigned[51..55].copy_from_slice(&PASSWORD_ITERATIONS_MIN.to_be_bytes());
    for kind in [0, 2, 255] {
        unsigned[50] = kind;
        assert!(LinkRecord::decode(&signed(&unsigned, 1)).is_err(), "{kind}");
    }
}

#[test]
fn attack_21_a_password_alone_or_a_secret_alone_opens_nothing() {
    let own = keys(1);
    let key = PasswordKey::derive("pässword", [5; 16], PASSWORD_ITERATIONS_MIN).unwrap();
    let record = LinkRecord::write(&own, 1, 0, place(), [9; 32], Some(&key), &content()).unwrap();
    let record = LinkRecord::decode(&record.encode()).unwrap();
    assert_eq!(record.open(own.secret(), None), Err(LinkError::PasswordNeeded));
    assert_eq!(record.open(own.secret(), Some("password")), Err(LinkError::Sealed));
    assert_eq!(record.open(keys(2).secret(), Some("pässword")), Err(LinkError::Sealed));
    assert_eq!(record.open(own.secret(), Some("pässword")), Ok(content()));
    // The owner can write it anew with the key that was kept.
    let kept = PasswordKey::from_parts(key.iterations(), *key.salt(), (*key.key()).into()).unwrap();
    let again = LinkRecord::write(&own, 2, 0, place(), [8; 32], Some(&kept), &content()).unwrap();
    assert_eq!(again.open(own.secret(), Some("pässword")), Ok(content()));
    assert!(PasswordKey::from_parts(PASSWORD_ITERATIONS_MIN - 1, [5; 16], [0; 32].into()).is_err());
}

#[test]
fn attack_22_a_link_ends_when_it_is_revoked_or_its_time_has_come() {
    let key = link_key(&keys(1).id());
    let ends = record(1, 1000);
    assert!(ends.usable(999).is_ok());
    assert_eq!(validate(&key, &ends.encode(), 999), Ok(1));
    assert_eq!(ends.usable(1000).unwrap_err(), LinkError::Expired);
    assert_eq!(validate(&key, &ends.encode(), 1000), Err(RecordError::Expired));
    assert!(record(1, 0).usable(u64::MAX).is_ok());

    let revoked = LinkRecord::decode(&LinkRecord::revoke(&keys(1), 2).unwrap().encode()).unwrap();
    assert_eq!(revoked.usable(0).unwrap_err(), LinkError::Revoked);
    assert_eq!(revoked.open(keys(1).secret(), None), Err(LinkError::Revoked));
    // It outlasts what was before it.
    assert_eq!(validate(&key, &revoked.encode(), u64::MAX), Ok(2));
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let write = |sequence, place: LinkPlace, content: &LinkContent| {
        LinkRecord::write(&keys(1), sequence, 0, place, [9; 32], None, content)
    };
    let shape = |result: Result<LinkRecord, LinkError>| matches!(result, Err(LinkError::Shape(_)));
    assert!(shape(write(0, place(), &content())) && shape(LinkRecord::revoke(&keys(1), 0)));
    assert!(shape(write(1, LinkPlace { cover_len: 65, ..place() }, &content())));
    assert!(shape(write(1, LinkPlace { cover_len: 96, ..place() }, &content())));
    assert!(shape(write(1, LinkPlace { cover_len: 1024, ..place() }, &content())));
    assert!(shape(write(1, place(), &LinkContent { root: None, ..content() })));
    let mut large = place();
    large.segment = Segment {
        code: Code::new(64, 64).unwrap(),
        len: 1000,
        chunks: vec![ChunkId([1; 32]); 64],
        holders: vec![NodeId([2; 32]); 64],
    };
    assert!(write(1, large.clone(), &content()).unwrap().encode().len() <= RECORD_LEN_MAX);
    // Many small extents make a content that is too large beside a segment of many chunks.
    let mut extents = vec![(0, 300, 1); 700];
    extents.push((0, 64, sealed_len(800) as u32 - 700));
    let many = LinkContent { root: Some(root(&extents, 800)), ..content() };
    assert!(matches!(write(1, large, &many), Err(LinkError::TooLarge(len)) if len > RECORD_LEN_MAX));
}

#[test]
fn attack_17_a_record_shows_neither_keys_nor_the_exact_length_of_its_content() {
    let encoded = record(3, 0).encode();
    for secret in [&[0xaa; 8][..], &keys(1).secret().0[..8]] {
        assert!(!encoded.windows(8).any(|window| window == secret));
    }
    let later = LinkContent { written_ms: i64::MAX, ..content() };
    assert!(later.encode().len() > content().encode().len());
    let later = LinkRecord::write(&keys(1), 3, 0, place(), [9; 32], None, &later).unwrap();
    assert_eq!(later.encode().len(), encoded.len());
}

#[test]
fn attack_19_no_secret_is_printed() {
    let own = keys(1);
    let url = LinkUrl::new(Some("https://node.example"), own.id(), own.secret().clone()).unwrap();
    let password = PasswordKey::from_parts(600_000, [0x55; 16], [0x66; 32].into()).unwrap();
    let mut out = Vec::new();
    let head = DropHead { name: Name::new("a").unwrap(), len: 5, modified_ms: 0 };
    let sealer = DropSealer::new(
        &own.drop_key().public(),
        &own.id(),
        &DropKey::from_bytes([3; 32].into()),
        &head,
        &mut out,
    );
    let opener = DropOpener::new(own.drop_key(), own.id());
    let drop_box = LinkContent { drop_box: Some(own.drop_key().public()), ..content() };
    let printed =
        format!("{url:?} {own:?} {password:?} {drop_box:?} {sealer:?} {opener:?} {:?}", own.secret());
    assert!(printed.contains(&url.public_text()), "{printed}");
    for secret in [&*own.secret().to_text(), &data_encoding::HEXLOWER.encode(&*own.secret().0)] {
        assert!(!printed.contains(secret));
    }
    for bytes in [&[0x55; 4][..], &[0x66; 4], &[0xaa; 4], &own.secret().0[..4]] {
        let listed = format!("{bytes:?}");
        assert!(!printed.contains(listed.trim_matches(['[', ']'])), "{printed}");
    }
    let errors =
        [LinkUrl::parse(&format!("x{}", &*url.text())), LinkUrl::parse(&format!("{}!", &*url.text()))];
    for error in errors {
        let error = error.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&*own.secret().to_text()));
    }
}

#[test]
fn attack_25_a_cover_list_has_a_largest_size() {
    let ids = |count: usize| {
        (0..count).map(|at| {
            SegmentId(std::array::from_fn(|byte| *(at as u32).to_be_bytes().get(byte).unwrap_or(&0)))
        })
    };
    let most = CoverList::new(ids(COVER_SEGMENTS_MAX)).unwrap();
    assert_eq!(most.len(), COVER_SEGMENTS_MAX);
    let mut encoded = most.encode();
    assert_eq!(CoverList::decode(&encoded), Ok(most));
    encoded.extend([0xff; 32]);
    assert!(matches!(CoverList::decode(&encoded), Err(LinkError::Shape(_))));
    assert!(matches!(CoverList::new(ids(COVER_SEGMENTS_MAX + 1)), Err(LinkError::Shape(_))));
    // One that is named twice counts once.
    assert!(CoverList::new(ids(COVER_SEGMENTS_MAX).chain(ids(5))).is_ok());
}

#[test]
fn a_shared_page_has_one_entry_and_no_history() {
    let file = |history| {
        let content = FileContent::Inline(vec![]);
        EntryKind::File(File { content, executable: false, stored_ms: 1, history })
    };
    let entry = |name: &str, node| Entry {
        name: Name::new(name).unwrap(),
        modified_ms: 0,
        attributes: Attributes::new(),
        node,
    };
    let page = |entries| Page { table: vec![], items: Items::Entries(entries) };
    let one = page(vec![entry("a", file(None))]);
    let empty = page(vec![entry("a", EntryKind::Folder(FolderRef::default()))]);
    let some = FolderRef { page: Some(root(&[], 5)), totals: Totals { entries: 1, files: 1, bytes: 1 } };
    let full = page(vec![entry("a", EntryKind::Folder(some))]);
    let past = HistoryRef { object: root(&[], 5), versions: 1, bytes: 1 };
    let refused = [
        page(vec![entry("a", file(Some(past)))]),
        page(vec![entry("a", file(None)), entry("b", file(None))]),
        page(vec![]),
        Page { table: vec![], items: Items::Pages { level: 1, pages: vec![] } },
    ];
    let drop_box = LinkContent { drop_box: Some([1; 32]), ..content() };
    for good in [&one, &empty, &full] {
        assert!(content().shared(good).is_ok());
        assert_eq!(drop_box.shared(good).is_ok(), good == &empty);
    }
    for bad in &refused {
        assert_eq!(content().shared(bad), Err(LinkError::Sealed));
        assert_eq!(drop_box.shared(bad), Err(LinkError::Sealed));
    }
}

fn any_content() -> impl Strategy<Value = LinkContent> {
    let place = (0u32..200, 0u64..700);
    (prop::option::of(place), any::<[u8; 32]>(), any::<bool>(), any::<i64>()).prop_map(
        |(at, key, drop_box, written_ms)| {
            let root = at.map(|(offset, len)| root(&[(0, 64 + offset, sealed_len(len) as u32)], len));
            let drop_box = (drop_box || root.is_none()).then_some(key);
            LinkContent { root, drop_box, written_ms }
        },
    )
}

proptest! {
    #[test]
    fn records_survive_their_encoding(
        content in any_content(), sequence in 1u64.., expires: u64, salt: [u8; 32], key in prop::option::of(any::<[u8; 32]>()), seed: u8
    ) {
        let keys = keys(seed);
        let password = key.map(|key| PasswordKey::from_parts(700_000, [seed; 16], key.into()).unwrap());
        let record = LinkRecord::write(&keys, sequence, expires, place(), salt, password.as_ref(), &content).unwrap();
        let encoded = record.encode();
        let decoded = LinkRecord::decode(&encoded).unwrap();
        prop_assert_eq!(decoded.encode(), encoded);
        prop_assert_eq!(&decoded, &record);
        if password.is_none() {
            prop_assert_eq!(decoded.open(keys.secret(), None).unwrap(), content);
        }
    }

    /// Whatever its own key signs is refused, or has just this encoding; and opens or does not, without a panic.
    #[test]
    fn signed_nonsense_is_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in prop::option::of(any::<prop::sample::Index>())
    ) {
        let mut unsigned = record(3, 0).encode();
        unsigned.truncate(unsigned.len() - 64);
        for (at, value) in &changes {
            let at = at.index(unsigned.len());
            // Not the password's byte, which would make this test slow and say nothing more.
            if at != 50 {
                unsigned[at] = *value;
            }
        }
        unsigned.truncate(cut.map_or(unsigned.len(), |cut| cut.index(unsigned.len())));
        let bytes = signed(&unsigned, 1);
        if let Ok(decoded) = LinkRecord::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
            let _ = decoded.open(keys(1).secret(), None);
        }
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(LinkRecord::decode(&bytes).is_err());
        for start in [&[4][..], &record(3, 0).encode()[..51]] {
            let bytes = signed(&[start, &bytes].concat(), 1);
            if let Ok(decoded) = LinkRecord::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
        if let Ok(list) = CoverList::decode(&bytes) {
            prop_assert_eq!(list.encode(), bytes);
        }
    }

    #[test]
    fn cut_or_longer_records_are_refused(at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..100)) {
        let encoded = record(3, 0).encode();
        prop_assert!(LinkRecord::decode(&encoded[..at.index(encoded.len())]).is_err());
        prop_assert!(LinkRecord::decode(&[encoded, more].concat()).is_err());
    }

    #[test]
    fn urls_survive(id: [u8; 32], secret: [u8; 32], base in prop::option::of("https?://[a-z0-9.-]{1,30}(:[0-9]{1,5})?(/[a-z]{1,9}){0,2}")) {
        let url = LinkUrl::new(base.as_deref(), LinkId(id), LinkSecret(secret.into())).unwrap();
        let text = url.text();
        prop_assert!(text.len() <= LINK_URL_LEN_MAX);
        let parsed = LinkUrl::parse(&text).unwrap();
        prop_assert_eq!(parsed.base(), base.as_deref());
        prop_assert_eq!(parsed, url);
    }

    /// What is accepted is printed as it was.
    #[test]
    fn changed_urls_are_refused_or_canonical(at in any::<prop::sample::Index>(), with in "[ -~]{0,2}|[/#?s]{1,2}|é", remove in 0usize..3) {
        let url = LinkUrl::new(Some("https://node.example"), keys(1).id(), keys(1).secret().clone()).unwrap();
        let mut text = url.text().to_string();
        let at = at.index(text.len());
        let end = (at + remove).min(text.len());
        text.replace_range(at..end, &with);
        if let Ok(parsed) = LinkUrl::parse(&text) {
            prop_assert_eq!(&*parsed.text(), &text);
        }
    }

    #[test]
    fn any_text_is_no_link(text in "\\PC{0,200}") {
        prop_assert!(LinkUrl::parse(&text).is_err());
    }

    #[test]
    fn a_cover_list_has_one_form(ids in prop::collection::vec(any::<[u8; 32]>(), 0..20), other: [u8; 32]) {
        let list = CoverList::new(ids.iter().map(|id| SegmentId(*id))).unwrap();
        prop_assert_eq!(CoverList::decode(&list.encode()).unwrap(), list.clone());
        prop_assert!(ids.iter().all(|id| list.contains(&SegmentId(*id))));
        prop_assert_eq!(list.contains(&SegmentId(other)), ids.contains(&other));
        prop_assert_eq!(list.is_empty(), ids.is_empty());
    }
}
