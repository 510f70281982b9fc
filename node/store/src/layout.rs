//! The store's folder: its lock, the file that names its format, and its places.
//!
//! Invariant: the format file is written when everything else is there and durable, so a folder
//! with one was a store, and anything that it lacks was lost; a folder without one has never
//! acknowledged anything. A new store is made only where nobody else's files are.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::disk::sync_folder;
use crate::error::OpenError;
use crate::pack::pack_number;
use crate::record::StoreId;

/// The first line of the format file; the second is the store's id.
const FORMAT: &str = "commonhold-store 2";
/// The files of LMDB in the folder of the index.
const INDEX_FILES: [&str; 2] = ["data.mdb", "lock.mdb"];
/// A format file is never longer; what is longer is not read.
const FORMAT_LEN_MAX: u64 = 100;

/// The places of a store in a folder that this process has locked.
pub(crate) struct Layout {
    dir: PathBuf,
    /// Locked as long as the store is open.
    lock: File,
    id: StoreId,
    is_new: bool,
}

impl Layout {
    /// Locks the folder and checks what is in it. A folder that is not there is made, but not when
    /// the node knows of a store: then it is missing.
    pub(crate) fn open(dir: &Path, known: Option<StoreId>) -> Result<Self, OpenError> {
        if known.is_some() && !dir.join("format").exists() {
            return Err(OpenError::Missing { file: dir.join("format") });
        }
        make_folder(dir).map_err(OpenError::io(dir))?;
        // Before the lock, which would be one more file in somebody's folder.
        if read_format(dir)?.is_none() {
            refuse_others_files(dir)?;
        }
        let lock = lock(dir)?;
        let found = read_format(dir)?;
        let is_new = found.is_none();
        let id = match found {
            Some(id) => id,
            None => StoreId(random(dir)?),
        };
        if let Some(expected) = known.filter(|known| *known != id) {
            return Err(OpenError::OtherStore { dir: dir.to_owned(), found: id, expected });
        }
        let layout = Self { dir: dir.to_owned(), lock, id, is_new };
        if is_new {
            layout.prepare()?
        } else {
            layout.check()?
        }
        Ok(layout)
    }

    /// Locks the folder of a store that must be there, whatever has become of its index.
    pub(crate) fn of_packs(dir: &Path, known: Option<StoreId>) -> Result<Self, OpenError> {
        let missing = |file: PathBuf| OpenError::Missing { file };
        let id = read_format(dir)?.ok_or_else(|| missing(dir.join("format")))?;
        let layout = Self { dir: dir.to_owned(), lock: lock(dir)?, id, is_new: false };
        if let Some(expected) = known.filter(|known| *known != id) {
            return Err(OpenError::OtherStore { dir: dir.to_owned(), found: id, expected });
        }
        if layout.packs().is_dir() { Ok(layout) } else { Err(missing(layout.packs())) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store's id.
    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    /// Was there no store before?
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    pub(crate) fn packs(&self) -> PathBuf {
        self.dir.join("packs")
    }

    /// Makes the folders of a new store. An index that an interrupted attempt has left holds
    /// nothing.
    fn prepare(&self) -> Result<(), OpenError> {
        for folder in [self.index(), self.packs()] {
            match private_folder(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(OpenError::io(&folder)(error));
                }
                _ => {}
            }
        }
        for file in INDEX_FILES.map(|name| self.index().join(name)) {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(OpenError::io(&file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), OpenError> {
        let (packs, file) = (self.packs(), self.index().join("data.mdb"));
        if !packs.is_dir() {
            return Err(OpenError::Missing { file: packs });
        }
        if file.is_file() { Ok(()) } else { Err(OpenError::NoIndex { file }) }
    }

    /// Says that the store is complete, once it is.
    pub(crate) fn finish(&mut self) -> Result<(), OpenError> {
        if !self.is_new {
            return Ok(());
        }
        for folder in [&self.index(), &self.packs(), &self.dir] {
            sync_folder(folder).map_err(OpenError::io(folder))?;
        }
        let (partial, file) = (self.dir.join("format.partial"), self.dir.join("format"));
        let write = || -> io::Result<()> {
            fs::write(&partial, format!("{FORMAT}\n{}\n", self.id))?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, &file)?;
            sync_folder(&self.dir)
        };
        write().map_err(OpenError::io(&file))?;
        self.is_new = false;
        Ok(())
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // Closing the file would do, but not while a child process that is just being started has
        // a copy of the descriptor. What fails here is over when the file is closed.
        let _ = self.lock.unlock();
    }
}

/// Refuses a folder without a format file that has anything in it but what an interrupted attempt
/// to make a store leaves there.
fn refuse_others_files(dir: &Path) -> Result<(), OpenError> {
    let packs = entries(&dir.join("packs"))?;
    if packs.iter().any(|path| pack_number(path).is_some()) {
        return Err(OpenError::Missing { file: dir.join("format") });
    }
    let others = |found: PathBuf| OpenError::NotEmpty { dir: dir.to_owned(), found };
    for path in entries(dir)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_folder = fs::symlink_metadata(&path).map_err(OpenError::io(&path))?.is_dir();
        let known = match name {
            "lock" | "format.partial" | "probe" => !is_folder,
            "packs" | "index" | "lost+found" => is_folder,
            _ => false,
        };
        if !known {
            return Err(others(path));
        }
    }
    let index = dir.join("index");
    for path in entries(&index)? {
        let is_file = fs::symlink_metadata(&path).map_err(OpenError::io(&path))?.is_file();
        if !is_file || !INDEX_FILES.iter().any(|name| path == index.join(name)) {
            return Err(others(path));
        }
    }
    packs.into_iter().next().map_or(Ok(()), |path| Err(others(path)))
}

/// What is in a folder, by name; nothing when it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(OpenError::io(folder)(error)),
    };
    let mut paths = found
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()
        .map_err(OpenError::io(folder))?;
    paths.sort();
    Ok(paths)
}

/// Makes a folder that nobody else on this machine can look into: packs and index have the salt.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

/// Makes a folder and those above it, durably.
fn make_folder(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|folder| !folder.exists()).collect();
    if let Some(above) = dir.parent().filter(|_| !missing.is_empty()) {
        fs::create_dir_all(above)?;
        private_folder(dir)?;
    }
    for above in missing.iter().filter_map(|folder| folder.parent()) {
        sync_folder(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path)(error)),
    }
}

/// Random bytes for a new store.
pub(crate) fn random(dir: &Path) -> Result<[u8; 16], OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::io(dir)(io::Error::other(error.to_string())))?;
    Ok(bytes)
}

/// The id in the format file, if there is one. It must name the format that this code knows.
fn read_format(dir: &Path) -> Result<Option<StoreId>, OpenError> {
    let file = dir.join("format");
    let len = match fs::metadata(&file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&file)(error)),
    };
    let bytes =
        if len <= FORMAT_LEN_MAX { fs::read(&file).map_err(OpenError::io(&file))? } else { Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let id = text.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix('\n')?.strip_suffix('\n'));
    match id.and_then(|id| id.parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => {
            let found = text.lines().next().unwrap_or_default().to_owned();
            Err(OpenError::Version { file, found, expected: FORMAT })
        }
    }
}
