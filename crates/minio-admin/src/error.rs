//! What can go wrong in an admin call.

use std::fmt;
use std::time::Duration;

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
    /// No connection: refused, no route, unknown name, TLS handshake failed.
    #[error("{operation}: cannot reach MinIO at {endpoint}: {cause}")]
    Unreachable {
        /// The call and its subject.
        operation: String,
        /// Where to.
        endpoint: String,
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
    /// starting or busy. Wrong keys, missing rights and unknown policies are not.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Refused { status, code, .. } => code.is_temporary() || is_temporary(*status),
            Self::Garbage { status, .. } => is_temporary(*status),
            Self::Endpoint { .. } | Self::Setup(_) | Self::Body { .. } => false,
        }
    }
}

const fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429) || (status >= 500 && status != 501)
}

/// MinIO's error codes, as far as callers tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// `XMinioAdminNoSuchUser`.
    NoSuchUser,
    /// `XMinioAdminNoSuchPolicy`.
    NoSuchPolicy,
    /// `XMinioIAMPolicyInUse`: a policy that users still have.
    PolicyInUse,
    /// `XMinioAdminConfigBadJSON`: the body is malformed, or does not decrypt.
    ConfigBadJson,
    /// `AccessDenied`: the admin user lacks the right.
    AccessDenied,
    /// `InvalidAccessKeyId`: no such admin user.
    InvalidAccessKeyId,
    /// `SignatureDoesNotMatch`: wrong secret key, or a proxy changed the request.
    SignatureDoesNotMatch,
    /// `RequestTimeTooSkewed`: the clocks differ by more than 15 minutes.
    RequestTimeTooSkewed,
    /// `XMinioAdminVersionMismatch`: the server does not speak version 3.
    VersionMismatch,
    /// `XMinioServerNotInitialized`, `XMinioIAMNotInitialized`: still starting.
    NotInitialized,
    /// `SlowDown`, `SlowDownRead`, `SlowDownWrite`, `RequestTimeout`, `Throttling…`.
    SlowDown,
    /// Any other.
    Other(String),
}

impl Code {
    const fn is_temporary(&self) -> bool {
        matches!(self, Self::NotInitialized | Self::SlowDown)
    }
}

impl From<&str> for Code {
    fn from(code: &str) -> Self {
        match code {
            "XMinioAdminNoSuchUser" => Self::NoSuchUser,
            "XMinioAdminNoSuchPolicy" => Self::NoSuchPolicy,
            "XMinioIAMPolicyInUse" => Self::PolicyInUse,
            "XMinioAdminConfigBadJSON" => Self::ConfigBadJson,
            "AccessDenied" => Self::AccessDenied,
            "InvalidAccessKeyId" => Self::InvalidAccessKeyId,
            "SignatureDoesNotMatch" => Self::SignatureDoesNotMatch,
            "RequestTimeTooSkewed" => Self::RequestTimeTooSkewed,
            "XMinioAdminVersionMismatch" => Self::VersionMismatch,
            "XMinioServerNotInitialized" | "XMinioIAMNotInitialized" => Self::NotInitialized,
            "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "RequestTimeout" => Self::SlowDown,
            other if other.starts_with("Throttling") => Self::SlowDown,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchUser => "XMinioAdminNoSuchUser",
            Self::NoSuchPolicy => "XMinioAdminNoSuchPolicy",
            Self::PolicyInUse => "XMinioIAMPolicyInUse",
            Self::ConfigBadJson => "XMinioAdminConfigBadJSON",
            Self::AccessDenied => "AccessDenied",
            Self::InvalidAccessKeyId => "InvalidAccessKeyId",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Self::VersionMismatch => "XMinioAdminVersionMismatch",
            Self::NotInitialized => "not initialized",
            Self::SlowDown => "SlowDown",
            Self::Other(code) => code,
        })
    }
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
    fn codes_keep_their_name() {
        for code in ["XMinioAdminNoSuchUser", "SignatureDoesNotMatch", "XMinioSomethingNew"] {
            assert_eq!(Code::from(code).to_string(), code);
        }
        assert_eq!(
            refused(404, "XMinioAdminNoSuchPolicy").to_string(),
            "add user: no (XMinioAdminNoSuchPolicy, HTTP 404)"
        );
    }
}
