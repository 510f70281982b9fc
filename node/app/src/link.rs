//! This node's line to the others, as far as chunks travel over it: how fast they may go, and what
//! they took (spec/policy-transport.md, "limit").
//!
//! Invariant: bytes of chunks, and of the leaves that probes show of them, are limited and counted, of all
//! peers together and of both halves of the node; contracts, audits and records always pass. A chunk waits before the clock of its
//! request starts, so a limit makes nobody look dead. Not here: which limits (the transport policy).

mod bucket;
mod traffic;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commonhold_format::policy::{Limit, Limits, Policy, Traffic};
use tokio::sync::Notify;

pub use self::bucket::Bucket;
use self::traffic::Counted;
use crate::clock::{day, moment, unix_seconds};
use crate::datadir::write_durably;

/// How often the policy is asked, and the counts are written.
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// How long a chunk that another node waits for may wait for its turn here; after it the node is
/// better off elsewhere. Less than owners wait for a chunk.
pub const TURN_MAX: Duration = Duration::from_secs(20);

/// The line; shared by all who send and receive chunks.
pub struct Link {
    /// To others.
    pub upload: Bucket,
    /// From others.
    pub download: Bucket,
    counted: Mutex<Counted>,
    /// Bytes that were sent and have come since the start.
    ever: [AtomicU64; 2],
    hedges: AtomicU64,
    /// One writer at a time.
    file: Mutex<PathBuf>,
    changed: Notify,
}

impl Link {
    /// The line with the counts that stand in `file`, and no limits yet.
    pub fn open(file: PathBuf) -> Self {
        Self {
            upload: Bucket::default(),
            download: Bucket::default(),
            counted: Mutex::new(Counted::read(&file)),
            ever: Default::default(),
            hedges: AtomicU64::new(0),
            file: Mutex::new(file),
            changed: Notify::new(),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Counts are numbers, each of which is valid.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes of a chunk were sent.
    pub fn sent(&self, bytes: usize) {
        self.ever[0].fetch_add(bytes as u64, Ordering::Relaxed);
        let day = day(unix_seconds());
        self.counted().add(&day, bytes as u64, 0);
    }

    /// So many bytes of a chunk have come.
    pub fn received(&self, bytes: usize) {
        self.ever[1].fetch_add(bytes as u64, Ordering::Relaxed);
        let day = day(unix_seconds());
        self.counted().add(&day, 0, bytes as u64);
    }

    /// Bytes of chunks that were sent and have come, since the start.
    pub fn since_start(&self) -> (u64, u64) {
        (self.ever[0].load(Ordering::Relaxed), self.ever[1].load(Ordering::Relaxed))
    }

    /// One more chunk is asked for because others are slow.
    pub fn hedged(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was, since the start.
    pub fn hedges(&self) -> u64 {
        self.hedges.load(Ordering::Relaxed)
    }

    /// What went today and this month.
    pub fn traffic(&self) -> Traffic {
        let mut counted = self.counted();
        counted.turn(&day(unix_seconds()));
        counted.traffic()
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        Limits { upload: self.upload.rate(), download: self.download.rate() }
    }

    /// Somebody else may decide now, who is asked for limits at once and not only at the next minute.
    pub fn policy_changed(&self) {
        self.changed.notify_one();
    }

    /// Writes the counts down.
    ///
    /// # Errors
    /// The file system's, with the file.
    pub fn save(&self) -> Result<(), String> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.counted().to_text();
        write_durably(&file, text.as_bytes(), 0o644).map_err(|error| error.to_string())
    }

    /// Asks the policy for the limits at once and every minute from then on, and writes the counts
    /// down when they have changed.
    pub async fn run(self: Arc<Self>, policy: Arc<dyn Policy>) {
        let mut written = self.counted().clone();
        loop {
            let limits = policy.ask(Limit { now: moment(), traffic: self.traffic() });
            if limits != self.limits() {
                tracing::info!(upload = limits.upload, download = limits.download, "new limits for chunks");
            }
            self.upload.set_rate(limits.upload);
            self.download.set_rate(limits.download);
            let counted = self.counted().clone();
            if counted != written {
                written = counted;
                let link = self.clone();
                match tokio::task::spawn_blocking(move || link.save()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(error, "the counts of traffic were not kept"),
                    Err(_) => tracing::warn!("the counts of traffic were not kept"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(ASKED_EVERY) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use commonhold_format::policy::{Answer, Question};

    use super::*;

    /// As much as was sent so far, and a tenth of it.
    struct Metered;

    impl Policy for Metered {
        fn answer(&self, question: &Question) -> Answer {
            let Question::Limit(ask) = question else { panic!("{question:?}") };
            let sent = ask.traffic.sent_this_month;
            Answer::Limits(Limits { upload: sent, download: sent / 10 })
        }
    }

    #[tokio::test]
    async fn the_policy_learns_what_went_and_its_limits_hold_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("traffic.toml");
        let link = Arc::new(Link::open(file.clone()));
        link.sent(1000);
        link.received(1);
        let task = tokio::spawn(link.clone().run(Arc::new(Metered)));
        let until = async |limits: Limits| {
            while link.limits() != limits {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        until(Limits { upload: 1000, download: 100 }).await;
        link.sent(9000);
        link.policy_changed();
        until(Limits { upload: 10_000, download: 1000 }).await;
        task.abort();
        link.save().unwrap();
        assert_eq!(Link::open(file).traffic(), link.traffic());
    }
}
