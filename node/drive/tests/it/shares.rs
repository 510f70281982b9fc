//! What links lead to: the root page, the list of segments, and what a reader of a link can and cannot do.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use crate::support::*;
use commonhold_drive::{ListKind, Shown};
use commonhold_format::drive::{Name, ObjectRef};
use commonhold_format::ids::SegmentId;
use commonhold_format::link::CoverList;
use commonhold_format::segment::Segment;
use tokio::io::AsyncReadExt;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn kept(path: &str) -> BTreeMap<String, String> {
    [("path".to_owned(), path.to_owned())].into()
}

impl Bench {
    /// The segments that a share's list covers.
    async fn cover(&self, share: &commonhold_drive::Share) -> HashSet<SegmentId> {
        let (segment, root) = share.root.as_ref().unwrap();
        let bytes = self.drive.segment(segment).await.unwrap();
        let list = CoverList::decode(&bytes[..root.extents[0].offset as usize]).unwrap();
        list.iter().collect()
    }
}

async fn read_all(mut reader: commonhold_drive::ContentReader) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.map(|_| bytes)
}

#[tokio::test]
async fn a_link_shows_what_it_covers_and_nothing_else() {
    let bench = bench().await;
    let shared = tree([
        ("photos/a", file(noise(3 << 20, 1))),
        ("photos/sub/b", file(noise(9000, 2))),
        ("photos/sub/tiny", file("tiny")),
    ]);
    bench.put("/", &shared).await;
    bench.put("/", &tree([("secret/c", file(noise(50_000, 3)))])).await;
    let share = bench.drive.put_share(&name("link"), &path("/photos"), Shown::Content, kept("/photos")).await;
    let share = share.unwrap();
    let (segment, root) = share.root.clone().unwrap();
    let linked = bench.drive.linked(segment, root);
    let (listed, more) = linked.list(&path("/"), None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].name(), more), (1, "photos", false));
    let archive = linked.get_archive(&path("/photos")).await.unwrap();
    let back = unpack(&read_all(archive).await.unwrap());
    assert_eq!(back["photos/a"], shared["photos/a"]);
    assert_eq!(back["photos/sub/b"], shared["photos/sub/b"]);
    assert_eq!(linked.get_archive(&path("/secret")).await.err().unwrap().code(), "not_found");
    // Exactly the segments that were fetched for it are covered, and none of what is not shared.
    let cover = bench.cover(&share).await;
    let mut of_secret = HashSet::new();
    bench
        .drive
        .needs(Some(&path("/secret/c")), |needs| of_secret.extend(needs.segments.iter().map(|it| it.id())))
        .await
        .unwrap();
    assert!(!of_secret.is_empty() && cover.is_disjoint(&of_secret));
    let mut of_photos = HashSet::new();
    let mut files = 0;
    bench
        .drive
        .needs(Some(&path("/photos")), |needs| {
            files += u32::from(needs.is_file);
            of_photos.extend(needs.segments.iter().map(|it| it.id()));
        })
        .await
        .unwrap();
    assert_eq!(files, 3);
    assert!(of_photos.is_subset(&cover), "a reader could not read it");
    bench.drive.republish().await.unwrap();
    bench.assert_no_litter().await;
    assert_eq!(bench.drive.shares().await.unwrap()[0].attributes, kept("/photos"));
}

#[tokio::test]
async fn a_link_to_a_file_has_no_history_and_a_closed_one_keeps_nothing() {
    let bench = bench().await;
    bench.store("/f", &noise(60_000, 1)).await;
    bench.store("/f", &noise(70_000, 2)).await;
    let (before, shown) = bench.drive.shown(&path("/f")).await.unwrap();
    assert_eq!(before.versions, 1);
    let share = bench.drive.put_share(&name("l"), &path("/f"), Shown::Content, kept("/f")).await.unwrap();
    let (segment, root) = share.root.clone().unwrap();
    let (shows, _) = bench.drive.linked(segment, root).list(&path("/"), None, 10).await.unwrap();
    assert_eq!((shows.len(), shows[0].kind), (1, ListKind::File));
    assert!(shows[0].versions == 0 && shows[0].attributes.is_empty());
    bench.store("/f", &noise(80_000, 3)).await;
    assert_ne!(bench.drive.shown(&path("/f")).await.unwrap().1, shown, "the link has to be written anew");
    // What the link shows stays as long as the link does, whatever becomes of the file.
    bench.drive.remove(&path("/f"), false, true).await.unwrap();
    let (segment, root) = share.root.clone().unwrap();
    let read = bench.drive.linked(segment, root).get_archive(&path("/f")).await.unwrap();
    assert!(read_all(read).await.unwrap().len() > 70_000);
    bench.drive.set_share(&name("l"), kept("/f"), true).await.unwrap();
    bench.drive.republish().await.unwrap();
    assert!(bench.drive.shares().await.unwrap()[0].root.is_none());
    bench.assert_no_litter().await;
    assert!(bench.drive.remove_share(&name("l")).await.unwrap());
    assert!(!bench.drive.remove_share(&name("l")).await.unwrap());
    bench.drive.republish().await.unwrap();
    assert!(bench.custody.ids().is_empty());
}

#[tokio::test]
async fn a_drop_box_shows_its_name_alone() {
    let bench = bench().await;
    bench.put("/", &tree([("box/secret", file(noise(5000, 1)))])).await;
    let share = bench.drive.put_share(&name("l"), &path("/box"), Shown::Name, kept("/box")).await.unwrap();
    assert!(bench.cover(&share).await.is_empty());
    let (segment, root) = share.root.unwrap();
    let linked = bench.drive.linked(segment, root);
    assert_eq!(linked.list(&path("/"), None, 10).await.unwrap().0[0].name(), "box");
    assert!(linked.list(&path("/box"), None, 10).await.unwrap().0.is_empty());
    bench.store("/file", b"x").await;
    let refused = bench.drive.put_share(&name("m"), &path("/file"), Shown::Name, kept("/file")).await;
    assert_eq!(refused.unwrap_err().code(), "exists");
}

/// Attacks 1 to 4, 10, 20: a malicious node answers with altered, swapped or other data, in every segment
/// that a link's reader asks for. Nothing of it is released.
#[tokio::test]
async fn attack_20_a_link_read_through_a_malicious_node_releases_nothing() {
    let bench = bench().await;
    bench.put("/", &tree([("d/a", file(noise(2 << 20, 1))), ("d/b", file(noise(9000, 2)))])).await;
    let one = bench.drive.put_share(&name("1"), &path("/d"), Shown::Content, kept("/d")).await.unwrap();
    let other = bench.drive.put_share(&name("2"), &path("/d/b"), Shown::Content, kept("/d/b")).await.unwrap();
    let (segment, root) = one.root.clone().unwrap();
    let held = bench.custody.chunks.lock().unwrap().clone();
    let segments = bench.custody.segments.lock().unwrap().clone();
    let mut refused = 0;
    for target in segments.values() {
        let chunk = target.chunk_len();
        for at in [0, chunk / 3, chunk - 1] {
            let id = target.id();
            *bench.custody.lie.lock().unwrap() = Some(Box::new(move |asked, mut chunks| {
                if asked.id() == id {
                    for (_, bytes) in &mut chunks {
                        let mut altered = bytes.to_vec();
                        altered[at.min(bytes.len() - 1)] ^= 0x10;
                        *bytes = altered.into();
                    }
                }
                chunks
            }));
            let dir = tempfile::tempdir().unwrap();
            let reader = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
            let linked = reader.linked(segment.clone(), root.clone());
            let read = match linked.get_archive(&path("/d")).await {
                Ok(archive) => read_all(archive).await.map_err(|error| code_of(&error)),
                Err(error) => Err(error.code()),
            };
            match read {
                Err(code) => {
                    assert_eq!(code, "damaged");
                    refused += 1;
                }
                // Padding and segments that this link does not need may be altered without effect on it.
                Ok(bytes) => assert_eq!(unpack(&bytes)["d/b"], file(noise(9000, 2))),
            }
        }
    }
    assert!(refused >= 6, "{refused}");
    // The link segment of another link in its place.
    let (foreign, _) = other.root.unwrap();
    let id = segment.id();
    *bench.custody.lie.lock().unwrap() = Some(Box::new(move |asked, chunks| {
        if asked.id() != id {
            return chunks;
        }
        chunks.iter().map(|(at, _)| (*at, held[&foreign.chunks[usize::from(*at)]].clone())).collect()
    }));
    let dir = tempfile::tempdir().unwrap();
    let reader = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    let read = reader.linked(segment, root).list(&path("/"), None, 10).await;
    assert_eq!(read.unwrap_err().code(), "damaged");
    bench.custody.record.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn attack_22_who_had_a_link_and_kept_its_keys_reads_nothing_new() {
    let bench = bench().await;
    bench.put("/", &tree([("d/f", file(noise(60_000, 1)))])).await;
    let share = bench.drive.put_share(&name("l"), &path("/d"), Shown::Content, kept("/d")).await.unwrap();
    let (segment, root) = share.root.clone().unwrap();
    let cover = bench.cover(&share).await;
    let old = bench.drive.linked(segment.clone(), root.clone()).get_archive(&path("/d")).await.unwrap();
    let old = unpack(&read_all(old).await.unwrap());
    let hoarded = bench.custody.chunks.lock().unwrap().clone();
    // It is closed, and another file takes the place of the one that was shared.
    bench.drive.set_share(&name("l"), kept("/d"), true).await.unwrap();
    let mut new = crate::files::new_file("/d/f", 60_000);
    new.replaced = commonhold_drive::Replaced::Gone;
    bench.drive.store(new, std::io::Cursor::new(noise(60_000, 2))).await.unwrap();
    bench.drive.republish().await.unwrap();
    let mut now = HashSet::new();
    let needs = |needs: commonhold_drive::Needs<'_>| now.extend(needs.segments.iter().map(|it| it.id()));
    bench.drive.needs(Some(&path("/d/f")), needs).await.unwrap();
    assert!(!now.is_empty() && now.is_disjoint(&cover), "nothing new lies in what the link covered");
    // The old version was given up at the providers, and with it what the link led to.
    let gone = kept_by_somebody(&bench, segment.clone(), root.clone()).await;
    assert_eq!(gone, Err("unavailable"));
    // A provider that gave nothing up still has the old version and the old version alone (spec/links.md,
    // section 7).
    bench.custody.chunks.lock().unwrap().extend(hoarded);
    assert_eq!(kept_by_somebody(&bench, segment, root).await, Ok(old));
}

/// What a reader with nothing but the content of a record gets.
async fn kept_by_somebody(bench: &Bench, segment: Segment, root: ObjectRef) -> Result<Tree, &'static str> {
    let dir = tempfile::tempdir().unwrap();
    let reader = open(dir.path(), &bench.custody, &bench.board).await.unwrap();
    let archive = reader.linked(segment, root).get_archive(&path("/d")).await;
    let bytes = read_all(archive.map_err(|error| error.code())?).await;
    bytes.map(|bytes| unpack(&bytes)).map_err(|error| code_of(&error))
}

/// Attack 17 for everything that a drive can do: what leaves it shows no content, name, path, attribute,
/// exact length or secret.
#[tokio::test]
async fn attack_17_a_whole_session_shows_nothing() {
    let bench = bench().await;
    bench.custody.record.store(true, Ordering::SeqCst);
    let content: Vec<u8> = b"MARKER-IN-CONTENT-".iter().copied().cycle().take(700_000).collect();
    bench.put("/", &tree([("marker-folder/marker-archive.txt", file(content.clone()))])).await;
    bench.store("/marker-folder/marker-small.txt", b"MARKER-IN-CONTENT-small").await;
    bench.store("/marker-folder/marker-small.txt", b"MARKER-IN-CONTENT-version-two").await;
    bench.drive.rename(&path("/marker-folder"), &path("/marker-moved"), false).await.unwrap();
    bench.drive.copy(&path("/marker-moved"), &path("/marker-copy"), None, None, None).await.unwrap();
    let attributes: BTreeMap<String, String> = [("marker-key".to_owned(), "marker-value".to_owned())].into();
    let at = path("/marker-moved/marker-small.txt");
    bench.drive.set_attributes(&at, attributes, commonhold_drive::OnlyIf::Always).await.unwrap();
    let upload = bench.drive.begin_upload(path("/marker-parts"), BTreeMap::new()).await.unwrap();
    bench.drive.store_part(upload.id, 1, 700_000, std::io::Cursor::new(content)).await.unwrap();
    bench
        .drive
        .put_share(&name("00"), &path("/marker-moved"), Shown::Content, kept("/marker-moved"))
        .await
        .unwrap();
    bench.drive.remove(&path("/marker-copy"), true, true).await.unwrap();
    bench.drive.republish().await.unwrap();
    let received = bench.custody.received.lock().unwrap();
    let head = bytes::Bytes::from(bench.board.head.lock().unwrap().clone().unwrap());
    assert!(received.len() > 12);
    for bytes in received.iter().flat_map(|(_, chunks)| chunks).chain([&head]) {
        for secret in [&b"MARKER"[..], b"marker", b"KERMAR"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
    // No length of content shows: every length is padded, and small things share segments.
    for (len, _) in received.iter() {
        assert!(![700_000, 700_000 + 16 * 11].contains(len), "{len}");
    }
}
