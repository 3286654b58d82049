//! Answers without a host.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{Entity, RawSystem, SystemError, SystemView};

/// Lease lengths and nothing else.
pub(super) struct Fixed {
    pub(super) default_lease_ttl: Duration,
    pub(super) max_lease_ttl: Duration,
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

    async fn is_tainted(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        Err(SystemError { operation: "generate password", message: format!("no policy \"{policy}\" here") })
    }

    async fn entity(&self, _id: &str) -> Result<Option<Entity>, SystemError> {
        Ok(None)
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        Ok("0.0.0".to_owned())
    }
}

/// No answer to anything.
pub(super) struct Unavailable(pub(super) String);

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

    async fn is_tainted(&self) -> Result<bool, SystemError> {
        Err(self.error("tainted"))
    }

    async fn generate_password(&self, _policy: &str) -> Result<SecretString, SystemError> {
        Err(self.error("generate password"))
    }

    async fn entity(&self, _id: &str) -> Result<Option<Entity>, SystemError> {
        Err(self.error("entity"))
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        Err(self.error("host version"))
    }
}

/// Another view, with entities and password policies that a test adds to it.
pub(crate) struct Extended {
    view: SystemView,
    added: Mutex<Added>,
}

#[derive(Default)]
struct Added {
    entities: BTreeMap<String, Entity>,
    /// What each policy makes.
    passwords: BTreeMap<String, SecretString>,
    is_tainted: bool,
}

impl Extended {
    pub(crate) fn new(view: SystemView) -> Self {
        Self { view, added: Mutex::default() }
    }

    pub(crate) fn add_entity(&self, entity: Entity) {
        self.added().entities.insert(entity.id.clone(), entity);
    }

    pub(crate) fn add_policy(&self, name: String, password: SecretString) {
        self.added().passwords.insert(name, password);
    }

    pub(crate) fn taint(&self) {
        self.added().is_tainted = true;
    }

    fn added(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RawSystem for Extended {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        self.view.default_lease_ttl().await
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        self.view.max_lease_ttl().await
    }

    async fn replication_state(&self) -> Result<u32, SystemError> {
        self.view.0.replication_state().await
    }

    async fn is_tainted(&self) -> Result<bool, SystemError> {
        Ok(self.added().is_tainted || self.view.is_tainted().await?)
    }

    async fn generate_password(&self, policy: &str) -> Result<SecretString, SystemError> {
        let added = self.added().passwords.get(policy).cloned();
        match added {
            Some(password) => Ok(password),
            None => self.view.generate_password(policy).await,
        }
    }

    async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemError> {
        let added = self.added().entities.get(id).cloned();
        match added {
            Some(entity) => Ok(Some(entity)),
            None => self.view.entity(id).await,
        }
    }

    async fn host_version(&self) -> Result<String, SystemError> {
        self.view.host_version().await
    }
}
