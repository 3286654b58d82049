//! The life of a keeper process, told by its main thread.

use std::io::{self, PipeReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread;

use csi_proto::keeper::v1::Launched;
use nix::sys::signal::Signal;

use crate::control::{Keeper, SocketFile};
use crate::credentials::Keys;
use crate::daemon::Daemon;
use crate::endpoint::Endpoint;
use crate::latch::Latch;
use crate::launch::{self, LaunchError};
use crate::secret::random_token;
use crate::{http, hygiene, time};

/// Threads here parse small messages; only touched pages of a stack are memory.
const STACK: usize = 128 * 1024;

/// A keeper's ends of everything, before its threads own them.
struct Started {
    keeper: Arc<Keeper>,
    control: UnixListener,
    credentials: TcpListener,
    output: PipeReader,
}

/// From the first line to the last: launches, answers the node plugin, waits to be told to end.
///
/// Runs on the main thread and stays on it, because the kernel kills the daemon when the thread that started it
/// ends.
pub(crate) fn run() -> Result<(), LaunchError> {
    let detached = hygiene::detach();
    let socket = launch::take_socket().map_err(LaunchError::Descriptor)?;
    let started = detached.map_err(LaunchError::from).and_then(|()| start(&socket)).and_then(work);
    let keeper = match started {
        Ok(keeper) => keeper,
        Err(error) => {
            launch::reply(&socket, Err(&error));
            return Err(error);
        }
    };
    let keeper_pid = i32::try_from(std::process::id()).unwrap_or_default();
    launch::reply(&socket, Ok(Launched { keeper_pid, daemon_pid: keeper.daemon.pid() }));
    drop(socket);
    hygiene::rest();
    keeper.daemon.reap();
    keeper.done.wait(None);
    Ok(())
}

fn start(socket: &UnixStream) -> Result<Started, LaunchError> {
    let system = |what: String| |cause| LaunchError::System { what, cause };
    let (fuse, plan) = launch::receive(socket)?;
    let keys = Keys::new(plan.generation, plan.login, plan.poll_ms)?;
    let (file, control) = SocketFile::bind(&plan.control_socket)
        .map_err(system(format!("bind control socket {}", plan.control_socket.display())))?;
    let credentials = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(system("bind the credentials endpoint on 127.0.0.1".into()))?;
    let port = credentials.local_addr().map_err(system("read the endpoint's port".into()))?.port();
    let token = random_token().map_err(system("read /dev/urandom".into()))?;
    let endpoint = Endpoint { port, token };
    let done = Latch::new().map_err(system("make a pipe".into()))?;
    let (daemon, output) = Daemon::start(&plan.daemon, &endpoint, fuse).map_err(system(format!(
        "start FUSE daemon {} as user {} and group {}",
        plan.daemon.path.display(),
        plan.daemon.uid,
        plan.daemon.gid
    )))?;
    let keeper = Arc::new(Keeper {
        mount_id: plan.mount_id,
        daemon,
        keys: Mutex::new(keys),
        endpoint,
        socket: file,
        done,
        connections: AtomicUsize::new(0),
    });
    Ok(Started { keeper, control, credentials, output })
}

/// Starts the threads; without all of them there is no daemon either.
fn work(started: Started) -> Result<Arc<Keeper>, LaunchError> {
    let Started { keeper, control, credentials, output } = started;
    let (reads, hands_out, listens) = (Arc::clone(&keeper), Arc::clone(&keeper), Arc::clone(&keeper));
    let threads = start_thread(move || reads.daemon.output.follow(output))
        .and_then(|()| {
            start_thread(move || {
                let answer = |request: &httparse::Request<'_, '_>| {
                    hands_out.endpoint.answer(request, &hands_out.keys, time::now_ms())
                };
                // Without it the mount has no keys: the control socket still answers, and says how often any
                // were fetched.
                let _ = http::serve(&credentials, answer);
            })
        })
        .and_then(|()| start_thread(move || listens.serve(&control, start_thread)));
    match threads {
        Ok(()) => Ok(keeper),
        Err(cause) => {
            keeper.daemon.signal(Signal::SIGKILL);
            keeper.daemon.reap();
            keeper.socket.remove();
            Err(LaunchError::System { what: "start a thread".into(), cause })
        }
    }
}

fn start_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}
