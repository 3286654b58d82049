//! From the fields of a write to a config.

use minio_admin::{Credentials, Endpoint};
use secrecy::ExposeSecret;
use vault_plugin_sdk::{Error, FieldData, Result};

use super::paths::{
    ACCESS_KEY_ID, CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY, ENDPOINT, EXPOSE_SECRET_ON_READ,
    MIN_TLS_VERSION, REGION, SECRET_ACCESS_KEY, USE_SSL,
};
use super::{Config, MinTls, REDACTED};
use crate::limits;

impl Config {
    /// Takes over the fields a write names. Values are trimmed, as the Go plugin does.
    ///
    /// # Errors
    /// HTTP 400 naming the field and what to write; `self` is then of no use.
    pub(super) fn take(&mut self, fields: &FieldData) -> Result<()> {
        let text = |name: &str, most| -> Result<Option<&str>> {
            let value = fields.is_set(name).then(|| fields.str(name).trim());
            value.map(|value| limits::line(name, value, most).map(|()| value)).transpose()
        };
        let pem = |name: &str| -> Result<Option<&str>> {
            let value = fields.is_set(name).then(|| fields.str(name).trim());
            value.map(|value| limits::lines(name, value, limits::PEM).map(|()| value)).transpose()
        };
        if fields.is_set(USE_SSL) {
            self.use_ssl = fields.bool(USE_SSL);
            self.written = true;
        }
        // After useSSL, which decides about a scheme.
        if let Some(endpoint) = text(ENDPOINT, limits::ENDPOINT)? {
            self.set_endpoint(endpoint)?;
            self.written = true;
        }
        let is_redacted = |value: &&str| *value == REDACTED;
        if let Some(user) = text(ACCESS_KEY_ID, limits::ACCESS_KEY)? {
            // Of the same user it may be MinIO's already; its next use tries it first, then the written one.
            if user != self.access_key_id {
                self.next_secret_access_key = None;
            }
            user.clone_into(&mut self.access_key_id);
            self.written = true;
        }
        let secret = text(SECRET_ACCESS_KEY, limits::SECRET_KEY)?;
        if let Some(secret) = secret.filter(|secret| !is_redacted(secret)) {
            self.secret_access_key = secret.into();
            self.written = true;
        }
        if fields.is_set(EXPOSE_SECRET_ON_READ) {
            self.expose_secret_on_read = fields.bool(EXPOSE_SECRET_ON_READ);
        }
        if let Some(region) = text(REGION, limits::REGION)? {
            region.clone_into(&mut self.region);
        }
        if let Some(version) = text(MIN_TLS_VERSION, limits::NAME)? {
            self.min_tls_version = min_tls(version)?;
        }
        if let Some(authorities) = pem(CA_CERTIFICATE)? {
            authorities.clone_into(&mut self.ca_certificate);
        }
        if let Some(certificate) = pem(CLIENT_CERTIFICATE)? {
            certificate.clone_into(&mut self.client_certificate);
        }
        if let Some(key) = pem(CLIENT_KEY)?.filter(|key| !is_redacted(key)) {
            self.client_key = key.into();
        }
        self.check_tls()
    }

    fn set_endpoint(&mut self, text: &str) -> Result<()> {
        if text.contains('@') {
            // Not quoted: before it there may be a password.
            return Err(Error::bad_request(
                "endpoint has a user in it: write host:port, and the user to accessKeyId and secretAccessKey",
            ));
        }
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

    /// The PEM fields must make a TLS client, and TLS must be on: they would promise what is not so.
    fn check_tls(&self) -> Result<()> {
        let has_key = !self.client_key.expose_secret().is_empty();
        if self.client_certificate.is_empty() == has_key {
            return Err(Error::bad_request(
                "client_certificate and client_key belong together: write both, or both empty",
            ));
        }
        if self.ca_certificate.is_empty() && !has_key {
            return Ok(());
        }
        if !self.use_ssl {
            let given = [(CA_CERTIFICATE, !self.ca_certificate.is_empty()), (CLIENT_CERTIFICATE, has_key)];
            let given: Vec<&str> =
                given.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect();
            return Err(Error::bad_request(format!(
                "{} would go unused, for useSSL=false means HTTP: write useSSL=true, or all certificate fields empty",
                given.join(" and ")
            )));
        }
        let anywhere = Endpoint::new("minio.invalid", true).map_err(Error::internal)?;
        self.builder(anywhere, Credentials::new("nobody", "nothing")).build().map(drop).map_err(|error| {
            Error::bad_request(format!(
                "{error}: write ca_certificate, client_certificate and client_key as PEM, with their BEGIN and END lines"
            ))
        })
    }
}

fn min_tls(text: &str) -> Result<Option<MinTls>> {
    match text {
        "" => Ok(None),
        "1.2" => Ok(Some(MinTls::V1_2)),
        "1.3" => Ok(Some(MinTls::V1_3)),
        other => Err(Error::bad_request(format!("min_tls_version {other:?} is not known: write 1.2 or 1.3"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("http://user:hunter2@minio", false, None),
            ("https://user:hunter2@minio", false, None),
            ("user:hunter2@minio/path", true, None),
        ] {
            let mut config = Config { use_ssl, ..Config::default() };
            match (config.set_endpoint(text), expected) {
                (Ok(()), Some(expected)) => assert_eq!(config.endpoint, expected, "{text}"),
                (Err(Error::BadRequest(message)), None) => {
                    assert!(message.contains(text) || message.contains("host:port"), "{message}");
                    assert!(message.contains("endpoint") && !message.contains("hunter2"), "{message}");
                }
                (got, _) => panic!("{text} with useSSL={use_ssl}: {got:?}"),
            }
        }
    }
}
