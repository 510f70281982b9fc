//! Lists and byte strings whose bound is checked before anything is taken from them.

use bytes::Bytes;
use minicbor::decode::{Decode, Decoder, Error};

/// An array of stated length, of at most `MOST` elements.
pub(crate) fn list<'b, C, T: Decode<'b, C>, const MOST: usize>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, Error> {
    match d.array()? {
        // Not allocated beforehand: each element that is kept has cost its sender a byte or more.
        Some(count) if count <= MOST as u64 => (0..count).map(|_| d.decode_with(ctx)).collect(),
        _ => Err(Error::message("a list is too long or does not state its length")),
    }
}

/// A module for `#[cbor(with = "…")]`: a byte string of at most so many bytes.
macro_rules! byte_string {
    ($name:ident, $most:expr, $refusal:literal) => {
        pub(crate) mod $name {
            pub(crate) use minicbor::bytes::encode;
            use minicbor::decode::{Decoder, Error};

            pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
                let bytes = d.bytes()?;
                if bytes.len() > $most {
                    return Err(Error::message($refusal));
                }
                Ok(bytes.to_vec())
            }
        }
    };
}

byte_string!(note, crate::note::NOTE_LEN_MAX, "a note has more than 16,384 bytes");
byte_string!(record, crate::record::RECORD_LEN_MAX, "a record has more than 8,192 bytes");

/// What a message is decoded from. A chunk that lies in a [`Bytes`] stays where it is.
pub trait Source {
    /// Keeps a part of what is being decoded.
    fn keep(&self, part: &[u8]) -> Bytes;
}

impl Source for () {
    fn keep(&self, part: &[u8]) -> Bytes {
        Bytes::copy_from_slice(part)
    }
}

impl Source for Bytes {
    fn keep(&self, part: &[u8]) -> Bytes {
        self.slice_ref(part)
    }
}

/// For `#[cbor(with = "…")]`: the bytes of a chunk.
pub(crate) mod chunk {
    use bytes::Bytes;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    use super::Source;
    use crate::tree::CHUNK_LEN_MAX;

    pub(crate) fn encode<C, W: Write>(
        chunk: &Bytes,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(chunk)?;
        Ok(())
    }

    pub(crate) fn decode<C: Source>(d: &mut Decoder<'_>, source: &mut C) -> Result<Bytes, Error> {
        let chunk = d.bytes()?;
        if chunk.len() > CHUNK_LEN_MAX {
            return Err(Error::message("a chunk has more than 1,048,576 bytes"));
        }
        Ok(source.keep(chunk))
    }
}
