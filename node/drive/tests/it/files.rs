//! Single files: storing, ranges, moving, copying, versions, the bin, parts.

use std::io::Cursor;
use std::sync::atomic::Ordering;

use crate::support::*;
use commonhold_drive::{Complete, Info, NewFile, OnlyIf, Replaced};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

pub(crate) fn new_file(to: &str, len: usize) -> NewFile {
    NewFile {
        path: path(to),
        len: len as u64,
        modified_ms: Some(1_700_000_000_000),
        executable: false,
        attributes: Default::default(),
        only_if: OnlyIf::Always,
        replaced: Replaced::Kept,
    }
}

impl Bench {
    pub(crate) async fn store(&self, to: &str, bytes: &[u8]) -> Info {
        self.drive.store(new_file(to, bytes.len()), Cursor::new(bytes.to_vec())).await.unwrap()
    }

    pub(crate) async fn cat(&self, from: &str, version: Option<u64>) -> Vec<u8> {
        let mut open = self.drive.open_file(&path(from), version, None).await.unwrap();
        let mut bytes = Vec::new();
        open.content.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len() as u64, open.range.end);
        bytes
    }

    async fn settled(&self) {
        self.drive.republish().await.unwrap();
        self.assert_no_litter().await;
    }
}

#[tokio::test]
async fn a_stored_file_is_read_in_any_range() {
    let bench = bench().await;
    for len in [0usize, 1, 1000, 1024, 1025, 65_520, 65_521, 300_000, 5 << 20] {
        let bytes = noise(len, len as u64);
        let info = bench.store("/a/b/file", &bytes).await;
        assert_eq!((info.bytes, info.files, info.path.to_string().as_str()), (len as u64, 1, "/a/b/file"));
        assert_eq!(info.attributes["etag"].len(), 32);
        let end = len as u64;
        for range in
            [0..end, 0..0, 0..1, end / 2..end / 2 + 70_000, end.saturating_sub(5)..end + 9, end + 1..end + 2]
        {
            let mut open =
                bench.drive.open_file(&path("/a/b/file"), None, Some(range.clone())).await.unwrap();
            let cut = |at: u64| at.min(end) as usize;
            assert_eq!(open.range, range.start.min(end)..range.end.min(end).max(range.start.min(end)));
            let mut got = Vec::new();
            open.content.read_to_end(&mut got).await.unwrap();
            assert!(
                got == bytes[cut(range.start)..cut(range.end).max(cut(range.start))],
                "{range:?} of {len}"
            );
        }
    }
    bench.settled().await;
}

#[tokio::test]
async fn a_length_that_is_not_kept_stores_nothing() {
    let bench = bench().await;
    for (said, sent) in [(10usize, 9usize), (10, 11), (1 << 20, (1 << 20) - 1), (1 << 20, (1 << 20) + 1)] {
        let stored = bench.drive.store(new_file("/f", said), Cursor::new(vec![1; sent])).await;
        assert_eq!(stored.unwrap_err().code(), "changed");
    }
    assert!(bench.names("/").await.is_empty());
    bench.settled().await;
}

#[tokio::test]
async fn conditions_hold_at_the_moment_of_the_change() {
    let bench = bench().await;
    let store = |only_if| {
        let file = NewFile { only_if, ..new_file("/f", 3) };
        bench.drive.store(file, Cursor::new(b"abc".to_vec()))
    };
    let first = store(OnlyIf::Absent).await.unwrap();
    assert_eq!(store(OnlyIf::Absent).await.unwrap_err().code(), "precondition");
    assert_eq!(store(OnlyIf::Content([9; 16])).await.unwrap_err().code(), "precondition");
    let second = store(OnlyIf::Content(first.content_id)).await.unwrap();
    assert!(second.version > first.version && second.content_id != first.content_id);
    assert_eq!(store(OnlyIf::Content(first.content_id)).await.unwrap_err().code(), "precondition");
    // Of many at the same time exactly one finds nothing there.
    let race = (0..20).map(|_| {
        let file = NewFile { only_if: OnlyIf::Absent, ..new_file("/race", 1) };
        bench.drive.store(file, Cursor::new(vec![7]))
    });
    let won = futures::future::join_all(race).await.into_iter().filter(|stored| stored.is_ok()).count();
    assert_eq!(won, 1);
    bench.settled().await;
}

#[tokio::test]
async fn many_small_files_at_a_time_share_heads_and_segments() {
    let bench = bench().await;
    bench.custody.keep_delay_ms.store(5, Ordering::SeqCst);
    let stores = (0..300u64).map(|at| {
        let bytes = noise(4000, at);
        let file = new_file(&format!("/d/{:02}/{at:03}", at % 7), bytes.len());
        bench.drive.store(file, Cursor::new(bytes))
    });
    for stored in futures::future::join_all(stores).await {
        stored.unwrap();
    }
    assert!(bench.drive.status().await.sequence < 30, "{}", bench.drive.status().await.sequence);
    bench.drive.republish().await.unwrap();
    assert!(bench.custody.ids().len() < 60, "{}", bench.custody.ids().len());
    for at in [0u64, 150, 299] {
        assert!(bench.cat(&format!("/d/{:02}/{at:03}", at % 7), None).await == noise(4000, at));
    }
    let usage = bench.drive.usage(&path("/")).await.unwrap();
    assert_eq!((usage.files, usage.folders, usage.bytes), (300, 8, 300 * 4000));
    let info = bench.drive.info(&path("/d")).await.unwrap();
    assert_eq!((info.files, info.bytes, info.children), (300, 300 * 4000, 7));
    bench.settled().await;
}

#[tokio::test]
async fn versions_are_kept_listed_and_restored() {
    let bench = bench().await;
    for round in 0..5u8 {
        bench.store("/f", &vec![round; 2000]).await;
    }
    let versions = bench.drive.versions(&path("/f")).await.unwrap();
    assert_eq!(versions.len(), 5);
    assert!(versions[0].current && versions.windows(2).all(|pair| pair[0].version > pair[1].version));
    for (at, version) in versions.iter().enumerate() {
        assert_eq!(bench.cat("/f", Some(version.version)).await, vec![4 - at as u8; 2000]);
    }
    let restored = bench.drive.restore_version(&path("/f"), versions[3].version).await.unwrap();
    assert_eq!(restored.versions, 5);
    assert_eq!(bench.cat("/f", None).await, vec![1; 2000]);
    assert_eq!(bench.cat("/f", Some(versions[0].version)).await, vec![4; 2000]);
    bench.drive.remove_version(&path("/f"), versions[4].version).await.unwrap();
    let missing = bench.drive.open_file(&path("/f"), Some(versions[4].version), None).await.err().unwrap();
    assert_eq!(missing.code(), "not_found");
    let usage = bench.drive.usage(&path("/f")).await.unwrap();
    assert_eq!((usage.versions, usage.versions_bytes), (4, 8000));
    // They go with the file, and come back with it.
    bench.drive.rename(&path("/f"), &path("/x/g"), false).await.unwrap();
    assert_eq!(bench.drive.versions(&path("/x/g")).await.unwrap().len(), 5);
    bench.settled().await;
    for round in 0..40u8 {
        bench.store("/x/g", &[round; 10]).await;
    }
    assert_eq!(bench.drive.versions(&path("/x/g")).await.unwrap().len(), 33, "no more than the most");
    let gone = NewFile { replaced: Replaced::Gone, ..new_file("/x/g", 1) };
    bench.drive.store(gone, Cursor::new(vec![0])).await.unwrap();
    assert_eq!(bench.drive.versions(&path("/x/g")).await.unwrap().len(), 1);
    bench.settled().await;
}

#[tokio::test]
async fn what_is_removed_is_in_the_bin_until_that_is_emptied() {
    let bench = bench().await;
    bench.store("/d/a", &noise(50_000, 1)).await;
    bench.store("/d/a", &noise(60_000, 2)).await;
    bench.store("/d/sub/b", b"b").await;
    let removed = bench.drive.remove(&path("/d"), true, false).await.unwrap();
    assert_eq!((removed.files, removed.bytes), (2, 60_001));
    assert!(bench.names("/").await.is_empty());
    let bin = bench.drive.bin().await.unwrap();
    assert_eq!((bin.len(), bin[0].path.as_str(), bin[0].info.files), (1, "/d", 2));
    bench.settled().await;
    bench.store("/d/new", b"in its place").await;
    assert_eq!(bench.drive.restore_from_bin(&bin[0].id, None).await.unwrap_err().code(), "exists");
    let back = bench.drive.restore_from_bin(&bin[0].id, Some(path("/back/d"))).await.unwrap();
    assert_eq!((back.files, back.attributes.len()), (2, 0));
    assert!(bench.cat("/back/d/a", None).await == noise(60_000, 2));
    assert_eq!(bench.drive.versions(&path("/back/d/a")).await.unwrap().len(), 2);
    assert_eq!(bench.drive.restore_from_bin(&bin[0].id, None).await.unwrap_err().code(), "not_found");
    bench.drive.remove(&path("/back"), true, false).await.unwrap();
    bench.drive.remove(&path("/d"), true, false).await.unwrap();
    bench.settled().await;
    let (items, emptied) = bench.drive.empty_bin(None, Some(0)).await.unwrap();
    assert_eq!((items, emptied.bytes), (0, 0), "nothing is that old");
    let (items, emptied) = bench.drive.empty_bin(None, None).await.unwrap();
    assert_eq!((items, emptied.files, emptied.warnings.len()), (2, 3, 0));
    assert!(bench.custody.ids().is_empty());
}

#[tokio::test]
async fn moving_and_copying_send_no_content() {
    let bench = bench().await;
    bench.store("/a/big", &noise(3 << 20, 1)).await;
    bench.store("/a/small", b"small").await;
    bench.custody.record.store(true, Ordering::SeqCst);
    bench.drive.rename(&path("/a/big"), &path("/b/c/moved"), false).await.unwrap();
    bench.drive.copy(&path("/b/c/moved"), &path("/copy"), None, None, None).await.unwrap();
    bench.drive.copy(&path("/a"), &path("/tree"), None, None, None).await.unwrap();
    bench.drive.rename(&path("/b"), &path("/a/b"), false).await.unwrap();
    let sent: u32 = bench.custody.received.lock().unwrap().iter().map(|(len, _)| *len).sum();
    assert!(sent < 20_000, "{sent} bytes");
    assert!(bench.cat("/a/b/c/moved", None).await == noise(3 << 20, 1));
    assert!(bench.cat("/copy", None).await == noise(3 << 20, 1));
    assert_eq!(bench.names("/").await, ["a", "copy", "tree"]);
    let rename = |from: &str, to: &str, replace| {
        let (from, to, drive) = (path(from), path(to), bench.drive.clone());
        async move { drive.rename(&from, &to, replace).await.map_err(|error| error.code()) }
    };
    assert_eq!(rename("/a", "/a/b/x", false).await, Err("bad_path"));
    assert_eq!(rename("/copy", "/a/small", false).await, Err("exists"));
    assert_eq!(rename("/copy", "/a/b", true).await, Err("exists"));
    assert_eq!(rename("/nothing", "/x", false).await, Err("not_found"));
    rename("/copy", "/a/small", true).await.unwrap();
    assert_eq!(bench.drive.versions(&path("/a/small")).await.unwrap().len(), 2);
    // What a change that fails began is undone: the folder above was not made.
    assert_eq!(rename("/nothing", "/made/x", false).await, Err("not_found"));
    assert_eq!(rename("/a/small", "/a/small/below", false).await, Err("bad_path"));
    assert_eq!(bench.names("/").await, ["a", "tree"]);
    assert_eq!(bench.drive.remove_empty_folder(&path("/a")).await.unwrap_err().code(), "exists");
    bench.drive.make_folder(&path("/e/f")).await.unwrap();
    bench.drive.remove_empty_folder(&path("/e/f")).await.unwrap();
    assert_eq!(bench.names("/e").await, Vec::<String>::new());
    bench.settled().await;
}

#[tokio::test]
async fn a_file_comes_in_parts_and_goes_on_after_a_restart() {
    let mut bench = bench().await;
    let bytes = noise(7 << 20, 5);
    let parts: Vec<&[u8]> = vec![&bytes[..3 << 20], &bytes[3 << 20..(3 << 20) + 9], &bytes[(3 << 20) + 9..]];
    let attributes: std::collections::BTreeMap<String, String> = [("who".to_owned(), "me".to_owned())].into();
    let upload = bench.drive.begin_upload(path("/up/file"), attributes.clone()).await.unwrap();
    for number in [3u32, 1] {
        let part = parts[number as usize - 1];
        let stored =
            bench.drive.store_part(upload.id, number, part.len() as u64, Cursor::new(part.to_vec())).await;
        assert_eq!(stored.unwrap().bytes, part.len() as u64);
    }
    assert!(bench.drive.store_part(upload.id, 0, 1, Cursor::new(vec![1])).await.is_err());
    bench.drive = open(bench.dir.path(), &bench.custody, &bench.board).await.unwrap();
    bench.drive.republish().await.unwrap();
    let again = bench.drive.upload(upload.id).unwrap();
    assert_eq!((again.path, again.attributes), (path("/up/file"), attributes.clone()));
    assert_eq!(again.parts.keys().copied().collect::<Vec<_>>(), [1, 3]);
    let complete = |parts: Vec<u32>| Complete {
        parts,
        modified_ms: None,
        executable: true,
        attributes: attributes.clone(),
        only_if: OnlyIf::Always,
        replaced: Replaced::Kept,
    };
    let missing = bench.drive.complete_upload(upload.id, complete(vec![1, 2, 3])).await.unwrap_err();
    assert_eq!(missing.code(), "not_found");
    bench.drive.store_part(upload.id, 2, 9, Cursor::new(parts[1].to_vec())).await.unwrap();
    let info = bench.drive.complete_upload(upload.id, complete(vec![1, 2, 3])).await.unwrap();
    assert_eq!((info.bytes, info.executable), (7 << 20, true));
    assert!(bench.cat("/up/file", None).await == bytes);
    assert!(
        bench.get("/up/file").await["file"]
            == Thing::File {
                bytes: bytes.clone(),
                executable: true,
                modified: (info.modified_ms / 1000) as u64
            }
    );
    let mut middle =
        bench.drive.open_file(&path("/up/file"), None, Some((3 << 20) - 5..(3 << 20) + 20)).await.unwrap();
    let mut got = Vec::new();
    middle.content.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes[(3 << 20) - 5..(3 << 20) + 20]);
    assert!(bench.drive.uploads().is_empty());
    let other = bench.drive.begin_upload(path("/x"), Default::default()).await.unwrap();
    bench.drive.copy_part(other.id, 1, &path("/up/file"), None, Some(10..1_000_000)).await.unwrap();
    bench.drive.abort_upload(other.id).await.unwrap();
    bench.settled().await;
}

fn completed(parts: Vec<u32>) -> Complete {
    Complete {
        parts,
        modified_ms: None,
        executable: false,
        attributes: Default::default(),
        only_if: OnlyIf::Always,
        replaced: Replaced::Kept,
    }
}

/// A change is being written, a sweep waits behind it, and behind that one the upload is completed and, at the
/// same time, given up. The file is whole, or is not there.
#[tokio::test]
async fn an_upload_that_is_completed_and_given_up_at_once_makes_no_file_with_holes() {
    let bench = bench().await;
    let bytes = noise(3 << 20, 5);
    bench.store("/a", b"a").await;
    for replaced in [false, true] {
        let upload = bench.drive.begin_upload(path("/up"), Default::default()).await.unwrap();
        let part = || Cursor::new(bytes.clone());
        bench.drive.store_part(upload.id, 1, bytes.len() as u64, part()).await.unwrap();
        let litter = bench.drive.begin_upload(path("/litter"), Default::default()).await.unwrap();
        bench.drive.abort_upload(litter.id).await.unwrap();
        let a_moment = || tokio::time::sleep(std::time::Duration::from_millis(60));
        bench.custody.keep_delay_ms.store(400, Ordering::SeqCst);
        let drive = bench.drive.clone();
        let slow = tokio::spawn(async move { drive.make_folder(&path("/slow")).await });
        a_moment().await;
        let drive = bench.drive.clone();
        let sweep = tokio::spawn(async move { drive.republish().await });
        a_moment().await;
        let drive = bench.drive.clone();
        let completing =
            tokio::spawn(async move { drive.complete_upload(upload.id, completed(vec![1])).await });
        a_moment().await;
        if replaced {
            let other = Cursor::new(b"other".to_vec());
            bench.drive.store_part(upload.id, 1, 5, other).await.unwrap_err();
        } else {
            bench.drive.abort_upload(upload.id).await.unwrap();
        }
        slow.await.unwrap().unwrap();
        sweep.await.unwrap().unwrap();
        let outcome = completing.await.unwrap();
        bench.custody.keep_delay_ms.store(0, Ordering::SeqCst);
        bench.drive.remove(&path("/slow"), false, true).await.unwrap();
        // A reader that has nothing in memory.
        let dir = tempfile::tempdir().unwrap();
        let fresh = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
        match outcome {
            Ok(_) => {
                let archive = read(&fresh, "/up").await.unwrap();
                assert!(unpack(&archive)["up"] != file(b""));
                bench.drive.remove(&path("/up"), false, true).await.unwrap();
            }
            Err(error) => {
                assert!(!replaced);
                assert_eq!(error.code(), "not_found");
                assert_eq!(fresh.info(&path("/up")).await.unwrap_err().code(), "not_found");
            }
        }
    }
    bench.settled().await;
}

#[tokio::test]
async fn a_part_whose_note_is_damaged_is_sent_again_and_the_others_are_not() {
    let mut bench = bench().await;
    let upload = bench.drive.begin_upload(path("/up"), Default::default()).await.unwrap();
    for number in [1, 2] {
        bench.drive.store_part(upload.id, number, 4, Cursor::new(b"part".to_vec())).await.unwrap();
    }
    let note = bench.dir.path().join("uploads").join(upload.id.to_string()).join("00001");
    let mut bytes = std::fs::read(&note).unwrap();
    bytes[1] ^= 0x20;
    std::fs::write(&note, bytes).unwrap();
    bench.drive = open(bench.dir.path(), &bench.custody, &bench.board).await.unwrap();
    let parts = bench.drive.upload(upload.id).unwrap().parts;
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [2]);
    bench.drive.store_part(upload.id, 1, 4, Cursor::new(b"PART".to_vec())).await.unwrap();
    bench.drive.complete_upload(upload.id, completed(vec![1, 2])).await.unwrap();
    assert_eq!(bench.cat("/up", None).await, b"PARTpart");
    bench.settled().await;
}

#[tokio::test]
async fn a_search_goes_on_where_it_stopped() {
    let bench = bench().await;
    let all: Tree = (0..120).map(|at| (format!("d{}/e{}/f{at:03}", at % 3, at % 5), file("x"))).collect();
    bench.put("/", &all).await;
    let (everything, end) = bench.drive.find(&path("/"), None, 10_000, |_| true).await.unwrap();
    assert_eq!((everything.len(), end), (3 + 15 + 120, None));
    for step in [1, 7, 50] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (some, next) = bench.drive.find(&path("/"), after, step, |_| true).await.unwrap();
            found.extend(some);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, everything, "{step}");
    }
    let (named, _) = bench.drive.find(&path("/d1"), None, 100, |name| name.contains("f01")).await.unwrap();
    assert_eq!(named.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// Folders of any size, grown and shrunk in any order, list what a map would.
    #[test]
    fn a_folder_is_a_map_of_names(
        steps in proptest::collection::vec((0u32..3000, 1u32..900, any::<bool>()), 1..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = bench_with(1, 2).await;
            let mut model = std::collections::BTreeSet::new();
            for (from, count, add) in steps {
                let names: Vec<String> = (from..from + count).map(|at| format!("{:05}", at * 7 % 3001)).collect();
                if add {
                    let tree: Tree = names.iter().map(|name| (name.clone(), file(name.clone()))).collect();
                    bench.put("/d", &tree).await;
                    model.extend(names);
                } else {
                    let removals = names.iter().map(|name| {
                        let (drive, at) = (bench.drive.clone(), path(&format!("/d/{name}")));
                        async move { drive.remove(&at, false, false).await.is_ok() }
                    });
                    let removed = futures::future::join_all(removals).await;
                    for (name, removed) in names.iter().zip(removed) {
                        assert_eq!(model.remove(name), removed);
                    }
                }
            }
            if bench.drive.info(&path("/d")).await.is_ok() {
                let listed = bench.names("/d").await;
                assert!(listed == model.iter().cloned().collect::<Vec<_>>());
                let info = bench.drive.info(&path("/d")).await.unwrap();
                assert_eq!((info.children, info.files), (model.len() as u64, model.len() as u64));
                if let Some(name) = model.iter().nth(model.len() / 2) {
                    let (after, more) = bench.drive.list(&path("/d"), Some(name.parse_name()), 5).await.unwrap();
                    let expected: Vec<&String> = model.iter().filter(|other| *other > name).take(5).collect();
                    assert_eq!(after.iter().map(Info::name).collect::<Vec<_>>(), expected);
                    assert_eq!(more, model.iter().filter(|other| *other > name).count() > 5);
                }
            }
            bench.drive.republish().await.unwrap();
            bench.assert_no_litter().await;
        });
    }
}

trait ParseName {
    fn parse_name(&self) -> commonhold_format::drive::Name;
}

impl ParseName for String {
    fn parse_name(&self) -> commonhold_format::drive::Name {
        commonhold_format::drive::Name::new(self).unwrap()
    }
}

/// Parts become noted while sweeps run: none of them may be taken for litter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_part_is_lost_to_a_sweep_beside_it() {
    let bench = bench().await;
    bench.store("/x", &noise(300_000, 1)).await;
    let sweeping = {
        let drive = bench.drive.clone();
        tokio::spawn(async move {
            for _ in 0..150 {
                drive.remove(&path("/nothing"), false, true).await.unwrap_err();
                let _ = drive.empty_bin(None, None).await;
                drive.make_folder(&path("/a")).await.unwrap();
                drive.remove(&path("/a"), false, true).await.unwrap();
            }
        })
    };
    for round in 0..40u64 {
        let to = path(&format!("/big-{round}"));
        let upload = bench.drive.begin_upload(to, Default::default()).await.unwrap();
        let parts = (1..=4u32).map(|number| {
            let (drive, bytes) = (bench.drive.clone(), noise(70_000, round * 10 + u64::from(number)));
            async move { drive.store_part(upload.id, number, 70_000, Cursor::new(bytes)).await.unwrap() }
        });
        futures::future::join_all(parts).await;
        let complete = Complete {
            parts: vec![1, 2, 3, 4],
            modified_ms: None,
            executable: false,
            attributes: Default::default(),
            only_if: OnlyIf::Always,
            replaced: Replaced::Kept,
        };
        bench.drive.complete_upload(upload.id, complete).await.unwrap();
    }
    sweeping.await.unwrap();
    // Read by a device that has nothing in memory.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(bench.dir.path().join("head"), dir.path().join("head")).unwrap();
    let fresh = open(dir.path(), &bench.custody.of_another_device(), &bench.board).await.unwrap();
    for round in 0..40u64 {
        let whole: Vec<u8> = (1..=4).flat_map(|number| noise(70_000, round * 10 + number)).collect();
        let mut open = fresh.open_file(&path(&format!("/big-{round}")), None, None).await.unwrap();
        let mut got = Vec::new();
        open.content.read_to_end(&mut got).await.unwrap();
        assert!(got == whole, "round {round}");
    }
}
