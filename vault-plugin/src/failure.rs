//! What a failed MinIO call means.

use std::fmt::Display;

use minio_admin::Error as Minio;
use vault_plugin_sdk::Error;

/// The error for the caller, with whether to wait or to mend something.
pub(crate) fn explain(error: &Minio) -> Error {
    explained(error, error.is_retryable())
}

/// The same for any error of which is known whether it passes by itself.
pub(crate) fn explained(error: &impl Display, passes: bool) -> Error {
    let hint = if passes {
        "MinIO may be down; the host tries again"
    } else {
        "this does not pass by itself; check the config and the admin user's rights"
    };
    Error::internal(format!("{error} ({hint})"))
}

/// Whether MinIO may have done what was asked. No answer, or half of one, says nothing.
pub(crate) fn may_have_happened(error: &Minio) -> bool {
    error.is_retryable() && !matches!(error, Minio::Unreachable { .. } | Minio::Resting { .. })
}
