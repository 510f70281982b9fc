//! One at a time per key: whoever holds a turn of a key is alone with it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns by key. Keys that nobody waits for are forgotten.
#[derive(Debug)]
pub struct Turns<K>(Mutex<HashMap<K, Arc<AsyncMutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy> Turns<K> {
    /// Waits for the turn of `key`; it ends when the guard is dropped.
    pub async fn take(&self, key: K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(key).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_of_one_key_exclude_each_other_and_are_forgotten() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let other = turns.take(2).await;
        assert!(futures::poll!(std::pin::pin!(turns.take(1))).is_pending());
        drop(first);
        drop(other);
        drop(turns.take(1).await);
        drop(turns.take(3).await);
        assert_eq!(turns.0.lock().map(|turns| turns.len()).ok(), Some(1));
    }
}
