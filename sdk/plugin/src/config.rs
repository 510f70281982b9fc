//! What the operator set for this plugin; needs the capability `config`.
//!
//! The readers that take a default return it when a value is not set. A value that is set and cannot be
//! read is the operator's mistake and ends the call with a panic that names it: a plugin with a bad
//! configuration fails its self-test and is not enabled, and the reason can be read when it exports
//! itself with `log`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use core::str::FromStr;

/// The value of one key as it was written; `None` when it is not set.
pub fn text(name: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::shared::commonhold::policy::config::get(name);
    #[cfg(not(target_arch = "wasm32"))]
    crate::test::config_get(name)
}

/// The value of one key, read as anything that can be read from text; `None` when it is not set.
///
/// # Errors
/// Why it cannot be read.
pub fn read<T: FromStr>(name: &str) -> Option<Result<T, T::Err>> {
    text(name).map(|value| value.trim().parse())
}

/// The value of one key: a number, a word, a [`Key`](crate::Key), a [`Window`](crate::time::Window).
///
/// # Panics
/// When it is set and cannot be read.
pub fn get<T>(name: &str, default: T) -> T
where
    T: FromStr,
    T::Err: Display,
{
    match read(name) {
        None => default,
        Some(Ok(value)) => value,
        Some(Err(error)) => panic!("configuration {name}: {error}"),
    }
}

/// Several values in one, with commas or spaces between them; none when it is not set.
///
/// # Panics
/// When one of them cannot be read.
pub fn list<T>(name: &str) -> Vec<T>
where
    T: FromStr,
    T::Err: Display,
{
    let value = text(name).unwrap_or_default();
    let parts = value.split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty());
    let read = |part: &str| match part.parse() {
        Ok(value) => value,
        Err(error) => panic!("configuration {name}: {error}: {part}"),
    };
    parts.map(read).collect()
}

/// A number of bytes: `1048576`, `20 MiB`, `1.5 GB`, `2TB`. KB, MB, GB, TB are powers of 1000; KiB, MiB,
/// GiB, TiB of 1024.
///
/// # Panics
/// When it is set and cannot be read.
pub fn bytes(name: &str, default: u64) -> u64 {
    match text(name) {
        None => default,
        Some(value) => match parse_bytes(&value) {
            Some(bytes) => bytes,
            None => panic!("configuration {name}: {value} is no number of bytes, like 20 MiB"),
        },
    }
}

/// A number of bytes as [`bytes`] takes it, for a value that is one of several; `None` when it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("B", 1),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("TIB", 1 << 40),
    ];
    let text = text.trim();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.' && it != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number = number.replace('_', "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(*unit)?;
    if part.is_empty() {
        return Some(whole);
    }
    // Six digits behind the point times 2^40 are below 2^64.
    let scale = 10_u64.pow(u32::try_from(part.len()).ok().filter(|digits| *digits <= 6)?);
    whole.checked_add(part.parse::<u64>().ok()? * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use crate::test::Host;

    #[test]
    fn values_have_defaults_and_are_read() {
        let _host = Host::new().config("price", " 17 ").config("friends", "ab, cd\nef");
        assert_eq!(get("price", 5), 17);
        assert_eq!(get("other", 5), 5);
        assert_eq!(list::<String>("friends"), ["ab", "cd", "ef"]);
        assert_eq!(list::<Key>("nobody"), []);
    }

    #[test]
    #[should_panic(expected = "configuration price: invalid digit found in string")]
    fn a_bad_value_ends_the_call() {
        let _host = Host::new().config("price", "much");
        get("price", 5_u64);
    }

    #[test]
    fn numbers_of_bytes() {
        let good = [
            ("0", 0),
            ("1_000", 1000),
            ("20 MiB", 20 << 20),
            ("1.5GB", 1_500_000_000),
            ("2tb", 2_000_000_000_000),
            ("0.5 KiB", 512),
            ("16777215 TiB", 16_777_215 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1 MiBs", "1.2.3", "99999999999 TiB", "1 e3"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
