//! One lock per key, made when first asked for and gone when nobody holds it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// A family of locks.
#[derive(Debug)]
pub struct KeyedLocks<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Holds the lock of one key; released by drop.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its drop")] OwnedMutexGuard<()>);

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    /// Waits for the lock of a key.
    pub async fn lock(&self, key: &K) -> Held {
        Held(self.get(key).lock_owned().await)
    }

    /// Waits for the lock of a key, not beyond a deadline.
    pub async fn lock_until(&self, key: &K, deadline: std::time::Instant) -> Option<Held> {
        tokio::time::timeout_at(deadline.into(), self.lock(key)).await.ok()
    }

    /// Takes the lock of a key if nobody holds it.
    #[must_use]
    pub fn try_lock(&self, key: &K) -> Option<Held> {
        self.get(key).try_lock_owned().ok().map(Held)
    }

    fn get(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|other, lock| other == key || Arc::strong_count(lock) > 1);
        locks.entry(key.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_per_key() {
        let locks = KeyedLocks::default();
        let held = locks.try_lock(&"a").unwrap();
        assert!(locks.try_lock(&"a").is_none());
        assert!(locks.try_lock(&"b").is_some());
        drop(held);
        assert!(locks.try_lock(&"a").is_some());
    }

    #[tokio::test]
    async fn locks_nobody_holds_are_forgotten() {
        let locks = KeyedLocks::default();
        for key in 0..100 {
            drop(locks.lock(&key).await);
        }
        assert!(locks.0.lock().unwrap().len() <= 1);
    }
}
