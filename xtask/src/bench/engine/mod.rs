//! `cargo xtask bench engine`: keys from the secrets engine against the bare MinIO calls that it makes for them.

mod bare;
mod bodies;
mod ours;
mod report;

use super::process::{pss, running};
use super::{document, machine, statistics::Series};
use crate::{session, tools::Lines};
use anyhow::{Context as _, ensure};
use bare::Bare;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::stack::{Host, Stack};
use ours::Ours;
use std::path::PathBuf;
use std::time::Duration;

/// Life of leases: longer than any run.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Rounds that warm caches and connections, and do not count.
const WARM_UP: u32 = 10;
/// Who asks at the same time where a rate is measured.
const CALLERS: u32 = 8;

/// Time for a key, revocations per second, and memory of the secrets engine, against the bare MinIO calls
///
/// Each round measures, in turn: a read of keys/ROLE through OpenBao; the two MinIO admin calls that the engine
/// makes for it, without OpenBao and plugin; a revocation through OpenBao. Beside these, a read through the plugin
/// that does not need MinIO, and one write to OpenBao's storage. Then keys are made by several callers until
/// there are enough, memory is measured, and all are revoked. OpenBao keeps its storage in memory unless told
/// otherwise: the disk's time is not the engine's.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// How often each kind is measured
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many keys memory is measured at
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Let OpenBao keep its storage on this machine's disk (raft), not in memory
    #[arg(long)]
    on_disk: bool,
    /// Put the result into this file, between the lines that mark its place
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// All results of one run.
#[derive(Debug, Default)]
struct Results {
    keys: Series,
    bare: Series,
    revoke: Series,
    /// Through OpenBao and the plugin, without MinIO.
    role: Series,
    /// One write to OpenBao's own storage.
    storage: Series,
    rates: Rates,
    /// PSS of the plugin before the first key, bytes.
    idle: u64,
    /// The same when there are all keys.
    loaded: u64,
    bodies: Vec<bodies::Cost>,
}

/// By several callers at once, per second.
#[derive(Debug, Default)]
struct Rates {
    keys: f64,
    revokes: f64,
    /// Bare removals of users.
    removals: f64,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // This program makes the bare calls; it has to be compiled as the plugin is.
    if cfg!(debug_assertions) {
        return super::optimised();
    }
    let parts = Parts::obtain(&mut Lines::new())?;
    let programs = Programs::build(Profile::Release)?;
    let machine = machine::describe();
    let results = session::run(measure(arguments, &parts, &programs))?;
    let section = report::section(arguments, &machine, &results);
    println!("{section}");
    match &arguments.write {
        Some(path) => document::write(path, "engine", &section),
        None => Ok(()),
    }
}

async fn measure(arguments: &Arguments, parts: &Parts, programs: &Programs) -> anyhow::Result<Results> {
    let host = Host::openbao(parts);
    let host = if arguments.on_disk { host } else { host.in_memory() };
    let stack = Stack::start_on(host, parts, programs).await.context("start OpenBao and MinIO")?;
    let tenant = stack.tenant("bench", LIFE).await?;
    let ours = Ours { vault: stack.vault(), tenant: &tenant };
    let mut bare = Bare::new(stack.minio().admin(), &tenant.role);
    let mut results = Results { idle: memory(&stack).await?, ..Results::default() };
    for round in 0..WARM_UP {
        one_round(round, &ours, &mut bare, &mut Results::default()).await?;
    }
    for round in 0..arguments.rounds {
        eprint!("\r  round {} of {}", round + 1, arguments.rounds);
        one_round(round, &ours, &mut bare, &mut results).await?;
    }
    eprintln!();
    let (leases, keys_rate) = ours.many(arguments.keys).await?;
    results.loaded = memory(&stack).await?;
    results.rates = Rates {
        keys: keys_rate,
        revokes: ours.revoke_all(leases).await?,
        removals: bare.remove_all(arguments.keys).await?,
    };
    let left = tenant.users_among(&stack.minio_users().await?);
    ensure!(left.is_empty(), "{} MinIO users are left after all revocations", left.len());
    results.bodies = bodies::measure(&stack, arguments.rounds).await?;
    Ok(results)
}

async fn one_round(
    round: u32,
    ours: &Ours<'_>,
    bare: &mut Bare<'_>,
    results: &mut Results,
) -> anyhow::Result<()> {
    // Whoever comes first in one round comes second in the next.
    if round.is_multiple_of(2) {
        results.bare.push(bare.make().await?);
    }
    let (lease, took) = ours.issue().await?;
    results.keys.push(took);
    if !round.is_multiple_of(2) {
        results.bare.push(bare.make().await?);
    }
    results.revoke.push(ours.revoke(&lease).await?);
    results.role.push(ours.read_role().await?);
    results.storage.push(ours.write_storage().await?);
    Ok(())
}

/// PSS of the plugin, bytes.
async fn memory(stack: &Stack) -> anyhow::Result<u64> {
    // Whatever a request leaves to do in the background is done by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pids = running(stack.tree().path(), "vault-plugin-secrets-minio")?;
    let [pid] = pids.as_slice() else { anyhow::bail!("one mount should be one plugin, there are {pids:?}") };
    pss(*pid)
}
