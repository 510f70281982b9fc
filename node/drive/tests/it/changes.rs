//! Overwriting, merging, removing; several changes at a time; what fails leaves no trace.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::*;
use commonhold_format::drive::Name;

#[tokio::test]
async fn a_file_replaces_a_file() {
    let bench = bench().await;
    bench.put("/d", &tree([("a", file(noise(100_000, 1))), ("b", file("stays"))])).await;
    bench.put("/d", &tree([("a", file("new"))])).await;
    assert_eq!(bench.get("/d/a").await, tree([("a", file("new"))]));
    assert_eq!(bench.names("/d").await, ["a", "b"]);
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn folders_merge() {
    let bench = bench().await;
    bench.put("/", &tree([("d", folder()), ("d/x/one", file(noise(5000, 1))), ("d/y", file("y"))])).await;
    bench.put("/", &tree([("d/x/two", file("2")), ("e", folder())])).await;
    assert_eq!(bench.names("/").await, ["d", "e"]);
    assert_eq!(bench.names("/d").await, ["x", "y"]);
    assert_eq!(bench.names("/d/x").await, ["one", "two"]);
    // A folder that the second archive did not date keeps its time.
    let listing = bench.drive.list(&path("/"), None, usize::MAX).await.unwrap().0;
    assert_eq!(listing[0].modified_ms, 1_600_000_000_000);
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn a_file_against_a_folder_is_refused() {
    let bench = bench().await;
    bench.put("/", &tree([("d/x/file", file("1")), ("f", file("2"))])).await;
    for (to, tree) in [
        ("/", tree([("d", file("a file"))])),
        ("/", tree([("f", folder())])),
        ("/", tree([("f/below", file("x"))])),
        ("/d", tree([("x", file("a file"))])),
        ("/", tree([("d/x", file("deeper, seen only when committing"))])),
        ("/", tree([("d/x/file/below", file("x"))])),
        ("/f", tree([("into a file", file("x"))])),
    ] {
        let error = bench.try_put(to, pack(&tree)).await.unwrap_err();
        assert_eq!(error.code(), "exists", "{error}");
    }
    assert_eq!(bench.names("/").await, ["d", "f"]);
    assert_eq!(bench.names("/d/x").await, ["file"]);
}

#[tokio::test]
async fn a_root_entry_can_be_renamed() {
    let bench = bench().await;
    let put = |tree: Tree, name: &str| {
        let (drive, name) = (bench.drive.clone(), Name::new(name).unwrap());
        async move {
            let archive = std::io::Cursor::new(pack(&tree));
            drive.put_archive(&path("/to"), Some(name), archive).await
        }
    };
    let report = put(tree([("a", file("1"))]), "b").await.unwrap();
    assert_eq!(report.stored, ["/to/b"]);
    put(tree([("src", folder()), ("src/x/y", file("2"))]), "dst").await.unwrap();
    put(tree([(".", folder()), ("./p", file("3")), ("./q", file("4"))]), "dot").await.unwrap();
    assert_eq!(bench.names("/to").await, ["b", "dot", "dst"]);
    assert_eq!(bench.names("/to/dst/x").await, ["y"]);
    assert_eq!(bench.names("/to/dot").await, ["p", "q"]);
    let error = put(tree([("a", file("1")), ("b", file("2"))]), "c").await.unwrap_err();
    assert_eq!(error.code(), "bad_archive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_at_the_same_time_all_end_up_in_the_tree() {
    let bench = bench().await;
    bench.custody.keep_delay_ms.store(3, Ordering::SeqCst);
    let puts = (0..12u64).map(|at| {
        let drive = bench.drive.clone();
        let tree: Tree = [
            (format!("shared/file-{at}"), file(noise(10_000 + at as usize, at))),
            (format!("own-{at}/x"), file("x")),
        ]
        .into();
        tokio::spawn(
            async move { drive.put_archive(&path("/d"), None, std::io::Cursor::new(pack(&tree))).await },
        )
    });
    for put in futures::future::join_all(puts).await {
        assert!(put.unwrap().unwrap().warnings.is_empty());
    }
    assert_eq!(bench.names("/d").await.len(), 13);
    assert_eq!(bench.names("/d/shared").await.len(), 12);
    // Puts that wait at the same time share a head.
    assert!((1..=12).contains(&bench.drive.status().await.sequence));
    for at in 0..12u64 {
        let name = format!("file-{at}");
        let back = bench.get(&format!("/d/shared/{name}")).await;
        assert_eq!(back[&name], file(noise(10_000 + at as usize, at)));
    }
    bench.drive.republish().await.unwrap();
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn removing_frees_exactly_what_nothing_needs() {
    let bench = bench().await;
    bench
        .put(
            "/",
            &tree([
                ("d/big", file(noise(5 << 20, 1))),
                ("d/sub/small", file(noise(30_000, 2))),
                ("d/sub/tiny", file("tiny")),
                ("e", file(noise(3 << 20, 3))),
            ]),
        )
        .await;
    let before = bench.custody.ids().len();
    let removed = bench.drive.remove(&path("/d"), false, true).await.unwrap();
    assert_eq!((removed.path.as_str(), removed.files), ("/d", 3));
    assert_eq!(removed.bytes, (5 << 20) + 30_000 + 4);
    assert!(removed.warnings.is_empty());
    assert!(bench.custody.ids().len() < before);
    bench.assert_no_litter().await;
    assert_eq!(bench.get("/e").await, tree([("e", file(noise(3 << 20, 3)))]));
    bench.drive.remove(&path("/e"), false, true).await.unwrap();
    assert!(bench.custody.ids().is_empty(), "an empty drive needs nothing");
    assert!(bench.names("/").await.is_empty());
    for (refused, code) in [("/", "bad_path"), ("/e", "not_found"), ("/x/y", "not_found")] {
        assert_eq!(bench.drive.remove(&path(refused), false, true).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_put_that_is_not_stored_leaves_no_trace() {
    let bench = bench().await;
    bench.put("/", &tree([("old", file("old"))])).await;
    // 5 MiB are three segments of data and one of folders: each of them may be the one to fail.
    for accepted in 0..4 {
        bench.custody.keeps_left.store(accepted, Ordering::SeqCst);
        let archive = pack(&tree([("new", file(noise(5 << 20, 1)))]));
        let error = bench.try_put("/", archive).await.unwrap_err();
        assert_eq!(error.code(), "not_stored", "after {accepted}");
        assert_eq!(bench.names("/").await, ["old"]);
        assert_eq!(bench.drive.status().await.sequence, 1);
    }
    bench.custody.keeps_left.store(-1, Ordering::SeqCst);
    for _ in 0..100 {
        if bench.custody.ids() == bench.drive.walk().await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the segments of failed puts stay");
}

#[tokio::test]
async fn a_put_given_up_is_swept_later() {
    let bench = bench().await;
    let (mut sender, receiver) = tokio::io::duplex(64 << 10);
    let put = {
        let drive = bench.drive.clone();
        tokio::spawn(async move { drive.put_archive(&path("/"), None, receiver).await })
    };
    let archive = pack(&tree([("new", file(noise(9 << 20, 1)))]));
    tokio::io::AsyncWriteExt::write_all(&mut sender, &archive[..7 << 20]).await.unwrap();
    while bench.custody.ids().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    assert!(bench.names("/").await.is_empty());
    bench.drive.republish().await.unwrap();
    assert!(bench.custody.ids().is_empty());
}

#[tokio::test]
async fn a_reader_keeps_what_it_reads() {
    let bench = bench().await;
    let all: Tree = (0..12).map(|at| (format!("d/{at:02}/file"), file(noise(2 << 20, at)))).collect();
    bench.put("/", &all).await;
    let mut reader = bench.drive.get_archive(&path("/d"), None).await.unwrap();
    let mut bytes = vec![0; 512];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut bytes).await.unwrap();
    bench.drive.remove(&path("/d"), false, true).await.unwrap();
    assert!(bench.names("/").await.is_empty());
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut bytes).await.unwrap();
    assert_eq!(
        unpack(&bytes).into_iter().filter(|(_, thing)| matches!(thing, Thing::File { .. })).collect::<Tree>(),
        all
    );
    drop(reader);
    // What was kept for the reader goes with the next change.
    bench.put("/", &tree([("x", file("x"))])).await;
    bench.assert_no_litter().await;
}

#[tokio::test]
async fn space_that_could_not_be_freed_is_freed_later() {
    let bench = bench().await;
    bench.put("/", &tree([("a", file(noise(100_000, 1)))])).await;
    bench.custody.retain_fails.store(true, Ordering::SeqCst);
    let removed = bench.drive.remove(&path("/a"), false, true).await.unwrap();
    assert_eq!(removed.warnings.len(), 1);
    assert_eq!(bench.drive.status().await.warnings.len(), 1);
    bench.custody.retain_fails.store(false, Ordering::SeqCst);
    assert!(bench.drive.republish().await.unwrap());
    assert!(bench.drive.status().await.warnings.is_empty());
    bench.assert_no_litter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_in_progress_keeps_its_segments_whatever_is_deleted_beside_it() {
    use tokio::io::AsyncWriteExt;
    let bench = bench().await;
    bench.put("/", &tree([("old", file(noise(50_000, 1)))])).await;
    let (mut sender, receiver) = tokio::io::duplex(64 << 10);
    let drive = bench.drive.clone();
    let put = tokio::spawn(async move { drive.put_archive(&path("/"), None, receiver).await });
    let new = tree([("new", file(noise(9 << 20, 2)))]);
    let archive = pack(&new);
    sender.write_all(&archive[..5 << 20]).await.unwrap();
    while bench.custody.ids().len() < 2 + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One more segment is on its way, slowly, while others are deleted.
    bench.custody.keep_delay_ms.store(300, Ordering::SeqCst);
    sender.write_all(&archive[5 << 20..7 << 20]).await.unwrap();
    while bench.custody.in_flight.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.custody.keep_delay_ms.store(0, Ordering::SeqCst);
    // The custodian refuses to delete while anything is on its way to it.
    let removed = bench.drive.remove(&path("/old"), false, true).await.unwrap();
    assert!(removed.warnings.is_empty());
    sender.write_all(&archive[7 << 20..]).await.unwrap();
    drop(sender);
    put.await.unwrap().unwrap();
    assert_eq!(bench.get("/").await, new);
    bench.assert_no_litter().await;
}
