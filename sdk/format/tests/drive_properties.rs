//! A drive's objects as they may come: whatever they hold, they have one encoding, and nothing that was
//! changed, cut or made up is taken for another object.

#![allow(clippy::unwrap_used)]

use commonhold_format::code::Code;
use commonhold_format::drive::{
    Attributes, Entry, EntryKind, Extent, File, FileContent, FolderRef, HeadContent, History, HistoryRef,
    Items, Manifest, NAME_LEN_MAX, Name, ObjectRef, PAGE_LEVEL_MAX, Page, PageRef, TableBuilder, Totals,
    Version, WRITERS_MAX, Writer,
};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::seal::{ObjectId, ObjectKey, sealed_len};
use commonhold_format::segment::Segment;
use proptest::prelude::*;

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

fn any_attributes() -> impl Strategy<Value = Attributes> {
    prop::collection::btree_map("\\PC{1,20}", "\\PC{0,40}", 0..4)
}

/// One of each: a reference of its own for content and history.
type ContentSeed = (u8, Seed, u64);

fn any_content_seed() -> impl Strategy<Value = ContentSeed> {
    (0u8..3, any_seed(), any::<u64>())
}

fn content(segments: &[Segment], (kind, seed, len): &ContentSeed) -> FileContent {
    match kind {
        0 => FileContent::Direct(placed(segments, seed)),
        1 => FileContent::Manifest { manifest: placed(segments, seed), len: *len },
        _ => FileContent::Inline(vec![seed.2; usize::from(seed.1)]),
    }
}

fn content_reference(content: &mut FileContent) -> Option<&mut ObjectRef> {
    match content {
        FileContent::Direct(object) | FileContent::Manifest { manifest: object, .. } => Some(object),
        FileContent::Inline(_) => None,
    }
}

fn any_totals() -> impl Strategy<Value = Totals> {
    (1u64.., any::<u64>(), any::<u64>()).prop_map(|(entries, files, bytes)| Totals { entries, files, bytes })
}

fn any_segments() -> impl Strategy<Value = Vec<Segment>> {
    prop::collection::vec(any_segment(), 1..5)
}

fn any_leaf() -> impl Strategy<Value = Page> {
    let entry = (
        (any::<i64>(), any::<u64>(), any::<bool>(), any_attributes(), any_content_seed()),
        (0u8..4, any_seed(), 1u64.., any_totals()),
    );
    (any_segments(), prop::collection::btree_map(any_name(), entry, 1..12)).prop_map(|(segments, entries)| {
        let mut entries: Vec<Entry> = entries
            .into_iter()
            .map(|(name, (file, other))| {
                let (modified_ms, stored_ms, executable, attributes, seed) = file;
                let (kind, place, versions, totals) = other;
                let node = match kind {
                    0 => EntryKind::Folder(FolderRef { page: Some(placed(&segments, &place)), totals }),
                    1 => EntryKind::Folder(FolderRef::default()),
                    _ => {
                        let object = placed(&segments, &place);
                        let history =
                            (kind == 2).then(|| HistoryRef { object, versions, bytes: totals.bytes });
                        let content = content(&segments, &seed);
                        EntryKind::File(File { content, executable, stored_ms, history })
                    }
                };
                Entry { name, modified_ms, attributes, node }
            })
            .collect();
        let references = entries
            .iter_mut()
            .flat_map(|entry| match &mut entry.node {
                EntryKind::Folder(folder) => [folder.page.as_mut(), None],
                EntryKind::File(file) => [
                    content_reference(&mut file.content),
                    file.history.as_mut().map(|history| &mut history.object),
                ],
            })
            .flatten()
            .collect();
        let table = compacted(&segments, references);
        Page { table, items: Items::Entries(entries) }
    })
}

fn any_inner() -> impl Strategy<Value = Page> {
    let below = (any_seed(), any_totals());
    (any_segments(), 1..=PAGE_LEVEL_MAX, prop::collection::btree_map(any_name(), below, 1..6)).prop_map(
        |(segments, level, pages)| {
            let mut pages: Vec<PageRef> = pages
                .into_iter()
                .map(|(first, (seed, totals))| PageRef { first, page: placed(&segments, &seed), totals })
                .collect();
            let table = compacted(&segments, pages.iter_mut().map(|page| &mut page.page).collect());
            Page { table, items: Items::Pages { level, pages } }
        },
    )
}

fn any_page() -> impl Strategy<Value = Page> {
    prop_oneof![any_leaf(), any_inner()]
}

fn any_history() -> impl Strategy<Value = History> {
    let version = (any::<i64>(), any::<bool>(), any_content_seed(), any_attributes());
    (any_segments(), prop::collection::btree_map(any::<u64>(), version, 1..6)).prop_map(
        |(segments, versions)| {
            let mut versions: Vec<Version> = versions
                .into_iter()
                .rev()
                .map(|(stored_ms, (modified_ms, executable, seed, attributes))| {
                    let content = content(&segments, &seed);
                    Version { stored_ms, modified_ms, executable, content, attributes }
                })
                .collect();
            let references =
                versions.iter_mut().filter_map(|version| content_reference(&mut version.content)).collect();
            let table = compacted(&segments, references);
            History { table, versions }
        },
    )
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    (any_segments(), prop::collection::vec(any_seed(), 1..4)).prop_map(|(segments, seeds)| {
        let mut parts: Vec<ObjectRef> = seeds.iter().map(|seed| placed(&segments, seed)).collect();
        let table = compacted(&segments, parts.iter_mut().collect());
        Manifest { table, parts }
    })
}

fn any_head() -> impl Strategy<Value = HeadContent> {
    let tree = || prop::option::of((any_seed(), any_totals()));
    let writers = prop::collection::btree_map(any::<[u8; 8]>(), 1u64.., 0..=WRITERS_MAX);
    (any_segments(), [tree(), tree(), tree()], any::<i64>(), writers).prop_map(
        |(segments, trees, written_ms, writers)| {
            let mut trees = trees.map(|tree| {
                tree.map_or_else(FolderRef::default, |(seed, totals)| FolderRef {
                    page: Some(placed(&segments, &seed)),
                    totals,
                })
            });
            let references = trees.iter_mut().filter_map(|tree| tree.page.as_mut()).collect();
            let table = compacted(&segments, references);
            let [files, bin, shares] = trees;
            let writers = writers.into_iter().map(|(device, sequence)| Writer { device, sequence }).collect();
            HeadContent { table, files, bin, shares, written_ms, writers }
        },
    )
}

/// Whatever is accepted has just this encoding; `bytes` may be anything.
fn canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(page) = Page::decode(bytes) {
        prop_assert_eq!(&page.encode()[..], bytes);
    }
    if let Ok(history) = History::decode(bytes) {
        prop_assert_eq!(&history.encode()[..], bytes);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        prop_assert_eq!(&manifest.encode()[..], bytes);
    }
    if let Ok(head) = HeadContent::decode(bytes) {
        prop_assert_eq!(&head.encode()[..], bytes);
    }
    Ok(())
}

/// An encoded object of any kind.
fn any_encoded() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_page().prop_map(|object| object.encode().to_vec()),
        any_history().prop_map(|object| object.encode().to_vec()),
        any_manifest().prop_map(|object| object.encode().to_vec()),
        any_head().prop_map(|object| object.encode().to_vec()),
    ]
}

proptest! {
    #[test]
    fn pages_survive_their_encoding(page in any_page()) {
        prop_assert_eq!(Page::decode(&page.encode()).unwrap(), page);
    }

    #[test]
    fn histories_survive_their_encoding(history in any_history()) {
        prop_assert_eq!(History::decode(&history.encode()).unwrap(), history);
    }

    #[test]
    fn manifests_survive_their_encoding(manifest in any_manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn heads_survive_their_encoding(head in any_head()) {
        prop_assert_eq!(HeadContent::decode(&head.encode()).unwrap(), head);
    }

    #[test]
    fn changed_objects_are_refused_or_canonical(
        mut bytes in any_encoded(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        canonical(&bytes)?;
    }

    #[test]
    fn cut_and_longer_objects_are_refused(
        bytes in any_encoded(), at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..50)
    ) {
        for bytes in [&bytes[..at.index(bytes.len())], &[&bytes[..], &more].concat()] {
            prop_assert!(Page::decode(bytes).is_err() && History::decode(bytes).is_err());
            prop_assert!(Manifest::decode(bytes).is_err() && HeadContent::decode(bytes).is_err());
        }
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        canonical(&bytes)?;
        for start in [&[2][..], &[2, 0x82, 0x82, 0x40, 0x80, 0x81], &[2, 0x83, 0, 0x82, 0x40, 0x80, 0x81], &[2, 0x83, 1, 0x82, 0x40, 0x80, 0x81]] {
            canonical(&[start, &bytes].concat())?;
        }
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
