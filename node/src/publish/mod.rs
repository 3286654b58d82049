//! Publish: from a request to a readable target, or to nothing at all.
//!
//! ```text
//!  target free? ──no: ours, alive──▶ keep (fast, no work)
//!      │ yes, or dead, or a placeholder: stacked on top
//!  keys (login, lease) ──▶ FUSE mount (shared or new, read once) ──▶ bind to the target
//!      │ not available                │
//!      └──────────────────────────────┴──optional──▶ placeholder: an empty directory
//! ```

mod error;
mod stand_in;
mod target;
mod unpublish;

pub use error::{PublishError, UnpublishError};
pub use stand_in::Absences;

use crate::identity::{Identity, Requester};
use crate::lease::Leases;
use crate::locks::{Held, KeyedLocks};
use crate::metrics::Metrics;
use crate::mount::{At, Health, MountKey, Mounts, Source};
use boathouse_mounts::Readonly;
use secrecy::ExposeSecret as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::{gone, prepare};
use volume_spec::{PodInfo, VolumeSpec};

/// What is asked for, every field checked.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// For logs.
    pub volume_id: String,
    /// Where the pod's container runtime looks for the volume.
    pub target: PathBuf,
    /// Who makes that directory.
    pub target_dir: TargetDir,
    /// What to mount.
    pub spec: VolumeSpec,
    /// Who asks.
    pub who: Requester,
    /// Whether the target may be written through.
    pub readonly: Readonly,
    /// Whether an empty directory is better than none. As `readonly`, a property of the target and not of the mount.
    pub optional: bool,
    /// Whose volume it is, as kubelet states it: for events.
    pub pod: Option<PodInfo>,
}

/// Who makes the target directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetDir {
    /// We do (CSI, "NodePublishVolume": the plugin creates `target_path`).
    Ours,
    /// kubelet has made it (FlexVolume), and removes it when the pod goes while the callout still runs: it must
    /// not be made again.
    Kubelets,
}

/// What a publish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// A new FUSE mount.
    New,
    /// A target of a FUSE mount that was there.
    Shared,
    /// Nothing: the target showed the volume already.
    Kept,
    /// An empty directory in place of an optional volume.
    Placeholder,
    /// Nothing: it failed.
    Nothing,
}

impl Made {
    fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Shared => "shared",
            Self::Kept => "kept",
            Self::Placeholder => "placeholder",
            Self::Nothing => "none",
        }
    }
}

/// Publishes and unpublishes. Clones share the work.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) mounts: Mounts,
    pub(crate) leases: Leases,
    pub(crate) metrics: Metrics,
    pub(crate) limit: Duration,
    pub(crate) busy: Arc<KeyedLocks<PathBuf>>,
    pub(crate) absences: Arc<Absences>,
}

impl Publisher {
    /// Makes the target show the volume, readable. A target that already does is left alone.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, request: PublishRequest) -> Result<(), PublishError> {
        self.publish_for(request, async |_| true).await
    }

    /// As [`Publisher::publish`] for a caller that may be gone by then: `tell` is told the outcome and answers
    /// whether the caller heard it. A new mount that nobody heard of is taken back, before anybody else can find
    /// the target mounted.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_for(
        &self,
        request: PublishRequest,
        tell: impl AsyncFnOnce(Result<(), &PublishError>) -> bool,
    ) -> Result<(), PublishError> {
        let began = Instant::now();
        let limit = if request.optional { self.limit.min(stand_in::PATIENCE) } else { self.limit };
        let (_held, done) = self.publish_within(&request, began + limit).await;
        let made = done.as_ref().copied().unwrap_or(Made::Nothing);
        self.metrics.published(done.is_ok(), made.label(), began.elapsed());
        if matches!(made, Made::New | Made::Shared) {
            tracing::info!(
                volume = request.volume_id,
                target = %request.target.display(),
                bucket = request.spec.bucket_and_prefix(),
                mount = made.label(),
                took = ?began.elapsed(),
                "published"
            );
        }
        let heard = tell(done.as_ref().map(|_| ())).await;
        if !heard && !matches!(made, Made::Kept | Made::Nothing) {
            tracing::warn!(target = %request.target.display(), "mounted after the caller had given up; unmounting");
            if let Ok(target) = boathouse_mounts::resolve(&request.target)
                && let Err(error) = self.clear(&target).await
            {
                tracing::error!(target = %target.display(), %error, "unmount");
            }
        }
        done.map(|_| ())
    }

    /// The lock comes back with the outcome, so that the caller can act on it undisturbed.
    async fn publish_within(
        &self,
        request: &PublishRequest,
        deadline: Instant,
    ) -> (Option<Held>, Result<Made, PublishError>) {
        let target = match self.target(request) {
            Ok(target) => target,
            Err(error) => return (None, Err(error)),
        };
        match self.busy.try_lock(&target) {
            Some(held) => (Some(held), self.publish_on(request, &target, deadline).await),
            None => (None, Err(PublishError::Busy(target))),
        }
    }

    async fn publish_on(
        &self,
        request: &PublishRequest,
        target: &Path,
        deadline: Instant,
    ) -> Result<Made, PublishError> {
        match self.mounts.at(target)? {
            At::Foreign(fs_type) => Err(PublishError::Foreign { path: target.to_owned(), fs_type }),
            At::Ours { source: Some(source), read_only } if source.health() == Health::Alive => {
                self.keep(request, target, &source, read_only).await?;
                Ok(Made::Kept)
            }
            // Dead: replaced by a new mount on top, without touching the dead one.
            // For an optional volume, too: an error says more than files that are suddenly not there.
            At::Ours { .. } => self
                .mount(request, target, deadline)
                .await
                .map_err(|error| replace("dead mount", target, error)),
            At::Placeholder => self
                .mount_or_stand_in(request, target, deadline, true)
                .await
                .map_err(|error| replace("placeholder", target, error)),
            At::Nothing => {
                let made_target = prepare(target, request.target_dir)?;
                let mounted = self.mount_or_stand_in(request, target, deadline, false).await;
                if mounted.is_err() && made_target {
                    let _ = std::fs::remove_dir(target);
                }
                mounted
            }
        }
    }

    /// A republish: no work, except what may have changed beside the mount.
    async fn keep(
        &self,
        request: &PublishRequest,
        target: &Path,
        source: &Source,
        read_only: bool,
    ) -> Result<(), PublishError> {
        if request.readonly == Readonly::Yes && !read_only {
            // A crash between the two calls that make a bind mount read-only.
            boathouse_mounts::make_readonly(target)?;
        }
        if source.key.spec != request.spec {
            tracing::warn!(
                volume = request.volume_id,
                target = %target.display(),
                mounted = source.key.spec.bucket_and_prefix(),
                asked = request.spec.bucket_and_prefix(),
                "the volume's attributes changed; the target keeps what it shows until the pod is made again"
            );
        }
        if let Requester::Static(keys) = &request.who
            && source.key.lease.identity
                != Identity::of_keys(keys.access_key_id.expose_secret(), &keys.secret_access_key)
        {
            tracing::warn!(
                volume = request.volume_id,
                target = %target.display(),
                "the volume's secret holds other keys now; the target keeps the old ones until the pod is made again"
            );
        }
        self.refresh(source, &request.who).await;
        Ok(())
    }

    async fn mount(
        &self,
        request: &PublishRequest,
        target: &Path,
        deadline: Instant,
    ) -> Result<Made, PublishError> {
        // First: without it there is no use for keys.
        let trust = self.mounts.trust(&request.spec).await?;
        let path = request.spec.vault_path.as_ref().map_or("", |path| path.as_str());
        let lease = self.leases.acquire(&request.who, path, request.spec.vault_ttl, deadline).await?;
        let lease_key = lease.lineage.key.clone();
        let key = MountKey { lease: lease_key, spec: request.spec.clone(), ca_file: trust.ca_file };
        let (binding, new) = self.mounts.open(key, &trust.http, lease, deadline).await?;
        let source = binding.source().clone();
        let bound = boathouse_mounts::bind(&source.path(), target, request.readonly);
        drop(binding);
        if let Err(error) = bound {
            self.mounts.release(&source.id).await;
            if request.target_dir == TargetDir::Kubelets && gone(&error) {
                return Err(PublishError::TargetGone(target.to_owned()));
            }
            return Err(error.into());
        }
        Ok(if new { Made::New } else { Made::Shared })
    }

    /// A republish may bring a newer token.
    async fn refresh(&self, source: &Source, who: &Requester) {
        if let (Some(lineage), Requester::Workload { jwt, .. }) = (&source.lineage, who) {
            self.leases.refresh(lineage, jwt).await;
        }
    }

    /// The target as the mount table spells it.
    fn target(&self, request: &PublishRequest) -> Result<PathBuf, PublishError> {
        match boathouse_mounts::resolve(&request.target) {
            Err(error) if gone(&error) => Err(PublishError::TargetGone(request.target.clone())),
            other => Ok(other?),
        }
    }
}

fn replace(what: &'static str, target: &Path, error: PublishError) -> PublishError {
    PublishError::Replace { what, path: target.to_owned(), source: Box::new(error) }
}
