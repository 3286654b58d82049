//! Storage as the Go plugin wrote it, in a host's raft store on disk.

use super::rig::Server;
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Host, Mount, Stack, VaultAdmin};
use serde_json::{Value, json};

/// Below the host's own encryption and nothing else.
async fn stored(vault: &VaultAdmin, path: &str) -> anyhow::Result<Value> {
    let answer = vault.read(&format!("sys/raw/{path}")).await?;
    serde_json::from_str(answer["data"]["value"].as_str().context("no value")?).context("stored JSON")
}

async fn store(vault: &VaultAdmin, path: &str, value: &Value) -> anyhow::Result<()> {
    let body = json!({ "value": value.to_string() });
    vault.call(reqwest::Method::PUT, &format!("sys/raw/{path}"), Some(&body)).await?;
    Ok(())
}

pub(super) async fn what_the_go_plugin_left_on_disk_is_taken_over(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let host = Host::openbao(&shared.parts).with("raw_storage_endpoint", json!(true));
    let mut server = Server::start(shared, host).await?;
    server.bao.register().await?;
    // A client of its own: the server is restarted.
    let vault = server.bao.admin().clone();
    let mount = Mount::at(&vault, stack.minio(), "seeded");
    mount.enable().await?;
    let mounts = vault.read("sys/mounts").await?;
    let uuid = mounts["data"]["seeded/"]["uuid"].as_str().context("no uuid")?;
    let mut config = stack.minio().engine_config();
    config["is_configured"] = true.into();
    store(&vault, &format!("logical/{uuid}/config"), &config).await?;
    // Go's durations are nanoseconds.
    let role = json!({
        "policy": "readonly", "user_name_prefix": "seeded-",
        "default_ttl": 3_600_000_000_000_u64, "max_ttl": 86_400_000_000_000_u64,
    });
    store(&vault, &format!("logical/{uuid}/roles/old"), &role).await?;
    let [old, other] = [mount.issue("old").await?, mount.issue("old").await?];
    // A lease as the Go plugin made it.
    let path = format!("sys/expire/id/{}", old.lease);
    let mut lease = stored(&vault, &path).await?;
    let kept = json!({ "accessKeyId": old.user, "secret_type": "minio_access_key" });
    ensure!(lease["secret"]["internal_data"].is_object(), "a lease has another form: {lease}");
    lease["secret"]["internal_data"] = kept;
    lease["secret"]["renewable"] = false.into();
    store(&vault, &path, &lease).await?;

    server.bao.restart().await?;
    let read = mount.read("roles/old").await?;
    ensure!(read["default_ttl"] == 3600 && read["max_ttl"] == 86400, "{read}");
    let read = mount.read("config").await?;
    ensure!(read["endpoint"] == config["endpoint"] && read["secretAccessKey"] == "(redacted)", "{read}");
    let answer = vault.read("seeded/keys/old").await?;
    ensure!(answer["lease_duration"] == 3600, "{answer}");
    ensure!(mount.users().await?.len() == 3, "{:?}", mount.users().await?);
    mount.revoke(&old.lease).await?;
    let users = mount.users().await?;
    ensure!(users.len() == 2 && users.contains(&other.user) && !users.contains(&old.user), "{users:?}");
    Ok(mount.finish().await?)
}
