//! `config/rotate-root` and `config/rotate-root/<name>`: a new secret for the admin user.
//!
//! The new secret is stored beside the old one before MinIO hears of it, and takes its place only after
//! a call that was signed with it. Whatever is cut short in between, one of the two stored secrets is
//! MinIO's, and the next use of the config finds out which.

use std::sync::Arc;

use minio_admin::{Client, Code};
use secrecy::SecretString;
use vault_plugin_sdk::{Error, Request, Response, Result, Storage};

use super::paths::cluster;
use super::{Cluster, Config};
use crate::{Engine, failure, passwords};

impl Engine {
    pub(super) async fn rotate_root(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let cluster = cluster(&req)?;
        // Ends a rotation that was cut short.
        let minio = self.client(&req.storage, &cluster).await?;
        let writing = self.writing.lock().await;
        let mut config = Config::configured(&req.storage, &cluster).await?;
        must_be_a_user(&minio, &config.access_key_id).await?;
        let next = passwords::random();
        config.next_secret_access_key = Some(next.clone());
        req.storage.put(&cluster.key(), &config).await?;
        self.clients.forget(&cluster.key());
        if let Err(error) = minio.add_user(&config.access_key_id, &next).await {
            if !failure::may_have_happened(&error) {
                config.next_secret_access_key = None;
                req.storage.put(&cluster.key(), &config).await?;
            }
            return Err(failure::explain(&error));
        }
        drop(writing);
        let config = self.settle_root(&req.storage, &cluster).await?;
        tracing::info!(%cluster, user = config.access_key_id, "the admin user has a new secret");
        Ok(None)
    }

    /// Ends a rotation: finds out which of two stored secrets MinIO has, and stores that one.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when MinIO accepts neither, or says nothing. Both stay stored then.
    pub(crate) async fn settle_root(&self, storage: &Storage, cluster: &Cluster) -> Result<Config> {
        let _writing = self.writing.lock().await;
        let mut config = Config::configured(storage, cluster).await?;
        let Some(next) = config.next_secret_access_key.clone() else { return Ok(config) };
        if self.accepts(cluster, &config, &next).await? {
            config.secret_access_key = next;
        } else if !self.accepts(cluster, &config, &config.secret_access_key).await? {
            return Err(Error::internal(format!(
                "a rotation of the secret of MinIO user {} was cut short, and MinIO accepts neither the old nor the \
                 new secret: give the user a secret by other means and write it to {} as secretAccessKey",
                config.access_key_id,
                cluster.key()
            )));
        }
        config.next_secret_access_key = None;
        storage.put(&cluster.key(), &config).await?;
        self.clients.forget(&cluster.key());
        Ok(config)
    }

    /// Whether MinIO takes this secret for the admin user's.
    async fn accepts(&self, cluster: &Cluster, config: &Config, secret: &SecretString) -> Result<bool> {
        let minio = self.connect(cluster, config, &config.access_key_id, secret)?;
        match minio.user_info(&config.access_key_id).await {
            Ok(_) => Ok(true),
            Err(error) => match error.code() {
                Some(Code::SignatureDoesNotMatch) => Ok(false),
                // Signed well, only not allowed or not a user.
                Some(Code::AccessDenied | Code::NoSuchUser) => Ok(true),
                _ => Err(failure::explain(&error)),
            },
        }
    }
}

/// Root and service accounts are not users to MinIO, and `add user` would not change their secret.
async fn must_be_a_user(minio: &Client, name: &str) -> Result<()> {
    match minio.user_info(name).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&Code::NoSuchUser) => Err(Error::bad_request(format!(
            "{name} is MinIO's root, whose secret is set in the server's environment: make a user for this engine \
             with the minimum policy, write it to the config, and rotate that"
        ))),
        Err(error) if error.code() == Some(&Code::ActionNotAllowed) => Err(Error::bad_request(format!(
            "{name} is not a regular user (a service account?): make a user for this engine with the minimum \
                 policy, write it to the config, and rotate that"
        ))),
        Err(error) => Err(failure::explain(&error)),
    }
}
