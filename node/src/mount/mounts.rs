//! All FUSE mounts of this node.

use super::create::{CreateError, check, create, obituary};
use super::record::{MountKey, MountRecord};
use super::source::{Binding, Health, Source, dismantle, keeper_socket, targets};
use super::{ours, placeholder};
use crate::host::Host;
use crate::install::{Authorities, AuthorityError, Installed, Trust};
use crate::keeper::{Keeper, KeeperError};
use crate::lease::{Lease, Leases};
use crate::locks::KeyedLocks;
use crate::metrics::Metrics;
use boathouse_bucket::Http;
use boathouse_mounts::{MountError, table, top_at};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use volume_spec::VolumeSpec;

/// How long to wait before a keeper is watched again after the connection broke; doubled each time.
const WATCH_AGAIN: Duration = Duration::from_millis(20);
/// The longest of these waits: nobody else notices that a daemon is gone.
const WATCH_LATER: Duration = Duration::from_secs(1);

/// What mounts are made with.
#[derive(Debug)]
pub struct MountsConfig {
    /// Where the mounts' directories are.
    pub mounts_dir: PathBuf,
    /// Keeper and daemon.
    pub installed: Installed,
    /// Who vouches for S3 servers.
    pub authorities: Authorities,
    /// How long one hand-out of keys may be used before the daemon asks again.
    pub poll: Duration,
    /// Where keepers live.
    pub host: Host,
    /// How long an S3 endpoint may take to answer the first request.
    pub endpoint_timeout: Duration,
    /// How long a daemon may take to end after its mount is gone.
    pub unmount_grace: Duration,
    /// Users the daemons run as, one each.
    pub daemon_uids: RangeInclusive<u32>,
}

/// What the mount table has at a path.
#[derive(Debug)]
pub enum At {
    /// No mount.
    Nothing,
    /// A mount of ours; on top if there are several.
    Ours {
        /// What is known of it; none when its directory is gone.
        source: Option<Arc<Source>>,
        /// Whether it was bound read-only.
        read_only: bool,
    },
    /// The empty directory that stands in for an optional volume.
    Placeholder,
    /// Somebody else's mount, with its filesystem type.
    Foreign(String),
}

/// All FUSE mounts of this node. Clones share them.
#[derive(Debug, Clone)]
pub struct Mounts {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: MountsConfig,
    pub(super) leases: Leases,
    pub(super) metrics: Metrics,
    pub(super) sources: Mutex<BTreeMap<String, Arc<Source>>>,
    /// Held while a mount of a key is made, looked for, or taken down.
    making: KeyedLocks<MountKey>,
    uids: Mutex<BTreeSet<u32>>,
}

impl Mounts {
    /// No mounts known yet; see [`Mounts::adopt`].
    #[must_use]
    pub fn new(config: MountsConfig, leases: Leases, metrics: Metrics) -> Self {
        let shared = Shared {
            config,
            leases,
            metrics,
            sources: Mutex::default(),
            making: KeyedLocks::default(),
            uids: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who vouches for the server of a volume that is mounted now.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn trust(&self, spec: &VolumeSpec) -> Result<Trust, AuthorityError> {
        if spec.ca.is_none() {
            return self.shared.config.authorities.of(spec);
        }
        // A bundle is read, and a new one copied and flushed.
        let (shared, spec) = (self.shared.clone(), spec.clone());
        let found = tokio::task::spawn_blocking(move || shared.config.authorities.of(&spec)).await;
        found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// A mount for `key`: the living one, or a new one made with `lease` and probed over `http`. The second value says
    /// whether it is new.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing is then left behind.
    pub async fn open(
        &self,
        key: MountKey,
        http: &Http,
        lease: Lease,
        deadline: Instant,
    ) -> Result<(Binding, bool), CreateError> {
        let waited = || CreateError::Waited { bucket: key.spec.bucket_and_prefix() };
        let _making = self.shared.making.lock_until(&key, deadline).await.ok_or_else(waited)?;
        if let Some(source) = self.living(&key) {
            let binding = source.bind_soon();
            // Success means readable for the second target too: its daemon may hang by now.
            let patience = Instant::now() + self.shared.config.endpoint_timeout;
            check(&self.shared.config, &key, &source.directory, deadline.min(patience)).await?;
            return Ok((binding, false));
        }
        let shared = &self.shared;
        let id = hex::encode(rand::random::<[u8; 8]>());
        let daemon_uid = shared.take_uid()?;
        let files = shared.config.installed.files().into_iter().chain(key.ca_file.clone()).collect();
        let record = MountRecord { id: id.clone(), key, daemon_uid, files };
        let directory = shared.config.mounts_dir.join(&id);
        if let Err(error) = create(&shared.config, http, &record, &directory, &lease, deadline).await {
            // The directory stays when the daemon could not be ended: it may still run as that user.
            if !directory.exists() {
                shared.uids().remove(&daemon_uid);
            }
            return Err(error);
        }
        let source = Source::new(record, directory, Some(lease.lineage.clone()), Health::Alive);
        shared.leases.attach(lease, &id, source.keeper.clone()).await;
        let binding = source.bind_soon();
        self.add(source);
        Ok((binding, true))
    }

    /// What is mounted at a path, by the mount table alone.
    ///
    /// # Errors
    /// When the mount table cannot be read.
    pub fn at(&self, target: &Path) -> Result<At, MountError> {
        let table = table()?;
        Ok(match top_at(&table, target) {
            None => At::Nothing,
            Some(entry) => match ours(entry) {
                Some(id) => {
                    At::Ours { source: self.shared.sources().get(id).cloned(), read_only: entry.read_only }
                }
                None if placeholder(entry) => At::Placeholder,
                None => At::Foreign(entry.fs_type.clone()),
            },
        })
    }

    /// Ids of all mounts of ours that are stacked on a path.
    ///
    /// # Errors
    /// When the mount table cannot be read.
    pub fn stacked(&self, target: &Path) -> Result<Vec<String>, MountError> {
        let table = table()?;
        let here = table.iter().filter(|entry| entry.mount_point == target);
        Ok(here.filter_map(|entry| ours(entry).map(str::to_owned)).collect())
    }

    /// Takes down a mount that has no target any more. The handles end when its keys are revoked.
    pub async fn release(&self, id: &str) -> Vec<JoinHandle<()>> {
        let Some(source) = self.shared.sources().get(id).cloned() else {
            return self.release_unknown(id).await;
        };
        let _making = self.shared.making.lock(&source.key).await;
        if source.about_to_be_bound() || is_bound(id, source.targets()) {
            return Vec::new();
        }
        if self.shared.sources().remove(id).is_none() {
            return Vec::new();
        }
        if dismantle(&self.shared.config.host, &source.directory, self.shared.config.unmount_grace).await {
            self.shared.uids().remove(&source.daemon_uid);
        }
        self.shared.count();
        match &source.lineage {
            Some(lineage) => self.shared.leases.detach(lineage, id),
            None => Vec::new(),
        }
    }

    /// A mount whose record could not be read at start: known by its directory and its keeper alone.
    async fn release_unknown(&self, id: &str) -> Vec<JoinHandle<()>> {
        let directory = self.shared.config.mounts_dir.join(id);
        if !directory.exists() || is_bound(id, targets(id, &directory)) {
            return Vec::new();
        }
        let held =
            Keeper::at(&keeper_socket(&directory)).status().await.ok().and_then(|status| status.current);
        dismantle(&self.shared.config.host, &directory, self.shared.config.unmount_grace).await;
        held.map(|generation| self.shared.leases.revoke_noted(&generation.id)).into_iter().flatten().collect()
    }

    /// The installed keeper, which also asks about mounts.
    #[must_use]
    pub fn keeper(&self) -> &Path {
        &self.shared.config.installed.keeper
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<Source>> {
        self.shared.sources().values().cloned().collect()
    }

    /// Takes a source into the books and watches over it.
    pub(super) fn add(&self, source: Arc<Source>) {
        self.shared.uids().insert(source.daemon_uid);
        self.shared.sources().insert(source.id.clone(), source.clone());
        self.shared.count();
        if source.health() == Health::Alive {
            tokio::spawn(watch(self.shared.clone(), source));
        }
    }

    fn living(&self, key: &MountKey) -> Option<Arc<Source>> {
        let sources = self.shared.sources();
        sources.values().find(|source| source.key == *key && source.health() == Health::Alive).cloned()
    }
}

impl Shared {
    pub(super) fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_uid(&self) -> Result<u32, CreateError> {
        let mut taken = self.uids();
        let free =
            self.config.daemon_uids.clone().find(|uid| !taken.contains(uid)).ok_or(CreateError::NoUser)?;
        taken.insert(free);
        Ok(free)
    }

    fn count(&self) {
        self.metrics.mounts(self.sources().len());
    }
}

/// Whether a mount is at a target; when that cannot be said it is taken to be.
fn is_bound(id: &str, targets: Result<Vec<PathBuf>, MountError>) -> bool {
    targets.map_or_else(
        |error| {
            tracing::warn!(mount = id, %error, "look for a mount's targets; keeping it");
            true
        },
        |targets| !targets.is_empty(),
    )
}

/// Notices the end of a mount's daemon or keeper.
async fn watch(shared: Arc<Shared>, source: Arc<Source>) {
    let mut pause = WATCH_AGAIN;
    let (reason, label) = loop {
        match source.keeper.watch().await {
            Ok(status) => break (obituary(&status), "died"),
            Err(KeeperError::Gone { .. }) => break ("its keeper is gone".to_owned(), "keeper-lost"),
            // A broken connection may be ours: only a second look tells.
            Err(error) => {
                tracing::debug!(mount = source.id, %error, "watch a keeper");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(WATCH_LATER);
            }
        }
    };
    source.set_dead(reason.clone());
    let expected = !shared.sources().contains_key(&source.id);
    shared.metrics.daemon_exit(if expected { "unmounted" } else { label });
    if expected {
        tracing::info!(mount = source.id, bucket = source.key.spec.bucket_and_prefix(), "unmounted");
        return;
    }
    tracing::error!(
        mount = source.id,
        bucket = source.key.spec.bucket_and_prefix(),
        reason,
        "a mount is dead; the next publish of each of its targets replaces it"
    );
    // The mount itself stays at its targets, untouched, and so does its user, until it is released. Its keys go.
    let _ = source.keeper.shutdown(Duration::ZERO).await;
    if let Some(lineage) = &source.lineage {
        shared.leases.detach(lineage, &source.id);
    }
}
