//! Fetches segments, decodes them and opens what is sealed in them.
//!
//! Invariant: no plaintext leaves this module that did not pass its authentication, and lengths
//! are those that an authenticated parent named.
//! What this is not: it decides nothing about where chunks come from; the custodian does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use commonhold_format::drive::{Extent, OBJECT_LEN_MAX, ObjectRef};
use commonhold_format::ids::{NodeId, SegmentId};
use commonhold_format::seal::{
    ObjectKind, RECORD_LEN, Sealing, open_small, padded_len, record_count, sealed_len,
};
use commonhold_format::segment::Segment;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use crate::custody::Custody;
use crate::error::DriveError;
use crate::keeper::lock;
use crate::meter::{Meter, Stage};

/// Ciphertext of decoded segments that one operation keeps at hand: neighbours in a folder lie in
/// the same segment.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// A segment's ciphertext, on its way or here.
pub(crate) type SegmentBytes = Shared<BoxFuture<'static, Result<Arc<Vec<u8>>, DriveError>>>;

/// The segments that one operation reads.
pub(crate) struct Segments {
    custody: Arc<dyn Custody>,
    prefer: Option<NodeId>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    held: HashMap<SegmentId, Held>,
    bytes: usize,
    tick: u64,
}

struct Held {
    bytes: SegmentBytes,
    len: usize,
    used: u64,
}

impl Segments {
    pub(crate) fn new(custody: Arc<dyn Custody>, prefer: Option<NodeId>) -> Arc<Self> {
        Arc::new(Self { custody, prefer, cache: Mutex::default() })
    }

    /// The bytes of a segment. Fetching begins at once and goes on while nobody waits for it; it
    /// stops when every handle is dropped.
    pub(crate) fn get(&self, segment: &Segment) -> SegmentBytes {
        let id = segment.id();
        let mut cache = lock(&self.cache);
        cache.tick += 1;
        let now = cache.tick;
        if let Some(held) = cache.held.get_mut(&id)
            && !matches!(held.bytes.peek(), Some(Err(_)))
        {
            held.used = now;
            return held.bytes.clone();
        }
        let task = fetch(self.custody.clone(), segment.clone(), self.prefer);
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        let bytes =
            async move { task.await.unwrap_or_else(|error| Err(DriveError::Internal(error.to_string()))) };
        let bytes = bytes.boxed().shared();
        let len = segment.len as usize;
        if let Some(old) = cache.held.insert(id, Held { bytes: bytes.clone(), len, used: now }) {
            cache.bytes -= old.len;
        }
        cache.bytes += len;
        while cache.bytes > CACHE_BYTES_MAX && cache.held.len() > 1 {
            let oldest = cache.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id);
            if let Some(held) = oldest.and_then(|oldest| cache.held.remove(&oldest)) {
                cache.bytes -= held.len;
            }
        }
        bytes
    }

    /// Where the work is counted.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.custody.meter()
    }

    /// Opens a folder or a manifest.
    pub(crate) async fn object(
        &self,
        kind: ObjectKind,
        table: &[Segment],
        object: &ObjectRef,
    ) -> Result<Zeroizing<Vec<u8>>, DriveError> {
        let what = match kind {
            ObjectKind::Manifest => "a manifest",
            _ => "a folder",
        };
        let expected = sealed_len(object.len.min(OBJECT_LEN_MAX as u64));
        let total: u64 = object.extents.iter().map(|extent| u64::from(extent.len)).sum();
        if object.len > OBJECT_LEN_MAX as u64 || total != expected {
            return Err(DriveError::damaged(what, "its length is impossible"));
        }
        let mut sealed = Vec::with_capacity(total as usize);
        for extent in &object.extents {
            let bytes = self.get(segment_of(table, extent)?).await?;
            sealed.extend_from_slice(stretch(&bytes, extent)?);
        }
        open_small(kind, &object.id, &object.key, &object.commitment, object.len, &sealed)
            .map_err(|error| DriveError::damaged(what, error))
    }
}

async fn fetch(
    custody: Arc<dyn Custody>,
    segment: Segment,
    prefer: Option<NodeId>,
) -> Result<Arc<Vec<u8>>, DriveError> {
    let chunks = custody.fetch(&segment, prefer).await?;
    let meter = custody.meter();
    let decoding = move || {
        let chunks: Vec<(u8, &[u8])> = chunks.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
        let begun = Instant::now();
        let decoded = segment.code.decode(segment.len as usize, &chunks);
        meter.since(Stage::Decode, begun);
        decoded
    };
    let bytes = tokio::task::spawn_blocking(decoding)
        .await
        .map_err(|error| DriveError::Internal(error.to_string()))?
        .map_err(|error| DriveError::damaged("a segment", error))?;
    Ok(Arc::new(bytes))
}

/// The segment that an extent lies in.
pub(crate) fn segment_of<'a>(table: &'a [Segment], extent: &Extent) -> Result<&'a Segment, DriveError> {
    table
        .get(extent.segment as usize)
        .ok_or_else(|| DriveError::damaged("a reference", "it names a segment that is not there"))
}

/// The bytes of an extent.
pub(crate) fn stretch<'a>(segment: &'a [u8], extent: &Extent) -> Result<&'a [u8], DriveError> {
    let start = extent.offset as usize;
    start
        .checked_add(extent.len as usize)
        .and_then(|end| segment.get(start..end))
        .ok_or_else(|| DriveError::damaged("a reference", "it leads out of its segment"))
}

/// Opens the records of one file in order.
pub(crate) struct FileOpener {
    path: String,
    sealing: Sealing,
    record: u64,
    records: u64,
    true_left: u64,
    padding_left: u64,
}

impl FileOpener {
    /// Checks the key commitment.
    pub(crate) fn new(path: &str, object: &ObjectRef) -> Result<Self, DriveError> {
        let sealing = Sealing::with_commitment(ObjectKind::File, &object.id, &object.key, &object.commitment)
            .map_err(|error| DriveError::damaged(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            sealing,
            record: 0,
            records: record_count(object.len),
            true_left: object.len,
            padding_left: padded_len(object.len) - object.len,
        })
    }

    /// Opens the next record, which lies in extent number `place` of the file. `rest` is what is
    /// left of that extent; gives the plaintext without padding and the length of the record.
    pub(crate) fn open(&mut self, place: u32, rest: &[u8]) -> Result<(Vec<u8>, usize), DriveError> {
        let last = self.record + 1 >= self.records;
        let len = rest.len().min(RECORD_LEN);
        if self.record >= self.records || (!last && len < RECORD_LEN) {
            return Err(DriveError::damaged(&*self.path, "its records do not fit its extents"));
        }
        let mut sealed = rest[..len].to_vec();
        let plain = self
            .sealing
            .open_record(place, self.record, last, &mut sealed)
            .map_err(|error| DriveError::damaged(&*self.path, error))?;
        let keep = usize::try_from(self.true_left).unwrap_or(usize::MAX).min(plain.len());
        let padding = &plain[keep..];
        if padding.len() as u64 > self.padding_left || padding.iter().any(|byte| *byte != 0) {
            return Err(DriveError::damaged(&*self.path, "its padding is wrong"));
        }
        self.record += 1;
        self.true_left -= keep as u64;
        self.padding_left -= padding.len() as u64;
        sealed.truncate(keep);
        Ok((sealed, len))
    }

    /// Whether every record was opened and every byte of the file is out.
    pub(crate) fn is_complete(&self) -> bool {
        self.record == self.records && self.true_left == 0 && self.padding_left == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use commonhold_format::seal::{ObjectId, ObjectKey, RECORD_PLAIN_LEN};

    const LEN: u64 = 200_001;

    fn object() -> ObjectRef {
        let (id, key) = (ObjectId([1; 16]), ObjectKey(Zeroizing::new([2; 32])));
        let commitment = Sealing::new(ObjectKind::File, &id, &key).commitment();
        ObjectRef { id, key, commitment, len: LEN, extents: Vec::new() }
    }

    /// The records of a file whose padding ends in `last_byte`.
    fn records(last_byte: u8) -> Vec<Vec<u8>> {
        let object = object();
        let sealing = Sealing::new(ObjectKind::File, &object.id, &object.key);
        let mut plain = vec![7; LEN as usize];
        plain.resize(padded_len(LEN) as usize, 0);
        *plain.last_mut().unwrap() = last_byte;
        let count = record_count(LEN);
        let seal = |(at, part): (usize, &[u8])| {
            let mut out = Vec::new();
            sealing.seal_record(0, at as u64, at as u64 + 1 == count, part, &mut out).unwrap();
            out
        };
        plain.chunks(RECORD_PLAIN_LEN).enumerate().map(seal).collect()
    }

    #[test]
    fn attack_3_only_all_records_in_order_are_a_file() {
        assert!(padded_len(LEN) > LEN);
        let sealed = records(0);
        let mut opener = FileOpener::new("/f", &object()).unwrap();
        let mut plain = Vec::new();
        for record in &sealed {
            assert!(!opener.is_complete());
            let (part, used) = opener.open(0, record).unwrap();
            assert_eq!(used, record.len());
            plain.extend(part);
        }
        assert!(opener.is_complete());
        assert!(plain == vec![7; LEN as usize]);
        assert!(opener.open(0, &sealed[0]).is_err(), "a surplus record");

        let mut opener = FileOpener::new("/f", &object()).unwrap();
        assert!(opener.open(0, &sealed[1]).is_err(), "out of order");
        assert!(opener.open(1, &sealed[0]).is_err(), "in another extent");
        assert!(opener.open(0, &sealed[0][..RECORD_LEN - 1]).is_err(), "short");
        assert!(opener.open(0, &sealed[0]).is_ok());
    }

    #[test]
    fn padding_that_is_not_zeros_is_refused() {
        let sealed = records(1);
        let mut opener = FileOpener::new("/f", &object()).unwrap();
        let (last, full) = sealed.split_last().unwrap();
        for record in full {
            opener.open(0, record).unwrap();
        }
        assert_eq!(opener.open(0, last).unwrap_err().code(), "damaged");
    }

    #[test]
    fn attack_15_a_key_without_its_commitment_opens_nothing() {
        let mut object = object();
        object.commitment[0] ^= 1;
        assert_eq!(FileOpener::new("/f", &object).err().unwrap().code(), "damaged");
    }
}
