//! Nothing takes a mount down but its own pod; nothing is forgotten in a crash.

use crate::rotation::Load;
use crate::scene::{Scene, eventually};
use crate::world::{Case, Shared, beside};
use anyhow::ensure;
use boathouse_testkit::stack::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(a_killed_node_plugin_disturbs_no_mount_and_goes_on_rotating),
        beside!(a_stopped_node_plugin_disturbs_no_mount),
        beside!(a_pod_that_goes_while_the_node_plugin_is_away),
        beside!(node_plugin_and_keeper_die_together),
        beside!(a_killed_keeper_takes_its_daemon_along),
        beside!(no_two_daemons_share_a_user),
        beside!(a_second_node_plugin_on_the_same_directories_is_refused),
    ]
}

async fn a_killed_node_plugin_disturbs_no_mount_and_goes_on_rotating(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "killed-node").await?;
    let volume = scene.volume("nb").with("vault-ttl", "10s");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let daemons = scene.processes("goofys");
    let load = Load::on(&target);
    let mut seen: BTreeSet<String> = scene.users(stack).await?.into_iter().collect();
    for _ in 0..2 {
        scene.node.crash();
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.node.restart().await?;
        // It goes on rotating without kubelet having said anything.
        let before = seen.len();
        let began = Instant::now();
        while seen.len() == before && began.elapsed() < Duration::from_secs(20) {
            seen.extend(scene.users(stack).await?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        ensure!(seen.len() > before, "no rotation after a restart\n{}", scene.log());
    }
    let (operations, errors) = load.end();
    ensure!(errors.is_empty(), "{} of {operations} failed: {:?}", errors.len(), errors.first());
    ensure!(scene.processes("goofys") == daemons, "the daemon was replaced");
    // It knows the mount: a republish is no work, an unpublish takes everything away.
    scene.node.publish(stack.identities(), &volume).await?;
    ensure!(scene.processes("goofys") == daemons);
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn a_stopped_node_plugin_disturbs_no_mount(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "stopped-node").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let status = scene.node.stop();
    ensure!(status.is_some_and(|status| status.success()), "{status:?}\n{}", scene.log());
    fs::write(target.join("while-away"), "1")?;
    scene.node.restart().await?;
    ensure!(fs::read(target.join("while-away"))? == b"1");
    // A second pod shares the mount that was found.
    let second = scene.volume("second");
    let other = scene.node.publish(stack.identities(), &second).await?;
    ensure!(scene.mounts().len() == 1 && scene.users(stack).await?.len() == 1, "the mount was not shared");
    scene.node.unpublish(&second.id(), &other).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn a_pod_that_goes_while_the_node_plugin_is_away(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "gone-pod").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    scene.node.crash();
    // As a cleanup by hand, or a crash between unmounting and taking down, leaves it.
    boathouse_mounts::detach_all(&target, |_| true)?;
    scene.node.restart().await?;
    scene.wait_for_users(stack, 0).await?;
    eventually("the mount is taken down", Duration::from_secs(10), || scene.mounts().is_empty()).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn node_plugin_and_keeper_die_together(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "both-die").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let first = scene.users(stack).await?;
    scene.node.crash();
    for pid in scene.processes("boathouse-keeper") {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    ensure!(scene.users(stack).await? == first, "somebody else revoked");
    scene.node.restart().await?;
    scene.wait_for_users(stack, 0).await?;
    scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("healed"), "1")?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn a_killed_keeper_takes_its_daemon_along(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "keeper").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    for pid in scene.processes("boathouse-keeper") {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    eventually("the daemon is gone", Duration::from_secs(5), || scene.processes("goofys").is_empty()).await?;
    ensure!(fs::read_dir(&target).is_err(), "a dead mount answers");
    // kubelet's republish, once the node plugin has noticed.
    let began = Instant::now();
    loop {
        scene.node.publish(stack.identities(), &volume).await?;
        if fs::write(target.join("healed"), "1").is_ok() {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "nobody noticed\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

/// A dead mount stays at its targets until they are unpublished. What was its user's may then be given away, and not
/// what is its successor's.
async fn no_two_daemons_share_a_user(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "daemon-uids").await?;
    let old = scene.volume("old");
    let dead = scene.node.publish(stack.identities(), &old).await?;
    let daemons = scene.processes("goofys");
    ensure!(daemons.len() == 1, "{daemons:?}");
    kill(Pid::from_raw(daemons[0]), Signal::SIGKILL)?;
    let began = Instant::now();
    while !scene.has_logged("a mount is dead") {
        ensure!(began.elapsed() < Duration::from_secs(20), "nobody noticed\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let new = scene.volume("new");
    let alive = scene.node.publish(stack.identities(), &new).await?;
    scene.node.unpublish(&old.id(), &dead).await?;
    let other = scene.volume("other").with("bucket", "shared");
    let third = scene.node.publish(stack.identities(), &other).await?;
    let users: BTreeSet<u32> = scene
        .processes("goofys")
        .into_iter()
        .map(|pid| fs::metadata(format!("/proc/{pid}")).map(|entry| entry.uid()))
        .collect::<Result<_, _>>()?;
    ensure!(users.len() == 2, "two daemons run as {users:?}");
    scene.node.unpublish(&new.id(), &alive).await?;
    scene.node.unpublish(&other.id(), &third).await?;
    scene.finish(stack).await
}

async fn a_second_node_plugin_on_the_same_directories_is_refused(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "second").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let second = std::process::Command::new(&shared.programs.node)
        .env_clear()
        .arg("--state-dir")
        .arg(scene.node.directory().join("state"))
        .arg("--run-dir")
        .arg(scene.node.directory().join("run"))
        .output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(second.status.code() == Some(1), "{}: {said}", second.status);
    ensure!(said.contains("another boathouse-node uses this directory"), "{said}");
    // A SIGKILL leaves no lock behind, and the first one noticed nothing.
    scene.node.crash();
    scene.node.restart().await?;
    ensure!(fs::read_dir(&target).is_ok());
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}
