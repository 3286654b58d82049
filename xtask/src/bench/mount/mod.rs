//! `cargo xtask bench mount`: our publish against goofys started by hand, interleaved, in one run.

mod memory;
mod ours;
mod raw;
mod report;

use super::{document, machine, statistics::Series};
use crate::{session, tools::Lines};
use anyhow::Context as _;
use boathouse_testkit::node::{NodeOptions, NodeProcess};
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::stack::{AUTH_MOUNT, AUTH_ROLE, SHARED_BUCKET, Stack};
use memory::Memory;
use ours::Ours;
use raw::Raw;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Object whose first byte ends a measurement; the second one is read where somebody has read the first.
const OBJECTS: [&str; 2] = ["first", "second"];
const OBJECT: [u8; 1024] = [b'b'; 1024];
/// Life of tokens and leases: longer than any run, so that no rotation falls into it.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Time from the ask for a mount to the first byte read, and memory, against raw goofys
///
/// Each round measures, in turn: goofys started by hand as root with static keys; our publish with a fresh key
/// from Vault; our publish of another bucket for the same pod, so with the key already there; our publish for
/// a second pod that shares the mount. goofys gets the same flags everywhere. Beside these, a Vault login by
/// itself and the unpublish of the last pod. Then memory is measured with one mount and with many.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// How often each kind is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many mounts, each with keys of its own, memory is measured at
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..))]
    mounts: u32,
    /// Put the result into this file, between the lines that mark its place
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// All series of one run.
#[derive(Debug, Default)]
struct Times {
    raw: Series,
    fresh: Series,
    cached: Series,
    shared: Series,
    /// A login at Vault by itself.
    login: Series,
    /// The last unpublish of a pod, with which its mount and its keys go.
    unpublish: Series,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let parts = Parts::obtain(&mut Lines::new())?;
    let programs = Programs::build(Profile::Release)?;
    let machine = machine::describe();
    let (times, memory) = session::run(measure(arguments, &parts, &programs))?;
    let section = report::section(arguments.rounds, arguments.mounts, &machine, &times, &memory);
    println!("{section}");
    match &arguments.write {
        Some(path) => document::write(path, "mount", &section),
        None => Ok(()),
    }
}

async fn measure(
    arguments: &Arguments,
    parts: &Parts,
    programs: &Programs,
) -> anyhow::Result<(Times, Vec<Memory>)> {
    let stack = Stack::start(parts, programs).await.context("start OpenBao and MinIO")?;
    let tenant = stack.tenant("bench", LIFE).await?;
    for bucket in [tenant.bucket.as_str(), SHARED_BUCKET] {
        for object in OBJECTS {
            stack.minio().put_object(bucket, object, &OBJECT).await?;
        }
    }
    let mut node = NodeProcess::start("node", parts, programs, stack.tree(), options(&stack)?).await?;
    let mut times = Times::default();
    {
        let raw = Raw::new(&stack, &tenant, parts).await?;
        let ours = Ours { stack: &stack, tenant: &tenant, node: &node, static_user: raw.user() };
        // The first round warms caches and says how our goofys is called; it does not count.
        let goofys = ours.round(&mut Times::default()).await?;
        raw.measure(&goofys).await?;
        for round in 0..arguments.rounds {
            eprintln!("  round {} of {}", round + 1, arguments.rounds);
            // Whoever comes first in one round comes second in the next.
            if round % 2 == 0 {
                times.raw.push(raw.measure(&goofys).await?);
                ours.round(&mut times).await?;
            } else {
                ours.round(&mut times).await?;
                times.raw.push(raw.measure(&goofys).await?);
            }
        }
    }
    node.restart().await?;
    let memory = memory::measure(&stack, &node, arguments.mounts).await?;
    node.stop();
    Ok((times, memory))
}

/// The node plugin as an operator would run it; no pace made for tests.
fn options(stack: &Stack) -> anyhow::Result<NodeOptions> {
    Ok(NodeOptions::default()
        .flag("--vault-addr", stack.bao().address())
        .flag("--vault-auth-mount", AUTH_MOUNT)
        .flag("--vault-auth-kind", "jwt")
        .flag("--vault-role", AUTH_ROLE)
        .flag("--s3-endpoint", stack.minio().url())
        .flag("--metrics-addr", format!("127.0.0.1:{}", boathouse_testkit::free_port()?)))
}

/// Lets what the last measurement set in motion come to rest: OpenBao and MinIO still write about keys that were made
/// or revoked when the answer has long come.
async fn quiet() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// Opens a file and reads its first byte.
fn first_byte(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.read_exact(&mut [0])
}
