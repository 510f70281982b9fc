//! Where a ledger that is not one's own is read from: a folder or a tar of tlog-tiles, a node's own
//! ledger folder, or whatever the caller fetches from.
//!
//! Invariant: only the paths that tlog-tiles and a bundle know are asked for, and no resource is taken
//! that is larger than its bound. Not here: whether anything of it is right ([`crate::verify`]).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use commonhold_format::log::{TileId, encode_entries};
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::statement::Checkpoint;

use crate::checkpoint::{CHECKPOINT, PUBLISHED};
use crate::scan::{End, scan};

/// Most files of one tar: more than a ledger of ten million notes has.
const FILES_MAX: usize = 1 << 20;

/// Gives the resources of a ledger by their paths: `checkpoint`, `tile/…`, `evidence/…`.
pub trait Source {
    /// The resource, or `None` when there is none. It has at most `max` bytes.
    ///
    /// # Errors
    /// A sentence, when it cannot be read or is larger.
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String>;
}

/// A folder with the files of tlog-tiles.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Source for Folder {
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        let file = self.0.join(path);
        let failed = |error: io::Error| format!("cannot read {}: {error}", file.display());
        // Opening a pipe would wait for somebody to write into it.
        let open = fs::metadata(&file).and_then(|meta| {
            if meta.is_file() { File::open(&file) } else { Err(io::Error::other("it is not a file")) }
        });
        match open {
            Ok(open) => read_bounded(open, max).map_err(failed).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn read_bounded(file: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(io::Error::other(format!("it has more than {max} bytes"))) } else { Ok(bytes) }
}

/// A tar file: a bundle, or a piece of evidence.
#[derive(Debug)]
pub struct Tar {
    file: File,
    places: HashMap<String, (u64, u64)>,
}

impl Tar {
    /// Reads the names in a tar file. Only plain files with relative names count.
    ///
    /// # Errors
    /// A sentence, when it is no tar file or names a file twice.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{} is not a tar file: {error}", path.display());
        let mut archive = tar::Archive::new(File::open(path).map_err(failed)?);
        let mut places = HashMap::new();
        // Raw: extensions, such as those for long names, are read as files of other types and left out.
        // Nothing here has a long name, and what they say is not bounded.
        for entry in archive.entries_with_seek().map_err(failed)?.raw(true) {
            let entry = entry.map_err(failed)?;
            if entry.header().entry_type() != tar::EntryType::Regular {
                continue;
            }
            let name = entry.path().ok().and_then(|name| Some(name.to_str()?.to_owned()));
            let Some(name) = name else { continue };
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            if places.len() >= FILES_MAX {
                return Err(format!("{} has too many files", path.display()));
            }
            if places.insert(name.clone(), (entry.raw_file_position(), entry.size())).is_some() {
                return Err(format!("{} has {name} twice", path.display()));
            }
        }
        Ok(Self { file: archive.into_inner(), places })
    }

    /// Whether the tar has a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Names that begin with `prefix`, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.places.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        names.sort_unstable();
        names
    }
}

impl Source for Tar {
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        let Some((at, len)) = self.places.get(path).copied() else { return Ok(None) };
        let mut read = || {
            self.file.seek(SeekFrom::Start(at))?;
            let bytes = read_bounded((&self.file).take(len), max)?;
            if bytes.len() as u64 == len { Ok(bytes) } else { Err(io::Error::other("the file is cut off")) }
        };
        read().map(Some).map_err(|error| format!("{path} in the tar: {error}"))
    }
}

/// A node's own ledger folder, read without a lock and without changing it; the node may be running.
#[derive(Debug)]
pub struct LogFolder {
    dir: PathBuf,
    checkpoint: Option<Vec<u8>>,
    log: File,
    places: Vec<(u64, u32)>,
}

impl LogFolder {
    /// Whether `dir` looks like a ledger folder.
    pub fn is_one(dir: &Path) -> bool {
        dir.join("log").is_file() && dir.join(CHECKPOINT).is_file()
    }

    /// Finds the entries of the log.
    ///
    /// # Errors
    /// A sentence, when the log cannot be read or was altered.
    pub fn open(dir: &Path) -> Result<Self, String> {
        // The head comes first: what it covers was in the log before it was signed.
        let checkpoint = head_of(dir)?;
        let path = dir.join("log");
        let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let log = File::open(&path).map_err(failed)?;
        let mut places = Vec::new();
        // Whoever loads the ledger parses the notes.
        let found = scan(&log, |offset, bytes| {
            places.push((offset, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
            true
        })
        .map_err(failed)?;
        match found.end {
            // A node that is running may be in the middle of an entry.
            End::Clean | End::Torn { .. } => Ok(Self { dir: dir.to_owned(), checkpoint, log, places }),
            End::Altered => Err(format!(
                "{} was altered: entry {} at byte {} is not a note with its checksum",
                path.display(),
                places.len(),
                found.good_len
            )),
            End::Foreign => Err(format!("{} is not a ledger's log", path.display())),
        }
    }

    /// A bundle of entries; in the log they stand behind each other, with a head before each.
    fn entries(&mut self, tile: &TileId) -> io::Result<Option<Vec<u8>>> {
        let Ok(first) = usize::try_from(tile.first()) else { return Ok(None) };
        let Some(places) = self.places.get(first..first + usize::from(tile.width)) else { return Ok(None) };
        let (Some((start, _)), Some((last, len))) = (places.first(), places.last()) else { return Ok(None) };
        let mut bytes = vec![0; (last + u64::from(*len) - start) as usize];
        self.log.seek(SeekFrom::Start(*start))?;
        self.log.read_exact(&mut bytes)?;
        let notes = places.iter().map(|(at, len)| {
            let from = (at - start) as usize;
            &bytes[from..from + *len as usize]
        });
        Ok(encode_entries(notes))
    }
}

/// What others are shown, with its cosignatures; after a crash the checkpoint may be ahead of it.
fn head_of(dir: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut folder = Folder(dir.to_owned());
    let published = folder.get(PUBLISHED, NOTE_LEN_MAX)?;
    let checkpoint = folder.get(CHECKPOINT, NOTE_LEN_MAX)?;
    let size = |bytes: &Option<Vec<u8>>| {
        let note = SignedNote::parse(bytes.as_ref()?).ok()?;
        Some(Checkpoint::from_text(note.text()).ok()?.size)
    };
    Ok(if size(&checkpoint) > size(&published) { checkpoint } else { published })
}

impl Source for LogFolder {
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        if path == "checkpoint" {
            return Ok(self.checkpoint.clone().filter(|bytes| bytes.len() <= max));
        }
        if path.starts_with("evidence/") {
            return Folder(self.dir.join("..")).get(path, max);
        }
        match path.parse::<TileId>() {
            Ok(tile) if tile.level.is_none() => {
                self.entries(&tile).map_err(|error| format!("cannot read the log: {error}"))
            }
            // Hashes follow from the entries.
            _ => Ok(None),
        }
    }
}

/// Opens what a person names: a tar file, a folder of tiles, or a node's ledger folder or data
/// directory.
///
/// # Errors
/// A sentence, when it is none of these.
pub fn open(path: &Path) -> Result<Box<dyn Source + Send>, String> {
    let meta = fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if meta.is_file() {
        return Ok(Box::new(Tar::open(path)?));
    }
    for dir in [path.to_owned(), path.join("ledger")] {
        if LogFolder::is_one(&dir) {
            return Ok(Box::new(LogFolder::open(&dir)?));
        }
    }
    if path.join("checkpoint").is_file() {
        return Ok(Box::new(Folder(path.to_owned())));
    }
    Err(format!(
        "{} is neither a folder of tiles, nor a node's ledger or data directory, nor a bundle",
        path.display()
    ))
}
