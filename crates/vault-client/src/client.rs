//! The calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustify::endpoint::Endpoint;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{ConfigError, VaultConfig};
use crate::error::{Operation, VaultError};
use crate::request;
use crate::transport::{Call, Transport};
use crate::types::{AuthMethod, Health, Leased, Session, TokenInfo};
use crate::wire;

/// A pool of connections to one Vault server. Cloning shares the pool.
#[derive(Clone)]
pub struct VaultClient {
    transport: Arc<Transport>,
}

impl fmt::Debug for VaultClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultClient").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl VaultClient {
    /// Checks the settings, reads the CA file and sets up TLS. Sends nothing.
    ///
    /// When the process has installed no rustls crypto provider, aws-lc-rs becomes it.
    ///
    /// # Errors
    /// The setting that cannot work, by name.
    pub fn new(config: &VaultConfig) -> Result<Self, ConfigError> {
        Ok(Self { transport: Arc::new(Transport::new(config)?) })
    }

    /// The configured address, without a trailing slash.
    #[must_use]
    pub fn address(&self) -> &str {
        self.transport.address()
    }

    /// Logs in with a service-account token: `POST auth/<mount>/login`.
    ///
    /// # Errors
    /// `Denied` when the token or its claims are not accepted, `RoleMissing` when the mount lacks the role,
    /// `NotFound` or `Denied` when there is no such mount, and those of any call.
    pub async fn login(&self, method: &AuthMethod, jwt: &SecretString) -> Result<Session, VaultError> {
        let path = format!("auth/{}/login", method.mount);
        let call = Call::new(Operation::Login, &path);
        call.check_path(&path)?;
        if method.mount.is_empty() {
            return Err(call.invalid("the auth mount is empty"));
        }
        if method.role.is_empty() {
            return Err(call.invalid("the role is empty"));
        }
        let jwt = jwt.expose_secret().trim_ascii();
        if jwt.is_empty() {
            return Err(call.invalid("the service-account token is empty"));
        }
        let request =
            request::Login { mount: method.mount.clone(), role: method.role.clone(), jwt: jwt.to_owned() };
        let call = call.secret(jwt);
        wire::session(&call, self.send(&call, None, &request).await?)
    }

    /// Reads credentials with their lease: `GET <path>[?ttl=<seconds>]`.
    ///
    /// `path` is relative to the namespace and goes out segment by segment, so nothing in it can become a query.
    /// `ttl` has whole seconds (rounded down); `None` leaves the choice to the role.
    ///
    /// # Errors
    /// `Denied`, `RoleMissing` or `NotFound` for the path; `BadResponse` naming the field when the answer has no
    /// lease or no keys; `InvalidInput` for a path that could mean something else than it says; those of any call.
    pub async fn read_leased(
        &self,
        token: &SecretString,
        path: &str,
        ttl: Option<Duration>,
    ) -> Result<Leased, VaultError> {
        let call = Call::new(Operation::Read, path);
        call.check_path(path)?;
        if ttl.is_some_and(|ttl| ttl.as_secs() == 0) {
            return Err(call.invalid("the TTL is shorter than a second"));
        }
        let request = request::ReadLeased { path: path.to_owned(), ttl: ttl.map(|ttl| ttl.as_secs()) };
        wire::leased(&call, self.send(&call, Some(token), &request).await?)
    }

    /// Revokes the token and every lease read with it: `POST auth/token/revoke-self`. The default policy allows it.
    ///
    /// # Errors
    /// Those of any call. `UnknownToken` may be taken for success by a caller who wants it gone; `Denied` says
    /// that the token lacks the policy.
    pub async fn revoke_self(&self, token: &SecretString) -> Result<(), VaultError> {
        let call = Call::new(Operation::RevokeSelf, "auth/token/revoke-self");
        self.send(&call, Some(token), &request::RevokeSelf {}).await.map(drop)
    }

    /// What Vault knows about the token: `GET auth/token/lookup-self`.
    ///
    /// # Errors
    /// `UnknownToken` when the token is gone, and those of any call.
    pub async fn lookup_self(&self, token: &SecretString) -> Result<TokenInfo, VaultError> {
        let call = Call::new(Operation::LookupSelf, "auth/token/lookup-self");
        wire::token_info(&call, self.send(&call, Some(token), &request::LookupSelf {}).await?)
    }

    /// State of the server, also when it is sealed or a standby: `GET sys/health`. Needs no token.
    ///
    /// # Errors
    /// `Unavailable`, or `BadResponse` when something else than Vault answers.
    pub async fn health(&self) -> Result<Health, VaultError> {
        let call = Call::new(Operation::Health, "sys/health");
        // Every state answers 200, so that the body is what counts.
        let request = request::Health {
            standbyok: true,
            perfstandbyok: true,
            sealedcode: 200,
            uninitcode: 200,
            drsecondarycode: 200,
        };
        wire::health(&call, self.send(&call, None, &request).await?)
    }

    async fn send(
        &self,
        call: &Call<'_>,
        token: Option<&SecretString>,
        endpoint: &impl Endpoint,
    ) -> Result<Vec<u8>, VaultError> {
        let request =
            endpoint.request(self.transport.base()).map_err(|_| call.invalid("the path makes no URL"))?;
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|_| call.invalid("the path makes no URL"))?;
        self.transport.send(call, token, parts.method, url, body).await
    }
}
