//! A path as CBOR: one byte string of up to 64 hashes, 32 bytes each.

use crate::tree::Hash;

/// Longest path: that of a tree of 2^64 leaves.
const HASHES_MAX: usize = 64;

/// Writes the hashes as one byte string.
///
/// # Errors
/// Those of the writer.
#[allow(clippy::ptr_arg)] // the derive passes the field's own type
pub fn encode<C, W: minicbor::encode::Write>(
    hashes: &Vec<Hash>,
    e: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.bytes(hashes.as_flattened())?;
    Ok(())
}

/// Reads them back.
///
/// # Errors
/// When it is not a byte string of whole hashes, or of more than 64.
pub fn decode<C>(d: &mut minicbor::Decoder<'_>, _: &mut C) -> Result<Vec<Hash>, minicbor::decode::Error> {
    let (hashes, rest) = d.bytes()?.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() > HASHES_MAX {
        return Err(minicbor::decode::Error::message("a path is at most 64 whole hashes"));
    }
    Ok(hashes.to_vec())
}
