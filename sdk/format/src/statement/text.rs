//! Lines of a statement: written and read in a fixed order.
//!
//! Invariant: a value is read only from the one form in which it is written, so a text that was
//! read to its end is the text that its statement writes. Not here: what the values may be.

use std::fmt::{Display, Write as _};
use std::str::FromStr;

use data_encoding::HEXLOWER;

use super::StatementError;

/// Writes a statement: its kind, then one line for each field.
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn of(kind: &str) -> Self {
        Self(format!("{kind}\n"))
    }

    pub(super) fn field(mut self, name: &str, value: impl Display) -> Self {
        writeln!(self.0, "{name}: {value}").expect("writing into a string cannot fail");
        self
    }

    pub(super) fn bytes(self, name: &str, value: &[u8]) -> Self {
        self.field(name, HEXLOWER.encode(value))
    }
}

/// Reads the fields back, each exactly where it was written.
pub(super) struct Fields<'a> {
    lines: std::str::Split<'a, char>,
    /// Number of the line that was read last, from 1.
    line: usize,
    /// Name of each field that was read; the first is on line 2.
    names: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The kind of a statement and what follows it.
    pub(super) fn of(text: &'a str) -> (&'a str, Self) {
        let mut lines = text.split('\n');
        let kind = lines.next().unwrap_or_default();
        (kind, Self { lines, line: 1, names: Vec::new() })
    }

    fn refuse<T>(&self, why: String) -> Result<T, StatementError> {
        Err(StatementError { line: self.line, why })
    }

    fn text(&mut self, name: &'static str) -> Result<&'a str, StatementError> {
        self.line += 1;
        self.names.push(name);
        let line = self.lines.next().and_then(|line| line.strip_prefix(name));
        match line.and_then(|rest| rest.strip_prefix(": ")) {
            Some(value) => Ok(value),
            None => self.refuse(format!("expected \"{name}: …\"")),
        }
    }

    /// A number, an identifier or a word.
    pub(super) fn value<T: FromStr + Display>(&mut self, name: &'static str) -> Result<T, StatementError> {
        let text = self.text(name)?;
        // Integers parse from more than their one form (a plus, leading zeros).
        match text.parse::<T>() {
            Ok(value) if value.to_string() == text => Ok(value),
            _ => self.refuse(format!("the value of {name} is not valid, or not in its one form")),
        }
    }

    /// Bytes in lower-case hexadecimal.
    pub(super) fn bytes<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], StatementError> {
        let bytes = HEXLOWER.decode(self.text(name)?.as_bytes()).ok();
        match bytes.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Ok(bytes),
            None => {
                self.refuse(format!("the value of {name} is not {} lower-case hexadecimal digits", 2 * N))
            }
        }
    }

    /// A number from `least` to `most`.
    pub(super) fn within(
        &mut self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<u64, StatementError> {
        let value = self.value(name)?;
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            self.refuse(format!("{name} must be from {least} to {most}"))
        }
    }

    /// Refuses the field `name`, which was read before, unless `holds`.
    pub(super) fn check(&self, name: &str, holds: bool, why: &str) -> Result<(), StatementError> {
        if holds {
            return Ok(());
        }
        let line = self.names.iter().position(|read| *read == name).map_or(self.line, |index| index + 2);
        Err(StatementError { line, why: why.to_owned() })
    }

    /// Refuses anything after the last field.
    pub(super) fn end(mut self) -> Result<(), StatementError> {
        self.line += 1;
        if self.lines.next() != Some("") {
            return self.refuse("the statement must end here, with a newline".to_owned());
        }
        match self.lines.next() {
            None => Ok(()),
            Some(_) => self.refuse("surplus lines".to_owned()),
        }
    }
}
