//! What is behind the mount does not work: the cause is named, in time, and nothing is left.

use crate::scene::{Scene, eventually, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(a_missing_bucket),
        beside!(a_missing_role),
        beside!(an_endpoint_that_refuses),
        beside!(an_endpoint_that_never_answers),
        beside!(a_daemon_that_is_not_there),
        beside!(a_daemon_that_dies),
        beside!(a_daemon_that_never_serves),
        beside!(a_daemon_killed_during_publish),
        beside!(a_daemon_that_hangs_is_unpublished_in_time),
    ]
}

async fn a_missing_bucket(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "nobucket").await?;
    stack.minio().delete_bucket("nobucket").await?;
    let volume = scene.volume("nb");
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(answer, Code::NotFound, &["nobucket", "does not exist"])?;
    ensure!(!volume.csi_target(&scene.node.pods()).exists(), "a target was left");
    // Fixed: the same pod starts without being made again.
    stack.minio().create_bucket("nobucket").await?;
    let target = scene.node.publish(stack.identities(), &volume).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn a_missing_role(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "norole").await?;
    stack.vault().delete("minio/roles/profile-norole").await?;
    let answer = scene.node.publish(stack.identities(), &scene.volume("nb")).await;
    refused(answer, Code::NotFound, &["role", "profile-norole"])?;
    scene.finish(stack).await
}

async fn an_endpoint_that_refuses(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "refusing").await?;
    // Bound and not listening: nobody else can take it.
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let port = socket.local_addr()?.port();
    let volume = scene.volume("nb").with("endpoint", &format!("http://127.0.0.1:{port}"));
    let began = Instant::now();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(answer, Code::Unavailable, &["cannot be reached", &port.to_string()])?;
    ensure!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    scene.finish(stack).await
}

async fn an_endpoint_that_never_answers(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::with(shared, stack, "silent", |options| options.flag("--s3-timeout", "2s")).await?;
    // Accepts connections (the kernel does) and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let volume = scene.volume("nb").with("endpoint", &address);
    let began = Instant::now();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(answer, Code::DeadlineExceeded, &["no answer within"])?;
    ensure!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    scene.finish(stack).await
}

async fn a_daemon_that_is_not_there(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let started =
        Scene::with(shared, stack, "absent", |options| options.flag("--goofys", "/nowhere/goofys")).await;
    let Err(error) = started else { anyhow::bail!("started without a daemon") };
    let text = format!("{error:#}");
    ensure!(text.contains("/nowhere/goofys") && text.contains("--goofys"), "{text}");
    Ok(())
}

/// A fake FUSE daemon: a script, for what goofys does not do on command.
pub(crate) fn fake_daemon(stack: &Stack, name: &str, script: &str) -> anyhow::Result<PathBuf> {
    let path = stack.tree().directory(name)?.join("fake-daemon");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

async fn a_daemon_that_dies(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let fake = fake_daemon(stack, "fake-dying", "echo 'fatal: out of oars' >&2; exit 3")?;
    let scene = Scene::with(shared, stack, "dying", |options| options.flag("--goofys", fake)).await?;
    let volume = scene.volume("nb");
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(answer, Code::Internal, &["exit code 3", "out of oars"])?;
    ensure!(!volume.csi_target(&scene.node.pods()).exists(), "a target was left");
    scene.finish(stack).await
}

async fn a_daemon_that_never_serves(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let fake = fake_daemon(stack, "fake-idle", "exec /bin/sleep 1000")?;
    let scene = Scene::with(shared, stack, "idle-daemon", |options| {
        options.flag("--goofys", fake).flag("--publish-timeout", "3s")
    })
    .await?;
    let volume = scene.volume("nb");
    let began = Instant::now();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(answer, Code::DeadlineExceeded, &["no answer within"])?;
    let took = began.elapsed();
    ensure!(took >= Duration::from_secs(2) && took < Duration::from_secs(20), "took {took:?}");
    ensure!(!volume.csi_target(&scene.node.pods()).exists(), "a target was left");
    scene.finish(stack).await
}

async fn a_daemon_killed_during_publish(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let fake = fake_daemon(stack, "fake-sleeping", "exec /bin/sleep 1000")?;
    let scene = Scene::with(shared, stack, "killed", |options| options.flag("--goofys", fake)).await?;
    let volume = scene.volume("nb");
    let began = Instant::now();
    let publishing = scene.node.publish(stack.identities(), &volume);
    let killing = async {
        eventually("the daemon runs", Duration::from_secs(10), || !sleepers(&scene).is_empty()).await?;
        for pid in sleepers(&scene) {
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        anyhow::Ok(())
    };
    let (answer, killed) = tokio::join!(publishing, killing);
    killed?;
    refused(answer, Code::Internal, &["SIGKILL"])?;
    ensure!(began.elapsed() < Duration::from_secs(15), "took {:?}", began.elapsed());
    scene.finish(stack).await
}

/// `sleep` processes whose parent is a keeper of this scene.
fn sleepers(scene: &Scene) -> Vec<i32> {
    let keepers = scene.processes("boathouse-keeper");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            stat.contains("(sleep)") && parent.is_some_and(|parent| keepers.contains(&parent))
        })
        .collect()
}

async fn a_daemon_that_hangs_is_unpublished_in_time(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "hung").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let pid = *scene.processes("goofys").first().context("no daemon")?;
    kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
    // Each thread stops when it is next about to run.
    while !stopped(pid)? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let condition = scene.node.stats(&target).await?.volume_condition.context("no condition")?;
    ensure!(condition.abnormal && condition.message.contains("hung"), "{condition:?}");
    // A republish of a mounted target is never an error.
    scene.node.publish(stack.identities(), &volume).await?;
    let began = Instant::now();
    scene.node.unpublish(&volume.id(), &target).await?;
    ensure!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    scene.finish(stack).await
}

/// Whether all threads of a process are stopped (proc(5), `/proc/pid/stat`).
fn stopped(pid: i32) -> anyhow::Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        // Behind the name, which is in parentheses and may hold anything.
        if !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}
