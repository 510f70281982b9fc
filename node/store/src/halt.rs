//! Whether the store still acknowledges anything.
//!
//! Invariant: once stopped it stays stopped, and the first reason is the one that is told. Nobody
//! knows what is on a disk whose write or sync failed, and a system may report the next sync as a
//! success after it dropped what it could not write; so there is no second try. Reads go on.

use std::fmt::Display;
use std::sync::OnceLock;

use crate::error::StoreError;

#[derive(Default)]
pub(crate) struct Halt(OnceLock<String>);

impl Halt {
    /// Stops the store, or finds it stopped.
    pub(crate) fn stop(&self, why: impl Display) -> StoreError {
        let why = self.0.get_or_init(|| {
            let why = why.to_string();
            tracing::error!(
                why,
                "the store has stopped; nothing is acknowledged until the node is started again"
            );
            why
        });
        StoreError::Failed { why: why.clone() }
    }

    pub(crate) fn reason(&self) -> Option<StoreError> {
        self.0.get().map(|why| StoreError::Failed { why: why.clone() })
    }

    /// # Errors
    /// [`StoreError::Failed`] when the store has stopped.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.reason().map_or(Ok(()), Err)
    }
}
