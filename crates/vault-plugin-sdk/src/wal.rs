//! The write-ahead log: what to undo when a request dies half-way.
//!
//! Write an entry before a side effect outside the storage, delete it once the answer is assembled.
//! Entries left over are handed to [`crate::Backend::on_rollback`] after a while. Because the entry
//! is written first, a standby (whose storage is read-only) fails before any side effect and its
//! host forwards the request.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::Storage;

/// Storage prefix of all entries, as in the hosts' own framework.
pub(crate) const PREFIX: &str = "wal/";

/// Default age from which an entry counts as left over.
pub(crate) const MIN_AGE: Duration = Duration::from_mins(10);

/// The wire form, shared with engines written in Go.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
    created_at: i64,
}

/// An entry of the log. `Debug` does not show its data.
#[derive(Clone)]
pub struct WalEntry {
    /// Its id.
    pub id: String,
    /// What kind of side effect it announces.
    pub kind: String,
    /// What the engine needs to undo it.
    pub data: Value,
    /// When it was written, to the second.
    pub created_at: SystemTime,
}

impl WalEntry {
    /// The data as a type.
    ///
    /// # Errors
    /// [`Error::Internal`] naming the entry when the data is of another shape.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        T::deserialize(&self.data).map_err(|_| {
            Error::internal(format!("wal entry {} of kind \"{}\": unexpected data", self.id, self.kind))
        })
    }
}

impl fmt::Debug for WalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalEntry").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The write-ahead log of a mount.
#[derive(Clone, Debug)]
pub struct Wal {
    storage: Storage,
}

impl Wal {
    /// The log kept in `storage`.
    pub fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// Announces a side effect; returns the entry's id.
    ///
    /// # Errors
    /// [`Error::Storage`], and [`Error::Internal`] when `data` has no JSON form.
    pub async fn put(&self, kind: &str, data: &impl Serialize) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        self.write(&id, kind, data, SystemTime::now()).await?;
        Ok(id)
    }

    /// Writes the entry of this id, or writes it anew, as if it had been written at `created_at`. With a date in
    /// the future it is left alone until then, and for the minimum age.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn write(
        &self,
        id: &str,
        kind: &str,
        data: &impl Serialize,
        created_at: SystemTime,
    ) -> Result<()> {
        let data = serde_json::to_value(data)
            .map_err(|error| Error::internal(format!("wal entry of kind \"{kind}\": {error}")))?;
        let created_at = created_at.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs().cast_signed());
        let stored = Stored { kind: kind.to_owned(), data, created_at };
        Ok(self.storage.put(&format!("{PREFIX}{id}"), &stored).await?)
    }

    /// Withdraws an entry. Withdrawing one that is gone is no error.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn delete(&self, id: &str) -> Result<()> {
        Ok(self.storage.delete(&format!("{PREFIX}{id}")).await?)
    }

    /// The ids of all entries.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn list(&self) -> Result<Vec<String>> {
        Ok(self.storage.list(PREFIX).await?)
    }

    /// One entry; `None` when it is gone.
    ///
    /// # Errors
    /// [`Error::Storage`], also when the entry cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<WalEntry>> {
        let stored: Option<Stored> = self.storage.get(&format!("{PREFIX}{id}")).await?;
        Ok(stored.map(|stored| WalEntry {
            id: id.to_owned(),
            kind: stored.kind,
            data: stored.data,
            created_at: UNIX_EPOCH + Duration::from_secs(u64::try_from(stored.created_at).unwrap_or(0)),
        }))
    }
}
