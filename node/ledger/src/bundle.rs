//! A whole ledger in one tar file: what tlog-tiles serves, laid out as it serves it, with the evidence
//! of audits (spec/ledger.md, "Bundles").
//!
//! Invariant: unpacked, the tar is a folder of tiles that any reader of tlog-tiles can read, and the
//! same ledger gives the same bytes. Not here: whether anything in it is right ([`crate::verify`]).

use std::collections::HashSet;
use std::io::Write;

use commonhold_format::evidence::EVIDENCE_LEN_MAX;
use commonhold_format::log::TileId;
use commonhold_format::statement::Statement;
use data_encoding::HEXLOWER;

use crate::source::Source;
use crate::verify::Log;

/// What went into a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bundled {
    /// Entries of the ledger.
    pub entries: u64,
    /// Audits whose evidence is in it.
    pub evidence: u64,
    /// Audits whose evidence is kept no more.
    pub evidence_missing: u64,
}

/// Writes a ledger that was loaded from `source`, with what evidence of audits that has.
///
/// # Errors
/// A sentence.
pub fn write(log: &Log, source: &mut dyn Source, out: impl Write) -> Result<Bundled, String> {
    let mut tar = tar::Builder::new(out);
    let mut bundled = Bundled { entries: log.head.size, ..Bundled::default() };
    add(&mut tar, "checkpoint", &log.checkpoint.to_bytes())?;
    for tile in TileId::all(log.head.size) {
        let bytes = log.tile(&tile).ok_or_else(|| format!("the ledger does not have {tile}"))?;
        add(&mut tar, &tile.to_string(), &bytes)?;
    }
    let mut seen = HashSet::new();
    for (_, note) in log.notes() {
        let Ok(Statement::AuditRecord(record)) = Statement::of(note) else { continue };
        if record.evidence == [0; 32] || !seen.insert(record.evidence) {
            continue;
        }
        let name = format!("evidence/{}.cbor", HEXLOWER.encode(&record.evidence));
        match source.get(&name, EVIDENCE_LEN_MAX)? {
            Some(bytes) => {
                add(&mut tar, &name, &bytes)?;
                bundled.evidence += 1;
            }
            None => bundled.evidence_missing += 1,
        }
    }
    let mut out = tar.into_inner().map_err(|error| error.to_string())?;
    out.flush().map_err(|error| error.to_string())?;
    Ok(bundled)
}

/// Adds a file to a tar, with nothing in its header that differs from one machine to another.
pub(crate) fn add(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), String> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, bytes).map_err(|error| format!("cannot write {name}: {error}"))
}
