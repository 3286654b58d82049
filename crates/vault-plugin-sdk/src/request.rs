//! What a handler is given.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::backend::Context;
use crate::field::FieldData;
use crate::storage::Storage;
use crate::system::SystemView;
use crate::wal::Wal;

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A write to something the path's existence check did not find.
    Create,
    /// A read.
    Read,
    /// A write. Paths without an existence check only ever see this one.
    Update,
    /// A partial write (HTTP PATCH).
    Patch,
    /// A delete.
    Delete,
    /// A listing of a folder.
    List,
    /// The documentation of a path. The SDK answers it.
    Help,
    /// A lease is to live longer. The SDK routes it to the secret type.
    Renew,
    /// A lease ended. The SDK routes it to the secret type.
    Revoke,
    /// The host's periodic tick, about once a minute. The SDK answers it.
    Rollback,
}

impl Operation {
    /// The host's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Help => "help",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Rollback => "rollback",
        }
    }

    /// The operation behind the host's word; `None` for words this SDK does not serve.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "create" => Self::Create,
            "read" => Self::Read,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "list" => Self::List,
            "help" => Self::Help,
            "renew" => Self::Renew,
            "revoke" => Self::Revoke,
            "rollback" => Self::Rollback,
            _ => return None,
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request, with everything a handler may use. `Debug` shows no field values.
#[derive(Clone, Debug)]
pub struct Request {
    /// The host's request id, a UUID; equal to `request_id` in the caller's answer.
    pub id: String,
    /// What is asked.
    pub operation: Operation,
    /// The path below the mount, `roles/r1`.
    pub path: String,
    /// Where the engine is mounted, with a trailing slash.
    pub mount_point: String,
    /// The mount's accessor.
    pub mount_accessor: String,
    /// The caller's identity entity; empty when there is none.
    pub entity_id: String,
    /// The caller's display name, `token` or `kubernetes-…`.
    pub display_name: String,
    /// The path's fields, converted; of a renew or revoke, the secret type's fields.
    pub fields: FieldData,
    /// The lease, in renew and revoke.
    pub secret: Option<LeasedSecret>,
    /// The mount's storage.
    pub storage: Storage,
    /// The mount's settings.
    pub system: SystemView,
}

impl Request {
    /// The mount's storage and settings.
    pub fn context(&self) -> Context {
        Context { storage: self.storage.clone(), system: self.system.clone() }
    }

    /// The mount's write-ahead log.
    pub fn wal(&self) -> Wal {
        Wal::new(self.storage.clone())
    }
}

/// A lease as the host kept it. `Debug` does not show the internal data.
#[derive(Clone, PartialEq)]
pub struct LeasedSecret {
    /// The lease id; empty when the host leaves it out.
    pub lease_id: String,
    /// What the engine stored with [`crate::Secret::new`], plus `secret_type`.
    pub internal_data: Map<String, Value>,
    /// The lease's present length.
    pub ttl: Duration,
    /// The longest the engine allowed at issue, zero for none.
    pub max_ttl: Duration,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// How much longer the caller of renew asks for, zero for unsaid.
    pub increment: Duration,
    /// When the lease was issued.
    pub issue_time: Option<SystemTime>,
}

impl LeasedSecret {
    /// One value of the internal data.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] naming `key` when it is absent or of another type.
    pub fn internal<T: DeserializeOwned>(&self, key: &str) -> crate::Result<T> {
        let value = self.internal_data.get(key).ok_or_else(|| {
            crate::Error::internal(format!("lease {}: internal data has no \"{key}\"", self.lease_id))
        })?;
        T::deserialize(value).map_err(|_| {
            // The serde text quotes the value, which may be secret.
            crate::Error::internal(format!(
                "lease {}: internal data \"{key}\" is of the wrong type",
                self.lease_id
            ))
        })
    }
}

impl fmt::Debug for LeasedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedSecret")
            .field("lease_id", &self.lease_id)
            .field("ttl", &self.ttl)
            .field("max_ttl", &self.max_ttl)
            .field("renewable", &self.renewable)
            .field("increment", &self.increment)
            .finish_non_exhaustive()
    }
}
