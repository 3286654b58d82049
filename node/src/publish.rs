//! Publish: from a request to a readable target, or to nothing at all.
//!
//! ```text
//!  target free? ──no: ours, alive──▶ keep (fast, no work)
//!      │ yes, or dead: stacked on top
//!  keys (login, lease) ──▶ FUSE mount (shared or new, read once) ──▶ bind to the target
//! ```

use crate::identity::Requester;
use crate::lease::{IssueError, LeaseError, Leases};
use crate::locks::KeyedLocks;
use crate::metrics::Metrics;
use crate::mount::{At, CreateError, Health, MountKey, Mounts, Source};
use boathouse_bucket::Failure;
use boathouse_mounts::{MountError, Readonly};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Code;
use vault_client::VaultError;
use volume_spec::VolumeSpec;

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

/// Why a publish failed. Nothing is left behind by any of these.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The same target is being published or unpublished.
    #[error("{0}: another operation on this target is under way")]
    Busy(PathBuf),
    /// The target is something else than a directory.
    #[error("{0}: the target path exists and is not a directory; remove it")]
    NotADirectory(PathBuf),
    /// Another filesystem is mounted on the target.
    #[error("{path}: a {fs_type} filesystem that is not ours is mounted on the target")]
    Foreign {
        /// The target.
        path: PathBuf,
        /// Its type.
        fs_type: String,
    },
    /// The target directory vanished.
    #[error("{0}: the target directory is gone; the pod was probably deleted meanwhile")]
    TargetGone(PathBuf),
    /// The target cannot be made or looked at.
    #[error("{operation} {path}: {source}")]
    Target {
        /// What was attempted.
        operation: &'static str,
        /// The target.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No keys.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// No FUSE mount.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// No bind mount.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl PublishError {
    /// The gRPC code. kubelet retries all of them; since nothing is left behind, none has to be one of the codes
    /// after which it calls unpublish.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Busy(_) => Code::Aborted,
            Self::NotADirectory(_) | Self::TargetGone(_) => Code::InvalidArgument,
            Self::Foreign { .. } => Code::FailedPrecondition,
            Self::Target { .. } | Self::Mount(_) => Code::Internal,
            Self::Lease(error) => lease_code(error),
            Self::Create(error) => create_code(error),
        }
    }
}

fn lease_code(error: &LeaseError) -> Code {
    match error {
        LeaseError::WrongToken { .. } => Code::PermissionDenied,
        LeaseError::NoVault => Code::FailedPrecondition,
        LeaseError::Issue(IssueError::Vault(error)) => match error {
            VaultError::Denied { .. } => Code::PermissionDenied,
            VaultError::NotFound { .. } | VaultError::RoleMissing { .. } => Code::NotFound,
            VaultError::BadRequest { .. } | VaultError::InvalidInput { .. } => Code::InvalidArgument,
            VaultError::RateLimited { .. } => Code::ResourceExhausted,
            VaultError::Sealed { .. } | VaultError::Unavailable { .. } => Code::Unavailable,
            VaultError::Redirected { .. } => Code::FailedPrecondition,
            VaultError::Server { .. } | VaultError::BadResponse { .. } => Code::Internal,
        },
        LeaseError::Issue(IssueError::Journal(_) | IssueError::NodeToken { .. }) => Code::Internal,
        LeaseError::Issue(IssueError::NoNodeIdentity) => Code::FailedPrecondition,
        LeaseError::Issue(IssueError::NoToken) => Code::Unauthenticated,
    }
}

fn create_code(error: &CreateError) -> Code {
    match error {
        CreateError::Bucket(error) => match error.failure {
            Failure::NoSuchBucket | Failure::NoSuchKey => Code::NotFound,
            Failure::AccessDenied => Code::PermissionDenied,
            Failure::InvalidKeys { .. } => Code::Unauthenticated,
            Failure::WrongRegion { .. } | Failure::InvalidInput(_) => Code::InvalidArgument,
            Failure::EndpointUnreachable(_) => Code::Unavailable,
            Failure::Timeout(_) => Code::DeadlineExceeded,
            Failure::ClockSkew => Code::FailedPrecondition,
            Failure::Other { .. } => Code::Internal,
        },
        CreateError::Silent { .. } => Code::DeadlineExceeded,
        CreateError::Endpoint { .. } => Code::InvalidArgument,
        CreateError::NoUser => Code::ResourceExhausted,
        CreateError::Keeper(_)
        | CreateError::Died { .. }
        | CreateError::Unreadable { .. }
        | CreateError::Mount(_)
        | CreateError::Record(_)
        | CreateError::Directory { .. } => Code::Internal,
    }
}

/// How long an unpublish waits for the revocation of the last keys before it answers; the revocation goes on.
const REVOKE_WAIT: Duration = Duration::from_secs(1);

/// Publishes and unpublishes. Clones share the work.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) mounts: Mounts,
    pub(crate) leases: Leases,
    pub(crate) metrics: Metrics,
    pub(crate) limit: Duration,
    pub(crate) busy: Arc<KeyedLocks<PathBuf>>,
}

impl Publisher {
    /// Makes the target show the volume, readable. A target that already does is left alone.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, request: PublishRequest) -> Result<(), PublishError> {
        let began = Instant::now();
        let done = self.publish_within(&request, began + self.limit).await;
        let kind = done.as_ref().map_or("none", |kind| *kind);
        self.metrics.published(done.is_ok(), kind, began.elapsed());
        let kind = done?;
        if kind != "kept" {
            tracing::info!(
                volume = request.volume_id,
                target = %request.target.display(),
                bucket = request.spec.bucket_and_prefix(),
                mount = kind,
                took = ?began.elapsed(),
                "published"
            );
        }
        Ok(())
    }

    async fn publish_within(
        &self,
        request: &PublishRequest,
        deadline: Instant,
    ) -> Result<&'static str, PublishError> {
        let target = self.target(request)?;
        let Some(_held) = self.busy.try_lock(&target) else { return Err(PublishError::Busy(target)) };
        let mounted = match self.mounts.at(&target)? {
            At::Foreign(fs_type) => return Err(PublishError::Foreign { path: target, fs_type }),
            At::Ours { source: Some(source), read_only } if source.health() == Health::Alive => {
                if read_only == (request.readonly == Readonly::Yes) {
                    self.refresh(&source, &request.who).await;
                    return Ok("kept");
                }
                // A crash between the two calls that make a bind mount read-only.
                true
            }
            // Dead: replaced by a new mount on top, without touching the dead one.
            At::Ours { .. } => true,
            At::Nothing => false,
        };
        let made_target = if mounted { false } else { prepare(&target, request.target_dir)? };
        let published = self.mount(request, &target, deadline).await;
        if published.is_err() && made_target {
            let _ = std::fs::remove_dir(&target);
        }
        published
    }

    async fn mount(
        &self,
        request: &PublishRequest,
        target: &Path,
        deadline: Instant,
    ) -> Result<&'static str, PublishError> {
        let path = request.spec.vault_path.as_ref().map_or("", |path| path.as_str());
        let lease = self.leases.acquire(&request.who, path, request.spec.vault_ttl).await?;
        let key = MountKey { lease: lease.lineage.key.clone(), spec: request.spec.clone() };
        let (binding, new) = self.mounts.open(key, lease, deadline).await?;
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
        Ok(if new { "new" } else { "shared" })
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

    /// Takes the volume away from a target, and the FUSE mount with its keys when this was the last one. A
    /// target that shows nothing is fine.
    ///
    /// # Errors
    /// See [`UnpublishError`].
    pub async fn unpublish(&self, target: &Path, target_dir: TargetDir) -> Result<bool, UnpublishError> {
        let began = Instant::now();
        let done = self.unpublish_now(target, target_dir).await;
        self.metrics.unpublished(done.is_ok(), began.elapsed());
        if let Ok(true) = done {
            tracing::info!(target = %target.display(), took = ?began.elapsed(), "unpublished");
        }
        done
    }

    async fn unpublish_now(&self, target: &Path, target_dir: TargetDir) -> Result<bool, UnpublishError> {
        let target = match boathouse_mounts::resolve(target) {
            // Without its parent there is no target.
            Err(error) if gone(&error) => return Ok(false),
            other => other?,
        };
        let Some(_held) = self.busy.try_lock(&target) else { return Err(UnpublishError::Busy(target)) };
        let ids = self.mounts.detach(&target)?;
        if let At::Foreign(fs_type) = self.mounts.at(&target)? {
            return Err(UnpublishError::Foreign { path: target, fs_type });
        }
        if target_dir == TargetDir::Ours {
            remove_empty(&target)?;
        }
        let mut revocations = Vec::new();
        for id in &ids {
            revocations.extend(self.mounts.release(id).await);
        }
        // Mostly it is done at once; when Vault is away the pod's end does not wait for it.
        let all = async {
            for revocation in revocations {
                let _ = revocation.await;
            }
        };
        if tokio::time::timeout(REVOKE_WAIT, all).await.is_err() {
            tracing::warn!(target = %target.display(), "unpublished; the revocation of its keys goes on");
        }
        Ok(!ids.is_empty())
    }
}

fn gone(error: &MountError) -> bool {
    match error {
        MountError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        MountError::Syscall { errno, .. } => *errno == nix::errno::Errno::ENOENT,
        MountError::Table(_) | MountError::NotAbsolute { .. } | MountError::StillMounted { .. } => false,
    }
}

/// Makes sure the target is a directory; answers whether it was made. Only called when nothing is mounted
/// there, so looking at it cannot hang.
fn prepare(target: &Path, who: TargetDir) -> Result<bool, PublishError> {
    let failed = |operation, source| PublishError::Target { operation, path: target.to_owned(), source };
    match (std::fs::symlink_metadata(target), who) {
        (Ok(there), _) if there.is_dir() => Ok(false),
        (Ok(_), _) => Err(PublishError::NotADirectory(target.to_owned())),
        (Err(error), TargetDir::Ours) if error.kind() == io::ErrorKind::NotFound => {
            let made = std::fs::DirBuilder::new().mode(0o750).create(target);
            made.map(|()| true).map_err(|source| failed("create target", source))
        }
        (Err(error), TargetDir::Kubelets) if error.kind() == io::ErrorKind::NotFound => {
            Err(PublishError::TargetGone(target.to_owned()))
        }
        (Err(error), _) => Err(failed("look at target", error)),
    }
}

/// Why an unpublish failed.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishError {
    /// The same target is being published or unpublished.
    #[error("{0}: another operation on this target is under way")]
    Busy(PathBuf),
    /// Another filesystem is mounted on the target.
    #[error("{path}: a {fs_type} filesystem that is not ours is mounted on the target; it was left alone")]
    Foreign {
        /// The target.
        path: PathBuf,
        /// Its type.
        fs_type: String,
    },
    /// The directory under the mount is not empty; it is never emptied.
    #[error(
        "{0}: the target directory holds files on the node's own disk; look at them and remove them by hand"
    )]
    NotEmpty(PathBuf),
    /// The directory cannot be removed.
    #[error("remove {path}: {source}")]
    Remove {
        /// The target.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl UnpublishError {
    /// The gRPC code; kubelet retries all of them.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Busy(_) => Code::Aborted,
            Self::Foreign { .. } | Self::NotEmpty(_) => Code::FailedPrecondition,
            Self::Remove { .. } | Self::Mount(_) => Code::Internal,
        }
    }
}

/// Removes the target directory; only ever an empty one. A file that somebody put there is not ours to remove,
/// and no volume.
fn remove_empty(target: &Path) -> Result<(), UnpublishError> {
    match std::fs::remove_dir(target) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
            io::ErrorKind::DirectoryNotEmpty => Err(UnpublishError::NotEmpty(target.to_owned())),
            _ => Err(UnpublishError::Remove { path: target.to_owned(), source: error }),
        },
    }
}
