//! `config` and `config/<name>`: where each MinIO is, and the admin user the engine calls it as.
//!
//! The plain `config` is the default cluster, the one the Go plugin knows. A write changes the fields
//! it names. Differences from the Go plugin: a read shows [`REDACTED`] in place of `secretAccessKey`,
//! unless `expose_secret_on_read` was written as true; an endpoint that is not `host:port` is refused,
//! except that a scheme which agrees with `useSSL` is taken off; a config can be deleted.

mod cluster;
mod paths;
mod rotate;
mod write;

use std::time::Duration;

use minio_admin::{Breaker, Builder, Client, Credentials, Endpoint, TlsVersion};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Error, Result, Storage};

use crate::{failure, stored};

pub use cluster::Cluster;
pub(crate) use cluster::KEY;
pub(crate) use paths::{ROTATE_ROOT, paths};

/// Storage folder of the named clusters' configs.
pub(crate) const FOLDER: &str = "config/";

/// What a read shows for a secret that is set. Written back, it leaves the secret as it is, so that
/// tools which read, change and write do no harm.
pub const REDACTED: &str = "(redacted)";

/// Limit for one MinIO call. Issuing makes a handful, and one for each of up to 32 groups that a user or
/// parent is put in, or taken out of. The first call that is lost ends it, and so does the first one in cleaning
/// up: a dead MinIO is told well within the 90 s a host gives a request. One that answers each call, but
/// slowly, can outlast them; what is made then and not issued, the log has removed. Revocation makes one or
/// two: a dead MinIO holds a host's worker this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// After three calls in a row that MinIO did not answer, calls fail at once for a while, so that a
/// host with thousands of leases to revoke does not wait for each.
pub(crate) fn breaker() -> Breaker {
    Breaker::new(3, Duration::from_secs(2))
}

/// A config as it is stored: the Go plugin's JSON, plus keys it ignores.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `host:port`.
    pub endpoint: String,
    /// The admin user.
    #[serde(rename = "accessKeyId")]
    pub access_key_id: String,
    /// Its secret.
    #[serde(rename = "secretAccessKey", serialize_with = "stored::secret")]
    pub secret_access_key: SecretString,
    /// HTTPS or HTTP.
    #[serde(rename = "useSSL")]
    pub use_ssl: bool,
    /// Whether any field was ever written; the Go plugin makes no client without it.
    #[serde(rename = "is_configured")]
    pub written: bool,
    /// Whether a read shows the secret.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expose_secret_on_read: bool,
    /// Authorities to trust in place of the system's, PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_certificate: String,
    /// Certificate to show to MinIO, PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_certificate: String,
    /// Its key, PEM.
    #[serde(serialize_with = "stored::secret", skip_serializing_if = "stored::is_empty")]
    pub client_key: SecretString,
    /// The oldest TLS to speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<MinTls>,
    /// Region in signatures.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// A secret that is being set, kept from before MinIO hears of it until it is proven.
    #[serde(serialize_with = "stored::optional_secret", skip_serializing_if = "Option::is_none")]
    pub next_secret_access_key: Option<SecretString>,
}

/// Values of `min_tls_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MinTls {
    /// TLS 1.2, the default.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

impl From<MinTls> for TlsVersion {
    fn from(version: MinTls) -> Self {
        match version {
            MinTls::V1_2 => Self::V1_2,
            MinTls::V1_3 => Self::V1_3,
        }
    }
}

impl Config {
    /// A cluster's stored config.
    ///
    /// # Errors
    /// The storage's.
    pub async fn load(storage: &Storage, cluster: &Cluster) -> Result<Option<Self>> {
        Ok(storage.get(&cluster.key()).await?)
    }

    /// Whether there is a config of the cluster. The default cluster always is one, if an empty one.
    ///
    /// # Errors
    /// The storage's; HTTP 400 saying what to write.
    pub(crate) async fn must_exist(storage: &Storage, cluster: &Cluster) -> Result<()> {
        if cluster.is_default() || Self::load(storage, cluster).await?.is_some() {
            return Ok(());
        }
        Err(Error::bad_request(format!(
            "cluster {:?} is not known: write {} first",
            cluster.name(),
            cluster.key()
        )))
    }

    /// A cluster's config with which MinIO can be called.
    ///
    /// # Errors
    /// The storage's; HTTP 500 saying what to write.
    pub(crate) async fn configured(storage: &Storage, cluster: &Cluster) -> Result<Self> {
        let config = Self::load(storage, cluster).await?.filter(Self::is_configured);
        config.ok_or_else(|| {
            Error::internal(format!(
                "MinIO is not configured: write endpoint, accessKeyId and secretAccessKey to {}",
                cluster.key()
            ))
        })
    }

    /// Whether there is enough to call MinIO.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !(self.endpoint.is_empty()
            || self.access_key_id.is_empty()
            || self.secret_access_key.expose_secret().is_empty())
    }

    /// A client that calls as this user.
    ///
    /// # Errors
    /// HTTP 500 when the config cannot be used, for instance for lack of root certificates.
    pub(crate) fn connect(&self, user: &str, secret: &SecretString, breaker: Breaker) -> Result<Client> {
        let builder = || {
            let endpoint = Endpoint::new(&self.endpoint, self.use_ssl)?;
            self.builder(endpoint, Credentials::new(user, secret.clone())).breaker(breaker).build()
        };
        builder().map_err(|error| failure::explain(&error))
    }

    /// Hosts and callers repeat what failed; a repetition here would only hold their workers longer.
    fn builder(&self, endpoint: Endpoint, credentials: Credentials) -> Builder {
        let mut builder = Client::builder(endpoint, credentials).timeout(TIMEOUT).retries(0);
        if !self.region.is_empty() {
            builder = builder.region(&self.region);
        }
        if !self.ca_certificate.is_empty() {
            builder = builder.ca_certificates(self.ca_certificate.as_bytes());
        }
        if !self.client_certificate.is_empty() {
            builder = builder.client_identity(self.client_certificate.as_bytes(), self.client_key.clone());
        }
        if let Some(version) = self.min_tls_version {
            builder = builder.min_tls(version.into());
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    /// As the Go plugin writes it.
    const LEGACY: &str = r#"{"endpoint":"127.0.0.1:9000","accessKeyId":"root","secretAccessKey":"rootroot123","useSSL":true,"is_configured":true}"#;

    #[test]
    fn the_go_plugins_config_is_read_and_written_as_it_is() {
        let config: Config = serde_json::from_str(LEGACY).unwrap();
        assert_eq!(config.secret_access_key.expose_secret(), "rootroot123");
        assert!(config.use_ssl && config.is_configured() && config.written);
        assert_eq!(serde_json::to_string(&config).unwrap(), LEGACY);
        assert!(!format!("{config:?}").contains("rootroot123"));
    }
}
