//! What can go wrong in an admin call.

use std::time::Duration;

use crate::Code;
use crate::body::BodyError;

/// A failed admin call. Every text names the call and what it was about; none holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is not `host:port`.
    #[error("the MinIO endpoint {value:?} cannot be used: {reason}")]
    Endpoint {
        /// As given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client could not be made, for instance because no root certificates were found.
    #[error("cannot set up the MinIO client: {0}")]
    Setup(String),
    /// No connection: refused, no route, unknown name.
    #[error("{operation}: cannot reach MinIO at {endpoint}: {cause}")]
    Unreachable {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
        /// The chain of causes.
        cause: String,
    },
    /// TLS did not come about, so nothing was sent: one side does not take the other's certificate or version, or
    /// the server does not speak TLS.
    #[error("{operation}: cannot reach MinIO at {endpoint}: TLS: {cause}")]
    Tls {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
        /// Whether it is the server's certificate that was refused.
        is_untrusted: bool,
        /// The chain of causes.
        cause: String,
    },
    /// Nothing, or not everything, came back in time.
    #[error("{operation}: MinIO at {endpoint} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
        /// The limit that was passed.
        after: Duration,
    },
    /// The connection broke between request and end of the answer. The call may have taken effect.
    #[error("{operation}: the connection to MinIO at {endpoint} broke: {cause}")]
    Broken {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
        /// The chain of causes.
        cause: String,
    },
    /// Calls in a row were lost, so this one was not made: see [`Breaker`](crate::Breaker).
    #[error(
        "{operation}: nothing sent, MinIO at {endpoint} did not answer of late and is left alone for another {:.1} s",
        for_another.as_secs_f32()
    )]
    Resting {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
        /// Until the next call is let through; less when the server is found to be back.
        for_another: Duration,
    },
    /// The keys to seal a request or to open an answer with were not derived in time: this process derives too many
    /// at once. It says nothing about MinIO; a call with a sealed request was not made.
    #[error(
        "{operation}: no key derived within {} s, too many other calls are waiting for theirs; make fewer at a time",
        after.as_secs_f32()
    )]
    Busy {
        /// The call and its subject.
        operation: String,
        /// The limit that was passed.
        after: Duration,
    },
    /// A policy document given by the caller is not JSON. Nothing was sent.
    #[error("{operation}: the policy document is not JSON: line {line} column {column}")]
    Document {
        /// The call and its subject.
        operation: String,
        /// Where it stops being JSON, from 1.
        line: usize,
        /// Where in that line, from 1.
        column: usize,
    },
    /// A service account's expiration is too near or too far for MinIO. Nothing was sent.
    #[error("{operation}: expiration {value}: it has to be between 15 minutes and 365 days from now")]
    Expiration {
        /// The call and its subject.
        operation: String,
        /// As given.
        value: jiff::Timestamp,
    },
    /// MinIO said no.
    #[error("{operation}: {message} ({code}, HTTP {status})")]
    Refused {
        /// The call and its subject.
        operation: String,
        /// HTTP status.
        status: u16,
        /// MinIO's error code.
        code: Code,
        /// MinIO's text.
        message: String,
    },
    /// The answer is not one MinIO gives: a proxy's page, cut or malformed JSON, too long.
    #[error("{operation}: the answer is not MinIO's (HTTP {status}): {reason}")]
    Garbage {
        /// The call and its subject.
        operation: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
    /// A body could not be sealed or opened.
    #[error("{operation}: {source}")]
    Body {
        /// The call and its subject.
        operation: String,
        /// Why.
        source: BodyError,
    },
}

impl Error {
    /// MinIO's error code, when it was MinIO that answered.
    #[must_use]
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// HTTP status, when there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Garbage { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later with nobody changing anything: MinIO is down, slow,
    /// starting or busy. Wrong keys, missing rights, unknown policies and certificates are not.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Resting { .. }
            | Self::Busy { .. } => true,
            Self::Refused { status, code, .. } => code.is_temporary() || is_temporary(*status),
            Self::Garbage { status, .. } => is_temporary(*status),
            Self::Endpoint { .. }
            | Self::Setup(_)
            | Self::Tls { .. }
            | Self::Document { .. }
            | Self::Expiration { .. }
            | Self::Body { .. } => false,
        }
    }
}

const fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429) || (status >= 500 && status != 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Error {
        Error::Refused { operation: "add user".into(), status, code: code.into(), message: "no".into() }
    }

    #[test]
    fn what_passes_by_itself_is_retryable() {
        for (status, code) in [
            (503, "XMinioIAMNotInitialized"),
            (503, "SlowDown"),
            (400, "RequestTimeout"),
            (500, "InternalError"),
        ] {
            assert!(refused(status, code).is_retryable(), "{code}");
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (404, "XMinioAdminNoSuchPolicy"),
            (400, "XMinioAdminConfigBadJSON"),
            (501, "NotImplemented"),
        ] {
            assert!(!refused(status, code).is_retryable(), "{code}");
        }
    }

    #[test]
    fn a_refusal_tells_operation_text_and_code() {
        assert_eq!(
            refused(404, "XMinioAdminNoSuchPolicy").to_string(),
            "add user: no (XMinioAdminNoSuchPolicy, HTTP 404)"
        );
    }
}
