//! One process per FUSE mount: parent of the FUSE daemon, keeper of its keys.
//!
//! A keeper outlives the node plugin that started it. It is told everything by that plugin, over the socket it
//! inherits as stdin and later over its control socket (`proto/boathouse/keeper/v1/keeper.proto` is the
//! contract), and decides nothing itself: it runs the FUSE daemon without privileges, hands it the current keys on
//! a loopback address, and reports what became of it. When the daemon exits the keeper stays to be asked why,
//! until it is told to shut down. When the keeper dies, so does its daemon.
//!
//! Under the name `fusermount3` or `fusermount` the same binary is the stand-in that hands the daemon its
//! `/dev/fuse` descriptor ([`fusermount`]).
//!
//! What a daemon's description may rely on: the descriptor is open as number [`DAEMON_FUSE_FD`] (so a daemon that
//! takes its mount point as `/dev/fd/N` is given `/dev/fd/100`), the working directory is `/`, and the environment
//! holds nothing but what [`daemon`] lists.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::ExitCode;

mod ask;
pub mod control;
pub mod credentials;
pub mod daemon;
pub mod endpoint;
pub mod fusermount;
pub mod http;
pub mod hygiene;
pub mod latch;
pub mod launch;
pub mod output;
pub mod secret;
pub mod time;

mod keeper;

/// The number under which the FUSE daemon finds its open `/dev/fuse`.
pub const DAEMON_FUSE_FD: RawFd = 100;

/// Tells the `fusermount` stand-in, in its environment, the number of the descriptor to hand over.
pub const FUSE_FD_VARIABLE: &str = "BOATHOUSE_FUSE_FD";

const HELP: &str = "\
Runs one FUSE daemon without privileges and hands it the keys of its mount.

Usage: boathouse-keeper [--help | --version | --ask list|statfs PATH]

This program is started by boathouse-node, one per mount, with a unix socket as its stdin; there is nothing to
type. Everything it needs (the /dev/fuse descriptor, the daemon, the keys) arrives over that socket, so that no
secret is ever in an argument, the environment or a file. Afterwards it answers on the control socket of its
mount until it is told to shut down.

With --ask it answers one question about a mounted directory and ends; boathouse-node asks this way, because a
FUSE mount that hangs holds whoever asks it.

Under the name fusermount3 or fusermount it is the stand-in that gives the FUSE daemon its descriptor.
";

/// Does what the program's name and arguments ask for; the whole of `main`.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    if name == "fusermount3" || name == "fusermount" {
        return fusermount::run(arguments);
    }
    let arguments: Vec<OsString> = arguments.collect();
    match arguments.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
        [] => keep(),
        [a] if a == "--help" || a == "-h" => say(HELP),
        [a] if a == "--version" || a == "-V" => {
            say(concat!("boathouse-keeper ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        [ask, question, path] if ask == "--ask" => ask::run(question, Path::new(path))
            .unwrap_or_else(|| complain(question, "is not a question; ask list or statfs")),
        [a, ..] => complain(a, "is not an argument of boathouse-keeper; see --help"),
    }
}

fn keep() -> ExitCode {
    if !hygiene::stdin_is_socket() {
        return complain(
            OsStr::new("stdin"),
            "is not a unix socket: boathouse-keeper is started by boathouse-node; see --help",
        );
    }
    match keeper::run() {
        Ok(()) => ExitCode::SUCCESS,
        // The cause went to the node plugin as the LaunchReply; stderr is /dev/null by now.
        Err(_) => ExitCode::FAILURE,
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(what: &OsStr, why: &str) -> ExitCode {
    // A failed write to stderr leaves nowhere to report it; the exit code still tells.
    let _ = writeln!(std::io::stderr(), "boathouse-keeper: {} {why}", what.display());
    ExitCode::from(2)
}
