//! The program's commands: what `cargo xtask cluster` and `cargo xtask e2e` call.

mod cluster;

use crate::place::Place;
use crate::{suite, warden};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A real one-node Kubernetes on this machine, in namespaces of its own.
#[derive(Debug, Parser)]
#[command(name = "boathouse-e2e", disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster and leave it running
    Up,
    /// End it; nothing of it stays
    Down,
    /// Run kubectl against it
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Show the log of a component, or which there are
    Logs {
        /// Such as kubelet
        component: Option<String>,
    },
    /// Install the product on a cluster of its own and test it with pods
    Suite {
        /// Print the names of all cases
        #[arg(long)]
        list: bool,
        /// Only cases with one of these in their name
        filters: Vec<String>,
    },
    /// Show the product at work on a cluster of its own
    Demo,
    /// Keeps the namespaces; runs WORK in them
    #[command(hide = true)]
    Warden {
        /// Go on when standard input is closed
        #[arg(long)]
        detached: bool,
        #[arg(last = true)]
        work: Vec<String>,
    },
    /// The process that ends a cluster which is up
    #[command(hide = true)]
    WardenPid,
    /// Process 1 inside
    #[command(hide = true)]
    Init {
        #[arg(last = true)]
        work: Vec<String>,
    },
    /// The work of `up`
    #[command(hide = true)]
    Hold,
    /// The work of `suite`
    #[command(hide = true)]
    Cases { filters: Vec<String> },
    /// The work of `demo`
    #[command(hide = true)]
    Tell,
}

/// Does what the command line says.
///
/// # Errors
/// As the command.
pub fn run() -> anyhow::Result<ExitCode> {
    let place = Place::of_machine();
    match Cli::parse().command {
        Command::Up => cluster::up(&place),
        Command::Down => cluster::down(&place),
        Command::Kubectl { arguments } => cluster::kubectl(&place, &arguments),
        Command::Logs { component } => cluster::logs(&place, component.as_deref()),
        Command::Warden { detached, work } => warden::guard(&place, detached, &work).map(code),
        Command::WardenPid => {
            println!("{}", place.read("warden.pid").unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Command::Init { work } => warden::init(&place, &work).map(code),
        Command::Hold => cluster::hold(&place),
        Command::Suite { list: true, .. } => {
            suite::list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Suite { filters, .. } => {
            suite::outside(&place, &[vec!["cases".to_owned()], filters].concat())
        }
        Command::Demo => suite::outside(&place, &["tell".to_owned()]),
        Command::Tell => suite::tell(&place),
        Command::Cases { filters } => suite::inside(&place, &filters),
    }
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
