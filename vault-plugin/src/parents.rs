//! The user of a role that its service accounts and sessions belong to.
//!
//! It has the role's policies and groups and is made when the role's first key is read. Its secret is
//! known to this engine only. It goes with the role, and takes its service accounts and sessions along.

use minio_admin::Client;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Error, Result, Storage};

use crate::config::{Cluster, Config};
use crate::made::{Announced, Kind, Made};
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

    /// Whether it has the rights the role has now.
    fn has_rights_of(&self, role: &Role) -> bool {
        self.policy == role.policy && self.groups == role.groups
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
}

fn key(role: &str) -> String {
    format!("{FOLDER}{role}")
}

impl Engine {
    /// The role's parent, made if there is none, with the rights the role has now.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when MinIO does not do it. Then nothing is left of it for long.
    pub(crate) async fn parent(
        &self,
        storage: &Storage,
        name: &str,
        role: &Role,
        minio: &Client,
    ) -> Result<Parent> {
        if let Some(parent) = Parent::load(storage, name).await?.filter(|parent| parent.has_rights_of(role)) {
            return Ok(parent);
        }
        let _parents = self.parents.lock().await;
        if Role::load(storage, name).await?.is_none() {
            return Err(Error::internal("the role was deleted meanwhile"));
        }
        match Parent::load(storage, name).await? {
            Some(parent) if parent.has_rights_of(role) => Ok(parent),
            Some(mut parent) => {
                parent.give_rights(minio, role).await.map_err(Error::internal)?;
                (parent.policy, parent.groups) = (role.policy.clone(), role.groups.clone());
                storage.put(&key(name), &parent).await?;
                Ok(parent)
            }
            None => self.new_parent(storage, name, role, minio).await,
        }
    }

    async fn new_parent(&self, storage: &Storage, name: &str, role: &Role, minio: &Client) -> Result<Parent> {
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
            return Err(Error::internal(error));
        }
        if let Err(error) = storage.put(&key(name), &parent).await {
            announced.undo(minio).await;
            return Err(error.into());
        }
        announced.withdraw_or_leave().await;
        Ok(parent)
    }

    /// Makes the parent again that somebody removed or changed at MinIO.
    ///
    /// # Errors
    /// HTTP 500 when MinIO does not do it.
    pub(crate) async fn mend_parent(&self, parent: &Parent, role: &Role, minio: &Client) -> Result<()> {
        let _parents = self.parents.lock().await;
        tracing::warn!(
            user = parent.user,
            "the parent of a role is not at MinIO as it should be; making it again"
        );
        parent.make(minio, role).await.map_err(|error| failure::explain(&error))
    }

    /// A client that calls as the parent.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when there is no usable config.
    pub(crate) async fn client_of_parent(
        &self,
        storage: &Storage,
        name: &str,
        parent: &Parent,
    ) -> Result<Client> {
        let key = key(name);
        let generation = match self.clients.get(&key) {
            Ok(client) => return Ok(client),
            Err(generation) => generation,
        };
        let config = Config::configured(storage, &parent.cluster).await?;
        let client = config.connect_as(&parent.user, &parent.secret)?;
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
        }
    }
}
