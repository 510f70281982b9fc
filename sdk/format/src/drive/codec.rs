//! CBOR of the drive's objects (spec/manifest.md, section 3; spec/drive.md, sections 2 and 3).
//!
//! Invariant: every object is checked whole after decoding, and its bytes must be the ones that
//! encoding it again gives, so each object has one encoding. Key material is not left behind in
//! memory that was freed. What it is not: a check of objects before they are written.

use std::convert::Infallible;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decoder, Encode, Encoder};
use zeroize::{Zeroize, Zeroizing};

use super::{
    Entry, EntryKind, Extent, FileContent, Folder, HeadContent, INLINE_LEN_MAX, Manifest, Name,
    OBJECT_LEN_MAX, ObjectError, ObjectRef,
};
use crate::seal::{ObjectId, ObjectKey, sealed_len};
use crate::segment::Segment;
use crate::wire::canonical::is_encoding_of;

/// First byte of every object.
const VERSION: u8 = 1;
/// Elements that are reserved at once for a declared length. More only as they really come, so
/// that a few bytes cannot claim gigabytes.
const RESERVE_MAX: u64 = 1024;

const INLINE: u8 = 0;
const DIRECT: u8 = 1;
const MANIFEST: u8 = 2;
const FILE: u8 = 0;
const FOLDER: u8 = 1;

type Encoded<W> = Result<(), EncodeError<<W as Write>::Error>>;

/// Encoded objects hold keys: memory that this buffer grows out of is overwritten.
struct Secret(Zeroizing<Vec<u8>>);

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
    let mut out = Encoder::new(Secret(Zeroizing::new(Vec::with_capacity(1024))));
    out.writer_mut().0.push(VERSION);
    object.write(&mut out).expect("writing into memory cannot fail");
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

fn array(input: &mut Decoder<'_>, expected: u64) -> Result<(), DecodeError> {
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

fn write_table<W: Write>(table: &[Segment], out: &mut Encoder<W>) -> Encoded<W> {
    out.array(table.len() as u64)?;
    for segment in table {
        out.encode(segment)?;
    }
    Ok(())
}

fn read_table(input: &mut Decoder<'_>) -> Result<Vec<Segment>, DecodeError> {
    list(input, |input| input.decode())
}

fn write_reference<W: Write>(reference: &ObjectRef, out: &mut Encoder<W>) -> Encoded<W> {
    out.array(5)?.bytes(&reference.id.0)?.bytes(&*reference.key.0)?.bytes(&reference.commitment)?;
    out.u64(reference.len)?.array(reference.extents.len() as u64)?;
    for extent in &reference.extents {
        out.array(3)?.u32(extent.segment)?.u32(extent.offset)?.u32(extent.len)?;
    }
    Ok(())
}

fn read_reference(input: &mut Decoder<'_>) -> Result<ObjectRef, DecodeError> {
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

fn write_content<W: Write>(content: &FileContent, out: &mut Encoder<W>) -> Encoded<W> {
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

fn read_content(input: &mut Decoder<'_>) -> Result<FileContent, DecodeError> {
    let len = input.array()?;
    match (len, input.u8()?) {
        (Some(2), INLINE) => Ok(FileContent::Inline(input.bytes()?.to_vec())),
        (Some(2), DIRECT) => Ok(FileContent::Direct(read_reference(input)?)),
        (Some(3), MANIFEST) => {
            Ok(FileContent::Manifest { manifest: read_reference(input)?, len: input.u64()? })
        }
        _ => Err(DecodeError::message("a kind of content that is not known")),
    }
}

impl Object for Manifest {
    const WHAT: &'static str = "manifest";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(2)?;
        write_table(&self.table, out)?;
        write_reference(&self.file, out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 2)?;
        Ok(Self { table: read_table(input)?, file: read_reference(input)? })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        vec![&self.file]
    }
}

impl Object for HeadContent {
    const WHAT: &'static str = "head";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(3)?;
        write_table(&self.table, out)?;
        write_reference(&self.root, out)?;
        out.i64(self.written_ms)?;
        Ok(())
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 3)?;
        Ok(Self { table: read_table(input)?, root: read_reference(input)?, written_ms: input.i64()? })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        vec![&self.root]
    }
}

impl Object for Folder {
    const WHAT: &'static str = "folder";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(2)?;
        write_table(&self.table, out)?;
        out.array(self.entries.len() as u64)?;
        for entry in &self.entries {
            match &entry.node {
                EntryKind::File { content, executable } => {
                    out.array(5)?
                        .str(entry.name.as_str())?
                        .i64(entry.modified_ms)?
                        .u8(FILE)?
                        .bool(*executable)?;
                    write_content(content, out)?;
                }
                EntryKind::Folder(folder) => {
                    out.array(4)?.str(entry.name.as_str())?.i64(entry.modified_ms)?.u8(FOLDER)?;
                    write_reference(folder, out)?;
                }
            }
        }
        Ok(())
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 2)?;
        let table = read_table(input)?;
        let entries = list(input, |input| {
            let len = input.array()?;
            let name = Name::new(input.str()?).map_err(DecodeError::message)?;
            let modified_ms = input.i64()?;
            let node = match (len, input.u8()?) {
                (Some(5), FILE) => {
                    EntryKind::File { executable: input.bool()?, content: read_content(input)? }
                }
                (Some(4), FOLDER) => EntryKind::Folder(read_reference(input)?),
                _ => return Err(DecodeError::message("a kind of entry that is not known")),
            };
            Ok(Entry { name, modified_ms, node })
        })?;
        Ok(Self { table, entries })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.node {
                EntryKind::Folder(folder) => Some(folder),
                EntryKind::File { content: FileContent::Direct(file), .. } => Some(file),
                EntryKind::File { content: FileContent::Manifest { manifest, .. }, .. } => Some(manifest),
                EntryKind::File { content: FileContent::Inline(_), .. } => None,
            })
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.entries.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err("its entries are out of order or twice there".to_owned());
        }
        let long = |entry: &Entry| matches!(&entry.node, EntryKind::File { content: FileContent::Inline(bytes), .. } if bytes.len() > INLINE_LEN_MAX);
        if self.entries.iter().any(long) {
            return Err("an inline file is longer than 4,096 bytes".to_owned());
        }
        Ok(())
    }
}
