//! One bounded HTTP exchange, and what its status means.

use std::time::Duration;

use boathouse_http::{Authorities, cause, one_line};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::config::{ConfigError, VaultConfig};
use crate::error::{Operation, VaultError};

/// Longest answer that is read, in bytes. What these calls return is a thousandth of it.
pub const BODY_LIMIT: usize = 1024 * 1024;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's agent and proxy refuse requests without it when told to require it (against request forgery).
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// What an error says about its origin, known before anything is sent.
pub(crate) struct Call<'a> {
    operation: Operation,
    path: &'a str,
    secret: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(operation: Operation, path: &'a str) -> Self {
        Self { operation, path, secret: None }
    }

    /// Names a secret in the request's body, so that an answer echoing it does not reach an error.
    pub(crate) fn secret(self, secret: &'a str) -> Self {
        Self { secret: Some(secret), ..self }
    }

    pub(crate) fn invalid(&self, reason: &'static str) -> VaultError {
        VaultError::InvalidInput { operation: self.operation, path: self.path.to_owned(), reason }
    }

    pub(crate) fn bad_response(&self, reason: impl Into<String>) -> VaultError {
        VaultError::BadResponse {
            operation: self.operation,
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    /// Refuses a path that a URL library, a proxy or Vault's router could read as another one. The caller has its
    /// own rules for what a path may be; this is the last fence before the wire.
    pub(crate) fn check_path(&self, path: &str) -> Result<(), VaultError> {
        if path.chars().any(char::is_control) {
            return Err(self.invalid("the path contains a control character"));
        }
        if path.contains(['?', '#', '%', '\\']) {
            return Err(self.invalid("the path contains one of ? # % \\"));
        }
        if path.split('/').any(str::is_empty) {
            return Err(self.invalid("the path has an empty segment"));
        }
        if path.split('/').any(|segment| matches!(segment.trim(), "." | "..")) {
            return Err(self.invalid("the path has a . or .. segment"));
        }
        Ok(())
    }
}

pub(crate) struct Transport {
    http: reqwest::Client,
    /// Without a trailing slash.
    address: String,
    /// `address` with the API version.
    base: String,
    namespace: Option<HeaderValue>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Transport {
    pub(crate) fn new(config: &VaultConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let address = config.address.as_str().trim_end_matches('/').to_owned();
        let namespace = match config.namespace.as_deref().map(HeaderValue::from_str).transpose() {
            Ok(namespace) => namespace,
            Err(error) => {
                return Err(ConfigError::Invalid { field: "namespace", reason: error.to_string() });
            }
        };
        Ok(Self {
            http: http_client(config)?,
            base: format!("{address}/v1"),
            address,
            namespace,
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends one request and returns the body of a successful answer.
    pub(crate) async fn send(
        &self,
        call: &Call<'_>,
        token: Option<&SecretString>,
        method: Method,
        url: Url,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, VaultError> {
        let headers = self.headers(call, token)?;
        let mut request = self.http.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request.send().await.map_err(|e| self.unavailable(call, &e))?;
        let status = response.status();
        let location = response.headers().get(LOCATION).cloned();
        let origin = response.url().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unavailable(call, &e))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(call.bad_response(format!("it is longer than {BODY_LIMIT} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        if status.is_redirection() {
            return Err(VaultError::Redirected {
                operation: call.operation,
                path: call.path.to_owned(),
                status: status.as_u16(),
                to: redirect_target(&origin, location.as_ref()),
            });
        }
        let secrets = [call.secret, token.map(ExposeSecret::expose_secret)];
        if token.is_some() && status == StatusCode::FORBIDDEN && token_unknown(&errors(&body)) {
            let (operation, path) = (call.operation, call.path.to_owned());
            return Err(VaultError::UnknownToken { operation, path, status: status.as_u16() });
        }
        Err(refused(call, status, message(status, &body, secrets.into_iter().flatten())))
    }

    fn headers(&self, call: &Call<'_>, token: Option<&SecretString>) -> Result<HeaderMap, VaultError> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        // sys/health exists in the root namespace only.
        if let Some(namespace) = self.namespace.as_ref().filter(|_| call.operation != Operation::Health) {
            headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            let token = token.expose_secret();
            if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(call.invalid("the token is empty or has a character no token has"));
            }
            let mut value = HeaderValue::from_str(token)
                .map_err(|_| call.invalid("the token has a character no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        Ok(headers)
    }

    fn unavailable(&self, call: &Call<'_>, error: &reqwest::Error) -> VaultError {
        let reason = if error.is_timeout() && error.is_connect() {
            format!("no connection within {:?}", self.connect_timeout)
        } else if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else {
            cause(error)
        };
        VaultError::Unavailable {
            operation: call.operation,
            path: call.path.to_owned(),
            address: self.address.clone(),
            reason,
        }
    }
}

fn http_client(config: &VaultConfig) -> Result<reqwest::Client, ConfigError> {
    let authorities = match &config.ca_file {
        Some(path) => Authorities::Only(path),
        None if config.address.scheme() == "http" => Authorities::None,
        None => Authorities::System,
    };
    Ok(boathouse_http::client(authorities, config.connect_timeout, config.timeout)?)
}

/// What a status other than success says. The texts are Vault's and OpenBao's; `role not found` with 500 is the
/// original MinIO engine's.
fn refused(call: &Call<'_>, status: StatusCode, message: String) -> VaultError {
    let operation = call.operation;
    let path = call.path.to_owned();
    let code = status.as_u16();
    let login = operation == Operation::Login;
    let role_missing = match operation {
        Operation::Read => message.contains("role not found") || message.contains("unknown role"),
        Operation::Login => {
            message.contains("invalid role name")
                || (message.contains("role") && message.contains("could not be found"))
        }
        _ => false,
    };
    match code {
        400 | 404 | 500 if role_missing => VaultError::RoleMissing { operation, path, status: code, message },
        401 | 403 => VaultError::Denied { operation, path, status: code, message },
        400 if login => VaultError::Denied { operation, path, status: code, message },
        404 => VaultError::NotFound { operation, path, status: code, message },
        429 => VaultError::RateLimited { operation, path, status: code, message },
        501 | 503 if message.contains("is sealed") || message.contains("not initialized") => {
            VaultError::Sealed { operation, path, status: code }
        }
        400..=499 => VaultError::BadRequest { operation, path, status: code, message },
        _ => VaultError::Server { operation, path, status: code, message },
    }
}

/// The texts of `{"errors": [...]}`.
fn errors(body: &[u8]) -> Vec<String> {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = parsed["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// OpenBao and Vault up to 1.15 tell a token they do not know from one without the policy by form alone: the bare
/// words here, a list (`1 error occurred: * permission denied`) there. Later Vaults say `invalid token`.
fn token_unknown(errors: &[String]) -> bool {
    errors.iter().any(|error| error == "permission denied" || error.contains("invalid token"))
}

/// `{"errors": [...]}` on one line, or the status in words when the answer is not Vault's.
fn message<'a>(status: StatusCode, body: &[u8], secrets: impl Iterator<Item = &'a str>) -> String {
    let errors = errors(body);
    let mut message = errors
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| line.trim().trim_start_matches("* "))
        .filter(|line| !line.is_empty())
        // The header of Go's multierror: "1 error occurred:", "2 errors occurred:".
        .filter(|line| !line.ends_with("error occurred:") && !line.ends_with("errors occurred:"))
        .collect::<Vec<_>>()
        .join("; ");
    if message.is_empty() {
        message = status.canonical_reason().unwrap_or("no reason given").to_owned();
    }
    for secret in secrets {
        message = message.replace(secret, "[redacted]");
    }
    one_line(&message)
}

fn redirect_target(from: &Url, location: Option<&HeaderValue>) -> String {
    location
        .and_then(|value| value.to_str().ok())
        .and_then(|value| from.join(value).ok())
        .map_or_else(|| "nowhere".to_owned(), |to| to.origin().ascii_serialization())
}
