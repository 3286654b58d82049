//! What the node plugin says once, over the socket that is stdin: the `/dev/fuse` descriptor and [`Launch`].

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use csi_proto::frame::{self, FrameError};
use csi_proto::keeper::v1::{Generation, Launch, LaunchReply, Launched, Login, launch_reply};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::credentials::KeysError;
use crate::daemon::DaemonSpec;
use crate::hygiene::{self, HygieneError};
use crate::secret::Wiped;

/// How long the node plugin may take to say what to launch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no daemon runs.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The keeper could not set itself up.
    #[error("keeper start: {0}")]
    Hygiene(#[from] HygieneError),
    /// The descriptor did not come.
    #[error("receive the /dev/fuse descriptor: {0}")]
    Descriptor(io::Error),
    /// The message did not come.
    #[error("receive Launch: {0}")]
    Frame(#[from] FrameError),
    /// A field of the message cannot be used.
    #[error("Launch.{field} {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The first keys cannot be used.
    #[error("Launch.generation: {0}")]
    Keys(#[from] KeysError),
    /// A system call for the mount failed.
    #[error("{what}: {cause}")]
    System {
        /// What was tried, and on what.
        what: String,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// [`Launch`], checked.
#[derive(Debug)]
pub struct Plan {
    /// The mount's name.
    pub mount_id: String,
    /// Where to bind the control socket.
    pub control_socket: PathBuf,
    /// What to run.
    pub daemon: DaemonSpec,
    /// How long one answer with keys may be used.
    pub poll_ms: u64,
    /// The first keys.
    pub generation: Wiped<Generation>,
    /// What the next login needs.
    pub login: Wiped<Login>,
}

/// Takes the socket away from stdin, which is `/dev/null` afterwards.
///
/// # Errors
/// Out of descriptors, or no `/dev/null`.
pub fn take_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    hygiene::close_stdin().map_err(io::Error::other)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Receives the descriptor and the message.
///
/// # Errors
/// Neither came in time, or the message cannot be used.
pub fn receive(socket: &UnixStream) -> Result<(OwnedFd, Plan), LaunchError> {
    let fuse = receive_descriptor(socket).map_err(LaunchError::Descriptor)?;
    let launch = Wiped::new(frame::read::<Launch>(&mut &*socket)?);
    Ok((fuse, plan(launch)?))
}

/// Answers; a node plugin that is gone finds the keeper by its control socket when it is back.
pub fn reply(socket: &UnixStream, outcome: Result<Launched, &LaunchError>) {
    let outcome = match outcome {
        Ok(launched) => launch_reply::Outcome::Launched(launched),
        Err(error) => launch_reply::Outcome::Error(error.to_string()),
    };
    let _ = frame::write(&mut &*socket, &LaunchReply { outcome: Some(outcome) });
}

fn receive_descriptor(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0_u8];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just opened these numbers for us and nobody else knows them.
            received.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    match (message.bytes, received.pop(), received.is_empty()) {
        (0, ..) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, Some(fuse), true) => Ok(fuse),
        (_, None, _) => Err(io::Error::other("the first byte carried no descriptor")),
        (_, Some(_), false) => Err(io::Error::other("the first byte carried more than one descriptor")),
    }
}

fn plan(mut launch: Wiped<Launch>) -> Result<Plan, LaunchError> {
    let absolute = |field, path: &str| match path.starts_with('/') {
        true => Ok(PathBuf::from(path)),
        false => Err(LaunchError::Field { field, reason: "must be an absolute path" }),
    };
    let unprivileged = |field, id| match id {
        0 => Err(LaunchError::Field { field, reason: "must not be root's" }),
        u32::MAX => Err(LaunchError::Field { field, reason: "is not an id" }),
        id => Ok(id),
    };
    if launch.mount_id.is_empty() {
        return Err(LaunchError::Field { field: "mount_id", reason: "is empty" });
    }
    let generation = launch
        .take(|launch| launch.generation.take())
        .ok_or(LaunchError::Field { field: "generation", reason: "is missing" })?;
    let generation = Wiped::new(generation);
    let login = Wiped::new(launch.take(|launch| launch.login.take()).unwrap_or_default());
    Ok(Plan {
        mount_id: launch.mount_id.clone(),
        control_socket: absolute("control_socket", &launch.control_socket)?,
        daemon: DaemonSpec {
            path: absolute("daemon_path", &launch.daemon_path)?,
            args: launch.daemon_args.clone(),
            helper_dir: absolute("helper_dir", &launch.helper_dir)?,
            uid: unprivileged("daemon_uid", launch.daemon_uid)?,
            gid: unprivileged("daemon_gid", launch.daemon_gid)?,
            ca_file: match launch.ca_file.as_str() {
                "" => None,
                path => Some(absolute("ca_file", path)?),
            },
        },
        poll_ms: launch.poll_ms,
        generation,
        login,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn launch() -> Launch {
        Launch {
            mount_id: "m".into(),
            control_socket: "/run/m".into(),
            daemon_path: "/bin/daemon".into(),
            helper_dir: "/bin".into(),
            daemon_uid: 1,
            daemon_gid: 2,
            poll_ms: 3,
            generation: Some(Generation::default()),
            ..Launch::default()
        }
    }

    #[test]
    fn a_complete_launch_is_taken() {
        let plan = plan(Wiped::new(launch())).unwrap();
        assert_eq!((plan.daemon.uid, plan.daemon.gid, plan.poll_ms), (1, 2, 3));
        assert_eq!(plan.daemon.ca_file, None);
    }

    #[test]
    fn every_unusable_field_is_named() {
        for (field, spoil) in [
            ("mount_id", (|l| l.mount_id.clear()) as fn(&mut Launch)),
            ("control_socket", |l| l.control_socket = "run/m".into()),
            ("daemon_path", |l| l.daemon_path = "daemon".into()),
            ("helper_dir", |l| l.helper_dir.clear()),
            ("daemon_uid", |l| l.daemon_uid = 0),
            ("daemon_gid", |l| l.daemon_gid = 0),
            ("daemon_uid", |l| l.daemon_uid = u32::MAX),
            ("ca_file", |l| l.ca_file = "ca.pem".into()),
            ("generation", |l| l.generation = None),
        ] {
            let mut launch = launch();
            spoil(&mut launch);
            let error = plan(Wiped::new(launch)).unwrap_err();
            assert!(matches!(error, LaunchError::Field { field: named, .. } if named == field), "{error}");
        }
    }

    #[test]
    fn a_byte_without_a_descriptor_or_no_byte_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &there, b"x").unwrap();
        let error = receive_descriptor(&here).unwrap_err();
        assert!(error.to_string().contains("no descriptor"), "{error}");
        drop(there);
        assert_eq!(receive_descriptor(&here).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
