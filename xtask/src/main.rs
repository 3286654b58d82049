//! The menu: everything a developer does here beside editing. `cargo xtask --help` shows it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to a person")]

mod bench;
mod cli;
mod cluster;
mod demo;
mod docs;
mod images;
mod sanity;
mod session;
mod test;
mod tools;
mod ui;

use clap::Parser as _;
use cli::{Cli, Task};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Tools(arguments) => tools::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Sanity(arguments) => sanity::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Cluster(arguments) => cluster::run(&arguments),
        Task::E2e(arguments) => cluster::suite(&arguments),
        Task::Images(arguments) => images::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Docs(arguments) => docs::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\n{} {error:#}", ui::red("error:"));
            ExitCode::FAILURE
        }
    }
}
