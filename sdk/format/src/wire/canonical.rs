//! Is this the encoding of that? Answered without writing the encoding anywhere.
//!
//! CBOR has many encodings of one value, and derived decoders skip fields that they do not know.
//! Comparing what was received with what would be sent leaves each message one encoding.

use minicbor::Encode;
use minicbor::encode::{Encoder, Write};

/// What is left of the bytes that the encoder is expected to write.
struct Expected<'a>(&'a [u8]);

/// The encoder wrote something else.
struct Differs;

impl Write for Expected<'_> {
    type Error = Differs;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Differs> {
        let (part, rest) = self.0.split_at_checked(written.len()).ok_or(Differs)?;
        // A chunk that was kept where it lay needs no comparison with itself.
        if !std::ptr::eq(part, written) && part != written {
            return Err(Differs);
        }
        self.0 = rest;
        Ok(())
    }
}

/// Whether `bytes` are exactly what `value` is encoded as.
pub(crate) fn is_encoding_of<T: Encode<()>>(bytes: &[u8], value: &T) -> bool {
    let mut encoder = Encoder::new(Expected(bytes));
    encoder.encode(value).is_ok() && encoder.writer().0.is_empty()
}
