//! `cargo xtask cluster` and `cargo xtask e2e`: the program of e2e/, built and run.

use crate::tools::Lines;
use anyhow::{Context as _, bail};
use boathouse_testkit::parts::{KubernetesParts, PackagingParts, Parts};
use boathouse_testkit::{programs, requirement};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Start, look at and end a real one-node Kubernetes.
///
/// It runs in namespaces of its own: nothing of it is seen outside, and `down` leaves nothing. Needs root, /dev/fuse
/// and some packages; what is missing is named.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// up; down; kubectl and its arguments; logs and a component
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Which cases.
#[derive(Debug, clap::Args)]
pub(crate) struct Suite {
    /// Print the names of all cases
    #[arg(long)]
    list: bool,
    /// Only cases with one of these in their name
    filters: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.words.first().is_some_and(|word| word == "up") {
        KubernetesParts::obtain(&mut Lines::new())?;
    }
    Err(Command::new(program()?).args(&arguments.words).exec()).context("run boathouse-e2e")
}

pub(crate) fn suite(arguments: &Suite) -> anyhow::Result<ExitCode> {
    let program = program()?;
    if !arguments.list {
        obtain()?;
    }
    let list = arguments.list.then_some("--list");
    Err(Command::new(program).arg("suite").args(list).args(&arguments.filters).exec())
        .context("run boathouse-e2e")
}

/// The demonstration with real pods.
pub(crate) fn demo() -> anyhow::Result<ExitCode> {
    let program = program()?;
    obtain()?;
    Err(Command::new(program).arg("demo").exec()).context("run boathouse-e2e")
}

/// The suite as a step of `cargo xtask test`.
pub(crate) fn test() -> anyhow::Result<()> {
    check("suite")
}

/// The demonstration as a step.
pub(crate) fn demo_test() -> anyhow::Result<()> {
    check("demo")
}

fn check(verb: &str) -> anyhow::Result<()> {
    requirement::for_cluster()?;
    let program = program()?;
    obtain()?;
    let status = Command::new(program).arg(verb).status().context("run boathouse-e2e")?;
    if !status.success() {
        bail!("boathouse-e2e {verb} ended with {status}");
    }
    Ok(())
}

/// With lines that count: the first time takes minutes.
fn obtain() -> anyhow::Result<()> {
    let lines = &mut Lines::new();
    Parts::obtain(lines)?;
    KubernetesParts::obtain(lines)?;
    PackagingParts::obtain(lines)?;
    Ok(())
}

/// The program of e2e/, built.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    Ok(programs::helper("boathouse-e2e", "boathouse-e2e")?)
}
