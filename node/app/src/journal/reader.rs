//! Reads a journal, whether its node runs or not.
//!
//! Invariant: whatever bytes are there, reading ends and fails for no line: one that is none is counted
//! and passed over, one that a crash or a running node cut off too. No line beyond its longest length is
//! held.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::files;
use super::line::{LINE_LEN_MAX, Line, What};

/// What a journal has.
#[derive(Debug, Default)]
pub struct History {
    /// In the order in which they were written.
    pub lines: Vec<Line>,
    /// Lines that are none.
    pub damaged: u64,
    /// Files whose last line was cut off.
    pub torn: u64,
    /// Lines that the node left out, as it says itself.
    pub omitted: u64,
}

/// Reads all files of a folder; one without files, or none, has no history.
///
/// # Errors
/// The operating system's reason.
pub fn read(dir: &Path) -> io::Result<History> {
    let mut history = History::default();
    let names = match files::list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(history),
        names => names?,
    };
    for (name, _) in names {
        match File::open(files::path(dir, &name)) {
            Ok(file) => history.take(&mut BufReader::new(file))?,
            // A running node removes its oldest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(history)
}

impl History {
    /// Adds the lines of one file.
    ///
    /// # Errors
    /// The operating system's reason.
    pub fn take(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut rest = io::Read::take(&mut *file, LINE_LEN_MAX as u64);
            rest.read_until(b'\n', &mut line)?;
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line),
                None if line.len() >= LINE_LEN_MAX => {
                    self.damaged += 1;
                    if !pass_over(file)? {
                        return Ok(());
                    }
                }
                None => {
                    self.torn += u64::from(!line.is_empty());
                    return Ok(());
                }
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        match serde_json::from_slice::<Line>(bytes) {
            Ok(line) => {
                if let What::Omitted { queue, rate } = &line.what {
                    let all = rate.values().fold(*queue, |sum, count| sum.saturating_add(*count));
                    self.omitted = self.omitted.saturating_add(all);
                }
                self.lines.push(line);
            }
            Err(_) => self.damaged += 1,
        }
    }
}

/// Reads on behind the next line break; whether there is one.
fn pass_over(file: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                file.consume(at + 1);
                return Ok(true);
            }
            None => {
                let len = bytes.len();
                file.consume(len);
            }
        }
    }
}
