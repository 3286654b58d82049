//! `cargo xtask bench`: measurements. They inform; no test depends on a timing.

mod machine;
mod mount;
mod statistics;

use clap::Subcommand;

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
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Mount(arguments) => mount::run(arguments),
    }
}
