//! Five hundred keys, users and service accounts, while the plugin, OpenBao and MinIO are killed at random and some
//! callers hang up.
//!
//! Afterwards every MinIO user has a lease or stands in the engine's log; once the log's time has come, the users are
//! those of the leases, no more and no fewer; and when the leases end there are none. Only a lease whose caller hung up
//! may have lost its user already.
//!
//! The log keeps a key that is being made for ten minutes, and one whose lease was lost with the plugin or OpenBao
//! until the end of the longest life that lease could have had. The case dates these entries back in OpenBao's
//! storage instead of waiting, and then waits for the rollback that OpenBao asks for every minute.

mod callers;
mod truth;

use crate::engine::{mounted, plugins, soon};
use crate::scene::eventually;
use crate::world::{Case, Shared, apart};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Host, Mount, Stack};
use callers::{Callers, Done, End};
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
    vec![apart!(users_are_those_of_the_leases_whoever_dies)]
}

/// The mount; its users' names begin with it and a dash.
const MOUNT: &str = "chaos";
/// One makes users, the other service accounts.
const ROLES: [&str; 2] = ["user", "account"];
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

async fn users_are_those_of_the_leases_whoever_dies(shared: &Shared) -> anyhow::Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is not a number"))?,
        Err(_) => rand::random::<u64>(),
    };
    let mut random = StdRng::seed_from_u64(seed);
    let host = Host::openbao(&shared.parts).with("raw_storage_endpoint", json!(true));
    let mut stack = Stack::start_on(host, &shared.parts, &shared.programs).await?;
    let mount = mounted(&stack, MOUNT).await?;
    for (role, kind) in ROLES.into_iter().zip(["user", "service_account"]) {
        let role_body =
            json!({ "credential_type": kind, "policy": "readonly", "user_name_prefix": mount.prefix() });
        mount.write(&format!("roles/{role}"), &role_body).await?;
    }

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
        "seed {seed}: {} keys, {} failed requests (the slowest took {:.1} s), {} hang-ups, {kills} kills",
        done.keys.len(),
        done.failed,
        done.slowest.as_secs_f64(),
        done.hung_up,
    );
    // What was asked of MinIO while it started can be missing in its memory, or only there. Its drive is right.
    stack.minio_mut().restart().await?;
    let end = settle(&stack, &done).await.with_context(|| counts.clone())?;
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
async fn settle(stack: &Stack, Done { keys, hung_up, .. }: &Done) -> anyhow::Result<String> {
    let mount = Mount::at(stack.vault(), stack.minio(), MOUNT);
    let truth = Truth::of(&mount).await?;
    // A revocation that failed is repeated, as its caller would; one that OpenBao has queued, too.
    for key in keys.iter().filter(|key| key.end == End::Asked) {
        soon("revoke again", async || mount.revoke(&key.lease).await).await?;
    }

    quiet(&mount, &truth).await?;
    let all_leased = truth.leased().await?;
    let users = made(&mount).await?;
    let logged = truth.logged().await?;
    // Whoever hangs up has the key revoked, and the host may have stored its lease in that instant. No one was told.
    let dead = minus(&all_leased, &users);
    let told: Vec<_> = keys.iter().map(|key| &key.user).filter(|user| dead.contains(*user)).collect();
    ensure!(told.is_empty(), "leases without a user, of callers that have an answer: {told:?}");
    ensure!(dead.len() <= *hung_up, "leases without a user, more than callers that hung up: {dead:?}");
    let leased = minus(&all_leased, &dead);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
    let doomed: Vec<_> =
        leased.iter().filter(|user| logged.get(*user).is_some_and(|date| *date <= now)).collect();
    ensure!(doomed.is_empty(), "users of leases that a rollback would delete: {doomed:?}");
    for key in keys {
        let (lives, expected) = (leased.contains(&key.user), key.end == End::Lives);
        ensure!(lives == expected, "{} has a lease: {lives}, although it ends as {:?}", key.user, key.end);
    }
    let (admin, accounts) = (stack.minio().admin(), stack.minio().service_accounts()?);
    for user in &leased {
        // The rights of a service account are its parent's.
        let account = if accounts.contains(user) { admin.service_account(user).await? } else { None };
        let user = account.map_or_else(|| user.clone(), |account| account.parent);
        let info = admin.user_info(&user).await?;
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
    let after = made(&mount).await?;
    let (many, few) = (minus(&after, &all_leased), minus(&leased, &after));
    ensure!(many.is_empty() && few.is_empty(), "after the rollback: {many:?} too many, {few:?} too few");
    ensure!(truth.leased().await? == all_leased, "the rollback ended leases");

    let prefix = format!("sys/leases/revoke-prefix/{MOUNT}/keys");
    stack.vault().write(&prefix, &json!({ "sync": false })).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    for role in ROLES {
        while !mount.leases(role).await?.is_empty() {
            ensure!(Instant::now() < deadline, "{} leases do not end", mount.leases(role).await?.len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let left = made(&mount).await?;
    ensure!(left.is_empty(), "left by the leases: {left:?}");
    // The service accounts' parent goes with the mount.
    mount.finish().await?;
    Ok(format!(
        "{} leases at the end, {} of nobody's keys, {} users rolled back",
        leased.len(),
        dead.len(),
        strays.len()
    ))
}

/// Waits until what was begun for callers that hung up is done: nothing changes for a while. The log protects a key that
/// is being made for ten minutes, and the case takes that protection away.
async fn quiet(mount: &Mount<'_>, truth: &Truth<'_>) -> anyhow::Result<()> {
    const QUIET: Duration = Duration::from_secs(4);
    let deadline = Instant::now() + ROLLBACK_LIMIT;
    let look = async || anyhow::Ok((made(mount).await?, truth.logged().await?, truth.leased().await?));
    let (mut last, mut since) = (None, Instant::now());
    while since.elapsed() < QUIET || last.is_none() {
        ensure!(Instant::now() < deadline, "users, leases or the log still change");
        tokio::time::sleep(Duration::from_millis(500)).await;
        // What ends between being listed and being read is a change too.
        let now = look().await.ok();
        if now.is_none() || now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// The users and service accounts there are, without the accounts' parent.
async fn made(mount: &Mount<'_>) -> anyhow::Result<BTreeSet<String>> {
    let parent = format!("{}{}-parent-", mount.prefix(), ROLES[1]);
    let (mut made, accounts) = (mount.users().await?, mount.minio().service_accounts()?);
    made.extend(accounts.into_iter().filter(|account| account.starts_with(mount.prefix())));
    Ok(made.into_iter().filter(|user| !user.starts_with(&parent)).collect())
}

fn minus(all: &BTreeSet<String>, some: &BTreeSet<String>) -> BTreeSet<String> {
    all.difference(some).cloned().collect()
}
