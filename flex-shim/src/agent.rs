//! The call to the node plugin: connect, one frame there, one frame back, within one time limit.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use csi_proto::agent::v1::request::Call;
use csi_proto::agent::v1::{MountRequest, Request, Response, Status, UnmountRequest};
use csi_proto::frame::{self, FrameError};

use crate::status::DriverStatus;

const SOCKET_VARIABLE: &str = "BOATHOUSE_AGENT_SOCKET";
const DEFAULT_SOCKET: &str = "/run/boathouse/agent.sock";

const TIMEOUT_VARIABLE: &str = "BOATHOUSE_FLEX_TIMEOUT_SECONDS";
/// Below the two minutes and three seconds after which kubelet logs that a volume did not come up.
const DEFAULT_TIMEOUT_SECONDS: u64 = 110;
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=119;

/// Why there is no answer of the node plugin's to pass on.
#[derive(Debug)]
enum CallError {
    Timeout(String),
    Connect(io::Error),
    Send(FrameError),
    Gone,
    Receive(FrameError),
    NoAnswer(Duration),
    Thread(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(value) => write!(
                f,
                "{TIMEOUT_VARIABLE} is {value:?}; write a number of seconds from {} to {}",
                TIMEOUT_SECONDS.start(),
                TIMEOUT_SECONDS.end()
            ),
            Self::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{error}; the driver must run as root, as kubelet does")
            }
            Self::Connect(error) => write!(f, "{error}; is boathouse-node running on this node?"),
            Self::Send(error) => write!(f, "the request could not be sent: {error}"),
            Self::Gone => f.write_str(
                "the node plugin closed the connection before it answered; was it restarted? kubelet will ask again",
            ),
            Self::Receive(error) => write!(f, "the answer could not be read: {error}"),
            Self::NoAnswer(limit) => {
                write!(f, "the node plugin did not answer within {} s; its log says why", limit.as_secs())
            }
            Self::Thread(reason) => write!(f, "the call could not be made: {reason}"),
        }
    }
}

/// Asks for a mount; the options document is passed on as it came.
pub(crate) fn mount(target_path: String, options_json: Vec<u8>) -> DriverStatus {
    match call(Call::Mount(MountRequest { target_path, options_json })) {
        // kubelet never calls `mount` again after a "Not supported": one such answer, say while the bridge is
        // switched off, would outlast its cause.
        Ok(response) if response.status() == Status::NotSupported => DriverStatus::failure(response.message),
        outcome => answer("mount", outcome),
    }
}

/// Asks for an unmount.
pub(crate) fn unmount(target_path: String) -> DriverStatus {
    answer("unmount", call(Call::Unmount(UnmountRequest { target_path })))
}

fn answer(callout: &str, outcome: Result<Response, String>) -> DriverStatus {
    let response = match outcome {
        Ok(response) => response,
        Err(error) => return DriverStatus::failure(format!("{callout}: {error}")),
    };
    match response.status() {
        Status::Success => DriverStatus::success(response.message),
        Status::Failure => DriverStatus::failure(response.message),
        Status::NotSupported => DriverStatus::not_supported(callout),
        Status::Unspecified => DriverStatus::failure(format!(
            "{callout}: the node plugin answered with the unknown status {}; are driver and node plugin of the same release?",
            response.status
        )),
    }
}

/// Makes the call, or says at which socket it failed and why.
fn call(call: Call) -> Result<Response, String> {
    let socket = socket_path(env::var_os(SOCKET_VARIABLE));
    timeout(env::var_os(TIMEOUT_VARIABLE))
        .and_then(|limit| exchange_within(limit, socket.clone(), Request { call: Some(call) }))
        .map_err(|error| format!("agent socket {}: {error}", socket.display()))
}

/// kubelet runs us with its own environment, so the default must do.
fn socket_path(variable: Option<OsString>) -> PathBuf {
    variable.filter(|value| !value.is_empty()).map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from)
}

fn timeout(variable: Option<OsString>) -> Result<Duration, CallError> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Ok(Duration::from_secs(DEFAULT_TIMEOUT_SECONDS));
    };
    let seconds = value.to_str().and_then(|text| text.parse().ok()).filter(|n| TIMEOUT_SECONDS.contains(n));
    seconds.map(Duration::from_secs).ok_or_else(|| CallError::Timeout(value.to_string_lossy().into_owned()))
}

/// One limit for everything. It cannot be the socket's: a connect to a full queue waits without one, and
/// reads that each bring a byte would never run out of time. The thread ends with the process, and with it the
/// connection.
fn exchange_within(limit: Duration, socket: PathBuf, request: Request) -> Result<Response, CallError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .spawn(move || sender.send(exchange(&socket, &request)))
        .map_err(|error| CallError::Thread(error.to_string()))?;
    match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(CallError::NoAnswer(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(CallError::Thread("it panicked".to_owned())),
    }
}

fn exchange(socket: &Path, request: &Request) -> Result<Response, CallError> {
    let mut stream = UnixStream::connect(socket).map_err(CallError::Connect)?;
    frame::write(&mut stream, request).map_err(CallError::Send)?;
    frame::read(&mut stream).map_err(|error| match error {
        FrameError::Closed | FrameError::Truncated { .. } => CallError::Gone,
        FrameError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => CallError::Gone,
        error => CallError::Receive(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_variables_the_defaults_do() {
        for variable in [None, Some(OsString::new())] {
            assert_eq!(socket_path(variable.clone()), Path::new("/run/boathouse/agent.sock"));
            assert!(matches!(timeout(variable), Ok(limit) if limit == Duration::from_secs(110)));
        }
    }
}
