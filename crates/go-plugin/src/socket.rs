//! The plugin's unix socket: private before it listens, gone when dropped.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket};

use crate::handshake::Environment;

/// Longest path the kernel takes for a unix socket, without its final zero.
const MAX_PATH: usize = 107;

/// A listening socket.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: RemoveOnDrop,
}

impl Socket {
    /// Listens at a new path in the directory the host names, else the temporary directory.
    pub(crate) fn listen(env: &Environment) -> io::Result<Self> {
        let dir = env.socket_dir.clone().unwrap_or_else(std::env::temp_dir);
        let path = dir.join(format!("plugin-{}.sock", uuid::Uuid::new_v4().simple()));
        if path.as_os_str().len() > MAX_PATH {
            return Err(named(&path, io::Error::other("path is too long for a unix socket")));
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(&path).map_err(|error| named(&path, error))?;
        let bound = RemoveOnDrop(path.clone());
        restrict(&path, env.socket_group.as_deref()).map_err(|error| named(&path, error))?;
        let listener = socket.listen(1024).map_err(|error| named(&path, error))?;
        Ok(Self { listener, path: bound })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path.0
    }
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "could not remove the socket");
        }
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("socket {}: {error}", path.display()))
}

/// Only the owner, or the owner and one group, may connect.
fn restrict(path: &Path, group: Option<&str>) -> io::Result<()> {
    let mode = match group {
        None => 0o600,
        Some(group) => {
            chown(path, None, Some(group_id(group)?))?;
            0o660
        }
    };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    // Not getgrnam: a static binary cannot use the name service.
    let table = fs::read_to_string("/etc/group")?;
    find_group(&table, group).ok_or_else(|| io::Error::other(format!("no group \"{group}\" in /etc/group")))
}

fn find_group(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn env(dir: &Path) -> Environment {
        Environment { socket_dir: Some(dir.to_owned()), ..Environment::default() }
    }

    #[tokio::test]
    async fn private_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::listen(&env(dir.path())).unwrap();
        let mode = fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_group_by_number() {
        let dir = tempfile::tempdir().unwrap();
        // One's own group may always be set.
        let gid = std::os::unix::fs::MetadataExt::gid(&fs::metadata(dir.path()).unwrap());
        let env = Environment { socket_group: Some(gid.to_string()), ..env(dir.path()) };
        let socket = Socket::listen(&env).unwrap();
        assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o660);
    }

    #[tokio::test]
    async fn long_directories_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let error = Socket::listen(&env(&long)).err().unwrap().to_string();
        assert!(error.contains("too long") && error.contains("xxx"), "{error}");
    }

    #[test]
    fn groups_by_name() {
        let table = "root:x:0:\nvault:x:997:a,b\nbad:x\n";
        assert_eq!(find_group(table, "vault"), Some(997));
        assert_eq!(find_group(table, "bad"), None);
        assert_eq!(find_group(table, "nobody"), None);
    }
}
