//! The MinIO clients of a mount, kept while what they were made from stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use minio_admin::{Breaker, Client};

use crate::{config, parents};

/// Clients by the storage key of an admin's config, or the user name of a parent in the parents' folder.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_key: BTreeMap<String, Client>,
    /// By the storage key of a config, with the endpoint it is for. They outlive the clients: a new secret makes
    /// no dead MinIO alive.
    breakers: BTreeMap<String, (String, Breaker)>,
    /// Counts the drops, so that a client made from something older is not kept.
    generation: u64,
}

impl Clients {
    /// The client made from this key, else the generation to [`keep`](Self::keep) a new one with.
    pub(crate) fn get(&self, key: &str) -> Result<Client, u64> {
        let inner = self.inner();
        inner.by_key.get(key).cloned().ok_or(inner.generation)
    }

    /// Keeps a client, unless something was forgotten since `generation`.
    pub(crate) fn keep(&self, key: &str, generation: u64, client: &Client) {
        let mut inner = self.inner();
        if inner.generation == generation {
            inner.by_key.insert(key.to_owned(), client.clone());
        }
    }

    /// The breaker of all clients of this config, whomever they call as.
    pub(crate) fn breaker(&self, config: &str, endpoint: &str) -> Breaker {
        let mut inner = self.inner();
        match inner.breakers.get(config) {
            Some((of, breaker)) if of == endpoint => breaker.clone(),
            _ => {
                let breaker = config::breaker();
                inner.breakers.insert(config.to_owned(), (endpoint.to_owned(), breaker.clone()));
                breaker
            }
        }
    }

    /// Forgets what was made from this key, and the clients of all parents: they call a config's server,
    /// and are kept by their users, which a parent's key does not tell.
    pub(crate) fn forget(&self, key: &str) {
        let is_config = key == config::KEY || key.starts_with(config::FOLDER);
        if !is_config && !key.starts_with(parents::FOLDER) {
            return;
        }
        let mut inner = self.inner();
        inner.generation += 1;
        inner.by_key.retain(|other, _| other != key && !other.starts_with(parents::FOLDER));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
