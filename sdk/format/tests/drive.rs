//! A drive's objects: one encoding each, references that fit their tables, names that do not lie.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use commonhold_format::code::Code;
use commonhold_format::drive::{
    Entry, EntryKind, Extent, FileContent, Folder, HeadContent, INLINE_LEN_MAX, Manifest, NAME_LEN_MAX, Name,
    OBJECT_LEN_MAX, ObjectError, ObjectRef, TableBuilder,
};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::seal::{ObjectId, ObjectKey, sealed_len};
use commonhold_format::segment::Segment;
use proptest::prelude::*;

fn segment(byte: u8, len: u32) -> Segment {
    let code = Code::new(2, 3).unwrap();
    Segment { code, len, chunks: vec![ChunkId([byte; 32]); 3], holders: vec![NodeId([byte; 32]); 3] }
}

fn reference(len: u64, extents: &[(u32, u32, u32)]) -> ObjectRef {
    ObjectRef {
        id: ObjectId([1; 16]),
        key: ObjectKey([2; 32].into()),
        commitment: [3; 32],
        len,
        extents: extents.iter().map(|&(segment, offset, len)| Extent { segment, offset, len }).collect(),
    }
}

fn manifest(table: Vec<Segment>, file: ObjectRef) -> Manifest {
    Manifest { table, file }
}

fn file(name: &str, content: FileContent) -> Entry {
    let name = Name::new(name).unwrap();
    Entry { name, modified_ms: -5, node: EntryKind::File { content, executable: false } }
}

fn inline(name: &str) -> Entry {
    file(name, FileContent::Inline(b"text".to_vec()))
}

fn survives(folder: &Folder) -> Result<(), ObjectError> {
    assert_eq!(Folder::decode(&folder.encode())?, *folder);
    Ok(())
}

#[test]
fn the_empty_folder_is_three_bytes_of_cbor() {
    assert_eq!(**Folder::default().encode(), [0x01, 0x82, 0x80, 0x80]);
    assert_eq!(Folder::decode(&[0x01, 0x82, 0x80, 0x80]), Ok(Folder::default()));
}

#[test]
fn attack_9_a_reference_fits_its_table_or_is_refused() {
    let check = |table: &[Segment], len: u64, extents: &[(u32, u32, u32)]| {
        let manifest = manifest(table.to_vec(), reference(len, extents));
        let decoded = Manifest::decode(&manifest.encode());
        assert!(decoded.is_err() || decoded == Ok(manifest));
        decoded.is_ok()
    };
    let (a, b) = (segment(1, 100), segment(2, 100));
    let two = [a.clone(), b.clone()];
    assert!(check(&two, 60, &[(0, 36, 64), (1, 0, 12)]));
    assert!(check(&two, 60, &[(1, 88, 12), (0, 0, 64)]));
    assert!(!check(&two, 60, &[(0, 37, 64), (1, 0, 12)]), "past the end of its segment");
    assert!(!check(&two, 60, &[(0, u32::MAX, 64), (1, 0, 12)]), "offset and length overflow");
    assert!(!check(&two, 60, &[(0, 0, 64), (2, 0, 12)]), "outside the table");
    assert!(!check(&two, 60, &[(0, 0, 64), (1, 0, 12), (1, 20, 0)]), "no bytes");
    assert!(!check(&two, 60, &[(0, 0, 64), (1, 0, 11)]), "too few bytes");
    assert!(!check(&two, 60, &[(0, 0, 64), (1, 0, 13)]), "too many bytes");
    assert!(!check(&two, 61, &[(0, 0, 64), (1, 0, 12)]), "a length that is padded further");
    assert!(!check(&two, u64::MAX, &[(0, 0, 64), (1, 0, 12)]), "a length that no object has");
    assert!(!check(&two, 60, &[(0, 0, 76)]), "a segment that is not used");
    assert!(!check(&[a.clone(), a.clone()], 60, &[(0, 0, 64), (1, 0, 12)]), "a segment twice");
    let moved = Segment { holders: vec![NodeId([9; 32]); 3], ..a.clone() };
    assert!(!check(&[a, moved], 60, &[(0, 0, 64), (1, 0, 12)]), "a segment twice, with other holders");
}

#[test]
fn attack_10_entries_are_in_the_one_order_of_their_names() {
    let folder =
        |names: &[&str]| Folder { table: vec![], entries: names.iter().map(|name| inline(name)).collect() };
    survives(&folder(&["A", "B", "a", "aa", "b", "é", "日本語"])).unwrap();
    for wrong in [["b", "a"], ["a", "a"], ["a", "B"], ["é", "z"], ["\u{1f4be}", "\u{ff01}"]] {
        assert!(survives(&folder(&wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn inline_files_have_a_largest_size() {
    let folder = |len| Folder { table: vec![], entries: vec![file("a", FileContent::Inline(vec![0; len]))] };
    survives(&folder(0)).unwrap();
    survives(&folder(INLINE_LEN_MAX)).unwrap();
    assert!(survives(&folder(INLINE_LEN_MAX + 1)).is_err());
}

#[test]
fn attack_16_one_kind_of_object_is_not_read_as_another() {
    let table = vec![segment(1, 100)];
    let root = reference(5, &[(0, 0, 21)]);
    let manifest = manifest(table.clone(), root.clone()).encode();
    let head = HeadContent { table, root, written_ms: 0 }.encode();
    let folder = Folder { table: vec![], entries: vec![inline("a")] }.encode();
    assert!(Folder::decode(&manifest).is_err() && Folder::decode(&head).is_err());
    assert!(Manifest::decode(&folder).is_err() && Manifest::decode(&head).is_err());
    assert!(HeadContent::decode(&folder).is_err() && HeadContent::decode(&manifest).is_err());
}

#[test]
fn attack_25_an_object_has_a_largest_size() {
    let mut bytes = Folder::default().encode().to_vec();
    bytes.resize(OBJECT_LEN_MAX + 1, 0);
    let refused = Folder::decode(&bytes).unwrap_err();
    assert!(refused.to_string().contains("256 MiB"), "{refused}");
}

#[test]
fn attack_25_declared_lengths_allocate_nothing() {
    // Any of these would abort the process if it were believed.
    for declared in [u64::MAX, 1 << 62, 1 << 40] {
        let number = declared.to_be_bytes();
        for body in [
            [&[0x82, 0x9b][..], &number].concat(),
            [&[0x82, 0x80, 0x9b][..], &number].concat(),
            [&[0x82, 0x80, 0x81, 0x85, 0x7b][..], &number].concat(),
            [&[0x82, 0x80, 0x81, 0x85, 0x61, b'a', 0, 0, 0xf4, 0x82, 0, 0x5b][..], &number].concat(),
        ] {
            let bytes = [&[1][..], &body].concat();
            assert!(Folder::decode(&bytes).is_err());
            assert!(Manifest::decode(&bytes).is_err());
        }
    }
}

#[test]
fn no_key_and_no_text_is_printed() {
    let folder = Folder {
        table: vec![segment(1, 100)],
        entries: vec![
            file("a", FileContent::Inline(b"secret text".to_vec())),
            file("b", FileContent::Direct(reference(5, &[(0, 0, 21)]))),
        ],
    };
    let printed = format!("{folder:?}");
    assert!(printed.contains("Inline(11 bytes)"), "{printed}");
    assert!(printed.contains("ObjectKey(..)"));
    assert!(!printed.contains("115, 101, 99") && !printed.contains("2, 2, 2, 2"));
}

#[test]
fn a_table_has_each_segment_once_and_keeps_the_first_holders() {
    let mut table = TableBuilder::new();
    let moved = Segment { holders: vec![NodeId([9; 32]); 3], ..segment(1, 100) };
    let longer = segment(1, 101);
    assert_eq!(table.intern(&segment(1, 100)), 0);
    assert_eq!(table.intern(&segment(2, 100)), 1);
    assert_eq!(table.intern(&moved), 0);
    assert_eq!(table.intern(&longer), 2);
    assert_eq!(table.finish(), [segment(1, 100), segment(2, 100), longer]);
}

#[test]
fn a_reference_moves_to_another_table() {
    let from: Vec<Segment> = (0..4).map(|byte| segment(byte, 100)).collect();
    let object = reference(60, &[(3, 36, 64), (1, 0, 12)]);
    let mut to = TableBuilder::new();
    to.intern(&segment(9, 100));
    to.intern(&from[1]);
    let moved = object.moved(&from, &mut to).unwrap();
    assert_eq!(moved, reference(60, &[(2, 36, 64), (1, 0, 12)]));
    let table = to.finish();
    assert_eq!(table, [segment(9, 100), segment(1, 100), segment(3, 100)]);

    let outside = reference(60, &[(3, 36, 64), (4, 0, 12)]);
    assert!(outside.moved(&from, &mut TableBuilder::new()).is_err());
}

#[test]
fn attack_24_bidirectional_and_control_characters_are_refused_wherever_they_stand() {
    let refused = (0..=0x1f_u32)
        .chain(0x7f..=0x9f)
        .chain([0x61c, 0x200e, 0x200f])
        .chain(0x202a..=0x202e)
        .chain(0x2066..=0x2069)
        .chain([u32::from('/')]);
    let refused: BTreeSet<u32> = refused.collect();
    for code in 0..0x3000 {
        let Some(c) = char::from_u32(code) else { continue };
        for name in [format!("{c}ab"), format!("a{c}b"), format!("ab{c}")] {
            assert_eq!(Name::new(&name).is_err(), refused.contains(&code), "U+{code:04X}");
        }
    }
}

/// A segment as a reader may find one in a table, of 1,000 to 9,999 bytes.
fn any_segment() -> impl Strategy<Value = Segment> {
    (1u8..6, 0u8..6, 1000u32..10_000, any::<[u8; 32]>()).prop_map(|(k, m, len, seed)| {
        let code = Code::new(k, k + m).unwrap();
        let id = |at: u8| seed.map(|byte| byte ^ at);
        Segment {
            code,
            len,
            chunks: (0..code.n()).map(|at| ChunkId(id(at))).collect(),
            holders: (0..code.n()).map(|at| NodeId(id(at + 100))).collect(),
        }
    })
}

/// An object of up to 1,500 bytes in up to three extents, its first one given by `place`. The table
/// has at least one segment, and all of them have at least 1,000 bytes.
fn placed(table: &[Segment], (seed, len, place, cut): &Seed) -> ObjectRef {
    let mut rest = sealed_len(u64::from(*len)) as u32;
    let mut extents = Vec::new();
    while rest > 0 {
        let segment = (*place as usize + extents.len()) % table.len();
        let len = rest.min(1000 - u32::from(*cut));
        extents.push(Extent { segment: segment as u32, offset: u32::from(*cut), len });
        rest -= len;
    }
    ObjectRef {
        id: ObjectId(seed[..16].try_into().unwrap()),
        key: ObjectKey((*seed).into()),
        commitment: seed.map(|byte| !byte),
        len: u64::from(*len),
        extents,
    }
}

type Seed = ([u8; 32], u16, u8, u8);

fn any_seed() -> impl Strategy<Value = Seed> {
    (any::<[u8; 32]>(), 0u16..1500, any::<u8>(), any::<u8>())
}

/// Keeps those segments that are used, as a writer does.
fn compacted(table: &[Segment], references: Vec<&mut ObjectRef>) -> Vec<Segment> {
    let mut builder = TableBuilder::new();
    for reference in references {
        *reference = reference.moved(table, &mut builder).unwrap();
    }
    builder.finish()
}

fn any_name() -> impl Strategy<Value = Name> {
    "[^/\\p{Cc}\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]{1,60}"
        .prop_filter_map("a name", |text| Name::new(&text).ok())
}

fn any_folder() -> impl Strategy<Value = Folder> {
    let entry = (any::<i64>(), 0u8..4, any::<bool>(), any_seed(), any::<u64>());
    (prop::collection::vec(any_segment(), 1..5), prop::collection::btree_map(any_name(), entry, 0..12))
        .prop_map(|(segments, entries)| {
            let mut entries: Vec<Entry> = entries
                .into_iter()
                .map(|(name, (modified_ms, kind, executable, seed, len))| {
                    let object = placed(&segments, &seed);
                    let node = match kind {
                        0 => EntryKind::Folder(object),
                        1 => EntryKind::File { content: FileContent::Direct(object), executable },
                        2 => {
                            let content = FileContent::Manifest { manifest: object, len };
                            EntryKind::File { content, executable }
                        }
                        _ => {
                            let content = FileContent::Inline(vec![seed.2; usize::from(seed.1)]);
                            EntryKind::File { content, executable }
                        }
                    };
                    Entry { name, modified_ms, node }
                })
                .collect();
            let references = entries
                .iter_mut()
                .filter_map(|entry| match &mut entry.node {
                    EntryKind::Folder(object)
                    | EntryKind::File { content: FileContent::Direct(object), .. }
                    | EntryKind::File { content: FileContent::Manifest { manifest: object, .. }, .. } => {
                        Some(object)
                    }
                    EntryKind::File { content: FileContent::Inline(_), .. } => None,
                })
                .collect();
            let table = compacted(&segments, references);
            Folder { table, entries }
        })
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    (prop::collection::vec(any_segment(), 1..5), any_seed()).prop_map(|(segments, seed)| {
        let mut file = placed(&segments, &seed);
        let table = compacted(&segments, vec![&mut file]);
        Manifest { table, file }
    })
}

/// Whatever is accepted has just this encoding; `bytes` may be anything.
fn canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(folder) = Folder::decode(bytes) {
        prop_assert_eq!(&folder.encode()[..], bytes);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        prop_assert_eq!(&manifest.encode()[..], bytes);
    }
    if let Ok(head) = HeadContent::decode(bytes) {
        prop_assert_eq!(&head.encode()[..], bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn folders_survive_their_encoding(folder in any_folder()) {
        let encoded = folder.encode();
        prop_assert_eq!(Folder::decode(&encoded).unwrap(), folder);
    }

    #[test]
    fn manifests_and_heads_survive_their_encoding(manifest in any_manifest(), written_ms: i64) {
        let encoded = manifest.encode();
        prop_assert_eq!(Manifest::decode(&encoded).unwrap(), manifest.clone());
        let head = HeadContent { table: manifest.table, root: manifest.file, written_ms };
        prop_assert_eq!(HeadContent::decode(&head.encode()).unwrap(), head);
    }

    #[test]
    fn changed_objects_are_refused_or_canonical(
        folder in any_folder(), manifest in any_manifest(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        for mut bytes in [folder.encode().to_vec(), manifest.encode().to_vec()] {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            canonical(&bytes)?;
        }
    }

    #[test]
    fn cut_and_longer_objects_are_refused(
        folder in any_folder(), manifest in any_manifest(), at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..50)
    ) {
        let (folder, manifest) = (folder.encode(), manifest.encode());
        prop_assert!(Folder::decode(&folder[..at.index(folder.len())]).is_err());
        prop_assert!(Folder::decode(&[&folder[..], &more].concat()).is_err());
        prop_assert!(Manifest::decode(&manifest[..at.index(manifest.len())]).is_err());
        prop_assert!(Manifest::decode(&[&manifest[..], &more].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        canonical(&bytes)?;
        canonical(&[&[1][..], &bytes].concat())?;
        canonical(&[&[1, 0x82, 0x80, 0x81][..], &bytes].concat())?;
    }

    #[test]
    fn attack_24_a_name_keeps_its_rules(text in prop_oneof!["\\PC{0,20}", ".*", "[./a\u{0}\u{202e}]{0,4}", "[日a]{80,130}"]) {
        match Name::new(&text) {
            Ok(name) => {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!((1..=NAME_LEN_MAX).contains(&text.len()));
                let refused = text.contains(['/', '\0', '\n', '\u{202e}']) || text == "." || text == "..";
                prop_assert!(!refused);
            }
            Err(error) => {
                let shown = error.to_string();
                prop_assert!(error.name.chars().count() <= 80);
                prop_assert!(!shown.contains(['\0', '\n', '\u{202e}']), "{}", shown);
            }
        }
    }
}
