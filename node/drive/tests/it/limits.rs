//! Memory and sizes stay bounded whatever is put.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::support::*;
use tokio::io::{AsyncRead, ReadBuf};

/// A tar stream of one file, made as it is read.
struct Generated {
    head: std::io::Cursor<Vec<u8>>,
    left: u64,
    tail: std::io::Cursor<Vec<u8>>,
}

impl Generated {
    fn new(name: &str, len: u64) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_size(len);
        header.set_mode(0o644);
        header.set_cksum();
        Self {
            head: std::io::Cursor::new(header.as_bytes().to_vec()),
            left: len.next_multiple_of(512),
            tail: std::io::Cursor::new(vec![0; 1024]),
        }
    }
}

impl AsyncRead for Generated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.head).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        if self.left > 0 {
            let len = buffer.remaining().min(usize::try_from(self.left).unwrap());
            buffer.initialize_unfilled_to(len).fill(b'g');
            buffer.advance(len);
            self.left -= len as u64;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tail).poll_read(cx, buffer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_25_a_large_stream_needs_bounded_memory() {
    let bench = bench_with(2, 6).await;
    // Data segments are thrown away, folders and manifests are kept. Slow providers, so that
    // everything that may be on its way is.
    bench.custody.discard_from.store(1 << 20, Ordering::SeqCst);
    bench.custody.keep_delay_ms.store(30, Ordering::SeqCst);
    let len = 256 << 20;
    let report = bench.drive.put_archive(&path("/"), None, Generated::new("big", len)).await.unwrap();
    assert_eq!((report.bytes, report.warnings.len()), (len, 0));
    let listing = bench.drive.list(&path("/big"), None, usize::MAX).await.unwrap().0;
    assert_eq!(listing[0].bytes, len);
    let peak = bench.custody.in_flight_peak.load(Ordering::SeqCst);
    assert!(peak <= 48 << 20, "{peak} coded bytes were on their way at a time");
    assert!(peak >= 12 << 20, "only {peak} coded bytes were on their way at a time");
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn many_small_files_do_not_all_stand_in_their_folder() {
    let bench = bench().await;
    let all: Tree = (0..600u64).map(|at| (format!("d/{at:04}"), file(noise(1000, at)))).collect();
    bench.put("/", &all).await;
    bench.custody.record.store(true, Ordering::SeqCst);
    // One more file costs the folder, and that is far from 600 kB.
    bench.put("/d", &tree([("one-more", file(noise(1000, 1000)))])).await;
    let received: u32 = bench.custody.received.lock().unwrap().iter().map(|(len, _)| len).sum();
    assert!(received < 450_000, "{received} bytes");
    let back = bench.get("/d").await;
    assert_eq!(back.len(), 602);
    assert_eq!(back["d/0599"], file(noise(1000, 599)));
    assert_eq!(back["d/one-more"], file(noise(1000, 1000)));
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn a_folder_may_be_larger_than_a_segment() {
    let bench = bench_with(1, 3).await;
    let long = "x".repeat(230);
    let all: Tree = (0..6000u64).map(|at| (format!("d/{at:05}-{long}"), file(at.to_be_bytes()))).collect();
    bench.put("/", &all).await;
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    assert_eq!(other.list(&path("/d"), None, usize::MAX).await.unwrap().0.len(), 6000);
    bench.assert_no_litter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_a_hundred_thousand_entries_changes_in_a_few_pages() {
    const ENTRIES: usize = 100_000;
    let bench = bench().await;
    let all: Tree = (0..ENTRIES).map(|at| (format!("d/file-{at:06}.txt"), file("x"))).collect();
    bench.put("/", &all).await;
    // A device that has seen nothing of it yet.
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    let info = other.info(&path("/d")).await.unwrap();
    assert_eq!((info.children, info.files, info.bytes), (100_000, 100_000, 100_000));
    let begun = std::time::Instant::now();
    let (listed, more) = other.list(&path("/d"), None, usize::MAX).await.unwrap();
    println!("{ENTRIES} entries listed in {} ms", begun.elapsed().as_millis());
    assert_eq!((listed.len(), more), (ENTRIES, false));
    // One name of it needs a handful of pages.
    let begun = std::time::Instant::now();
    assert_eq!(other.info(&path("/d/file-077777.txt")).await.unwrap().bytes, 1);
    println!("one entry found in {} us", begun.elapsed().as_micros());
    bench.custody.record.store(true, Ordering::SeqCst);
    bench.store("/d/file-050000.txt", b"changed").await;
    let sent: u32 = bench.custody.received.lock().unwrap().iter().map(|(len, _)| *len).sum();
    println!("one entry changed by {sent} bytes");
    assert!(sent < 40_000, "{sent} bytes");
}
