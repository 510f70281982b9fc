//! The objects themselves as CBOR, and their rules: manifests, pages, histories, heads.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

use super::{Encoded, Object, array, fixed, list, parts, table};
use crate::drive::{
    Entry, EntryKind, File, FolderRef, HeadContent, History, Items, Manifest, Name, ObjectRef,
    PAGE_LEVEL_MAX, Page, PageRef, Version, WRITERS_MAX, Writer,
};
use crate::segment::Segment;

const FILE: u8 = 0;
const FOLDER: u8 = 1;
/// The level of a page of entries.
const LEAF: u8 = 0;

impl Object for Manifest {
    const WHAT: &'static str = "manifest";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(2)?;
        table::write(&self.table, out)?;
        out.array(self.parts.len() as u64)?;
        self.parts.iter().try_for_each(|part| parts::write_reference(part, out))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 2)?;
        Ok(Self { table: table::read(input)?, parts: list(input, parts::read_reference)? })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        self.parts.iter().collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.parts.is_empty() {
            return Err("it has no parts".to_owned());
        }
        self.len().map(|_| ()).ok_or_else(|| "its parts add up to more than 64 bits".to_owned())
    }
}

impl Object for HeadContent {
    const WHAT: &'static str = "head";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(6)?;
        table::write(&self.table, out)?;
        for tree in [&self.files, &self.bin, &self.shares] {
            out.array(4)?;
            parts::write_folder(tree, out)?;
        }
        out.i64(self.written_ms)?.array(self.writers.len() as u64)?;
        for writer in &self.writers {
            out.array(2)?.bytes(&writer.device)?.u64(writer.sequence)?;
        }
        Ok(())
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        fn tree(input: &mut Decoder<'_>) -> Result<FolderRef, DecodeError> {
            array(input, 4)?;
            parts::read_folder(input)
        }
        array(input, 6)?;
        Ok(Self {
            table: table::read(input)?,
            files: tree(input)?,
            bin: tree(input)?,
            shares: tree(input)?,
            written_ms: input.i64()?,
            writers: list(input, |input| {
                array(input, 2)?;
                Ok(Writer { device: fixed(input)?, sequence: input.u64()? })
            })?,
        })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        [&self.files, &self.bin, &self.shares].into_iter().filter_map(|tree| tree.page.as_ref()).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.writers.len() > WRITERS_MAX {
            return Err("it names too many devices".to_owned());
        }
        if self.writers.windows(2).any(|pair| pair[0].device >= pair[1].device) {
            return Err("its devices are out of order or twice there".to_owned());
        }
        if self.writers.iter().any(|writer| writer.sequence == 0) {
            return Err("a device has written no head".to_owned());
        }
        Ok(())
    }
}

impl Object for Page {
    const WHAT: &'static str = "folder";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(3)?.u8(self.level())?;
        table::write(&self.table, out)?;
        match &self.items {
            Items::Entries(entries) => {
                out.array(entries.len() as u64)?;
                entries.iter().try_for_each(|entry| write_entry(entry, out))
            }
            Items::Pages { pages, .. } => {
                out.array(pages.len() as u64)?;
                for page in pages {
                    out.array(5)?.str(page.first.as_str())?;
                    parts::write_reference(&page.page, out)?;
                    parts::write_totals(&page.totals, out)?;
                }
                Ok(())
            }
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 3)?;
        let level = input.u8()?;
        if level > PAGE_LEVEL_MAX {
            return Err(DecodeError::message("a page of a level above 12"));
        }
        let table = table::read(input)?;
        let items = if level == LEAF {
            Items::Entries(list(input, read_entry)?)
        } else {
            Items::Pages { level, pages: list(input, read_page)? }
        };
        Ok(Self { table, items })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        match &self.items {
            Items::Pages { pages, .. } => pages.iter().map(|page| &page.page).collect(),
            Items::Entries(entries) => entries
                .iter()
                .flat_map(|entry| match &entry.node {
                    EntryKind::Folder(folder) => [folder.page.as_ref(), None],
                    EntryKind::File(file) => [
                        parts::content_reference(&file.content),
                        file.history.as_ref().map(|history| &history.object),
                    ],
                })
                .flatten()
                .collect(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (empty, ascending) = match &self.items {
            Items::Entries(entries) => (entries.is_empty(), entries.is_sorted_by(|a, b| a.name < b.name)),
            Items::Pages { pages, .. } => (pages.is_empty(), pages.is_sorted_by(|a, b| a.first < b.first)),
        };
        if empty {
            return Err("nothing stands in it".to_owned());
        }
        if !ascending {
            return Err("its entries are out of order or twice there".to_owned());
        }
        Ok(())
    }
}

fn read_page(input: &mut Decoder<'_>) -> Result<PageRef, DecodeError> {
    array(input, 5)?;
    let page = PageRef {
        first: Name::new(input.str()?).map_err(DecodeError::message)?,
        page: parts::read_reference(input)?,
        totals: parts::read_totals(input)?,
    };
    if page.totals.entries == 0 {
        return Err(DecodeError::message("a page below it has no entries"));
    }
    Ok(page)
}

fn write_entry<W: Write>(entry: &Entry, out: &mut Encoder<W>) -> Encoded<W> {
    out.array(8)?.str(entry.name.as_str())?.i64(entry.modified_ms)?;
    match &entry.node {
        EntryKind::File(file) => {
            out.u8(FILE)?.bool(file.executable)?.u64(file.stored_ms)?;
            parts::write_content(&file.content, out)?;
            parts::write_attributes(&entry.attributes, out)?;
            parts::write_history(file.history.as_ref(), out)
        }
        EntryKind::Folder(folder) => {
            out.u8(FOLDER)?;
            parts::write_folder(folder, out)?;
            parts::write_attributes(&entry.attributes, out)
        }
    }
}

fn read_entry(input: &mut Decoder<'_>) -> Result<Entry, DecodeError> {
    array(input, 8)?;
    let name = Name::new(input.str()?).map_err(DecodeError::message)?;
    let modified_ms = input.i64()?;
    let (node, attributes) = match input.u8()? {
        FILE => {
            let (executable, stored_ms) = (input.bool()?, input.u64()?);
            let content = parts::read_content(input)?;
            let attributes = parts::read_attributes(input)?;
            let history = parts::read_history(input)?;
            (EntryKind::File(File { content, executable, stored_ms, history }), attributes)
        }
        FOLDER => (EntryKind::Folder(parts::read_folder(input)?), parts::read_attributes(input)?),
        _ => return Err(DecodeError::message("a kind of entry that is not known")),
    };
    Ok(Entry { name, modified_ms, attributes, node })
}

impl Object for History {
    const WHAT: &'static str = "history";

    fn write<W: Write>(&self, out: &mut Encoder<W>) -> Encoded<W> {
        out.array(2)?;
        table::write(&self.table, out)?;
        out.array(self.versions.len() as u64)?;
        for version in &self.versions {
            out.array(5)?.u64(version.stored_ms)?.i64(version.modified_ms)?.bool(version.executable)?;
            parts::write_content(&version.content, out)?;
            parts::write_attributes(&version.attributes, out)?;
        }
        Ok(())
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array(input, 2)?;
        let table = table::read(input)?;
        let versions = list(input, |input| {
            array(input, 5)?;
            Ok(Version {
                stored_ms: input.u64()?,
                modified_ms: input.i64()?,
                executable: input.bool()?,
                content: parts::read_content(input)?,
                attributes: parts::read_attributes(input)?,
            })
        })?;
        Ok(Self { table, versions })
    }

    fn table(&self) -> &[Segment] {
        &self.table
    }

    fn references(&self) -> Vec<&ObjectRef> {
        self.versions.iter().filter_map(|version| parts::content_reference(&version.content)).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.versions.is_empty() {
            return Err("it has no versions".to_owned());
        }
        if !self.versions.is_sorted_by(|a, b| a.stored_ms > b.stored_ms) {
            return Err("its versions are not newest first, or twice there".to_owned());
        }
        Ok(())
    }
}
