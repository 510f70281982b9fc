//! A custodian and a head board in memory, and tar streams made and read with the `tar` crate.
//!
//! The custodian holds to the contract of the traits: what it gives back was checked against its
//! chunk id, unless a test asks it to lie in order to see the next line of defence.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use commonhold_drive::{
    BoxFuture, Custody, CustodyError, Drive, DriveError, DriveOptions, DrivePath, HeadBoard,
};
use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, NodeId, SegmentId};
use commonhold_format::keys::{DriveKeys, RootSecret};
use commonhold_format::segment::Segment;
use commonhold_format::tree::chunk_id;
use tokio::io::AsyncReadExt;

pub(crate) use commonhold_drive::PlacedChunks as Chunks;
pub(crate) type Lie = Box<dyn Fn(&Segment, Chunks) -> Chunks + Send>;

pub(crate) struct MemoryCustody {
    code: Code,
    /// What the providers have, of all devices that share them.
    pub(crate) chunks: Arc<Mutex<HashMap<ChunkId, Bytes>>>,
    pub(crate) segments: Mutex<HashMap<SegmentId, Segment>>,
    /// Everything ever received: the length of each segment and its chunks.
    pub(crate) received: Mutex<Vec<(u32, Vec<Bytes>)>>,
    pub(crate) record: AtomicBool,
    /// How many more segments are accepted; negative for all.
    pub(crate) keeps_left: AtomicI64,
    /// Segments of at least this many bytes are accepted and thrown away.
    pub(crate) discard_from: AtomicUsize,
    pub(crate) keep_delay_ms: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) in_flight_peak: AtomicUsize,
    pub(crate) fetches: AtomicUsize,
    pub(crate) retain_fails: AtomicBool,
    pub(crate) retains: AtomicUsize,
    pub(crate) lie: Mutex<Option<Lie>>,
}

impl MemoryCustody {
    pub(crate) fn new(k: u8, n: u8) -> Arc<Self> {
        Arc::new(Self {
            code: Code::new(k, n).unwrap(),
            chunks: Arc::default(),
            segments: Mutex::default(),
            received: Mutex::default(),
            record: AtomicBool::new(false),
            keeps_left: AtomicI64::new(-1),
            discard_from: AtomicUsize::new(usize::MAX),
            keep_delay_ms: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_peak: AtomicUsize::new(0),
            fetches: AtomicUsize::new(0),
            retain_fails: AtomicBool::new(false),
            retains: AtomicUsize::new(0),
            lie: Mutex::default(),
        })
    }

    /// The custodian of another device: contracts of its own with the same providers.
    pub(crate) fn of_another_device(&self) -> Arc<Self> {
        let other = Self::new(self.code.k(), self.code.n());
        let mut other = Arc::into_inner(other).unwrap();
        other.chunks = self.chunks.clone();
        Arc::new(other)
    }

    pub(crate) fn ids(&self) -> HashSet<SegmentId> {
        self.segments.lock().unwrap().keys().copied().collect()
    }

    /// Loses `count` chunks of every segment, the first ones.
    pub(crate) fn lose(&self, count: usize) {
        let mut chunks = self.chunks.lock().unwrap();
        for segment in self.segments.lock().unwrap().values() {
            for id in &segment.chunks[..count] {
                chunks.remove(id);
            }
        }
    }
}

/// Counts bytes that were handed out, even if the put is given up meanwhile.
struct OnItsWay<'a>(&'a AtomicUsize, usize);

impl<'a> OnItsWay<'a> {
    fn new(counter: &'a AtomicUsize, bytes: usize) -> Self {
        counter.fetch_add(bytes, Ordering::SeqCst);
        Self(counter, bytes)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

impl Custody for MemoryCustody {
    fn code(&self) -> BoxFuture<'_, Result<Code, CustodyError>> {
        Box::pin(async { Ok(self.code) })
    }

    fn keep(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> BoxFuture<'_, Result<Segment, CustodyError>> {
        Box::pin(async move {
            assert_eq!(chunks.len(), usize::from(code.n()));
            let bytes: usize = chunks.iter().map(|(_, bytes)| bytes.len()).sum();
            let _on_its_way = OnItsWay::new(&self.in_flight, bytes);
            let now = self.in_flight.load(Ordering::SeqCst);
            self.in_flight_peak.fetch_max(now, Ordering::SeqCst);
            let delay = self.keep_delay_ms.load(Ordering::SeqCst) as u64;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let left = self.keeps_left.load(Ordering::SeqCst);
            if left == 0 {
                let reason = "the test says so".to_owned();
                return Err(CustodyError::NotStored { signed: 3, need: 5, reason });
            }
            if left > 0 {
                self.keeps_left.fetch_sub(1, Ordering::SeqCst);
            }
            for (id, bytes) in &chunks {
                assert_eq!(chunk_id(bytes), *id);
            }
            if self.record.load(Ordering::SeqCst) {
                let bytes = chunks.iter().map(|(_, bytes)| bytes.clone()).collect();
                self.received.lock().unwrap().push((len, bytes));
            }
            let segment = Segment {
                code,
                len,
                chunks: chunks.iter().map(|(id, _)| *id).collect(),
                holders: (0..code.n()).map(|i| NodeId([i; 32])).collect(),
            };
            if (len as usize) < self.discard_from.load(Ordering::SeqCst) {
                self.chunks.lock().unwrap().extend(chunks);
            }
            self.segments.lock().unwrap().insert(segment.id(), segment.clone());
            Ok(segment)
        })
    }

    fn fetch(
        &self,
        segment: &Segment,
        _prefer: Option<NodeId>,
    ) -> BoxFuture<'_, Result<Chunks, CustodyError>> {
        let segment = segment.clone();
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let need = usize::from(segment.code.k());
            let held = self.chunks.lock().unwrap();
            // The last ones first, so that decoding has parity to do with.
            let found: Chunks = (0..segment.code.n())
                .rev()
                .filter_map(|at| Some((at, held.get(&segment.chunks[usize::from(at)])?.clone())))
                .take(need)
                .collect();
            if found.len() < need {
                let reason = "lost".to_owned();
                return Err(CustodyError::Unavailable { have: found.len(), need, reason });
            }
            Ok(match &*self.lie.lock().unwrap() {
                Some(lie) => lie(&segment, found),
                None => found,
            })
        })
    }

    fn retain(&self, live: HashSet<SegmentId>) -> BoxFuture<'_, Result<(), CustodyError>> {
        Box::pin(async move {
            assert_eq!(self.in_flight.load(Ordering::SeqCst), 0, "retain while something is kept");
            self.retains.fetch_add(1, Ordering::SeqCst);
            if self.retain_fails.load(Ordering::SeqCst) {
                return Err(CustodyError::Other("nobody answers".to_owned()));
            }
            let mut segments = self.segments.lock().unwrap();
            let mut chunks = self.chunks.lock().unwrap();
            segments.retain(|id, segment| {
                let needed = live.contains(id);
                if !needed {
                    segment.chunks.iter().for_each(|chunk| drop(chunks.remove(chunk)));
                }
                needed
            });
            Ok(())
        })
    }
}

#[derive(Default)]
pub(crate) struct MemoryBoard {
    pub(crate) head: Mutex<Option<Vec<u8>>>,
    /// Neither takes heads in nor gives any.
    pub(crate) silent: AtomicBool,
    /// Takes no heads in.
    pub(crate) read_only: AtomicBool,
}

impl HeadBoard for MemoryBoard {
    fn publish(&self, head: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if self.silent.load(Ordering::SeqCst) || self.read_only.load(Ordering::SeqCst) {
                return Err("no peers".to_owned());
            }
            *self.head.lock().unwrap() = Some(head);
            Ok(())
        })
    }

    fn find(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            if self.silent.load(Ordering::SeqCst) {
                return Err("no peers".to_owned());
            }
            Ok(self.head.lock().unwrap().clone())
        })
    }
}

pub(crate) fn keys() -> DriveKeys {
    RootSecret::from_bytes([7; 32]).drive_keys()
}

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) custody: Arc<MemoryCustody>,
    pub(crate) board: Arc<MemoryBoard>,
    pub(crate) drive: Drive,
}

pub(crate) async fn open(
    dir: &Path,
    custody: &Arc<MemoryCustody>,
    board: &Arc<MemoryBoard>,
) -> Result<Drive, DriveError> {
    Drive::open(dir.to_owned(), keys(), custody.clone(), board.clone(), DriveOptions::default()).await
}

pub(crate) async fn bench() -> Bench {
    bench_with(2, 6).await
}

pub(crate) async fn bench_with(k: u8, n: u8) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let (custody, board) = (MemoryCustody::new(k, n), Arc::new(MemoryBoard::default()));
    let drive = open(dir.path(), &custody, &board).await.unwrap();
    Bench { dir, custody, board, drive }
}

pub(crate) fn path(text: &str) -> DrivePath {
    text.parse().unwrap()
}

/// One entry of a tree, by its path without slashes at the ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    File { bytes: Vec<u8>, executable: bool, modified: u64 },
    Folder { modified: u64 },
}

pub(crate) type Tree = BTreeMap<String, Thing>;

pub(crate) fn file(bytes: impl Into<Vec<u8>>) -> Thing {
    Thing::File { bytes: bytes.into(), executable: false, modified: 1_700_000_000 }
}

pub(crate) fn folder() -> Thing {
    Thing::Folder { modified: 1_600_000_000 }
}

pub(crate) fn tree<const N: usize>(things: [(&str, Thing); N]) -> Tree {
    things.into_iter().map(|(path, thing)| (path.to_owned(), thing)).collect()
}

/// Bytes that do not compress or repeat, the same for a seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn pack(tree: &Tree) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, thing) in tree {
        let mut header = tar::Header::new_gnu();
        match thing {
            Thing::File { bytes, executable, modified } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(bytes.len() as u64);
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_mtime(*modified);
                builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
            }
            Thing::Folder { modified } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                header.set_mode(0o755);
                header.set_mtime(*modified);
                builder.append_data(&mut header, format!("{path}/"), &b""[..]).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

pub(crate) fn unpack(archive: &[u8]) -> Tree {
    assert!(archive.ends_with(&[0; 1024]), "the archive has no end");
    let mut tree = Tree::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        let modified = entry.header().mtime().unwrap();
        let thing = if entry.header().entry_type().is_dir() {
            Thing::Folder { modified }
        } else {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, entry.size());
            let executable = entry.header().mode().unwrap() & 0o100 != 0;
            Thing::File { bytes, executable, modified }
        };
        assert!(tree.insert(path, thing).is_none(), "twice in the archive");
    }
    tree
}

impl Bench {
    pub(crate) async fn put(&self, to: &str, tree: &Tree) -> commonhold_drive::PutReport {
        let archive = std::io::Cursor::new(pack(tree));
        let report = self.drive.put_archive(&path(to), None, archive).await.unwrap();
        assert_eq!(report.warnings, Vec::<String>::new());
        report
    }

    pub(crate) async fn try_put(
        &self,
        to: &str,
        archive: Vec<u8>,
    ) -> Result<commonhold_drive::PutReport, DriveError> {
        self.drive.put_archive(&path(to), None, std::io::Cursor::new(archive)).await
    }

    pub(crate) async fn get(&self, from: &str) -> Tree {
        unpack(&read(&self.drive, from).await.unwrap())
    }

    pub(crate) async fn names(&self, from: &str) -> Vec<String> {
        let entries = self.drive.list(&path(from), None, usize::MAX).await.unwrap().0;
        entries.into_iter().map(|entry| entry.name().to_owned()).collect()
    }

    /// Exactly what the head needs is stored.
    pub(crate) async fn assert_no_litter(&self) {
        assert_eq!(self.custody.ids(), self.drive.walk().await.unwrap());
    }
}

/// A whole archive, or the error in or before it.
pub(crate) async fn read(drive: &Drive, from: &str) -> Result<Vec<u8>, std::io::Error> {
    let reader = drive.get_archive(&path(from), None).await;
    let mut reader = reader.map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The stable word of the drive's error inside an io::Error.
pub(crate) fn code_of(error: &std::io::Error) -> &'static str {
    error.get_ref().and_then(|inner| inner.downcast_ref::<DriveError>()).unwrap().code()
}
