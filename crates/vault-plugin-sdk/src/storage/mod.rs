//! The mount's storage: keys relative to the mount, values kept encrypted by the host.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) mod grpc;
mod memory;

/// A storage call that failed. Its text holds the host's own text verbatim: a standby's host
/// decides by it whether to forward the request to the active node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The host refused, or could not be reached.
    #[error("storage {operation} \"{key}\": {message}")]
    Host {
        /// `get`, `put`, `delete` or `list`.
        operation: &'static str,
        /// The key or prefix.
        key: String,
        /// The host's text, verbatim.
        message: String,
    },
    /// The stored value is not what the engine expects there.
    #[error(
        "storage get \"{key}\": stored value is not as expected: {category} error at line {line} column {column}"
    )]
    Decode {
        /// The key.
        key: String,
        /// Kind of JSON error. The full text is left out since it can quote a secret.
        category: String,
        /// Where in the value.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The value to store has no JSON form.
    #[error("storage put \"{key}\": {source}")]
    Encode {
        /// The key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Where values live.
#[async_trait]
pub trait RawStorage: Send + Sync {
    /// Names below `prefix`, relative to it; sub-folders end in `/`.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;
    /// The value under `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Stores `value` under `key`.
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError>;
    /// Removes `key`; absent keys are no error.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// The mount's storage.
#[derive(Clone)]
pub struct Storage(Arc<dyn RawStorage>);

impl Storage {
    /// Storage kept by `raw`.
    pub fn new(raw: Arc<dyn RawStorage>) -> Self {
        Self(raw)
    }

    /// Storage in this process's memory, for tests.
    pub fn memory() -> Self {
        Self(Arc::new(memory::Memory::default()))
    }

    /// Storage that fails every call, for times when the host offers none.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self(Arc::new(memory::Unavailable(reason.into())))
    }

    /// The JSON value under `key`; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`] naming the key.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StorageError> {
        let Some(bytes) = self.0.get(key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| StorageError::Decode {
            key: key.to_owned(),
            category: format!("{:?}", error.classify()).to_lowercase(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// Stores `value` as JSON under `key`.
    ///
    /// # Errors
    /// [`StorageError`] naming the key.
    pub async fn put<T: Serialize + ?Sized + Sync>(&self, key: &str, value: &T) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| StorageError::Encode { key: key.to_owned(), source })?;
        self.0.put(key, bytes).await
    }

    /// The bytes under `key`; `None` when there are none.
    ///
    /// # Errors
    /// [`StorageError`] naming the key.
    pub async fn get_bytes(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(key).await
    }

    /// Stores bytes under `key`.
    ///
    /// # Errors
    /// [`StorageError`] naming the key.
    pub async fn put_bytes(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.0.put(key, value).await
    }

    /// Removes `key`. Absent keys are no error.
    ///
    /// # Errors
    /// [`StorageError`] naming the key.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.delete(key).await
    }

    /// The names below `prefix` (`roles/`), relative to it and sorted; sub-folders end in `/`.
    ///
    /// # Errors
    /// [`StorageError`] naming the prefix.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut names = self.0.list(prefix).await?;
        names.sort_unstable();
        Ok(names)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Storage").finish_non_exhaustive()
    }
}
