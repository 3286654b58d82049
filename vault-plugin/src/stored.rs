//! Forms of stored values.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serializer};

/// A secret in clear. For storage only, which the host encrypts.
pub(crate) fn secret<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

/// The same for a secret that may be absent; an absent one is to be skipped.
pub(crate) fn optional_secret<S: Serializer>(
    secret: &Option<SecretString>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.as_ref().map_or("", |secret| secret.expose_secret()))
}

/// Whether there is no secret.
pub(crate) fn is_empty(secret: &SecretString) -> bool {
    secret.expose_secret().is_empty()
}

/// A duration as Go stores it: nanoseconds.
pub(crate) fn to_nanos<S: Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
}

/// The way back. Go's durations can be negative; a negative length means nothing.
pub(crate) fn from_nanos<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(Duration::from_nanos(u64::try_from(i64::deserialize(from)?).unwrap_or(0)))
}
