//! `cargo xtask cluster` and `cargo xtask e2e`: the program of e2e/, built and run.

use crate::tools::Lines;
use anyhow::{Context as _, bail};
use boathouse_testkit::parts::{KubernetesParts, NeighbourParts, PackagingParts, Parts};
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
    // The only one that starts something; the others find no cluster without it.
    if arguments.words.first().is_some_and(|word| word == "up") {
        requirement::for_cluster()?;
        KubernetesParts::obtain(&mut Lines::new())?;
    }
    Err(Command::new(program()?).args(&arguments.words).exec()).context(RUN)
}

pub(crate) fn suite(arguments: &Suite) -> anyhow::Result<ExitCode> {
    let mut command = if arguments.list { Command::new(program()?) } else { prepared_for_suite()? };
    let list = arguments.list.then_some("--list");
    Err(command.arg("suite").args(list).args(&arguments.filters).exec()).context(RUN)
}

/// The demonstration with real pods.
pub(crate) fn demo() -> anyhow::Result<ExitCode> {
    Err(prepared()?.arg("demo").exec()).context(RUN)
}

/// The suite as a step of `cargo xtask test`.
pub(crate) fn test() -> anyhow::Result<()> {
    check(prepared_for_suite()?, "suite")
}

/// The demonstration as a step.
pub(crate) fn demo_test() -> anyhow::Result<()> {
    check(prepared()?, "demo")
}

fn check(mut program: Command, verb: &str) -> anyhow::Result<()> {
    let status = program.arg(verb).status().context(RUN)?;
    if !status.success() {
        bail!("boathouse-e2e {verb} ended with {status}");
    }
    Ok(())
}

const RUN: &str = "run boathouse-e2e";

/// The program of e2e/ on a machine that has what a cluster takes, with everything that it looks for. The first time
/// takes minutes: there are lines that count.
fn prepared() -> anyhow::Result<Command> {
    requirement::for_cluster()?;
    let lines = &mut Lines::new();
    Parts::obtain(lines)?;
    KubernetesParts::obtain(lines)?;
    PackagingParts::obtain(lines)?;
    Ok(Command::new(program()?))
}

/// The suite has programs of others beside the product.
fn prepared_for_suite() -> anyhow::Result<Command> {
    let command = prepared()?;
    NeighbourParts::obtain(&mut Lines::new())?;
    Ok(command)
}

/// The program of e2e/, built.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    Ok(programs::helper("boathouse-e2e", "boathouse-e2e")?)
}
