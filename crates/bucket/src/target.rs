//! Which bucket, where, with which keys.

use secrecy::SecretString;
use url::Url;

/// A bucket at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Target {
    /// `http(s)://host[:port]`.
    pub endpoint: Url,
    /// Region that goes into the signature, `us-east-1` for a MinIO without one.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// `http://host/bucket` (MinIO and most others) instead of `http://bucket.host`.
    pub path_style: bool,
}

impl S3Target {
    /// What makes the target unusable, if anything does.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let bucket = self.bucket.as_str();
        // Wider than S3's own rule, which servers check; narrow enough to stay one segment of the URL's path.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if !matches!(self.endpoint.scheme(), "http" | "https") || self.endpoint.host_str().is_none() {
            return Some("the endpoint is not an http or https URL");
        }
        if !self.endpoint.username().is_empty() || self.endpoint.password().is_some() {
            return Some("the endpoint carries a user name or password");
        }
        if bucket.is_empty() || bucket.starts_with(['.', '-']) || !bucket.bytes().all(plain) {
            return Some("the bucket's name is none that S3 allows");
        }
        if self.region.is_empty() || !self.region.bytes().all(plain) {
            return Some("the region is empty or has characters no region has");
        }
        None
    }
}

/// An S3 access key pair.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Public half.
    pub access_key: String,
    /// Secret half.
    pub secret_key: SecretString,
    /// Present for temporary (STS) keys only.
    pub session_token: Option<SecretString>,
}
