//! The connections, shared by all buckets of a process.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Certificate, redirect};

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
pub enum HttpError {
    /// The CA file could not be read.
    #[error("S3 ca_file {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The CA file holds no usable certificate.
    #[error("S3 ca_file {}: {reason}", path.display())]
    CaContent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The resolver or the client could not be set up.
    #[error("cannot set up HTTP for S3: {0}")]
    Setup(String),
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
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that somebody else was faster, which is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let setup = |e: reqwest::Error| HttpError::Setup(cause(&e));
        let plain = builder(&config).tls_certs_only(Vec::new()).build().map_err(setup)?;
        let tls = OnceLock::new();
        if let Some(path) = &config.ca_file {
            let client = builder(&config).tls_certs_only(authorities(path)?).build().map_err(setup)?;
            let _ = tls.set(Ok(client));
        }
        Ok(Self(Arc::new(Pools { config, plain, tls })))
    }

    pub(crate) fn client(&self, scheme: &str) -> Result<&reqwest::Client, Failure> {
        if scheme != "https" {
            return Ok(&self.0.plain);
        }
        let made = self.0.tls.get_or_init(|| builder(&self.0.config).build().map_err(|e| cause(&e)));
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

/// No redirects (a signature is for one host), no proxy from the environment, name resolution without the C
/// library, which a static binary does not have.
fn builder(config: &HttpConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_rustls()
        .hickory_dns(true)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .user_agent(concat!("boathouse/", env!("CARGO_PKG_VERSION")))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let pem = std::fs::read(path).map_err(|source| HttpError::CaFile { path: path.to_owned(), source })?;
    let content = |reason: String| HttpError::CaContent { path: path.to_owned(), reason };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| content(cause(&e)))?;
    if certificates.is_empty() {
        return Err(content("no certificate in PEM form in it".into()));
    }
    Ok(certificates)
}

/// Whether rustls ended it. Its error travels inside (nested) I/O errors, which `source()` skips over.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inside.is_some_and(|inner| is_tls(inner))
}

/// The innermost cause of a failed exchange in words. Never the error's own text, which contains the signed URL.
fn cause(error: &reqwest::Error) -> String {
    let mut kind = "";
    let mut innermost = None;
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if text == "dns error" {
            kind = "name resolution: ";
        }
        if is_tls(source) {
            kind = "TLS: ";
        }
        innermost = Some(text);
        next = source.source();
    }
    let text = innermost.unwrap_or_else(|| "request failed".to_owned());
    format!("{kind}{text}").chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}
