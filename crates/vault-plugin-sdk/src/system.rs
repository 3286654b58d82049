//! What the host says about the mount.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use csi_proto::plugin::pb;
use csi_proto::plugin::pb::system_view_client::SystemViewClient;
use secrecy::SecretString;
use tonic::transport::Channel;

use crate::convert::duration;

/// The host did not answer.
#[derive(Debug, thiserror::Error)]
#[error("system view: {operation}: {message}")]
pub struct SystemError {
    /// The call that failed.
    pub operation: &'static str,
    /// The host's or the transport's text.
    pub message: String,
}

/// Where answers come from.
#[async_trait]
pub(crate) trait RawSystem: Send + Sync {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError>;
    async fn max_lease_ttl(&self) -> Result<Duration, SystemError>;
    async fn replication_state(&self) -> Result<u32, SystemError>;
    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError>;
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
        Self(Arc::new(Fixed { default_lease_ttl, max_lease_ttl }))
    }

    /// A view that fails every call, for times when the host offers none.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self(Arc::new(Unavailable(reason.into())))
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

    /// A password made by the host's password policy `policy`.
    ///
    /// # Errors
    /// [`SystemError`] when there is no such policy or the host does not answer.
    pub async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        self.0.generate_password(policy).await
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

struct Fixed {
    default_lease_ttl: Duration,
    max_lease_ttl: Duration,
}

#[async_trait]
impl RawSystem for Fixed {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(self.default_lease_ttl)
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(self.max_lease_ttl)
    }

    async fn replication_state(&self) -> Result<u32, SystemError> {
        Ok(0)
    }

    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        Err(SystemError { operation: "generate password", message: format!("no policy \"{policy}\" here") })
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        Ok("0.0.0".to_owned())
    }
}

struct Unavailable(String);

impl Unavailable {
    fn error(&self, operation: &'static str) -> SystemError {
        SystemError { operation, message: self.0.clone() }
    }
}

#[async_trait]
impl RawSystem for Unavailable {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        Err(self.error("default lease ttl"))
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        Err(self.error("max lease ttl"))
    }

    async fn replication_state(&self) -> Result<u32, SystemError> {
        Err(self.error("replication state"))
    }

    async fn generate_password(&self, _policy: &str) -> Result<SecretString, SystemError> {
        Err(self.error("generate password"))
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        Err(self.error("host version"))
    }
}

/// The host's `pb.SystemView`.
pub(crate) struct HostSystem(SystemViewClient<Channel>);

impl HostSystem {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(SystemViewClient::new(channel))
    }
}

fn failed(operation: &'static str) -> impl Fn(tonic::Status) -> SystemError {
    move |status| SystemError { operation, message: status.message().to_owned() }
}

#[async_trait]
impl RawSystem for HostSystem {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        let reply =
            self.0.clone().default_lease_ttl(pb::Empty {}).await.map_err(failed("default lease ttl"))?;
        Ok(duration(reply.into_inner().ttl))
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        let reply = self.0.clone().max_lease_ttl(pb::Empty {}).await.map_err(failed("max lease ttl"))?;
        Ok(duration(reply.into_inner().ttl))
    }

    async fn replication_state(&self) -> Result<u32, SystemError> {
        let reply =
            self.0.clone().replication_state(pb::Empty {}).await.map_err(failed("replication state"))?;
        Ok(reply.into_inner().state.cast_unsigned())
    }

    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        let args = pb::GeneratePasswordFromPolicyRequest { policy_name: policy.to_owned() };
        let reply =
            self.0.clone().generate_password_from_policy(args).await.map_err(failed("generate password"))?;
        Ok(SecretString::from(reply.into_inner().password))
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        let reply =
            self.0.clone().plugin_env(pb::Empty {}).await.map_err(failed("host version"))?.into_inner();
        if !reply.err.is_empty() {
            return Err(SystemError { operation: "host version", message: reply.err });
        }
        Ok(reply.plugin_environment.unwrap_or_default().vault_version)
    }
}
