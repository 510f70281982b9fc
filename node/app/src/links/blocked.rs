//! Links that the operator of this node's gateway does not serve: a list in a file of the data directory
//! (spec/links.md, "Blocking").
//!
//! Invariant: a file that cannot be read lifts no block: the last list that could be read holds. The list
//! names links by their public ids and never has a secret. Not here: what others serve, and what this node
//! opens for its own operator.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use commonhold_format::link::LinkId;

use crate::datadir::write_durably;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Largest file that is read: some 20,000 links with a remark each.
const FILE_LEN_MAX: u64 = 4 << 20;
/// What stands at the beginning of a new file.
const HEAD: &str = "# Links that this node's gateway does not serve: one id or address in a line, then what you like.\n\
                    # A change is in force within a second.\n";

/// The list as the gateway uses it.
pub struct Blocked {
    file: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    stamp: Option<(SystemTime, u64)>,
    links: BTreeSet<LinkId>,
    problem: Option<String>,
}

impl Blocked {
    /// The list in `file`, which need not be there.
    pub fn new(file: PathBuf) -> Self {
        Self { file, seen: Mutex::default() }
    }

    /// Whether a link is on the list as the file is now, or was a second ago.
    pub fn contains(&self, link: &LinkId) -> bool {
        self.look(|seen| seen.links.contains(link))
    }

    /// What is wrong with the file, for the operator.
    pub fn problem(&self) -> Option<String> {
        self.look(|seen| seen.problem.clone())
    }

    fn look<T>(&self, get: impl FnOnce(&Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
            seen.looked = Some(Instant::now());
            let stamp = match fs::metadata(&self.file) {
                Ok(metadata) => metadata.modified().ok().map(|modified| (modified, metadata.len())),
                Err(_) => None,
            };
            // Without a time, or after something went wrong, it is read again.
            if stamp.is_none() || stamp != seen.stamp || seen.problem.is_some() {
                match read(&self.file) {
                    Ok(text) => {
                        let (links, problem) = parse(&text);
                        (seen.links, seen.problem) =
                            (links.into_iter().map(|(link, _)| link).collect(), problem);
                    }
                    Err(error) => {
                        seen.problem = Some(format!("{error:#}; the links that were blocked stay blocked"));
                    }
                }
                seen.stamp = stamp;
            }
        }
        get(&seen)
    }
}

/// The file's text; nothing of a file that is not there.
fn read(file: &Path) -> Result<String> {
    let what = || format!("the list of blocked links, {}, cannot be read", file.display());
    let opened = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        opened => opened.with_context(what)?,
    };
    let mut text = String::new();
    let read = opened.take(FILE_LEN_MAX + 1).read_to_string(&mut text).with_context(what)?;
    if read as u64 > FILE_LEN_MAX {
        bail!("{}: it is larger than {FILE_LEN_MAX} bytes", what());
    }
    Ok(text)
}

/// The id in a link's address, or an id alone. What stands behind a # sign is not looked at.
fn named(text: &str) -> Option<LinkId> {
    let address = text.split('#').next()?.trim_end_matches('/');
    address.rsplit('/').next()?.parse().ok()
}

/// The links of a list with what is remarked about each, and what is wrong with it. The other lines count all
/// the same.
fn parse(text: &str) -> (Vec<(LinkId, String)>, Option<String>) {
    let (mut links, mut problem) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (link, remark) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match named(link) {
            Some(link) => links.push((link, remark.trim().to_owned())),
            None if problem.is_none() => {
                problem = Some(format!("line {} of the list of blocked links names no link", number + 1));
            }
            None => {}
        }
    }
    (links, problem)
}

/// The links on the list in `file`, in its order, with what is remarked about each.
///
/// # Errors
/// When it cannot be read.
pub fn list(file: &Path) -> Result<Vec<(LinkId, String)>> {
    Ok(parse(&read(file)?).0)
}

/// Puts a link, named by its address or id, on the list. False when it is there already.
///
/// # Errors
/// A sentence, when `link` names none or the file cannot be read or written.
pub fn block(file: &Path, link: &str, remark: &str) -> Result<(LinkId, bool)> {
    let id = link_of(link)?;
    let mut text = read(file)?;
    if parse(&text).0.iter().any(|(listed, _)| *listed == id) {
        return Ok((id, false));
    }
    if text.is_empty() {
        text.push_str(HEAD);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let remark = remark.replace(char::is_control, " ");
    text.push_str(format!("{id} {remark}").trim_end());
    text.push('\n');
    write_durably(file, text.as_bytes(), 0o600)?;
    Ok((id, true))
}

/// Takes a link off the list. False when it was not there.
///
/// # Errors
/// As [`block`].
pub fn unblock(file: &Path, link: &str) -> Result<(LinkId, bool)> {
    let id = link_of(link)?;
    let text = read(file)?;
    let names = |line: &str| {
        let line = line.trim();
        !line.starts_with('#') && line.split_whitespace().next().and_then(named) == Some(id)
    };
    let left: String = text.split_inclusive('\n').filter(|line| !names(line)).collect();
    if left.len() == text.len() {
        return Ok((id, false));
    }
    write_durably(file, left.as_bytes(), 0o600)?;
    Ok((id, true))
}

fn link_of(text: &str) -> Result<LinkId> {
    named(text.trim()).context("that is neither a link nor the id of one, which has 43 letters")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn link(seed: u8) -> LinkId {
        LinkId([seed; 32])
    }

    #[test]
    fn links_are_blocked_and_released_and_remarks_stay() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("blocked-links");
        let blocked = Blocked::new(file.clone());
        assert!(!blocked.contains(&link(1)));
        let address = format!("https://drive.example.org/s/{}#SECRET", link(1));
        assert_eq!(block(&file, &address, "court order\n4711").unwrap(), (link(1), true));
        assert_eq!(block(&file, &link(1).to_string(), "again").unwrap(), (link(1), false));
        assert_eq!(block(&file, &link(2).to_string(), "").unwrap(), (link(2), true));
        assert!(block(&file, "https://drive.example.org/", "").is_err());
        assert_eq!(
            list(&file).unwrap(),
            [(link(1), "court order 4711".to_owned()), (link(2), String::new())]
        );
        // The part that opens a link never reaches the disk.
        assert!(!fs::read_to_string(&file).unwrap().contains("SECRET"));
        let fresh = Blocked::new(file.clone());
        assert!(fresh.contains(&link(1)) && fresh.contains(&link(2)) && !fresh.contains(&link(3)));
        assert_eq!(unblock(&file, &address).unwrap(), (link(1), true));
        assert_eq!(unblock(&file, &address).unwrap(), (link(1), false));
        assert_eq!(list(&file).unwrap(), [(link(2), String::new())]);
        assert!(fs::read_to_string(&file).unwrap().starts_with("# Links"));
    }

    #[test]
    fn a_line_that_names_nothing_is_told_and_lifts_no_block() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("blocked-links");
        fs::write(&file, format!("# mine\n\n{}\tspam\nnonsense\n  {}\n", link(1), link(2))).unwrap();
        let blocked = Blocked::new(file.clone());
        assert!(blocked.contains(&link(1)) && blocked.contains(&link(2)));
        assert!(blocked.problem().is_some_and(|why| why.contains("line 4")));
        // What cannot be read any more stays blocked.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        std::thread::sleep(LOOK_EVERY * 2);
        assert!(blocked.contains(&link(1)));
        assert!(blocked.problem().is_some_and(|why| why.contains("stay blocked")));
    }
}
