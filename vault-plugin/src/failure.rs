//! What a failed MinIO call means.

use std::fmt::Display;

use minio_admin::Error as Minio;
use vault_plugin_sdk::Error;

/// The error for the caller, with whether to wait or to mend something.
pub(crate) fn explain(error: &Minio) -> Error {
    match error {
        Minio::Tls { is_untrusted: true, .. } => hinted(
            error,
            "this does not pass by itself; MinIO's certificate has to be valid and made for the host in endpoint, \
             and its authority in ca_certificate of the config",
        ),
        Minio::Tls { .. } => hinted(
            error,
            "this does not pass by itself; check useSSL, client_certificate, client_key and min_tls_version in the \
             config",
        ),
        passing if passing.is_retryable() => {
            hinted(error, "this passes by itself; MinIO may be down or busy")
        }
        _ => permanent(error),
    }
}

/// The same for any other error that somebody has to mend.
pub(crate) fn permanent(error: &impl Display) -> Error {
    hinted(error, "this does not pass by itself; check the config, the role and the admin user's rights")
}

fn hinted(error: &impl Display, hint: &str) -> Error {
    Error::internal(format!("{error} ({hint})"))
}

/// Whether MinIO may have done what was asked. No answer, or half of one, says nothing; one of success
/// that cannot be read says that it has.
pub(crate) fn may_have_happened(error: &Minio) -> bool {
    match error {
        Minio::Unreachable { .. } | Minio::Tls { .. } | Minio::Resting { .. } => false,
        Minio::Body { .. } => true,
        Minio::Garbage { status, .. } if (200..300).contains(status) => true,
        _ => error.is_retryable(),
    }
}

#[cfg(test)]
mod tests {
    use minio_admin::body::BodyError;

    use super::*;

    #[test]
    fn only_a_clear_no_means_that_nothing_happened() {
        let operation = || "add user".to_owned();
        let garbage = |status| Minio::Garbage { operation: operation(), status, reason: "cut".into() };
        let refused = |status, code: &str| Minio::Refused {
            operation: operation(),
            status,
            code: code.into(),
            message: "no".into(),
        };
        let unreachable = Minio::Unreachable {
            operation: operation(),
            endpoint: "minio:9000".into(),
            cause: "no route".into(),
        };
        for (error, expected) in [
            (Minio::Body { operation: operation(), source: BodyError::NotAuthentic }, true),
            (garbage(200), true),
            (garbage(204), true),
            (garbage(502), true),
            (garbage(404), false),
            (refused(500, "InternalError"), true),
            (refused(403, "AccessDenied"), false),
            (unreachable, false),
        ] {
            assert_eq!(may_have_happened(&error), expected, "{error}");
        }
    }
}
