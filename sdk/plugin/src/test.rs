//! A host for unit tests: configuration, state and log of the thread, without WebAssembly.
//!
//! A policy that `cargo test` runs calls it through [`config`](crate::config), [`state`](crate::state) and
//! [`log`](crate::log) as it would call the node. Each test runs in a thread of its own and so has its own
//! host.
//!
//! ```
//! use commonhold_plugin::{config, log, state, test::Host};
//!
//! let host = Host::new().config("limit", "7").state("seen", b"yes");
//! assert_eq!(config::get("limit", 0), 7);
//! state::set_number("count", 1);
//! log::info("counted");
//! assert_eq!(host.kept("count"), Some(1_u64.to_le_bytes().to_vec()));
//! assert_eq!(host.lines(), ["info counted"]);
//! ```
//!
//! Invariant: the bounds of state and log are the node's. What it is not: a test of limits on
//! instructions, memory and time, or of what is granted; `commonhold plugin test` is that.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Most lines of a call that are kept.
pub const LINES_MAX: usize = 16;
/// Most bytes of a line that are kept.
pub const LINE_LEN_MAX: usize = 256;
/// Most keys in the state.
pub const STATE_KEYS_MAX: usize = 256;
/// Longest key in the state, bytes.
pub const STATE_KEY_LEN_MAX: usize = 64;
/// Longest value in the state, bytes.
pub const STATE_VALUE_LEN_MAX: usize = 4096;
/// Most bytes of all keys and values.
pub const STATE_LEN_MAX: usize = 65_536;

#[derive(Default)]
struct Inside {
    config: BTreeMap<String, String>,
    state: BTreeMap<String, Vec<u8>>,
    lines: Vec<(u32, String)>,
}

thread_local! {
    static HOST: RefCell<Inside> = RefCell::default();
}

/// The host of this thread. A new one begins empty.
#[derive(Debug)]
pub struct Host(());

impl Host {
    /// Forgets what was there.
    #[expect(clippy::new_without_default, reason = "it acts on the thread")]
    pub fn new() -> Self {
        HOST.set(Inside::default());
        Self(())
    }

    /// Sets a value of the configuration.
    pub fn config(self, name: &str, value: &str) -> Self {
        HOST.with_borrow_mut(|it| it.config.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a value of the state.
    ///
    /// # Panics
    /// When a bound of the state is exceeded.
    pub fn state(self, key: &str, value: &[u8]) -> Self {
        assert!(state_set(key, value), "the state has no room for {key}");
        self
    }

    /// What the state has under a key.
    pub fn kept(&self, key: &str) -> Option<Vec<u8>> {
        state_get(key)
    }

    /// The lines that were written, each after its level: `debug`, `info`, `warning` or `error`.
    pub fn lines(&self) -> Vec<String> {
        let level = |level| match level {
            0 => "debug",
            1 => "info",
            2 => "warning",
            _ => "error",
        };
        HOST.with_borrow(|it| it.lines.iter().map(|(at, line)| format!("{} {line}", level(*at))).collect())
    }

    /// Begins another call: the lines of the one before are gone, the state stays.
    pub fn next_call(&self) {
        HOST.with_borrow_mut(|it| it.lines.clear());
    }
}

pub(crate) fn config_get(name: &str) -> Option<String> {
    HOST.with_borrow(|it| it.config.get(name).cloned())
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    HOST.with_borrow(|it| it.state.get(key).cloned())
}

pub(crate) fn state_set(key: &str, value: &[u8]) -> bool {
    HOST.with_borrow_mut(|it| {
        if value.is_empty() {
            it.state.remove(key);
            return true;
        }
        let others = it.state.iter().filter(|(other, _)| *other != key);
        let (keys, len) =
            others.fold((0, 0), |(keys, len), (key, value)| (keys + 1, len + key.len() + value.len()));
        let fits = key.len() <= STATE_KEY_LEN_MAX
            && value.len() <= STATE_VALUE_LEN_MAX
            && keys < STATE_KEYS_MAX
            && len + key.len() + value.len() <= STATE_LEN_MAX;
        if fits {
            it.state.insert(key.to_owned(), value.to_vec());
        }
        fits
    })
}

pub(crate) fn write(level: u32, message: &str) {
    HOST.with_borrow_mut(|it| {
        if it.lines.len() < LINES_MAX {
            let mut end = message.len().min(LINE_LEN_MAX);
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            it.lines.push((level, message[..end].to_owned()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log, state};

    #[test]
    fn state_keeps_its_bounds() {
        let host = Host::new();
        assert!(state::set("a", &[7; STATE_VALUE_LEN_MAX]));
        assert!(!state::set("a", &[8; STATE_VALUE_LEN_MAX + 1]));
        assert_eq!(host.kept("a"), Some(vec![7; STATE_VALUE_LEN_MAX]), "nothing is changed");
        assert!(!state::set(&"k".repeat(STATE_KEY_LEN_MAX + 1), b"1"));
        for at in 0..15 {
            assert!(state::set(&format!("{at:064}"), &[0; 4000]));
        }
        assert!(!state::set("full", &[0; 2000]), "65,536 bytes in all");
        state::remove("a");
        assert!(state::set("full", &[0; 2000]));
        let host = Host::new();
        assert_eq!(host.kept("full"), None);
        assert!((0..256).all(|at| state::set(&at.to_string(), b"1")));
        assert!(!state::set("one more", b"1") && state::set("0", b"2"));
    }

    #[test]
    fn lines_are_bounded() {
        let host = Host::new();
        log::warning(&"é".repeat(200));
        assert_eq!(host.lines(), [format!("warning {}", "é".repeat(128))]);
        for _ in 0..40 {
            log::debug("x");
        }
        assert_eq!(host.lines().len(), LINES_MAX);
        host.next_call();
        assert_eq!(host.lines(), [""; 0]);
    }

    #[test]
    fn hosts_of_threads_are_apart() {
        let _host = Host::new().config("a", "1");
        std::thread::spawn(|| assert_eq!(config_get("a"), None))
            .join()
            .unwrap_or_else(|_| panic!("not apart"));
    }
}
