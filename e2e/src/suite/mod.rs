//! The suite: the product from its own chart and images on a real node, tested with pods.

mod causes;
mod certificates;
mod claims;
mod conformance;
mod identity;
mod keepers;
mod neighbours;
mod node;
mod notebook;
mod packaging;
mod pods;
mod processes;
mod product;
mod runner;
mod story;
mod upstream;
mod volumes;
mod worker;
mod world;

use crate::cluster::Cluster;
use crate::place::Place;
use anyhow::Context as _;
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use runner::Case;
use std::mem::ManuallyDrop;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use world::World;

fn cases() -> Vec<Case<World>> {
    [
        volumes::cases(),
        notebook::cases(),
        certificates::cases(),
        identity::cases(),
        packaging::cases(),
        causes::cases(),
        node::cases(),
        keepers::cases(),
        claims::cases(),
        conformance::cases(),
        upstream::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Prints the names of all cases.
pub fn list() {
    for case in cases() {
        println!("{}", case.short());
    }
}

/// Runs a pod that does nothing, and removes it.
///
/// # Errors
/// When it does not run; its events.
pub fn first_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.apply(&[pods::idle("default", "first")])?;
    pods::running(kubectl, "default", "first")?;
    kubectl.run(&["delete", "pod", "-n", "default", "first", "--wait=false"]).map(drop)
}

/// Builds programs and images, then does `work` (arguments of this program) inside. Ctrl-C ends it and leaves nothing. `cargo
/// xtask` has looked at the machine and got the third-party programs.
///
/// # Errors
/// When the machine lacks something, or something of the run is left on it.
pub fn outside(place: &Place, work: &[String]) -> anyhow::Result<ExitCode> {
    drop(place.lock()?);
    let parts = Parts::locate()?;
    let programs = Programs::build(Profile::Release)?;
    product::images(&programs, &parts)?;
    let before = Snapshot::take()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let code = runtime.block_on(watched(work))?;
    // The warden has ended: whatever there is now stays.
    let left = before.new_in(&Snapshot::take()?.of_cluster());
    anyhow::ensure!(left.is_empty(), "left on the machine:\n  {}", left.join("\n  "));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// The warden ends the run when its standard input closes: when this process says so, or is no more.
async fn watched(work: &[String]) -> anyhow::Result<i32> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(["warden", "--"]).args(work).stdin(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = tokio::process::Command::from(command).spawn().context("start the cluster's warden")?;
    let lifeline = child.stdin.take();
    let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminated.recv() => None,
    };
    let status = match ended {
        Some(status) => status,
        None => {
            drop(lifeline);
            tokio::time::timeout(Duration::from_secs(30), child.wait())
                .await
                .context("the cluster did not end")?
        }
    };
    Ok(status.context("wait for the cluster's warden")?.code().unwrap_or(1))
}

/// The demonstration, inside.
///
/// # Errors
/// When something does not start, or the first claim that is not true.
pub fn tell(place: &Place) -> anyhow::Result<ExitCode> {
    let mut world = world(place)?;
    story::tell(&mut world)?;
    Ok(ExitCode::SUCCESS)
}

/// The cases, inside.
///
/// # Errors
/// When something does not start or a case fails.
pub fn inside(place: &Place, filters: &[String]) -> anyhow::Result<ExitCode> {
    let cases = runner::select(cases(), filters);
    anyhow::ensure!(!cases.is_empty(), "no case has {} in its name", filters.join(" or "));
    let mut world = world(place)?;
    let told = runner::run(&mut *world, &cases).and_then(|()| world.finish());
    if told.is_err() {
        world.keep_logs();
    }
    told?;
    Ok(ExitCode::SUCCESS)
}

/// Never dropped: the namespaces' end takes everything at once, and what lies on disk is the warden's.
fn world(place: &Place) -> anyhow::Result<ManuallyDrop<World>> {
    // Whoever makes the first TLS client of the process decides; make it the one the product uses.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    World::start(place).map(ManuallyDrop::new)
}
