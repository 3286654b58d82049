//! What is wrong stands in the pod's events, and the pod starts once it is put right.

use super::pods::{self, idle, inline, options, with_volume};
use super::product::NAMESPACE;
use super::runner::{Case, alone, beside};
use super::world::World;
use anyhow::ensure;
use boathouse_testkit::stack::{AUTH_ROLE, ENGINE_MOUNT};
use serde_json::json;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        beside!(no_such_bucket),
        beside!(no_role_at_the_engine),
        beside!(a_value_nobody_can_use),
        alone!(vault_is_sealed),
        alone!(no_role_to_log_in_with),
        beside!(no_server_at_the_endpoint),
        alone!(no_server_for_the_engine),
        alone!(no_vault_yet),
        alone!(no_space_for_state),
    ]
}

/// The bucket comes later.
fn no_such_bucket(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("bucketless")?;
    let kubectl = world.cluster.kubectl();
    world.block(world.stack.minio().admin().add_policy(&tenant.role, EVERYTHING))?;
    let mut wrong = options(&tenant);
    wrong["bucket"] = "comes-later".into();
    kubectl.apply(&[with_volume(idle("bucketless", "pod"), "/data", inline(&wrong))])?;
    pods::event(kubectl, "bucketless", "pod", &["FailedMount", "comes-later", "bucket"])?;
    world.block(world.stack.minio().create_bucket("comes-later"))?;
    pods::running(kubectl, "bucketless", "pod")?;
    pods::delete(kubectl, "bucketless", "pod")?;
    world.no_users(&tenant)
}

const EVERYTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#;

/// The profile's role at the secrets engine is made after the pod.
fn no_role_at_the_engine(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("roleless")?;
    let kubectl = world.cluster.kubectl();
    let path = format!("{ENGINE_MOUNT}/roles/{}", tenant.role);
    world.block(world.stack.vault().delete(&path))?;
    kubectl.apply(&[with_volume(idle("roleless", "pod"), "/data", inline(&options(&tenant)))])?;
    pods::event(kubectl, "roleless", "pod", &["FailedMount", &tenant.role])?;
    let role = json!({ "policy": tenant.role, "user_name_prefix": tenant.user_prefix, "default_ttl": 3600 });
    world.block(world.stack.vault().write(&path, &role))?;
    pods::running(kubectl, "roleless", "pod")?;
    pods::delete(kubectl, "roleless", "pod")?;
    world.no_users(&tenant)
}

/// Bad input names the field.
fn a_value_nobody_can_use(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("typo")?;
    let kubectl = world.cluster.kubectl();
    let mut wrong = options(&tenant);
    wrong["uid"] = "jovyan".into();
    kubectl.apply(&[with_volume(idle("typo", "pod"), "/data", inline(&wrong))])?;
    pods::event(kubectl, "typo", "pod", &["FailedMount", "uid", "jovyan"])?;
    pods::delete(kubectl, "typo", "pod")
}

fn vault_is_sealed(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("sealed")?;
    world.block(world.stack.bao().seal())?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("sealed", "pod"), "/data", inline(&options(&tenant)))])?;
    let told = pods::event(kubectl, "sealed", "pod", &["FailedMount", "sealed"]);
    world.block(world.stack.bao().unseal())?;
    told?;
    pods::running(kubectl, "sealed", "pod")?;
    pods::delete(kubectl, "sealed", "pod")?;
    world.no_users(&tenant)
}

fn no_role_to_log_in_with(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("loginless")?;
    let path = format!("auth/kubernetes/role/{AUTH_ROLE}");
    let role = world.block(world.stack.vault().read(&path))?["data"].clone();
    world.block(world.stack.vault().delete(&path))?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("loginless", "pod"), "/data", inline(&options(&tenant)))])?;
    let told = pods::event(kubectl, "loginless", "pod", &["FailedMount", "auth/kubernetes/login", AUTH_ROLE]);
    world.block(world.stack.vault().write(&path, &role))?;
    told?;
    pods::running(kubectl, "loginless", "pod")?;
    pods::delete(kubectl, "loginless", "pod")?;
    world.no_users(&tenant)
}

/// The volume names a server that is not there; Vault's keys are for another.
fn no_server_at_the_endpoint(world: &World) -> anyhow::Result<()> {
    let tenant = world.tenant("endpointless")?;
    let kubectl = world.cluster.kubectl();
    let mut wrong = options(&tenant);
    wrong["endpoint"] = "http://127.0.0.1:9".into();
    kubectl.apply(&[with_volume(idle("endpointless", "pod"), "/data", inline(&wrong))])?;
    pods::event(kubectl, "endpointless", "pod", &["FailedMount", "127.0.0.1:9", "cannot be reached"])?;
    pods::delete(kubectl, "endpointless", "pod")?;
    world.no_users(&tenant)
}

/// MinIO is down, so that the engine cannot make a key.
fn no_server_for_the_engine(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("serverless")?;
    world.stack.minio_mut().stop();
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("serverless", "pod"), "/data", inline(&options(&tenant)))])?;
    let told = pods::event(kubectl, "serverless", "pod", &["FailedMount", "cannot reach MinIO"]);
    world.runtime.block_on(world.stack.minio_mut().restart())?;
    told?;
    let kubectl = world.cluster.kubectl();
    pods::running(kubectl, "serverless", "pod")?;
    pods::delete(kubectl, "serverless", "pod")?;
    world.no_users(&tenant)
}

/// The driver is installed while there is no Vault, and is ready all the same. Then Vault comes.
fn no_vault_yet(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("early")?;
    world.product.uninstall()?;
    world.stack.bao_mut().stop();
    let installed = world.product.install(&world.cluster, &json!({}));
    let kubectl = world.cluster.kubectl();
    let told = installed.and_then(|()| {
        kubectl.apply(&[with_volume(idle("early", "pod"), "/data", inline(&options(&tenant)))])?;
        pods::event(kubectl, "early", "pod", &["FailedMount", world.stack.bao().address()])
    });
    let plugin = world.product.pod(&world.cluster);
    world.runtime.block_on(world.stack.bao_mut().restart())?;
    told?;
    let kubectl = world.cluster.kubectl();
    pods::running(kubectl, "early", "pod")?;
    ensure!(world.product.pod(&world.cluster)? == plugin?, "another pod of the plugin");
    pods::delete(kubectl, "early", "pod")?;
    world.no_users(&tenant)
}

/// The state directory is a filesystem of its own here; it is filled to the last byte.
fn no_space_for_state(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("full")?;
    let ballast = std::path::Path::new("/var/lib/boathouse/ballast");
    let filled =
        std::fs::File::create(ballast).and_then(|mut file| std::io::copy(&mut std::io::repeat(0), &mut file));
    let kubectl = world.cluster.kubectl();
    let applied = kubectl.apply(&[with_volume(idle("full", "pod"), "/data", inline(&options(&tenant)))]);
    let told = pods::event(kubectl, "full", "pod", &["FailedMount", "No space left", "/var/lib/boathouse"]);
    std::fs::remove_file(ballast)?;
    applied?;
    ensure!(filled.is_err(), "the state directory of {NAMESPACE} has no end");
    told?;
    pods::running(kubectl, "full", "pod")?;
    pods::delete(kubectl, "full", "pod")?;
    world.no_users(&tenant)
}
