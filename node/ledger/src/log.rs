//! The log file and the checkpoint file (spec/ledger.md draws them byte by byte).
//!
//! Invariant: a frame is read back only with its own length and checksum; what follows the last
//! whole frame is cut off at open, because it was never acknowledged.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use commonhold_format::ids::PartyId;
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::statement::Checkpoint;

use crate::error::LedgerError;

/// First bytes of a log: name and version.
const MAGIC: &[u8; 8] = b"CHledg\x00\x01";
/// Length and checksum, u32 big-endian each.
const FRAME_HEADER_LEN: usize = 8;

/// The open log, positioned at its end.
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Opens or makes the log and reads its notes.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<SignedNote>), LedgerError> {
        let io_error = |source| LedgerError::Io { path: path.to_owned(), source };
        let new = !path.exists();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(io_error)?;
        let len = file.metadata().map_err(io_error)?.len();
        if new || len < MAGIC.len() as u64 {
            // Made just now, or a crash came before the header was whole: nothing is lost.
            file.set_len(0).map_err(io_error)?;
            file.write_all(MAGIC).map_err(io_error)?;
            file.sync_all().map_err(io_error)?;
            sync_parent(path).map_err(io_error)?;
            return Ok((Self { file }, Vec::new()));
        }
        let mut reader = io::BufReader::new(&file);
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(io_error)?;
        if magic != *MAGIC {
            return Err(LedgerError::Version { file: path.to_owned() });
        }
        let mut notes = Vec::new();
        let mut end = MAGIC.len() as u64;
        while let Some((note, frame_len)) = read_frame(&mut reader).map_err(io_error)? {
            notes.push(note);
            end += frame_len;
        }
        drop(reader);
        if end < len {
            tracing::warn!(file = %path.display(), bytes = len - end, "cut off an entry that was never acknowledged");
            file.set_len(end).map_err(io_error)?;
            file.sync_all().map_err(io_error)?;
        }
        file.seek(SeekFrom::Start(end)).map_err(io_error)?;
        Ok((Self { file }, notes))
    }

    /// Appends one frame, not yet durable.
    pub(crate) fn append(&mut self, note: &[u8]) -> io::Result<()> {
        let len = u32::try_from(note.len()).map_err(|_| io::Error::other("a note of more than 4 GiB"))?;
        let mut frame = Vec::with_capacity(FRAME_HEADER_LEN + note.len());
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&crc32c::crc32c(note).to_be_bytes());
        frame.extend_from_slice(note);
        self.file.write_all(&frame)
    }

    /// Another handle on the file, to sync without holding the ledger's lock.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// The next whole and right frame, or `None` where there is none any more.
fn read_frame(reader: &mut impl Read) -> io::Result<Option<(SignedNote, u64)>> {
    let mut header = [0; FRAME_HEADER_LEN];
    if !fill(reader, &mut header)? {
        return Ok(None);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if len > NOTE_LEN_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; len];
    if !fill(reader, &mut bytes)? || crc32c::crc32c(&bytes) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Ok(None);
    }
    Ok(SignedNote::parse(&bytes).ok().map(|note| (note, (FRAME_HEADER_LEN + len) as u64)))
}

/// Fills the buffer; `false` when the file ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a new name in a directory durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The stored checkpoint, verified; `None` if there is none yet.
pub(crate) fn read_checkpoint(
    dir: &Path,
    party: &PartyId,
    origin: &str,
) -> Result<Option<Checkpoint>, LedgerError> {
    let path = dir.join("checkpoint");
    let refuse = |why: String| LedgerError::Checkpoint { file: path.clone(), why };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io(&path)(error)),
    };
    let note = SignedNote::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
    if !note.is_signed_by(party) {
        return Err(refuse("it is not signed by this node's party".to_owned()));
    }
    let checkpoint = Checkpoint::from_text(note.text()).map_err(|error| refuse(error.to_string()))?;
    if checkpoint.origin != origin {
        return Err(refuse(format!("it is about {:?}", checkpoint.origin)));
    }
    Ok(Some(checkpoint))
}

/// Replaces the stored checkpoint at once or not at all.
pub(crate) fn write_checkpoint(dir: &Path, note: &SignedNote) -> Result<(), LedgerError> {
    let path = dir.join("checkpoint");
    let partial = dir.join("checkpoint.partial");
    let write = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(&note.to_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        sync_parent(&path)
    };
    write().map_err(LedgerError::io(&path))
}
