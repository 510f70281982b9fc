//! The drive in memory that other tests stand on keeps what `DriveApi` promises.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;

use std::io::Cursor;

use commonhold_client::types::*;
use commonhold_gateway::{DriveApi, NewFile, OnlyIf, RemovedTo, Replaced};
use memory::{FIND_LOOKS_MAX, Memory, md5_hex};
use tokio::io::AsyncReadExt;

async fn read(drive: &Memory, path: &str, version: Option<u64>) -> Vec<u8> {
    let mut file = drive.open(path.into(), version, None).await.unwrap();
    let mut bytes = Vec::new();
    file.content.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn moved(from: &str, to: &str, replace: bool) -> MoveRequest {
    MoveRequest { from: from.into(), to: to.into(), replace }
}

#[tokio::test]
async fn versions_conditions_and_attributes() {
    let drive = Memory::new();
    let first = drive.put("/docs/a.txt", b"one");
    assert_eq!(first.attributes["etag"], md5_hex(b"one"));
    let new = |only_if| NewFile { path: "/docs/a.txt".into(), len: 3, only_if, ..NewFile::default() };
    let refused = drive.store(new(OnlyIf::Absent), Box::pin(Cursor::new(b"two"))).await.unwrap_err();
    assert_eq!(refused.code, "precondition");
    let second = drive
        .store(new(OnlyIf::Content(first.content_id.clone())), Box::pin(Cursor::new(b"two")))
        .await
        .unwrap();
    assert!(second.version > first.version && second.versions == 1);
    let short = drive.store(new(OnlyIf::Always), Box::pin(Cursor::new(b"2"))).await.unwrap_err();
    let long = drive.store(new(OnlyIf::Always), Box::pin(Cursor::new(b"2222"))).await.unwrap_err();
    assert_eq!((short.code, long.code), ("changed", "changed"));
    assert_eq!(read(&drive, "/docs/a.txt", Some(first.version)).await, b"one");
    let request = RestoreVersionRequest { path: "/docs/a.txt".into(), version: first.version };
    let restored = drive.restore_version(request).await.unwrap();
    assert!(restored.version > second.version);
    assert_eq!((restored.versions, restored.content_id), (2, first.content_id));
    assert_eq!(read(&drive, "/docs/a.txt", None).await, b"one");
    drive.remove_version("/docs/a.txt".into(), second.version).await.unwrap();
    assert_eq!(drive.versions("/docs/a.txt".into()).await.unwrap().versions.len(), 2);
    let current = drive.remove_version("/docs/a.txt".into(), restored.version).await.unwrap_err();
    assert_eq!(current.code, "invalid");
    let attributes = Attributes::from([("content-type".into(), "text/plain".into())]);
    let info = drive.set_attributes("/docs/a.txt".into(), attributes.clone()).await.unwrap();
    assert_eq!((info.attributes, info.version), (attributes, restored.version));
}

#[tokio::test]
async fn pages_follow_the_order_of_bytes() {
    let drive = Memory::new();
    for name in ["b", "a!", "a", "é", "Z"] {
        drive.put(&format!("/x/{name}/leaf"), b"");
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = drive.list_page("/x".into(), after, 2).await.unwrap();
        names.extend(page.entries.iter().map(|it| it.name.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["Z", "a", "a!", "b", "é"]);
    let found = drive.find("/x".into(), Some("LEAF".into()), None, 2).await.unwrap();
    assert_eq!(found.entries[1].path, "/x/a/leaf");
    let found = drive.find("/x".into(), Some("LEAF".into()), found.next, 9).await.unwrap();
    assert_eq!(
        found.entries.iter().map(|it| &it.path[..]).collect::<Vec<_>>(),
        ["/x/a!/leaf", "/x/b/leaf", "/x/é/leaf"]
    );
    assert!(found.next.is_none());
    for at in 0..FIND_LOOKS_MAX {
        drive.put(&format!("/x/many/{at:05}"), b"");
    }
    let found = drive.find("/".into(), Some("é".into()), None, 9).await.unwrap();
    assert!(found.entries.is_empty() && found.next.is_some());
}

#[tokio::test]
async fn moves_copies_and_the_bin() {
    let drive = Memory::new();
    drive.put("/a/one", b"1");
    drive.put("/a/two", b"22");
    assert_eq!(drive.move_to(moved("/a", "/a/b", false)).await.unwrap_err().code, "bad_path");
    assert_eq!(drive.move_to(moved("/a/one", "/a/two", false)).await.unwrap_err().code, "exists");
    assert_eq!(drive.move_to(moved("/a/none", "/b", false)).await.unwrap_err().code, "not_found");
    let info = drive.move_to(moved("/a/one", "/a/two", true)).await.unwrap();
    assert_eq!((info.versions, info.entry.bytes), (1, 1));
    let copy = drive.copy_to(moved("/a", "/b/c", false), None, None, Replaced::Kept).await.unwrap();
    assert_eq!((copy.files, copy.children), (1, 1));
    assert_eq!(drive.versions("/b/c/two".into()).await.unwrap().versions.len(), 1);
    let refused = drive.remove_empty_folder("/a".into()).await.unwrap_err();
    assert_eq!(refused.code, "exists");
    drive.remove_to("/a".into(), RemovedTo::Bin).await.unwrap();
    assert_eq!(drive.info("/a".into()).await.unwrap_err().code, "not_found");
    let item = drive.bin().await.unwrap().items.remove(0);
    drive.put("/a", b"a file now");
    let back = |to: Option<&str>| BinRestoreRequest { id: item.id.clone(), to: to.map(Into::into) };
    assert_eq!(drive.restore_from_bin(back(None)).await.unwrap_err().code, "exists");
    drive.restore_from_bin(back(Some("/back"))).await.unwrap();
    assert_eq!(read(&drive, "/back/two", None).await, b"1");
    drive.remove_to("/back".into(), RemovedTo::Bin).await.unwrap();
    assert_eq!(drive.empty_bin(BinEmptyRequest::default()).await.unwrap().files, 1);
    assert!(drive.bin().await.unwrap().items.is_empty());
}

#[tokio::test]
async fn parts_become_a_file() {
    let drive = Memory::new();
    let attributes = Attributes::from([("upload-length".into(), "4".into())]);
    let upload = drive.begin_upload(UploadRequest { path: "/big".into(), attributes }).await.unwrap();
    for (number, bytes) in [(2, &b"cd"[..]), (1, b"xx"), (1, b"ab")] {
        let part = drive.store_part(upload.id.clone(), number, 2, Box::pin(bytes)).await.unwrap();
        assert_eq!(part.md5, md5_hex(bytes));
    }
    let complete = |parts: &[u32]| {
        let request = CompleteRequest { parts: parts.into(), ..CompleteRequest::default() };
        let attributes = Attributes::from([("s3-x".into(), "y".into())]);
        drive.complete_upload(upload.id.clone(), request, attributes, OnlyIf::Absent, Replaced::Kept)
    };
    for bad in [&[][..], &[2, 1], &[1, 1], &[1, 3]] {
        assert_eq!(complete(bad).await.unwrap_err().code, "invalid");
    }
    let info = complete(&[1, 2]).await.unwrap();
    assert_eq!(info.attributes.keys().collect::<Vec<_>>(), ["s3-x"]);
    assert_eq!(read(&drive, "/big", None).await, b"abcd");
    assert_eq!(complete(&[1]).await.unwrap_err().code, "not_found");
}

#[tokio::test]
async fn links_end_and_are_found_by_their_first_digits() {
    let drive = Memory::new();
    drive.put("/a", b"1");
    let request = ShareRequest { path: "/a".into(), expires_seconds: Some(60), ..ShareRequest::default() };
    let share = drive.share(request).await.unwrap();
    assert!(share.link.contains("/s/") && share.link.contains('#'));
    let mistaken = ShareRequest { path: "/a".into(), drop_box: true, ..ShareRequest::default() };
    assert_eq!(drive.share(mistaken).await.unwrap_err().code, "bad_path");
    drive.remove_to("/a".into(), RemovedTo::Nowhere).await.unwrap();
    assert!(drive.shares().await.unwrap().shares[0].problem.is_some());
    assert_eq!(drive.unshare("abc".into()).await.unwrap_err().code, "invalid");
    assert_eq!(drive.unshare(share.id[..8].into()).await.unwrap().id, share.id);
    assert_eq!(drive.unshare(share.id).await.unwrap_err().code, "not_found");
}
