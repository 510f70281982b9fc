//! Files on their way into a drop box: sealed to its public key, in a stream (spec/links.md, section 6).
//!
//! Invariant: the opener gives out a byte only after its record's tag was checked, and the end only after
//! exactly as many bytes as the head says. Memory: one record on either side.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use minicbor::decode::Error as DecodeError;
use minicbor::{Decoder, Encode, Encoder};
use zeroize::Zeroizing;

use super::{DropKey, LinkError, LinkId};
use crate::drive::Name;
use crate::keys::{DROP_FILE, DROP_HEAD, derive};
use crate::seal::{RECORD_LEN, RECORD_PLAIN_LEN, Sealing, TAG_LEN};
use crate::wire::canonical::is_encoding_of;

/// Longest sealed head, bytes.
pub const DROP_HEAD_LEN_MAX: usize = 4096;
/// First byte of a sealed file.
const VERSION: u8 = 1;
/// Version, the sender's public key, length of the sealed head.
const PREFIX_LEN: usize = 1 + 32 + 4;

/// What the sender says of a file: claims of a stranger, of which only the form was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropHead {
    /// Its name.
    pub name: Name,
    /// Its length in bytes. The stream has exactly as many, or does not open to its end.
    pub len: u64,
    /// When it was last modified, milliseconds since 1970.
    pub modified_ms: i64,
}

impl<C> Encode<C> for DropHead {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?.str(self.name.as_str())?.u64(self.len)?.i64(self.modified_ms)?;
        Ok(())
    }
}

impl DropHead {
    fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let head = Self::read(&mut Decoder::new(bytes)).map_err(|_| LinkError::Sealed)?;
        if is_encoding_of(bytes, &head) { Ok(head) } else { Err(LinkError::Sealed) }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if input.array()? != Some(3) {
            return Err(DecodeError::message("an array has another length"));
        }
        let name = Name::new(input.str()?).map_err(DecodeError::message)?;
        Ok(Self { name, len: input.u64()?, modified_ms: input.i64()? })
    }
}

/// The two keys of one file: its head's and its records'.
struct FileKeys {
    head: LessSafeKey,
    file: LessSafeKey,
    aad: [u8; 33],
}

impl FileKeys {
    fn new(shared: &[u8; 32], sender: &[u8; 32], drop_public: &[u8; 32], link: &LinkId) -> Self {
        let mut salt = [0; 64];
        salt[..32].copy_from_slice(sender);
        salt[32..].copy_from_slice(drop_public);
        let key = |label| {
            let key = derive(shared, &salt, label);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key of AES-256"))
        };
        let mut aad = [VERSION; 33];
        aad[1..].copy_from_slice(&link.0);
        Self { head: key(DROP_HEAD), file: key(DROP_FILE), aad }
    }

    fn seal(
        &self,
        key: &LessSafeKey,
        nonce: Nonce,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let start = out.len();
        // Room for the tag too: growing later would leave plaintext behind in freed memory.
        out.reserve(plain.len() + TAG_LEN);
        out.extend_from_slice(plain);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(self.aad), &mut out[start..])
            .map_err(|_| LinkError::Sealed)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn open<'a>(&self, key: &LessSafeKey, nonce: Nonce, sealed: &'a mut [u8]) -> Result<&'a [u8], LinkError> {
        let opened = key.open_in_place(nonce, Aad::from(self.aad), sealed);
        opened.map(|plain| &*plain).map_err(|_| LinkError::Sealed)
    }
}

/// Each head has a key of its own, so its nonce can be zero.
fn head_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Seals one file for a drop box.
pub struct DropSealer {
    keys: FileKeys,
    /// What is still to come, by the head.
    rest: u64,
    record: u64,
    plain: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for DropSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DropSealer({} bytes to come)", self.rest)
    }
}

impl DropSealer {
    /// Begins a file: appends its beginning and its sealed head to `out`. `drop_public` is from the link's
    /// content. `own` must be fresh random bytes for each file: with the same ones twice, two files would
    /// share keys and nonces.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] when the box's key is a point of small order.
    pub fn new(
        drop_public: &[u8; 32],
        link: &LinkId,
        own: &DropKey,
        head: &DropHead,
        out: &mut Vec<u8>,
    ) -> Result<Self, LinkError> {
        let public = own.public();
        let keys = FileKeys::new(&*own.agree(drop_public)?, &public, drop_public, link);
        let encoded = Zeroizing::new(minicbor::to_vec(head).expect("writing into a vector cannot fail"));
        let len = u32::try_from(encoded.len() + TAG_LEN).map_err(|_| LinkError::Sealed)?;
        out.push(VERSION);
        out.extend_from_slice(&public);
        out.extend_from_slice(&len.to_be_bytes());
        keys.seal(&keys.head, head_nonce(), &encoded, out)?;
        let plain = Zeroizing::new(Vec::with_capacity(RECORD_PLAIN_LEN));
        Ok(Self { keys, rest: head.len, record: 0, plain })
    }

    /// Takes the next bytes of the file and appends the records that are complete to `out`.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] when the file is longer than its head says.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.rest = self.rest.checked_sub(bytes.len() as u64).ok_or(LinkError::Sealed)?;
        while !bytes.is_empty() {
            // A full record waits for what follows it, which decides whether it is the last one.
            if self.plain.len() == RECORD_PLAIN_LEN {
                self.seal(false, out)?;
            }
            let (part, later) = bytes.split_at(bytes.len().min(RECORD_PLAIN_LEN - self.plain.len()));
            self.plain.extend_from_slice(part);
            bytes = later;
        }
        Ok(())
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.keys.seal(&self.keys.file, Sealing::nonce(self.record, last), &self.plain, out)?;
        self.record += 1;
        self.plain.clear();
        Ok(())
    }

    /// Appends the last record to `out`.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] when the file is shorter than its head says.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), LinkError> {
        if self.rest != 0 {
            return Err(LinkError::Sealed);
        }
        self.seal(true, out)
    }
}

/// What the opener waits for.
enum Waiting {
    Prefix,
    Head(FileKeys, usize),
    Record(FileKeys),
    /// Nothing more may come: the file is complete, or did not open.
    Nothing,
}

/// Opens one file that was put into a drop box, as it arrives.
pub struct DropOpener {
    key: DropKey,
    link: LinkId,
    waiting: Waiting,
    /// What has arrived of what is waited for.
    arrived: Zeroizing<Vec<u8>>,
    head: Option<DropHead>,
    /// Plaintext bytes that are still to come.
    rest: u64,
    record: u64,
    complete: bool,
}

impl std::fmt::Debug for DropOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DropOpener({:?}, {} bytes to come)", self.link, self.rest)
    }
}

impl DropOpener {
    /// For a file sent to the drop box of `link`, whose key is `key`.
    pub fn new(key: &DropKey, link: LinkId) -> Self {
        Self {
            key: key.clone(),
            link,
            waiting: Waiting::Prefix,
            // Room for the largest part, so that no plaintext is left behind where it grew.
            arrived: Zeroizing::new(Vec::with_capacity(RECORD_LEN)),
            head: None,
            rest: 0,
            record: 0,
            complete: false,
        }
    }

    /// What the sender says of the file, once that much has arrived.
    pub fn head(&self) -> Option<&DropHead> {
        self.head.as_ref()
    }

    /// Takes the next bytes, in pieces of any size, and appends what opens of the file to `out`.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] for anything but the beginning of a file sealed to this box. Then it is over:
    /// what was given out before must be thrown away, and no more is taken.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            let wanted = self.wanted()?;
            let (part, later) = bytes.split_at(bytes.len().min(wanted - self.arrived.len()));
            self.arrived.extend_from_slice(part);
            bytes = later;
            if self.arrived.len() == wanted {
                let step = self.step(out);
                self.arrived.clear();
                self.waiting = step?;
            }
        }
        Ok(())
    }

    /// How many bytes the part has that is waited for; never 0.
    fn wanted(&self) -> Result<usize, LinkError> {
        match self.waiting {
            Waiting::Prefix => Ok(PREFIX_LEN),
            Waiting::Head(_, len) => Ok(len),
            Waiting::Record(_) => Ok(self.record_len() + TAG_LEN),
            Waiting::Nothing => Err(LinkError::Sealed),
        }
    }

    /// Plaintext bytes of the next record.
    fn record_len(&self) -> usize {
        usize::try_from(self.rest).unwrap_or(RECORD_PLAIN_LEN).min(RECORD_PLAIN_LEN)
    }

    /// A part has arrived: opens it and says what comes next. When it fails, nothing comes next.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Waiting, LinkError> {
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Prefix => {
                let (version, rest) = self.arrived.split_first().ok_or(LinkError::Sealed)?;
                let (sender, len) = rest.split_first_chunk::<32>().ok_or(LinkError::Sealed)?;
                let len = u32::from_be_bytes(len.try_into().map_err(|_| LinkError::Sealed)?);
                let len = usize::try_from(len).map_err(|_| LinkError::Sealed)?;
                if *version != VERSION || !(TAG_LEN..=DROP_HEAD_LEN_MAX).contains(&len) {
                    return Err(LinkError::Sealed);
                }
                let shared = self.key.agree(sender)?;
                Ok(Waiting::Head(FileKeys::new(&shared, sender, &self.key.public(), &self.link), len))
            }
            Waiting::Head(keys, _) => {
                let head = DropHead::decode(keys.open(&keys.head, head_nonce(), &mut self.arrived)?)?;
                self.rest = head.len;
                self.head = Some(head);
                Ok(Waiting::Record(keys))
            }
            Waiting::Record(keys) => {
                let last = self.rest <= RECORD_PLAIN_LEN as u64;
                let nonce = Sealing::nonce(self.record, last);
                let plain = keys.open(&keys.file, nonce, &mut self.arrived)?;
                out.extend_from_slice(plain);
                self.rest -= plain.len() as u64;
                self.record += 1;
                self.complete = last;
                Ok(if last { Waiting::Nothing } else { Waiting::Record(keys) })
            }
            Waiting::Nothing => Err(LinkError::Sealed),
        }
    }

    /// What the sender says of the file, after the stream has ended and all of the file has opened.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] when something is missing, or did not open.
    pub fn finish(self) -> Result<DropHead, LinkError> {
        if self.complete { self.head.ok_or(LinkError::Sealed) } else { Err(LinkError::Sealed) }
    }
}
