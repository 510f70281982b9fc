//! The files of the journal: one for each day, or several when the day is a busy one.
//!
//! Invariant: all files together have at most the configured bytes, and none is of a day that is over
//! for longer than they are kept. Folder and files can be read by their user alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::clock::utc;

/// A day's file takes at most this part of all bytes, so that little is lost with the oldest.
const PARTS: u64 = 8;
/// Highest number of a part that is looked at.
const PART_MAX: u32 = 1_000_000_000;
/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// The name of a file, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Like `2025-06-15`, in UTC.
    pub day: String,
    /// 1 for the day's first.
    pub part: u32,
}

impl Name {
    /// Reads a file's name: `2025-06-15.jsonl`, or `2025-06-15-2.jsonl` for the day's second.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".jsonl")?;
        let (day, rest) = stem.split_at_checked(10)?;
        let is_day = day.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        let part = match rest {
            "" => 1,
            _ => rest.strip_prefix('-')?.parse().ok().filter(|part| (2..=PART_MAX).contains(part))?,
        };
        let name = Self { day: day.to_owned(), part };
        (is_day && name.to_string() == stem).then_some(name)
    }

    fn file(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.jsonl"))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            1 => write!(f, "{}", self.day),
            part => write!(f, "{}-{part}", self.day),
        }
    }
}

/// The files in a folder, oldest first, with their bytes. Others are not looked at.
///
/// # Errors
/// The operating system's reason.
pub fn list(dir: &Path) -> io::Result<Vec<(Name, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(Name::parse);
        let meta = entry.metadata()?;
        if let Some(name) = name.filter(|_| meta.is_file()) {
            files.push((name, meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// The path of a file.
pub fn path(dir: &Path, name: &Name) -> PathBuf {
    name.file(dir)
}

/// See the module.
pub struct Files {
    dir: PathBuf,
    bytes_max: u64,
    keep_seconds: u64,
    /// Oldest first; the last one may be open.
    files: Vec<(Name, u64)>,
    open: Option<(Name, BufWriter<File>)>,
}

impl Files {
    /// Opens or makes the folder and removes what is kept no longer.
    ///
    /// # Errors
    /// The operating system's reason.
    pub fn open(dir: &Path, bytes_max: u64, keep_seconds: u64, now: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let files = list(dir)?;
        let mut files = Self { dir: dir.to_owned(), bytes_max, keep_seconds, files, open: None };
        files.expire(now)?;
        files.make_room(0, 0)?;
        Ok(files)
    }

    /// Appends one line, its break included.
    ///
    /// # Errors
    /// The operating system's reason; the file is then opened anew for the next line.
    pub fn append(&mut self, line: &[u8], now: u64) -> io::Result<()> {
        let outcome = self.try_append(line, now);
        if outcome.is_err() {
            self.open = None;
        }
        outcome
    }

    /// Shows what was appended to whoever reads the files.
    ///
    /// # Errors
    /// The operating system's reason.
    pub fn flush(&mut self) -> io::Result<()> {
        let flushed = self.open.as_mut().map_or(Ok(()), |(_, file)| file.flush());
        if flushed.is_err() {
            self.open = None;
        }
        flushed
    }

    fn try_append(&mut self, line: &[u8], now: u64) -> io::Result<()> {
        let day = day_of(now);
        let len = line.len() as u64;
        let fits = |(name, bytes): &(Name, u64)| {
            // On a clock that went back, a later day's file is written on.
            name.day >= day && (*bytes == 0 || bytes + len <= self.bytes_max / PARTS)
        };
        if !self.files.last().is_some_and(fits) {
            self.flush()?;
            self.open = None;
            let next = match self.files.last() {
                Some((last, _)) if last.day >= day => Name { part: last.part + 1, ..last.clone() },
                _ => Name { day, part: 1 },
            };
            self.files.push((next, 0));
            self.expire(now)?;
        }
        self.make_room(len, 1)?;
        let Some((name, bytes)) = self.files.last_mut() else {
            return Err(io::Error::other("there is no room for a line"));
        };
        let (_, file) = match &mut self.open {
            Some(open) if open.0 == *name => open,
            open => {
                let file = open_file(&name.file(&self.dir))?;
                *bytes = file.metadata()?.len();
                open.insert((name.clone(), BufWriter::new(file)))
            }
        };
        file.write_all(line)?;
        *bytes += len;
        Ok(())
    }

    /// Removes files of days that are over for longer than they are kept.
    fn expire(&mut self, now: u64) -> io::Result<()> {
        let first = day_of(now.saturating_sub(self.keep_seconds));
        while self.files.first().is_some_and(|(name, _)| name.day < first) {
            self.remove_oldest()?;
        }
        Ok(())
    }

    /// Removes the oldest files, but for so many, until so many more bytes fit.
    fn make_room(&mut self, more: u64, but_for: usize) -> io::Result<()> {
        while self.files.len() > but_for
            && self.files.iter().map(|(_, bytes)| bytes).sum::<u64>() + more > self.bytes_max
        {
            self.remove_oldest()?;
        }
        Ok(())
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some((name, _)) = self.files.first() else { return Ok(()) };
        match fs::remove_file(name.file(&self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.open.as_ref().is_some_and(|(open, _)| open == name) {
            self.open = None;
        }
        self.files.remove(0);
        Ok(())
    }
}

/// The day of a time, in UTC.
pub fn day_of(seconds: u64) -> String {
    utc(seconds / DAY_SECONDS * DAY_SECONDS).chars().take(10).collect()
}

/// Opens a file to append to. A line that a crash cut off is ended, so that it harms no other.
fn open_file(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(file)
}
