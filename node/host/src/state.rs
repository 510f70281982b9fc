//! What a policy remembers from call to call (spec/wit, interface `state`).
//!
//! Invariant: a state keeps the bounds of the interface, from wherever it came. Its bytes are the one
//! encoding of it: a CBOR array of keys and values, keys ascending.

use std::collections::BTreeMap;

use minicbor::{Decoder, Encoder};

/// Most keys.
pub const STATE_KEYS_MAX: usize = 256;
/// Longest key, bytes.
pub const STATE_KEY_LEN_MAX: usize = 64;
/// Longest value, bytes.
pub const STATE_VALUE_LEN_MAX: usize = 4096;
/// Keys and values together, bytes.
pub const STATE_LEN_MAX: usize = 65_536;
/// What encoding adds at most: 5 bytes for the array, 3 for each key and each value.
const ENCODED_LEN_MAX: usize = STATE_LEN_MAX + 5 + 6 * STATE_KEYS_MAX;

/// Why bytes are not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Longer than any.
    #[error("it has {0} bytes, more than any state")]
    TooLong(usize),
    /// Not the encoding.
    #[error("it is not the encoding of a state")]
    Encoding,
    /// A bound of the interface.
    #[error("it is larger than a state may be")]
    Bounds,
}

/// Keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    values: BTreeMap<String, Vec<u8>>,
    len: usize,
}

impl State {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// Keeps a value; an empty one removes the key. `false`, and nothing is kept, when that would exceed
    /// a bound.
    pub fn set(&mut self, key: &str, value: &[u8]) -> bool {
        if value.is_empty() {
            if let Some(old) = self.values.remove(key) {
                self.len -= key.len() + old.len();
            }
            return true;
        }
        let old = self.values.get(key).map_or(0, |old| key.len() + old.len());
        let len = self.len - old + key.len() + value.len();
        let keys = self.values.len() + usize::from(old == 0);
        let fits = key.len() <= STATE_KEY_LEN_MAX
            && value.len() <= STATE_VALUE_LEN_MAX
            && keys <= STATE_KEYS_MAX
            && len <= STATE_LEN_MAX;
        if fits {
            self.values.insert(key.to_owned(), value.to_vec());
            self.len = len;
        }
        fits
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keys and values, keys ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Its one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::with_capacity(self.len + 8 + 6 * self.values.len()));
        let mut encode = || -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
            encoder.array(2 * self.values.len() as u64)?;
            for (key, value) in &self.values {
                encoder.str(key)?.bytes(value)?;
            }
            Ok(())
        };
        // Writing to memory cannot fail.
        let _ = encode();
        encoder.into_writer()
    }

    /// Strict inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        if bytes.len() > ENCODED_LEN_MAX {
            return Err(StateError::TooLong(bytes.len()));
        }
        let mut decoder = Decoder::new(bytes);
        let items = decoder.array().ok().flatten().ok_or(StateError::Encoding)?;
        if items % 2 != 0 || items > 2 * STATE_KEYS_MAX as u64 {
            return Err(StateError::Encoding);
        }
        let mut state = Self::default();
        for _ in 0..items / 2 {
            let key = decoder.str().map_err(|_| StateError::Encoding)?;
            let value = decoder.bytes().map_err(|_| StateError::Encoding)?;
            if value.is_empty() {
                return Err(StateError::Encoding);
            }
            if !state.set(key, value) {
                return Err(StateError::Bounds);
            }
        }
        // One encoding: keys ascending, shortest lengths, nothing behind.
        if state.to_bytes() == bytes { Ok(state) } else { Err(StateError::Encoding) }
    }
}
