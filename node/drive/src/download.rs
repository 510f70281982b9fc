//! Streams content out: one file or a range of it, or files and folders as a tar archive.
//!
//! Invariant: no byte is written that was not authenticated, and any failure ends the stream with an
//! error, so a reader never takes a short stream for a whole one; the closing blocks of an archive are
//! written only after everything before them. Segments are fetched ahead by [`AHEAD_MAX`] jobs and no more.

use std::collections::VecDeque;
use std::io::Cursor;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use commonhold_format::drive::ObjectRef;
use futures::{Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::{HeaderKind, end_of_archive, entry_header, padding};
use crate::error::DriveError;
use crate::folder::Scan;
use crate::located::{Content, FileNode, FolderNode, Kind, Node};
use crate::meter::{Meter, Stage};
use crate::objects::Objects;
use crate::reader::{RecordOpener, SegmentBytes, Segments, Stretch, segment_of, stretch, stretches};
use commonhold_format::ids::SegmentId;
use commonhold_format::seal::{RECORD_LEN, RECORD_PLAIN_LEN};
use commonhold_format::segment::Segment;

/// A stream of content. Reading it fails when data are missing or damaged; it never ends early without
/// an error.
pub type ContentReader = Pin<Box<dyn AsyncRead + Send>>;

/// Jobs prepared before they are needed: with the one being written, at most this many segments
/// more than the cache are in memory.
const AHEAD_MAX: usize = 3;

/// What is to be streamed.
pub(crate) enum Target {
    /// Bytes of a file, as they are.
    Bytes { path: String, content: Content, range: Range<u64> },
    /// A file as an archive.
    File { name: String, node: Node },
    /// A folder under a name, as an archive.
    Folder { name: String, folder: FolderNode, modified_ms: i64 },
    /// What is in a folder, as an archive.
    Contents(FolderNode),
}

enum Job {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// Records of a file. `cut` are the bytes that are wanted, counted from the object's first.
    Records {
        id: SegmentId,
        bytes: SegmentBytes,
        stretch: Stretch,
        opener: Arc<RecordOpener>,
        cut: Range<u64>,
    },
    Failed(DriveError),
    /// The end, and the bytes that it has.
    Done(Vec<u8>),
}

/// Begins to stream `target`. `held` lives as long as the stream. Fails right away when the first
/// bytes cannot be had.
pub(crate) async fn stream(
    objects: Objects,
    target: Target,
    held: impl Send + 'static,
) -> Result<ContentReader, DriveError> {
    // A file's header says little: what counts is whether its data can be had.
    let first_pieces = if matches!(target, Target::File { .. }) { 2 } else { 1 };
    let (jobs, queue) = mpsc::channel(AHEAD_MAX);
    let (segments, meter) = (objects.segments.clone(), objects.segments.meter());
    let producer = tokio::spawn(async move {
        let mut producer = Producer { objects, jobs };
        let last = match producer.target(target).await {
            Ok(end) => Job::Done(end),
            Err(Stop::Failed(error)) => Job::Failed(error),
            Err(Stop::NobodyReads) => return,
        };
        let _ = producer.send(last).await;
    });
    let writer = Writer {
        queue,
        current: None,
        ended: false,
        segments,
        meter,
        _producer: AbortOnDropHandle::new(producer),
        _held: held,
    };
    let mut pieces = Box::pin(futures::stream::unfold(writer, |mut writer| async move {
        let piece = writer.next().await?;
        Some((piece, writer))
    }))
    .fuse();
    let mut first = VecDeque::new();
    for _ in 0..first_pieces {
        if let Some(piece) = pieces.next().await {
            first.push_back(Ok(piece?));
        }
    }
    let pieces: Pin<Box<dyn Stream<Item = Result<Vec<u8>, DriveError>> + Send>> =
        Box::pin(futures::stream::iter(first).chain(pieces));
    let pieces = pieces.map(|piece| {
        piece.map(Cursor::new).map_err(|error| {
            tracing::warn!(%error, "a download ended with an error");
            std::io::Error::other(error)
        })
    });
    Ok(Box::pin(StreamReader::new(pieces)))
}

struct Producer {
    objects: Objects,
    jobs: mpsc::Sender<Job>,
}

enum Stop {
    Failed(DriveError),
    NobodyReads,
}

impl From<DriveError> for Stop {
    fn from(error: DriveError) -> Self {
        Stop::Failed(error)
    }
}

impl Producer {
    async fn send(&mut self, job: Job) -> Result<(), Stop> {
        self.jobs.send(job).await.map_err(|_| Stop::NobodyReads)
    }

    async fn target(&mut self, target: Target) -> Result<Vec<u8>, Stop> {
        match target {
            Target::Bytes { path, content, range } => {
                self.content(&path, &content, range).await?;
                return Ok(Vec::new());
            }
            Target::File { name, node } => match &node.kind {
                Kind::File(file) => self.file(&name, node.modified_ms, file).await?,
                Kind::Folder(_) => return Err(no_file().into()),
            },
            Target::Folder { name, folder, modified_ms } => {
                let header = entry_header(&name, modified_ms, &HeaderKind::Folder);
                self.send(Job::Bytes(header)).await?;
                self.contents(name, &folder).await?;
            }
            Target::Contents(folder) => self.contents(String::new(), &folder).await?,
        }
        Ok(end_of_archive())
    }

    /// Everything below a folder, depth first, without recursion.
    async fn contents(&mut self, path: String, folder: &FolderNode) -> Result<(), Stop> {
        let mut open: Vec<(String, Scan)> = vec![(path, self.objects.scan(folder, None))];
        while let Some((path, scan)) = open.last_mut() {
            let Some(standing) = scan.next().await? else {
                open.pop();
                continue;
            };
            let entry = standing.entry();
            let path = if path.is_empty() {
                entry.name.as_str().to_owned()
            } else {
                format!("{path}/{}", entry.name.as_str())
            };
            let node = standing.node()?;
            match &node.kind {
                Kind::File(file) => self.file(&path, node.modified_ms, file).await?,
                Kind::Folder(below) => {
                    let header = entry_header(&path, node.modified_ms, &HeaderKind::Folder);
                    self.send(Job::Bytes(header)).await?;
                    let scan = self.objects.scan(below, None);
                    open.push((path, scan));
                }
            }
        }
        Ok(())
    }

    async fn file(&mut self, path: &str, modified_ms: i64, file: &FileNode) -> Result<(), Stop> {
        let len = file.content.len();
        let kind = HeaderKind::File { len, executable: file.executable };
        self.send(Job::Bytes(entry_header(path, modified_ms, &kind))).await?;
        self.content(path, &file.content, 0..len).await?;
        let fill = padding(len);
        if fill.is_empty() { Ok(()) } else { self.send(Job::Bytes(fill)).await }
    }

    /// Bytes of a file. `range` lies within it.
    async fn content(&mut self, path: &str, content: &Content, range: Range<u64>) -> Result<(), Stop> {
        match content {
            Content::Inline(bytes) => {
                let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                self.send(Job::Bytes(bytes[cut(range.start)..cut(range.end)].to_vec())).await
            }
            Content::Direct(object) => self.part(path, &object.table, &object.object, range).await,
            Content::Manifest { manifest, len } => {
                let manifest = self.objects.manifest(&manifest.table, &manifest.object, *len).await?;
                let mut start = 0;
                for part in &manifest.parts {
                    let end = start + part.len;
                    // An empty part has one record all the same; it is nobody's byte.
                    if range.start < end && start < range.end {
                        let within = range.start.max(start) - start..range.end.min(end) - start;
                        self.part(path, &manifest.table, part, within).await?;
                    }
                    start = end;
                }
                Ok(())
            }
            Content::Parts(_) => Err(crate::located::unwritten().into()),
        }
    }

    async fn part(
        &mut self,
        path: &str,
        table: &[Segment],
        object: &ObjectRef,
        range: Range<u64>,
    ) -> Result<(), Stop> {
        if range.is_empty() && object.len > 0 {
            return Ok(());
        }
        let opener = Arc::new(RecordOpener::new(path, object)?);
        for stretch in stretches(path, object, range.start, range.end)? {
            // There is room for the job before its segment is asked for.
            let room = self.jobs.reserve().await.map_err(|_| Stop::NobodyReads)?;
            let segment = segment_of(table, &stretch.extent)?;
            let (id, bytes) = (segment.id(), self.objects.segments.get(segment));
            room.send(Job::Records { id, bytes, stretch, opener: opener.clone(), cut: range.clone() });
        }
        Ok(())
    }
}

/// The stretch that is being written.
struct Current {
    id: SegmentId,
    segment: Arc<Vec<u8>>,
    stretch: Stretch,
    opener: Arc<RecordOpener>,
    cut: Range<u64>,
}

struct Writer<H> {
    queue: mpsc::Receiver<Job>,
    current: Option<Current>,
    ended: bool,
    segments: Arc<Segments>,
    meter: Arc<Meter>,
    _producer: AbortOnDropHandle<()>,
    _held: H,
}

impl<H> Writer<H> {
    /// The next piece; none after the end or after an error.
    async fn next(&mut self) -> Option<Result<Vec<u8>, DriveError>> {
        loop {
            if self.ended {
                return None;
            }
            let piece = self.step().await;
            if piece.is_err() {
                self.ended = true;
            }
            match piece {
                // An empty piece would look like the end to a reader.
                Ok(piece) if piece.is_empty() => {}
                piece => return Some(piece),
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<u8>, DriveError> {
        if let Some(Current { id, segment, stretch, opener, cut }) = &mut self.current {
            let begun = Instant::now();
            let end = (stretch.start + RECORD_LEN).min(stretch.end);
            let record = stretch.record;
            let opened = opener.open(stretch.place, record, &segment[stretch.start..end]);
            let mut plain = opened.inspect_err(|_| self.segments.forget(id))?;
            self.meter.since(Stage::Open, begun);
            let first = record * RECORD_PLAIN_LEN as u64;
            let within = |at: u64| usize::try_from(at.saturating_sub(first)).unwrap_or(usize::MAX);
            plain.truncate(within(cut.end));
            plain.drain(..within(cut.start).min(plain.len()));
            stretch.start = end;
            stretch.record += 1;
            if stretch.start == stretch.end {
                self.current = None;
            }
            return Ok(plain);
        }
        match self.queue.recv().await.ok_or_else(lost)? {
            Job::Bytes(bytes) => Ok(bytes),
            Job::Records { id, bytes, stretch: part, opener, cut } => {
                let segment = bytes.await?;
                stretch(&segment, &part.extent)?;
                self.current = Some(Current { id, segment, stretch: part, opener, cut });
                Ok(Vec::new())
            }
            Job::Failed(error) => Err(error),
            Job::Done(end) => {
                self.ended = true;
                Ok(end)
            }
        }
    }
}

fn no_file() -> DriveError {
    DriveError::Internal("a folder was read as a file".to_owned())
}

fn lost() -> DriveError {
    DriveError::Internal("the reading of the drive was stopped".to_owned())
}
