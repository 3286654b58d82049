//! What the secrets engine does beyond the Go plugin, under a real host and with a real MinIO.

mod admin;
mod kinds;
mod minimum;

use crate::world::{Case, beside};
use anyhow::Context as _;
use boathouse_bucket::Keys;
use boathouse_testkit::stack::{Minio, PLUGIN, Stack, StackError, VaultAdmin};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(minimum::the_minimum_policy_is_enough_and_none_of_it_too_much),
        beside!(kinds::a_users_own_policy_follows_the_callers_entity),
        beside!(kinds::a_service_account_is_limited_and_ended_by_minio),
        beside!(kinds::a_session_works_with_its_token_only),
        beside!(kinds::the_end_of_the_mount_ends_its_parents),
        beside!(admin::the_admins_secret_is_rotated),
        beside!(admin::each_cluster_has_its_own_keys),
        beside!(admin::a_static_role_changes_a_users_secret),
    ]
}

/// A mount of the case's own, without a role.
struct Mount<'a> {
    stack: &'a Stack,
    path: &'static str,
}

/// What a read of keys gave.
struct Issued {
    lease: String,
    data: Value,
}

impl Issued {
    fn access_key(&self) -> &str {
        self.data["accessKeyId"].as_str().unwrap_or_default()
    }

    fn keys(&self) -> Keys {
        Keys {
            access_key: self.access_key().to_owned(),
            secret_key: self.data["secretAccessKey"].as_str().unwrap_or_default().into(),
            session_token: self.data["sessionToken"].as_str().map(Into::into),
        }
    }
}

/// A config that calls as root.
fn root(minio: &Minio) -> Value {
    json!({
        "endpoint": minio.authority(),
        "accessKeyId": minio.root_user(),
        "secretAccessKey": minio.root_password().expose_secret(),
    })
}

impl<'a> Mount<'a> {
    /// Mounts the engine; it calls MinIO as root.
    async fn new(stack: &'a Stack, path: &'static str) -> Result<Self, StackError> {
        stack.vault().write(&format!("sys/mounts/{path}"), &json!({ "type": PLUGIN })).await?;
        let mount = Self { stack, path };
        mount.write("config", &root(stack.minio())).await?;
        Ok(mount)
    }

    async fn write(&self, path: &str, body: &Value) -> Result<Value, StackError> {
        self.stack.vault().write(&format!("{}/{path}", self.path), body).await
    }

    async fn read(&self, path: &str) -> Result<Value, StackError> {
        Ok(self.stack.vault().read(&format!("{}/{path}", self.path)).await?["data"].clone())
    }

    async fn delete(&self, path: &str) -> Result<(), StackError> {
        self.stack.vault().delete(&format!("{}/{path}", self.path)).await
    }

    async fn issue(&self, role: &str) -> anyhow::Result<Issued> {
        self.issue_to(self.stack.vault(), role).await
    }

    async fn issue_to(&self, caller: &VaultAdmin, role: &str) -> anyhow::Result<Issued> {
        let mut answer = caller.read(&format!("{}/keys/{role}", self.path)).await?;
        let lease = answer["lease_id"].as_str().context("keys: no lease")?.to_owned();
        Ok(Issued { lease, data: answer["data"].take() })
    }

    /// Returns when the host has done it, and with the engine's error if it could not.
    async fn revoke(&self, issued: &Issued) -> Result<(), StackError> {
        let body = json!({ "lease_id": issued.lease, "sync": true });
        self.stack.vault().write("sys/leases/revoke", &body).await.map(drop)
    }

    async fn renew(&self, issued: &Issued, seconds: u64) -> Result<Value, StackError> {
        let body = json!({ "lease_id": issued.lease, "increment": seconds });
        self.stack.vault().write("sys/leases/renew", &body).await
    }

    /// The MinIO users whose names begin with the mount's path.
    async fn users(&self) -> Result<Vec<String>, StackError> {
        let mut users = self.stack.minio_users().await?;
        users.retain(|user| user.starts_with(self.path));
        Ok(users)
    }

    /// Ends the mount.
    async fn unmount(&self) -> Result<(), StackError> {
        self.stack.vault().delete(&format!("sys/mounts/{}", self.path)).await
    }

    /// Ends the mount. No user may be left of it.
    async fn finish(self) -> anyhow::Result<()> {
        self.unmount().await?;
        let users = self.users().await?;
        anyhow::ensure!(users.is_empty(), "MinIO users left by the mount {}: {users:?}", self.path);
        Ok(())
    }
}
