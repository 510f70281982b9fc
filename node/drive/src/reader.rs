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
    ObjectKind, RECORD_LEN, RECORD_PLAIN_LEN, Sealing, open_small, padded_len, record_count, sealed_len,
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

/// Ciphertext of decoded segments that is kept at hand for one operation that asks a provider of its own
/// choice first.
pub(crate) const OWN_CACHE_BYTES_MAX: usize = 16 << 20;

/// Bytes of a record's tag.
const TAG_LEN: u64 = (RECORD_LEN - RECORD_PLAIN_LEN) as u64;

/// A segment's ciphertext, on its way or here.
pub(crate) type SegmentBytes = Shared<BoxFuture<'static, Result<Arc<Vec<u8>>, DriveError>>>;

/// Segments that are being read.
pub(crate) struct Segments {
    custody: Arc<dyn Custody>,
    prefer: Option<NodeId>,
    cache: Mutex<Cache>,
    cache_bytes_max: usize,
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
    pub(crate) fn new(
        custody: Arc<dyn Custody>,
        prefer: Option<NodeId>,
        cache_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self { custody, prefer, cache: Mutex::default(), cache_bytes_max })
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
        while cache.bytes > self.cache_bytes_max && cache.held.len() > 1 {
            let oldest = cache.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id);
            if let Some(held) = oldest.and_then(|oldest| cache.held.remove(&oldest)) {
                cache.bytes -= held.len;
            }
        }
        bytes
    }

    /// Gives up what was kept of a segment, so that it is fetched anew: what it held did not open.
    pub(crate) fn forget(&self, segment: &SegmentId) {
        let mut cache = lock(&self.cache);
        if let Some(held) = cache.held.remove(segment) {
            cache.bytes -= held.len;
        }
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
            ObjectKind::History => "a history",
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
        open_small(kind, &object.id, &object.key, &object.commitment, object.len, &sealed).map_err(|error| {
            for extent in &object.extents {
                if let Ok(segment) = segment_of(table, extent) {
                    self.forget(&segment.id());
                }
            }
            DriveError::damaged(what, error)
        })
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

/// The segments that an object lies in, one for each of its extents.
pub(crate) fn segments_of<'a>(
    table: &'a [Segment],
    object: &ObjectRef,
) -> Result<Vec<&'a Segment>, DriveError> {
    object.extents.iter().map(|extent| segment_of(table, extent)).collect()
}

/// The bytes of an extent.
pub(crate) fn stretch<'a>(segment: &'a [u8], extent: &Extent) -> Result<&'a [u8], DriveError> {
    let start = extent.offset as usize;
    start
        .checked_add(extent.len as usize)
        .and_then(|end| segment.get(start..end))
        .ok_or_else(|| DriveError::damaged("a reference", "it leads out of its segment"))
}

/// Opens records of one object of kind File.
pub(crate) struct RecordOpener {
    path: String,
    sealing: Sealing,
    records: u64,
    len: u64,
    padded_len: u64,
}

impl RecordOpener {
    /// Checks the key commitment.
    pub(crate) fn new(path: &str, object: &ObjectRef) -> Result<Self, DriveError> {
        let sealing = Sealing::with_commitment(ObjectKind::File, &object.id, &object.key, &object.commitment)
            .map_err(|error| DriveError::damaged(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            sealing,
            records: record_count(object.len),
            len: object.len,
            padded_len: padded_len(object.len),
        })
    }

    /// Opens record number `record`, which lies in extent number `place` of the object and is `sealed`.
    /// Gives its plaintext without padding, which may be nothing.
    pub(crate) fn open(&self, place: u32, record: u64, sealed: &[u8]) -> Result<Vec<u8>, DriveError> {
        let damaged = |why: &str| DriveError::damaged(&*self.path, why);
        let last = record + 1 == self.records;
        let start = record.saturating_mul(RECORD_PLAIN_LEN as u64);
        let plain_len = self.padded_len.saturating_sub(start).min(RECORD_PLAIN_LEN as u64);
        if record >= self.records || sealed.len() as u64 != plain_len + TAG_LEN {
            return Err(damaged("its records do not fit its extents"));
        }
        let mut sealed = sealed.to_vec();
        let plain = self
            .sealing
            .open_record(place, record, last, &mut sealed)
            .map_err(|error| DriveError::damaged(&*self.path, error))?;
        let keep = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX).min(plain.len());
        if plain[keep..].iter().any(|byte| *byte != 0) {
            return Err(damaged("its padding is wrong"));
        }
        sealed.truncate(keep);
        Ok(sealed)
    }
}

/// A stretch of records of one object that lie in one extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The extent's number in the object.
    pub(crate) place: u32,
    /// The extent.
    pub(crate) extent: Extent,
    /// The first record.
    pub(crate) record: u64,
    /// Where it begins within the segment, bytes.
    pub(crate) start: usize,
    /// The end of the last one.
    pub(crate) end: usize,
}

/// The records of an object that have the bytes from `from` to before `to`, by extents; for an object that is
/// read to its end, those with nothing but padding, too.
pub(crate) fn stretches(
    path: &str,
    object: &ObjectRef,
    from: u64,
    to: u64,
) -> Result<Vec<Stretch>, DriveError> {
    let damaged = |why: &str| DriveError::damaged(path, why);
    let record_plain = RECORD_PLAIN_LEN as u64;
    let records = record_count(object.len);
    let first = (from / record_plain).min(records.saturating_sub(1));
    let end = if to >= object.len { records } else { to.div_ceil(record_plain).max(first + 1) };
    let mut found = Vec::new();
    let mut record = 0u64;
    let total: u64 = object.extents.iter().map(|extent| u64::from(extent.len)).sum();
    if total != sealed_len(object.len) {
        return Err(damaged("its length is impossible"));
    }
    for (place, extent) in object.extents.iter().enumerate() {
        let place = u32::try_from(place).map_err(|_| damaged("it has too many extents"))?;
        let last = place as usize + 1 == object.extents.len();
        let len = extent.len as usize;
        if !last && !len.is_multiple_of(RECORD_LEN) {
            return Err(damaged("its records do not fit its extents"));
        }
        let here = len.div_ceil(RECORD_LEN) as u64;
        let (a, b) = (first.max(record), end.min(record + here));
        if a < b {
            let offset = extent.offset as usize;
            let start = offset + (a - record) as usize * RECORD_LEN;
            let stop = offset + ((b - record) as usize * RECORD_LEN).min(len);
            found.push(Stretch { place, extent: *extent, record: a, start, end: stop });
        }
        record += here;
    }
    Ok(found)
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
    fn attack_3_a_record_opens_in_its_own_place_alone() {
        assert!(padded_len(LEN) > LEN);
        let sealed = records(0);
        let opener = RecordOpener::new("/f", &object()).unwrap();
        let mut plain = Vec::new();
        for (at, record) in sealed.iter().enumerate() {
            plain.extend(opener.open(0, at as u64, record).unwrap());
        }
        assert!(plain == vec![7; LEN as usize]);
        assert!(opener.open(0, sealed.len() as u64, &sealed[0]).is_err(), "a surplus record");
        assert!(opener.open(0, 0, &sealed[1]).is_err(), "out of order");
        assert!(opener.open(1, 0, &sealed[0]).is_err(), "in another extent");
        assert!(opener.open(0, 0, &sealed[0][..RECORD_LEN - 1]).is_err(), "short");
    }

    #[test]
    fn padding_that_is_not_zeros_is_refused() {
        let sealed = records(1);
        let opener = RecordOpener::new("/f", &object()).unwrap();
        let (last, full) = sealed.split_last().unwrap();
        for (at, record) in full.iter().enumerate() {
            opener.open(0, at as u64, record).unwrap();
        }
        assert_eq!(opener.open(0, full.len() as u64, last).unwrap_err().code(), "damaged");
    }

    #[test]
    fn attack_15_a_key_without_its_commitment_opens_nothing() {
        let mut object = object();
        object.commitment[0] ^= 1;
        assert_eq!(RecordOpener::new("/f", &object).err().unwrap().code(), "damaged");
    }

    #[test]
    fn a_range_is_read_in_the_records_that_have_it() {
        let len = 5 * (1 << 20) + 17;
        let full = 2 * (1 << 20) as u32;
        let sealed = sealed_len(len);
        let rest = (sealed - 2 * u64::from(full)) as u32;
        let extents = [full, full, rest];
        let extents =
            extents.iter().enumerate().map(|(at, len)| Extent { segment: at as u32, offset: 0, len: *len });
        let object = ObjectRef { len, extents: extents.collect(), ..object() };
        let plain = RECORD_PLAIN_LEN as u64;
        for (from, to) in [(0, len), (0, 1), (plain - 1, plain + 1), (31 * plain, 33 * plain), (len - 1, len)]
        {
            let found = stretches("/f", &object, from, to).unwrap();
            let first = found[0].record;
            let last = found.last().unwrap();
            let records: u64 = found.iter().map(|it| ((it.end - it.start).div_ceil(RECORD_LEN)) as u64).sum();
            assert_eq!(first, from / plain);
            let end = if to == len { record_count(len) } else { to.div_ceil(plain) };
            assert_eq!(first + records, end, "{from} to {to}");
            assert_eq!(last.place, last.extent.segment);
            assert!(found.windows(2).all(|pair| pair[0].end == full as usize && pair[1].start == 0));
        }
        let short = ObjectRef { extents: object.extents[..2].to_vec(), ..object };
        assert!(stretches("/f", &short, 0, 1).is_err());
    }
}
