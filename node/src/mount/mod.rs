//! FUSE mounts: made on a private source directory, bound to targets, found again after a restart.
//!
//! ```text
//!  <state>/mounts/<id>/mount.json    what it is for (no secret)
//!                      keeper.sock   its keeper
//!                      source/       the FUSE mount ──bind──▶ target of pod 1
//!                                                   ──bind──▶ target of pod 2
//! ```
//! Which targets a source has is never written down: the kernel's mount table knows (same device number).

mod adopt;
mod ask;
mod create;
mod mounts;
mod record;
mod source;

pub use adopt::{AdoptError, Found};
pub use ask::{Answer, ask};
pub use create::CreateError;
pub(crate) use create::{EXIT_PATIENCE, obituary, session_over};
pub use mounts::{At, Mounts, MountsConfig};
pub use record::{MountKey, MountRecord, RecordError};
pub use source::{Binding, Health, Source};

use boathouse_mounts::{Entry, MountError};
use std::path::Path;

/// Start of the mount source of every FUSE mount of ours, followed by the mount's id.
const SOURCE_PREFIX: &str = "boathouse:";

/// Mount source of the empty directory that stands in for an optional volume.
const PLACEHOLDER: &str = "boathouse-unavailable";

/// The mount id of a mount table entry, if it is one of ours.
#[must_use]
pub fn ours(entry: &Entry) -> Option<&str> {
    let id = entry.source.to_str()?.strip_prefix(SOURCE_PREFIX)?;
    entry.fs_type.starts_with("fuse.").then_some(id)
}

/// Mounts the placeholder of an optional volume on a target.
pub(crate) fn stand_in(target: &Path) -> Result<(), MountError> {
    boathouse_mounts::mount_empty(target, PLACEHOLDER)
}

/// Whether a mount table entry is a placeholder.
fn placeholder(entry: &Entry) -> bool {
    entry.source == PLACEHOLDER && entry.fs_type == "tmpfs"
}

/// Takes away whatever of ours is stacked on a path, placeholders included. Answers whether there was anything.
pub(crate) fn clear(target: &Path) -> Result<bool, MountError> {
    let detached = boathouse_mounts::detach_all(target, |entry| ours(entry).is_some() || placeholder(entry))?;
    Ok(!detached.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use boathouse_mounts::{table, top_at};
    use std::os::unix::fs::PermissionsExt as _;

    /// Root is what mounting takes; `cargo xtask test` says so when it is missing.
    #[test]
    fn a_placeholder_is_empty_read_only_and_known_by_the_mount_table() {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts and must run as root");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        assert!(!clear(&path).unwrap());
        stand_in(&path).unwrap();
        let entry = top_at(&table().unwrap(), &path).cloned().unwrap();
        let names = std::fs::read_dir(&path).unwrap().count();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        let written = std::fs::write(path.join("x"), "1").map_err(|error| error.raw_os_error());
        let cleared = clear(&path).unwrap();
        assert!(placeholder(&entry) && ours(&entry).is_none() && entry.read_only, "{entry:?}");
        assert_eq!((names, mode), (0, 0o555));
        assert_eq!(written, Err(Some(nix::errno::Errno::EROFS as i32)));
        assert!(cleared && top_at(&table().unwrap(), &path).is_none());
    }
}
