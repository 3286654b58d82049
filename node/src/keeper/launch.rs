//! Starting a keeper.

use super::KeeperError;
use crate::host::Cradle;
use csi_proto::frame;
use csi_proto::keeper::v1::{Launch, LaunchReply, Launched, launch_reply::Outcome};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long a keeper may take to start its daemon: two fork-and-execs on a busy node.
const LIMIT: Duration = Duration::from_secs(10);

/// Starts a keeper in its cradle and hands it everything it needs over a socket it inherits as stdin: nothing secret
/// in its arguments or environment, and no descriptor but that one.
///
/// The keeper leaves this process' session by itself and outlives it.
///
/// # Errors
/// When keeper or daemon do not start; neither then runs.
pub async fn launch(
    program: &Path,
    request: Launch,
    fuse: OwnedFd,
    cradle: Cradle,
) -> Result<Launched, KeeperError> {
    let failed = |reason: String| KeeperError::Start { program: program.to_owned(), reason };
    let hint = match cradle.leaves_container() {
        true => "; the state directory must be a hostPath volume at its path on the host",
        false => "",
    };
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed(format!("make its socket: {error}")))?;
    let mut command = tokio::process::Command::new(program);
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/");
    // Without it the standard library need not fork.
    if cradle.is_elsewhere() {
        // SAFETY: `enter` makes only system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || cradle.enter()) };
    }
    // Dropping the handle of a child that still runs leaves it running; tokio collects its exit.
    let mut child = command.spawn().map_err(|error| failed(format!("{error}{hint}")))?;
    let daemon = Path::new(&request.daemon_path).to_owned();
    let answer = tokio::task::spawn_blocking(move || hand_over(ours, &request, fuse))
        .await
        .unwrap_or_else(|panic| Err(panic.to_string()));
    match answer {
        Ok(Outcome::Launched(launched)) => Ok(launched),
        Ok(Outcome::Error(reason)) => Err(KeeperError::Daemon { program: daemon, reason }),
        Err(reason) => {
            let _ = child.start_kill();
            Err(failed(reason))
        }
    }
}

fn hand_over(mut socket: UnixStream, request: &Launch, fuse: OwnedFd) -> Result<Outcome, String> {
    let timeouts = socket.set_read_timeout(Some(LIMIT)).and_then(|()| socket.set_write_timeout(Some(LIMIT)));
    timeouts.map_err(|error| format!("set up its socket: {error}"))?;
    let fds = [fuse.as_fd().as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map_err(|errno| format!("hand over the FUSE session: {errno}"))?;
    // From here on the keeper holds the session; when it goes, the session ends.
    drop(fuse);
    frame::write(&mut socket, request).map_err(|error| format!("hand over its orders: {error}"))?;
    let reply: LaunchReply =
        frame::read(&mut socket).map_err(|error| format!("wait for its answer: {error}"))?;
    reply.outcome.ok_or_else(|| "it answered nothing".to_owned())
}
