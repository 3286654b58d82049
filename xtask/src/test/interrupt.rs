//! Ctrl-C in the middle of the demonstration: everything must be gone, as after its end.

use crate::tools::Lines;
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::guard::{ProcessGuard, TempTree};
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::requirement;
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Title of the act that is interrupted: two pods are mounted by then, keys rotate, files are written.
const ACT: &str = "Keys rotate under load";
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run() -> anyhow::Result<()> {
    requirement::for_mounting()?;
    // What takes long the first time is not the demonstration's to wait for.
    Parts::obtain(&mut Lines::new())?;
    Programs::build(Profile::Release)?;
    let before = Snapshot::take()?;
    let tree = TempTree::new()?;
    let log = tree.path().join("log");
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("demo");
    let mut demo = ProcessGuard::start("the demonstration", command, &log)?;
    let pid = demo.pid();
    let began = Instant::now();
    while !fs::read_to_string(&log)?.contains(ACT) {
        if !demo.is_running() || began.elapsed() > LIMIT {
            bail!(demo.broken(format!("did not come to the act {ACT:?}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(
        Snapshot::take()?.of_process(pid).lines().any(|line| line.starts_with("mount ")),
        "nothing was mounted"
    );
    demo.signal(Signal::SIGINT)?;
    let status = demo.wait(LIMIT).context("Ctrl-C did not end the demonstration")?;
    ensure!(status.code() == Some(130), "{}", demo.broken(format!("ended with {status} instead of 130")));
    let left = before.new_in(&Snapshot::take()?.of_process(pid));
    ensure!(left.is_empty(), "left after Ctrl-C:\n  {}", left.join("\n  "));
    eprintln!("  interrupted after {:.1} s, and nothing was left", began.elapsed().as_secs_f64());
    Ok(())
}
