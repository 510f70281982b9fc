//! Sealing: AES-256-GCM records in the STREAM construction, under a fresh key for each object
//! (spec/sealing.md).
//!
//! Invariant: a plaintext byte is released only after its record's tag was checked with the
//! record's place (object, kind, segment, number, last or not) as context. Two seals never share
//! key and nonce, because every object has a key of its own. What it is not: a layout. Where the
//! records lie, and in which segments, is said in [`crate::drive`].

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::keys::{CONTENT_KEY, KEY_COMMITMENT, derive};

/// Ciphertext bytes of a full record, tag included. It divides every full segment (a whole number
/// of MiB), so that no record of a large file lies across two segments.
pub const RECORD_LEN: usize = 65_536;
/// Plaintext bytes of a full record: [`RECORD_LEN`] without the tag.
pub const RECORD_PLAIN_LEN: usize = RECORD_LEN - TAG_LEN;
pub(crate) const TAG_LEN: usize = 16;
/// First two bytes of the AAD: format version 1, suite 1 (AES-256-GCM, HKDF-SHA-256). They are
/// never read from anywhere, so there is nothing to downgrade.
pub(crate) const VERSION_AND_SUITE: [u8; 2] = [1, 1];
/// Version, suite, kind, object id, segment.
const AAD_LEN: usize = 2 + 1 + 16 + 4;

/// What a sealed object is.
///
/// The byte is part of the context of every record and of the derivation of both keys, so that
/// one kind of object is never read as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// A file's content.
    File = 1,
    /// The manifest of a large file ([`crate::drive::Manifest`]).
    Manifest = 2,
    /// A page of a folder ([`crate::drive::Page`]).
    Folder = 3,
    /// The sealed part of a drive's head ([`crate::head::Head`]), which has a key of its own kind
    /// and is not sealed by this module.
    Head = 4,
    /// The earlier versions of a file ([`crate::drive::History`]).
    History = 5,
    /// The sealed part of a link's record ([`crate::link`]), which has a key of its own kind and is
    /// not sealed by this module.
    Link = 6,
}

/// The random id of one sealed object: one version of one file, folder or manifest. No secret, but
/// no node sees it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId(pub [u8; 16]);

/// The key of one object: 32 fresh random bytes, for one version of one file, folder or manifest.
///
/// **Never seal two plaintexts under one object key.** Nonces count records from 0, so the safety
/// of every record rests on the key being new. Zeroized when dropped, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectKey(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(..)")
    }
}

/// The data does not open.
///
/// There is one error for all reasons: a wrong key, and altered, reordered, foreign, cut or
/// lengthened data look the same, so that nobody learns from the answer which of them it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed data does not open: it was altered or cut, or belongs to another key; try other holders")]
pub struct SealError;

/// The length to which `len` plaintext bytes are filled up with zeros before sealing (Padmé).
///
/// At least `len` and less than 12 % more. Of the length it leaves the order of magnitude and a few
/// leading bits: with e = ⌊log₂ len⌋, only e - ⌊log₂ e⌋ - 1 low bits are rounded away. A length so
/// close to 2^64 that it cannot be rounded up stays as it is.
pub fn padded_len(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept_bits = exponent.ilog2() + 1;
    let mask = (1u64 << exponent.saturating_sub(kept_bits)) - 1;
    len.checked_add(mask).map_or(len, |sum| sum & !mask)
}

/// Number of records of an object of `len` true bytes, padding included. At least 1: an empty
/// object is one empty record, so that its absence does not pass for emptiness.
pub fn record_count(len: u64) -> u64 {
    padded_len(len).div_ceil(RECORD_PLAIN_LEN as u64).max(1)
}

/// Ciphertext bytes of an object of `len` true bytes: its padded length and 16 bytes for the tag
/// of each record. It stops at `u64::MAX`, which no object has, instead of running over, for `len`
/// may come from a reference that nobody has checked yet.
pub fn sealed_len(len: u64) -> u64 {
    padded_len(len).saturating_add(record_count(len).saturating_mul(TAG_LEN as u64))
}

/// The derived keys of one object: seals and opens its records, one at a time, in any order.
pub struct Sealing {
    key: LessSafeKey,
    commitment: [u8; 32],
    kind: ObjectKind,
    id: ObjectId,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({:?})", self.kind)
    }
}

impl Sealing {
    /// Derives the content key and the commitment of an object: HKDF-SHA-256 of the object key,
    /// with kind ‖ object id as salt and one label for each.
    ///
    /// For writers. A reader has a commitment to check, see [`Sealing::with_commitment`].
    pub fn new(kind: ObjectKind, id: &ObjectId, key: &ObjectKey) -> Self {
        let mut salt = [0; 17];
        salt[0] = kind as u8;
        salt[1..].copy_from_slice(&id.0);
        let content = derive(&*key.0, &salt, CONTENT_KEY);
        let commitment = *derive(&*key.0, &salt, KEY_COMMITMENT);
        let key = UnboundKey::new(&AES_256_GCM, &*content).expect("32 bytes are a key of AES-256");
        Self { key: LessSafeKey::new(key), commitment, kind, id: *id }
    }

    /// The key's commitment, which stands beside the key in a reference.
    ///
    /// AES-GCM alone does not bind a ciphertext to one key: somebody can make one that opens under
    /// two keys into two plaintexts. The commitment is a hash of the key and rules that out.
    pub fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// As [`Sealing::new`], but only if the key has the commitment that a reference names.
    ///
    /// # Errors
    /// [`SealError`] when it has another one.
    pub fn with_commitment(
        kind: ObjectKind,
        id: &ObjectId,
        key: &ObjectKey,
        commitment: &[u8; 32],
    ) -> Result<Self, SealError> {
        let sealing = Self::new(kind, id, key);
        if sealing.commitment != *commitment {
            return Err(SealError);
        }
        Ok(sealing)
    }

    /// 11-byte big-endian counter, then 1 for the object's last record and 0 for all others.
    pub(crate) fn nonce(record: u64, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&record.to_be_bytes());
        nonce[11] = u8::from(last);
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, segment: u32) -> Aad<[u8; AAD_LEN]> {
        let mut aad = [0; AAD_LEN];
        aad[..2].copy_from_slice(&VERSION_AND_SUITE);
        aad[2] = self.kind as u8;
        aad[3..19].copy_from_slice(&self.id.0);
        aad[19..].copy_from_slice(&segment.to_be_bytes());
        Aad::from(aad)
    }

    /// Appends one sealed record to `out`: `plaintext.len()` bytes of ciphertext and 16 of tag.
    ///
    /// `record` counts from 0 over the whole object; `segment` is the place of the record's extent
    /// within the object (0 for folders and manifests); `last` is true for the object's last record
    /// alone. Every record but the last has [`RECORD_PLAIN_LEN`] bytes. The caller pads (see
    /// [`padded_len`]) and seals each number once.
    ///
    /// # Errors
    /// [`SealError`] for more than [`RECORD_PLAIN_LEN`] bytes; `out` is then as before.
    pub fn seal_record(
        &self,
        segment: u32,
        record: u64,
        last: bool,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if plaintext.len() > RECORD_PLAIN_LEN {
            return Err(SealError);
        }
        let start = out.len();
        // Room for the tag too: growing later would leave plaintext behind in freed memory.
        out.reserve(plaintext.len() + TAG_LEN);
        out.extend_from_slice(plaintext);
        let sealed = self.key.seal_in_place_separate_tag(
            Self::nonce(record, last),
            self.aad(segment),
            &mut out[start..],
        );
        match sealed {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(_) => {
                out.truncate(start);
                Err(SealError)
            }
        }
    }

    /// Opens one record in place and answers its plaintext, which is the beginning of `sealed`.
    ///
    /// The numbers are those of [`Sealing::seal_record`]; the caller knows from the object's length
    /// which record is the last. Padding is not removed.
    ///
    /// # Errors
    /// [`SealError`]; `sealed` then holds nothing that may be used.
    pub fn open_record<'a>(
        &self,
        segment: u32,
        record: u64,
        last: bool,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], SealError> {
        if sealed.len() > RECORD_LEN {
            return Err(SealError);
        }
        self.key.open_in_place(Self::nonce(record, last), self.aad(segment), sealed).map_err(|_| SealError)
    }
}

/// Seals a folder, a manifest or a small file whole, padding included: [`sealed_len`] bytes.
///
/// Every record has segment 0, wherever its bytes will lie. `key` and `id` must be fresh random
/// bytes that seal nothing else. Takes about twice the plaintext in memory.
pub fn seal_small(kind: ObjectKind, id: &ObjectId, key: &ObjectKey, plaintext: &[u8]) -> Vec<u8> {
    let len = plaintext.len() as u64;
    let size = |len: u64| usize::try_from(len).expect("a small object fits in memory");
    let mut padded = Zeroizing::new(Vec::with_capacity(size(padded_len(len))));
    padded.extend_from_slice(plaintext);
    padded.resize(size(padded_len(len)), 0);
    let sealing = Sealing::new(kind, id, key);
    let mut out = Vec::with_capacity(size(sealed_len(len)));
    let count = record_count(len);
    for record in 0..count {
        let start = size(record) * RECORD_PLAIN_LEN;
        let end = (start + RECORD_PLAIN_LEN).min(padded.len());
        sealing
            .seal_record(0, record, record + 1 == count, &padded[start..end], &mut out)
            .expect("a record of at most 65,520 bytes can be sealed");
    }
    out
}

/// Opens what [`seal_small`] sealed. `len` is the object's true length, `commitment` that of its
/// key; both stand in the reference. What pads the plaintext must be zeros.
///
/// Nothing is allocated before `sealed` is known to have just the length that `len` implies, and
/// nothing is released unless every record opened.
///
/// # Errors
/// [`SealError`], the same for every reason.
pub fn open_small(
    kind: ObjectKind,
    id: &ObjectId,
    key: &ObjectKey,
    commitment: &[u8; 32],
    len: u64,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let sealing = Sealing::with_commitment(kind, id, key, commitment)?;
    let true_len = usize::try_from(len).map_err(|_| SealError)?;
    if sealed_len(len) != sealed.len() as u64 {
        return Err(SealError);
    }
    let count = record_count(len);
    // Records are opened where they will stay. Room for all of them, so that it never moves.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    for (record, sealed) in (0..).zip(sealed.chunks(RECORD_LEN)) {
        let start = plain.len();
        plain.extend_from_slice(sealed);
        let opened = sealing.open_record(0, record, record + 1 == count, &mut plain[start..])?.len();
        plain.truncate(start + opened);
    }
    let padding = plain.get(true_len..).ok_or(SealError)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(SealError);
    }
    plain.truncate(true_len);
    Ok(plain)
}
