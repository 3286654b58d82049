//! Putting the FlexVolume driver where kubelet looks for it.
//!
//! Kubelet watches its volume plugin directory and everything below: each event makes it run the driver's `init`
//! again, except for names that begin with a dot. So the driver appears by one rename, an unchanged one is not
//! touched, and nothing else is ever written there.
//!
//! The directory is the node's, found below the node's root and not among the mounts of a container: it may lie within
//! another directory that is mounted there, and a mount on top of that would reach the node.

use crate::install::{InstallError, digest, replace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where distributions have it: upstream, AKS, those with a read-only `/usr`, GKE, OpenShift.
const KNOWN: [&str; 5] = [
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    "/etc/kubernetes/volumeplugins",
    "/var/lib/kubelet/volumeplugins",
    "/home/kubernetes/flexvolume",
    "/etc/kubernetes/kubelet-plugins/volume/exec",
];

/// `statcan.gc.ca/boathouse`, as kubelet spells it in a directory.
const DRIVER: &str = "statcan.gc.ca~boathouse";
const NAME: &str = "boathouse";

/// One value of `--flex-install-dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallDir {
    /// The first of the known ones that exists.
    Auto,
    /// This one.
    Path(PathBuf),
}

impl FromStr for InstallDir {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            path if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => Err("write an absolute path, or auto".to_owned()),
        }
    }
}

/// The driver could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum FlexDriverError {
    /// None of the known directories.
    #[error(
        "no volume plugin directory of kubelet found among {KNOWN:?}; name the one of this node (kubelet's \
         --volume-plugin-dir) with --flex-install-dir"
    )]
    NoDirectory,
    /// The named directory cannot be opened.
    #[error("volume plugin directory {path}: {source}; name another with --flex-install-dir")]
    Directory {
        /// The directory on the node.
        path: PathBuf,
        /// The system's answer.
        source: Errno,
    },
    /// It cannot be written to.
    #[error(
        "volume plugin directory {0} is read-only; choose a writable one with --flex-install-dir and kubelet's \
         --volume-plugin-dir"
    )]
    ReadOnly(PathBuf),
    /// The driver is not where it was said to be.
    #[error("FlexVolume driver not found at {path}: {source}; set --flex-driver")]
    NoDriver {
        /// Where it was looked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A step failed.
    #[error("volume plugin directory {path}: {source}")]
    Copy {
        /// The directory on the node.
        path: PathBuf,
        /// The step.
        source: InstallError,
    },
}

/// Installs the driver in each directory below the node's `root`; one that fails does not stop the others. Says in the
/// log what was done.
pub fn install_everywhere(driver: &Path, directories: &[InstallDir], root: &Path) {
    for directory in directories {
        match install(driver, directory, root) {
            Ok((path, true)) => tracing::info!(path = %path.display(), "installed the FlexVolume driver"),
            Ok((path, false)) => {
                tracing::info!(path = %path.display(), "the FlexVolume driver is installed already");
            }
            Err(error) => {
                tracing::error!(%error, "install the FlexVolume driver; CSI volumes do not need it");
            }
        }
    }
}

/// A directory of the node.
struct Directory {
    /// Its path there.
    path: PathBuf,
    opened: OwnedFd,
}

impl Directory {
    /// Links of the node's lead where they do on the node (`RESOLVE_IN_ROOT` of openat2(2)).
    fn open(root: &Path, path: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open(root, flags, nix::sys::stat::Mode::empty())?;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        Ok(Self { path: path.to_owned(), opened: openat2(&root, path, how)? })
    }

    /// Where this process reaches it.
    fn reached(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.opened.as_raw_fd()).into()
    }
}

/// Where the driver is now on the node, and whether it was put there by this call.
fn install(driver: &Path, directory: &InstallDir, root: &Path) -> Result<(PathBuf, bool), FlexDriverError> {
    let directory = match directory {
        InstallDir::Path(path) => Directory::open(root, path)
            .map_err(|source| FlexDriverError::Directory { path: path.clone(), source })?,
        InstallDir::Auto => KNOWN
            .into_iter()
            .find_map(|known| Directory::open(root, Path::new(known)).ok())
            .ok_or(FlexDriverError::NoDirectory)?,
    };
    let missing = |source| FlexDriverError::NoDriver { path: driver.to_owned(), source };
    let wanted = File::open(driver).and_then(|mut file| digest(&mut file)).map_err(missing)?;
    let shown = directory.path.join(DRIVER).join(NAME);
    let installed = directory.reached().join(DRIVER).join(NAME);
    if File::open(&installed).and_then(|mut file| digest(&mut file)).is_ok_and(|there| there == wanted) {
        return Ok((shown, false));
    }
    match put(driver, &directory.reached(), &installed) {
        Ok(()) => Ok((shown, true)),
        Err(InstallError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(FlexDriverError::ReadOnly(directory.path))
        }
        Err(source) => Err(FlexDriverError::Copy { path: directory.path, source }),
    }
}

fn put(driver: &Path, directory: &Path, installed: &Path) -> Result<(), InstallError> {
    // Beside the driver's own directory, which kubelet must not see without a driver in it.
    let half = directory.join(format!(".{DRIVER}.{}", std::process::id()));
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { operation, path, source }
    };
    let result = if installed.parent().is_some_and(Path::is_dir) {
        replace(driver, &half, installed, 0o755)
    } else {
        fs::create_dir(&half).map_err(failed("create", &half)).and_then(|()| {
            replace(driver, &half.join(format!(".{NAME}")), &half.join(NAME), 0o755)?;
            fs::rename(&half, directory.join(DRIVER)).map_err(failed("rename", &half))
        })
    };
    if result.is_err() {
        // Whatever there is of it by now; what matters is the first error.
        let _ = fs::remove_file(half.join(NAME));
        let _ = fs::remove_file(half.join(format!(".{NAME}")));
        let _ = fs::remove_dir(&half);
        let _ = fs::remove_file(&half);
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A node with the driver of this content beside it.
    struct Node {
        tree: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            let node = Self { tree: tempfile::tempdir().unwrap() };
            fs::create_dir(node.tree.path().join("root")).unwrap();
            node.driver("one");
            node
        }

        fn driver(&self, content: &str) {
            fs::write(self.tree.path().join("boathouse"), content).unwrap();
        }

        /// Where a path of the node is.
        fn on(&self, path: &str) -> PathBuf {
            self.tree.path().join("root").join(path.trim_start_matches('/'))
        }

        fn install(&self, directory: &InstallDir) -> Result<(PathBuf, bool), FlexDriverError> {
            install(&self.tree.path().join("boathouse"), directory, &self.tree.path().join("root"))
        }
    }

    #[test]
    fn the_driver_appears_whole_and_is_left_alone_after() {
        let node = Node::new();
        fs::create_dir(node.on("/exec")).unwrap();
        let directory = InstallDir::Path("/exec".into());

        let (path, new) = node.install(&directory).unwrap();
        assert!(new && path == Path::new("/exec/statcan.gc.ca~boathouse/boathouse"));
        let path = node.on(path.to_str().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        let changed = (fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec());
        assert!(!node.install(&directory).unwrap().1);
        assert_eq!((fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec()), changed);

        node.driver("two");
        assert!(node.install(&directory).unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(&node.on("/exec")), ["statcan.gc.ca~boathouse"]);
        assert_eq!(names(path.parent().unwrap()), ["boathouse"]);
    }

    #[test]
    fn the_directory_of_the_distribution_is_found() {
        let node = Node::new();
        let error = node.install(&InstallDir::Auto).unwrap_err().to_string();
        assert!(error.contains("--flex-install-dir") && error.contains("/etc/kubernetes"), "{error}");
        for known in KNOWN.into_iter().rev() {
            fs::create_dir_all(node.on(known)).unwrap();
            let (path, new) = node.install(&InstallDir::Auto).unwrap();
            assert!(new && path.starts_with(known), "{known}");
            assert!(node.on(path.to_str().unwrap()).is_file());
        }
    }

    #[test]
    fn links_lead_where_they_do_on_the_node() {
        let node = Node::new();
        fs::create_dir_all(node.on("/var/home/flex")).unwrap();
        std::os::unix::fs::symlink("/var/home", node.on("/home")).unwrap();
        let (path, _) = node.install(&InstallDir::Path("/home/flex".into())).unwrap();
        assert_eq!(path, Path::new("/home/flex/statcan.gc.ca~boathouse/boathouse"));
        assert!(node.on("/var/home/flex/statcan.gc.ca~boathouse/boathouse").is_file());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let node = Node::new();
        let said =
            |directory: &str| node.install(&InstallDir::Path(directory.into())).unwrap_err().to_string();
        assert!(
            said("/none/exec").contains("/none/exec: ENOENT") && said("/none").contains("--flex-install-dir")
        );
        let here = InstallDir::Path("/".into());
        let error = install(Path::new("/none/boathouse"), &here, node.tree.path()).unwrap_err().to_string();
        assert!(error.contains("/none/boathouse") && error.contains("--flex-driver"), "{error}");
        // Nothing can be made in /proc, not even by root.
        let closed = InstallDir::Path("/proc".into());
        let error = install(Path::new("/bin/true"), &closed, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("directory /proc: ") && error.contains(".statcan.gc.ca~boathouse"), "{error}");
        assert!("exec".parse::<InstallDir>().unwrap_err().contains("absolute"));
    }
}
