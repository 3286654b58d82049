//! One error type for all calls: what was refused, where, and by whom.

use std::fmt;

/// A call of [`VaultClient`](crate::VaultClient), as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Logging in.
    Login,
    /// Reading a secret.
    Read,
    /// Revoking the token itself, and with it all its leases.
    RevokeSelf,
    /// Asking about the token itself.
    LookupSelf,
    /// Asking about the server.
    Health,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "login at",
            Self::Read => "reading",
            Self::RevokeSelf => "revoking the token at",
            Self::LookupSelf => "looking up the token at",
            Self::Health => "a health check at",
        })
    }
}

/// Why a call failed. `operation` and `path` say which call; messages are Vault's own, on one line. No variant
/// holds a token, a key or an answer's body, so `Debug` and `Display` are both safe to log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The policy or the auth mount says no: 403, and 400 at login (how the jwt plugin refuses a token).
    #[error("Vault denied {operation} {path} ({status}): {message}")]
    Denied {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// Vault does not know the token at all: expired or revoked, and every lease with it.
    #[error("Vault does not know the token for {operation} {path} ({status}): it has expired or was revoked")]
    UnknownToken {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// Vault has nothing at that path (404): no such secrets engine, auth mount or secret.
    #[error("Vault found nothing for {operation} {path} ({status}): {message}")]
    NotFound {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// The engine or auth mount exists, the role asked for does not. The original MinIO engine says so with a 500.
    #[error("Vault has no such role for {operation} {path} ({status}): {message}")]
    RoleMissing {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// Vault does not accept the request as made (400, 405, 412, 413 and the like).
    #[error("Vault refused {operation} {path} as invalid ({status}): {message}")]
    BadRequest {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// The arguments were refused before anything was sent.
    #[error("not asking Vault for {operation} {path:?}: {reason}")]
    InvalidInput {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// Which argument, and what is wrong with it.
        reason: &'static str,
    },
    /// The server is up but sealed or not initialized: an operator must unseal it.
    #[error("Vault is sealed, so {operation} {path} is not possible until an operator unseals it ({status})")]
    Sealed {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// A quota was exceeded (429).
    #[error("Vault limits the rate of requests and refused {operation} {path} ({status}): {message}")]
    RateLimited {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// No answer: refused, unknown name, TLS, timeout, connection lost.
    #[error("Vault at {address} cannot be reached for {operation} {path}: {reason}")]
    Unavailable {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// The configured address.
        address: String,
        /// What happened on the way.
        reason: String,
    },
    /// A standby (or a proxy) pointed elsewhere (3xx). Not followed, because the token would go along.
    #[error(
        "Vault answered {operation} {path} with a redirect to {to} ({status}), which is not followed because the \
         token would go along; set the address to the active server or to one that forwards requests"
    )]
    Redirected {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Scheme, host and port of the redirect; the rest is left out.
        to: String,
    },
    /// The server failed (5xx other than sealed, and any status that has no meaning here).
    #[error("Vault failed {operation} {path} ({status}): {message}")]
    Server {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Vault's reason.
        message: String,
    },
    /// A success status with an answer that is not what this call returns: wrong address, wrong kind of path, a
    /// proxy in between.
    #[error("Vault's answer to {operation} {path} is unusable: {reason}")]
    BadResponse {
        /// The call.
        operation: Operation,
        /// The path asked for.
        path: String,
        /// What is missing or wrong, by field name; never content.
        reason: String,
    },
}

impl VaultError {
    /// Whether the same call may work later with nobody changing policies, roles or options.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sealed { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Redirected { .. }
            | Self::Server { .. } => true,
            // 412: a replica has not yet seen the write that made the token.
            Self::BadRequest { status, .. } => *status == 412,
            Self::Denied { .. }
            | Self::UnknownToken { .. }
            | Self::NotFound { .. }
            | Self::RoleMissing { .. }
            | Self::InvalidInput { .. }
            | Self::BadResponse { .. } => false,
        }
    }

    /// HTTP status, when there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Denied { status, .. }
            | Self::UnknownToken { status, .. }
            | Self::NotFound { status, .. }
            | Self::RoleMissing { status, .. }
            | Self::BadRequest { status, .. }
            | Self::Sealed { status, .. }
            | Self::RateLimited { status, .. }
            | Self::Redirected { status, .. }
            | Self::Server { status, .. } => Some(*status),
            Self::InvalidInput { .. } | Self::Unavailable { .. } | Self::BadResponse { .. } => None,
        }
    }
}
