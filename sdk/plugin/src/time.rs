//! The operator's clock: hours and days of the week.

use core::fmt;
use core::str::FromStr;

use crate::Moment;

/// Minutes of a day.
pub const DAY_MINUTES: u32 = 24 * 60;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Moment {
    /// Day of the week in the operator's time zone: 0 is Monday, 6 is Sunday.
    pub fn weekday(&self) -> u32 {
        self.minute_of_week / DAY_MINUTES % 7
    }

    /// Minutes since midnight in the operator's time zone, 0 to 1439.
    pub fn minute_of_day(&self) -> u32 {
        self.minute_of_week % DAY_MINUTES
    }

    /// Hour of the day in the operator's time zone, 0 to 23.
    pub fn hour(&self) -> u32 {
        self.minute_of_day() / 60
    }

    /// A moment of the week, for tests: `Moment::at(0, 8, 30)` is Monday, half past eight. Its Unix
    /// seconds are 0.
    pub fn at(weekday: u32, hour: u32, minute: u32) -> Self {
        Self { unix_seconds: 0, minute_of_week: weekday * DAY_MINUTES + hour * 60 + minute }
    }
}

/// Monday, midnight, with Unix seconds of 0: for tests.
impl Default for Moment {
    fn default() -> Self {
        Self { unix_seconds: 0, minute_of_week: 0 }
    }
}

/// Hours of some days of the week: `22:00-06:00`, `mon-fri 08:00-18:00`, `sat-sun`. Hours that go past
/// midnight belong to the day on which they begin.
///
/// ```
/// use commonhold_plugin::{Moment, time::Window};
/// let night: Window = "fri-sat 22:00-06:00".parse().unwrap();
/// assert!(night.contains(&Moment::at(4, 23, 0)));
/// assert!(night.contains(&Moment::at(6, 5, 59)), "the night from Saturday to Sunday");
/// assert!(!night.contains(&Moment::at(6, 23, 0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minute of the day when it begins.
    from: u32,
    /// How long it lasts, minutes, 1 to 1440.
    minutes: u32,
}

impl Window {
    /// Always.
    pub const ALWAYS: Self = Self { days: 0x7f, from: 0, minutes: DAY_MINUTES };

    /// Whether a moment is inside.
    pub fn contains(&self, now: &Moment) -> bool {
        let (day, minute) = (now.weekday(), now.minute_of_day());
        let on = |day: u32| self.days >> (day % 7) & 1 == 1;
        let today = minute >= self.from && minute - self.from < self.minutes;
        let since_yesterday = minute + DAY_MINUTES - self.from < self.minutes;
        (on(day) && today) || (on(day + 6) && since_yesterday)
    }
}

/// The text is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadWindow;

impl fmt::Display for BadWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hours are written like 22:00-06:00, mon-fri 08:00-18:00 or sat-sun")
    }
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let mut window = Self::ALWAYS;
        let mut parts = text.split_whitespace().peekable();
        if let Some(days) = parts.peek().and_then(|part| parse_days(part)) {
            window.days = days;
            parts.next();
            if parts.peek().is_none() {
                return Ok(window);
            }
        }
        let hours = parts.next().ok_or(BadWindow)?;
        let (from, to) = hours.split_once('-').ok_or(BadWindow)?;
        let (from, to) = (parse_time(from)?, parse_time(to)?);
        window.from = from % DAY_MINUTES;
        window.minutes = if from < to { to - from } else { DAY_MINUTES + to - from };
        if parts.next().is_some() { Err(BadWindow) } else { Ok(window) }
    }
}

/// `mon`, `mon-fri`, `fri-mon`, `mon,wed,fri`.
fn parse_days(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|it| it.eq_ignore_ascii_case(name));
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        loop {
            days |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

/// Minutes since midnight, 0 to 1440.
fn parse_time(text: &str) -> Result<u32, BadWindow> {
    let (hour, minute) = text.split_once(':').ok_or(BadWindow)?;
    let number = |text: &str| match text.len() {
        1..=2 if text.bytes().all(|it| it.is_ascii_digit()) => text.parse::<u32>().map_err(|_| BadWindow),
        _ => Err(BadWindow),
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let sum = hour * 60 + minute;
    if minute < 60 && sum <= DAY_MINUTES { Ok(sum) } else { Err(BadWindow) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inside(window: &str, weekday: u32, hour: u32, minute: u32) -> bool {
        window.parse::<Window>().unwrap().contains(&Moment::at(weekday, hour, minute))
    }

    #[test]
    fn parts_of_a_moment() {
        let it = Moment::at(6, 23, 59);
        assert_eq!((it.minute_of_week, it.weekday(), it.hour(), it.minute_of_day()), (10_079, 6, 23, 1439));
    }

    #[test]
    fn hours_within_a_day() {
        assert!(inside("08:00-18:00", 3, 8, 0) && inside("8:00-18:00", 3, 17, 59));
        assert!(!inside("08:00-18:00", 3, 7, 59) && !inside("08:00-18:00", 3, 18, 0));
        assert!(inside("mon-fri 08:00-18:00", 4, 12, 0) && !inside("mon-fri 08:00-18:00", 5, 12, 0));
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_before() {
        let night = "sun 22:00-06:00";
        assert!(inside(night, 6, 22, 0) && inside(night, 0, 5, 59));
        assert!(!inside(night, 6, 5, 0) && !inside(night, 0, 6, 0) && !inside(night, 0, 22, 0));
    }

    #[test]
    fn days_and_whole_days() {
        assert!(inside("sat-sun", 5, 0, 0) && inside("sat-sun", 6, 23, 59) && !inside("sat-sun", 0, 0, 0));
        assert!(inside("fri-mon 00:00-24:00", 0, 3, 0) && !inside("fri-mon 00:00-24:00", 1, 0, 0));
        assert!(inside("Mon,WED 00:00-00:00", 2, 23, 59) && !inside("mon,wed", 1, 0, 0));
        assert!((0..7).all(|day| (0..24).all(|hour| Window::ALWAYS.contains(&Moment::at(day, hour, 7)))));
    }

    #[test]
    fn other_texts_are_no_windows() {
        for text in [
            "",
            "mon-",
            "8-18",
            "08:00",
            "08:60-09:00",
            "24:01-09:00",
            "+8:00-09:00",
            "mon 08:00-09:00 x",
            "x",
        ] {
            assert_eq!(text.parse::<Window>(), Err(BadWindow), "{text}");
        }
    }
}
