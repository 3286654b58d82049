//! A mount that ends with its guard.

use boathouse_mounts::{MountError, detach_all, resolve};
use std::path::{Path, PathBuf};

/// Detaches everything that is mounted on a path when it is dropped.
#[derive(Debug)]
pub struct MountGuard {
    path: PathBuf,
}

impl MountGuard {
    /// Guards a path, whether or not something is mounted there yet. The path itself is not touched.
    ///
    /// # Errors
    /// When it is not absolute or its parent does not exist.
    pub fn on(path: &Path) -> Result<Self, MountError> {
        Ok(Self { path: resolve(path)? })
    }

    /// The path, as the mount table spells it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Detaches now.
    ///
    /// # Errors
    /// As umount2(2).
    pub fn detach(&self) -> Result<(), MountError> {
        detach_all(&self.path, |_| true).map(drop)
    }
}

impl Drop for MountGuard {
    #[allow(clippy::print_stderr, reason = "a drop has nobody to return an error to")]
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            eprintln!("testkit: {error}");
        }
    }
}
