//! The few Vault calls a node plugin makes, with errors that name their cause.
//!
//! One [`VaultClient`] per Vault server, cheap to clone; tokens are arguments, never client state, because every
//! generation of credentials has its own token. The calls are the documented HTTP API, which OpenBao shares:
//! [auth/jwt](https://developer.hashicorp.com/vault/api-docs/auth/jwt#jwt-login),
//! [auth/token](https://developer.hashicorp.com/vault/api-docs/auth/token),
//! [sys/health](https://developer.hashicorp.com/vault/api-docs/system/health).
//!
//! Rules kept here, so that callers need not think of them:
//! * nothing is retried: [`VaultError::is_transient`] tells whether a retry makes sense, the caller owns the policy;
//! * every call ends within [`VaultConfig::timeout`], and no answer above [`BODY_LIMIT`] bytes is read;
//! * redirects are never followed: a token must not travel to a host nobody configured;
//! * tokens, keys and answer bodies appear in no error, no `Debug` and no log line of this crate.
//!
//! Requests are described with `rustify`, whose functions open `tracing` spans and log their own errors; programs
//! put [`QUIET_TARGETS`] into their log filter.

mod client;
mod config;
mod error;
mod request;
mod transport;
mod types;
mod wire;

pub use client::VaultClient;
pub use config::{ConfigError, VaultConfig};
pub use error::{Operation, VaultError};
pub use transport::BODY_LIMIT;
pub use types::{AuthKind, AuthMethod, Health, Leased, S3Credentials, Session, TokenInfo};

/// Directives for a filter of `tracing_subscriber` that silence the request library: it logs every failure once
/// per layer it passes, and the error returned by this crate already says all of it.
pub const QUIET_TARGETS: &str = "rustify=off";
