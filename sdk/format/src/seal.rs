//! Sealing: AES-256-GCM records in the STREAM construction, under a fresh key for each object
//! (spec/sealing.md).
//!
//! Invariant: a plaintext byte is released only after its record's tag was checked with the
//! record's place (object, kind, segment, number, last or not) as context. Two seals never share
//! key and nonce, because every object has a key of its own. Not here: where the records lie.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::keys::{CONTENT_KEY, KEY_COMMITMENT, derive};

/// Ciphertext bytes of a full record.
pub const RECORD_LEN: usize = 65_536;
/// Plaintext bytes of a full record.
pub const RECORD_PLAIN_LEN: usize = RECORD_LEN - TAG_LEN;
const TAG_LEN: usize = 16;
/// First two bytes of the AAD: format version 1, suite 1 (AES-256-GCM, HKDF-SHA-256).
const VERSION_AND_SUITE: [u8; 2] = [1, 1];
const AAD_LEN: usize = 2 + 1 + 16 + 4;

/// What a sealed object is. Part of the context of every record and of the key derivation, so that
/// one kind is never read as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// A file's content.
    File = 1,
    /// The manifest of a large file.
    Manifest = 2,
    /// A folder.
    Folder = 3,
    /// The sealed part of a drive's head.
    Head = 4,
}

/// The random id of one sealed object: one version of one file, folder or manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId(pub [u8; 16]);

/// The fresh random key of one object. Zeroized when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectKey(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(..)")
    }
}

/// The data does not open. Wrong key, altered, reordered and cut data all look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed data does not open: altered, cut, or under another key")]
pub struct SealError;

/// The Padmé-padded length of `len` bytes: at most 12 % more, and it tells only the order of
/// magnitude and a few leading bits of the length.
pub fn padded_len(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let exponent_bits = exponent.ilog2() + 1;
    let kept_free = exponent.saturating_sub(exponent_bits);
    let mask = (1u64 << kept_free) - 1;
    len.checked_add(mask).map_or(len, |sum| sum & !mask)
}

/// Number of records of an object of `len` true bytes; an empty object is one empty record.
pub fn record_count(len: u64) -> u64 {
    padded_len(len).div_ceil(RECORD_PLAIN_LEN as u64).max(1)
}

/// Ciphertext bytes of an object of `len` true bytes.
pub fn sealed_len(len: u64) -> u64 {
    padded_len(len) + record_count(len) * TAG_LEN as u64
}

/// The derived keys of one object: seals and opens its records.
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
    /// Derives content key and commitment: HKDF-SHA-256, salt = kind ‖ object id, one label each.
    pub fn new(kind: ObjectKind, id: &ObjectId, key: &ObjectKey) -> Self {
        let mut salt = [0; 17];
        salt[0] = kind as u8;
        salt[1..].copy_from_slice(&id.0);
        let content = derive(&key.0, &salt, CONTENT_KEY);
        let commitment = *derive(&key.0, &salt, KEY_COMMITMENT);
        let key = UnboundKey::new(&AES_256_GCM, &*content).expect("32 bytes are a key of AES-256");
        Self { key: LessSafeKey::new(key), commitment, kind, id: *id }
    }

    /// What stands beside the key in a reference, so that the key cannot be another one.
    pub fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// As [`Sealing::new`], once the commitment is the key's.
    ///
    /// # Errors
    /// [`SealError`] when it is not.
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
    fn nonce(record: u64, last: bool) -> Nonce {
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

    /// Appends one sealed record to `out`. `record` counts from 0 over the whole object; `segment`
    /// is the place of the segment within the object; `last` is true for the last record alone.
    ///
    /// # Errors
    /// [`SealError`] for more than [`RECORD_PLAIN_LEN`] bytes.
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
        out.extend_from_slice(plaintext);
        let tag = self
            .key
            .seal_in_place_separate_tag(Self::nonce(record, last), self.aad(segment), &mut out[start..])
            .map_err(|_| SealError)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens one record in place and answers its plaintext.
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

/// Seals a small object whole, padding included; every record has segment 0.
pub fn seal_small(kind: ObjectKind, id: &ObjectId, key: &ObjectKey, plaintext: &[u8]) -> Vec<u8> {
    let len = plaintext.len() as u64;
    let size = |len: u64| usize::try_from(len).expect("a small object fits in memory");
    let mut padded = Zeroizing::new(plaintext.to_vec());
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

/// Opens a small object whole. `len` is its true length; what pads it must be zeros.
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
    if true_len > sealed.len() || sealed_len(len) != sealed.len() as u64 {
        return Err(SealError);
    }
    let count = record_count(len);
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    for (record, sealed) in (0..).zip(sealed.chunks(RECORD_LEN)) {
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = sealing.open_record(0, record, record + 1 == count, &mut buffer)?;
        plain.extend_from_slice(opened);
    }
    if plain[true_len..].iter().any(|byte| *byte != 0) {
        return Err(SealError);
    }
    plain.truncate(true_len);
    Ok(plain)
}
