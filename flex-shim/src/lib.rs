//! The FlexVolume driver binary kubelet executes: one request to the node plugin, one JSON line, exit 0.
//!
//! What kubelet makes of an answer decides how this is written:
//!
//! - stdout and stderr are one pipe: a word on stderr spoils the answer, so nothing is ever written there,
//!   not even by a panic.
//! - After a non-zero exit kubelet logs the whole command line, Secrets included: the exit code is always 0
//!   and a failure is told in the answer.
//! - There is no time limit on a callout: the shim keeps its own.
//! - A failing `init` is retried some forty times a second: `init` is a constant.
//! - kubelet may remove the target directory of a deleted pod while `mount` runs: the shim never touches it.
//!   If the shim ends first, the closed connection tells the node plugin to undo what it began.

mod agent;
mod callout;
mod status;

use std::ffi::OsString;
use std::io::Write;
use std::panic;

use callout::Callout;
use status::DriverStatus;

const HELP: &str = "\
boathouse: the FlexVolume driver statcan.gc.ca/boathouse

kubelet runs this program; it passes the call on to the Boathouse node plugin and prints one line of JSON.

  boathouse init
  boathouse mount <target directory> <JSON options>
  boathouse unmount <target directory>

Every other call is answered with \"Not supported\". The exit code is always 0: the answer says what happened.

Environment:
  BOATHOUSE_AGENT_SOCKET          the node plugin's agent socket [default: /run/boathouse/agent.sock]
  BOATHOUSE_FLEX_TIMEOUT_SECONDS  longest wait for an answer, 1 to 119 [default: 110]
";

/// Answers the callout on the process's command line. Returns however it went, so that the exit code is 0.
pub fn run() {
    // The default hook would print to stderr.
    panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let answer = panic::catch_unwind(|| answer(&arguments)).unwrap_or_else(|_| {
        DriverStatus::failure("the FlexVolume driver failed unexpectedly; this is a bug in it").to_line()
    });
    // Whoever asked may be gone, and there is nobody else to tell. One write, so that a line is never half there.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(answer.as_bytes()).and_then(|()| stdout.flush());
}

fn answer(arguments: &[OsString]) -> String {
    let callout = match Callout::parse(arguments) {
        Ok(callout) => callout,
        Err(status) => return status.to_line(),
    };
    match callout {
        Callout::Help => HELP.to_owned(),
        Callout::Version => concat!("boathouse ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        Callout::Init => status::INIT.to_owned(),
        Callout::Other(name) => DriverStatus::not_supported(&name).to_line(),
        Callout::Mount { target, options } => agent::mount(target, options).to_line(),
        Callout::Unmount { target } => agent::unmount(target).to_line(),
    }
}
