//! What a node or a custodian could try, or learn.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use commonhold_format::ids::ChunkId;
use commonhold_format::segment::Segment;

use crate::support::*;

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn attack_17_nothing_that_leaves_shows_bytes_names_or_exact_sizes() {
    let marker = b"MARKER-IN-CONTENT-";
    for len in [100usize, 5000, 300_000, 3 << 20] {
        let mut seen = Vec::new();
        // Two lengths that differ, but not in what a node may know of them.
        for less in [0, 3] {
            let bench = bench().await;
            bench.custody.record.store(true, Ordering::SeqCst);
            let content: Vec<u8> = marker.iter().copied().cycle().take(len - less).collect();
            bench.put("/", &tree([("marker-folder/marker-name.txt", file(content))])).await;
            let received = bench.custody.received.lock().unwrap();
            let head = bytes::Bytes::from(bench.board.head.lock().unwrap().clone().unwrap());
            let leaving = received.iter().flat_map(|(_, chunks)| chunks).chain([&head]);
            for bytes in leaving {
                for secret in [&marker[..], b"marker-folder", b"marker-name", b"KERMAR"] {
                    assert!(!contains(bytes, secret));
                }
            }
            // Segments on their way at a time arrive in any order.
            let mut lens: Vec<u32> = received.iter().map(|(len, _)| *len).collect();
            lens.sort_unstable();
            seen.push(lens);
        }
        assert_eq!(seen[0], seen[1], "the exact length shows");
    }
}

#[tokio::test]
async fn attack_18_the_same_file_never_has_the_same_ciphertext() {
    let bench = bench().await;
    bench.custody.record.store(true, Ordering::SeqCst);
    for name in ["a", "b"] {
        bench.put("/", &tree([(name, file(vec![0; 3 << 20]))])).await;
    }
    let received = bench.custody.received.lock().unwrap();
    let chunks: Vec<&bytes::Bytes> = received.iter().flat_map(|(_, chunks)| chunks).collect();
    let distinct: HashSet<&bytes::Bytes> = chunks.iter().copied().collect();
    assert_eq!(chunks.len(), distinct.len());
}

async fn refused(bench: &Bench, lie: Lie) {
    *bench.custody.lie.lock().unwrap() = Some(lie);
    let dir = tempfile::tempdir().unwrap();
    let fresh = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    for _ in 0..2 {
        let error = read(&fresh, "/").await.map(|bytes| bytes.len()).unwrap_err();
        assert_eq!(code_of(&error), "damaged");
    }
    *bench.custody.lie.lock().unwrap() = None;
    // One that keeps nothing of what it was told.
    let dir = tempfile::tempdir().unwrap();
    let fresh = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    read(&fresh, "/").await.unwrap();
}

#[tokio::test]
async fn attack_1_altered_data_end_the_stream_with_an_error() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(5 << 20, 1))), ("b", file(noise(9000, 2)))])).await;
    for at in [0, 70_000, usize::MAX] {
        refused(
            &bench,
            Box::new(move |_, mut chunks| {
                let mut bytes = chunks[0].1.to_vec();
                let last = bytes.len() - 64;
                bytes[at.min(last)] ^= 1;
                chunks[0].1 = bytes.into();
                chunks
            }),
        )
        .await;
    }
}

#[tokio::test]
async fn attack_2_swapped_segments_end_the_stream_with_an_error() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(6 << 20, 1))), ("b", file(noise(6 << 20, 2)))])).await;
    // Every full segment is answered with the data of one and the same other.
    let full: Vec<_> = {
        let segments = bench.custody.segments.lock().unwrap();
        segments.values().filter(|segment| segment.len == 2 << 20).cloned().collect()
    };
    assert_eq!(full.len(), 6);
    let held = bench.custody.chunks.lock().unwrap().clone();
    for other in full {
        let held = held.clone();
        refused(
            &bench,
            Box::new(move |segment, chunks| {
                if segment.len != other.len {
                    return chunks;
                }
                let swapped =
                    chunks.iter().map(|(at, _)| (*at, held[&other.chunks[usize::from(*at)]].clone()));
                swapped.collect()
            }),
        )
        .await;
    }
}

#[tokio::test]
async fn attack_3_short_and_surplus_chunks_end_the_stream_with_an_error() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(5 << 20, 1)))])).await;
    refused(
        &bench,
        Box::new(|_, mut chunks| {
            let len = chunks[0].1.len() - 64;
            chunks[0].1.truncate(len);
            chunks
        }),
    )
    .await;
    refused(
        &bench,
        Box::new(|_, mut chunks| {
            chunks.truncate(1);
            chunks
        }),
    )
    .await;
    refused(&bench, Box::new(|_, chunks| chunks.iter().map(|(_, bytes)| (0, bytes.clone())).collect())).await;
}

#[tokio::test]
async fn attack_4_zeros_in_place_of_data_are_refused() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(vec![0; 5 << 20]))])).await;
    assert_eq!(bench.get("/a").await, tree([("a", file(vec![0; 5 << 20]))]));
    refused(
        &bench,
        Box::new(|_, mut chunks| {
            for (_, bytes) in &mut chunks {
                *bytes = vec![0; bytes.len()].into();
            }
            chunks
        }),
    )
    .await;
}

type Held = HashMap<ChunkId, bytes::Bytes>;

/// Answers each segment of the drive by each donor of the same length. Whatever comes out is the truth or
/// `damaged`; gives how often it was refused.
async fn only_the_truth(bench: &Bench, donors: &[Segment], held: &Held) -> usize {
    let truth = bench.get("/").await;
    let targets: Vec<Segment> = bench.custody.segments.lock().unwrap().values().cloned().collect();
    let mut refused = 0;
    for target in &targets {
        let like = |donor: &&Segment| {
            donor.id() != target.id() && donor.chunk_len() == target.chunk_len() && donor.code == target.code
        };
        for donor in donors.iter().filter(like) {
            let (id, donor, held) = (target.id(), donor.clone(), held.clone());
            *bench.custody.lie.lock().unwrap() = Some(Box::new(move |asked, chunks| {
                if asked.id() != id {
                    return chunks;
                }
                let given = |at: u8| held[&donor.chunks[usize::from(at)]].clone();
                chunks.iter().map(|(at, _)| (*at, given(*at))).collect()
            }));
            let dir = tempfile::tempdir().unwrap();
            let fresh = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
            match read(&fresh, "/").await {
                Ok(archive) => assert_eq!(unpack(&archive), truth),
                Err(error) => {
                    assert_eq!(code_of(&error), "damaged");
                    refused += 1;
                }
            }
        }
    }
    *bench.custody.lie.lock().unwrap() = None;
    refused
}

/// What a custodian has, before it is told to forget something.
fn all_of(bench: &Bench) -> (Vec<Segment>, Held) {
    let segments = bench.custody.segments.lock().unwrap().values().cloned().collect();
    (segments, bench.custody.chunks.lock().unwrap().clone())
}

#[tokio::test]
async fn attack_5_what_was_sealed_under_keys_of_a_nodes_choosing_is_refused() {
    let (bench, forger) = (bench().await, bench().await);
    // The node knows a drive of the same shape, down to every length, and has all of its keys.
    for (bench, seed) in [(&bench, 1), (&forger, 9)] {
        bench.put("/", &tree([("d/a", file(noise(9000, seed))), ("d/b", file(noise(9000, seed + 1)))])).await;
        bench.put("/", &tree([("e/c", file(noise(3 << 20, seed + 2)))])).await;
    }
    let (donors, held) = all_of(&forger);
    assert!(only_the_truth(&bench, &donors, &held).await >= 4);
}

#[tokio::test]
async fn attack_7_everything_that_does_not_open_is_the_same_error() {
    let bench = bench().await;
    bench.store("/a", &noise(100_000, 1)).await;
    let len = bench.custody.segments.lock().unwrap().values().map(|it| it.chunk_len()).max().unwrap();
    let mut told = HashSet::new();
    for at in [0, 15, 16, len / 2, len - 17] {
        for bits in [1, 0x80, 0xff] {
            *bench.custody.lie.lock().unwrap() = Some(Box::new(move |segment, mut chunks| {
                if segment.chunk_len() == len {
                    let mut bytes = chunks[0].1.to_vec();
                    bytes[at] ^= bits;
                    chunks[0].1 = bytes.into();
                }
                chunks
            }));
            let dir = tempfile::tempdir().unwrap();
            let fresh = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
            // Padding behind the last record is not looked at.
            if let Err(error) = read(&fresh, "/a").await {
                assert_eq!(code_of(&error), "damaged");
                told.insert(error.to_string());
            }
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn attack_9_a_file_of_an_older_tree_is_not_injected() {
    let bench = bench().await;
    bench.put("/", &tree([("d/a", file(noise(9000, 1))), ("d/gone", file(noise(9000, 2)))])).await;
    let (mut donors, mut held) = all_of(&bench);
    // The same names and lengths again, so that pages and segments of both trees are alike.
    bench.drive.remove(&path("/d"), false, true).await.unwrap();
    bench.put("/", &tree([("d/a", file(noise(9000, 3))), ("d/stay", file(noise(9000, 4)))])).await;
    donors.retain(|old| !bench.custody.ids().contains(&old.id()));
    assert!(!donors.is_empty());
    held.extend(bench.custody.chunks.lock().unwrap().clone());
    assert!(only_the_truth(&bench, &donors, &held).await >= 2);
}

#[tokio::test]
async fn attack_10_files_and_folders_do_not_change_places() {
    let bench = bench().await;
    // Each put has segments of its own, so every folder's page and every file can be given for another's.
    for (name, seed) in [("one/f", 1), ("two/f", 2), ("ten/f", 3)] {
        bench.put("/", &tree([(name, file(noise(300_000, seed)))])).await;
    }
    let (donors, held) = all_of(&bench);
    assert!(only_the_truth(&bench, &donors, &held).await >= 6);
}
