//! Putting the FlexVolume driver where kubelet looks for it.
//!
//! Kubelet watches its volume plugin directory and everything below: each event makes it run the driver's `init`
//! again, except for names that begin with a dot. So the driver appears by one rename, an unchanged one is not
//! touched, and nothing else is ever written there.

use crate::install::{InstallError, digest, replace};
use std::fs::{self, File};
use std::io;
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
        "no volume plugin directory of kubelet found among {KNOWN:?}; mount the one of this node (kubelet's \
         --volume-plugin-dir) into the container at the same path and name it with --flex-install-dir"
    )]
    NoDirectory,
    /// The named directory is not there.
    #[error(
        "volume plugin directory {0} is not there; mount it into the container at the same path, or name another with \
         --flex-install-dir"
    )]
    Missing(PathBuf),
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
    #[error(transparent)]
    Copy(#[from] InstallError),
}

/// Installs the driver in each directory; one that fails does not stop the others. Says in the log what was done.
pub fn install_everywhere(driver: &Path, directories: &[InstallDir]) {
    for directory in directories {
        match install(driver, directory, Path::new("/")) {
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

/// Where the driver is now, and whether it was put there by this call. The known directories are looked for below
/// `root`.
fn install(driver: &Path, directory: &InstallDir, root: &Path) -> Result<(PathBuf, bool), FlexDriverError> {
    let directory = match directory {
        InstallDir::Path(path) if path.is_dir() => path.clone(),
        InstallDir::Path(path) => return Err(FlexDriverError::Missing(path.clone())),
        InstallDir::Auto => KNOWN
            .into_iter()
            .map(|known| root.join(known.strip_prefix('/').unwrap_or(known)))
            .find(|path| path.is_dir())
            .ok_or(FlexDriverError::NoDirectory)?,
    };
    let missing = |source| FlexDriverError::NoDriver { path: driver.to_owned(), source };
    let wanted = File::open(driver).and_then(|mut file| digest(&mut file)).map_err(missing)?;
    let installed = directory.join(DRIVER).join(NAME);
    if File::open(&installed).and_then(|mut file| digest(&mut file)).is_ok_and(|there| there == wanted) {
        return Ok((installed, false));
    }
    match put(driver, &directory, &installed) {
        Ok(()) => Ok((installed, true)),
        Err(InstallError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(FlexDriverError::ReadOnly(directory))
        }
        Err(error) => Err(error.into()),
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

    #[test]
    fn the_driver_appears_whole_and_is_left_alone_after() {
        let tree = tempfile::tempdir().unwrap();
        let driver = tree.path().join("boathouse");
        fs::write(&driver, "one").unwrap();
        let plugins = tree.path().join("exec");
        fs::create_dir(&plugins).unwrap();
        let directory = InstallDir::Path(plugins.clone());

        let (path, new) = install(&driver, &directory, Path::new("/")).unwrap();
        assert!(new && path == plugins.join("statcan.gc.ca~boathouse/boathouse"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        let changed = (fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec());
        assert!(!install(&driver, &directory, Path::new("/")).unwrap().1);
        assert_eq!((fs::metadata(&path).unwrap().ino(), fs::metadata(&path).unwrap().ctime_nsec()), changed);

        fs::write(&driver, "two").unwrap();
        assert!(install(&driver, &directory, Path::new("/")).unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(&plugins), ["statcan.gc.ca~boathouse"]);
        assert_eq!(names(path.parent().unwrap()), ["boathouse"]);
    }

    #[test]
    fn the_directory_of_the_distribution_is_found() {
        let tree = tempfile::tempdir().unwrap();
        let driver = tree.path().join("driver");
        fs::write(&driver, "one").unwrap();
        let error = install(&driver, &InstallDir::Auto, tree.path()).unwrap_err().to_string();
        assert!(error.contains("--flex-install-dir") && error.contains("/etc/kubernetes"), "{error}");
        for known in KNOWN.into_iter().rev() {
            let directory = tree.path().join(known.trim_start_matches('/'));
            fs::create_dir_all(&directory).unwrap();
            let (path, new) = install(&driver, &InstallDir::Auto, tree.path()).unwrap();
            assert!(new && path.starts_with(&directory), "{known}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let tree = tempfile::tempdir().unwrap();
        let here = InstallDir::Path(tree.path().to_owned());
        let error = install(Path::new("/none/boathouse"), &here, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("/none/boathouse") && error.contains("--flex-driver"), "{error}");
        let missing = InstallDir::Path("/none/exec".into());
        let error = install(Path::new("/bin/true"), &missing, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("/none/exec") && error.contains("--flex-install-dir"), "{error}");
        // Nothing can be made in /proc, not even by root.
        let closed = InstallDir::Path("/proc".into());
        let error = install(Path::new("/bin/true"), &closed, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("/proc/.statcan.gc.ca~boathouse"), "{error}");
        assert!("exec".parse::<InstallDir>().unwrap_err().contains("absolute"));
    }
}
