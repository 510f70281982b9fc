//! A moving mean that is kept in the state; needs the capability `state`.

use crate::state;

/// How much of the mean a new number makes up: one part in so many.
const PART: u64 = 8;

/// The mean of the numbers added under a key; `None` when there are none.
pub fn get(key: &str) -> Option<u64> {
    state::number(key).map(|kept| kept >> 8)
}

/// Adds a number, at most 2⁵⁶ − 1, and returns the new mean: seven eighths of the old one and one of
/// the number; the first number is the mean. It is kept with eight bits behind the point.
pub fn add(key: &str, number: u64) -> u64 {
    let number = number.min((1 << 56) - 1) << 8;
    let mean = match state::number(key) {
        None => number,
        Some(old) => old - old / PART + number / PART,
    };
    state::set_number(key, mean);
    mean >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Host;

    #[test]
    fn it_follows_what_is_added() {
        let _host = Host::new();
        assert_eq!(get("ms"), None);
        assert_eq!(add("ms", 100), 100);
        assert_eq!(add("ms", 180), 110);
        for _ in 0..100 {
            add("ms", 20);
        }
        assert_eq!(get("ms"), Some(20));
        add("large", u64::MAX);
        assert_eq!(add("large", u64::MAX), (1 << 56) - 1);
    }
}
