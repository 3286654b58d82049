//! Act: the same through FlexVolume.

use crate::demo::files;
use crate::demo::story::{Story, brief};
use crate::demo::world::{Mounted, Through, World};
use anyhow::{Context as _, bail};
use boathouse_testkit::kubelet::Callout;
use std::time::Instant;

const CONTENT: &[u8] = b"written by an old pod\n";

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "The same for a pod that still says flexVolume",
        "Pod legacy-0 uses driver statcan.gc.ca/boathouse. kubelet executes the small static binary boathouse, \
         which asks the node plugin over a unix socket. FlexVolume carries no token: the node's own identity reads \
         the keys, and a fence lets a namespace name only its own path.",
    );
    let users_before = world.users().await?;
    let volume = world.volume(&world.alice, "legacy-0");
    let target = volume.flex_target(&world.node.pods());
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    let path = target.to_str().context("a path that is not UTF-8")?;

    story.call("kubelet: boathouse init", &[]);
    let init = world.callout(&["init"]).await?;
    story.answer(init.output.trim_end());
    let document = volume.document();
    story.call(&format!("kubelet: boathouse mount {path} '{document}'"), &[]);
    let began = Instant::now();
    let mount = world.callout(&["mount", path, &document]).await?;
    let answered = began.elapsed();
    story.answer(mount.output.trim_end());
    story.claim(
        [&init, &mount].into_iter().all(well_formed),
        "both callouts: exit code 0, one line of JSON, nothing on standard error",
    );
    if mount.status() != "Success" {
        bail!("the mount callout was answered with {:?}", mount.status());
    }
    world.mounted.push(Mounted { volume, target: target.clone(), through: Through::Flex });

    let report = target.join("report.txt");
    let read = files::within("read report.txt", move || files::read(&report)).await?;
    story.claim(
        read == b"written by the pod\n",
        &format!(
            "what web-0 wrote reads here, {} after the callout began (answered after {})",
            brief(began.elapsed()),
            brief(answered)
        ),
    );
    let file = target.join("legacy.txt");
    files::within("write legacy.txt", move || files::write(&file, CONTENT)).await?;
    let object = world.stack.minio().get_object(&world.alice.bucket, "legacy.txt").await?;
    story.claim(object == CONTENT, &format!("MinIO has alice/legacy.txt, {} bytes, the same", object.len()));
    let users: Vec<String> = world.users().await?.difference(&users_before).cloned().collect();
    story.claim(
        users.len() == 1,
        &format!("this mount has a MinIO user of its own, not web-0's: {}", users.join(", ")),
    );
    story.end_act();
    Ok(())
}

/// kubelet's contract (FlexVolume, "Driver output").
pub(super) fn well_formed(callout: &Callout) -> bool {
    callout.exit == Some(0)
        && callout.stderr.is_empty()
        && callout.output.trim_end_matches('\n').lines().count() == 1
        && !callout.status().is_empty()
}
