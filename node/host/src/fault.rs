//! Why a call of a plugin gave no answer that is used.

use std::fmt;
use std::time::Duration;

use commonhold_format::policy::BadAnswer;
use wasmtime::{Trap, WasmBacktrace};

use crate::limits::{HOSTCALL_BYTES_MAX, Limits};

/// Longest text of a guest that a fault repeats, bytes.
const TEXT_LEN_MAX: usize = 400;

/// See the module. Each shows as one sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It executed as much as a call may.
    Fuel(u64),
    /// It took longer than a call may.
    Wall(Duration),
    /// It wanted more memory than a call may have, bytes.
    Memory(usize),
    /// It called itself too deep.
    Stack,
    /// It did what WebAssembly forbids.
    Trap(String),
    /// It gave up, and said why.
    Panic(String),
    /// Its answer does not pass the checks of its page in spec/.
    Answer(BadAnswer),
    /// It handed something to an import that this does not take.
    Import(String),
    /// All places for calls were taken. Not the plugin's doing, so the breaker does not count it.
    Busy,
    /// Anything else.
    Other(String),
}

/// The same without what was found, to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// [`Fault::Fuel`].
    Fuel,
    /// [`Fault::Wall`].
    Wall,
    /// [`Fault::Memory`].
    Memory,
    /// [`Fault::Stack`].
    Stack,
    /// [`Fault::Trap`].
    Trap,
    /// [`Fault::Panic`].
    Panic,
    /// [`Fault::Answer`].
    Answer,
    /// [`Fault::Import`].
    Import,
    /// [`Fault::Busy`].
    Busy,
    /// [`Fault::Other`].
    Other,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Fuel,
        Self::Wall,
        Self::Memory,
        Self::Stack,
        Self::Trap,
        Self::Panic,
        Self::Answer,
        Self::Import,
        Self::Busy,
        Self::Other,
    ];

    /// Its word, for metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Wall => "wall",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::Panic => "panic",
            Self::Answer => "answer",
            Self::Import => "import",
            Self::Busy => "busy",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// Which it is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Fuel(_) => FaultKind::Fuel,
            Self::Wall(_) => FaultKind::Wall,
            Self::Memory(_) => FaultKind::Memory,
            Self::Stack => FaultKind::Stack,
            Self::Trap(_) => FaultKind::Trap,
            Self::Panic(_) => FaultKind::Panic,
            Self::Answer(_) => FaultKind::Answer,
            Self::Import(_) => FaultKind::Import,
            Self::Busy => FaultKind::Busy,
            Self::Other(_) => FaultKind::Other,
        }
    }

    /// What a failed call means. `denied`: memory was refused in it; `said`: its last line of level
    /// error.
    pub(crate) fn of(error: &wasmtime::Error, limits: &Limits, denied: bool, said: Option<&str>) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Self::Fuel(limits.fuel),
            Some(Trap::Interrupt) => Self::Wall(limits.wall),
            Some(Trap::StackOverflow) => Self::Stack,
            _ if denied => Self::Memory(limits.memory_bytes),
            Some(Trap::UnreachableCodeReached) if said.is_some() => {
                Self::Panic(clip(said.unwrap_or_default()))
            }
            Some(trap) => Self::Trap(clip(&trap.to_string())),
            None => Self::of_transfer(error),
        }
    }

    /// Something that cannot be carried between node and guest. The runtime has no types for these, only
    /// texts; they decide how a fault is called and nothing else.
    fn of_transfer(error: &wasmtime::Error) -> Self {
        let text = error.root_cause().to_string();
        let why = match text.as_str() {
            text if text.starts_with("too much data") => {
                format!("it is larger than {} KiB", HOSTCALL_BYTES_MAX >> 10)
            }
            text if text.starts_with("invalid utf-8") => "it has text that is not UTF-8".to_owned(),
            text => clip(text),
        };
        if text.starts_with("realloc") {
            Self::Trap(format!("it gave memory for its question that is not there ({why})"))
        } else if error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty()) {
            Self::Import(why)
        } else {
            Self::Answer(BadAnswer(why))
        }
    }
}

/// Text of a guest for one line: no control characters, bounded.
pub(crate) fn clip(text: &str) -> String {
    line(text, TEXT_LEN_MAX)
}

/// See [`clip`].
pub(crate) fn line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if out.len() + letter.len_utf8() > max {
            break;
        }
        out.push(letter);
    }
    out
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fuel(fuel) => write!(f, "it ran for longer than a call may: {fuel} instructions (fuel)"),
            Self::Wall(wall) => write!(f, "it took longer than a call may: {} ms", wall.as_millis()),
            Self::Memory(bytes) => write!(f, "it needed more memory than a call may have: {bytes} bytes"),
            Self::Stack => f.write_str("it called itself too deep: the stack of a call was full"),
            Self::Trap(why) => write!(f, "it trapped: {why}"),
            Self::Panic(why) => write!(f, "it panicked: {why}"),
            Self::Answer(why) => write!(f, "its answer was refused: {why}"),
            Self::Import(why) => write!(f, "what it handed to an import was refused: {why}"),
            Self::Busy => f.write_str("it was not asked: all places for calls were taken"),
            Self::Other(why) => write!(f, "it failed: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<BadAnswer> for Fault {
    fn from(why: BadAnswer) -> Self {
        Self::Answer(why)
    }
}
