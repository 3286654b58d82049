//! A child process that ends with its guard.

use super::spawner;
use crate::text;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// What can go wrong with a guarded process.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It did not start.
    #[error("start {name} (`{command}`): {source}")]
    Start {
        /// Name the caller gave it.
        name: String,
        /// Command line.
        command: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A signal could not be sent.
    #[error("send {signal} to {name}: {errno}")]
    Signal {
        /// Name the caller gave it.
        name: String,
        /// The signal.
        signal: Signal,
        /// The kernel's answer.
        errno: Errno,
    },
    /// It was expected to run or to answer.
    #[error("{name}: {what}; the end of its log ({log}):\n{tail}")]
    Broken {
        /// Name the caller gave it.
        name: String,
        /// What happened instead.
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },
}

/// A child in a process group of its own, its output in a file. Dropping the guard sends SIGTERM to the group,
/// and SIGKILL when the child is still there after the grace period. Dies with this process too.
///
/// The child is not reaped before the guard is done with it, so neither its process id nor its group's can
/// become somebody else's.
#[derive(Debug)]
pub struct ProcessGuard {
    name: String,
    child: Child,
    log: PathBuf,
    grace: Duration,
    reaped: bool,
}

impl ProcessGuard {
    /// Starts `command` with no standard input; standard output and error are appended to `log`.
    ///
    /// # Errors
    /// [`GuardError::Start`].
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, GuardError> {
        let line = text::command_line(&command);
        let start = || -> std::io::Result<Child> {
            let out = File::options().create(true).append(true).open(log)?;
            let err = out.try_clone()?;
            command.stdin(Stdio::null()).stdout(out).stderr(err);
            spawner::spawn(command)
        };
        let child =
            start().map_err(|source| GuardError::Start { name: name.to_owned(), command: line, source })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            grace: Duration::from_secs(5),
            reaped: false,
        })
    }

    /// How long the child has to end after SIGTERM when the guard is dropped. Default 5 s; zero means SIGKILL
    /// at once.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn id(&self) -> Pid {
        // A process id the kernel gave fits pid_t.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether it has not ended (a stopped process has not).
    pub fn is_running(&self) -> bool {
        // WNOWAIT leaves the child to be reaped.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !self.reaped && matches!(waitid(Id::Pid(self.id()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Sends a signal to the child alone.
    ///
    /// # Errors
    /// [`GuardError::Signal`] when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), GuardError> {
        let sent = if self.reaped { Err(Errno::ESRCH) } else { kill(self.id(), signal) };
        sent.map_err(|errno| GuardError::Signal { name: self.name.clone(), signal, errno })
    }

    /// Freezes the child and its group: it answers nothing, and its connections stay open.
    ///
    /// # Errors
    /// [`GuardError::Signal`] when it has ended.
    pub fn pause(&self) -> Result<(), GuardError> {
        self.signal_group(Signal::SIGSTOP)
    }

    /// Ends [`ProcessGuard::pause`].
    ///
    /// # Errors
    /// [`GuardError::Signal`] when it has ended.
    pub fn resume(&self) -> Result<(), GuardError> {
        self.signal_group(Signal::SIGCONT)
    }

    fn signal_group(&self, signal: Signal) -> Result<(), GuardError> {
        let sent = if self.reaped { Err(Errno::ESRCH) } else { killpg(self.id(), signal) };
        sent.map_err(|errno| GuardError::Signal { name: self.name.clone(), signal, errno })
    }

    /// Waits until the child has ended by itself, for `limit` at most. `None` when it has not.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(POLL);
        }
        self.reap()
    }

    /// Reaps the child and ends what is left of its group.
    fn reap(&mut self) -> Option<ExitStatus> {
        if !self.reaped {
            // Before the child is reaped: until then the group's id is ours.
            let _ = killpg(self.id(), Signal::SIGKILL);
            self.reaped = true;
        }
        self.child.wait().ok()
    }

    /// SIGTERM to the group, SIGKILL after `grace`; returns when the child has ended.
    pub fn stop(&mut self, grace: Duration) -> Option<ExitStatus> {
        if !grace.is_zero() && self.is_running() {
            let _ = killpg(self.id(), Signal::SIGTERM);
            // A frozen process gets no SIGTERM before it is woken.
            let _ = killpg(self.id(), Signal::SIGCONT);
            if let Some(status) = self.wait(grace) {
                return Some(status);
            }
        }
        self.reap()
    }

    /// SIGKILL to the child alone, as a crash would; what it started lives on.
    pub fn crash(&mut self) -> Option<ExitStatus> {
        if !self.reaped {
            let _ = kill(self.id(), Signal::SIGKILL);
            self.reaped = true;
        }
        self.child.wait().ok()
    }

    /// The last `lines` lines of the log.
    pub fn tail(&self, lines: usize) -> String {
        text::tail(&String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()), lines)
    }

    /// An error about this process with the end of its log in it.
    pub fn broken(&self, what: impl Into<String>) -> GuardError {
        GuardError::Broken {
            name: self.name.clone(),
            what: what.into(),
            log: self.log.clone(),
            tail: self.tail(15),
        }
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        self.stop(self.grace);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn shell(script: &str, log: &Path) -> ProcessGuard {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ProcessGuard::start("shell", command, log).unwrap()
    }

    fn exists(pid: i32) -> bool {
        // A zombie is not a running process.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_dropped_guard_takes_the_whole_group() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        let guard = shell("sleep 1000 & echo $!; wait", &log);
        let deadline = Instant::now() + Duration::from_secs(5);
        let grandchild: i32 = loop {
            if let Ok(pid) = fs::read_to_string(&log).unwrap().trim().parse() {
                break pid;
            }
            assert!(Instant::now() < deadline, "the shell said nothing");
            std::thread::sleep(POLL);
        };
        assert!(guard.is_running() && exists(grandchild));
        drop(guard);
        let deadline = Instant::now() + Duration::from_secs(2);
        while exists(grandchild) {
            assert!(Instant::now() < deadline, "process {grandchild} is still there");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn one_that_ignores_sigterm_or_is_frozen_is_killed() {
        let home = tempfile::tempdir().unwrap();
        let mut deaf = shell("trap '' TERM; while :; do sleep 1; done", &home.path().join("deaf"));
        let began = Instant::now();
        assert_eq!(deaf.stop(Duration::from_millis(200)).unwrap().code(), None);
        let frozen = shell("sleep 1000", &home.path().join("frozen"));
        frozen.pause().unwrap();
        drop(frozen);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }

    #[test]
    fn an_exit_is_seen_and_its_words_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let mut guard = shell("echo so long; exit 7", &home.path().join("log"));
        assert_eq!(guard.wait(Duration::from_secs(5)).unwrap().code(), Some(7));
        assert!(!guard.is_running());
        assert!(guard.broken("ended").to_string().contains("so long"));
        assert!(guard.signal(Signal::SIGTERM).is_err());
    }

    #[test]
    fn a_missing_program_is_named() {
        let home = tempfile::tempdir().unwrap();
        let command = Command::new("/does/not/exist");
        let error = ProcessGuard::start("ghost", command, &home.path().join("log")).unwrap_err().to_string();
        assert!(error.starts_with("start ghost (`/does/not/exist`)"), "{error}");
    }
}
