//! The owner's side of links, as small as it can be: seals files and folders into segments and writes
//! records.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use commonhold_format::code::Code;
use commonhold_format::drive::{
    Attributes, Entry, EntryKind, Extent, File, FileContent, FolderRef, Items, Manifest, Name, ObjectRef,
    Page, PageRef, TableBuilder, Totals,
};
use commonhold_format::ids::{NodeId, SegmentId};
use commonhold_format::keys::RootSecret;
use commonhold_format::link::{
    CoverList, LinkContent, LinkKeys, LinkPlace, LinkRecord, LinkUrl, PasswordKey,
};
use commonhold_format::seal::{
    ObjectId, ObjectKey, ObjectKind, RECORD_LEN, RECORD_PLAIN_LEN, Sealing, padded_len, record_count,
    seal_small,
};
use commonhold_format::segment::Segment;
use commonhold_format::tree::chunk_id;
use commonhold_gateway::LinkId;
use zeroize::Zeroizing;

use super::{Ciphertext, Malice, Served, Vault};

const INLINE_MAX: usize = 1000;
/// Entries of a page.
const PAGE: usize = 64;
/// A time, milliseconds since 1970: 2025-03-04.
pub const MODIFIED: i64 = 1_741_082_400_000;

/// A reference and the segments that its extents index.
#[derive(Clone)]
pub struct Placed {
    pub object: ObjectRef,
    pub segments: Vec<Segment>,
}

/// A file or folder that is to be shared.
pub struct Item {
    pub name: String,
    pub kind: ItemKind,
    /// All segments that its readers need.
    pub covers: Vec<SegmentId>,
}

pub enum ItemKind {
    File(FileContent, Vec<Segment>),
    Folder(Option<Placed>, Totals),
}

/// An owner with a vault.
pub struct Owner {
    pub vault: Arc<Vault>,
    /// The next "random" bytes.
    counter: AtomicU64,
    code: Code,
}

/// What a link is made of.
pub struct Terms {
    pub expires: u64,
    pub sequence: u64,
    pub password: Option<&'static str>,
    pub drop_box: bool,
    pub malice: Option<Malice>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { expires: 0, sequence: 1, password: None, drop_box: false, malice: None }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Owner {
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, counter: AtomicU64::new(0), code: Code::new(2, 3).unwrap() }
    }

    fn fresh<const N: usize>(&self) -> [u8; N] {
        let count = self.counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        digest(&SHA256, &count.to_be_bytes()).as_ref()[..N].try_into().unwrap()
    }

    /// Stores ciphertext as a segment.
    fn segment(&self, ciphertext: &[u8]) -> Segment {
        let chunks = self.code.encode(ciphertext).unwrap();
        let holders = (0..chunks.len()).map(|i| NodeId([i as u8; 32])).collect();
        let chunks = chunks.iter().map(|chunk| chunk_id(chunk)).collect();
        let segment = Segment { code: self.code, len: ciphertext.len() as u32, chunks, holders };
        let held = Ciphertext::Here(Bytes::copy_from_slice(ciphertext));
        self.vault.segments.lock().unwrap().insert(segment.id(), held);
        segment
    }

    /// Cuts ciphertext into segments of its own.
    fn place(&self, ciphertext: &[u8]) -> (Vec<Segment>, Vec<Extent>) {
        let parts: Vec<Segment> =
            ciphertext.chunks(self.code.segment_len_max()).map(|part| self.segment(part)).collect();
        let extents = (0..).zip(&parts).map(|(segment, part)| Extent { segment, offset: 0, len: part.len });
        (parts.clone(), extents.collect())
    }

    /// Seals a page or manifest.
    fn object(&self, kind: ObjectKind, plain: &[u8]) -> Placed {
        let (id, key) = (ObjectId(self.fresh()), ObjectKey(Zeroizing::new(self.fresh())));
        let commitment = Sealing::new(kind, &id, &key).commitment();
        let (segments, extents) = self.place(&seal_small(kind, &id, &key, plain));
        Placed { object: ObjectRef { id, key, commitment, len: plain.len() as u64, extents }, segments }
    }

    /// Seals a file's content as one object.
    fn file_object(&self, plain: &[u8]) -> Placed {
        let (id, key) = (ObjectId(self.fresh()), ObjectKey(Zeroizing::new(self.fresh())));
        let sealing = Sealing::new(ObjectKind::File, &id, &key);
        let mut padded = plain.to_vec();
        padded.resize(padded_len(plain.len() as u64) as usize, 0);
        let (count, mut sealed) = (record_count(plain.len() as u64), Vec::new());
        let per_segment = self.code.segment_len_max() / RECORD_LEN;
        for record in 0..count as usize {
            let start = record * RECORD_PLAIN_LEN;
            let part = &padded[start..(start + RECORD_PLAIN_LEN).min(padded.len())];
            let (segment, last) = ((record / per_segment) as u32, record as u64 + 1 == count);
            sealing.seal_record(segment, record as u64, last, part, &mut sealed).unwrap();
        }
        let (segments, extents) = self.place(&sealed);
        let commitment = sealing.commitment();
        Placed { object: ObjectRef { id, key, commitment, len: plain.len() as u64, extents }, segments }
    }

    /// A file: inline, direct, or, with more than one part, by a manifest.
    pub fn file(&self, name: &str, parts: &[&[u8]]) -> Item {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        match parts {
            [small] if small.len() <= INLINE_MAX => {
                let kind = ItemKind::File(FileContent::Inline(small.to_vec()), vec![]);
                Item { name: name.to_owned(), kind, covers: vec![] }
            }
            [one] => {
                let Placed { object, segments } = self.file_object(one);
                let covers = segments.iter().map(Segment::id).collect();
                Item {
                    name: name.to_owned(),
                    kind: ItemKind::File(FileContent::Direct(object), segments),
                    covers,
                }
            }
            many => self.by_manifest(
                name,
                &many.iter().map(|part| self.file_object(part)).collect::<Vec<_>>(),
                len,
            ),
        }
    }

    fn by_manifest(&self, name: &str, objects: &[Placed], len: u64) -> Item {
        let mut table = TableBuilder::new();
        let parts =
            objects.iter().map(|part| part.object.moved(&part.segments, &mut table).unwrap()).collect();
        let manifest = Manifest { table: table.finish(), parts };
        let Placed { object, segments } = self.object(ObjectKind::Manifest, &manifest.encode());
        let covers = manifest.table.iter().chain(&segments).map(Segment::id).collect();
        let content = FileContent::Manifest { manifest: object, len };
        Item { name: name.to_owned(), kind: ItemKind::File(content, segments), covers }
    }

    /// A file of so many MiB whose segments are sealed again for each visitor, so that no memory holds it.
    /// Its bytes are the numbers 0, 1, 2, … of 64 bits, little-endian. Also: SHA-256 of them.
    pub fn large_file(&self, name: &str, mib: u64) -> (Item, Vec<u8>) {
        let (len, code) = (mib << 20, Code::new(2, 2).unwrap());
        let (id, key) = (ObjectId(self.fresh()), ObjectKey(Zeroizing::new(self.fresh())));
        let sealing = Arc::new(Sealing::new(ObjectKind::File, &id, &key));
        let (count, padded) = (record_count(len), padded_len(len));
        let per_segment = (code.segment_len_max() / RECORD_LEN) as u64;
        let seal = move |segment: u64| {
            let (mut sealed, mut plain) = (Vec::with_capacity(code.segment_len_max()), Vec::new());
            for record in segment * per_segment..((segment + 1) * per_segment).min(count) {
                let start = record * RECORD_PLAIN_LEN as u64;
                large_bytes(start, (start + RECORD_PLAIN_LEN as u64).min(padded), len, &mut plain);
                sealing
                    .seal_record(segment as u32, record, record + 1 == count, &plain, &mut sealed)
                    .unwrap();
            }
            sealed
        };
        let (mut segments, mut extents) = (vec![], vec![]);
        for number in 0..count.div_ceil(per_segment) {
            let sealed = seal(number);
            let chunks = code.encode(&sealed).unwrap().iter().map(|chunk| chunk_id(chunk)).collect();
            let segment =
                Segment { code, len: sealed.len() as u32, chunks, holders: vec![NodeId([7; 32]); 2] };
            let seal = seal.clone();
            let made = Ciphertext::Made(Arc::new(move || seal(number)));
            self.vault.segments.lock().unwrap().insert(segment.id(), made);
            extents.push(Extent { segment: number as u32, offset: 0, len: segment.len });
            segments.push(segment);
        }
        let commitment = Sealing::new(ObjectKind::File, &id, &key).commitment();
        let object = ObjectRef { id, key, commitment, len, extents };
        let item = self.by_manifest(name, &[Placed { object, segments }], len);
        let (mut hash, mut part) = (Context::new(&SHA256), Vec::new());
        for start in (0..len).step_by(1 << 20) {
            large_bytes(start, start + (1 << 20), len, &mut part);
            hash.update(&part);
        }
        (item, hash.finish().as_ref().to_vec())
    }

    fn entry(item: &Item, table: &mut TableBuilder) -> Entry {
        let node = match &item.kind {
            ItemKind::File(content, segments) => {
                let moved =
                    |object: &ObjectRef, table: &mut TableBuilder| object.moved(segments, table).unwrap();
                let content = match content {
                    FileContent::Direct(object) => FileContent::Direct(moved(object, table)),
                    FileContent::Manifest { manifest, len } => {
                        FileContent::Manifest { manifest: moved(manifest, table), len: *len }
                    }
                    FileContent::Inline(bytes) => FileContent::Inline(bytes.clone()),
                };
                EntryKind::File(File { content, executable: false, stored_ms: 1, history: None })
            }
            ItemKind::Folder(page, totals) => EntryKind::Folder(FolderRef {
                page: page.as_ref().map(|page| page.object.moved(&page.segments, table).unwrap()),
                totals: *totals,
            }),
        };
        Entry { name: name(&item.name), modified_ms: MODIFIED, attributes: Attributes::new(), node }
    }

    /// A folder of pages of 64 entries, and of as many levels as that takes.
    pub fn folder(&self, called: &str, mut items: Vec<Item>) -> Item {
        items.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let mut covers: Vec<SegmentId> = items.iter().flat_map(|item| item.covers.clone()).collect();
        let mut level: Vec<(Name, Placed, Totals)> = vec![];
        for part in items.chunks(PAGE) {
            let mut table = TableBuilder::new();
            let entries = part.iter().map(|item| Self::entry(item, &mut table)).collect();
            let page = Page { table: table.finish(), items: Items::Entries(entries) };
            level.push((name(&part[0].name), self.object(ObjectKind::Folder, &page.encode()), page.totals()));
        }
        let mut number = 0;
        while level.len() > 1 {
            covers.extend(level.iter().flat_map(|(_, placed, _)| placed.segments.iter().map(Segment::id)));
            number += 1;
            level = level
                .chunks(PAGE)
                .map(|part| {
                    let mut table = TableBuilder::new();
                    let pages = part
                        .iter()
                        .map(|(first, placed, totals)| PageRef {
                            first: first.clone(),
                            page: placed.object.moved(&placed.segments, &mut table).unwrap(),
                            totals: *totals,
                        })
                        .collect();
                    let page = Page { table: table.finish(), items: Items::Pages { level: number, pages } };
                    (part[0].0.clone(), self.object(ObjectKind::Folder, &page.encode()), page.totals())
                })
                .collect();
        }
        let top = level.pop();
        let totals = top.as_ref().map(|(_, _, totals)| *totals).unwrap_or_default();
        let page = top.map(|(_, placed, _)| placed);
        covers.extend(page.iter().flat_map(|page| page.segments.iter().map(Segment::id)));
        Item { name: called.to_owned(), kind: ItemKind::Folder(page, totals), covers }
    }

    /// The keys of a new link.
    pub fn keys(&self) -> LinkKeys {
        RootSecret::from_bytes([9; 32]).link_keys(&self.fresh())
    }

    /// Writes a record of a link to an item, and what it needs; answers the record.
    pub fn record(&self, keys: &LinkKeys, item: &Item, terms: &Terms) -> LinkRecord {
        let mut table = TableBuilder::new();
        let entry = Self::entry(item, &mut table);
        let root = Page { table: table.finish(), items: Items::Entries(vec![entry]) }.encode();
        let (id, key) = (ObjectId(self.fresh()), ObjectKey(Zeroizing::new(self.fresh())));
        let commitment = Sealing::new(ObjectKind::Folder, &id, &key).commitment();
        let cover = CoverList::new(item.covers.iter().copied()).unwrap().encode();
        let sealed = seal_small(ObjectKind::Folder, &id, &key, &root);
        let segment = self.segment(&[&cover[..], &sealed].concat());
        let cover_len = cover.len() as u32;
        let extents = vec![Extent { segment: 0, offset: cover_len, len: sealed.len() as u32 }];
        let content = LinkContent {
            root: Some(ObjectRef { id, key, commitment, len: root.len() as u64, extents }),
            drop_box: terms.drop_box.then(|| keys.drop_key().public()),
            written_ms: MODIFIED,
        };
        let password = terms.password.map(|text| PasswordKey::derive(text, self.fresh(), 600_000).unwrap());
        let place = LinkPlace { segment, cover_len };
        LinkRecord::write(
            keys,
            terms.sequence,
            terms.expires,
            place,
            self.fresh(),
            password.as_ref(),
            &content,
        )
        .unwrap()
    }

    /// Has the vault serve a link. Answers its id and its URL behind `base`.
    pub fn share_with(&self, keys: &LinkKeys, item: &Item, terms: &Terms, base: &str) -> (LinkId, String) {
        let record = self.record(keys, item, terms);
        let served = Served {
            link_segment: record.open.as_ref().unwrap().place.segment.id(),
            record: record.encode(),
            cover: item.covers.clone(),
            malice: terms.malice.clone(),
            drop_key: terms.drop_box.then(|| keys.drop_key().clone()),
            asked: AtomicU64::new(0),
        };
        self.vault.links.lock().unwrap().insert(keys.id().0, Arc::new(served));
        let url = LinkUrl::new(Some(base), keys.id(), keys.secret().clone()).unwrap();
        (keys.id().0, url.text().to_string())
    }

    /// The same under keys of its own; answers the URL.
    pub fn share(&self, item: &Item, terms: &Terms, base: &str) -> String {
        self.share_with(&self.keys(), item, terms, base).1
    }
}

/// The bytes from `start` to `end` of a large file of `len` bytes; zeros from there on.
fn large_bytes(start: u64, end: u64, len: u64, out: &mut Vec<u8>) {
    out.clear();
    let first = start / 8 * 8;
    for number in first / 8..end.min(len).div_ceil(8) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.drain(..(start - first).min(out.len() as u64) as usize);
    out.truncate(end.min(len).saturating_sub(start) as usize);
    out.resize((end - start) as usize, 0);
}
