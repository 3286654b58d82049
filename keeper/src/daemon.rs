//! The FUSE daemon: started with nothing it was not given, watched, and ended.
//!
//! It runs under its own uid and gid, without supplementary groups, capabilities or a way to gain any, in `/`,
//! with stdin from `/dev/null`, stdout and stderr into the keeper, and [`crate::DAEMON_FUSE_FD`]; it is killed
//! when the keeper's main thread ends. Its whole environment:
//!
//! | variable | value |
//! |---|---|
//! | `PATH` | the directory with the `fusermount3` stand-in |
//! | `HOME` | `/nonexistent` |
//! | `BOATHOUSE_FUSE_FD` | `100` |
//! | `AWS_CONTAINER_CREDENTIALS_FULL_URI`, `AWS_CONTAINER_AUTHORIZATION_TOKEN` | where its keys are |
//! | `AWS_EC2_METADATA_DISABLED` | `true`: never the node's own cloud identity |
//! | `SSL_CERT_FILE` | only when the endpoint has its own certificate authority |

use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use csi_proto::keeper::v1::Exit;
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use crate::endpoint::Endpoint;
use crate::hygiene::close_range;
use crate::latch::Latch;
use crate::output::Output;
use crate::time::now_ms;
use crate::{DAEMON_FUSE_FD, FUSE_FD_VARIABLE};

/// How long output may still come after the daemon's exit, from a child that outlives it.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// How long the daemon has between SIGTERM and SIGKILL.
pub const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long the kernel may take to end a killed daemon before that is an error.
pub const KILL_GRACE: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug, Clone)]
pub struct DaemonSpec {
    /// The program, an absolute path.
    pub path: PathBuf,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Directory with the stand-in for `fusermount3`.
    pub helper_dir: PathBuf,
    /// Its user; never root.
    pub uid: u32,
    /// Its group; never root's.
    pub gid: u32,
    /// PEM file with the certificate authorities of the S3 endpoint.
    pub ca_file: Option<PathBuf>,
}

/// A daemon that was started.
#[derive(Debug)]
pub struct Daemon {
    pid: Pid,
    exit: Mutex<Option<Exit>>,
    /// Tripped when it has exited and been reaped.
    pub exited: Latch,
    /// What it writes.
    pub output: Output,
}

impl Daemon {
    /// Starts the daemon and lets go of `fuse`, so that the kernel ends the FUSE connection when the daemon dies;
    /// the reader is for [`Output::follow`].
    ///
    /// Must be called by the main thread: the kernel kills the daemon when the thread that started it ends.
    ///
    /// # Errors
    /// What the kernel said to the pipes, the fork, the change of user or the execution.
    pub fn start(spec: &DaemonSpec, endpoint: &Endpoint, fuse: OwnedFd) -> io::Result<(Self, PipeReader)> {
        let (exited, output) = (Latch::new()?, Output::new()?);
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&spec.path);
        command
            .args(&spec.args)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .env_clear()
            .env("PATH", &spec.helper_dir)
            .env("HOME", "/nonexistent")
            .env(FUSE_FD_VARIABLE, DAEMON_FUSE_FD.to_string())
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.uri())
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", endpoint.token.as_str())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .gid(spec.gid)
            // As root this also drops the supplementary groups.
            .uid(spec.uid);
        if let Some(file) = &spec.ca_file {
            // Go reads the system's directory as well unless it is told another one.
            command.env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", "/nonexistent");
        }
        let (keeper, raw) = (getpid(), fuse.as_raw_fd());
        // SAFETY: `confine` makes only system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || confine(keeper, raw)) };
        let pid = command.spawn()?.id();
        drop(fuse);
        // Of the node's processes it is neither among the last to be killed for memory, as the keeper is, nor among the
        // first. As it was is as good where that cannot be changed.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
        let pid = Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
        Ok((Self { pid, exit: Mutex::new(None), exited, output }, reader))
    }

    /// Its process id; that of nobody once [`Self::exited`] is tripped.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the daemon has exited and takes note of how. To be called once, by the thread that started it.
    pub fn reap(&self) {
        // Leave the zombie, so that the pid stays the daemon's until nobody can signal it any more.
        while waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        self.output.ended.wait(Some(OUTPUT_GRACE));
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, signal) = match waitpid(self.pid, None) {
            Ok(WaitStatus::Exited(_, code)) => (code, 0),
            Ok(WaitStatus::Signaled(_, signal, _)) => (-1, signal as i32),
            // Not our child any more, which only a second reaper could bring about: it is gone all the same.
            Ok(_) | Err(_) => (-1, 0),
        };
        *exit = Some(Exit { code, signal, at_ms: now_ms() });
        drop(exit);
        self.exited.trip();
    }

    /// Gives the daemon `grace` to exit by itself, then asks it to, then kills it; whether it is gone. Without any
    /// grace it is killed at once: whoever asks for that knows that it has nothing left to do.
    pub fn end(&self, grace: Duration) -> bool {
        if self.exited.wait(Some(grace)) {
            return true;
        }
        let steps = [(Signal::SIGTERM, TERM_GRACE), (Signal::SIGKILL, KILL_GRACE)];
        for (signal, patience) in steps.into_iter().skip(usize::from(grace.is_zero())) {
            self.signal(signal);
            if self.exited.wait(Some(patience)) {
                return true;
            }
        }
        false
    }

    /// Signals the daemon unless it was reaped.
    pub fn signal(&self, signal: Signal) {
        let exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if exit.is_none() {
            // It can only fail for a pid that is not ours, and this one is until `exit` is set.
            let _ = kill(self.pid, signal);
        }
    }
}

/// Runs in the child, after it has become the daemon's user and before it becomes the daemon.
fn confine(keeper: Pid, fuse: RawFd) -> io::Result<()> {
    // A change of user clears the death signal, so it is set after that; and if the keeper died before, it is late.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != keeper {
        return Err(Errno::ESRCH.into());
    }
    prctl::set_no_new_privs()?;
    // What is ignored stays ignored across an exec: by the keeper, or by whatever shell once started the node plugin.
    for inherited in Signal::iterator().filter(|one| !matches!(one, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: SIG_DFL runs no code of ours.
        unsafe { signal(inherited, SigHandler::SigDfl) }?;
    }
    // Only marked, not closed: the pipe that reports a failed exec is among them.
    close_range(3, libc::CLOSE_RANGE_CLOEXEC)?;
    // SAFETY: plain integers. The keeper starts the daemon before it opens anything near number 100.
    Errno::result(unsafe { libc::dup2(fuse, DAEMON_FUSE_FD) })?;
    if fuse == DAEMON_FUSE_FD {
        // SAFETY: as above; dup2 onto itself left the close-on-exec flag.
        Errno::result(unsafe { libc::fcntl(fuse, libc::F_SETFD, 0) })?;
    }
    Ok(())
}
