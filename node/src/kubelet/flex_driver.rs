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
    /// Those of the known ones that exist.
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
    let mut outcomes = Vec::new();
    for directory in directories {
        match directory {
            InstallDir::Path(path) => outcomes.push(install(driver, path, root)),
            InstallDir::Auto => outcomes.extend(install_where_known(driver, root)),
        }
    }
    for outcome in outcomes {
        match outcome {
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

/// Installs the driver in every known directory that is there. Kubelet makes its own when it starts, and others may be left
/// from before: a driver where nobody looks does no harm.
fn install_where_known(driver: &Path, root: &Path) -> Vec<Result<(PathBuf, bool), FlexDriverError>> {
    let mut outcomes: Vec<_> = KNOWN.iter().map(|known| install(driver, Path::new(known), root)).collect();
    let absent = |outcome: &Result<_, FlexDriverError>| {
        matches!(outcome, Err(FlexDriverError::Directory { source: Errno::ENOENT, .. }))
    };
    outcomes.retain(|outcome| !absent(outcome));
    if outcomes.is_empty() {
        outcomes.push(Err(FlexDriverError::NoDirectory));
    }
    outcomes
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
fn install(driver: &Path, directory: &Path, root: &Path) -> Result<(PathBuf, bool), FlexDriverError> {
    let failed = |source| FlexDriverError::Directory { path: directory.to_owned(), source };
    let directory = Directory::open(root, directory).map_err(failed)?;
    let missing = |source| FlexDriverError::NoDriver { path: driver.to_owned(), source };
    let wanted = File::open(driver).and_then(|mut file| digest(&mut file)).map_err(missing)?;
    let shown = directory.path.join(DRIVER).join(NAME);
    let installed = directory.reached().join(DRIVER).join(NAME);
    // A link would lead somewhere in this container.
    if installed.parent().is_some_and(Path::is_symlink) {
        return Err(failed(Errno::ELOOP));
    }
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

        fn install(&self, directory: &str) -> Result<(PathBuf, bool), FlexDriverError> {
            install(&self.tree.path().join("boathouse"), directory.as_ref(), &self.tree.path().join("root"))
        }

        fn install_where_known(&self) -> Vec<Result<(PathBuf, bool), FlexDriverError>> {
            install_where_known(&self.tree.path().join("boathouse"), &self.tree.path().join("root"))
        }
    }

    #[test]
    fn the_driver_appears_whole_and_is_left_alone_after() {
        let node = Node::new();
        fs::create_dir(node.on("/exec")).unwrap();

        let (path, new) = node.install("/exec").unwrap();
        assert!(new && path == Path::new("/exec/statcan.gc.ca~boathouse/boathouse"));
        let path = node.on(path.to_str().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        let changed = (fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec());
        assert!(!node.install("/exec").unwrap().1);
        assert_eq!((fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec()), changed);

        node.driver("two");
        assert!(node.install("/exec").unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(&node.on("/exec")), ["statcan.gc.ca~boathouse"]);
        assert_eq!(names(path.parent().unwrap()), ["boathouse"]);
    }

    #[test]
    fn the_directories_of_distributions_are_found() {
        let node = Node::new();
        let [Err(error)] = &node.install_where_known()[..] else { panic!("there is none") };
        let error = error.to_string();
        assert!(error.contains("--flex-install-dir") && error.contains("/etc/kubernetes"), "{error}");
        for (count, known) in KNOWN.into_iter().rev().enumerate() {
            fs::create_dir_all(node.on(known)).unwrap();
            let outcomes = node.install_where_known();
            assert_eq!(outcomes.len(), count + 1);
            let new: Vec<PathBuf> = outcomes
                .into_iter()
                .map(Result::unwrap)
                .filter_map(|(path, new)| new.then_some(path))
                .collect();
            assert_eq!(new, [Path::new(known).join(DRIVER).join(NAME)]);
            assert!(node.on(new[0].to_str().unwrap()).is_file());
        }
    }

    #[test]
    fn links_lead_where_they_do_on_the_node() {
        let node = Node::new();
        fs::create_dir_all(node.on("/var/home/flex")).unwrap();
        std::os::unix::fs::symlink("/var/home", node.on("/home")).unwrap();
        let (path, _) = node.install("/home/flex").unwrap();
        assert_eq!(path, Path::new("/home/flex/statcan.gc.ca~boathouse/boathouse"));
        assert!(node.on("/var/home/flex/statcan.gc.ca~boathouse/boathouse").is_file());

        fs::create_dir(node.on("/exec")).unwrap();
        std::os::unix::fs::symlink("/var/home", node.on("/exec/statcan.gc.ca~boathouse")).unwrap();
        assert!(node.install("/exec").unwrap_err().to_string().contains("/exec: ELOOP"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let node = Node::new();
        let said = |directory: &str| node.install(directory).unwrap_err().to_string();
        assert!(said("/none/exec").contains("/none/exec: ENOENT"), "{}", said("/none/exec"));
        assert!(said("/none").contains("--flex-install-dir"), "{}", said("/none"));
        let error =
            install(Path::new("/none/boathouse"), Path::new("/"), node.tree.path()).unwrap_err().to_string();
        assert!(error.contains("/none/boathouse") && error.contains("--flex-driver"), "{error}");
        // Nothing can be made in /proc, not even by root.
        let error =
            install(Path::new("/bin/true"), Path::new("/proc"), Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("directory /proc: ") && error.contains(".statcan.gc.ca~boathouse"), "{error}");
        assert!("exec".parse::<InstallDir>().unwrap_err().contains("absolute"));
    }
}
