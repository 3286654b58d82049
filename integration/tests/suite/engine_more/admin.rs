//! What the engine does to users it did not make, and on which MinIO.

use crate::engine::{mounted, refused};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::TempTree;
use boathouse_testkit::stack::{Minio, Stack};
use minio_admin::{Client, Credentials};
use serde_json::{Value, json};

const SECRET: &str = "secret-from-before";

/// Whether MinIO takes this for the user's secret.
async fn accepts(stack: &Stack, user: &str, secret: &str) -> anyhow::Result<bool> {
    let client = Client::new(stack.minio().admin().endpoint().clone(), Credentials::new(user, secret))?;
    Ok(client.user_info(user).await.is_ok())
}

pub(super) async fn the_admins_secret_is_rotated(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (mount, admin) = (mounted(stack, "rotated").await?, stack.minio().admin());
    let (status, message) = refused(mount.write("config/rotate-root", &json!({})).await)?;
    ensure!(status == 400 && message.contains("environment"), "{status}: {message}");

    // A name that does not begin like the mount's users.
    admin.add_user("admin-of-rotated", &SECRET.into()).await?;
    admin.set_user_policy("admin-of-rotated", &["consoleAdmin"]).await?;
    let mut config = stack.minio().engine_config();
    (config["accessKeyId"], config["secretAccessKey"]) = ("admin-of-rotated".into(), SECRET.into());
    config["expose_secret_on_read"] = true.into();
    let role = json!({ "policy": "readonly", "user_name_prefix": "rotated-" });
    for (config_path, role_path) in [("config", "roles/plain"), ("config/named", "roles/named")] {
        mount.write(config_path, &config).await?;
        let mut role = role.clone();
        role["cluster"] = config_path.strip_prefix("config/").unwrap_or_default().into();
        mount.write(role_path, &role).await?;
        let rotation = config_path.replace("config", "config/rotate-root");
        mount.write(&rotation, &json!({})).await?;
        let secret = mount.read(config_path).await?["secretAccessKey"].as_str().context("secret")?.to_owned();
        ensure!(secret != SECRET && accepts(stack, "admin-of-rotated", &secret).await?);
        ensure!(!accepts(stack, "admin-of-rotated", SECRET).await?, "the old secret works");
        mount.issue(role_path.trim_start_matches("roles/")).await?;
        admin.add_user("admin-of-rotated", &SECRET.into()).await?;
        mount.write(config_path, &json!({ "secretAccessKey": SECRET })).await?;
    }

    // Without sudo, nobody rotates.
    let rules = json!({ "policy": "path \"rotated/*\" { capabilities = [\"update\", \"read\"] }" });
    stack.vault().write("sys/policies/acl/rotated", &rules).await?;
    let token = stack.vault().write("auth/token/create", &json!({ "policies": ["rotated"] })).await?;
    let token = token["auth"]["client_token"].as_str().context("token")?.to_owned();
    let caller = stack.vault().with_token(token.into());
    caller.read("rotated/config").await?;
    for path in ["rotated/config/rotate-root", "rotated/config/rotate-root/named"] {
        let (status, message) = refused(caller.write(path, &json!({})).await).context(path)?;
        ensure!(status == 403, "{path}: {status}: {message}");
    }
    mount.finish().await?;
    admin.remove_user("admin-of-rotated").await?;
    Ok(())
}

pub(super) async fn each_cluster_has_its_own_keys(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    // Before the server that lies in it, so that it goes after it.
    let tree = TempTree::new()?;
    let east = Minio::start(&shared.parts.minio, &tree).await?;
    let mount = mounted(stack, "clusters").await?;
    mount.write("config/east", &east.engine_config()).await?;
    let role = json!({ "policy": "readonly", "user_name_prefix": "clusters-" });
    mount.write("roles/here", &role).await?;
    let mut role = role;
    role["cluster"] = "east".into();
    mount.write("roles/there", &role).await?;
    let (here, there) = (mount.issue("here").await?, mount.issue("there").await?);
    ensure!(mount.users().await? == [here.user]);
    let users: Vec<_> = east.admin().list_users().await?.into_keys().collect();
    ensure!(users == [there.user], "{users:?}");
    ensure!(stack.vault().list("clusters/config").await? == ["east"]);
    let (status, message) = refused(mount.delete("config/east").await)?;
    ensure!(status == 400 && message.contains("roles/there"), "{status}: {message}");
    mount.revoke(&there.lease).await?;
    ensure!(east.admin().list_users().await?.is_empty());
    mount.delete("roles/there").await?;
    mount.delete("config/east").await?;
    ensure!(stack.vault().list("clusters/config").await?.is_empty());
    Ok(mount.finish().await?)
}

pub(super) async fn a_static_role_changes_a_users_secret(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (mount, admin, user) = (mounted(stack, "fixed").await?, stack.minio().admin(), "service-of-fixed");
    let policy = "length = 32\nrule \"charset\" { charset = \"abcdefghij0123456789\" }";
    stack.vault().write("sys/policies/password/fixed", &json!({ "policy": policy })).await?;
    let role = json!({ "username": user, "rotation_period": "1h", "password_policy": "fixed" });
    let (status, message) = refused(mount.write("static-roles/s", &role).await)?;
    ensure!(status == 400 && message.contains("no user"), "{status}: {message}");
    admin.add_user(user, &SECRET.into()).await?;
    admin.set_user_policy(user, &["readonly"]).await?;
    admin.add_to_group("fixed-group", &[user]).await?;
    mount.write("static-roles/s", &role).await?;
    let secret = |creds: &Value| creds["secretAccessKey"].as_str().map(str::to_owned).context("secret");
    let first = secret(&mount.read("static-creds/s").await?)?;
    ensure!(
        first.len() == 32 && first.bytes().all(|byte| matches!(byte, b'a'..=b'j' | b'0'..=b'9')),
        "not by the policy"
    );
    ensure!(accepts(stack, user, &first).await? && !accepts(stack, user, SECRET).await?);
    mount.write("rotate-role/s", &json!({})).await?;
    let second = secret(&mount.read("static-creds/s").await?)?;
    ensure!(second != first && accepts(stack, user, &second).await? && !accepts(stack, user, &first).await?);
    // Nothing else about the user has changed.
    let info = admin.user_info(user).await?;
    ensure!(
        info.policies().collect::<Vec<_>>() == ["readonly"] && info.member_of == ["fixed-group"],
        "{info:?}"
    );

    mount.finish().await?;
    ensure!(accepts(stack, user, &second).await?, "the user is not the mount's to end");
    admin.remove_user(user).await?;
    Ok(())
}
