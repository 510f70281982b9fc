//! Files on their way into the drive: small ones together in archives, large ones in parts.
//!
//! Invariant: what is sent was the same before and after it was read, or it is not in the drive; an archive
//! is there as a whole or not at all; parts that were stored before are not sent again; so an interruption
//! costs at most what is under way, [`AT_ONCE`] archives or parts. Not here: what has to be sent (`plan`).

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{Attributes, CompleteRequest, PutReport, Skipped, UploadRequest, UploadView};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};
use tokio::sync::Semaphore;

use super::shown;
use super::tree::facts;
use crate::clock::unix_milliseconds;
use crate::commands::transfer::{self, CHANGES, Plan, is_same, unreadable};

/// A file with more bytes goes in parts.
pub const LARGE: u64 = 8 << 20;
/// Bytes of a part of a file up to [`HUGE`].
const PART_LEN: u64 = 8 << 20;
/// A file with more bytes has parts of [`HUGE_PART_LEN`], which go faster, or larger ones, because there are at
/// most [`PARTS_MAX`].
const HUGE: u64 = 64 << 20;
/// Bytes of a part of it.
const HUGE_PART_LEN: u64 = 16 << 20;
/// Most parts of a file.
const PARTS_MAX: u64 = 10_000;
/// Archives or parts on their way at the same time: one is read while another waits for its signatures.
const AT_ONCE: usize = 2;
/// Files in parts that are under way at the same time: some begin or end while others send their parts.
const FILES_AT_ONCE: usize = 4;
/// Bytes of an archive.
const ARCHIVE_LEN_MAX: u64 = 8 << 20;
/// Files and folders of an archive.
const ARCHIVE_ENTRIES_MAX: usize = 5_000;

/// An upload that was begun this long ago, milliseconds, is not under way any more.
const STALE_MS: u64 = 86_400_000;

/// Attributes by which an upload that was begun is found again.
const LENGTH_KEY: &str = "upload-length";
const MODIFIED_KEY: &str = "upload-modified";
const PART_KEY: &str = "upload-part";

/// A file or folder that goes into the drive.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it is read.
    pub source: PathBuf,
    /// Its whole path in the drive.
    pub path: String,
    /// Whether it is a folder, made without what is in it.
    pub folder: bool,
    /// Bytes of a file.
    pub bytes: u64,
}

/// Sends all; `stored` of the answer is empty, and `skipped` has what could not be read or was being written.
///
/// # Errors
/// What the node answered. What was stored before stays, and the error says that some was.
pub async fn send(client: &Client, items: Vec<Outgoing>, bar: &ProgressBar) -> Result<PutReport> {
    let began = Instant::now();
    let mut total = PutReport::default();
    let files = items.iter().filter(|item| !item.folder).count();
    let (large, small): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.bytes > LARGE);
    let mut archives = stream::iter(archives(small))
        .map(|archive| transfer::upload(client, archive, "/", None, bar))
        .buffer_unordered(AT_ONCE);
    while let Some(report) = archives.next().await {
        match report {
            Ok(report) => add(&mut total, report),
            Err(error) => return Err(so_far(error, &total, files)),
        }
    }
    let begun = if large.is_empty() { Vec::new() } else { client.uploads().await?.uploads };
    let slots = Semaphore::new(AT_ONCE);
    let (begun, slots) = (&begun, &slots);
    let mut uploads = stream::iter(large)
        .map(|item| async move { InParts { client, item: &item, slots, bar }.send(begun).await })
        .buffer_unordered(FILES_AT_ONCE);
    while let Some(report) = uploads.next().await {
        match report {
            Ok(report) => add(&mut total, report),
            Err(error) => return Err(so_far(error, &total, files)),
        }
    }
    total.seconds = began.elapsed().as_secs_f64();
    Ok(total)
}

fn add(total: &mut PutReport, report: PutReport) {
    total.files += report.files;
    total.folders += report.folders;
    total.bytes += report.bytes;
    total.segments += report.segments;
    total.skipped.extend(report.skipped);
    total.warnings.extend(report.warnings);
}

/// An error that says what is stored all the same.
fn so_far(error: anyhow::Error, total: &PutReport, files: usize) -> anyhow::Error {
    if total.files == 0 {
        return error;
    }
    let stored = total.files;
    error.context(format!(
        "{stored} of {files} files are stored; the same command with `sync` or `put -r` sends the others"
    ))
}

/// Cuts the list into archives of bounded size.
fn archives(items: Vec<Outgoing>) -> Vec<Plan> {
    let mut archives = Vec::new();
    let (mut archive, mut entries, mut bytes) = (Plan::default(), 0, 0_u64);
    for item in items {
        if entries > 0
            && (entries >= ARCHIVE_ENTRIES_MAX || bytes.saturating_add(item.bytes) > ARCHIVE_LEN_MAX)
        {
            archives.push(std::mem::take(&mut archive));
            (entries, bytes) = (0, 0);
        }
        entries += 1;
        bytes += item.bytes;
        let name = PathBuf::from(item.path.trim_start_matches('/'));
        archive.add(item.source, name, item.folder, item.bytes);
    }
    if entries > 0 {
        archives.push(archive);
    }
    archives
}

/// How a file is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    len: u64,
    part: u64,
}

impl Cut {
    fn of(len: u64) -> Self {
        let least = len.div_ceil(PARTS_MAX).next_multiple_of(1 << 20);
        let usual = if len > HUGE { HUGE_PART_LEN } else { PART_LEN };
        Self { len, part: least.max(usual) }
    }

    fn parts(&self) -> u32 {
        u32::try_from(self.len.div_ceil(self.part)).unwrap_or(u32::MAX)
    }

    /// First byte and length of a part, by its number from 1.
    fn place(&self, number: u32) -> (u64, u64) {
        let first = u64::from(number - 1) * self.part;
        (first, self.part.min(self.len - first))
    }
}

/// What the attributes of an upload of this file are.
fn attributes(metadata: &fs::Metadata, cut: Cut) -> Attributes {
    let modified = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    Attributes::from([
        (LENGTH_KEY.to_owned(), cut.len.to_string()),
        (MODIFIED_KEY.to_owned(), modified),
        (PART_KEY.to_owned(), cut.part.to_string()),
    ])
}

/// The parts that are still missing.
fn missing(upload: &UploadView, cut: Cut) -> Vec<u32> {
    let there = |number: u32| {
        let (_, len) = cut.place(number);
        upload.parts.iter().any(|part| part.number == number && part.bytes == len)
    };
    (1..=cut.parts()).filter(|number| !there(*number)).collect()
}

/// One file that goes in parts.
struct InParts<'a> {
    client: &'a Client,
    item: &'a Outgoing,
    /// Shared by all files: what may be under way.
    slots: &'a Semaphore,
    bar: &'a ProgressBar,
}

impl InParts<'_> {
    /// Sends the file, and only the parts that are missing when it was `begun` before.
    async fn send(&self, begun: &[UploadView]) -> Result<PutReport> {
        let opened = File::open(&self.item.source).and_then(|file| file.metadata());
        let before = match opened {
            Ok(before) if before.is_file() && before.len() > 0 => before,
            Ok(_) => return Ok(self.left_out(CHANGES.to_owned())),
            Err(error) => return Ok(self.left_out(unreadable(&error))),
        };
        let cut = Cut::of(before.len());
        let attributes = attributes(&before, cut);
        let begun = begun.iter().filter(|it| it.path == self.item.path);
        let upload = match begun.clone().find(|it| it.attributes == attributes) {
            Some(upload) => upload.clone(),
            None => {
                let request = UploadRequest { path: self.item.path.clone(), attributes };
                self.client.begin_upload(&request).await?
            }
        };
        let id = upload.id.as_str();
        let missing = missing(&upload, cut);
        let left: u64 = missing.iter().map(|number| cut.place(*number).1).sum();
        self.bar.inc(cut.len - left);
        self.bar.reset_eta();
        let kept = AtomicBool::new(left < cut.len);
        let (kept, facts_before) = (&kept, &before);
        let sent = stream::iter(missing)
            .map(|number| async move {
                self.send_part(id, number, cut, facts_before).await?;
                kept.store(true, Ordering::Relaxed);
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await;
        if !fs::metadata(&self.item.source).is_ok_and(|after| is_same(&before, &after)) {
            self.client.abort_upload(id).await?;
            return Ok(self.left_out(CHANGES.to_owned()));
        }
        sent.with_context(|| {
            let name = shown(&self.item.path);
            if kept.load(Ordering::Relaxed) {
                format!("{name} is not in the drive yet; the parts of it that are stored are kept, and the same command goes on")
            } else {
                format!("nothing of {name} is stored")
            }
        })?;
        let facts = facts(&before);
        let request = CompleteRequest {
            parts: (1..=cut.parts()).collect(),
            modified_ms: Some(facts.modified_ms),
            executable: facts.executable,
        };
        self.client.complete_upload(id, &request).await?;
        for id in stale(begun, id, unix_milliseconds()) {
            // What holds them is freed some other time, if not now.
            let _ = self.client.abort_upload(id).await;
        }
        Ok(PutReport { files: 1, bytes: cut.len, ..PutReport::default() })
    }

    async fn send_part(&self, id: &str, number: u32, cut: Cut, before: &fs::Metadata) -> Result<()> {
        // Never closed, so this cannot fail.
        let _slot = self.slots.acquire().await.ok();
        let (first, len) = cut.place(number);
        let source = &self.item.source;
        let mut file = tokio::fs::File::open(source).await.with_context(|| source.display().to_string())?;
        if !is_same(before, &file.metadata().await?) {
            bail!("{} {CHANGES}", source.display());
        }
        file.seek(SeekFrom::Start(first)).await?;
        let part = Part { file, left: len, bar: self.bar.clone() };
        self.client.store_part(id, number, len, part).await?;
        Ok(())
    }

    fn left_out(&self, why: String) -> PutReport {
        let path = self.item.source.display().to_string();
        PutReport { skipped: vec![Skipped { path, why }], ..PutReport::default() }
    }
}

/// Uploads of the same file as it was, which nobody will go on with: of this program, and a day old.
fn stale<'a>(begun: impl Iterator<Item = &'a UploadView>, done: &str, now_ms: u64) -> Vec<&'a str> {
    let old = i64::try_from(now_ms.saturating_sub(STALE_MS)).unwrap_or(i64::MAX);
    let stale = |it: &&UploadView| it.id != done && it.attributes.contains_key(PART_KEY) && it.begun_ms < old;
    begun.filter(stale).map(|it| it.id.as_str()).collect()
}

/// So many bytes of a file; fewer are an error.
struct Part {
    file: tokio::fs::File,
    left: u64,
    bar: ProgressBar,
}

impl AsyncRead for Part {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.remaining());
        let mut some = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut some))?;
        let read = some.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::Error::other("the file changed while it was being read; try again")));
        }
        buffer.advance(read);
        self.left -= read as u64;
        self.bar.inc(read as u64);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use commonhold_client::types::PartView;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_a_file_and_are_not_too_many(len in 1_u64..(1 << 50)) {
            let cut = Cut::of(len);
            prop_assert!(u64::from(cut.parts()) <= PARTS_MAX);
            prop_assert!(cut.part >= PART_LEN);
            let (first, last) = cut.place(cut.parts());
            prop_assert_eq!(first + last, len);
            prop_assert!(last >= 1 && cut.place(1).0 == 0);
        }

        #[test]
        fn archives_keep_order_and_bounds(sizes in proptest::collection::vec(0_u64..LARGE, 0..40)) {
            let item = |(at, bytes): (usize, &u64)| Outgoing {
                source: PathBuf::from(format!("s{at}")),
                path: format!("/p/{at}"),
                folder: false,
                bytes: *bytes,
            };
            let archives = archives(sizes.iter().enumerate().map(item).collect());
            let names: Vec<PathBuf> = archives
                .iter()
                .flat_map(|it| it.regular_files().map(|(_, name)| name.to_owned()).collect::<Vec<_>>())
                .collect();
            let wanted: Vec<PathBuf> = (0..sizes.len()).map(|at| PathBuf::from(format!("p/{at}"))).collect();
            prop_assert_eq!(names, wanted);
            prop_assert!(archives.iter().all(|it| it.files > 0 && it.bytes <= ARCHIVE_LEN_MAX));
        }
    }

    #[test]
    fn only_whole_parts_are_left_out() {
        let cut = Cut::of(PART_LEN * 2 + 5);
        let part = |number, bytes| PartView { number, bytes, ..PartView::default() };
        let upload =
            UploadView { parts: vec![part(1, PART_LEN), part(2, 7), part(3, 5)], ..Default::default() };
        assert_eq!(missing(&upload, cut), [2]);
        assert_eq!(missing(&UploadView::default(), cut), [1, 2, 3]);
    }

    #[test]
    fn only_old_uploads_of_this_program_are_given_up() {
        let upload = |id: &str, key: &str, begun_ms| UploadView {
            id: id.into(),
            begun_ms,
            attributes: Attributes::from([(key.to_owned(), "1".to_owned())]),
            ..UploadView::default()
        };
        let now = 10 * STALE_MS;
        let recent = i64::try_from(now - STALE_MS).unwrap();
        let begun = [
            upload("done", PART_KEY, 1),
            upload("old", PART_KEY, 1),
            upload("another's", "s3-x", 1),
            upload("recent", PART_KEY, recent),
        ];
        assert_eq!(stale(begun.iter(), "done", now), ["old"]);
    }

    #[test]
    fn many_small_files_come_in_several_archives() {
        let item =
            |at: usize| Outgoing { source: "/s".into(), path: format!("/{at}"), folder: false, bytes: 1 };
        let archives = archives((0..ARCHIVE_ENTRIES_MAX + 1).map(item).collect());
        assert_eq!(archives.iter().map(|it| it.files).collect::<Vec<_>>(), [ARCHIVE_ENTRIES_MAX as u64, 1]);
    }
}
