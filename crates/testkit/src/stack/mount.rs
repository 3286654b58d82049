//! The secrets engine at a mount of its own.

use super::{Minio, PLUGIN, StackError, VaultAdmin};
use secrecy::SecretString;
use serde_json::{Value, json};

/// A mount, and the MinIO its keys are for. The names of its users begin with a prefix that no other mount's do.
#[derive(Debug, Clone)]
pub struct Mount<'a> {
    vault: &'a VaultAdmin,
    minio: &'a Minio,
    path: String,
    prefix: String,
}

/// What a read of keys gave.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The lease's id.
    pub lease: String,
    /// The access key: a user's, a service account's or a session's.
    pub user: String,
    /// Its secret.
    pub secret: SecretString,
    /// All of the answer's data.
    pub data: Value,
}

impl Issued {
    /// Takes an answer apart.
    ///
    /// # Errors
    /// [`StackError::Answer`] when something is missing.
    pub fn of(operation: &str, mut answer: Value) -> Result<Self, StackError> {
        let text = |pointer: &'static str| {
            let text = answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| StackError::Answer { operation: operation.to_owned(), field: pointer })
        };
        Ok(Self {
            lease: text("/lease_id")?,
            user: text("/data/accessKeyId")?,
            secret: text("/data/secretAccessKey")?.into(),
            data: answer["data"].take(),
        })
    }
}

impl<'a> Mount<'a> {
    /// The mount at `path`, which [`Mount::enable`] makes if there is none. Its users' names begin with `<path>-`.
    pub fn at(vault: &'a VaultAdmin, minio: &'a Minio, path: &str) -> Self {
        Self { vault, minio, path: path.to_owned(), prefix: format!("{path}-") }
    }

    /// The same with another prefix: of a second host with the same MinIO, say.
    #[must_use]
    pub fn with_prefix(self, prefix: String) -> Self {
        Self { prefix, ..self }
    }

    /// The host, as the root token sees it.
    pub fn vault(&self) -> &'a VaultAdmin {
        self.vault
    }

    /// The MinIO.
    pub fn minio(&self) -> &'a Minio {
        self.minio
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the names of its users begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Mounts the engine and tells it nothing.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn enable(&self) -> Result<(), StackError> {
        self.vault.write(&format!("sys/mounts/{}", self.path), &json!({ "type": PLUGIN })).await.map(drop)
    }

    /// Writes the config: it calls MinIO as root.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn configure(&self) -> Result<(), StackError> {
        self.write("config", &self.minio.engine_config()).await.map(drop)
    }

    /// Writes a role with this policy, and the prefix in front of its users' names.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn role(&self, role: &str, policy: &str) -> Result<(), StackError> {
        let body = json!({ "policy": policy, "user_name_prefix": self.prefix });
        self.write(&format!("roles/{role}"), &body).await.map(drop)
    }

    /// Writes to a path of the mount.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn write(&self, path: &str, body: &Value) -> Result<Value, StackError> {
        self.vault.write(&format!("{}/{path}", self.path), body).await
    }

    /// Reads a path of the mount; gives the data alone.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn read(&self, path: &str) -> Result<Value, StackError> {
        Ok(self.vault.read(&format!("{}/{path}", self.path)).await?["data"].take())
    }

    /// Deletes a path of the mount.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn delete(&self, path: &str) -> Result<(), StackError> {
        self.vault.delete(&format!("{}/{path}", self.path)).await
    }

    /// Reads keys of a role.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn issue(&self, role: &str) -> Result<Issued, StackError> {
        self.issue_to(self.vault, role).await
    }

    /// Reads keys of a role, as somebody else.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn issue_to(&self, caller: &VaultAdmin, role: &str) -> Result<Issued, StackError> {
        let path = format!("{}/keys/{role}", self.path);
        Issued::of(&path, caller.read(&path).await?)
    }

    /// Revokes a lease. Returns when the host has done it, and with the engine's error if it could not.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn revoke(&self, lease: &str) -> Result<(), StackError> {
        let body = json!({ "lease_id": lease, "sync": true });
        self.vault.write("sys/leases/revoke", &body).await.map(drop)
    }

    /// Renews a lease by this many seconds.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn renew(&self, lease: &str, seconds: u64) -> Result<Value, StackError> {
        let body = json!({ "lease_id": lease, "increment": seconds });
        self.vault.write("sys/leases/renew", &body).await
    }

    /// Ids of the host's leases of a role.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn leases(&self, role: &str) -> Result<Vec<String>, StackError> {
        let prefix = format!("{}/keys/{role}/", self.path);
        let keys = self.vault.list(&format!("sys/leases/lookup/{prefix}")).await?;
        Ok(keys.into_iter().map(|key| format!("{prefix}{key}")).collect())
    }

    /// The MinIO users made through it.
    ///
    /// # Errors
    /// When MinIO does not answer.
    pub async fn users(&self) -> Result<Vec<String>, StackError> {
        let mut users: Vec<_> = self.minio.admin().list_users().await?.into_keys().collect();
        users.retain(|user| user.starts_with(&self.prefix));
        Ok(users)
    }

    /// Ends the mount.
    ///
    /// # Errors
    /// [`StackError`], [`StackError::Left`] when MinIO still has users of it.
    pub async fn finish(self) -> Result<(), StackError> {
        self.vault.delete(&format!("sys/mounts/{}", self.path)).await?;
        let users = self.users().await?;
        if users.is_empty() { Ok(()) } else { Err(StackError::Left { mount: self.path, users }) }
    }
}
