//! What a component sees of the node during one call: the imports of spec/wit.
//!
//! Invariant: nothing here blocks, reads a clock or touches anything but memory, so that fuel and epochs
//! bound a call. What a call sets in the state stands beside it until the call is over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::fault::line;
use crate::limits::Meter;
use crate::state::State;
use crate::wit;

/// Most lines of one call that are kept.
pub const LOG_LINES_MAX: usize = 16;
/// Longest line that is kept, bytes; the rest of a longer one is cut.
pub const LOG_LINE_LEN_MAX: usize = 256;

/// How much a line of a plugin matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Code 0.
    Debug,
    /// Code 1.
    Info,
    /// Code 2.
    Warning,
    /// Code 3, and every other.
    Error,
}

impl Level {
    fn of(code: u32) -> Self {
        match code {
            0 => Self::Debug,
            1 => Self::Info,
            2 => Self::Warning,
            _ => Self::Error,
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line that a plugin wrote, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// At most [`LOG_LINE_LEN_MAX`] bytes.
    pub text: String,
}

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) meter: Meter,
    pub(crate) config: Arc<BTreeMap<String, String>>,
    pub(crate) log: Vec<LogLine>,
    /// The state as it was when the call began.
    pub(crate) before: Arc<State>,
    /// The state as the call left it; `None` when it set nothing.
    pub(crate) after: Option<State>,
    /// What it set, to be merged into what others set meanwhile.
    pub(crate) changes: BTreeMap<String, Vec<u8>>,
    /// Its last line of level error, also when more lines than are kept were written.
    pub(crate) said: Option<String>,
}

impl wit::types::Host for Guest {}

impl wit::config::Host for Guest {
    fn get(&mut self, name: String) -> Option<String> {
        self.config.get(&name).cloned()
    }
}

impl wit::log::Host for Guest {
    fn write(&mut self, level: u32, message: String) {
        let level = Level::of(level);
        if level < Level::Error && self.log.len() >= LOG_LINES_MAX {
            return;
        }
        let text = line(&message, LOG_LINE_LEN_MAX);
        if level == Level::Error {
            self.said = Some(text.clone());
        }
        if self.log.len() < LOG_LINES_MAX {
            self.log.push(LogLine { level, text });
        }
    }
}

impl wit::state::Host for Guest {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.after.as_ref().unwrap_or(&self.before).get(&key).map(<[u8]>::to_vec)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> bool {
        let after = self.after.get_or_insert_with(|| State::clone(&self.before));
        let kept = after.set(&key, &value);
        if kept {
            self.changes.insert(key, value);
        }
        kept
    }
}
