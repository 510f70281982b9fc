//! Alerts: what an operator is told of without looking (spec/alerts.md).
//!
//! Invariant: a condition is told once when it begins and once when it ends, also over a restart, and nothing
//! here makes the node wait: messages stand in a bounded queue, and what does not fit is counted and dropped.
//! Not here: what is wrong, which `api::watch` sees, and sending, which `send` does.

mod send;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::clock::unix_seconds;
use crate::config::AlertsConfig;
use crate::datadir::write_durably;

pub use self::send::{Failure, Hook};

/// Messages that wait to be sent; more are dropped.
const QUEUE_MAX: usize = 64;
/// How often conditions are looked at, at most; sooner when they settle sooner.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A longer file is none of ours.
const FILE_LEN_MAX: u64 = 4096;

/// What may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// An owner's audit of this disk was failed.
    AuditFailed,
    /// A provider of this owner is not in good standing.
    ProviderFailed,
    /// The lent disk, or the file system that it is on, has little room.
    DiskFilling,
    /// No other node is connected.
    NoPeers,
    /// A policy plugin fails, and the default decides.
    PolicyFallback,
    /// Nobody asked this provider for anything.
    Silent,
    /// The store is in quarantine.
    Quarantine,
    /// Segments of this owner cannot be read now.
    SegmentsLost,
    /// Somebody tries the address.
    Test,
}

impl Alert {
    /// Those that are looked at.
    pub const ALL: [Self; 8] = [
        Self::AuditFailed,
        Self::ProviderFailed,
        Self::DiskFilling,
        Self::NoPeers,
        Self::PolicyFallback,
        Self::Silent,
        Self::Quarantine,
        Self::SegmentsLost,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuditFailed => "audit_failed",
            Self::ProviderFailed => "provider_failed",
            Self::DiskFilling => "disk_filling",
            Self::NoPeers => "no_peers",
            Self::PolicyFallback => "policy_fallback",
            Self::Silent => "silent",
            Self::Quarantine => "quarantine",
            Self::SegmentsLost => "segments_lost",
            Self::Test => "test",
        }
    }

    /// What its operator may do.
    pub fn what_to_do(self) -> &'static str {
        match self {
            Self::AuditFailed => {
                "Look at `commonhold audit history`, and run `commonhold store scrub` to find what else has rotted."
            }
            Self::ProviderFailed => {
                "Repair makes its chunks again by itself; `commonhold audit history` says what was found."
            }
            Self::DiskFilling => {
                "Free space on the disk, lend more of it, or leave it: a full disk takes no new data and loses none."
            }
            Self::NoPeers => "Look at this machine's network, and at [network] bootstrap in commonhold.toml.",
            Self::PolicyFallback => {
                "Look at `commonhold plugin list`, and put a better version in or take the plugin out."
            }
            Self::Silent => "See that other nodes reach this one: its ports, its address, its clock.",
            Self::Quarantine => {
                "Look at `commonhold status` and at the disk; mount it again and start the node again."
            }
            Self::SegmentsLost => {
                "Wait for their providers to come back, and run `commonhold drive check` to see which files it is about."
            }
            Self::Test => "Nothing: somebody tried whether alerts arrive.",
        }
    }
}

/// Whether it begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It is so from now on.
    Began,
    /// It is over.
    Ended,
}

/// What is sent; spec/alerts.md describes the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Of this format.
    pub version: u32,
    /// The same when it is sent again.
    pub id: String,
    /// The node's peer id.
    pub node: String,
    /// What it is about.
    pub alert: Alert,
    /// Begins it, or ends?
    pub state: Turn,
    /// Since when it was so, Unix seconds.
    pub since: u64,
    /// When this was written, Unix seconds.
    pub time: u64,
    /// What is the matter.
    pub sentence: String,
    /// What to do about it; empty at the end.
    pub what_to_do: String,
    /// Both in one line, which chat programs show.
    pub text: String,
}

impl Message {
    /// About one alert of a node.
    pub fn new(node: &str, alert: Alert, state: Turn, since: u64, time: u64, sentence: &str) -> Self {
        let (sentence, what_to_do) = match state {
            Turn::Began => (sentence.to_owned(), alert.what_to_do()),
            Turn::Ended => (format!("No longer: {sentence}"), ""),
        };
        let turn = if state == Turn::Began { "began" } else { "ended" };
        let name = alert.as_str();
        let text = format!("Commonhold {}: {sentence} {what_to_do}", node.get(..12).unwrap_or(node));
        Self {
            version: 1,
            id: format!("{node}-{name}-{since}-{turn}"),
            node: node.to_owned(),
            alert,
            state,
            since,
            time,
            text: text.trim_end().to_owned(),
            sentence,
            what_to_do: what_to_do.to_owned(),
        }
    }
}

/// A condition that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    since: u64,
    sentence: String,
}

/// Which conditions there are, and which were told.
#[derive(Debug, Default)]
struct Tracker {
    told: BTreeMap<Alert, Told>,
    /// What is otherwise than it was told, and since when.
    changing: BTreeMap<Alert, u64>,
}

impl Tracker {
    /// What is to be told at `now`, when `seen` is so: what has been otherwise for `settle` seconds.
    fn look(&mut self, seen: &BTreeMap<Alert, String>, now: u64, settle: u64) -> Vec<(Alert, Turn, Told)> {
        let mut turns = Vec::new();
        for alert in Alert::ALL {
            let (is, was) = (seen.get(&alert), self.told.contains_key(&alert));
            if is.is_some() == was {
                self.changing.remove(&alert);
                continue;
            }
            let since = *self.changing.entry(alert).or_insert(now);
            // A clock that went back does not hold anything up for long.
            if now.saturating_sub(since) < settle && since <= now {
                continue;
            }
            self.changing.remove(&alert);
            match is {
                Some(sentence) => {
                    let told = Told { since, sentence: sentence.clone() };
                    self.told.insert(alert, told.clone());
                    turns.push((alert, Turn::Began, told));
                }
                None => turns.extend(self.told.remove(&alert).map(|told| (alert, Turn::Ended, told))),
            }
        }
        turns
    }
}

/// Counts of messages.
#[derive(Debug, Default)]
pub struct Sent {
    /// Taken by the other side.
    pub sent: AtomicU64,
    /// Refused, or given up after many tries.
    pub failed: AtomicU64,
    /// Not even tried, because too many waited.
    pub dropped: AtomicU64,
}

/// The alerts of a node.
pub struct Alerts {
    config: AlertsConfig,
    dir: PathBuf,
    tracker: Mutex<Tracker>,
    /// What became of messages.
    pub sent: Arc<Sent>,
}

impl Alerts {
    /// With what was told before the node was stopped.
    pub fn open(config: AlertsConfig, dir: &Path) -> Self {
        let told = read(&dir.join("alerts.json")).unwrap_or_else(|why| {
            tracing::warn!(why, "which alerts were told cannot be read; those that hold are told again");
            BTreeMap::new()
        });
        let tracker = Mutex::new(Tracker { told, changing: BTreeMap::new() });
        Self { config, dir: dir.to_owned(), tracker, sent: Arc::default() }
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        // Entries are put in and taken out whole.
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an alert was told and did not end.
    pub fn holds(&self, alert: Alert) -> bool {
        self.tracker().told.contains_key(&alert)
    }

    /// Looks at `api` until this is dropped.
    pub async fn run(self: Arc<Self>, api: Arc<Api>) {
        let hook = match Hook::of(&self.config, &self.dir) {
            Ok(hook) => hook,
            Err(why) => {
                tracing::error!(why, "alerts cannot be sent");
                None
            }
        };
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let is_sent = hook.is_some();
        let watch = self.watch(&api, is_sent.then_some(queue));
        match hook {
            Some(hook) => {
                let sent = self.sent.clone();
                tokio::join!(watch, send::forever(hook, waiting, sent));
            }
            None => watch.await,
        }
    }

    async fn watch(&self, api: &Api, queue: Option<mpsc::Sender<Message>>) {
        let settle = self.config.settle.0;
        let node = api.net.node().to_string();
        loop {
            tokio::time::sleep(LOOK_EVERY.min(Duration::from_secs(settle))).await;
            let seen = api.alerts_seen(&self.config).await;
            let now = unix_seconds();
            let turns = self.tracker().look(&seen, now, settle);
            if turns.is_empty() {
                continue;
            }
            let told = self.tracker().told.clone();
            let file = self.dir.join("alerts.json");
            let kept = tokio::task::spawn_blocking(move || {
                let text = serde_json::to_vec_pretty(&told).map_err(|error| error.to_string())?;
                write_durably(&file, &text, 0o644).map_err(|error| error.to_string())
            });
            if let Ok(Err(why)) = kept.await {
                tracing::warn!(why, "which alerts were told could not be kept");
            }
            for (alert, turn, Told { since, sentence }) in turns {
                tracing::warn!(alert = alert.as_str(), ?turn, sentence, "alert");
                let message = Message::new(&node, alert, turn, since, now, &sentence);
                if let Some(queue) = &queue
                    && queue.try_send(message).is_err()
                {
                    self.sent.dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        alert = alert.as_str(),
                        "too many alerts wait to be sent; this one is dropped"
                    );
                }
            }
        }
    }
}

/// What was told, as a file says; nothing without one.
fn read(file: &Path) -> Result<BTreeMap<Alert, Told>, String> {
    let len = match std::fs::metadata(file) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    if len > FILE_LEN_MAX * 4 {
        return Err("alerts.json is too long".to_owned());
    }
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(alerts: &[Alert]) -> BTreeMap<Alert, String> {
        alerts.iter().map(|alert| (*alert, format!("It is {}.", alert.as_str()))).collect()
    }

    fn turns(told: Vec<(Alert, Turn, Told)>) -> Vec<(Alert, Turn, u64)> {
        told.into_iter().map(|(alert, turn, told)| (alert, turn, told.since)).collect()
    }

    #[test]
    fn a_condition_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut tracker = Tracker::default();
        assert_eq!(turns(tracker.look(&seen(&[Alert::NoPeers]), 100, 60)), []);
        assert_eq!(turns(tracker.look(&seen(&[Alert::NoPeers]), 159, 60)), []);
        let began = turns(tracker.look(&seen(&[Alert::NoPeers, Alert::Silent]), 160, 60));
        assert_eq!(began, [(Alert::NoPeers, Turn::Began, 100)]);
        assert_eq!(turns(tracker.look(&seen(&[Alert::NoPeers]), 400, 60)), []);
        assert_eq!(turns(tracker.look(&seen(&[]), 401, 60)), []);
        // It came back before its end was told.
        assert_eq!(turns(tracker.look(&seen(&[Alert::NoPeers]), 402, 60)), []);
        assert_eq!(turns(tracker.look(&seen(&[]), 500, 60)), []);
        assert_eq!(turns(tracker.look(&seen(&[]), 560, 60)), [(Alert::NoPeers, Turn::Ended, 100)]);
        assert_eq!(turns(tracker.look(&seen(&[]), 900, 60)), []);
    }

    #[test]
    fn attack_43_a_clock_that_jumps_neither_repeats_nor_swallows_an_alert() {
        let mut tracker = Tracker::default();
        tracker.look(&seen(&[Alert::Silent]), 200_000, 60);
        // Two days back.
        assert_eq!(turns(tracker.look(&seen(&[Alert::Silent]), 27_200, 60)).len(), 1);
        assert_eq!(turns(tracker.look(&seen(&[Alert::Silent]), 400_000, 60)), []);
    }

    #[test]
    fn what_was_told_survives_a_restart_and_a_file_that_is_none_is_begun_anew() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("alerts.json");
        assert_eq!(read(&file).unwrap(), BTreeMap::new());
        let told = BTreeMap::from([(Alert::Quarantine, Told { since: 5, sentence: "x".to_owned() })]);
        std::fs::write(&file, serde_json::to_vec(&told).unwrap()).unwrap();
        assert_eq!(read(&file).unwrap(), told);
        assert!(Alerts::open(AlertsConfig::default(), temp.path()).holds(Alert::Quarantine));
        for text in ["", "[]", "{\"unknown\":{}}", &" ".repeat(20_000)] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).is_err());
            assert!(!Alerts::open(AlertsConfig::default(), temp.path()).holds(Alert::Quarantine));
        }
    }

    #[test]
    fn the_page_shows_a_message_and_every_alert() {
        let page = include_str!("../../../../spec/alerts.md");
        let json = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let shown: Message = serde_json::from_str(json).unwrap();
        let made =
            Message::new(&shown.node, shown.alert, shown.state, shown.since, shown.time, &shown.sentence);
        assert_eq!(shown, made);
        for alert in Alert::ALL.into_iter().chain([Alert::Test]) {
            assert!(page.contains(&format!("| `{}` |", alert.as_str())), "{}", alert.as_str());
            assert_eq!(serde_json::to_value(alert).unwrap(), alert.as_str());
        }
    }
}
