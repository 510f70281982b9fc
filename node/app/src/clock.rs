//! The machine's clock, read here and nowhere else in the program: the rooms take time as an
//! argument.

use std::time::{SystemTime, UNIX_EPOCH};

use commonhold_format::policy::Moment;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Seconds since 1970; 0 on a clock set before that.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970; 0 on a clock set before that.
pub fn unix_milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now, as policies are told: in UTC, and on the clock on the operator's wall.
pub fn moment() -> Moment {
    moment_at(unix_seconds())
}

/// A time as policies are told.
pub fn moment_at(seconds: u64) -> Moment {
    let local = zoned(seconds, TimeZone::system());
    let day = local.weekday().to_monday_zero_offset() as u32;
    let minute = local.hour() as u32 * 60 + local.minute() as u32;
    Moment { unix_seconds: seconds, minute_of_week: day * 24 * 60 + minute }
}

/// The day of a time on the operator's calendar, like `2025-06-15`.
pub fn day(seconds: u64) -> String {
    zoned(seconds, TimeZone::system()).strftime("%Y-%m-%d").to_string()
}

/// A time in UTC, like `2025-06-15 15:06:40`.
pub fn utc(seconds: u64) -> String {
    zoned(seconds, TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time in a zone; the last that the calendar has for one beyond it.
fn zoned(seconds: u64, zone: TimeZone) -> Zoned {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_750_000_000, "2025-06-15 15:06:40"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_000_000, "9999-12-28 12:26:40"),
        ];
        for (seconds, written) in cases {
            assert_eq!(utc(seconds), written);
        }
    }
}
