//! Act: an inline volume through CSI.

use crate::demo::files;
use crate::demo::story::{Story, brief};
use crate::demo::world::{Mounted, Through, World, look_at_process};
use anyhow::Context as _;
use boathouse_testkit::leftovers::Snapshot;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

const GREETING: &[u8] = b"put into the bucket before there was a pod\n";
const REPORT: &[u8] = b"written by the pod\n";

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "A bucket as a directory, through CSI",
        "Pod web-0 in namespace alice has an inline volume of driver boathouse.statcan.gc.ca. kubelet hands the \
         node plugin the pod's own service-account token; with it the plugin logs in to Vault and reads the path. \
         The secrets engine makes a MinIO user that did not exist before. No key is in any file.",
    );
    world.stack.minio().put_object(&world.alice.bucket, "greeting.txt", GREETING).await?;
    let volume = world.volume(&world.alice, "web-0");
    let users_before = world.users().await?;

    story.call(
        "kubelet: NodePublishVolume",
        &[
            ("target_path", &volume.csi_target(&world.node.pods()).display().to_string()),
            (
                "volumeAttributes",
                &format!("bucket={} vault-path={}", world.alice.bucket, world.alice.vault_path),
            ),
            ("token", "of system:serviceaccount:alice:default, audience vault, bound to pod web-0"),
        ],
    );
    let began = Instant::now();
    let published = world.node.publish(world.stack.identities(), &volume).await;
    let answered = began.elapsed();
    let target = published
        .map_err(|status| anyhow::anyhow!("NodePublishVolume: {:?}: {}", status.code(), status.message()))?;
    world.mounted.push(Mounted { volume, target: target.clone(), through: Through::Csi });
    let greeting = target.join("greeting.txt");
    let content = files::within("read greeting.txt", move || files::read(&greeting)).await?;
    let first_byte = began.elapsed();
    story.answer(&format!("OK after {}", brief(answered)));
    story.claim(
        content == GREETING,
        &format!("the first file reads as it was put there, {} after kubelet's call", brief(first_byte)),
    );

    story.call(&format!("pod: echo written by the pod > {}/report.txt", target.display()), &[]);
    let report = target.join("report.txt");
    let owner = files::within("write report.txt", move || {
        files::write(&report, REPORT)?;
        let metadata = report.metadata()?;
        Ok((metadata.uid(), metadata.gid()))
    })
    .await?;
    let object = world.stack.minio().get_object(&world.alice.bucket, "report.txt").await?;
    story.claim(
        object == REPORT && owner == (1000, 100),
        &format!(
            "MinIO has alice/report.txt, {} bytes, the same; in the pod it belongs to {}:{}",
            object.len(),
            owner.0,
            owner.1
        ),
    );

    let users: Vec<String> = world.users().await?.difference(&users_before).cloned().collect();
    story.claim(users.len() == 1, &format!("one MinIO user exists for this pod: {}", users.join(", ")));
    let user = users.first().context("no MinIO user was made")?;
    let info = world.stack.minio().admin().user_info(user).await?;
    let policies: Vec<&str> = info.policies().collect();
    story.claim(
        policies == [world.alice.role.as_str()],
        &format!("its only policy is {}, which is about bucket {}", policies.join(", "), world.alice.bucket),
    );
    processes(world, story, user)
}

fn processes(world: &World, story: &mut Story, user: &str) -> anyhow::Result<()> {
    let (daemons, keepers) = (world.processes("goofys"), world.processes("boathouse-keeper"));
    let daemon = *daemons.first().context("no goofys runs")?;
    let (uid, key_shows) = look_at_process(daemon, user)?;
    story.claim(
        uid != 0 && !key_shows,
        &format!(
            "goofys (pid {daemon}, kept by boathouse-keeper) runs as user {uid}, not root, its access key neither in \
             its arguments nor in its environment"
        ),
    );
    // What the last act finds gone must be found while it is there.
    let seen = world.before.new_in(&Snapshot::take()?.of_this_process());
    let mounts = seen.iter().filter(|line| line.starts_with("mount ")).count();
    let running = seen.iter().filter(|line| line.starts_with("process ")).count();
    story.claim(
        mounts == 2 && running == daemons.len() + keepers.len() && daemons.len() == 1 && keepers.len() == 1,
        &format!("on this machine that is {mounts} mounts (source and target) and {running} processes more"),
    );
    story.end_act();
    Ok(())
}
