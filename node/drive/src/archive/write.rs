//! Writes the headers of a tar stream: POSIX ustar with PAX records where ustar is too small.
//!
//! Invariant: what [`super::TarReader`] reads back has the same path, length, time to the
//! millisecond and executable bit.

use tar::{EntryType, Header};

use super::BLOCK_LEN;

/// Longest path that stands in the header itself.
const SHORT_PATH_LEN: usize = 100;
/// Largest length of twelve octal digits less one, as ustar has it.
const OCTAL_LEN_MAX: u64 = (1 << 33) - 1;

/// What a header says of an entry.
pub(crate) enum HeaderKind {
    /// A file of `len` bytes.
    File { len: u64, executable: bool },
    /// A folder.
    Folder,
}

/// The blocks before an entry's data. `path` is relative, without a trailing slash.
pub(crate) fn entry_header(path: &str, modified_ms: i64, kind: &HeaderKind) -> Vec<u8> {
    let (path, entry_type, len, mode) = match kind {
        HeaderKind::File { len, executable } => {
            (path.to_owned(), EntryType::Regular, *len, if *executable { 0o755 } else { 0o644 })
        }
        HeaderKind::Folder => (format!("{path}/"), EntryType::Directory, 0, 0o755),
    };
    let mut records = Vec::new();
    if path.len() > SHORT_PATH_LEN {
        pax_record(&mut records, "path", &path);
    }
    if len > OCTAL_LEN_MAX {
        pax_record(&mut records, "size", &len.to_string());
    }
    if modified_ms < 0 || modified_ms % 1000 != 0 {
        let sign = if modified_ms < 0 { "-" } else { "" };
        let (seconds, part) = (modified_ms.unsigned_abs() / 1000, modified_ms.unsigned_abs() % 1000);
        pax_record(&mut records, "mtime", &format!("{sign}{seconds}.{part:03}"));
    }
    let mut out = Vec::with_capacity(BLOCK_LEN);
    let seconds = u64::try_from(modified_ms.div_euclid(1000)).unwrap_or(0);
    if !records.is_empty() {
        let header = ustar("PaxHeaders/entry", EntryType::XHeader, records.len() as u64, 0o644, seconds);
        out.extend_from_slice(header.as_bytes());
        let fill = padding(records.len() as u64);
        out.extend_from_slice(&records);
        out.extend_from_slice(&fill);
    }
    out.extend_from_slice(ustar(&path, entry_type, len, mode, seconds).as_bytes());
    out
}

/// The zeros that fill the last block of `len` bytes of data.
pub(crate) fn padding(len: u64) -> Vec<u8> {
    let over = (len % BLOCK_LEN as u64) as usize;
    vec![0; (BLOCK_LEN - over) % BLOCK_LEN]
}

/// The two zero blocks that close an archive.
pub(crate) fn end_of_archive() -> Vec<u8> {
    vec![0; 2 * BLOCK_LEN]
}

fn ustar(path: &str, kind: EntryType, len: u64, mode: u32, seconds: u64) -> Header {
    let mut header = Header::new_ustar();
    let mut cut = path.len().min(SHORT_PATH_LEN);
    while !path.is_char_boundary(cut) {
        cut -= 1;
    }
    header.as_old_mut().name[..cut].copy_from_slice(&path.as_bytes()[..cut]);
    header.set_entry_type(kind);
    header.set_size(len);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
    header.set_cksum();
    header
}

fn pax_record(records: &mut Vec<u8>, key: &str, value: &str) {
    // The length counts its own digits: at most one more digit than the rest alone would need.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    if len.to_string().len() > rest.to_string().len() {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::{TarItem, TarReader};
    use commonhold_format::drive::Name;
    use proptest::prelude::*;

    fn read_back(blocks: &[u8]) -> TarItem {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(TarReader::new(blocks).next()).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn headers_come_back(
            parts in proptest::collection::vec("[a-zü ]{1,80}", 1..8),
            modified_ms in -4_000_000_000_000i64..400_000_000_000_000,
            len in prop_oneof![0..1u64 << 20, 0..1u64 << 47],
            executable: bool,
        ) {
            let names: Vec<Name> = parts.iter().map(|part| Name::new(part).unwrap()).collect();
            let path = parts.join("/");
            let item = read_back(&entry_header(&path, modified_ms, &HeaderKind::File { len, executable }));
            prop_assert_eq!(item, TarItem::File { path: names.clone(), modified_ms, len, executable });
            let item = read_back(&entry_header(&path, modified_ms, &HeaderKind::Folder));
            prop_assert_eq!(item, TarItem::Folder { path: names, modified_ms });
        }
    }

    #[test]
    fn pax_lengths_count_themselves() {
        for value_len in [1, 90, 91, 92, 93, 94, 95, 988, 989, 990, 991, 992, 993, 994, 995] {
            let mut records = Vec::new();
            pax_record(&mut records, "k", &"v".repeat(value_len));
            let text = String::from_utf8(records.clone()).unwrap();
            let (len, _) = text.split_once(' ').unwrap();
            assert_eq!(len.parse::<usize>().unwrap(), records.len());
        }
    }
}
