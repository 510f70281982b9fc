//! Files on their way into the drive: small ones together in archives, large ones in parts.
//!
//! Invariant: what is sent was the same before and after it was read, or it is not in the drive; an archive
//! is there as a whole or not at all; parts that were stored before are not sent again. Not here: what has
//! to be sent (`plan`).

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{Attributes, CompleteRequest, PutReport, UploadRequest, UploadView};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};

use super::shown;
use super::tree::facts;
use crate::clock::unix_milliseconds;
use crate::commands::transfer::{self, Plan};

/// A file with more bytes goes in parts.
pub const LARGE: u64 = 64 << 20;
/// Bytes of a part: what an interruption may cost on a slow line. Larger files have larger ones, because
/// there are at most [`PARTS_MAX`].
const PART_LEN: u64 = 16 << 20;
/// Most parts of a file.
const PARTS_MAX: u64 = 10_000;
/// Parts on their way at the same time: one is read while another waits for its signatures.
const PARTS_AT_ONCE: usize = 2;
/// Bytes of an archive: what an interruption may cost.
const ARCHIVE_LEN_MAX: u64 = 128 << 20;
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

/// Sends all; `stored` of the answer is empty.
///
/// # Errors
/// The file that could not be read, or what the node answered. What was stored before stays, and the error
/// says that some was.
pub async fn send(client: &Client, items: Vec<Outgoing>, bar: &ProgressBar) -> Result<PutReport> {
    let mut total = PutReport::default();
    let files = items.iter().filter(|item| !item.folder).count();
    let (large, small): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.bytes > LARGE);
    for archive in archives(small) {
        let report = match transfer::upload(client, archive, "/", None, bar).await {
            Ok(report) => report,
            Err(error) => return Err(so_far(error, &total, files)),
        };
        total.files += report.files;
        total.folders += report.folders;
        total.bytes += report.bytes;
        total.segments += report.segments;
        total.seconds += report.seconds;
        total.skipped.extend(report.skipped);
        total.warnings.extend(report.warnings);
    }
    for item in large {
        let begun = std::time::Instant::now();
        if let Err(error) = in_parts(client, &item, bar).await {
            return Err(so_far(error, &total, files));
        }
        total.files += 1;
        total.bytes += item.bytes;
        total.seconds += begun.elapsed().as_secs_f64();
    }
    Ok(total)
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
        Self { len, part: least.max(PART_LEN) }
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

/// Sends one file in parts, and only those that are missing when it was begun before.
async fn in_parts(client: &Client, item: &Outgoing, bar: &ProgressBar) -> Result<()> {
    let file = File::open(&item.source).with_context(|| item.source.display().to_string())?;
    let before = file.metadata().with_context(|| item.source.display().to_string())?;
    let cut = Cut::of(before.len());
    if cut.len == 0 {
        bail!("{} changed while it was being read; try again", item.source.display());
    }
    let attributes = attributes(&before, cut);
    let mut begun = client.uploads().await?.uploads;
    begun.retain(|it| it.path == item.path);
    let upload = match begun.iter().find(|it| it.attributes == attributes) {
        Some(upload) => upload.clone(),
        None => client.begin_upload(&UploadRequest { path: item.path.clone(), attributes }).await?,
    };
    let missing = missing(&upload, cut);
    let left: u64 = missing.iter().map(|number| cut.place(*number).1).sum();
    bar.inc(cut.len - left);
    bar.reset_eta();
    let (id, source) = (upload.id.as_str(), item.source.as_path());
    stream::iter(missing)
        .map(|number| send_part(client, id, source, number, cut, bar))
        .buffer_unordered(PARTS_AT_ONCE)
        .try_collect::<()>()
        .await
        .with_context(|| {
            format!("{} is not in the drive yet; the parts of it that are stored are kept, and the same command goes on", shown(&item.path))
        })?;
    let after = fs::metadata(&item.source).with_context(|| item.source.display().to_string())?;
    let same = |it: &fs::Metadata| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec());
    if same(&before) != same(&after) {
        client.abort_upload(id).await?;
        bail!(
            "{} changed while it was being read; nothing of it was stored, try again",
            item.source.display()
        );
    }
    let facts = facts(&before);
    let request = CompleteRequest {
        parts: (1..=cut.parts()).collect(),
        modified_ms: Some(facts.modified_ms),
        executable: facts.executable,
    };
    client.complete_upload(id, &request).await?;
    for id in stale(&begun, id, unix_milliseconds()) {
        // What holds them is freed some other time, if not now.
        let _ = client.abort_upload(id).await;
    }
    Ok(())
}

/// Uploads of the same file as it was, which nobody will go on with: of this program, and a day old.
fn stale<'a>(begun: &'a [UploadView], done: &str, now_ms: u64) -> Vec<&'a str> {
    let old = i64::try_from(now_ms.saturating_sub(STALE_MS)).unwrap_or(i64::MAX);
    let stale = |it: &&UploadView| it.id != done && it.attributes.contains_key(PART_KEY) && it.begun_ms < old;
    begun.iter().filter(stale).map(|it| it.id.as_str()).collect()
}

async fn send_part(
    client: &Client,
    id: &str,
    source: &Path,
    number: u32,
    cut: Cut,
    bar: &ProgressBar,
) -> Result<()> {
    let (first, len) = cut.place(number);
    let mut file = tokio::fs::File::open(source).await.with_context(|| source.display().to_string())?;
    file.seek(SeekFrom::Start(first)).await?;
    let part = Part { file, left: len, bar: bar.clone() };
    client.store_part(id, number, len, part).await?;
    Ok(())
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
        assert_eq!(stale(&begun, "done", now), ["old"]);
    }

    #[test]
    fn many_small_files_come_in_several_archives() {
        let item =
            |at: usize| Outgoing { source: "/s".into(), path: format!("/{at}"), folder: false, bytes: 1 };
        let archives = archives((0..ARCHIVE_ENTRIES_MAX + 1).map(item).collect());
        assert_eq!(archives.iter().map(|it| it.files).collect::<Vec<_>>(), [ARCHIVE_ENTRIES_MAX as u64, 1]);
    }
}
