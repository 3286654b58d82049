//! What the paths of one mount share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minio_admin::{Client, Credentials, Endpoint};
use vault_plugin_sdk::{Error, Result, Storage};

use crate::config::{self, Config};

/// Limit for one MinIO call. Issuing makes two, three when it has to clean up: within the 90 s a
/// host gives a request. Revocation makes one: a dead MinIO holds a host's worker this long.
const MINIO_TIMEOUT: Duration = Duration::from_secs(15);

/// The engine of one mount.
#[derive(Debug, Default)]
pub struct Engine {
    cached: Mutex<Cached>,
    /// Held while a stored entry is read, changed and written back.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Cached {
    client: Option<Client>,
    /// Counts the drops, so that a client made from an older config is not kept.
    generation: u64,
}

impl Engine {
    /// The MinIO client of the stored config.
    ///
    /// # Errors
    /// The storage's; [`Error::Internal`] when there is no usable config.
    pub(crate) async fn client(&self, storage: &Storage) -> Result<Client> {
        let generation = {
            let cached = self.cached();
            if let Some(client) = &cached.client {
                return Ok(client.clone());
            }
            cached.generation
        };
        let client = connect(&Config::load(storage).await?)?;
        let mut cached = self.cached();
        if cached.generation == generation {
            cached.client = Some(client.clone());
        }
        Ok(client)
    }

    /// Forgets what was made from the stored config.
    pub(crate) fn forget_client(&self) {
        let mut cached = self.cached();
        cached.client = None;
        cached.generation += 1;
    }

    /// A peer of the cluster wrote this storage key.
    pub(crate) fn invalidate(&self, key: &str) {
        if key == config::KEY {
            self.forget_client();
        }
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        // Nothing that holds the lock can panic half-way through a change.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(config: &Config) -> Result<Client> {
    if !config.is_configured() {
        return Err(Error::internal(
            "MinIO is not configured: write endpoint, accessKeyId and secretAccessKey to config",
        ));
    }
    let endpoint = Endpoint::new(&config.endpoint, config.use_ssl).map_err(Error::internal)?;
    let credentials = Credentials::new(&config.access_key_id, config.secret_access_key.clone());
    Client::builder(endpoint, credentials).timeout(MINIO_TIMEOUT).build().map_err(Error::internal)
}
