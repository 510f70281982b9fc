//! Evidence as a file: a tar of notes that a person can read.
//!
//! Invariant: what is written is read back as the same; what is read has been bounded and is not
//! believed before it is checked.

use std::io::Write;

use commonhold_format::log::CONSISTENCY_LEN_MAX;
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::tree::Hash;
use data_encoding::BASE64;

use super::{ENTRIES_LEN_MAX, Evidence, Stated};
use crate::book::Role;
use crate::bundle::add;
use crate::source::{Source, Tar};

/// The first line of evidence.txt.
const MAGIC: &str = "commonhold/evidence/v1";
/// The file that says which kind it is.
pub(crate) const ABOUT: &str = "evidence.txt";

impl Evidence {
    /// Writes it as a tar of notes that a person can read.
    ///
    /// # Errors
    /// A sentence.
    pub fn write(&self, out: impl Write) -> Result<(), String> {
        let mut about = format!("{MAGIC}\n{}\n", self.kind());
        let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
        match self {
            Self::Fork { stated, head, root, proof } => {
                match stated {
                    Stated::Head(note) => files.push(("stated.note", note.to_bytes())),
                    Stated::Receipt { contract, receipt } => {
                        files.push(("contract.note", contract.to_bytes()));
                        files.push(("receipt.note", receipt.to_bytes()));
                    }
                }
                files.push(("head.note", head.to_bytes()));
                std::iter::once(root).chain(proof).for_each(|hash| line(&mut about, hash));
            }
            Self::Conflict { contract, first, second } => {
                files.push(("contract.note", contract.to_bytes()));
                files.push(("first.note", first.to_bytes()));
                files.push(("second.note", second.to_bytes()));
            }
            Self::Missing { contract, role, earlier, later, frontier, entries } => {
                files.push(("contract.note", contract.to_bytes()));
                files.push(("earlier.note", earlier.to_bytes()));
                files.push(("later.note", later.to_bytes()));
                files.push(("entries", entries.clone()));
                about.push_str(word(*role));
                about.push('\n');
                frontier.iter().for_each(|hash| line(&mut about, hash));
            }
        }
        let mut tar = tar::Builder::new(out);
        add(&mut tar, ABOUT, about.as_bytes())?;
        for (name, bytes) in files {
            add(&mut tar, name, &bytes)?;
        }
        let mut out = tar.into_inner().map_err(|error| error.to_string())?;
        out.flush().map_err(|error| error.to_string())
    }

    /// Whether a tar says that it is a piece of evidence.
    pub fn is_one(tar: &Tar) -> bool {
        tar.has(ABOUT)
    }

    /// Reads what [`Evidence::write`] wrote; nothing in it is believed before [`Evidence::check`].
    ///
    /// # Errors
    /// A sentence.
    pub fn read(tar: &mut Tar) -> Result<Self, String> {
        let about = tar.get(ABOUT, 16 * 1024)?.ok_or("there is no evidence.txt in it")?;
        let about = String::from_utf8(about).map_err(|_| "evidence.txt is not text".to_owned())?;
        let mut lines = about.lines();
        if lines.next() != Some(MAGIC) {
            return Err("evidence.txt is not of this version".to_owned());
        }
        let kind = lines.next().unwrap_or_default();
        let evidence = match kind {
            "fork" => {
                let stated = if tar.has("stated.note") {
                    Stated::Head(note(tar, "stated.note")?)
                } else {
                    let (contract, receipt) = (note(tar, "contract.note")?, note(tar, "receipt.note")?);
                    Stated::Receipt { contract, receipt }
                };
                let mut hashes = hashes(&mut lines)?.into_iter();
                let root = hashes.next().ok_or("evidence.txt has no root")?;
                Self::Fork { stated, head: note(tar, "head.note")?, root, proof: hashes.collect() }
            }
            "conflict" => {
                let contract = note(tar, "contract.note")?;
                let (first, second) = (note(tar, "first.note")?, note(tar, "second.note")?);
                Self::Conflict { contract, first, second }
            }
            "missing" => {
                let role = lines.next().unwrap_or_default();
                let role = [Role::Owner, Role::Provider].into_iter().find(|it| word(*it) == role);
                Self::Missing {
                    role: role.ok_or("evidence.txt does not say whose ledger it is")?,
                    contract: note(tar, "contract.note")?,
                    earlier: note(tar, "earlier.note")?,
                    later: note(tar, "later.note")?,
                    frontier: hashes(&mut lines)?,
                    entries: tar.get("entries", ENTRIES_LEN_MAX)?.ok_or("there are no entries in it")?,
                }
            }
            _ => return Err("evidence.txt names no kind of evidence that is known".to_owned()),
        };
        if lines.next().is_some() {
            return Err("evidence.txt has lines that do not belong there".to_owned());
        }
        Ok(evidence)
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Provider => "provider",
    }
}

fn line(about: &mut String, hash: &Hash) {
    about.push_str(&BASE64.encode(hash));
    about.push('\n');
}

/// The rest of the lines, as hashes.
fn hashes(lines: &mut std::str::Lines<'_>) -> Result<Vec<Hash>, String> {
    let hash = |line: &str| -> Result<Hash, String> {
        let bytes = BASE64.decode(line.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| "evidence.txt has a line that is not a hash".to_owned())
    };
    lines.take(CONSISTENCY_LEN_MAX + 1).map(hash).collect()
}

fn note(tar: &mut Tar, name: &str) -> Result<SignedNote, String> {
    let bytes = tar.get(name, NOTE_LEN_MAX)?.ok_or_else(|| format!("there is no {name} in it"))?;
    SignedNote::parse(&bytes).map_err(|error| format!("{name}: {error}"))
}
