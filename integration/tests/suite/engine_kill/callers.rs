//! Who asks for keys, and revokes some, whatever becomes of the servers.

use super::{CALLERS, CHAOS_LIMIT, KEYS, MOUNT, ROLES};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Issued, StackError, VaultAdmin};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody has revoked it.
    Lives,
    /// Its revocation was asked for: queued, or failed.
    Asked,
    /// OpenBao has said that it is revoked.
    Revoked,
}

pub(super) struct Key {
    pub(super) lease: String,
    pub(super) user: String,
    pub(super) end: End,
}

#[derive(Default)]
pub(super) struct Done {
    pub(super) keys: Vec<Key>,
    pub(super) failed: usize,
    /// Requests whose caller did not wait for the answer. Nobody knows their keys.
    pub(super) hung_up: usize,
    /// Of all calls, with and without success.
    pub(super) slowest: Duration,
}

/// They end when there are enough keys, and when this is dropped.
pub(super) struct Callers {
    made: Arc<AtomicUsize>,
    deadline: Instant,
    tasks: JoinSet<Done>,
}

impl Callers {
    pub(super) fn start(vault: &VaultAdmin, random: &mut StdRng) -> Self {
        let made = Arc::new(AtomicUsize::new(0));
        let callers = (0..CALLERS).map(|_| Caller {
            vault: vault.clone(),
            made: made.clone(),
            random: StdRng::from_rng(random),
            done: Done::default(),
        });
        let tasks = callers.map(Caller::run).collect();
        Self { made, deadline: Instant::now() + CHAOS_LIMIT, tasks }
    }

    /// Returns when so many keys were made.
    pub(super) async fn until(&self, keys: usize) -> anyhow::Result<()> {
        while self.made.load(Ordering::SeqCst) < keys {
            self.in_time()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn in_time(&self) -> anyhow::Result<()> {
        let made = self.made.load(Ordering::SeqCst);
        ensure!(Instant::now() < self.deadline, "only {made} keys within {CHAOS_LIMIT:?}");
        Ok(())
    }

    /// What all of them did.
    pub(super) async fn finish(mut self) -> anyhow::Result<Done> {
        self.until(KEYS).await?;
        let mut all = Done::default();
        while let Some(done) = self.tasks.join_next().await {
            let done = done.context("a caller")?;
            all.keys.extend(done.keys);
            all.failed += done.failed;
            all.hung_up += done.hung_up;
            all.slowest = all.slowest.max(done.slowest);
        }
        Ok(all)
    }
}

struct Caller {
    vault: VaultAdmin,
    made: Arc<AtomicUsize>,
    random: StdRng,
    done: Done,
}

impl Caller {
    async fn run(mut self) -> Done {
        while self.made.load(Ordering::SeqCst) < KEYS {
            if self.random.random_ratio(1, 8) {
                self.hang_up().await;
            }
            let began = Instant::now();
            let issued = self.issue().await;
            self.done.slowest = self.done.slowest.max(began.elapsed());
            match issued {
                Ok(key) => {
                    self.done.keys.push(key);
                    self.made.fetch_add(1, Ordering::SeqCst);
                }
                Err(_) => {
                    self.done.failed += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            if self.random.random_ratio(1, 10) {
                let began = Instant::now();
                self.revoke_one().await;
                self.done.slowest = self.done.slowest.max(began.elapsed());
            }
        }
        self.done
    }

    async fn issue(&mut self) -> Result<Key, StackError> {
        let role = ROLES[self.random.random_range(0..ROLES.len())];
        let operation = format!("{MOUNT}/keys/{role}");
        let issued = Issued::of(&operation, self.vault.read(&operation).await?)?;
        Ok(Key { lease: issued.lease, user: issued.user, end: End::Lives })
    }

    /// Asks for a key and closes the connection, most often while it is made.
    async fn hang_up(&mut self) {
        let patience = Duration::from_millis(self.random.random_range(1..40));
        match tokio::time::timeout(patience, self.issue()).await {
            Ok(Ok(key)) => self.done.keys.push(key),
            Ok(Err(_)) => self.done.failed += 1,
            Err(_) => self.done.hung_up += 1,
        }
    }

    /// Any of its keys, at once or in the background.
    async fn revoke_one(&mut self) {
        let living = self.done.keys.iter_mut().filter(|key| key.end == End::Lives);
        let Some(key) = living.choose(&mut self.random) else { return };
        let sync = self.random.random_ratio(3, 4);
        let answer =
            self.vault.write("sys/leases/revoke", &json!({ "lease_id": key.lease, "sync": sync })).await;
        key.end = if sync && answer.is_ok() { End::Revoked } else { End::Asked };
        self.done.failed += usize::from(answer.is_err());
    }
}
