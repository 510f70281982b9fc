//! Records in the DHT: what a node says of itself, and the key under which each kind of record
//! stands (spec/records.md).
//!
//! Invariant: a record is believed only under its own key, within its size, with every signature
//! verified and before it expires, if it does. Not here: which peers keep a record, the head of a
//! drive itself ([`crate::head`]), and that of a link ([`crate::link`]).

use std::fmt;
use std::str::FromStr;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::head::{Head, HeadError};
use crate::ids::{NodeId, PartyId};
use crate::keys::{self, DeviceSecret, PartyKey};
use crate::link::{LINK_RECORD, LinkError, LinkId, LinkRecord};
use crate::note::SignedNote;
use crate::statement::{Checkpoint, Prices};
use crate::wire::bounded;
use crate::wire::canonical::is_encoding_of;

/// Largest record of any kind, bytes.
pub const RECORD_LEN_MAX: usize = 8192;
/// Most addresses of one node: enough for each transport on each network that it is part of.
pub const ADDRESSES_MAX: usize = 16;
/// Longest address, bytes.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Longest time from now until a node record expires, seconds: 7 days. What a node said longer
/// ago is worth nothing, and a record that never expired could never be got rid of.
pub const VALIDITY_SECONDS_MAX: u64 = 7 * 86_400;
/// First byte of a node record.
const NODE_RECORD: u8 = 0x01;
/// First byte of a drive head ([`Head::encode`]).
const DRIVE_HEAD: u8 = 0x02;
/// First byte of a ledger head.
const LEDGER_HEAD: u8 = 0x03;
const SIGNATURE_LEN: usize = 64;
/// The party's signature, then the node's.
const SIGNATURES_LEN: usize = 2 * SIGNATURE_LEN;
const SIGNED_AS: &[u8] = b"commonhold/v1/node-record-signature";
const NODE_KEY: &[u8] = b"commonhold/v1/node-record";
const HEAD_KEY: &[u8] = b"commonhold/v1/drive-head";
const LEDGER_KEY: &[u8] = b"commonhold/v1/ledger-head";
const LINK_KEY: &[u8] = b"commonhold/v1/link";

/// A country: two capital letters of ISO 3166-1, `DE`. Which pairs are in use is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region([u8; 2]);

impl Region {
    /// As policies see it: 256 · first letter + second.
    pub fn code(self) -> u32 {
        u32::from(u16::from_be_bytes(self.0))
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match *text.as_bytes() {
            [first @ b'A'..=b'Z', second @ b'A'..=b'Z'] => Ok(Self([first, second])),
            _ => {
                Err(format!("{text:?} is not a region; write two capital letters of ISO 3166-1, like \"DE\""))
            }
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0.map(char::from);
        write!(f, "{first}{second}")
    }
}

impl<C> Encode<C> for Region {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        // Two letters of ASCII are UTF-8.
        e.str(std::str::from_utf8(&self.0).unwrap_or_default())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Region {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        text.parse().map_err(|_| minicbor::decode::Error::message("a region is not two capital letters"))
    }
}

/// What a provider offers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    /// Bytes that are free for new data.
    #[n(0)]
    pub free_bytes: u64,
    /// The least that it asks.
    #[n(1)]
    pub prices: Prices,
    /// Longest contract that it takes on, seconds.
    #[n(2)]
    pub term_seconds_max: u64,
    /// Where its operator says that it is; `None` when it does not.
    #[n(3)]
    pub region: Option<Region>,
}

/// What a node says of itself. Its peer key signs, which binds the addresses to the node, and so
/// does its party key, which binds the node to its operator: neither can claim the other alone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeRecord {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its operator.
    #[n(1)]
    pub party: PartyId,
    /// Rises with every record: the Unix time of writing in milliseconds.
    #[n(2)]
    pub sequence: u64,
    /// Until when it is to be believed, Unix seconds.
    #[n(3)]
    pub expires: u64,
    /// Where it can be reached: multiaddrs in their text form, at most [`ADDRESSES_MAX`], each of
    /// 1 to [`ADDRESS_LEN_MAX`] visible ASCII characters.
    #[cbor(n(4), decode_with = "bounded::list::<_, _, ADDRESSES_MAX>")]
    pub addresses: Vec<String>,
    /// What it lends; `None` if it is no provider.
    #[n(5)]
    pub offer: Option<Offer>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are no record, or it is out of bounds.
    #[error("not a record: {0}")]
    Shape(&'static str),
    /// A signature is wrong.
    #[error("the record's signature is wrong")]
    Signature,
    /// It stands under a key that is not its own, or is to be signed with one.
    #[error("the record is of another key")]
    Key,
    /// It has expired, or is a node's and claims to be valid for more than 7 days.
    #[error("the record has expired or claims to be valid for more than 7 days: check the clocks")]
    Expired,
}

impl NodeRecord {
    /// Signs with both keys and encodes: kind, CBOR body, the party's signature, the node's.
    ///
    /// # Errors
    /// [`RecordError::Key`] when a key is not the record's own, [`RecordError::Shape`] when a
    /// bound is exceeded.
    pub fn encode(&self, device: &DeviceSecret, party: &PartyKey) -> Result<Vec<u8>, RecordError> {
        self.check()?;
        if device.node() != self.node || party.id() != self.party {
            return Err(RecordError::Key);
        }
        let mut out = vec![NODE_RECORD];
        minicbor::encode(self, &mut out).expect("writing into a vector cannot fail");
        let message = signed_message(&out);
        out.extend_from_slice(&party.sign(&message));
        out.extend_from_slice(&device.sign(&message));
        if out.len() > RECORD_LEN_MAX {
            return Err(RecordError::Shape("more than 8,192 bytes"));
        }
        Ok(out)
    }

    /// Decodes and verifies both signatures. Whether it has expired is not looked at: that needs
    /// the time ([`validate`] does it).
    ///
    /// # Errors
    /// [`RecordError::Shape`] and [`RecordError::Signature`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let unverified = Unverified::decode(bytes)?;
        unverified.verify()
    }

    fn check(&self) -> Result<(), RecordError> {
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(RecordError::Shape("more than 16 addresses"));
        }
        let fits = |address: &String| {
            (1..=ADDRESS_LEN_MAX).contains(&address.len())
                && address.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.addresses.iter().all(fits) {
            return Err(RecordError::Shape("an address is not 1 to 256 visible characters"));
        }
        Ok(())
    }
}

/// A node record whose signatures have not been looked at, so that cheap checks come first.
struct Unverified<'a> {
    record: NodeRecord,
    signed: &'a [u8],
    by_party: &'a [u8],
    by_node: &'a [u8],
}

impl<'a> Unverified<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_LEN_MAX {
            return Err(RecordError::Shape("more than 8,192 bytes"));
        }
        if bytes.first() != Some(&NODE_RECORD) {
            return Err(RecordError::Shape("another kind of record"));
        }
        let body_end = bytes.len().checked_sub(SIGNATURES_LEN).filter(|end| *end > 1);
        let (signed, signatures) = bytes.split_at(body_end.ok_or(RecordError::Shape("too short"))?);
        let body = &signed[1..];
        let record: NodeRecord =
            minicbor::decode(body).map_err(|_| RecordError::Shape("its body is not a node record"))?;
        if !is_encoding_of(body, &record) {
            return Err(RecordError::Shape("its body is not in its one encoding"));
        }
        record.check()?;
        let (by_party, by_node) = signatures.split_at(SIGNATURE_LEN);
        Ok(Self { record, signed, by_party, by_node })
    }

    fn verify(self) -> Result<NodeRecord, RecordError> {
        let message = signed_message(self.signed);
        let valid = |key: &[u8; 32], signature: &[u8]| {
            signature.try_into().is_ok_and(|signature| keys::verify(key, &message, signature))
        };
        let by_both = valid(self.record.party.as_bytes(), self.by_party)
            && valid(self.record.node.as_bytes(), self.by_node);
        if by_both { Ok(self.record) } else { Err(RecordError::Signature) }
    }
}

/// Where a node's record stands: SHA-256("commonhold/v1/node-record" ‖ node).
pub fn node_key(node: &NodeId) -> [u8; 32] {
    hashed(NODE_KEY, node.as_bytes())
}

/// Where a drive's head stands: SHA-256("commonhold/v1/drive-head" ‖ drive).
pub fn head_key(drive: &PartyId) -> [u8; 32] {
    hashed(HEAD_KEY, drive.as_bytes())
}

/// Where the head of the ledger of a node stands: SHA-256("commonhold/v1/ledger-head" ‖ node).
pub fn ledger_key(node: &NodeId) -> [u8; 32] {
    hashed(LEDGER_KEY, node.as_bytes())
}

/// Where a link's record stands: SHA-256("commonhold/v1/link" ‖ link id).
pub fn link_key(link: &LinkId) -> [u8; 32] {
    hashed(LINK_KEY, &link.0)
}

/// The record of a ledger's head: its kind and the checkpoint's note, cosignatures and all.
pub fn encode_ledger_head(checkpoint: &SignedNote) -> Vec<u8> {
    [&[LEDGER_HEAD][..], &checkpoint.to_bytes()].concat()
}

/// The checkpoint in a record of a ledger's head, its node, and its note. The origin's own key has
/// signed it; cosignatures are not looked at.
///
/// # Errors
/// [`RecordError::Shape`] and [`RecordError::Signature`].
pub fn decode_ledger_head(value: &[u8]) -> Result<(Checkpoint, NodeId, SignedNote), RecordError> {
    let shape = RecordError::Shape("not a ledger head");
    let note = value.strip_prefix(&[LEDGER_HEAD]).and_then(|note| SignedNote::parse(note).ok());
    let note = note.ok_or(shape.clone())?;
    Checkpoint::from_text(note.text()).map_err(|_| shape)?;
    let (checkpoint, _, node) = Checkpoint::of_ledger(&note).map_err(|_| RecordError::Signature)?;
    Ok((checkpoint, node, note))
}

/// Checks a record of any kind before it is stored, sent on or used: it is of a known kind,
/// within bounds, under its own key, not expired, and signed. Cheap checks come first, so that a
/// stranger's junk costs no signature check.
///
/// Answers the record's sequence: a record replaces one with a lower sequence, never one with a
/// higher. That of a ledger's head is the ledger's size. Heads do not expire; a link's record does when it
/// says so.
///
/// # Errors
/// [`RecordError`] says what is wrong.
pub fn validate(key: &[u8], value: &[u8], now_unix: u64) -> Result<u64, RecordError> {
    if value.len() > RECORD_LEN_MAX {
        return Err(RecordError::Shape("more than 8,192 bytes"));
    }
    match value.first() {
        Some(&NODE_RECORD) => {
            let unverified = Unverified::decode(value)?;
            if key != node_key(&unverified.record.node) {
                return Err(RecordError::Key);
            }
            let expires = unverified.record.expires;
            if expires <= now_unix || expires - now_unix > VALIDITY_SECONDS_MAX {
                return Err(RecordError::Expired);
            }
            Ok(unverified.verify()?.sequence)
        }
        Some(&DRIVE_HEAD) => {
            let head = Head::decode(value).map_err(|error| match error {
                HeadError::Signature => RecordError::Signature,
                _ => RecordError::Shape("not a drive head"),
            })?;
            if key != head_key(&head.drive) {
                return Err(RecordError::Key);
            }
            Ok(head.sequence)
        }
        Some(&LEDGER_HEAD) => {
            let (checkpoint, node, _) = decode_ledger_head(value)?;
            if key != ledger_key(&node) {
                return Err(RecordError::Key);
            }
            Ok(checkpoint.size)
        }
        Some(&LINK_RECORD) => {
            let record = LinkRecord::decode_unverified(value).map_err(|error| match error {
                LinkError::Shape(why) => RecordError::Shape(why),
                _ => RecordError::Shape("not a link record"),
            })?;
            if key != link_key(&record.id) {
                return Err(RecordError::Key);
            }
            if record.has_expired(now_unix) {
                return Err(RecordError::Expired);
            }
            record.verify().map_err(|_| RecordError::Signature)?;
            Ok(record.sequence)
        }
        _ => Err(RecordError::Shape("a kind of record that is not known")),
    }
}

fn signed_message(record: &[u8]) -> Vec<u8> {
    [SIGNED_AS, record].concat()
}

fn hashed(domain: &[u8], id: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(domain).chain_update(id).finalize().into()
}
