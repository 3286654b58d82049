//! What a handler answers.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::request::LeasedSecret;

/// An answer. A handler that returns `Ok(None)` answers "no content": HTTP 204 to a write, 404 to a
/// read or list.
///
/// `Debug` shows the names of the data's keys, not their values.
#[derive(Clone, Default, PartialEq)]
pub struct Response {
    /// The `data` object of the caller's answer.
    pub data: Map<String, Value>,
    /// A lease to go with it.
    pub secret: Option<Secret>,
    /// Texts for the caller's `warnings`.
    pub warnings: Vec<String>,
}

impl Response {
    /// An empty answer. It still counts as content (HTTP 200).
    pub fn new() -> Self {
        Self::default()
    }

    /// An answer with this data object.
    pub fn data(data: Map<String, Value>) -> Self {
        Self { data, ..Self::default() }
    }

    /// The answer to a list. Empty listings answer 404, as the host expects.
    pub fn list<I>(keys: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let keys: Vec<Value> = keys.into_iter().map(|key| Value::String(key.into())).collect();
        let mut response = Self::new();
        if !keys.is_empty() {
            response.data.insert("keys".to_owned(), Value::Array(keys));
        }
        response
    }

    /// Adds `value` under `key`. A value that has no JSON form becomes `null`.
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        self.data.insert(key.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// Attaches a lease.
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Adds a warning.
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    /// The answer to a renew: the lease goes on with this length and maximum (zero: the mount's).
    pub fn renewed(lease: &LeasedSecret, ttl: Duration, max_ttl: Duration) -> Self {
        let secret = Secret {
            secret_type: String::new(),
            internal_data: lease.internal_data.clone(),
            ttl,
            max_ttl,
            renewable: lease.renewable,
        };
        Self::new().with_secret(secret)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("data", &self.data.keys().collect::<Vec<_>>())
            .field("secret", &self.secret)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// A lease to issue. `Debug` does not show the internal data.
#[derive(Clone, PartialEq)]
pub struct Secret {
    /// The declared [`crate::SecretType`], empty to keep the one in the internal data.
    pub secret_type: String,
    /// Given back at renew and revoke; kept by the host, encrypted, never shown to the caller.
    pub internal_data: Map<String, Value>,
    /// The lease's length; zero means the mount's default.
    pub ttl: Duration,
    /// The longest the lease may be renewed to, zero means the mount's maximum.
    pub max_ttl: Duration,
    /// Whether renew is allowed. The SDK clears it when the secret type has no renew handler.
    pub renewable: bool,
}

impl Secret {
    /// The lease as a host that has just noted it hands it back.
    pub(crate) fn noted(&self) -> LeasedSecret {
        LeasedSecret {
            lease_id: String::new(),
            internal_data: self.internal_data.clone(),
            ttl: self.ttl,
            max_ttl: self.max_ttl,
            renewable: self.renewable,
            increment: Duration::ZERO,
            issue_time: Some(SystemTime::now()),
        }
    }

    /// A lease of a declared secret type, with the mount's lengths, renewable where the type is.
    pub fn new(secret_type: impl Into<String>, internal_data: Map<String, Value>) -> Self {
        Self {
            secret_type: secret_type.into(),
            internal_data,
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            renewable: true,
        }
    }

    /// Sets length and maximum; zero means the mount's.
    pub fn ttl(mut self, ttl: Duration, max_ttl: Duration) -> Self {
        self.ttl = ttl;
        self.max_ttl = max_ttl;
        self
    }

    /// Forbids renew.
    pub fn not_renewable(mut self) -> Self {
        self.renewable = false;
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("secret_type", &self.secret_type)
            .field("ttl", &self.ttl)
            .field("max_ttl", &self.max_ttl)
            .field("renewable", &self.renewable)
            .finish_non_exhaustive()
    }
}
