//! Reads a tar stream in bounded memory.
//!
//! Invariant: an archive counts as read only when its two closing zero blocks have come and
//! nothing but zeros follows, so a stream that was cut anywhere is told from a whole one; and a
//! path leaves this module only as valid names, relative and without `..`. Extension headers are
//! bounded before they are read, which is why this walks the blocks itself and takes from the
//! `tar` crate only the fields of a header.
//! What this is not: it does not restore anything but files and folders, and says which entries
//! it left out.

use commonhold_format::drive::Name;
use tar::{EntryType, Header};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use super::BLOCK_LEN;
use crate::error::DriveError;
use crate::path::{DEPTH_MAX, PATH_LEN_MAX};

/// Longest extension header (long name, PAX records). Paths are at most 4 KiB here.
const EXTENSION_LEN_MAX: u64 = 64 << 10;
/// Largest file taken in, 256 TiB: lengths stay far from overflow.
const FILE_LEN_MAX: u64 = 1 << 48;
/// Most zeros after the end of the archive; tar programs pad to 10 KiB, tapes to more.
const TRAILING_LEN_MAX: usize = 1 << 20;
/// Buffer in front of the stream.
const BUFFER_LEN: usize = 64 << 10;

/// One entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TarItem {
    /// A folder. No names: the folder into which the archive is put.
    Folder { path: Vec<Name>, modified_ms: i64 },
    /// A file; its `len` bytes follow through [`TarReader::read`].
    File { path: Vec<Name>, modified_ms: i64, len: u64, executable: bool },
    /// Left out; `path` is fit to be shown.
    Skipped { path: String, why: String },
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    modified_ms: Option<i64>,
    sparse: bool,
}

/// Reads entries one after the other.
pub(crate) struct TarReader<R> {
    reader: BufReader<R>,
    /// Bytes of the current entry still to come.
    data_left: u64,
    /// Zeros that fill the current entry's last block.
    padding_left: u64,
    /// The current file, for messages, with its length.
    current: Option<(String, u64)>,
}

fn cut(why: impl Into<String>) -> DriveError {
    DriveError::Interrupted(why.into())
}

impl<R: AsyncRead + Unpin> TarReader<R> {
    /// A reader at the start of an archive.
    pub(crate) fn new(stream: R) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_LEN, stream),
            data_left: 0,
            padding_left: 0,
            current: None,
        }
    }

    /// The next entry, or none after the archive's proper end. Skips what was not read of the
    /// current one.
    pub(crate) async fn next(&mut self) -> Result<Option<TarItem>, DriveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_current().await?;
            let Some(header) = self.header().await? else {
                self.end().await?;
                return Ok(None);
            };
            self.current = None;
            let kind = header.entry_type();
            let size = header.entry_size().map_err(|_| bad("an entry's length is unreadable"))?;
            match kind {
                EntryType::GNULongName => {
                    let mut name = self.extension(size).await?;
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    extensions.path = Some(name);
                }
                EntryType::XHeader => {
                    let records = self.extension(size).await?;
                    read_pax(&records, &mut extensions)?;
                }
                // A long link target, or records for all entries (a comment of git's, usually).
                EntryType::GNULongLink | EntryType::XGlobalHeader => self.start_data(size)?,
                _ => return self.item(&header, kind, size, extensions).map(Some),
            }
        }
    }

    /// Bytes of the current file: 0 only at its end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, DriveError> {
        let want = usize::try_from(self.data_left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let got = self.reader.read(&mut buffer[..want]).await.map_err(|error| self.failed(&error))?;
        if got == 0 {
            return Err(self.ended());
        }
        self.data_left -= got as u64;
        Ok(got)
    }

    fn item(
        &mut self,
        header: &Header,
        kind: EntryType,
        header_size: u64,
        extensions: Extensions,
    ) -> Result<TarItem, DriveError> {
        let raw = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown: String = String::from_utf8_lossy(&raw)
            .chars()
            .take(200)
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        let size = extensions.size.unwrap_or(header_size);
        // Old archives mark a folder by its trailing slash alone.
        let is_folder = kind == EntryType::Directory
            || (header.as_ustar().is_none() && header.as_gnu().is_none() && raw.ends_with(b"/"));
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous) && !is_folder;
        let has_no_data = is_folder
            || matches!(
                kind,
                EntryType::Link | EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Fifo
            );
        self.start_data(if has_no_data { 0 } else { size })?;
        let skipped = |why: String| TarItem::Skipped { path: shown.clone(), why };
        if extensions.sparse {
            return Ok(skipped("it is a sparse entry: pack it as an ordinary file".to_owned()));
        }
        if !is_file && !is_folder {
            return Ok(skipped(format!("it is {}; files and folders are stored", kind_word(kind))));
        }
        let path = match names(&raw) {
            Ok(path) => path,
            Err(why) => return Ok(skipped(why)),
        };
        let modified_ms = extensions.modified_ms.unwrap_or_else(|| {
            // A negative time is a two's complement in the last eight bytes of the field.
            header.mtime().map_or(0, |seconds| (seconds as i64).saturating_mul(1000))
        });
        if is_folder {
            return Ok(TarItem::Folder { path, modified_ms });
        }
        if path.is_empty() {
            return Ok(skipped("it has no name".to_owned()));
        }
        if size > FILE_LEN_MAX {
            return Err(DriveError::TooLarge(format!(
                "{shown} has {size} bytes, more than a file may have ({FILE_LEN_MAX})"
            )));
        }
        self.current = Some((shown, size));
        let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
        Ok(TarItem::File { path, modified_ms, len: size, executable })
    }

    fn start_data(&mut self, len: u64) -> Result<(), DriveError> {
        if len > u64::MAX - BLOCK_LEN as u64 {
            return Err(bad("an entry's length is absurd"));
        }
        self.data_left = len;
        self.padding_left = len.next_multiple_of(BLOCK_LEN as u64) - len;
        Ok(())
    }

    async fn skip_current(&mut self) -> Result<(), DriveError> {
        let mut waste = [0u8; 4096];
        while self.data_left > 0 {
            self.read(&mut waste).await?;
        }
        let padding = usize::try_from(self.padding_left).unwrap_or(0);
        if padding > 0 {
            self.fill(&mut waste[..padding]).await?;
            self.padding_left = 0;
        }
        Ok(())
    }

    async fn extension(&mut self, len: u64) -> Result<Vec<u8>, DriveError> {
        if len > EXTENSION_LEN_MAX {
            return Err(bad(&format!(
                "an extension header has {len} bytes, and {EXTENSION_LEN_MAX} is the most"
            )));
        }
        self.start_data(len)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.fill(&mut bytes).await?;
        self.data_left = 0;
        Ok(bytes)
    }

    /// The next header; none for the first zero block.
    async fn header(&mut self) -> Result<Option<Header>, DriveError> {
        let mut block = [0u8; BLOCK_LEN];
        self.fill(&mut block).await?;
        if block == [0; BLOCK_LEN] {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let mut again = header.clone();
        again.set_cksum();
        if header.cksum().ok() != again.cksum().ok() {
            return Err(match self.current.take() {
                Some((path, expected)) => DriveError::Changed {
                    path,
                    expected,
                    found: "what follows them is no entry of the archive".to_owned(),
                },
                None => bad("this is not a tar archive"),
            });
        }
        Ok(Some(header))
    }

    /// After the first zero block: a second one, then zeros until the stream ends.
    async fn end(&mut self) -> Result<(), DriveError> {
        let mut block = [0u8; BLOCK_LEN];
        self.fill(&mut block).await?;
        if block != [0; BLOCK_LEN] {
            return Err(bad("a lone zero block stands within it"));
        }
        let mut trailing = 0;
        loop {
            let got = self.reader.read(&mut block).await.map_err(|error| self.failed(&error))?;
            trailing += got;
            if got == 0 {
                return Ok(());
            }
            if trailing > TRAILING_LEN_MAX || block[..got].iter().any(|byte| *byte != 0) {
                return Err(bad("data follow its end"));
            }
        }
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DriveError> {
        match self.reader.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.ended()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn ended(&self) -> DriveError {
        match &self.current {
            Some((path, len)) if self.data_left > 0 => {
                cut(format!("it ended {} bytes before the end of {path} ({len} bytes)", self.data_left))
            }
            _ => cut("it ended before the closing blocks of the archive"),
        }
    }

    fn failed(&self, error: &std::io::Error) -> DriveError {
        cut(format!("reading it failed: {error}"))
    }
}

fn bad(why: &str) -> DriveError {
    DriveError::BadArchive(why.to_owned())
}

fn kind_word(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "an entry of an unknown kind",
    }
}

/// The names of a path in an archive. `.` components and doubled slashes mean nothing.
fn names(raw: &[u8]) -> Result<Vec<Name>, String> {
    if raw.len() > PATH_LEN_MAX {
        return Err(format!("its path has {} bytes, and {PATH_LEN_MAX} is the most", raw.len()));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "its name is not UTF-8".to_owned())?;
    if text.starts_with('/') {
        return Err("its path is absolute".to_owned());
    }
    let mut names = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err("its path climbs out with '..'".to_owned());
        }
        names.push(Name::new(part).map_err(|error| error.to_string())?);
    }
    if names.len() > DEPTH_MAX {
        return Err(format!("it is {} levels deep, and {DEPTH_MAX} is the most", names.len()));
    }
    Ok(names)
}

/// PAX records: `length key=value\n`, the length counting itself.
fn read_pax(mut records: &[u8], extensions: &mut Extensions) -> Result<(), DriveError> {
    let unreadable = || bad("an extension header is unreadable");
    while !records.is_empty() && records[0] != 0 {
        let space = records.iter().position(|byte| *byte == b' ').ok_or_else(unreadable)?;
        let len: usize = std::str::from_utf8(&records[..space])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(unreadable)?;
        let record = records.get(space + 1..len).ok_or_else(unreadable)?;
        let record = record.strip_suffix(b"\n").ok_or_else(unreadable)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(unreadable)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = || std::str::from_utf8(value).map_err(|_| unreadable());
        match key {
            b"path" => extensions.path = Some(value.to_vec()),
            b"size" => extensions.size = Some(text()?.parse().map_err(|_| unreadable())?),
            b"mtime" => extensions.modified_ms = Some(milliseconds(text()?).ok_or_else(unreadable)?),
            _ if key.starts_with(b"GNU.sparse.") => extensions.sparse = true,
            _ => {}
        }
        records = &records[len..];
    }
    Ok(())
}

/// Decimal seconds with an optional fraction, rounded down to milliseconds.
fn milliseconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = if whole == "-0" || whole == "-" { 0 } else { whole.parse().ok()? };
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let part: i64 = digits.parse().ok()?;
    let finer = fraction.len() > 3 && fraction[3..].bytes().any(|byte| byte != b'0');
    let base = seconds.saturating_mul(1000);
    Some(if text.starts_with('-') {
        base.saturating_sub(part).saturating_sub(i64::from(finer))
    } else {
        base.saturating_add(part)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(milliseconds("12"), Some(12_000));
        assert_eq!(milliseconds("12.5"), Some(12_500));
        assert_eq!(milliseconds("12.0019"), Some(12_001));
        assert_eq!(milliseconds("-1.25"), Some(-1_250));
        assert_eq!(milliseconds("-0.001"), Some(-1));
        assert_eq!(milliseconds("-1.0001"), Some(-1_001));
        assert_eq!(milliseconds("1.x"), None);
        assert_eq!(milliseconds(""), None);
    }

    #[tokio::test]
    async fn attack_25_a_huge_extension_header_is_refused_unread() {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let mut reader = TarReader::new(&header.as_bytes()[..]);
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.code(), "bad_archive");
    }

    #[tokio::test]
    async fn something_else_is_no_archive() {
        let error = TarReader::new(&[b'x'; 2048][..]).next().await.unwrap_err();
        assert_eq!(error.code(), "bad_archive");
        let error = TarReader::new(&b""[..]).next().await.unwrap_err();
        assert_eq!(error.code(), "interrupted");
    }

    #[test]
    fn broken_pax_records_are_refused() {
        for records in
            [&b"5"[..], b"99 path=x\n", b"3 a\n", b"0 =\n", b"x path=a\n", b"11 size=abc\n", b"10 path=x "]
        {
            let mut extensions = Extensions::default();
            assert!(read_pax(records, &mut extensions).is_err(), "{records:?}");
        }
        let mut extensions = Extensions::default();
        read_pax(b"10 path=x\n23 size=99999999999999\n", &mut extensions).unwrap();
        assert_eq!(extensions.path.as_deref(), Some(&b"x"[..]));
        assert_eq!(extensions.size, Some(99_999_999_999_999));
    }
}
