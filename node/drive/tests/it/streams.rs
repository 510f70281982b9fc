//! Archives that are cut, broken, hostile or merely unusual.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::*;
use commonhold_drive::PutReport;
use tokio::io::{AsyncRead, ReadBuf};

#[tokio::test]
async fn attack_3_an_archive_cut_at_any_block_leaves_the_old_tree() {
    let bench = bench().await;
    bench.put("/", &tree([("old", file("old"))])).await;
    let long = "l".repeat(150);
    let mut new = tree([("old", file("new")), ("d", folder()), ("d/x", file(noise(6000, 1)))]);
    new.insert(format!("d/{long}"), file("long name"));
    let archive = pack(&new);
    let ends = (0..archive.len()).step_by(512).chain([1, 511, 513, archive.len() - 1]);
    for end in ends {
        let error = bench.try_put("/", archive[..end].to_vec()).await.unwrap_err();
        assert_eq!(error.code(), "interrupted", "cut at {end}: {error}");
        assert_eq!(bench.get("/old").await, tree([("old", file("old"))]));
        assert_eq!(bench.names("/").await, ["old"]);
    }
    bench.try_put("/", archive).await.unwrap();
    assert_eq!(bench.names("/").await, ["d", "old"]);
}

/// Gives its bytes and then an error.
struct Failing(std::io::Cursor<Vec<u8>>);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Err(std::io::Error::other("the connection was reset")));
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_interrupted_even_after_the_last_entry() {
    let bench = bench().await;
    let archive = pack(&tree([("a", file(noise(5000, 1)))]));
    for end in [0, 700, archive.len() - 1024, archive.len() - 512, archive.len()] {
        let stream = Failing(std::io::Cursor::new(archive[..end].to_vec()));
        let error = bench.drive.put_archive(&path("/"), None, stream).await.unwrap_err();
        assert_eq!(error.code(), "interrupted", "failed at {end}");
        assert!(error.to_string().contains("reset"));
        assert!(bench.names("/").await.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_grew_while_it_was_read_is_told() {
    let bench = bench().await;
    let mut archive = pack(&tree([("log", file(vec![b'x'; 1000])), ("z", file("z"))]));
    // Some more of the file where the next entry should begin.
    archive.splice(1536..1536, vec![b'x'; 512]);
    let error = bench.try_put("/", archive).await.unwrap_err();
    assert_eq!(error.code(), "changed");
    assert!(error.to_string().contains("log"), "{error}");
    assert!(bench.names("/").await.is_empty());
}

#[tokio::test]
async fn what_follows_the_end_must_be_nothing() {
    let bench = bench().await;
    let archive = pack(&tree([("a", file("a"))]));
    let mut padded = archive.clone();
    padded.resize(10 << 10, 0);
    bench.try_put("/padded", padded).await.unwrap();
    let mut trailing = archive.clone();
    trailing.extend_from_slice(b"and something else");
    assert_eq!(bench.try_put("/", trailing).await.unwrap_err().code(), "bad_archive");
    // A lone zero block, with which some archivers end and others go on.
    let mut lone = archive.clone();
    lone.truncate(archive.len() - 512);
    lone.extend_from_slice(&archive);
    assert_eq!(bench.try_put("/", lone).await.unwrap_err().code(), "bad_archive");
    let mut endless = archive.clone();
    endless.resize(3 << 20, 0);
    assert_eq!(bench.try_put("/", endless).await.unwrap_err().code(), "bad_archive");
    assert_eq!(bench.try_put("/", b"PK\x03\x04".repeat(500)).await.unwrap_err().code(), "bad_archive");
    assert_eq!(bench.names("/").await, ["padded"]);
}

/// A raw entry, so that names can be what no honest program writes.
fn raw(name: &[u8], kind: tar::EntryType, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

async fn put_raw(bench: &Bench, entries: &[Vec<u8>]) -> PutReport {
    let mut archive = entries.concat();
    archive.resize(archive.len() + 1024, 0);
    bench.try_put("/", archive).await.unwrap()
}

#[tokio::test]
async fn attack_24_names_that_climb_or_hide_are_left_out() {
    let bench = bench().await;
    let file = tar::EntryType::Regular;
    let bad: [&[u8]; 11] = [
        b"../escape",
        b"a/../../escape",
        b"/etc/passwd",
        b"..",
        b"bad/\xff\xfe",
        "bidi\u{202e}gpj.exe".as_bytes(),
        b"new\nline",
        b"esc\x1b[2J",
        b"a/b/../c",
        b"del\x7f",
        b"./",
    ];
    let mut entries: Vec<Vec<u8>> = bad.iter().map(|name| raw(name, file, b"x")).collect();
    entries.push(raw(b"good", file, b"good"));
    let report = put_raw(&bench, &entries).await;
    assert_eq!(bench.names("/").await, ["good"], "{:?}", report.skipped);
    assert_eq!((report.files, report.skipped.len()), (1, bad.len()));
    for skipped in &report.skipped {
        assert!(!skipped.why.is_empty());
        assert!(!skipped.path.chars().any(char::is_control), "{:?}", skipped.path);
    }
}

#[tokio::test]
async fn attack_24_duplicates_are_left_out() {
    let bench = bench().await;
    let file = tar::EntryType::Regular;
    let report = put_raw(
        &bench,
        &[
            raw(b"a", file, b"first"),
            raw(b"./a", file, b"second"),
            raw(b"a/below", file, b"x"),
            raw(b"a/", tar::EntryType::Directory, b""),
            raw(b"d/", tar::EntryType::Directory, b""),
            raw(b"d/", tar::EntryType::Directory, b""),
            raw(b"d", file, b"x"),
        ],
    )
    .await;
    assert_eq!(bench.get("/a").await.len(), 1);
    let Thing::File { bytes, .. } = &bench.get("/a").await["a"] else { panic!() };
    assert_eq!(bytes, b"first");
    assert_eq!(bench.names("/").await, ["a", "d"]);
    assert_eq!((report.files, report.folders, report.skipped.len()), (1, 1, 4));
}

#[tokio::test]
async fn links_and_devices_are_left_out_with_their_data() {
    let bench = bench().await;
    use tar::EntryType as Type;
    let report = put_raw(
        &bench,
        &[
            raw(b"sym", Type::Symlink, b""),
            raw(b"hard", Type::Link, b""),
            raw(b"null", Type::Char, b""),
            raw(b"disk", Type::Block, b""),
            raw(b"pipe", Type::Fifo, b""),
            raw(b"sparse", Type::GNUSparse, &[b'x'; 700]),
            raw(b"unknown", Type::new(b'Q'), &[b'x'; 700]),
            raw(b"comment", Type::XGlobalHeader, b"18 comment=hello\n\n"),
            raw(b"contiguous", Type::Continuous, b"kept"),
            raw(b"kept", Type::Regular, b"kept"),
        ],
    )
    .await;
    assert_eq!(bench.names("/").await, ["contiguous", "kept"]);
    assert_eq!(report.skipped.len(), 7);
    assert!(report.skipped[0].why.contains("symbolic link"));
}

#[tokio::test]
async fn attack_25_depth_is_bounded() {
    let bench = bench().await;
    let deep = format!("{}x", "d/".repeat(200));
    let mut archive = tar::Builder::new(Vec::new());
    for name in [deep.as_str(), "fine"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        archive.append_data(&mut header, name, &b"x"[..]).unwrap();
    }
    let report = bench.try_put("/", archive.into_inner().unwrap()).await.unwrap();
    assert_eq!(report.skipped.len(), 1);
    assert_eq!(bench.names("/").await, ["fine"]);
    // Just deep enough alone, too deep below another folder.
    let deep: Tree = [("d/".repeat(60) + "x", file("x"))].into();
    bench.put("/", &deep).await;
    let report = bench.try_put("/a/b/c/d", pack(&deep)).await.unwrap();
    assert_eq!(report.skipped.len(), 1);
}

#[tokio::test]
async fn pax_names_times_and_lengths_are_kept() {
    let bench = bench().await;
    let name = format!("{}/{}", "p".repeat(200), "ü".repeat(100));
    let data = noise(5000, 1);
    let mut archive = tar::Builder::new(Vec::new());
    let len = data.len().to_string();
    archive
        .append_pax_extensions([
            ("path", name.as_bytes()),
            ("mtime", b"1700000000.123456"),
            ("size", len.as_bytes()),
        ])
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    // As large files have it: the length stands in the extension alone.
    header.set_size(0);
    header.set_cksum();
    archive.get_mut().extend_from_slice(header.as_bytes());
    archive.get_mut().extend_from_slice(&data);
    let padded = archive.get_ref().len().next_multiple_of(512);
    archive.get_mut().resize(padded, 0);
    bench.try_put("/", archive.into_inner().unwrap()).await.unwrap();
    let listing = bench.drive.list(&path(&format!("/{name}")), None, 10).await.unwrap().0;
    assert_eq!((listing[0].bytes, listing[0].modified_ms), (5000, 1_700_000_000_123));
    let Thing::File { bytes, .. } = &bench.get(&format!("/{}", "p".repeat(200))).await[&name] else {
        panic!()
    };
    assert_eq!(*bytes, data);
}

#[tokio::test]
async fn an_empty_archive_changes_nothing() {
    let bench = bench().await;
    let report = bench.try_put("/nowhere", vec![0; 1024]).await.unwrap();
    assert!(report.stored.is_empty());
    assert_eq!(bench.drive.status().await.sequence, 0);
}
