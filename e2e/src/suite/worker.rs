//! A pod that reads and writes all the time, and counts.

use super::pods::{self, inline, options, pod, with_volume};
use super::world::World;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Tenant;
use serde_json::Value;
use std::time::Duration;

/// Each round writes a file, reads it back and removes it. What fails is counted, not retried.
const SCRIPT: &str = r#"(
    good=0; bad=0; n=0
    while :; do
        n=$((n+1)); f=/data/round-$n
        if echo $n > $f && [ "$(cat $f)" = $n ] && rm $f; then good=$((good+1)); else bad=$((bad+1)); fi
        echo "$good $bad" > /tmp/.count && mv /tmp/.count /tmp/count
    done 2> /tmp/errors
)"#;

/// A running one.
pub(super) struct Worker {
    pub(super) tenant: Tenant,
    pub(super) uid: String,
}

impl Worker {
    pub(super) fn start(world: &World, namespace: &str) -> anyhow::Result<Self> {
        Self::start_with(world, namespace, |_| ())
    }

    /// One whose volume has other options.
    pub(super) fn start_with(
        world: &World,
        namespace: &str,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<Self> {
        let tenant = world.tenant(namespace)?;
        let kubectl = world.cluster.kubectl();
        let mut options = options(&tenant);
        change(&mut options);
        kubectl.apply(&[with_volume(pod(namespace, "worker", SCRIPT), "/data", inline(&options))])?;
        let uid = pods::running(kubectl, namespace, "worker")?;
        let worker = Self { tenant, uid };
        worker.progress(world)?;
        Ok(worker)
    }

    /// How many rounds went well; an error if one did not.
    fn count(&self, world: &World) -> anyhow::Result<u64> {
        let kubectl = world.cluster.kubectl();
        let text =
            pods::shell(kubectl, &self.tenant.namespace, "worker", "cat /tmp/count; tail -3 /tmp/errors")?;
        let first = text.lines().next().context("it has counted nothing yet")?;
        let (good, bad) = first.split_once(' ').context("not two numbers")?;
        ensure!(bad == "0", "{bad} operations of the pod failed: {text}");
        good.parse().with_context(|| format!("{good} is no number"))
    }

    /// Waits until it has done more; nothing may have failed since it was started. How many rounds there were.
    pub(super) fn progress(&self, world: &World) -> anyhow::Result<u64> {
        let kubectl = world.cluster.kubectl();
        let before =
            kubectl.wait("the worker counts", Duration::from_secs(20), |_| self.count(world).map(Some))?;
        kubectl.wait("the worker goes on", Duration::from_secs(20), |_| {
            let now = self.count(world)?;
            Ok((now >= before + 5).then_some(now))
        })
    }

    /// Its container has not been restarted, the mount not been made anew; then it is deleted.
    pub(super) fn end(self, world: &World) -> anyhow::Result<()> {
        self.progress(world)?;
        let kubectl = world.cluster.kubectl();
        let namespace = &self.tenant.namespace;
        let pod = kubectl.get("pod", Some(namespace), "worker")?.context("the worker's pod is gone")?;
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        ensure!(
            *restarts == 0 && pod["metadata"]["uid"] == self.uid.as_str(),
            "the worker was restarted: {restarts}"
        );
        pods::delete(kubectl, namespace, "worker")?;
        world.no_users(&self.tenant)
    }
}
