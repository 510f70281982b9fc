//! Keys as text and as bytes.

use core::fmt;
use core::str::FromStr;

use crate::Key;

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 64 hexadecimal digits")
    }
}

impl Key {
    /// All zeros: nobody.
    pub const NOBODY: Self = Self { a: 0, b: 0, c: 0, d: 0 };

    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let word = |at: usize| bytes[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { a: word(0), b: word(8), c: word(16), d: word(24) }
    }

    /// Its 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(8).zip([self.a, self.b, self.c, self.d]) {
            part.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::NOBODY
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// As its bytes.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        [self.a, self.b, self.c, self.d].cmp(&[other.a, other.b, other.c, other.d])
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(BadKey);
        }
        let mut words = [0_u64; 4];
        for (word, digits) in words.iter_mut().zip(digits.chunks_exact(16)) {
            for digit in digits {
                *word = *word << 4 | u64::from(char::from(*digit).to_digit(16).ok_or(BadKey)?);
            }
        }
        let [a, b, c, d] = words;
        Ok(Self { a, b, c, d })
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:016x}{:016x}", self.a, self.b, self.c, self.d)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn text_and_bytes_come_back() {
        let bytes: [u8; 32] = core::array::from_fn(|at| at as u8 * 7 + 3);
        let key = Key::from_bytes(&bytes);
        assert_eq!(key.to_bytes(), bytes);
        let text = key.to_string();
        assert_eq!((text.len(), &text[..6]), (64, "030a11"));
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "abc", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(text.parse::<Key>(), Err(BadKey), "{text}");
        }
    }

    #[test]
    fn order_is_that_of_the_bytes() {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        (low[31], high[8]) = (255, 1);
        assert!(Key::from_bytes(&low) < Key::from_bytes(&high));
    }
}
