//! `cargo xtask demo`: the main job, shown and measured on this machine with real parts.

mod acts;
mod claims;
mod explore;
mod files;
mod load;
mod prepare;
mod signals;
mod story;
mod users;
mod world;

use crate::{cluster, ui};
use anyhow::bail;
use boathouse_testkit::leftovers::Snapshot;
use prepare::Prepared;
use signals::Signals;
use std::process::ExitCode;
use std::time::Duration;
use story::Story;
use tokio::runtime::Runtime;
use world::World;

/// Show the whole job on this machine: real OpenBao, MinIO, goofys, every claim measured
///
/// As kubelet would, it mounts buckets for pods through CSI and through FlexVolume, rotates keys under load,
/// lets one tenant try to reach another, kills the node plugin and takes everything down again. Each ✓ is
/// measured in this run; one ✗ and the exit code is 1. About a minute, once the programs are built. Needs root
/// and /dev/fuse. Everything runs on loopback and in one directory below /tmp (BOATHOUSE_TEST_DIR sets another),
/// and is removed at the end, on failure and on Ctrl-C (exit code 130; a second Ctrl-C ends at once).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave it running before the last act, print what to type to look around, and end on Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Show it with real pods instead: on a one-node Kubernetes of its own, from the chart and the images
    #[arg(long, conflicts_with = "keep")]
    cluster: bool,
}

/// How a demonstration ended.
enum Ending {
    Shown,
    False(usize),
    Interrupted,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.cluster {
        return cluster::demo();
    }
    Ok(match demonstrate(arguments)? {
        Ending::Shown => ExitCode::SUCCESS,
        Ending::False(_) => ExitCode::FAILURE,
        // What a shell makes of SIGINT.
        Ending::Interrupted => ExitCode::from(130),
    })
}

/// The demonstration as a test.
pub(crate) fn test() -> anyhow::Result<()> {
    match demonstrate(&Arguments { keep: false, cluster: false })? {
        Ending::Shown => Ok(()),
        Ending::False(count) => bail!("{count} claims are false"),
        Ending::Interrupted => bail!("interrupted"),
    }
}

fn demonstrate(arguments: &Arguments) -> anyhow::Result<Ending> {
    prepare::requirements()?;
    let prepared = prepare::programs()?;
    // Whoever makes the first TLS client of the process decides; make it the one the product uses.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let before = Snapshot::take()?.of_this_process();
    let mut story = Story::new();
    let runtime = Runtime::new()?;
    let interrupted = runtime.block_on(perform(arguments, prepared, &mut story));
    // A file operation that hangs may not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let clean = gone(&before, &mut story)?;
    if interrupted? {
        let end = if clean { "everything is removed" } else { "not everything could be removed" };
        story.line(&format!("\nInterrupted after {}; {end}.", ui::seconds(story.elapsed())));
        return Ok(Ending::Interrupted);
    }
    Ok(match story.summarise() {
        0 => Ending::Shown,
        count => Ending::False(count),
    })
}

/// All acts. Answers whether it was interrupted; everything has ended by then, one way or the other.
async fn perform(arguments: &Arguments, prepared: Prepared, story: &mut Story) -> anyhow::Result<bool> {
    let signals = Signals::listen()?;
    let started = tokio::select! {
        () = signals.asked() => return Ok(true),
        started = World::start(prepared, story) => started,
    };
    let mut world = started?;
    signals.leaves(world.stack.tree().path());
    let played = tokio::select! {
        () = signals.asked() => None,
        whole = acts::play(&mut world, story) => Some(whole),
    };
    let mut interrupted = played.is_none();
    if !interrupted && arguments.keep {
        explore::print(&world, story)?;
        story.pause(signals.asked()).await;
        story.line("\nEnding it; Ctrl-C again ends at once.");
    }
    // After --keep the signal that ends the waiting has been taken; the last act then runs to its end.
    if played == Some(true) {
        interrupted = tokio::select! {
            () = signals.asked(), if !arguments.keep => true,
            () = acts::finale(&mut world, story) => false,
        };
    }
    if interrupted {
        story.line("\nInterrupted; removing everything. Ctrl-C again ends at once.");
    }
    world.end(story, interrupted);
    Ok(interrupted)
}

/// The last claim: the machine is as it was. Answers whether it is.
fn gone(before: &Snapshot, story: &mut Story) -> anyhow::Result<bool> {
    let left = before.diff(Duration::from_secs(5))?;
    Ok(story.claim(
        left.is_empty(),
        &if left.is_empty() {
            "the servers have ended, and no process, mount or directory is left".to_owned()
        } else {
            format!("nothing is left, but there is: {}", left.join("; "))
        },
    ))
}
