//! One process per FUSE mount: parent of the FUSE daemon, keeper of its keys.

use std::process::ExitCode;

fn main() -> ExitCode {
    boathouse_keeper::run(std::env::args_os())
}
