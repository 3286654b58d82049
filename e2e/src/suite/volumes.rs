//! What a pod can mount, and how.

use super::pods::{self, flex, idle, inline, options, with_volume};
use super::product;
use super::runner::{Case, alone, beside};
use super::world::World;
use anyhow::{Context as _, ensure};
use boathouse_testkit::parts::Parts;
use boathouse_testkit::stack::Minio;
use serde_json::{Value, json};

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        beside!(inline_volumes_of_a_notebook),
        beside!(persistent_volume_of_two_pods),
        beside!(persistent_volume_read_only),
        beside!(flex_volume_of_a_legacy_pod),
        alone!(a_server_with_an_authority_of_its_own),
    ]
}

/// uid 1000, gid 100, the legacy injector's paths: a private bucket and a shared one that cost one MinIO user.
fn inline_volumes_of_a_notebook(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("alice")?;
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    let mut shared = options(&tenant);
    shared["bucket"] = "shared".into();
    let base = "/home/jovyan/minio/standard";
    let notebook =
        with_volume(idle(namespace, "notebook"), &format!("{base}/private"), inline(&options(&tenant)));
    let notebook = with_volume(notebook, &format!("{base}/shared"), inline(&shared));
    kubectl.apply(&[notebook])?;
    pods::running(kubectl, namespace, "notebook")?;
    pods::round_trip(kubectl, namespace, "notebook", &format!("{base}/private"))?;
    let listing = pods::shell(
        kubectl,
        namespace,
        "notebook",
        &format!("touch {base}/private/a; ls -ln {base}/private"),
    )?;
    ensure!(listing.contains(" 1000     100 "), "{listing}");
    pods::shell(kubectl, namespace, "notebook", &format!("ls {base}/shared"))?;
    let users = tenant.users_among(&world.block(world.stack.minio_users())?);
    ensure!(users.len() == 1, "{users:?}");
    pods::delete(kubectl, namespace, "notebook")?;
    world.no_users(&tenant)
}

fn volume(name: &str, options: &Value, mode: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "1Gi" },
            "accessModes": [mode],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "csi": { "driver": pods::DRIVER, "volumeHandle": name, "volumeAttributes": options },
        },
    })
}

/// To the volume of its name.
fn claim_of(namespace: &str, name: &str, mode: &str) -> Value {
    let mut claim = pods::claim(namespace, name, "", mode);
    claim["spec"]["volumeName"] = name.into();
    claim
}

/// Both pods see each other's files.
fn persistent_volume_of_two_pods(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("pv-two")?;
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    let mode = "ReadWriteMany";
    kubectl.apply(&[volume("pv-two", &options(&tenant), mode), claim_of(namespace, "pv-two", mode)])?;
    pods::two_share(kubectl, namespace, "pv-two")?;
    kubectl.run(&["delete", "pvc", "pv-two", "-n", namespace])?;
    kubectl.run(&["delete", "pv", "pv-two"])?;
    world.no_users(&tenant)
}

/// `readOnly` of the claim in the pod.
fn persistent_volume_read_only(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("pv-ro")?;
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    let mode = "ReadOnlyMany";
    let claimed = json!({ "persistentVolumeClaim": { "claimName": "pv-ro", "readOnly": true } });
    kubectl.apply(&[
        volume("pv-ro", &options(&tenant), mode),
        claim_of(namespace, "pv-ro", mode),
        with_volume(idle(namespace, "reader"), "/data", claimed),
    ])?;
    pods::running(kubectl, namespace, "reader")?;
    pods::shell(kubectl, namespace, "reader", "ls /data")?;
    let written = pods::shell(kubectl, namespace, "reader", "echo no > /data/file");
    let refused = written.as_ref().is_err_and(|error| error.to_string().contains("Read-only file system"));
    ensure!(refused, "writing to it: {written:?}");
    pods::delete(kubectl, namespace, "reader")?;
    kubectl.run(&["delete", "pvc", "pv-ro", "-n", namespace])?;
    kubectl.run(&["delete", "pv", "pv-ro"])?;
    world.no_users(&tenant)
}

/// A pod that was written for the FlexVolume driver, through the shim that the node plugin installed.
fn flex_volume_of_a_legacy_pod(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("legacy")?;
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    kubectl.apply(&[with_volume(idle(namespace, "old"), "/data", flex(&options(&tenant)))])?;
    pods::running(kubectl, namespace, "old")?;
    pods::round_trip(kubectl, namespace, "old", "/data")?;
    pods::delete(kubectl, namespace, "old")?;
    world.no_users(&tenant)
}

/// A volume names a bundle of authorities; its pod waits until the operator has put it into the chart's values.
fn a_server_with_an_authority_of_its_own(world: &mut World) -> anyhow::Result<()> {
    const NAMESPACE: &str = "own-authority";
    let parts = Parts::locate()?;
    let minio = world.block(async {
        let minio = Minio::start_over_tls(&parts.minio, world.stack.tree(), "tls").await?;
        minio.create_bucket("data").await?;
        minio.put_object("data", "who", b"lake").await?;
        anyhow::Ok(minio)
    })?;
    let kubectl = world.cluster.kubectl();
    world.namespace(NAMESPACE)?;
    let keys = product::keys_secret(NAMESPACE, "keys", &minio);
    let mut volume = inline(&json!({ "bucket": "data", "endpoint": minio.url(), "ca": "lake" }));
    volume["csi"]["nodePublishSecretRef"] = json!({ "name": "keys" });
    kubectl.apply(&[keys, with_volume(idle(NAMESPACE, "pod"), "/data", volume)])?;
    pods::event(kubectl, NAMESPACE, "pod", &["MountVolume.SetUp failed", "ca \"lake\"", "--s3-ca-dir"])?;

    let file = minio.ca_file().context("it speaks plain http")?;
    let bundle = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    world.product.install(&world.cluster, &json!({ "s3": { "authorities": { "lake": bundle } } }))?;
    pods::running(kubectl, NAMESPACE, "pod")?;
    ensure!(pods::shell(kubectl, NAMESPACE, "pod", "cat /data/who")? == "lake");
    pods::delete(kubectl, NAMESPACE, "pod")?;
    world.product.install(&world.cluster, &json!({}))
}
