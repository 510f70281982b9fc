//! A look at the index's file before LMDB maps it: LMDB trusts what is in its pages, so that a page
//! that is cut off or is something else ends the process without a word.
//!
//! Invariant: what this lets pass has its two meta pages, lacks no page but ones that are free, and of
//! the pages that were looked at each is what the one above it says, with nothing in it that points
//! outside of it or of the file. It only reads. Not here: what keys and values mean, and pages beyond
//! [`PAGES_MAX`].

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::NAMES;
use crate::error::StoreError;

/// Most pages that are looked at: 64 MiB, the index of some 150,000 chunks. Of a larger one the
/// largest databases are looked at from the top as far as that goes.
const PAGES_MAX: usize = 16_384;
/// Most free pages that are compared with those in use.
const FREE_MAX: usize = 1 << 20;
/// LMDB's cursors are no deeper.
const DEPTH_MAX: u16 = 32;
const KEY_LEN_MAX: usize = 511;

/// Header of a page: its number 8, padding 2, flags 2, end of its pointers 2, begin of its nodes 2, or
/// of an overflow page the number of pages 4.
const HEADER_LEN: usize = 16;
/// Header of a node: length of its data 4, flags 2, length of its key 2.
const NODE_LEN: usize = 8;
/// Record of a database: padding 4, flags 2, depth 2, pages of branches, leaves and overflow and
/// entries 8 each, root 8.
const DATABASE_LEN: usize = 48;
/// Magic 4, version 4, address 8, length of the map 8, two databases, last page 8, transaction 8.
const META_LEN: usize = 24 + 2 * DATABASE_LEN + 16;
const MAGIC: u32 = 0xbeef_c0de;
const VERSION: u32 = 1;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const META: u16 = 8;
/// The data of a node is on pages of its own, or is the record of a database.
const BIG: u16 = 1;
const SUB: u16 = 2;
/// Flag of the database of free pages: its keys are numbers.
const INTEGER_KEYS: u16 = 8;
/// The root of an empty database.
const NO_PAGE: u64 = u64::MAX;

/// Why the file is no index.
enum Fault {
    Io(io::Error),
    Wrong(String),
}

type Checked<T> = Result<T, Fault>;

fn wrong<T>(why: impl Into<String>) -> Checked<T> {
    Err(Fault::Wrong(why.into()))
}

/// Looks at the index's file, if there is one. Only for a holder of the folder's lock, before LMDB opens
/// it. spec/store.md, "What is missing".
///
/// # Errors
/// [`StoreError::IndexFile`], or that it cannot be read.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    // Where a page number has another width, pages look otherwise.
    if cfg!(not(target_pointer_width = "64")) {
        return Ok(());
    }
    match look(path) {
        Ok(()) => Ok(()),
        Err(Fault::Io(error)) => Err(StoreError::Read { why: format!("{}: {error}", path.display()) }),
        Err(Fault::Wrong(why)) => Err(StoreError::IndexFile { file: path.to_owned(), why }),
    }
}

fn look(path: &Path) -> Checked<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Fault::Io(error)),
    };
    let len = file.metadata().map_err(Fault::Io)?.len();
    // LMDB makes a new one of it, and opening finds that nothing is in it.
    if len == 0 {
        return Ok(());
    }
    let meta = Meta::newest(&file, len)?;
    let pages = (len / meta.page_len as u64).min(meta.last_page + 1);
    let mut walk = Walk {
        file: &file,
        page_len: meta.page_len,
        pages,
        last_page: meta.last_page,
        seen: HashSet::new(),
        left: PAGES_MAX,
        free: Vec::new(),
        cut_and_free: HashSet::new(),
    };
    let is_cut = pages <= meta.last_page;
    if is_cut {
        // That is how LMDB leaves it when the last pages of a transaction were not needed after all. Then
        // they are all among the free ones.
        walk.left = usize::MAX;
    }
    walk.tree(&meta.free, Kind::Free)?;
    let all = meta.last_page + 1;
    if walk.cut_and_free.len() as u64 != all - pages {
        return wrong(format!("it has {pages} pages and should have {all}"));
    }
    walk.left = PAGES_MAX;
    let mut databases = walk.tree(&meta.main, Kind::Main)?;
    databases.sort_unstable_by_key(|it| it.pages);
    for database in &databases {
        walk.tree(database, Kind::Named)?;
    }
    match walk.free.iter().find(|page| walk.seen.contains(page)) {
        Some(page) => wrong(format!("page {page} is in use and free")),
        None => Ok(()),
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(part(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(part(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(part(bytes, at))
}

fn read(file: &File, bytes: &mut [u8], at: u64) -> Checked<()> {
    file.read_exact_at(bytes, at).map_err(Fault::Io)
}

/// The record of a database.
struct Database {
    depth: u16,
    pages: u64,
    root: u64,
}

impl Database {
    fn read(bytes: &[u8], flags: u16) -> Checked<Self> {
        let (found, depth, root) = (u16_at(bytes, 4), u16_at(bytes, 6), u64_at(bytes, 40));
        let is_empty = root == NO_PAGE;
        if found != flags || depth > DEPTH_MAX || is_empty != (depth == 0) {
            return wrong("the record of a database is damaged");
        }
        let pages = u64_at(bytes, 8).saturating_add(u64_at(bytes, 16));
        Ok(Self { depth, pages, root })
    }
}

/// What a meta page says.
struct Meta {
    page_len: usize,
    free: Database,
    main: Database,
    last_page: u64,
    transaction: u64,
}

impl Meta {
    /// The one that LMDB takes.
    fn newest(file: &File, len: u64) -> Checked<Self> {
        let first = Self::read(file, len, 0)?;
        let second = Self::read(file, len, first.page_len as u64)?;
        if first.page_len != second.page_len {
            return wrong("its two meta pages differ in the length of a page");
        }
        Ok(if first.transaction < second.transaction { second } else { first })
    }

    fn read(file: &File, len: u64, at: u64) -> Checked<Self> {
        let mut bytes = [0; HEADER_LEN + META_LEN];
        if at + bytes.len() as u64 > len {
            return wrong("it ends before its second page");
        }
        read(file, &mut bytes, at)?;
        let (flags, meta) = (u16_at(&bytes, 10), &bytes[HEADER_LEN..]);
        let page_len = u32_at(meta, 24) as usize;
        if flags & META == 0
            || u32_at(meta, 0) != MAGIC
            || u32_at(meta, 4) != VERSION
            || !(512..=32_768).contains(&page_len)
            || !page_len.is_power_of_two()
        {
            return wrong(format!("the meta page at byte {at} is none"));
        }
        let (free, main) = meta[24..].split_at(DATABASE_LEN);
        let (last_page, transaction) =
            (u64_at(meta, 24 + 2 * DATABASE_LEN), u64_at(meta, 32 + 2 * DATABASE_LEN));
        if last_page < 1 || last_page > u64::MAX / page_len as u64 - 1 {
            return wrong(format!("the meta page at byte {at} says that page {last_page} is the last"));
        }
        let (free, main) = (Database::read(free, INTEGER_KEYS)?, Database::read(main, 0)?);
        Ok(Self { page_len, free, main, last_page, transaction })
    }
}

/// Which database a tree is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of the free pages.
    Free,
    /// Of the other databases.
    Main,
    Named,
}

struct Walk<'a> {
    file: &'a File,
    page_len: usize,
    /// Pages that are in the file and used.
    pages: u64,
    last_page: u64,
    /// Pages in use that were come to.
    seen: HashSet<u64>,
    /// Pages that may still be looked at.
    left: usize,
    /// Free pages, the first of them.
    free: Vec<u64>,
    /// Free pages that the file does not have.
    cut_and_free: HashSet<u64>,
}

impl Walk<'_> {
    /// Looks at a tree, level by level; answers the databases that are recorded in it.
    fn tree(&mut self, database: &Database, kind: Kind) -> Checked<Vec<Database>> {
        let mut databases = Vec::new();
        if database.root == NO_PAGE {
            return Ok(databases);
        }
        let mut level = vec![database.root];
        let mut page = vec![0; self.page_len];
        for depth in 1..=database.depth {
            let is_leaf = depth == database.depth;
            // In the order in which they are on the disk.
            level.sort_unstable();
            let mut below = Vec::new();
            for number in std::mem::take(&mut level) {
                if self.left == 0 {
                    return Ok(databases);
                }
                self.take(number)?;
                read(self.file, &mut page, number * self.page_len as u64)?;
                let nodes = Nodes::of(&page, number, is_leaf, kind)?;
                for at in 0..nodes.count() {
                    if !is_leaf {
                        let child = nodes.child(at);
                        self.is_there(child)?;
                        // More than are looked at need not be known.
                        if below.len() < self.left {
                            below.push(child);
                        }
                        continue;
                    }
                    match (nodes.flags(at), kind) {
                        (0, Kind::Free) => self.note_free(nodes.data(at))?,
                        (0, Kind::Named) => {}
                        (BIG, Kind::Free | Kind::Named) => self.big(&nodes, at, kind)?,
                        (SUB, Kind::Main) if nodes.data(at).len() == DATABASE_LEN => {
                            if databases.len() >= NAMES.len() {
                                return wrong("it has more databases than there are");
                            }
                            databases.push(Database::read(nodes.data(at), 0)?);
                        }
                        _ => return wrong(format!("page {number} has a node of another kind")),
                    }
                }
            }
            level = below;
        }
        Ok(databases)
    }

    /// Is the page one that the file has? Not a meta page.
    fn is_there(&self, number: u64) -> Checked<()> {
        if (2..self.pages).contains(&number) {
            return Ok(());
        }
        wrong(format!("page {number} is in use and not in the file"))
    }

    /// Counts a page as in use.
    fn take(&mut self, number: u64) -> Checked<()> {
        self.is_there(number)?;
        self.left = self.left.saturating_sub(1);
        if self.seen.insert(number) { Ok(()) } else { wrong(format!("page {number} is in use twice")) }
    }

    /// Looks at data that has pages of its own.
    fn big(&mut self, nodes: &Nodes<'_>, at: usize, kind: Kind) -> Checked<()> {
        let (number, len) = (u64_at(nodes.data(at), 0), nodes.data_len(at));
        self.take(number)?;
        let mut header = [0; HEADER_LEN];
        read(self.file, &mut header, number * self.page_len as u64)?;
        let pages = u64::from(u32_at(&header, 12));
        let needed = (HEADER_LEN + len).div_ceil(self.page_len) as u64;
        if u64_at(&header, 0) != number || u16_at(&header, 10) != OVERFLOW || pages < needed {
            return wrong(format!("page {number} is not the data that it should be"));
        }
        for more in number + 1..number + pages {
            self.is_there(more)?;
            if !self.seen.insert(more) {
                return wrong(format!("page {more} is in use twice"));
            }
        }
        if kind == Kind::Free {
            let mut list = vec![0; len];
            read(self.file, &mut list, number * self.page_len as u64 + HEADER_LEN as u64)?;
            self.note_free(&list)?;
        }
        Ok(())
    }

    /// Reads a list of free pages: their number, and they themselves.
    fn note_free(&mut self, list: &[u8]) -> Checked<()> {
        let mut numbers = list.chunks_exact(size_of::<u64>()).map(|number| u64_at(number, 0));
        let count = numbers.next().filter(|count| *count <= numbers.len() as u64);
        let Some(count) = count else { return wrong("a list of free pages is damaged") };
        for number in numbers.take(count as usize) {
            if !(2..=self.last_page).contains(&number) {
                return wrong(format!("page {number} is free and cannot be"));
            }
            if number >= self.pages {
                self.cut_and_free.insert(number);
            } else if self.free.len() < FREE_MAX {
                self.free.push(number);
            }
        }
        Ok(())
    }
}

/// The nodes of a page of a tree, all of which are within it.
struct Nodes<'a> {
    page: &'a [u8],
    is_leaf: bool,
}

impl<'a> Nodes<'a> {
    fn of(page: &'a [u8], number: u64, is_leaf: bool, kind: Kind) -> Checked<Self> {
        let nodes = Self { page, is_leaf };
        let (lower, upper) = (usize::from(u16_at(page, 12)), usize::from(u16_at(page, 14)));
        let flags = if is_leaf { LEAF } else { BRANCH };
        // LMDB ends the process when a branch leads nowhere else than to one page.
        let least = if is_leaf || kind == Kind::Free { 1 } else { 2 };
        let is_right = u64_at(page, 0) == number
            && u16_at(page, 10) == flags
            && lower.is_multiple_of(2)
            && (HEADER_LEN + 2 * least..=upper).contains(&lower)
            && upper <= page.len();
        if !is_right || !(0..nodes.count()).all(|at| nodes.is_within(at, upper, kind)) {
            return wrong(format!("page {number} is damaged"));
        }
        let keys = usize::from(!is_leaf)..nodes.count();
        let rises = |at: usize| match kind {
            Kind::Free => u64_at(nodes.key(at - 1), 0) < u64_at(nodes.key(at), 0),
            Kind::Main | Kind::Named => nodes.key(at - 1) < nodes.key(at),
        };
        if !keys.skip(1).all(rises) {
            return wrong(format!("the keys of page {number} are in disorder"));
        }
        Ok(nodes)
    }

    fn is_within(&self, at: usize, upper: usize, kind: Kind) -> bool {
        let start = self.start(at);
        if start < upper || !start.is_multiple_of(2) || start + NODE_LEN > self.page.len() {
            return false;
        }
        let key_len = usize::from(u16_at(self.page, start + 6));
        // The first key of a branch is that of everything before the second.
        let has_key = self.is_leaf || at > 0;
        if key_len > KEY_LEN_MAX || (has_key && kind == Kind::Free && key_len != size_of::<u64>()) {
            return false;
        }
        let end = start + NODE_LEN + key_len;
        let data = match (self.is_leaf, self.flags(at)) {
            (false, _) => 0,
            (true, BIG) => size_of::<u64>(),
            (true, _) => self.data_len(at),
        };
        end.saturating_add(data) <= self.page.len()
    }

    fn count(&self) -> usize {
        (usize::from(u16_at(self.page, 12)) - HEADER_LEN) / 2
    }

    fn start(&self, at: usize) -> usize {
        usize::from(u16_at(self.page, HEADER_LEN + 2 * at))
    }

    fn flags(&self, at: usize) -> u16 {
        u16_at(self.page, self.start(at) + 4)
    }

    fn key(&self, at: usize) -> &'a [u8] {
        let start = self.start(at);
        let len = usize::from(u16_at(self.page, start + 6));
        &self.page[start + NODE_LEN..start + NODE_LEN + len]
    }

    /// The page that a node of a branch leads to.
    fn child(&self, at: usize) -> u64 {
        let start = self.start(at);
        u64::from(u32_at(self.page, start)) | u64::from(u16_at(self.page, start + 4)) << 32
    }

    /// Bytes of the data of a node of a leaf, wherever they are.
    fn data_len(&self, at: usize) -> usize {
        u32_at(self.page, self.start(at)) as usize
    }

    /// The data of a node of a leaf, or the number of their page.
    fn data(&self, at: usize) -> &'a [u8] {
        let start = self.start(at) + NODE_LEN + self.key(at).len();
        let len = if self.flags(at) == BIG { size_of::<u64>() } else { self.data_len(at) };
        &self.page[start..start + len]
    }
}
