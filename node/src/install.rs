//! Keeper, FUSE daemon and the authorities of S3 servers, copied to the host under a name made from their content.
//!
//! Keepers outlive the node plugin, its container and its image, so what they run from must too. A path that
//! contains a digest is never overwritten: an upgrade adds a directory beside the one running mounts use, and the
//! old one goes when nobody uses it any more.

mod authorities;
mod collect;

pub use authorities::{Authorities, AuthorityError, Trust};
pub use collect::collect;

use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The installed programs.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The keeper.
    pub keeper: PathBuf,
    /// The FUSE daemon.
    pub daemon: PathBuf,
    /// The directory of all of them.
    pub bin: PathBuf,
    /// Directory with the keeper under the names `fusermount3` and `fusermount`.
    pub helpers: PathBuf,
    /// An empty directory: the mount point a daemon is told. Daemons stat it; the real one would not answer
    /// before they serve it.
    pub mountpoint: PathBuf,
}

impl Installed {
    /// What a mount that is made now runs from.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        vec![self.keeper.clone(), self.daemon.clone()]
    }
}

/// The programs could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file is not where it was said to be.
    #[error("{what} not found at {path}: {source}; set {flag}")]
    Missing {
        /// Which file.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The unprivileged daemon could not reach its own binary.
    #[error(
        "state directory {state_dir}: {parent} has mode {mode:o}, so the unprivileged FUSE daemon cannot reach \
         its binary below it; allow search for others (chmod o+x) or choose another --state-dir"
    )]
    Unreachable {
        /// The state directory.
        state_dir: PathBuf,
        /// The directory that is closed.
        parent: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    move |source| InstallError::Io { operation, path: path.to_owned(), source }
}

/// One kind of file that is installed.
struct Kind {
    name: &'static str,
    what: &'static str,
    flag: &'static str,
    mode: u32,
}

const KEEPER: Kind = Kind { name: "boathouse-keeper", what: "keeper", flag: "--keeper", mode: 0o755 };
const DAEMON: Kind = Kind { name: "goofys", what: "FUSE daemon goofys", flag: "--goofys", mode: 0o755 };

/// Installs both programs below `state_dir` unless they are there already.
///
/// # Errors
/// See [`InstallError`].
pub fn install(state_dir: &Path, keeper: &Path, daemon: &Path) -> Result<Installed, InstallError> {
    let bin = state_dir.join("bin");
    open_directory(&bin)?;
    let mountpoint = state_dir.join("empty");
    open_directory(&mountpoint)?;
    reachable(state_dir, &bin)?;
    let keeper = copy(&bin, keeper, &KEEPER)?;
    let daemon = copy(&bin, daemon, &DAEMON)?;
    let helpers = keeper.parent().unwrap_or(&bin).to_owned();
    for name in ["fusermount3", "fusermount"] {
        let link = helpers.join(name);
        match fs::hard_link(&keeper, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error("link", &link)(error));
            }
            _ => {}
        }
    }
    Ok(Installed { keeper, daemon, bin, helpers, mountpoint })
}

/// A directory everybody may search.
fn open_directory(path: &Path) -> Result<(), InstallError> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io_error("open up", path))
}

fn reachable(state_dir: &Path, bin: &Path) -> Result<(), InstallError> {
    let real = bin.canonicalize().map_err(io_error("resolve", bin))?;
    for parent in real.ancestors() {
        let mode = fs::metadata(parent).map_err(io_error("look at", parent))?.mode();
        if mode & 0o001 == 0 {
            let (state_dir, parent) = (state_dir.to_owned(), parent.to_owned());
            return Err(InstallError::Unreachable { state_dir, parent, mode: mode & 0o7777 });
        }
    }
    Ok(())
}

/// Copies a file to `<bin>/<digest>/<name>`.
fn copy(bin: &Path, file: &Path, kind: &Kind) -> Result<PathBuf, InstallError> {
    let Kind { name, what, flag, mode } = *kind;
    let missing = |source| InstallError::Missing { what, path: file.to_owned(), flag, source };
    // The links of a mounted ConfigMap change under the reader; what they lead to does not.
    let file = &file.canonicalize().map_err(missing)?;
    let digest = digest(&mut File::open(file).map_err(missing)?).map_err(io_error("read", file))?;
    let directory = bin.join(&digest);
    open_directory(&directory)?;
    let installed = directory.join(name);
    // A crash of the machine may have left less than was written.
    if File::open(&installed).and_then(|mut file| self::digest(&mut file)).is_ok_and(|there| there == digest)
    {
        return Ok(installed);
    }
    // Under another name first, so that no half file is ever under the right one.
    let half = directory.join(format!(".{name}.half"));
    replace(file, &half, &installed, mode)?;
    Ok(installed)
}

/// Copies `from` to `half`, all the way to the disk, and renames that to `to`: nobody ever sees a part of it.
pub(crate) fn replace(from: &Path, half: &Path, to: &Path, mode: u32) -> Result<(), InstallError> {
    let copied = copy_whole(from, half, to, mode);
    if copied.is_err() {
        // On a full disk it would be in the way of the next attempt.
        let _ = fs::remove_file(half);
    }
    copied
}

fn copy_whole(from: &Path, half: &Path, to: &Path, mode: u32) -> Result<(), InstallError> {
    fs::copy(from, half).map_err(io_error("copy to", half))?;
    fs::set_permissions(half, fs::Permissions::from_mode(mode)).map_err(io_error("set the mode of", half))?;
    File::open(half).and_then(|file| file.sync_all()).map_err(io_error("sync", half))?;
    fs::rename(half, to).map_err(io_error("rename to", to))
}

/// The first 16 hexadecimal digits of a file's SHA-256.
pub(crate) fn digest(file: &mut File) -> io::Result<String> {
    let mut reader = io::BufReader::with_capacity(1 << 16, file);
    let mut digest = Sha256::new();
    loop {
        let chunk = io::BufRead::fill_buf(&mut reader)?;
        if chunk.is_empty() {
            return Ok(hex::encode(&digest.finalize()[..8]));
        }
        digest.update(chunk);
        let length = chunk.len();
        io::BufRead::consume(&mut reader, length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::write(tree.path().join("k"), "keeper").unwrap();
        fs::write(tree.path().join("g"), "goofys").unwrap();
        tree
    }

    #[test]
    fn installs_once_and_beside_what_runs() {
        let tree = tree();
        let state = tree.path().join("state");
        let first = install(&state, &tree.path().join("k"), &tree.path().join("g")).unwrap();
        let inode = fs::metadata(&first.daemon).unwrap().ino();
        let again = install(&state, &tree.path().join("k"), &tree.path().join("g")).unwrap();
        assert_eq!(fs::metadata(&again.daemon).unwrap().ino(), inode);
        assert_eq!(fs::read(first.helpers.join("fusermount")).unwrap(), b"keeper");
        fs::write(tree.path().join("g"), "goofys, newer").unwrap();
        let upgraded = install(&state, &tree.path().join("k"), &tree.path().join("g")).unwrap();
        assert_ne!(upgraded.daemon, first.daemon);
        assert_eq!(fs::read(first.daemon).unwrap(), b"goofys");
    }

    #[test]
    fn what_could_not_be_copied_whole_does_not_stay() {
        let tree = tree();
        let half = tree.path().join(".half");
        // A directory is where the file should be.
        let error = replace(&tree.path().join("k"), &half, tree.path(), 0o755).unwrap_err();
        assert!(error.to_string().contains("rename"), "{error}");
        assert!(!half.exists());
    }

    #[test]
    fn a_missing_program_is_named_with_its_flag() {
        let tree = tree();
        let error =
            install(&tree.path().join("s"), &tree.path().join("k"), Path::new("/none/goofys")).unwrap_err();
        assert!(
            error.to_string().contains("/none/goofys") && error.to_string().contains("--goofys"),
            "{error}"
        );
    }

    #[test]
    fn a_closed_parent_is_named() {
        let tree = tree();
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let error =
            install(&tree.path().join("s"), &tree.path().join("k"), &tree.path().join("g")).unwrap_err();
        assert!(matches!(error, InstallError::Unreachable { mode: 0o700, .. }), "{error}");
    }
}
