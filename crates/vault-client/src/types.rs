//! What the calls take and return.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

/// Where and as what to log in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthMethod {
    /// Path of the auth mount under `auth/`, e.g. `jwt`, `kubernetes` or `clusters/east/jwt`.
    pub mount: String,
    /// Which auth plugin serves that mount.
    pub kind: AuthKind,
    /// Name of the role on that mount.
    pub role: String,
}

/// Auth plugins that take a service-account token. Their login requests are the same; the kind is what an operator
/// configures and what messages can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// The `jwt` plugin: checks the signature itself.
    Jwt,
    /// The `kubernetes` plugin: asks the API server's TokenReview.
    Kubernetes,
}

/// A Vault token and what Vault said about it at login.
#[derive(Clone, Debug)]
pub struct Session {
    /// The token. Everything read with it is revoked when it is.
    pub token: SecretString,
    /// The token's accessor: names the token in audit logs, grants nothing.
    pub accessor: String,
    /// Entity behind the login; empty when Vault made none.
    pub entity_id: String,
    /// How long the token lives if it is not renewed. Zero: it does not expire.
    pub lease_duration: Duration,
    /// Whether Vault would extend it.
    pub renewable: bool,
    /// Policies the token holds.
    pub policies: Vec<String>,
    /// What the auth mount recorded about the login, e.g. `role` or `service_account_namespace`.
    pub metadata: BTreeMap<String, String>,
}

/// A lease with the credentials that came with it.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Names the lease in `sys/leases/*`; contains the path it was read from.
    pub lease_id: String,
    /// How long the credentials live if nobody renews or revokes them.
    pub lease_duration: Duration,
    /// Whether Vault would extend it. The original MinIO engine's leases cannot be.
    pub renewable: bool,
    /// The keys.
    pub credentials: S3Credentials,
    /// Vault's remarks, e.g. that the TTL was capped.
    pub warnings: Vec<String>,
}

/// An S3 access key pair.
#[derive(Clone, Debug)]
pub struct S3Credentials {
    /// Public half; also the MinIO user's name.
    pub access_key: String,
    /// Secret half.
    pub secret_key: SecretString,
    /// Present for temporary (STS) keys only.
    pub session_token: Option<SecretString>,
}

/// What Vault knows about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's accessor.
    pub accessor: String,
    /// Name shown in audit logs, e.g. `jwt-system:serviceaccount:bob:default`.
    pub display_name: String,
    /// Entity behind the token; empty when there is none.
    pub entity_id: String,
    /// Time left. Zero: it does not expire (root tokens).
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Policies the token holds.
    pub policies: Vec<String>,
    /// What the auth mount recorded about the login.
    pub metadata: BTreeMap<String, String>,
}

/// State of the server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the storage was ever initialized.
    pub initialized: bool,
    /// Whether it is sealed, and so answers nothing else.
    pub sealed: bool,
    /// Whether it is a standby of a highly available cluster.
    pub standby: bool,
    /// Server version, e.g. `1.21.0`.
    pub version: String,
}
