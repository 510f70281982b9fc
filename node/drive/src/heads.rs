//! The heads of the drive on this device: the current one, the one last announced, and forks.
//!
//! Invariant: the sequence of the current head never falls, and its file is replaced atomically
//! and synced before anybody is told. A head that is not the continuation of what this device
//! knows is kept beside it, never merged and never dropped silently.
//! What this cannot do: a fresh device has nothing to compare with and believes the newest head
//! that it finds (spec/drive-layout.md).

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commonhold_format::drive::{HeadContent, WRITERS_MAX, Writer};
use commonhold_format::head::{HEAD_LEN_MAX, Head, HeadError};
use commonhold_format::keys::DriveKeys;

use crate::error::DriveError;
use crate::packer::random;

/// Most forks kept. Each is another history of the same drive; more than a few mean that
/// something is badly wrong, and nothing is deleted at providers until the owner has decided.
pub(crate) const FORKS_MAX: usize = 16;

/// Most former heads kept, 8 KiB each at most.
const FORMER_MAX: usize = 32;

/// A head that was verified and opened.
#[derive(Debug)]
pub(crate) struct OpenHead {
    pub(crate) head: Head,
    pub(crate) content: HeadContent,
    pub(crate) hash: [u8; 32],
}

impl OpenHead {
    /// From bytes of anybody: decodes, verifies, opens.
    pub(crate) fn from_bytes(bytes: &[u8], keys: &DriveKeys) -> Result<Arc<Self>, HeadError> {
        if bytes.len() > HEAD_LEN_MAX {
            return Err(HeadError::TooLarge(bytes.len()));
        }
        let head = Head::decode(bytes)?;
        if head.drive != keys.drive() {
            return Err(HeadError::Shape("it is of another drive"));
        }
        Self::from_head(head, keys)
    }

    pub(crate) fn from_head(head: Head, keys: &DriveKeys) -> Result<Arc<Self>, HeadError> {
        let content = head.open(keys)?;
        let hash = head.hash();
        Ok(Arc::new(Self { head, content, hash }))
    }
}

/// How a head that was found relates to the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the current one.
    Same,
    /// An older one: ignored.
    Older,
    /// It continues the current one and takes its place.
    Newer,
    /// Another head of the same sequence, or an older one that has what the current one has not: kept beside
    /// the current one.
    Fork,
    /// It has a higher sequence but not all that the current one has: it takes its place, and the current
    /// one is kept as a fork.
    NewerFork,
}

/// Whether everything that any device has written in `before` is in `after`, too. That follows from the
/// numbers because all that a device wrote under one name is one chain: it takes a new name when it leaves a
/// history (see [`Heads::leave`]).
fn includes(after: &HeadContent, before: &HeadContent) -> bool {
    let oldest = after.writers.iter().map(|writer| writer.sequence).min().unwrap_or(0);
    // Only where there is no room for more was a device left out, and then the one that wrote longest ago.
    let is_left_out = |writer: &Writer| after.writers.len() == WRITERS_MAX && writer.sequence < oldest;
    !before.writers.is_empty()
        && before.writers.iter().all(|writer| {
            let known = after.writers.iter().find(|known| known.device == writer.device);
            known.map_or(is_left_out(writer), |known| known.sequence >= writer.sequence)
        })
}

/// Compares a verified head with the current one: by its sequence, and by what either history has of each
/// device.
pub(crate) fn judge(current: Option<&OpenHead>, found: &OpenHead) -> Verdict {
    let Some(current) = current else { return Verdict::Newer };
    let (here, there) = (current.head.sequence, found.head.sequence);
    if found.hash == current.hash {
        Verdict::Same
    } else if there > here {
        let continues = found.head.previous == current.hash
            || (there - here > 1 && includes(&found.content, &current.content));
        if continues { Verdict::Newer } else { Verdict::NewerFork }
    } else if there < here && includes(&current.content, &found.content) {
        Verdict::Older
    } else {
        Verdict::Fork
    }
}

/// The heads of this device, in memory and in `dir`.
pub(crate) struct Heads {
    dir: PathBuf,
    pub(crate) current: Option<Arc<OpenHead>>,
    pub(crate) announced: Option<Arc<OpenHead>>,
    pub(crate) forks: Vec<Arc<OpenHead>>,
    /// Set when a fork had no room: nothing may be deleted then.
    pub(crate) fork_dropped: bool,
    /// The last heads that were current before, oldest first: states from which forks may have gone on.
    /// What they name may be gone.
    former: Vec<Arc<OpenHead>>,
    /// This device, as heads name it.
    device: [u8; 8],
    /// The drive was made elsewhere and no head of it has been found yet.
    awaited: bool,
}

/// The file that says so.
const AWAITED: &str = "awaited";

/// Notes in a drive's new folder `dir` that the drive was made elsewhere: nothing is shown or changed before a
/// head of it was found, or [`Drive::begin`](crate::Drive::begin) was called. Blocking.
///
/// # Errors
/// When the folder cannot be written.
pub fn await_head(dir: &Path) -> Result<(), DriveError> {
    fs::create_dir_all(dir).map_err(|error| DriveError::io(dir, error))?;
    write(dir, AWAITED, b"")
}

impl Heads {
    /// Reads what this device knows. Blocking.
    pub(crate) fn open(dir: &Path, keys: &DriveKeys) -> Result<Self, DriveError> {
        let forks_dir = dir.join("forks");
        fs::create_dir_all(&forks_dir).map_err(|error| DriveError::io(&forks_dir, error))?;
        let current = read(&dir.join("head"), keys)?;
        // Without its proof of announcement a head is taken as not announced: the careful side.
        let announced = read(&dir.join("announced"), keys).unwrap_or_else(|error| {
            tracing::warn!(%error, "the record of the last announcement is unreadable");
            None
        });
        let mut forks = Vec::new();
        let mut fork_dropped = false;
        for entry in fs::read_dir(&forks_dir).map_err(|error| DriveError::io(&forks_dir, error))? {
            let path = entry.map_err(|error| DriveError::io(&forks_dir, error))?.path();
            if path.extension().is_none_or(|extension| extension != "head") {
                continue;
            }
            match read(&path, keys) {
                Ok(Some(fork)) if forks.len() < FORKS_MAX => forks.push(fork),
                Ok(None) => {}
                Ok(Some(_)) => fork_dropped = true,
                Err(error) => {
                    tracing::warn!(%error, "a fork on this device is unreadable");
                    fork_dropped = true;
                }
            }
        }
        forks.sort_by_key(|fork| (fork.head.sequence, fork.hash));
        let mut former = Vec::new();
        let former_dir = dir.join("former");
        fs::create_dir_all(&former_dir).map_err(|error| DriveError::io(&former_dir, error))?;
        for entry in fs::read_dir(&former_dir).map_err(|error| DriveError::io(&former_dir, error))? {
            let path = entry.map_err(|error| DriveError::io(&former_dir, error))?.path();
            if path.extension().is_some_and(|extension| extension == "head") {
                // They only make merges better: one that is unreadable is not missed.
                former.extend(read(&path, keys).ok().flatten());
            }
        }
        former.sort_by_key(|head| head.head.sequence);
        let device = device(dir)?;
        let awaited = current.is_none() && dir.join(AWAITED).exists();
        Ok(Self { dir: dir.to_owned(), current, announced, forks, fork_dropped, former, device, awaited })
    }

    /// The devices of a history that goes on from the current one with a head of this device, and takes in
    /// `others`.
    pub(crate) fn writers(&self, sequence: u64, others: &[Writer]) -> Vec<Writer> {
        let own = Writer { device: self.device, sequence };
        let before = self.current.as_ref().map_or(&[][..], |head| &head.content.writers);
        let mut newest: BTreeMap<[u8; 8], u64> = BTreeMap::new();
        for writer in before.iter().chain(others).chain([&own]) {
            let known = newest.entry(writer.device).or_default();
            *known = writer.sequence.max(*known);
        }
        while newest.len() > WRITERS_MAX
            && let Some(idle) =
                newest.iter().min_by_key(|(_, sequence)| **sequence).map(|(device, _)| *device)
        {
            newest.remove(&idle);
        }
        newest.into_iter().map(|(device, sequence)| Writer { device, sequence }).collect()
    }

    /// Before another history takes the place of the current one. When the other one has not all that this
    /// device wrote, it goes on under a new name: under its old one the next number would claim that what is
    /// left behind is in the new history, and the fork would be forgotten unmerged. Blocking.
    fn leave(&mut self, found: &HeadContent) -> Result<(), DriveError> {
        let by_me = |head: &HeadContent| {
            head.writers.iter().find(|it| it.device == self.device).map_or(0, |it| it.sequence)
        };
        let here = self.current.as_ref().map_or(0, |head| by_me(&head.content));
        if here > by_me(found) {
            self.device = new_device(&self.dir)?;
        }
        Ok(())
    }

    /// Whether the current head names a device that is not this one.
    pub(crate) fn has_other_writers(&self) -> bool {
        let writers = self.current.iter().flat_map(|head| &head.content.writers);
        writers.into_iter().any(|writer| writer.device != self.device)
    }

    /// Whether the drive was made elsewhere and nothing of it is known here yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited && self.current.is_none()
    }

    /// Waits for no head any more. Blocking.
    pub(crate) fn begin(&mut self) -> Result<(), DriveError> {
        let path = self.dir.join(AWAITED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(DriveError::io(path, error)),
            _ => self.awaited = false,
        }
        Ok(())
    }

    /// Whether the current head was announced.
    pub(crate) fn is_announced(&self) -> bool {
        match (&self.current, &self.announced) {
            (Some(current), Some(announced)) => current.hash == announced.hash,
            _ => false,
        }
    }

    /// Makes `head` the current one, durably. Blocking.
    pub(crate) fn advance(&mut self, head: Arc<OpenHead>) -> Result<(), DriveError> {
        write(&self.dir, "head", &head.head.encode())?;
        let before = self.current.replace(head);
        // Heads that were announced are those from which another device may have gone on.
        if let Some(before) = before.filter(|it| self.announced.as_ref().is_some_and(|an| an.hash == it.hash))
        {
            self.remember(before);
        }
        Ok(())
    }

    /// Keeps a former head for merges. It is no loss if that fails.
    fn remember(&mut self, head: Arc<OpenHead>) {
        let dir = self.dir.join("former");
        let path = dir.join(fork_file(&head));
        if fs::write(&path, head.head.encode()).is_err() {
            return;
        }
        self.former.push(head);
        while self.former.len() > FORMER_MAX {
            let oldest = self.former.remove(0);
            let _ = fs::remove_file(dir.join(fork_file(&oldest)));
        }
    }

    /// The state from which the current history and `fork` both went on, if this device has seen it.
    pub(crate) fn ancestor_of(&self, fork: &OpenHead) -> Option<Arc<OpenHead>> {
        let known = self.former.iter().chain(&self.announced);
        let before = known.filter(|head| head.head.sequence < fork.head.sequence && !self.is_fork(head));
        // The direct predecessor for sure, or the newest one before it that was announced.
        before
            .clone()
            .find(|head| head.hash == fork.head.previous)
            .or_else(|| before.max_by_key(|head| head.head.sequence))
            .cloned()
    }

    fn is_fork(&self, head: &OpenHead) -> bool {
        self.forks.iter().any(|fork| fork.hash == head.hash)
    }

    /// Notes that `head` was announced or found announced. Blocking.
    pub(crate) fn note_announced(&mut self, head: Arc<OpenHead>) -> Result<(), DriveError> {
        write(&self.dir, "announced", &head.head.encode())?;
        self.announced = Some(head);
        Ok(())
    }

    /// Keeps a head beside the current one. Blocking.
    pub(crate) fn keep_fork(&mut self, fork: Arc<OpenHead>) -> Result<(), DriveError> {
        if self.forks.iter().any(|known| known.hash == fork.hash) {
            return Ok(());
        }
        tracing::warn!(
            sequence = fork.head.sequence,
            written_ms = fork.content.written_ms,
            "this drive has another history, written by another device or brought back by someone; both are kept"
        );
        // Of a history that has gone on, the newest head stands for all of it.
        let goes_on = self.forks.iter().any(|known| includes(&fork.content, &known.content));
        if self.forks.len() >= FORKS_MAX && !goes_on {
            self.fork_dropped = true;
            return Ok(());
        }
        write(&self.dir.join("forks"), &fork_file(&fork), &fork.head.encode())?;
        self.forget_included(&fork.content)?;
        self.forks.push(fork);
        Ok(())
    }

    /// Forgets the forks that have nothing which `head` has not. Blocking.
    fn forget_included(&mut self, head: &HeadContent) -> Result<(), DriveError> {
        let included: Vec<[u8; 32]> =
            self.forks.iter().filter(|fork| includes(head, &fork.content)).map(|fork| fork.hash).collect();
        for hash in included {
            self.forget_fork(&hash)?;
        }
        Ok(())
    }

    /// Forgets a fork; false when there is none with this hash. Blocking.
    pub(crate) fn forget_fork(&mut self, hash: &[u8; 32]) -> Result<bool, DriveError> {
        let Some(at) = self.forks.iter().position(|fork| fork.hash == *hash) else {
            return Ok(false);
        };
        let path = self.dir.join("forks").join(fork_file(&self.forks[at]));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(DriveError::io(path, error));
            }
            _ => {}
        }
        self.forks.remove(at);
        Ok(true)
    }

    /// Takes in a head that was found. Blocking.
    pub(crate) fn take_in(&mut self, found: Arc<OpenHead>) -> Result<Verdict, DriveError> {
        let verdict = judge(self.current.as_deref(), &found);
        match verdict {
            Verdict::Older => {}
            Verdict::Same => {
                if !self.is_announced() {
                    self.note_announced(found)?;
                }
            }
            Verdict::Fork => self.keep_fork(found)?,
            Verdict::Newer | Verdict::NewerFork => {
                if verdict == Verdict::NewerFork
                    && let Some(current) = self.current.clone()
                {
                    self.keep_fork(current)?;
                    self.leave(&found.content)?;
                }
                self.advance(found.clone())?;
                self.forget_included(&found.content)?;
                self.note_announced(found)?;
            }
        }
        Ok(verdict)
    }
}

/// The name of this device in heads: random bytes.
fn device(dir: &Path) -> Result<[u8; 8], DriveError> {
    let path = dir.join("device");
    match fs::read(&path) {
        Ok(bytes) => {
            bytes.try_into().map_err(|_| DriveError::damaged(path.display().to_string(), "it is no device"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => new_device(dir),
        Err(error) => Err(DriveError::io(path, error)),
    }
}

/// A new name for this device, durably.
fn new_device(dir: &Path) -> Result<[u8; 8], DriveError> {
    let mut device = [0; 8];
    random(&mut device)?;
    write(dir, "device", &device)?;
    Ok(device)
}

fn fork_file(fork: &OpenHead) -> String {
    let hash: String = fork.hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{:020}-{hash}.head", fork.head.sequence)
}

fn read(path: &Path, keys: &DriveKeys) -> Result<Option<Arc<OpenHead>>, DriveError> {
    let len = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DriveError::io(path, error)),
    };
    let what = || format!("the drive head in {}", path.display());
    if len > HEAD_LEN_MAX as u64 {
        return Err(DriveError::damaged(what(), "it is too large"));
    }
    let bytes = fs::read(path).map_err(|error| DriveError::io(path, error))?;
    let head = OpenHead::from_bytes(&bytes, keys).map_err(|error| DriveError::damaged(what(), error))?;
    Ok(Some(head))
}

/// Replaces a file so that after a crash it is the old one or the new one, whole. Only its owner may read
/// it.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
    let path = dir.join(name);
    let new = dir.join(format!("{name}.new"));
    let replace = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // What is kept here may hold keys.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    replace().map_err(|error| DriveError::io(&path, error))
}
