//! The S3 interface over real sockets, with requests that are signed by hand: who may call, what is refused,
//! and what no SDK would send.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/s3.rs"]
mod s3;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use commonhold_client::types::*;
use commonhold_gateway::{ApiFault, DriveApi, RemovedTo, Replaced};
use memory::Memory;
use s3::{ACCESS, Ask, Server, sha256};

async fn started() -> (Arc<Memory>, Server) {
    let drive = Memory::new();
    drive.make_folder("/bucket".into()).await.unwrap();
    let server = Server::start(drive.clone()).await;
    (drive, server)
}

fn put(path: &str, body: &str) -> Ask {
    Ask::new("PUT", path).body(body)
}

fn get(path: &str) -> Ask {
    Ask::new("GET", path)
}

#[tokio::test]
async fn attack_40_nobody_gets_in_without_a_signature_of_a_key() {
    let (drive, server) = started().await;
    drive.put("/bucket/k", b"secret");
    let plain = format!("GET /bucket/k HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
    let wrong = |change: &dyn Fn(&mut Ask)| {
        let mut ask = get("/bucket/k");
        change(&mut ask);
        ask
    };
    assert_eq!(server.send_raw(plain.as_bytes()).await.error(), (403, "AccessDenied".into()));
    let cases = [
        (wrong(&|ask| ask.access = "NOBODY"), (403, "InvalidAccessKeyId")),
        (wrong(&|ask| ask.secret = "not the secret"), (403, "SignatureDoesNotMatch")),
        (wrong(&|ask| ask.ahead = 16 * 60), (403, "RequestTimeTooSkewed")),
        (wrong(&|ask| ask.ahead = -16 * 60), (403, "RequestTimeTooSkewed")),
    ];
    for (ask, (status, code)) in cases {
        assert_eq!(server.send(&ask).await.error(), (status, code.to_owned()));
    }
    for ahead in [-14 * 60, 14 * 60] {
        assert_eq!(server.send(&wrong(&|ask| ask.ahead = ahead)).await.body, b"secret");
    }
    // A signed request for something else, replayed for this.
    let bytes = String::from_utf8(get("/bucket/other").bytes(server.address)).unwrap();
    let moved = bytes.replace("/bucket/other", "/bucket/k");
    assert_eq!(server.send_raw(moved.as_bytes()).await.error(), (403, "SignatureDoesNotMatch".into()));
    let bytes = String::from_utf8(put("/bucket/k", "body").bytes(server.address)).unwrap();
    let other = server.send_raw(bytes.replace("\r\n\r\nbody", "\r\n\r\nBODY").as_bytes()).await;
    assert_eq!(other.error(), (400, "XAmzContentSHA256Mismatch".into()));
    assert_eq!(drive.content("/bucket/k").unwrap(), b"secret");
    server.stop().await;
}

#[tokio::test]
async fn attack_40_old_signatures_and_forms_are_refused() {
    let (_, server) = started().await;
    let host = server.address;
    let ends = "connection: close\r\ncontent-length: 0\r\n\r\n";
    for request in [
        format!(
            "GET /bucket HTTP/1.1\r\nhost: {host}\r\nauthorization: AWS {ACCESS}:c2ln\r\ndate: x\r\n{ends}"
        ),
        format!(
            "GET /bucket?AWSAccessKeyId={ACCESS}&Signature=x&Expires=9999999999 HTTP/1.1\r\nhost: {host}\r\n{ends}"
        ),
        format!(
            "POST /bucket HTTP/1.1\r\nhost: {host}\r\ncontent-type: Multipart/Form-Data; boundary=x\r\n{ends}"
        ),
    ] {
        assert_eq!(
            server.send_raw(request.as_bytes()).await.error(),
            (501, "NotImplemented".into()),
            "{request}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn presigned_urls_are_good_for_what_they_name_and_no_longer() {
    let (drive, server) = started().await;
    drive.put("/bucket/a b", b"by url");
    let fetch = |target: String| {
        let server = &server;
        async move {
            let text =
                format!("GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
            server.send_raw(text.as_bytes()).await
        }
    };
    let url = get("/bucket/a b").presigned(server.address, 60);
    let answer = fetch(url.clone()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"by url"[..]));
    assert_eq!(answer.headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(fetch(url.replace("a%20b", "a%20c")).await.error(), (403, "SignatureDoesNotMatch".into()));
    let longer = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    assert_eq!(fetch(longer).await.error(), (403, "SignatureDoesNotMatch".into()));
    let mut old = get("/bucket/a b");
    old.ahead = -120;
    assert_eq!(fetch(old.presigned(server.address, 60)).await.error(), (403, "AccessDenied".into()));
    assert_eq!(fetch(old.presigned(server.address, 600)).await.status, 200);
    let early = Ask { ahead: 16 * 60, ..get("/bucket/a b") };
    assert_eq!(fetch(early.presigned(server.address, 6000)).await.error().0, 403);
    // Headers that are repeated in the URL are not passed over.
    let hoisted = get("/bucket/a b").query("x-amz-acl", "public-read").presigned(server.address, 60);
    assert_eq!(fetch(hoisted).await.error(), (501, "NotImplemented".into()));
    server.stop().await;
}

#[tokio::test]
async fn attack_24_keys_lead_nowhere_else() {
    let (drive, server) = started().await;
    drive.put("/private/file", b"private");
    drive.put("/loose.txt", b"loose");
    for key in
        ["../private/file", "./x", "a/../../private/file", "a//b", "/x", "x/../", "a\u{202e}", "a\u{1}"]
    {
        let path = format!("/bucket/{key}");
        let refused = server.send(&put(&path, "x")).await;
        assert_eq!(refused.error(), (400, "InvalidArgument".into()), "{key:?}");
        assert_eq!(server.send(&get(&path)).await.error(), (404, "NoSuchKey".into()), "{key:?}");
        assert_eq!(server.send(&Ask::new("DELETE", &path)).await.status, 204, "{key:?}");
        let copy = put("/bucket/copied", "").header(
            "x-amz-copy-source",
            &format!("/bucket/{key}").replace('\u{1}', "%01").replace('\u{202e}', "%E2%80%AE"),
        );
        assert!(server.send(&copy).await.status >= 400, "{key:?}");
    }
    assert_eq!(
        server.send(&put(&format!("/bucket/{}", "x".repeat(256)), "")).await.error().1,
        "KeyTooLongError"
    );
    assert_eq!(
        server.send(&put(&format!("/bucket/{}", "ab/".repeat(400)), "")).await.error().1,
        "KeyTooLongError"
    );
    // What is no bucket cannot be reached at all.
    for path in ["/loose.txt", "/..", "/Upper-Case", "/ab"] {
        assert!(server.send(&get(path)).await.status >= 400, "{path}");
        assert!(server.send(&put(path, "")).await.status >= 400, "{path}");
    }
    assert_eq!(drive.content("/private/file").unwrap(), b"private");
    let names: Vec<_> = server.send(&get("/")).await.all("Name");
    assert_eq!(names, ["bucket", "private"]);
    server.stop().await;
}

#[tokio::test]
async fn a_file_and_a_folder_cannot_have_one_name() {
    let (drive, server) = started().await;
    assert_eq!(server.send(&put("/bucket/a", "file")).await.status, 200);
    assert_eq!(server.send(&put("/bucket/a/b", "x")).await.error(), (409, "KeyConflict".into()));
    assert_eq!(server.send(&put("/bucket/a/", "")).await.error(), (409, "KeyConflict".into()));
    assert_eq!(server.send(&put("/bucket/d/b", "x")).await.status, 200);
    assert_eq!(server.send(&put("/bucket/d", "x")).await.error(), (409, "KeyConflict".into()));
    assert_eq!(server.send(&put("/bucket/d/", "content")).await.error(), (400, "InvalidArgument".into()));
    // Removing the key `d` is not removing what is below it, and the other way round.
    assert_eq!(server.send(&Ask::new("DELETE", "/bucket/d")).await.status, 204);
    assert_eq!(server.send(&Ask::new("DELETE", "/bucket/d/")).await.status, 204);
    assert_eq!(server.send(&Ask::new("DELETE", "/bucket/a/")).await.status, 204);
    assert_eq!(server.send(&Ask::new("DELETE", "/bucket/a/b")).await.status, 204);
    assert_eq!(drive.content("/bucket/d/b").unwrap(), b"x");
    assert_eq!(drive.content("/bucket/a").unwrap(), b"file");
    server.stop().await;
}

/// An aws-chunked body with a checksum behind the data, unsigned chunks.
fn chunked(data: &[u8], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for part in data.chunks(65_536) {
        body.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    body
}

fn with_trailer(path: &str, data: &[u8], trailer: &str) -> Ask {
    let mut ask = put(path, "")
        .body(chunked(data, trailer))
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &data.len().to_string());
    ask.payload = Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    ask
}

#[tokio::test]
async fn checksums_behind_the_data_are_verified_and_kept() {
    let (drive, server) = started().await;
    let large = vec![0_u8; 700_000];
    // CRC-32 of "123456789" and of 700,000 zero bytes, from zlib.
    for (data, sum) in [(&b"123456789"[..], "y/Q5Jg=="), (&large[..], "syIsnQ==")] {
        let asked = with_trailer("/bucket/t", data, &format!("x-amz-checksum-crc32:{sum}"));
        let answer = server.send(&asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-amz-checksum-crc32"], sum);
        let got = server.send(&get("/bucket/t").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!((got.headers["x-amz-checksum-crc32"].as_str(), &got.body[..]), (sum, data));
        assert_eq!(got.headers["x-amz-checksum-type"], "FULL_OBJECT");
        assert_eq!(got.headers["etag"], format!("\"{}\"", memory::md5_hex(data)));
        assert!(!got.headers.contains_key("content-encoding"), "aws-chunked is not the object's");
        for trailer in ["x-amz-checksum-crc32:AAAAAA==", "x-amz-checksum-crc32:"] {
            let answer = server.send(&with_trailer("/bucket/bad", data, trailer)).await;
            assert_eq!(answer.error(), (400, "BadDigest".into()), "{trailer}");
        }
        let silent = server.send(&with_trailer("/bucket/bad", data, "")).await;
        assert!((400..500).contains(&silent.status));
        assert!(drive.content("/bucket/bad").is_none());
    }
    assert!(drive.uploads().await.unwrap().uploads.is_empty(), "no upload is left behind");
    server.stop().await;
}

#[tokio::test]
async fn what_breaks_off_is_not_stored() {
    let (drive, server) = started().await;
    drive.put("/bucket/k", b"before");
    for size in [10_usize, 400_000] {
        let data = vec![7_u8; size];
        let mut bytes = put("/bucket/k", "").body(data.clone()).bytes(server.address);
        bytes.truncate(bytes.len() - 1);
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
        drop(stream);
        let wrong_md5 = put("/bucket/k", "").body(data).header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(server.send(&wrong_md5).await.error(), (400, "BadDigest".into()));
    }
    assert_eq!(drive.content("/bucket/k").unwrap(), b"before");
    let no_md5 = put("/bucket/k", "x").header("content-md5", "abc");
    assert_eq!(server.send(&no_md5).await.error(), (400, "InvalidDigest".into()));
    server.stop().await;
}

#[tokio::test]
async fn attack_37_a_body_that_was_not_asked_for_is_not_read_from_the_next_request() {
    let (drive, server) = started().await;
    drive.put("/bucket/k", b"before");
    let refused = put("/bucket/a//b", "x").header("expect", "100-continue").bytes(server.address);
    let refused = String::from_utf8(refused).unwrap().replace("connection: close\r\n", "");
    // The client sends no body, because it was refused, and goes on with another request.
    let head = refused.strip_suffix('x').unwrap();
    let next = get("/bucket/k").bytes(server.address);
    let (first, after) = server.send_in_two(head.as_bytes(), &next).await;
    assert!(first.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&first));
    // Nobody can tell what comes next, so the connection is closed, and the client told.
    let first = String::from_utf8(first).unwrap().to_ascii_lowercase();
    assert!(first.contains("\r\nconnection: close\r\n"), "{first}");
    assert!(after.is_empty(), "{}", String::from_utf8_lossy(&after));
    // So it is when there is no body at all: some clients do not see that the answer was whole.
    let empty = put("/bucket/empty", "").header("expect", "100-continue").bytes(server.address);
    let empty = String::from_utf8(empty).unwrap().replace("connection: close\r\n", "");
    let (first, after) = server.send_in_two(empty.as_bytes(), &next).await;
    let first = String::from_utf8(first).unwrap().to_ascii_lowercase();
    assert!(first.starts_with("http/1.1 200") && first.contains("\r\nconnection: close\r\n"), "{first}");
    assert!(after.is_empty());
    // One that is taken is asked for.
    let taken = put("/bucket/k", "after").header("expect", "100-continue").bytes(server.address);
    let taken = String::from_utf8(taken).unwrap();
    let (first, after) = server.send_in_two(taken.strip_suffix("after").unwrap().as_bytes(), b"after").await;
    assert_eq!(first, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(after.starts_with(b"HTTP/1.1 200"));
    assert_eq!(drive.content("/bucket/k").unwrap(), b"after");
    server.stop().await;
}

#[tokio::test]
async fn a_download_that_fails_midway_does_not_look_whole() {
    let (drive, server) = started().await;
    drive.put("/bucket/k", &vec![1; 300_000]);
    drive.break_after("/bucket/k", 100_000);
    let answer = server.send(&get("/bucket/k")).await;
    assert_eq!(answer.headers["content-length"], "300000");
    assert!(answer.body.len() < 300_000);
    server.stop().await;
}

#[tokio::test]
async fn files_that_came_another_way_have_etags_and_types() {
    let (drive, server) = started().await;
    drive.put("/bucket/by hand", b"hand");
    drive.set_attributes("/bucket/by hand".into(), Attributes::new()).await.unwrap();
    let id = drive.info("/bucket/by hand".into()).await.unwrap().content_id;
    let got = server.send(&get("/bucket/by hand")).await;
    assert_eq!(got.headers["etag"], format!("\"{id}-1\""));
    assert_eq!(got.headers["content-type"], "binary/octet-stream");
    let evil = Attributes::from([
        ("content-type".to_owned(), "text/html\r\nx-evil: 1".to_owned()),
        ("s3-meta".to_owned(), r#"{"ok":"1","a b":"2","c":"d\r\ne: f"}"#.to_owned()),
        ("s3-tags".to_owned(), "not json".to_owned()),
        ("s3-checksum".to_owned(), "CRC32 FULL_OBJECT x\r\ny".to_owned()),
    ]);
    drive.set_attributes("/bucket/by hand".into(), evil).await.unwrap();
    let got = server.send(&get("/bucket/by hand").header("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!(
        (got.status, got.headers.get("x-evil"), got.headers["x-amz-meta-ok"].as_str()),
        (200, None, "1")
    );
    assert_eq!(server.send(&get("/bucket/by hand").query("tagging", "")).await.all("Tag").len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn overwritten_and_removed_objects_are_gone_without_versioning_and_kept_with_it() {
    let (drive, server) = started().await;
    for body in ["one", "two"] {
        server.send(&put("/bucket/dir/k", body)).await;
    }
    assert_eq!(drive.info("/bucket/dir/k".into()).await.unwrap().versions, 0);
    server.send(&Ask::new("DELETE", "/bucket/dir/k")).await;
    assert!(drive.bin().await.unwrap().items.is_empty());
    assert_eq!(drive.info("/bucket/dir".into()).await.unwrap_err().code, "not_found");
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(server.send(&put("/bucket", on).query("versioning", "")).await.status, 200);
    for body in ["one", "two"] {
        let answer = server.send(&put("/bucket/dir/k", body)).await;
        assert!(answer.headers.contains_key("x-amz-version-id"));
    }
    assert_eq!(drive.info("/bucket/dir/k".into()).await.unwrap().versions, 1);
    server.send(&Ask::new("DELETE", "/bucket/dir/k")).await;
    assert_eq!(drive.bin().await.unwrap().items.len(), 1);
    assert_eq!(server.send(&get("/bucket/dir/k")).await.error(), (404, "NoSuchKey".into()));
    server.stop().await;
}

#[tokio::test]
async fn removal_is_conditional_where_it_is_asked_to_be() {
    let (drive, server) = started().await;
    drive.put("/bucket/k", b"x");
    let etag = format!("\"{}\"", memory::md5_hex(b"x"));
    let remove = |etag: &str| Ask::new("DELETE", "/bucket/k").header("if-match", etag);
    assert_eq!(server.send(&remove("\"y\"")).await.error(), (412, "PreconditionFailed".into()));
    assert_eq!(server.send(&remove(&etag)).await.status, 204);
    assert_eq!(server.send(&remove(&etag)).await.error(), (404, "NoSuchKey".into()));
    server.stop().await;
}

#[tokio::test]
async fn attack_25_bodies_and_counts_are_bounded() {
    let (_, server) = started().await;
    let objects = "<Object><Key>k</Key></Object>".repeat(1001);
    let many = Ask::new("POST", "/bucket").query("delete", "").body(format!("<Delete>{objects}</Delete>"));
    assert_eq!(server.send(&many).await.error(), (400, "MalformedXML".into()));
    let huge = Ask::new("POST", "/bucket").query("delete", "").body(vec![b' '; 9 << 20]);
    assert_eq!(server.send(&huge).await.error(), (400, "MaxMessageLengthExceeded".into()));
    for (name, value) in [("max-keys", "-1"), ("encoding-type", "gzip")] {
        assert_eq!(server.send(&get("/bucket").query(name, value)).await.status, 400, "{name}");
    }
    for body in
        ["", "<Delete>", "<!DOCTYPE x [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>"]
    {
        let broken = Ask::new("POST", "/bucket").query("delete", "").body(body);
        assert!((400..500).contains(&server.send(&broken).await.status), "{body}");
    }
    server.stop().await;
}

/// A drive that fails.
struct Failing(&'static str, AtomicU64);

macro_rules! failing {
    ($($method:ident($($name:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl DriveApi for Failing {
            $(fn $method(&self, $($name: $kind),*) -> commonhold_gateway::Answer<'_, $answer> {
                $(let _ = $name;)*
                self.1.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Err(ApiFault::new(self.0, "it failed")) })
            })*
        }
    };
}

use commonhold_gateway::{ArchiveReader, NewFile, OnlyIf, OpenFile};
failing! {
    info(path: String) -> FileInfo;
    list_page(path: String, after: Option<String>, limit: usize) -> Listing;
    infos(path: String, after: Option<String>, limit: usize) -> (Vec<FileInfo>, bool);
    find(path: String, name: Option<String>, after: Option<String>, limit: usize) -> Found;
    open(path: String, version: Option<u64>, range: Option<std::ops::Range<u64>>) -> OpenFile;
    store(file: NewFile, content: ArchiveReader) -> FileInfo;
    make_folder(path: String) -> FileInfo;
    set_attributes(path: String, attributes: Attributes) -> FileInfo;
    set_attributes_if(path: String, attributes: Attributes, only_if: OnlyIf) -> FileInfo;
    move_to(request: MoveRequest) -> FileInfo;
    copy_to(request: MoveRequest, version: Option<u64>, attributes: Option<Attributes>, replaced: Replaced) -> FileInfo;
    remove_to(path: String, to: RemovedTo) -> Removed;
    remove_file(path: String, to: RemovedTo, only_if: OnlyIf) -> Removed;
    remove_empty_folder(path: String) -> Removed;
    bin() -> BinView;
    restore_from_bin(request: BinRestoreRequest) -> FileInfo;
    empty_bin(request: BinEmptyRequest) -> BinEmptied;
    versions(path: String) -> VersionsView;
    restore_version(request: RestoreVersionRequest) -> FileInfo;
    remove_version(path: String, version: u64) -> ();
    usage(path: String, children: bool) -> UsageView;
    heads() -> HeadsView;
    merge(hash: String) -> Merged;
    forget(hash: String) -> ();
    begin() -> ();
    check_drive(request: CheckRequest) -> CheckReport;
    begin_upload(request: UploadRequest) -> UploadView;
    uploads() -> UploadsView;
    upload(id: String) -> UploadView;
    store_part(id: String, number: u32, len: u64, content: ArchiveReader) -> PartView;
    copy_part(id: String, number: u32, from: String, version: Option<u64>, range: Option<std::ops::Range<u64>>) -> PartView;
    complete_upload(id: String, request: CompleteRequest, attributes: Attributes, only_if: OnlyIf, replaced: Replaced) -> FileInfo;
    abort_upload(id: String) -> ();
    shares() -> SharesView;
    share(request: ShareRequest) -> ShareView;
    unshare(id: String) -> ShareView;
}

#[tokio::test]
async fn faults_of_the_drive_are_told_as_clients_understand_them() {
    for (fault, status, code) in [
        ("unavailable", 503, "ServiceUnavailable"),
        ("busy", 503, "SlowDown"),
        ("quota", 507, "InsufficientStorage"),
        ("stopping", 503, "ServiceUnavailable"),
        ("io", 500, "InternalError"),
    ] {
        let server = Server::start(Arc::new(Failing(fault, AtomicU64::new(0)))).await;
        for ask in [get("/bucket/k"), put("/bucket/k", "x"), Ask::new("DELETE", "/bucket/k"), get("/")] {
            assert_eq!(server.send(&ask).await.error(), (status, code.to_owned()), "{fault}");
        }
        server.stop().await;
    }
    assert_eq!(sha256(b"").len(), 64);
}
