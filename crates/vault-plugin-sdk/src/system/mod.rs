//! What the host says about the mount.

pub(crate) mod fixed;
mod host;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

pub(crate) use host::HostSystem;

/// The host did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[error("system view: {operation}: {message}")]
pub struct SystemError {
    /// The question that failed.
    pub operation: &'static str,
    /// The host's or the transport's text.
    pub message: String,
}

/// Who asks: one person or machine, whichever auth mount it logs in through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Its id, as in [`Request::entity_id`](crate::Request::entity_id).
    pub id: String,
    /// Its name, unique in its namespace.
    pub name: String,
    /// What the operator noted about it.
    pub metadata: BTreeMap<String, String>,
    /// Who it is to each auth mount it has logged in through.
    pub aliases: Vec<EntityAlias>,
}

/// Who an [`Entity`] is to one auth mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityAlias {
    /// `kubernetes`, `jwt`, `userpass` and so on.
    pub mount_type: String,
    /// The auth mount's accessor.
    pub mount_accessor: String,
    /// Its name there: of a Kubernetes service account, by default, the UID.
    pub name: String,
    /// What the auth mount knows about it (`service_account_namespace`).
    pub metadata: BTreeMap<String, String>,
}

/// Where answers come from.
#[async_trait]
pub(crate) trait RawSystem: Send + Sync {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError>;
    async fn max_lease_ttl(&self) -> Result<Duration, SystemError>;
    async fn replication_state(&self) -> Result<u32, SystemError>;
    async fn is_tainted(&self) -> Result<bool, SystemError>;
    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError>;
    async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemError>;
    async fn host_version(&self) -> Result<String, SystemError>;
}

/// The mount's settings, asked of the host anew at each call.
#[derive(Clone)]
pub struct SystemView(Arc<dyn RawSystem>);

/// Bits of the replication state, from the hosts' `consts` package.
const PERFORMANCE_SECONDARY: u32 = 1 << 6;
const PERFORMANCE_STANDBY: u32 = 1 << 14;

impl SystemView {
    pub(crate) fn new(raw: Arc<dyn RawSystem>) -> Self {
        Self(raw)
    }

    /// A view that answers with fixed lease lengths, for tests.
    pub fn fixed(default_lease_ttl: Duration, max_lease_ttl: Duration) -> Self {
        Self(Arc::new(fixed::Fixed { default_lease_ttl, max_lease_ttl }))
    }

    /// A view that fails every call, for times when the host offers none.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self(Arc::new(fixed::Unavailable(reason.into())))
    }

    /// The mount's default lease length.
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        self.0.default_lease_ttl().await
    }

    /// The mount's longest lease.
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        self.0.max_lease_ttl().await
    }

    /// Whether this node cannot write to storage (performance standby or secondary).
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn is_read_only(&self) -> Result<bool, SystemError> {
        Ok(self.0.replication_state().await? & (PERFORMANCE_SECONDARY | PERFORMANCE_STANDBY) != 0)
    }

    /// Whether the mount is being disabled or moved: no request comes any more. The last
    /// [periodic call](crate::Backend::on_periodic) of a mount sees it, before its leases are revoked.
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn is_tainted(&self) -> Result<bool, SystemError> {
        self.0.is_tainted().await
    }

    /// A password made by the host's password policy `policy`.
    ///
    /// # Errors
    /// [`SystemError`] when there is no such policy, when the host has no policies (Vault before 1.5) or does
    /// not answer.
    pub async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        self.0.generate_password(policy).await
    }

    /// The entity with this id; `None` when there is none, and for the empty id of a caller without one (a
    /// root token).
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemError> {
        if id.is_empty() {
            return Ok(None);
        }
        self.0.entity(id).await
    }

    /// The host's version, for logs.
    ///
    /// # Errors
    /// [`SystemError`] when the host does not answer.
    pub async fn host_version(&self) -> Result<String, SystemError> {
        self.0.host_version().await
    }
}

impl fmt::Debug for SystemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SystemView").finish_non_exhaustive()
    }
}
