//! A whole ledger in one tar file: what tlog-tiles serves, laid out as it serves it, with the evidence
//! of audits (spec/ledger.md, "Bundles").
//!
//! Invariant: unpacked, the tar is a folder of tiles that any reader of tlog-tiles can read, and the
//! same ledger gives the same bytes. Not here: whether anything in it is right ([`crate::verify`]).

use std::io::Write;
use std::path::Path;

use commonhold_format::evidence::EVIDENCE_LEN_MAX;
use commonhold_format::log::TileId;
use commonhold_format::statement::{Checkpoint, Statement};
use data_encoding::HEXLOWER;

use crate::Ledger;
use crate::source::{Folder, Source};

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

/// Writes the ledger under its published head. `evidence` is the folder with the evidence of audits.
///
/// # Errors
/// A sentence.
pub fn write(ledger: &Ledger, evidence: &Path, out: impl Write) -> Result<Bundled, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let checkpoint = ledger.publish().map_err(|error| text(&error))?;
    let head = Checkpoint::from_text(checkpoint.text()).map_err(|error| text(&error))?;
    let mut tar = tar::Builder::new(out);
    let mut bundled = Bundled { entries: head.size, ..Bundled::default() };
    add(&mut tar, "checkpoint", &checkpoint.to_bytes())?;
    for tile in TileId::all(head.size) {
        let bytes = ledger.tile(&tile).map_err(|error| text(&error))?;
        let bytes = bytes.ok_or_else(|| format!("the ledger does not have {tile}"))?;
        add(&mut tar, &tile.to_string(), &bytes)?;
    }
    let mut kept = Folder(evidence.to_owned());
    let mut seen = std::collections::HashSet::new();
    let mut from = 0;
    while from < head.size {
        let page = ledger.read(from, crate::ENTRIES_PAGE_MAX).map_err(|error| text(&error))?;
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (_, note) in page.iter().filter(|(index, _)| *index < head.size) {
            let Ok(Statement::AuditRecord(record)) = Statement::of(note) else { continue };
            if record.evidence == [0; 32] || !seen.insert(record.evidence) {
                continue;
            }
            let name = format!("{}.cbor", HEXLOWER.encode(&record.evidence));
            match kept.get(&name, EVIDENCE_LEN_MAX)? {
                Some(bytes) => {
                    add(&mut tar, &format!("evidence/{name}"), &bytes)?;
                    bundled.evidence += 1;
                }
                None => bundled.evidence_missing += 1,
            }
        }
    }
    let mut out = tar.into_inner().map_err(|error| text(&error))?;
    out.flush().map_err(|error| text(&error))?;
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
