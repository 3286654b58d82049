//! The control socket: what the node plugin asks and tells a running keeper.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_proto::frame;
use csi_proto::keeper::v1::{Reply, Request, Status, request::Call};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

use crate::credentials::Keys;
use crate::daemon::Daemon;
use crate::endpoint::Endpoint;
use crate::hygiene;
use crate::latch::{Latch, Woken};
use crate::secret::Wiped;
use crate::time::now_ms;

/// How many connections may be open; the node plugin needs two.
pub const MAX_CONNECTIONS: usize = 32;

/// How long a peer may take to accept a reply.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// The file of a bound socket, removed once.
#[derive(Debug)]
pub struct SocketFile(Mutex<Option<PathBuf>>);

impl SocketFile {
    /// Binds `path` so that only this user could ever connect: the mode is right before anything listens.
    ///
    /// Sets the process-wide umask for the moment of the call, so no other thread may create files meanwhile.
    ///
    /// # Errors
    /// The path exists, is too long for a socket, or its directory is missing.
    pub fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        // Only a file of our own making is ours to remove.
        let listener = listener?;
        Ok((Self(Mutex::new(Some(path.to_owned()))), listener))
    }

    /// Removes the file; again is no different from once, so that a successor's file is safe.
    pub fn remove(&self) {
        if let Some(path) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Gone already is as good; anything else leaves a dead socket for the node plugin to find.
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Everything a keeper knows; shared by its threads.
#[derive(Debug)]
pub struct Keeper {
    /// The mount's name.
    pub mount_id: String,
    /// Its FUSE daemon.
    pub daemon: Daemon,
    /// Its keys.
    pub keys: Mutex<Keys>,
    /// Where the daemon fetches them.
    pub endpoint: Endpoint,
    /// The control socket's file.
    pub socket: SocketFile,
    /// Tripped when the last answer was given and the process may end.
    pub done: Latch,
    /// Open control connections.
    pub connections: AtomicUsize,
}

impl Keeper {
    /// Accepts connections for ever, each served by a thread made by `start_thread`.
    pub fn serve(
        self: &Arc<Self>,
        listener: &UnixListener,
        start_thread: impl Fn(Box<dyn FnOnce() + Send>) -> io::Result<()>,
    ) {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                // Out of descriptors or memory: not in a hot loop.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let slot = Slot::new(Arc::clone(self));
            // Failing to start the thread drops, and so closes, the connection.
            let _ = start_thread(Box::new(move || slot.0.talk(&stream)));
        }
    }

    /// Serves one connection until the peer closes it.
    fn talk(&self, stream: &UnixStream) {
        let send = |reply: Reply| frame::write(&mut &*stream, &*Wiped::new(reply)).is_ok();
        if stream.set_write_timeout(Some(WRITE_LIMIT)).is_err() {
            return;
        }
        if let Err(reason) = self.admit(stream) {
            send(refusal(reason));
            return;
        }
        while let Ok(request) = frame::read::<Request>(&mut &*stream) {
            let mut request = Wiped::new(request);
            match request.take(|request| request.call.take()) {
                Some(Call::Watch(_)) if self.daemon.exited.wait_beside(stream.as_fd()) == Woken::PeerGone => {
                    return;
                }
                Some(Call::Shutdown(shutdown)) => {
                    let reply = self.shutdown(Duration::from_millis(shutdown.grace_ms));
                    let ended = reply.error.is_empty();
                    send(reply);
                    if ended {
                        self.done.trip();
                        return;
                    }
                }
                call => {
                    if !send(self.answer(call)) {
                        return;
                    }
                }
            }
        }
    }

    /// Only root and this process's own user may ask; the socket's mode says so too.
    fn admit(&self, stream: &UnixStream) -> Result<(), String> {
        if self.connections.load(Ordering::Relaxed) > MAX_CONNECTIONS {
            return Err(format!("more than {MAX_CONNECTIONS} connections are open"));
        }
        match getsockopt(stream, PeerCredentials) {
            Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => Ok(()),
            Ok(peer) => Err(format!("user {} may not talk to this keeper", peer.uid())),
            Err(cause) => Err(format!("SO_PEERCRED of the control connection: {cause}")),
        }
    }

    fn answer(&self, call: Option<Call>) -> Reply {
        let outcome = match call {
            None => Err("the request names no call this keeper knows".to_owned()),
            // A watch that comes this far has seen the exit.
            Some(Call::Status(_) | Call::Watch(_)) => Ok(()),
            Some(Call::SetGeneration(set)) => match set.generation.map(Wiped::new) {
                Some(generation) => {
                    self.keys().set_generation(generation).map_err(|error| format!("SetGeneration: {error}"))
                }
                None => Err("SetGeneration: no generation".to_owned()),
            },
            Some(Call::SetLogin(set)) => match set.login.map(Wiped::new) {
                Some(login) => {
                    self.keys().set_login(login);
                    Ok(())
                }
                None => Err("SetLogin: no login".to_owned()),
            },
            Some(Call::Shutdown(_)) => Err("Shutdown ends the conversation".to_owned()),
        };
        match outcome {
            Ok(()) => Reply { status: Some(self.status()), ..Reply::default() },
            Err(reason) => refusal(reason),
        }
    }

    fn shutdown(&self, grace: Duration) -> Reply {
        if !self.daemon.end(grace) {
            return refusal(format!(
                "Shutdown: FUSE daemon {} survives SIGKILL; it is stuck in the kernel",
                self.daemon.pid()
            ));
        }
        // Before the answer, so that the mount's directory can be removed after it.
        self.socket.remove();
        Reply { status: Some(self.status()), ..Reply::default() }
    }

    fn status(&self) -> Status {
        let exit = self.daemon.exit();
        let mut keys = self.keys();
        let uses = keys.uses(now_ms()).to_vec();
        let current = keys.current().clone();
        let secrets = [
            self.endpoint.token.as_str(),
            current.token.as_str(),
            current.secret_key.as_str(),
            current.session_token.as_str(),
        ];
        let last_output = self.daemon.output.text(&secrets);
        Status {
            mount_id: self.mount_id.clone(),
            keeper_pid: i32::try_from(std::process::id()).unwrap_or_default(),
            daemon_pid: self.daemon.pid(),
            exit,
            last_output,
            uses,
            login: Some(keys.login().clone()),
            fetches: keys.fetches(),
            current: Some(current),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(reason: String) -> Reply {
    Reply { error: reason, ..Reply::default() }
}

/// One open connection, counted.
struct Slot(Arc<Keeper>);

impl Slot {
    fn new(keeper: Arc<Keeper>) -> Self {
        keeper.connections.fetch_add(1, Ordering::Relaxed);
        Self(keeper)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        hygiene::rest();
    }
}
