//! The connections, shared by all buckets of a process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use boathouse_http::{Authorities, ClientError, cause};

use crate::error::Failure;

/// Longest answer that is read, in bytes: these calls list names and fetch small test objects.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Settings of an [`Http`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// PEM bundle of the only authorities to trust. Without it the system's are used.
    pub ca_file: Option<PathBuf>,
    /// Bound for TCP and TLS set-up of one connection.
    pub connect_timeout: Duration,
    /// Bound for one whole call, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

impl Default for HttpConfig {
    /// The system's authorities, 3 s to connect and 10 s per call.
    fn default() -> Self {
        Self { ca_file: None, connect_timeout: Duration::from_secs(3), timeout: Duration::from_secs(10) }
    }
}

/// Why no [`Http`] could be made.
#[derive(Debug, thiserror::Error)]
#[error("S3 {0}")]
pub struct HttpError(#[from] pub ClientError);

impl HttpError {
    /// What is wrong, without the CA file's path: for who knows that file by another name.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.0 {
            ClientError::CaFile { source, .. } => source.to_string(),
            ClientError::CaContent { reason, .. } | ClientError::Setup(reason) => reason.clone(),
        }
    }
}

/// Pools of connections to S3 endpoints. Make one per process (and CA file) and clone it: clones share the pools.
#[derive(Clone, Debug)]
pub struct Http(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    config: HttpConfig,
    plain: reqwest::Client,
    /// Made at the first https request when it needs the system's authorities: they take time to load, and a
    /// machine that has none can still use http.
    tls: OnceLock<Result<reqwest::Client, String>>,
}

impl Http {
    /// Reads the CA file, if any, and sets up the pools. Sends nothing.
    ///
    /// When the process has installed no rustls crypto provider, aws-lc-rs becomes it.
    ///
    /// # Errors
    /// An unreadable or empty CA file, or a resolver that cannot be configured.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        let plain = client(Authorities::None, &config)?;
        let tls = OnceLock::new();
        if let Some(path) = &config.ca_file {
            let _ = tls.set(Ok(client(Authorities::Only(path), &config)?));
        }
        Ok(Self(Arc::new(Pools { config, plain, tls })))
    }

    /// The same with the authorities of a PEM bundle and no others. Connections of plain http are shared.
    ///
    /// # Errors
    /// An unreadable or empty CA file.
    pub fn trusting(&self, ca_file: &Path) -> Result<Self, HttpError> {
        let config = HttpConfig { ca_file: Some(ca_file.to_owned()), ..self.0.config.clone() };
        let tls = OnceLock::from(Ok(client(Authorities::Only(ca_file), &config)?));
        Ok(Self(Arc::new(Pools { config, plain: self.0.plain.clone(), tls })))
    }

    pub(crate) fn client(&self, scheme: &str) -> Result<&reqwest::Client, Failure> {
        if scheme != "https" {
            return Ok(&self.0.plain);
        }
        let made = self
            .0
            .tls
            .get_or_init(|| client(Authorities::System, &self.0.config).map_err(|error| error.to_string()));
        made.as_ref().map_err(|reason| Failure::EndpointUnreachable(format!("TLS: {reason}")))
    }

    pub(crate) fn failure(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() && error.is_connect() {
            Failure::EndpointUnreachable(format!("no connection within {:?}", self.0.config.connect_timeout))
        } else if error.is_timeout() {
            Failure::Timeout(self.0.config.timeout)
        } else {
            Failure::EndpointUnreachable(cause(error))
        }
    }
}

fn client(authorities: Authorities<'_>, config: &HttpConfig) -> Result<reqwest::Client, ClientError> {
    boathouse_http::client(authorities, config.connect_timeout, config.timeout)
}
