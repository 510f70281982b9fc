//! When a plugin that keeps failing is left alone for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many faults in a row open the breaker.
pub const BREAKER_FAULTS_IN_ROW: u32 = 5;
/// So many within [`BREAKER_WINDOW`] do too.
pub const BREAKER_FAULTS_IN_WINDOW: usize = 20;
/// See [`BREAKER_FAULTS_IN_WINDOW`].
pub const BREAKER_WINDOW: Duration = Duration::from_secs(600);
/// For how long the plugin is not asked the first time; each time after that twice as long.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
pub const BREAKER_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Counts faults. After a pause the plugin is asked again, and one more fault opens it for twice as long;
/// a window without faults makes it forget.
#[derive(Debug)]
pub(crate) struct Breaker {
    in_row: u32,
    recent: VecDeque<Instant>,
    open_until: Option<Instant>,
    pause: Duration,
    /// Asked again after a pause, and has not answered yet.
    on_trial: bool,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { in_row: 0, recent: VecDeque::new(), open_until: None, pause: BREAKER_PAUSE, on_trial: false }
    }

    /// Until when the plugin is not asked.
    pub(crate) fn open_until(&self, now: Instant) -> Option<Instant> {
        self.open_until.filter(|until| now < *until)
    }

    /// Whether the plugin may be asked now.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = None;
                self.on_trial = true;
                true
            }
            None => true,
        }
    }

    pub(crate) fn answered(&mut self, now: Instant) {
        self.in_row = 0;
        self.on_trial = false;
        self.forget(now);
        if self.recent.is_empty() {
            self.pause = BREAKER_PAUSE;
        }
    }

    /// Counts a fault; the pause when it opened the breaker.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.forget(now);
        self.in_row += 1;
        self.recent.push_back(now);
        let opens = self.on_trial
            || self.in_row >= BREAKER_FAULTS_IN_ROW
            || self.recent.len() >= BREAKER_FAULTS_IN_WINDOW;
        // Others that were asked before it opened may fail after.
        if !opens || self.open_until.is_some() {
            return None;
        }
        let pause = self.pause;
        self.pause = (2 * pause).min(BREAKER_PAUSE_MAX);
        self.open_until = Some(now + pause);
        self.in_row = 0;
        self.on_trial = false;
        self.recent.clear();
        self.recent.push_back(now);
        Some(pause)
    }

    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > BREAKER_WINDOW) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_after_faults_in_a_row_for_twice_as_long_each_time() {
        let begin = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 1..BREAKER_FAULTS_IN_ROW {
            assert!(breaker.admits(begin));
            assert_eq!(breaker.failed(begin), None);
        }
        let mut now = begin;
        let mut expected = BREAKER_PAUSE;
        for _ in 0..12 {
            assert!(breaker.admits(now));
            assert_eq!(breaker.failed(now), Some(expected));
            assert_eq!(breaker.open_until(now), Some(now + expected));
            assert!(!breaker.admits(now + expected - Duration::from_millis(1)));
            now += expected;
            expected = (2 * expected).min(BREAKER_PAUSE_MAX);
        }
        assert_eq!(expected, BREAKER_PAUSE_MAX);
        // It answers for longer than the window: all is forgotten.
        assert!(breaker.admits(now));
        now += BREAKER_WINDOW + Duration::from_secs(1);
        breaker.answered(now);
        for _ in 1..BREAKER_FAULTS_IN_ROW {
            assert_eq!(breaker.failed(now), None);
        }
        assert_eq!(breaker.failed(now), Some(BREAKER_PAUSE));
    }

    #[test]
    fn it_opens_after_many_faults_that_are_not_in_a_row() {
        let begin = Instant::now();
        let mut breaker = Breaker::new();
        let many = BREAKER_FAULTS_IN_WINDOW as u64;
        for at in 1..many {
            assert_eq!(breaker.failed(after(begin, at)), None);
            breaker.answered(after(begin, at));
        }
        assert_eq!(breaker.failed(after(begin, many)), Some(BREAKER_PAUSE));
        let mut breaker = Breaker::new();
        for at in 1..10 * many {
            // One in 60 s never are so many within the window.
            assert_eq!(breaker.failed(after(begin, 60 * at)), None);
            breaker.answered(after(begin, 60 * at));
        }
    }
}
