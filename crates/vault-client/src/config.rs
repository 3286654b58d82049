//! Settings, checked before anything is sent.

use std::path::PathBuf;
use std::time::Duration;

use boathouse_http::ClientError;
use url::Url;

/// How to reach Vault.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// `http(s)://host[:port]` and nothing more.
    pub address: Url,
    /// PEM bundle of the only authorities to trust. Without it the system's are used.
    pub ca_file: Option<PathBuf>,
    /// Vault Enterprise or OpenBao namespace; sent as a header, so `vault-path` stays relative to it.
    pub namespace: Option<String>,
    /// Bound for TCP and TLS set-up of one connection.
    pub connect_timeout: Duration,
    /// Bound for one whole call, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

impl VaultConfig {
    /// Settings for `address` with the system's authorities, no namespace, 3 s to connect and 10 s per call.
    #[must_use]
    pub fn new(address: Url) -> Self {
        Self {
            address,
            ca_file: None,
            namespace: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        }
    }

    /// Checks everything that can be checked without a connection or a file.
    ///
    /// # Errors
    /// The first setting that cannot work, by name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field, reason: String| Err(ConfigError::Invalid { field, reason });
        let url = &self.address;
        if !matches!(url.scheme(), "http" | "https") {
            return bad("address", format!("scheme \"{}\" is neither http nor https", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return bad("address", "has no host".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("address", "must not carry a user name or password".into());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return bad(
                "address",
                format!(
                    "must be only scheme, host and port, but ends in \"{}\"; a namespace has its own setting",
                    &url[url::Position::BeforePath..url::Position::AfterPath]
                ),
            );
        }
        if let Some(namespace) = &self.namespace {
            if namespace.is_empty() {
                return bad("namespace", "is empty; leave it out instead".into());
            }
            // It becomes a header value; the usual culprit is the newline at the end of a mounted file.
            if !namespace.bytes().all(|b| b.is_ascii_graphic()) {
                return bad("namespace", format!("{namespace:?} has a character other than printable ASCII"));
            }
        }
        for (field, value) in [("connect_timeout", self.connect_timeout), ("timeout", self.timeout)] {
            if value.is_zero() {
                return bad(field, "must be longer than zero".into());
            }
        }
        Ok(())
    }
}

/// Why no client could be made from a [`VaultConfig`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting cannot work.
    #[error("Vault {field}: {reason}")]
    Invalid {
        /// The field of [`VaultConfig`].
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The connections cannot be set up.
    #[error("Vault {0}")]
    Client(#[from] ClientError),
}
