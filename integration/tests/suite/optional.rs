//! Optional volumes: what is not available is an empty directory, until it is.

use crate::flex::{flex_scene, mount, unmount};
use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, alone, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::stack::Stack;
use nix::errno::Errno;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone!(an_optional_volume_starts_without_minio_and_fills_when_it_is_back),
        alone!(an_optional_volume_waits_ten_seconds_for_a_minio_that_hangs),
        beside!(an_optional_volume_starts_without_its_bucket_or_its_right_to_it),
        beside!(an_optional_flexvolume_starts_empty_and_goes),
    ]
}

/// Source and read-only flag of every mount on a path.
fn stacked(target: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let table = boathouse_mounts::table()?;
    let here = table.into_iter().filter(|entry| entry.mount_point == target);
    Ok(here.map(|entry| (entry.source.to_string_lossy().into_owned(), entry.read_only)).collect())
}

/// The target is a placeholder and nothing else: empty, readable by everybody, writable by nobody.
fn stands_in(target: &Path) -> anyhow::Result<()> {
    let mounts = stacked(target)?;
    ensure!(mounts == [("boathouse-unavailable".to_owned(), true)], "{mounts:?}");
    ensure!(fs::read_dir(target)?.count() == 0, "the placeholder is not empty");
    let written = fs::write(target.join("f"), "x").map_err(|error| error.raw_os_error());
    ensure!(written == Err(Some(Errno::EROFS as i32)), "{written:?}");
    Ok(())
}

/// Republishes as kubelet does until the volume is there. The secrets engine leaves a MinIO that was away alone for a few
/// seconds.
async fn mounted(scene: &Scene, stack: &Stack, volume: &PodVolume, target: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while stacked(target)?.len() < 2 {
        ensure!(began.elapsed() < Duration::from_secs(30), "never mounted\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.node.publish(stack.identities(), volume).await?;
    }
    Ok(())
}

async fn an_optional_volume_starts_without_minio_and_fills_when_it_is_back(
    shared: &Shared,
    stack: &mut Stack,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(shared, stack, "optional").await?;
    let needed = scene.volume("needed");
    let volume = scene.volume("nb").with("optional", "true");
    let fleeting = scene.volume("fleeting").with("optional", "true");
    stack.minio_mut().stop();
    let down = async {
        ensure!(scene.node.publish(stack.identities(), &needed).await.is_err(), "it is not optional");
        ensure!(!needed.csi_target(&scene.node.pods()).exists());
        refused(
            scene.node.publish(stack.identities(), &volume.clone().with("uid", "x")).await,
            Code::InvalidArgument,
            &["uid"],
        )?;
        let target = scene.node.publish(stack.identities(), &volume).await?;
        stands_in(&target)?;
        let condition = scene.node.stats(&target).await?.volume_condition.context("no condition")?;
        ensure!(condition.abnormal && condition.message.contains("stands in"), "{condition:?}");
        // Quietly, and nothing is stacked; not even by a node plugin that knows only the mount table.
        scene.node.publish(stack.identities(), &volume).await?;
        let log = fs::read_to_string(scene.node.log())?;
        ensure!(log.matches("an empty directory stands in").count() == 1, "{log}");
        scene.node.crash();
        scene.node.restart().await?;
        scene.node.publish(stack.identities(), &volume).await?;
        stands_in(&target)?;

        let gone = scene.node.publish(stack.identities(), &fleeting).await?;
        stands_in(&gone)?;
        scene.node.unpublish(&fleeting.id(), &gone).await?;
        ensure!(!gone.exists() && stacked(&gone)?.is_empty(), "unpublish left something");
        Ok(target)
    }
    .await;
    stack.minio_mut().restart().await?;
    let target = down?;

    mounted(&scene, stack, &volume, &target).await?;
    fs::write(target.join("f"), "x")?;
    ensure!(stack.minio().get_object("optional", "f").await? == b"x");
    scene.node.publish(stack.identities(), &volume).await?;
    let mounts = stacked(&target)?;
    ensure!(mounts.len() == 2 && mounts[1].0.starts_with("boathouse:"), "{mounts:?}");
    // `optional` is a property of the target: the mount is shared with volumes that are not.
    let beside = scene.node.publish(stack.identities(), &needed).await?;
    ensure!(scene.mounts().len() == 1);
    scene.node.unpublish(&needed.id(), &beside).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    ensure!(!target.exists() && stacked(&target)?.is_empty(), "unpublish left something");
    scene.finish(stack).await
}

async fn an_optional_volume_waits_ten_seconds_for_a_minio_that_hangs(
    shared: &Shared,
    stack: &mut Stack,
) -> anyhow::Result<()> {
    let scene =
        Scene::with(shared, stack, "optional-hang", |options| options.flag("--s3-timeout", "30s")).await?;
    // Its keys are there already, so only the bucket is waited for.
    let other = scene.volume("other");
    let other_target = scene.node.publish(stack.identities(), &other).await?;
    let volume = scene.volume("nb").with("bucket", "shared").with("optional", "true");
    stack.minio().pause()?;
    let began = Instant::now();
    let answer = scene.node.publish(stack.identities(), &volume).await;
    let took = began.elapsed();
    let shown = answer.as_ref().map(|target| stands_in(target));
    stack.minio().resume()?;
    shown.map_err(Clone::clone)??;
    ensure!((9..14).contains(&took.as_secs()), "took {took:?}");
    let target = volume.csi_target(&scene.node.pods());
    mounted(&scene, stack, &volume, &target).await?;
    fs::read_dir(&target)?.count();
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.node.unpublish(&other.id(), &other_target).await?;
    scene.finish(stack).await
}

async fn an_optional_volume_starts_without_its_bucket_or_its_right_to_it(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "optional-no").await?;
    let volume = scene.volume("nb").with("optional", "1");
    for (volume, cause) in [
        (volume.clone().with("bucket", "optional-nowhere"), "denied"),
        (volume.clone().with("vault-path", "minio/keys/profile-somebody-else"), "denied"),
        (volume.with("endpoint", "http://127.0.0.1:1"), "cannot be reached"),
    ] {
        let target = scene.node.publish(stack.identities(), &volume).await?;
        stands_in(&target)?;
        let log = fs::read_to_string(scene.node.log())?;
        let said = log.lines().rfind(|line| line.contains("stands in")).unwrap_or_default();
        ensure!(said.contains(cause) || said.contains("does not exist"), "{cause}: {said}");
        scene.node.unpublish(&volume.id(), &target).await?;
        ensure!(!target.exists());
    }
    scene.finish(stack).await
}

async fn an_optional_flexvolume_starts_empty_and_goes(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = flex_scene(shared, stack, "optional-flex").await?;
    let volume = scene.volume("nb").with("endpoint", "http://127.0.0.1:1");
    let target = volume.flex_target(&scene.node.pods());
    let callout = mount(&scene, shared, &volume)?;
    ensure!(callout.status() == "Failure" && callout.message().contains("cannot be reached"), "{callout:?}");
    let callout = mount(&scene, shared, &volume.with("optional", "true"))?;
    ensure!(callout.status() == "Success", "{callout:?}");
    stands_in(&target)?;
    ensure!(unmount(&scene, shared, &target)?.message().starts_with("unmounted"));
    ensure!(target.is_dir() && stacked(&target)?.is_empty());
    scene.finish(stack).await
}
