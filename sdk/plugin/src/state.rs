//! What a policy remembers from call to call; needs the capability `state`.
//!
//! At most 256 keys of 64 bytes, 4,096 bytes in a value, 65,536 bytes in all. What is set counts when the
//! call has ended and its answer was accepted, and not otherwise. It is the only thing that survives a
//! call: each one has a fresh memory.

use alloc::vec::Vec;

/// The value of a key; `None` when there is none.
pub fn get(key: &str) -> Option<Vec<u8>> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::shared::commonhold::policy::state::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::test::state_get(key)
}

/// Keeps a value; an empty one is removed. False when a bound is exceeded, and nothing is kept.
pub fn set(key: &str, value: &[u8]) -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::shared::commonhold::policy::state::set(key, value);
    #[cfg(not(target_arch = "wasm32"))]
    crate::test::state_set(key, value)
}

/// Forgets a key.
pub fn remove(key: &str) {
    set(key, &[]);
}

/// A number that was kept with [`set_number`]; `None` when there is none.
pub fn number(key: &str) -> Option<u64> {
    get(key)?.try_into().ok().map(u64::from_le_bytes)
}

/// Keeps a number. False when a bound is exceeded.
pub fn set_number(key: &str, number: u64) -> bool {
    set(key, &number.to_le_bytes())
}
