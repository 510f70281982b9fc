//! Messages between nodes (spec/wire.md): one CBOR body in a length-prefixed frame each way.
//!
//! Invariant: what [`Request::decode`] and [`Response::decode`] let through is within every bound
//! of this module, is the one encoding of that message, and took memory in proportion to the body
//! alone. Not here: the frames themselves, what a message leads to, and who may send it.

pub(crate) mod bounded;
pub(crate) mod canonical;
pub mod hashes;
mod message;
mod refusal;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use self::bounded::Source;

use crate::ids::NodeId;
use crate::tree::CHUNK_LEN_MAX;

pub use self::message::{Addition, Request, Response};
pub use self::refusal::{Refusal, refused};

/// Protocol id for all messages but those that carry a chunk.
pub const CONTROL_PROTOCOL: &str = "/commonhold/control/1";
/// Protocol id for requests that carry or fetch a chunk, and their answers.
pub const CHUNK_PROTOCOL: &str = "/commonhold/chunk/1";
/// Largest body of the control protocol, bytes. A commit with all its changes has about 220 kB,
/// a page of an inventory 200 kB, a proof with the longest paths and an answer to the largest probe 350 kB.
pub const CONTROL_FRAME_MAX: usize = 512 * 1024;
/// Largest body of the chunk protocol, bytes: a chunk and its envelope.
pub const CHUNK_FRAME_MAX: usize = CHUNK_LEN_MAX + 4096;
/// Most additions, and most removals, of one commit.
pub const COMMIT_CHANGES_MAX: usize = 4096;
/// Most entries of one page of an inventory.
pub const INVENTORY_PAGE_MAX: usize = 4096;
/// Most contracts of one list.
pub const CONTRACTS_MAX: usize = 4096;
/// Most chunks of one report of damage.
pub const DAMAGED_MAX: usize = 1024;
/// Longest explanation of a refusal, bytes.
pub const MESSAGE_LEN_MAX: usize = 256;
/// Bytes that an encoded message has beside a chunk, for the capacity of buffers.
const ENVELOPE_LEN: usize = 128;

/// The body of a frame in two parts, one after the other: what is encoded, and the chunk as it is,
/// which is empty for messages without one. No message has anything after its chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// All but the chunk.
    pub head: Vec<u8>,
    /// The chunk.
    pub chunk: Bytes,
}

impl Body {
    /// Length of both, bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.chunk.len()
    }

    /// Never: a message has a byte at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why the body of a frame is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad message: {0}")]
pub struct WireError(pub String);

/// What an owner signs to have its contracts listed: a domain, the asking and the answering node.
/// So nobody else can ask with the same signature, and nobody can ask another node with it.
pub fn list_contracts_message(asking: &NodeId, answering: &NodeId) -> Vec<u8> {
    let mut message = b"commonhold/v1/list-contracts".to_vec();
    message.extend_from_slice(asking.as_bytes());
    message.extend_from_slice(answering.as_bytes());
    message
}

impl Request {
    /// The CBOR body of a frame. A message that is out of bounds is encoded too, and refused by
    /// whoever decodes it.
    pub fn encode(&self) -> Vec<u8> {
        whole(self.body())
    }

    /// The same without copying a chunk.
    pub fn body(&self) -> Body {
        let chunk = if let Request::PutChunk { bytes, .. } = self { bytes.clone() } else { Bytes::new() };
        body(self, chunk)
    }

    /// Strict and bounded inverse of [`Request::encode`].
    ///
    /// # Errors
    /// [`WireError`] for anything that is not the encoding of exactly one request within its
    /// bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::decode_from(bytes, ())
    }

    /// The same without copying a chunk: it stays in `body`, which it keeps alive.
    ///
    /// # Errors
    /// As [`Request::decode`].
    pub fn decode_body(body: &Bytes) -> Result<Self, WireError> {
        Self::decode_from(body, body.clone())
    }

    fn decode_from<S: Source>(bytes: &[u8], source: S) -> Result<Self, WireError> {
        bound("bytes", bytes.len(), CHUNK_FRAME_MAX)?;
        let request: Self = decode(bytes, source)?;
        if !request.is_bulk() {
            bound("bytes for the control protocol", bytes.len(), CONTROL_FRAME_MAX)?;
        }
        match &request {
            Request::PutChunk { bytes, .. } => bound_chunk(bytes.len())?,
            Request::Commit { adds, .. } => {
                for add in adds {
                    bound_chunk(usize::try_from(add.len).unwrap_or(usize::MAX))?;
                }
            }
            Request::Damaged { chunks, .. } if chunks.is_empty() => {
                return Err(WireError("a report of no damage".to_owned()));
            }
            Request::Probe { chunks, .. } if chunks.is_empty() => {
                return Err(WireError("a probe of no chunk".to_owned()));
            }
            _ => {}
        }
        strict(bytes, &request)?;
        Ok(request)
    }

    /// Does it travel on [`CHUNK_PROTOCOL`]? Its answer takes the same way.
    pub fn is_bulk(&self) -> bool {
        matches!(self, Request::PutChunk { .. } | Request::GetChunk { .. })
    }
}

impl Response {
    /// The CBOR body of a frame. A message that is out of bounds is encoded too, and refused by
    /// whoever decodes it.
    pub fn encode(&self) -> Vec<u8> {
        whole(self.body())
    }

    /// The same without copying a chunk.
    pub fn body(&self) -> Body {
        let chunk = if let Response::Chunk { bytes } = self { bytes.clone() } else { Bytes::new() };
        body(self, chunk)
    }

    /// Strict and bounded inverse of [`Response::encode`], but that a [`Response::Refused`] may
    /// have a code or further fields of a later version.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not the encoding of exactly one response within its
    /// bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::decode_from(bytes, ())
    }

    /// The same without copying a chunk: it stays in `body`, which it keeps alive.
    ///
    /// # Errors
    /// As [`Response::decode`].
    pub fn decode_body(body: &Bytes) -> Result<Self, WireError> {
        Self::decode_from(body, body.clone())
    }

    fn decode_from<S: Source>(bytes: &[u8], source: S) -> Result<Self, WireError> {
        bound("bytes", bytes.len(), CHUNK_FRAME_MAX)?;
        let response: Self = decode(bytes, source)?;
        match &response {
            Response::Chunk { bytes } => bound_chunk(bytes.len())?,
            _ => bound("bytes for the control protocol", bytes.len(), CONTROL_FRAME_MAX)?,
        }
        if matches!(&response, Response::Probed { shown } if shown.is_empty()) {
            return Err(WireError("an answer to a probe of no chunk".to_owned()));
        }
        if let Response::Refused { message, .. } = &response {
            bound("bytes of a message", message.len(), MESSAGE_LEN_MAX)?;
            // It is shown to people, so it must not steer their terminals.
            if message.contains(char::is_control) {
                return Err(WireError("a message has control characters".to_owned()));
            }
        } else {
            strict(bytes, &response)?;
        }
        Ok(response)
    }
}

/// Collects an encoding up to its chunk.
struct Head<'a> {
    written: Vec<u8>,
    chunk: &'a [u8],
}

impl minicbor::encode::Write for Head<'_> {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, part: &[u8]) -> Result<(), Self::Error> {
        // The encoder writes a byte string's bytes from where they are.
        if !std::ptr::eq(part, self.chunk) {
            self.written.extend_from_slice(part);
        }
        Ok(())
    }
}

fn body<T: Encode<()>>(message: &T, chunk: Bytes) -> Body {
    let mut head = Head { written: Vec::with_capacity(ENVELOPE_LEN), chunk: &chunk };
    minicbor::encode(message, &mut head).expect("writing into a vector cannot fail");
    Body { head: head.written, chunk }
}

fn whole(Body { mut head, chunk }: Body) -> Vec<u8> {
    head.extend_from_slice(&chunk);
    head
}

fn decode<'b, S: Source, T: Decode<'b, S>>(bytes: &'b [u8], mut source: S) -> Result<T, WireError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let message = decoder.decode_with(&mut source).map_err(|error| WireError(error.to_string()))?;
    if decoder.position() != bytes.len() {
        return Err(WireError("surplus bytes after the message".to_owned()));
    }
    Ok(message)
}

fn strict<T: Encode<()>>(bytes: &[u8], message: &T) -> Result<(), WireError> {
    if canonical::is_encoding_of(bytes, message) {
        Ok(())
    } else {
        Err(WireError("not the one encoding of its message".to_owned()))
    }
}

/// Refuses what is more than its bound.
fn bound(what: &str, found: usize, most: usize) -> Result<(), WireError> {
    if found > most {
        return Err(WireError(format!("{found} {what}, at most {most} are allowed")));
    }
    Ok(())
}

fn bound_chunk(len: usize) -> Result<(), WireError> {
    if len == 0 {
        return Err(WireError("an empty chunk".to_owned()));
    }
    bound("bytes of a chunk", len, CHUNK_LEN_MAX)
}
