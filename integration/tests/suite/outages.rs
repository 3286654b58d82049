//! Vault or MinIO away: publishes fail with the cause, running mounts do not notice.

use crate::rotation::Load;
use crate::scene::{Scene, eventually, refused, write_and_close};
use crate::world::{Case, Shared, alone};
use anyhow::ensure;
use boathouse_testkit::stack::Stack;
use std::fs;
use std::time::{Duration, Instant};
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone!(vault_sealed_or_hanging_or_down_at_publish),
        alone!(vault_down_at_rotation_then_back),
        alone!(vault_down_beyond_the_lease_then_back),
        alone!(vault_down_at_unpublish),
    ]
}

async fn vault_sealed_or_hanging_or_down_at_publish(
    shared: &Shared,
    stack: &mut Stack,
) -> anyhow::Result<()> {
    let scene =
        Scene::with(shared, stack, "no-vault", |options| options.flag("--vault-timeout", "2s")).await?;
    let volume = scene.volume("nb");
    stack.bao().seal().await?;
    refused(scene.node.publish(stack.identities(), &volume).await, Code::Unavailable, &["sealed"])?;
    stack.bao().unseal().await?;

    stack.bao().pause()?;
    let began = Instant::now();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    let took = began.elapsed();
    stack.bao().resume()?;
    refused(answer, Code::Unavailable, &["Vault"])?;
    ensure!(took < Duration::from_secs(6), "took {took:?}");

    stack.bao_mut().stop();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    stack.bao_mut().restart().await?;
    refused(answer, Code::Unavailable, &["Vault", "cannot be reached"])?;

    let target = scene.node.publish(stack.identities(), &volume).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn vault_down_at_rotation_then_back(shared: &Shared, stack: &mut Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "rotate-down").await?;
    let volume = scene.volume("nb").with("vault-ttl", "40s");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let first = scene.users(stack).await?;
    let load = Load::on(&target);
    stack.bao_mut().stop();
    // Rotation is due after 24 to 30 of 40 seconds and cannot work.
    let failed = || scene.has_logged("the mounts keep their present keys");
    eventually("a rotation fails", Duration::from_secs(35), failed).await?;
    stack.bao_mut().restart().await?;
    let began = Instant::now();
    while scene.users(stack).await?.contains(&first[0]) {
        ensure!(began.elapsed() < Duration::from_secs(40), "never rotated\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (operations, errors) = load.end();
    ensure!(errors.is_empty(), "{} of {operations} failed: {:?}", errors.len(), errors.first());
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn vault_down_beyond_the_lease_then_back(shared: &Shared, stack: &mut Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "expire-down").await?;
    let volume = scene.volume("nb").with("vault-ttl", "6s");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("f"), "1")?;
    stack.bao_mut().stop();
    tokio::time::sleep(Duration::from_secs(8)).await;
    // An error, and soon: not a hang.
    let began = Instant::now();
    let path = target.join("unseen");
    let write = tokio::task::spawn_blocking(move || write_and_close(&path, b"1"));
    let answer = tokio::time::timeout(Duration::from_secs(20), write).await;
    stack.bao_mut().restart().await?;
    let answer = answer.map_err(|_| anyhow::anyhow!("the mount hangs when its keys have expired"))??;
    ensure!(answer.is_err(), "writing worked with expired keys");
    ensure!(began.elapsed() < Duration::from_secs(30));
    let began = Instant::now();
    while write_and_close(&target.join("again"), b"1").is_err() {
        ensure!(began.elapsed() < Duration::from_secs(30), "never recovered\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(fs::read(target.join("f"))? == b"1");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn vault_down_at_unpublish(shared: &Shared, stack: &mut Stack) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "unpublish-down").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    stack.bao_mut().stop();
    let began = Instant::now();
    scene.node.unpublish(&volume.id(), &target).await?;
    ensure!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    ensure!(!target.exists());
    // Even the node plugin goes before Vault is back: what is to be revoked was noted.
    scene.node.crash();
    stack.bao_mut().restart().await?;
    ensure!(scene.users(stack).await?.len() == 1, "there is nothing left to revoke");
    scene.node.restart().await?;
    scene.wait_for_users(stack, 0).await?;
    scene.finish(stack).await
}
