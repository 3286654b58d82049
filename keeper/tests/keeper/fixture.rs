//! Starts keepers as the node plugin does, and cleans up after them.

use std::fs;
use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use csi_proto::frame;
use csi_proto::keeper::v1::launch_reply::Outcome;
use csi_proto::keeper::v1::request::Call;
use csi_proto::keeper::v1::{
    Generation, Launch, LaunchReply, Login, Reply, Request, ShutdownRequest, Status, StatusRequest,
};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tempfile::TempDir;

/// Users nobody else has.
pub(crate) const UID: u32 = 64_321;
pub(crate) const GID: u32 = 64_322;
pub(crate) const POLL_MS: u64 = 60_000;

static INSTALLED: OnceLock<PathBuf> = OnceLock::new();

/// Puts the programs where every user can reach them, as the node plugin does on its host.
pub(crate) fn install() -> TempDir {
    let dir = public_dir();
    for (program, name) in [
        (PathBuf::from(env!("CARGO_BIN_EXE_boathouse-keeper")), "boathouse-keeper"),
        (std::env::current_exe().unwrap(), "fake-daemon"),
    ] {
        fs::copy(program, dir.path().join(name)).unwrap();
        fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    for name in ["fusermount3", "fusermount"] {
        symlink("boathouse-keeper", dir.path().join(name)).unwrap();
    }
    INSTALLED.set(dir.path().to_owned()).unwrap();
    dir
}

/// Where [`install`] put a program.
pub(crate) fn program(name: &str) -> PathBuf {
    INSTALLED.get().unwrap().join(name)
}

/// A directory other users can enter.
pub(crate) fn public_dir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("boathouse-keeper-").tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

pub(crate) fn generation(id: &str) -> Generation {
    Generation {
        id: id.into(),
        lease_id: format!("lease-{id}"),
        token: format!("s.token-{id}"),
        access_key: format!("AK-{id}"),
        secret_key: format!("SK-{id}"),
        ..Generation::default()
    }
}

/// A launch of the fake daemon, its control socket in `dir`.
pub(crate) fn launch(dir: &Path) -> Launch {
    Launch {
        mount_id: "m1".into(),
        control_socket: dir.join("control").to_str().unwrap().into(),
        daemon_path: program("fake-daemon").to_str().unwrap().into(),
        daemon_args: vec!["--region".into(), "us-east-1".into(), "bucket:prefix".into()],
        helper_dir: INSTALLED.get().unwrap().to_str().unwrap().into(),
        daemon_uid: UID,
        daemon_gid: GID,
        poll_ms: POLL_MS,
        generation: Some(generation("g1")),
        login: Some(Login { jwt: "jwt-1".into() }),
        ..Launch::default()
    }
}

/// Starts a keeper in a bad neighbourhood: open descriptors, a blocked SIGTERM, an ignored SIGCHLD, environment.
pub(crate) fn spawn_keeper(socket: UnixStream) -> Child {
    let leaked = fs::File::open("/etc/passwd").unwrap();
    let mut command = Command::new(program("boathouse-keeper"));
    command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).stderr(Stdio::null()).env("LEAKED", "secret");
    let number = leaked.as_raw_fd();
    // SAFETY: system calls on plain integers; dup2 to 200 gives a descriptor without close-on-exec.
    unsafe {
        command.pre_exec(move || {
            nix::errno::Errno::result(nix::libc::dup2(number, 200))?;
            signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(Signal::SIGTERM)), None)?;
            Ok(())
        });
    }
    command.spawn().unwrap()
}

/// Sends what the node plugin sends, and waits for the answer.
pub(crate) fn say_launch(socket: &UnixStream, fuse: Option<&UnixStream>, launch: &Launch) -> LaunchReply {
    let numbers: Vec<RawFd> = fuse.iter().map(|fuse| fuse.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let rights = if numbers.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"f")], rights, MsgFlags::empty(), None).unwrap();
    // A keeper that has refused already may have closed.
    let _ = frame::write(&mut &*socket, launch);
    frame::read(&mut &*socket).unwrap()
}

/// A running keeper with its daemon; both end with it.
pub(crate) struct Mount {
    pub(crate) keeper: Child,
    pub(crate) keeper_pid: i32,
    pub(crate) daemon_pid: i32,
    pub(crate) fuse: BufReader<UnixStream>,
    pub(crate) dir: TempDir,
}

impl Mount {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A mount whose launch is changed a little.
    pub(crate) fn with(change: impl FnOnce(&mut Launch)) -> Self {
        let dir = public_dir();
        let mut launch = launch(dir.path());
        change(&mut launch);
        let (node, stdin) = UnixStream::pair().unwrap();
        let (fuse, daemons) = UnixStream::pair().unwrap();
        let keeper = spawn_keeper(stdin);
        let reply = say_launch(&node, Some(&daemons), &launch);
        let Some(Outcome::Launched(launched)) = reply.outcome else { panic!("{reply:?}") };
        fuse.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut mount = Self {
            keeper_pid: launched.keeper_pid,
            daemon_pid: launched.daemon_pid,
            keeper,
            fuse: BufReader::new(fuse),
            dir,
        };
        assert_eq!(mount.line(), "ready");
        mount
    }

    /// The daemon's next answer; empty when nobody holds its descriptor any more.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        match self.fuse.read_line(&mut line) {
            Ok(_) => line.trim_end().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("the daemon neither answers nor ends: {error}"),
        }
    }

    /// Gives the daemon an order and takes its answer.
    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.fuse.get_ref(), "{order}").unwrap();
        self.line()
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.control()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, call: Call) -> Reply {
        ask(&self.connect(), call)
    }

    pub(crate) fn status(&self) -> Status {
        self.ask(Call::Status(StatusRequest {})).status.unwrap()
    }

    pub(crate) fn shutdown(&self, grace: Duration) -> Status {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap();
        let reply = self.ask(Call::Shutdown(ShutdownRequest { grace_ms }));
        reply.status.unwrap_or_else(|| panic!("{}", reply.error))
    }

    /// The keeper's exit, which must come soon.
    pub(crate) fn keeper_exit(&mut self) -> ExitStatus {
        exit_of(&mut self.keeper)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// One request on an open connection.
pub(crate) fn ask(stream: &UnixStream, call: Call) -> Reply {
    frame::write(&mut &*stream, &Request { call: Some(call) }).unwrap();
    frame::read(&mut &*stream).unwrap()
}

/// How `child` exits, within five seconds.
pub(crate) fn exit_of(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => panic!("process {} does not end", child.id()),
        }
    }
}

/// A field of `/proc/<pid>/status`.
pub(crate) fn proc_status(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The open descriptors of a process and what they are.
pub(crate) fn descriptors(pid: i32) -> Vec<(RawFd, String)> {
    let mut found: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            (entry.file_name().to_str().unwrap().parse().unwrap(), target.display().to_string())
        })
        .collect();
    found.sort();
    found
}

/// The variables of a process.
pub(crate) fn environment(pid: i32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut found: Vec<_> = String::from_utf8(bytes)
        .unwrap()
        .split_terminator('\0')
        .map(|entry| entry.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    found.sort();
    found
}

/// What `/proc` calls a socket.
pub(crate) fn socket_name(stream: &UnixStream) -> String {
    format!("socket:[{}]", nix::sys::stat::fstat(stream.as_fd()).unwrap().st_ino)
}
