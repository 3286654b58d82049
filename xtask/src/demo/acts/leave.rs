//! Act: the pods go.

use crate::demo::story::{Story, brief};
use crate::demo::world::{Through, World};
use anyhow::{Context as _, anyhow, ensure};
use boathouse_testkit::leftovers::Snapshot;
use std::fs;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "The pods go, and nothing is left",
        "Keys die with the mount: when its last target goes, the lease is revoked and Vault deletes the MinIO user. \
         The objects stay.",
    );
    let had = world.users().await?.len();
    let count = world.mounted.len();
    for one in std::mem::take(&mut world.mounted) {
        let path = one.target.to_str().context("a path that is not UTF-8")?.to_owned();
        let began = Instant::now();
        match one.through {
            Through::Csi => {
                story.call(&format!("kubelet: NodeUnpublishVolume {path}"), &[]);
                let answer = world.node.unpublish(&one.volume.id(), &one.target).await;
                answer.map_err(|status| {
                    anyhow!("unpublish {path}: {:?}: {}", status.code(), status.message())
                })?;
                story.answer(&format!("OK after {}", brief(began.elapsed())));
            }
            Through::Flex => {
                story.call(&format!("kubelet: boathouse unmount {path}"), &[]);
                let callout = world.callout(&["unmount", &path]).await?;
                story.answer(&format!("{} after {}", callout.output.trim_end(), brief(began.elapsed())));
                ensure!(callout.status() == "Success", "unmount {path}: {}", callout.output);
                // FlexVolume: kubelet removes the directory it made. It does so only when it is empty.
                fs::remove_dir(&one.target).with_context(|| format!("remove {path}"))?;
            }
        }
        story_target(story, &one.target);
    }
    let began = Instant::now();
    let users = world.users_gone(PATIENCE).await?;
    story.claim(
        users.is_empty() && had >= count,
        &format!(
            "{} of {had} MinIO users are left, {} after the last answer",
            users.len(),
            brief(began.elapsed())
        ),
    );
    let mut leases = 0;
    for tenant in [&world.alice, &world.bob] {
        leases += world.stack.vault().leases(&tenant.role).await?.len();
    }
    story.claim(leases == 0, &format!("Vault has {leases} leases of the engine"));
    let mut left = machine(world)?;
    while !left.is_empty() && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = machine(world)?;
    }
    let detail = if left.is_empty() { String::new() } else { format!(": {}", left.join("; ")) };
    story.claim(
        left.is_empty(),
        &format!(
            "{} mounts, keepers, goofys, mount directories or notes of tokens are left{detail}",
            left.len()
        ),
    );
    let object = world.stack.minio().get_object(&world.alice.bucket, "report.txt").await;
    story.claim(object.is_ok(), "alice/report.txt is still in MinIO");
    story.end_act();
    Ok(())
}

/// CSI: the plugin removes its target path. A target that still exists is a false claim; most do not.
fn story_target(story: &mut Story, target: &std::path::Path) {
    if target.symlink_metadata().is_ok() {
        story.claim(false, &format!("{} is gone", target.display()));
    }
}

/// What was not there before the first mount.
fn machine(world: &World) -> anyhow::Result<Vec<String>> {
    let mut left = world.before.new_in(&Snapshot::take()?.of_this_process());
    // The node plugin was started again since.
    left.retain(|line| !world.node.pid().is_some_and(|pid| line.starts_with(&format!("process {pid} "))));
    for directory in ["state/mounts", "run/leases"] {
        let path = world.node.directory().join(directory);
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        left.extend(entries.map(|entry| format!("file {}", entry.path().display())));
    }
    Ok(left)
}
