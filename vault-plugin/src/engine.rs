//! What the paths of one mount share.

use std::time::{Duration, Instant};

use minio_admin::Client;
use secrecy::SecretString;
use tokio::sync::Mutex;
use vault_plugin_sdk::{Result, Storage};

use crate::clients::Clients;
use crate::config::{Cluster, Config};
use crate::noting::Noting;

/// How long after its start an engine may be given a request that ran before, in a plugin that died.
/// Hosts repeat such a request at once, and let it take 90 s in all.
const REPEATS: Duration = Duration::from_mins(2);

/// The engine of one mount.
#[derive(Debug)]
pub struct Engine {
    started: Instant,
    pub(crate) clients: Clients,
    pub(crate) noting: Noting,
    /// Held while a stored config or role is read, changed and written back.
    pub(crate) writing: Mutex<()>,
    /// The same for parents, across calls to MinIO.
    pub(crate) parents: Mutex<()>,
    /// The same for static roles, across calls to MinIO.
    pub(crate) statics: Mutex<()>,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            clients: Clients::default(),
            noting: Noting::default(),
            writing: Mutex::default(),
            parents: Mutex::default(),
            statics: Mutex::default(),
        }
    }
}

impl Engine {
    /// Whether a request may have run before, in a plugin that died after it made something. Then a
    /// failure now says nothing about what there is.
    pub(crate) fn may_repeat(&self) -> bool {
        self.started.elapsed() < REPEATS
    }

    /// The admin client of a cluster.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when there is no usable config, or when a rotation of the admin's
    /// secret was cut short and MinIO cannot be asked which secret it has.
    pub(crate) async fn client(&self, storage: &Storage, cluster: &Cluster) -> Result<Client> {
        let key = cluster.key();
        let generation = match self.clients.get(&key) {
            Ok(client) => return Ok(client),
            Err(generation) => generation,
        };
        let mut config = Config::configured(storage, cluster).await?;
        if config.next_secret_access_key.is_some() {
            config = self.settle_root(storage, cluster).await?;
        }
        let client = self.connect(cluster, &config, &config.access_key_id, &config.secret_access_key)?;
        self.clients.keep(&key, generation, &client);
        Ok(client)
    }

    /// A client that calls a cluster as this user.
    ///
    /// # Errors
    /// HTTP 500 when the config cannot be used, for instance for lack of root certificates.
    pub(crate) fn connect(
        &self,
        cluster: &Cluster,
        config: &Config,
        user: &str,
        secret: &SecretString,
    ) -> Result<Client> {
        config.connect(user, secret, self.clients.breaker(&cluster.key(), &config.endpoint))
    }

    /// A peer of the cluster wrote this storage key.
    pub(crate) fn invalidate(&self, key: &str) {
        self.clients.forget(key);
    }
}
