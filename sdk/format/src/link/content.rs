//! What a link's record seals (spec/links.md, section 3).

use std::fmt;

use minicbor::Decoder;
use zeroize::Zeroizing;

use super::LinkError;
use crate::drive::{Entry, EntryKind, FolderRef, Items, ObjectRef, Page, object_parts};
use crate::seal::sealed_len;

/// First byte of a content.
const VERSION: u8 = 1;

/// The sealed content of a link's record. At least one of `root` and `drop_box` is there.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkContent {
    /// What is shared: an object of kind Folder, a page with one entry, in the link segment (segment 0 of a
    /// table that has only this one) behind the cover list. Of a drop box it is an empty folder, whose name
    /// says where files go.
    pub root: Option<ObjectRef>,
    /// The public key of the drop box, for a link that takes files.
    pub drop_box: Option<[u8; 32]>,
    /// When the record was written, milliseconds since 1970, by the writer's clock.
    pub written_ms: i64,
}

impl fmt::Debug for LinkContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkContent")
            .field("root", &self.root)
            .field("drop_box", &self.drop_box.is_some())
            .field("written_ms", &self.written_ms)
            .finish()
    }
}

impl LinkContent {
    /// The one encoding: version byte, then CBOR. It is sealed by [`super::LinkRecord::write`].
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        object_parts::encode(VERSION, |out| {
            out.array(3)?;
            object_parts::write_optional(self.root.as_ref(), out)?;
            out.bytes(self.drop_box.as_ref().map_or(&[], |key| &key[..]))?.i64(self.written_ms)?;
            Ok(())
        })
    }

    /// Strict inverse of `encode`: anything else is [`LinkError::Sealed`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let (&VERSION, body) = bytes.split_first().ok_or(LinkError::Sealed)? else {
            return Err(LinkError::Sealed);
        };
        let content = Self::read(&mut Decoder::new(body)).map_err(|_| LinkError::Sealed)?;
        if **content.encode() != *bytes {
            return Err(LinkError::Sealed);
        }
        Ok(content)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        object_parts::array(input, 3)?;
        let root = object_parts::read_optional(input)?;
        let drop_box = match input.bytes()? {
            [] => None,
            key => Some(key.try_into().map_err(|_| minicbor::decode::Error::message("no X25519 key"))?),
        };
        Ok(Self { root, drop_box, written_ms: input.i64()? })
    }

    /// The rules: something is there, and the root lies in the link segment, behind the cover list.
    pub(super) fn check(&self, segment_len: u32, cover_len: u32) -> Result<(), LinkError> {
        let Some(root) = &self.root else {
            let empty = LinkError::Shape("it shares nothing and takes nothing");
            return if self.drop_box.is_some() { Ok(()) } else { Err(empty) };
        };
        let mut sum = 0u64;
        for extent in &root.extents {
            let end = u64::from(extent.offset) + u64::from(extent.len);
            let inside = extent.offset >= cover_len && end <= u64::from(segment_len);
            if extent.segment != 0 || extent.len == 0 || !inside {
                return Err(LinkError::Shape("its root does not lie in the link segment"));
            }
            sum += u64::from(extent.len);
        }
        // The second bound keeps extents that overlap from adding up to more than there is.
        if sum != sealed_len(root.len) || sum > u64::from(segment_len.saturating_sub(cover_len)) {
            return Err(LinkError::Shape("its root does not lie in the link segment"));
        }
        Ok(())
    }

    /// The one entry of the page that the root is: the shared file, which has no history, or folder.
    /// `page` was opened and decoded. A drop box shows nothing of what is in it.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] for any other page.
    pub fn shared<'a>(&self, page: &'a Page) -> Result<&'a Entry, LinkError> {
        let Items::Entries(entries) = &page.items else { return Err(LinkError::Sealed) };
        let [entry] = &entries[..] else { return Err(LinkError::Sealed) };
        let fits = match &entry.node {
            EntryKind::File(file) => self.drop_box.is_none() && file.history.is_none(),
            EntryKind::Folder(folder) => self.drop_box.is_none() || *folder == FolderRef::default(),
        };
        if fits { Ok(entry) } else { Err(LinkError::Sealed) }
    }
}
