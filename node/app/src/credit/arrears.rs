//! How long contracts have been stopped, after which they are given up (spec/credit.md, "When an owner
//! is stopped").
//!
//! Invariant: only time that passed while this node ran counts, by a clock that does not jump, because
//! data is deleted by it. Not here: which contracts are stopped, and giving them up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use commonhold_format::ids::ContractId;

use crate::datadir::write_durably;

/// How often the times are written down when no contract comes or goes.
const WRITE_EVERY: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Arrears {
    file: PathBuf,
    times: BTreeMap<ContractId, Times>,
    /// The last look.
    looked: Option<Instant>,
    written: Option<Instant>,
}

/// An epoch gives whoever is over the limit a new part of the gifts, so a contract that is served again
/// for less than an epoch goes on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Times {
    /// How long it has been stopped.
    stopped: Duration,
    /// How long it has been served again since.
    served: Duration,
}

impl Arrears {
    /// As they were written down last.
    pub(super) fn open(file: PathBuf) -> Self {
        Self { times: read(&file), file, looked: None, written: None }
    }

    /// Counts the time up to `at` for contracts that are stopped, and forgets those that were served for
    /// an epoch; answers which have been stopped for longer than `term`. Blocks on the disk.
    ///
    /// # Errors
    /// A sentence, when it could not be written down.
    pub(super) fn look(
        &mut self,
        stopped: &BTreeSet<ContractId>,
        epoch: Duration,
        term: Duration,
        at: Instant,
    ) -> Result<Vec<ContractId>, String> {
        let since = |then: Instant| at.saturating_duration_since(then);
        let passed = self.looked.replace(at).map_or(Duration::ZERO, since);
        let before: Vec<ContractId> = self.times.keys().copied().collect();
        for (id, times) in &mut self.times {
            if stopped.contains(id) {
                *times = Times { stopped: times.stopped + passed, served: Duration::ZERO };
            } else {
                times.served += passed;
            }
        }
        self.times.retain(|_, times| times.served <= epoch);
        for id in stopped {
            self.times.entry(*id).or_default();
        }
        let is_old = self.written.is_none_or(|written| since(written) >= WRITE_EVERY);
        if !before.iter().eq(self.times.keys()) || (is_old && !self.times.is_empty()) {
            write_durably(&self.file, self.text().as_bytes(), 0o644).map_err(|error| error.to_string())?;
            self.written = Some(at);
        }
        let due = self.times.iter().filter(|(id, times)| stopped.contains(id) && times.stopped > term);
        Ok(due.map(|(id, _)| *id).collect())
    }

    fn text(&self) -> String {
        let line = |(id, times): (&ContractId, &Times)| {
            format!("{id} stopped {} served {}\n", times.stopped.as_secs(), times.served.as_secs())
        };
        self.times.iter().map(line).collect()
    }
}

/// Lines that are none are passed over: the time then counts anew, which is to the owner's advantage.
fn read(file: &Path) -> BTreeMap<ContractId, Times> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let (id, times) = line.split_once(" stopped ")?;
        let (stopped, served) = times.split_once(" served ")?;
        let seconds = |text: &str| Some(Duration::from_secs(text.parse().ok()?));
        Some((id.parse().ok()?, Times { stopped: seconds(stopped)?, served: seconds(served)? }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn attack_43_a_contract_is_given_up_by_time_that_passed_and_not_by_clocks() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("stopped-since");
        let contract = ContractId([1; 32]);
        let (stopped, nobody) = (BTreeSet::from([contract]), BTreeSet::new());
        let begun = Instant::now();
        let look = |arrears: &mut Arrears, stopped: &BTreeSet<ContractId>, day: u64| {
            let days = |count: u64| Duration::from_secs(count * DAY);
            !arrears.look(stopped, days(7), days(90), begun + days(day)).unwrap().is_empty()
        };
        let mut arrears = Arrears::open(file.clone());
        assert!(!look(&mut arrears, &stopped, 0));
        assert!(!look(&mut arrears, &stopped, 50));
        // It goes on after a restart; the time in between does not count.
        let mut arrears = Arrears::open(file.clone());
        assert!(!look(&mut arrears, &stopped, 500));
        assert!(!look(&mut arrears, &stopped, 540));
        assert!(look(&mut arrears, &stopped, 541));
        // Whoever is served again is not given up; being served for less than an epoch is no new
        // beginning.
        assert!(!look(&mut arrears, &nobody, 547));
        assert!(look(&mut arrears, &stopped, 548));
        assert!(!look(&mut arrears, &nobody, 556));
        assert!(!look(&mut arrears, &stopped, 557));
        assert!(!look(&mut arrears, &stopped, 647));
        assert!(look(&mut arrears, &stopped, 648));
        // Times by the clock, as they were written down before, give nobody up.
        std::fs::write(&file, format!("{contract} 1700000000\n")).unwrap();
        assert!(!look(&mut Arrears::open(file), &stopped, 700));
    }
}
