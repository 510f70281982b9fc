//! What is put comes back, to the byte, the bit and the second.

use std::sync::atomic::Ordering;

use crate::support::*;
use commonhold_drive::ListKind;

/// Around every boundary: inline, record, segment.
const SIZES: [usize; 13] = [
    0,
    1,
    4096,
    4097,
    65_519,
    65_520,
    65_521,
    (2 << 20) - 1,
    2 << 20,
    (2 << 20) + 1,
    5 << 20,
    131_040,
    131_041,
];

fn everything() -> Tree {
    let long = "n".repeat(200);
    let mut all = tree([
        ("photos", Thing::Folder { modified: 1_111_111_111 }),
        ("photos/empty", folder()),
        ("photos/été", folder()),
        ("photos/été/😀 ü.txt", file("grüße")),
        ("photos/run", Thing::File { bytes: b"#!/bin/sh\n".to_vec(), executable: true, modified: 5 }),
        ("photos/deep/a/b/c", file("under folders that have no entries of their own")),
    ]);
    all.insert(format!("photos/{long}"), folder());
    all.insert(format!("photos/{long}/{long}.bin"), file(noise(9000, 3)));
    for (at, size) in SIZES.into_iter().enumerate() {
        all.insert(format!("photos/size-{size}"), file(noise(size, at as u64 + 10)));
    }
    all
}

#[tokio::test]
async fn a_folder_comes_back_as_it_was() {
    let bench = bench().await;
    let all = everything();
    let report = bench.put("/", &all).await;
    assert_eq!(report.stored, ["/photos"]);
    assert_eq!(report.files, SIZES.len() as u64 + 4);
    assert_eq!(report.folders, 4);
    let bytes: usize = all
        .values()
        .map(|thing| match thing {
            Thing::File { bytes, .. } => bytes.len(),
            Thing::Folder { .. } => 0,
        })
        .sum();
    assert_eq!(report.bytes, bytes as u64);
    assert!(report.skipped.is_empty());

    let mut back = bench.get("/photos").await;
    // These had no entries in the archive, so their times are those of the put.
    for implied in ["photos/deep", "photos/deep/a", "photos/deep/a/b"] {
        assert!(matches!(back.remove(implied), Some(Thing::Folder { .. })));
    }
    assert_eq!(back, all);
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn one_file_comes_back_under_its_own_name() {
    let bench = bench().await;
    bench.put("/", &everything()).await;
    for size in SIZES {
        let back = bench.get(&format!("/photos/size-{size}")).await;
        assert_eq!(back.len(), 1);
        let Thing::File { bytes, .. } = &back[&format!("size-{size}")] else { panic!() };
        let at = SIZES.iter().position(|other| *other == size).unwrap();
        assert_eq!(*bytes, noise(size, at as u64 + 10));
    }
    let root = bench.get("/").await;
    assert!(root.contains_key("photos/run"));
}

#[tokio::test]
async fn a_listing_tells_what_is_there() {
    let bench = bench().await;
    bench.put("/", &everything()).await;
    let listing = bench.drive.list(&path("/photos"), None, usize::MAX).await.unwrap().0;
    assert!(listing.is_sorted_by(|a, b| a.name().as_bytes() < b.name().as_bytes()));
    let run = listing.iter().find(|entry| entry.name() == "run").unwrap();
    assert_eq!((run.kind, run.bytes, run.modified_ms, run.executable), (ListKind::File, 10, 5000, true));
    assert_eq!(run.path, path("/photos/run"));
    let empty = listing.iter().find(|entry| entry.name() == "empty").unwrap();
    assert_eq!((empty.kind, empty.bytes, empty.modified_ms), (ListKind::Folder, 0, 1_600_000_000_000));
    let itself = bench.drive.list(&path("/photos/run"), None, usize::MAX).await.unwrap().0;
    assert_eq!(itself.len(), 1);
    assert_eq!(itself[0], *run);
    for missing in ["/nothing", "/photos/nothing", "/photos/run/nothing"] {
        assert_eq!(bench.drive.list(&path(missing), None, 10).await.unwrap_err().code(), "not_found");
        assert_eq!(code_of(&read(&bench.drive, missing).await.unwrap_err()), "not_found");
    }
}

#[tokio::test]
async fn an_empty_drive_lists_nothing() {
    let bench = bench().await;
    assert!(bench.names("/").await.is_empty());
    assert!(bench.get("/").await.is_empty());
    assert_eq!(bench.drive.status().await.sequence, 0);
    assert_eq!(bench.drive.list(&path("/a"), None, 10).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_file_of_many_segments_has_a_manifest() {
    // One MiB to the segment: more extents than an entry carries.
    let bench = bench_with(1, 3).await;
    let all = tree([("big", file(noise((11 << 20) + 17, 1))), ("small", file(noise(20_000, 2)))]);
    bench.put("/", &all).await;
    assert_eq!(bench.get("/").await, all);
    bench.assert_no_litter().await;
    // A fresh device finds the same.
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    assert_eq!(unpack(&read(&other, "/").await.unwrap()), all);
    assert_eq!(other.walk().await.unwrap(), bench.custody.ids());
    bench.drive.remove(&path("/big"), false, true).await.unwrap();
    bench.assert_no_litter().await;
    assert_eq!(bench.names("/").await, ["small"]);
}

#[tokio::test]
async fn four_of_six_chunks_may_be_lost() {
    let bench = bench().await;
    let all = everything();
    bench.put("/", &all).await;
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    bench.custody.lose(4);
    assert_eq!(unpack(&read(&other, "/photos").await.unwrap()).len(), all.len() + 3);
    let dir = tempfile::tempdir().unwrap();
    let third = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    third.usage(&path("/")).await.unwrap();
    bench.custody.lose(5);
    // Folders are known here, data are not: the stream begins and ends with an error.
    let error = read(&third, "/photos").await.map(|bytes| bytes.len()).unwrap_err();
    assert_eq!(code_of(&error), "unavailable");
    // For one file that is said before anything is sent.
    let error = third.get_archive(&path("/photos/size-4097"), None).await.err().unwrap();
    assert_eq!(error.code(), "unavailable");
}

#[tokio::test]
async fn neighbours_share_segments_and_their_fetches() {
    let bench = bench().await;
    let all: Tree = (0..200).map(|at| (format!("d/{at:03}"), file(noise(6000, at)))).collect();
    let report = bench.put("/", &all).await;
    assert!(report.segments <= 4, "{} segments for 1.2 MB", report.segments);
    bench.custody.fetches.store(0, Ordering::SeqCst);
    let back = bench.get("/d").await;
    assert_eq!(back.len(), 201);
    assert!(bench.custody.fetches.load(Ordering::SeqCst) <= 2);
}
