//! The kernel's list of FUSE sessions (fuse.rst, "Control filesystem").
//!
//! It is usually mounted on `/sys/fs/fuse/connections`, but not in containers. So this process has a mount of its
//! own that is attached nowhere: nobody sees it, and it ends with the process.

use crate::{Device, MountError};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::LazyLock;

static SESSIONS: LazyLock<Option<OwnedFd>> = LazyLock::new(|| {
    let filesystem = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(&filesystem).ok()?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).ok()
});

/// The directory of a session; it exists as long as the session.
fn directory(device: Device) -> Option<PathBuf> {
    let sessions = SESSIONS.as_ref()?;
    Some(PathBuf::from(format!("/proc/self/fd/{}/{}", sessions.as_raw_fd(), device.minor)))
}

/// Whether a FUSE session is over: nobody has it mounted, in no mount namespace, and its daemon has been told.
/// False when that cannot be said (kernels before 5.2).
#[must_use]
pub fn session_ended(device: Device) -> bool {
    directory(device).is_some_and(|directory| !directory.exists())
}

/// Ends a FUSE session for everybody: every request in flight fails with ENOTCONN, nothing waits any more.
/// The last step against a daemon that hangs (fuse.rst, "Aborting a filesystem connection"). A session that
/// is already gone is no error.
pub fn abort_fuse(device: Device) -> Result<(), MountError> {
    let Some(path) = directory(device).map(|directory| directory.join("abort")) else {
        let source = ErrorKind::Unsupported.into();
        return Err(MountError::Io {
            operation: "open the list of FUSE sessions",
            path: "fusectl".into(),
            source,
        });
    };
    match std::fs::write(&path, "1") {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(MountError::Io { operation: "abort FUSE session", path, source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{FuseOptions, mount_fuse, open_fuse_device, table, top_at};
    use std::os::fd::AsFd as _;

    /// Root and /dev/fuse are what mounting takes; `cargo xtask test` says so when they are missing.
    #[test]
    fn a_session_lives_until_it_is_unmounted_or_aborted() {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts and must run as root");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let session = open_fuse_device().unwrap();
        let options = FuseOptions { subtype: "test", source: "sessions-test", user: 1, group: 1 };
        mount_fuse(&path, session.as_fd(), &options).unwrap();
        let device = top_at(&table().unwrap(), &path).unwrap().device;
        let before = session_ended(device);
        abort_fuse(device).unwrap();
        let aborted = std::fs::read_dir(&path).is_err();
        crate::detach_all(&path, |_| true).unwrap();
        assert!(!before, "a mounted session counts as ended");
        assert!(aborted, "an aborted session answers");
        assert!(session_ended(device), "an unmounted session counts as living");
        abort_fuse(device).unwrap();
    }
}
