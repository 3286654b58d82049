//! `boathouse-e2e`: see `--help`, or `cargo xtask cluster`.

#![allow(clippy::print_stderr, reason = "a command-line program talks to a person")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match boathouse_e2e::command::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
