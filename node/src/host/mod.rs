//! Where keepers live: on the host, outside whatever this process is confined to.
//!
//! A container runtime ends everything in a pod's cgroup with the pod, and the pod's mount namespace goes with it. So
//! a keeper is born into the host's namespaces ([`namespaces`]) and into cgroups of its own ([`cgroups`]), between
//! fork and exec, before it knows any secret. On a plain host there are no other namespaces to join, but the
//! cgroups are the same: they carry the limits of a mount, and a service manager that ends a unit's cgroup does not
//! end the mounts.

pub mod cgroups;
pub mod namespaces;

use cgroups::{CgroupError, Cgroups, Limits};
use namespaces::{NamespaceError, Namespaces};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The host cannot be reached from here as it must be.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The host's namespaces.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
    /// Cgroups outside the pod's.
    #[error("keepers would end with this pod: {0}")]
    Cgroups(#[from] CgroupError),
    /// No hierarchy to move to.
    #[error("keepers would end with this pod: no cgroup hierarchy of the host is writable ({0})")]
    NoCgroups(String),
    /// A directory of the container that is not the host's.
    #[error(
        "{path} is not the host's {path}: mount that directory into the container as a hostPath volume at the same \
         path, with mountPropagation Bidirectional"
    )]
    OtherDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A directory whose mounts would stay in the container.
    #[error(
        "{path}: mounts made there stay in this container; give its volume mountPropagation Bidirectional"
    )]
    NotShared {
        /// The directory.
        path: PathBuf,
    },
}

/// The host, as keepers are to see it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    namespaces: Option<Arc<Namespaces>>,
    cgroups: Option<Arc<Cgroups>>,
}

impl Host {
    /// Finds out whether this is a container, and prepares the host's cgroups. Says in the log, once, what cannot be
    /// had.
    ///
    /// # Errors
    /// In a container, when keepers could not leave it. On a host nothing is an error: mounts then go without limits.
    pub fn find(limits: Limits) -> Result<Self, HostError> {
        let namespaces = Namespaces::of_host()?;
        let prepared =
            Cgroups::prepare(root(namespaces.is_some()), namespaces.is_some(), cgroups::NAME, limits);
        let cgroups = match (prepared, &namespaces) {
            (Ok(cgroups), Some(_)) if cgroups.count() == 0 => {
                return Err(HostError::NoCgroups(cgroups.missing().join("; ")));
            }
            (Ok(cgroups), _) => {
                if !cgroups.missing().is_empty() {
                    let missing = cgroups.missing().join("; ");
                    tracing::warn!(missing, "mounts have not all the limits they should");
                }
                Some(Arc::new(cgroups))
            }
            (Err(error), Some(_)) => return Err(error.into()),
            (Err(error), None) => {
                tracing::warn!(%error, "mounts have no limits, and keepers stay in the cgroup of this process");
                None
            }
        };
        tracing::info!(container = namespaces.is_some(), limits = cgroups.is_some(), "found the host");
        Ok(Self { namespaces: namespaces.map(Arc::new), cgroups })
    }

    /// Where the host's root directory is reached.
    #[must_use]
    pub fn root(&self) -> &'static Path {
        root(self.namespaces.is_some())
    }

    /// Checks that a directory is the host's under the same path, and that mounts in it reach the host.
    ///
    /// # Errors
    /// Neither can be so on the host itself.
    pub fn check_directory(&self, path: &Path) -> Result<(), HostError> {
        if self.namespaces.is_none() {
            return Ok(());
        }
        let hosts = self.root().join(path.strip_prefix("/").unwrap_or(path));
        let id = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
        if id(path).is_none() || id(path) != id(&hosts) {
            return Err(HostError::OtherDirectory { path: path.to_owned() });
        }
        if !boathouse_mounts::table().is_ok_and(|table| namespaces::is_shared(&table, path)) {
            return Err(HostError::NotShared { path: path.to_owned() });
        }
        Ok(())
    }

    /// Makes the place where the keeper of mount `id` is born.
    ///
    /// # Errors
    /// When its cgroup cannot be made; none is then left.
    pub fn cradle(&self, id: &str) -> Result<Cradle, CgroupError> {
        let cgroups = self.cgroups.as_ref().map(|cgroups| cgroups.place(id)).transpose()?;
        Ok(Cradle { namespaces: self.namespaces.clone(), cgroups: cgroups.unwrap_or_default() })
    }

    /// Takes the keeper of a mount out of the limits, which are its daemon's: whoever exceeds them is killed alone.
    pub async fn settle(&self, keeper_pid: i32, daemon_pid: i32) {
        let Some(cgroups) = self.cgroups.clone() else { return };
        let moved = tokio::task::spawn_blocking(move || cgroups.settle(keeper_pid, daemon_pid)).await;
        if let Ok(Err(error)) = moved {
            tracing::warn!(%error, "a keeper shares its daemon's limits");
        }
    }

    /// Removes what [`Self::cradle`] made for a mount that is gone, with all processes in it. False when one of them
    /// may live on.
    pub async fn release(&self, id: &str) -> bool {
        let Some(cgroups) = self.cgroups.clone() else { return true };
        let id = id.to_owned();
        let removed = tokio::task::spawn_blocking(move || cgroups.release(&id)).await;
        if let Ok(Err(error)) = &removed {
            tracing::warn!(%error, "a cgroup of a mount that is gone stays, and the next start looks again");
        }
        matches!(removed, Ok(Ok(())))
    }
}

fn root(in_container: bool) -> &'static Path {
    Path::new(if in_container { "/proc/1/root" } else { "/" })
}

/// Where one keeper is born.
#[derive(Debug)]
pub struct Cradle {
    namespaces: Option<Arc<Namespaces>>,
    cgroups: Vec<File>,
}

impl Cradle {
    /// Moves the calling process there. Made for the moment between fork and exec: it makes only system calls,
    /// allocates nothing and takes no lock.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn enter(&self) -> io::Result<()> {
        cgroups::enter(&self.cgroups)?;
        self.namespaces.as_ref().map_or(Ok(()), |namespaces| namespaces.enter())
    }

    /// Whether the keeper is born in another place than this process.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.leaves_container() || !self.cgroups.is_empty()
    }

    /// Whether the keeper sees the host's files and this process does not.
    #[must_use]
    pub fn leaves_container(&self) -> bool {
        self.namespaces.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::process::CommandExt as _;

    /// On a plain host, where both are the same, and in a container.
    #[tokio::test]
    async fn a_process_is_born_on_the_host() {
        let host = match Host::find(Limits::default()) {
            Ok(host) => host,
            // Not as root: said, instead of a keeper that ends with its pod.
            Err(error) => return assert!(error.to_string().contains("this pod"), "{error}"),
        };
        let id = format!("unit-{}", std::process::id());
        let cradle = host.cradle(&id).unwrap();
        assert_eq!(cradle.leaves_container(), host.namespaces.is_some());
        let mut command = std::process::Command::new("/bin/sleep");
        command.arg("60");
        // SAFETY: `enter` makes only system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || cradle.enter()) };
        let mut child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let namespace =
            |process: &str, name: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
        let names = ["mnt", "uts", "ipc", "cgroup", "net"];
        let born = names.map(|name| namespace(&pid.to_string(), name));
        let hosts = names.map(|name| match host.namespaces {
            Some(_) => namespace("1", name),
            None => namespace("self", name),
        });
        host.settle(pid, pid).await;
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        host.release(&id).await;
        assert_eq!(born, hosts);
        let left = cgroups.lines().filter(|line| line.ends_with("/boathouse/keepers")).count();
        assert_eq!(left, host.cgroups.as_ref().map_or(0, |cgroups| cgroups.count()), "{cgroups}");
    }

    #[test]
    fn on_the_host_every_directory_is_its_own() {
        Host::default().check_directory(Path::new("/none")).unwrap();
    }
}
