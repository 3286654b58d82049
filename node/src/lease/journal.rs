//! What a crash must not lose: the tokens that are not revoked yet, in root-only files on a tmpfs.
//!
//! A file is written before the token has made anything and removed once Vault has revoked it. When node
//! plugin and keeper die together, the next start finds the file and finishes the job. A reboot empties the
//! tmpfs; then the lease's own life bounds what is left.

use crate::clock::Millis;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory is on a disk.
    #[error(
        "run directory {0}: not on a tmpfs, so Vault tokens would reach a disk; \
         give --run-dir a directory on one (/run on most hosts, /dev/shm elsewhere)"
    )]
    NotTmpfs(PathBuf),
    /// A file operation failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The directory's filesystem could not be read.
    #[error(transparent)]
    Mount(#[from] boathouse_mounts::MountError),
}

/// One token that is not revoked yet.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The generation it belongs to.
    pub generation: String,
    /// The token.
    pub token: SecretString,
    /// When Vault ends it by itself; none when it never does.
    pub expires_at: Option<Millis>,
}

#[derive(Serialize, Deserialize)]
struct OnTmpfs {
    token: String,
    expires_at_ms: Option<Millis>,
}

/// The directory of pending revocations.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// Opens (and makes) `<run_dir>/leases`.
    ///
    /// # Errors
    /// When it is not on a tmpfs, or cannot be made.
    pub fn open(run_dir: &Path) -> Result<Self, JournalError> {
        let directory = run_dir.join("leases");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| JournalError::Io { operation: "create", path: directory.clone(), source })?;
        if !boathouse_mounts::is_tmpfs(&directory)? {
            return Err(JournalError::NotTmpfs(run_dir.to_owned()));
        }
        Ok(Self { directory })
    }

    fn file(&self, generation: &str) -> PathBuf {
        self.directory.join(format!("{generation}.json"))
    }

    /// Notes a token before it is used.
    ///
    /// # Errors
    /// When the file cannot be written; the caller then revokes the token and gives up.
    pub fn note(&self, pending: &Pending) -> Result<(), JournalError> {
        let path = self.file(&pending.generation);
        let entry =
            OnTmpfs { token: pending.token.expose_secret().to_owned(), expires_at_ms: pending.expires_at };
        let io = |operation| {
            let path = path.clone();
            move |source| JournalError::Io { operation, path, source }
        };
        let document = serde_json::to_vec(&entry).map_err(|error| io("encode")(error.into()))?;
        let temporary = path.with_extension("tmp");
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&document))
            .map_err(io("write"))?;
        std::fs::rename(&temporary, &path).map_err(io("rename"))
    }

    /// Forgets a token that is revoked. A file that is not there is no error.
    pub fn forget(&self, generation: &str) {
        let path = self.file(generation);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "remove the note of a revoked token");
        }
    }

    /// Everything that is noted. Unreadable files are reported and skipped: they hold nothing to revoke with.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let path = entry.path();
                let generation = path.file_stem()?.to_str()?.to_owned();
                if path.extension()? != "json" {
                    return None;
                }
                let document = std::fs::read(&path).ok()?;
                match serde_json::from_slice::<OnTmpfs>(&document) {
                    Ok(noted) => Some(Pending {
                        generation,
                        token: noted.token.into(),
                        expires_at: noted.expires_at_ms,
                    }),
                    Err(error) => {
                        // serde_json's message quotes no values.
                        tracing::warn!(path = %path.display(), %error, "a note of a token is unreadable");
                        None
                    }
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn notes_survive_and_are_private() {
        let tree = tempfile::tempdir_in("/dev/shm").unwrap();
        let journal = Journal::open(tree.path()).unwrap();
        let pending =
            Pending { generation: "g1".into(), token: SecretString::from("s.secret"), expires_at: Some(42) };
        journal.note(&pending).unwrap();
        let mode = std::fs::metadata(tree.path().join("leases/g1.json")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Journal::open(tree.path()).unwrap().pending();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].token.expose_secret(), "s.secret");
        assert_eq!(again[0].expires_at, Some(42));
        journal.forget("g1");
        journal.forget("g1");
        assert!(journal.pending().is_empty());
    }

    #[test]
    fn a_damaged_note_does_not_hide_the_others() {
        let tree = tempfile::tempdir_in("/dev/shm").unwrap();
        let journal = Journal::open(tree.path()).unwrap();
        std::fs::write(tree.path().join("leases/bad.json"), "{").unwrap();
        journal.note(&Pending { generation: "ok".into(), token: "t".into(), expires_at: None }).unwrap();
        assert_eq!(journal.pending().len(), 1);
    }

    #[test]
    fn refuses_a_disk() {
        let tree = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        match Journal::open(tree.path()) {
            Err(JournalError::NotTmpfs(path)) => assert_eq!(path, tree.path()),
            // A machine whose build directory is itself on a tmpfs cannot show the refusal.
            Ok(_) => assert!(boathouse_mounts::is_tmpfs(tree.path()).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}
