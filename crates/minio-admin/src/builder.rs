//! Settings of a client.

use std::time::Duration;

use secrecy::SecretString;

use crate::body::Algorithm;
use crate::tls::{Tls, TlsVersion};
use crate::{Breaker, Client, Endpoint, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 2;

/// A user's keys. The secret key also is the password of sealed bodies.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: SecretString,
}

impl Credentials {
    /// A pair of keys.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<SecretString>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }
}

/// How request bodies are sealed; see [`body`](crate::body) for what the choice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyEncryption {
    /// [`Algorithm::Pbkdf2AesGcm`]; when the server cannot open that, [`Algorithm::Argon2idAesGcm`]
    /// from then on.
    #[default]
    Auto,
    /// Always this one.
    Always(Algorithm),
}

/// Settings for a [`Client`].
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) region: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) encryption: BodyEncryption,
    pub(crate) retries: u32,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) tls: Tls,
}

impl Builder {
    pub(crate) fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            endpoint,
            credentials,
            region: "us-east-1".to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            encryption: BodyEncryption::Auto,
            retries: RETRIES,
            breaker: None,
            tls: Tls::default(),
        }
    }

    /// Region in signatures. Default `us-east-1`. MinIO takes any for admin calls; for
    /// [`Client::assume_role`] it has to be the server's, if that has one.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Limit for making a connection. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limit for a whole call, key derivation and retries included. Default 30 s.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How bodies are sealed. Default [`BodyEncryption::Auto`].
    #[must_use]
    pub fn body_encryption(mut self, encryption: BodyEncryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// How often a call is made again, within its limit and after a short random wait, when its
    /// connection broke or the server said it is busy or starting (HTTP 408, 429, 502, 503,
    /// [`Code::SlowDown`](crate::Code::SlowDown), [`Code::NotInitialized`](crate::Code::NotInitialized)).
    /// Default 2. A server that cannot be reached or stays silent is the caller's to ask again, and so is every
    /// call that does harm when it is made twice.
    #[must_use]
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// Leaves a server alone that does not answer. Default: no breaker.
    #[must_use]
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Certificate authorities in PEM form: only these may vouch for the server. Default: the system's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// Certificate (leaf first, then what is between it and its authority) and private key in PEM form, for
    /// servers that want to know who connects.
    #[must_use]
    pub fn client_identity(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<SecretString>,
    ) -> Self {
        self.tls.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Oldest version of TLS that is spoken. Default [`TlsVersion::V1_2`].
    #[must_use]
    pub fn min_tls(mut self, version: TlsVersion) -> Self {
        self.tls.min_version = version;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// Proxies named in the environment are used, except for a server on this machine. Redirects
    /// are not followed: a signature is for one host.
    ///
    /// # Errors
    /// [`Error::Setup`]: TLS is wanted and the system has no root certificates, a certificate or key cannot be
    /// read, the two do not belong together, or they are given for an endpoint without TLS.
    pub fn build(self) -> Result<Client, Error> {
        Client::from_settings(self)
    }
}
