//! The vectors of spec/manifest.md and spec/drive.md: manifests, pages, histories, the content of heads.

#![allow(clippy::unwrap_used)]

mod vector_case;

use std::fmt::Debug;

use commonhold_format::drive::{
    Attributes, Entry, EntryKind, File, FileContent, FolderRef, HeadContent, History, HistoryRef, Items,
    Manifest, Name, ObjectError, Page, PageRef, Totals, Version, Writer,
};
use commonhold_format::segment::Segment;
use vector_case::Case;
use vector_case::drive::{reference, segment};

#[test]
fn drive_vectors() {
    vector_case::for_each("drive", |expect, case| {
        let encoded = case.bytes("encoded");
        let found = match case.text("of").as_str() {
            "manifest" => check(Manifest::decode(&encoded), case, manifest, |object| {
                (object.encode().to_vec(), &object.table)
            }),
            "page" => {
                check(Page::decode(&encoded), case, page, |object| (object.encode().to_vec(), &object.table))
            }
            "history" => check(History::decode(&encoded), case, history, |object| {
                (object.encode().to_vec(), &object.table)
            }),
            "head" => check(HeadContent::decode(&encoded), case, head, |object| {
                (object.encode().to_vec(), &object.table)
            }),
            other => panic!("{}: of {other}", case.name()),
        };
        match found {
            Some(again) => {
                assert_eq!(expect, "ok", "{}", case.name());
                assert_eq!(again, encoded, "{}", case.name());
            }
            None => assert_eq!(expect, "refused", "{}", case.name()),
        }
    });
}

/// Compares a decoded object with the vector's fields and answers its encoding.
fn check<T: Debug + PartialEq>(
    decoded: Result<T, ObjectError>,
    case: &mut Case,
    read: impl FnOnce(&mut Case) -> T,
    parts: impl FnOnce(&T) -> (Vec<u8>, &Vec<Segment>),
) -> Option<Vec<u8>> {
    let decoded = decoded.ok()?;
    assert_eq!(decoded, case.object("value", read), "{}", case.name());
    let (encoded, table) = parts(&decoded);
    let ids: Vec<[u8; 32]> = table.iter().map(|segment| segment.id().0).collect();
    assert_eq!(ids, case.hashes("segments"), "{}", case.name());
    Some(encoded)
}

fn segments(fields: &mut Case) -> Vec<Segment> {
    fields.objects("table", segment)
}

fn manifest(fields: &mut Case) -> Manifest {
    Manifest { table: segments(fields), parts: fields.objects("parts", reference) }
}

fn totals(fields: &mut Case) -> Totals {
    Totals { entries: fields.number("entries"), files: fields.number("files"), bytes: fields.number("bytes") }
}

fn tree(fields: &mut Case) -> FolderRef {
    let page = fields.has("page").then(|| fields.object("page", reference));
    FolderRef { page, totals: totals(fields) }
}

fn head(fields: &mut Case) -> HeadContent {
    HeadContent {
        table: segments(fields),
        files: fields.object("files", tree),
        bin: fields.object("bin", tree),
        shares: fields.object("shares", tree),
        written_ms: fields.number("written_ms"),
        writers: fields.objects("writers", |fields| Writer {
            device: fields.bytes("device").try_into().unwrap(),
            sequence: fields.number("sequence"),
        }),
    }
}

fn content(fields: &mut Case) -> FileContent {
    if fields.has("inline") {
        FileContent::Inline(fields.bytes("inline"))
    } else if fields.has("direct") {
        FileContent::Direct(fields.object("direct", reference))
    } else {
        let manifest = fields.object("manifest", reference);
        FileContent::Manifest { manifest, len: fields.number("len") }
    }
}

fn attributes(fields: &mut Case) -> Attributes {
    fields.objects("attributes", |pair| (pair.text("key"), pair.text("value"))).into_iter().collect()
}

fn history_ref(fields: &mut Case) -> HistoryRef {
    HistoryRef {
        object: fields.object("object", reference),
        versions: fields.number("versions"),
        bytes: fields.number("bytes"),
    }
}

fn entry(fields: &mut Case) -> Entry {
    let name = Name::new(&fields.text("name")).unwrap();
    let modified_ms = fields.number("modified_ms");
    let attributes = attributes(fields);
    let node = if fields.has("folder") {
        EntryKind::Folder(fields.object("folder", tree))
    } else {
        EntryKind::File(File {
            executable: fields.text("executable") == "yes",
            stored_ms: fields.number("stored_ms"),
            content: content(fields),
            history: fields.has("history").then(|| fields.object("history", history_ref)),
        })
    };
    Entry { name, modified_ms, attributes, node }
}

fn page(fields: &mut Case) -> Page {
    let (level, table) = (fields.number("level"), segments(fields));
    let items = if fields.has("entries") {
        assert_eq!(level, 0);
        Items::Entries(fields.objects("entries", entry))
    } else {
        let below = |page: &mut Case| PageRef {
            first: Name::new(&page.text("first")).unwrap(),
            page: page.object("page", reference),
            totals: totals(page),
        };
        Items::Pages { level, pages: fields.objects("pages", below) }
    };
    Page { table, items }
}

fn history(fields: &mut Case) -> History {
    let version = |version: &mut Case| Version {
        stored_ms: version.number("stored_ms"),
        modified_ms: version.number("modified_ms"),
        executable: version.text("executable") == "yes",
        content: content(version),
        attributes: attributes(version),
    };
    History { table: segments(fields), versions: fields.objects("versions", version) }
}
