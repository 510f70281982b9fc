//! CBOR of the drive's objects (spec/manifest.md, section 3; spec/drive.md, sections 2, 3 and 5).
//!
//! Invariant: every object is checked whole after decoding, and its bytes must be the ones that
//! encoding it again gives, so each object has one encoding. Key material is not left behind in
//! memory that was freed. What it is not: a check of objects before they are written.

mod objects;
pub(crate) mod parts;
mod table;

use std::convert::Infallible;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decoder, Encode, Encoder};
use zeroize::Zeroizing;

use super::{OBJECT_LEN_MAX, ObjectError, ObjectRef};
use crate::seal::sealed_len;
use crate::segment::Segment;
use crate::wire::canonical::is_encoding_of;

/// First byte of every object.
const VERSION: u8 = 2;
/// Elements that are reserved at once for a declared length. More only as they really come, so
/// that a few bytes cannot claim gigabytes.
const RESERVE_MAX: u64 = 1024;

pub(crate) type Encoded<W> = Result<(), EncodeError<<W as Write>::Error>>;

/// Encoded objects hold keys: memory that this buffer grows out of is overwritten.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Write for Secret {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// An object with a version byte, a body and rules.
pub(super) trait Object: Sized {
    const WHAT: &'static str;
    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W>;
    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError>;
    fn table(&self) -> &[Segment];
    fn references(&self) -> Vec<&ObjectRef>;
    /// The rules that are not about references.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

pub(super) fn encode<T: Object>(object: &T) -> Zeroizing<Vec<u8>> {
    encode_secret(VERSION, |out| object.write(out))
}

/// A version byte, then what `write` writes; no key in it is left behind in memory.
pub(crate) fn encode_secret(
    version: u8,
    write: impl FnOnce(&mut Encoder<Secret>) -> Encoded<Secret>,
) -> Zeroizing<Vec<u8>> {
    let mut out = Encoder::new(Secret(Zeroizing::new(Vec::with_capacity(1024))));
    out.writer_mut().0.push(version);
    write(&mut out).expect("writing into memory cannot fail");
    out.into_writer().0
}

/// An object without its version byte, as minicbor's trait wants it.
struct Body<'a, T>(&'a T);

impl<T: Object> Encode<()> for Body<'_, T> {
    fn encode<W: Write>(&self, out: &mut Encoder<W>, _: &mut ()) -> Encoded<W> {
        self.0.write(out)
    }
}

pub(super) fn decode<T: Object>(bytes: &[u8]) -> Result<T, ObjectError> {
    let refuse = |why: String| ObjectError { what: T::WHAT, why };
    if bytes.len() > OBJECT_LEN_MAX {
        return Err(refuse("it is larger than 256 MiB".to_owned()));
    }
    let Some((&VERSION, body)) = bytes.split_first() else {
        return Err(refuse("it is of a version that is not known".to_owned()));
    };
    let object = T::read(&mut Decoder::new(body)).map_err(|error| refuse(error.to_string()))?;
    check_references(object.table(), &object.references()).map_err(refuse)?;
    object.check().map_err(refuse)?;
    if !is_encoding_of(body, &Body(&object)) {
        return Err(refuse("its encoding is not the canonical one".to_owned()));
    }
    Ok(object)
}

fn check_references(table: &[Segment], references: &[&ObjectRef]) -> Result<(), String> {
    let mut ids: Vec<_> = table.iter().map(Segment::id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("its table names a segment twice".to_owned());
    }
    let mut used = vec![false; table.len()];
    for reference in references {
        let mut sum = 0u64;
        for extent in &reference.extents {
            let at = extent.segment as usize;
            let segment = table.get(at).ok_or("an extent lies outside the table")?;
            let end = u64::from(extent.offset) + u64::from(extent.len);
            if extent.len == 0 || end > u64::from(segment.len) {
                return Err("an extent lies outside its segment".to_owned());
            }
            used[at] = true;
            sum += u64::from(extent.len);
        }
        if sum != sealed_len(reference.len) {
            return Err("the extents do not add up to the object's length".to_owned());
        }
    }
    if used.contains(&false) {
        return Err("its table names a segment that nothing lies in".to_owned());
    }
    Ok(())
}

pub(crate) fn array(input: &mut Decoder<'_>, expected: u64) -> Result<(), DecodeError> {
    match input.array()? {
        Some(len) if len == expected => Ok(()),
        _ => Err(DecodeError::message("an array has another length")),
    }
}

/// A list of stated length, whose elements are read one by one.
fn list<T>(
    input: &mut Decoder<'_>,
    mut read: impl FnMut(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = input.array()?.ok_or_else(|| DecodeError::message("a list has no length"))?;
    let mut elements = Vec::with_capacity(usize::try_from(len.min(RESERVE_MAX)).unwrap_or(0));
    for _ in 0..len {
        elements.push(read(input)?);
    }
    Ok(elements)
}

fn fixed<const N: usize>(input: &mut Decoder<'_>) -> Result<[u8; N], DecodeError> {
    input.bytes()?.try_into().map_err(|_| DecodeError::message("a byte string has another length"))
}
