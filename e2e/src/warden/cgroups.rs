//! The cgroups that kubelet, containerd and the node plugin make, which no namespace takes along.

use anyhow::{Context as _, bail};
use boathouse_mounts::Entry;
use boathouse_testkit::leftovers::cgroup_roots;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Children of a hierarchy's root that belong to a cluster: kubelet's pods, containerd's containers.
const OF_THE_CLUSTER: [&str; 2] = ["kubepods", "k8s.io"];

/// Our keepers and daemons; a node plugin on the machine itself has its own there too.
const SHARED: &str = "boathouse";

/// How long the kernel may take to let go of killed processes.
const PATIENCE: Duration = Duration::from_secs(5);

fn named(name: &str) -> impl Iterator<Item = PathBuf> {
    cgroup_roots().into_iter().map(move |root| root.join(name)).filter(|path| path.is_dir())
}

fn of_the_cluster() -> impl Iterator<Item = PathBuf> {
    OF_THE_CLUSTER.into_iter().flat_map(named)
}

/// Two kubelets would take each other's pods for leftovers. What is just ending is waited for.
///
/// # Errors
/// When there are processes in these cgroups.
pub(super) fn refuse_if_used() -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for group in of_the_cluster() {
        while let Some(used) = first_used(&group) {
            if Instant::now() >= deadline {
                bail!("{} has processes: another Kubernetes runs on this machine", used.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn first_used(group: &Path) -> Option<PathBuf> {
    if fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.trim().is_empty()) {
        return Some(group.to_owned());
    }
    children(group).iter().find_map(|child| first_used(child))
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Where version 2 is mounted on a machine that has no other.
const UNIFIED: &str = "/sys/fs/cgroup";

/// The options of version 2 itself, such as `nsdelegate`. `None` when there is nothing of version 2 at its place.
fn options(table: &[Entry]) -> Option<&str> {
    let unified =
        table.iter().find(|entry| entry.mount_point == Path::new(UNIFIED) && entry.fs_type == "cgroup2");
    unified.map(|entry| entry.fs_options.as_str())
}

/// The machine's options of version 2. They are one set for all mounts, and a runtime that mounts it in a privileged
/// container takes away what it does not ask for (containerd before pull request 12952).
#[derive(Debug)]
pub(super) struct Options(Option<String>);

impl Options {
    pub(super) fn of_machine() -> Self {
        let table = boathouse_mounts::table().unwrap_or_default();
        Self(options(&table).map(str::to_owned))
    }

    /// Puts them back if they are others now.
    ///
    /// # Errors
    /// When mount(8) does not.
    pub(super) fn restore(&self) -> anyhow::Result<()> {
        let (Some(before), Self(now)) = (&self.0, Self::of_machine()) else { return Ok(()) };
        if now.as_ref() == Some(before) {
            return Ok(());
        }
        let how = format!("remount,{before}");
        let status = Command::new("mount").args(["-o", &how, UNIFIED]).status().context("run mount")?;
        if !status.success() {
            bail!("`mount -o {how} {UNIFIED}` ended with {status}");
        }
        Ok(())
    }
}

/// Removes them all; what is being killed is waited for.
///
/// # Errors
/// When one stays.
pub(super) fn remove() -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // A mount of the machine's own node plugin stays, and what it is in.
    for group in of_the_cluster().chain(named(SHARED).filter(|group| first_used(group).is_none())) {
        loop {
            match remove_tree(&group) {
                Ok(()) => break,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    Ok(())
}

/// A cgroup's files go with it; only directories are removed, the deepest first.
fn remove_tree(group: &Path) -> anyhow::Result<()> {
    for child in children(group) {
        remove_tree(&child)?;
    }
    fs::remove_dir(group).with_context(|| format!("remove cgroup {}", group.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn options_are_those_of_version_2_at_its_own_place() {
        let line = "31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let root = "22 1 254:0 / / rw shared:1 - ext4 /dev/root rw\n";
        let options = |table: &str| {
            let table = boathouse_mounts::parse(table.as_bytes()).unwrap();
            options(&table).map(str::to_owned)
        };
        assert_eq!(options(&format!("{root}{line}")).as_deref(), Some("rw,nsdelegate,memory_recursiveprot"));
        assert_eq!(options(root), None);
        assert_eq!(options(&line.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")), None);
        assert_eq!(options(&line.replace("- cgroup2", "- tmpfs")), None);
    }
}
