//! What happens to nodes: kubelet crashes, drains, many pods at once, daemons that die or hang.

use super::pods::{self, idle, inline, options, with_volume};
use super::runner::{Case, alone, beside};
use super::worker::Worker;
use super::world::World;
use super::{processes, product};
use crate::cluster::Kubectl;
use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A hung or dead daemon may keep a pod this long.
const UNPUBLISH: Duration = Duration::from_secs(10);
const CROWD: usize = 30;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        beside!(publishing_again_is_no_work),
        beside!(a_namespace_is_deleted),
        beside!(the_daemon_is_killed),
        beside!(the_daemon_hangs),
        alone!(a_pod_is_deleted_while_it_mounts),
        alone!(kubelet_crashes),
        alone!(the_node_is_drained),
        alone!(thirty_pods_at_once),
        alone!(the_startup_taint_goes),
        alone!(the_plugin_changes_the_taints_of_its_node_and_nothing_else),
    ]
}

/// kubelet publishes again every 10 to 15 s here, and once right after the first time: no log line, no daemon, no key.
fn publishing_again_is_no_work(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("again")?;
    let kubectl = world.cluster.kubectl();
    let kept = || metric("boathouse_node_publish_duration_seconds_count", "mount=\"kept\"");
    kubectl.apply(&[with_volume(idle("again", "pod"), "/data", inline(&options(&tenant)))])?;
    let uid = pods::running(kubectl, "again", "pod")?;
    let daemon = processes::goofys_of(&tenant.bucket)?;
    let users = tenant.users_among(&world.block(world.stack.minio_users())?);
    let of_pod = || -> anyhow::Result<usize> {
        Ok(world.product.logs(&world.cluster)?.lines().filter(|line| line.contains(&uid)).count())
    };
    let (lines, before) = (of_pod()?, kept()?);
    ensure!(lines > 0, "the first publish is not logged with the pod's uid");
    kubectl.wait("kubelet publishes again twice", Duration::from_secs(60), |_| {
        Ok((kept()? >= before + 2).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(16));
    ensure!(of_pod()? == lines, "publishing again is logged");
    ensure!(processes::goofys_of(&tenant.bucket)? == daemon, "another daemon");
    ensure!(tenant.users_among(&world.block(world.stack.minio_users())?) == users, "other keys");
    pods::delete(kubectl, "again", "pod")?;
    world.no_users(&tenant)
}

/// The sum of the node plugin's samples of a metric whose labels contain `label`.
fn metric(name: &str, label: &str) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect("127.0.0.1:9810").context("the node plugin's metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").context("ask for metrics")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read metrics")?;
    let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

fn a_namespace_is_deleted(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("doomed")?;
    let kubectl = world.cluster.kubectl();
    let pods =
        ["one", "two"].map(|name| with_volume(idle("doomed", name), "/data", inline(&options(&tenant))));
    kubectl.apply(&pods)?;
    for name in ["one", "two"] {
        pods::running(kubectl, "doomed", name)?;
    }
    kubectl.run(&["delete", "namespace", "doomed", "--timeout=60s"])?;
    world.no_users(&tenant)
}

/// Healing is another matter; here the pod must be able to go.
fn the_daemon_is_killed(world: &World) -> anyhow::Result<()> {
    goes_in_time(world, "daemon-killed", Signal::SIGKILL)
}

fn the_daemon_hangs(world: &World) -> anyhow::Result<()> {
    goes_in_time(world, "daemon-hangs", Signal::SIGSTOP)
}

fn goes_in_time(world: &World, namespace: &str, signal: Signal) -> anyhow::Result<()> {
    let tenant = world.tenant(namespace)?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle(namespace, "pod"), "/data", inline(&options(&tenant)))])?;
    pods::running(kubectl, namespace, "pod")?;
    processes::signal(processes::goofys_of(&tenant.bucket)?, signal)?;
    // Somebody waits for an answer.
    pods::shell(kubectl, namespace, "pod", "ls /data > /dev/null 2>&1 & sleep 0.5")?;
    let began = Instant::now();
    pods::delete(kubectl, namespace, "pod")?;
    // The container's two seconds of grace are kubelet's.
    let limit = UNPUBLISH + Duration::from_secs(5);
    ensure!(began.elapsed() < limit, "the pod took {:?} to go", began.elapsed());
    // The bucket of 10.24 s is the nearest to the promise.
    let unpublished = |sample: &str, label: &str| {
        metric(&format!("boathouse_node_unpublish_duration_seconds_{sample}"), label)
    };
    let (all, in_time) = (unpublished("count", "")?, unpublished("bucket", "le=\"10.24\"")?);
    ensure!(all > 0 && in_time == all, "of {all} unpublishes {} took longer than 10.24 s", all - in_time);
    world.no_users(&tenant)
}

/// MinIO accepts and says nothing, so the mount is under way when the pod goes.
fn a_pod_is_deleted_while_it_mounts(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("midway")?;
    let kubectl = world.cluster.kubectl();
    world.stack.minio().pause()?;
    let pod = with_volume(idle("midway", "pod"), "/data", inline(&options(&tenant)));
    let waits = kubectl.apply(&[pod]).and_then(|()| {
        kubectl.wait("a request waits at MinIO", Duration::from_secs(20), |_| {
            Ok(unread(world.stack.minio().authority()).then_some(()))
        })
    });
    let deleted = kubectl.run(&["delete", "pod", "-n", "midway", "pod", "--wait=false"]);
    std::thread::sleep(Duration::from_secs(2));
    world.stack.minio().resume()?;
    waits.and(deleted)?;
    pods::gone(kubectl, "midway", "pod")?;
    world.no_users(&tenant)
}

/// Whether a connection to this server has something that it has not read (proc(5), `/proc/net/tcp`).
fn unread(authority: String) -> bool {
    let port = authority.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    let local = format!(":{port:04X}");
    // Both: a Go server listens on IPv6 for IPv4 too.
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let queued =
            fields.get(4).and_then(|queues| queues.split_once(':')).is_some_and(|(_, rx)| rx != "00000000");
        // 01 is an established connection.
        fields.get(1).is_some_and(|own| own.ends_with(&local)) && fields.get(3) == Some(&"01") && queued
    })
}

/// SIGKILL; a pod is deleted while there is no kubelet. The other goes on without a failed operation.
fn kubelet_crashes(world: &mut World) -> anyhow::Result<()> {
    let worker = Worker::start(world, "kubelet-crash")?;
    let tenant = world.tenant("kubelet-gone")?;
    let pod = with_volume(idle("kubelet-gone", "pod"), "/data", inline(&options(&tenant)));
    world.cluster.kubectl().apply(&[pod])?;
    pods::running(world.cluster.kubectl(), "kubelet-gone", "pod")?;
    world.cluster.kill_kubelet()?;
    world.cluster.kubectl().run(&["delete", "pod", "-n", "kubelet-gone", "pod", "--wait=false"])?;
    std::thread::sleep(Duration::from_secs(2));
    world.cluster.start_kubelet()?;
    pods::gone(world.cluster.kubectl(), "kubelet-gone", "pod")?;
    world.no_users(&tenant)?;
    world.product.ready(&world.cluster)?;
    worker.end(world)
}

fn the_node_is_drained(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("drained")?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("drained", "pod"), "/data", inline(&options(&tenant)))])?;
    pods::running(kubectl, "drained", "pod")?;
    let node = crate::warden::NODE;
    let drain = kubectl.run(&[
        "drain",
        node,
        "--force",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        // The webhook's disruption budget keeps a pod of it, and there is no other node to go to.
        "--pod-selector=app.kubernetes.io/name!=boathouse",
        "--timeout=60s",
    ]);
    kubectl.run(&["uncordon", node])?;
    drain?;
    pods::gone(kubectl, "drained", "pod")?;
    world.no_users(&tenant)
}

/// Start and stop of thirty pods, with the time per pod.
fn thirty_pods_at_once(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("crowd")?;
    let kubectl = world.cluster.kubectl();
    let names: Vec<String> = (0..CROWD).map(|n| format!("pod-{n}")).collect();
    // A folder each: pods with the same options would share one mount.
    let pods: Vec<_> = names
        .iter()
        .map(|name| {
            let mut own = options(&tenant);
            own["bucket"] = format!("{}:{name}", tenant.bucket).into();
            with_volume(idle("crowd", name), "/data", inline(&own))
        })
        .collect();
    let began = Instant::now();
    kubectl.apply(&pods)?;
    let ready =
        kubectl.run(&["wait", "-n", "crowd", "--for=condition=Ready", "pod", "--all", "--timeout=180s"]);
    ready.with_context(|| world.product.logs(&world.cluster).unwrap_or_default())?;
    let started = began.elapsed();
    ensure!(processes::named("goofys").len() >= CROWD, "not a daemon each");
    let began = Instant::now();
    kubectl.run(&["delete", "pods", "-n", "crowd", "--all", "--timeout=180s"])?;
    let stopped = began.elapsed();
    let each = |total: Duration| total.as_millis() / CROWD as u128;
    println!("          {CROWD} pods: {} ms per pod to start, {} ms to stop", each(started), each(stopped));
    world.no_users(&tenant)
}

/// As a cluster autoscaler makes nodes: with the taint. The node plugin takes it away once it serves.
fn the_startup_taint_goes(world: &mut World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let taint = "boathouse.statcan.gc.ca/not-ready";
    kubectl.run(&["taint", "node", crate::warden::NODE, &format!("{taint}=:NoSchedule")])?;
    let pod = world.product.pod(&world.cluster)?;
    pods::delete(kubectl, product::NAMESPACE, &pod)?;
    kubectl.wait("the taint goes", Duration::from_secs(30), |kubectl| {
        let node = kubectl.get("node", None, crate::warden::NODE)?.context("no node")?;
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        Ok(taints.iter().all(|one| one["key"] != json!(taint)).then_some(()))
    })?;
    world.product.ready(&world.cluster)
}

/// RBAC lets it patch nodes; an admission policy says which, and what of them.
fn the_plugin_changes_the_taints_of_its_node_and_nothing_else(world: &mut World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let node = crate::warden::NODE;
    let pod = world.product.pod(&world.cluster)?;
    let account = ["create", "token", "boathouse-node", "-n", product::NAMESPACE];
    let bound = ["--bound-object-kind=Pod", &format!("--bound-object-name={pod}")];
    let its = kubectl.run(&[account.as_slice(), &bound].concat())?;
    let its = kubectl.with_token("node-plugin", its.trim())?;
    // Of the same account, but of no pod on this node.
    let others = kubectl.with_token("no-pod", kubectl.run(&account)?.trim())?;

    let taint = |taint: &str, kubectl: &Kubectl| kubectl.run(&["taint", "node", node, taint]);
    taint("suite=:PreferNoSchedule", &its)?;
    let denied = |outcome: anyhow::Result<String>, words: &str| -> anyhow::Result<()> {
        let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        ensure!(said.contains(words), "not refused with {words:?}: {outcome:?}");
        Ok(())
    };
    let others = taint("suite-", &others);
    let label = its.run(&["label", "node", node, "suite=yes"]);
    // Before anything is judged: other cases use the node.
    taint("suite-", &its)?;
    denied(others, "the Node it runs on and no other")?;
    denied(label, "the taints of its Node and nothing else")
}
