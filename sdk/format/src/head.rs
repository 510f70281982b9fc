//! The head of a drive: a small signed record that says which trees are the current ones: files,
//! bin, shares (spec/drive.md).
//!
//! Invariant: a [`Head`] that was decoded has been verified, its encoding is at most 8 KiB, and its
//! sealed part is bound to its drive, sequence and predecessor. What it is not: a judgement which
//! of several heads is the newest, for which a reader needs a memory of what it has seen.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ed25519_dalek::Signer;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::drive::HeadContent;
use crate::ids::PartyId;
use crate::keys::{self, DriveKeys, HEAD_KEY, derive};
use crate::seal::{ObjectKind, VERSION_AND_SUITE, padded_len};

/// Largest encoded head, bytes: it must fit a DHT record (spec/records.md).
pub const HEAD_LEN_MAX: usize = 8192;
/// First byte of an encoded head; node records start with 0x01.
const DRIVE_HEAD: u8 = 0x02;
/// What a head of sequence 0 is told.
const FROM_1: &str = "sequences start at 1";
const SIGNED_AS: &[u8] = b"commonhold/v1/drive-head-signature";
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// Length of the content before its padding, u32 big-endian.
const LENGTH_LEN: usize = 4;
/// Kind, drive, sequence, previous.
const PREFIX_LEN: usize = 1 + 32 + 8 + 32;
const SIGNATURE_LEN: usize = 64;
/// Most bytes of plaintext that a head has room for, length and padding included.
const PLAIN_LEN_MAX: usize = HEAD_LEN_MAX - PREFIX_LEN - SALT_LEN - TAG_LEN - SIGNATURE_LEN;

/// A signed head (spec/drive.md, section 5). [`Head::write`] signs it and [`Head::decode`] verifies
/// it; one that was put together by hand is only a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The drive's public key.
    pub drive: PartyId,
    /// Number of the change: 1 for the first head, then one higher with each.
    pub sequence: u64,
    /// [`Head::hash`] of the head before it; zeros for the first.
    pub previous: [u8; 32],
    /// Salt (32 bytes), then the sealed [`HeadContent`] and its tag.
    pub sealed: Vec<u8>,
    /// Ed25519 signature of the drive's key over a domain and everything before it.
    pub signature: [u8; 64],
}

/// Why a head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Its bytes, or the fields that it should be written with, are no head.
    #[error("not a drive head: {0}")]
    Shape(&'static str),
    /// It is not signed by the key of the drive that it names.
    #[error("the drive head's signature is wrong: it was altered, or is not from the drive's owner")]
    Signature,
    /// It is another drive's, or what its owner sealed is no valid content.
    #[error(
        "the drive head does not open with this drive's key: restore with the phrase that the drive was made with"
    )]
    Sealed,
    /// It would not fit a record; the length in bytes.
    #[error("the drive head is {0} bytes, more than 8,192: its topmost folders lie in too many segments")]
    TooLarge(usize),
}

fn head_key(keys: &DriveKeys, salt: &[u8]) -> LessSafeKey {
    let key = derive(&*keys.sealing, salt, HEAD_KEY);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key of AES-256"))
}

/// Version, suite, kind, drive, sequence, previous: what the sealed part is bound to.
fn aad(drive: &PartyId, sequence: u64, previous: &[u8; 32]) -> Aad<Vec<u8>> {
    let mut aad = VERSION_AND_SUITE.to_vec();
    aad.push(ObjectKind::Head as u8);
    aad.extend_from_slice(drive.as_bytes());
    aad.extend_from_slice(&sequence.to_be_bytes());
    aad.extend_from_slice(previous);
    Aad::from(aad)
}

/// Every salt gives a key of its own, which seals once: the nonce can be zero.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Bytes of plaintext for a length and content of `len` bytes: padded as objects are, but not
/// beyond what a head has room for.
fn plain_len(len: usize) -> usize {
    usize::try_from(padded_len(len as u64)).unwrap_or(PLAIN_LEN_MAX).min(PLAIN_LEN_MAX)
}

impl Head {
    /// Seals and signs a head.
    ///
    /// `salt` must be 32 fresh random bytes: it makes the key that seals this head alone, and with
    /// a salt used twice two heads would share key and nonce. `previous` is the hash of the head
    /// that this one follows, and zeros for the first.
    ///
    /// # Errors
    /// [`HeadError::Shape`] for sequence 0; [`HeadError::TooLarge`] when it does not fit a record.
    pub fn write(
        keys: &DriveKeys,
        sequence: u64,
        previous: [u8; 32],
        salt: [u8; 32],
        content: &HeadContent,
    ) -> Result<Self, HeadError> {
        if sequence == 0 {
            return Err(HeadError::Shape(FROM_1));
        }
        let drive = keys.drive();
        let encoded = content.encode();
        let unpadded = LENGTH_LEN + encoded.len();
        let too_large = HeadError::TooLarge(HEAD_LEN_MAX - PLAIN_LEN_MAX + unpadded);
        let Ok(len) = u32::try_from(encoded.len()) else { return Err(too_large) };
        if unpadded > PLAIN_LEN_MAX {
            return Err(too_large);
        }
        // Room for all of it at once: growing would leave plaintext behind in freed memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(plain_len(unpadded)));
        plain.extend_from_slice(&len.to_be_bytes());
        plain.extend_from_slice(&encoded);
        plain.resize(plain_len(unpadded), 0);
        let tag = head_key(keys, &salt)
            .seal_in_place_separate_tag(nonce(), aad(&drive, sequence, &previous), &mut plain)
            .map_err(|_| HeadError::Sealed)?;
        let mut sealed = salt.to_vec();
        sealed.extend_from_slice(&plain);
        sealed.extend_from_slice(tag.as_ref());
        let mut head = Self { drive, sequence, previous, sealed, signature: [0; 64] };
        head.signature = keys.signing.sign(&head.signed_bytes()).to_bytes();
        Ok(head)
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREFIX_LEN + self.sealed.len() + SIGNATURE_LEN);
        out.push(DRIVE_HEAD);
        out.extend_from_slice(self.drive.as_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.sealed);
        out
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut message = SIGNED_AS.to_vec();
        message.extend_from_slice(&self.unsigned());
        message
    }

    /// The bytes of the record: kind, drive, sequence, previous, sealed part, signature.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.unsigned();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Strict inverse of [`Head::encode`], and verifies the signature. Anybody can do this; it says
    /// nothing about what is sealed.
    ///
    /// # Errors
    /// [`HeadError::TooLarge`], [`HeadError::Shape`], then [`HeadError::Signature`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        if bytes.len() > HEAD_LEN_MAX {
            return Err(HeadError::TooLarge(bytes.len()));
        }
        if bytes.len() < PREFIX_LEN + SALT_LEN + LENGTH_LEN + TAG_LEN + SIGNATURE_LEN {
            return Err(HeadError::Shape("too short"));
        }
        if bytes[0] != DRIVE_HEAD {
            return Err(HeadError::Shape("another kind of record"));
        }
        let (prefix, rest) = bytes.split_at(PREFIX_LEN);
        let (sealed, signature) = rest.split_at(rest.len() - SIGNATURE_LEN);
        let part = |from: usize, to: usize| &prefix[from..to];
        let head = Self {
            drive: PartyId(part(1, 33).try_into().expect("32 bytes")),
            sequence: u64::from_be_bytes(part(33, 41).try_into().expect("8 bytes")),
            previous: part(41, 73).try_into().expect("32 bytes"),
            sealed: sealed.to_vec(),
            signature: signature.try_into().expect("64 bytes"),
        };
        if head.sequence == 0 {
            return Err(HeadError::Shape(FROM_1));
        }
        if !keys::verify(head.drive.as_bytes(), &head.signed_bytes(), &head.signature) {
            return Err(HeadError::Signature);
        }
        Ok(head)
    }

    /// SHA-256 of the encoding, signature included: what the next head names as its previous one.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// Opens the sealed part with the drive's keys.
    ///
    /// # Errors
    /// [`HeadError::Sealed`], the same for every reason: another drive's head, altered data, wrong
    /// padding, and content that is not valid.
    pub fn open(&self, keys: &DriveKeys) -> Result<HeadContent, HeadError> {
        let (salt, sealed) = self.sealed.split_at_checked(SALT_LEN).ok_or(HeadError::Sealed)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let plain = head_key(keys, salt)
            .open_in_place(nonce(), aad(&self.drive, self.sequence, &self.previous), &mut buffer)
            .map_err(|_| HeadError::Sealed)?;
        let (len, rest) = plain.split_first_chunk::<LENGTH_LEN>().ok_or(HeadError::Sealed)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| HeadError::Sealed)?;
        let (content, padding) = rest.split_at_checked(len).ok_or(HeadError::Sealed)?;
        if LENGTH_LEN + rest.len() != plain_len(LENGTH_LEN + len) || padding.iter().any(|byte| *byte != 0) {
            return Err(HeadError::Sealed);
        }
        HeadContent::decode(content).map_err(|_| HeadError::Sealed)
    }
}
