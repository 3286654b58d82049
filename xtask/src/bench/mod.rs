//! `cargo xtask bench`: measurements. They inform; no test depends on a timing.

mod document;
mod engine;
mod machine;
mod mount;
mod process;
mod statistics;
mod webhook;

use anyhow::Context as _;
use clap::Subcommand;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Measure, on this machine, in one run
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Time from the ask for a mount to the first byte read, and memory, against raw goofys
    Mount(mount::Arguments),
    /// Time for a key, revocations per second and memory of the secrets engine, against bare MinIO calls
    Engine(engine::Arguments),
    /// Time for a review, reviews per second and memory of the webhook
    Webhook(webhook::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Mount(arguments) => mount::run(arguments),
        What::Engine(arguments) => engine::run(arguments),
        What::Webhook(arguments) => webhook::run(arguments),
    }
}

/// Goes on as a release build of this program, with the same arguments. Returns only when that does not start.
fn optimised() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = boathouse_testkit::repository().join("Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--package", "xtask", "--manifest-path"]).arg(manifest);
    command.arg("--").args(std::env::args_os().skip(1));
    Err(command.exec()).context("start cargo")
}
