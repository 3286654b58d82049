//! The secrets engine alone, under a real host and with a real MinIO.

pub(crate) mod legacy;

use crate::scene::eventually;
use crate::world::{Case, Shared, alone, beside};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::stack::{ENGINE_MOUNT, Mount, Stack, StackError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::time::{Duration, Instant};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(legacy::the_go_plugins_answers_are_given),
        beside!(mounts_share_a_process_and_nothing_else),
        beside!(a_policy_that_does_not_exist_leaves_no_user),
        beside!(revoking_a_user_that_is_gone_succeeds),
        beside!(reading_the_config_never_shows_the_secret),
        alone!(a_killed_plugin_comes_back),
        alone!(a_plugin_killed_while_it_revokes),
    ]
}

/// A mount of the case's own, with a config.
pub(crate) async fn mounted<'a>(stack: &'a Stack, path: &str) -> Result<Mount<'a>, StackError> {
    let mount = Mount::at(stack.vault(), stack.minio(), path);
    mount.enable().await?;
    mount.configure().await?;
    Ok(mount)
}

/// The same with a role `r`.
async fn mounted_with_role<'a>(stack: &'a Stack, path: &str) -> Result<Mount<'a>, StackError> {
    let mount = mounted(stack, path).await?;
    mount.role("r", "readonly").await?;
    Ok(mount)
}

/// Process ids of the plugins of this OpenBao.
pub(crate) fn plugins(stack: &Stack) -> Vec<i32> {
    stack.bao().plugins()
}

/// The one plugin there is, once the short-lived ones have gone that the host asks what a plugin can do.
async fn the_plugin(stack: &Stack) -> anyhow::Result<i32> {
    eventually("one plugin process", Duration::from_secs(10), || plugins(stack).len() == 1).await?;
    plugins(stack).first().copied().context("the plugin ended")
}

/// The call must be refused; gives the status and the message.
pub(crate) fn refused<T>(answer: Result<T, StackError>) -> anyhow::Result<(u16, String)> {
    match answer {
        Err(StackError::Refused { status, message, .. }) => Ok((status, message)),
        Err(other) => bail!("not refused: {other}"),
        Ok(_) => bail!("accepted"),
    }
}

async fn mounts_share_a_process_and_nothing_else(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let before = the_plugin(stack).await?;
    let mount = Mount::at(stack.vault(), stack.minio(), "second");
    mount.enable().await?;
    mount.role("r", "readonly").await?;
    // The first mount's config is not this one's.
    let keys = stack.vault().read("second/keys/r").await;
    let (status, message) = refused(keys).context("keys of an unconfigured mount")?;
    ensure!(status == 500 && message.contains("not configured"), "{status}: {message}");
    mount.configure().await?;
    let issued = mount.issue("r").await?;
    ensure!(mount.users().await? == [issued.user]);
    let roles = stack.vault().list(&format!("{ENGINE_MOUNT}/roles")).await?;
    ensure!(!roles.contains(&"r".to_owned()), "the first mount has the second's role: {roles:?}");
    ensure!(the_plugin(stack).await? == before, "the second mount got a process of its own");
    mount.finish().await?;
    ensure!(the_plugin(stack).await? == before, "the end of the second mount ended the first one's process");
    stack.vault().read(&format!("{ENGINE_MOUNT}/config")).await?;
    Ok(())
}

async fn a_policy_that_does_not_exist_leaves_no_user(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mount = mounted_with_role(stack, "no-policy").await?;
    for policy in ["no-such-policy", "readonly,no-such-policy"] {
        mount.role("r", policy).await?;
        let answer = stack.vault().read("no-policy/keys/r").await;
        let (status, message) = refused(answer).with_context(|| policy.to_owned())?;
        ensure!(status == 500 && message.contains("policy does not exist"), "{status}: {message}");
        let (users, leases) = (mount.users().await?, mount.leases("r").await?);
        ensure!(users.is_empty() && leases.is_empty(), "{policy}: left {users:?} and {leases:?}");
    }
    // The role can be mended, and several policies are fine when all exist.
    mount.role("r", "readonly,diagnostics").await?;
    let issued = mount.issue("r").await?;
    let info = stack.minio().admin().user_info(&issued.user).await?;
    ensure!(format!("{info:?}").contains("diagnostics"), "{info:?}");
    Ok(mount.finish().await?)
}

async fn revoking_a_user_that_is_gone_succeeds(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mount = mounted_with_role(stack, "gone").await?;
    let issued = mount.issue("r").await?;
    stack.minio().admin().remove_user(&issued.user).await?;
    ensure!(mount.leases("r").await?.len() == 1 && mount.users().await?.is_empty());
    mount.revoke(&issued.lease).await?;
    ensure!(mount.leases("r").await?.is_empty(), "the lease is still there");
    Ok(mount.finish().await?)
}

async fn reading_the_config_never_shows_the_secret(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let mount = mounted_with_role(stack, "config").await?;
    let secret = stack.minio().root_password().expose_secret();
    let config = stack.vault().read("config/config").await?["data"].clone();
    ensure!(!config.to_string().contains(secret), "the secret is in {config}");
    ensure!(config["endpoint"] == stack.minio().authority().as_str(), "{config}");
    // Who reads, changes and writes back does no harm.
    stack.vault().write("config/config", &config).await?;
    let issued = mount.issue("r").await?;
    let (status, message) = refused(stack.vault().write("config/config", &json!({ "useSSL": "no!" })).await)?;
    ensure!(status == 400 && !message.contains(secret), "{status}: {message}");
    // A failed call, so that the log has something to say.
    stack.vault().write("config/config", &json!({ "secretAccessKey": "wrong-secret" })).await?;
    let (_, message) = refused(stack.vault().read("config/keys/r").await)?;
    ensure!(!message.contains("wrong-secret"), "{message}");
    mount.configure().await?;
    let log = std::fs::read_to_string(stack.bao().log())?;
    for secret in [secret, "wrong-secret", issued.secret.expose_secret()] {
        ensure!(!log.contains(secret), "OpenBao's log has a secret of the config or of a lease in it");
    }
    Ok(mount.finish().await?)
}

/// SIGKILL to the plugin; returns when it has ended.
async fn kill_the_plugin(stack: &Stack) -> anyhow::Result<()> {
    let pid = the_plugin(stack).await?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    eventually("the end of the plugin", Duration::from_secs(5), || !plugins(stack).contains(&pid)).await
}

/// Requests fail until the host has reaped its plugin, which takes milliseconds; then they must work again.
pub(crate) async fn soon<T>(what: &str, call: impl AsyncFn() -> Result<T, StackError>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("{what}: still fails"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn a_killed_plugin_comes_back(_: &Shared, stack: &mut Stack) -> anyhow::Result<()> {
    let mount = mounted_with_role(stack, "killed").await?;
    let [first, second] = [mount.issue("r").await?, mount.issue("r").await?];

    kill_the_plugin(stack).await?;
    soon("read a role", async || stack.vault().read("killed/roles/r").await).await?;
    let third = mount.issue("r").await?;
    ensure!(mount.users().await?.len() == 3);
    mount.revoke(&first.lease).await?;
    mount.revoke(&third.lease).await?;
    ensure!(mount.users().await? == [second.user.clone()], "revoking did not delete the users");
    // The other mount notices by itself.
    let path = format!("{ENGINE_MOUNT}/config");
    soon("read the other config", async || stack.vault().read(&path).await).await?;
    the_plugin(stack).await?;

    // A revocation is as good a first request as any.
    kill_the_plugin(stack).await?;
    soon("revoke", async || mount.revoke(&second.lease).await).await?;
    ensure!(mount.users().await?.is_empty() && mount.leases("r").await?.is_empty());
    soon("read the other config", async || stack.vault().read(&path).await).await?;
    the_plugin(stack).await?;
    Ok(mount.finish().await?)
}

async fn a_plugin_killed_while_it_revokes(_: &Shared, stack: &mut Stack) -> anyhow::Result<()> {
    let mount = mounted_with_role(stack, "midway").await?;
    let issued = mount.issue("r").await?;
    stack.minio().pause()?;
    let (answer, resumed) = tokio::join!(mount.revoke(&issued.lease), async {
        // Until the plugin waits for MinIO.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let killed = kill_the_plugin(stack).await;
        killed.and(stack.minio().resume().map_err(Into::into))
    });
    resumed?;
    // The host says that it did not work, and keeps the lease; or it has asked a new plugin at once.
    if answer.is_err() {
        ensure!(mount.leases("r").await?.len() == 1, "the lease is gone, and its user may not be");
        soon("revoke again", async || mount.revoke(&issued.lease).await).await?;
    }
    ensure!(mount.users().await?.is_empty() && mount.leases("r").await?.is_empty());
    let path = format!("{ENGINE_MOUNT}/config");
    soon("read the other config", async || stack.vault().read(&path).await).await?;
    Ok(mount.finish().await?)
}
