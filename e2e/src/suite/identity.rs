//! Who may read what: the pod's own service account decides, and nothing that the pod writes.

use super::pods::{self, idle, inline, options, with_volume};
use super::runner::{Case, beside};
use super::world::World;
use anyhow::ensure;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![beside!(another_namespace_s_keys_are_denied), beside!(forged_identity_is_overridden)]
}

/// The pod never starts, and its events say that Vault denied the path.
fn another_namespace_s_keys_are_denied(world: &World) -> anyhow::Result<()> {
    let (victim, thief) = (world.tenant("victim")?, world.tenant("thief")?);
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("thief", "pod"), "/data", inline(&options(&victim)))])?;
    pods::event(kubectl, "thief", "pod", &["FailedMount", &victim.vault_path, "permission denied"])?;
    pods::delete(kubectl, "thief", "pod")?;
    for tenant in [&victim, &thief] {
        let users = tenant.users_among(&world.block(world.stack.minio_users())?);
        ensure!(users.is_empty(), "{users:?}");
    }
    Ok(())
}

/// What kubelet says about the pod wins over attributes of the same name, and its token over one that is written there.
fn forged_identity_is_overridden(world: &World) -> anyhow::Result<()> {
    let (victim, forger) = (world.tenant("forged")?, world.tenant("forger")?);
    let kubectl = world.cluster.kubectl();
    let forged = |mut options: serde_json::Value| {
        options["csi.storage.k8s.io/pod.namespace"] = "forged".into();
        options["csi.storage.k8s.io/serviceAccount.name"] = "default".into();
        options["csi.storage.k8s.io/serviceAccount.tokens"] = r#"{"vault":{"token":"made-up"}}"#.into();
        options
    };
    kubectl.apply(&[
        with_volume(idle("forger", "own"), "/data", inline(&forged(options(&forger)))),
        with_volume(idle("forger", "other"), "/data", inline(&forged(options(&victim)))),
    ])?;
    pods::event(kubectl, "forger", "other", &["FailedMount", &victim.vault_path, "permission denied"])?;
    pods::running(kubectl, "forger", "own")?;
    pods::round_trip(kubectl, "forger", "own", "/data")?;
    let users = world.block(world.stack.minio_users())?;
    ensure!(victim.users_among(&users).is_empty(), "the victim's keys were made: {users:?}");
    ensure!(forger.users_among(&users).len() == 1, "not the forger's own key: {users:?}");
    pods::delete(kubectl, "forger", "own")?;
    pods::delete(kubectl, "forger", "other")?;
    world.no_users(&forger)
}
