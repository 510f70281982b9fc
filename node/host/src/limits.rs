//! What one call may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Longest wall-clock limit: a default has to have decided within it.
pub const WALL_MAX: Duration = Duration::from_millis(100);
/// Highest memory limit, bytes.
pub const MEMORY_BYTES_MAX: usize = 128 << 20;
/// Most bytes that an answer, or one call of an import, hands to the node.
pub(crate) const HOSTCALL_BYTES_MAX: usize = 256 << 10;
/// Entries of all tables of a call.
const TABLE_ENTRIES_MAX: usize = 20_000;

/// Limits of one call. Fuel is counted by instruction, so that it stops a plugin at the same place on
/// every machine; the wall clock is what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instructions, roughly: most of WebAssembly cost 1, calls and branches too. Instantiation counts.
    pub fuel: u64,
    /// Time of a call, instantiation and waiting for a place included; at most [`WALL_MAX`].
    pub wall: Duration,
    /// Linear memory, all memories of the component together; at most [`MEMORY_BYTES_MAX`].
    pub memory_bytes: usize,
}

impl Default for Limits {
    /// 20 million instructions, 60 ms, 64 MiB.
    fn default() -> Self {
        Self { fuel: 20_000_000, wall: Duration::from_millis(60), memory_bytes: 64 << 20 }
    }
}

impl Limits {
    /// The same, no higher than a host allows and no lower than a call needs.
    pub(crate) fn bounded(self) -> Self {
        Self {
            fuel: self.fuel.clamp(1, 1_000_000_000),
            wall: self.wall.clamp(Duration::from_millis(1), WALL_MAX),
            memory_bytes: self.memory_bytes.min(MEMORY_BYTES_MAX),
        }
    }
}

/// Counts memory and tables of one store.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_left: usize,
    entries_left: usize,
    /// Whether memory was refused.
    pub(crate) denied: bool,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory_left: limits.memory_bytes, entries_left: TABLE_ENTRIES_MAX, denied: false }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match self.memory_left.checked_sub(desired.saturating_sub(current)) {
            Some(left) => self.memory_left = left,
            None => {
                self.denied = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match self.entries_left.checked_sub(desired.saturating_sub(current)) {
            Some(left) => self.entries_left = left,
            None => {
                self.denied = true;
                return Ok(false);
            }
        }
        Ok(true)
    }
}
