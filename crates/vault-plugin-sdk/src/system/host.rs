//! The host's answers.

use std::time::Duration;

use async_trait::async_trait;
use csi_proto::plugin::pb::system_view_client::SystemViewClient;
use csi_proto::plugin::{logical, pb};
use secrecy::SecretString;
use tonic::Code;
use tonic::transport::Channel;

use super::{Entity, EntityAlias, RawSystem, SystemError};
use crate::convert::duration;

/// The host's `pb.SystemView`.
pub(crate) struct HostSystem(SystemViewClient<Channel>);

impl HostSystem {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(SystemViewClient::new(channel))
    }
}

fn failed(operation: &'static str) -> impl Fn(tonic::Status) -> SystemError {
    move |status| {
        let message = match status.code() {
            Code::Unimplemented => "this host does not offer it".to_owned(),
            _ => status.message().to_owned(),
        };
        SystemError { operation, message }
    }
}

/// The host's own error, which travels beside the answer.
fn checked(operation: &'static str, err: String) -> Result<(), SystemError> {
    if err.is_empty() { Ok(()) } else { Err(SystemError { operation, message: err }) }
}

fn entity(entity: logical::Entity) -> Entity {
    let alias = |alias: logical::Alias| EntityAlias {
        mount_type: alias.mount_type,
        mount_accessor: alias.mount_accessor,
        name: alias.name,
        metadata: alias.metadata.into_iter().collect(),
    };
    Entity {
        id: entity.id,
        name: entity.name,
        metadata: entity.metadata.into_iter().collect(),
        aliases: entity.aliases.into_iter().map(alias).collect(),
    }
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

    async fn is_tainted(&self) -> Result<bool, SystemError> {
        let reply = self.0.clone().tainted(pb::Empty {}).await.map_err(failed("tainted"))?;
        Ok(reply.into_inner().tainted)
    }

    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        const OPERATION: &str = "generate password";
        let args = pb::GeneratePasswordFromPolicyRequest { policy_name: policy.to_owned() };
        let reply = self.0.clone().generate_password_from_policy(args).await.map_err(|status| {
            let error = failed(OPERATION)(status);
            SystemError { message: format!("policy \"{policy}\": {}", error.message), ..error }
        })?;
        Ok(SecretString::from(reply.into_inner().password))
    }

    async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemError> {
        const OPERATION: &str = "entity";
        let args = pb::EntityInfoArgs { entity_id: id.to_owned() };
        let reply = self.0.clone().entity_info(args).await.map_err(failed(OPERATION))?.into_inner();
        checked(OPERATION, reply.err)?;
        Ok(reply.entity.map(entity))
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        const OPERATION: &str = "host version";
        let reply = self.0.clone().plugin_env(pb::Empty {}).await.map_err(failed(OPERATION))?.into_inner();
        checked(OPERATION, reply.err)?;
        Ok(reply.plugin_environment.unwrap_or_default().vault_version)
    }
}
