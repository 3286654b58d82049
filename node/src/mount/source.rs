//! One FUSE mount with its keeper.

use super::record::{MountKey, MountRecord};
use super::{SOURCE_PREFIX, ours};
use crate::host::Host;
use crate::keeper::{Keeper, KeeperError};
use crate::lease::Lineage;
use boathouse_mounts::MountError;
use csi_proto::keeper::v1::Status;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long an unmount may take before its daemon is ended under it.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(1);

/// How a FUSE mount does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Its daemon runs.
    Alive,
    /// Its daemon or keeper ended; the reason. A FUSE session cannot be resumed, so it stays dead.
    Dead(String),
}

/// One FUSE mount.
#[derive(Debug)]
pub struct Source {
    /// Unique on this node.
    pub id: String,
    /// What it is for.
    pub key: MountKey,
    /// The user its daemon runs as.
    pub daemon_uid: u32,
    /// Its keeper.
    pub keeper: Keeper,
    /// The keys it uses; none when it was found dead.
    pub lineage: Option<Arc<Lineage>>,
    pub(super) directory: PathBuf,
    health: Mutex<Health>,
    /// Publishes that are about to bind it.
    binding: AtomicUsize,
}

/// A publish that is about to bind a source; while it exists the source is not torn down.
#[derive(Debug)]
pub struct Binding(pub(super) Arc<Source>);

impl Drop for Binding {
    fn drop(&mut self) {
        self.0.binding.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Binding {
    /// The source.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.0
    }
}

/// The control socket of the keeper of the mount in `directory`.
pub(super) fn keeper_socket(directory: &Path) -> PathBuf {
    directory.join("keeper.sock")
}

/// The mount source that marks a mount as ours.
pub(super) fn source_name(id: &str) -> String {
    format!("{SOURCE_PREFIX}{id}")
}

impl Source {
    pub(super) fn new(
        record: MountRecord,
        directory: PathBuf,
        lineage: Option<Arc<Lineage>>,
        health: Health,
    ) -> Arc<Self> {
        Arc::new(Self {
            keeper: Keeper::at(&keeper_socket(&directory)),
            id: record.id,
            key: record.key,
            daemon_uid: record.daemon_uid,
            lineage,
            directory,
            health: Mutex::new(health),
            binding: AtomicUsize::new(0),
        })
    }

    /// Where the FUSE mount is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join("source")
    }

    /// How it does, as last heard.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The watcher's word, which is the last one.
    pub(super) fn set_dead(&self, reason: String) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::Dead(reason);
    }

    /// Somebody else's word, until the watcher says more; gives the reason that stands.
    pub(crate) fn suspect(&self, reason: String) -> String {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match &*health {
            Health::Dead(known) => known.clone(),
            Health::Alive => {
                *health = Health::Dead(reason.clone());
                reason
            }
        }
    }

    pub(super) fn bind_soon(self: &Arc<Self>) -> Binding {
        self.binding.fetch_add(1, Ordering::SeqCst);
        Binding(self.clone())
    }

    pub(super) fn about_to_be_bound(&self) -> bool {
        self.binding.load(Ordering::SeqCst) > 0
    }

    /// Where it is bound, by the mount table.
    pub(super) fn targets(&self) -> Result<Vec<PathBuf>, MountError> {
        targets(&self.id, &self.directory)
    }
}

/// Where a mount is bound besides its own directory, by the mount table.
pub(super) fn targets(id: &str, directory: &Path) -> Result<Vec<PathBuf>, MountError> {
    let own = directory.join("source");
    let table = boathouse_mounts::table()?;
    let bound = table.into_iter().filter(|entry| ours(entry) == Some(id) && entry.mount_point != own);
    Ok(bound.map(|entry| entry.mount_point).collect())
}

/// Takes down what there is of a mount: the FUSE mount, the daemon, the keeper, its cgroups, the directory. Nothing here
/// waits for the daemon to answer, and nothing that may hold data is deleted: only files and empty directories
/// this crate made. False when the daemon could not be ended: then its directory stays, so that the next start
/// finds it again.
pub(super) async fn dismantle(host: &Host, directory: &Path, grace: Duration) -> bool {
    let source = directory.join("source");
    let table = boathouse_mounts::table().unwrap_or_default();
    let device = boathouse_mounts::top_at(&table, &source).map(|entry| entry.device);
    let path = source.clone();
    let unmount = tokio::task::spawn_blocking(move || {
        boathouse_mounts::detach_all(&path, |entry| ours(entry).is_some())
    });
    // The last unmount of a session may wait for its daemon; not for longer than the daemon has to live.
    match tokio::time::timeout(grace.max(UNMOUNT_PATIENCE), unmount).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(path = %source.display(), %error, "unmount a source"),
        Ok(Err(_)) | Err(_) => tracing::warn!(path = %source.display(), "unmounting a source takes long"),
    }
    // goofys sleeps a second before it exits; once its session has ended there is nothing to wait for.
    let grace = if device.is_some_and(boathouse_mounts::session_ended) { Duration::ZERO } else { grace };
    let keeper = Keeper::at(&keeper_socket(directory));
    let mut ended = keeper.shutdown(grace).await;
    if let Err(KeeperError::Talk { .. }) = ended {
        // A keeper that was just ending for somebody else hangs up.
        ended = keeper.status().await;
    }
    match ended {
        Ok(Status { exit: Some(_), .. }) | Err(KeeperError::Gone { .. }) => {}
        still => {
            let error = still.map_or_else(|error| error.to_string(), |_| "its daemon runs on".to_owned());
            tracing::error!(path = %directory.display(), %error, "end a keeper; its mount directory stays");
            // Whoever still waits for this session must not wait for ever.
            if let Some(Err(error)) = device.map(boathouse_mounts::abort_fuse) {
                tracing::error!(%error, "abort a FUSE session");
            }
            return false;
        }
    }
    // Before the directory, which is what reminds the next start of them.
    if let Some(id) = directory.file_name().and_then(|name| name.to_str())
        && !host.release(id).await
    {
        return false;
    }
    MountRecord::remove(directory);
    let _ = std::fs::remove_file(keeper_socket(directory));
    for path in [&source, directory] {
        if let Err(error) = std::fs::remove_dir(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "remove a mount's directory");
        }
    }
    true
}
