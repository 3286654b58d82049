//! What a handler can fail with, and what the host makes of it.

use crate::storage::StorageError;
use crate::system::SystemError;

/// The result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed request. Each variant says which HTTP answer the caller of Vault or OpenBao sees.
///
/// Messages reach the caller: they must hold no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// HTTP 400 with this message.
    #[error("{0}")]
    BadRequest(String),
    /// This HTTP status with this message.
    #[error("{message}")]
    Status {
        /// HTTP status, 400 to 599.
        status: u16,
        /// Text for the caller.
        message: String,
    },
    /// HTTP 404 "unsupported path": the engine has no such path. The host drops any text.
    #[error("unsupported path")]
    UnsupportedPath,
    /// HTTP 405 "unsupported operation". The host drops any text.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// HTTP 403 "permission denied". The host drops any text.
    #[error("permission denied")]
    PermissionDenied,
    /// The host's storage failed: HTTP 500 with the host's text in the message. Hosts recognise
    /// some texts (a standby forwards the request when it sees its own "read-only" error), so this
    /// error must be passed on unchanged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A question about the mount could not be answered: HTTP 500.
    #[error(transparent)]
    System(#[from] SystemError),
    /// HTTP 500 with this message.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// HTTP 400 with `message`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into())
    }

    /// HTTP `status` with `message`.
    pub fn status(status: u16, message: impl Into<String>) -> Self {
        Self::Status { status, message: message.into() }
    }

    /// HTTP 404 with `message`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::status(404, message)
    }

    /// HTTP 500 with `message`.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Internal(message.to_string())
    }
}
