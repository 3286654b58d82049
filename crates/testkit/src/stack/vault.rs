//! Admin calls to OpenBao.

use super::{StackError, http};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// OpenBao's HTTP API with one token.
#[derive(Debug, Clone)]
pub struct VaultAdmin {
    client: reqwest::Client,
    address: String,
    token: Option<SecretString>,
}

impl VaultAdmin {
    /// Calls without a token; `authority` vouches for a server that speaks TLS.
    pub(super) fn new(address: &str, authority: Option<CertificateDer<'static>>) -> Result<Self, StackError> {
        Ok(Self { client: http::client(authority)?, address: address.to_owned(), token: None })
    }

    /// The same server with another token.
    #[must_use]
    pub fn with_token(&self, token: SecretString) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// The token it calls with.
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// Makes a call; `path` is what follows `/v1/`. An empty answer is `Value::Null`.
    ///
    /// # Errors
    /// [`StackError::Refused`] with the status, or [`StackError::Http`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, StackError> {
        let operation = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}/v1/{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = http::send(operation.clone(), request).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer)
            .map_err(|error| StackError::Http { operation, detail: error.to_string() })
    }

    /// Reads a path; gives the whole envelope (`data`, `lease_id`, …).
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn read(&self, path: &str) -> Result<Value, StackError> {
        self.call(Method::GET, path, None).await
    }

    /// Writes to a path.
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn write(&self, path: &str, body: &Value) -> Result<Value, StackError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Deletes a path.
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn delete(&self, path: &str) -> Result<(), StackError> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    /// The keys under a path; none when there is nothing.
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn list(&self, path: &str) -> Result<Vec<String>, StackError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = match self.read(&format!("{path}{separator}list=true")).await {
            Err(error) if error.status() == Some(404) => return Ok(Vec::new()),
            answer => answer?,
        };
        let keys = answer["data"]["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Logs in at an auth mount with a JWT; gives the client token.
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn login(
        &self,
        mount: &str,
        role: &str,
        jwt: &SecretString,
    ) -> Result<SecretString, StackError> {
        let path = format!("auth/{mount}/login");
        let body = serde_json::json!({ "role": role, "jwt": jwt.expose_secret() });
        let answer = self.call(Method::POST, &path, Some(&body)).await?;
        let token = answer["auth"]["client_token"].as_str();
        token
            .map(SecretString::from)
            .ok_or(StackError::Answer { operation: path, field: "auth.client_token" })
    }

    /// Ids of the leases of one engine role.
    ///
    /// # Errors
    /// As [`VaultAdmin::call`].
    pub async fn leases(&self, role: &str) -> Result<Vec<String>, StackError> {
        let prefix = format!("{}/keys/{role}/", super::ENGINE_MOUNT);
        let keys = self.list(&format!("sys/leases/lookup/{prefix}")).await?;
        Ok(keys.into_iter().map(|key| format!("{prefix}{key}")).collect())
    }
}
