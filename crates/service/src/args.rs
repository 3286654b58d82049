//! Command lines whose environment may be filled by a template: a variable that is set to nothing counts as unset.

use clap::builder::Resettable;
use clap::{Arg, Parser};
use std::ffi::OsString;

/// Reads arguments and environment. The program's name comes first.
///
/// # Errors
/// clap's, ready to be shown; also for `--help` and `--version`.
pub fn read<A: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<A, clap::Error> {
    let mut command = A::command().mut_args(without_empty_variable);
    let matches = command.try_get_matches_from_mut(arguments)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn without_empty_variable(arg: Arg) -> Arg {
    let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if empty { arg.env(Resettable::Reset) } else { arg }
}
