//! A directory for everything a test makes, removed without ever going into a mount.

use boathouse_mounts::{MountError, detach_all, table};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prefix of every directory's name, so that leftovers can be found.
pub(crate) const PREFIX: &str = "boathouse-test-";

/// A directory under `BOATHOUSE_TEST_DIR`, else `/tmp`, that others may pass through (mode 0711: the FUSE daemon
/// runs as another user). When it is dropped: processes that name it on their command line are killed, what is
/// mounted under it is detached, cgroups of mounts are removed, and then it is. With `BOATHOUSE_TEST_KEEP` set, the files stay.
#[derive(Debug)]
pub struct TempTree {
    path: PathBuf,
}

impl TempTree {
    /// Makes a directory.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn new() -> std::io::Result<Self> {
        let base = parent();
        fs::create_dir_all(&base)?;
        // The mount table has resolved paths.
        let path =
            base.canonicalize()?.join(format!("{PREFIX}{}-{}", std::process::id(), crate::random_hex(4)));
        fs::create_dir(&path)?;
        let tree = Self { path };
        fs::set_permissions(&tree.path, fs::Permissions::from_mode(0o711))?;
        Ok(tree)
    }

    /// The directory, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it, with the ones above, all mode 0711.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn directory(&self, name: &str) -> std::io::Result<PathBuf> {
        let mut path = self.path.clone();
        for part in Path::new(name) {
            path.push(part);
            if !path.is_dir() {
                fs::create_dir(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
            }
        }
        Ok(path)
    }

    /// Kills the processes that name this directory, detaches what is mounted under it and removes it.
    ///
    /// # Errors
    /// When a mount does not go away or a file cannot be removed; the directory is then still there.
    pub fn remove(self) -> Result<(), MountError> {
        let this = std::mem::ManuallyDrop::new(self);
        clear(&this.path)
    }
}

/// Where trees are made.
pub(crate) fn parent() -> PathBuf {
    std::env::var_os("BOATHOUSE_TEST_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

fn clear(path: &Path) -> Result<(), MountError> {
    crate::leftovers::end_processes_naming(path, Duration::from_secs(5));
    detach_below(path)?;
    // Not before: a mount whose daemon hangs would hang whoever looks into it.
    for id in mount_ids(path, 0) {
        remove_cgroups(&id);
    }
    if std::env::var_os("BOATHOUSE_TEST_KEEP").is_some() {
        return Ok(());
    }
    fs::remove_dir_all(path).map_err(|source| MountError::Io {
        operation: "remove",
        path: path.to_owned(),
        source,
    })
}

/// The ids of a node plugin's mounts: what is in a directory `mounts` of its state, which is not far below `path`.
fn mount_ids(path: &Path, depth: u32) -> Vec<OsString> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if path.file_name() == Some("mounts".as_ref()) {
        return directories.map(|entry| entry.file_name()).collect();
    }
    if depth == 4 {
        return Vec::new();
    }
    directories.flat_map(|entry| mount_ids(&entry.path(), depth + 1)).collect()
}

/// Removes a mount's cgroups, which a node plugin does when it unmounts. Without one they would stay, empty.
fn remove_cgroups(id: &OsStr) {
    for hierarchy in crate::leftovers::cgroup_roots() {
        let cgroup = hierarchy.join("boathouse").join(id);
        // Who was killed may count as a member for a moment.
        for _ in 0..50 {
            match fs::remove_dir(&cgroup) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                // Gone, or never there.
                _ => break,
            }
        }
    }
}

/// Detaches every mount on or under `path`, youngest first. Afterwards there is none, or it is an error.
fn detach_below(path: &Path) -> Result<(), MountError> {
    let below = || -> Result<Vec<PathBuf>, MountError> {
        let mut entries: Vec<_> =
            table()?.into_iter().filter(|entry| entry.mount_point.starts_with(path)).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.mount_id));
        Ok(entries.into_iter().map(|entry| entry.mount_point).collect())
    };
    for mount_point in below()? {
        detach_all(&mount_point, |_| true)?;
    }
    match below()?.into_iter().next() {
        Some(path) => Err(MountError::StillMounted { path, rounds: 1 }),
        None => Ok(()),
    }
}

impl Drop for TempTree {
    #[allow(clippy::print_stderr, reason = "a drop has nobody to return an error to")]
    fn drop(&mut self) {
        if let Err(error) = clear(&self.path) {
            eprintln!("testkit: {error}; {} is left behind", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use nix::mount::{MsFlags, mount};

    #[test]
    fn a_tree_is_passable_and_goes_away() {
        let tree = TempTree::new().unwrap();
        let path = tree.path().to_owned();
        let inner = tree.directory("a/b").unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o711);
        drop(tree);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_mounted_under_it_is_detached_not_emptied() {
        if !nix::unistd::geteuid().is_root() {
            return; // mount(2) needs root; the suite as a whole is run as root.
        }
        let outside = tempfile::tempdir().unwrap();
        let precious = outside.path().join("precious");
        fs::write(&precious, "data").unwrap();
        let tree = TempTree::new().unwrap();
        let path = tree.path().to_owned();
        let target = tree.directory("target").unwrap();
        for _ in 0..2 {
            mount(Some(outside.path()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
        assert!(target.join("precious").exists());
        drop(tree);
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(precious).unwrap(), "data");
    }
}
