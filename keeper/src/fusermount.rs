//! The stand-in for `fusermount3`: sends an inherited `/dev/fuse` descriptor to the FUSE library that asks.
//!
//! FUSE libraries that may not mount run `fusermount3 -o <options> -- <directory>` with one end of a unix socket
//! pair named by `_FUSE_COMMFD`, and expect one byte that carries the open `/dev/fuse` (libfuse `lib/mount.c`;
//! `jacobsa/fuse`, `bazil.org/fuse`, `hanwen/go-fuse` and `fuser` do the same). Here the node plugin has already
//! mounted, so there is only that descriptor to hand over. Unmounting is the node plugin's too: `-u` does nothing.

use std::ffi::OsString;
use std::io::{IoSlice, Write as _};
use std::os::fd::RawFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::FUSE_FD_VARIABLE;

/// Names, in the environment, the socket over which a FUSE library awaits the descriptor (libfuse's name).
pub const COMM_FD_VARIABLE: &str = "_FUSE_COMMFD";

/// Why the descriptor was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum FusermountError {
    /// A command line no FUSE library is known to use.
    #[error("{0:?} is not an argument this stand-in for fusermount knows")]
    Argument(OsString),
    /// An option at the end of the line whose value is missing.
    #[error("{0} needs a value")]
    Value(&'static str),
    /// No directory, or more than one.
    #[error("expected one directory to mount, got {0}")]
    Directory(usize),
    /// A variable that must hold the number of an open descriptor does not.
    #[error("{name} must be the number of an open descriptor, not {value:?}")]
    Descriptor {
        /// The variable, or the option that replaces it.
        name: &'static str,
        /// What it held; empty when unset.
        value: OsString,
    },
    /// The library's socket refused the message.
    #[error("send descriptor {fuse} over socket {comm}: {cause}")]
    Send {
        /// The socket.
        comm: RawFd,
        /// The `/dev/fuse` descriptor.
        fuse: RawFd,
        /// What the kernel said.
        cause: Errno,
    },
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// Hand over the descriptor; the number of the socket when it came as `--comm-fd`.
    Mount(Option<OsString>),
    /// Unmount: not ours to do.
    Unmount,
    /// Print the version.
    Version,
}

/// Reads a `fusermount` command line (without the program's name).
///
/// # Errors
/// Names the first argument that no FUSE library passes.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Call, FusermountError> {
    let mut arguments = arguments.into_iter();
    let (mut unmount, mut comm, mut directories, mut only_directories) = (false, None, 0, false);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if only_directories || !text.starts_with('-') || text == "-" {
            directories += 1;
            continue;
        }
        match &*text {
            "--" => only_directories = true,
            "-u" | "--unmount" => unmount = true,
            "-z" | "--lazy" | "-q" | "--quiet" | "-U" | "--auto-unmount" => {}
            "-uz" | "-zu" | "-uq" | "-qu" | "-uqz" | "-uzq" => unmount = true,
            "-V" | "--version" => return Ok(Call::Version),
            // The node plugin chose the mount options when it mounted.
            "-o" => drop(arguments.next().ok_or(FusermountError::Value("-o"))?),
            "-c" | "--comm-fd" => {
                comm = Some(arguments.next().ok_or(FusermountError::Value("--comm-fd"))?);
            }
            other if other.starts_with("-o") => {}
            other => match other.strip_prefix("--comm-fd=") {
                Some(number) => comm = Some(number.into()),
                None => return Err(FusermountError::Argument(argument)),
            },
        }
    }
    match (unmount, directories) {
        (true, 1) => Ok(Call::Unmount),
        (false, 1) => Ok(Call::Mount(comm)),
        (_, n) => Err(FusermountError::Directory(n)),
    }
}

/// Acts as `fusermount3`: exit code 0, or 1 with the cause on stderr.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(arguments).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failed write to stderr leaves nowhere to report it; the exit code still tells.
            let _ = writeln!(std::io::stderr(), "fusermount (boathouse): {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(call: Call) -> Result<(), FusermountError> {
    match call {
        Call::Unmount => Ok(()),
        Call::Version => {
            // Nobody reads a version that cannot be written.
            let _ = writeln!(
                std::io::stdout(),
                "fusermount3 version: 3 (boathouse-keeper {})",
                env!("CARGO_PKG_VERSION")
            );
            Ok(())
        }
        Call::Mount(comm) => {
            let comm = match comm {
                Some(number) => descriptor("--comm-fd", Some(number))?,
                None => descriptor(COMM_FD_VARIABLE, std::env::var_os(COMM_FD_VARIABLE))?,
            };
            send(comm, descriptor(FUSE_FD_VARIABLE, std::env::var_os(FUSE_FD_VARIABLE))?)
        }
    }
}

fn descriptor(name: &'static str, value: Option<OsString>) -> Result<RawFd, FusermountError> {
    let value = value.unwrap_or_default();
    value
        .to_str()
        .and_then(|text| text.parse::<RawFd>().ok())
        .filter(|&number| number >= 0 && is_open(number))
        .ok_or(FusermountError::Descriptor { name, value })
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: the descriptor is only borrowed for one fcntl, which answers EBADF if it is not open; nothing else
    // in this process opens or closes descriptors.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_GETFD).is_ok()
}

fn send(comm: RawFd, fuse: RawFd) -> Result<(), FusermountError> {
    let descriptors = [fuse];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    loop {
        match sendmsg::<()>(comm, &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(cause) => return Err(FusermountError::Send { comm, fuse, cause }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Call, FusermountError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_library_s_command_line_is_understood() {
        for line in [
            "-o nosuid,nodev,fsname=b -- /d", // jacobsa/fuse, bazil.org/fuse, fuser, libfuse
            "/d -o allow_other",              // hanwen/go-fuse
            "-oallow_other /d",
            "--auto-unmount -o x -- /d",
            "-- -odd-directory",
        ] {
            assert_eq!(parsed(line).ok(), Some(Call::Mount(None)), "{line}");
        }
        for line in ["--comm-fd 7 -o x -- /d", "--comm-fd=7 -- /d"] {
            assert_eq!(parsed(line).ok(), Some(Call::Mount(Some("7".into()))), "{line}");
        }
        for line in ["-u /d", "-u -q -z -- /d", "-uz /d"] {
            assert_eq!(parsed(line).ok(), Some(Call::Unmount), "{line}");
        }
        assert_eq!(parsed("--version").ok(), Some(Call::Version));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (line, named) in [("-x /d", "-x"), ("-o", "-o"), ("", "got 0"), ("/a /b", "got 2")] {
            let error = parsed(line).map_err(|error| error.to_string());
            assert!(matches!(&error, Err(text) if text.contains(named)), "{line}: {error:?}");
        }
    }

    #[test]
    fn a_variable_that_names_no_open_descriptor_is_refused() {
        for value in [None, Some(""), Some("x"), Some("-1"), Some("9999")] {
            let error = descriptor(COMM_FD_VARIABLE, value.map(OsString::from));
            assert!(matches!(error, Err(FusermountError::Descriptor { .. })), "{value:?}");
        }
    }
}
