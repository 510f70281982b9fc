//! A drive's objects: one encoding each, references that fit their tables, names that do not lie.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use commonhold_format::code::Code;
use commonhold_format::drive::{
    ATTRIBUTE_KEY_LEN_MAX, ATTRIBUTES_LEN_MAX, ATTRIBUTES_MAX, Attributes, Entry, EntryKind, Extent, File,
    FileContent, FolderRef, HeadContent, History, INLINE_LEN_MAX, Items, Manifest, Name, OBJECT_LEN_MAX,
    ObjectError, ObjectRef, PAGE_LEVEL_MAX, Page, PageRef, TableBuilder, Totals, Version,
};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::seal::{ObjectId, ObjectKey, sealed_len};
use commonhold_format::segment::Segment;

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

fn manifest(table: Vec<Segment>, part: ObjectRef) -> Manifest {
    Manifest { table, parts: vec![part] }
}

fn entry(name: &str, node: EntryKind) -> Entry {
    Entry { name: Name::new(name).unwrap(), modified_ms: -5, attributes: Attributes::new(), node }
}

fn file(name: &str, content: FileContent) -> Entry {
    let file = File { content, executable: false, stored_ms: 7, history: None };
    entry(name, EntryKind::File(file))
}

fn inline(name: &str) -> Entry {
    file(name, FileContent::Inline(b"text".to_vec()))
}

fn page(table: Vec<Segment>, entries: Vec<Entry>) -> Page {
    Page { table, items: Items::Entries(entries) }
}

fn version(stored_ms: u64) -> Version {
    Version {
        stored_ms,
        modified_ms: 0,
        executable: false,
        content: FileContent::Inline(vec![1, 2]),
        attributes: Attributes::new(),
    }
}

fn tree(page: ObjectRef) -> FolderRef {
    FolderRef { page: Some(page), totals: Totals { entries: 1, files: 0, bytes: 0 } }
}

fn head(table: Vec<Segment>, files: ObjectRef) -> HeadContent {
    HeadContent { table, files: tree(files), ..HeadContent::default() }
}

fn survives(page: &Page) -> Result<(), ObjectError> {
    assert_eq!(Page::decode(&page.encode())?, *page);
    Ok(())
}

#[test]
fn the_head_of_an_empty_drive_is_short() {
    let encoded = HeadContent::default().encode();
    let tree = [0x84, 0x80, 0, 0, 0];
    assert_eq!(**encoded, [&[2, 0x86, 0x82, 0x40, 0x80][..], &tree, &tree, &tree, &[0, 0x80]].concat());
    assert_eq!(HeadContent::decode(&encoded), Ok(HeadContent::default()));
}

/// What the dictionary is for: chunks of few holders name each of them once.
#[test]
fn a_holder_stands_in_a_table_once() {
    let table: Vec<Segment> =
        (0..50).map(|byte| Segment { holders: vec![NodeId([9; 32]); 3], ..segment(byte, 100) }).collect();
    let extents: Vec<(u32, u32, u32)> =
        (0..50).map(|at| (at, 0, if at == 0 { sealed_len(100) as u32 - 49 } else { 1 })).collect();
    let encoded = manifest(table, reference(100, &extents)).encode();
    let found = encoded.windows(32).filter(|window| *window == [9; 32]);
    // The description of segment 9 has chunks of that id too, one after the other.
    assert_eq!(found.count(), 1 + (3 * 32 - 31));
}

#[test]
fn a_table_has_at_most_65_535_holders() {
    let code = Code::new(1, 64).unwrap();
    let holder = |at: u32| NodeId(std::array::from_fn(|byte| *at.to_be_bytes().get(byte).unwrap_or(&0)));
    let with = |holders: u32| {
        let table: Vec<Segment> = (0..holders.div_ceil(64))
            .map(|at| Segment {
                code,
                len: 100,
                chunks: vec![ChunkId(holder(at).0); 64],
                holders: (64 * at..64 * at + 64).map(|at| holder(at.min(holders - 1))).collect(),
            })
            .collect();
        let parts = (0..table.len() as u32).map(|at| reference(0, &[(at, 0, 16)])).collect();
        let manifest = Manifest { table, parts };
        let decoded = Manifest::decode(&manifest.encode());
        assert!(decoded.is_err() || decoded == Ok(manifest));
        decoded.is_ok()
    };
    assert!(with(65_535));
    assert!(!with(65_536));
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
    let entries = |names: &[&str]| page(vec![], names.iter().map(|name| inline(name)).collect());
    let below = |names: &[&str]| {
        let totals = Totals { entries: 1, ..Totals::default() };
        let page = reference(5, &[(0, 0, 21)]);
        let pages = names
            .iter()
            .map(|name| PageRef { first: Name::new(name).unwrap(), page: page.clone(), totals })
            .collect();
        Page { table: vec![segment(1, 100)], items: Items::Pages { level: 1, pages } }
    };
    survives(&entries(&["A", "B", "a", "aa", "b", "é", "日本語"])).unwrap();
    survives(&below(&["A", "B", "a", "aa", "b", "é", "日本語"])).unwrap();
    for wrong in [["b", "a"], ["a", "a"], ["a", "B"], ["é", "z"], ["\u{1f4be}", "\u{ff01}"]] {
        assert!(survives(&entries(&wrong)).is_err(), "{wrong:?}");
        assert!(survives(&below(&wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn attack_25_pages_have_levels_up_to_12() {
    let at = |level| {
        let totals = Totals { entries: 1, ..Totals::default() };
        let below = PageRef { first: Name::new("a").unwrap(), page: reference(5, &[(0, 0, 21)]), totals };
        Page { table: vec![segment(1, 100)], items: Items::Pages { level, pages: vec![below] } }
    };
    for level in 1..=PAGE_LEVEL_MAX {
        survives(&at(level)).unwrap();
    }
    assert!(survives(&at(0)).is_err());
    assert!(survives(&at(PAGE_LEVEL_MAX + 1)).is_err());
    assert!(survives(&at(255)).is_err());
}

/// Attack 10: an entry that is put into another page of its folder is found by nobody, and seen by nobody.
#[test]
fn attack_10_a_page_keeps_to_its_place() {
    let name = |text: &str| Name::new(text).unwrap();
    let leaf = page(vec![], vec![inline("f"), inline("h"), inline("m")]);
    let totals = Totals { entries: 1, ..Totals::default() };
    let below = |first: &str| PageRef { first: name(first), page: reference(5, &[(0, 0, 21)]), totals };
    let pages = vec![below("f"), below("m")];
    let inner = Page { table: vec![segment(1, 100)], items: Items::Pages { level: 2, pages } };
    for (page, level) in [(&leaf, 0), (&inner, 2)] {
        assert_eq!(page.level(), level);
        let fits = |level: u8, first: Option<&str>, end: Option<&str>| {
            page.check_place(level, first.map(name).as_ref(), end.map(name).as_ref()).is_ok()
        };
        assert!(fits(level, None, None) && fits(level, Some("f"), Some("n")) && fits(level, Some("a"), None));
        assert!(!fits(level, Some("g"), None), "a name below the page's bound");
        assert!(!fits(level, Some("f"), Some("m")), "a name that belongs to the page after it");
        assert!(!fits(level + 1, None, None) && !fits(1, None, None), "another level");
    }
    assert!(page(vec![], vec![]).check_place(0, None, None).is_err());
}

#[test]
fn nothing_is_empty_but_a_folder_without_a_page() {
    assert!(survives(&page(vec![], vec![])).is_err());
    assert!(survives(&Page { table: vec![], items: Items::Pages { level: 1, pages: vec![] } }).is_err());
    assert!(History::decode(&History { table: vec![], versions: vec![] }.encode()).is_err());
    assert!(Manifest::decode(&Manifest { table: vec![], parts: vec![] }.encode()).is_err());
    survives(&page(vec![], vec![entry("a", EntryKind::Folder(FolderRef::default()))])).unwrap();

    let with = |page: Option<ObjectRef>, entries, bytes| {
        let table = if page.is_some() { vec![segment(1, 100)] } else { vec![] };
        let files = FolderRef { page, totals: Totals { entries, files: 0, bytes } };
        let content = HeadContent { table: table.clone(), files: files.clone(), ..HeadContent::default() };
        let decoded = HeadContent::decode(&content.encode());
        assert!(decoded.is_err() || decoded == Ok(content));
        let folder = survives(&self::page(table, vec![entry("a", EntryKind::Folder(files))]));
        assert_eq!(decoded.is_ok(), folder.is_ok());
        decoded.is_ok()
    };
    let object = || Some(reference(5, &[(0, 0, 21)]));
    assert!(with(None, 0, 0) && with(object(), 1, 0) && with(object(), u64::MAX, u64::MAX));
    assert!(!with(None, 1, 0) && !with(None, 0, 1) && !with(object(), 0, 0));
}

#[test]
fn attack_25_attributes_are_few_and_short() {
    let with = |attributes: &[(&str, &str)]| {
        let attributes: Attributes =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let one = survives(&page(vec![], vec![Entry { attributes: attributes.clone(), ..inline("a") }]));
        let version = Version { attributes, ..version(1) };
        let other = History { table: vec![], versions: vec![version] };
        assert_eq!(one.is_ok(), History::decode(&other.encode()) == Ok(other));
        one.is_ok()
    };
    let keys: Vec<String> = (0..=ATTRIBUTES_MAX).map(|at| format!("{at:03}")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    assert!(with(&[]) && with(&many[1..]) && !with(&many));
    let (longest, longer) = ("k".repeat(ATTRIBUTE_KEY_LEN_MAX), "k".repeat(ATTRIBUTE_KEY_LEN_MAX + 1));
    assert!(with(&[(&longest, "")]) && !with(&[(&longer, "")]) && !with(&[("", "")]));
    let value = "v".repeat(ATTRIBUTES_LEN_MAX - 1);
    assert!(with(&[("k", &value)]) && !with(&[("kk", &value)]) && !with(&[("k", &value), ("l", "")]));
}

#[test]
fn versions_are_newest_first() {
    let history = |stored: &[u64]| {
        let history = History { table: vec![], versions: stored.iter().map(|at| version(*at)).collect() };
        let decoded = History::decode(&history.encode());
        assert!(decoded.is_err() || decoded == Ok(history));
        decoded.is_ok()
    };
    assert!(history(&[0]) && history(&[u64::MAX, 5, 0]));
    assert!(!history(&[1, 2]) && !history(&[2, 2]) && !history(&[3, 1, 2]));
}

#[test]
fn totals_add_up() {
    let totals = |entries, files, bytes| Totals { entries, files, bytes };
    let folder = FolderRef { page: Some(reference(5, &[(0, 0, 21)])), totals: totals(3, 9, 1000) };
    let leaf = page(vec![], vec![inline("a"), entry("b", EntryKind::Folder(folder)), inline("c")]);
    assert_eq!(leaf.totals(), totals(3, 11, 1008));
    let below =
        |totals| PageRef { first: Name::new("a").unwrap(), page: reference(5, &[(0, 0, 21)]), totals };
    let pages = vec![below(totals(3, 11, 1008)), below(totals(1, u64::MAX, 2))];
    let inner = Page { table: vec![], items: Items::Pages { level: 1, pages } };
    assert_eq!(inner.totals(), totals(4, u64::MAX, 1010));
    let history = History { table: vec![], versions: vec![version(9), version(8)] };
    assert_eq!(history.totals(), (2, 4));
    let parts = |lens: &[u64]| Manifest {
        table: vec![],
        parts: lens.iter().map(|len| reference(*len, &[])).collect(),
    };
    assert_eq!(parts(&[5, 0, 7]).len(), Some(12));
    assert_eq!(parts(&[u64::MAX, 1]).len(), None);
    assert!(parts(&[0, 0]).is_empty() && !parts(&[0, 1]).is_empty());
}

#[test]
fn inline_files_have_a_largest_size() {
    let with = |len| page(vec![], vec![file("a", FileContent::Inline(vec![0; len]))]);
    survives(&with(0)).unwrap();
    survives(&with(INLINE_LEN_MAX)).unwrap();
    assert!(survives(&with(INLINE_LEN_MAX + 1)).is_err());
}

#[test]
fn attack_16_one_kind_of_object_is_not_read_as_another() {
    let table = vec![segment(1, 100)];
    let root = reference(5, &[(0, 0, 21)]);
    let manifest = manifest(table.clone(), root.clone()).encode();
    let head = head(table.clone(), root.clone()).encode();
    let leaf = page(vec![], vec![inline("a")]).encode();
    let totals = Totals { entries: 1, ..Totals::default() };
    let below = PageRef { first: Name::new("a").unwrap(), page: root, totals };
    let inner = Page { table, items: Items::Pages { level: 1, pages: vec![below] } }.encode();
    let history = History { table: vec![], versions: vec![version(1)] }.encode();
    for (at, object) in [&manifest, &head, &leaf, &inner, &history].into_iter().enumerate() {
        assert_eq!(Manifest::decode(object).is_ok(), at == 0);
        assert_eq!(HeadContent::decode(object).is_ok(), at == 1);
        assert_eq!(Page::decode(object).is_ok(), at == 2 || at == 3);
        assert_eq!(History::decode(object).is_ok(), at == 4);
    }
}

#[test]
fn attack_25_an_object_has_a_largest_size() {
    let mut bytes = page(vec![], vec![inline("a")]).encode().to_vec();
    bytes.resize(OBJECT_LEN_MAX + 1, 0);
    let refused = Page::decode(&bytes).unwrap_err();
    assert!(refused.to_string().contains("256 MiB"), "{refused}");
}

#[test]
fn attack_25_declared_lengths_allocate_nothing() {
    // Any of these would abort the process if it were believed.
    for declared in [u64::MAX, 1 << 62, 1 << 40] {
        let number = declared.to_be_bytes();
        for body in [
            [&[0x9b][..], &number].concat(),
            [&[0x82, 0x82, 0x5b][..], &number].concat(),
            [&[0x82, 0x82, 0x40, 0x9b][..], &number].concat(),
            [&[0x82, 0x82, 0x40, 0x80, 0x9b][..], &number].concat(),
            [&[0x82, 0x82, 0x40, 0x80, 0x81, 0x85, 0x5b][..], &number].concat(),
            [&[0x83, 0, 0x82, 0x40, 0x80, 0x9b][..], &number].concat(),
            [&[0x83, 1, 0x82, 0x40, 0x80, 0x9b][..], &number].concat(),
            [&[0x83, 0, 0x82, 0x40, 0x80, 0x81, 0x88, 0x7b][..], &number].concat(),
            [&[0x83, 0, 0x82, 0x40, 0x80, 0x81, 0x88, 0x61, b'a', 0, 0, 0xf4, 0, 0x82, 0, 0x5b][..], &number]
                .concat(),
            [
                &[0x83, 0, 0x82, 0x40, 0x80, 0x81, 0x88, 0x61, b'a', 0, 0, 0xf4, 0, 0x82, 0, 0x40, 0x9b][..],
                &number,
            ]
            .concat(),
        ] {
            let bytes = [&[2][..], &body].concat();
            assert!(Page::decode(&bytes).is_err());
            assert!(Manifest::decode(&bytes).is_err());
            assert!(History::decode(&bytes).is_err());
            assert!(HeadContent::decode(&bytes).is_err());
        }
    }
}

#[test]
fn no_key_and_no_text_is_printed() {
    let content = FileContent::Inline(b"secret text".to_vec());
    let history =
        History { table: vec![], versions: vec![Version { content: content.clone(), ..version(1) }] };
    let leaf = page(
        vec![segment(1, 100)],
        vec![file("a", content), file("b", FileContent::Direct(reference(5, &[(0, 0, 21)])))],
    );
    let printed = format!("{leaf:?} {history:?}");
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
