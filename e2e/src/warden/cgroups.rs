//! The cgroups that kubelet, containerd and the node plugin make, which no namespace takes along.

use anyhow::{Context as _, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Children of a hierarchy's root that belong to a cluster: kubelet's pods, containerd's containers, our keepers.
const NAMES: [&str; 3] = ["kubepods", "k8s.io", "boathouse"];

/// How long the kernel may take to let go of killed processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The roots of all hierarchies: of version 1 below `/sys/fs/cgroup`, of version 2 itself or in `unified`.
fn roots() -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let mut roots = vec![base.to_owned()];
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        // A link is a second name (cpu → cpu,cpuacct).
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").exists() {
            roots.push(entry.path());
        }
    }
    roots
}

fn ours() -> impl Iterator<Item = PathBuf> {
    roots().into_iter().flat_map(|root| NAMES.map(|name| root.join(name))).filter(|path| path.is_dir())
}

/// Two kubelets would take each other's pods for leftovers.
///
/// # Errors
/// When there are processes in these cgroups.
pub(super) fn refuse_if_used() -> anyhow::Result<()> {
    for group in ours() {
        if let Some(used) = first_used(&group) {
            bail!(
                "{} has processes: another Kubernetes or another cluster of ours runs here",
                used.display()
            );
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

/// Removes them all; what is being killed is waited for.
///
/// # Errors
/// When one stays.
pub(super) fn remove() -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for group in ours() {
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
