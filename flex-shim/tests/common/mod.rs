//! Runs the real program, and checks what holds for every callout.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The program with kubelet's stdin and no environment but the given variables.
pub(crate) fn command(socket: Option<&Path>, seconds: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boathouse"));
    command.env_clear().stdin(std::process::Stdio::null());
    if let Some(socket) = socket {
        command.env("BOATHOUSE_AGENT_SOCKET", socket);
    }
    if let Some(seconds) = seconds {
        command.env("BOATHOUSE_FLEX_TIMEOUT_SECONDS", seconds);
    }
    command
}

/// Runs a callout: it exits with 0, writes nothing to stderr and one line to stdout.
pub(crate) fn line<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> String {
    let output = command.args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "exit code");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "stderr");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.find('\n'), Some(stdout.len() - 1), "one line: {stdout:?}");
    stdout
}
