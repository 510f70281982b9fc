//! Opening a store: what is there, what the index knows of it, and what a crash has left behind.
//!
//! Invariant: nothing is cut or deleted before every pack that the index needs was found to be
//! there, to be this store's, and to be long enough.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::book::Book;
use crate::disk::{Disk, FileSystem, PackFile};
use crate::error::{OpenError, StoreError};
use crate::figures::PackFigures;
use crate::halt::Halt;
use crate::index::{self, Index, Writer};
use crate::layout::{Layout, random};
use crate::pack::{Opened, Packs, Tail, pack_len, pack_number, pack_path};
use crate::record::{NOWHERE, PACK_HEADER_LEN, Seal};
use crate::shelf::Shelf;
use crate::{EarlySyncs, PENDING_BYTES_MAX, Shared, Store, StoreConfig};

/// Unix seconds.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What tests set otherwise.
pub(crate) struct Setup {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) map_len: usize,
    /// By default a share of what the operator lends.
    pub(crate) pack_len_max: Option<u64>,
    pub(crate) pending_bytes_max: u64,
    pub(crate) clock: Clock,
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            disk: Arc::new(FileSystem),
            map_len: index::MAP_LEN,
            pack_len_max: None,
            pending_bytes_max: PENDING_BYTES_MAX,
            clock: Arc::new(unix_seconds),
        }
    }
}

impl Store {
    pub(crate) fn open_with(config: StoreConfig, setup: Setup) -> Result<Self, OpenError> {
        let halt = Arc::new(Halt::default());
        let mut layout = Layout::open(&config.dir, config.known)?;
        let index = Index::open(&layout.index(), setup.map_len)?;
        let seal = seal(&layout, &index)?;
        let book = Book::load(&index)?;
        let tail = index.tail()?;
        let pack_len_max = setup.pack_len_max.unwrap_or_else(|| pack_len(config.allotted_bytes));
        let known = index.packs()?;
        let opened = open_packs(setup.disk, &layout.packs(), seal, &known, tail)?;
        let packs = Packs::new(Opened { pack_len_max, halt: halt.clone(), ..opened });
        let reserve_bytes = pack_len_max.min(config.allotted_bytes);
        let bytes_max = config.allotted_bytes - reserve_bytes;
        let shelf = Arc::new(Shelf::new(packs, bytes_max, config.small_chunk_bytes, setup.pending_bytes_max));
        layout.finish()?;
        let thread = OpenError::io(&config.dir);
        let index = Arc::new(index);
        let started = Writer::start(index.clone(), shelf.clone(), tail, halt.clone())
            .and_then(|writer| Ok((writer, EarlySyncs::start(&shelf)?)));
        let (writer, early_syncs) = started.map_err(thread)?;
        Ok(Self(Arc::new(Shared {
            writer,
            _early_syncs: early_syncs,
            shelf,
            index,
            book,
            halt,
            upkeep: Mutex::default(),
            allotted_bytes: config.allotted_bytes,
            reserve_bytes,
            trash_term_seconds: config.trash_term_seconds,
            clock: setup.clock,
            layout,
        })))
    }
}

/// What this store's records are checked with; new for a new store.
fn seal(layout: &Layout, index: &Index) -> Result<Seal, OpenError> {
    match index.seal()? {
        Some(seal) if seal.store == layout.id() => Ok(seal),
        Some(seal) => {
            Err(OpenError::OtherStore { dir: layout.index(), found: seal.store, expected: layout.id() })
        }
        None if layout.is_new() => {
            let seal = Seal { store: layout.id(), salt: random(layout.dir())? };
            index.enter_seal(&seal)?;
            Ok(seal)
        }
        None => Err(StoreError::Damaged {
            database: index::META,
            key: data_encoding::HEXLOWER.encode(b"seal"),
            why: "it is missing".to_owned(),
        }
        .into()),
    }
}

/// Files of packs and their lengths, by number.
type Files = BTreeMap<u32, (Arc<dyn PackFile>, u64)>;

/// Opens all packs of a folder.
pub(crate) fn files(disk: &dyn Disk, dir: &Path) -> Result<Files, OpenError> {
    let mut packs = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(OpenError::io(dir))? {
        let path = entry.map_err(OpenError::io(dir))?.path();
        let Some(number) = pack_number(&path) else { continue };
        let file = disk.open(&path).map_err(OpenError::io(&path))?;
        let len = file.len().map_err(OpenError::io(&path))?;
        packs.insert(number, (file, len));
    }
    Ok(packs)
}

/// The number and seal in a pack's header, if that is whole.
pub(crate) fn read_header(
    file: &dyn PackFile,
    len: u64,
    path: &Path,
) -> Result<Option<(u32, Seal)>, OpenError> {
    if len < PACK_HEADER_LEN as u64 {
        return Ok(None);
    }
    let mut header = [0; PACK_HEADER_LEN];
    file.read(&mut header, 0).map_err(OpenError::io(path))?;
    Ok(Seal::of_pack(&header))
}

/// Opens the packs, cuts what is behind the tail, and deletes those that the index does not know.
fn open_packs(
    disk: Arc<dyn Disk>,
    dir: &Path,
    seal: Seal,
    known: &BTreeMap<u32, PackFigures>,
    tail: Tail,
) -> Result<Opened, OpenError> {
    let mut found = files(&*disk, dir)?;
    let needed = |number: &u32| {
        *number == tail.pack && tail.offset > 0
            || known.get(number).is_some_and(|figures| figures.bytes() > 0 && *number != NOWHERE)
    };
    let mut numbers: Vec<u32> = known.keys().copied().chain([tail.pack]).filter(needed).collect();
    numbers.dedup();
    for number in numbers {
        let path = pack_path(dir, number);
        let bad = |why| OpenError::Pack { file: path.clone(), why };
        let (file, len) = found.get(&number).ok_or_else(|| bad("is missing"))?;
        if number > tail.pack {
            return Err(bad("lies behind the end of what the index knows"));
        }
        let bytes = known.get(&number).map_or(0, PackFigures::bytes);
        let end = if number == tail.pack { tail.offset } else { 0 };
        if *len < end.max(PACK_HEADER_LEN as u64 + bytes) {
            return Err(bad("is shorter than the index knows it"));
        }
        match read_header(&**file, *len, &path)? {
            Some((at, found)) if at == number && found == seal => {}
            Some(_) => return Err(bad("is a pack of another store or place")),
            // Its records have checks of their own. `store check` reports it.
            None => tracing::error!(pack = number, "the header of a pack is damaged"),
        }
    }
    // Only now, with every pack there that must be: nothing is cut in a folder that is not the
    // index's own.
    let next = found.keys().chain(known.keys()).filter(|number| **number != NOWHERE).max();
    let next = next.map_or(0, |last| last + 1);
    let mut packs = BTreeMap::new();
    let mut removed = false;
    while let Some((number, (file, mut len))) = found.pop_first() {
        let path = pack_path(dir, number);
        if !needed(&number) {
            tracing::info!(pack = number, bytes = len, "deleting a pack that nothing needs");
            disk.remove(&path).map_err(OpenError::io(&path))?;
            removed = true;
            continue;
        }
        if number == tail.pack && len > tail.offset {
            tracing::info!(pack = number, bytes = len - tail.offset, "cutting what was never committed");
            file.cut(tail.offset).map_err(OpenError::io(&path))?;
            len = tail.offset;
        }
        packs.insert(number, (file, len, known.get(&number).copied().unwrap_or_default()));
    }
    if removed {
        disk.sync_folder(dir).map_err(OpenError::io(dir))?;
    }
    Ok(Opened { disk, dir: dir.to_owned(), seal, pack_len_max: 0, halt: Arc::default(), packs, tail, next })
}
