//! The target directory: made, looked at, removed when empty.

use super::TargetDir;
use super::error::{PublishError, UnpublishError};
use boathouse_mounts::MountError;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Whether an error says that a path does not exist.
pub(super) fn gone(error: &MountError) -> bool {
    match error {
        MountError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        MountError::Syscall { errno, .. } => *errno == nix::errno::Errno::ENOENT,
        MountError::Table(_) | MountError::NotAbsolute { .. } | MountError::StillMounted { .. } => false,
    }
}

/// Makes sure the target is a directory; answers whether it was made. Only called when nothing is mounted
/// there, so looking at it cannot hang.
pub(super) fn prepare(target: &Path, who: TargetDir) -> Result<bool, PublishError> {
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

/// Removes the target directory; only ever an empty one. A file that somebody put there is not ours to remove,
/// and no volume.
pub(super) fn remove_empty(target: &Path) -> Result<(), UnpublishError> {
    match std::fs::remove_dir(target) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
            io::ErrorKind::DirectoryNotEmpty => Err(UnpublishError::NotEmpty(target.to_owned())),
            _ => Err(UnpublishError::Remove { path: target.to_owned(), source: error }),
        },
    }
}
