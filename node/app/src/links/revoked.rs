//! Links that this owner took back while the drive could not be changed, for want of providers. They are
//! revoked at once, and the drive is told as soon as that is possible.
//!
//! Invariant: an id stands in the file before the link is said to be taken back, and until the drive says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use commonhold_format::link::LinkId;

use crate::datadir::write_durably;

/// See the module.
pub struct Revoked {
    file: PathBuf,
    links: Mutex<BTreeSet<LinkId>>,
}

impl Revoked {
    /// Those that `file` names; none when it is not there. Blocking.
    ///
    /// # Errors
    /// When it cannot be read or has something else in it: links that were taken back must not open again.
    pub fn open(file: PathBuf) -> Result<Self> {
        let what = || format!("the list of links that were taken back, {}", file.display());
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("{} cannot be read", what()))?,
        };
        let links: Result<BTreeSet<LinkId>, _> = text.lines().map(str::parse).collect();
        let links = links.with_context(|| format!("{} names something else", what()))?;
        Ok(Self { file, links: Mutex::new(links) })
    }

    /// Whether a link is one of them.
    pub fn contains(&self, link: &LinkId) -> bool {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).contains(link)
    }

    /// Notes that a link was taken back. Blocking.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn add(&self, link: LinkId) -> Result<()> {
        self.change(|links| links.insert(link))
    }

    /// The drive says so now. Blocking.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn settle(&self, link: &LinkId) -> Result<()> {
        self.change(|links| links.remove(link))
    }

    fn change(&self, make: impl FnOnce(&mut BTreeSet<LinkId>) -> bool) -> Result<()> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = links.clone();
        if make(&mut changed) {
            let text: String = changed.iter().map(|link| format!("{link}\n")).collect();
            write_durably(&self.file, text.as_bytes(), 0o600)?;
            *links = changed;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_taken_back_stays_so_until_it_is_settled() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("revoked-links");
        let (one, two) = (LinkId([1; 32]), LinkId([2; 32]));
        let revoked = Revoked::open(file.clone()).unwrap();
        revoked.add(one).unwrap();
        revoked.add(two).unwrap();
        revoked.settle(&two).unwrap();
        let again = Revoked::open(file.clone()).unwrap();
        assert!(again.contains(&one) && !again.contains(&two));
        fs::write(&file, "nonsense\n").unwrap();
        assert!(Revoked::open(file).is_err());
    }
}
