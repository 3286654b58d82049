//! The user of a role that its service accounts and sessions belong to.
//!
//! It has the role's policies and groups and is made when the role's first key is read. Its secret is
//! known to this engine only. It goes with the role, and takes its service accounts and sessions along.

use minio_admin::Client;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Context, Error, Result, Storage};

use crate::config::{Cluster, Config};
use crate::made::{self, Announced, Kind, Made};
use crate::roles::Role;
use crate::{Engine, failure, passwords, stored};

/// Storage folder.
pub(crate) const FOLDER: &str = "parents/";

/// Random characters in a parent's name: mounts and hosts that share a MinIO may share role names.
const UNIQUE: usize = 12;

/// Characters of the role's name in its parent's name.
const OF_ROLE: usize = 40;

/// A parent as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) user: String,
    #[serde(serialize_with = "stored::secret")]
    pub(crate) secret: SecretString,
    #[serde(default)]
    pub(crate) cluster: Cluster,
    /// What it was given last.
    policy: String,
    #[serde(default)]
    groups: Vec<String>,
}

impl Parent {
    pub(crate) async fn load(storage: &Storage, role: &str) -> Result<Option<Self>> {
        Ok(storage.get(&key(role)).await?)
    }

    /// Whether it has the rights the role has now, and where the role has them.
    fn has_rights_of(&self, role: &Role) -> bool {
        self.policy == role.policy && self.groups == role.groups && self.cluster == role.cluster
    }

    /// Makes the user at MinIO, or gives it its secret and rights anew.
    async fn make(&self, minio: &Client, role: &Role) -> Result<(), minio_admin::Error> {
        minio.add_user(&self.user, &self.secret).await?;
        self.give_rights(minio, role).await
    }

    async fn give_rights(&self, minio: &Client, role: &Role) -> Result<(), minio_admin::Error> {
        let policies: Vec<&str> = role.policies().collect();
        if !policies.is_empty() || !self.policy.is_empty() {
            minio.set_user_policy(&self.user, &policies).await?;
        }
        for group in &role.groups {
            minio.add_to_group(group, &[&self.user]).await?;
        }
        for group in self.groups.iter().filter(|group| !role.groups.contains(group)) {
            minio.remove_from_group(group, &[&self.user]).await?;
        }
        Ok(())
    }

    /// Stores that it has the role's rights.
    async fn keep_rights(mut self, storage: &Storage, name: &str, role: &Role) -> Result<Self> {
        (self.policy, self.groups) = (role.policy.clone(), role.groups.clone());
        storage.put(&key(name), &self).await?;
        Ok(self)
    }
}

fn key(role: &str) -> String {
    format!("{FOLDER}{role}")
}

fn deleted_meanwhile() -> Error {
    Error::internal("the role was deleted meanwhile")
}

/// The role as it is under the lock. The caller's client is of the cluster the role had before.
async fn role_now(storage: &Storage, name: &str, before: &Role) -> Result<Role> {
    let role = Role::load(storage, name).await?.ok_or_else(deleted_meanwhile)?;
    if role.cluster != before.cluster {
        return Err(Error::internal("the role was moved to another cluster meanwhile: ask again"));
    }
    Ok(role)
}

async fn new_parent(context: &Context, name: &str, role: &Role, minio: &Client) -> Result<Parent> {
    let Context { storage, system } = context;
    let of_role: String = name.chars().take(OF_ROLE).collect();
    let unique = Alphanumeric.sample_string(&mut rand::rng(), UNIQUE);
    let parent = Parent {
        user: format!("{}{of_role}-parent-{unique}", role.user_name_prefix),
        secret: passwords::random(),
        cluster: role.cluster.clone(),
        policy: role.policy.clone(),
        groups: role.groups.clone(),
    };
    let announced = Announced::new(storage, Kind::Parent, parent.made(name)).await?;
    if let Err(error) = parent.make(minio, role).await {
        announced.failed(minio, &error, true).await;
        return Err(failure::explain(&error));
    }
    let stored = match made::must_last(system).await {
        Ok(()) => storage.put(&key(name), &parent).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        announced.undo(minio).await;
        return Err(error);
    }
    announced.withdraw_or_leave().await;
    Ok(parent)
}

impl Engine {
    /// The role's parent, made if there is none, with the rights the role has now.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when MinIO does not do it. Then nothing is left of it for long.
    pub(crate) async fn parent(
        &self,
        context: &Context,
        name: &str,
        role: &Role,
        minio: &Client,
    ) -> Result<Parent> {
        let storage = &context.storage;
        if let Some(parent) = Parent::load(storage, name).await?.filter(|parent| parent.has_rights_of(role)) {
            return Ok(parent);
        }
        let _parents = self.parents.lock().await;
        let role = &role_now(storage, name, role).await?;
        match Parent::load(storage, name).await? {
            Some(parent) if parent.has_rights_of(role) => Ok(parent),
            Some(parent) if parent.cluster != role.cluster => Err(Error::internal(format!(
                "the role has keys on {}: delete it, which ends them, and write it anew",
                parent.cluster
            ))),
            Some(parent) => {
                parent.give_rights(minio, role).await.map_err(|error| failure::explain(&error))?;
                parent.keep_rights(storage, name, role).await
            }
            None => new_parent(context, name, role, minio).await,
        }
    }

    /// Makes the parent again that somebody removed or changed at MinIO. Not one that went with its role:
    /// nobody would remove it any more.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when the parent is no longer the role's, or MinIO does not do it.
    pub(crate) async fn mend_parent(
        &self,
        storage: &Storage,
        name: &str,
        parent: &Parent,
        role: &Role,
        minio: &Client,
    ) -> Result<()> {
        let _parents = self.parents.lock().await;
        let role = role_now(storage, name, role).await?;
        let stored = Parent::load(storage, name).await?.filter(|stored| stored.user == parent.user);
        let parent = stored.ok_or_else(deleted_meanwhile)?;
        tracing::warn!(
            user = parent.user,
            "the parent of a role is not at MinIO as it should be; making it again"
        );
        parent.make(minio, &role).await.map_err(|error| failure::explain(&error))?;
        if !parent.has_rights_of(&role) {
            parent.keep_rights(storage, name, &role).await?;
        }
        Ok(())
    }

    /// A client that calls as the parent. It is kept under the user's name, for a role can be given
    /// another parent.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when there is no usable config.
    pub(crate) async fn client_of_parent(&self, storage: &Storage, parent: &Parent) -> Result<Client> {
        let key = format!("{FOLDER}{}", parent.user);
        let generation = match self.clients.get(&key) {
            Ok(client) => return Ok(client),
            Err(generation) => generation,
        };
        let config = Config::configured(storage, &parent.cluster).await?;
        let client = self.connect(&parent.cluster, &config, &parent.user, &parent.secret)?;
        self.clients.keep(&key, generation, &client);
        Ok(client)
    }

    /// Takes the parent from a role that is being deleted, so that what is returned, or else a later
    /// rollback, removes it. The caller holds [`Engine::parents`].
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn disown(&self, storage: &Storage, name: &str) -> Result<Option<Announced>> {
        let Some(parent) = Parent::load(storage, name).await? else { return Ok(None) };
        let announced = Announced::new(storage, Kind::Parent, parent.made(name)).await?;
        storage.delete(&key(name)).await?;
        self.clients.forget(&key(name));
        Ok(Some(announced))
    }
}

impl Parent {
    fn made(&self, role: &str) -> Made {
        Made {
            access_key_id: self.user.clone(),
            cluster: self.cluster.clone(),
            policy_name: None,
            role: role.to_owned(),
            log_entry: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use std::time::Duration;

    use vault_plugin_sdk::SystemView;
    use vault_plugin_sdk::testing::Mount;

    use super::*;

    fn parent(user: &str) -> Parent {
        Parent {
            user: user.into(),
            secret: "secret-of-parent".into(),
            cluster: Cluster::default(),
            policy: "readwrite".into(),
            groups: Vec::new(),
        }
    }

    /// A MinIO that would be found out of reach, were it called.
    fn nobody() -> Config {
        Config {
            endpoint: "127.0.0.1:1".into(),
            access_key_id: "root".into(),
            secret_access_key: "rootroot123".into(),
            ..Config::default()
        }
    }

    fn client(engine: &Engine) -> Client {
        let nobody = nobody();
        engine.connect(&Cluster::default(), &nobody, "root", &nobody.secret_access_key).unwrap()
    }

    fn context(storage: Storage) -> Context {
        Context { storage, system: SystemView::fixed(Duration::ZERO, Duration::ZERO) }
    }

    #[tokio::test]
    async fn only_the_parent_the_role_has_now_is_mended() {
        let (engine, storage) = (Engine::default(), Mount::new(crate::backend()).storage);
        let minio = client(&engine);
        let role = Role { policy: "readwrite".into(), ..Role::default() };
        let mend = async || {
            let outcome = engine.mend_parent(&storage, "a", &parent("old"), &role, &minio).await;
            outcome.unwrap_err().to_string()
        };
        let deleted = "the role was deleted meanwhile";
        storage.put(&key("a"), &parent("old")).await.unwrap();
        assert!(mend().await.contains(deleted), "no role");
        storage.put("roles/a", &role).await.unwrap();
        assert!(mend().await.contains("cannot reach MinIO"));
        storage.put(&key("a"), &parent("new")).await.unwrap();
        assert!(mend().await.contains(deleted), "the role is another");
        storage.delete(&key("a")).await.unwrap();
        assert!(mend().await.contains(deleted), "no parent");
        let moved = Role { cluster: Cluster::named("east"), ..role.clone() };
        storage.put("roles/a", &moved).await.unwrap();
        assert!(mend().await.contains("another cluster"));
    }

    #[tokio::test]
    async fn a_parent_elsewhere_gets_no_rights_here() {
        let (engine, storage) = (Engine::default(), Mount::new(crate::backend()).storage);
        let minio = client(&engine);
        let role = Role { policy: "readwrite".into(), cluster: Cluster::named("east"), ..Role::default() };
        assert!(!parent("a").has_rights_of(&role));
        storage.put("roles/a", &role).await.unwrap();
        storage.put(&key("a"), &parent("a")).await.unwrap();
        let error = engine.parent(&context(storage), "a", &role, &minio).await.unwrap_err().to_string();
        assert!(error.contains("the default cluster") && error.contains("delete it"), "{error}");
    }

    #[tokio::test]
    async fn a_parent_gets_the_rights_of_the_stored_role() {
        let (engine, storage) = (Engine::default(), Mount::new(crate::backend()).storage);
        let minio = client(&engine);
        let before = Role { policy: "consoleAdmin".into(), ..Role::default() };
        storage.put("roles/a", &Role { policy: "readwrite".into(), ..Role::default() }).await.unwrap();
        storage.put(&key("a"), &parent("a")).await.unwrap();
        let found = engine.parent(&context(storage), "a", &before, &minio).await.unwrap();
        assert_eq!(
            (found.user.as_str(), found.policy.as_str()),
            ("a", "readwrite"),
            "nothing is asked of MinIO"
        );
    }

    #[tokio::test]
    async fn each_parent_has_a_client_of_its_own() {
        let (engine, storage) = (Engine::default(), Mount::new(crate::backend()).storage);
        storage.put("config", &nobody()).await.unwrap();
        engine.client_of_parent(&storage, &parent("old")).await.unwrap();
        assert!(engine.clients.get("parents/old").is_ok());
        assert!(engine.clients.get("parents/new").is_err());
        engine.invalidate("parents/a");
        assert!(engine.clients.get("parents/old").is_err());
    }
}
