//! What chunks took of the line today and this month, on the operator's calendar.
//!
//! Invariant: a count is of the day and month that stand beside it. Kept in `traffic.toml` of the data
//! directory, replaced whole and at most once a minute: a crash loses a minute. A file that cannot be
//! read is begun anew.

use std::path::Path;

use commonhold_format::policy::Traffic;
use serde::{Deserialize, Serialize};

/// A longer file is none of ours.
const FILE_LEN_MAX: u64 = 4096;

/// Counts with their day, like `2026-11-24`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    day: String,
    sent_today: u64,
    received_today: u64,
    sent_this_month: u64,
    received_this_month: u64,
}

impl Counted {
    /// What a file says; nothing for one that is missing or cannot be read.
    pub fn read(file: &Path) -> Self {
        let len = match std::fs::metadata(file) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::default(),
            Err(error) => return Self::unreadable(file, &error.to_string()),
        };
        if len > FILE_LEN_MAX {
            return Self::unreadable(file, "it is too long");
        }
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return Self::unreadable(file, &error.to_string()),
        };
        toml::from_str(&text).unwrap_or_else(|error| Self::unreadable(file, &error.to_string()))
    }

    fn unreadable(file: &Path, why: &str) -> Self {
        tracing::warn!(file = %file.display(), why, "the counts of traffic cannot be read; they begin at 0");
        Self::default()
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        let lines = [
            ("sent_today", self.sent_today),
            ("received_today", self.received_today),
            ("sent_this_month", self.sent_this_month),
            ("received_this_month", self.received_this_month),
        ];
        let mut text = format!("day = {:?}\n", self.day);
        for (name, count) in lines {
            text.push_str(&format!("{name} = {}\n", count.min(i64::MAX as u64)));
        }
        text
    }

    /// Begins anew what is not of this day or month.
    pub fn turn(&mut self, day: &str) {
        if self.day == day {
            return;
        }
        (self.sent_today, self.received_today) = (0, 0);
        // `YYYY-MM` is all but the last three characters.
        let month = |day: &str| day.len().checked_sub(3).and_then(|len| day.get(..len).map(str::to_owned));
        if month(&self.day) != month(day) {
            (self.sent_this_month, self.received_this_month) = (0, 0);
        }
        day.clone_into(&mut self.day);
    }

    /// Counts what went on `day`.
    pub fn add(&mut self, day: &str, sent: u64, received: u64) {
        self.turn(day);
        let counts = [
            (&mut self.sent_today, sent),
            (&mut self.sent_this_month, sent),
            (&mut self.received_today, received),
            (&mut self.received_this_month, received),
        ];
        for (count, bytes) in counts {
            *count = count.saturating_add(bytes);
        }
    }

    /// As policies are told, after [`turn`](Self::turn).
    pub fn traffic(&self) -> Traffic {
        Traffic {
            sent_today: self.sent_today,
            received_today: self.received_today,
            sent_this_month: self.sent_this_month,
            received_this_month: self.received_this_month,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_and_a_month_are_counted_for_themselves_and_survive_as_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("traffic.toml");
        let mut counted = Counted::read(&file);
        counted.add("2026-11-23", 10, 1);
        counted.add("2026-11-24", 20, 2);
        let numbers = |counted: &Counted| {
            let it = counted.traffic();
            (it.sent_today, it.received_today, it.sent_this_month, it.received_this_month)
        };
        assert_eq!(numbers(&counted), (20, 2, 30, 3));
        std::fs::write(&file, counted.to_text()).unwrap();
        assert_eq!(Counted::read(&file), counted);
        counted.turn("2026-12-01");
        assert_eq!(numbers(&counted), (0, 0, 0, 0));
        counted.add("2026-12-01", u64::MAX, 7);
        counted.add("2026-12-01", u64::MAX, 0);
        assert_eq!(numbers(&counted), (u64::MAX, 7, u64::MAX, 7));
        std::fs::write(&file, counted.to_text()).unwrap();
        assert_eq!(Counted::read(&file).received_today, 7);
        // The same month of another year.
        counted.turn("2027-12-01");
        assert_eq!(numbers(&counted), (0, 0, 0, 0));
    }

    #[test]
    fn a_file_that_is_none_begins_anew() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("traffic.toml");
        let long = "#".repeat(5000);
        for text in ["", "day = 1", "day = \"x\"\nsent_today = -1", "\u{0}", "unknown = 1", &long] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(Counted::read(&file), Counted::default(), "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(Counted::read(&file), Counted::default());
        let mut odd = Counted { day: "ü".to_owned(), sent_this_month: 5, ..Counted::default() };
        odd.turn("2026-11-24");
        assert_eq!(odd.traffic(), Traffic::default());
    }
}
