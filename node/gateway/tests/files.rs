//! The drive's endpoints over a real socket, with the typed client and with requests that no client sends.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Cursor;

use common::{Answer, Node, TOKEN, memory};
use commonhold_client::types::*;
use commonhold_client::{Client, ClientError, FileRead, FileWrite, RemoteFile};
use commonhold_gateway::DriveApi as _;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

async fn all(mut file: RemoteFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.content.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    answer.unwrap_err().code().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_tree_is_listed_searched_and_changed() {
    let node = Node::start().await;
    let (client, drive) = (&node.client, &node.fake.drive);
    for at in 0..2_100 {
        drive.put(&format!("/many/{at:05}"), b"x");
    }
    let page = client.list_page("/many", Some("00009"), Some(2)).await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, page.next.as_deref()), (vec!["00010", "00011"], Some("00011")));
    assert_eq!(client.list_page("/many", None, None).await.unwrap().entries.len(), LIST_DEFAULT);
    let whole = client.list("/many").await.unwrap();
    assert_eq!((whole.entries.len(), whole.next), (2_100, None));

    let info = client.make_folder("/ä/b c/ß").await.unwrap();
    assert_eq!((info.entry.kind, info.entry.path.as_str()), (FileKind::Folder, "/ä/b c/ß"));
    assert_eq!(client.info("/").await.unwrap().children, 2);
    assert_eq!(code(client.info("/nothing").await), "not_found");
    assert_eq!(client.info_if_there("/nothing").await.unwrap(), None);
    assert_eq!(code(client.info("relative").await), "bad_path");
    assert_eq!(code(client.make_folder("/many/00001/x").await), "exists");

    let found = client.find("/", Some("0001"), None, Some(3)).await.unwrap();
    assert_eq!(found.entries.len(), 3);
    let more = client.find("/", Some("0001"), found.next.as_deref(), None).await.unwrap();
    assert!(more.entries[0].path > found.entries[2].path);
    let usage = client.usage("/", true).await.unwrap();
    assert_eq!((usage.files, usage.folders, usage.bytes, usage.children.len()), (2_100, 4, 2_100, 2));

    let to = |from: &str, to: &str| MoveRequest { from: from.into(), to: to.into(), replace: false };
    client.copy_to(&to("/many/00001", "/ä/copy")).await.unwrap();
    assert_eq!(code(client.move_to(&to("/many/00002", "/ä/copy")).await), "exists");
    client.move_to(&to("/ä/copy", "/moved")).await.unwrap();
    assert_eq!(drive.content("/moved").unwrap(), b"x");

    client.remove("/moved", false).await.unwrap();
    client.remove("/many/00003", true).await.unwrap();
    let bin = client.bin().await.unwrap();
    assert_eq!(bin.items.iter().map(|it| &it.path[..]).collect::<Vec<_>>(), ["/moved"]);
    let back = BinRestoreRequest { id: bin.items[0].id.clone(), to: Some("/back".into()) };
    assert_eq!(client.restore_from_bin(&back).await.unwrap().entry.path, "/back");
    assert_eq!(code(client.restore_from_bin(&back).await), "not_found");
    client.remove("/back", false).await.unwrap();
    assert_eq!(client.empty_bin(&BinEmptyRequest::default()).await.unwrap().items, 1);
}

#[tokio::test]
async fn files_go_in_and_come_out_whole_or_in_part() {
    let node = Node::start().await;
    let client = &node.client;
    let content: Vec<u8> = (0..200_000_u32).map(|it| it as u8).collect();
    let write = FileWrite {
        modified_ms: Some(1_500_000_000_123),
        executable: true,
        if_absent: true,
        content_type: Some("text/x-test".into()),
        ..FileWrite::default()
    };
    let len = content.len() as u64;
    let stored = client.store_file("/a/b", &write, len, Cursor::new(content.clone())).await.unwrap();
    assert_eq!(stored.attributes["content-type"], "text/x-test");
    assert_eq!(stored.attributes["etag"], memory::md5_hex(&content));
    assert_eq!((stored.entry.modified_ms, stored.entry.executable), (1_500_000_000_123, true));
    let again = client.store_file("/a/b", &write, len, Cursor::new(content.clone())).await;
    assert_eq!(code(again), "precondition");
    let other = FileWrite { if_content: Some("no such".into()), ..FileWrite::default() };
    assert_eq!(code(client.store_file("/a/b", &other, 1, Cursor::new(b"x")).await), "precondition");
    let same = FileWrite { if_content: Some(stored.content_id.clone()), ..FileWrite::default() };
    let newer = client.store_file("/a/b", &same, 3, Cursor::new(b"new")).await.unwrap();
    assert_eq!(newer.versions, 1);

    let old = FileRead { version: Some(stored.version), ..FileRead::default() };
    assert_eq!(all(client.read_file("/a/b", &old).await.unwrap()).await, content);
    let part = FileRead { range: Some(199_990..u64::MAX), ..old.clone() };
    let file = client.read_file("/a/b", &part).await.unwrap();
    assert_eq!((file.start, file.total, file.version), (199_990, len, stored.version));
    assert_eq!(all(file).await, content[199_990..]);
    let beyond = FileRead { range: Some(len..len + 1), ..old.clone() };
    assert_eq!(code(client.read_file("/a/b", &beyond).await.map(|it| it.total)), "range");
    // What was begun with another content comes whole.
    let stale = FileRead { range: Some(1..3), if_content: Some(stored.content_id), version: None };
    let file = client.read_file("/a/b", &stale).await.unwrap();
    assert_eq!((file.start, file.content_id.clone()), (0, newer.content_id.clone()));
    assert_eq!(all(file).await, b"new");
    let fresh = FileRead { range: Some(1..3), if_content: Some(newer.content_id), version: None };
    assert_eq!(all(client.read_file("/a/b", &fresh).await.unwrap()).await, b"ew");

    let versions = client.versions("/a/b").await.unwrap().versions;
    client.restore_version("/a/b", versions[1].version).await.unwrap();
    assert_eq!(node.fake.drive.content("/a/b").unwrap(), content);
    client.remove_version("/a/b", versions[0].version).await.unwrap();
    assert_eq!(code(client.remove_version("/a/b", versions[0].version).await), "not_found");
}

/// A GET of the path with a header, its status and head.
async fn get(node: &Node, target: &str, header: &str) -> Answer {
    node.request(&format!("GET {target}"), header, "").await
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_http() {
    let node = Node::start().await;
    let info = node.fake.drive.put("/f", b"0123456789");
    node.fake.drive.put("/empty", b"");
    let tag = format!("\"{}\"", info.content_id);
    for (header, status, range, body) in [
        ("", 200, "", "0123456789"),
        ("Range: bytes=2-4\r\n", 206, "bytes 2-4/10", "234"),
        ("Range: bytes=8-100\r\n", 206, "bytes 8-9/10", "89"),
        ("Range: bytes=7-\r\n", 206, "bytes 7-9/10", "789"),
        ("Range: bytes=-3\r\n", 206, "bytes 7-9/10", "789"),
        ("Range: bytes=-30\r\n", 206, "bytes 0-9/10", "0123456789"),
        ("Range: bytes=0-1,4-5\r\n", 200, "", "0123456789"),
        ("Range: bytes=5-4\r\n", 200, "", "0123456789"),
        ("Range: bytes=x\r\n", 200, "", "0123456789"),
        ("Range: items=0-1\r\n", 200, "", "0123456789"),
        ("Range: bytes=0-1\r\nRange: bytes=3-4\r\n", 200, "", "0123456789"),
        ("Range: bytes=0-1\r\nIf-Range: \"other\"\r\n", 200, "", "0123456789"),
    ] {
        let answer = get(&node, "/v1/file?path=/f", header).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{header}");
        assert_eq!(answer.head.contains(&format!("content-range: {range}\r\n")), status == 206, "{header}");
        assert!(answer.head.contains(&format!("content-length: {}\r\n", body.len())), "{header}");
        assert!(answer.head.contains("accept-ranges: bytes\r\n") && answer.head.contains(&tag));
        assert!(answer.head.contains("content-disposition: attachment; filename=\"f\""), "{}", answer.head);
    }
    for (path, header) in [
        ("/f", "bytes=10-"),
        ("/f", "bytes=10-20"),
        ("/f", "bytes=-0"),
        ("/f", "bytes=99999999999999999999999-"),
        ("/empty", "bytes=0-"),
        ("/empty", "bytes=-1"),
    ] {
        let answer = get(&node, &format!("/v1/file?path={path}"), &format!("Range: {header}\r\n")).await;
        let total = if path == "/f" { 10 } else { 0 };
        assert_eq!((answer.status, answer.code().as_str()), (416, "range"), "{path} {header}");
        assert!(answer.head.contains(&format!("content-range: bytes */{total}\r\n")), "{}", answer.head);
    }
    assert_eq!(get(&node, "/v1/file?path=/empty", "").await.status, 200);
    for same in [tag.clone(), format!("\"x\", W/{tag}"), "*".into()] {
        let answer = get(&node, "/v1/file?path=/f", &format!("If-None-Match: {same}\r\n")).await;
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{same}");
        assert!(answer.head.contains(&tag));
    }
    let other = get(&node, "/v1/file?path=/f", "If-None-Match: \"x\"\r\n").await;
    assert_eq!(other.status, 200);
    let both = format!("Range: bytes=1-1\r\nIf-Range: {tag}\r\n");
    assert_eq!(get(&node, "/v1/file?path=/f", &both).await.body, "1");
    assert_eq!(get(&node, "/v1/file?path=/", "").await.code(), "bad_path");
    assert_eq!(get(&node, "/v1/file?path=/f&version=1", "").await.code(), "not_found");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_never_looks_whole() {
    let node = Node::start().await;
    node.fake.drive.put("/f", &vec![7; 1 << 20]);
    node.fake.drive.break_after("/f", 300_000);
    let mut file = node.client.read_file("/f", &FileRead::default()).await.unwrap();
    let mut bytes = Vec::new();
    assert!(file.content.read_to_end(&mut bytes).await.is_err());
    assert!(bytes.len() < 1 << 20);
    node.fake.drive.break_after("/f", 0);
    assert_eq!(
        code(node.client.read_file("/f", &FileRead::default()).await.map(|it| it.total)),
        "unavailable"
    );
}

#[tokio::test]
async fn bodies_of_another_length_are_no_files() {
    let node = Node::start().await;
    let put = |length: &str, body: &str| {
        let request = format!(
            "PUT /v1/file?path=/f HTTP/1.1\r\n{}{length}Connection: close\r\n\r\n{body}",
            node.good_headers()
        );
        let node = &node;
        async move { node.raw(&request).await }
    };
    assert_eq!(put("", "").await.code(), "invalid");
    assert_eq!(put("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n").await.code(), "invalid");
    for bad in
        ["Content-Length: -1\r\n", "Content-Length: 1x\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n"]
    {
        assert_eq!(put(bad, "xy").await.status, 400, "{bad}");
    }
    // The client goes away in the middle.
    {
        use tokio::io::AsyncWriteExt;
        let mut stream = node.connect().await;
        let head =
            format!("PUT /v1/file?path=/f HTTP/1.1\r\n{}Content-Length: 10\r\n\r\nabc", node.good_headers());
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    let failing = tokio_util::io::StreamReader::new(futures::stream::iter([
        Ok(&b"abc"[..]),
        Err(std::io::Error::other("the disk broke")),
    ]));
    let failed = node.client.store_file("/f", &FileWrite::default(), 10, failing).await.unwrap_err();
    assert!(matches!(&failed, ClientError::Io(error) if error.to_string() == "the disk broke"), "{failed:?}");
    assert_eq!(put("Content-Length: 2\r\n", "ab").await.status, 200);
    assert_eq!(node.fake.drive.versions("/f".into()).await.unwrap().versions.len(), 1);
    let strange = format!("Content-Type: {}\r\nContent-Length: 1\r\n", "x".repeat(256));
    assert_eq!(put(&strange, "a").await.code(), "invalid");
}

#[tokio::test]
async fn a_file_comes_in_parts() {
    let node = Node::start().await;
    let client = &node.client;
    let attributes = Attributes::from([("upload-length".into(), "6".into()), ("a".into(), "b".into())]);
    let upload = client.begin_upload(&UploadRequest { path: "/big".into(), attributes }).await.unwrap();
    client.store_part(&upload.id, 2, 3, Cursor::new(b"def")).await.unwrap();
    let part = client.store_part(&upload.id, 1, 3, Cursor::new(b"abc")).await.unwrap();
    assert_eq!((part.bytes, part.md5), (3, memory::md5_hex(b"abc")));
    assert_eq!(client.uploads().await.unwrap().uploads.len(), 1);
    assert_eq!(client.upload(&upload.id).await.unwrap().parts.len(), 2);
    let request = CompleteRequest { parts: vec![1, 2], modified_ms: Some(7), executable: true };
    let info = client.complete_upload(&upload.id, &request).await.unwrap();
    assert_eq!((info.entry.bytes, info.entry.modified_ms, info.entry.executable), (6, 7, true));
    // What the upload alone has to know is not kept with the file.
    assert_eq!(info.attributes, Attributes::from([("a".into(), "b".into())]));
    assert_eq!(node.fake.drive.content("/big").unwrap(), b"abcdef");
    assert_eq!(code(client.upload(&upload.id).await), "not_found");
    let other =
        client.begin_upload(&UploadRequest { path: "/x".into(), ..Default::default() }).await.unwrap();
    client.abort_upload(&other.id).await.unwrap();
    assert_eq!(code(client.abort_upload(&other.id).await), "not_found");
    assert_eq!(
        code(client.begin_upload(&UploadRequest { path: "/".into(), ..Default::default() }).await),
        "bad_path"
    );
    for number in ["0", "10001", "-1", "x", "%31%FF", "99999999999"] {
        let line = format!("PUT /v1/uploads/{}/parts/{number}", upload.id);
        let answer = node.request(&line, "Content-Length: 1\r\n", "x").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{number}");
    }
}

#[tokio::test]
async fn other_histories_links_and_keys() {
    let node = Node::start().await;
    let (client, drive) = (&node.client, &node.fake.drive);
    drive.put("/docs/a", b"1");
    let hash = "ab".repeat(32);
    drive.add_fork(HeadView { hash: hash.clone(), sequence: 3, ..HeadView::default() });
    assert_eq!(client.heads().await.unwrap().forks[0].hash, hash);
    for bad in ["", "ab", "ABABABAB", "abababag", &"ab".repeat(33)] {
        assert_eq!(code(client.merge(bad).await), "invalid");
        assert_eq!(code(client.forget(bad).await), "invalid");
    }
    assert_eq!(code(client.merge("00000000").await), "not_found");
    assert!(client.merge("abababab").await.unwrap().with_ancestor);
    assert_eq!(code(client.forget(&hash).await), "not_found");
    drive.add_risk(AtRisk { path: "/docs/a".into(), margin: -1, advice: "bring providers back".into() });
    assert_eq!(client.check_drive(&CheckRequest::default()).await.unwrap().at_risk_total, 1);
    let repair = CheckRequest { path: Some("/docs".into()), repair: true };
    assert_eq!(client.check_drive(&repair).await.unwrap().repaired_chunks, 1);

    let request =
        ShareRequest { path: "/docs".into(), password: Some("pässwörd".into()), ..Default::default() };
    let share = client.share(&request).await.unwrap();
    assert!(share.password && share.link.contains("#"));
    assert_eq!(client.shares().await.unwrap().shares, std::slice::from_ref(&share));
    assert_eq!(client.unshare(&share.id[..12]).await.unwrap().id, share.id);
    assert_eq!(code(client.unshare(&share.id).await), "not_found");

    let key = client.new_s3_key("backup").await.unwrap();
    let keys = client.s3_keys().await.unwrap().keys;
    assert_eq!(keys, std::slice::from_ref(&key.key));
    assert_eq!(client.remove_s3_key(&key.key.access_key).await.unwrap(), key.key);
    assert_eq!(code(client.remove_s3_key(&key.key.access_key).await), "not_found");
    assert_eq!(code(client.new_s3_key("a\nb").await), "invalid");
    assert_eq!(code(client.new_s3_key(&"x".repeat(129)).await), "invalid");
}

/// A request as a browser makes it: without the token.
async fn browser(node: &Node, target: &str, more: &str) -> Answer {
    let host = node.address;
    node.raw(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")).await
}

async fn ticket(client: &Client, path: &str, inline: bool) -> String {
    client.ticket(&TicketRequest { path: path.into(), version: None, inline }).await.unwrap().url
}

#[tokio::test]
async fn a_ticket_fetches_one_file_without_the_token() {
    let node = Node::start().await;
    node.fake.drive.put("/ä \"x\".html", b"<script>alert(1)</script>");
    node.fake.drive.put("/clip.mp4", b"0123456789");
    let url = ticket(&node.client, "/ä \"x\".html", true).await;
    let answer = browser(&node, &url, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "<script>alert(1)</script>"));
    for header in [
        "content-type: application/octet-stream\r\n",
        "content-disposition: attachment; filename=\"_ _x_.html\"; filename*=utf-8''%c3%a4%20%22x%22.html\r\n",
        "x-content-type-options: nosniff\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(answer.head.contains(header), "{header} {}", answer.head);
    }
    // For saving, it works once.
    let once = ticket(&node.client, "/clip.mp4", false).await;
    assert_eq!(browser(&node, &once, "Range: bytes=0-1\r\n").await.body, "01");
    assert_eq!(browser(&node, &once, "").await.code(), "not_found");
    // A player comes back.
    let player = ticket(&node.client, "/clip.mp4", true).await;
    for _ in 0..3 {
        let answer = browser(&node, &player, "Range: bytes=3-5\r\nSec-Fetch-Site: same-origin\r\n").await;
        assert_eq!((answer.status, answer.body.as_str()), (206, "345"));
        assert!(answer.head.contains("content-type: video/mp4\r\n"), "{}", answer.head);
        assert!(answer.head.contains("content-disposition: inline"), "{}", answer.head);
        assert!(answer.head.contains("content-security-policy: sandbox;"), "{}", answer.head);
    }
    // A folder is an archive.
    node.client.make_folder("/ordner").await.unwrap();
    let answer = browser(&node, &ticket(&node.client, "/ordner", true).await, "").await;
    assert!(
        answer.head.contains("content-disposition: attachment; filename=\"ordner.tar\""),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn a_download_is_counted_and_can_be_ended() {
    let node = Node::start().await;
    let (client, drive) = (&node.client, &node.fake.drive);
    drive.put("/clip.mp4", b"0123456789");
    client.make_folder("/ordner").await.unwrap();
    let begin = async |path: &str| {
        let request = TicketRequest { path: path.into(), ..Default::default() };
        let ticket = client.ticket(&request).await.unwrap();
        (ticket.url, ticket.download.unwrap())
    };
    let view = async |id: &str| {
        let all = client.downloads().await.unwrap().downloads;
        all.into_iter().find(|it| it.id == id).unwrap()
    };
    // One that shows is none.
    let shown = TicketRequest { path: "/clip.mp4".into(), inline: true, ..Default::default() };
    assert_eq!(client.ticket(&shown).await.unwrap().download, None);
    assert_eq!(client.downloads().await.unwrap().downloads, []);

    let (url, id) = begin("/clip.mp4").await;
    let waiting = view(&id).await;
    assert_eq!((waiting.state, waiting.bytes, waiting.sent_bytes), (DownloadState::Waiting, Some(10), 0));
    assert!(!url.contains(&id), "what is listed opens nothing");
    assert_eq!(browser(&node, &url, "").await.body, "0123456789");
    let done = view(&id).await;
    assert_eq!((done.state, done.path.as_str(), done.sent_bytes), (DownloadState::Done, "/clip.mp4", 10));
    assert_eq!(client.cancel_download(&id).await.unwrap(), done, "what has ended stays as it is");

    let (url, id) = begin("/ordner").await;
    assert_eq!((view(&id).await.bytes, view(&id).await.kind), (None, FileKind::Folder));
    browser(&node, &url, "").await;
    assert_eq!((view(&id).await.state, view(&id).await.sent_bytes), (DownloadState::Done, 20 * common::MIB));

    // One that cannot be read, at its beginning and later.
    for after in [0, 4] {
        drive.break_after("/clip.mp4", after);
        let (url, id) = begin("/clip.mp4").await;
        browser(&node, &url, "").await;
        let failed = view(&id).await;
        assert_eq!((failed.state, failed.sent_bytes), (DownloadState::Failed, after));
        assert!(failed.reason.unwrap().contains("chunks can be fetched"));
    }
    drive.break_after("/clip.mp4", 99);

    // One that is cancelled under way is cut, and one that waits is not answered.
    drive.hold_after("/ordner", common::MIB);
    let (url, id) = begin("/ordner").await;
    let cut = async {
        let answer = browser(&node, &url, "").await;
        assert!(!answer.body.ends_with("0\r\n\r\n"), "it looks whole");
    };
    let cancel = async {
        while view(&id).await.sent_bytes < common::MIB {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.cancel_download(&id).await.unwrap().state, DownloadState::Cancelled);
    };
    futures::join!(cut, cancel);
    let (url, id) = begin("/clip.mp4").await;
    client.cancel_download(&id).await.unwrap();
    assert_eq!(browser(&node, &url, "").await.code(), "not_found");
    assert_eq!(code(client.cancel_download(&"0".repeat(32)).await), "not_found");
    // Both need the token.
    assert_eq!(browser(&node, "/v1/downloads", "").await.status, 401);
    let plain =
        format!("DELETE /v1/downloads/{id} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", node.address);
    assert_eq!(node.raw(&plain).await.status, 401);
}

#[tokio::test]
async fn attack_40_a_ticket_opens_nothing_else() {
    let node = Node::start().await;
    node.fake.drive.put("/a.png", b"x");
    assert_eq!(
        code(node.client.ticket(&TicketRequest { path: "/none".into(), ..Default::default() }).await),
        "not_found"
    );
    let old = TicketRequest { path: "/a.png".into(), version: Some(1), inline: false };
    assert_eq!(code(node.client.ticket(&old).await), "not_found");
    let url = ticket(&node.client, "/a.png", true).await;
    let digits = url.rsplit('/').next().unwrap();
    for target in [
        format!("/v1/files?path=/&ticket={digits}"),
        format!("/v1/file?path=/{}", "a".repeat(64)),
        format!("/v1/tickets/{}", &digits[..63]),
        format!("/v1/tickets/{digits}/"),
        format!("/v1/tickets/../tickets/{digits}"),
        format!("//v1/tickets/{digits}"),
        "/v1/tickets".to_owned(),
    ] {
        let answer = browser(&node, &target, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{target}");
    }
    assert_eq!(browser(&node, &format!("/v1/tickets/{}", "0".repeat(64)), "").await.code(), "not_found");
    assert_eq!(browser(&node, &format!("{url}?path=/b"), "").await.code(), "invalid");
    for (more, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
    ] {
        assert_eq!(browser(&node, &url, more).await.status, status, "{more}");
    }
    let port = node.address.port();
    let rebound = format!("GET {url} HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(node.raw(&rebound).await.status, 421);
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        let request =
            format!("{method} {url} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", node.address);
        assert_eq!(node.raw(&request).await.status, 401, "{method}");
    }
    assert_eq!(browser(&node, &url, "").await.body, "x");
    let with_token = node.request(&format!("GET {url}"), "", "").await;
    assert_eq!((with_token.status, with_token.head.contains(TOKEN)), (200, false));
}

#[tokio::test]
async fn parameters_of_the_drive_are_checked() {
    let node = Node::start().await;
    let long = "x".repeat(PATH_LEN_MAX + 1);
    for line in [
        "GET /v1/files?path=/&limit=0".to_owned(),
        "GET /v1/files?path=/&limit=10001".into(),
        "GET /v1/files?path=/&limit=-1".into(),
        format!("GET /v1/files?path=/&after={long}"),
        "GET /v1/files/info".into(),
        "GET /v1/files/find?path=/&limit=0".into(),
        format!("GET /v1/files/find?path=/&name={long}"),
        "GET /v1/files/usage?path=/&children=maybe".into(),
        "DELETE /v1/files?path=/x&forever=1".into(),
        "GET /v1/file?path=/x&version=x".into(),
        "GET /v1/file?path=/x&range=1".into(),
        "PUT /v1/file?path=/x&executable=2".into(),
        "PUT /v1/file?path=/x&if_absent=true&if_content=y".into(),
        "PUT /v1/file?path=/x&modified_ms=1.5".into(),
        "GET /v1/versions".into(),
        "DELETE /v1/versions?path=/x".into(),
        "GET /v1/bin?path=/".into(),
        "GET /v1/uploads/%FF".into(),
        format!("DELETE /v1/shares/{long}"),
    ] {
        let answer = node.request(&line, "", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{line}");
    }
    for (path, body) in [
        ("/v1/folders", r#"{"path": "/x", "more": 1}"#.to_owned()),
        ("/v1/folders", format!(r#"{{"path": "/{long}"}}"#)),
        ("/v1/files/move", r#"{"from": "/x"}"#.into()),
        ("/v1/files/copy", format!(r#"{{"from": "/x", "to": "/{long}"}}"#)),
        ("/v1/bin/empty", r#"{"ids": "all"}"#.into()),
        ("/v1/versions/restore", r#"{"path": "/x", "version": -1}"#.into()),
        ("/v1/uploads/0/complete", r#"{"parts": []}"#.into()),
        ("/v1/uploads/0/complete", r#"{"parts": [2, 1]}"#.into()),
        ("/v1/uploads/0/complete", r#"{"parts": [1, 1]}"#.into()),
        ("/v1/shares", r#"{"path": "/x", "expires": 1}"#.into()),
        ("/v1/drive/check", r#"{"path": 1}"#.into()),
        ("/v1/tickets", r#"{"path": "/x", "inline": "yes"}"#.into()),
    ] {
        let answer = node.post(path, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{path} {body}");
    }
    assert!(node.calls().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any range of any file is what slicing says.
    #[test]
    fn ranges_are_slices(len in 0_usize..3_000, start in 0_u64..4_000, more in 0_u64..4_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = Node::start().await;
            let content: Vec<u8> = (0..len).map(|it| it as u8).collect();
            node.fake.drive.put("/f", &content);
            let read = FileRead { range: Some(start..start + more + 1), ..FileRead::default() };
            match node.client.read_file("/f", &read).await {
                Ok(file) => {
                    let end = usize::try_from(start + more + 1).unwrap().min(len);
                    assert_eq!(all(file).await, content[usize::try_from(start).unwrap()..end]);
                }
                Err(error) => {
                    assert_eq!(error.code(), Some("range"));
                    assert!(start >= len as u64);
                }
            }
        });
    }
}
