//! The directory of the one cluster a machine can have.

use anyhow::{Context as _, bail};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the directory, below `BOATHOUSE_TEST_DIR` or `/tmp`. The prefix makes it a directory that a leftovers
/// check knows.
const NAME: &str = "boathouse-test-cluster";

/// Held by whoever runs the cluster. In a directory of root's, where nobody else can put another file.
const LOCK: &str = "/run/boathouse-cluster.lock";

/// What a cluster that was started in the background says.
pub(crate) const LOG: &str = "/run/boathouse-cluster.log";

/// Variable with the directory, for what runs inside.
pub(crate) const INSIDE: &str = "BOATHOUSE_CLUSTER_DIR";

/// Where everything of the cluster lies: programs' data, logs, keys, `ready`, `warden.pid`.
#[derive(Debug, Clone)]
pub struct Place {
    directory: PathBuf,
}

impl Place {
    /// Of this machine; inside the namespaces, the one they were made for.
    pub fn of_machine() -> Self {
        if let Some(directory) = std::env::var_os(INSIDE) {
            return Self { directory: directory.into() };
        }
        let parent =
            std::env::var_os("BOATHOUSE_TEST_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        Self { directory: parent.join(NAME) }
    }

    /// The directory; mode 0711, because FUSE daemons run as other users.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes it.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn create(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new().mode(0o711).create(&self.directory);
        made.with_context(|| format!("create {}", self.directory.display()))?;
        for name in
            ["log", "lib", "lib/kubelet", "lib/cni", "lib/boathouse", "varlog", "sysctl", "pki", "lib/tests"]
        {
            let path = self.path(name);
            let made = DirBuilder::new().recursive(true).mode(0o711).create(&path);
            made.with_context(|| format!("create {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes it. Nothing may be mounted in it: the namespaces its mounts were in are gone.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.directory.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// As open(2).
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Writes a small file that nobody else may read.
    ///
    /// # Errors
    /// As open(2).
    pub fn write_secret(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let file = File::options().create_new(true).write(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Reads a small file; `None` when it is not there.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// Taken by whoever runs the cluster, for as long as it does.
    ///
    /// # Errors
    /// When somebody else runs one.
    pub fn lock(&self) -> anyhow::Result<File> {
        let path = Path::new(LOCK);
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("create {LOCK}"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "a cluster runs on this machine already, in {}; `cargo xtask cluster down` ends it",
                self.directory.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {LOCK}")),
        }
    }

    /// Whether somebody runs a cluster.
    #[allow(clippy::unused_self, reason = "of this place, though there is one")]
    pub fn is_locked(&self) -> bool {
        File::open(LOCK).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}
