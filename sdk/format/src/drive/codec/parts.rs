//! What objects are made of, as CBOR: references, contents, attributes, folders and histories.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};
use zeroize::{Zeroize, Zeroizing};

use super::{Encoded, array, fixed, list};
use crate::drive::{
    ATTRIBUTE_KEY_LEN_MAX, ATTRIBUTES_LEN_MAX, ATTRIBUTES_MAX, Attributes, Extent, FileContent, FolderRef,
    HistoryRef, INLINE_LEN_MAX, ObjectRef, Totals,
};
use crate::seal::{ObjectId, ObjectKey};

const INLINE: u8 = 0;
const DIRECT: u8 = 1;
const MANIFEST: u8 = 2;

pub(super) fn write_reference<W: Write>(reference: &ObjectRef, out: &mut Encoder<W>) -> Encoded<W> {
    out.array(5)?.bytes(&reference.id.0)?.bytes(&*reference.key.0)?.bytes(&reference.commitment)?;
    out.u64(reference.len)?.array(reference.extents.len() as u64)?;
    for extent in &reference.extents {
        out.array(3)?.u32(extent.segment)?.u32(extent.offset)?.u32(extent.len)?;
    }
    Ok(())
}

pub(super) fn read_reference(input: &mut Decoder<'_>) -> Result<ObjectRef, DecodeError> {
    array(input, 5)?;
    let id = ObjectId(fixed(input)?);
    let mut key: [u8; 32] = fixed(input)?;
    let secret = ObjectKey(Zeroizing::new(key));
    key.zeroize();
    Ok(ObjectRef {
        id,
        key: secret,
        commitment: fixed(input)?,
        len: input.u64()?,
        extents: list(input, |input| {
            array(input, 3)?;
            Ok(Extent { segment: input.u32()?, offset: input.u32()?, len: input.u32()? })
        })?,
    })
}

/// A reference that may be missing: an array of 0 or 1.
pub(crate) fn write_optional<W: Write>(reference: Option<&ObjectRef>, out: &mut Encoder<W>) -> Encoded<W> {
    out.array(u64::from(reference.is_some()))?;
    reference.map_or(Ok(()), |reference| write_reference(reference, out))
}

pub(crate) fn read_optional(input: &mut Decoder<'_>) -> Result<Option<ObjectRef>, DecodeError> {
    match input.array()? {
        Some(0) => Ok(None),
        Some(1) => read_reference(input).map(Some),
        _ => Err(DecodeError::message("more than one reference")),
    }
}

pub(super) fn write_content<W: Write>(content: &FileContent, out: &mut Encoder<W>) -> Encoded<W> {
    match content {
        FileContent::Inline(bytes) => {
            out.array(2)?.u8(INLINE)?.bytes(bytes)?;
            Ok(())
        }
        FileContent::Direct(file) => {
            out.array(2)?.u8(DIRECT)?;
            write_reference(file, out)
        }
        FileContent::Manifest { manifest, len } => {
            out.array(3)?.u8(MANIFEST)?;
            write_reference(manifest, out)?;
            out.u64(*len)?;
            Ok(())
        }
    }
}

pub(super) fn read_content(input: &mut Decoder<'_>) -> Result<FileContent, DecodeError> {
    let len = input.array()?;
    match (len, input.u8()?) {
        (Some(2), INLINE) => {
            let bytes = input.bytes()?;
            if bytes.len() > INLINE_LEN_MAX {
                return Err(DecodeError::message("an inline file is longer than 4,096 bytes"));
            }
            Ok(FileContent::Inline(bytes.to_vec()))
        }
        (Some(2), DIRECT) => Ok(FileContent::Direct(read_reference(input)?)),
        (Some(3), MANIFEST) => {
            Ok(FileContent::Manifest { manifest: read_reference(input)?, len: input.u64()? })
        }
        _ => Err(DecodeError::message("a kind of content that is not known")),
    }
}

pub(super) fn content_reference(content: &FileContent) -> Option<&ObjectRef> {
    match content {
        FileContent::Inline(_) => None,
        FileContent::Direct(object) | FileContent::Manifest { manifest: object, .. } => Some(object),
    }
}

pub(super) fn write_attributes<W: Write>(attributes: &Attributes, out: &mut Encoder<W>) -> Encoded<W> {
    out.array(attributes.len() as u64)?;
    for (key, value) in attributes {
        out.array(2)?.str(key)?.str(value)?;
    }
    Ok(())
}

pub(super) fn read_attributes(input: &mut Decoder<'_>) -> Result<Attributes, DecodeError> {
    let count = input.array()?.ok_or_else(|| DecodeError::message("a list has no length"))?;
    if count > ATTRIBUTES_MAX as u64 {
        return Err(DecodeError::message("more than 64 attributes"));
    }
    let mut attributes = Attributes::new();
    let mut len = 0;
    for _ in 0..count {
        array(input, 2)?;
        let (key, value) = (input.str()?, input.str()?);
        if !(1..=ATTRIBUTE_KEY_LEN_MAX).contains(&key.len()) {
            return Err(DecodeError::message("an attribute's key is empty or longer than 128 bytes"));
        }
        len += key.len() + value.len();
        if len > ATTRIBUTES_LEN_MAX {
            return Err(DecodeError::message("attributes of more than 8,192 bytes"));
        }
        if attributes.last_key_value().is_some_and(|(last, _)| last.as_str() >= key) {
            return Err(DecodeError::message("attributes are out of order or twice there"));
        }
        attributes.insert(key.to_owned(), value.to_owned());
    }
    Ok(attributes)
}

pub(super) fn write_totals<W: Write>(totals: &Totals, out: &mut Encoder<W>) -> Encoded<W> {
    out.u64(totals.entries)?.u64(totals.files)?.u64(totals.bytes)?;
    Ok(())
}

pub(super) fn read_totals(input: &mut Decoder<'_>) -> Result<Totals, DecodeError> {
    Ok(Totals { entries: input.u64()?, files: input.u64()?, bytes: input.u64()? })
}

/// The four elements of a folder, in an array of the caller's.
pub(super) fn write_folder<W: Write>(folder: &FolderRef, out: &mut Encoder<W>) -> Encoded<W> {
    write_optional(folder.page.as_ref(), out)?;
    write_totals(&folder.totals, out)
}

pub(super) fn read_folder(input: &mut Decoder<'_>) -> Result<FolderRef, DecodeError> {
    let folder = FolderRef { page: read_optional(input)?, totals: read_totals(input)? };
    if folder.page.is_none() && folder.totals != Totals::default() {
        return Err(DecodeError::message("a folder without a page has entries"));
    }
    if folder.page.is_some() && folder.totals.entries == 0 {
        return Err(DecodeError::message("a folder with a page has no entries"));
    }
    Ok(folder)
}

/// A history that may be missing: an array of 0 or 3.
pub(super) fn write_history<W: Write>(history: Option<&HistoryRef>, out: &mut Encoder<W>) -> Encoded<W> {
    let Some(history) = history else {
        out.array(0)?;
        return Ok(());
    };
    out.array(3)?;
    write_reference(&history.object, out)?;
    out.u64(history.versions)?.u64(history.bytes)?;
    Ok(())
}

pub(super) fn read_history(input: &mut Decoder<'_>) -> Result<Option<HistoryRef>, DecodeError> {
    match input.array()? {
        Some(0) => return Ok(None),
        Some(3) => (),
        _ => return Err(DecodeError::message("an array has another length")),
    }
    let history = HistoryRef { object: read_reference(input)?, versions: input.u64()?, bytes: input.u64()? };
    if history.versions == 0 {
        return Err(DecodeError::message("a history of no versions"));
    }
    Ok(Some(history))
}
