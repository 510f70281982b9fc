//! Streams files and folders out as a tar archive.
//!
//! Invariant: the closing blocks of the archive are written only after everything before them was
//! fetched, authenticated and written. Any failure ends the stream with an error, so a reader
//! never takes a short archive for a whole one. Segments are fetched ahead by
//! [`AHEAD_MAX`] jobs and no more.

use std::collections::VecDeque;
use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use commonhold_format::drive::{Entry, EntryKind, FileContent, Folder, ObjectRef};
use commonhold_format::segment::Segment;
use futures::{Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::{HeaderKind, end_of_archive, entry_header, padding};
use crate::error::DriveError;
use crate::meter::{Meter, Stage};
use crate::objects::Objects;
use crate::reader::{FileOpener, SegmentBytes, Segments, segment_of, stretch};

/// A tar stream. Reading it fails when data are missing or damaged; it never ends early without
/// an error.
pub type ArchiveReader = Pin<Box<dyn AsyncRead + Send>>;

/// Jobs prepared before they are needed: with the one being written, at most this many segments
/// more than the cache are in memory.
const AHEAD_MAX: usize = 3;

/// What is to be streamed.
pub(crate) enum Target {
    /// One entry of a folder.
    Entry { parent: Arc<Folder>, at: usize },
    /// A folder under a name.
    Folder { name: String, folder: Arc<Folder>, modified_ms: i64 },
    /// What is in the root folder.
    Root(Arc<Folder>),
}

enum Job {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// The next extent of the current file; `opener` begins a file.
    Extent {
        bytes: SegmentBytes,
        extent: commonhold_format::drive::Extent,
        place: u32,
        opener: Option<Box<FileOpener>>,
    },
    Failed(DriveError),
    Done,
}

/// Begins to stream `target`. `held` lives as long as the stream. Fails right away when the first
/// bytes cannot be had.
pub(crate) async fn stream(
    objects: Arc<Objects>,
    segments: Arc<Segments>,
    target: Target,
    held: impl Send + 'static,
) -> Result<ArchiveReader, DriveError> {
    // A file's header says little: what counts is whether its data can be had.
    let first_pieces = if matches!(target, Target::Entry { .. }) { 2 } else { 1 };
    let (jobs, queue) = mpsc::channel(AHEAD_MAX);
    let meter = segments.meter();
    let producer = tokio::spawn(async move {
        let mut producer = Producer { objects, segments, jobs };
        let last = match producer.target(target).await {
            Ok(()) => Job::Done,
            Err(Stop::Failed(error)) => Job::Failed(error),
            Err(Stop::NobodyReads) => return,
        };
        let _ = producer.send(last).await;
    });
    let writer = Writer {
        queue,
        current: None,
        opener: None,
        ended: false,
        meter,
        _producer: AbortOnDropHandle::new(producer),
        _held: held,
    };
    let mut pieces = Box::pin(futures::stream::unfold(writer, |mut writer| async move {
        let piece = writer.next().await?;
        Some((piece, writer))
    }));
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
            tracing::warn!(%error, "an archive ended with an error");
            std::io::Error::other(error)
        })
    });
    Ok(Box::pin(StreamReader::new(pieces)))
}

struct Producer {
    objects: Arc<Objects>,
    segments: Arc<Segments>,
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

    async fn target(&mut self, target: Target) -> Result<(), Stop> {
        match target {
            Target::Entry { parent, at } => {
                let entry = &parent.entries[at];
                self.file(entry.name.as_str(), &parent, entry).await
            }
            Target::Folder { name, folder, modified_ms } => {
                let header = entry_header(&name, modified_ms, &HeaderKind::Folder);
                self.send(Job::Bytes(header)).await?;
                self.contents(name, folder).await
            }
            Target::Root(folder) => self.contents(String::new(), folder).await,
        }
    }

    /// Everything below a folder, depth first, without recursion.
    async fn contents(&mut self, path: String, folder: Arc<Folder>) -> Result<(), Stop> {
        let mut open = vec![(path, folder, 0)];
        while let Some((path, folder, next)) = open.last_mut() {
            let (at, folder) = (*next, folder.clone());
            *next += 1;
            let Some(entry) = folder.entries.get(at) else {
                open.pop();
                continue;
            };
            let path = if path.is_empty() {
                entry.name.as_str().to_owned()
            } else {
                format!("{path}/{}", entry.name.as_str())
            };
            match &entry.node {
                EntryKind::File { .. } => self.file(&path, &folder, entry).await?,
                EntryKind::Folder(object) => {
                    let header = entry_header(&path, entry.modified_ms, &HeaderKind::Folder);
                    self.send(Job::Bytes(header)).await?;
                    let child = self.objects.folder(&self.segments, &folder.table, object).await?;
                    open.push((path, child, 0));
                }
            }
        }
        Ok(())
    }

    async fn file(&mut self, path: &str, folder: &Folder, entry: &Entry) -> Result<(), Stop> {
        let EntryKind::File { content, executable } = &entry.node else {
            return Err(DriveError::Internal("a folder was read as a file".to_owned()).into());
        };
        let len = crate::objects::file_len(entry);
        let kind = HeaderKind::File { len, executable: *executable };
        self.send(Job::Bytes(entry_header(path, entry.modified_ms, &kind))).await?;
        match content {
            FileContent::Inline(bytes) => self.send(Job::Bytes(bytes.clone())).await?,
            FileContent::Direct(object) => self.extents(path, &folder.table, object).await?,
            FileContent::Manifest { manifest, len } => {
                let manifest = self.objects.manifest(&self.segments, &folder.table, manifest, *len).await?;
                self.extents(path, &manifest.table, &manifest.file).await?;
            }
        }
        let fill = padding(len);
        if fill.is_empty() { Ok(()) } else { self.send(Job::Bytes(fill)).await }
    }

    async fn extents(&mut self, path: &str, table: &[Segment], object: &ObjectRef) -> Result<(), Stop> {
        let mut opener = Some(Box::new(FileOpener::new(path, object)?));
        for (place, extent) in object.extents.iter().enumerate() {
            let place =
                u32::try_from(place).map_err(|_| DriveError::damaged(path, "it has too many extents"))?;
            // There is room for the job before its segment is asked for.
            let room = self.jobs.reserve().await.map_err(|_| Stop::NobodyReads)?;
            let bytes = self.segments.get(segment_of(table, extent)?);
            room.send(Job::Extent { bytes, extent: *extent, place, opener: opener.take() });
        }
        Ok(())
    }
}

struct Writer<H> {
    queue: mpsc::Receiver<Job>,
    /// The extent being written: its segment, where to go on, its end, its place in the file.
    current: Option<(Arc<Vec<u8>>, usize, usize, u32)>,
    opener: Option<Box<FileOpener>>,
    ended: bool,
    meter: Arc<Meter>,
    _producer: AbortOnDropHandle<()>,
    _held: H,
}

impl<H> Writer<H> {
    /// The next piece; none after the end or after an error.
    async fn next(&mut self) -> Option<Result<Vec<u8>, DriveError>> {
        if self.ended {
            return None;
        }
        loop {
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
        if let Some((segment, at, end, place)) = &mut self.current {
            let opener = self.opener.as_mut().ok_or_else(lost)?;
            let begun = Instant::now();
            let (plain, used) = opener.open(*place, &segment[*at..*end])?;
            self.meter.since(Stage::Open, begun);
            *at += used;
            if at == end {
                self.current = None;
            }
            return Ok(plain);
        }
        let job = self.queue.recv().await.ok_or_else(lost)?;
        let more = matches!(job, Job::Extent { opener: None, .. });
        if !more && self.opener.take().is_some_and(|opener| !opener.is_complete()) {
            return Err(DriveError::damaged("a file", "it is shorter than its entry says"));
        }
        match job {
            Job::Bytes(bytes) => Ok(bytes),
            Job::Extent { bytes, extent, place, opener } => {
                if opener.is_some() {
                    self.opener = opener;
                }
                let segment = bytes.await?;
                stretch(&segment, &extent)?;
                let start = extent.offset as usize;
                let end = start + extent.len as usize;
                if start < end {
                    self.current = Some((segment, start, end, place));
                }
                Ok(Vec::new())
            }
            Job::Failed(error) => Err(error),
            Job::Done => {
                self.ended = true;
                Ok(end_of_archive())
            }
        }
    }
}

fn lost() -> DriveError {
    DriveError::Internal("the reading of the drive was stopped".to_owned())
}
