//! `cargo xtask sanity`: upstream csi-sanity against the release binaries.

mod data;
mod report;
mod rig;

use crate::{session, tools::Lines, ui};
use anyhow::bail;
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use report::Outcome;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Run upstream csi-sanity against the release binaries
///
/// Starts OpenBao with the secrets engine, MinIO, the node plugin and the controller, and runs every case of
/// csi-sanity that the announced capabilities allow. Prints the skip list, the counts, and for every capability
/// that is not announced why. Needs root and /dev/fuse; takes about a minute once the programs are built.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Only cases whose full name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    focus: Option<String>,
    /// Keep csi-sanity's own report (Ginkgo's JSON) in this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Every case, as `cargo xtask test` runs it.
pub(crate) fn all() -> anyhow::Result<()> {
    run(&Arguments { focus: None, report: None })
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let skips = data::skip_list()?;
    let reasons = data::reasons()?;
    let parts = Parts::obtain(&mut Lines::new())?;
    let programs = Programs::build(Profile::Release)?;
    let before = Snapshot::take()?;
    let began = Instant::now();
    let run = session::run(rig::conduct(&parts, &programs, &skips, arguments.focus.as_deref()))?;
    let took = began.elapsed();
    let left = before.diff(Duration::from_secs(5))?;
    if let Some(path) = &arguments.report {
        std::fs::write(path, &run.report)?;
    }
    let cases = report::parse(&run.report)?;
    show_skip_list(&skips);
    let unexplained = show_cases(&cases, &reasons, took);
    let mut wrong = Vec::new();
    let failed = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_))).count();
    if failed > 0 {
        wrong.push(format!("{failed} cases failed"));
        println!("\nthe end of the node plugin's log:\n{}", run.node_log);
        println!("\nthe end of the controller's log:\n{}", run.controller_log);
    } else if !run.succeeded {
        wrong.push(format!("csi-sanity failed although no case did; it said:\n{}", run.output));
    }
    if !unexplained.is_empty() {
        wrong.push(format!("csi-sanity/capabilities.json has no reason for: {}", unexplained.join(", ")));
    }
    if arguments.focus.is_none() {
        let unused = report::unused(&cases, &reasons);
        if !unused.is_empty() {
            let list = unused.join(", ");
            wrong.push(format!("no case is left out for these of csi-sanity/capabilities.json: {list}"));
        }
        if !cases.iter().any(|case| case.outcome == Outcome::Passed) {
            wrong.push("no case ran".to_owned());
        }
    }
    wrong.extend(run.left);
    wrong.extend(left.iter().map(|thing| format!("left on the machine: {thing}")));
    if wrong.is_empty() {
        println!("\nnothing was left: no MinIO user, mount, process or directory");
        return Ok(());
    }
    bail!("{}", wrong.join("\n  and: "));
}

fn show_skip_list(skips: &[String]) {
    println!("\nskip list (csi-sanity/skip.txt): {} entries", skips.len());
    for skip in skips {
        println!("  {skip}");
    }
}

/// Prints what came of the cases; gives the capabilities that lack a reason.
fn show_cases(cases: &[report::Case], reasons: &[data::Reason], took: Duration) -> Vec<String> {
    let count = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let capability = count(|outcome| matches!(outcome, Outcome::ByCapability(_)));
    let left_out = count(|outcome| matches!(outcome, Outcome::LeftOut));
    let off = count(|outcome| matches!(outcome, Outcome::Off));
    println!(
        "csi-sanity: {} cases, {} ran in {}: {passed} passed, {failed} failed; \
         {capability} skipped by capability, {left_out} by the skip list or --focus, {off} switched off upstream",
        cases.len(),
        passed + failed,
        ui::seconds(took)
    );
    for case in cases {
        match &case.outcome {
            Outcome::Failed(Some(why)) => println!("\n{} {}\n{why}", ui::red("failed:"), case.name),
            Outcome::Failed(None) => {
                println!("{} {}: an earlier one left its target", ui::red("failed:"), case.name);
            }
            Outcome::Off => println!("  off: {}", case.name),
            Outcome::Passed | Outcome::ByCapability(_) | Outcome::LeftOut => {}
        }
    }
    let (groups, unexplained) = report::by_capability(cases, reasons);
    if !groups.is_empty() {
        println!("\nskipped because the capability is not announced:");
    }
    for group in groups {
        println!("  {:3}  {:35} {}", group.cases, group.capability, group.reason);
    }
    unexplained
}
