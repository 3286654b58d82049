//! One error type for all calls: which bucket, which endpoint, what went wrong, what to check.

use std::fmt;
use std::time::Duration;

/// A call failed. `Display` is one plain sentence; neither it nor `Debug` holds a key, a signature or a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bucket \"{bucket}\" at {endpoint}: {failure}")]
pub struct BucketError {
    /// Name of the bucket.
    pub bucket: String,
    /// Scheme, host and port of the endpoint.
    pub endpoint: String,
    /// What went wrong.
    pub failure: Failure,
}

/// What went wrong, by what there is to do about it. Codes are those of the
/// [S3 API](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), which MinIO shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `NoSuchBucket`.
    NoSuchBucket,
    /// `NoSuchKey`: the bucket exists, the object asked for does not.
    NoSuchKey,
    /// `AccessDenied`: the keys are good, their policy does not allow this call.
    AccessDenied,
    /// The keys are not: `InvalidAccessKeyId`, `SignatureDoesNotMatch`, `ExpiredToken` and their like.
    InvalidKeys {
        /// The server's code.
        code: String,
    },
    /// The bucket is in, or the server insists on, another region.
    WrongRegion {
        /// The region asked for.
        configured: String,
        /// The region the server named, if it did.
        expected: Option<String>,
    },
    /// No answer: connection refused, unknown name, TLS, connection lost.
    EndpointUnreachable(String),
    /// No answer in time.
    Timeout(Duration),
    /// `RequestTimeTooSkewed` and its presigned relatives: the clocks differ too much.
    ClockSkew,
    /// Refused before anything was sent.
    InvalidInput(&'static str),
    /// Anything else the server said.
    Other {
        /// HTTP status.
        status: u16,
        /// The server's code; empty when the answer was not S3's.
        code: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBucket => f.write_str("the bucket does not exist; check its name or create it"),
            Self::NoSuchKey => f.write_str("the object does not exist"),
            Self::AccessDenied => f.write_str(
                "access denied; check that the policy of these keys allows s3:ListBucket on the bucket and the \
                 object actions on its prefix",
            ),
            Self::InvalidKeys { code } => write!(
                f,
                "the keys were refused ({code}); check that they were issued for this endpoint and not revoked"
            ),
            Self::WrongRegion { configured, expected: Some(expected) } => {
                write!(f, "the region is \"{expected}\", not \"{configured}\"; correct the region")
            }
            Self::WrongRegion { configured, expected: None } => {
                write!(f, "the server refuses region \"{configured}\"; correct the region")
            }
            Self::EndpointUnreachable(reason) => {
                write!(f, "the endpoint cannot be reached ({reason}); check its address, the network and its TLS")
            }
            Self::Timeout(after) => {
                write!(f, "no answer within {after:?}; check that the endpoint is up and not filtered")
            }
            Self::ClockSkew => {
                f.write_str("the clocks of this node and the server differ too much; check time synchronization")
            }
            Self::InvalidInput(reason) => write!(f, "nothing was sent: {reason}"),
            Self::Other { status, code } if code.is_empty() => {
                write!(f, "HTTP {status} with an answer that is not S3's; check that the endpoint is an S3 server")
            }
            Self::Other { status, code } => write!(f, "{code} (HTTP {status})"),
        }
    }
}

impl Failure {
    /// Whether the same call may work later with nobody changing names, keys or policies.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::EndpointUnreachable(_) | Self::Timeout(_) => true,
            Self::Other { status, .. } => *status == 429 || *status >= 500,
            Self::NoSuchBucket
            | Self::NoSuchKey
            | Self::AccessDenied
            | Self::InvalidKeys { .. }
            | Self::WrongRegion { .. }
            | Self::ClockSkew
            | Self::InvalidInput(_) => false,
        }
    }

    /// What an answer other than success means.
    pub(crate) fn from_answer(status: u16, body: &str, configured_region: &str) -> Self {
        let code = element(body, "Code").unwrap_or_default();
        let message = element(body, "Message").unwrap_or_default();
        match code {
            "NoSuchBucket" => Self::NoSuchBucket,
            "NoSuchKey" => Self::NoSuchKey,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "TokenRefreshRequired" => Self::InvalidKeys { code: code.to_owned() },
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException"
            | "InvalidRegion" => Self::wrong_region(body, configured_region),
            // The same refusal when the signature is in the query.
            "AuthorizationQueryParametersError" if message.contains("region") => {
                Self::wrong_region(body, configured_region)
            }
            "RequestTimeTooSkewed" | "ExpiredPresignRequest" | "RequestNotReadyYet" => Self::ClockSkew,
            "AccessDenied" if message.contains("expired") || message.contains("not valid yet") => {
                Self::ClockSkew
            }
            "AccessDenied" | "AllAccessDisabled" => Self::AccessDenied,
            _ if (300..400).contains(&status) => Self::wrong_region(body, configured_region),
            _ => Self::Other { status, code: plain(code) },
        }
    }

    fn wrong_region(body: &str, configured: &str) -> Self {
        let expected = element(body, "Region").map(plain).filter(|region| !region.is_empty());
        Self::WrongRegion { configured: configured.to_owned(), expected }
    }
}

/// Text of the first element of that name. Enough for S3's error document, which is flat and has no attributes.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// A code or region as such, without what has no place in an error text.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(80).collect()
}
