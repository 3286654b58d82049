//! The host's namespaces, as process 1 shows them.

use boathouse_mounts::{Entry, top_at};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The namespaces a keeper joins, with the name each has in `/proc/<pid>/ns`. The mount namespace comes last: it
/// decides what the others' names mean.
const JOINED: [(&str, CloneFlags); 3] =
    [("uts", CloneFlags::CLONE_NEWUTS), ("ipc", CloneFlags::CLONE_NEWIPC), ("mnt", CloneFlags::CLONE_NEWNS)];

/// A pod that is not set up as it must be.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel ends all processes of a PID namespace with its first.
    #[error(
        "boathouse-node is process 1: the kernel would end every keeper, and so every mount, with it; run the pod with \
         hostPID: true"
    )]
    ProcessOne,
    /// Daemons reach S3 over the keeper's network, which would go with the pod.
    #[error(
        "this container has a network namespace of its own, which ends with it; run the pod with hostNetwork: true"
    )]
    Network,
    /// On cgroup v2 mounted with `nsdelegate`, as systemd does, the kernel moves nobody out of a cgroup namespace for one
    /// who is inside (cgroups(7)). Runtimes give privileged containers the host's.
    #[error(
        "this container has a cgroup namespace of its own, which keepers could not leave; run the container privileged"
    )]
    Cgroup,
    /// A namespace cannot be looked at.
    #[error("look at /proc/{process}/ns/{name}: {source}; the container must be privileged")]
    Look {
        /// `self` or `1`.
        process: &'static str,
        /// Which.
        name: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// The host's namespaces that are not ours.
#[derive(Debug)]
pub struct Namespaces(Vec<(OwnedFd, CloneFlags)>);

impl Namespaces {
    /// The host's, if this process runs in a container: if its mount namespace is not that of process 1.
    ///
    /// # Errors
    /// When the container is one that keepers cannot leave.
    pub fn of_host() -> Result<Option<Self>, NamespaceError> {
        if std::process::id() == 1 {
            return Err(NamespaceError::ProcessOne);
        }
        match same("mnt") {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(NamespaceError::Look { process: "1", source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                // Not root's usual view. A container that may not look could not be left either.
                tracing::warn!("process 1 does not show its namespaces; taking this for the host itself");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        if !same("net")? {
            return Err(NamespaceError::Network);
        }
        if !same("cgroup")? {
            return Err(NamespaceError::Cgroup);
        }
        let mut joined = Vec::new();
        for (name, flag) in JOINED {
            if !same(name)? {
                let path = format!("/proc/1/ns/{name}");
                let file =
                    File::open(path).map_err(|source| NamespaceError::Look { process: "1", name, source })?;
                joined.push((OwnedFd::from(file), flag));
            }
        }
        Ok(Some(Self(joined)))
    }

    /// Joins them; async-signal-safe. The caller must have one thread.
    ///
    /// # Errors
    /// What setns(2) said.
    pub(super) fn enter(&self) -> io::Result<()> {
        for (namespace, flag) in &self.0 {
            setns(namespace, *flag)?;
        }
        Ok(())
    }
}

/// Whether this process and process 1 are in the same namespace.
fn same(name: &'static str) -> Result<bool, NamespaceError> {
    let id = |process: &'static str| {
        fs::metadata(format!("/proc/{process}/ns/{name}"))
            .map(|namespace| (namespace.dev(), namespace.ino()))
            .map_err(|source| NamespaceError::Look { process, name, source })
    };
    Ok(id("self")? == id("1")?)
}

/// Whether mounts made below `path` are seen outside: whether the mount that `path` is on is in a peer group.
pub(super) fn is_shared(table: &[Entry], path: &Path) -> bool {
    let covering = table.iter().map(|entry| &entry.mount_point).filter(|point| path.starts_with(point));
    let point = covering.max_by_key(|point| point.as_os_str().len());
    point.and_then(|point| top_at(table, point)).is_some_and(|entry| entry.shared)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const TABLE: &[u8] = b"\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 27 254:1 / /var/lib/boathouse rw,relatime - ext4 /dev/sdb rw
41 40 0:50 / /var/lib/boathouse/mounts rw shared:7 master:2 - tmpfs tmpfs rw
42 27 0:51 / /var/lib/kubelet rw master:9 - tmpfs shared: rw
";

    #[test]
    fn sharing_is_that_of_the_mount_a_path_is_on() {
        let table = boathouse_mounts::parse(TABLE).unwrap();
        for (path, shared) in [
            ("/var/lib/other", true),
            ("/var/lib/boathouse", false),
            ("/var/lib/boathouse/bin", false),
            ("/var/lib/boathouse-2", true),
            ("/var/lib/boathouse/mounts/x", true),
            ("/var/lib/kubelet/pods", false),
        ] {
            assert_eq!(is_shared(&table, Path::new(path)), shared, "{path}");
        }
        assert!(!is_shared(&[], Path::new("/x")));
    }

    #[test]
    fn a_process_is_in_its_own_namespaces() {
        let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        for (name, flag) in JOINED {
            // What is compared exists under these names on this kernel.
            assert!(own(name).to_str().unwrap().starts_with(name), "{flag:?}");
        }
    }
}
