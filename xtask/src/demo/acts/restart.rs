//! Act: the node plugin is killed.

use crate::demo::load::Load;
use crate::demo::story::{Story, brief, count};
use crate::demo::users::Watch;
use crate::demo::world::World;
use anyhow::Context as _;
use std::time::{Duration, Instant};

/// How long it stays away.
const AWAY: Duration = Duration::from_secs(2);
/// The keys of etl-0 live 8 s.
const ROTATES_WITHIN: Duration = Duration::from_secs(15);
/// What the node plugin logs when it has found the mounts of an earlier run.
const ADOPTED: &str = "took over what an earlier run left";

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "The node plugin is killed, the mounts are not",
        "Each mount has a keeper of its own, which outlives the node plugin. After SIGKILL the mounts work on; the \
         next start finds the keepers, takes the leases over and goes on rotating, without kubelet's help.",
    );
    let target = world.mounted("etl-0")?.target;
    let (daemons, mounts) = (world.processes("goofys"), world.fuse_mounts());
    let log = world.log_length();
    let load = Load::on(&target);
    tokio::time::sleep(Duration::from_millis(500)).await;

    let pid = world.node.pid().context("the node plugin does not run")?;
    story.call(&format!("kill -KILL {pid}"), &[]);
    let status = world.node.crash().context("the node plugin did not run")?;
    story.answer(&format!("boathouse-node ended: {status}"));
    let before = load.tally();
    tokio::time::sleep(AWAY).await;
    let away = load.tally();
    let done = away.total().saturating_sub(before.total());
    story.claim(
        away.errors.is_empty() && done > 0,
        &format!("{} operations in the {} without it, {}", count(done), brief(AWAY), away.failures()),
    );

    let mut watch = Watch::new(world.users().await?);
    story.call("boathouse-node, as the DaemonSet would start it again", &[]);
    let began = Instant::now();
    world.node.restart().await.context("start boathouse-node again")?;
    let ready = began.elapsed();
    let lines = world.log_from(log);
    let line = lines.iter().find(|line| line.contains(ADOPTED)).cloned().unwrap_or_default();
    story.answer(&line);
    story.claim(
        line.contains(&format!("alive={mounts} dead=0")),
        &format!("ready after {}, all {mounts} mounts found and taken over", brief(ready)),
    );

    while watch.seen() == 0 && watch.elapsed() < ROTATES_WITHIN {
        tokio::time::sleep(Duration::from_millis(100)).await;
        watch.look(&world.users().await?);
    }
    let took = watch.elapsed();
    // The old keys are revoked by the plugin that did not make them.
    let deadline = Instant::now() + ROTATES_WITHIN;
    let mut users = world.users().await?;
    while users.len() > mounts && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        users = world.users().await?;
    }
    story.claim(
        watch.seen() > 0,
        &format!("it goes on rotating: the next user {} after {}", watch.alive().join(", "), brief(took)),
    );
    story.claim(
        users.len() == mounts,
        &format!("and revoking: {} MinIO users for {mounts} mounts", users.len()),
    );
    let tally = load.end().await;
    story.claim(
        tally.errors.is_empty() && tally.total() > away.total(),
        &format!("{} before, during and after: {}", tally.text(), tally.failures()),
    );
    let same = world.processes("goofys") == daemons;
    story.claim(same, &format!("the same {} goofys processes as before", daemons.len()));
    story.end_act();
    Ok(())
}
