//! Unix sockets only their owner may open.

use nix::sys::stat::{Mode, fchmod};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections the kernel queues for us before callers get EAGAIN.
const BACKLOG: u32 = 128;
/// How long another start in the same directory may take before we give up.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// `sun_path` holds 108 bytes with its NUL (unix(7)), and a socket's first name is one longer than its own.
const MAX_PATH_BYTES: usize = 106;

/// Where a server listens: an absolute path, also written `unix:///path` or `unix:/path`.
///
/// Made for clap: `FromStr` gives it a value parser.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Endpoint {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no [`Endpoint`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Another scheme, or a relative path.
    #[error("{0:?} is not an absolute socket path (write unix:///run/x.sock or /run/x.sock)")]
    NotAbsolute(String),
    /// Longer than the kernel takes.
    #[error("{0:?} is longer than the {MAX_PATH_BYTES} bytes of a socket path")]
    TooLong(String),
    /// A directory, not a socket.
    #[error("{0:?} names a directory, not a socket")]
    Directory(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if !path.starts_with('/') || path.contains('\0') {
            return Err(EndpointError::NotAbsolute(text.to_owned()));
        }
        if path.ends_with('/') {
            return Err(EndpointError::Directory(text.to_owned()));
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(EndpointError::TooLong(text.to_owned()));
        }
        Ok(Self(PathBuf::from(path)))
    }
}

/// A socket could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error("another process is listening on {}", .0.display())]
    InUse(PathBuf),
    /// Something that is not a socket lies there; it is left alone.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Another start in this directory does not come to an end.
    #[error("{} stays locked by another start", .0.display())]
    Locked(PathBuf),
    /// A step failed.
    #[error("cannot {step} {}", .path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A listening socket, mode 0600, whose file goes away with it.
///
/// It is the stream of connections that tonic serves; for other protocols there is [`accept`](Self::accept).
#[derive(Debug)]
pub struct PrivateListener {
    // Goes first: while the listener lives nobody takes its place, and nobody is given its inode number.
    file: SocketFile,
    listener: UnixListener,
}

impl PrivateListener {
    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Leaves the file where it is when the listener is dropped; the next start replaces it.
    #[must_use]
    pub fn leave_file(mut self) -> Self {
        self.file.id = None;
        self
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.listener.accept().await
    }
}

impl futures::Stream for PrivateListener {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

/// Removes the socket's file on drop, unless a successor has put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Of the file to remove; none for one that stays.
    id: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_some() && identity(&self.path).ok() == self.id {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Listens on `path`, open to the owner only, and removes the file when the listener is dropped.
///
/// A missing parent directory is made; an existing one keeps its mode. A socket left by a process that died is
/// replaced; one that answers is not.
///
/// There is no moment at which others could connect. `bind` then `chmod` has one, and umask(2) is shared by
/// all threads, so narrowing it for a moment breaks what they create meanwhile. Linux gives the file the mode of
/// the unbound socket's own inode (net/unix/af_unix.c, `unix_bind_bsd`), so fchmod(2) comes first.
///
/// Nor is there one at which the file is missing or refuses who connects: the socket listens under its name with a
/// dot in front before rename(2) puts it in the old one's place. A crash in between leaves the old file, and one that
/// watchers of the directory pass over and the next start removes. It is that name which `ss` and
/// `/proc/net/unix` show.
///
/// Two starts at once are put in order by a lock on the directory.
///
/// # Errors
/// See [`BindError`].
pub async fn bind_private(path: impl AsRef<Path>) -> Result<PrivateListener, BindError> {
    let path = path.as_ref();
    let failed = |step| move |source| BindError::Io { step, path: path.to_owned(), source };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
    let _lock = lock(dir).await?;
    if is_stale(path).await? {
        tracing::info!(path = %path.display(), "replacing a socket nobody listens on");
    }
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    let hidden = path.with_file_name(hidden);
    if is_stale(&hidden).await? {
        fs::remove_file(&hidden).map_err(failed("remove what a crash left of"))?;
    }

    let socket = UnixSocket::new_stream().map_err(failed("make a socket for"))?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(io::Error::from)
        .map_err(failed("make private the socket"))?;
    socket.bind(&hidden).map_err(failed("bind the socket"))?;
    let id = identity(&hidden).map_err(failed("stat the socket"))?;
    let mut file = SocketFile { path: hidden, id: Some(id) };
    let listener = socket.listen(BACKLOG).map_err(failed("listen on"))?;
    fs::rename(&file.path, path).map_err(failed("rename the socket to"))?;
    path.clone_into(&mut file.path);
    Ok(PrivateListener { file, listener })
}

/// Holds the directory for the time of one start. The lock ends with the returned file.
async fn lock(dir: &Path) -> Result<File, BindError> {
    let failed = |source| BindError::Io { step: "lock the directory", path: dir.to_owned(), source };
    let file = File::open(dir).map_err(failed)?;
    let begun = tokio::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => return Err(BindError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// Whether a socket lies there that nobody answers on. Nothing at all is no error, anything else is.
async fn is_stale(path: &Path) -> Result<bool, BindError> {
    let failed = |step| move |source| BindError::Io { step, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(failed("stat")(err)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        // EAGAIN: the queue of a listener is full.
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(err) => Err(failed("see whether anybody listens on")(err)),
    }
}

#[cfg(test)]
mod tests;
