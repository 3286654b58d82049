//! The control socket of a running keeper.

use csi_proto::frame::{self, FrameError};
use csi_proto::keeper::v1::{
    Generation, Login, Reply, Request, SetGeneration, SetLogin, ShutdownRequest, Status, StatusRequest,
    WatchRequest, request::Call,
};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long a keeper may take for an answer it gives from memory.
const PROMPT: Duration = Duration::from_secs(2);

/// A call to a keeper that failed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Nobody listens: the keeper is gone.
    #[error("keeper at {socket}: not running ({source})")]
    Gone {
        /// Its control socket.
        socket: PathBuf,
        /// What connecting answered.
        source: std::io::Error,
    },
    /// It listens but does not answer as it should, or in time.
    #[error("keeper at {socket}: {source}")]
    Talk {
        /// Its control socket.
        socket: PathBuf,
        /// What went wrong.
        source: FrameError,
    },
    /// It refused the request.
    #[error("keeper at {socket} refused: {reason}")]
    Refused {
        /// Its control socket.
        socket: PathBuf,
        /// Its words.
        reason: String,
    },
    /// The keeper could not be started.
    #[error("start keeper {program}: {reason}")]
    Start {
        /// The keeper's binary.
        program: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The keeper could not start the FUSE daemon.
    #[error("start FUSE daemon {program}: {reason}")]
    Daemon {
        /// The daemon's binary.
        program: PathBuf,
        /// The keeper's words.
        reason: String,
    },
}

/// A keeper, known by its control socket. Cloning is cheap; each call is a connection of its own, so that a
/// keeper that stops answering blocks nothing but the calls made to it.
#[derive(Debug, Clone)]
pub struct Keeper {
    socket: PathBuf,
}

impl Keeper {
    /// The keeper that listens there.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// What it knows.
    ///
    /// # Errors
    /// See [`KeeperError`]; so for every call.
    pub async fn status(&self) -> Result<Status, KeeperError> {
        self.call(Call::Status(StatusRequest {}), PROMPT).await
    }

    /// Makes it hand out another generation from now on.
    pub async fn set_generation(&self, generation: Generation) -> Result<Status, KeeperError> {
        self.call(Call::SetGeneration(SetGeneration { generation: Some(generation) }), PROMPT).await
    }

    /// Gives it a newer service-account token to keep.
    pub async fn set_login(&self, login: Login) -> Result<Status, KeeperError> {
        self.call(Call::SetLogin(SetLogin { login: Some(login) }), PROMPT).await
    }

    /// Waits, for as long as it takes, until its FUSE daemon has exited.
    pub async fn watch(&self) -> Result<Status, KeeperError> {
        self.exchange(Call::Watch(WatchRequest {})).await
    }

    /// The same, but not for longer than `within`, and without a reason when it cannot be said.
    pub async fn exited(&self, within: Duration) -> Option<Status> {
        tokio::time::timeout(within, self.watch()).await.ok()?.ok()
    }

    /// Ends the FUSE daemon (by itself within `grace`, then by force) and the keeper.
    pub async fn shutdown(&self, grace: Duration) -> Result<Status, KeeperError> {
        let grace_ms = crate::clock::millis(grace);
        // Beyond the grace: two signals, and the kernel's time to end a killed daemon.
        let limit = grace + Duration::from_secs(15);
        self.call(Call::Shutdown(ShutdownRequest { grace_ms }), limit).await
    }

    async fn call(&self, call: Call, limit: Duration) -> Result<Status, KeeperError> {
        match tokio::time::timeout(limit, self.exchange(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.talk(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        }
    }

    fn talk(&self, source: impl Into<FrameError>) -> KeeperError {
        KeeperError::Talk { socket: self.socket.clone(), source: source.into() }
    }

    /// One request, one answer. Holds no thread while it waits: there is a watch per mount.
    async fn exchange(&self, call: Call) -> Result<Status, KeeperError> {
        let mut request = Vec::new();
        frame::write(&mut request, &Request { call: Some(call) }).map_err(|error| self.talk(error))?;
        let mut stream = UnixStream::connect(&self.socket).await.map_err(|source| match source.kind() {
            // Only these say that nobody is there; out of descriptors or a full queue do not.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                KeeperError::Gone { socket: self.socket.clone(), source }
            }
            _ => self.talk(source),
        })?;
        stream.write_all(&request).await.map_err(|error| self.talk(error))?;
        let mut answer = vec![0; 4];
        stream.read_exact(&mut answer).await.map_err(|error| self.talk(error))?;
        let length = answer.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        answer.resize(4 + length.min(frame::MAX_LEN), 0);
        stream.read_exact(&mut answer[4..]).await.map_err(|error| self.talk(error))?;
        match frame::read(&mut answer.as_slice()).map_err(|error| self.talk(error))? {
            Reply { error, status: Some(status) } if error.is_empty() => Ok(status),
            Reply { error, .. } => Err(KeeperError::Refused { socket: self.socket.clone(), reason: error }),
        }
    }
}
