//! Seals files and objects, packs their ciphertext into segments, codes the segments and hands
//! them to the custodian (spec/drive-layout.md).
//!
//! Invariant: at most [`IN_FLIGHT_BYTES_MAX`] of coded bytes (or [`SEGMENTS_MIN`] segments, if
//! those are larger) are on their way at a time, whatever the size of what is put; and no extent
//! leaves here for a segment that the custodian has not accepted, because [`Packer::flush`] waits
//! for all of them.
//! What this is not: it knows no names and no folders.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use commonhold_format::code::{Code, CodeError};
use commonhold_format::drive::{Extent, OBJECT_LEN_MAX, ObjectRef};
use commonhold_format::ids::ChunkId;
use commonhold_format::seal::{
    ObjectId, ObjectKey, ObjectKind, RECORD_LEN, RECORD_PLAIN_LEN, Sealing, padded_len, record_count,
    seal_small, sealed_len,
};
use commonhold_format::segment::Segment;
use commonhold_format::tree::chunk_id;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::buffers::Buffers;
use crate::error::DriveError;
use crate::keeper::Pending;
use crate::meter::{Meter, Stage};

/// Most coded bytes on their way to providers.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 48 << 20;
/// Segments that may be on their way even if they are larger than that: one being sent and one
/// being coded keep the line busy.
pub(crate) const SEGMENTS_MIN: usize = 2;
/// Segments that are coded and hashed at the same time, at most: one for each processor, and not
/// more than keep a fast line busy. Coding takes several times a segment's size of memory.
const CODING_MAX: usize = 4;
/// Most segments on their way, for those that are small.
const SEGMENTS_MAX: usize = 16;

/// Packs one put. Extents that it gives out index the list of segments that the next
/// [`Packer::flush`] answers.
pub(crate) struct Packer {
    pending: Arc<Pending>,
    code: Code,
    segment_len_max: usize,
    /// The open segment that small things share, with its number once it has any bytes.
    pack: Vec<u8>,
    pack_number: u32,
    /// Segments begun since the last flush, in order; filled in when the custodian has accepted them.
    begun: Vec<Option<Segment>>,
    /// Segments flushed.
    flushed: u64,
    running: JoinSet<Result<Kept, DriveError>>,
    coding: Arc<Semaphore>,
    buffers: Arc<Buffers>,
    in_flight_bytes: usize,
}

struct Kept {
    number: u32,
    coded_len: usize,
    segment: Segment,
}

impl Packer {
    pub(crate) fn new(pending: Arc<Pending>, code: Code) -> Self {
        Self {
            pending,
            code,
            segment_len_max: code.segment_len_max(),
            pack: Vec::new(),
            pack_number: 0,
            begun: Vec::new(),
            flushed: 0,
            running: JoinSet::new(),
            coding: Arc::new(Semaphore::new(processors().min(CODING_MAX))),
            buffers: Arc::default(),
            in_flight_bytes: 0,
        }
    }

    /// Where the work is counted.
    pub(crate) fn meter(&self) -> &Meter {
        self.pending.meter()
    }

    /// Segments that were flushed.
    pub(crate) fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Seals a whole object under a fresh key and packs it. An object that does not fit an empty
    /// segment is cut wherever a segment is full.
    pub(crate) async fn add_object(
        &mut self,
        kind: ObjectKind,
        plaintext: &[u8],
    ) -> Result<ObjectRef, DriveError> {
        // Nobody would open it again, this drive included.
        if plaintext.len() > OBJECT_LEN_MAX {
            let what = match kind {
                ObjectKind::Manifest => "a file is too large for one manifest: put it in parts",
                ObjectKind::History => "a file has too many versions: remove some",
                _ => "a page of a folder is too large",
            };
            return Err(DriveError::TooLarge(what.to_owned()));
        }
        let (id, key) = fresh()?;
        let commitment = Sealing::new(kind, &id, &key).commitment();
        let sealed = seal_small(kind, &id, &key, plaintext);
        self.make_room(sealed.len()).await?;
        let mut extents = Vec::new();
        let mut rest = sealed.as_slice();
        while !rest.is_empty() {
            if self.pack.len() == self.segment_len_max {
                self.close_pack().await?;
            }
            let part = rest.len().min(self.segment_len_max - self.pack.len());
            extents.push(self.next_extent(part));
            self.pack.extend_from_slice(&rest[..part]);
            rest = &rest[part..];
        }
        Ok(ObjectRef { id, key, commitment, len: plaintext.len() as u64, extents })
    }

    /// Begins the shared segment with bytes as they are, for a link's cover list. Nothing may have been packed
    /// since the last flush.
    pub(crate) fn add_plain(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        if bytes.len() > self.segment_len_max / 2 || !self.begun.is_empty() {
            let why = "what is shared lies in too many segments for one link: share parts of it";
            return Err(DriveError::TooLarge(why.to_owned()));
        }
        if !bytes.is_empty() {
            self.next_extent(bytes.len());
            self.pack.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Begins a file of exactly `len` bytes. Nothing else may be packed until it is finished.
    pub(crate) async fn begin_file(&mut self, len: u64) -> Result<FileInWork, DriveError> {
        let (id, key) = fresh()?;
        let sealing = Sealing::new(ObjectKind::File, &id, &key);
        let commitment = sealing.commitment();
        let sealed = sealed_len(len);
        let mut extents = Vec::new();
        let own = if sealed <= self.segment_len_max as u64 {
            let sealed = sealed as usize;
            self.make_room(sealed).await?;
            extents.push(self.next_extent(sealed));
            None
        } else {
            Some(OwnSegments { bytes: Vec::new(), sealed_left: sealed })
        };
        Ok(FileInWork {
            sealing,
            object: ObjectRef { id, key, commitment, len, extents },
            plain: Vec::new(),
            true_left: len,
            padding_left: padded_len(len) - len,
            record: 0,
            records: record_count(len),
            own,
        })
    }

    /// Takes the next bytes of a file. The caller has checked that they are not more than its
    /// length.
    pub(crate) async fn write(&mut self, file: &mut FileInWork, mut bytes: &[u8]) -> Result<(), DriveError> {
        file.true_left = file
            .true_left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| DriveError::Internal("a file got more bytes than it has".to_owned()))?;
        while !bytes.is_empty() {
            let part = bytes.len().min(RECORD_PLAIN_LEN - file.plain.len());
            file.plain.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            // The last record waits for `finish`, which alone knows it as the last.
            if file.plain.len() == RECORD_PLAIN_LEN && file.record + 1 < file.records {
                self.seal_record(file).await?;
            }
        }
        Ok(())
    }

    /// Pads and seals the rest. Fails when the file did not get all its bytes.
    pub(crate) async fn finish(&mut self, mut file: FileInWork) -> Result<ObjectRef, DriveError> {
        if file.true_left > 0 {
            return Err(DriveError::Internal("a file got fewer bytes than it has".to_owned()));
        }
        while file.record < file.records {
            let room = RECORD_PLAIN_LEN - file.plain.len();
            let zeros = usize::try_from(file.padding_left).unwrap_or(usize::MAX).min(room);
            file.plain.resize(file.plain.len() + zeros, 0);
            file.padding_left -= zeros as u64;
            self.seal_record(&mut file).await?;
        }
        Ok(file.object)
    }

    /// Closes the shared segment and waits until the custodian has accepted everything. Gives the
    /// segments that extents handed out since the last flush index; those after it begin anew.
    pub(crate) async fn flush(&mut self) -> Result<Arc<Vec<Segment>>, DriveError> {
        self.close_pack().await?;
        while self.reap().await? {}
        let unsent = || DriveError::Internal("a segment was never sent".to_owned());
        let kept: Result<Vec<Segment>, DriveError> =
            self.begun.drain(..).map(|segment| segment.ok_or_else(unsent)).collect();
        let kept = kept?;
        self.flushed += kept.len() as u64;
        Ok(Arc::new(kept))
    }

    async fn seal_record(&mut self, file: &mut FileInWork) -> Result<(), DriveError> {
        let last = file.record + 1 == file.records;
        let begun = Instant::now();
        let Some(own) = &mut file.own else {
            seal(&file.sealing, 0, file.record, last, &file.plain, &mut self.pack)?;
            self.pending.meter().since(Stage::Seal, begun);
            file.record += 1;
            file.plain.clear();
            return Ok(());
        };
        if own.bytes.is_empty() {
            let len = own.sealed_left.min(self.segment_len_max as u64);
            own.sealed_left -= len;
            // Segments hold at most 64 MiB.
            let segment = self.begin_segment();
            file.object.extents.push(Extent { segment, offset: 0, len: len as u32 });
            own.bytes = self.buffers.take(coded_len(self.code, len as usize)?);
        }
        // A segment of k MiB holds a whole number of records, so none is cut in two.
        debug_assert_eq!(self.segment_len_max % RECORD_LEN, 0);
        let place = file.object.extents.len() as u32 - 1;
        seal(&file.sealing, place, file.record, last, &file.plain, &mut own.bytes)?;
        self.pending.meter().since(Stage::Seal, begun);
        file.record += 1;
        file.plain.clear();
        if last || own.bytes.len() == self.segment_len_max {
            let number = file.object.extents[place as usize].segment;
            let bytes = std::mem::take(&mut own.bytes);
            self.send(number, bytes).await?;
        }
        Ok(())
    }

    /// Closes the shared segment if `len` more bytes would not fit into it.
    async fn make_room(&mut self, len: usize) -> Result<(), DriveError> {
        if !self.pack.is_empty() && self.pack.len() + len > self.segment_len_max {
            self.close_pack().await?;
        }
        Ok(())
    }

    /// The extent of the next `len` bytes of the shared segment, which is opened if need be.
    fn next_extent(&mut self, len: usize) -> Extent {
        if self.pack.is_empty() {
            self.pack_number = self.begin_segment();
        }
        Extent { segment: self.pack_number, offset: self.pack.len() as u32, len: len as u32 }
    }

    fn begin_segment(&mut self) -> u32 {
        self.begun.push(None);
        // 2^32 segments would be more than 4 PiB in one put.
        (self.begun.len() - 1) as u32
    }

    async fn close_pack(&mut self) -> Result<(), DriveError> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.pack);
        self.send(self.pack_number, bytes).await
    }

    async fn send(&mut self, number: u32, mut bytes: Vec<u8>) -> Result<(), DriveError> {
        let coded_len = coded_len(self.code, bytes.len())?;
        // A failure of what was sent earlier is seen here at the latest.
        while let Some(done) = self.running.try_join_next() {
            self.take(done)?;
        }
        while self.running.len() >= SEGMENTS_MAX
            || (self.running.len() >= SEGMENTS_MIN && self.in_flight_bytes + coded_len > IN_FLIGHT_BYTES_MAX)
        {
            self.reap().await?;
        }
        self.in_flight_bytes += coded_len;
        let (pending, code, coding_places) = (self.pending.clone(), self.code, self.coding.clone());
        let buffers = self.buffers.clone();
        self.running.spawn(async move {
            let len = bytes.len() as u32;
            // Never closed, so this cannot fail.
            let place = coding_places.acquire_owned().await.ok();
            let meter = pending.meter().clone();
            let coding = move || {
                let begun = Instant::now();
                let chunk_len = buffers.with_coder(|coder| code.encode_in_place(coder, &mut bytes))?;
                let all = buffers.share(bytes);
                meter.since(Stage::Code, begun);
                let begun = Instant::now();
                let chunks = with_ids(&all, chunk_len);
                meter.since(Stage::Hash, begun);
                Ok(chunks)
            };
            let chunks = tokio::task::spawn_blocking(coding)
                .await
                .map_err(|error| DriveError::Internal(error.to_string()))?
                .map_err(|error: CodeError| DriveError::damaged("a segment to be sent", error))?;
            drop(place);
            let segment = pending.keep(code, len, chunks).await?;
            Ok(Kept { number, coded_len, segment })
        });
        Ok(())
    }

    /// Waits for one segment; false when none is on its way.
    async fn reap(&mut self) -> Result<bool, DriveError> {
        match self.running.join_next().await {
            Some(done) => self.take(done).map(|()| true),
            None => Ok(false),
        }
    }

    fn take(
        &mut self,
        done: Result<Result<Kept, DriveError>, tokio::task::JoinError>,
    ) -> Result<(), DriveError> {
        let kept = done.map_err(|error| DriveError::Internal(error.to_string()))??;
        self.in_flight_bytes -= kept.coded_len;
        self.begun[kept.number as usize] = Some(kept.segment);
        Ok(())
    }
}

/// Bytes of all chunks of a segment of `len` bytes.
fn coded_len(code: Code, len: usize) -> Result<usize, DriveError> {
    let chunk_len =
        code.chunk_len(len).map_err(|error| DriveError::damaged("a segment to be sent", error))?;
    Ok(chunk_len * usize::from(code.n()))
}

/// Processors of this machine; one when the system does not say.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn with_ids(all: &Bytes, chunk_len: usize) -> Vec<(ChunkId, Bytes)> {
    all.chunks(chunk_len).map(|chunk| (chunk_id(chunk), all.slice_ref(chunk))).collect()
}

fn seal(
    sealing: &Sealing,
    segment: u32,
    record: u64,
    last: bool,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), DriveError> {
    sealing
        .seal_record(segment, record, last, plain, out)
        .map_err(|_| DriveError::Internal("a record could not be sealed".to_owned()))
}

/// A fresh id and key. One of each for every version of everything: a key never seals twice.
fn fresh() -> Result<(ObjectId, ObjectKey), DriveError> {
    let mut id = [0; 16];
    let mut key = Zeroizing::new([0; 32]);
    random(&mut id)?;
    random(key.as_mut_slice())?;
    Ok((ObjectId(id), ObjectKey(key)))
}

/// Fills `bytes` from the system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), DriveError> {
    getrandom::fill(bytes)
        .map_err(|error| DriveError::Internal(format!("the system gives no random bytes: {error}")))
}

/// A file that is being sealed.
pub(crate) struct FileInWork {
    sealing: Sealing,
    object: ObjectRef,
    /// Plaintext of the record that is being filled.
    plain: Vec<u8>,
    true_left: u64,
    padding_left: u64,
    record: u64,
    records: u64,
    /// Set when the file is too large for a shared segment.
    own: Option<OwnSegments>,
}

/// The segment of a large file that is being filled.
struct OwnSegments {
    bytes: Vec<u8>,
    /// Ciphertext of the file beyond this segment.
    sealed_left: u64,
}

#[cfg(test)]
mod tests;
