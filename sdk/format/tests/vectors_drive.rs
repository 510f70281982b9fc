//! The vectors of spec/manifest.md and spec/drive.md: manifests, folders, the content of heads.

#![allow(clippy::unwrap_used)]

mod vector_case;

use std::fmt::Debug;

use commonhold_format::code::Code;
use commonhold_format::drive::{
    Entry, EntryKind, Extent, FileContent, Folder, HeadContent, Manifest, Name, ObjectError, ObjectRef,
};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::seal::{ObjectId, ObjectKey};
use commonhold_format::segment::Segment;
use vector_case::Case;

#[test]
fn drive_vectors() {
    vector_case::for_each("drive", |expect, case| {
        let encoded = case.bytes("encoded");
        let found = match case.text("of").as_str() {
            "manifest" => check(Manifest::decode(&encoded), case, manifest, |object| {
                (object.encode().to_vec(), &object.table)
            }),
            "folder" => check(Folder::decode(&encoded), case, folder, |object| {
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
    fields.objects("table", |segment| Segment {
        code: Code::new(segment.number("k"), segment.number("n")).unwrap(),
        len: segment.number("len"),
        chunks: segment.hashes("chunks").into_iter().map(ChunkId).collect(),
        holders: segment.hashes("holders").into_iter().map(NodeId).collect(),
    })
}

fn reference(fields: &mut Case) -> ObjectRef {
    let extent = |text: &String| {
        let numbers: Vec<u32> = text.split(',').map(|number| number.parse().unwrap()).collect();
        let [segment, offset, len] = numbers[..] else { panic!("an extent has three numbers") };
        Extent { segment, offset, len }
    };
    ObjectRef {
        id: ObjectId(fields.bytes("id").try_into().unwrap()),
        key: ObjectKey(fields.hash("key").into()),
        commitment: fields.hash("commitment"),
        len: fields.number("len"),
        extents: fields.texts("extents").iter().map(extent).collect(),
    }
}

fn manifest(fields: &mut Case) -> Manifest {
    Manifest { table: segments(fields), file: fields.object("file", reference) }
}

fn head(fields: &mut Case) -> HeadContent {
    HeadContent {
        table: segments(fields),
        root: fields.object("root", reference),
        written_ms: fields.number("written_ms"),
    }
}

fn folder(fields: &mut Case) -> Folder {
    Folder { table: segments(fields), entries: fields.objects("entries", entry) }
}

fn entry(fields: &mut Case) -> Entry {
    let name = Name::new(&fields.text("name")).unwrap();
    let modified_ms = fields.number("modified_ms");
    let node = if fields.has("folder") {
        EntryKind::Folder(fields.object("folder", reference))
    } else {
        let executable = fields.text("executable") == "yes";
        let content = if fields.has("inline") {
            FileContent::Inline(fields.bytes("inline"))
        } else if fields.has("direct") {
            FileContent::Direct(fields.object("direct", reference))
        } else {
            let manifest = fields.object("manifest", reference);
            FileContent::Manifest { manifest, len: fields.number("len") }
        };
        EntryKind::File { content, executable }
    };
    Entry { name, modified_ms, node }
}
