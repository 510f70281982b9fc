//! Two devices that write at the same time: both histories are kept, and a merge loses nothing of either.

use std::sync::atomic::Ordering;

use crate::support::*;
use commonhold_drive::Drive;

/// A second device of the same owner.
struct Twin {
    _dir: tempfile::TempDir,
    drive: Drive,
}

async fn twin(bench: &Bench) -> Twin {
    let dir = tempfile::tempdir().unwrap();
    let drive = open(dir.path(), &bench.custody.of_another_device(), &bench.board).await.unwrap();
    Twin { _dir: dir, drive }
}

async fn store(drive: &Drive, to: &str, text: &str) {
    let file = crate::files::new_file(to, text.len());
    drive.store(file, std::io::Cursor::new(text.as_bytes().to_vec())).await.unwrap();
    // What is done in the background is done then, or has failed.
    let _ = drive.republish().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn remove(drive: &Drive, at: &str) {
    drive.remove(&path(at), true, true).await.unwrap();
}

async fn paths(drive: &Drive) -> Vec<String> {
    let (found, _) = drive.find(&path("/"), None, 1000, |_| true).await.unwrap();
    found
        .into_iter()
        .filter(|info| info.files == 1 && info.children == 0)
        .map(|info| info.path.to_string())
        .collect()
}

#[tokio::test]
async fn a_merge_keeps_both_and_resurrects_nothing() {
    let bench = bench().await;
    for name in [
        "both",
        "edited-here",
        "edited-there",
        "edited-in-both",
        "gone-here",
        "gone-there",
        "gone-there-edited-here",
    ] {
        store(&bench.drive, &format!("/d/{name}"), "old").await;
    }
    bench.drive.republish().await.unwrap();
    let twin = twin(&bench).await;
    // The two go on from the same state without hearing of each other.
    bench.board.silent.store(true, Ordering::SeqCst);
    for (name, text) in [
        ("edited-here", "here"),
        ("edited-in-both", "here"),
        ("gone-there-edited-here", "here"),
        ("new-here", "here"),
    ] {
        store(&bench.drive, &format!("/d/{name}"), text).await;
    }
    remove(&bench.drive, "/d/gone-here").await;
    for (name, text) in [("edited-there", "there"), ("edited-in-both", "there"), ("new-there", "there")] {
        store(&twin.drive, &format!("/d/{name}"), text).await;
    }
    store(&twin.drive, "/other/deep/file", "there").await;
    remove(&twin.drive, "/d/gone-there").await;
    remove(&twin.drive, "/d/gone-there-edited-here").await;
    // Announced at last, one after the other.
    bench.board.silent.store(false, Ordering::SeqCst);
    twin.drive.republish().await.unwrap();
    bench.drive.refresh().await.unwrap();
    let status = bench.drive.status().await;
    assert_eq!(status.forks.len(), 1, "{status:?}");
    let fork = status.forks[0].hash;
    let merged = bench.drive.merge(&fork).await.unwrap();
    assert!(merged.with_ancestor);
    assert!(bench.drive.status().await.forks.is_empty());
    let here = paths(&bench.drive).await;
    for name in [
        "both",
        "edited-here",
        "edited-there",
        "edited-in-both",
        "gone-there-edited-here",
        "new-here",
        "new-there",
    ] {
        assert!(here.contains(&format!("/d/{name}")), "{name} is missing of {here:?}");
    }
    assert!(here.contains(&"/other/deep/file".to_owned()));
    assert!(
        !here.iter().any(|path| path.ends_with("/gone-here") || path.ends_with("/gone-there")),
        "{here:?}"
    );
    assert_eq!(here.iter().filter(|path| path.contains("edited-in-both")).count(), 2, "{here:?}");
    assert_eq!(merged.conflicts.len(), 1);
    let bin: Vec<String> = bench.drive.bin().await.unwrap().into_iter().map(|item| item.path).collect();
    assert!(bin.contains(&"/d/gone-there".to_owned()) && bin.contains(&"/d/gone-here".to_owned()), "{bin:?}");
    // The other device takes the merged history for its own, and has nothing left to merge.
    bench.drive.republish().await.unwrap();
    twin.drive.refresh().await.unwrap();
    twin.drive.forget_contained().await;
    assert!(twin.drive.status().await.forks.is_empty());
    assert_eq!(paths(&twin.drive).await, here);
}

#[tokio::test]
async fn attack_12_a_device_that_comes_back_brings_nothing_back() {
    let bench = bench().await;
    store(&bench.drive, "/kept", "kept").await;
    store(&bench.drive, "/gone", "gone").await;
    bench.drive.republish().await.unwrap();
    let twin = twin(&bench).await;
    // The other device writes once, and is not heard of for long.
    bench.board.silent.store(true, Ordering::SeqCst);
    store(&twin.drive, "/late", "late").await;
    bench.board.silent.store(false, Ordering::SeqCst);
    for round in 0..20 {
        store(&bench.drive, "/kept", &format!("round {round}")).await;
        bench.drive.republish().await.unwrap();
    }
    remove(&bench.drive, "/gone").await;
    bench.drive.republish().await.unwrap();
    twin.drive.refresh().await.unwrap();
    let status = twin.drive.status().await;
    assert_eq!(status.forks.len(), 1);
    twin.drive.merge(&status.forks[0].hash).await.unwrap();
    assert_eq!(paths(&twin.drive).await, ["/kept", "/late"]);
}
