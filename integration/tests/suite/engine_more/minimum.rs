//! The admin user of the documentation: exactly what the engine needs.

use crate::engine::mounted;
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Mount, Stack};
use serde_json::{Value, json};

const POLICY: &str = include_str!("../../../../vault-plugin/minimum-admin-policy.json");
const PATH: &str = "minimum";
const ADMIN: &str = "engine-admin";
const SECRET: &str = "secret-of-the-engine-admin";
/// Users of static roles are not the mount's: their names do not begin like it.
const STATIC_USER: &str = "static-of-minimum";

/// Needed only when a host runs one request twice, which no test can ask a host for, and to tell a service
/// account that is gone from one that the admin user may not remove.
const SPARE: &str = "admin:ListServiceAccounts";

pub(super) async fn the_minimum_policy_is_enough_and_none_of_it_too_much(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let root = stack.minio().admin();
    let policy: Value = serde_json::from_str(POLICY)?;
    root.add_policy(ADMIN, POLICY).await?;
    root.add_user(ADMIN, &SECRET.into()).await?;
    root.set_user_policy(ADMIN, &[ADMIN]).await?;
    root.add_user(STATIC_USER, &SECRET.into()).await?;
    let mount = mounted(stack, PATH).await?;
    mount.write("config", &json!({ "accessKeyId": ADMIN, "secretAccessKey": SECRET })).await?;

    let actions = policy["Statement"][0]["Action"].as_array().context("the policy's actions")?;
    for action in actions.iter().filter(|action| **action != SPARE) {
        let mut less = policy.clone();
        let rest: Vec<_> = actions.iter().filter(|other| *other != action).cloned().collect();
        less["Statement"][0]["Action"] = rest.into();
        root.add_policy(ADMIN, &less.to_string()).await?;
        let outcome = everything(&mount).await;
        let error = outcome.err().with_context(|| format!("the engine does not need {action}"))?;
        let text = format!("{error:#}");
        let is_named = text.contains("AccessDenied") || text.contains(action.as_str().unwrap_or_default());
        ensure!(is_named, "without {action}: {text}");
        root.add_policy(ADMIN, POLICY).await?;
        clear(&mount).await.with_context(|| format!("clear up after {action}"))?;
    }
    everything(&mount).await.context("with the whole minimum policy")?;
    clear(&mount).await?;
    mount.finish().await?;
    for user in [ADMIN, STATIC_USER] {
        root.remove_user(user).await?;
    }
    root.remove_policy(ADMIN).await?;
    Ok(())
}

/// Everything the engine can do, once.
async fn everything(mount: &Mount<'_>) -> anyhow::Result<()> {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::{{role}}"] }],
    });
    let user = json!({
        "policy": "readonly", "groups": "minimum-1", "policy_document": document.to_string(),
        "user_name_prefix": "minimum-",
    });
    mount.write("roles/user", &user).await?;
    let issued = mount.issue("user").await?;
    mount.renew(&issued.lease, 60).await?;
    mount.revoke(&issued.lease).await?;

    let account = json!({
        "credential_type": "service_account", "policy": "readonly", "groups": "minimum-1",
        "policy_document": document.to_string(), "user_name_prefix": "minimum-",
    });
    mount.write("roles/account", &account).await?;
    let issued = mount.issue("account").await?;
    mount.renew(&issued.lease, 3600).await?;
    mount.write("roles/account", &json!({ "groups": "minimum-2" })).await?;
    mount.revoke(&mount.issue("account").await?.lease).await?;
    mount.revoke(&issued.lease).await?;

    let session = json!({ "credential_type": "sts", "policy": "readonly", "user_name_prefix": "minimum-" });
    mount.write("roles/session", &session).await?;
    mount.issue("session").await?;

    let fixed = json!({ "username": STATIC_USER, "rotation_period": "1h" });
    mount.write("static-roles/fixed", &fixed).await?;
    mount.write("rotate-role/fixed", &json!({})).await?;
    mount.write("config/rotate-root", &json!({})).await?;
    mount.revoke(&mount.issue("user").await?.lease).await?;
    Ok(())
}

async fn clear(mount: &Mount<'_>) -> anyhow::Result<()> {
    let vault = mount.vault();
    vault.write(&format!("sys/leases/revoke-prefix/{PATH}"), &json!({ "sync": true })).await?;
    for role in vault.list(&format!("{PATH}/roles")).await? {
        mount.delete(&format!("roles/{role}")).await?;
    }
    for role in vault.list(&format!("{PATH}/static-roles")).await? {
        mount.delete(&format!("static-roles/{role}")).await?;
    }
    Ok(())
}
