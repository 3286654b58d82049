//! The keeper's binary, run as the node plugin runs it, with a fake FUSE daemon.
//!
//! Needs root, as the keeper does: the daemon runs as another user. Instead of `/dev/fuse` the daemon is handed
//! one end of a socket pair; the test holds the other, gives orders over it and sees by its end that nobody
//! keeps the daemon's end open.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says why")]

mod confinement;
mod control;
mod fake_daemon;
mod fixture;
mod keys;
mod launching;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == "fake-daemon") {
        return fake_daemon::main();
    }
    let arguments = Arguments::from_args();
    if !arguments.list && !nix::unistd::geteuid().is_root() {
        eprintln!("these tests start processes as another user: run them as root");
        return ExitCode::FAILURE;
    }
    let installed = fixture::install();
    let trials =
        [confinement::trials(), control::trials(), keys::trials(), launching::trials()].concat_trials();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(installed);
    conclusion.exit_code()
}

/// Joins the modules' lists.
trait Concat {
    fn concat_trials(self) -> Vec<Trial>;
}

impl<const N: usize> Concat for [Vec<Trial>; N] {
    fn concat_trials(self) -> Vec<Trial> {
        self.into_iter().flatten().collect()
    }
}

/// A list of [`Trial`]s from functions, named after them.
macro_rules! trials {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(libtest_mimic::Trial::test(
                concat!(module_path!(), "::", stringify!($name)),
                || { $name(); Ok(()) },
            )),+]
        }
    };
}
pub(crate) use trials;
