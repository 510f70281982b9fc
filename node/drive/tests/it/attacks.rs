//! What a node or a custodian could try, or learn.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

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
