//! Pods as users make them, and what is asked of them.

use crate::cluster::{Kubectl, is_ready};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Tenant;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const DRIVER: &str = "boathouse.statcan.gc.ca";
/// From creation, or from what held it up, to running: kubelet waits up to two minutes between its attempts.
pub(super) const START: Duration = Duration::from_secs(150);
/// From deletion to gone.
pub(super) const STOP: Duration = Duration::from_secs(90);

/// A pod with one container that runs `script` until it is told to end, as jovyan: uid 1000, gid 100.
pub(super) fn pod(namespace: &str, name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "enableServiceLinks": false,
            "securityContext": { "runAsUser": 1000, "runAsGroup": 100, "fsGroup": 100 },
            "containers": [{
                "name": "main",
                "image": "localhost/busybox:1",
                "imagePullPolicy": "Never",
                "command": ["sh", "-c", format!("trap 'exit 0' TERM; {script} & wait")],
                "volumeMounts": [],
            }],
            "volumes": [],
        },
    })
}

/// A pod that only waits.
pub(super) fn idle(namespace: &str, name: &str) -> Value {
    pod(namespace, name, "sleep 100000")
}

/// Adds a volume and its mount.
pub(super) fn with_volume(mut pod: Value, path: &str, mut volume: Value) -> Value {
    let volumes = pod["spec"]["volumes"].as_array().map_or(0, Vec::len);
    let name = format!("data-{volumes}");
    volume["name"] = name.clone().into();
    push(&mut pod["spec"]["volumes"], volume);
    push(&mut pod["spec"]["containers"][0]["volumeMounts"], json!({ "name": name, "mountPath": path }));
    pod
}

fn push(list: &mut Value, item: Value) {
    if let Value::Array(items) = list {
        items.push(item);
    }
}

/// The options of a tenant's private bucket, as the legacy injector writes them.
pub(super) fn options(tenant: &Tenant) -> Value {
    json!({
        "bucket": tenant.bucket,
        "uid": "1000",
        "gid": "100",
        "vault-path": tenant.vault_path,
        "vault-ttl": "1h",
    })
}

/// An inline CSI volume.
pub(super) fn inline(options: &Value) -> Value {
    json!({ "csi": { "driver": DRIVER, "volumeAttributes": options } })
}

/// A FlexVolume.
pub(super) fn flex(options: &Value) -> Value {
    json!({ "flexVolume": { "driver": "statcan.gc.ca/boathouse", "options": options } })
}

/// A pod's uid, once it runs.
pub(super) fn running(kubectl: &Kubectl, namespace: &str, name: &str) -> anyhow::Result<String> {
    let found = kubectl.wait(&format!("pod {namespace}/{name} runs"), START, |kubectl| {
        let pod = kubectl.get("pod", Some(namespace), name)?.context("there is no such pod")?;
        Ok(is_ready(&pod).then_some(pod))
    });
    let pod = found.with_context(|| events(kubectl, namespace, name))?;
    pod["metadata"]["uid"].as_str().map(str::to_owned).context("a pod without uid")
}

/// Deletes a pod and waits until it is gone: until all its volumes are unmounted.
pub(super) fn delete(kubectl: &Kubectl, namespace: &str, name: &str) -> anyhow::Result<()> {
    kubectl.run(&["delete", "pod", "-n", namespace, name, "--wait=false"])?;
    gone(kubectl, namespace, name)
}

/// Waits until a pod that is being deleted is gone.
pub(super) fn gone(kubectl: &Kubectl, namespace: &str, name: &str) -> anyhow::Result<()> {
    kubectl.wait(&format!("pod {namespace}/{name} is gone"), STOP, |kubectl| {
        Ok(kubectl.get("pod", Some(namespace), name)?.is_none().then_some(()))
    })
}

/// What its events say, oldest first.
pub(super) fn events(kubectl: &Kubectl, namespace: &str, pod: &str) -> String {
    let events = kubectl.list("events", namespace).unwrap_or_default();
    let of_pod = events.iter().filter(|event| event["involvedObject"]["name"] == pod);
    let lines: Vec<String> = of_pod
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("reason"), text("message"))
        })
        .collect();
    lines.join("\n")
}

/// Waits for an event whose text has all of `words`.
pub(super) fn event(kubectl: &Kubectl, namespace: &str, pod: &str, words: &[&str]) -> anyhow::Result<()> {
    let found = kubectl.wait(&format!("an event of {pod} with {words:?}"), START, |kubectl| {
        let text = events(kubectl, namespace, pod);
        Ok(text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
    });
    found.with_context(|| format!("its events:\n{}", events(kubectl, namespace, pod)))
}

/// Runs a script in the pod.
pub(super) fn shell(kubectl: &Kubectl, namespace: &str, pod: &str, script: &str) -> anyhow::Result<String> {
    kubectl.exec(namespace, pod, &["sh", "-c", script])
}

/// Writes a file through a mount and reads it back.
pub(super) fn round_trip(kubectl: &Kubectl, namespace: &str, pod: &str, path: &str) -> anyhow::Result<()> {
    let script = format!("echo well > {path}/note && cat {path}/note && rm {path}/note");
    let said = shell(kubectl, namespace, pod, &script)?;
    ensure!(said == "well\n", "{path} in {pod}: read {said:?}");
    Ok(())
}

/// A claim of 1 GiB.
pub(super) fn claim(namespace: &str, name: &str, class: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "accessModes": [mode],
            "resources": { "requests": { "storage": "1Gi" } },
            "storageClassName": class,
        },
    })
}

/// Of two pods with a claim, one reads what the other has written to `file`; then both end.
pub(super) fn two_share(kubectl: &Kubectl, namespace: &str, claim: &str) -> anyhow::Result<()> {
    let claimed = json!({ "persistentVolumeClaim": { "claimName": claim } });
    let pods = ["one", "two"];
    kubectl.apply(&pods.map(|pod| with_volume(idle(namespace, pod), "/data", claimed.clone())))?;
    for pod in pods {
        running(kubectl, namespace, pod)?;
    }
    shell(kubectl, namespace, "one", "echo from one > /data/file")?;
    let read = shell(kubectl, namespace, "two", "cat /data/file")?;
    ensure!(read == "from one\n", "{read:?}");
    for pod in pods {
        delete(kubectl, namespace, pod)?;
    }
    Ok(())
}
