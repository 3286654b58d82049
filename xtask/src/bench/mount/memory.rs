//! PSS: memory of a process, with what it shares divided by the number that share it.

use super::{LIFE, OBJECT, OBJECTS, first_byte};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::node::NodeProcess;
use boathouse_testkit::stack::Stack;
use std::fs;
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
        let pids = running(node, program)?;
        ensure!(pids.len() == mounts, "{} processes {program} at {mounts} mounts", pids.len());
        let sum: u64 = pids.iter().map(|pid| pss(*pid)).sum::<anyhow::Result<u64>>()?;
        Ok(sum / u64::try_from(mounts.max(1))?)
    };
    Ok(Memory { mounts, node: pss(pid)?, keeper: mean("boathouse-keeper")?, goofys: mean("goofys")? })
}

/// Processes that run a program which this node plugin installed.
pub(super) fn running(node: &NodeProcess, program: &str) -> anyhow::Result<Vec<u32>> {
    let installed = node.directory().join("state/bin");
    let pids =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
                exe.starts_with(&installed) && exe.file_name().is_some_and(|name| name == program)
            })
        })
        .collect())
}

fn pss(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse(&text).with_context(|| format!("{path} has no Pss"))
}

/// `Pss:   540 kB` of proc(5), in bytes.
fn parse(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn pss_is_read() {
        let text = "00400000-7fff [rollup]\nRss:   900 kB\nPss:   540 kB\nPss_Anon:  1 kB\n";
        assert_eq!(parse(text), Some(540 * 1024));
        assert_eq!(parse("Rss: 1 kB"), None);
        assert!(pss(std::process::id()).unwrap() > 0);
    }
}
