//! PersistentVolumeClaims: the controller from the chart, beside upstream's external-provisioner.

use super::pods::{self, claim};
use super::product::{self, NAMESPACE};
use super::runner::{Case, alone};
use super::world::World;
use crate::cluster::Kubectl;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Tenant;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![alone!(claims_are_provisioned_and_keep_their_data)]
}

/// The Secret that one StorageClass names for itself.
const OWN_KEYS: &str = "boathouse-s3-own";
/// The provisioner's longest pause between attempts of one claim is longer, but not within a case.
const BIND: Duration = Duration::from_secs(60);
/// A lock that its holder cannot give back is free after 15 s.
const HAND_OVER: Duration = Duration::from_secs(60);

fn claims_are_provisioned_and_keep_their_data(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("claims")?;
    let minio = world.stack.minio();
    product::prepare_controller(&world.cluster, minio)?;
    let mut values = product::with_controller(&tenant.bucket, minio);
    values["controller"]["storageClassSecrets"] = json!([OWN_KEYS]);
    world.with_values(&values, || provisioned(world, &tenant))?;
    world.no_users(&tenant)
}

fn provisioned(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    let (kubectl, minio) = (world.cluster.kubectl(), world.stack.minio());
    let own = json!({
        "csi.storage.k8s.io/provisioner-secret-name": OWN_KEYS,
        "csi.storage.k8s.io/provisioner-secret-namespace": NAMESPACE,
    });
    kubectl.apply(&[
        product::keys_secret(NAMESPACE, OWN_KEYS, minio),
        class("plain", tenant, &json!({})),
        class("own-keys", tenant, &own),
        class("elsewhere", tenant, &json!({ "bucket": "shared" })),
    ])?;

    shared_by_two_pods(world, tenant)?;
    a_secret_of_the_class(world, tenant)?;
    refused(kubectl, tenant)?;
    // The leader's log goes with its pod.
    allowed(kubectl)?;
    the_other_replica_takes_over(kubectl, tenant)?;

    allowed(kubectl)?;
    for name in ["plain", "own-keys", "elsewhere"] {
        kubectl.run(&["delete", "storageclass", name])?;
    }
    Ok(())
}

/// A folder of its own; both pods write to it, and the data outlives claim and volume.
fn shared_by_two_pods(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    kubectl.apply(&[claim(namespace, "both", "plain", "ReadWriteMany")])?;
    let volume = bound(kubectl, namespace, "both")?;
    let object = kubectl.get("pv", None, &volume)?.context("no volume")?;
    let handle = &object["spec"]["csi"]["volumeHandle"];
    ensure!(*handle == format!("{}/{volume}", tenant.bucket), "{handle}");
    pods::two_share(kubectl, namespace, "both")?;
    unclaim(kubectl, namespace, "both", &volume)?;
    let kept = world.block(world.stack.minio().get_object(&tenant.bucket, &format!("{volume}/file")))?;
    ensure!(kept == b"from one\n", "after its deletion the volume has {kept:?}");
    Ok(())
}

/// The right to read it is in the chart's values.
fn a_secret_of_the_class(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    let (namespace, kubectl) = (tenant.namespace.as_str(), world.cluster.kubectl());
    kubectl.apply(&[claim(namespace, "own", "own-keys", "ReadWriteOncePod")])?;
    let volume = bound(kubectl, namespace, "own")?;
    unclaim(kubectl, namespace, "own", &volume)
}

/// The claim's event names the bucket and those that are allowed.
fn refused(kubectl: &Kubectl, tenant: &Tenant) -> anyhow::Result<()> {
    let namespace = tenant.namespace.as_str();
    kubectl.apply(&[claim(namespace, "refused", "elsewhere", "ReadWriteOnce")])?;
    let why = format!("bucket shared is not one of those this controller may use: {}", tenant.bucket);
    pods::event(kubectl, namespace, "refused", &["ProvisioningFailed", &why])?;
    kubectl.run(&["delete", "pvc", "refused", "-n", namespace]).map(drop)
}

fn the_other_replica_takes_over(kubectl: &Kubectl, tenant: &Tenant) -> anyhow::Result<()> {
    let namespace = tenant.namespace.as_str();
    let leader = leader(kubectl)?;
    kubectl.run(&["delete", "pod", "-n", NAMESPACE, &leader, "--grace-period=0", "--force"])?;
    kubectl.wait("another replica leads", HAND_OVER, |kubectl| {
        Ok((self::leader(kubectl)? != leader).then_some(()))
    })?;
    kubectl.apply(&[claim(namespace, "later", "plain", "ReadWriteOnce")])?;
    let volume = bound(kubectl, namespace, "later")?;
    unclaim(kubectl, namespace, "later", &volume)
}

/// Deletes a claim and waits until its volume is deleted too.
fn unclaim(kubectl: &Kubectl, namespace: &str, name: &str, volume: &str) -> anyhow::Result<()> {
    kubectl.run(&["delete", "pvc", name, "-n", namespace])?;
    kubectl.wait(&format!("the volume {volume} is gone"), BIND, |kubectl| {
        Ok(kubectl.get("pv", None, volume)?.is_none().then_some(()))
    })
}

/// The pod that holds csi-provisioner's lock.
fn leader(kubectl: &Kubectl) -> anyhow::Result<String> {
    let lock = kubectl.get("lease", Some(NAMESPACE), "boathouse-statcan-gc-ca")?.context("nobody leads")?;
    let holder = lock["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
    holder.map(str::to_owned).context("a lock without a holder")
}

/// Whether the chart gives csi-provisioner the rights it asks for.
fn allowed(kubectl: &Kubectl) -> anyhow::Result<()> {
    let said = provisioners(kubectl)?;
    ensure!(!said.contains("forbidden"), "csi-provisioner lacks a right:\n{said}");
    Ok(())
}

/// What all csi-provisioners have logged.
fn provisioners(kubectl: &Kubectl) -> anyhow::Result<String> {
    let of = ["-l", "app.kubernetes.io/component=controller", "-c", "csi-provisioner", "--tail=-1"];
    kubectl.run(&[["logs", "-n", NAMESPACE].as_slice(), &of].concat())
}

/// The name of the volume that a claim got.
fn bound(kubectl: &Kubectl, namespace: &str, name: &str) -> anyhow::Result<String> {
    let found = kubectl.wait(&format!("claim {namespace}/{name} is bound"), BIND, |kubectl| {
        let claim = kubectl.get("pvc", Some(namespace), name)?.context("there is no such claim")?;
        let volume = claim["spec"]["volumeName"].as_str().map(str::to_owned);
        Ok(volume.filter(|_| claim["status"]["phase"] == "Bound"))
    });
    found.with_context(|| {
        let log = provisioners(kubectl).unwrap_or_default();
        format!("{}\n{log}", pods::events(kubectl, namespace, name))
    })
}

fn class(name: &str, tenant: &Tenant, more: &Value) -> Value {
    let mut parameters = json!({
        "bucket": tenant.bucket, "vault-path": tenant.vault_path, "uid": "1000", "gid": "100",
    });
    if let (Some(all), Some(more)) = (parameters.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": name },
        "provisioner": pods::DRIVER,
        "parameters": parameters,
    })
}
