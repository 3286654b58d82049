//! The control socket of a running keeper.

use csi_proto::frame::{self, FrameError};
use csi_proto::keeper::v1::{
    Generation, Login, Reply, Request, SetGeneration, SetLogin, ShutdownRequest, Status, StatusRequest,
    WatchRequest, request::Call,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    /// Waits, for as long as it takes, until its FUSE daemon has exited. Holds no thread meanwhile: there is one
    /// such call per mount.
    pub async fn watch(&self) -> Result<Status, KeeperError> {
        let socket = &self.socket;
        let gone = |source| KeeperError::Gone { socket: socket.clone(), source };
        let talk = |source: FrameError| KeeperError::Talk { socket: socket.clone(), source };
        let mut request = Vec::new();
        frame::write(&mut request, &Request { call: Some(Call::Watch(WatchRequest {})) }).map_err(talk)?;
        let mut stream = tokio::net::UnixStream::connect(socket).await.map_err(gone)?;
        stream.write_all(&request).await.map_err(gone)?;
        let mut answer = vec![0; 4];
        stream.read_exact(&mut answer).await.map_err(gone)?;
        let length = answer.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        answer.resize(4 + length.min(frame::MAX_LEN), 0);
        stream.read_exact(&mut answer[4..]).await.map_err(gone)?;
        let reply: Reply = frame::read(&mut answer.as_slice()).map_err(talk)?;
        self.status_of(reply)
    }

    /// Ends the FUSE daemon (by itself within `grace`, then by force) and the keeper.
    pub async fn shutdown(&self, grace: Duration) -> Result<Status, KeeperError> {
        let grace_ms = crate::clock::millis(grace);
        // Beyond the grace: two signals and an exit.
        let limit = grace + Duration::from_secs(5);
        self.call(Call::Shutdown(ShutdownRequest { grace_ms }), limit).await
    }

    async fn call(&self, call: Call, limit: Duration) -> Result<Status, KeeperError> {
        let socket = self.socket.clone();
        let exchange = move || exchange(&socket, &Request { call: Some(call) }, limit);
        let reply = tokio::task::spawn_blocking(exchange).await.unwrap_or_else(|panic| {
            Err(KeeperError::Refused { socket: self.socket.clone(), reason: panic.to_string() })
        })?;
        self.status_of(reply)
    }

    fn status_of(&self, reply: Reply) -> Result<Status, KeeperError> {
        match reply {
            Reply { error, status: Some(status) } if error.is_empty() => Ok(status),
            Reply { error, .. } => Err(KeeperError::Refused { socket: self.socket.clone(), reason: error }),
        }
    }
}

fn exchange(socket: &Path, request: &Request, limit: Duration) -> Result<Reply, KeeperError> {
    let gone = |source| KeeperError::Gone { socket: socket.to_owned(), source };
    let talk = |source| KeeperError::Talk { socket: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(gone)?;
    stream
        .set_write_timeout(Some(PROMPT))
        .and_then(|()| stream.set_read_timeout(Some(limit)))
        .map_err(gone)?;
    frame::write(&mut stream, request).map_err(talk)?;
    frame::read(&mut stream).map_err(talk)
}
