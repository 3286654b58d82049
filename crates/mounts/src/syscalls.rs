//! The system calls, one function each.

use crate::{Device, Entry, MountError, mountinfo};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How many more mounts than there were at first may be unmounted from a path before that counts as a fight.
const SPARE_ROUNDS: u32 = 16;

fn syscall(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> MountError {
    move |errno| MountError::Syscall { operation, path: path.to_owned(), errno }
}

/// The mount table of this process' mount namespace, oldest mount first.
pub fn table() -> Result<Vec<Entry>, MountError> {
    let path = Path::new("/proc/self/mountinfo");
    let document = std::fs::read(path).map_err(|source| MountError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(mountinfo::parse(&document)?)
}

/// The path as the mount table spells it: symbolic links of the parent resolved, the last component left
/// alone, because it may be a mount that hangs.
pub fn resolve(path: &Path) -> Result<PathBuf, MountError> {
    let (Some(parent), Some(name)) = (path.parent().filter(|_| path.is_absolute()), path.file_name()) else {
        return Err(MountError::NotAbsolute { path: path.to_owned() });
    };
    let parent = parent.canonicalize().map_err(|source| MountError::Io {
        operation: "resolve",
        path: parent.to_owned(),
        source,
    })?;
    Ok(parent.join(name))
}

/// Options of a FUSE mount that the kernel, not the daemon, enforces.
#[derive(Debug, Clone)]
pub struct FuseOptions<'a> {
    /// The daemon's name: the filesystem type becomes `fuse.<subtype>`.
    pub subtype: &'a str,
    /// The mount source shown in the mount table.
    pub source: &'a str,
    /// User the daemon runs as.
    pub user: u32,
    /// Group the daemon runs as.
    pub group: u32,
}

/// Opens a new FUSE session, close-on-exec.
pub fn open_fuse_device() -> Result<OwnedFd, MountError> {
    let path = Path::new("/dev/fuse");
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| MountError::Io { operation: "open", path: path.to_owned(), source })?;
    Ok(file.into())
}

/// mount(2) of a FUSE session on a directory. Returns at once: the kernel queues requests until a daemon
/// serves `device` (Documentation/filesystems/fuse/fuse.rst, "Mount options").
pub fn mount_fuse(
    directory: &Path,
    device: BorrowedFd<'_>,
    options: &FuseOptions<'_>,
) -> Result<(), MountError> {
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},allow_other,default_permissions",
        device.as_raw_fd(),
        options.user,
        options.group
    );
    let fs_type = format!("fuse.{}", options.subtype);
    mount(
        Some(options.source),
        directory,
        Some(fs_type.as_str()),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(data.as_str()),
    )
    .map_err(syscall("mount FUSE on", directory))
}

/// Whether a bind mount may be written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readonly {
    /// Writes fail with EROFS.
    Yes,
    /// As the filesystem allows.
    No,
}

/// Bind mounts `source` on `target`; on top of whatever is there.
pub fn bind(source: &Path, target: &Path, readonly: Readonly) -> Result<(), MountError> {
    let none: Option<&str> = None;
    mount(Some(source), target, none, MsFlags::MS_BIND, none).map_err(syscall("bind mount on", target))?;
    if readonly == Readonly::Yes
        && let Err(error) = make_readonly(target)
    {
        let _ = umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        return Err(error);
    }
    Ok(())
}

/// Makes a bind mount read-only, and leaves the filesystem and its other mounts as they are.
pub fn make_readonly(target: &Path) -> Result<(), MountError> {
    // mount(2): the flags of a bind mount are set by a second call; the ones not named are cleared.
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let none: Option<&str> = None;
    mount(none, target, none, flags, none).map_err(syscall("make read-only", target))
}

/// Mounts an empty directory that everybody may read and nobody can write to; on top of whatever is there. `source` is
/// what the mount table shows.
pub fn mount_empty(target: &Path, source: &str) -> Result<(), MountError> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A tmpfs with room for its own root directory: what holds nothing needs no more.
    mount(Some(source), target, Some("tmpfs"), flags, Some("mode=0555,size=4k,nr_inodes=1"))
        .map_err(syscall("mount an empty directory on", target))
}

/// Unmounts everything of ours that is stacked on `target` and returns the devices that were there, youngest
/// first. `ours` decides by the table entry; the first mount that is not ours ends it. No mount is no error.
pub fn detach_all(target: &Path, ours: impl Fn(&Entry) -> bool) -> Result<Vec<Device>, MountError> {
    let mut devices = Vec::new();
    let mut rounds = 0;
    let mut most = SPARE_ROUNDS;
    loop {
        let table = table()?;
        let Some(top) = mountinfo::top_at(&table, target).filter(|top| ours(top)) else { return Ok(devices) };
        if rounds == 0 {
            let stacked = table.iter().filter(|entry| entry.mount_point == target).count();
            most += u32::try_from(stacked).unwrap_or(u32::MAX - SPARE_ROUNDS);
        }
        if rounds == most {
            return Err(MountError::StillMounted { path: target.to_owned(), rounds });
        }
        rounds += 1;
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // EINVAL: somebody else unmounted it since the table was read; the next round sees that.
            Ok(()) | Err(Errno::EINVAL) => devices.push(top.device),
            Err(errno) => return Err(syscall("unmount", target)(errno)),
        }
    }
}

/// Whether a directory lies on a tmpfs, so that what is written there never reaches a disk.
pub fn is_tmpfs(directory: &Path) -> Result<bool, MountError> {
    let answer = nix::sys::statfs::statfs(directory).map_err(syscall("statfs", directory))?;
    Ok(answer.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn resolve_follows_links_of_the_parent_only() {
        let tree = tempfile::tempdir().unwrap();
        let real = tree.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, tree.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", real.join("leaf")).unwrap();
        assert_eq!(resolve(&tree.path().join("link/leaf")).unwrap(), real.join("leaf"));
    }

    #[test]
    fn resolve_refuses_relative_paths_and_the_root() {
        for path in ["a/b", "", "/", "/a/.."] {
            assert!(matches!(resolve(Path::new(path)), Err(MountError::NotAbsolute { .. })), "{path:?}");
        }
    }

    #[test]
    fn detaching_a_directory_that_is_no_mount_does_nothing() {
        let tree = tempfile::tempdir().unwrap();
        assert_eq!(detach_all(tree.path(), |_| true).unwrap(), Vec::new());
    }
}
