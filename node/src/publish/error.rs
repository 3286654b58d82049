//! Why a publish or an unpublish failed, and the gRPC code of each.

use crate::install::AuthorityError;
use crate::lease::{IssueError, LeaseError};
use crate::mount::CreateError;
use boathouse_bucket::{BucketError, Failure};
use boathouse_mounts::MountError;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;
use tonic::Code;
use vault_client::VaultError;

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
    /// The target shows a mount that does not count, and no new one could be made in its place. It is still there, so
    /// kubelet must go on and call unpublish one day.
    #[error("replace the {what} on {path}: {source}")]
    Replace {
        /// What is there.
        what: &'static str,
        /// The target.
        path: PathBuf,
        /// Why there is no new one.
        source: Box<PublishError>,
    },
    /// Nobody to vouch for the server.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
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
            Self::Mount(MountError::NotAbsolute { .. }) => Code::InvalidArgument,
            Self::Target { .. } | Self::Mount(_) => Code::Internal,
            Self::Replace { .. } => Code::Unavailable,
            Self::Authority(AuthorityError::Install(_) | AuthorityError::List { .. }) => Code::Internal,
            Self::Authority(_) => Code::FailedPrecondition,
            Self::Lease(error) => lease_code(error),
            Self::Create(error) => create_code(error),
        }
    }

    /// What an optional volume may be left out for: that Vault or the S3 server fails, and not the request or this node.
    pub(super) fn unavailable(&self) -> Option<Unavailable> {
        match self {
            Self::Lease(LeaseError::Issue(IssueError::Vault(error))) => {
                let asked_wrongly = match error {
                    VaultError::InvalidInput { .. } => true,
                    VaultError::BadRequest { .. } => !error.is_transient(),
                    _ => false,
                };
                (!asked_wrongly).then(|| Unavailable::Vault(discriminant(error)))
            }
            Self::Create(CreateError::Bucket(BucketError { failure, .. })) => {
                let asked_wrongly = matches!(failure, Failure::InvalidInput(_) | Failure::WrongRegion { .. });
                (!asked_wrongly).then(|| Unavailable::Bucket(discriminant(failure)))
            }
            Self::Lease(LeaseError::Waited(_))
            | Self::Create(CreateError::Silent { .. } | CreateError::Waited { .. }) => {
                Some(Unavailable::Late)
            }
            _ => None,
        }
    }
}

/// Why a volume is not available, without what differs from one attempt to the next: names that Vault makes up, how
/// long was waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// No keys.
    Vault(Discriminant<VaultError>),
    /// No bucket.
    Bucket(Discriminant<Failure>),
    /// No answer in time.
    Late,
}

fn lease_code(error: &LeaseError) -> Code {
    match error {
        LeaseError::WrongToken { .. } => Code::PermissionDenied,
        LeaseError::Waited(_) => Code::DeadlineExceeded,
        LeaseError::Issue(IssueError::Vault(error)) => match error {
            VaultError::Denied { .. } => Code::PermissionDenied,
            // The next attempt logs in anew.
            VaultError::UnknownToken { .. } => Code::Unavailable,
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
        CreateError::Silent { .. } | CreateError::Waited { .. } => Code::DeadlineExceeded,
        CreateError::Endpoint { .. } => Code::InvalidArgument,
        CreateError::NoUser => Code::ResourceExhausted,
        CreateError::Keeper(_)
        | CreateError::Cgroup(_)
        | CreateError::Probe { .. }
        | CreateError::Died { .. }
        | CreateError::Unreadable { .. }
        | CreateError::Mount(_)
        | CreateError::Record(_)
        | CreateError::Directory { .. } => Code::Internal,
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
