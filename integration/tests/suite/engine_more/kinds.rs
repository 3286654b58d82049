//! The three kinds of keys, as those who use them see them.

use super::keys;
use crate::engine::{mounted, refused};
use crate::minio_admin::{bucket, failure};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_bucket::Failure;
use boathouse_testkit::stack::{Issued, Mount, Stack, VaultAdmin};
use minio_admin::Code;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const MINUTE: Duration = Duration::from_secs(60);

/// Reading the objects of one bucket.
fn reading(bucket: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }],
    })
    .to_string()
}

/// Two buckets named after the case, with an object in each.
async fn buckets(stack: &Stack, names: [&str; 2]) -> anyhow::Result<()> {
    for name in names {
        stack.minio().create_bucket(name).await?;
        stack.minio().put_object(name, "hello", b"hi").await?;
    }
    Ok(())
}

/// Whether these keys read the object in this bucket.
async fn reads(stack: &Stack, issued: &Issued, name: &str) -> anyhow::Result<bool> {
    match bucket(stack, name, &keys(issued))?.get("hello").await {
        Ok(content) => Ok(content == b"hi"),
        Err(error) if matches!(error.failure, Failure::AccessDenied | Failure::InvalidKeys { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Somebody who may read the mount's keys, with the entity metadata `bucket`.
async fn caller(mount: &Mount<'_>, bucket: &str) -> anyhow::Result<VaultAdmin> {
    let (vault, name) = (mount.vault(), mount.path());
    let rules = format!("path \"{name}/keys/*\" {{ capabilities = [\"read\"] }}");
    vault.write(&format!("sys/policies/acl/{name}"), &json!({ "policy": rules })).await?;
    vault.write(&format!("sys/auth/{name}"), &json!({ "type": "userpass" })).await?;
    let user = json!({ "password": "of-the-caller", "token_policies": [name] });
    vault.write(&format!("auth/{name}/users/{bucket}"), &user).await?;
    let login =
        vault.write(&format!("auth/{name}/login/{bucket}"), &json!({ "password": "of-the-caller" })).await?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("login: a field is missing");
    let entity = text(&login["auth"]["entity_id"])?;
    let metadata = json!({ "metadata": { "bucket": bucket } });
    vault.write(&format!("identity/entity/id/{entity}"), &metadata).await?;
    Ok(vault.with_token(text(&login["auth"]["client_token"])?.into()))
}

pub(super) async fn a_users_own_policy_follows_the_callers_entity(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let mount = mounted(stack, "doc").await?;
    buckets(stack, ["doc-mine", "doc-theirs"]).await?;
    let mine = caller(&mount, "doc-mine").await?;
    let accessor = stack.vault().read("sys/auth").await?["data"]["doc/"]["accessor"].clone();
    let accessor = accessor.as_str().context("accessor")?.to_owned();
    for placeholder in [
        "{{identity.entity.metadata.bucket}}".to_owned(),
        format!("{{{{identity.entity.aliases.{accessor}.name}}}}"),
    ] {
        let role = json!({
            "policy_document": reading(&placeholder), "user_name_prefix": "doc-",
            "user_name_template": "{{role}}-{{random:20}}",
        });
        mount.write("roles/r", &role).await?;
        let issued = mount.issue_to(&mine, "r").await?;
        ensure!(issued.user.starts_with("doc-r-") && issued.user.len() == 26);
        ensure!(reads(stack, &issued, "doc-mine").await? && !reads(stack, &issued, "doc-theirs").await?);
        let policy = format!("lease-{}", issued.user);
        ensure!(stack.minio().admin().policy(&policy).await?.is_some());
        mount.revoke(&issued.lease).await?;
        ensure!(stack.minio().admin().policy(&policy).await?.is_none(), "{policy} is left");
        // Root has no entity.
        let (status, message) = refused(stack.vault().read("doc/keys/r").await)?;
        ensure!(status == 400 && message.contains(&placeholder), "{status}: {message}");
    }
    stack.vault().delete("sys/auth/doc").await?;
    Ok(mount.finish().await?)
}

pub(super) async fn a_service_account_is_limited_and_ended_by_minio(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let mount = mounted(stack, "account").await?;
    buckets(stack, ["account-mine", "account-theirs"]).await?;
    let role = json!({
        "credential_type": "service_account", "policy": "readwrite", "policy_document": reading("{{role}}-mine"),
        "user_name_prefix": "account-", "default_ttl": "1h", "max_ttl": "3h",
    });
    mount.write("roles/account", &role).await?;
    let issued = mount.issue("account").await?;
    ensure!(issued.user.len() == 20, "{}", issued.user);
    ensure!(reads(stack, &issued, "account-mine").await? && !reads(stack, &issued, "account-theirs").await?);

    let expiry = async || {
        let info = stack.minio().admin().service_account(&issued.user).await?.context("no such account")?;
        let at = SystemTime::from(info.expiration.context("no expiry")?);
        anyhow::Ok(at.duration_since(SystemTime::now())?)
    };
    let near =
        |left: Duration, hours: u32| left <= hours * 60 * MINUTE && left > hours * 60 * MINUTE - MINUTE;
    ensure!(near(expiry().await?, 1), "{:?}", expiry().await?);
    let renewed = mount.renew(&issued.lease, 2 * 3600).await?;
    ensure!(renewed["lease_duration"] == 7200, "{renewed}");
    ensure!(near(expiry().await?, 2), "{:?}", expiry().await?);
    mount.renew(&issued.lease, 9 * 3600).await?;
    ensure!(near(expiry().await?, 3), "{:?}", expiry().await?);

    mount.revoke(&issued.lease).await?;
    ensure!(!reads(stack, &issued, "account-mine").await?, "a revoked key works");
    let [one, two] = [mount.issue("account").await?, mount.issue("account").await?];
    ensure!(mount.users().await?.len() == 1, "one parent for all");
    // The role takes the rest along.
    mount.delete("roles/account").await?;
    for issued in [one, two] {
        ensure!(!reads(stack, &issued, "account-mine").await?);
        mount.revoke(&issued.lease).await?;
    }
    Ok(mount.finish().await?)
}

pub(super) async fn a_session_works_with_its_token_only(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mount = mounted(stack, "session").await?;
    buckets(stack, ["session-mine", "session-theirs"]).await?;
    let role = json!({
        "credential_type": "sts", "policy": "readwrite", "policy_document": reading("session-mine"),
        "user_name_prefix": "session-", "default_ttl": "20m",
    });
    mount.write("roles/s", &role).await?;
    let answer = stack.vault().read("session/keys/s").await?;
    ensure!(answer["lease_duration"] == 1200 && answer["renewable"] == false, "{answer}");
    ensure!(answer["warnings"].to_string().contains("until 2"), "no warning: {}", answer["warnings"]);
    let issued = mount.issue("s").await?;
    ensure!(reads(stack, &issued, "session-mine").await? && !reads(stack, &issued, "session-theirs").await?);
    let without = boathouse_bucket::Keys { session_token: None, ..keys(&issued) };
    failure(bucket(stack, "session-mine", &without)?.get("hello").await).context("without the token")?;
    let short = stack.vault().read("session/keys/s?ttl=60").await?;
    ensure!(short["lease_duration"] == 900 && short["warnings"].to_string().contains("900 s"), "{short}");

    // As the warning says: the lease ends, the keys do not.
    mount.revoke(&issued.lease).await?;
    ensure!(reads(stack, &issued, "session-mine").await?);
    let user = mount.users().await?.pop().context("the parent")?;
    stack.minio().admin().remove_user(&user).await?;
    ensure!(!reads(stack, &issued, "session-mine").await?, "sessions end with the parent");
    let again = mount.issue("s").await.context("the parent is made again")?;
    ensure!(reads(stack, &again, "session-mine").await?);
    Ok(mount.finish().await?)
}

pub(super) async fn the_end_of_the_mount_ends_its_parents(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mount = mounted(stack, "ending").await?;
    for kind in ["service_account", "sts"] {
        let role = json!({ "credential_type": kind, "policy": "readonly", "user_name_prefix": "ending-" });
        mount.write(&format!("roles/{kind}"), &role).await?;
        mount.issue(kind).await?;
    }
    let users = mount.users().await?;
    ensure!(users.len() == 2, "{users:?}");
    mount.finish().await?;
    for user in users {
        let info = stack.minio().admin().user_info(&user).await;
        ensure!(info.is_err_and(|error| error.code() == Some(&Code::NoSuchUser)), "{user}");
    }
    Ok(())
}
