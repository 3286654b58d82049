//! Five hundred keys while the plugin, OpenBao and MinIO are killed at random.
//!
//! Afterwards every MinIO user has a lease or stands in the engine's log; once the log's time has come, the users are
//! those of the leases, no more and no fewer; and when the leases end there are none.
//!
//! The log keeps a key that is being made for ten minutes, and one whose lease was lost with the plugin or OpenBao
//! until the end of the longest life that lease could have had. The case dates these entries back in OpenBao's
//! storage instead of waiting, and then waits for the rollback that OpenBao asks for every minute.

mod callers;
mod truth;

use crate::engine::{Mount, plugins, soon};
use crate::scene::eventually;
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Stack;
use callers::{Callers, End, Key};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use truth::Truth;

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(users_are_those_of_the_leases_whoever_dies)]
}

/// The mount; its users' names begin with it and a dash.
const MOUNT: &str = "chaos";
const KEYS: usize = 500;
const CALLERS: usize = 6;
/// For all keys. A dead server is back after a second or two.
const CHAOS_LIMIT: Duration = Duration::from_secs(180);
/// OpenBao asks for a rollback every minute.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(75);
/// Set to a printed seed, it makes the same schedule again; what is in flight at a kill stays chance.
const SEED: &str = "BOATHOUSE_KILL_SEED";

#[derive(Debug, Clone, Copy)]
enum Victim {
    Plugin,
    Minio,
    Bao,
}

/// Who dies, and after how many keys.
fn schedule(random: &mut StdRng) -> Vec<(usize, Victim)> {
    let mut victims = [[Victim::Plugin; 9].as_slice(), &[Victim::Minio; 5], &[Victim::Bao; 4]].concat();
    victims.shuffle(random);
    let mut times: Vec<usize> = victims.iter().map(|_| random.random_range(10..KEYS - 10)).collect();
    times.sort_unstable();
    times.into_iter().zip(victims).collect()
}

async fn users_are_those_of_the_leases_whoever_dies(shared: &Shared, _: &Stack) -> anyhow::Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is not a number"))?,
        Err(_) => rand::random::<u64>(),
    };
    let mut random = StdRng::seed_from_u64(seed);
    let mut stack = Stack::start(&shared.parts, &shared.programs).await?;
    stack.bao_mut().reconfigure(&json!({ "raw_storage_endpoint": true })).await?;
    Mount::new(&stack, MOUNT).await?;

    let schedule = schedule(&mut random);
    let kills = schedule.len();
    let callers = Callers::start(stack.vault(), &mut random);
    for (after, victim) in schedule {
        callers.until(after).await?;
        // Not always at a request's end.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
        strike(victim, &mut stack, &mut random).await.with_context(|| format!("seed {seed}: {victim:?}"))?;
    }
    let done = callers.finish().await.with_context(|| format!("seed {seed}"))?;
    let counts = format!(
        "seed {seed}: {} keys, {} failed requests (the slowest took {:.1} s), {kills} kills",
        done.keys.len(),
        done.failed,
        done.slowest.as_secs_f64(),
    );
    // What was asked of MinIO while it started can be missing in its memory, or only there. Its drive is right.
    stack.minio_mut().restart().await?;
    let end = settle(&stack, &done.keys).await.with_context(|| counts.clone())?;
    eprintln!("  {counts}, {end}");
    Ok(())
}

/// Kills one; returns when it is back. The plugin is brought back by OpenBao when it is needed.
async fn strike(victim: Victim, stack: &mut Stack, random: &mut StdRng) -> anyhow::Result<()> {
    let absence = Duration::from_millis(random.random_range(0..400));
    match victim {
        Victim::Plugin => {
            eventually("a plugin", Duration::from_secs(20), || !plugins(stack).is_empty()).await?;
            for pid in plugins(stack) {
                // One that has just ended is no loss.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        Victim::Minio => {
            crash(stack.minio().pid())?;
            tokio::time::sleep(absence).await;
            stack.minio_mut().restart().await?;
        }
        Victim::Bao => {
            if random.random() {
                // Its plugin lives on for a while and finds nobody to answer to.
                crash(stack.bao().pid())?;
            } else {
                stack.bao_mut().stop();
            }
            tokio::time::sleep(absence).await;
            stack.bao_mut().restart().await?;
        }
    }
    Ok(())
}

fn crash(pid: Option<u32>) -> anyhow::Result<()> {
    let pid = pid.context("it does not run")?;
    Ok(kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?)
}

/// All servers are up and nobody asks for anything. What was made must add up, and go.
async fn settle(stack: &Stack, keys: &[Key]) -> anyhow::Result<String> {
    let mount = Mount { stack, path: MOUNT };
    let truth = Truth::of(&mount).await?;
    // A revocation that failed is repeated, as its caller would; one that OpenBao has queued, too.
    for key in keys.iter().filter(|key| key.end == End::Asked) {
        let body = json!({ "lease_id": key.lease, "sync": true });
        soon("revoke again", async || stack.vault().write("sys/leases/revoke", &body).await).await?;
    }

    let leased = truth.leased().await?;
    let users = user_set(&mount).await?;
    let logged = truth.logged().await?;
    ensure!(leased.is_subset(&users), "leases without a user: {:?}", minus(&leased, &users));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
    let doomed: Vec<_> =
        leased.iter().filter(|user| logged.get(*user).is_some_and(|date| *date <= now)).collect();
    ensure!(doomed.is_empty(), "users of leases that a rollback would delete: {doomed:?}");
    for key in keys {
        let (lives, expected) = (leased.contains(&key.user), key.end == End::Lives);
        ensure!(lives == expected, "{} has a lease: {lives}, although it ends as {:?}", key.user, key.end);
    }
    for user in &leased {
        let info = stack.minio().admin().user_info(user).await?;
        ensure!(info.policies().eq(["readonly"]), "{user}: {info:?}");
    }
    let strays = minus(&users, &leased);
    let lost: Vec<_> = strays.iter().filter(|user| !logged.contains_key(*user)).collect();
    ensure!(lost.is_empty(), "users that neither a lease nor the log knows: {lost:?}");

    truth.age_log(&leased).await?;
    let deadline = Instant::now() + ROLLBACK_LIMIT;
    let pending = async || {
        let logged = truth.logged().await?.into_keys().collect();
        anyhow::Ok(minus(&logged, &leased))
    };
    while !pending().await?.is_empty() {
        ensure!(Instant::now() < deadline, "not rolled back: {:?}", pending().await?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let after = user_set(&mount).await?;
    ensure!(
        after == leased,
        "after the rollback: {:?} too many, {:?} too few",
        minus(&after, &leased),
        minus(&leased, &after)
    );
    ensure!(truth.leased().await? == leased, "the rollback ended leases");

    let prefix = format!("sys/leases/revoke-prefix/{MOUNT}/keys/r");
    stack.vault().write(&prefix, &json!({ "sync": false })).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !mount.leases().await?.is_empty() {
        ensure!(Instant::now() < deadline, "{} leases do not end", mount.leases().await?.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stack.vault().delete(&format!("sys/mounts/{MOUNT}")).await?;
    let left = user_set(&mount).await?;
    ensure!(left.is_empty(), "left at the end: {left:?}");
    Ok(format!("{} leases at the end, {} users rolled back", leased.len(), strays.len()))
}

async fn user_set(mount: &Mount<'_>) -> anyhow::Result<BTreeSet<String>> {
    Ok(mount.users().await?.into_iter().collect())
}

fn minus(all: &BTreeSet<String>, some: &BTreeSet<String>) -> BTreeSet<String> {
    all.difference(some).cloned().collect()
}
