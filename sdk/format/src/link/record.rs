//! The record of a link: signed by the link's key, sealed under its secret (spec/links.md, section 3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use minicbor::{Decode, Decoder, Encode, Encoder};
use zeroize::Zeroizing;

use super::cover::ID_LEN;
use super::keys::iterations_allowed;
use super::{COVER_SEGMENTS_MAX, LinkContent, LinkError, LinkId, LinkKeys, LinkSecret, PasswordKey};
use crate::keys;
use crate::record::RECORD_LEN_MAX;
use crate::seal::{ObjectKind, TAG_LEN, VERSION_AND_SUITE};
use crate::segment::Segment;
use crate::wire::canonical::is_encoding_of;

/// First byte of a link's record; see [`crate::record`] for the other kinds.
pub(crate) const LINK_RECORD: u8 = 0x04;
const SIGNED_AS: &[u8] = b"commonhold/v1/link-signature";
const REVOKED: u8 = 0;
const OPEN: u8 = 1;
const NO_PASSWORD: u8 = 0;
const PBKDF2: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// Length of the content before its padding, u32 big-endian.
const LENGTH_LEN: usize = 4;
/// The plaintext is filled up to a multiple of this.
const PADDED_TO: usize = 64;
/// What a record of sequence 0 is told.
const FROM_1: LinkError = LinkError::Shape("sequences start at 1");

/// Where a link's root and cover list are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlace {
    /// The link segment: the cover list, then the ciphertext of the root.
    pub segment: Segment,
    /// Length of the cover list in bytes.
    pub cover_len: u32,
}

impl<C> Encode<C> for LinkPlace {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?;
        self.segment.encode(e, ctx)?;
        e.u32(self.cover_len)?;
        Ok(())
    }
}

impl LinkPlace {
    fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut input = Decoder::new(bytes);
        let refused = |_| LinkError::Shape("its place is not a segment and a length");
        let Some(2) = input.array().map_err(refused)? else {
            return Err(LinkError::Shape("its place is not a segment and a length"));
        };
        let segment = Segment::decode(&mut input, &mut ()).map_err(refused)?;
        let place = Self { segment, cover_len: input.u32().map_err(refused)? };
        if !is_encoding_of(bytes, &place) {
            return Err(LinkError::Shape("its place is not in its canonical form"));
        }
        place.check()?;
        Ok(place)
    }

    fn check(&self) -> Result<(), LinkError> {
        let len = self.cover_len as usize;
        if !len.is_multiple_of(ID_LEN)
            || len > COVER_SEGMENTS_MAX * ID_LEN
            || self.cover_len > self.segment.len
        {
            return Err(LinkError::Shape(
                "its cover list is not whole ids, too long, or longer than its segment",
            ));
        }
        Ok(())
    }
}

/// What an open link's record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLink {
    /// Iterations and salt of PBKDF2 for a link with a password.
    pub password: Option<(u32, [u8; 16])>,
    /// Where root and cover list are.
    pub place: LinkPlace,
    /// Makes the key that seals this record alone.
    pub salt: [u8; 32],
    /// The sealed [`LinkContent`], and its tag.
    pub sealed: Vec<u8>,
}

/// A signed record of a link. [`LinkRecord::write`] and [`LinkRecord::revoke`] sign it and
/// [`LinkRecord::decode`] verifies it; one that was put together by hand is only a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// The link.
    pub id: LinkId,
    /// 1 for the first record of the link, higher with each one after it.
    pub sequence: u64,
    /// When the link ends, Unix seconds; 0 for never.
    pub expires: u64,
    /// What it leads to; `None` when the link was revoked.
    pub open: Option<OpenLink>,
    /// Ed25519 signature of the link's key over a domain and everything before it.
    pub signature: [u8; SIGNATURE_LEN],
}

/// Version, suite, kind, link, sequence, expires: what the sealed part is bound to.
fn aad(id: &LinkId, sequence: u64, expires: u64) -> Aad<Vec<u8>> {
    let mut aad = VERSION_AND_SUITE.to_vec();
    aad.push(ObjectKind::Link as u8);
    aad.extend_from_slice(&id.0);
    aad.extend_from_slice(&sequence.to_be_bytes());
    aad.extend_from_slice(&expires.to_be_bytes());
    Aad::from(aad)
}

/// Every salt gives a key of its own, which seals once: the nonce can be zero.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn sealing(secret: &LinkSecret, id: &LinkId, salt: &[u8; 32], password: Option<&PasswordKey>) -> LessSafeKey {
    let key = secret.record_key(id, salt, password);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key of AES-256"))
}

impl LinkRecord {
    /// Seals and signs the record of an open link.
    ///
    /// `salt` must be 32 fresh random bytes: it makes the key that seals this record alone. `expires` is in
    /// Unix seconds, 0 for never.
    ///
    /// # Errors
    /// [`LinkError::Shape`] for sequence 0, and for a place or content that a reader would refuse;
    /// [`LinkError::TooLarge`] when it does not fit a record.
    pub fn write(
        keys: &LinkKeys,
        sequence: u64,
        expires: u64,
        place: LinkPlace,
        salt: [u8; 32],
        password: Option<&PasswordKey>,
        content: &LinkContent,
    ) -> Result<Self, LinkError> {
        place.check()?;
        content.check(place.segment.len, place.cover_len)?;
        let id = keys.id();
        let encoded = content.encode();
        let unpadded = LENGTH_LEN + encoded.len();
        let len = u32::try_from(encoded.len()).map_err(|_| LinkError::TooLarge(unpadded))?;
        // Room for all of it at once: growing would leave plaintext behind in freed memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(unpadded.next_multiple_of(PADDED_TO)));
        plain.extend_from_slice(&len.to_be_bytes());
        plain.extend_from_slice(&encoded);
        plain.resize(unpadded.next_multiple_of(PADDED_TO), 0);
        let tag = sealing(keys.secret(), &id, &salt, password)
            .seal_in_place_separate_tag(nonce(), aad(&id, sequence, expires), &mut plain)
            .map_err(|_| LinkError::Sealed)?;
        let sealed = [&plain[..], tag.as_ref()].concat();
        let password = password.map(|key| (key.iterations(), *key.salt()));
        Self::signed(keys, sequence, expires, Some(OpenLink { password, place, salt, sealed }))
    }

    /// Signs the record that closes a link. It never expires, so that it outlasts every record before it.
    ///
    /// # Errors
    /// [`LinkError::Shape`] for sequence 0.
    pub fn revoke(keys: &LinkKeys, sequence: u64) -> Result<Self, LinkError> {
        Self::signed(keys, sequence, 0, None)
    }

    fn signed(
        keys: &LinkKeys,
        sequence: u64,
        expires: u64,
        open: Option<OpenLink>,
    ) -> Result<Self, LinkError> {
        if sequence == 0 {
            return Err(FROM_1);
        }
        let mut record = Self { id: keys.id(), sequence, expires, open, signature: [0; SIGNATURE_LEN] };
        let unsigned = record.unsigned();
        if unsigned.len() + SIGNATURE_LEN > RECORD_LEN_MAX {
            return Err(LinkError::TooLarge(unsigned.len() + SIGNATURE_LEN));
        }
        record.signature = keys.sign(&[SIGNED_AS, &unsigned].concat());
        Ok(record)
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = vec![LINK_RECORD];
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.expires.to_be_bytes());
        let Some(open) = &self.open else {
            out.push(REVOKED);
            return out;
        };
        out.push(OPEN);
        match &open.password {
            None => out.push(NO_PASSWORD),
            Some((iterations, salt)) => {
                out.push(PBKDF2);
                out.extend_from_slice(&iterations.to_be_bytes());
                out.extend_from_slice(salt);
            }
        }
        let place = minicbor::to_vec(&open.place).expect("writing into a vector cannot fail");
        push_part(&mut out, &place);
        out.extend_from_slice(&open.salt);
        push_part(&mut out, &open.sealed);
        out
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.unsigned();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Strict inverse of [`LinkRecord::encode`], and verifies the signature. Anybody can do this; it says
    /// nothing about what is sealed, nor whether the link is still good ([`LinkRecord::usable`]).
    ///
    /// # Errors
    /// [`LinkError::TooLarge`], [`LinkError::Shape`], then [`LinkError::Signature`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let record = Self::decode_unverified(bytes)?;
        record.verify()?;
        Ok(record)
    }

    pub(crate) fn verify(&self) -> Result<(), LinkError> {
        let message = [SIGNED_AS, &self.unsigned()].concat();
        if keys::verify(&self.id.0, &message, &self.signature) { Ok(()) } else { Err(LinkError::Signature) }
    }

    pub(crate) fn decode_unverified(bytes: &[u8]) -> Result<Self, LinkError> {
        if bytes.len() > RECORD_LEN_MAX {
            return Err(LinkError::TooLarge(bytes.len()));
        }
        let mut input = Input(bytes);
        if input.take::<1>()? != [LINK_RECORD] {
            return Err(LinkError::Shape("another kind of record"));
        }
        let id = LinkId(input.take()?);
        let sequence = u64::from_be_bytes(input.take()?);
        let expires = u64::from_be_bytes(input.take()?);
        if sequence == 0 {
            return Err(FROM_1);
        }
        let open = match input.take()? {
            [REVOKED] => None,
            [OPEN] => Some(input.open()?),
            _ => return Err(LinkError::Shape("a state that is not known")),
        };
        let signature = input.take()?;
        if !input.0.is_empty() {
            return Err(LinkError::Shape("bytes after the signature"));
        }
        Ok(Self { id, sequence, expires, open, signature })
    }

    /// What the link leads to, if it is neither revoked nor over. `now_unix` is the time in Unix seconds.
    ///
    /// # Errors
    /// [`LinkError::Revoked`] and [`LinkError::Expired`].
    pub fn usable(&self, now_unix: u64) -> Result<&OpenLink, LinkError> {
        let open = self.open.as_ref().ok_or(LinkError::Revoked)?;
        if self.has_expired(now_unix) { Err(LinkError::Expired) } else { Ok(open) }
    }

    pub(crate) fn has_expired(&self, now_unix: u64) -> bool {
        self.expires != 0 && self.expires <= now_unix
    }

    /// Opens the content with the link's secret, and with the password if the record asks for one; then it
    /// takes as long as [`PasswordKey::derive`]. Whether the link has expired is not looked at.
    ///
    /// # Errors
    /// [`LinkError::Revoked`]; [`LinkError::PasswordNeeded`]; [`LinkError::Password`] for one that no link
    /// can have; and [`LinkError::Sealed`], the same for a wrong secret, a wrong password, altered data, and
    /// content that is not valid.
    pub fn open(&self, secret: &LinkSecret, password: Option<&str>) -> Result<LinkContent, LinkError> {
        let open = self.open.as_ref().ok_or(LinkError::Revoked)?;
        let key = match (open.password, password) {
            (None, _) => None,
            (Some(_), None) => return Err(LinkError::PasswordNeeded),
            (Some((iterations, salt)), Some(password)) => {
                Some(PasswordKey::derive(password, salt, iterations)?)
            }
        };
        let mut buffer = Zeroizing::new(open.sealed.clone());
        let plain = sealing(secret, &self.id, &open.salt, key.as_ref())
            .open_in_place(nonce(), aad(&self.id, self.sequence, self.expires), &mut buffer)
            .map_err(|_| LinkError::Sealed)?;
        let (len, rest) = plain.split_first_chunk::<LENGTH_LEN>().ok_or(LinkError::Sealed)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| LinkError::Sealed)?;
        let (content, padding) = rest.split_at_checked(len).ok_or(LinkError::Sealed)?;
        let whole = LENGTH_LEN + rest.len() == (LENGTH_LEN + len).next_multiple_of(PADDED_TO);
        if !whole || padding.iter().any(|byte| *byte != 0) {
            return Err(LinkError::Sealed);
        }
        let content = LinkContent::decode(content)?;
        let place = &open.place;
        content.check(place.segment.len, place.cover_len).map_err(|_| LinkError::Sealed)?;
        Ok(content)
    }
}

/// A length of two bytes, and as many bytes. What does not fit will not be decoded, and is too large for a
/// record anyway.
fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(part);
}

/// What is left to read of a record.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let (part, rest) = self.0.split_first_chunk().ok_or(LinkError::Shape("too short"))?;
        self.0 = rest;
        Ok(*part)
    }

    fn part(&mut self) -> Result<&'a [u8], LinkError> {
        let len = usize::from(u16::from_be_bytes(self.take()?));
        let (part, rest) = self.0.split_at_checked(len).ok_or(LinkError::Shape("too short"))?;
        self.0 = rest;
        Ok(part)
    }

    fn open(&mut self) -> Result<OpenLink, LinkError> {
        let password = match self.take()? {
            [NO_PASSWORD] => None,
            [PBKDF2] => {
                let iterations = u32::from_be_bytes(self.take()?);
                if !iterations_allowed(iterations) {
                    return Err(LinkError::Shape("too few or too many iterations"));
                }
                Some((iterations, self.take()?))
            }
            _ => return Err(LinkError::Shape("a kind of password that is not known")),
        };
        let place = LinkPlace::decode(self.part()?)?;
        let salt = self.take()?;
        let sealed = self.part()?.to_vec();
        if sealed.len() < TAG_LEN {
            return Err(LinkError::Shape("its sealed part is shorter than a tag"));
        }
        Ok(OpenLink { password, place, salt, sealed })
    }
}
