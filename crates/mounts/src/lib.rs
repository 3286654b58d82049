//! Mounting, unmounting and reading the mount table, never touching what may hang.
//!
//! A FUSE mount whose daemon is stuck blocks every process that stats it. So nothing here stats a mount:
//! what is mounted where comes from the kernel's mount table ([`table`]), paths are resolved through their
//! parent directory ([`resolve`]), and unmounting is `umount2(MNT_DETACH)`, which never asks the daemon.

mod mountinfo;
mod sessions;
mod syscalls;

pub use mountinfo::{Device, Entry, ParseError, parse, top_at};
pub use sessions::{abort_fuse, session_ended};
pub use syscalls::{
    FuseOptions, Readonly, bind, detach_all, is_tmpfs, make_readonly, mount_empty, mount_fuse,
    open_fuse_device, resolve, table,
};

/// What went wrong, with the operation and the path it was about.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A system call failed.
    #[error("{operation} {path}: {errno}")]
    Syscall {
        /// The call, as a person would say it (`mount`, `unmount`, …).
        operation: &'static str,
        /// The path it was about.
        path: std::path::PathBuf,
        /// The kernel's answer.
        errno: nix::errno::Errno,
    },
    /// A file could not be read or opened.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The path it was about.
        path: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The kernel's mount table has a line we cannot read.
    #[error("read the mount table: {0}")]
    Table(#[from] ParseError),
    /// A path that must be absolute and name something below the root.
    #[error("{path}: not an absolute path with a file name")]
    NotAbsolute {
        /// The path as given.
        path: std::path::PathBuf,
    },
    /// Somebody mounts on a path faster than it is unmounted.
    #[error("unmount {path}: still a mount point after {rounds} rounds")]
    StillMounted {
        /// The path.
        path: std::path::PathBuf,
        /// How many times it was unmounted.
        rounds: u32,
    },
}
