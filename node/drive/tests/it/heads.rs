//! Reopening, other devices, rollback and forks.

use std::sync::atomic::Ordering;

use crate::support::*;
use commonhold_drive::{Drive, DriveError};
use commonhold_format::keys::RootSecret;

fn published(bench: &Bench) -> Vec<u8> {
    bench.board.head.lock().unwrap().clone().unwrap()
}

#[tokio::test]
async fn the_drive_is_there_after_a_restart() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(10_000, 1)))])).await;
    bench.put("/", &tree([("b", file("b"))])).await;
    // Without any board: from the directory alone.
    bench.board.silent.store(true, Ordering::SeqCst);
    let again = open(bench.dir.path(), &bench.custody, &bench.board).await.unwrap();
    let status = again.status().await;
    assert_eq!((status.sequence, status.published), (2, true));
    assert_eq!(status.warnings.len(), 1, "the search failed: {:?}", status.warnings);
    assert_eq!(unpack(&read(&again, "/").await.unwrap()).len(), 2);
}

#[tokio::test]
async fn a_fresh_device_finds_the_drive() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(10_000, 1)))])).await;
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    assert_eq!(other.status().await.sequence, 1);
    assert_eq!(unpack(&read(&other, "/").await.unwrap()), tree([("a", file(noise(10_000, 1)))]));
    // What the second device writes, the first one finds.
    let archive = std::io::Cursor::new(pack(&tree([("b", file("b"))])));
    other.put_archive(&path("/"), None, archive).await.unwrap();
    bench.drive.refresh().await.unwrap();
    assert_eq!(bench.names("/").await, ["a", "b"]);
    assert!(bench.drive.status().await.forks.is_empty());
}

#[tokio::test]
async fn a_head_that_could_not_be_announced_is_announced_later() {
    let bench = bench().await;
    bench.board.silent.store(true, Ordering::SeqCst);
    let archive = pack(&tree([("a", file("a"))]));
    let report = bench.try_put("/", archive).await.unwrap();
    assert!(!report.warnings.is_empty());
    let status = bench.drive.status().await;
    assert!(!status.published && status.sequence == 1 && !status.warnings.is_empty());
    assert!(bench.board.head.lock().unwrap().is_none());
    bench.board.silent.store(false, Ordering::SeqCst);
    assert!(bench.drive.republish().await.unwrap());
    assert!(bench.board.head.lock().unwrap().is_some());
    let status = bench.drive.status().await;
    assert!(status.published && status.warnings.is_empty());
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn what_the_announced_head_needs_is_kept_until_the_next_is_announced() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(10_000, 1)))])).await;
    bench.board.read_only.store(true, Ordering::SeqCst);
    bench.drive.remove(&path("/a"), false, true).await.unwrap();
    // Somebody with the phrase alone still finds a whole drive.
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    assert_eq!(unpack(&read(&other, "/").await.unwrap()).len(), 1);
    bench.board.read_only.store(false, Ordering::SeqCst);
    assert!(bench.drive.republish().await.unwrap());
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn attack_11_a_rolled_back_head_is_ignored() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file("a"))])).await;
    let old = published(&bench);
    bench.put("/", &tree([("b", file("b"))])).await;
    *bench.board.head.lock().unwrap() = Some(old.clone());
    bench.drive.refresh().await.unwrap();
    assert_eq!(bench.names("/").await, ["a", "b"]);
    let again = open(bench.dir.path(), &bench.custody, &bench.board).await.unwrap();
    assert_eq!(again.status().await.sequence, 2);
    assert!(again.status().await.forks.is_empty());
}

#[tokio::test]
async fn attack_11_two_histories_are_both_kept_and_told() {
    let bench = bench().await;
    bench.put("/", &tree([("common", file(noise(9000, 1)))])).await;
    // A second device writes while neither sees the other.
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    bench.board.silent.store(true, Ordering::SeqCst);
    let there = pack(&tree([("there", file(noise(9000, 2)))]));
    other.put_archive(&path("/"), None, std::io::Cursor::new(there)).await.unwrap();
    bench.board.silent.store(false, Ordering::SeqCst);
    bench.put("/", &tree([("here", file(noise(9000, 3)))])).await;
    bench.drive.remove(&path("/common"), false, true).await.unwrap();
    // The other device sees a higher head that does not continue its own.
    other.refresh().await.unwrap();
    let status = other.status().await;
    assert_eq!((status.sequence, status.forks.len()), (3, 1));
    assert_eq!(status.forks[0].sequence, 2);
    assert!(!status.warnings.is_empty());

    // The same sequence with other bytes: the one here stays, the other is kept.
    let twin_dir = tempfile::tempdir().unwrap();
    let twin = open(twin_dir.path(), &bench.custody, &bench.board).await.unwrap();
    bench.board.silent.store(true, Ordering::SeqCst);
    twin.put_archive(&path("/"), None, std::io::Cursor::new(pack(&tree([("twin", file("t"))]))))
        .await
        .unwrap();
    bench.board.silent.store(false, Ordering::SeqCst);
    bench.put("/", &tree([("mine", file("m"))])).await;
    let mine = published(&bench);
    twin.refresh().await.unwrap();
    let status = twin.status().await;
    assert_eq!((status.sequence, status.forks.len()), (4, 1));
    assert_eq!(status.forks[0].sequence, 4);
    let names: Vec<String> = twin
        .list(&path("/"), None, usize::MAX)
        .await
        .unwrap()
        .0
        .into_iter()
        .map(|entry| entry.name().to_owned())
        .collect();
    assert_eq!(names, ["here", "twin"], "nothing was merged");
    assert_eq!(published(&bench), mine);
    // Still known after a restart, once; and given up only when asked.
    drop(twin);
    let twin = open(twin_dir.path(), &bench.custody, &bench.board).await.unwrap();
    let forks = twin.status().await.forks;
    assert_eq!(forks.len(), 1);
    assert!(!twin.forget_fork(&[0; 32]).await.unwrap());
    assert!(twin.forget_fork(&forks[0].hash).await.unwrap());
    assert!(twin.status().await.forks.is_empty());
}

#[tokio::test]
async fn attack_11_a_forks_data_are_not_deleted() {
    let bench = bench().await;
    bench.put("/", &tree([("common", file(noise(9000, 1)))])).await;
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    // Two devices part while they see neither each other nor the providers' contracts.
    bench.custody.retain_fails.store(true, Ordering::SeqCst);
    bench.board.silent.store(true, Ordering::SeqCst);
    let there = pack(&tree([("there", file(noise(9000, 2)))]));
    other.put_archive(&path("/"), None, std::io::Cursor::new(there)).await.unwrap();
    bench.try_put("/", pack(&tree([("here", file(noise(9000, 3)))]))).await.unwrap();
    bench.drive.remove(&path("/common"), false, true).await.unwrap();
    bench.board.silent.store(false, Ordering::SeqCst);
    other.republish().await.unwrap_err();
    assert_eq!(other.status().await.sequence, 2);

    // This device meets the other history only after it has gone further itself: an older head, and all the
    // same one that has what this device has not.
    bench.drive.refresh().await.unwrap();
    assert_eq!(bench.drive.status().await.forks.len(), 1);
    other.put_archive(&path("/"), None, std::io::Cursor::new(pack(&tree([("x", file("x"))])))).await.unwrap();
    bench.drive.refresh().await.unwrap();
    let forks = bench.drive.status().await.forks;
    assert_eq!(forks.len(), 1);
    bench.custody.retain_fails.store(false, Ordering::SeqCst);
    bench.drive.republish().await.unwrap();
    assert!(other.walk().await.unwrap().is_subset(&bench.custody.ids()));
    assert!(bench.drive.walk().await.unwrap().is_subset(&bench.custody.ids()));
    assert!(bench.drive.forget_fork(&forks[0].hash).await.unwrap());
    bench.drive.republish().await.unwrap();
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn attack_12_a_stale_device_brings_nothing_back() {
    let bench = bench().await;
    bench.put("/", &tree([("gone", file(noise(9000, 1))), ("stays", file("s"))])).await;
    let dir = tempfile::tempdir().unwrap();
    let stale = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    drop(stale);
    bench.drive.remove(&path("/gone"), false, true).await.unwrap();
    bench.put("/", &tree([("new", file("n"))])).await;
    let stale = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    stale
        .put_archive(&path("/"), None, std::io::Cursor::new(pack(&tree([("late", file("l"))]))))
        .await
        .unwrap();
    bench.drive.refresh().await.unwrap();
    assert_eq!(bench.names("/").await, ["late", "new", "stays"]);
    assert!(bench.drive.status().await.forks.is_empty());
}

#[tokio::test]
async fn attack_1_an_altered_head_is_ignored() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file("a"))])).await;
    let head = published(&bench);
    for at in (0..head.len()).step_by(7) {
        let mut altered = head.clone();
        altered[at] ^= 1;
        *bench.board.head.lock().unwrap() = Some(altered);
        bench.drive.refresh().await.unwrap();
        let status = bench.drive.status().await;
        assert_eq!((status.sequence, status.forks.len(), status.warnings.len()), (1, 0, 1), "byte {at}");
    }
    // The same in the file: the drive does not open, rather than forget how far it was.
    let file = bench.dir.path().join("head");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = open(bench.dir.path(), &bench.custody, &bench.board).await.err().unwrap();
    assert_eq!(error.code(), "damaged");
}

#[tokio::test]
async fn attack_5_a_head_of_another_drive_is_ignored() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file("a"))])).await;
    let dir = tempfile::tempdir().unwrap();
    let stranger = RootSecret::from_bytes([8; 32]).drive_keys();
    let other = commonhold_drive::Drive::open(
        dir.path().to_owned(),
        stranger,
        bench.custody.clone(),
        bench.board.clone(),
        Default::default(),
    )
    .await
    .unwrap();
    let status = other.status().await;
    assert_eq!((status.sequence, status.warnings.len()), (0, 1));
}

async fn put_on(drive: &Drive, name: &str) {
    let archive = std::io::Cursor::new(pack(&tree([(name, file(name))])));
    drive.put_archive(&path("/"), None, archive).await.unwrap();
}

async fn names_on(drive: &Drive) -> Vec<String> {
    let (listed, _) = drive.list(&path("/"), None, 100).await.unwrap();
    listed.iter().map(|info| info.name().to_owned()).collect()
}

#[tokio::test]
async fn attack_11_what_a_device_left_behind_is_kept_when_it_goes_on_elsewhere() {
    let a = bench().await;
    a.put("/", &tree([("a", file("a"))])).await;
    let dir = tempfile::tempdir().unwrap();
    let custody = a.custody.of_another_device();
    let b = open(dir.path(), &custody, &a.board).await.unwrap();
    // Neither hears of the other.
    a.board.silent.store(true, Ordering::SeqCst);
    put_on(&b, "b").await;
    put_on(&a.drive, "c").await;
    put_on(&a.drive, "d").await;
    // The first device sees the head that the second one wrote, and its own is the newer one.
    a.board.silent.store(false, Ordering::SeqCst);
    assert!(b.republish().await.unwrap());
    a.drive.refresh().await.unwrap();
    assert_eq!(a.drive.status().await.forks.len(), 1);
    // The second device takes that for its own, keeps what it wrote beside it, and goes on there.
    assert!(a.drive.republish().await.unwrap());
    b.refresh().await.unwrap();
    assert_eq!(b.status().await.forks.len(), 1);
    for name in ["e", "f"] {
        put_on(&b, name).await;
    }
    assert_eq!(names_on(&b).await, ["a", "c", "d", "e", "f"]);
    assert_eq!(b.status().await.forks.len(), 1, "what only the fork has was given up unmerged");
    a.drive.refresh().await.unwrap();
    assert_eq!(names_on(&a.drive).await, ["a", "c", "d", "e", "f"]);
    let forks = a.drive.status().await.forks;
    assert_eq!(forks.len(), 1, "what only the fork has was given up unmerged");
    // Also after a restart; a merge loses nothing, and then nobody has a fork any more.
    let b = open(dir.path(), &custody, &a.board).await.unwrap();
    assert_eq!(b.status().await.forks.len(), 1);
    a.drive.merge(&forks[0].hash).await.unwrap();
    assert!(a.drive.status().await.forks.is_empty());
    a.drive.republish().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(names_on(&b).await, ["a", "b", "c", "d", "e", "f"]);
    assert!(b.status().await.forks.is_empty());
}

#[tokio::test]
async fn devices_that_take_turns_write_one_history() {
    let a = bench().await;
    a.put("/", &tree([("a", file("a"))])).await;
    let dir = tempfile::tempdir().unwrap();
    let b = open(dir.path(), &a.custody.of_another_device(), &a.board).await.unwrap();
    for turn in 0..2 {
        for (drive, device) in [(&a.drive, "a"), (&b, "b")] {
            // Long enough for a device to look again before it writes; nobody asks it to.
            tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
            put_on(drive, &format!("{device}{turn}")).await;
        }
    }
    assert_eq!(names_on(&b).await, ["a", "a0", "a1", "b0", "b1"]);
    assert!(a.drive.status().await.forks.is_empty() && b.status().await.forks.is_empty());
}

#[tokio::test]
async fn a_drive_that_is_somewhere_is_not_shown_as_empty() {
    let a = bench().await;
    a.put("/", &tree([("a", file("a"))])).await;
    a.board.silent.store(true, Ordering::SeqCst);
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&dir, &other] {
        commonhold_drive::await_head(dir.path()).unwrap();
    }
    let custody = a.custody.of_another_device();
    let b = open(dir.path(), &custody, &a.board).await.unwrap();
    let awaited = |error: DriveError| assert!(matches!(error, DriveError::Awaited), "{error}");
    awaited(b.list(&path("/"), None, 100).await.unwrap_err());
    let archive = || std::io::Cursor::new(pack(&tree([("b", file("b"))])));
    awaited(b.put_archive(&path("/"), None, archive()).await.unwrap_err());
    // Once it is found, it is there, and stays so without anybody.
    a.board.silent.store(false, Ordering::SeqCst);
    b.refresh().await.unwrap();
    assert_eq!(names_on(&b).await, ["a"]);
    put_on(&b, "b").await;
    drop(b);
    a.board.silent.store(true, Ordering::SeqCst);
    let b = open(dir.path(), &custody, &a.board).await.unwrap();
    assert_eq!(names_on(&b).await, ["a", "b"]);
    // Nothing was ever stored under the phrase: its owner says so.
    let c = open(other.path(), &a.custody.of_another_device(), &a.board).await.unwrap();
    awaited(c.list(&path("/"), None, 100).await.unwrap_err());
    c.begin().await.unwrap();
    assert!(names_on(&c).await.is_empty());
    put_on(&c, "c").await;
    assert_eq!(names_on(&c).await, ["c"]);
}
