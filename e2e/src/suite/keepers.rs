//! Keepers outlive the node plugin's pod: no operation of a running pod fails, whatever happens to that.

use super::pods::{self, idle, inline, options, with_volume};
use super::processes;
use super::product::{NAMESPACE, TAGS};
use super::runner::{Case, alone};
use super::worker::Worker;
use super::world::World;
use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        alone!(the_plugin_s_pod_is_deleted),
        alone!(the_plugin_crashes),
        alone!(the_plugin_is_upgraded),
        alone!(the_product_is_installed_anew),
        alone!(a_second_plugin_on_the_node),
        alone!(memory_limit_takes_one_daemon),
    ]
}

fn the_plugin_s_pod_is_deleted(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "outlives-deletion")?;
    let pod = world.product.pod(&world.cluster)?;
    pods::delete(world.cluster.kubectl(), NAMESPACE, &pod)?;
    worker.progress(world)?;
    world.product.ready(&world.cluster)?;
    worker.end(world)
}

/// SIGKILL: its sockets stay behind, and the container is started again.
fn the_plugin_crashes(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "outlives-crash")?;
    let [pid] = processes::named("boathouse-node")[..] else { anyhow::bail!("not one node plugin") };
    processes::signal(pid, Signal::SIGKILL)?;
    worker.progress(world)?;
    world.cluster.kubectl().wait("another node plugin", Duration::from_secs(30), |_| {
        let now = processes::named("boathouse-node");
        Ok((now.len() == 1 && now[0] != pid).then_some(()))
    })?;
    world.product.ready(&world.cluster)?;
    worker.end(world)
}

/// Another image with other programs, and back. What runs goes on from the programs it was started from; what is started
/// afterwards takes the new ones; the new ones go when nothing runs them any more.
fn the_plugin_is_upgraded(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "outlives-upgrade")?;
    let old = processes::goofys_of(&worker.tenant.bucket)?;
    let old_program = processes::program(old)?;
    upgrade(world, TAGS[1])?;
    worker.progress(world)?;
    let tenant = world.tenant("after-upgrade")?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("after-upgrade", "pod"), "/data", inline(&options(&tenant)))])?;
    pods::running(kubectl, "after-upgrade", "pod")?;
    let new_program = processes::program(processes::goofys_of(&tenant.bucket)?)?;
    ensure!(new_program != old_program && new_program.exists(), "{new_program:?}, before {old_program:?}");
    ensure!(
        processes::program(old)? == old_program && old_program.exists(),
        "the worker's goofys is another"
    );
    upgrade(world, TAGS[0])?;
    ensure!(new_program.exists(), "removed while a pod's goofys runs from it");
    let kubectl = world.cluster.kubectl();
    pods::delete(kubectl, "after-upgrade", "pod")?;
    world.no_users(&tenant)?;
    // Unused programs go at the next start.
    let pod = world.product.pod(&world.cluster)?;
    pods::delete(kubectl, NAMESPACE, &pod)?;
    world.product.ready(&world.cluster)?;
    ensure!(!new_program.exists() && old_program.exists(), "{} is still there", new_program.display());
    worker.end(world)
}

fn upgrade(world: &World, tag: &str) -> anyhow::Result<()> {
    world.product.install(&world.cluster, &json!({ "image": { "tag": tag } }))?;
    let pod = world.product.pod(&world.cluster)?;
    let pod = world.cluster.kubectl().get("pod", Some(NAMESPACE), &pod)?.context("no pod")?;
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    ensure!(image.ends_with(&format!(":{tag}")), "the pod runs {image}");
    Ok(())
}

fn the_product_is_installed_anew(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "outlives-uninstall")?;
    world.product.uninstall()?;
    worker.progress(world)?;
    world.product.install(&world.cluster, &json!({}))?;
    worker.end(world)
}

/// As in an upgrade gone wrong: a second pod of the plugin keeps away from the first one's mounts, and says why.
fn a_second_plugin_on_the_node(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "two-plugins")?;
    let kubectl = world.cluster.kubectl();
    let set = kubectl.get("daemonset", Some(NAMESPACE), "boathouse-node")?.context("no DaemonSet")?;
    let mut spec = set["spec"]["template"]["spec"].clone();
    let container = &mut spec["containers"][0];
    // Not the first one's port: kubelet itself would refuse the pod.
    container["ports"] = json!([]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        container[probe] = json!(null);
    }
    let variables = container["env"].as_array_mut().context("no environment")?;
    for variable in variables {
        if variable["name"] == "BOATHOUSE_METRICS_ADDR" {
            variable["value"] = "127.0.0.1:9819".into();
        }
    }
    spec["restartPolicy"] = "Never".into();
    let second = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "second", "namespace": NAMESPACE }, "spec": spec });
    kubectl.apply(&[second])?;
    let said = kubectl.wait("the second plugin gives up", Duration::from_secs(30), |kubectl| {
        let pod = kubectl.get("pod", Some(NAMESPACE), "second")?.context("no pod")?;
        if pod["status"]["phase"] != "Failed" {
            return Ok(None);
        }
        kubectl.run(&["logs", "-n", NAMESPACE, "second"]).map(Some)
    })?;
    ensure!(said.contains("another boathouse-node uses this directory"), "{said}");
    pods::delete(kubectl, NAMESPACE, "second")?;
    world.product.ready(&world.cluster)?;
    worker.end(world)
}

/// goofys keeps what is written until it is uploaded. One that needs more than its mount may have is killed by the kernel,
/// alone: the other pod's goes on. The next publish makes a new mount, with a new keeper.
fn memory_limit_takes_one_daemon(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "beside-greed")?;
    world.product.install(&world.cluster, &json!({ "mounts": { "memoryLimit": "48Mi" } }))?;
    let tenant = world.tenant("greed")?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("greed", "pod"), "/data", inline(&options(&tenant)))])?;
    pods::running(kubectl, "greed", "pod")?;
    let (daemon, other) =
        (processes::goofys_of(&tenant.bucket)?, processes::goofys_of(&worker.tenant.bucket)?);
    let write = "for n in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/data/big-$n bs=1M count=200 2>/dev/null & done; wait";
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| pods::shell(kubectl, "greed", "pod", write));
        // The count goes with the mount's cgroup, so it is looked at at once.
        let killed = kubectl.wait("the kernel kills for memory", Duration::from_secs(90), |_| {
            Ok((processes::killed_for_memory() > 0).then_some(()))
        });
        // What becomes of the writes is another matter.
        let _ = writer.join();
        killed
    })?;
    ensure!(processes::goofys_of(&tenant.bucket).ok() != Some(daemon), "the daemon lives");
    ensure!(processes::goofys_of(&worker.tenant.bucket)? == other, "the other pod's daemon is gone");
    pods::delete(kubectl, "greed", "pod")?;
    world.no_users(&tenant)?;
    world.product.install(&world.cluster, &json!({}))?;
    worker.end(world)
}
