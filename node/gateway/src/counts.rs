//! How many requests one of a node's interfaces answered, and how.
//!
//! Invariant: only numbers are kept, so that nothing of a request can be read from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// Counts of one interface since the node was started.
#[derive(Debug, Default)]
pub struct RequestCounts {
    /// 2xx, 3xx, 4xx and 5xx.
    answered: [AtomicU64; 4],
    open: AtomicU64,
}

impl RequestCounts {
    /// The classes of answers, in the order of [`answered`](Self::answered).
    pub const CLASSES: [&'static str; 4] = ["2xx", "3xx", "4xx", "5xx"];

    /// Answers by class of their status. An answer counts when it begins.
    pub fn answered(&self) -> [u64; 4] {
        self.answered.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts an answer; an informational one is none.
    pub(crate) fn note(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = class.checked_sub(2).and_then(|class| self.answered.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection until it is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }
}

/// A connection that is open.
pub(crate) struct Open(Arc<RequestCounts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
