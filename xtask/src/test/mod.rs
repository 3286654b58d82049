//! `cargo xtask test`: a sequence of named steps.

mod cluster_ends;
mod deny;
mod fuzz;
mod interrupt;
mod steps;

use crate::ui;
use anyhow::{Context as _, bail};
use boathouse_testkit::requirement;
use std::time::{Duration, Instant};
use steps::{STEPS, Step};

/// Check and test everything, as CI does; or some steps of it.
///
/// Steps run in the order of --list and stop at the first that fails. A step that tests real mounts needs root
/// and /dev/fuse; one that runs third-party programs gets them first.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Run only these steps or groups of steps, for example: --only lint --only unit
    #[arg(long, value_name = "STEP", value_parser = known)]
    only: Vec<String>,
    /// Leave these steps or groups out
    #[arg(long, value_name = "STEP", value_parser = known)]
    skip: Vec<String>,
    /// Go on after a step has failed
    #[arg(long)]
    keep_going: bool,
    /// Print the steps with what each does, and run none
    #[arg(long)]
    list: bool,
}

fn known(name: &str) -> Result<String, String> {
    if STEPS.iter().any(|step| step.is(name)) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    Err(format!("no such step; there are {} and the group lint", names.join(", ")))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| arguments.only.is_empty() || arguments.only.iter().any(|name| step.is(name)))
        .filter(|step| !arguments.skip.iter().any(|name| step.is(name)))
        .collect();
    if arguments.list {
        for step in &chosen {
            println!("{:12} {:6} {}", step.name, step.group, step.about);
        }
        return Ok(());
    }
    if chosen.is_empty() {
        bail!("every step is left out");
    }
    if chosen.iter().any(|step| step.group == "test") {
        // Not an hour from now.
        requirement::for_mounting()?;
    }
    if chosen.iter().any(|step| ["cluster", "e2e", "demo-cluster"].contains(&step.name)) {
        requirement::for_cluster()
            .context("--skip cluster --skip e2e --skip demo-cluster leaves Kubernetes out")?;
    }
    let mut results: Vec<(&Step, Duration, anyhow::Result<()>)> = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        let title = format!("[{}/{}] {}: {}", index + 1, chosen.len(), step.name, step.about);
        eprintln!("\n{}", ui::bold(&title));
        let began = Instant::now();
        let outcome = (step.run)();
        let elapsed = began.elapsed();
        match &outcome {
            Ok(()) => eprintln!("{} {} in {}", step.name, ui::green("passed"), ui::seconds(elapsed)),
            Err(error) => {
                eprintln!("{} {} after {}: {error:#}", step.name, ui::red("failed"), ui::seconds(elapsed))
            }
        }
        let failed = outcome.is_err();
        results.push((step, elapsed, outcome));
        if failed && !arguments.keep_going {
            break;
        }
    }
    summarise(&results, chosen.len())
}

fn summarise(results: &[(&Step, Duration, anyhow::Result<()>)], wanted: usize) -> anyhow::Result<()> {
    println!();
    for (step, elapsed, outcome) in results {
        let word = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("  {word}  {:12} {:>12}", step.name, ui::seconds(*elapsed));
    }
    let failed: Vec<&str> =
        results.iter().filter(|(_, _, outcome)| outcome.is_err()).map(|(step, ..)| step.name).collect();
    println!("steps: {} passed, {} failed", results.len() - failed.len(), failed.len());
    if failed.is_empty() {
        return Ok(());
    }
    let not_run = wanted - results.len();
    let rest = if not_run == 0 { String::new() } else { format!("; {not_run} not run") };
    bail!("{}{rest}", failed.join(", "));
}
