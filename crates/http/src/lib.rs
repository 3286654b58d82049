//! One way to make an HTTP client, and to say why a call failed.
//!
//! No redirects (a token or a signature is for one host), no proxy from the environment, one set of certificate
//! authorities and never a merge, and name resolution without the C library, which a static binary does not have.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, redirect};

/// Longest text of somebody else's that goes into an error, in characters.
pub const MESSAGE_LIMIT: usize = 400;

/// Who vouches for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorities<'a> {
    /// Nobody: for plain http, where a machine that has no authorities needs none.
    None,
    /// The system's; they take some milliseconds to load.
    System,
    /// Only those of a PEM bundle.
    Only(&'a Path),
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA file could not be read.
    #[error("ca_file {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The CA file holds no usable certificate.
    #[error("ca_file {}: {reason}", path.display())]
    CaContent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS or the resolver could not be set up, for instance because the system has no authorities.
    #[error("HTTP client: {0}")]
    Setup(String),
}

/// Makes a client. `connect_timeout` bounds TCP and TLS set-up of a connection, `timeout` a whole call from
/// connecting to the last byte of the answer. Sends nothing.
///
/// When the process has installed no rustls crypto provider, aws-lc-rs becomes it.
///
/// # Errors
/// See [`ClientError`].
pub fn client(
    authorities: Authorities<'_>,
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else was faster, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let builder = Client::builder()
        .tls_backend_rustls()
        .hickory_dns(true)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .user_agent(concat!("boathouse/", env!("CARGO_PKG_VERSION")));
    let builder = match authorities {
        Authorities::None => builder.tls_certs_only(Vec::new()),
        Authorities::System => builder,
        Authorities::Only(path) => builder.tls_certs_only(read(path)?),
    };
    builder.build().map_err(|error| ClientError::Setup(cause(&error)))
}

fn read(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = std::fs::read(path).map_err(|source| ClientError::CaFile { path: path.to_owned(), source })?;
    let content = |reason: String| ClientError::CaContent { path: path.to_owned(), reason };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| content(cause(&error)))?;
    if certificates.is_empty() {
        return Err(content("no certificate in PEM form in it".into()));
    }
    Ok(certificates)
}

/// Why a call failed, in the words of the innermost cause. Never the error's own text, which holds the URL, and
/// that may be signed.
#[must_use]
pub fn cause(error: &reqwest::Error) -> String {
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
    one_line(&format!("{kind}{text}"))
}

/// Whether rustls ended it. Its error travels inside (nested) I/O errors, which `source()` skips over.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inside.is_some_and(|inner| is_tls(inner))
}

/// Somebody else's text, fit for an error: no control characters, at most [`MESSAGE_LIMIT`] characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_LIMIT).collect()
}
