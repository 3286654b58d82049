//! Memory of the node plugin and of what it starts.

use super::super::process::{pss, running};
use super::{LIFE, OBJECT, OBJECTS, first_byte};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::node::NodeProcess;
use boathouse_testkit::stack::Stack;
use std::path::PathBuf;
use std::time::Duration;

/// Memory at some number of mounts, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) mounts: usize,
    pub(super) node: u64,
    /// Mean of all keepers.
    pub(super) keeper: u64,
    /// Mean of all FUSE daemons.
    pub(super) goofys: u64,
}

/// Without a mount, with one, and with many; each is a pod of another namespace with keys of its own, and has been
/// read from. Leaves no mount.
pub(super) async fn measure(stack: &Stack, node: &NodeProcess, many: u32) -> anyhow::Result<Vec<Memory>> {
    let mut all = vec![now(node, 0).await?];
    let mut published = Vec::new();
    for number in 0..many {
        eprint!("\r  memory: mount {} of {many}", number + 1);
        let tenant = stack.tenant(&format!("memory-{number:03}"), LIFE).await?;
        stack.minio().put_object(&tenant.bucket, OBJECTS[0], &OBJECT).await?;
        let pod = tenant.pod(&format!("memory-{number}"), LIFE);
        let attributes = [("bucket", tenant.bucket.as_str()), ("vault-path", tenant.vault_path.as_str())];
        let volume = PodVolume::new(pod, "data", &attributes);
        let target = node.publish(stack.identities(), &volume).await.context("publish")?;
        let object = target.join(OBJECTS[0]);
        tokio::task::spawn_blocking(move || first_byte(&object)).await?.context("read a volume")?;
        published.push((volume.id(), target));
        if number == 0 {
            all.push(now(node, 1).await?);
        }
    }
    eprintln!();
    all.push(now(node, published.len()).await?);
    for (id, target) in published {
        node.unpublish(&id, &target).await.context("unpublish")?;
    }
    Ok(all)
}

async fn now(node: &NodeProcess, mounts: usize) -> anyhow::Result<Memory> {
    // Whatever a publish leaves to do in the background is done by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = node.pid().context("the node plugin does not run")?;
    let mean = |program: &str| -> anyhow::Result<u64> {
        let pids = running(&installed(node), program)?;
        ensure!(pids.len() == mounts, "{} processes {program} at {mounts} mounts", pids.len());
        let sum: u64 = pids.iter().map(|pid| pss(*pid)).sum::<anyhow::Result<u64>>()?;
        Ok(sum / u64::try_from(mounts.max(1))?)
    };
    Ok(Memory { mounts, node: pss(pid)?, keeper: mean("boathouse-keeper")?, goofys: mean("goofys")? })
}

/// Where the node plugin puts the programs it starts.
pub(super) fn installed(node: &NodeProcess) -> PathBuf {
    node.directory().join("state/bin")
}
