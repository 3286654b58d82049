//! No secret is in the log of a host that logs all it can. What the host logs is what plugins write to stderr, too.

mod secrets;

use crate::engine::{refused, soon};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Host, Mount, Stack};
use rcgen::KeyPair;
use secrets::Secrets;
use serde_json::json;

/// The mount; what its users are called begins with it.
const PATH: &str = "talk";
const ADMIN: &str = "admin-of-talk";
const STATIC: &str = "static-of-talk";

pub(super) async fn no_secret_is_in_the_log_of_openbao(shared: &Shared) -> anyhow::Result<()> {
    no_secret_is_logged(shared, Host::openbao(&shared.parts), true).await
}

/// Its plugin fetches a key of its own when it starts.
pub(super) async fn no_secret_is_in_the_log_of_vault_1_4(shared: &Shared) -> anyhow::Result<()> {
    no_secret_is_logged(shared, Host::vault_1_4(&shared.parts), false).await
}

async fn no_secret_is_logged(shared: &Shared, host: Host, has_password_policies: bool) -> anyhow::Result<()> {
    let host = host.with("log_level", json!("trace")).with("raw_storage_endpoint", json!(true));
    let mut stack = Stack::start_on(host, &shared.parts, &shared.programs).await?;
    let mut secrets = Secrets::of(&stack);
    let session = {
        let mount = Mount::at(stack.vault(), stack.minio(), PATH);
        mount.enable().await?;
        mount.configure().await?;
        configs(&mount, &mut secrets).await.context("configs")?;
        the_admins(&stack, &mount, &mut secrets).await.context("the admin's secret")?;
        let session = keys(&mount, &mut secrets, has_password_policies).await.context("keys")?;
        a_static_role(&stack, &mount, &mut secrets).await.context("a static role")?;
        session
    };
    stack.minio_mut().stop();
    without_minio(&Mount::at(stack.vault(), stack.minio(), PATH)).await.context("MinIO is down")?;
    // What was begun and could not be ended, and the secrets of parents, which nobody is told.
    let parents = secrets.add_stored(stack.vault(), PATH).await.context("the mount's storage")?;
    ensure!(parents == 2, "{parents} parents, not those of a service account and of a session");
    stack.minio_mut().restart().await?;
    let mount = Mount::at(stack.vault(), stack.minio(), PATH);
    // Once MinIO is no longer left alone.
    secrets.add_issued("after MinIO's return", &soon("keys", async || mount.issue("r").await).await?);
    mount.finish().await.context("the end of the mount")?;

    let log = std::fs::read_to_string(stack.bao().log())?;
    let found = secrets.found_in(&log);
    ensure!(found.is_empty(), "in the host's log: {found:?}");
    // The log has what the plugin says about these very keys, and what is in it is found.
    ensure!(log.contains("[TRACE]"), "the host does not trace");
    let mut canary = Secrets::default();
    canary.add("the admin's name", ADMIN);
    canary.add("the access key of a session that was revoked", &session);
    let found = canary.found_in(&log);
    ensure!(found.len() == 2, "the plugin has said something about each, and found is: {found:?}");
    secrets::each_form_is_found()?;
    Ok(())
}

/// Configs with secrets in them that are refused, and one that does not work.
async fn configs(mount: &Mount<'_>, secrets: &mut Secrets) -> anyhow::Result<()> {
    mount.role("r", "readonly").await?;
    let key = KeyPair::generate()?.serialize_pem();
    secrets.add("a client's key", &key);
    for (what, field, value) in [
        ("of a config with a wrong boolean", "secretAccessKey", secrets.invent("wrong boolean")),
        ("with a control character", "secretAccessKey", secrets.invent("control") + "\u{7}"),
        ("too long", "secretAccessKey", secrets.invent("too long").repeat(20)),
        ("of a key that is none", "client_key", secrets.invent("no key")),
        ("of a key without a certificate", "client_key", key),
    ] {
        let mut config = json!({ field: value });
        if what.ends_with("boolean") {
            config["useSSL"] = "no!".into();
        }
        let (status, _) = refused(mount.write("config", &config).await).context(what)?;
        ensure!(status == 400, "{what}: {status}");
    }
    mount.write("config", &json!({ "secret_access_key": secrets.invent("of an unknown field") })).await?;
    mount.write("config", &json!({ "secretAccessKey": secrets.invent("wrong") })).await?;
    refused(mount.issue("r").await).context("keys with a wrong secret")?;
    mount.configure().await?;
    // MinIO does not speak TLS.
    let mut tls = mount.minio().engine_config();
    tls["useSSL"] = true.into();
    mount.write("config/tls", &tls).await?;
    mount.write("roles/tls", &json!({ "policy": "readonly", "cluster": "tls" })).await?;
    refused(mount.issue("tls").await).context("keys of a MinIO without TLS")?;
    Ok(())
}

/// The admin user's secret is shown, rotated and shown again.
async fn the_admins(stack: &Stack, mount: &Mount<'_>, secrets: &mut Secrets) -> anyhow::Result<()> {
    let (admin, first) = (stack.minio().admin(), secrets.invent("of the admin"));
    admin.add_user(ADMIN, &first.as_str().into()).await?;
    admin.set_user_policy(ADMIN, &["consoleAdmin"]).await?;
    let config = json!({ "accessKeyId": ADMIN, "secretAccessKey": first, "expose_secret_on_read": true });
    mount.write("config", &config).await?;
    mount.write("config/rotate-root", &json!({})).await?;
    let rotated = mount.read("config").await?;
    let second = rotated["secretAccessKey"].as_str().context("no secret is shown")?;
    ensure!(second != first, "not rotated");
    secrets.add("of the admin, rotated", second);
    Ok(())
}

/// Keys of each kind, renewed and revoked; gives the access key of a session that was.
async fn keys(
    mount: &Mount<'_>,
    secrets: &mut Secrets,
    has_password_policies: bool,
) -> anyhow::Result<String> {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::{{role}}"] }],
    });
    let mut session = String::new();
    for kind in ["service_account", "sts", "user"] {
        let role = json!({
            "credential_type": kind, "policy": "readonly", "policy_document": document.to_string(),
            "user_name_prefix": mount.prefix(),
        });
        mount.write(&format!("roles/{kind}"), &role).await?;
        let issued = mount.issue(kind).await?;
        secrets.add_issued(kind, &issued);
        if kind == "sts" {
            session.clone_from(&issued.user);
        } else {
            mount.renew(&issued.lease, 3600).await?;
        }
        mount.revoke(&issued.lease).await?;
        // These are revoked when MinIO is down, and with the mount.
        for _ in 0..2 {
            secrets.add_issued(kind, &mount.issue(kind).await?);
        }
    }
    if has_password_policies {
        let policy = "length = 32\nrule \"charset\" { charset = \"abcdefghij0123456789\" }";
        mount.vault().write("sys/policies/password/talk", &json!({ "policy": policy })).await?;
        mount.write("roles/r", &json!({ "password_policy": "talk" })).await?;
    }
    let issued = mount.issue("r").await?;
    secrets.add_issued("by a password policy", &issued);
    mount.revoke(&issued.lease).await?;
    mount.role("no-policy", "no-such-policy").await?;
    refused(mount.issue("no-policy").await).context("keys with a policy that does not exist")?;
    Ok(session)
}

async fn a_static_role(stack: &Stack, mount: &Mount<'_>, secrets: &mut Secrets) -> anyhow::Result<()> {
    let before = secrets.invent("of a static user, before");
    stack.minio().admin().add_user(STATIC, &before.as_str().into()).await?;
    mount.write("static-roles/s", &json!({ "username": STATIC, "rotation_period": "1h" })).await?;
    for rotation in 0..2 {
        let read = mount.read("static-creds/s").await?;
        secrets.add(
            &format!("of a static user, after {rotation} rotations"),
            read["secretAccessKey"].as_str().context("no secret")?,
        );
        mount.write("rotate-role/s", &json!({})).await?;
    }
    Ok(())
}

/// Everything that calls MinIO fails.
async fn without_minio(mount: &Mount<'_>) -> anyhow::Result<()> {
    for kind in ["service_account", "sts", "user"] {
        refused(mount.issue(kind).await).with_context(|| format!("keys of {kind}"))?;
    }
    for path in ["config/rotate-root", "rotate-role/s"] {
        refused(mount.write(path, &json!({})).await).with_context(|| path.to_owned())?;
    }
    let lease = mount.leases("user").await?.pop().context("no lease")?;
    refused(mount.revoke(&lease).await).context("revoke")?;
    Ok(())
}
