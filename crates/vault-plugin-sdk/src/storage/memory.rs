//! Storage without a host.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{RawStorage, StorageError};

/// A map in memory.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl RawStorage for Memory {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let map = self.0.lock().await;
        let mut names: Vec<String> = map
            .keys()
            .filter_map(|key| key.strip_prefix(prefix))
            .map(|name| name.split_inclusive('/').next().unwrap_or_default().to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.lock().await.get(key).cloned())
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.0.lock().await.insert(key.to_owned(), value);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().await.remove(key);
        Ok(())
    }
}

/// No storage at all.
pub(super) struct Unavailable(pub(super) String);

impl Unavailable {
    fn fail<T>(&self, operation: &'static str, key: &str) -> Result<T, StorageError> {
        Err(StorageError::Host { operation, key: key.to_owned(), message: self.0.clone() })
    }
}

#[async_trait]
impl RawStorage for Unavailable {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.fail("list", prefix)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.fail("get", key)
    }

    async fn put(&self, key: &str, _value: Vec<u8>) -> Result<(), StorageError> {
        self.fail("put", key)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.fail("delete", key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::storage::{Storage, StorageError};

    #[tokio::test]
    async fn lists_one_level() {
        let storage = Storage::memory();
        for key in ["roles/b", "roles/a", "roles/x/1", "roles/x/2", "config"] {
            storage.put(key, &1).await.unwrap();
        }
        assert_eq!(storage.list("roles/").await.unwrap(), ["a", "b", "x/"]);
        assert_eq!(storage.list("").await.unwrap(), ["config", "roles/"]);
    }

    #[tokio::test]
    async fn decode_errors_name_the_key_and_not_the_value() {
        let storage = Storage::memory();
        storage.put("config", "hunter2").await.unwrap();
        let error = storage.get::<u32>("config").await.unwrap_err();
        assert!(matches!(error, StorageError::Decode { .. }));
        assert!(error.to_string().contains("\"config\""));
        assert!(!error.to_string().contains("hunter2"));
    }
}
