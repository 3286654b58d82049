//! Starting a keeper.

use super::KeeperError;
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

/// Starts a keeper and hands it everything it needs over a socket it inherits as stdin: nothing secret in its
/// arguments or environment, and no descriptor but that one.
///
/// The keeper leaves this process' session by itself and outlives it.
///
/// # Errors
/// When keeper or daemon do not start; neither then runs.
pub async fn launch(program: &Path, request: Launch, fuse: OwnedFd) -> Result<Launched, KeeperError> {
    let failed = |reason: String| KeeperError::Start { program: program.to_owned(), reason };
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed(format!("make its socket: {error}")))?;
    // Dropping the handle of a child that still runs leaves it running; tokio collects its exit.
    let mut child = tokio::process::Command::new(program)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
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
