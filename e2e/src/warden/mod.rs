//! Namespaces that live exactly as long as the work in them.
//!
//! ```text
//! caller ─ warden ─ unshare ─ init (process 1 inside) ─ work (the cluster, or the suite on it)
//! ```
//!
//! The warden is in a session of its own. It ends the namespaces when the work is done, when the caller goes away in
//! whatever way (its end of a pipe closes) or on SIGTERM, and then removes what outlives them: cgroups and the run
//! directory. The kernel takes every process, mount and interface along with process 1, and process 1 dies with
//! `unshare`, which dies with the warden. Should the warden itself be killed, cgroups and the directory stay until the
//! next one starts.

mod cgroups;
mod ground;
mod init;

pub use ground::{NODE, NODE_ADDRESS};
pub use init::{init, nsenter};

use crate::place::Place;
use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` (arguments of this program) in new namespaces until it ends, `stdin` is closed or SIGTERM comes.
/// Returns its exit code.
///
/// # Errors
/// When another cluster uses this machine, or something of this one cannot be removed.
pub fn guard(place: &Place, detached: bool, work: &[String]) -> anyhow::Result<i32> {
    // Before anything is started, so that nothing inherits a chance to miss them.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().context("block signals")?;
    let events = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).context("make a signalfd")?;
    nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
    let _lock = place.lock()?;
    cgroups::refuse_if_used()?;
    // What a crash left.
    place.remove()?;
    cgroups::remove()?;
    place.create()?;
    let options = cgroups::Options::of_machine();
    let mut child = start(place, work)?;
    place.write("warden.pid", &std::process::id().to_string())?;
    let outcome = watch(&mut child, &events, detached);
    // SIGKILL reaches process 1 through unshare's --kill-child, and process 1 then becomes a child of ours.
    let _ = child.kill();
    let _ = child.wait();
    last_child()?;
    let removed = cgroups::remove().and_then(|()| options.restore()).and_then(|()| place.remove());
    let code = outcome?;
    removed?;
    Ok(code)
}

/// Until there is no child any more: process 1 ends when the last process of its namespace has.
fn last_child() -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(_) => continue,
            Err(errno) => return Err(errno).context("wait for the namespaces' end"),
        }
        if Instant::now() >= deadline {
            bail!("processes of the cluster did not end within {PATIENCE:?} of SIGKILL");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(place: &Place, work: &[String]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    // Dies with the warden, and process 1 with it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"])
        .args(["--propagation", "private", "--"])
        .arg(program)
        .arg("init")
        .arg("--")
        .args(work)
        .stdin(Stdio::null())
        .env(crate::place::INSIDE, place.directory())
        // Directories of tests inside are part of the cluster's: /var/lib is. The path is short, for sockets.
        .env("BOATHOUSE_TEST_DIR", "/var/lib/tests");
    // unshare inherits the blocked signals, and the work would too: they are let through again in `init`.
    command.spawn().context("run setpriv and unshare (util-linux)")
}

/// Until the work ends, the caller goes or somebody says stop.
fn watch(child: &mut Child, events: &SignalFd, detached: bool) -> anyhow::Result<i32> {
    let stdin = std::io::stdin();
    loop {
        let mut fds = vec![PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        if !detached {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => bail!("wait for the cluster: {errno}"),
        }
        if fds.get(1).and_then(PollFd::revents).is_some_and(|events| !events.is_empty()) {
            return Ok(130);
        }
        if fds[0].any().unwrap_or(false) {
            let signal = events.read_signal().context("read a signal")?.map(|info| info.ssi_signo);
            if signal.is_some_and(|signal| signal != Signal::SIGCHLD as u32) {
                return Ok(143);
            }
            if let Some(status) = child.try_wait().context("look after the namespaces")? {
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
        }
    }
}
