//! The product as somebody would install it: images given to containerd, the chart by helm.

use super::neighbours::{self, PROVISIONER};
use crate::cluster::{Cluster, VOLUME_PLUGIN_DIR};
use crate::place::Place;
use crate::warden::NODE_ADDRESS;
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::images::Images;
use boathouse_testkit::parts::{PackagingParts, Parts};
use boathouse_testkit::programs::Programs;
use boathouse_testkit::stack::{ENGINE_MOUNT, Minio, SHARED_BUCKET, Stack};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where it is installed.
pub(super) const NAMESPACE: &str = "boathouse-system";
const RELEASE: &str = "boathouse";
/// What an upgrade goes between.
pub(super) const TAGS: [&str; 2] = ["e2e", "e2e-next"];
/// Upgraded in the suite.
const IMAGES: [&str; 2] = ["boathouse-node", "boathouse-webhook"];
/// Run once.
const OTHERS: [&str; 2] = ["boathouse-controller", "boathouse-openbao"];
const READY: Duration = Duration::from_secs(120);

/// Where the images are; outside the cluster's directory, made before it exists.
fn directory() -> PathBuf {
    boathouse_testkit::repository().join("target/e2e-images")
}

/// Writes the images under both tags. For the second one keeper and goofys are a byte longer, which changes nothing but
/// their digests: new programs, as in an upgrade.
pub(super) fn images(programs: &Programs, parts: &Parts) -> anyhow::Result<()> {
    let next = directory().join("programs");
    std::fs::create_dir_all(&next).with_context(|| format!("create {}", next.display()))?;
    let longer = |program: &Path| -> anyhow::Result<PathBuf> {
        let mut bytes = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
        bytes.push(0);
        let path = next.join(program.file_name().context("a program without a name")?);
        std::fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    };
    let upgraded = (
        Programs { keeper: longer(&programs.keeper)?, ..programs.clone() },
        Parts { goofys: longer(&parts.goofys)?, ..parts.clone() },
    );
    for (tag, (programs, parts)) in TAGS.iter().zip([(programs, parts), (&upgraded.0, &upgraded.1)]) {
        let images = Images::new(programs, parts)?;
        for name in images_of(tag) {
            images.write(name, tag, &directory().join(tag))?;
        }
    }
    Ok(())
}

fn images_of(tag: &str) -> impl Iterator<Item = &'static str> {
    let others = if tag == TAGS[0] { OTHERS.as_slice() } else { &[] };
    IMAGES.iter().chain(others).copied()
}

/// An instance of the webhook's configuration: a private directory and a shared one.
pub(super) fn instance(name: &str, endpoint: &str) -> Value {
    json!({
        "name": name,
        "vaultMount": ENGINE_MOUNT,
        "endpoint": endpoint,
        "basePath": format!("/home/jovyan/minio/{name}"),
        "directories": [
            { "name": "private", "bucket": "{profile}" },
            { "name": "shared", "bucket": SHARED_BUCKET },
        ],
        "uid": 1000,
        "gid": 100,
        "vaultTtl": "24h",
    })
}

/// Secret with the controller's keys.
const KEYS: &str = "boathouse-s3";

/// Makes what [`with_controller`] needs.
pub(super) fn prepare_controller(cluster: &Cluster, minio: &Minio) -> anyhow::Result<()> {
    neighbours::import_provisioner(cluster)?;
    cluster.kubectl().apply(&[keys_secret(NAMESPACE, KEYS, minio)])
}

/// Changes of values that run the controller for `bucket`, beside upstream's provisioner. Its pods are not in the
/// node's network: they reach MinIO at another address than the node plugin.
pub(super) fn with_controller(bucket: &str, minio: &Minio) -> Value {
    json!({
        "s3": { "endpoint": endpoint_for_pods(minio) },
        "controller": {
            "enabled": true,
            "image": { "repository": "localhost/boathouse-controller", "tag": TAGS[0] },
            "provisionerImage": PROVISIONER,
            "buckets": [bucket],
            "keysSecret": KEYS,
        },
    })
}

/// Where pods reach MinIO.
fn endpoint_for_pods(minio: &Minio) -> String {
    minio.url().replace("127.0.0.1", NODE_ADDRESS)
}

/// MinIO's root keys as the driver reads them.
pub(super) fn keys(minio: &Minio) -> Value {
    json!({ "accessKeyId": minio.root_user(), "secretAccessKey": minio.root_password().expose_secret() })
}

/// A Secret with MinIO's root keys.
pub(super) fn keys_secret(namespace: &str, name: &str, minio: &Minio) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": keys(minio),
    })
}

/// The chart with the values of this cluster.
#[derive(Debug)]
pub(super) struct Product {
    helm: PathBuf,
    home: PathBuf,
    config: PathBuf,
    values: Value,
}

impl Product {
    pub(super) fn new(place: &Place, stack: &Stack) -> anyhow::Result<Self> {
        let values = json!({
            "image": { "repository": "localhost/boathouse-node", "tag": TAGS[0], "pullPolicy": "Never" },
            "vault": { "address": stack.bao().address() },
            "s3": { "endpoint": format!("http://{}", stack.minio().authority()) },
            "flexVolume": { "enabled": true, "install": true, "pluginDir": VOLUME_PLUGIN_DIR },
            "startupTaint": { "remove": true },
            "webhook": {
                "enabled": true,
                "image": { "repository": "localhost/boathouse-webhook", "tag": TAGS[0] },
                "instances": [instance("standard", &format!("http://{}", stack.minio().authority()))],
            },
            "log": { "filter": "info,boathouse_node=debug" },
        });
        Ok(Self {
            helm: PackagingParts::locate()?.helm,
            home: place.path("home"),
            config: place.path("pki/admin.kubeconfig"),
            values,
        })
    }

    /// Gives containerd the images.
    pub(super) fn import(cluster: &Cluster) -> anyhow::Result<()> {
        for tag in TAGS {
            for name in images_of(tag) {
                cluster.import(&directory().join(tag).join(format!("{name}.tar")))?;
            }
        }
        Ok(())
    }

    fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.helm);
        command.env_clear().env("HOME", &self.home).env("KUBECONFIG", &self.config);
        command.args(["--namespace", NAMESPACE]).args(arguments);
        let output = command.output().context("run helm")?;
        if !output.status.success() {
            bail!("`helm {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs or upgrades it, with `changes` over the values, and waits until the node plugin serves.
    pub(super) fn install(&self, cluster: &Cluster, changes: &Value) -> anyhow::Result<()> {
        let mut values = self.values.clone();
        merge(&mut values, changes);
        let file = self.home.join("values.json");
        std::fs::write(&file, values.to_string()).context("write the chart's values")?;
        let chart = boathouse_testkit::repository().join("deploy/charts/boathouse").display().to_string();
        let file = file.display().to_string();
        self.helm(&["upgrade", "--install", "--create-namespace", RELEASE, &chart, "--values", &file])?;
        self.ready(cluster)
    }

    /// Waits until all pods are of the present template and kubelet knows the driver.
    pub(super) fn ready(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let limit = format!("--timeout={}s", READY.as_secs());
        let kubectl = cluster.kubectl();
        let rolled = kubectl.run(&["rollout", "status", "daemonset/boathouse-node", "-n", NAMESPACE, &limit]);
        let rolled = rolled.and_then(|_| {
            kubectl.run(&["rollout", "status", "deployment/boathouse-webhook", "-n", NAMESPACE, &limit])
        });
        let ready = rolled.and_then(|_| {
            kubectl.wait("kubelet knows the driver", READY, |kubectl| {
                let node = kubectl.get("csinode", None, crate::warden::NODE)?;
                let drivers = node.as_ref().and_then(|node| node["spec"]["drivers"].as_array());
                let known =
                    drivers.is_some_and(|all| all.iter().any(|one| one["name"] == super::pods::DRIVER));
                Ok(known.then_some(()))
            })
        });
        ready.with_context(|| {
            let pods = kubectl.run(&["describe", "pods", "-n", NAMESPACE]).unwrap_or_default();
            let webhook = [
                "logs",
                "-n",
                NAMESPACE,
                "-l",
                "app.kubernetes.io/component in (webhook,webhook-certificate)",
                "--tail=20",
            ];
            let log = self.logs(cluster).unwrap_or_default() + &kubectl.run(&webhook).unwrap_or_default();
            format!(
                "the product is not ready\n{pods}\n{log}\n{}",
                cluster.said_of("kubelet", super::pods::DRIVER)
            )
        })?;
        mounted_once()
    }

    /// What the node plugin's pods have logged.
    pub(super) fn logs(&self, cluster: &Cluster) -> anyhow::Result<String> {
        cluster.kubectl().run(&[
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=node",
            "--tail=-1",
        ])
    }

    /// The name of the node plugin's pod.
    pub(super) fn pod(&self, cluster: &Cluster) -> anyhow::Result<String> {
        let pods = cluster.kubectl().list("pods", NAMESPACE)?;
        let pod = pods.iter().find(|pod| {
            let metadata = &pod["metadata"];
            metadata["labels"]["app.kubernetes.io/component"] == "node"
                && metadata["deletionTimestamp"].is_null()
        });
        let name = pod.and_then(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned);
        name.context("no pod of the node plugin")
    }

    pub(super) fn uninstall(&self) -> anyhow::Result<()> {
        self.helm(&["uninstall", RELEASE, "--wait"]).map(drop)
    }
}

/// What containers mount must not reach the node: it would stay, and double with each start of the pod.
fn mounted_once() -> anyhow::Result<()> {
    let table = boathouse_mounts::table().context("read the mount table")?;
    let mut seen = BTreeSet::new();
    let again = table.iter().find(|entry| {
        // A volume that died has its successor on top.
        let volume = ["/var/lib/kubelet/pods", "/var/lib/boathouse/mounts"];
        let volume = volume.iter().any(|directory| entry.mount_point.starts_with(directory));
        let ours = ["/var/lib/kubelet", "/var/lib/boathouse"]
            .iter()
            .any(|directory| entry.mount_point.starts_with(directory));
        ours && !volume && !seen.insert(&entry.mount_point)
    });
    ensure!(again.is_none(), "mounted more than once: {again:?}");
    Ok(())
}

/// `changes` over `values`, object by object as helm does; lists are joined.
fn merge(values: &mut Value, changes: &Value) {
    match (values, changes) {
        (Value::Object(values), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(values.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (Value::Array(values), Value::Array(changes)) => values.extend(changes.iter().cloned()),
        (value, change) => *value = change.clone(),
    }
}
