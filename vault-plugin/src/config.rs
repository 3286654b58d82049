//! `config`: where MinIO is, and the admin user that makes and deletes users.
//!
//! A write changes the fields it names. Differences from the Go plugin: a read shows
//! [`REDACTED`] in place of `secretAccessKey`, unless `expose_secret_on_read` was written as true;
//! an endpoint that is not `host:port` is refused, except that a scheme which agrees with `useSSL`
//! is taken off.

use std::sync::Arc;

use minio_admin::Endpoint;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use vault_plugin_sdk::{Error, Field, Operation, Path, Request, Response, Result, Storage, handler};

use crate::Engine;

/// The storage key of the config.
pub const KEY: &str = "config";

/// What a read shows for a secret that is set. Written back, it leaves the secret as it is, so that
/// tools which read, change and write do no harm.
pub const REDACTED: &str = "(redacted)";

const ENDPOINT: &str = "endpoint";
const ACCESS_KEY_ID: &str = "accessKeyId";
const SECRET_ACCESS_KEY: &str = "secretAccessKey";
const USE_SSL: &str = "useSSL";
const EXPOSE_SECRET_ON_READ: &str = "expose_secret_on_read";

/// The config as it is stored: the Go plugin's JSON, plus one key it ignores.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `host:port`.
    pub endpoint: String,
    /// The admin user.
    #[serde(rename = "accessKeyId")]
    pub access_key_id: String,
    /// Its secret.
    #[serde(rename = "secretAccessKey", serialize_with = "plain")]
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
}

/// For storage only, which the host encrypts.
fn plain<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

impl Config {
    /// The stored config; the empty one when none was written.
    ///
    /// # Errors
    /// The storage's.
    pub async fn load(storage: &Storage) -> Result<Self> {
        Ok(storage.get(KEY).await?.unwrap_or_default())
    }

    /// Whether there is enough to call MinIO.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !(self.endpoint.is_empty()
            || self.access_key_id.is_empty()
            || self.secret_access_key.expose_secret().is_empty())
    }

    fn set_endpoint(&mut self, text: &str) -> Result<()> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest.strip_suffix('/').unwrap_or(rest)),
            None => (None, text),
        };
        let wanted = if self.use_ssl { "https" } else { "http" };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.eq_ignore_ascii_case(wanted)) {
            return Err(Error::bad_request(format!(
                "endpoint {text:?} says {scheme}, but useSSL={} means {wanted}: write the endpoint as host:port, \
                 with useSSL=true for HTTPS or useSSL=false for HTTP",
                self.use_ssl
            )));
        }
        if !rest.is_empty() {
            Endpoint::new(rest, self.use_ssl).map_err(|error| {
                Error::bad_request(format!("{error}: write host:port, for instance minio.example:9000"))
            })?;
        }
        rest.clone_into(&mut self.endpoint);
        Ok(())
    }
}

/// The path.
pub(crate) fn path(engine: &Arc<Engine>) -> Path {
    Path::new(vault_plugin_sdk::pattern::list(KEY))
        .field(Field::string(ENDPOINT).describe("MinIO server, host:port"))
        .field(Field::string(ACCESS_KEY_ID).describe("Access key of the admin user"))
        .field(Field::string(SECRET_ACCESS_KEY).describe("Secret key of the admin user").sensitive())
        .field(Field::bool(USE_SSL).describe("HTTPS instead of HTTP").default_bool(false))
        .field(
            Field::bool(EXPOSE_SECRET_ON_READ)
                .describe("Whether reading the config shows secretAccessKey, as the Go plugin does")
                .default_bool(false),
        )
        .on(Operation::Read, handler(engine, Engine::read_config))
        .on(Operation::Update, handler(engine, Engine::write_config))
        .help(
            "Where MinIO is, and its admin user",
            "A write changes the fields it names. The admin user needs admin:CreateUser, admin:DeleteUser, \
             admin:AttachUserOrGroupPolicy and admin:GetUser.",
        )
}

impl Engine {
    async fn read_config(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let config = Config::load(&req.storage).await?;
        let secret = config.secret_access_key.expose_secret();
        let shown = if secret.is_empty() || config.expose_secret_on_read { secret } else { REDACTED };
        let mut response = Response::new()
            .with(ENDPOINT, &config.endpoint)
            .with(ACCESS_KEY_ID, &config.access_key_id)
            .with(SECRET_ACCESS_KEY, shown)
            .with(USE_SSL, config.use_ssl);
        if config.expose_secret_on_read {
            response = response.with(EXPOSE_SECRET_ON_READ, true);
        }
        Ok(Some(response))
    }

    async fn write_config(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let _writing = self.writing.lock().await;
        let mut config = Config::load(&req.storage).await?;
        let fields = &req.fields;
        if fields.is_set(USE_SSL) {
            config.use_ssl = fields.bool(USE_SSL);
            config.written = true;
        }
        // After useSSL, which decides about a scheme.
        if fields.is_set(ENDPOINT) {
            config.set_endpoint(fields.str(ENDPOINT).trim())?;
            config.written = true;
        }
        if fields.is_set(ACCESS_KEY_ID) {
            config.access_key_id = fields.str(ACCESS_KEY_ID).trim().to_owned();
            config.written = true;
        }
        if fields.is_set(SECRET_ACCESS_KEY) && fields.str(SECRET_ACCESS_KEY) != REDACTED {
            config.secret_access_key = fields.str(SECRET_ACCESS_KEY).trim().into();
            config.written = true;
        }
        if fields.is_set(EXPOSE_SECRET_ON_READ) {
            config.expose_secret_on_read = fields.bool(EXPOSE_SECRET_ON_READ);
        }
        req.storage.put(KEY, &config).await?;
        self.forget_client();
        Ok(None)
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

    #[test]
    fn schemes_must_agree_with_use_ssl() {
        for (text, use_ssl, expected) in [
            ("minio:9000", false, Some("minio:9000")),
            ("http://minio:9000", false, Some("minio:9000")),
            ("https://minio:9000/", true, Some("minio:9000")),
            ("HTTPS://minio", true, Some("minio")),
            ("", false, Some("")),
            ("http://minio:9000", true, None),
            ("https://minio:9000", false, None),
            ("ftp://minio", false, None),
            ("minio:9000/path", false, None),
            ("http://minio/path", false, None),
            ("user@minio", false, None),
        ] {
            let mut config = Config { use_ssl, ..Config::default() };
            match (config.set_endpoint(text), expected) {
                (Ok(()), Some(expected)) => assert_eq!(config.endpoint, expected, "{text}"),
                (Err(Error::BadRequest(message)), None) => {
                    assert!(message.contains(text) || message.contains("host:port"), "{message}");
                }
                (got, _) => panic!("{text} with useSSL={use_ssl}: {got:?}"),
            }
        }
    }
}
